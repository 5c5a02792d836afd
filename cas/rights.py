"""What a caller may do to the policy and ask of it; answers from one state of it, changes nothing.

rights = Rights.of(view, caller, now)                # DeniedError: not of this community
rights.require(change)                               # DeniedError: what is missing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cas.policy.conditions import Circumstances
from cas.policy.evaluate import judge
from cas.policy.matching import covers
from cas.policy.model import CAS, GRANT_ALL, SERVER, SUPERUSER, Kind, Ref
from cas.policy.needs import Clear, Hold, Need, Unused, needs
from gsi.errors import DeniedError, NotFoundError

if TYPE_CHECKING:
    from datetime import datetime

    from cas.policy.caller import Caller
    from cas.policy.changes import Change
    from cas.repository.base import FoundUser, View

__all__ = ["Rights"]

MAX_NEAR: Final = 1000
"""How many objects of others are looked at before enrolling around them; a superuser enrols around more."""

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
            match need:
                case Need(action=action, on=on):
                    held = self.may_govern(action, on)
                case Hold(action=action_ref, on=on):
                    held = self._holds(action_ref, on)
                case Unused(group=group):
                    held = not self._view.is_used(group)
                case Clear(object=ref):
                    held = self._is_clear(ref)
            if not held:
                raise DeniedError(f"{self.user.nickname} lacks {need}", hint=_GRANT)

    def _holds(self, action: Ref, on: Ref) -> bool:
        actions = self._view.actions_of(action)
        if not actions and action.kind is Kind.SERVICE_ACTION:
            raise NotFoundError(f"there is no {action}")
        # An empty group says nothing, but who fills it later gives it: only a superuser grants it.
        return bool(actions) and all(
            self.may(Ref(Kind.SERVICE_ACTION, one.name, one.service_type), on) for one in actions
        )

    def _is_clear(self, ref: Ref) -> bool:
        """Say whether enrolling an object, and holding everything on it, takes nothing from others."""
        near = self._view.objects_near(ref, limit=MAX_NEAR)
        if not near:
            return True
        if len(near) >= MAX_NEAR:
            return False
        around = [one for one in near if self._covers(one, ref)]
        if around:
            return any(self.may(GRANT_ALL, one) for one in around)
        return all(self.may(GRANT_ALL, one) for one in near)

    def _covers(self, one: Ref, ref: Ref) -> bool:
        """Say whether an object is another one, or around it; their namespaces may differ."""
        namespace = self._view.find_namespace(one.scope)
        return namespace is not None and covers(one.name, ref.name, namespace.comparison)
