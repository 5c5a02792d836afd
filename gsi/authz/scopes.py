"""An authorizer for what the scopes of a verified token allow: files by `storage.*`, jobs by `compute.*`.

    order = ["bans", "scopes", "map"]

    [authorizer.scopes]
    type = "token-scopes"
    [authorizer.scopes.accounts]
    "https://vo.example.org/" = "vouser"          # the account under which an issuer's tokens work, if any

It needs a source of tokens before it, or a subject made of one (`gsi.authz.sources.token_subject`). The paths of scopes
lie below the issuer's base path and cover by whole parts; every reading of the resource's name must be covered. A
limited proxy starts and controls no jobs, whatever its token says.

Who has shown a token with capabilities has said what is to be done with them: what they do not cover is denied, unless
`exclusive = false` lets the rules that follow decide.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  the settings' types are read at run time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gsi.authz.decision import Account, Decision, deny, not_applicable, permit
from gsi.authz.registry import Plugin
from gsi.authz.resources import readings
from gsi.errors import ParseError
from gsi.tokens.scopes import allows
from gsi.tokens.verify import VerifiedToken

if TYPE_CHECKING:
    from gsi.authz.decision import AuthorizationRequest
    from gsi.authz.registry import Place
    from gsi.authz.resources import Reading

__all__ = ["FILE_SCOPES", "JOB_SCOPES", "PLUGIN", "ScopeAuthorizer", "ScopeSettings"]

FILE_SCOPES: Final[Mapping[str, tuple[str, ...]]] = {
    "read": ("storage.read",),
    "lookup": ("storage.read", "storage.create", "storage.modify"),
    "chdir": ("storage.read", "storage.create", "storage.modify"),
    "stage": ("storage.stage",),
    "create": ("storage.create",),
    "write": ("storage.modify",),
    "delete": ("storage.modify",),
}
"""For each action on files the scopes of which one must cover the path; `storage.create` cannot overwrite or delete."""

JOB_SCOPES: Final[Mapping[str, str]] = {
    "start": "compute.create",
    "status": "compute.read",
    "information": "compute.read",
    "cancel": "compute.cancel",
    "signal": "compute.modify",
    "register": "compute.modify",
    "renew": "compute.modify",
}
"""For each action on jobs the scope that it needs."""

_FILE_SERVICES: Final = frozenset({"file", "http"})
_SHOWING: Final = "authz_assert"
"""The action of GridFTP with which a client shows an assertion or token: for others to permit, and nothing to cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeSettings:
    """What a policy says of this authorizer.

    Attributes:
        exclusive: Whether a token with capabilities that do not cover a request denies it.
        accounts: For issuers the account under which a permit works; without one a permit names none.
    """

    exclusive: bool = True
    accounts: Mapping[str, str] = field(default_factory=dict)


class ScopeAuthorizer:
    """Permits what a verified token's scopes cover."""

    may_block = False

    def __init__(self, name: str, settings: ScopeSettings | None = None) -> None:
        """Make one.

        Raises:
            ParseError: An account is none.
        """
        self.name = name
        settings = settings or ScopeSettings()
        self._exclusive = settings.exclusive
        self._accounts = {issuer: Account(account) for issuer, account in settings.accounts.items()}

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Judge one request."""
        found = [one for one in request.subject.assertions if isinstance(one, VerifiedToken)]
        tokens = [one for one in found if one.capabilities]
        if not tokens:
            return not_applicable(self.name, "no token with capabilities")
        service = request.action.service
        if request.action.name == _SHOWING:
            return not_applicable(self.name, "showing a token is for other rules to permit")
        if service in _FILE_SERVICES:
            return self._files(request, tokens)
        if service == "job":
            return self._jobs(request, tokens)
        return not_applicable(self.name, f"scopes say nothing of {service!r}")

    def _files(self, request: AuthorizationRequest, tokens: list[VerifiedToken]) -> Decision:
        action = request.action.name
        wanted = FILE_SCOPES.get(action)
        if wanted is None:
            return self._no(f"no scope stands for {action!r}")
        try:
            found = readings(request.resource)
        except ParseError as error:
            return deny(self.name, error.message)
        if not found or not all(one.is_path for one in found):
            return self._no("the resource is no path")
        for token in tokens:
            if all(any(_covers(token, scope, one) for scope in wanted) for one in found):
                return self._yes(token, f"{wanted[0]} of {token.identity}")
        return self._no(f"no scope of the token covers {action!r} here")

    def _jobs(self, request: AuthorizationRequest, tokens: list[VerifiedToken]) -> Decision:
        wanted = JOB_SCOPES.get(request.action.name)
        if wanted is None:
            return self._no(f"no scope stands for {request.action.name!r}")
        if request.subject.limited:
            return deny(self.name, "a limited proxy has no business with jobs")
        for token in tokens:
            if allows(token.capabilities, wanted):
                return self._yes(token, f"{wanted} of {token.identity}")
        return self._no(f"no scope of the token is {wanted}")

    def _yes(self, token: VerifiedToken, reason: str) -> Decision:
        account = self._accounts.get(token.issuer)
        return permit(self.name, reason, *(() if account is None else (account,)), not_after=token.not_after)

    def _no(self, reason: str) -> Decision:
        return deny(self.name, reason) if self._exclusive else not_applicable(self.name, reason)


def _covers(token: VerifiedToken, scope: str, reading: Reading) -> bool:
    """Say whether a token's scope covers a path on this site."""
    base = token.base_path
    return reading.parts[: len(base)] == base and allows(token.capabilities, scope, reading.parts[len(base) :])


def _build(name: str, settings: ScopeSettings, place: Place) -> ScopeAuthorizer:  # noqa: ARG001  the same for all
    return ScopeAuthorizer(name, settings)


PLUGIN: Final = Plugin(ScopeSettings, _build, "what the scopes of a verified token allow", may_block=False)
