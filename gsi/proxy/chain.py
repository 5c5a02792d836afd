"""A certificate chain seen as proxies over one end entity over CAs; facts and proxy rules, no signatures and no trust.

    chain = ProxyChain.split(credential.certificates)       # leaf first
    chain.identity_text, chain.type_text, chain.not_after
    check_proxy_rules(chain)                                # RFC 3820 section 4.1, what needs no key and no clock

What `grid-proxy-info` prints is here, and must agree with it (gct:gsi/proxy/proxy_utils/source/programs, gct:gsi/
cert_utils). Whether the end entity is known to anybody is decided in `gsi.trust.verify`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import names, oids
from gsi.errors import ParseError, Reason, VerificationError
from gsi.extensions import CONTENT_COMMITMENT, DIGITAL_SIGNATURE, KEY_CERT_SIGN, parse_key_usage
from gsi.proxy.info import WHAT
from gsi.proxy.kinds import Classification, ProxyFormat, ProxyKind, Role, classify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.proxy.info import ProxyCertInfo

__all__ = [
    "CONTENT_COMMITMENT",
    "DIGITAL_SIGNATURE",
    "KEY_CERT_SIGN",
    "ProxyChain",
    "ProxyRules",
    "check_proxy_rules",
    "classify_at",
    "key_usage_bits",
    "type_text",
]

_END_ENTITY_TEXT: Final = "end entity credential"
_KIND_WORD: Final = {
    ProxyKind.FULL: "impersonation",
    ProxyKind.LIMITED: "limited",
    ProxyKind.INDEPENDENT: "independent",
    ProxyKind.RESTRICTED: "restricted",
}
_FORMAT_TEXT: Final = {
    ProxyFormat.RFC3820: "RFC 3820 compliant {} proxy",
    ProxyFormat.GT3: "Proxy draft (pre-RFC) compliant {} proxy",
    ProxyFormat.GT2: "{} legacy globus proxy",
}
_TRANSPARENT: Final = frozenset({ProxyKind.FULL, ProxyKind.LIMITED})  # kinds that act in their issuer's name
_AFTER_LIMITED: Final = frozenset({ProxyKind.LIMITED, ProxyKind.INDEPENDENT})


def type_text(found: Classification) -> str:
    """Return the words of `grid-proxy-info -type` for one certificate."""
    if found.format is None or found.kind is None:
        return _END_ENTITY_TEXT
    word = "full" if found.format is ProxyFormat.GT2 and found.kind is ProxyKind.FULL else _KIND_WORD[found.kind]
    return _FORMAT_TEXT[found.format].format(word)


def key_usage_bits(certificate: Certificate) -> int | None:
    """Return the KeyUsage bits, bit n of the standard as `1 << n`; None when the extension is absent.

    Raises:
        ParseError: The extension is malformed.
    """
    extension = certificate.find_extension(oids.KEY_USAGE)
    return None if extension is None else parse_key_usage(extension.value)


class ProxyChain:
    """A chain split at its end entity. Immutable; made by `split`.

    Attributes:
        proxies: Proxy certificates, leaf first; empty when the leaf is the end entity.
        classifications: What each of `proxies` is, in the same order.
        eec: The end entity certificate.
        cas: Whatever follows it, meant to be CAs; not judged here.
    """

    __slots__ = ("cas", "classifications", "eec", "proxies")

    proxies: tuple[Certificate, ...]
    classifications: tuple[Classification, ...]
    eec: Certificate
    cas: tuple[Certificate, ...]

    def __init__(
        self,
        proxies: tuple[Certificate, ...],
        classifications: tuple[Classification, ...],
        eec: Certificate,
        cas: tuple[Certificate, ...],
    ) -> None:
        put = object.__setattr__
        put(self, "proxies", proxies)
        put(self, "classifications", classifications)
        put(self, "eec", eec)
        put(self, "cas", cas)

    @classmethod
    def split(cls, certificates: Sequence[Certificate]) -> ProxyChain:
        """Split a chain, leaf first: proxies while there are proxies, then the end entity, then the rest.

        Raises:
            VerificationError: The chain is empty, has no end entity where one must stand, or a certificate's marks as
                a proxy are malformed or not critical. The position is the certificate's index.
        """
        if not certificates:
            raise VerificationError("no certificate in the chain", reason=Reason.EMPTY_CHAIN)
        found: list[Classification] = []
        for position, certificate in enumerate(certificates):
            one = classify_at(certificate, position)
            if one.role is Role.EEC:
                return cls(
                    tuple(certificates[:position]), tuple(found), certificate, tuple(certificates[position + 1 :])
                )
            if one.role is Role.CA:
                raise _no_end_entity(position)
            found.append(one)
        raise VerificationError(
            "the chain ends with a proxy; the end entity certificate that stands behind it is missing",
            reason=Reason.NO_END_ENTITY,
            position=len(certificates) - 1,
            hint="send or store the whole chain: the proxies and the user's own certificate. A certificate whose last "
            "common name is 'proxy' or 'limited proxy' counts as a legacy proxy",
        )

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The whole chain again, leaf first."""
        return (*self.proxies, self.eec, *self.cas)

    @property
    def leaf(self) -> Certificate:
        """The first certificate, whose key the holder has."""
        return self.proxies[0] if self.proxies else self.eec

    @property
    def is_proxy(self) -> bool:
        """Whether the leaf is a proxy."""
        return bool(self.proxies)

    @property
    def format(self) -> ProxyFormat | None:
        """The leaf's form, or None for an end entity."""
        return self.classifications[0].format if self.classifications else None

    @property
    def leaf_kind(self) -> ProxyKind | None:
        """The leaf's own kind, or None for an end entity; `kind` weighs the whole chain."""
        return self.classifications[0].kind if self.classifications else None

    @property
    def kind(self) -> ProxyKind | None:
        """The strictest kind in the chain, or None for an end entity.

        One restricted proxy makes the chain restricted, else one limited proxy makes it limited, else one independent
        proxy makes it independent.
        """
        kinds = {found.kind for found in self.classifications}
        for kind in (ProxyKind.RESTRICTED, ProxyKind.LIMITED, ProxyKind.INDEPENDENT, ProxyKind.FULL):
            if kind in kinds:
                return kind
        return None

    @property
    def is_limited(self) -> bool:
        """Whether any proxy in the chain is limited; job services must refuse it."""
        return any(found.kind is ProxyKind.LIMITED for found in self.classifications)

    @property
    def is_independent(self) -> bool:
        """Whether any proxy in the chain is independent: then nothing of the end entity's rights is left."""
        return any(found.kind is ProxyKind.INDEPENDENT for found in self.classifications)

    @property
    def restrictions(self) -> tuple[ProxyCertInfo, ...]:
        """The policies of the restricted proxies, end entity's side first; every one of them binds."""
        return tuple(
            found.info
            for found in reversed(self.classifications)
            if found.kind is ProxyKind.RESTRICTED and found.info is not None
        )

    @property
    def identity_certificate(self) -> Certificate:
        """The certificate whose subject the leaf acts for.

        From the leaf upwards, full and limited proxies are passed over. An independent proxy is its own identity, and
        so is a restricted one, as in GCT: nobody may take it for its issuer without having read its policy.
        """
        for certificate, found in zip(self.proxies, self.classifications, strict=True):
            if found.kind not in _TRANSPARENT:
                return certificate
        return self.eec

    @property
    def identity(self) -> bytes:
        """The identity's name in DER."""
        return self.identity_certificate.subject_der

    @property
    def identity_text(self) -> str:
        """The identity's name in the one-line form (`/O=Grid/CN=Alice`), for display and grid-mapfiles."""
        return names.oneline(self.identity)

    @property
    def not_after(self) -> datetime:
        """When the first of the certificates expires (aware UTC); no session should outlive it."""
        return min(certificate.not_after for certificate in self.certificates)

    @property
    def depth_left(self) -> int | None:
        """How many more proxies may follow below the leaf; None for no limit.

        A chain that is already longer than a path length in it allows gives 0; `check_proxy_rules` refuses it.
        """
        left: int | None = None
        for found in reversed(self.classifications):
            left = next_depth(left, found)
        return left

    @property
    def type_text(self) -> str:
        """The words of `grid-proxy-info -type`."""
        return type_text(self.classifications[0]) if self.classifications else _END_ENTITY_TEXT

    def __repr__(self) -> str:
        return f"<ProxyChain {self.type_text}, {len(self.proxies)} proxies, identity {self.identity_text!r}>"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a ProxyChain is immutable; {name} cannot be set")


