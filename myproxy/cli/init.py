"""The command `myproxy-init`: store a proxy on the server, for use from elsewhere.

A temporary proxy of the wanted lifetime is made from the user's certificate, and the server receives a proxy made from
that one; so the user's own key signs once, and never leaves. Agrees with gct:myproxy/source/myproxy_init.c (which runs
grid-proxy-init for the first step) in options, variables, output lines and exit status (0, or 1 for any error).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import Completion
from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.options import (
    LongOptionParser,
    add_address_options,
    add_passphrase_options,
    add_server_options,
    hours,
)
from myproxy.cli.policies import add_policy_options, read_policies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from gsi.certificate import Extension
    from gsi.cli.arguments import Namespace
    from gsi.credential import Credential
    from gsi.trust.anchors import TrustAnchors

__all__ = ["build_parser", "main"]

PROG = "myproxy-init"
DEFAULT_CREDENTIAL_HOURS = 168
DEFAULT_PROXY_HOURS = 12


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "store a credential on a MyProxy server")
    add_server_options(parser)
    which = parser.section("What is stored")
    add_address_options(which, credname="a name for the credential (default: none)")
    which.value("-K", "--creddesc", dest="creddesc", metavar="TEXT", text="a description of the credential")
    which.value(
        "-c",
        "--cred_lifetime",
        dest="cred_lifetime",
        metavar="HOURS",
        convert=hours,
        text="lifetime of the stored credential (default 168; 0: as long as your certificate)",
    )
    which.value(
        "-t",
        "--proxy_lifetime",
        dest="proxy_lifetime",
        metavar="HOURS",
        convert=hours,
        text="the most that proxies made from it may live (default 12)",
    )
    which.value(
        "-C", "--certfile", dest="certfile", metavar="FILE", completion=Completion.FILE, text="your certificate"
    )
    which.value("-y", "--keyfile", dest="keyfile", metavar="FILE", completion=Completion.FILE, text="your private key")
    which.value(
        "-m",
        "--voms",
        dest="voms",
        metavar="VO[:ATTRIBUTE]",
        convert=_wish,
        repeatable=True,
        text="store attributes of this VO, too: vo, vo:/vo/group, vo:/vo/group/Role=r or vo:/Role=r; may be repeated",
    )
    add_policy_options(parser.section("Who may have it"))
    proof = parser.section("Pass phrase")
    add_passphrase_options(proof, text="read pass phrases from standard input, one per line")
    proof.flag("-n", "--no_passphrase", dest="no_passphrase", text="set no pass phrase")
    local = parser.section("Local proxy")
    local.flag("-L", "--local_proxy", dest="local_proxy", text="also make a proxy here, of lifetime --proxy_lifetime")
    local.value(
        "--key_type",
        "--key-type",
        dest="key_type",
        metavar="TYPE",
        choices=("rsa", "p256", "p384", "ed25519"),
        default="rsa",
        text="kind of the keys made here: rsa (default), p256, p384 or ed25519; C servers want rsa",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    policies = read_policies(arguments.given)

    from datetime import timedelta

    from gsi.cli.user_credential import introduce, load_signer
    from gsi.secret import Passphrase
    from gsi.system.clock import now
    from gsi.system.environ import read_locations
    from myproxy.cli.attributes import fetch_attributes
    from myproxy.cli.common import choose_username, load_anchors, open_client, read_address, read_passphrase
    from myproxy.protocol.messages import Command, Request

    address = read_address(arguments)
    locations = read_locations()
    anchors = load_anchors(locations)
    signer = load_signer(
        arguments.certfile,
        arguments.keyfile,
        locations,
        from_stdin=arguments.stdin_pass,
        silent=False,
        debug=arguments.debug,
    )
    stored_life = _or_default(arguments.cred_lifetime, DEFAULT_CREDENTIAL_HOURS)
    proxy_life = _or_default(arguments.proxy_lifetime, DEFAULT_PROXY_HOURS)
    username = choose_username(arguments, signer)
    extensions = fetch_attributes(PROG, signer, arguments.voms, stored_life, quiet=False)
    temporary = _make_proxy(arguments, signer, stored_life, anchors, extensions)
    silent = arguments.no_passphrase or "renewer" in policies or "trusted" in policies
    request = Request(
        Command.PUT,
        username,
        passphrase=Passphrase(b"") if silent else read_passphrase(arguments, twice=True),
        lifetime=proxy_life,
        retriever=policies.get("retriever"),
        renewer=policies.get("renewer"),
        trusted_retriever=policies.get("trusted"),
        credential_name=arguments.credname,
        description=arguments.creddesc,
    )
    if arguments.local_proxy:
        from gsi.system.credential_files import save_proxy

        introduce(signer.certificates, "", silent=False)
        save_proxy(locations.proxy, _make_proxy(arguments, signer, proxy_life, anchors, extensions))
    client = open_client(arguments, temporary, anchors, address)
    client.put(request, temporary)
    is_cut = temporary.not_after == signer.not_after  # or as long as the certificate by wish
    left = temporary.not_after - now() if is_cut else stored_life
    hours = left // timedelta(hours=1)
    host = client.connected_to.host if client.connected_to else ""
    sys.stdout.write(f"A proxy valid for {hours} hours ({hours / 24:.1f} days) ")
    sys.stdout.write(f"for user {printable(username)} now exists on {host}.\n")
    return EXIT_OK


def _wish(text: str) -> str:
    from myproxy.cli.attributes import check_wish

    return check_wish(text)


def _or_default(value: timedelta | None, hours: int) -> timedelta:
    from datetime import timedelta

    return timedelta(hours=hours) if value is None else value


def _make_proxy(
    arguments: Namespace,
    signer: Credential,
    lifetime: timedelta,
    anchors: TrustAnchors,
    extensions: tuple[Extension, ...],
) -> Credential:
    """Make a proxy and show it as grid-proxy-init does; it is verified, so that no server need refuse it."""
    from gsi.keys import KeyType
    from gsi.lifetime import asctime, proxy_validity
    from gsi.proxy.issue import ProxyOptions, make_proxy
    from gsi.system.clock import now
    from gsi.trust.options import Purpose, ValidationOptions
    from gsi.trust.verify import verify_chain

    sys.stdout.write("Creating proxy ...")
    sys.stdout.flush()
    moment: datetime = now()
    try:
        options = ProxyOptions(lifetime=lifetime, key_type=KeyType(arguments.key_type), extensions=extensions)
        proxy = make_proxy(signer, options, now=moment)
    finally:
        sys.stdout.write("\n" if sys.exception() else " Done\n")
    verify_chain(proxy.certificates, anchors, now=moment, options=ValidationOptions(purpose=Purpose.ANY))
    sys.stdout.write("Proxy Verify OK\n")
    until = asctime(proxy.not_after)
    _, _, shortened = proxy_validity(moment, lifetime, signer.not_after)
    if shortened:
        sys.stderr.write(
            f"\nWarning: your certificate and proxy will expire {until}\n"
            " which is within the requested lifetime of the proxy\n"
        )
    else:
        sys.stdout.write(f"Your proxy is valid until: {until}\n")
    sys.stdout.flush()
    return proxy
