"""Judging assertions: signature, issuer, time, audience and holder, in a written order; pure.

    verifier = AssertionVerifier(issuers, directory.anchors, AssertionOptions(audiences=frozenset({"se.example.org"})))
    assertion = verifier.verify(xml, peer, now=now)
    for decision in assertion.permits: ...

The order: A read the document, B the shape of its signature, C the issuer (by name), D its signer, E the signature, F
read what was signed and only that, G time, H audience, I the holder, J one use. What the document says before F decides
nothing but whose certificate has to have signed, and F must say the same.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import names
from gsi.errors import CapabilityError, CapabilityProblem, ParseError
from gsi.saml.assertion import (
    SAML1,
    SAML2,
    Assertion,
    Attribute,
    AuthorizationDecision,
    Confirmation,
    Subject,
    read_assertion,
)
from gsi.saml.document import Element, parse_document, refuse, split_tag, text_of
from gsi.saml.signature import DS, check_signature, find_signature
from gsi.saml.trust import AssertionIssuer, Signers, dn_key, name_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.tokens.replay import ReplayGuard
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer

__all__ = ["AssertionOptions", "AssertionVerifier", "VerifiedAssertion"]

P: Final = CapabilityProblem

_NAME_FORMATS: Final = frozenset(
    {
        "urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName",
        "urn:oasis:names:tc:SAML:1.0:assertion#X509SubjectName",  # SAML 1.0
        "#X509SubjectName",
    }
)
_HOLDER_OF_KEY: Final = frozenset(
    {"urn:oasis:names:tc:SAML:1.0:cm:holder-of-key", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"}
)
_BY_NAME: Final = frozenset(
    {
        "urn:oasis:names:tc:SAML:1.0:am:X509-PKI",  # CAS: whoever has the name in a certificate
        "urn:oasis:names:tc:SAML:1.0:cm:bearer",
        "urn:oasis:names:tc:SAML:2.0:cm:bearer",
        "urn:oasis:names:tc:SAML:1.0:cm:sender-vouches",
        "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches",
    }
)
"""Ways that ask for no key; the subject must be the peer's proven name in any case."""


class AssertionOptions(NamedTuple):
    """The switches of `AssertionVerifier`.

    Attributes:
        audiences: The own names, compared with their case.
        require_audience: Refuse assertions that are not restricted to an audience.
        require_key: Refuse assertions that are not bound to a key (holder-of-key).
        skew: By how much NotBefore and IssueInstant may lie in the future.
        max_lifetime: The longest time from NotBefore to NotOnOrAfter.
        accept_sha1: Take signatures of old CAS servers, which are broken.
    """

    audiences: frozenset[str] = frozenset()
    require_audience: bool = False
    require_key: bool = False
    skew: timedelta = timedelta(minutes=1)
    max_lifetime: timedelta = timedelta(days=7)
    accept_sha1: bool = False


class VerifiedAssertion(NamedTuple):
    """What an assertion proves about the holder of a chain."""

    issuer: str
    """As it is written."""
    signer: str
    """The subject of the signer's certificate in one-line form."""
    identifier: str
    version: str
    subject_der: bytes
    """The holder's name; equal to the peer's identity."""
    decisions: tuple[AuthorizationDecision, ...]
    attributes: tuple[Attribute, ...]
    audiences: tuple[frozenset[str], ...]
    is_bound: bool
    """Whether it is bound to a key of the holder's, and not to the name alone."""
    not_before: datetime
    not_after: datetime
    """When the first of these ends: the assertion, the confirmation of its holder, its signer's path, the holder's
    chain."""
    signer_chain: tuple[Certificate, ...] = ()
    """The signer's path, its certificate first; of a pinned one the certificate alone."""

    @property
    def permits(self) -> tuple[AuthorizationDecision, ...]:
        """The decisions that allow something, unless another one about the same resource does not."""
        refused = {one.resource for one in self.decisions if one.decision != "Permit"}
        return tuple(one for one in self.decisions if one.decision == "Permit" and one.resource not in refused)


