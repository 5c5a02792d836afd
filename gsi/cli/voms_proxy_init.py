"""The command `voms-proxy-init`: a proxy with attributes from VOMS servers; `gsi.cli.voms_fetch` asks and judges.

Has the options of the C program (voms: src/client/vomsclient.cc) and of the Java one, the output lines of the C
program, and its exit status: 0 made, 3 the private key could not be opened, 1 any other error. Unlike them, it judges
what the servers give before it writes anything, writes the proxy whatever extensions the user's certificate has, and
makes no temporary proxy.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import (
    BITS,
    KEY_TYPES,
    Completion,
    UsageError,
    bits,
    count,
    duration,
)
from gsi.cli.proxy_options import check_proxy_options, usage_error
from gsi.cli.run import EXIT_OK, printable, run
from gsi.cli.voms_arguments import (
    VOMSParser,
    add_conf,
    add_server_options,
    add_user_options,
    exit_code,
    one_line,
)
from gsi.errors import GridError
from gsi.voms.wishes import parse_fqan, parse_wish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from gsi.cli.arguments import Namespace
    from gsi.cli.voms_fetch import Console
    from gsi.credential import Credential
    from gsi.proxy.issue import ProxyOptions
    from gsi.proxy.kinds import ProxyFormat
    from gsi.system.environ import Locations
    from gsi.system.trustdir import TrustDirectory
    from gsi.voms.attribute_cert import AttributeCertificate

__all__ = ["build_parser", "load_holder", "main", "make_console", "show_attributes", "wants_verification"]

PROG = "voms-proxy-init"
MAX_INCLUDED_BYTES = 64 << 10
"""An included file travels in every handshake, as a policy does."""


def build_parser() -> VOMSParser:
    """Return the command's parser."""
    parser = VOMSParser(
        PROG,
        "make a proxy certificate with VOMS attributes",
        usage=("-voms VO[:ATTRIBUTE] [-voms ...] [options]", "[options]"),
    )
    what = parser.section("Which attributes")
    what.value(
        "-voms",
        metavar="VO[:ATTRIBUTE]",
        convert=parse_wish,
        repeatable=True,
        text="ask this VO for attributes: vo, vo:/vo/group, vo:/vo/group/Role=r, vo:/Role=r or vo:all; may be "
        "repeated, for several attributes and several VOs",
    )
    what.value(
        "-order",
        metavar="FQAN",
        convert=parse_fqan,
        repeatable=True,
        text="put this attribute first; may be repeated",
    )
    what.value(
        "-target",
        metavar="HOST",
        repeatable=True,
        text="make the attributes good for this host only; may be repeated, or name several with commas",
    )
    what.value(
        "-vomslife",
        metavar="H:M",
        convert=duration,
        text="lifetime of the attributes (default: that of the proxy; 0:0: as long as the server gives)",
    )
    what.flag("-list", text="show the attributes that the server of the one VO would give, and make no proxy")
    what.value(
        "-separate",
        metavar="FILE",
        completion=Completion.FILE,
        text="write the attributes to FILE, and make no proxy",
    )
    what.value(
        "-includeac",
        metavar="FILE",
        completion=Completion.FILE,
        repeatable=True,
        text="put the attributes from FILE, as written by -separate, into the proxy; may be repeated",
    )
    what.flag("-dont-verify-ac", "-dont_verify_ac", text="take attributes that this machine has no reason to believe")
    servers = parser.section("Which servers")
    add_server_options(servers)
    servers.value(
        "-vomsdir",
        metavar="DIR",
        completion=Completion.DIRECTORY,
        text="the directory of trusted VOMS servers (LSC files)",
    )
    _add_proxy_options(parser)
    who = parser.section("Who asks and signs")
    add_user_options(who)
    who.flag("-verify", text="say that the new proxy was verified, which it always is")
    how = parser.section("How it runs")
    add_conf(how)
    how.flag("-failonwarn", "-f", text="take warnings as errors")
    how.flag("-ignorewarn", text="show no warnings")
    how.flag("-quiet", "-q", text="print only errors")
    return parser


