"""The site's authorization policy as the server asks it, before the community's own; who decides is `gsi.authz`.

    gate = make_gate("cas")
    gate.require(peer, "ISSUE", "saml1", address="192.0.2.1", request_id="...")       # or DeniedError

A policy can only take away: what it permits, the community's rules still have to.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gsi.authz.decision import Action, Resource
from gsi.authz.reload import open_engine
from gsi.authz.service import ServiceAuthorizer, find_policy
from gsi.system import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.authz.engine import Engine
    from gsi.trust.peer import VerifiedPeer

__all__ = ["SiteGate", "make_gate"]

SERVICE: Final = "cas"
SHIPPED: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "policies", "cas.toml")
"""The policy that comes with the program."""


class SiteGate:
    """Asks an engine. Safe for use by several threads."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = clock.now) -> None:
        self._authorizer = ServiceAuthorizer(engine, service=SERVICE, kind=SERVICE, clock=clock)

    def require(self, peer: VerifiedPeer, action: str, on: str, *, address: str = "", request_id: str = "") -> str:
        """Return the id of the decision that permits it.

        Raises:
            DeniedError: Anything else.
        """
        asked = self._authorizer.question(
            peer, Action(action, SERVICE), Resource(on), address=address, attributes={"request_id": (request_id,)}
        )
        return self._authorizer.admit(asked).decision_id


def make_gate(name: str) -> SiteGate:
    """Return what asks the policy, which is followed as it changes.

    Raises:
        ConfigError: It cannot be used.
    """
    return SiteGate(open_engine(find_policy(name, service=SERVICE, shipped=SHIPPED), service=SERVICE))
