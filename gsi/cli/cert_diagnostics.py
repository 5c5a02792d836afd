"""The command `grid-cert-diagnostics`: look for what is wrong with credentials and trust, here and at servers.

Takes the options of gct:gsi/proxy/proxy_utils/source/programs/grid-cert-diagnostics.c. Unlike it, says what is wrong
and what to do in one line each, looks at CRLs, modes and dates that come near, judges by our own validator, and ends
with status 1 when something is wrong. What is looked at is in `gsi.system.diagnose`, `gsi.trust.diagnose` and
`gsi.cli.server_findings`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import SECRET_SOURCES, CommandParser, Completion, count, secret_source
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from gsi.cli.arguments import Namespace
    from gsi.secret import Passphrase
    from gsi.system.environ import Locations
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.diagnose import Finding
    from gsi.trust.peername import NameMode

__all__ = ["build_parser", "main"]

PROG = "grid-cert-diagnostics"

NAME_MODES = ("STRICT_GT2", "HYBRID", "STRICT_RFC2818")
CRL_POLICIES = ("require", "if-present", "off")
TIME_SERVER = "time.nist.gov"
TIMEOUT_SECONDS = 10


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "find what is wrong with credentials and trust", help_names=("-help", "-usage", "-h"))
    what = parser.section("What to look at, besides the environment and the trust directory")
    what.flag(
        "-p", dest="personal", text="the user's certificate and key, the proxy, and the host's certificate and key"
    )
    what.value(
        "-c",
        metavar="FILE",
        dest="certificates",
        completion=Completion.FILE,
        repeatable=True,
        text="the certificate in FILE with its chain, - for standard input",
    )
    what.value(
        "-s",
        metavar="HOST[:PORT]",
        dest="services",
        repeatable=True,
        text="the certificates of the TLS service there (default port 443)",
    )
    what.value(
        "-g",
        metavar="HOST[:PORT]",
        dest="gridftp",
        repeatable=True,
        text="the certificates of the GridFTP service there (default port 2811)",
    )
    what.flag("-n", dest="clock", text="this machine's clock, by asking a time server")
    how = parser.section("How to judge")
    how.value("-H", metavar="HOST", dest="host", text="the server that certificates of -c (and -s, -g) must be for")
    how.value(
        "-m",
        metavar="MODE",
        dest="mode",
        choices=NAME_MODES,
        text="how names of servers are compared: STRICT_GT2, HYBRID (default) or STRICT_RFC2818",
    )
    how.value("-certdir", metavar="DIR", completion=Completion.DIRECTORY, text="the trust directory")
    how.value(
        "-crl",
        metavar="POLICY",
        choices=CRL_POLICIES,
        default="if-present",
        text="a CA without revocation list is an error (require), a warning (if-present, default) or fine (off)",
    )
    how.value("-time-server", metavar="HOST[:PORT]", text=f"whom -n asks, by SNTP (default {TIME_SERVER})")
    how.value(
        "-timeout",
        metavar="SECONDS",
        convert=_seconds,
        default=TIMEOUT_SECONDS,
        text=f"time for each server, the whole talk with it (default {TIMEOUT_SECONDS})",
    )
    how.flag("-http", text="ask services of -s for the time by HTTP; without it only those at port 443 or 8443")
    how.value(
        "-passin",
        metavar="SOURCE",
        convert=secret_source,
        text=f"where the pass phrase of the user's key comes from: {SECRET_SOURCES}",
    )
    output = parser.section("Output")
    output.flag("-q", dest="quiet", text="print only warnings and errors")
    output.flag("-strict", text="take warnings for errors")
    output.flag("-json", text="print the findings as one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _seconds(text: str) -> int:
    return count(text, minimum=1, maximum=3600)


def _execute(arguments: Namespace) -> int:
    from gsi.cli.arguments import UsageError
    from gsi.system import clock
    from gsi.trust.diagnose import Severity

    if arguments.host is not None and not (arguments.certificates or arguments.services or arguments.gridftp):
        raise UsageError("-H goes with -c, -s or -g", hint=f"{PROG} -c FILE -H {arguments.host}")
    now = clock.now()
    found: list[tuple[str, Finding]] = []
    title = ""
    for section, finding in _look(arguments, now):
        final = _finish(finding, strict=arguments.strict)
        found.append((section, final))
        if arguments.json or (arguments.quiet and final.severity in {Severity.OK, Severity.NOTE}):
            continue
        if section != title and not arguments.quiet:
            sys.stdout.write(f"{title and chr(10)}{section}\n")
            title = section
        sys.stdout.write(_line(final))
        sys.stdout.flush()  # a server that is slow to answer must not hold back what is known
    errors = sum(finding.severity is Severity.ERROR for _, finding in found)
    if arguments.json:
        _print_json(found, now)
    elif not arguments.quiet:
        warnings = sum(finding.severity is Severity.WARNING for _, finding in found)
        sys.stdout.write(f"\n{_counted(errors, 'error')}, {_counted(warnings, 'warning')}\n")
    return EXIT_ERROR if errors else EXIT_OK


def _counted(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


# --- What is looked at -----------------------------------------------------------------------------------------------


def _look(arguments: Namespace, now: datetime) -> Iterator[tuple[str, Finding]]:
    """Yield the findings as they come, each with the title it belongs under."""
    from gsi.system.diagnose import diagnose_environment, diagnose_trust_directory
    from gsi.system.environ import read_locations
    from gsi.trust.options import CRLPolicy

    locations = read_locations()
    for finding in diagnose_environment(locations):
        yield "Environment", finding
    path = arguments.certdir or locations.trust_dir
    found, anchors = diagnose_trust_directory(path, now=now, crl=CRLPolicy(arguments.crl))
    for finding in found:
        yield "Trust directory", finding
    if arguments.clock:
        yield "Clock", _clock_finding(arguments)
    if arguments.personal:
        for finding in _credential_findings(arguments, locations, anchors, now):
            yield "Credentials", finding
    mode = _mode(arguments, locations)
    for path in arguments.certificates:
        for finding in _file_findings(path, arguments, anchors, now, mode):
            yield "Certificate", finding
    if arguments.services or arguments.gridftp:
        from gsi.cli.server_findings import Probe, look_at_gridftp, look_at_service

        probe = Probe(anchors, mode, CRLPolicy(arguments.crl), arguments.host, arguments.timeout, arguments.http)
        for text in arguments.services:
            for finding in look_at_service(text, probe):
                yield "Service", finding
        for text in arguments.gridftp:
            for finding in look_at_gridftp(text, probe):
                yield "GridFTP service", finding


def _mode(arguments: Namespace, locations: Locations) -> NameMode:
    """Return the mode that -m gives, else that of the variable or gsi.conf, else the C libraries' own."""
    from gsi.errors import ConfigError
    from gsi.system.gsi_conf import find_setting, load_gsi_conf
    from gsi.trust.peername import NameMode

    if arguments.mode is not None:
        return NameMode(arguments.mode)
    try:
        return NameMode(find_setting("NAME_COMPATIBILITY", load_gsi_conf(locations.gsi_conf)) or NameMode.HYBRID)
    except (ConfigError, ValueError):
        return NameMode.STRICT_RFC2818  # a finding of the environment tells of it


