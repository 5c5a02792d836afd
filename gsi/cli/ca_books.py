"""The other half of `grid-ca-sign`: revoking, the CRL, and the books; and what both halves share. Loaded late.

Each of `revoke`, `make_list`, `status` and `mark_expired` takes the parsed arguments and returns what -json prints.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from gsi.ca.crl import RevocationReason, parse_reason
from gsi.ca.pkcs11_token import parse_pkcs11_uri
from gsi.ca.signer import Digest, file_of, scheme_of
from gsi.certificate import Certificate
from gsi.cli.arguments import UsageError
from gsi.cli.ca_files import open_ca_directory
from gsi.cli.run import printable
from gsi.cli.secret_source import SecretSource, read_secret
from gsi.errors import CredentialError, CredentialProblem, NotFoundError, ParseError
from gsi.pem import split_pem
from gsi.system.clock import now
from gsi.system.files import read_public, write_public
from gsi.trust.crl import MAX_CRL_BYTES, parse_crl_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.ca.directory import CADirectory
    from gsi.ca.signer import Signer
    from gsi.cli.arguments import Namespace
    from gsi.secret import Passphrase

__all__ = [
    "check_out",
    "iso",
    "load_signer",
    "make_list",
    "mark_expired",
    "parse_time",
    "revoke",
    "say",
    "serial_hex",
    "status",
]

DEFAULT_CRL_LIFETIME: Final = timedelta(days=30)
_UNITS: Final = {"crldays": timedelta(days=1), "crlhours": timedelta(hours=1), "crlsec": timedelta(seconds=1)}
FIRST_TIME: Final = datetime(1950, 1, 1, tzinfo=UTC)
"""Before this, certificates do not say what they mean (RFC 5280 section 4.1.2.5)."""
MAX_CERTIFICATE_FILE_BYTES: Final = 1 << 20
_OTHER: Final = "something else than certificates and revocation lists"
_BINARY: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""What no text has, in whatever alphabet, and every key in DER: the tags of its numbers and identifiers."""


def say(arguments: Namespace, text: str) -> None:
    """Print a line for people."""
    if not arguments.quiet and not arguments.json:
        sys.stdout.write(f"{text}\n")


def load_signer(arguments: Namespace, ca: CADirectory) -> Signer:
    """Return the CA's key, asking for its pass phrase only when it is locked; raises as `CADirectory.load_signer`."""

    def ask() -> Passphrase:
        source = arguments.passin
        if source is None and os.path.exists(ca.file("passwd")):
            source = SecretSource("file", ca.file("passwd"))  # where the C tool looks for it, too
        return read_secret(source, "Enter pass phrase of the CA's key:", option="-passin")

    return ca.load_signer(_key_place(arguments), passphrase=ask, digest=arguments.md and Digest(arguments.md))


def _key_place(arguments: Namespace) -> str | None:
    place: str | None = arguments.keyfile
    return os.path.abspath(place) if place is not None and ":" not in place else place


def check_out(arguments: Namespace, ca: CADirectory, *, is_list: bool = False) -> None:
    """Refuse a place for -out that cannot be written or holds what must stay, before anything is issued.

    What must stay is every file of the CA but, for a new list, the last one; the names of its directory that mean
    something, also where there is no such file yet; the request, the CA's key and its pass phrase. Of other files only
    those are replaced that are empty or hold nothing but certificates or revocation lists: a key has too many forms to
    be known by its own.

    Raises:
        CredentialError: UNWRITABLE.
        ConfigError: The place of the CA's key cannot be known.
        UsageError: The name is empty.
    """
    path: str = arguments.out
    if not path:
        raise UsageError("-out: the name of the file is empty", hint="name the file that is to be written")
    obstacle = _find_obstacle(path)
    if obstacle is not None:
        raise CredentialError(f"{path}: cannot be written: {obstacle}", problem=CredentialProblem.UNWRITABLE, path=path)
    if is_list and os.path.realpath(path) == os.path.realpath(ca.file("crl", "crl.pem")):
        return
    if ca.owns(path) or any(_is_same(path, other) for other in _needed(arguments, ca)):
        raise CredentialError(
            f"{path}: is not replaced: it is a file of the CA, the request, or holds the CA's key or a pass phrase",
            problem=CredentialProblem.UNWRITABLE,
            path=path,
            hint="name another file with -out",
        )
    why = _why_kept(path)
    if why is not None:
        raise CredentialError(
            f"{path}: is not replaced: {why}",
            problem=CredentialProblem.UNWRITABLE,
            path=path,
            hint="name another file with -out, or move this one away first",
        )


