"""Judging requests by what communities have asserted: the site's rights AND the asserted ones AND NOT local bans.

    authorizer = CommunityAuthorizer("communities", communities, finder, options)
    decision = authorizer.decide(request)

For each request, in this order: what the subject brings is found and verified (`evidence`); local bans hold for the
subject, for all that its capabilities name, and for those who have signed them (`bans`); for each community by itself,
what the site lets it speak of, then what it asserts. The first community that suffices permits. Rights of two
communities, or of two capabilities, are never put together, and a permit is bound to the community's account, so that a
session lives by one of them.

Who brings nothing is left to the rules that follow, or refused (`required`). Who brings something that does not
suffice is denied: whoever shows a capability has said by what it is to be judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cas.authorizer.bans import signers_of, subjects_to_ask
from cas.authorizer.rights import JOBS, grants, places_of
from gsi.authz.decision import Decision, Effect, deny, not_applicable, permit
from gsi.authz.principals import normal_fqan
from gsi.authz.scopes import FILE_SCOPES, JOB_SCOPES
from gsi.errors import ParseError
from gsi.saml.verify import VerifiedAssertion
from gsi.tokens.scopes import allows
from gsi.voms.verify import VerifiedAttributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cas.assertion.value import Comparison
    from cas.authorizer.community import Community
    from cas.authorizer.evidence import Finder, Findings, Held
    from cas.authorizer.rights import GroupGrant
    from gsi.authz.ban import BanListAuthorizer
    from gsi.authz.decision import AuthorizationRequest, Subject
    from gsi.authz.resources import Reading
    from gsi.tokens.verify import VerifiedToken

__all__ = ["ACTIONS", "CommunityAuthorizer", "Options"]

ACTIONS: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    **{("file", name): ("file", name) for name in ("read", "lookup", "write", "create", "delete", "chdir")},
    **{("http", name): ("file", name) for name in ("read", "lookup", "write", "create", "delete")},
    **{(JOBS, name): ("gram", name) for name in ("start", "status", "cancel", "signal", "register", "renew")},
    (JOBS, "information"): ("gram", "status"),
    (JOBS, "unregister"): ("gram", "register"),
}
"""For (service type, action) of a request those that a community must have granted."""

_LOGIN: Final = ("login", "login")
_SHOWING: Final = ("file", "authz_assert")
_MAX_REASONS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The switches of `CommunityAuthorizer`.

    Attributes:
        namespaces: How the objects of each namespace are compared; of others nothing is understood.
        actions: What has to be granted for each action of a request.
        binds_accounts: Whether permits are bound to the communities' accounts; not for services that have none.
        required: Deny whoever brings no capability.
        bans: The local bans, or None.
    """

    namespaces: Mapping[str, Comparison]
    actions: Mapping[tuple[str, str], tuple[str, str]]
    binds_accounts: bool = True
    required: bool = False
    bans: BanListAuthorizer | None = None


