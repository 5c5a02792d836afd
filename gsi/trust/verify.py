"""Judging a certificate chain: RFC 5280 path validation, RFC 3820 proxy rules, and the rules of grids; pure.

    peer = verify_chain(chain, anchors, now=now)
    peer.identity, peer.kind, peer.not_after

The chain comes leaf first, as a TLS peer or a proxy file presents it. The answer is a `VerifiedPeer`, or a
`VerificationError` with a stable reason, the index of the certificate, and a hint. Any doubt refuses.

The steps: A parse and bound, B split at the end entity, C the path of CAs
(`gsi.trust.path`), D the end entity, E the proxies (`gsi.trust.proxies`), F the result. Must agree with
gct: gsi/callback and OpenSSL's proxy support, but for what these accept although a rule forbids it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from gsi import der, names
from gsi.certificate import MAX_CERTIFICATE_BYTES, VERSION, Certificate
from gsi.errors import ParseError, Reason, VerificationError
from gsi.proxy.chain import ProxyChain, classify_at
from gsi.proxy.kinds import ProxyKind, Role
from gsi.trust.cache import VerificationCache, cache_key
from gsi.trust.options import (
    MAX_CHAIN_BYTES,
    MAX_NAMES_BYTES,
    CRLPolicy,
    Purpose,
    RestrictionHandler,
    ValidationOptions,
)
from gsi.trust.path import check_extended_key_usage, check_validity, find_path
from gsi.trust.peer import VerifiedPeer
from gsi.trust.profile import DIGITAL_SIGNATURE, read_profile
from gsi.trust.proxies import ProxyState, add_proxy, start
from gsi.trust.signatures import load_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.trust.anchors import TrustAnchors

__all__ = [
    "CRLPolicy",
    "Purpose",
    "RestrictionHandler",
    "ValidationOptions",
    "VerificationCache",
    "VerifiedPeer",
    "verify_chain",
]

_DEFAULTS: Final = ValidationOptions()
_STRICTEST: Final = (ProxyKind.RESTRICTED, ProxyKind.LIMITED, ProxyKind.INDEPENDENT, ProxyKind.FULL)


def verify_chain(
    chain: Sequence[bytes | Certificate],
    anchors: TrustAnchors,
    *,
    now: datetime,
    options: ValidationOptions = _DEFAULTS,
    cache: VerificationCache | None = None,
) -> VerifiedPeer:
    """Judge a chain; return what it proves.

    Args:
        chain: Certificates in DER or parsed, leaf first: proxies, end entity, any CAs but the anchor (a root that is
            presented proves nothing and is passed over).
        anchors: The contents of the trust directory.
        now: The time for which the chain is judged (aware UTC). There is no grace for clocks that differ.
        options: The caller's switches.
        cache: Where what was found good is kept and found again.

    Raises:
        VerificationError: The chain must not be trusted.
    """
    _check_bounds(chain, options)
    key = whole = None
    if cache is not None:
        ders = [item if isinstance(item, bytes) else item.der for item in chain]
        whole = cache_key(ders, anchors, options, whole=True)
        state = None if whole is None else cache.find(whole, now)
        if state is not None:
            return _finish(state, now, options)
        key = cache_key(ders[1:], anchors, options)
        state = None if key is None else cache.find(key, now)
        if state is not None:
            leaf = _parse(chain[0], 0)
            found = classify_at(leaf, 0)
            if found.role is Role.PROXY:
                state = add_proxy(state, leaf, found, 0, now=now, options=options)
                if whole is not None and cache.keeps_leaves:
                    cache.keep(whole, state)
                return _finish(state, now, options)
    # A. Parse everything before judging anything.
    certificates = [_parse(item, position) for position, item in enumerate(chain)]
    # B. Split: proxies up to the end entity, CAs above.
    split = ProxyChain.split(certificates)
    eec_position = len(split.proxies)
    _check_names(certificates[eec_position:], eec_position, anchors)
    state = _judge_end_entity(certificates, eec_position, anchors, now, options)
    # E. Each proxy, from the end entity down.
    for position in range(eec_position - 1, -1, -1):
        if position == 0 and cache is not None and key is not None:
            cache.keep(key, state)
        found = split.classifications[position]
        state = add_proxy(state, certificates[position], found, position, now=now, options=options)
    if cache is not None and whole is not None and (eec_position == 0 or cache.keeps_leaves):
        cache.keep(whole, state)
    return _finish(state, now, options)


def _check_bounds(chain: Sequence[bytes | Certificate], options: ValidationOptions) -> None:
    """Bound the work before any byte is decoded."""
    if not chain:
        raise VerificationError("no certificate was presented", reason=Reason.EMPTY_CHAIN)
    if len(chain) > options.max_chain:
        raise VerificationError(
            f"{len(chain)} certificates in the chain, limit {options.max_chain}", reason=Reason.CHAIN_TOO_LONG
        )
    total = 0
    for position, item in enumerate(chain):
        size = len(item if isinstance(item, bytes) else item.der)
        total += size
        if size > MAX_CERTIFICATE_BYTES:
            raise VerificationError(
                f"certificate of {size} bytes, limit {MAX_CERTIFICATE_BYTES}",
                reason=Reason.MALFORMED,
                position=position,
            )
    if total > MAX_CHAIN_BYTES:
        raise VerificationError(f"chain of {total} bytes, limit {MAX_CHAIN_BYTES}", reason=Reason.CHAIN_TOO_LONG)


def _parse(item: bytes | Certificate, position: int) -> Certificate:
    if isinstance(item, Certificate):
        return item
    try:
        return Certificate.parse(item)
    except ParseError as error:
        reason = Reason.UNSUPPORTED_VERSION if error.what == VERSION else Reason.MALFORMED
        raise VerificationError(error.message, reason=reason, position=position) from error


def _check_names(certificates: Sequence[Certificate], first: int, anchors: TrustAnchors) -> None:
    """Check that the names of end entity and CAs can be read, each once, so that what is said of them can be said.

    Those of proxies are read against their issuer's before anything is said of them (`gsi.trust.proxies`, 1 and 2).
    """
    seen: set[bytes] = set()
    total = 0
    for position, certificate in enumerate(certificates, start=first):
        for name_der in (certificate.subject_der, certificate.issuer_der):
            if name_der in seen or anchors.has_name(name_der):
                continue
            seen.add(name_der)
            total += len(name_der)
            if total > MAX_NAMES_BYTES:
                raise VerificationError(
                    f"more than {MAX_NAMES_BYTES} bytes of names of CAs", reason=Reason.CHAIN_TOO_LONG
                )
            try:
                for attribute in itertools.chain.from_iterable(names.attributes(name_der)):
                    if attribute.tag != der.BIT_STRING:
                        attribute.text()  # OpenSSL lets no certificate pass whose name holds broken UTF-8
            except ParseError as error:
                raise VerificationError(error.message, reason=Reason.MALFORMED, position=position) from error


def _judge_end_entity(
    certificates: Sequence[Certificate],
    position: int,
    anchors: TrustAnchors,
    now: datetime,
    options: ValidationOptions,
) -> ProxyState:
    """Judge the end entity and the CAs above it (steps C and D)."""
    eec = certificates[position]
    profile = read_profile(eec, position)
    presented = [
        (index, certificate, read_profile(certificate, index))
        for index, certificate in enumerate(certificates[position + 1 :], start=position + 1)
    ]
    for index, certificate, found in presented:
        is_old_root = certificate.version == 1 and certificate.is_self_issued  # passed over like every presented root
        if not found.is_ca and not is_old_root:
            raise VerificationError(
                "a certificate that is no CA's stands above the end entity", reason=Reason.NOT_A_CA, position=index
            )
    # D. What can be said of the end entity alone, before the search for its path.
    check_validity(eec, now, position)
    load_key(eec, position)
    if not profile.may(DIGITAL_SIGNATURE):
        raise VerificationError(
            "the end entity's key usage lacks digitalSignature", reason=Reason.KEY_USAGE, position=position
        )
    check_extended_key_usage(profile, position, options)
    if profile.name_constraints_critical:  # a CA's alone (RFC 5280 section 4.2.1.10); nobody would apply them
        raise VerificationError(
            "an end entity with critical nameConstraints", reason=Reason.UNKNOWN_CRITICAL_EXTENSION, position=position
        )
    # C. A path to an anchor, with signing policy and CRL.
    path = find_path(eec, profile, position, presented=presented, anchors=anchors, now=now, options=options)
    return start(eec, profile, position, path)


def _finish(state: ProxyState, now: datetime, options: ValidationOptions) -> VerifiedPeer:
    """Judge the leaf as such and give the result (step F)."""
    if options.purpose is not Purpose.ANY and not state.profile.may(DIGITAL_SIGNATURE):
        raise VerificationError(
            "the leaf's key usage lacks digitalSignature, which TLS needs", reason=Reason.KEY_USAGE, position=0
        )
    load_key(state.certificate, 0)
    return VerifiedPeer(
        leaf=state.certificate,
        eec=state.certificates[-1],
        chain=(*state.certificates, *state.path.authorities),
        identity_der=state.identity_der,
        kind=next((kind for kind in _STRICTEST if kind in state.kinds), None),
        format=state.rules.format,
        limited=ProxyKind.LIMITED in state.kinds,
        independent=ProxyKind.INDEPENDENT in state.kinds,
        depth_left=state.rules.depth_left,
        not_after=state.not_after,
        restrictions=state.restrictions,
        grants=state.grants,
        verified_at=now,
    )