def _credential_findings(
    arguments: Namespace, locations: Locations, anchors: TrustAnchors | None, now: datetime
) -> Iterator[Finding]:
    import os

    from gsi.system.diagnose import CredentialPlace, Whose, diagnose_credential, diagnose_proxy
    from gsi.trust.diagnose import Finding, Severity
    from gsi.trust.options import CRLPolicy

    crl = CRLPolicy(arguments.crl)

    is_any = False
    for whose, places in ((Whose.USER, locations.user_credentials), (Whose.HOST, locations.host_credentials)):
        there = next((pair for pair in places if any(map(os.path.exists, pair))), None)
        if there is None or (whose is Whose.HOST and there in locations.user_credentials):
            continue
        is_any = True
        ask = _asker(arguments) if whose is Whose.USER else None
        yield from diagnose_credential(CredentialPlace(whose, *there), anchors, now=now, passphrase=ask, crl=crl)
        if whose is Whose.USER and os.path.exists(locations.gridmap):
            yield from _mapping_findings(there[0], locations.gridmap)
    if os.path.exists(locations.proxy):
        is_any = True
        yield from diagnose_proxy(locations.proxy, anchors, now=now, crl=crl)
    else:
        yield Finding(Severity.NOTE, "missing", locations.proxy, "there is no proxy", "grid-proxy-init makes one")
    if not is_any:
        expected = ", ".join(certificate for certificate, _ in locations.user_credentials)
        message = f"neither a user certificate ({expected or 'no home directory'}) nor a host certificate nor a proxy"
        yield Finding(Severity.ERROR, "missing", "credentials", message, "grid-cert-request asks a CA for one")


