"""What a subject brings of the communities that a site knows: found, verified, kept for a minute; decides nothing.

    found = finder.find(request)
    found.held                                 # each of one community, verified, valid now
    found.problems                             # why others do not count

Where it is looked: assertions and tokens that were shown (over GridFTP's control channel, or to another service); where
none was shown, the assertions and attribute certificates in the proxies, of each community those of the lowest proxy
that carries any, so that a delegation can leave rights behind. Attribute certificates of VOs that are none of
the communities are other authorizers' business; assertions and tokens of strangers count as problems, unless they are
to be left alone. What was verified counts for a minute, unless it ends or the trust directory changes before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cas.authorizer.signing import TokenSigners
from gsi import names, oids
from gsi.authz.principals import has_own_identity
from gsi.authz.sources import MAX_PRESENTED, PresentedAssertion, PresentedToken, peer_of
from gsi.errors import CapabilityError, CapabilityProblem, ConfigError, ParseError
from gsi.saml.carriers import find_assertions
from gsi.saml.verify import VerifiedAssertion
from gsi.tokens.verify import VerifiedToken
from gsi.voms.attribute_cert import split_authority
from gsi.voms.verify import VerifiedAttributes

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cas.authorizer.community import Community
    from gsi.authz.decision import AuthorizationRequest, Subject
    from gsi.certificate import Certificate
    from gsi.saml.verify import AssertionVerifier
    from gsi.tokens.verify import TokenVerifier
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer
    from gsi.voms.verify import AttributeVerifier

__all__ = ["KEPT_FOR", "SHOWN", "Body", "Finder", "Findings", "Held", "Verifiers"]

KEPT_FOR: Final = timedelta(minutes=1)
"""How long what was verified counts without another look: as long as signers do (`gsi.saml.trust`)."""

SHOWN: Final = -1
"""The position of what no proxy carries."""

_MAX_KEPT: Final = 512  # capabilities of open sessions; each keeps some ten kilobytes
_MAX_PROBLEMS: Final = 4

Body: TypeAlias = VerifiedAssertion | VerifiedAttributes | VerifiedToken
"""One capability, verified, in the form that it came in."""


class Held(NamedTuple):
    """One capability of one community."""

    community: Community
    body: Body
    identifier: str | int
    not_before: datetime
    not_after: datetime
    position: int = SHOWN
    """Index of the proxy that carries it, leaf first."""

    def __str__(self) -> str:
        match self.body:
            case VerifiedAssertion():
                return f"assertion {self.identifier} of {self.community.identity}"
            case VerifiedAttributes():
                return f"attribute certificate {self.identifier:x} of {self.community.identity}"
            case _:
                return f"token {self.identifier} of {self.community.token_issuer}"


class Findings(NamedTuple):
    """What a subject brings.

    Attributes:
        held: Capabilities that count, in the order of the communities.
        problems: Why others do not.
        has_ended: Whether all of the problems are that something has ended.
        named: What else was verified, in other places and forms than those that count: bans look at that, too.
    """

    held: tuple[Held, ...] = ()
    problems: tuple[str, ...] = ()
    has_ended: bool = False
    named: tuple[Held, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing at all."""
        return not self.held and not self.problems


class Verifiers(NamedTuple):
    """Who verifies each form; None for forms that no community of the site uses."""

    assertions: AssertionVerifier
    attributes: AttributeVerifier | None
    tokens: TokenVerifier | None


class _Item(NamedTuple):
    """Something to be verified; `data` is empty for the attribute certificates of a chain."""

    kind: type[Body]
    data: bytes
    error: CapabilityError | None = None
    position: int = SHOWN


class _Problem(NamedTuple):
    """Why something does not count."""

    error: CapabilityError
    community: Community | None
    """Whose it says it is."""
    position: int


class _Kept(NamedTuple):
    held: tuple[Held, ...]
    since: datetime
    until: datetime
    generation: str


