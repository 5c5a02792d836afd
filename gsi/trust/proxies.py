"""The proxies of a chain, judged one by one from the end entity down (RFC 3820 section 4 and the grid's rules).

    state = start(eec, profile, 2, path)
    state = add_proxy(state, proxy, classify_at(proxy, 1), 1, now=now, options=options)
    state = add_proxy(state, leaf, classify_at(leaf, 0), 0, now=now, options=options)

A `ProxyState` is all that the next proxy's judgement needs to know of those above it, so it can be kept and used again
for another leaf under the same issuer. Knows no trust directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import names, oids
from gsi.errors import ParseError, Reason, VerificationError
from gsi.proxy.chain import ProxyRules
from gsi.proxy.kinds import ProxyFormat, ProxyKind, Role
from gsi.trust.path import check_extended_key_usage, check_validity
from gsi.trust.profile import DIGITAL_SIGNATURE, KEY_CERT_SIGN, Profile, read_profile
from gsi.trust.signatures import check_certificate_signature, load_key

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.proxy.info import ProxyCertInfo
    from gsi.proxy.kinds import Classification
    from gsi.trust.options import ValidationOptions
    from gsi.trust.path import Path

__all__ = ["ProxyState", "add_proxy", "start"]

_LONG_NAME: Final = 1024  # bytes; a shorter name has no room for `gsi.names.MAX_ATTRIBUTES`
_OWN_IDENTITY: Final = frozenset({ProxyKind.INDEPENDENT, ProxyKind.RESTRICTED})


class ProxyState(NamedTuple):
    """What the certificates so far have proven; the one added last is `certificate`."""

    certificate: Certificate
    profile: Profile
    position: int
    path: Path
    certificates: tuple[Certificate, ...]
    """The proxies (the last one first), then the end entity."""
    identity_der: bytes
    rules: ProxyRules
    kinds: frozenset[ProxyKind]
    restrictions: tuple[ProxyCertInfo, ...]
    grants: frozenset[str] | None
    not_after: datetime
    holds_from: datetime
    holds_until: datetime


def start(eec: Certificate, profile: Profile, position: int, path: Path) -> ProxyState:
    """Return the state of an end entity whose path is proven, before any proxy."""
    return ProxyState(
        certificate=eec,
        profile=profile,
        position=position,
        path=path,
        certificates=(eec,),
        identity_der=eec.subject_der,
        rules=ProxyRules(),
        kinds=frozenset(),
        restrictions=(),
        grants=None,
        not_after=path.not_after,
        holds_from=path.holds_from,
        holds_until=path.holds_until,
    )


def add_proxy(
    above: ProxyState,
    proxy: Certificate,
    found: Classification,
    position: int,
    *,
    now: datetime,
    options: ValidationOptions,
) -> ProxyState:
    """Judge one proxy under what stands above it; return the state with it.

    Args:
        above: What was proven so far.
        proxy: The certificate, directly below.
        found: What `classify_at` says of it.
        position: Its index in the chain.
        now: The time of the judgement (aware UTC).
        options: The caller's switches.

    Raises:
        VerificationError: The first breach, in the order of the numbers here.
    """
    issuer = above.certificate
    info = found.info
    if found.role is not Role.PROXY or found.kind is None:
        raise _refusal("an end entity's certificate issued by no CA", Reason.NOT_A_CA, position + 1)
    # 0. A form that the caller takes.
    _check_format(found.format, position, options)
    profile = read_profile(proxy, position)
    # 1. Issued and signed by the certificate above.
    if not _same_name(proxy.issuer_der, issuer.subject_der, position):
        raise _refusal("its issuer is not the next certificate of the chain", Reason.CHAIN_BROKEN, position)
    check_certificate_signature(
        proxy, load_key(issuer, above.position), position, accept_weak=options.accept_weak_signatures
    )
    # 2. Named as its issuer, plus exactly one common name.
    if not _adds_one_common_name(proxy.subject_der, proxy.issuer_der, position):
        raise _refusal("its subject is not its issuer's plus one common name", Reason.PROXY_NAME, position)
    # 3. One ProxyCertInfo, critical and well-formed: `classify_at` has seen to it.
    # 4. No CA (by its classification), no alternative names, not fit to sign certificates.
    if profile.subject_alt_name is not None or profile.has_issuer_alt_name:
        raise _refusal("a proxy with an alternative name", Reason.PROXY_ALT_NAME, position)
    if profile.key_usage is not None and profile.key_usage & KEY_CERT_SIGN:
        raise _refusal("a proxy with key usage keyCertSign", Reason.KEY_USAGE, position)
    check_extended_key_usage(profile, position, options)
    _check_no_constraints(proxy, profile, position)
    # 5. Its signer may sign.
    if not above.profile.may(DIGITAL_SIGNATURE):
        raise _refusal("signs a proxy without key usage digitalSignature", Reason.KEY_USAGE, above.position)
    # 6. Room by the path lengths above. 7. No policy beside inheritAll and independent. 8. After limited only limited
    # or independent. 10. One form throughout.
    rules = above.rules.below(found, position)
    if found.kind is ProxyKind.LIMITED and not options.accept_limited:
        raise _refusal("a limited proxy, which is not accepted here", Reason.PROXY_LIMITED, position)
    # 9. A restriction needs somebody who can read it; grants intersect.
    grants, restrictions = above.grants, above.restrictions
    if found.kind is ProxyKind.RESTRICTED and info is not None:
        granted = _read_restriction(info, position, options)
        grants = granted if grants is None else grants & granted
        restrictions = (*restrictions, info)
    # 11. Valid; it may outlive its signer, whose own validity is checked as well.
    check_validity(proxy, now, position)
    return ProxyState(
        certificate=proxy,
        profile=profile,
        position=position,
        path=above.path,
        certificates=(proxy, *above.certificates),
        identity_der=proxy.subject_der if _is_own_identity(found.kind) else above.identity_der,
        rules=rules,
        kinds=above.kinds | {found.kind},
        restrictions=restrictions,
        grants=grants,
        not_after=min(above.not_after, proxy.not_after),
        holds_from=max(above.holds_from, proxy.not_before),
        holds_until=min(above.holds_until, proxy.not_after),
    )


def _is_own_identity(kind: ProxyKind) -> bool:
    """Tell whether such a proxy stands for itself; a restricted one, too, lest its policy be overlooked."""
    return kind in _OWN_IDENTITY


def _check_format(form: ProxyFormat | None, position: int, options: ValidationOptions) -> None:
    accepted = {ProxyFormat.GT3: options.accept_gt3, ProxyFormat.GT2: options.accept_gt2}
    if form is not None and not accepted.get(form, True):
        raise VerificationError(
            f"a proxy of the old {form.value.upper()} form, which is not accepted by default",
            reason=Reason.PROXY_FORMAT,
            position=position,
            hint=f"make an RFC 3820 proxy (grid-proxy-init -rfc), or switch on accept-{form.value}",
        )


def _check_no_constraints(proxy: Certificate, profile: Profile, position: int) -> None:
    """Refuse critical constraints on policies and names, which bind CAs and are applied to no proxy."""
    if oids.POLICY_CONSTRAINTS in profile.policies:
        found = proxy.find_extension(oids.POLICY_CONSTRAINTS)
        if found is not None and found.critical:
            raise _refusal("a proxy with critical policyConstraints", Reason.UNKNOWN_CRITICAL_EXTENSION, position)
    if profile.name_constraints_critical:
        raise _refusal("a proxy with critical nameConstraints", Reason.UNKNOWN_CRITICAL_EXTENSION, position)


def _read_restriction(info: ProxyCertInfo, position: int, options: ValidationOptions) -> frozenset[str]:
    handler = options.handlers.get(info.language)
    if handler is None:
        raise VerificationError(
            f"a restricted proxy whose policy language {info.language} nobody here can read",
            reason=Reason.PROXY_RESTRICTION,
            position=position,
        )
    try:
        granted: object = handler(info.policy or b"")
    except Exception as error:  # a handler is foreign code, and any failure of it is a no
        raise VerificationError(
            f"the policy of a restricted proxy was refused: {error}",
            reason=Reason.PROXY_RESTRICTION,
            position=position,
        ) from error
    if not isinstance(granted, set | frozenset) or not all(isinstance(grant, str) for grant in granted):
        # Foreign code is not held to its types, and a text would become the set of its letters.
        raise _refusal(
            f"the handler of policy language {info.language} returned no set of texts",
            Reason.PROXY_RESTRICTION,
            position,
        )
    return frozenset(granted)


def _same_name(first_der: bytes, second_der: bytes, position: int) -> bool:
    if first_der == second_der:
        return True
    try:
        return names.same_name(first_der, second_der)
    except ParseError as error:
        raise VerificationError(error.message, reason=Reason.MALFORMED, position=position) from error


def _adds_one_common_name(subject_der: bytes, issuer_der: bytes, position: int) -> bool:
    """Tell whether a subject is the issuer's name plus one RDN with one common name."""
    try:
        if len(subject_der) > _LONG_NAME:
            names.attributes(subject_der)  # the whole may have more attributes than a name may, if its parts have not
        return names.added_common_name(subject_der, issuer_der) is not None
    except ParseError as error:
        raise VerificationError(error.message, reason=Reason.MALFORMED, position=position) from error


def _refusal(message: str, reason: Reason, position: int) -> VerificationError:
    return VerificationError(message, reason=reason, position=position)