class _Confirmed(NamedTuple):
    """How the holder was confirmed."""

    is_bound: bool
    not_after: datetime | None = None


class AssertionVerifier:
    """Judges assertions by what a site trusts. Safe for several threads.

    Args:
        issuers: Whose assertions count.
        anchors: Returns the current trust anchors; asked each time, so it has to be cheap.
        options: The switches.
        replay: Remembers assertions that may be used once; without one these are refused.
    """

    __slots__ = ("_issuers", "_options", "_replay", "_signers")

    def __init__(
        self,
        issuers: tuple[AssertionIssuer, ...],
        anchors: Callable[[], TrustAnchors],
        options: AssertionOptions | None = None,
        *,
        replay: ReplayGuard | None = None,
    ) -> None:
        self._issuers = issuers
        self._options = options or AssertionOptions()
        self._signers = Signers(anchors)
        self._replay = replay

    def verify(self, data: bytes, peer: VerifiedPeer, *, now: datetime) -> VerifiedAssertion:
        """Judge an assertion for the holder of a verified chain; return what it proves.

        Args:
            data: The XML document, whose root is the assertion.
            peer: Who presents it.
            now: The present time (aware UTC).

        Raises:
            CapabilityError: It must not be believed.
            ConfigError: The extra `saml` is not installed.
        """
        weak = self._options.accept_sha1
        root = parse_document(data)  # A
        signature = find_signature(root, _id_attribute(root), accept_sha1=weak)  # B
        claimed = _issuer_of(root)
        issuer = next((one for one in self._issuers if one.is_named(claimed)), None)  # C
        if issuer is None:
            raise CapabilityError(
                f"assertion: the issuer {claimed[:200]!r} is not trusted here", problem=P.ISSUER, issuer=claimed[:200]
            )
        try:
            signer = self._signers.prove(issuer, signature.certificates, now=now)  # D
            signed = check_signature(data, signature, signer.certificate, now=now, accept_sha1=weak)  # E
            assertion = _read_signed(signed, signature.reference, claimed)  # F
            not_before, not_after = self._check_times(assertion, now)  # G
            self._check_audience(assertion)  # H
            confirmed = [self._check_holder(subject, peer, now) for subject in assertion.subjects]  # I
            self._use_once(assertion, claimed, not_after, now)  # J
        except CapabilityError as error:
            error.issuer = error.issuer or claimed[:200]
            raise
        return VerifiedAssertion(
            claimed,
            names.oneline(signer.certificate.subject_der),
            assertion.identifier,
            assertion.version,
            peer.identity_der,
            assertion.decisions,
            assertion.attributes,
            assertion.audiences,
            bool(confirmed) and all(one.is_bound for one in confirmed),
            not_before,
            min((not_after, signer.not_after, peer.not_after, *(one.not_after for one in confirmed if one.not_after))),
            signer.chain,
        )

    def _check_times(self, assertion: Assertion, now: datetime) -> tuple[datetime, datetime]:
        begins, ends = assertion.not_before or assertion.issued_at, assertion.not_after
        if ends is None:
            raise refuse("it never ends", P.LIFETIME)
        if now >= ends:
            raise refuse(f"expired at {ends:%Y-%m-%dT%H:%M:%SZ}", P.EXPIRED)
        if max(begins, assertion.issued_at) > now + self._options.skew:
            raise refuse(f"not valid before {begins:%Y-%m-%dT%H:%M:%SZ}", P.NOT_YET_VALID)
        if not timedelta() < ends - begins <= self._options.max_lifetime:
            raise refuse(f"its life is not between 0 and {self._options.max_lifetime}", P.LIFETIME)
        return begins, ends

    def _check_audience(self, assertion: Assertion) -> None:
        if not assertion.audiences and self._options.require_audience:
            raise refuse("not restricted to an audience", P.AUDIENCE)
        for audience in assertion.audiences:
            if self._options.audiences.isdisjoint(audience):
                raise refuse("it is meant for another audience", P.AUDIENCE)

    def _check_holder(self, subject: Subject, peer: VerifiedPeer, now: datetime) -> _Confirmed:
        """Check that the presenter is the subject; say whether by a key and not by name alone, and how long."""
        if subject.name_format not in _NAME_FORMATS:
            raise refuse("its subject is not given as the name in a certificate", P.HOLDER)
        try:
            if dn_key(subject.name) != name_key(peer.identity_der):
                raise refuse("it was issued to another holder", P.HOLDER)
            if subject.qualifier and dn_key(subject.qualifier) != name_key(peer.eec.issuer_der):
                raise refuse("it was issued to a holder of another CA", P.HOLDER)
        except ParseError as error:
            raise CapabilityError(f"assertion: its subject: {error.message}", problem=P.HOLDER) from error
        if not subject.confirmations:
            if self._options.require_key:
                raise refuse("not bound to a key", P.HOLDER)
            return _Confirmed(is_bound=False)
        for confirmation in subject.confirmations:
            is_bound = self._confirms(confirmation, peer, now)
            if is_bound is not None and (is_bound or not self._options.require_key):
                return _Confirmed(is_bound, confirmation.not_after)
        raise refuse("its holder is to be confirmed in a way that is not known here, or is not met", P.HOLDER)

    def _confirms(self, confirmation: Confirmation, peer: VerifiedPeer, now: datetime) -> bool | None:
        """Say whether a confirmation holds by a key (True), without one (False), or not at all (None)."""
        skew = self._options.skew
        if confirmation.not_before is not None and confirmation.not_before > now + skew:
            return None
        if confirmation.not_after is not None and now >= confirmation.not_after:
            return None
        if confirmation.recipient is not None and confirmation.recipient not in self._options.audiences:
            return None
        if confirmation.method in _HOLDER_OF_KEY:
            own = peer.chain[: peer.chain.index(peer.eec) + 1]
            if peer.identity_der != peer.eec.subject_der:
                own = own[:1]
            return True if any(one in own for one in confirmation.certificates) else None
        return False if confirmation.method in _BY_NAME else None

    def _use_once(self, assertion: Assertion, issuer: str, not_after: datetime, now: datetime) -> None:
        if not assertion.is_one_time:
            return
        if self._replay is None:
            raise refuse("it may be used once only, and nobody can remember it", P.REPLAYED)
        if not self._replay.remember(issuer, assertion.identifier, until=not_after, now=now):
            raise refuse("it was used before", P.REPLAYED)


def _id_attribute(root: Element) -> str:
    match split_tag(root):
        case (namespace, "Assertion") if namespace == SAML1:
            return "AssertionID"
        case (namespace, "Assertion") if namespace == SAML2:
            return "ID"
        case _:
            raise refuse("no assertion, or of no version that is known here", P.VERSION)


def _issuer_of(root: Element) -> str:
    """Return what the document says of its issuer, before it is proven."""
    if split_tag(root)[0] == SAML1:
        return root.get("Issuer") or ""
    first = next(iter(root), None)
    if first is None or split_tag(first) != (SAML2, "Issuer"):
        raise refuse("without an issuer", P.ISSUER)
    return text_of(first)


def _read_signed(signed: bytes, identifier: str, issuer: str) -> Assertion:
    """Read the element that was signed, which must be what the document showed."""
    root = parse_document(signed)
    if any(split_tag(one)[0] == DS and split_tag(one)[1] == "Signature" for one in root.iter()):
        raise refuse("a signature within what was signed")
    assertion = read_assertion(root)
    if assertion.identifier != identifier or assertion.issuer != issuer:
        raise refuse("what was signed is not what the document shows")
    return assertion