class Finder:
    """Finds and verifies. Safe for several threads.

    Args:
        communities: Those that the site knows, in the order in which they are asked.
        verifiers: Who verifies.
        anchors: Returns the current trust anchors; asked each time, so it has to be cheap.
        accept_gt3: Also look where CAS of GT 3 and 4.0 put assertions.
        ignore_strangers: Leave assertions and tokens of other issuers alone.
        bound_only: Refuse tokens that are bound to nobody, also where somebody else has verified them.
    """

    def __init__(
        self,
        communities: tuple[Community, ...],
        verifiers: Verifiers,
        anchors: Callable[[], TrustAnchors],
        *,
        accept_gt3: bool = False,
        ignore_strangers: bool = False,
        bound_only: bool = True,
    ) -> None:
        self._communities = communities
        self._verifiers = verifiers
        self._anchors = anchors
        self._accept_gt3 = accept_gt3
        self._ignore_strangers = ignore_strangers
        self._bound_only = bound_only
        self._signers = TokenSigners(anchors)
        self._kept: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, request: AuthorizationRequest, *, last_only: bool = False, thorough: bool = False) -> Findings:
        """Return what the subject brings.

        Args:
            request: The question.
            last_only: Look at what was shown last and at nothing else.
            thorough: Verify besides what does not count, and say in `named` what is good of it.

        Raises:
            ConfigError: An attribute source has taken the capabilities before.
        """
        subject, now = request.subject, request.environment.now
        if not subject.chain and subject.authenticated_by == "token":
            return self._of_token_alone(subject, now)
        self._check_untouched(subject)
        shown = list(dict.fromkeys(item for one in subject.assertions if (item := _shown(one)) is not None))
        if last_only:
            last = _shown(subject.assertions[-1]) if subject.assertions else None
            found = self._look_at([] if last is None else [last], subject, now)
        else:
            found = self._look_at(shown, subject, now)
        if not thorough and (last_only or not found.is_empty):
            return found
        carried = self._look_at(self._carried(subject), subject, now)
        if found.is_empty and not last_only:
            return carried
        others = self._look_at(shown, subject, now) if last_only else found
        return found._replace(named=(*others.held, *others.named, *carried.held, *carried.named))

    def path_of(self, held: Held, *, now: datetime) -> tuple[Certificate, ...]:
        """Return the certificates of whoever has signed a token, as far as they are known."""
        return self._signers.path_of(held.community, held.body, now=now) if isinstance(held.body, VerifiedToken) else ()

    def _look_at(self, items: list[_Item], subject: Subject, now: datetime) -> Findings:
        if not items:
            return Findings()
        peer = peer_of(subject)
        if peer is None:
            return Findings(problems=("a capability that nobody with a certificate has shown",))
        if len(items) > 2 * MAX_PRESENTED:
            return Findings(problems=("too many capabilities",))
        held: list[Held] = []
        problems: list[_Problem] = []
        for item in items:
            one: Held | None = None
            try:
                if item.error is not None:
                    raise item.error
                found = self._verify_or_remember(item, peer, subject, now)
                if found and has_own_identity(subject):
                    raise CapabilityError(
                        "a proxy with an identity of its own has none of its issuer's", problem=CapabilityProblem.HOLDER
                    )
                for one in found:
                    self._check_now(one, now)
                    held.append(one)
            except CapabilityError as error:
                if not (self._ignore_strangers and _is_strangers(item, error)):
                    community = self._community_at_fault(item, error) if one is None else one.community
                    problems.append(_Problem(error, community, item.position))
        rank = {one.name: number for number, one in enumerate(self._communities)}
        held.sort(key=lambda one: rank[one.community.name])
        return _findings(held, problems)

    # --- finding ------------------------------------------------------------------------------------------------------

    def _carried(self, subject: Subject) -> list[_Item]:
        found = [
            _Item(VerifiedAssertion, one.data, one.error, one.position)
            for one in find_assertions(subject.chain, accept_gt3=self._accept_gt3)
        ]
        if self._verifiers.attributes is not None:
            found += [
                _Item(VerifiedAttributes, b"", None, position)
                for position, certificate in enumerate(subject.chain)
                if any(one.oid == oids.VOMS_AC_SEQUENCE for one in certificate.extensions)
            ]
        return found

    def _check_untouched(self, subject: Subject) -> None:
        """Check that no source has replaced what this authorizer verifies by its own, stricter rules."""
        for one in subject.assertions:
            if isinstance(one, VerifiedToken | VerifiedAssertion) and self._community_of(one) is not None:
                raise ConfigError(
                    "an attribute source has taken the capabilities of a community before",
                    hint="leave the sources for assertions and tokens out of this policy",
                )

    def _of_token_alone(self, subject: Subject, now: datetime) -> Findings:
        """Return what a service has verified whose clients show a token and no certificate."""
        held: list[Held] = []
        problems: list[_Problem] = []
        for one in subject.assertions:
            if not isinstance(one, VerifiedToken) or one.identity != subject.identity:
                continue
            community = self._community_of(one)
            if community is None:
                continue
            try:
                if self._bound_only and not one.is_bound:
                    raise CapabilityError("token: it is bound to nobody", problem=CapabilityProblem.HOLDER)
                found = Held(community, one, one.token_id, one.not_before, one.not_after)
                self._check_now(found, now)
                held.append(found)
            except CapabilityError as error:
                problems.append(_Problem(error, community, SHOWN))
        return _findings(held, problems)

    # --- verifying ----------------------------------------------------------------------------------------------------

    def _verify_or_remember(self, item: _Item, peer: VerifiedPeer, subject: Subject, now: datetime) -> tuple[Held, ...]:
        key = (item.kind, item.data, item.position, subject.chain, subject.identity_der)
        generation = self._anchors().generation
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and kept.generation == generation and kept.since <= now < kept.until:
            return kept.held
        held = tuple(self._verify(item, peer, now))
        until = min((now + KEPT_FOR, *(one.not_after for one in held)))
        with self._lock:
            self._kept[key] = _Kept(held, now, until, generation)
            self._kept.move_to_end(key)
            while len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return held

    def _verify(self, item: _Item, peer: VerifiedPeer, now: datetime) -> list[Held]:
        if item.kind is VerifiedAttributes:
            return self._verify_attributes(peer, item.position, now)
        if item.kind is VerifiedToken:
            if self._verifiers.tokens is None:
                raise CapabilityError("token: no issuer of tokens is trusted here", problem=CapabilityProblem.ISSUER)
            text = item.data.decode("utf-8", "surrogateescape")
            token = self._verifiers.tokens.verify(text, now=now, peer=peer)
            return [self._held(token, token.token_id, token.not_before, token.not_after)]
        one = self._verifiers.assertions.verify(item.data, peer, now=now)
        held = self._held(one, one.identifier, one.not_before, one.not_after)
        self._signers.learn(held.community, one.signer_chain)
        return [held._replace(position=item.position)]

    def _verify_attributes(self, peer: VerifiedPeer, position: int, now: datetime) -> list[Held]:
        verifier = self._verifiers.attributes
        assert verifier is not None
        held = []
        for found in verifier.verify_chain(peer, now=now):
            if found.position != position:
                continue
            if found.error is not None:
                if found.error.issuer is None or self._community_of_vo(found.error.issuer) is not None:
                    raise found.error
            elif (one := found.attributes) is not None:
                community = self._community_of(one)
                if community is not None:
                    _check_signer(community, one)
                    self._signers.learn(community, one.signer.chain)
                    held.append(Held(community, one, one.serial, one.not_before, one.usable_until, position))
        return held

    def _held(self, body: Body, identifier: str, not_before: datetime, not_after: datetime) -> Held:
        community = self._community_of(body)
        if community is None:
            raise CapabilityError("it is of no community that is known here", problem=CapabilityProblem.ISSUER)
        return Held(community, body, identifier, not_before, not_after)

    def _community_of(self, body: Body) -> Community | None:
        for one in self._communities:
            match body:
                case VerifiedAssertion():
                    is_its = one.issuer.is_named(body.issuer)
                case VerifiedAttributes():
                    is_its = bool(one.vo) and one.vo == body.authority.vo
                case VerifiedToken():
                    is_its = bool(one.token_issuer) and one.token_issuer == body.issuer
            if is_its:
                return one
        return None

    def _community_at_fault(self, item: _Item, error: CapabilityError) -> Community | None:
        """Return the community that something is of by its own words, which prove nothing."""
        if error.issuer is None:
            return None
        if item.kind is VerifiedAttributes:
            return self._community_of_vo(error.issuer)
        return next((one for one in self._communities if one.issuer.is_named(error.issuer)), None)

    def _check_now(self, held: Held, now: datetime) -> None:
        """Check what can change while a capability is kept: the time, the list of those that are withdrawn, the signer.

        Raises:
            CapabilityError: It does not count now.
        """
        if now >= held.not_after:
            raise CapabilityError(
                f"{held} expired at {held.not_after:%Y-%m-%dT%H:%M:%SZ}", problem=CapabilityProblem.EXPIRED
            )
        if held.community.withdrawn is not None:
            held.community.withdrawn.check(held.identifier, now=now)
        if isinstance(held.body, VerifiedToken):
            self._signers.check(held.community, held.body, now=now)

    def _community_of_vo(self, authority: str) -> Community | None:
        """Return the community of an attribute certificate that is refused; any of them, if it hides whose it is."""
        try:
            vo = split_authority(authority).vo
        except ParseError:
            return self._communities[0]
        return next((one for one in self._communities if one.vo and one.vo == vo), None)


