"""The command `grid-proxy-info`: show a proxy file or test it; makes no judgement about trust.

Agrees with gct:gsi/proxy/proxy_utils/source/programs/grid_proxy_info.c in options, output lines (in the order of the
command line) and exit status: 0, or 1 for a missing, unreadable or (with -exists) insufficient proxy. Unlike it, gives
the real size of an elliptic-curve key, and takes the options of -exists in any order.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from gsi.cli.arguments import CommandParser, Completion, count, duration
from gsi.cli.proxy_options import required_lifetime
from gsi.cli.run import EXIT_ERROR, EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from gsi.certificate import Certificate
    from gsi.cli.arguments import Namespace
    from gsi.credential import Credential
    from gsi.proxy.chain import ProxyChain

__all__ = ["build_parser", "main"]

PROG = "grid-proxy-info"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "show a proxy certificate",
        usage=("[-file FILE] [what to print]", "[-file FILE] -exists [-valid H:M] [-bits B]"),
    )
    files = parser.section("Which proxy")
    files.value("-file", "-f", metavar="FILE", completion=Completion.FILE, text="the proxy file")
    show = parser.section("What to print, in this order (default: -all)")
    for names, text in (
        (("-subject", "-s"), "the name in the proxy certificate"),
        (("-issuer", "-i"), "the name of its issuer"),
        (("-identity",), "the name of the person or service that the proxy stands for"),
        (("-type",), "form and kind of the proxy"),
        (("-timeleft",), "seconds until the first certificate of the chain expires, -1 if that is past"),
        (("-strength",), "size of the key in bits"),
        (("-path",), "the path of the proxy file"),
        (("-text",), "the fields of the certificate"),
        (("-all",), "subject, issuer, identity, type, strength, path and time left, for people"),
    ):
        show.flag(*names, text=text, append_to="show")
    show.flag("-rfc2253", text="write names as CN=...,O=... (RFC 4514, formerly 2253) instead of /O=.../CN=...")
    show.flag("-json", text="print everything as one JSON object")
    test = parser.section("Testing")
    test.flag("-exists", "-e", text="print nothing; exit 0 if there is a proxy that lasts and is strong enough, else 1")
    test.value(
        "-valid", "-v", metavar="H:M", convert=duration, text="with -exists: it must last so many hours and minutes"
    )
    test.value("-hours", "-h", metavar="H", convert=count, text="with -exists: the same in hours (deprecated)")
    test.value("-bits", "-b", metavar="B", convert=count, text="with -exists: its key must have at least B bits")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    required = required_lifetime(PROG, arguments)
    facts = _gather(arguments)
    if arguments.json:
        _print_json(facts)
    shown = arguments.show or ([] if arguments.exists or arguments.json else ["all"])
    for word in shown:
        sys.stdout.write(_PRINTERS[word](facts))
    if not arguments.exists:
        return EXIT_OK
    return EXIT_OK if facts.left >= required and facts.strength >= (arguments.bits or 0) else EXIT_ERROR


class _Facts(NamedTuple):
    """What is shown about a proxy file."""

    path: str
    chain: ProxyChain
    strength: int
    left: timedelta
    name: Callable[[bytes], str]

    @property
    def leaf(self) -> Certificate:
        return self.chain.leaf


def _gather(arguments: Namespace) -> _Facts:
    from gsi import names
    from gsi.keys import key_bits
    from gsi.proxy.chain import ProxyChain
    from gsi.system import clock
    from gsi.system.environ import read_locations

    path = arguments.file or read_locations().proxy
    chain = ProxyChain.split(_load(path).certificates)
    return _Facts(
        path=path,
        chain=chain,
        strength=key_bits(chain.leaf.public_key()),
        left=chain.not_after - clock.now().replace(microsecond=0),  # whole seconds, as in C
        name=names.rfc4514 if arguments.rfc2253 else names.oneline,
    )


def _load(path: str) -> Credential:
    from gsi.errors import CredentialError, CredentialProblem
    from gsi.system.credential_files import load_proxy

    try:
        return load_proxy(path)
    except CredentialError as error:
        if error.problem is CredentialProblem.MISSING:
            error.hint = "grid-proxy-init makes a proxy; -file and X509_USER_PROXY name another place"
        raise


def _seconds(left: timedelta) -> int:
    """Whole seconds, rounded down; negative once expired."""
    from datetime import timedelta

    return left // timedelta(seconds=1)


def _print_all(facts: _Facts) -> str:
    from gsi.lifetime import format_timeleft

    return (
        f"subject  : {facts.name(facts.leaf.subject_der)}\n"
        f"issuer   : {facts.name(facts.leaf.issuer_der)}\n"
        f"identity : {facts.name(facts.chain.identity)}\n"
        f"type     : {facts.chain.type_text}\n"
        f"strength : {facts.strength} bits\n"
        f"path     : {facts.path}\n"
        f"timeleft : {format_timeleft(facts.left)}\n"
    )


def _print_text(facts: _Facts) -> str:
    from gsi.cli.certificate_text import certificate_text

    return certificate_text(facts.leaf)


_PRINTERS: Mapping[str, Callable[[_Facts], str]] = {
    "subject": lambda facts: f"{facts.name(facts.leaf.subject_der)}\n",
    "issuer": lambda facts: f"{facts.name(facts.leaf.issuer_der)}\n",
    "identity": lambda facts: f"{facts.name(facts.chain.identity)}\n",
    "type": lambda facts: f"{facts.chain.type_text}\n",
    "timeleft": lambda facts: f"{max(_seconds(facts.left), -1)}\n",
    "strength": lambda facts: f"{facts.strength}\n",
    "path": lambda facts: f"{facts.path}\n",
    "text": _print_text,
    "all": _print_all,
}


def _print_json(facts: _Facts) -> None:
    import json

    chain = facts.chain
    sys.stdout.write(
        json.dumps(
            {
                "subject": facts.name(facts.leaf.subject_der),
                "issuer": facts.name(facts.leaf.issuer_der),
                "identity": facts.name(chain.identity),
                "type": chain.type_text,
                "format": chain.format,
                "kind": chain.leaf_kind,
                "limited": chain.is_limited,
                "strength": facts.strength,
                "path": facts.path,
                "timeleft": max(_seconds(facts.left), -1),
                "not_before": _iso(facts.leaf.not_before),
                "not_after": _iso(chain.not_after),
                "depth_left": chain.depth_left,
            },
            indent=2,
        )
        + "\n"
    )


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    sys.exit(main())