class CommunityAuthorizer:
    """Permits what a community has granted, as far as the site lets it speak. Safe for several threads.

    Attributes:
        reads_assertions: That it looks at what clients show.
        tells_what_ended: That a denial with an end is about something that is over; the client is told.
    """

    reads_assertions = True
    tells_what_ended = True

    def __init__(self, name: str, finder: Finder, options: Options, *, may_block: bool = False) -> None:
        """Make one.

        Args:
            name: What the policy calls it.
            finder: Finds what subjects bring.
            options: The switches.
            may_block: Whether the finder can wait for the net.
        """
        self.name = name
        self.may_block = may_block
        self._finder = finder
        self._options = options

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Judge one request.

        Raises:
            GridError: Something is broken; the engine makes INDETERMINATE of it.
        """
        asked = request.action.service, request.action.name
        has_bans = self._options.bans is not None
        found = self._finder.find(request, last_only=asked == _SHOWING, thorough=has_bans)
        named = (*found.held, *found.named) if has_bans else ()
        banned = next(filter(None, (self._ban(request, one) for one in subjects_to_ask(request.subject, named))), None)
        if banned:
            return deny(self.name, banned)
        if found.is_empty:
            if asked == _SHOWING:
                return not_applicable(self.name, "what is shown is no capability")
            if self._options.required:
                return deny(self.name, "without a capability of a community")
            return not_applicable(self.name, "no capability of a community")
        if asked in {_LOGIN, _SHOWING}:
            return self._admit(request, found)
        return self._judge(request, found, self._options.actions.get(asked))

    # --- logging in, and showing --------------------------------------------------------------------------------------

    def _admit(self, request: AuthorizationRequest, found: Findings) -> Decision:
        """Permit whoever brings a capability that says something, as the account of its community."""
        reasons = []
        desired = request.environment.desired_account
        for held in found.held:
            problem = self._refuse_community(request, held)
            account = held.community.account
            if problem is None and not self._says_something(held):
                problem = f"{held} grants nothing that is known here"
            if problem is None and desired is not None and account is not None and account.name != desired:
                problem = f"{held} is not for the account {desired!r}"
            if problem is None:
                return self._permit(held, f"{held}, for {request.subject.identity}")
            reasons.append(problem)
        return self._deny(request, found, reasons)

    def _says_something(self, held: Held) -> bool:
        body = held.body
        match body:
            case VerifiedAssertion():
                return bool(body.permits)
            case VerifiedAttributes():
                return any(self._group_grants(held, body.fqans))
            case _:
                return bool(body.capabilities) or any(self._group_grants(held, body.groups))

    # --- operations ---------------------------------------------------------------------------------------------------

    def _judge(self, request: AuthorizationRequest, found: Findings, wanted: tuple[str, str] | None) -> Decision:
        if wanted is None:
            return deny(self.name, f"no capability speaks of {request.action.service}:{request.action.name}")
        if request.action.service == JOBS and request.subject.limited:
            return deny(self.name, "a limited proxy has no business with jobs")
        try:
            places = places_of(request)
        except ParseError as error:
            return deny(self.name, error.message)
        if not places:
            return deny(self.name, "there is nothing that a capability could speak of")
        reasons = []
        for held in found.held:
            problem = self._refuse_community(request, held) or self._refuse_action(request, held, wanted, places)
            if problem is None:
                what = f"{'/'.join(wanted)} on {request.resource.name or places[0].parts[-1]}"
                return self._permit(held, f"{held} grants {what}")
            reasons.append(problem)
        return self._deny(request, found, reasons)

    def _refuse_community(self, request: AuthorizationRequest, held: Held) -> str | None:
        """Return why a community's capability does not count, whatever it says."""
        community = held.community
        if self._options.binds_accounts and community.account is None:
            return f"the site gives {community.identity} no account"
        if self._options.bans is None:
            return None
        return self._ban(request, signers_of(held, self._finder.path_of(held, now=request.environment.now)))

    def _refuse_action(
        self, request: AuthorizationRequest, held: Held, wanted: tuple[str, str], places: tuple[Reading, ...]
    ) -> str | None:
        """Return why a capability does not suffice: the site's rights first, then the asserted ones."""
        community = held.community
        found = [community.names.translate(place) for place in places]
        named = tuple(dict.fromkeys(place for place in found if place is not None))
        what = f"{'/'.join(wanted)} on {request.resource.name[:200]!r}"
        if None in found or not community.site.allows(*wanted, named):
            return f"the site lets {community.name} grant nothing of the kind: {what}"
        if not self._asserts(request, held, wanted, named):
            return f"{held} does not grant {what}"
        return None

    def _asserts(
        self, request: AuthorizationRequest, held: Held, wanted: tuple[str, str], places: tuple[Reading, ...]
    ) -> bool:
        body = held.body
        match body:
            case VerifiedAssertion():
                return grants(body.decisions, self._options.namespaces, *wanted, places)
            case VerifiedAttributes():
                found = list(self._group_grants(held, body.fqans))
            case _ if body.capabilities:
                return self._scopes_allow(request, body, held.community, wanted, places)
            case _:
                found = list(self._group_grants(held, body.groups))
        return all(any(one.grant.allows(*wanted, place) for one in found) for place in places)

    @staticmethod
    def _group_grants(held: Held, fqans: tuple[str, ...]) -> list[GroupGrant]:
        """Return what the site says of these groups and roles of the community."""
        known = [normal_fqan(fqan) for fqan in fqans]
        return [
            one
            for one in held.community.groups
            if any(pattern.matches(fqan) for pattern in one.fqans for fqan in known)
        ]

    @staticmethod
    def _scopes_allow(
        request: AuthorizationRequest,
        token: VerifiedToken,
        community: Community,
        wanted: tuple[str, str],
        places: tuple[Reading, ...],
    ) -> bool:
        if request.action.service == JOBS:
            scope = JOB_SCOPES.get(wanted[1])
            return scope is not None and allows(token.capabilities, scope)
        base, scopes = community.base_path, FILE_SCOPES.get(wanted[1], ())
        return all(
            place.parts[: len(base)] == base
            and any(allows(token.capabilities, scope, place.parts[len(base) :]) for scope in scopes)
            for place in places
        )

    # --- answers ------------------------------------------------------------------------------------------------------

    def _ban(self, request: AuthorizationRequest, subject: Subject) -> str | None:
        """Return why a subject is banned, or None."""
        if self._options.bans is None:
            return None
        found = self._options.bans.decide(replace(request, subject=subject))
        return None if found.effect is Effect.NOT_APPLICABLE else found.reason

    def _permit(self, held: Held, reason: str) -> Decision:
        account = held.community.account
        bound = (account,) if self._options.binds_accounts and account is not None else ()
        return permit(self.name, f"{held.community.name}: {reason}", *bound, not_after=held.not_after)

    def _deny(self, request: AuthorizationRequest, found: Findings, reasons: list[str]) -> Decision:
        """Deny; where all that is wrong is that something has ended, with an end that says so."""
        words = "; ".join([*reasons, *found.problems][:_MAX_REASONS])
        has_ended = found.has_ended and not reasons
        return Decision(Effect.DENY, words, (), self.name, not_after=request.environment.now if has_ended else None)