def _findings(held: list[Held], problems: list[_Problem]) -> Findings:
    """Return what counts: of each community what the lowest proxy carries, whether it is good or not."""
    lowest: dict[str, int] = {}
    places = [(one.community, one.position) for one in held] + [(one.community, one.position) for one in problems]
    for community, position in places:
        if community is not None:
            lowest[community.name] = min(lowest.get(community.name, position), position)
    counting = [one for one in held if one.position == lowest[one.community.name]]
    faults = [one.error for one in problems if one.community is None or one.position == lowest[one.community.name]]
    has_ended = bool(faults) and all(one.problem is CapabilityProblem.EXPIRED for one in faults)
    texts = tuple(one.message for one in faults[:_MAX_PROBLEMS])
    return Findings(tuple(counting), texts, has_ended, tuple(one for one in held if one not in counting))


def _shown(one: object) -> _Item | None:
    """Return what was shown: as a value, or over a control channel as text that has the form of one."""
    match one:
        case PresentedAssertion():
            return _Item(VerifiedAssertion, one.data)
        case PresentedToken():
            return _Item(VerifiedToken, one.text.encode("utf-8", "surrogateescape"))
        case str() if one.lstrip().startswith("<"):
            return _Item(VerifiedAssertion, one.encode("utf-8", "surrogateescape"))
        case str() if one.startswith("ey") and one.count(".") == 2:
            return _Item(VerifiedToken, one.encode("utf-8", "surrogateescape"))
        case _:
            return None


def _check_signer(community: Community, attributes: VerifiedAttributes) -> None:
    """Check that it is the community's server that has signed; a site's vomsdir may trust more of them."""
    signer = attributes.signer.leaf
    if community.certificates:
        if signer in community.certificates:
            return
    elif names.same_name(signer.subject_der, community.identity_der):
        return
    raise CapabilityError(
        f"attribute certificate: signed by {attributes.issuer[:200]!r}, which does not speak for {community.name}",
        problem=CapabilityProblem.SIGNER,
    )


def _is_strangers(item: _Item, error: CapabilityError) -> bool:
    return item.kind is not VerifiedAttributes and error.problem is CapabilityProblem.ISSUER