def _mapping_findings(certificate_path: str, gridmap_path: str) -> Iterator[Finding]:
    """Yield to which account this machine maps the user, where it has a grid-mapfile."""
    from gsi import names
    from gsi.authz.gridmap import MAX_GRIDMAP_BYTES, parse_gridmap
    from gsi.certificate import load_certificates
    from gsi.credential import MAX_CREDENTIAL_BYTES
    from gsi.errors import GridError
    from gsi.system.credential_files import is_pkcs12_path
    from gsi.system.files import read_public
    from gsi.trust.diagnose import Finding, Severity, finding_of

    if is_pkcs12_path(certificate_path):
        return
    try:
        certificates = load_certificates(read_public(certificate_path, max_bytes=MAX_CREDENTIAL_BYTES))
        subject = names.oneline(certificates[0].subject_der) if certificates else ""
    except GridError:
        return  # the finding about the certificate tells of it
    try:
        account = parse_gridmap(read_public(gridmap_path, max_bytes=MAX_GRIDMAP_BYTES)).find_account(subject)
    except GridError as error:
        yield finding_of(error, gridmap_path)
        return
    told = f"maps {subject} to {account}" if account else f"does not map {subject}: services here do not let it in"
    yield Finding(Severity.NOTE, "gridmap", gridmap_path, told)


def _asker(arguments: Namespace) -> Callable[[], Passphrase] | None:
    """Return who asks for the pass phrase; None where there is nobody to ask, and the key stays closed."""
    import os

    from gsi.cli.prompt import TERMINAL
    from gsi.cli.secret_source import read_secret

    if arguments.passin is None:
        try:
            os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        except OSError:
            return None
    return lambda: read_secret(arguments.passin, "Enter GRID pass phrase for this identity:", option="-passin")


def _file_findings(
    path: str, arguments: Namespace, anchors: TrustAnchors | None, now: datetime, mode: NameMode
) -> Iterator[Finding]:
    from gsi import names
    from gsi.cli.proxy_verify import MAX_CHAIN_FILE_BYTES
    from gsi.errors import GridError, ParseError
    from gsi.system.diagnose import load_chain
    from gsi.system.files import read_public
    from gsi.trust.diagnose import Finding, Severity, diagnose_chain, diagnose_name, finding_of
    from gsi.trust.options import CRLPolicy, Purpose, ValidationOptions

    where = "standard input" if path == "-" else path
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_CHAIN_FILE_BYTES + 1)
            if len(data) > MAX_CHAIN_FILE_BYTES:
                raise ParseError(f"longer than {MAX_CHAIN_FILE_BYTES} bytes", what="file")
        else:
            data = read_public(path, max_bytes=MAX_CHAIN_FILE_BYTES)
    except GridError as error:
        yield finding_of(error, where)
        return
    certificates, fault = load_chain(data, where)
    if fault is not None:
        yield fault
        return
    try:
        yield Finding(Severity.NOTE, "certificate", where, f"of {names.oneline(certificates[0].subject_der)}")
    except GridError as error:
        yield finding_of(error, where)
    if anchors is None:
        yield Finding(Severity.ERROR, "untrusted", where, "cannot be judged without a trust directory")
        return
    purpose = Purpose.ANY if arguments.host is None else Purpose.SERVER
    options = ValidationOptions(purpose=purpose, crl=CRLPolicy(arguments.crl))
    found, peer = diagnose_chain(certificates, anchors, now=now, options=options, where=where)
    yield from found
    if peer is not None and arguments.host is not None:
        from gsi.cli.server_findings import names_of_host

        yield diagnose_name(peer, names_of_host(arguments.host, None, mode), mode, where=where)


def _clock_finding(arguments: Namespace) -> Finding:
    from gsi.cli.server_findings import look_at_clock

    return look_at_clock(arguments.time_server or TIME_SERVER, timeout=arguments.timeout)


# --- Output ----------------------------------------------------------------------------------------------------------


def _finish(finding: Finding, *, strict: bool) -> Finding:
    """Add the general hint where a finding has none of its own; take a warning for an error if asked to."""
    from dataclasses import replace

    from gsi.cli.hints import find_hint_for
    from gsi.trust.diagnose import Severity

    if strict and finding.severity is Severity.WARNING:
        finding = replace(finding, severity=Severity.ERROR)
    if finding.hint is None and finding.severity is Severity.ERROR:
        finding = replace(finding, hint=find_hint_for(finding.check))
    return finding


def _line(finding: Finding) -> str:
    """Write a finding in one line: how bad, where, what, what to do."""
    hint = "" if finding.hint is None else f" -- {finding.hint}"
    text = f"{finding.where}: {finding.message}{hint}".replace("\n", " ")
    return f"  {finding.severity:<8} {printable(text)}\n"


def _print_json(found: Sequence[tuple[str, Finding]], now: datetime) -> None:
    import json

    from gsi.trust.diagnose import Severity

    counts = {severity.value: sum(finding.severity is severity for _, finding in found) for severity in Severity}
    shown = {
        "at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "counts": counts,
        "findings": [
            {
                "section": section,
                "severity": finding.severity,
                "check": finding.check,
                "where": finding.where,
                "message": finding.message,
                "hint": finding.hint,
            }
            for section, finding in found
        ],
    }
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