def _find_obstacle(path: str) -> str | None:
    """Return why no file can be put there, or None."""
    try:
        is_other = not stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        is_other = False
    except (OSError, ValueError) as error:  # a name that is too long, a file where a directory should be
        return (error.strerror if isinstance(error, OSError) else None) or str(error)
    if is_other or not os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK):
        return "it is no regular file, or its directory is missing or not yours to write"
    return None


def _needed(arguments: Namespace, ca: CADirectory) -> list[str]:
    """Return the files, outside the CA's directory too, that this command reads."""
    place = _key_place(arguments) or ca.key_place
    is_token = scheme_of(place) == "pkcs11"
    pin = parse_pkcs11_uri(f"pkcs11:{place.partition(':')[2]}").pin_source if is_token else None
    found = [file_of(place), None if pin is None else file_of(pin), arguments.input]
    if arguments.passin is not None and arguments.passin.kind == "file":
        found.append(arguments.passin.place)
    return [one for one in found if one is not None]


def _why_kept(path: str) -> str | None:
    """Return why a file that is there is not replaced; None where it may be, or where there is none."""
    try:
        data = read_public(path, max_bytes=MAX_CRL_BYTES)
    except ParseError:
        return f"it is longer than {MAX_CRL_BYTES} bytes, the most that is read of a revocation list"
    except CredentialError as error:
        if error.problem is CredentialProblem.MISSING:
            return None
        return f"what it holds is not known: {error.message.removeprefix(f'{path}: ')}"
    if not data or _is_well_formed(data, Certificate.parse) or _is_well_formed(data, _parse_any_list):
        return None
    if _BINARY.search(data):  # also behind a certificate: what is joined to it goes with it
        return f"it holds {_OTHER}"
    try:
        blocks = split_pem(data, what="PEM")
    except ParseError as error:
        return f"it holds {_OTHER}, or damaged ones: {error.message}"
    if not blocks:
        return f"it holds {_OTHER}"
    for block in blocks:
        parse = _REPLACED.get(block.label)
        if parse is None:
            return f"it holds {_OTHER}: {block.label}"
        if not _is_well_formed(block.data, parse):
            return f"it holds {_OTHER}, or damaged ones: what it calls {block.label} cannot be read"
    return None


def _parse_any_list(data: bytes) -> object:
    """Read a revocation list, also one that may not be used as a complete and current one of its issuer.

    Raises:
        ParseError: It is none.
    """
    try:
        return x509.load_der_x509_crl(data)
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise ParseError(f"CRL: {error}", what="CRL") from error


def _is_well_formed(data: bytes, parse: Callable[[bytes], object]) -> bool:
    try:
        parse(data)
    except ParseError:
        return False
    return True


_REPLACED: Final[dict[str, Callable[[bytes], object]]] = {
    "CERTIFICATE": Certificate.parse,
    "X509 CERTIFICATE": Certificate.parse,
    "X509 CRL": _parse_any_list,
}
"""What the files may hold that -out replaces: what can be had again. A request cannot, without its key."""


