"""What an established context says about itself, truthfully; values only.

The C mechanism claims mutual authentication, delegation and anonymity whether true or not, leaves CONF out for CBC
suites, and gives the later of the two ends of validity; here each flag is what happened, and the earlier end counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from gsi.transport.tls import TLSVersion
    from gsi.trust.peer import VerifiedPeer

__all__ = ["ContextFlag", "ContextInfo"]


class ContextFlag(IntFlag):
    """GSS-API flags (RFC 2744 section 5.19) and those of the Globus mechanism, by the numbers of the C headers."""

    DELEG = 1
    """A credential was delegated: given by the initiator, received by the acceptor."""
    MUTUAL = 2
    """Both sides have shown a certificate."""
    REPLAY = 4
    """Repeated messages are found."""
    SEQUENCE = 8
    """Messages out of order are found."""
    CONF = 16
    """Messages are encrypted; always, here."""
    INTEG = 32
    """Messages are authenticated; always."""
    ANON = 64
    """The initiator showed no certificate."""
    PROT_READY = 128
    """Messages can be protected."""
    DELEG_LIMITED = 4096
    """The delegated credential is a limited proxy."""
    PEER_LIMITED = 8192
    """The peer's chain has a limited proxy in it: whoever starts jobs must refuse it."""
    SSL_COMPATIBLE = 16384
    """The context is a TLS handshake and nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextInfo:
    """An established context, as `inquire` gives it.

    Attributes:
        peer: The proven peer; None for an anonymous initiator.
        own_subject: Our leaf's subject in one-line form; None when we are the anonymous initiator.
        is_initiator: Our side.
        flags: What holds for this context.
        not_after: The earliest end of validity of the certificates of both sides (aware UTC): no session should last
            longer.
        lifetime: What is left until then; not below zero.
        version: The TLS version.
        cipher: OpenSSL's name of the cipher suite.
    """

    peer: VerifiedPeer | None
    own_subject: str | None
    is_initiator: bool
    flags: ContextFlag
    not_after: datetime
    lifetime: timedelta
    version: TLSVersion
    cipher: str

    @property
    def identity(self) -> str | None:
        """Whom to authorise, in one-line form; None for an anonymous peer."""
        return None if self.peer is None else self.peer.identity

    @property
    def is_limited(self) -> bool:
        """Whether the peer's chain has a limited proxy in it."""
        return ContextFlag.PEER_LIMITED in self.flags
