"""Attribute sources for signed capabilities, verified before anybody decides: what they share, and that of VOMS.

    sources = ["voms"]

    [source.voms]
    type = "voms"                                # FQANs from the attribute certificates of the proxies

`gsi.authz.token_source` and `gsi.authz.saml_source` have the others.

What is there and cannot be verified refuses the request; `on_failure = "ignore"` leaves it out with a note in the log
and in the environment (`<source>.ignored`). What is found goes into the subject: FQANs, groups, claims, and the
verified values themselves into its assertions, for authorizers that know them (`gsi.authz.scopes`).
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gsi.authz.decision import Subject
from gsi.authz.registry import SourcePlugin
from gsi.errors import CapabilityError, CapabilityProblem
from gsi.proxy.kinds import Role, classify
from gsi.system.environ import read_locations
from gsi.system.trustdir import TrustDirectory
from gsi.system.vomsdir import VOMSDirectory, vomsdir_path
from gsi.tokens.replay import ReplayMemory
from gsi.trust.peer import VerifiedPeer
from gsi.voms.verify import AttributeVerifier, VOMSOptions

if TYPE_CHECKING:
    from gsi.authz.decision import AuthorizationRequest
    from gsi.authz.registry import Place
    from gsi.certificate import Certificate
    from gsi.tokens.verify import VerifiedToken

__all__ = [
    "MAX_PRESENTED",
    "VOMS_PLUGIN",
    "Collector",
    "OnFailure",
    "PresentedAssertion",
    "PresentedToken",
    "VOMSSettings",
    "VOMSSource",
    "peer_of",
    "replay_memory",
    "token_subject",
]

MAX_PRESENTED: Final = 8
"""Tokens or assertions of one request that are looked at: a client has one, or assertions of two communities."""

_CACHED_PEERS: Final = 256  # chains taken apart; each keeps its certificates alive
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_LOG: Final = logging.getLogger("gsi.authz")


class OnFailure(StrEnum):
    """What is done about something that is there and cannot be verified."""

    REFUSE = "refuse"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, repr=False)
class PresentedToken:
    """A token as a client showed it; a service puts it into the subject's assertions. Its text is never shown."""

    text: str

    def __repr__(self) -> str:
        return f"PresentedToken(<{len(self.text)} characters>)"


@dataclass(frozen=True, slots=True, repr=False)
class PresentedAssertion:
    """An assertion as a client showed it, XML."""

    data: bytes

    def __repr__(self) -> str:
        return f"PresentedAssertion(<{len(self.data)} bytes>)"


def token_subject(token: VerifiedToken) -> Subject:
    """Return the subject that a token alone proves: for services whose clients show no certificate.

    Its identity is `issuer#subject`, so that ban lists and rules can name it.

    Raises:
        CapabilityError: The token names no subject, which some SciTokens do not.
    """
    if not token.subject:
        raise CapabilityError("token: it names no subject", problem=CapabilityProblem.CONTENT, issuer=token.issuer)
    return Subject(
        identity=token.identity,
        not_after=token.not_after,
        issuer=token.issuer,
        authenticated_by="token",
        groups=frozenset(token.groups),
        claims=token.claims,
        assertions=(token,),
    )


_MEMORIES: Final[dict[tuple[str, str, str], ReplayMemory]] = {}


def replay_memory(place: Place, name: str) -> ReplayMemory:
    """Return what remembers what may be used once: one for each source of a policy, as long as the process lives.

    A policy that is read again has new sources, and to these nothing that was used may be new.

    Args:
        place: The policy.
        name: The source's.
    """
    return _MEMORIES.setdefault((os.path.abspath(place.path), place.service, name), ReplayMemory())


# --- what the sources have in common ----------------------------------------------------------------------------------


def peer_of(subject: Subject) -> VerifiedPeer | None:
    """Return the subject's chain as what it proves, or None without one."""
    if not subject.chain:
        return None
    return _peer(subject.chain, subject.identity_der, subject.limited, subject.independent, subject.not_after)


@lru_cache(maxsize=_CACHED_PEERS)
def _peer(
    chain: tuple[Certificate, ...], identity_der: bytes, limited: bool, independent: bool, not_after: datetime | None
) -> VerifiedPeer:
    eec = next((one for one in chain if classify(one).role is not Role.PROXY), chain[-1])
    return VerifiedPeer(
        leaf=chain[0],
        eec=eec,
        chain=chain,
        identity_der=identity_der,
        kind=None,
        format=None,
        limited=limited,
        independent=independent,
        depth_left=None,
        not_after=not_after or _NEVER,
        restrictions=(),
        grants=None,
        verified_at=chain[0].not_before,
    )