def _is_same(path: str, other: str) -> bool:
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def parse_time(text: str, option: str) -> datetime:
    """Read a time as `openssl ca` takes it: YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ.

    Raises:
        UsageError: It is none.
    """
    found = re.fullmatch(r"([0-9]{2}|[0-9]{4})([0-9]{10})Z", text)
    if found is not None:
        century = "" if len(found[1]) == 4 else "20" if int(found[1]) < 50 else "19"
        try:
            return datetime.strptime(f"{century}{found[1]}{found[2]}", "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            pass
    raise UsageError(f"{option}: {text!r} is no time such as 20261121140000Z")


def serial_hex(serial: int) -> str:
    """Return a serial number as OpenSSL writes it into file names."""
    text = f"{serial:X}"
    return text if len(text) % 2 == 0 else f"0{text}"


def iso(moment: datetime) -> str:
    """Return a time for programs."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# --- revoking --------------------------------------------------------------------------------------------------------


def revoke(arguments: Namespace) -> dict[str, object]:
    """Revoke the certificate of -revoke.

    Raises:
        NotFoundError: It is not this CA's.
        ConflictError: It is revoked already.
        ConfigError: There is no such reason.
    """
    reason, since = _parse_why(arguments)
    ca = open_ca_directory(arguments.dir)
    with ca.lock():
        serial = _which(arguments.revoke, ca)
        entry = ca.revoke(serial, now=now(), reason=reason, invalid_since=since)
    say(arguments, f"Revoked {serial_hex(serial)}: {printable(entry.subject)}")
    say(arguments, "It is on the next CRL: grid-ca-sign -gencrl")
    return {"serial": serial_hex(serial), "subject": entry.subject, "reason": reason.word}


def _parse_why(arguments: Namespace) -> tuple[RevocationReason, datetime | None]:
    """Return the reason, and since when the key has not been safe where that is said.

    Raises:
        ConfigError: There is no such reason.
        UsageError: Two reasons, or a time that is none in which a key can have been lost.
    """
    given = [
        name for name in ("crl_reason", "crl_compromise", "crl_CA_compromise") if getattr(arguments, name) is not None
    ]
    if len(given) > 1:
        raise UsageError(f"-{given[0]} and -{given[1]} are mutually exclusive")
    if not given:
        return RevocationReason.UNSPECIFIED, None
    text = getattr(arguments, given[0])
    if given[0] == "crl_reason":
        return parse_reason(text), None
    since = parse_time(text, f"-{given[0]}")
    if not FIRST_TIME <= since <= now():
        raise UsageError(f"-{given[0]}: {text} is no time between {FIRST_TIME.year} and now")
    return RevocationReason.KEY_COMPROMISE if given[0] == "crl_compromise" else RevocationReason.CA_COMPROMISE, since


def _which(text: str, ca: CADirectory) -> int:
    """Return the serial number of a certificate's file, or a number given as such.

    Raises:
        NotFoundError: The certificate is another CA's.
        UsageError: Neither.
    """
    if not os.path.exists(text):
        return _parse_serial(text)
    certificate = Certificate.parse_pem(read_public(text, max_bytes=MAX_CERTIFICATE_FILE_BYTES), what=text)
    ca.adopt(certificate)
    return certificate.serial


def _parse_serial(text: str) -> int:
    if not re.fullmatch(r"(?:0[xX])?[0-9A-Fa-f]{1,40}", text):
        raise UsageError(f"{text!r} is neither a file nor a serial number in hexadecimal")
    return int(text, 16)


def make_list(arguments: Namespace) -> dict[str, object]:
    """Make a CRL; raises as `CADirectory.load_signer` and `CADirectory.make_crl`."""
    given = [name for name in _UNITS if getattr(arguments, name) is not None]
    if len(given) > 1:
        raise UsageError(f"-{given[0]} and -{given[1]} are mutually exclusive")
    lifetime = getattr(arguments, given[0]) * _UNITS[given[0]] if given else DEFAULT_CRL_LIFETIME
    ca = open_ca_directory(arguments.dir)
    if arguments.out is not None:
        check_out(arguments, ca, is_list=True)
    with ca.lock():
        signer = load_signer(arguments, ca)
        pem = ca.make_crl(signer, now=now(), lifetime=lifetime)
        signer.close()
    if arguments.out is not None:
        write_public(arguments.out, pem)
    (crl,) = parse_crl_file(pem)
    kept = ca.file("crl", "crl.pem")
    say(arguments, f"The new CRL with {len(crl.serials)} entries is at: {printable(kept)}")
    say(arguments, f"Sites install it as {ca.hash}.r0; it holds until {iso(crl.next_update)}.")
    return {
        "kept": kept,
        "out": arguments.out,
        "name": f"{ca.hash}.r0",
        "entries": len(crl.serials),
        "this_update": iso(crl.this_update),
        "next_update": iso(crl.next_update),
    }


# --- the books -------------------------------------------------------------------------------------------------------


def status(arguments: Namespace) -> dict[str, object]:
    """Say what became of the certificate of -status.

    Raises:
        NotFoundError: This CA has issued none with that number.
    """
    ca = open_ca_directory(arguments.dir)
    serial = _parse_serial(arguments.status)
    entry = ca.read_index().find(serial)
    if entry is None:
        raise NotFoundError(f"this CA has issued no certificate with serial number {serial_hex(serial)}")
    word = {"V": "valid", "R": "revoked", "E": "expired"}[entry.status.value]
    if word == "valid" and not entry.holds(now()):
        word = "expired"
    revoked = entry.revoked
    say(arguments, f"{serial_hex(serial)}: {word}, {printable(entry.subject)}")
    return {
        "serial": serial_hex(serial),
        "subject": entry.subject,
        "status": word,
        "not_after": iso(entry.not_after),
        "revoked": None if revoked is None else iso(revoked.time),
        "reason": None if revoked is None else revoked.reason.word,
    }


def mark_expired(arguments: Namespace) -> dict[str, object]:
    """Mark what is past its end in the index."""
    ca = open_ca_directory(arguments.dir)
    with ca.lock():
        before = ca.read_index()
        after = before.expire(now())
        if after != before:
            ca.write_index(after)
    changed = [serial_hex(new.serial) for old, new in zip(before.entries, after.entries, strict=True) if old != new]
    for serial in changed:
        say(arguments, f"{serial}=Expired")
    return {"expired": changed}
