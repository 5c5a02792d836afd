"""The command `myproxy-store`: keep a certificate and its key on the server, locked as the key's file is.

Agrees with gct:myproxy/source/myproxy_store.c in options, variables, output line and exit status (0, or 1 for any
error). The key travels as it lies in its file, so the server learns its pass phrase only from who uses it later. One
that is not locked is sent with a warning; without one it is with --no_passphrase, or for uses that need it so: renewal
(-R, -A) and retrieval without a pass phrase (-Z). --require_passphrase refuses it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import Completion
from gsi.cli.run import EXIT_OK, run, warn
from gsi.errors import CredentialError, CredentialProblem
from myproxy.cli.options import LongOptionParser, add_address_options, add_server_options, hours
from myproxy.cli.policies import add_policy_options, read_policies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gsi.cli.arguments import Namespace, Section
    from gsi.system.environ import Locations

__all__ = ["add_lock_options", "build_parser", "main", "read_files"]

PROG = "myproxy-store"
DEFAULT_PROXY_HOURS = 12
MAX_FILE_BYTES = 1 << 20
"""A PEM file with a chain and whatever text is between the blocks; the protocol takes as much."""


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "store a certificate and its key on a MyProxy server")
    add_server_options(parser)
    which = parser.section("What is stored")
    which.value(
        "-c",
        "--certfile",
        dest="certfile",
        metavar="FILE",
        completion=Completion.FILE,
        text="the certificate, with those above it (default: your own)",
    )
    which.value(
        "-y",
        "--keyfile",
        dest="keyfile",
        metavar="FILE",
        completion=Completion.FILE,
        text="its private key, sent as it is in the file (default: your own)",
    )
    add_address_options(which, credname="a name for the credential (default: none)")
    which.value("-K", "--creddesc", dest="creddesc", metavar="TEXT", text="a description of the credential")
    which.value(
        "-t",
        "--proxy_lifetime",
        dest="proxy_lifetime",
        metavar="HOURS",
        convert=hours,
        text="the most that proxies made from it may live (default 12)",
    )
    add_lock_options(which, "send")
    add_policy_options(parser.section("Who may have it"), keys=True)
    return parser


def add_lock_options(which: Section, verb: str) -> None:
    """Add the options that say what is done with a key that is not locked; without them it is taken, with a warning."""
    which.flag(
        "-n", "--no_passphrase", dest="no_passphrase", text=f"{verb} a key without a pass phrase, and do not warn"
    )
    which.flag(
        "--require_passphrase", dest="require_passphrase", text=f"do not {verb} a key that is not under a pass phrase"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    policies = read_policies(arguments.given)

    from datetime import timedelta

    from gsi.system.environ import read_locations
    from myproxy.cli.common import (
        choose_username,
        load_anchors,
        open_client,
        read_address,
        require_credential,
    )
    from myproxy.protocol.messages import Command, Request

    address = read_address(arguments)
    locations = read_locations()
    text = read_files(PROG, arguments, locations, policies)
    credential = require_credential(locations)
    lifetime: timedelta | None = arguments.proxy_lifetime
    request = Request(
        Command.STORE,
        choose_username(arguments, credential),
        lifetime=timedelta(hours=DEFAULT_PROXY_HOURS) if lifetime is None else lifetime,
        retriever=policies.get("retriever"),
        renewer=policies.get("renewer"),
        key_retrievers=policies.get("key"),
        trusted_retriever=policies.get("trusted"),
        credential_name=arguments.credname,
        description=arguments.creddesc,
    )
    open_client(arguments, credential, load_anchors(locations), address).store(request, text)
    sys.stdout.write("Credentials saved to myproxy server.\n")
    return EXIT_OK


def read_files(prog: str, arguments: Namespace, locations: Locations, policies: Mapping[str, str]) -> bytes:
    """Return what is sent: certificate, key as it is in its file, further certificates, all PEM.

    Args:
        prog: The command, for a warning.
        arguments: Which files, and whether the key may be without a pass phrase.
        locations: Where the user's own are.
        policies: From `read_policies`: who may have it without a pass phrase.

    Raises:
        CredentialError: A file is missing or unsafe, or the key is not locked and has to be.
        ParseError: A file is not what it should be.
    """
    from gsi.certificate import Certificate
    from gsi.errors import ParseError
    from gsi.keys import is_encrypted, parse_private_key, same_key
    from gsi.pem import split_pem
    from gsi.system.files import read_private, read_public

    default_certificate, default_key = next(iter(locations.user_credentials), ("", ""))
    certificate_path, key_path = arguments.certfile or default_certificate, arguments.keyfile or default_key
    blocks = split_pem(read_public(certificate_path, max_bytes=MAX_FILE_BYTES), what=certificate_path)
    certificates = [Certificate.parse(block.data) for block in blocks if block.label == "CERTIFICATE"]
    key_blocks = split_pem(read_private(key_path, max_bytes=MAX_FILE_BYTES), what=key_path)
    keys = [block for block in key_blocks if block.label.endswith("PRIVATE KEY")]
    if not certificates:
        raise ParseError(f"{certificate_path}: there is no PEM certificate in it", what="certificate file")
    if len(keys) != 1:
        raise ParseError(f"{key_path}: holds {len(keys)} PEM keys instead of one", what="key file")
    if not is_encrypted(keys[0]):
        danger = f"{key_path}: the key is not locked by a pass phrase, so whoever reads the server's disk has it"
        if arguments.require_passphrase:
            raise CredentialError(
                danger,
                problem=CredentialProblem.UNSAFE_FILE,
                path=key_path,
                hint="lock it with grid-change-pass-phrase",
            )
        if not (arguments.no_passphrase or "renewer" in policies or "trusted" in policies):
            warn(prog, danger, hint="lock it with grid-change-pass-phrase, or say --no_passphrase")
        if not same_key(parse_private_key(keys[0]), certificates[0].spki_der):
            raise CredentialError(
                f"{key_path}: the key does not belong to {certificate_path}",
                problem=CredentialProblem.KEY_MISMATCH,
                path=key_path,
            )
    leaf, *others = certificates
    return b"".join((leaf.pem(), keys[0].text, *(certificate.pem() for certificate in others)))