class Collector:
    """Gathers what one source finds in one request."""

    def __init__(self, name: str, on_failure: OnFailure, request: AuthorizationRequest) -> None:
        self._name = name
        self._on_failure = on_failure
        self._request = request
        self._ignored: list[str] = []
        self._ends: datetime | None = request.subject.not_after
        self.fqans: list[str] = list(request.subject.fqans)
        self.groups: set[str] = set()
        self.claims: dict[str, object] = {}
        self.assertions: list[object] = []

    def fail(self, error: CapabilityError) -> None:
        """Refuse, or make a note, as the policy says.

        Raises:
            CapabilityError: The same, where the policy says so.
        """
        if self._on_failure is OnFailure.REFUSE:
            raise error
        self.note(error.message)

    def note(self, what: str) -> None:
        """Make a note, in the log and in the environment, of something that does not count and refuses nothing."""
        _LOG.warning("%s: ignored for %a: %a", self._name, self._request.subject.identity, what)
        self._ignored.append(what)

    def until(self, moment: datetime) -> None:
        """Note when something that was found ends."""
        self._ends = moment if self._ends is None else min(self._ends, moment)

    def result(self, *, without: tuple[type, ...] = (), texts: frozenset[str] = frozenset()) -> AuthorizationRequest:
        """Return the request with what was found.

        Args:
            without: Types of assertions that have been dealt with.
            texts: Texts among the assertions that have been dealt with.

        Raises:
            CapabilityError: A claim has come from another source already: whose word it is could not be told.
        """
        subject, environment = self._request.subject, self._request.environment
        kept = [one for one in subject.assertions if not isinstance(one, without) and one not in texts]
        if self._ignored:
            note = {f"{self._name}.ignored": tuple(self._ignored)}
            environment = replace(environment, attributes=MappingProxyType({**environment.attributes, **note}))
        elif not self.assertions:
            return self._request
        taken = self.claims.keys() & subject.claims.keys()
        if taken:
            raise CapabilityError(
                f"the claim {min(taken)[:80]!r} comes from elsewhere as well", problem=CapabilityProblem.CONTENT
            )
        found = replace(
            subject,
            fqans=tuple(dict.fromkeys(self.fqans)),
            groups=subject.groups | self.groups,
            claims=MappingProxyType({**subject.claims, **self.claims}) if self.claims else subject.claims,
            assertions=(*kept, *self.assertions),
            not_after=self._ends,
        )
        return replace(self._request, subject=found, environment=environment)


# --- VOMS -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class VOMSSettings:
    """What a policy says of a source of VOMS attributes.

    Attributes:
        vomsdir: The directory of trusted servers; empty for X509_VOMS_DIR or the system's.
        trust_dir: The directory of trusted CAs; empty for X509_CERT_DIR or the system's.
        hosts: The own host's names, for attribute certificates that are meant for certain hosts; none for its name.
        max_lifetime: Refuse attribute certificates that are valid for longer.
        nearest_only: Take those of the lowest proxy that carries any and no others.
        on_failure: What is done about one that cannot be verified.
    """

    vomsdir: str = ""
    trust_dir: str = ""
    hosts: tuple[str, ...] = ()
    max_lifetime: timedelta | None = None
    nearest_only: bool = False
    on_failure: OnFailure = OnFailure.REFUSE


class VOMSSource:
    """Adds the FQANs of the attribute certificates in a subject's proxies."""

    may_block = False

    def __init__(self, name: str, verifier: AttributeVerifier, on_failure: OnFailure = OnFailure.REFUSE) -> None:
        self.name = name
        self._verifier = verifier
        self._on_failure = on_failure

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        """Add what the subject's proxies carry."""
        peer = peer_of(request.subject)
        if peer is None:
            return request
        found = Collector(self.name, self._on_failure, request)
        for one in self._verifier.verify_chain(peer, now=request.environment.now):
            if one.error is not None:
                found.fail(one.error)
            if one.attributes is not None:
                found.fqans += one.attributes.fqans
                found.assertions.append(one.attributes)
                found.until(one.attributes.usable_until)
        return found.result()


def _build_voms(name: str, settings: VOMSSettings, place: Place) -> VOMSSource:  # noqa: ARG001  the same for all
    trust = TrustDirectory(settings.trust_dir or read_locations().trust_dir)
    options = VOMSOptions(
        hosts=frozenset(settings.hosts or (os.uname().nodename,)),
        max_lifetime=settings.max_lifetime,
        nearest_only=settings.nearest_only,
    )
    servers = VOMSDirectory(settings.vomsdir or vomsdir_path())
    return VOMSSource(name, AttributeVerifier(servers, trust.anchors, options), settings.on_failure)


VOMS_PLUGIN: Final = SourcePlugin(
    VOMSSettings, _build_voms, "VOMS attributes from the proxies of a chain, verified", may_block=False
)
