"""What the delegation service does for whom; no HTTP, no sockets.

    caller = service.meet(chain, now=now)                        # VerificationError
    request_der = service.ask(caller, now=now)                   # the user signs it
    service.take(caller, certificates, now=now)
    chain = service.give(other, delegation_id, request_der, lifetime, now=now)      # for a service's own key

The identifier of a delegation is a hash of name and VOMS attributes, the same that GridSite and FTS3 make. What they do
not do: the delegated proxy is judged like the caller's own, and has to be of the same identity and attributes.
"""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import keys
from gsi.credential import parse_credential
from gsi.delegation import DelegationRequester, grant_delegation, parse_delegation_request
from gsi.errors import DeniedError, NotFoundError, ParseError
from gsi.keys import KeyType, generate_key
from gsi.pem import split_pem
from gsi.proxy.issue import ProxyOptions
from gsi.system.vomsdir import VOMSDirectory
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.verify import verify_chain
from gsi.voms.verify import AttributeVerifier, VOMSOptions
from myproxy.delegation.store import Owner
from myproxy.patterns import parse_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.keys import PrivateKey
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer
    from myproxy.delegation.config import DelegationConfig, ServiceSettings
    from myproxy.delegation.store import DelegationStore, Kept

__all__ = ["Caller", "DelegationService", "delegation_id", "read_request"]

REQUEST_LASTS: Final = timedelta(hours=1)
"""How long a key waits for its certificate."""
_DELEGATED: Final = ValidationOptions(purpose=Purpose.CLIENT)
_CALLER: Final = ValidationOptions(
    purpose=Purpose.CLIENT,
    ignore_extended_key_usage=True,  # services show host certificates, many of which are for servers alone
)


class Caller(NamedTuple):
    """Who asks.

    Attributes:
        peer: What the chain proves.
        owner: Under what its delegation is kept.
    """

    peer: VerifiedPeer
    owner: Owner


def delegation_id(identity: str, fqans: Iterable[str]) -> str:
    """Return the identifier that GridSite and FTS3 give: half of a SHA-1 over the name and the attributes."""
    digest = hashlib.sha1("".join((identity, *fqans)).encode("utf-8", "surrogateescape"), usedforsecurity=False)
    return digest.hexdigest()[:16]


