"""Who asks, for `gsi-authz`: a subject that is named and believed, or a chain that is verified, and what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gsi.authz.decision import Subject
    from gsi.cli.arguments import Namespace

__all__ = ["MAX_CHAIN_FILE_BYTES", "read_shown", "read_subject"]

MAX_CHAIN_FILE_BYTES: Final = 4 << 20
"""As for grid-proxy-verify: a hundred certificates with attributes."""

MAX_SHOWN_BYTES: Final = 256 << 10
"""A token or an assertion: what a proxy can carry, and more than any HTTP header."""


def read_shown(paths: Iterable[str]) -> list[str]:
    """Return the texts of tokens or assertions in files.

    Raises:
        GridError: A file cannot be read, is too long, or is no text.
    """
    from gsi.errors import ParseError
    from gsi.system.files import read_public

    found: list[str] = []
    for path in paths:
        try:
            found.append(read_public(path, max_bytes=MAX_SHOWN_BYTES).decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise ParseError(f"{path}: it is no text", what="assertion") from error
    return found


def read_subject(arguments: Namespace) -> Subject:
    """Return who asks, as the options say.

    Raises:
        GridError: A file cannot be read, or the chain proves nobody.
    """
    from dataclasses import replace

    ways = [bool(arguments.subject), bool(arguments.chain), arguments.proxy]
    if sum(ways) > 1:
        raise UsageError("only one of -subject, -chain and -proxy says who asks")
    if arguments.limited and not arguments.subject:
        raise UsageError("-limited goes with -subject; a chain tells by itself")
    subject = _verified_subject(arguments) if arguments.chain or arguments.proxy else _believed_subject(arguments)
    return replace(subject, assertions=(*subject.assertions, *_presented(arguments)))


def _presented(arguments: Namespace) -> tuple[object, ...]:
    """Return the tokens and assertions that the subject shows."""
    if not arguments.token and not arguments.assertion:
        return ()
    from gsi.authz.sources import PresentedAssertion, PresentedToken

    tokens = [PresentedToken(text) for text in read_shown(arguments.token)]
    return (*tokens, *(PresentedAssertion(text.encode()) for text in read_shown(arguments.assertion)))


def _believed_subject(arguments: Namespace) -> Subject:
    """Return the subject that the options name; anonymous without -subject."""
    from gsi import names
    from gsi.authz.decision import Subject
    from gsi.authz.principals import parse_dn
    from gsi.proxy.kinds import ProxyKind

    text: str = arguments.subject or ""
    der = parse_dn(text) if text.startswith("/") or ("=" in text and "://" not in text) else b""
    return Subject(
        identity=names.oneline(der) if der else text,
        identity_der=der,
        kind=ProxyKind.LIMITED if arguments.limited else None,
        limited=arguments.limited,
        authenticated_by="x509" if der else "token" if text else "anonymous",
        fqans=tuple(arguments.fqan),
        groups=frozenset(arguments.group),
    )


def _verified_subject(arguments: Namespace) -> Subject:
    from dataclasses import replace

    from gsi.authz.decision import Subject
    from gsi.certificate import load_certificates
    from gsi.system import clock
    from gsi.system.environ import read_locations
    from gsi.system.files import read_public
    from gsi.system.trustdir import TrustDirectory
    from gsi.trust.verify import verify_chain

    locations = read_locations()
    path = arguments.chain or locations.proxy
    chain = load_certificates(read_public(path, max_bytes=MAX_CHAIN_FILE_BYTES), what=path)
    anchors = TrustDirectory(arguments.certdir or locations.trust_dir).anchors()
    peer = verify_chain(chain, anchors, now=arguments.at or clock.now())
    return replace(Subject.from_peer(peer, fqans=tuple(arguments.fqan)), groups=frozenset(arguments.group))
