"""Who asks the community's server, as far as it was proven; verifies nothing.

    caller = Caller.from_peer(peer, fqans=verified.fqans, address=address, request_id=request_id)

Made by a server from a chain that `gsi.trust` has judged. The identity is the end entity's: an independent or
restricted proxy has none of its issuer's rights, and is turned away.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from cas.policy.bounds import UNBOUND
from gsi import names
from gsi.authz.principals import normal_fqan, parse_dn
from gsi.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cas.policy.bounds import Bounds
    from cas.policy.conditions import Strength
    from gsi.certificate import Certificate
    from gsi.trust.peer import VerifiedPeer

__all__ = ["Caller", "name_forms", "name_key"]


def name_key(name_der: bytes) -> str:
    """Return the key under which equal distinguished names are equal: SHA-256 of the canonical form.

    Raises:
        ParseError: Not a Name in DER.
    """
    return hashlib.sha256(names.canonical(name_der)).hexdigest()


@lru_cache(maxsize=4096)  # a batch of users is looked at more than once, and to take a name apart is most of the work
def name_forms(text: str) -> tuple[str, str]:
    """Return a distinguished name in one-line form, whichever form it was written in, and its key.

    Raises:
        ParseError: It is none.
    """
    name_der = parse_dn(text)
    return names.oneline(name_der), name_key(name_der)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A peer with its verified attributes.

    Attributes:
        eec: The end entity certificate.
        key_thumbprint: SHA-256 of the leaf certificate, which has the key that was proven.
        limited: Whether a limited proxy is in the chain.
        strength: How it was authenticated; None for what its trust anchor says.
        fqans: VOMS attributes that were verified, normal.
        groups: Groups of a directory that were verified.
        not_after: When what was proven ends (aware UTC).
        address: From where.
        request_id: The id that peer, log and audit know the request by.
        bounds: What their proxies leave of their rights in what is issued to them.
    """

    eec: Certificate
    key_thumbprint: bytes
    not_after: datetime
    limited: bool = False
    strength: Strength | None = None
    fqans: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    address: str = ""
    request_id: str = ""
    bounds: Bounds = UNBOUND

    @classmethod
    def from_peer(
        cls,
        peer: VerifiedPeer,
        *,
        fqans: Iterable[str] = (),
        groups: Iterable[str] = (),
        strength: Strength | None = None,
        address: str = "",
        request_id: str = "",
        bounds: Bounds = UNBOUND,
    ) -> Caller:
        """Return who a verified chain proves.

        Raises:
            DeniedError: It has an identity of its own, without its issuer's rights.
            ParseError: One of the FQANs is none.
        """
        if peer.independent or peer.restrictions:
            raise DeniedError("an independent or restricted proxy has none of its issuer's rights")
        return cls(
            eec=peer.eec,
            key_thumbprint=hashlib.sha256(peer.leaf.der).digest(),
            not_after=peer.not_after,
            limited=peer.limited,
            strength=strength,
            fqans=frozenset(normal_fqan(fqan) for fqan in fqans),
            groups=frozenset(groups),
            address=address,
            request_id=request_id,
            bounds=bounds,
        )

    @property
    def identity(self) -> str:
        """The subject of the end entity certificate in one-line form."""
        return names.oneline(self.eec.subject_der)

    @property
    def subject_key(self) -> str:
        """The key of the subject."""
        return name_key(self.eec.subject_der)

    @property
    def issuer_key(self) -> str:
        """The key of the CA's name."""
        return name_key(self.eec.issuer_der)