def classify_at(certificate: Certificate, position: int) -> Classification:
    """Tell what a certificate of a chain is, with faults as refusals of the chain.

    Raises:
        VerificationError: PROXY_INFO_MALFORMED, PROXY_INFO_NOT_CRITICAL or MALFORMED, at `position`.
    """
    try:
        found = classify(certificate)
    except ParseError as error:
        reason = Reason.PROXY_INFO_MALFORMED if error.what == WHAT else Reason.MALFORMED
        raise VerificationError(error.message, reason=reason, position=position) from error
    if found.has_noncritical_info:
        raise VerificationError(
            "the certificate has a ProxyCertInfo that is not critical",
            reason=Reason.PROXY_INFO_NOT_CRITICAL,
            position=position,
            hint="RFC 3820 section 3.8 wants it critical; make the proxy again with another program",
        )
    return found


def _no_end_entity(position: int) -> VerificationError:
    if position == 0:
        return VerificationError(
            "a CA's certificate where an end entity's or a proxy belongs",
            reason=Reason.IS_A_CA,
            position=0,
            hint="give a user's or host's certificate that the CA has issued",
        )
    return VerificationError(
        "the proxy was issued by a CA; only an end entity or another proxy can issue one",
        reason=Reason.NO_END_ENTITY,
        position=position - 1,
    )


