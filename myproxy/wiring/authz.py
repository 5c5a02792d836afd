"""The site's authorization policy as a rule of the service; who decides is `gsi.authz`.

    rule = make_authorization()                       # None where the site has no policy for the service "myproxy"
    rule(caller, "GET", "alice", None)                # a user name or None; or DeniedError

The engine is asked once the server's own directives have agreed, so a policy can only take away. The one that comes
with the server (`myproxy/policies`) permits whatever gets that far; a site copies it and adds what it denies.

| asked is | as |
|---|---|
| the action | `myproxy:GET`, ...: PUT, GET, RETRIEVE, STORE, DESTROY, INFO, CHANGE, GET_TRUSTROOTS, ISSUE |
| the resource | `USER` for the credential without a name, `USER/NAME` for another; none for GET_TRUSTROOTS |
| the account of a permit | for ISSUE the user whose certificate is issued; for all others it cannot be carried out |

In user and credential names `/`, `%` and control characters are percent-encoded, and the engine reads them both ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.authz.decision import ANONYMOUS, Account, Action, Resource, Subject
from gsi.authz.reload import open_engine
from gsi.authz.service import ServiceAuthorizer, find_site_policy
from gsi.system import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.authz.decision import Obligation
    from gsi.authz.engine import Engine
    from myproxy.grants import Caller

__all__ = ["SERVICE", "EngineRule", "make_authorization", "resource_name"]

SERVICE: Final = "myproxy"
ISSUE: Final = "ISSUE"


class EngineRule:
    """Asks an engine; see `myproxy.callouts.AuthorizationRule`. Safe for use by several threads."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = clock.now) -> None:
        self._engine = engine
        self._clock = clock

    def __call__(self, caller: Caller, action: str, username: str, credential: str | None) -> str | None:
        """Ask."""
        understands: tuple[type[Obligation], ...] = (Account,) if action == ISSUE else ()
        authorizer = ServiceAuthorizer(
            self._engine, service=SERVICE, kind=SERVICE, understands=understands, clock=self._clock
        )
        asked = authorizer.question(
            ANONYMOUS if caller.peer is None else Subject.from_peer(caller.peer),
            Action(action, SERVICE),
            Resource(resource_name(username, credential)),
            address=caller.address,
            attributes={"request_id": (caller.request_id,)},
        )
        return authorizer.admit(asked).account


def resource_name(username: str, credential: str | None) -> str:
    """Return the resource for a credential, empty where there is no user."""
    parts = [_quoted(part) for part in (username, credential) if part]
    return "/".join(parts)


def _quoted(text: str) -> str:
    return "".join(f"%{ord(one):02X}" if one in "/%" or one < " " or one == "\x7f" else one for one in text)


def make_authorization() -> EngineRule | None:
    """Return what asks the site's policy, or None where there is none. The policy is followed as it changes.

    Raises:
        ConfigError: There is one, and it cannot be used; or it cannot be found out whether there is one.
    """
    path = find_site_policy(SERVICE)
    return None if path is None else EngineRule(open_engine(path, service=SERVICE))