class DelegationService:
    """Delegations by the rules of one site. Safe for use by several threads."""

    def __init__(
        self,
        config: DelegationConfig,
        store: DelegationStore,
        anchors: Callable[[], TrustAnchors],
        *,
        make_key: Callable[[], PrivateKey] = lambda: generate_key(KeyType.RSA),
    ) -> None:
        """Know the rules.

        Args:
            config: The rules.
            store: Where delegations rest.
            anchors: Whom to trust, now.
            make_key: Makes keys; RSA ones, since clients know no others.
        """
        self._store = store
        self._anchors = anchors
        self._make_key = make_key
        self._longest = config.delegations.longest
        self._users = [parse_pattern(text) for text in config.delegations.users]
        self._services = list(config.services.values())
        self._voms = None
        if config.trust.vomsdir:
            options = VOMSOptions(hosts=frozenset({os.uname().nodename}))
            self._voms = AttributeVerifier(VOMSDirectory(config.trust.vomsdir), anchors, options)

    def meet(self, chain: Sequence[bytes], *, now: datetime) -> Caller:
        """Return who has shown a chain.

        Raises:
            VerificationError: It proves nothing.
            DeniedError: It is of a proxy that is an identity of its own.
        """
        peer = verify_chain(chain, self._anchors(), now=now, options=_CALLER)
        if peer.independent:
            raise DeniedError("an independent proxy speaks for nobody")
        fqans = self._fqans(peer, now)
        return Caller(peer, Owner(delegation_id(peer.identity, fqans), peer.identity, fqans))

    def _fqans(self, peer: VerifiedPeer, now: datetime) -> tuple[str, ...]:
        if self._voms is None:
            return ()
        found = self._voms.verify_chain(peer, now=now)
        return tuple(text for one in found if one.attributes is not None for text in one.attributes.fqans)

    def ask(self, caller: Caller, *, now: datetime) -> bytes:
        """Return the request (PKCS#10, DER) that the caller is to sign; the same one while it waits.

        Raises:
            DeniedError: The caller may not delegate.
            ConflictError: The caller has too many.
            StorageError: It cannot be kept.
        """
        self._check_user(caller)
        kept = self._store.find(caller.owner.id)
        if kept is not None and kept.owner == caller.owner and kept.asked and kept.asked_until > now:
            return self._requester(kept.asked).request_der
        key = keys.encode_private_key(self._make_key())  # dear, so not where one waits already
        return self._requester(self._store.ask(caller.owner, key, now=now, until=now + REQUEST_LASTS)).request_der

    def check(self, caller: Caller, certificates: Sequence[bytes], *, now: datetime) -> tuple[bytes, datetime]:
        """Judge a delegated proxy; return it with its key, PEM, and when it ends.

        Args:
            caller: Who delegates.
            certificates: DER, the proxy first.
            now: The time.

        Raises:
            DeniedError: The caller may not delegate, or it is not the caller's own, or too long.
            NotFoundError: No request waits.
            GridError: It is no proxy that is good here.
        """
        self._check_user(caller)
        kept = self._store.find(caller.owner.id)
        if kept is None or kept.owner != caller.owner or not kept.asked or kept.asked_until <= now:
            raise NotFoundError("no request waits for a certificate", hint="ask for one first")
        proxy = self._requester(kept.asked).accept(certificates, now=now)
        peer = verify_chain([one.der for one in proxy.certificates], self._anchors(), now=now, options=_DELEGATED)
        if peer.independent or peer.identity != caller.owner.identity:
            raise DeniedError("the proxy is not of the identity that delegates it")
        if self._fqans(peer, now) != caller.owner.fqans:
            raise DeniedError("the proxy has other attributes than the one that delegates it")
        ends = min(proxy.not_after, peer.not_after)
        if ends > now + self._longest:
            raise DeniedError(f"the proxy lasts longer than {self._longest}")
        return proxy.encode(), ends

    def keep(self, caller: Caller, proxy: bytes, ends: datetime) -> None:
        """Keep what `check` has judged.

        Raises:
            StorageError: It cannot be kept.
        """
        self._store.put(caller.owner, proxy, ends=ends)

    def look(self, caller: Caller, *, now: datetime) -> Kept | None:
        """Return the caller's delegation, None where there is none that lasts."""
        kept = self._store.find(caller.owner.id)
        return kept if kept is not None and kept.owner == caller.owner and kept.proxy and kept.ends > now else None

    def remove(self, caller: Caller) -> bool:
        """Remove the caller's delegation; return whether there was one."""
        return self._store.remove(caller.owner)

    def give(
        self, caller: Caller, wanted_id: str, request_der: bytes, lifetime: timedelta | None, *, now: datetime
    ) -> tuple[Owner, tuple[Certificate, ...]]:
        """Return a proxy below a delegated one for a service's own key, and whose it is.

        Args:
            caller: The service.
            wanted_id: Which delegation.
            request_der: The service's certificate request.
            lifetime: At most so long; None is as long as it may be.
            now: The time.

        Raises:
            DeniedError: The service may not have it; also where there is none, unless it may have anybody's.
            NotFoundError: There is none.
            ParseError: It is no request.
            GridError: The key is weak, or not proved.
        """
        mine = [one for one in self._services if _matches(one.identities, caller.peer.identity)]
        if not mine:
            raise DeniedError(f"{caller.peer.identity} is no service that may fetch proxies")
        kept = self._store.find(wanted_id)
        if kept is None or not kept.proxy or kept.ends <= now:
            raise NotFoundError("there is no such delegation, or it is over")
        allowed: list[ServiceSettings] = [one for one in mine if _matches(one.users, kept.owner.identity)]
        if not allowed:
            raise DeniedError(f"{caller.peer.identity} may not fetch proxies of {kept.owner.identity}")
        span = min(kept.ends - now, max(one.lifetime for one in allowed))
        if lifetime is not None:
            span = min(span, lifetime)
        proxy = parse_credential(kept.proxy, source="the store")
        wanted = parse_delegation_request(request_der)
        return kept.owner, tuple(grant_delegation(proxy, wanted, ProxyOptions(lifetime=span), now=now))

    def note_fetch(self, wanted_id: str, *, now: datetime) -> None:
        """Note that a service has fetched a proxy."""
        self._store.note_fetch(wanted_id, now=now)

    def _check_user(self, caller: Caller) -> None:
        if not any(one.matches(caller.owner.identity) for one in self._users):
            raise DeniedError(f"{caller.owner.identity} may not delegate here")

    def _requester(self, key_pem: bytes) -> DelegationRequester:
        (block,) = split_pem(key_pem, what="the stored key")
        return DelegationRequester(keys.parse_private_key(block))


def _matches(patterns: Iterable[str], identity: str) -> bool:
    return any(parse_pattern(text).matches(identity) for text in patterns)


def read_request(data: bytes) -> bytes:
    """Return the certificate request (DER) in a PEM file.

    Raises:
        ParseError: There is none.
    """
    for block in split_pem(data, what="certificate request"):
        if block.label in {"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"}:
            return block.data
    raise ParseError("there is no certificate request", what="certificate request")
