"""What a judged chain proves about its presenter; a value without behaviour, made by `gsi.trust.verify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gsi import names

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.proxy.info import ProxyCertInfo
    from gsi.proxy.kinds import ProxyFormat, ProxyKind

__all__ = ["VerifiedPeer"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class VerifiedPeer:
    """The result of `verify_chain`. To hold one is to know that the chain was good at `verified_at`.

    Attributes:
        leaf: The first certificate, whose key the presenter has.
        eec: The end entity certificate.
        chain: The whole path that was proven, leaf first, the anchor last.
        identity_der: The name to authorise: the end entity's subject, unless an independent or restricted proxy
            stands between, which is an identity of its own and has none of the end entity's rights by itself.
        kind: The strictest kind of proxy in the chain (restricted, limited, independent, full); None without proxy.
        format: The form of the proxies; None without proxy.
        limited: Whether a limited proxy is in the chain: whoever starts jobs must refuse the peer.
        independent: Whether an independent proxy is in the chain.
        depth_left: How many more proxies may follow below the leaf; None for no limit.
        not_after: When the first certificate of the chain expires (aware UTC); no session should last longer.
        restrictions: The ProxyCertInfo of each restricted proxy, the one nearest to the end entity first.
        grants: What all restrictions leave, as their handlers said; None when nothing restricts.
        verified_at: The time for which all this was proven (aware UTC).
    """

    leaf: Certificate
    eec: Certificate
    chain: tuple[Certificate, ...]
    identity_der: bytes
    kind: ProxyKind | None
    format: ProxyFormat | None
    limited: bool
    independent: bool
    depth_left: int | None
    not_after: datetime
    restrictions: tuple[ProxyCertInfo, ...]
    grants: frozenset[str] | None
    verified_at: datetime

    @property
    def identity(self) -> str:
        """The identity in one-line form (`/O=Grid/CN=Alice`), for grid-mapfiles, policies and display."""
        return names.oneline(self.identity_der)

    @property
    def subject(self) -> str:
        """The leaf's subject in one-line form."""
        return names.oneline(self.leaf.subject_der)

    @property
    def anchor(self) -> Certificate:
        """The CA of the trust directory at which the path ends."""
        return self.chain[-1]

    @property
    def is_proxy(self) -> bool:
        """Whether the leaf is a proxy."""
        return self.kind is not None

    def __repr__(self) -> str:
        kind = "end entity" if self.kind is None else f"{self.kind.value} proxy"
        return f"<VerifiedPeer {self.identity!r}, {kind}, until {self.not_after:%Y-%m-%d %H:%M:%S}Z>"
