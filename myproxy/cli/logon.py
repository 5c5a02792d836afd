"""The command `myproxy-logon`, also named `myproxy-get-delegation`: receive a credential from the server.

Agrees with gct:myproxy/source/myproxy_logon.c in options, variables, output line and exit status (0, or 1 for any
error). The key is made here and never travels. With a proxy at hand that the server refuses, it tries once more
without one; the user is asked for a pass phrase only when the server is there and has proved itself. So does the C
command.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import Completion, UsageError
from gsi.cli.run import EXIT_OK, printable, run, warn
from gsi.errors import AuthenticationError, ConfigError, CredentialError, RefusedError
from myproxy.cli.options import (
    LongOptionParser,
    add_address_options,
    add_proof_options,
    add_server_options,
    filled,
    hours,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsi.cli.arguments import Namespace
    from gsi.credential import Credential
    from gsi.system.environ import Locations
    from myproxy.client import MyProxyClient
    from myproxy.protocol.messages import Request

__all__ = ["build_other_parser", "build_parser", "main"]

PROG = "myproxy-logon"
OTHER_PROG = "myproxy-get-delegation"
MAX_REQUEST_FILE_BYTES = 1 << 17
"""A PEM certificate request: a third more than the DER that is taken."""


def build_parser() -> LongOptionParser:
    """Return the command's parser, under the name by which it was called."""
    return _build_parser(OTHER_PROG if sys.argv[0].endswith(OTHER_PROG) else PROG)


def build_other_parser() -> LongOptionParser:
    """Return the parser of myproxy-get-delegation, the same program's other name."""
    return _build_parser(OTHER_PROG)


