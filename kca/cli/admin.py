"""The command `kca-admin`: look into the books, revoke, make revocation lists, trust packages and grid-mapfile lines.

New; Michigan's KCA kept no books. `kca.admin`, `kca.publishing` and the books do the work; here are arguments and
printing (`admin_print`).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, UsageError, count
from gsi.cli.run import EXIT_ERROR, EXIT_OK, run, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from gsi.cli.arguments import Namespace
    from gsi.errors import StorageError
    from gsi.kerberos.ticket import Principal
    from kca.admin import Desk
    from kca.config import KCAConfig
    from kca.principal import Entitlement
    from kca.repository.base import Selection

__all__ = ["build_parser", "main"]

PROG: Final = "kca-admin"
DEFAULT_CONFIG: Final = "/etc/kca/kca.toml"
REASONS: Final = (
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
)
"""Why a person's certificate is revoked; the other reasons of RFC 5280 are an authority's, or can be taken back."""
MAX_CRL_BYTES: Final = 64 << 20
"""A revocation list of a million certificates."""


def _time(text: str) -> object:
    from gsi.cli.proxy_verify import parse_time

    return parse_time(text)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "administer the Kerberos authority",
        usage=(
            "list [WHICH-CERTIFICATES] [-limit N]",
            "show SERIAL",
            "revoke SERIAL ... [-reason REASON]",
            "crl [-out FILE]",
            "trust-package [-out DIR] [-deb | -files]",
            "gridmap [PRINCIPAL ...] [-realm REALM]",
            "explain PRINCIPAL",
            "prune -before TIME",
            "check",
        ),
    )
    section = parser.section("Which authority")
    section.value(
        "-config",
        "-c",
        metavar="FILE",
        completion=Completion.FILE,
        text=f"the configuration (KCA_CONFIG or {DEFAULT_CONFIG})",
    )
    section = parser.section("Which certificates (list)")
    section.value("-principal", metavar="NAME", text="of this principal; the realm may be left out where there is one")
    section.value("-realm", metavar="REALM", text="of this realm (list, gridmap)")
    section.value("-subject", metavar="TEXT", text="whose subject holds this text")
    section.flag("-valid", text="that hold now")
    section.flag("-revoked", text="that were revoked")
    section.value("-since", metavar="TIME", convert=_time, text="issued at this time or later: ISO 8601, or seconds")
    section.value("-until", metavar="TIME", convert=_time, text="issued before this time")
    section.value(
        "-limit",
        metavar="N",
        convert=lambda text: count(text, minimum=1),
        default=100,
        text="the newest so many (100)",
    )
    section = parser.section("What to do")
    section.value("-reason", metavar="REASON", choices=REASONS, default="unspecified", text="revoke: why")
    section.value("-before", metavar="TIME", convert=_time, text="prune: certificates that ended before this time")
    section.value(
        "-out",
        metavar="PATH",
        completion=Completion.FILE,
        text="crl: the file (else standard output, PEM); trust-package: the directory (else the working directory)",
    )
    section.flag("-der", text="crl: DER in place of PEM, as URLs of revocation lists have it")
    section.flag("-deb", text="trust-package: a Debian package as well")
    section.flag("-files", text="trust-package: the files themselves, in place of packages")
    section.value("-crl", metavar="FILE", completion=Completion.FILE, text="trust-package: put this revocation list in")
    section.value("-package-version", metavar="VERSION", default="1.0", text="trust-package: the version (1.0)")
    section = parser.section("Output")
    section.flag("-json", text="print JSON: one object, or for list one in each line")
    parser.operand("COMMAND", dest="words", many=True, text="what to do, and to what")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    words: list[str] = arguments.words
    command, rest = (words[0], words[1:]) if words else ("", [])
    commands: dict[str, Callable[[Namespace, list[str]], int]] = {
        "list": _list,
        "show": _show,
        "revoke": _revoke,
        "crl": _crl,
        "trust-package": _trust_package,
        "gridmap": _gridmap,
        "explain": _explain,
        "prune": _prune,
        "check": _check,
    }
    if command not in commands:
        what = f"there is no command {command!r}" if command else "a command is missing"
        raise UsageError(what, hint=f"one of {', '.join(commands)}")
    if rest and command in {"list", "crl", "trust-package", "prune", "check"}:
        raise UsageError(f"{command} takes no operand")
    return commands[command](arguments, rest)


def _config(arguments: Namespace) -> KCAConfig:
    from gsi.system.environ import get_variable
    from kca.config import load_config

    return load_config(os.path.abspath(arguments.config or get_variable("KCA_CONFIG") or DEFAULT_CONFIG))


def _desk(config: KCAConfig) -> AbstractContextManager[Desk]:
    """Open books and audit for changes."""
    import contextlib
    import getpass

    from gsi.system import clock
    from gsi.system.audit import AuditLog
    from kca.admin import Desk
    from kca.wiring.authority import load_authority_certificate
    from kca.wiring.service import open_books

    @contextlib.contextmanager
    def opened() -> Iterator[Desk]:
        certificate = load_authority_certificate(config.authority)
        with (
            contextlib.closing(open_books(config)) as books,
            contextlib.closing(AuditLog(config.store.audit_path)) as audit,
        ):
            yield Desk(books, certificate, audit, by=getpass.getuser(), clock=clock.now)

    return opened()


# --- certificates -----------------------------------------------------------------------------------------------------


def _serial(text: str) -> int:
    try:
        found = int(text.replace(":", ""), 16)
    except ValueError as error:
        raise UsageError(f"{text!r} is no serial number", hint="hexadecimal digits, as `list` prints them") from error
    if not 0 < found < 1 << 159:
        raise UsageError(f"{text!r} is no serial number")
    return found


def _selection(arguments: Namespace, config: KCAConfig) -> Selection:
    from gsi.system import clock
    from kca.repository.base import Selection

    return Selection(
        principal=_principal(arguments.principal, config).text if arguments.principal else None,
        realm=arguments.realm,
        subject=arguments.subject,
        valid_at=clock.now() if arguments.valid else None,
        revoked=True if arguments.revoked else None,
        since=arguments.since,
        until=arguments.until,
    )


def _principal(text: str, config: KCAConfig) -> Principal:
    from gsi.errors import ParseError
    from gsi.kerberos.ticket import Principal

    realms = list(config.realm)
    if "@" not in text and len(realms) == 1:
        text = f"{text}@{realms[0]}"
    try:
        return Principal.parse(text)
    except ParseError as error:
        raise UsageError(error.message, hint=f"like alice@{realms[0]}") from error


def _list(arguments: Namespace, _words: list[str]) -> int:
    import contextlib

    from kca.cli.admin_print import print_entries
    from kca.wiring.service import open_books

    config = _config(arguments)
    damaged: list[StorageError] = []
    with contextlib.closing(open_books(config)) as books:
        found = books.search(_selection(arguments, config), limit=arguments.limit, on_damage=damaged.append)
        print_entries(found, as_json=arguments.json)
    for error in damaged:
        warn(PROG, error.message)
    return EXIT_ERROR if damaged else EXIT_OK


def _show(arguments: Namespace, words: list[str]) -> int:
    from kca.cli.admin_print import print_entry

    if len(words) != 1:
        raise UsageError("show takes one serial number")
    with _desk(_config(arguments)) as desk:
        print_entry(desk.find(_serial(words[0])), as_json=arguments.json)
    return EXIT_OK


def _revoke(arguments: Namespace, words: list[str]) -> int:
    from gsi.ca.crl import parse_reason
    from kca.cli.admin_print import print_revoked

    if not words:
        raise UsageError("revoke takes serial numbers")
    serials = [_serial(word) for word in words]
    with _desk(_config(arguments)) as desk:
        for serial in serials:
            desk.find(serial)  # all or none
        for serial in serials:
            entry, is_new = desk.revoke(serial, parse_reason(arguments.reason))
            print_revoked(entry, is_new, as_json=arguments.json)
    return EXIT_OK


def _crl(arguments: Namespace, _words: list[str]) -> int:
    from gsi.pem import encode_pem
    from gsi.system.files import write_public
    from kca.cli.admin_print import print_json
    from kca.wiring.authority import load_authority_certificate, open_signer

    _check_out(arguments)  # a list that is made has its number, wherever it goes
    config = _config(arguments)
    signer = open_signer(config.authority, load_authority_certificate(config.authority))
    try:
        with _desk(config) as desk:
            crl, number, entries = desk.make_crl(signer, config.authority.crl_lifetime)
    finally:
        signer.close()
    data = crl if arguments.der else encode_pem("X509 CRL", crl)
    if arguments.out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return EXIT_OK
    write_public(arguments.out, data)
    if arguments.json:
        print_json({"number": number, "certificates": entries, "file": arguments.out})
    else:
        sys.stdout.write(f"number {number}, {entries} certificates\n")
    return EXIT_OK


def _check_out(arguments: Namespace) -> None:
    """Find out whether there is a place for a revocation list.

    Raises:
        UsageError: There is not.
    """
    if arguments.out is None:
        if arguments.json:
            raise UsageError("-json needs -out: the list itself goes to standard output")
        return
    directory = os.path.dirname(arguments.out) or "."
    if os.path.isdir(arguments.out) or not os.access(directory, os.W_OK | os.X_OK):
        raise UsageError(f"{arguments.out}: no file can be written there")


def _prune(arguments: Namespace, _words: list[str]) -> int:
    from kca.cli.admin_print import print_json

    if arguments.before is None:
        raise UsageError("prune needs -before")
    with _desk(_config(arguments)) as desk:
        removed = desk.prune(before=arguments.before)
    if arguments.json:
        print_json({"removed": removed})
    else:
        sys.stdout.write(f"{removed} certificates removed\n")
    return EXIT_OK


# --- for sites --------------------------------------------------------------------------------------------------------


def _trust_package(arguments: Namespace, _words: list[str]) -> int:
    from gsi.ca.package import CAPackage
    from gsi.cli.run import printable
    from gsi.system.files import read_public, write_public
    from kca.cli.admin_print import print_json
    from kca.publishing import trust_files
    from kca.wiring.authority import load_authority_certificate

    config = _config(arguments)
    certificate = load_authority_certificate(config.authority)
    crl = None if arguments.crl is None else read_public(arguments.crl, max_bytes=MAX_CRL_BYTES)
    files = trust_files(certificate, config.realm, crl_urls=config.authority.crl_urls, crl=crl)
    package = CAPackage(certificate, files, version=arguments.package_version)
    if arguments.files:
        made = dict(package.contents)
    else:
        made = {package.tarball_name: package.tarball()}
        if arguments.deb:
            made[package.deb_name] = package.deb()
    directory = arguments.out or "."
    if not os.path.isdir(directory):
        raise UsageError(f"{directory}: no such directory")
    paths = [os.path.join(directory, name) if directory != "." else name for name in sorted(made)]
    for path in paths:
        write_public(path, made[os.path.basename(path)])
    if arguments.json:
        print_json({"hash": package.hash, "files": sorted(package.contents), "written": paths})
    else:
        sys.stdout.writelines(f"{printable(path)}\n" for path in paths)
    return EXIT_OK


def _gridmap(arguments: Namespace, words: list[str]) -> int:
    import contextlib

    from gsi.errors import DeniedError, ParseError
    from gsi.kerberos.ticket import Principal
    from gsi.system import clock
    from kca.cli.admin_print import print_json
    from kca.publishing import gridmap_line
    from kca.repository.base import SubjectTakenError
    from kca.service import subject_key
    from kca.wiring.service import open_books

    config = _config(arguments)
    if arguments.realm is None and len(config.realm) > 1:
        raise UsageError(
            "there are several realms, and people of one name in them are not one person",
            hint="name the realm whose accounts these are with -realm",
        )
    status, lines, found = EXIT_OK, [], []
    realm = arguments.realm or next(iter(config.realm))
    principals = [_principal(word if "@" in word else f"{word}@{realm}", config) for word in words]
    for principal in principals:
        if principal.realm != realm:
            raise UsageError(f"{principal.text} is not of the realm {realm}, whose accounts these are")
    with contextlib.closing(open_books(config)) as books:
        for principal in principals:
            try:
                entitlement = _entitlement(config, principal)
                books.check(principal.text, subject_key(entitlement.subject_der), rate=None, now=clock.now())
                found.append((entitlement.subject, principal))
            except (DeniedError, SubjectTakenError) as error:
                warn(PROG, f"{principal.text}: {error.message}")
                status = EXIT_ERROR
        if not words:
            found = [(owner.subject, Principal.parse(owner.principal)) for owner in books.list_owners(realm=realm)]
    for subject, principal in found:
        try:
            lines.append((subject, principal, gridmap_line(subject, principal)))
        except ParseError as error:
            warn(PROG, f"no line for {principal.text}: {error.message}")
            status = status if not words else EXIT_ERROR
    if arguments.json:
        print_json([{"subject": one, "principal": who.text, "line": line} for one, who, line in lines])
    else:
        sys.stdout.writelines(f"{line}\n" for _, _, line in lines)
    return status


def _entitlement(config: KCAConfig, principal: Principal) -> Entitlement:
    from kca.principal import entitle
    from kca.service import Known
    from kca.wiring.directory import make_directories

    directory = make_directories(config.realm).get(principal.realm)
    known = Known() if directory is None else directory.find(principal)
    return entitle(principal, config.realm, groups=known.groups, claims=known.claims)


def _explain(arguments: Namespace, words: list[str]) -> int:
    from kca.cli.admin_print import print_entitlement

    if len(words) != 1:
        raise UsageError("explain takes one principal")
    config = _config(arguments)
    principal = _principal(words[0], config)
    print_entitlement(_entitlement(config, principal), config.limits, as_json=arguments.json)
    return EXIT_OK


def _check(arguments: Namespace, _words: list[str]) -> int:
    from kca.cli.admin_check import check
    from kca.cli.admin_print import print_findings

    findings = check(_config(arguments))
    print_findings(findings, as_json=arguments.json)
    return EXIT_ERROR if any(finding.is_error for finding in findings) else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