class ProxyRules(NamedTuple):
    """What the proxies above leave to the next one (RFC 3820 section 4.1): room, width, form."""

    depth_left: int | None = None
    """How many more proxies may follow; None for no limit."""
    is_limited: bool = False
    """Whether a limited proxy stands above."""
    format: ProxyFormat | None = None
    """The form of the proxies above; None below an end entity."""

    def below(self, found: Classification, position: int) -> ProxyRules:
        """Check a proxy by what it says of itself; return what is left below it.

        Raises:
            VerificationError: PROXY_PATH_LENGTH, PROXY_POLICY_PRESENT, PROXY_LIMITED or PROXY_MIXED_FORMATS.
        """
        info = found.info
        if self.depth_left == 0:
            raise _breach("a proxy above allows no further proxy (path length)", Reason.PROXY_PATH_LENGTH, position)
        if info is not None and info.has_forbidden_policy:
            raise _breach("a policy beside inheritAll or independent", Reason.PROXY_POLICY_PRESENT, position)
        if self.is_limited and found.kind not in _AFTER_LIMITED:
            raise _breach("wider than the limited proxy above it", Reason.PROXY_LIMITED, position)
        if self.format is not None and found.format is not self.format:
            raise _breach("proxies of two forms in one chain", Reason.PROXY_MIXED_FORMATS, position)
        return ProxyRules(
            next_depth(self.depth_left, found), self.is_limited or found.kind is ProxyKind.LIMITED, found.format
        )


def next_depth(left: int | None, found: Classification) -> int | None:
    """Return the depth left below a proxy from the depth left above it; the smaller of two limits counts."""
    below = None if left is None else max(left - 1, 0)
    own = None if found.info is None else found.info.path_length
    if own is None:
        return below
    return own if below is None else min(below, own)


def check_proxy_rules(chain: ProxyChain) -> None:
    """Check what RFC 3820 and the grid ask of proxies in a chain, as far as that needs no key, clock or trust.

    From the end entity down: names, key usages, no alternative names, path length, a policy only where it may stand,
    nothing wider after limited, one form throughout. Restricted policies are not judged.

    Raises:
        VerificationError: The first breach, with the index of the certificate.
    """
    issuer = chain.eec
    rules = ProxyRules()
    for position in range(len(chain.proxies) - 1, -1, -1):
        proxy, found = chain.proxies[position], chain.classifications[position]
        if not names.same_name(proxy.issuer_der, issuer.subject_der):
            raise _breach("its issuer is not the next certificate of the chain", Reason.CHAIN_BROKEN, position)
        if names.added_common_name(proxy.subject_der, issuer.subject_der) is None:
            raise _breach("its subject is not its issuer's plus one common name", Reason.PROXY_NAME, position)
        if proxy.has_duplicate_extensions:
            raise _breach("an extension occurs twice", Reason.DUPLICATE_EXTENSION, position)
        if proxy.find_extension(oids.SUBJECT_ALT_NAME) or proxy.find_extension(oids.ISSUER_ALT_NAME):
            raise _breach("a proxy with an alternative name", Reason.PROXY_ALT_NAME, position)
        _check_key_usages(proxy, issuer, position)
        rules = rules.below(found, position)
        issuer = proxy


def _check_key_usages(proxy: Certificate, issuer: Certificate, position: int) -> None:
    try:
        own, above = key_usage_bits(proxy), key_usage_bits(issuer)
    except ParseError as error:
        raise _breach(error.message, Reason.MALFORMED, position) from error
    if own is not None and own & KEY_CERT_SIGN:
        raise _breach("a proxy must not have key usage keyCertSign", Reason.KEY_USAGE, position)
    if above is not None and not above & DIGITAL_SIGNATURE:
        raise VerificationError(
            f"certificate at index {position + 1}: signs a proxy without key usage digitalSignature",
            reason=Reason.KEY_USAGE,
            position=position + 1,
        )


def _breach(message: str, reason: Reason, position: int) -> VerificationError:
    return VerificationError(f"proxy at index {position}: {message}", reason=reason, position=position)
