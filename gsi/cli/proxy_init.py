"""The command `grid-proxy-init`: make a proxy from the user's certificate and key; the rules are in `gsi.proxy`.

Agrees with gct:gsi/proxy/proxy_utils/source/programs/grid_proxy_init.c in options, variables, output lines and exit
status (0 made, 1 any error, 2 the user's certificate has expired). Unlike it, drops nothing that was asked for (path
length 0, policies with odd bytes), refuses a policy language without a policy, and never touches the old proxy before
the new one is complete.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import (
    BITS,
    KEY_TYPES,
    CommandParser,
    Completion,
    UsageError,
    bits,
    count,
    duration,
)
from gsi.cli.proxy_options import check_proxy_options, usage_error
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable, run, warn
from gsi.errors import ConfigError, CredentialError, CredentialProblem, GridError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from gsi.cli.arguments import Namespace
    from gsi.credential import Credential
    from gsi.proxy.issue import ProxyOptions
    from gsi.system.environ import Locations
    from gsi.trust.anchors import TrustAnchors

__all__ = ["EXIT_EXPIRED", "build_parser", "main"]

PROG = "grid-proxy-init"
EXIT_EXPIRED = 2
"""The user's certificate has expired, as in the C tool."""


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "make a proxy certificate",
        usage=("[-valid H:M] [-limited | -independent | -policy FILE -pl OID] [options]",),
    )
    kind = parser.section("What the proxy may do")
    kind.flag("-limited", text="make a limited proxy, which may move data but not start jobs")
    kind.flag("-independent", text="make a proxy with an identity of its own and none of your rights")
    kind.value(
        "-policy",
        metavar="FILE",
        completion=Completion.FILE,
        text="restrict the proxy by the policy in FILE, written in the language given with -policy-language",
    )
    kind.value(
        "-policy-language",
        "-pl",
        metavar="OID",
        text="the object identifier of the policy's language",
    )
    kind.value(
        "-path-length",
        metavar="N",
        convert=count,
        text="allow a chain of at most N further proxies made from this one (0: none; default: no limit)",
    )
    life = parser.section("How long and how strong")
    life.value(
        "-valid",
        metavar="H:M",
        convert=duration,
        text="lifetime in hours and minutes (default 12:00; 0:0: as long as the certificate it is made from)",
    )
    life.value("-hours", metavar="H", convert=count, text="lifetime in hours (deprecated, use -valid)")
    life.value(
        "-bits",
        metavar="B",
        convert=bits,
        suggestions=map(str, BITS),
        text="size of an RSA key: 2048 (default), 3072 or 4096; 512 and 1024 are refused as unsafe",
    )
    life.value(
        "-key-type",
        metavar="TYPE",
        choices=KEY_TYPES,
        default="rsa",
        text="kind of the proxy's key: rsa (default), p256, p384 or ed25519; C programs want rsa",
    )
    shape = parser.section("Which form")
    shape.flag("-rfc", text="make an RFC 3820 proxy (default for a user certificate)")
    shape.flag("-draft", text="make a pre-RFC (GSI-3) proxy, for very old services only")
    shape.flag("-old", text="make a legacy (GSI-2) proxy, for very old services only")
    files = parser.section("Files")
    files.value(
        "-cert",
        metavar="FILE",
        completion=Completion.FILE,
        text="the user certificate; *.p12 means PKCS#12 with the key",
    )
    files.value("-key", metavar="FILE", completion=Completion.FILE, text="the user's private key")
    files.value("-certdir", metavar="DIR", completion=Completion.DIRECTORY, text="the trust directory, for -verify")
    files.value("-out", metavar="FILE", completion=Completion.FILE, text="where to write the proxy")
    how = parser.section("How it runs")
    how.flag("-verify", text="verify the new proxy up to a trusted CA before it is written")
    how.flag("-pwstdin", text="read the pass phrase from standard input")
    how.flag("-q", dest="quiet", text="print only warnings and errors")
    how.flag("-json", text="print what was made as one JSON object instead of lines for people")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, exit_code=_exit_code, short_lived=True)


def _exit_code(error: GridError) -> int:
    is_expired = isinstance(error, CredentialError) and error.problem is CredentialProblem.EXPIRED
    return EXIT_EXPIRED if is_expired else EXIT_ERROR


def _execute(arguments: Namespace) -> int:
    """Carry out the command: everything that can be refused without the pass phrase is refused before asking for it."""
    _check_combinations(arguments)

    from gsi.cli.user_credential import load_signer, read_policy, verify_made
    from gsi.system import clock
    from gsi.system.credential_files import save_proxy
    from gsi.system.environ import read_locations

    policy = read_policy(arguments.policy)
    locations = read_locations()
    out = arguments.out or locations.proxy
    _check_directories(arguments, out)
    anchors = _load_anchors(arguments, locations) if arguments.verify else None
    credential = load_signer(
        arguments.cert,
        arguments.key,
        locations,
        from_stdin=arguments.pwstdin,
        silent=_is_silent(arguments),
        debug=arguments.debug,
    )
    now = clock.now()
    proxy = _make(arguments, credential, policy, now)
    if anchors is not None:
        verify_made(proxy, anchors, now)
        if not _is_silent(arguments):
            sys.stdout.write("Proxy Verify OK\n")
    save_proxy(out, proxy)
    _show_result(arguments, credential, proxy, out, now)
    return EXIT_OK