def _build_parser(prog: str) -> LongOptionParser:
    parser = LongOptionParser(prog, "receive a credential from a MyProxy server")
    add_server_options(parser)
    which = parser.section("Which credential")
    add_address_options(
        which,
        credname="the credential's name (default: the unnamed one)",
        dn="the subject of the credential to renew, or else of your own,",
    )
    which.value(
        "-t",
        "--proxy_lifetime",
        dest="proxy_lifetime",
        metavar="HOURS",
        convert=hours,
        text="lifetime of the received proxy (default 12; 0: as long as the server allows)",
    )
    which.value(
        "-m",
        "--voms",
        dest="voms",
        metavar="VO[:ATTRIBUTE]",
        convert=_wish,
        repeatable=True,
        text="ask for attributes of this VO: vo, vo:/vo/group, vo:/vo/group/Role=r or vo:/Role=r; may be repeated",
    )
    add_proof_options(
        parser.section("How you prove who you are"),
        authorization="renew the credential in FILE by its own key, without a pass phrase",
    )
    parser.section("Over the web").value(
        "--portal",
        dest="portal",
        metavar="URL",
        convert=filled,
        text="get it from a MyProxy portal: log on in a browser, and confirm there the code that is shown here",
    )
    result = parser.section("What becomes of it")
    result.value(
        "-o",
        "--out",
        dest="out",
        metavar="FILE",
        convert=filled,
        completion=Completion.FILE,
        text="where to write it (default: the usual proxy file); - is standard output",
    )
    result.value(
        "-Q",
        "--certreq",
        dest="certreq",
        metavar="FILE",
        completion=Completion.FILE,
        text="use this certificate request (PEM; - is standard input); what is written then holds no key",
    )
    result.value(
        "--key_type",
        "--key-type",
        dest="key_type",
        metavar="TYPE",
        choices=("rsa", "p256", "p384", "ed25519"),
        default="rsa",
        text="kind of the new key: rsa (default, $MYPROXY_KEYBITS bits), p256, p384 or ed25519",
    )
    result.flag("-N", "--no_credentials", dest="no_credentials", text="only authenticate; nothing is received")
    result.flag("-q", "--quiet", dest="quiet", text="print only errors")
    trust = parser.section("Trust roots")
    trust.flag(
        "-T",
        "--trustroots",
        dest="trustroots",
        text="also install the server's trust roots; where there are none yet, as with -b",
    )
    trust.flag(
        "-b",
        "--bootstrap",
        dest="bootstrap",
        text="believe the server that answers, and show its CAs' fingerprints; implies -T",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.voms and arguments.out == "-":
        raise UsageError("-voms is not compatible with -o -")
    if arguments.certreq == "-" and arguments.stdin_pass:
        raise UsageError("the certificate request and the pass phrase cannot both come from standard input")
    if arguments.portal is not None:
        return _log_on_over_the_web(arguments)

    from gsi.system.environ import read_locations
    from myproxy.cli.common import asks_on_terminal, choose_username, read_address, sasl_answers
    from myproxy.cli.trustroots import install, load_or_bootstrap

    address = read_address(arguments)
    locations = read_locations()
    out = arguments.out or locations.proxy
    if out != "-" and not arguments.no_credentials:
        _check_directory(out)
    credential = _find_usable(locations)
    renewing = _load_renewed(arguments)
    username = choose_username(arguments, renewing or credential)
    anchors = load_or_bootstrap(
        arguments, locations, address, installs=wants_trust_roots(arguments), force=arguments.bootstrap
    )

    ask_user = sasl_answers(arguments)

    def open_as(identity: Credential | None) -> MyProxyClient:
        from myproxy.cli.common import open_client

        return open_client(arguments, identity, anchors, address, ask_user=ask_user)

    client = open_as(credential)
    if asks_on_terminal(arguments):  # what is in the way of a connection is known before the user types
        client, credential = _open(open_as, client, credential)
    with contextlib.closing(client):
        fetch = _prepare(arguments, _make_request(arguments, username), renewing)
        data, client = _receive(fetch, client, None if credential is None else functools.partial(open_as, None))
    tells = not arguments.quiet and out != "-"
    directory = install(PROG, locations, client.trust_roots) if wants_trust_roots(arguments) else None
    if not arguments.no_credentials:
        if arguments.voms:
            data = _with_attributes(arguments, data)
        _write(out, data)
        if tells:
            sys.stdout.write(f"A credential has been received for user {printable(username)} in {printable(out)}.\n")
    if directory is not None and client.trust_roots and tells:
        sys.stdout.write(f"Trust roots have been installed in {printable(directory)}.\n")
    return EXIT_OK


def _log_on_over_the_web(arguments: Namespace) -> int:
    """Receive a proxy that the user confirms in a browser."""
    for option, value in (
        ("-N", arguments.no_credentials),
        ("-Q", arguments.certreq),
        ("-a", arguments.authorization),
        ("-T and -b", wants_trust_roots(arguments)),
        ("-S", arguments.stdin_pass),
        ("-l", arguments.username),
        ("-k", arguments.credname),
    ):
        if value:
            raise UsageError(f"{option} cannot be used together with --portal")

    from gsi.system.environ import read_locations
    from myproxy.cli.common import make_key
    from myproxy.cli.web import receive_over_the_web

    locations = read_locations()
    out = arguments.out or locations.proxy
    if out != "-":
        _check_directory(out)
    data = receive_over_the_web(PROG, arguments.portal, make_key(arguments), locations).encode()
    if arguments.voms:
        data = _with_attributes(arguments, data)
    _write(out, data)
    if not arguments.quiet and out != "-":
        sys.stdout.write(f"A credential has been received in {printable(out)}.\n")
    return EXIT_OK


def _wish(text: str) -> str:
    from myproxy.cli.attributes import check_wish

    return check_wish(text)


def _with_attributes(arguments: Namespace, data: bytes) -> bytes:
    """Return what was received if it has attributes, or a proxy below it that has them."""
    from myproxy.cli.attributes import add_attributes, has_attributes

    if arguments.certreq is not None:
        from gsi import oids
        from gsi.certificate import load_certificates

        leaf = load_certificates(data, what="the received certificates")[0]
        if leaf.find_extension(oids.VOMS_AC_SEQUENCE) is None:
            raise RefusedError(
                "Failed to add VOMS attributes: the server has added none, and the key of the request is elsewhere",
                hint="make a proxy with them where the key is: voms-proxy-init -noregen",
            )
        return data
    from gsi.credential import parse_credential
    from myproxy.cli.common import make_key

    received = parse_credential(data, source="the received credential")
    if has_attributes(received):
        return data
    return add_attributes(PROG, received, make_key(arguments), arguments.voms, quiet=arguments.quiet).encode()


def _check_directory(out: str) -> None:
    """Find a place that cannot work before anything is asked or sent."""
    import os

    directory = os.path.dirname(os.path.abspath(out))
    if not os.path.isdir(directory):
        raise ConfigError(f"{directory} is not a directory, so no credential can be written there", hint="see --out")


def _find_usable(locations: Locations) -> Credential | None:
    """Return the user's credential if it can still be used; a logon needs none."""
    from gsi.system.clock import now
    from myproxy.cli.common import find_credential

    try:
        credential = find_credential(locations)
    except CredentialError as error:
        warn(PROG, f"logging on without a certificate: {error.message}", hint=error.hint)
        return None
    return None if credential is None or credential.not_after <= now() else credential


def _load_renewed(arguments: Namespace) -> Credential | None:
    if arguments.authorization is None:
        return None
    from gsi.system.credential_files import load_proxy

    return load_proxy(arguments.authorization)


def _make_request(arguments: Namespace, username: str) -> Request:
    from datetime import timedelta

    from myproxy.cli.attributes import contact_lines
    from myproxy.cli.common import read_proof
    from myproxy.protocol.messages import Command, Request

    return Request(
        Command.GET,
        username,
        passphrase=read_proof(arguments)[1],
        lifetime=timedelta(hours=12) if arguments.proxy_lifetime is None else arguments.proxy_lifetime,
        credential_name=arguments.credname,
        wants_trust_roots=wants_trust_roots(arguments),
        vo_names=tuple(arguments.voms),
        vomses=contact_lines(arguments.voms),
    )


def wants_trust_roots(arguments: Namespace) -> bool:
    """Whether the server's trust roots are to be installed."""
    return bool(arguments.trustroots or arguments.bootstrap)


def _open(
    open_as: Callable[[Credential | None], MyProxyClient], client: MyProxyClient, credential: Credential | None
) -> tuple[MyProxyClient, Credential | None]:
    """Connect; once more without a certificate if the server refuses ours. Return also the credential in use."""
    try:
        client.open()
    except AuthenticationError as error:
        if credential is None:
            raise
        warn(PROG, f"logging on without a certificate: {error.message}")
        client, credential = open_as(None), None
        client.open()
    return client, credential


def _receive(
    fetch: Callable[[MyProxyClient], bytes], client: MyProxyClient, open_anonymous: Callable[[], MyProxyClient] | None
) -> tuple[bytes, MyProxyClient]:
    """Ask the server; once more without a certificate if it refuses ours. Return also the client that got an answer."""
    try:
        try:
            return fetch(client), client
        except AuthenticationError as error:
            if open_anonymous is None:
                raise
            warn(PROG, f"logging on without a certificate: {error.message}")
            client = open_anonymous()
            return fetch(client), client
    except RefusedError as error:
        raise RefusedError(f"Failed to receive credentials.\n{error.message}", hint=error.hint) from error


def _prepare(arguments: Namespace, request: Request, renewing: Credential | None) -> Callable[[MyProxyClient], bytes]:
    """Read or make what every attempt needs; return what makes one, and gives PEM to be written, nothing with -N."""
    if arguments.no_credentials:

        def authenticate(client: MyProxyClient) -> bytes:
            client.authenticate(request, renewing=renewing)
            return b""

        return authenticate
    if arguments.certreq is not None:
        request_der = _read_request(arguments.certreq)
        return lambda client: b"".join(
            certificate.pem() for certificate in client.get_for_request(request, request_der, renewing=renewing)
        )
    from myproxy.cli.common import make_key

    key = make_key(arguments)
    return lambda client: client.get(request, key, renewing=renewing).encode()


def _read_request(path: str) -> bytes:
    """Return the DER of a PEM certificate request."""
    from gsi.errors import ParseError
    from gsi.pem import split_pem

    if path == "-":
        pem = sys.stdin.buffer.read(MAX_REQUEST_FILE_BYTES)
    else:
        from gsi.system.files import read_public

        pem = read_public(path, max_bytes=MAX_REQUEST_FILE_BYTES)
    for block in split_pem(pem, what="certificate request"):
        if block.label in ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"):
            return block.data
    raise ParseError(f"{path}: there is no PEM certificate request in it", what="certificate request")


def _write(out: str, data: bytes) -> None:
    if out == "-":
        sys.stdout.buffer.write(data)
        return
    from gsi.system.files import write_private

    write_private(out, data)