def _add_proxy_options(parser: VOMSParser) -> None:
    proxy = parser.section("The proxy")
    proxy.value("-out", metavar="FILE", completion=Completion.FILE, text="where to write the proxy")
    proxy.value(
        "-valid",
        metavar="H:M",
        convert=duration,
        text="lifetime of proxy and attributes (default 12:00; 0:0: as long as the certificate it is made from)",
    )
    proxy.value("-hours", metavar="H", convert=count, text="the same in hours (deprecated, use -valid)")
    proxy.value(
        "-bits",
        "-b",
        metavar="B",
        convert=lambda text: 0 if text == "0" else bits(text),
        suggestions=map(str, BITS),
        text="size of an RSA key: 2048 (default), 3072, 4096, or 0 for that of the certificate it is made from; 512 "
        "and 1024 are refused as unsafe",
    )
    proxy.value(
        "-key-type",
        metavar="TYPE",
        choices=KEY_TYPES,
        default="rsa",
        text="kind of the proxy's key: rsa (default), p256, p384 or ed25519; C programs want rsa",
    )
    proxy.flag("-limited", text="make a limited proxy, which may move data but not start jobs")
    proxy.value(
        "-policy",
        metavar="FILE",
        completion=Completion.FILE,
        text="restrict the proxy by the policy in FILE, written in the language given with -policy-language",
    )
    proxy.value("-policy-language", "-pl", metavar="OID", text="the object identifier of the policy's language")
    proxy.value(
        "-path-length",
        "-path_length",
        metavar="N",
        convert=count,
        text="allow a chain of at most N further proxies made from this one (0: none; default: no limit)",
    )
    proxy.value(
        "-include", metavar="FILE", completion=Completion.FILE, text="put the content of FILE into the proxy as it is"
    )
    proxy.flag("-rfc", "-r", text="make an RFC 3820 proxy (default for a user certificate)")
    proxy.flag("-old", text="make a legacy (GSI-2) proxy, for very old services only")
    proxy.value(
        "-proxyver",
        metavar="N",
        choices=("2", "3", "4"),
        text="form of the proxy: 2 legacy, 3 the draft before RFC 3820, 4 RFC 3820",
    )
    proxy.flag("-skip_chain_integrity_checks", text="no effect: forms cannot be mixed in one chain (Java tool)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, exit_code=exit_code, short_lived=True)


def _execute(arguments: Namespace) -> int:
    """Carry out the command: everything that can be refused without the pass phrase is refused before asking for it."""
    _check_combinations(arguments)
    from gsi.cli.user_credential import check_out, read_policy
    from gsi.cli.voms_fetch import collect, encode_certificates, plan, read_certificates
    from gsi.system.credential_files import save_proxy
    from gsi.system.environ import read_locations
    from gsi.system.files import read_public, write_private
    from gsi.system.trustdir import TrustDirectory
    from gsi.voms.exchange import ALL

    policy = read_policy(arguments.policy)
    included = None if arguments.include is None else read_public(arguments.include, max_bytes=MAX_INCLUDED_BYTES)
    given = [certificate for path in arguments.includeac for certificate in read_certificates(path)]
    locations = read_locations()
    out = arguments.separate or arguments.out or locations.proxy
    check_out(out)
    directory = TrustDirectory(arguments.certdir or locations.trust_dir)
    directory.anchors()
    wishes = arguments.voms
    if arguments.list:
        wishes = [wish if wish.fqan else wish._replace(fqan=ALL) for wish in wishes]
    questions = plan(
        wishes,
        places=arguments.vomses,
        order=arguments.order,
        targets=[host for text in arguments.target for host in text.split(",") if host],
        lifetime=_attribute_lifetime(arguments),
    )
    console = make_console(PROG, arguments)
    holder = load_holder(arguments, locations)
    certificates = collect(
        holder,
        directory,
        questions,
        console,
        given=given,
        timeout=arguments.timeout,
        vomsdir=arguments.vomsdir,
        verify=wants_verification(arguments),
    )
    if arguments.list:
        show_attributes(certificates)
    elif arguments.separate is not None:
        write_private(out, encode_certificates(certificates))
        console.say(f"Wrote ACs to {printable(out)}\n")
    else:
        options = _options(arguments, holder, policy, certificates, included)
        proxy = _make_proxy(arguments, holder, directory, options, console)
        save_proxy(out, proxy)
        _show_result(arguments, proxy, out, console)
    return EXIT_OK


# --- What was asked for ----------------------------------------------------------------------------------------------


def _check_combinations(arguments: Namespace) -> None:
    """Refuse options that contradict one another.

    Raises:
        UsageError: With what to write instead.
    """
    if arguments.limited and (arguments.policy is not None or arguments.policy_language is not None):
        raise usage_error(PROG, "-limited and -policy/-policy-language are mutually exclusive")
    if _proxy_version(arguments) is None:
        raise usage_error(PROG, "-old, -rfc and -proxyver say different things")
    check_proxy_options(
        PROG,
        arguments,
        no_policy=UsageError(
            "if you specify a policy language you also need to specify a policy file",
            hint="give it with -policy, or use -limited",
        ),
    )
    if arguments.list and (len(arguments.voms) != 1 or arguments.separate is not None):
        raise usage_error(PROG, "-list needs exactly one -voms, and goes without -separate")
    if arguments.separate is not None and not (arguments.voms or arguments.includeac):
        raise usage_error(PROG, "-separate without -voms has nothing to write")
    if not arguments.voms and (arguments.order or arguments.target or arguments.vomslife is not None):
        raise usage_error(PROG, "-order, -target and -vomslife go with -voms")


def _proxy_version(arguments: Namespace) -> str | None:
    """Return the form asked for: "2", "3", "4", or "" for none; None where the options contradict one another."""
    asked = {arguments.proxyver} if arguments.proxyver else set()
    asked |= {"4"} if arguments.rfc else set()
    asked |= {"2"} if arguments.old else set()
    return None if len(asked) > 1 else next(iter(asked), "")


def _lifetime(arguments: Namespace) -> timedelta:
    """Return the lifetime asked for; zero for the signer's."""
    from datetime import timedelta

    from gsi.lifetime import DEFAULT_PROXY_LIFETIME

    if arguments.hours is not None:
        return timedelta(hours=arguments.hours)
    valid: timedelta | None = arguments.valid
    return DEFAULT_PROXY_LIFETIME if valid is None else valid


def _attribute_lifetime(arguments: Namespace) -> timedelta:
    life: timedelta | None = arguments.vomslife
    return _lifetime(arguments) if life is None else life


def make_console(prog: str, arguments: Namespace) -> Console:
    """Return what the command says, by its options -quiet, -ignorewarn, -failonwarn and -debug."""
    from gsi.cli.voms_fetch import Console

    return Console(
        prog,
        quiet=arguments.quiet and not arguments.debug,
        ignore_warnings=arguments.ignorewarn and not arguments.debug,
        fail_on_warnings=arguments.failonwarn,
    )


# --- The attributes ---------------------------------------------------------------------------------------------------


def load_holder(arguments: Namespace, locations: Locations) -> Credential:
    """Return the credential that asks and signs: the user's, or with -noregen the proxy that is there.

    Raises:
        GridError: There is none, it cannot be read or opened, or it cannot sign proxies now.
    """
    from gsi.cli.user_credential import load_signer

    cert, key = arguments.cert, arguments.key
    if arguments.noregen and cert is None:
        cert = locations.proxy
        key = key or cert
    return load_signer(
        cert,
        key,
        locations,
        from_stdin=arguments.pwstdin,
        silent=arguments.quiet,
        debug=arguments.debug,
    )


def wants_verification(arguments: Namespace) -> bool:
    """Tell whether attributes are judged: unless the user, or the variable of the C program, says no."""
    from gsi.system.environ import get_variable

    return not arguments.dont_verify_ac and get_variable("VOMS_PROXY_INIT_DONT_VERIFY_AC") is None


def show_attributes(certificates: Sequence[AttributeCertificate]) -> None:
    """Print the attributes, as `-list` and `voms-proxy-list` do."""
    sys.stdout.write("Available attributes:\n")
    for certificate in certificates:
        sys.stdout.write("".join(f"{one_line(fqan)}\n" for fqan in certificate.info.fqans))


# --- The proxy --------------------------------------------------------------------------------------------------------


def _options(
    arguments: Namespace,
    holder: Credential,
    policy: bytes | None,
    certificates: Sequence[AttributeCertificate],
    included: bytes | None,
) -> ProxyOptions:
    from gsi.cli.voms_fetch import carriers
    from gsi.keys import KeyType, key_bits
    from gsi.proxy.issue import ProxyOptions
    from gsi.proxy.kinds import ProxyKind

    form = _form(arguments)
    size = arguments.bits
    if size == 0:
        size = min(max(key_bits(holder.certificate.public_key()), BITS[0]), BITS[-1])
    return ProxyOptions(
        kind=ProxyKind.LIMITED if arguments.limited else None,
        format=form,
        lifetime=_lifetime(arguments),
        path_length=arguments.path_length,
        language=arguments.policy_language,
        policy=policy,
        allow_legacy=_proxy_version(arguments) in {"2", "3"} or arguments.noregen,
        key_type=KeyType(arguments.key_type),
        key_bits=size or BITS[0],
        extensions=carriers(certificates, included),
    )


def _form(arguments: Namespace) -> ProxyFormat | None:
    from gsi.proxy.kinds import ProxyFormat

    forms = {"2": ProxyFormat.GT2, "3": ProxyFormat.GT3, "4": ProxyFormat.RFC3820}
    return forms.get(_proxy_version(arguments) or "")


def _make_proxy(
    arguments: Namespace, holder: Credential, directory: TrustDirectory, options: ProxyOptions, console: Console
) -> Credential:
    """Make the proxy and check it; one that would be refused is not returned."""
    from gsi.cli.user_credential import verify_made
    from gsi.proxy.issue import make_proxy
    from gsi.system import clock

    if arguments.key_type != "rsa":
        console.warn(
            f"C programs cannot sign a further proxy with a {arguments.key_type} key, so delegation fails there",
            hint="leave out -key-type if this proxy is to be delegated by GridFTP, GRAM or MyProxy programs in C",
        )
    now = clock.now()
    console.say("Creating proxy ")
    try:
        proxy = make_proxy(holder, options, now=now)
    except GridError:
        console.say("\n")
        raise
    console.say(" Done\n")
    verify_made(proxy, directory.anchors(), now)
    _warn_if_shortened(arguments, holder, proxy, console, now)
    return proxy


def _warn_if_shortened(
    arguments: Namespace, holder: Credential, proxy: Credential, console: Console, now: datetime
) -> None:
    from gsi.lifetime import asctime, proxy_validity

    _, _, shortened = proxy_validity(now, _lifetime(arguments), holder.not_after)
    if shortened:
        console.warn(
            f"your certificate and proxy will expire {asctime(proxy.not_after)} which is within the requested lifetime "
            "of the proxy"
        )


def _show_result(arguments: Namespace, proxy: Credential, path: str, console: Console) -> None:
    from gsi.lifetime import asctime

    if arguments.debug:
        sys.stderr.write(f"\nOutput File: {printable(path)}\n")
    console.say(f"\nYour proxy is valid until {asctime(proxy.not_after)}\n")
    if arguments.verify:
        sys.stdout.write("verify OK\n")


if __name__ == "__main__":
    sys.exit(main())
