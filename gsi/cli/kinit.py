"""The command `grid-kinit`: a Kerberos ticket for a grid credential, by the kinit that is installed (PKINIT).

New. No PKINIT of our own: the command chooses the credential, drives MIT's or Heimdal's kinit, and says in plain words
which it used and why another was not. `gsi.kerberos.pkinit` knows both programs.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.cli.arguments import CommandParser, Completion, UsageError, secret_source
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.certificate import Certificate
    from gsi.cli.arguments import Namespace
    from gsi.kerberos.pkinit import Identity, KinitKind
    from gsi.kerberos.ticket import Principal
    from gsi.secret import Passphrase

__all__ = ["build_parser", "main"]

PROG: Final = "grid-kinit"
KINIT_SECONDS: Final = 90.0
"""How long kinit may take: it waits for several KDCs in turn, some seconds each."""

MAX_WORDS: Final = 8 << 10
"""What is read of kinit's words: its errors are one line each."""


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "get a Kerberos ticket with a grid credential",
        usage=(
            "[options] [PRINCIPAL]",
            "-check [options]",
            "-recipe [options] PRINCIPAL@REALM",
        ),
    )
    section = parser.section("Which credential")
    section.value(
        "-cert", metavar="FILE", completion=Completion.FILE, text="the end-entity certificate (X509_USER_CERT)"
    )
    section.value("-key", metavar="FILE", completion=Completion.FILE, text="its key (X509_USER_KEY)")
    section.value("-proxyfile", metavar="FILE", completion=Completion.FILE, text="the proxy (X509_USER_PROXY)")
    section.flag("-proxy", text="the proxy or nothing")
    section.flag("-eec", text="the end-entity certificate, whether or not there is a proxy")
    section.value(
        "-passin", metavar="SOURCE", convert=secret_source, text="the key's pass phrase from file:PATH, fd:N or stdin"
    )
    section = parser.section("Which ticket")
    section.value("-cache", metavar="NAME", text="the credential cache (KRB5CCNAME)")
    section.value("-lifetime", "-l", metavar="TIME", text="how long, as kinit takes it")
    section.flag("-forwardable", "-f", text="one that may be forwarded")
    section.value(
        "-anchors",
        metavar="PLACE",
        text="the CAs that vouch for the KDC, FILE:path or DIR:path (else pkinit_anchors of krb5.conf)",
    )
    section = parser.section("How")
    section.value(
        "-kinit", metavar="PROGRAM", completion=Completion.FILE, text="MIT's or Heimdal's kinit (else that of PATH)"
    )
    section.flag("-check", text="say what each credential is good for with either KDC, ask none, and exit")
    section.flag("-recipe", text="print what the KDC's administrator has to set up, for MIT and Heimdal, and exit")
    section.flag("-dry-run", "-n", text="print the commands in place of running them")
    section.flag("-json", text="print one JSON object (-check)")
    section.flag("-q", dest="quiet", text="print only errors")
    parser.operand("PRINCIPAL", dest="principal", many=False, text="whom to be (else kinit's own idea)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.proxy and arguments.eec:
        raise UsageError("-proxy and -eec are mutually exclusive")
    if arguments.key is not None and arguments.cert is None:
        raise UsageError("-key needs -cert beside it")
    found = _find_candidates(arguments)
    if arguments.recipe:
        return _print_recipe(arguments, found)
    if arguments.check:
        return _print_check(arguments, found)
    return _get_ticket(arguments, found)


# --- credentials ------------------------------------------------------------------------------------------------------


class Candidate(NamedTuple):
    """A credential that may do."""

    identity: Identity
    certificates: tuple[Certificate, ...]
    is_proxy: bool
    fault: str
    """Why it will not do with any KDC; empty where it may."""
    locked: bool
    """The key has a pass phrase."""

    @property
    def eec(self) -> Certificate:
        """The end entity's certificate."""
        from gsi.proxy.kinds import Role, classify

        return next((one for one in self.certificates if classify(one).role is Role.EEC), self.certificates[-1])

    @property
    def words(self) -> str:
        """What it is, for the user."""
        from gsi.names import oneline

        what = "the proxy" if self.is_proxy else "the end-entity certificate"
        return f"{what} {self.identity.certificate} ({oneline(self.eec.subject_der)})"


def _find_candidates(arguments: Namespace) -> tuple[Candidate, ...]:
    """Return the credentials in the order in which they are tried.

    Raises:
        CredentialError: There is none.
    """
    from gsi.errors import CredentialError, CredentialProblem
    from gsi.kerberos.pkinit import Identity
    from gsi.system.environ import read_locations

    locations = read_locations()
    found: list[Candidate] = []
    proxy = arguments.proxyfile or (None if arguments.cert else locations.proxy)
    if proxy is not None and not arguments.eec and (arguments.proxyfile or os.path.exists(proxy)):
        found.append(_load(Identity(proxy, proxy)))
    if not arguments.proxy:
        if arguments.cert is not None:
            found.append(_load(Identity(arguments.cert, arguments.key or arguments.cert)))
        else:
            try:
                found.append(_load(Identity(*locations.find_user_credential())))
            except CredentialError as error:
                if not found or error.problem is not CredentialProblem.MISSING:
                    raise
    if not found:
        raise CredentialError(
            f"{locations.proxy}: there is no proxy",
            problem=CredentialProblem.MISSING,
            hint="make one with grid-proxy-init, or leave -proxy out",
        )
    return tuple(found)


def _load(identity: Identity) -> Candidate:
    from gsi.certificate import load_certificates
    from gsi.credential import MAX_CREDENTIAL_BYTES
    from gsi.errors import CredentialError, CredentialProblem
    from gsi.proxy.kinds import ProxyKind, Role, classify
    from gsi.system import clock
    from gsi.system.credential_files import is_pkcs12_path
    from gsi.system.files import read_private, read_public

    if is_pkcs12_path(identity.certificate):
        raise CredentialError(
            f"{identity.certificate}: PKCS#12 is not read here",
            problem=CredentialProblem.UNSUPPORTED_KEY,
            path=identity.certificate,
            hint="make a proxy of it with grid-proxy-init, or a PEM file with openssl pkcs12",
        )
    if identity.certificate == identity.key:
        data = key_data = read_private(identity.certificate, max_bytes=MAX_CREDENTIAL_BYTES)
    else:
        data = read_public(identity.certificate, max_bytes=MAX_CREDENTIAL_BYTES, check_writers=True)
        key_data = read_private(identity.key, max_bytes=MAX_CREDENTIAL_BYTES)
    certificates = load_certificates(data, what=identity.certificate)
    if not certificates:
        raise CredentialError(
            f"{identity.certificate} holds no certificate",
            problem=CredentialProblem.MISSING,
            path=identity.certificate,
        )
    leaf = classify(certificates[0])
    now, fault = clock.now(), ""
    if min(one.not_after for one in certificates) <= now:
        fault = "it has expired"
    elif leaf.kind not in {None, ProxyKind.FULL}:
        fault = f"it is a {leaf.kind} proxy, and a KDC would take it for a full one"
    locked = b"ENCRYPTED" in key_data
    return Candidate(identity, certificates, leaf.role is Role.PROXY, fault, locked)


# --- the ticket -------------------------------------------------------------------------------------------------------


def _check_anchors(named: str) -> None:
    """Insist that what is named for the CAs is there; kinit's words for it tell nothing.

    Raises:
        NotFoundError: It is not.
    """
    from gsi.errors import NotFoundError

    kind, _, path = named.partition(":")
    if kind in {"FILE", "DIR"} and not os.path.exists(path):
        raise NotFoundError(f"-anchors {named}: does not exist", hint="FILE:path or DIR:path with the KDC's CAs")


def _get_ticket(arguments: Namespace, candidates: tuple[Candidate, ...]) -> int:
    from gsi.errors import RefusedError
    from gsi.kerberos.pkinit import KinitKind, kinit_arguments

    _check_anchors(arguments.anchors or "")
    program, kind = _find_kinit(arguments.kinit)
    said: list[str] = []
    hints: list[str] = []
    for candidate in candidates:
        fault = candidate.fault
        if not fault and candidate.is_proxy and kind is KinitKind.MIT:
            fault = "MIT's kinit and KDC take no proxies"
            hints.append("use the end-entity certificate, or Heimdal's kinit with a Heimdal KDC that allows proxies")
        if fault:
            said.append(f"{candidate.words} was not used: {fault}")
            continue
        argv = [
            program,
            *kinit_arguments(
                kind,
                candidate.identity,
                principal=arguments.principal or "",
                anchors=arguments.anchors or "",
                cache=arguments.cache or "",
                lifetime=arguments.lifetime or "",
                forwardable=arguments.forwardable,
            ),
        ]
        if arguments.dry_run:
            import shlex

            sys.stdout.write(f"{shlex.join(argv)}\n")
            continue
        failure = _run_opened(argv, arguments, candidate)
        if failure is None:
            _tell(arguments, said, f"a ticket with {candidate.words}, by {_owner(kind)} kinit")
            return EXIT_OK
        meaning, hint = _explain(failure)
        said.append(f"{candidate.words} was not taken: {meaning}")
        hints += [hint] if hint else []
    if arguments.dry_run:
        _tell(arguments, said, "")
        return EXIT_OK if len(said) < len(candidates) else EXIT_ERROR
    raise RefusedError("; ".join(said), hint=hints[-1] if hints else None)


def _tell(arguments: Namespace, said: list[str], done: str) -> None:
    """Say what was done, and before it what could not be."""
    from gsi.cli.run import warn

    if arguments.quiet:
        return
    for words in said:
        warn(PROG, words)
    if done:
        sys.stdout.write(f"{printable(done)}\n")


def _owner(kind: KinitKind) -> str:
    return "MIT's" if kind.value == "mit" else "Heimdal's"


def _explain(words: str) -> tuple[str, str | None]:
    from gsi.kerberos.pkinit import explain

    found = explain(words)
    said = " ".join(words.split())[-300:] or "kinit says nothing"
    return (f"{found[0]} ({said})", found[1]) if found else (said, None)


def _find_kinit(named: str | None) -> tuple[str, KinitKind]:
    """Return the program and whose it is.

    Raises:
        NotFoundError: There is none.
    """
    import shutil
    import subprocess

    from gsi.errors import NotFoundError
    from gsi.kerberos.pkinit import kinit_kind

    found = shutil.which(named or "kinit") or (None if named else shutil.which("kinit.heimdal"))
    if found is None:
        raise NotFoundError(
            f"there is no {named or 'kinit'}",
            hint="install MIT's (krb5-user and krb5-pkinit on Debian) or Heimdal's (heimdal-clients)",
        )
    try:
        done = subprocess.run(  # noqa: S603  a program that the user names
            [found, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=KINIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NotFoundError(f"{found} cannot be run: {error}") from error
    return found, kinit_kind(done.stdout[:MAX_WORDS].decode("utf-8", "replace"))


def _run_opened(argv: list[str], arguments: Namespace, candidate: Candidate) -> str | None:
    """Run kinit, with a locked key opened first: Heimdal's does not read what today's programs lock.

    The opened key is in memory that only this process and kinit have, never on a disk.
    """
    if not candidate.locked:
        return _run_kinit(argv)
    from gsi.cli.secret_source import read_secret
    from gsi.errors import ConfigError
    from gsi.kerberos.pkinit import Identity
    from gsi.system.credential_files import load_user_credential

    place = candidate.identity

    def ask() -> Passphrase:
        return read_secret(arguments.passin, f"Enter pass phrase of {place.key}:", option="-passin")

    credential = load_user_credential(place.certificate, place.key, ask)
    try:
        memory = os.memfd_create("grid-kinit", os.MFD_CLOEXEC)
    except (AttributeError, OSError) as error:
        raise ConfigError(
            "this system has no files in memory, for a key that was locked", hint="use a proxy, or a key without lock"
        ) from error
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(credential.encode())
        opened = Identity(f"/proc/self/fd/{memory}", f"/proc/self/fd/{memory}")
        return _run_kinit([word.replace(place.text, opened.text) for word in argv], memory)
    finally:
        os.close(memory)


def _run_kinit(argv: list[str], *descriptors: int) -> str | None:
    """Run kinit; return None where it got the ticket, else what it said.

    It runs in a session of its own: without a terminal, a kinit whose KDC does not take the certificate cannot go over
    to asking for the account's password.
    """
    import signal
    import subprocess

    from gsi.errors import TimeoutExpiredError
    from gsi.system.environ import all_variables

    with subprocess.Popen(  # noqa: S603  a program that the user names
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**all_variables(), "LC_ALL": "C"},
        start_new_session=True,
        pass_fds=descriptors,
    ) as process:
        try:
            output, _ = process.communicate(timeout=KINIT_SECONDS)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            raise TimeoutExpiredError(f"{argv[0]} was not done after {KINIT_SECONDS:g} seconds") from error
    if process.returncode == 0:
        return None
    lines = output[-MAX_WORDS:].decode("utf-8", "replace").splitlines()
    return "\n".join(line for line in lines if line.strip()) or f"exit status {process.returncode}"


# --- -check and -recipe -----------------------------------------------------------------------------------------------


def _print_check(arguments: Namespace, candidates: tuple[Candidate, ...]) -> int:
    told = [_judge(candidate) for candidate in candidates]
    if arguments.json:
        import json

        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return EXIT_OK
    for one in told:
        for name, value in one.items():
            sys.stdout.write(f"{name.replace('_', ' ')}: {printable(value)}\n")
        sys.stdout.write("\n" if one is not told[-1] else "")
    return EXIT_OK


def _judge(candidate: Candidate) -> dict[str, str]:
    """Return what a credential is good for."""
    from gsi.kerberos.pkinit import Purposes, pkinit_principals, purposes
    from gsi.names import oneline

    leaf, eec = candidate.certificates[0], candidate.eec
    principals = [one.text for one in pkinit_principals(leaf)]
    eku = purposes(leaf)
    checking = {Purposes.PKINIT: "", Purposes.SMARTCARD: "pkinit_eku_checking = scLogin"}.get(
        eku, "pkinit_eku_checking = none"
    )
    mapping = "" if principals else "pkinit_cert_match for the principal"
    needs = " and ".join(filter(None, (checking, mapping)))
    mit = f"if its KDC has {needs}" if needs else "yes, if its KDC trusts the CA"
    heimdal = "if its KDC has the subject in pki-mapping" if candidate.is_proxy or not principals else "yes"
    if candidate.is_proxy:
        mit = "no: MIT's kinit and KDC take no proxies"
        heimdal += " and pkinit_allow_proxy_certificate"
    if candidate.fault:
        mit = heimdal = f"no: {candidate.fault}"
    return {
        "file": candidate.identity.certificate,
        "kind": "proxy" if candidate.is_proxy else "end-entity certificate",
        "subject": oneline(eec.subject_der),
        "not_after": f"{min(one.not_after for one in candidate.certificates):%Y-%m-%dT%H:%M:%SZ}",
        "principals": ", ".join(principals) or "none named",
        "extended_key_usage": eku.value,
        "with_MIT": mit,
        "with_Heimdal": heimdal,
    }


def _print_recipe(arguments: Namespace, candidates: tuple[Candidate, ...]) -> int:
    from gsi.kerberos.pkinit import recipe

    principal = _principal(arguments.principal)
    sys.stdout.write(recipe(candidates[0].eec, principal))
    return EXIT_OK


def _principal(text: str | None) -> Principal:
    from gsi.errors import ParseError
    from gsi.kerberos.ticket import Principal

    if text is None:
        raise UsageError("-recipe needs the principal", hint="like alice@EXAMPLE.ORG")
    try:
        return Principal.parse(text)
    except ParseError as error:
        raise UsageError(error.message, hint="like alice@EXAMPLE.ORG") from error


if __name__ == "__main__":
    sys.exit(main())
