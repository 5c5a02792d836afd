"""What a caller may do to the policy and ask of it; answers from one state of it, changes nothing.

rights = Rights.of(view, caller, now)                # DeniedError: not of this community
rights.require(change)                               # DeniedError: what is missing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cas.policy.changes import Revoke
from cas.policy.conditions import ALWAYS, Circumstances
from cas.policy.evaluate import judge
from cas.policy.matching import covers
from cas.policy.model import CAS, GRANT_ALL, SERVER, SUPERUSER, Effect, Kind, Ref, Statement
from cas.policy.needs import Clear, Hold, Lifts, Need, Unused, needs
from gsi.errors import DeniedError, NotFoundError

if TYPE_CHECKING:
    from datetime import datetime

    from cas.policy.caller import Caller
    from cas.policy.changes import Change
    from cas.policy.conditions import Terms
    from cas.repository.base import FoundUser, View

__all__ = ["Rights"]

MAX_NEAR: Final = 1000
"""How many objects of others are looked at before enrolling around them; a superuser enrols around more."""

MAX_MEMBERS: Final = 1000
"""In how many members of a group of objects denials are looked for; a superuser grants on larger ones."""

_ENROL: Final = "its administrators enrol people with cas-enroll user, by the names of certificate and CA"
_GRANT: Final = "whoever governs it grants it with cas-rights-admin, to a group that you are in"


class Rights:
    """One caller in one state of the policy.

    Attributes:
        user: Who they are.
        groups: Which groups they are in.
        circumstances: How they ask.
    """

    def __init__(self, view: View, user: FoundUser, groups: frozenset[int], circumstances: Circumstances) -> None:
        self._view = view
        self.user = user
        self.groups = groups
        self.circumstances = circumstances
        self._is_superuser: bool | None = None

    @classmethod
    def of(cls, view: View, caller: Caller, now: datetime) -> Rights:
        """Return the rights of a caller.

        Raises:
            DeniedError: Nobody of this name and CA is enrolled.
        """
        user = view.find_user(caller.subject_key, caller.issuer_key)
        if user is None:
            raise DeniedError(f"{caller.identity} is not enrolled in this community", hint=_ENROL)
        strength = user.strength if caller.strength is None else caller.strength
        groups = view.groups_of(user.number, fqans=caller.fqans, groups=caller.groups)
        return cls(view, user, groups, Circumstances(now, caller.limited, strength))

    def may(self, action: Ref, on: Ref) -> bool:
        """Say whether an action is permitted on something."""
        return judge(self._view.matched(self.groups, action, on), self.circumstances).permitted

    def may_govern(self, action: str, on: Ref) -> bool:
        """Say whether one of CAS's own actions is permitted on something."""
        return self.may(Ref(Kind.SERVICE_ACTION, action, CAS), on)

    @property
    def is_superuser(self) -> bool:
        """Whether everything is permitted."""
        if self._is_superuser is None:
            self._is_superuser = self.may(SUPERUSER, SERVER)
        return self._is_superuser

    def require_query(self) -> None:
        """Insist on the right to ask about others.

        Raises:
            DeniedError: It is missing.
        """
        self.require_on_server("query")

    def require_on_server(self, action: str) -> None:
        """Insist on one of CAS's own actions on the server.

        Raises:
            DeniedError: It is missing.
        """
        if not self.may_govern(action, SERVER):
            raise DeniedError(f"{self.user.nickname} lacks {CAS}/{action} on the server", hint=_GRANT)

    def require(self, change: Change) -> None:
        """Insist on all that a change needs; its names are normal.

        Raises:
            DeniedError: Something is missing.
            NotFoundError: Something that has to be looked at is not enrolled.
        """
        if self.circumstances.limited:
            raise DeniedError("a limited proxy is no credential for changing the policy", hint="use a full proxy")
        if self.is_superuser:
            return
        for need in needs(change):
            if not self._has(need):
                raise DeniedError(f"{self.user.nickname} lacks {need}", hint=_GRANT)

    def _has(self, need: Need | Hold | Lifts | Unused | Clear) -> bool:
        match need:
            case Need(action=action, on=on):
                return self.may_govern(action, on)
            case Hold(action=action_ref, on=on, terms=terms):
                return self._holds(action_ref, on, terms)
            case Lifts(what=ref, member=member):
                return self._may_lift(ref, member)
            case Unused(group=group):
                return not self._view.is_used(group)
            case Clear(object=ref):
                return self._is_clear(ref)

    def _holds(self, action: Ref, on: Ref, terms: Terms) -> bool:
        actions = self._view.actions_of(action)
        if not actions and action.kind is Kind.SERVICE_ACTION:
            raise NotFoundError(f"there is no {action}")
        # An empty group says nothing, but who fills it later gives it: only a superuser grants it.
        if not actions:
            return False
        refs = [Ref(Kind.SERVICE_ACTION, one.name, one.service_type) for one in actions]
        if not all(self._holds_one(one, on, terms) for one in refs):
            return False
        if on.kind is not Kind.OBJECT_GROUP or not self._view.has_denials(self.groups):
            return True
        inside = self._inside(on)
        return inside is not None and all(self._holds_one(one, member, terms) for member in inside for one in refs)

    def _holds_one(self, action: Ref, on: Ref, terms: Terms) -> bool:
        """Say whether an action is permitted for as long, and to all peers, as terms say."""
        verdict = judge(self._view.matched(self.groups, action, on), self.circumstances)
        if not verdict.permitted or not any(one.terms.reaches(terms) for one in verdict.by):
            return False
        for one in verdict.idle:
            begins = one.terms.not_before
            is_coming = one.effect is Effect.DENY and begins is not None and self.circumstances.now < begins
            if is_coming and (begins is None or terms.not_after is None or begins < terms.not_after):
                return False
        return True

    def _inside(self, group: Ref) -> list[Ref] | None:
        """Return what is in a group of objects, and in groups within it; None where it is too much."""
        found: dict[Ref, None] = {}
        left = [group]
        while left:
            one, after = left.pop(), None
            while page := self._view.list_members(one, after=after):
                after = page[-1]
                left += [member for member in page if member.kind is Kind.OBJECT_GROUP and member not in found]
                found.update(dict.fromkeys(page))
                if len(found) > MAX_MEMBERS:
                    return None
        return [one for one in found if one.kind is not Kind.OBJECT_GROUP]

    def _may_lift(self, what: Ref, member: Ref | None) -> bool:
        """Say whether the denials on something, or those on a group for one of its members, could be revoked."""
        if self._view.find(what) is None:
            return True
        for ref in (what,) if member is None else (what, *self._view.groups_around(what)):
            found = self._view.list_statements(ref, limit=MAX_NEAR)
            if len(found) >= MAX_NEAR:
                return False
            for one in found:
                if one.effect is not Effect.DENY or one.object != ref:
                    continue
                lifted = Statement(one.group, one.effect, one.action, ref if member is None else member, one.terms)
                if not all(self._has(need) for need in needs(Revoke(lifted))):
                    return False
        return True

    def _is_clear(self, ref: Ref) -> bool:
        """Say whether enrolling an object, and holding everything on it, takes nothing from others."""
        near = self._view.objects_near(ref, limit=MAX_NEAR)
        if not near:
            return True
        if len(near) >= MAX_NEAR:
            return False
        around = [one for one in near if self._covers(one, ref)]
        if around:
            return any(self._holds_one(GRANT_ALL, one, ALWAYS) for one in around)
        return all(self._holds_one(GRANT_ALL, one, ALWAYS) for one in near)

    def _covers(self, one: Ref, ref: Ref) -> bool:
        """Say whether an object is another one, or around it; their namespaces may differ."""
        namespace = self._view.find_namespace(one.scope)
        return namespace is not None and covers(one.name, ref.name, namespace.comparison)
