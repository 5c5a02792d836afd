"""The command `grid-ca-sign`: issue certificates from a CA's directory, revoke them, make its CRL.

Agrees with gct:gsi/simple_ca/source/scripts/grid-ca-sign.in in its own options, layout and exit status; of the options
of `openssl ca`, which the C script passes on, those that make sense are taken, and the others are refused by name. The
work is done by `gsi.ca`: no `openssl` is run.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, NoReturn

from gsi.cli.arguments import SECRET_SOURCES, CommandParser, Completion, UsageError, count, secret_source
from gsi.cli.run import EXIT_OK, printable, run, warn
from gsi.errors import ConflictError, CredentialError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.ca.directory import CADirectory
    from gsi.ca.grant import Grant
    from gsi.ca.index import Index, IndexEntry
    from gsi.ca.issuer import Issued
    from gsi.ca.request import CertificateRequest
    from gsi.certificate import Certificate
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "grid-ca-sign"
DEFAULT_DAYS = 365
DEFAULT_CRL_DAYS = 30
MAX_DAYS = 100 * 365

_SETTINGS = "the settings are the CA's own; grid-ca-sign has options for what varies"
_EXTENSIONS = "extensions are written by rule; -san and -purpose say what varies"
_TOKENS = "keys in tokens are reached by -keyfile pkcs11:..."
_RANDOM = "the system's random numbers are used"

_PASSED_ON = {
    "config": _SETTINGS,
    "name": _SETTINGS,
    "section": _SETTINGS,
    "extfile": _EXTENSIONS,
    "extensions": _EXTENSIONS,
    "crlexts": "the extensions of a CRL are written by rule",
    "policy": "names are checked against the CA's signing-policy file",
    "key": "a pass phrase on the command line can be read by others; give it with -passin",
    "engine": _TOKENS,
    "keyform": _TOKENS,
    "provider": _TOKENS,
    "provider-path": _TOKENS,
    "propquery": _TOKENS,
    "cert": "the CA's certificate is cacert.pem in its directory; -dir names that",
    "certform": "the CA's certificate is cacert.pem in its directory; -dir names that",
    "infiles": "run the command once for each request",
    "ss_cert": "make a request first: openssl x509 -x509toreq",
    "spkac": "make a PKCS#10 request",
    "selfsign": "grid-ca-create makes self-signed certificates",
    "sigopt": "the key decides how it signs; -md names another digest",
    "vfyopt": "a request's signature says itself how it is verified",
    "outdir": "certificates are kept in newcerts in the CA's directory",
    "noemailDN": "give the name with -subj",
    "msie_hack": "no browser needs it any more",
    "dateopt": "-json prints times in the form of ISO 8601",
    "valid": "certificates are put on record when they are issued",
    "crl_hold": "what to do with a certificate on hold is no longer said in CRLs; -crl_reason certificateHold",
    "crl_lastupdate": "a CRL holds from now on",
    "crl_nextupdate": "-crldays, -crlhours or -crlsec says how long the CRL holds",
    "rand": _RANDOM,
    "writerand": _RANDOM,
}
"""Options of `openssl ca` that are not taken, and what to do instead."""


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = _SignParser(
        PROG,
        "issue a certificate for a request, or revoke one",
        usage=(
            "-in REQUEST -out CERTIFICATE [options]",
            "-revoke CERTIFICATE [-crl_reason REASON]",
            "-gencrl [-out CRL] [-crldays DAYS]",
            "-status SERIAL | -updatedb",
        ),
        help_names=("-help", "-usage", "-h", "-?"),
        versions=True,
    )
    parser.section("What openssl has").flag(
        "-openssl-help", text="list the options of openssl ca that are not taken, with what to do instead"
    )
    which = parser.section("The authority")
    which.value(
        "-dir",
        metavar="DIR",
        completion=Completion.DIRECTORY,
        text="the CA's directory (default: ~/.globus/simpleCA, or /var/lib/globus/simple_ca)",
    )
    which.value("-keyfile", metavar="PLACE", text="its key: a file, a pkcs11: URI, or program: and a command line")
    which.value(
        "-passin",
        metavar="SOURCE",
        convert=secret_source,
        text=f"where the key's pass phrase comes from: {SECRET_SOURCES}",
    )
    which.value(
        "-md",
        metavar="DIGEST",
        choices=("sha256", "sha384", "sha512"),
        text="the digest to sign with (default: the key's)",
    )
    issue = parser.section("Issuing")
    issue.value(
        "-in", dest="input", metavar="FILE", completion=Completion.FILE, text="the certificate request, PEM or DER"
    )
    issue.value(
        "-inform", metavar="FORM", choices=("PEM", "DER"), text="accepted: either form is known when it is read"
    )
    issue.value("-out", metavar="FILE", completion=Completion.FILE, text="where the new certificate is written")
    issue.flag("-force", text="revoke a good certificate of the same subject and issue the new one in its place")
    issue.value("-subj", metavar="NAME", text="the subject to certify (default: that of the request)")
    issue.value("-san", metavar="NAMES", text="alternative names to certify, as DNS:www.example.org,IP:192.0.2.1")
    issue.flag("-copy-names", text="certify the alternative names that the request asks for")
    issue.value(
        "-purpose",
        metavar="PURPOSE",
        choices=("client", "server", "both"),
        text="what for (default: both for names of hosts, else client)",
    )
    issue.value(
        "-days",
        metavar="DAYS",
        convert=functools.partial(count, minimum=1, maximum=MAX_DAYS),
        text=f"how long it lasts (default: {DEFAULT_DAYS}); never longer than the CA",
    )
    issue.value("-startdate", metavar="TIME", text="when it begins, as 20261121140000Z (default: now)")
    issue.value("-enddate", metavar="TIME", text="when it ends, likewise; in place of -days")
    issue.flag("-notext", text="write the certificate without its text form before it")
    issue.flag("-counter", text="take the serial number from the file serial, as the C tool does, and not at random")
    issue.flag("-batch", text="accepted: nothing is asked anyway")
    issue.flag("-rand_serial", text="accepted: serial numbers are random anyway")
    issue.flag("-create_serial", text="accepted: serial numbers are random anyway")
    issue.flag("-preserveDN", text="accepted: the order of a name is kept anyway")
    issue.flag("-multivalue-rdn", text="accepted: -subj takes such names anyway")
    issue.flag("-utf8", text="accepted: text is UTF-8 anyway")
    issue.flag("-verbose", text="accepted: what is done is said anyway")
    withdraw = parser.section("Revoking")
    withdraw.value(
        "-revoke", metavar="FILE", completion=Completion.FILE, text="revoke this certificate, or this serial number"
    )
    withdraw.value("-crl_reason", metavar="REASON", text="why: keyCompromise, superseded, cessationOfOperation, ...")
    withdraw.value(
        "-crl_compromise",
        metavar="TIME",
        text="revoke for keyCompromise, and say since when the key is not safe, as 20261121140000Z",
    )
    withdraw.value("-crl_CA_compromise", metavar="TIME", text="revoke for CACompromise, likewise")
    withdraw.flag("-gencrl", text="make a new CRL, in crl/crl.pem and in the file of -out")
    withdraw.value(
        "-crldays",
        metavar="DAYS",
        convert=functools.partial(count, minimum=1, maximum=MAX_DAYS),
        text=f"how long the CRL holds (default: {DEFAULT_CRL_DAYS})",
    )
    withdraw.value(
        "-crlhours",
        metavar="HOURS",
        convert=functools.partial(count, minimum=1, maximum=24 * MAX_DAYS),
        text="the same in hours",
    )
    withdraw.value(
        "-crlsec",
        metavar="SECONDS",
        convert=functools.partial(count, minimum=1, maximum=86400 * MAX_DAYS),
        text="the same in seconds",
    )
    books = parser.section("The books")
    books.value("-status", metavar="SERIAL", text="say what became of the certificate with this number (hexadecimal)")
    books.flag("-updatedb", text="mark certificates past their end as expired")
    how = parser.section("How it runs")
    how.flag("-q", dest="quiet", text="print only warnings and errors")
    how.flag("-json", text="print what was done as one JSON object")
    return parser


class _SignParser(CommandParser):
    """A parser that knows the options of `openssl ca` by name."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UsageError: Always.
        """
        words = message.removeprefix("unrecognized arguments: ").split()
        name = words[0].partition("=")[0] if words else ""
        hint = _PASSED_ON.get(name.lstrip("-"))
        if hint is not None:
            raise UsageError(f"{name}: this option of openssl ca is not taken", hint=hint)
        super().error(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.openssl_help:
        for name, instead in _PASSED_ON.items():
            sys.stdout.write(f"-{name:<14} {instead}\n")
        return EXIT_OK
    chosen = [name for name in ("revoke", "gencrl", "status", "updatedb") if getattr(arguments, name)]
    if len(chosen) > 1:
        raise UsageError(f"-{chosen[0]} and -{chosen[1]} are mutually exclusive")
    for name in () if arguments.revoke else ("crl_reason", "crl_compromise", "crl_CA_compromise"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"-{name} says why a certificate is revoked: it goes with -revoke")
    from gsi.cli import ca_books

    works = {"revoke": ca_books.revoke, "gencrl": ca_books.make_list, "status": ca_books.status}
    work = (works | {"updatedb": ca_books.mark_expired})[chosen[0]] if chosen else _sign
    done = work(arguments)
    if arguments.json:
        import json

        sys.stdout.write(json.dumps(done, indent=2) + "\n")
    return EXIT_OK


# --- issuing ---------------------------------------------------------------------------------------------------------


def _sign(arguments: Namespace) -> dict[str, object]:
    from gsi.cli.ca_books import check_out, load_signer, say, serial_hex
    from gsi.cli.ca_files import open_ca_directory
    from gsi.names import oneline
    from gsi.system.clock import now
    from gsi.system.files import write_public

    if arguments.input is None:
        raise UsageError("no request: name its file with -in", hint=f"'{PROG} -help' lists the options")
    if arguments.out is None:
        raise UsageError("no place for the certificate: name a file with -out")
    ca = open_ca_directory(arguments.dir)
    check_out(arguments, ca)
    request = _read_request(arguments.input)
    moment = now()
    grant = _grant(arguments, request, moment)
    subject = oneline(grant.subject_der)
    with ca.lock():
        index = ca.read_index()
        holding = index.find_holding(subject, moment)
        _refuse_proxys_name(index, grant.subject_der, moment)
        if holding and not arguments.force:
            _refuse_second(ca, subject, holding[0])
        signer = load_signer(arguments, ca)
        issuer = ca.issuer(signer, use_counter=arguments.counter, superseding=[one.serial for one in holding])
        issued = issuer.issue(request, grant, now=moment)
        signer.close()
    certificate = issued.certificate
    kept = ca.file("newcerts", f"{serial_hex(certificate.serial)}.pem")
    try:
        write_public(arguments.out, _encode(certificate, with_text=not arguments.notext))
    except CredentialError as error:
        error.hint = f"the certificate was issued; it is in {kept}"
        raise
    if issued.shortened:
        warn(PROG, f"the certificate ends with the CA's, on {certificate.not_after:%Y-%m-%d}")
    for entry in holding:
        say(arguments, f"Revoked the previous certificate {serial_hex(entry.serial)}.")
    say(arguments, f"Certified: {printable(subject)}")
    say(arguments, f"The new signed certificate is at: {printable(kept)}")
    return _facts(issued, kept, arguments.out) | {"superseded": [serial_hex(entry.serial) for entry in holding]}


def _read_request(path: str) -> CertificateRequest:
    from gsi.ca.request import MAX_REQUEST_FILE_BYTES, load_request
    from gsi.system.files import read_public

    return load_request(read_public(path, max_bytes=MAX_REQUEST_FILE_BYTES), what=path)


def _grant(arguments: Namespace, request: CertificateRequest, now: datetime) -> Grant:
    """Return what the administrator grants by running this command."""
    from datetime import timedelta

    from gsi.ca.grant import Grant
    from gsi.cli.ca_books import parse_time
    from gsi.cli.ca_files import parse_name

    names = _alternative_names(arguments, request)
    subject_der = parse_name(arguments.subj) if arguments.subj else request.subject_der
    begin = None if arguments.startdate is None else parse_time(arguments.startdate, "-startdate")
    if arguments.enddate is not None:
        if arguments.days is not None:
            raise UsageError("-days and -enddate are mutually exclusive")
        end = parse_time(arguments.enddate, "-enddate")
        lifetime = end - (begin or now.replace(microsecond=0))
        if lifetime <= timedelta(0):
            raise UsageError("-enddate: it would end before it begins")
    else:
        lifetime = timedelta(days=arguments.days or DEFAULT_DAYS)
    return Grant(
        subject_der=subject_der,
        requester=f"{PROG} -in {arguments.input}",
        lifetime=lifetime,
        not_before=begin,
        alternative_names=names,
        extended_key_usage=_purposes(arguments.purpose, subject_der, names),
    )


def _alternative_names(arguments: Namespace, request: CertificateRequest) -> tuple[bytes, ...]:
    from gsi import oids
    from gsi.ca.general_names import format_general_name, parse_alternative_names, split_general_names

    if arguments.san is not None and arguments.copy_names:
        raise UsageError("-san and -copy-names are mutually exclusive")
    if arguments.san is not None:
        return parse_alternative_names(arguments.san)
    wish = request.find_extension(oids.SUBJECT_ALT_NAME)
    if wish is None:
        return ()
    found = split_general_names(wish.value)
    if arguments.copy_names:
        return found
    warn(
        PROG,
        f"alternative names in the request are not certified: {', '.join(map(format_general_name, found))}",
        hint="-copy-names certifies them, -san others",
    )
    return ()


def _purposes(wanted: str | None, subject_der: bytes, names: Sequence[bytes]) -> tuple[str, ...]:
    """Return the extended key usages; names of hosts and services stand at both ends of connections in grids."""
    from gsi import oids
    from gsi.names import last_common_name

    if wanted is None:
        common_name = last_common_name(subject_der) or ""
        is_host = "/" in common_name or any(name[:1] in {b"\x82", b"\x87"} for name in names)
        wanted = "both" if is_host else "client"
    return {
        "client": (oids.CLIENT_AUTH,),
        "server": (oids.SERVER_AUTH,),
        "both": (oids.SERVER_AUTH, oids.CLIENT_AUTH),
    }[wanted]


def _refuse_proxys_name(index: Index, subject_der: bytes, now: datetime) -> None:
    """Refuse the name that a proxy of somebody else's would have: the holder's, and one common name more.

    Raises:
        ConflictError: It is such a name.
    """
    from gsi.names import last_common_name, name_from_rdns, oneline, rdns

    parts = rdns(subject_der)
    if len(parts) < 2 or last_common_name(subject_der) is None:
        return
    above = oneline(name_from_rdns(parts[:-1]))
    if index.find_holding(above, now):
        raise ConflictError(
            f"the subject is the name of a proxy of {above}, who holds a valid certificate of this CA",
            hint="-subj certifies another name",
        )


def _refuse_second(ca: CADirectory, subject: str, entry: IndexEntry) -> NoReturn:
    from gsi.cli.ca_books import serial_hex

    kept = ca.file("newcerts", f"{serial_hex(entry.serial)}.pem")
    raise ConflictError(
        f"there is already a valid certificate that matches this subject, {subject}, at: {kept}",
        hint="-force revokes it and issues a new one",
    )


def _encode(certificate: Certificate, *, with_text: bool) -> bytes:
    if not with_text:
        return certificate.pem()
    from gsi.cli.certificate_text import certificate_text

    return certificate_text(certificate).encode("utf-8", "backslashreplace") + certificate.pem()


def _facts(issued: Issued, kept: str, out: str) -> dict[str, object]:
    from gsi.cli.ca_books import iso, serial_hex
    from gsi.names import oneline

    certificate = issued.certificate
    return {
        "subject": oneline(certificate.subject_der),
        "serial": serial_hex(certificate.serial),
        "not_before": iso(certificate.not_before),
        "not_after": iso(certificate.not_after),
        "shortened": issued.shortened,
        "sha256": certificate.fingerprint,
        "kept": kept,
        "out": out,
    }


if __name__ == "__main__":
    sys.exit(main())
