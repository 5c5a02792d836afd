"""The command `grid-proxy-verify`: say whether a chain file is to be trusted, and why not; `gsi.trust` is the judge.

It has no counterpart among the C tools; its nearest relative is `grid-proxy-init -verify`. Exit status 0 only for a
chain that is good; 1 for everything else, also when it could not be judged.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable, run
from gsi.errors import GridError, ParseError, Reason, VerificationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.cli.arguments import Namespace
    from gsi.trust.verify import VerifiedPeer

__all__ = ["MAX_CHAIN_FILE_BYTES", "build_parser", "main", "parse_time"]

PROG = "grid-proxy-verify"

MAX_CHAIN_FILE_BYTES: Final = 4 << 20
"""Enough for a hundred certificates with attribute certificates in them; a longer chain is refused anyway."""

PURPOSES = ("client", "server", "any")
CRL_POLICIES = ("require", "if-present", "off")


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "verify a proxy or certificate chain", usage=("[options] [FILE]",))
    trust = parser.section("Trust")
    trust.value("-certdir", metavar="DIR", completion=Completion.DIRECTORY, text="the trust directory")
    trust.value(
        "-crl",
        metavar="POLICY",
        choices=CRL_POLICIES,
        default="if-present",
        text="revocation lists: require one of every CA, use them if-present (default), or leave them off",
    )
    chain = parser.section("What is accepted")
    chain.value(
        "-purpose",
        metavar="PURPOSE",
        choices=PURPOSES,
        default="client",
        text="what the chain must be fit for: client (default), server or any",
    )
    chain.value(
        "-at",
        metavar="TIME",
        convert=parse_time,
        text="judge as of this time instead of now: ISO 8601 (UTC unless it says otherwise) or seconds since 1970",
    )
    chain.flag("-accept-gt3", text="accept proxies of the pre-RFC draft (GSI-3)")
    chain.flag("-accept-gt2", text="accept legacy proxies, known by their name alone (GSI-2)")
    output = parser.section("Output")
    output.flag("-json", text="print the verdict as one JSON object")
    output.flag("-q", dest="quiet", text="print nothing when the chain is good")
    parser.operand(
        "FILE",
        dest="file",
        text="the chain, leaf first, in PEM; - for standard input; default: the proxy at the default place",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def parse_time(text: str) -> datetime:
    """Convert seconds since 1970 or an ISO 8601 date and time to an aware time; without an offset it is UTC.

    Raises:
        ValueError: With a message for the user.
    """
    from datetime import UTC, datetime, timedelta

    try:
        if text.isascii() and text.isdigit():
            return datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(text))
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"'{text}' is neither an ISO 8601 time such as 2026-11-21T14:00:00Z nor seconds since 1970"
        ) from error


def _execute(arguments: Namespace) -> int:
    from gsi.system import clock
    from gsi.system.environ import read_locations

    path = arguments.file or read_locations().proxy
    now = arguments.at or clock.now()
    certificates: Sequence[Certificate] = ()
    try:
        try:
            certificates = _parse_chain(_read_chain(path), path)
            peer = _judge(arguments, certificates, now)
            told = _describe_good(peer, path, now)
        except ParseError as error:
            raise VerificationError(error.message, reason=Reason.MALFORMED, hint=error.hint) from error
    except VerificationError as error:
        _print_refusal(arguments, error, certificates, path, now)
        return EXIT_ERROR
    _print_good(arguments, peer, told, now)
    return EXIT_OK


def _read_chain(path: str) -> bytes:
    """Return the bytes to judge.

    Raises:
        ParseError: There are more than `MAX_CHAIN_FILE_BYTES`.
        CredentialError: The file cannot be read.
    """
    if path == "-":
        data = sys.stdin.buffer.read(MAX_CHAIN_FILE_BYTES + 1)
        if len(data) > MAX_CHAIN_FILE_BYTES:
            raise ParseError(f"standard input: longer than {MAX_CHAIN_FILE_BYTES} bytes", what="file")
        return data
    from gsi.system.files import read_public

    return read_public(path, max_bytes=MAX_CHAIN_FILE_BYTES)


def _parse_chain(data: bytes, path: str) -> tuple[Certificate, ...]:
    """Return the certificates of the file; a block that does not parse is never skipped.

    Raises:
        ParseError: A block or a certificate is malformed.
        VerificationError: EMPTY_CHAIN, naming the file.
    """
    from gsi.certificate import load_certificates

    source = "standard input" if path == "-" else path
    certificates = load_certificates(data, what=source)
    if not certificates:
        raise VerificationError(f"{source}: no certificate in it", reason=Reason.EMPTY_CHAIN)
    return certificates


def _judge(arguments: Namespace, certificates: Sequence[Certificate], now: datetime) -> VerifiedPeer:
    from gsi.system.environ import read_locations
    from gsi.system.trustdir import TrustDirectory
    from gsi.trust.options import CRLPolicy, Purpose, ValidationOptions
    from gsi.trust.verify import verify_chain

    options = ValidationOptions(
        purpose=Purpose(arguments.purpose),
        crl=CRLPolicy(arguments.crl),
        accept_gt3=arguments.accept_gt3,
        accept_gt2=arguments.accept_gt2,
    )
    anchors = TrustDirectory(arguments.certdir or read_locations().trust_dir).anchors()
    if arguments.debug:
        for problem in anchors.problems:
            told = problem.message.removeprefix(f"{problem.path}: ")
            sys.stderr.write(f"trust directory: {printable(problem.path)}: {printable(told)}\n")
    return verify_chain(certificates, anchors, now=now, options=options)


def _describe_good(peer: VerifiedPeer, path: str, now: datetime) -> dict[str, object]:
    from gsi import names
    from gsi.proxy.chain import ProxyChain

    return {
        "verdict": "good",
        "path": path,
        "at": _iso(now),
        "identity": peer.identity,
        "subject": names.oneline(peer.leaf.subject_der),
        "type": ProxyChain.split(peer.chain).type_text,
        "format": peer.format,
        "kind": peer.kind,
        "limited": peer.limited,
        "independent": peer.independent,
        "depth_left": peer.depth_left,
        "not_after": _iso(peer.not_after),
    }


def _print_good(arguments: Namespace, peer: VerifiedPeer, told: dict[str, object], now: datetime) -> None:
    from gsi.lifetime import asctime, format_timeleft

    if arguments.json:
        _print_json(told)
    elif not arguments.quiet:
        depth = "unlimited" if peer.depth_left is None else str(peer.depth_left)
        sys.stdout.write(
            "verdict  : good\n"
            f"identity : {told['identity']}\n"
            f"subject  : {told['subject']}\n"
            f"type     : {told['type']}\n"
            f"depth    : {depth}\n"
            f"until    : {asctime(peer.not_after)}\n"
            f"timeleft : {format_timeleft(peer.not_after - now)}\n"
        )


def _print_refusal(
    arguments: Namespace, error: VerificationError, certificates: Sequence[Certificate], path: str, now: datetime
) -> None:
    from gsi.cli.hints import find_hint

    position = error.position
    hint = find_hint(error)
    subject = _subject(certificates, position)
    if arguments.json:
        _print_json(
            {
                "verdict": "refused",
                "path": path,
                "at": _iso(now),
                "reason": error.reason,
                "index": position,
                "subject": subject,
                "message": error.message,
                "hint": hint,
            }
        )
        return
    lines = ["verdict  : refused", f"reason   : {error.reason}"]
    if position is not None:
        lines.append(f"index    : {position}" + ("" if subject is None else f" ({subject})"))
    lines.append(f"message  : {printable(error.message)}")
    if hint:
        lines.append(f"hint     : {printable(hint)}")
    sys.stdout.write("\n".join(lines) + "\n")


def _subject(certificates: Sequence[Certificate], position: int | None) -> str | None:
    """Return the name of the certificate that is refused; None when there is none that can be shown."""
    from gsi import names

    if position is None or position >= len(certificates):
        return None
    try:
        return names.oneline(certificates[position].subject_der)
    except GridError:  # what makes the name unreadable may well be the reason for the refusal
        return None


def _print_json(value: dict[str, object]) -> None:
    import json

    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    sys.exit(main())
