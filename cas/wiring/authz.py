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
from gsi.authz.service import ServiceAuthorizer
from gsi.errors import ConfigError, DeniedError
from gsi.system import clock
from gsi.system.environ import authz_policy_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.authz.engine import Engine
    from gsi.trust.peer import VerifiedPeer

__all__ = ["SiteGate", "find_policy", "make_gate"]

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
        decision = self._authorizer.decide(asked)
        if not decision.is_permit:
            why = f"decision {decision.decision_id} of {decision.authorizer or 'the policy'}: {decision.reason}"
            raise DeniedError(
                f"not authorized by the site's policy (decision {decision.decision_id})", decision=decision
            ) from DeniedError(why, decision=decision)
        return decision.decision_id


def find_policy(name: str) -> str:
    """Return the policy's file: the site's, or the one that comes with the program where the site has none.

    Raises:
        ConfigError: A path that does not exist, or it cannot be found out whether the site has one.
    """
    path = authz_policy_path(name)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if "/" in name or name != SERVICE:
            raise ConfigError("the authorization policy does not exist", path=path) from error
        return SHIPPED
    except OSError as error:
        raise ConfigError(f"cannot look for the authorization policy: {error.strerror}", path=path) from error
    return path


def make_gate(name: str) -> SiteGate:
    """Return what asks the policy, which is followed as it changes.

    Raises:
        ConfigError: It cannot be used.
    """
    return SiteGate(open_engine(find_policy(name), service=SERVICE))
