"""The site's authorization policy as the service asks it; who decides is `gsi.authz`.

    authorize = make_authorization("kca")
    authorize(ticket, entitlement, known, visit)          # the decision's id, or DeniedError

| asked is | as |
|---|---|
| the subject | the principal, `alice@EXAMPLE.ORG`; the realm is its issuer, `kerberos` how it was authenticated |
| the action | `kca:ISSUE`, for a probe as well |
| the resource | the subject of the certificate, `/O=Grid/CN=alice` |
| the account of a permit | cannot be carried out |

The engine is asked once rules and limits have agreed, so a policy can only take away.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gsi.authz import service
from gsi.authz.decision import Action, Resource, Subject
from gsi.authz.reload import open_engine
from gsi.authz.service import ServiceAuthorizer
from gsi.system import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.authz.engine import Engine
    from gsi.kerberos.ticket import ProvenTicket
    from kca.principal import Entitlement
    from kca.service import Known
    from kca.trail import Visit

__all__ = ["EngineRule", "find_policy", "make_authorization"]

SERVICE: Final = "kca"
ISSUE: Final = Action("ISSUE", SERVICE)
SHIPPED: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "policies", "kca.toml")
"""The policy that comes with the program."""


class EngineRule:
    """Asks an engine; see `kca.service.Authorization`. Safe for use by several threads."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = clock.now) -> None:
        self._authorizer = ServiceAuthorizer(engine, service=SERVICE, kind=SERVICE, clock=clock)

    def __call__(self, ticket: ProvenTicket, entitlement: Entitlement, known: Known, visit: Visit) -> str:
        """Ask."""
        subject = Subject(
            identity=ticket.client.text,
            issuer=ticket.client.realm,
            not_after=ticket.end_time,
            authenticated_by="kerberos",
            groups=known.groups,
            claims={"indicators": ticket.indicators or ()},
        )
        asked = self._authorizer.question(
            subject,
            ISSUE,
            Resource(entitlement.subject),
            address=visit.peer,
            attributes={"request_id": (visit.request_id,), "transport": (visit.transport,)},
        )
        return self._authorizer.admit(asked).decision_id


def find_policy(name: str) -> str:
    """Return the policy's file: the site's, or the one that comes with the program where the site has none.

    Raises:
        ConfigError: A path that does not exist, or it cannot be found out whether the site has one.
    """
    return service.find_policy(name, service=SERVICE, shipped=SHIPPED)


def make_authorization(name: str) -> EngineRule:
    """Return what asks the policy, which is followed as it changes.

    Raises:
        ConfigError: It cannot be used.
    """
    return EngineRule(open_engine(find_policy(name), service=SERVICE))
