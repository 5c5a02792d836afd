"""The command `myproxy-retrieve`: fetch a stored certificate and its key from the server.

Agrees with gct:myproxy/source/myproxy_retrieve.c in options, output lines and exit status (0; 255 for any failure, 1
for bad usage). The files must not exist, so that nothing is overwritten. The key stays locked with its pass phrase
also for root, unlike in C, unless --unlock_key asks for it in clear.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import Completion, UsageError
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable, run
from gsi.errors import ConfigError, GridError, RefusedError
from myproxy.cli.options import (
    LongOptionParser,
    add_address_options,
    add_proof_options,
    add_server_options,
    filled,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace
    from gsi.secret import Passphrase
    from gsi.system.environ import Locations

__all__ = ["build_parser", "main"]

PROG = "myproxy-retrieve"
EXIT_FAILURE = 255
"""What the C command returns for everything but bad usage."""


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "fetch a certificate and its key from a MyProxy server")
    add_server_options(parser)
    which = parser.section("Which credential")
    add_address_options(which, credname="the credential's name (default: the unnamed one)")
    add_proof_options(
        parser.section("How you prove who you are"),
        authorization="prove the right to it by the key of the credential in FILE, without a pass phrase",
    )
    result = parser.section("What becomes of it")
    result.value(
        "-c",
        "--certfile",
        dest="certfile",
        metavar="FILE",
        convert=filled,
        completion=Completion.FILE,
        text="where to write the certificates (default: your own, for root the host's); must not exist",
    )
    result.value(
        "-y",
        "--keyfile",
        dest="keyfile",
        metavar="FILE",
        convert=filled,
        completion=Completion.FILE,
        text="where to write the key; must not exist",
    )
    result.flag("--unlock_key", "--unlock-key", dest="unlock_key", text="write the key in clear")
    trust = parser.section("Trust roots")
    trust.flag(
        "-T",
        "--trustroots",
        dest="trustroots",
        text="also install the server's trust roots; where there are none yet, believe the server that answers",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, exit_code=_exit_code, short_lived=True)


def _exit_code(error: GridError) -> int:
    return EXIT_ERROR if isinstance(error, UsageError) else EXIT_FAILURE


def _execute(arguments: Namespace) -> int:
    from datetime import timedelta

    from gsi.system.credential_files import load_proxy
    from gsi.system.environ import read_locations
    from myproxy.cli.common import (
        choose_username,
        find_credential,
        open_client,
        read_address,
        read_proof,
        sasl_answers,
    )
    from myproxy.cli.trustroots import install, load_or_bootstrap
    from myproxy.protocol.messages import Command, Request

    address = read_address(arguments)
    locations = read_locations()
    certificate_path, key_path = _choose_paths(arguments, locations)
    credential = find_credential(locations)
    renewing = None if arguments.authorization is None else load_proxy(arguments.authorization)
    username = choose_username(arguments, renewing or credential)
    passphrase, proof = read_proof(arguments)
    request = Request(
        Command.RETRIEVE,
        username,
        passphrase=proof,
        lifetime=timedelta(hours=12),
        credential_name=arguments.credname,
        wants_trust_roots=arguments.trustroots,
    )
    anchors = load_or_bootstrap(arguments, locations, address, installs=arguments.trustroots)
    client = open_client(arguments, credential, anchors, address, ask_user=sasl_answers(arguments))
    try:
        text = client.retrieve(request, renewing=renewing)
    except RefusedError as error:
        raise RefusedError(f"Failed to receive credentials.\n{error.message}", hint=error.hint) from error
    certificates, key = _sort(text, passphrase, in_clear=arguments.unlock_key)
    _write_new(key_path, key)
    _write_new(certificate_path, certificates)
    directory = install(PROG, locations, client.trust_roots) if arguments.trustroots else None
    sys.stdout.write(
        f"Credentials for {printable(username)} have been stored in\n"
        f"{printable(certificate_path)} and\n{printable(key_path)}.\n"
    )
    if directory is not None and client.trust_roots:
        sys.stdout.write(f"Trust roots have been installed in {printable(directory)}.\n")
    return EXIT_OK


def _choose_paths(arguments: Namespace, locations: Locations) -> tuple[str, str]:
    """Return where certificate and key go, before anything is asked or sent.

    Raises:
        ConfigError: Something is there already, or nothing can be written there.
    """
    import os

    candidates = locations.host_credentials if locations.uid == 0 else locations.user_credentials
    default_certificate, default_key = next(iter(candidates), ("", ""))
    paths = arguments.certfile or default_certificate, arguments.keyfile or default_key
    for path in paths:
        if os.path.lexists(path):
            raise ConfigError(f"{path} exists already", hint="move it away, or name others with -c and -y")
        directory = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(directory):
            raise ConfigError(f"{directory} is not a directory, so nothing can be written there", hint="see -c and -y")
    if os.path.abspath(paths[0]) == os.path.abspath(paths[1]):
        raise ConfigError("certificate and key cannot be written to one file", hint="see -c and -y")
    return paths


def _sort(text: bytes, passphrase: Passphrase, *, in_clear: bool) -> tuple[bytes, bytes]:
    """Return the certificates and the key of what was received.

    Raises:
        ParseError: It is no credential.
        CredentialError: The key does not open, or does not fit.
    """
    from gsi.credential import parse_credential
    from gsi.keys import encode_private_key
    from gsi.pem import split_pem

    credential = parse_credential(text, passphrase=passphrase or None, source="the received credential")
    key = next(block.text for block in split_pem(text, what="received credential") if "PRIVATE KEY" in block.label)
    certificates = b"".join(certificate.pem() for certificate in credential.certificates)
    return certificates, encode_private_key(credential.key) if in_clear else key


def _write_new(path: str, data: bytes) -> None:
    from gsi.system.files import write_private

    write_private(path, data)
