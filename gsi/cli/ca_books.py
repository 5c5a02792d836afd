"""The other half of `grid-ca-sign`: revoking, the CRL, and the books; and what both halves share. Loaded late.

Each of `revoke`, `make_list`, `status` and `mark_expired` takes the parsed arguments and returns what -json prints.
"""

from __future__ import annotations

import os
import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gsi.ca.crl import RevocationReason, parse_reason
from gsi.ca.signer import Digest
from gsi.certificate import Certificate
from gsi.cli.arguments import UsageError
from gsi.cli.ca_files import open_ca_directory
from gsi.cli.run import printable
from gsi.cli.secret_source import SecretSource, read_secret
from gsi.errors import CredentialError, CredentialProblem, NotFoundError
from gsi.system.clock import now
from gsi.system.files import read_public, write_public
from gsi.trust.crl import parse_crl_file

if TYPE_CHECKING:
    from datetime import datetime

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
    "revoke",
    "say",
    "serial_hex",
    "status",
]

DEFAULT_CRL_DAYS: Final = 30
MAX_CERTIFICATE_FILE_BYTES: Final = 1 << 20


def say(arguments: Namespace, text: str) -> None:
    """Print a line for people."""
    if not arguments.quiet and not arguments.json:
        sys.stdout.write(f"{text}\n")


def load_signer(arguments: Namespace, ca: CADirectory) -> Signer:
    """Return the CA's key, asking for its pass phrase only when it is locked; raises as `CADirectory.load_signer`."""
    place = arguments.keyfile
    if place is not None and ":" not in place:
        place = os.path.abspath(place)

    def ask() -> Passphrase:
        source = arguments.passin
        if source is None and os.path.exists(ca.file("passwd")):
            source = SecretSource("file", ca.file("passwd"))  # where the C tool looks for it, too
        return read_secret(source, "Enter pass phrase of the CA's key:", option="-passin")

    return ca.load_signer(place, passphrase=ask, digest=arguments.md and Digest(arguments.md))


def check_out(path: str) -> None:
    """Refuse a place that cannot be written, before anything is issued.

    Raises:
        CredentialError: UNWRITABLE.
    """
    directory = os.path.dirname(path) or "."
    is_other = os.path.lexists(path) and not os.path.isfile(path)
    if is_other or os.path.islink(path) or not os.access(directory, os.W_OK | os.X_OK):
        raise CredentialError(
            f"{path}: cannot be written: it is no regular file, or its directory is missing or not yours to write",
            problem=CredentialProblem.UNWRITABLE,
            path=path,
        )


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
    reason = RevocationReason.UNSPECIFIED if arguments.crl_reason is None else parse_reason(arguments.crl_reason)
    ca = open_ca_directory(arguments.dir)
    with ca.lock():
        serial = _which(arguments.revoke, ca)
        entry = ca.revoke(serial, now=now(), reason=reason)
    say(arguments, f"Revoked {serial_hex(serial)}: {printable(entry.subject)}")
    say(arguments, "It is on the next CRL: grid-ca-sign -gencrl")
    return {"serial": serial_hex(serial), "subject": entry.subject, "reason": reason.word}


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
    if arguments.crldays is not None and arguments.crlhours is not None:
        raise UsageError("-crldays and -crlhours are mutually exclusive")
    lifetime = timedelta(days=arguments.crldays or DEFAULT_CRL_DAYS)
    if arguments.crlhours is not None:
        lifetime = timedelta(hours=arguments.crlhours)
    if arguments.out is not None:
        check_out(arguments.out)
    ca = open_ca_directory(arguments.dir)
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