# --- What was asked for ----------------------------------------------------------------------------------------------


def _check_combinations(arguments: Namespace) -> None:
    """Refuse options that contradict one another; the C tool drops some of them in silence.

    Raises:
        UsageError: With what to write instead.
    """
    restricted = arguments.policy is not None or arguments.policy_language is not None
    if arguments.limited + arguments.independent + restricted > 1:
        raise usage_error(PROG, "-limited, -independent and -policy/-policy-language are mutually exclusive")
    if arguments.old + arguments.rfc + arguments.draft > 1:
        raise usage_error(PROG, "-old, -rfc, and -draft are mutually exclusive")
    check_proxy_options(
        PROG,
        arguments,
        no_policy=UsageError(
            "-policy-language without -policy would restrict nothing",
            hint="give the policy's file with -policy, or use -limited or -independent",
        ),
    )


def _lifetime(arguments: Namespace) -> timedelta | None:
    """Return the lifetime asked for; None for the default, zero for the signer's."""
    from datetime import timedelta

    if arguments.hours is not None:
        return timedelta(hours=arguments.hours)
    lifetime: timedelta | None = arguments.valid
    return lifetime


def _options(arguments: Namespace, policy: bytes | None) -> ProxyOptions:
    from gsi.keys import KeyType
    from gsi.proxy.issue import ProxyOptions
    from gsi.proxy.kinds import ProxyFormat, ProxyKind

    kind = None
    if arguments.limited:
        kind = ProxyKind.LIMITED
    elif arguments.independent:
        kind = ProxyKind.INDEPENDENT
    form = None
    if arguments.rfc:
        form = ProxyFormat.RFC3820
    elif arguments.draft:
        form = ProxyFormat.GT3
    elif arguments.old:
        form = ProxyFormat.GT2
    return ProxyOptions(
        kind=kind,
        format=form,
        lifetime=_lifetime(arguments),
        path_length=arguments.path_length,
        language=arguments.policy_language,
        policy=policy,
        allow_legacy=arguments.draft or arguments.old,
        key_type=KeyType(arguments.key_type),
        key_bits=arguments.bits or BITS[0],
    )


# --- Files -----------------------------------------------------------------------------------------------------------


def _check_directories(arguments: Namespace, out: str) -> None:
    """Find a place that cannot work before the user types a pass phrase."""
    import os

    from gsi.cli.user_credential import check_out

    check_out(out)
    if arguments.certdir is not None and not os.path.isdir(arguments.certdir):
        raise ConfigError(f"{arguments.certdir} is not a directory", hint="-certdir names the trust directory")


def _is_silent(arguments: Namespace) -> bool:
    """Tell whether standard output is only for warnings and errors, or only for JSON."""
    return bool(arguments.quiet or arguments.json)


# --- Making ----------------------------------------------------------------------------------------------------------


def _make(arguments: Namespace, credential: Credential, policy: bytes | None, now: datetime) -> Credential:
    from gsi.proxy.issue import make_proxy

    options = _options(arguments, policy)
    if arguments.key_type != "rsa" and not arguments.quiet:
        warn(
            PROG,
            f"C programs cannot sign a further proxy with a {arguments.key_type} key, so delegation fails there",
            hint="leave out -key-type if this proxy is to be delegated by GridFTP, GRAM or MyProxy programs in C",
        )
    if _is_silent(arguments):
        return make_proxy(credential, options, now=now)
    sys.stdout.write("Creating proxy ...")
    sys.stdout.flush()
    try:
        proxy = make_proxy(credential, options, now=now)
    except GridError:
        sys.stdout.write("\n")
        raise
    sys.stdout.write(" Done\n")
    return proxy


def _load_anchors(arguments: Namespace, locations: Locations) -> TrustAnchors:
    from gsi.system.trustdir import TrustDirectory

    path = arguments.certdir or locations.trust_dir
    if arguments.debug:
        sys.stderr.write(f"\nTrusted CA Cert Dir: {printable(path)}\n")
    return TrustDirectory(path).anchors()


def _show_result(arguments: Namespace, signer: Credential, proxy: Credential, path: str, now: datetime) -> None:
    from gsi.lifetime import asctime, proxy_validity

    _, _, shortened = proxy_validity(now, _lifetime(arguments), signer.not_after)
    until = asctime(proxy.not_after)
    if arguments.debug:
        sys.stderr.write(f"\nOutput File: {printable(path)}\n")
    if shortened:
        sys.stderr.write(
            f"\nWarning: your certificate and proxy will expire {until}\n"
            " which is within the requested lifetime of the proxy\n"
        )
    if arguments.json:
        _print_json(arguments, proxy, path, shortened=shortened)
    elif not (shortened or arguments.quiet):
        sys.stdout.write(f"Your proxy is valid until: {until}\n")


def _print_json(arguments: Namespace, proxy: Credential, path: str, *, shortened: bool) -> None:
    import json

    from gsi.proxy.chain import ProxyChain

    chain = ProxyChain.split(proxy.certificates)
    found = {
        "path": path,
        "identity": chain.identity_text,
        "subject": proxy.subject,
        "type": chain.type_text,
        "format": chain.format,
        "kind": chain.leaf_kind,
        "depth_left": chain.depth_left,
        "not_before": f"{proxy.certificate.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{proxy.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "shortened": shortened,
        "verified": arguments.verify,
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
