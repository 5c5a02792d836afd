"""The command `grid-cert-info`: show a certificate file; makes no judgement about trust.

Agrees with gct:gsi/cert_utils/source/programs/grid-cert-info.in in options, output lines (in the order of the command
line) and exit status. It needs no `openssl`, and reads DER, too.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import SECRET_SOURCES, CommandParser, Completion, secret_source
from gsi.cli.run import EXIT_OK, printable, run
from gsi.errors import CredentialError, CredentialProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.cli.arguments import Namespace
    from gsi.secret import Passphrase

__all__ = ["build_parser", "main"]

PROG = "grid-cert-info"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "show a certificate",
        usage=("[-file FILE] [what to print]",),
        help_names=("-help", "-usage", "-h"),
        versions=True,
    )
    files = parser.section("Which certificate")
    files.value(
        "-file",
        "-f",
        metavar="FILE",
        completion=Completion.FILE,
        text="the file, in PEM, DER or PKCS#12; of several certificates in it the first (default: the user's)",
    )
    files.value(
        "-passin",
        metavar="SOURCE",
        convert=secret_source,
        text=f"where the pass phrase of a PKCS#12 file comes from: {SECRET_SOURCES}",
    )
    show = parser.section("What to print, in this order (default: -all)")
    for names, text in (
        (("-subject", "-s"), "the name of the holder, without the parts that old proxies add"),
        (("-issuer", "-i"), "the name of the CA, likewise"),
        (("-issuerhash", "-ih"), "the hash of the CA's name, which its file in a trust directory is named after"),
        (("-startdate", "-sd"), "the begin of validity"),
        (("-enddate", "-ed"), "the end of validity"),
        (("-all",), "every field, in the layout of openssl x509 -text"),
    ):
        show.flag(*names, text=text, append_to="show")
    show.flag("-rfc2253", text="write names as CN=...,O=... (RFC 4514, formerly 2253)")
    show.flag("-json", text="print everything but key and signature as one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    path = arguments.file or _default_path()
    certificate = _load(path, arguments)
    if arguments.json:
        _print_json(certificate, path)
    for word in arguments.show or ([] if arguments.json else ["all"]):
        sys.stdout.write(_PRINTERS[word](certificate, arguments.rfc2253))
    return EXIT_OK


def _default_path() -> str:
    """Return the place of the user's certificate: X509_USER_CERT, else the first in ~/.globus that is there.

    Raises:
        CredentialError: MISSING: there is none.
    """
    import os

    from gsi.system.environ import get_variable, read_locations

    named = get_variable("X509_USER_CERT")
    if named is not None:
        return named
    places = [certificate for certificate, _ in read_locations().user_credentials]
    for place in places:
        if os.path.exists(place):
            return place
    raise CredentialError(
        f"no certificate in {', '.join(places) or 'any place, as there is no home directory'}",
        problem=CredentialProblem.MISSING,
        hint="name the file with -file or X509_USER_CERT",
    )


def _load(path: str, arguments: Namespace) -> Certificate:
    """Return the certificate of a file, whatever its form.

    Raises:
        CredentialError: The file cannot be read, or the pass phrase is wrong.
        ParseError: There is no certificate in it, or a malformed one.
    """
    from gsi.certificate import Certificate
    from gsi.credential import MAX_CREDENTIAL_BYTES, parse_pkcs12
    from gsi.errors import ParseError
    from gsi.system.files import read_public

    data = read_public(path, max_bytes=MAX_CREDENTIAL_BYTES)
    if data[:1] != b"\x30":
        return Certificate.parse_pem(data, what=path)
    try:
        return Certificate.parse(data)
    except ParseError as error:
        if _is_certificate(data):
            raise ParseError(f"{path}: {error.message}", what=error.what, offset=error.offset) from error

    def ask() -> Passphrase:
        from gsi.cli.secret_source import read_secret

        return read_secret(arguments.passin, f"Enter import pass phrase for {printable(path)}:", option="-passin")

    return parse_pkcs12(data, ask, source=path).certificate


def _is_certificate(data: bytes) -> bool:
    """Tell whether DER begins as a certificate does, with two SEQUENCEs; PKCS#12 begins with an INTEGER in one."""
    from gsi import der
    from gsi.errors import ParseError

    try:
        return der.Reader(data, what="file").sequence().peek() == der.SEQUENCE
    except ParseError:
        return False  # BER, which only PKCS#12 is read in


def _name(name_der: bytes, rfc2253: object) -> str:
    """Write a name without the CNs of legacy proxies, as the C script takes them out wherever they stand."""
    from gsi import names
    from gsi.cli.name_text import slash_name

    if rfc2253:
        return names.rfc4514(name_der)
    return slash_name(name_der).replace("/CN=proxy", "").replace("/CN=limited proxy", "")


def _date(moment: datetime) -> str:
    return f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S} {moment.year} GMT\n"


def _print_all(certificate: Certificate, rfc2253: object) -> str:
    from gsi import names
    from gsi.cli.certificate_text import certificate_text
    from gsi.cli.name_text import spaced_name

    return certificate_text(certificate, name=names.rfc4514 if rfc2253 else spaced_name)


def _issuer_hash(certificate: Certificate) -> str:
    from gsi.trust.hashes import hash_names

    new, _ = hash_names(certificate.issuer_der)
    return new


_PRINTERS: Mapping[str, Callable[[Certificate, object], str]] = {
    "subject": lambda certificate, rfc2253: f"{_name(certificate.subject_der, rfc2253)}\n",
    "issuer": lambda certificate, rfc2253: f"{_name(certificate.issuer_der, rfc2253)}\n",
    "issuerhash": lambda certificate, _rfc2253: f"{_issuer_hash(certificate)}\n",
    "startdate": lambda certificate, _rfc2253: _date(certificate.not_before),
    "enddate": lambda certificate, _rfc2253: _date(certificate.not_after),
    "all": _print_all,
}


def _print_json(certificate: Certificate, path: str) -> None:
    import json

    from gsi import names
    from gsi.cli.extension_text import extension_lines
    from gsi.errors import GridError
    from gsi.keys import key_bits
    from gsi.trust.hashes import hash_names

    try:
        bits: int | None = key_bits(certificate.public_key())
    except GridError:
        bits = None
    new_hash, old_hash = hash_names(certificate.issuer_der)
    shown = {
        "path": path,
        "subject": names.oneline(certificate.subject_der),
        "subject_rfc2253": names.rfc4514(certificate.subject_der),
        "issuer": names.oneline(certificate.issuer_der),
        "issuer_rfc2253": names.rfc4514(certificate.issuer_der),
        "issuer_hash": new_hash,
        "issuer_hash_old": old_hash,
        "serial": f"{certificate.serial:#x}",
        "version": certificate.version,
        "not_before": f"{certificate.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "sha256": certificate.fingerprint,
        "key_bits": bits,
        "extensions": [
            {
                "oid": extension.oid,
                "critical": extension.critical,
                "text": [line.strip() for line in extension_lines(extension)[1:]],
            }
            for extension in certificate.extensions
        ],
    }
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
