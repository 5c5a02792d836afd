"""What the questions of one connection are judged by, as values: set-up, session, and who vouches for the peer.

Nothing here asks an engine or looks at a certificate; that is `judge.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.messages import (
    GateRequest,
    JobRequest,
    MapRequest,
    OperationRequest,
    ServiceRequest,
    SessionRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from gsi.authz.callout.config import CalloutConfig
    from gsi.authz.callout.daemon import Peer
    from gsi.authz.callout.messages import Request
    from gsi.authz.decision import AuthorizationRequest, Decision, Subject
    from gsi.authz.engine import Engine
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.verify import VerificationCache

__all__ = ["REVIEW_AFTER", "OpenSession", "Proof", "Setup", "asker_of"]

REVIEW_AFTER: Final = timedelta(minutes=1)
"""How long a session goes on without a look at CRLs and mappings; a changed policy is looked at at once."""


def _never() -> bool:
    return False


def _nowhere(request: AuthorizationRequest, refusal: Decision) -> None:
    del request, refusal


@dataclass(frozen=True, slots=True)
class Setup:
    """What judging needs, the same for all connections of a worker until it is read again.

    Attributes:
        config: The configuration.
        engines: By policy, as `CalloutConfig.services` names them.
        service_uids: Who may ask for mappings.
        anchors: The trust directory's contents now.
        clock: The time now, aware UTC.
        cache: Verified issuers.
        is_crowded: Whether so much waits for the audit's disk that a refusal may have to wait for it, too.
        audit: Records a refusal for which there is no engine; may raise a `GridError`.
    """

    config: CalloutConfig
    engines: Mapping[str, Engine]
    service_uids: frozenset[int]
    anchors: Callable[[], TrustAnchors]
    clock: Callable[[], datetime]
    cache: VerificationCache | None = None
    is_crowded: Callable[[], bool] = _never
    audit: Callable[[AuthorizationRequest, Decision], None] = _nowhere


class Proof(StrEnum):
    """Who vouches for the peer of a question. Certificates are public: whoever shows a chain need not have its key."""

    SERVICE = "service"
    """A service's own uid, which has seen the handshake."""
    ACCOUNT = "account"
    """A process of an account that the peer maps to."""
    NONE = "none"
    """Nobody but who asks: what the policy says of these certificates, the answer matters to that process only."""


_PROOFS: Final = {
    MapRequest: Proof.SERVICE,
    ServiceRequest: Proof.SERVICE,
    SessionRequest: Proof.ACCOUNT,
    OperationRequest: Proof.ACCOUNT,
    JobRequest: Proof.NONE,
    GateRequest: Proof.NONE,
}


def asker_of(peer: Peer, kind: type[Request]) -> Mapping[str, tuple[str, ...]]:
    """Return what a request's environment says of who asks: `asking-uid`, `asking-pid`, `proof`."""
    return MappingProxyType(
        {"asking-uid": (str(peer.uid),), "asking-pid": (str(peer.pid),), "proof": (_PROOFS[kind].value,)}
    )


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session as it was judged, and by what.

    Attributes:
        request: What opened it.
        config: The configuration then.
        name: The policy that the configuration gives its service.
        engine: Its engine.
        policy: The engine's policy then.
        subject: Who it is, with the assertions that were accepted.
        judged_at: When.
    """

    request: SessionRequest
    config: CalloutConfig
    name: str
    engine: Engine
    policy: object
    subject: Subject
    judged_at: datetime

    def is_current(self, setup: Setup) -> bool:
        """Whether nothing has changed by which it was judged, as far as is known."""
        return (
            self.engine.policy is self.policy
            and setup.config is self.config
            and setup.engines.get(self.name) is self.engine
            and abs(setup.clock() - self.judged_at) < REVIEW_AFTER
        )
