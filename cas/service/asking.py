"""Questions about the policy: what is there, who may do what and why, who changed it; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cas import effects
from cas.policy.conditions import Circumstances
from cas.policy.evaluate import judge
from cas.policy.model import Kind, Ref
from cas.repository.base import MAX_PAGE
from cas.repository.exporting import BEGINNING, steps
from cas.rights import Rights
from cas.service.base import Deciding
from gsi.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from cas.effects import Explanation
    from cas.policy.caller import Caller
    from cas.policy.changes import Change
    from cas.policy.model import Statement
    from cas.repository.base import Found, HistoryEntry, Holders, View
    from cas.repository.exporting import Point

__all__ = ["ExportPage", "Questions"]

MAX_EXPORT: Final = 1000
"""Changes in one page of an export: of the longest names, still less than what clients read as one answer."""


@dataclass(frozen=True, slots=True)
class ExportPage:
    """A part of a policy.

    Attributes:
        revision: The policy's revision.
        changes: The changes of this part.
        point: Behind which the next part begins; None when this is the last one.
    """

    revision: int
    changes: tuple[Change, ...]
    point: Point | None


class Questions(Deciding):
    """What is asked."""

    def whoami(self, caller: Caller) -> str:
        """Return the caller's nickname.

        Raises:
            DeniedError: They are not enrolled.
        """
        now = self._clock()
        return self._ask(caller, "whoami", now, lambda view: Rights.of(view, caller, now).user.nickname)

    def list_names(self, caller: Caller, kind: Kind, *, scope: str = "", after: str = "") -> tuple[str, ...]:
        """Return names of a kind, so many at a time: list.

        Raises:
            NotFoundError: The scope is not enrolled.
        """

        def look(view: View) -> tuple[str, ...]:
            around = Ref(Kind.NAMESPACE if kind is Kind.OBJECT else Kind.SERVICE_TYPE, scope)
            if kind in {Kind.OBJECT, Kind.SERVICE_ACTION} and view.number_of(around) is None:
                raise NotFoundError(f"there is no {around}")
            return view.list_names(kind, scope=scope, after=after)

        return self._query(caller, "list", look)

    def get(self, caller: Caller, ref: Ref) -> Found:
        """Return something that is enrolled: getCasObject.

        Raises:
            NotFoundError: It is not.
        """

        def look(view: View) -> Found:
            found = view.find(_normal_ref(view, ref))
            if found is None:
                raise NotFoundError(f"there is no {ref}")
            return found

        return self._query(caller, "get", look)

    def list_members(self, caller: Caller, group: Ref, *, after: Ref | None = None) -> tuple[Ref, ...]:
        """Return what is in a group, so much at a time: getGroupMembers."""
        return self._query(caller, "list-members", lambda view: view.list_members(group, after=after))

    def find_policies(self, caller: Caller, ref: Ref) -> tuple[Statement, ...]:
        """Return the statements that name something: findApplicablePolicy."""
        return self._query(caller, "find-policies", lambda view: view.list_statements(_normal_ref(view, ref)))

    def history(
        self, caller: Caller, *, about: Ref | None = None, after: int = 0, limit: int = MAX_PAGE
    ) -> tuple[HistoryEntry, ...]:
        """Return who changed what, when and why; all, or of one thing."""

        def look(view: View) -> tuple[HistoryEntry, ...]:
            one = about
            if about is not None and (about.kind is not Kind.OBJECT or view.find_namespace(about.scope) is not None):
                one = _normal_ref(view, about)  # the history goes further back than namespaces are there
            return view.history(about=one, after=after, limit=limit)

        return self._query(caller, "history", look)

    def export(self, caller: Caller, *, after: Point = BEGINNING, revision: int | None = None) -> ExportPage:
        """Return a part of the policy, as the changes that make it again.

        Args:
            caller: Who asks.
            after: Where the part before ended.
            revision: The revision that it was of; None for the first part.

        Raises:
            ConflictError: The policy is another one by now.
            DeniedError: The caller may not ask about others.
        """

        def look(view: View) -> ExportPage:
            current = view.revision()
            if revision is not None and revision != current:
                raise ConflictError("the policy was changed while it was exported", hint="begin again")
            changes: list[Change] = []
            for point, some in steps(view, after=after):
                changes += some
                if len(changes) >= MAX_EXPORT:
                    return ExportPage(current, tuple(changes), point)
            return ExportPage(current, tuple(changes), None)

        return self._query(caller, "export", look)

    def who_can(
        self,
        caller: Caller,
        action: Ref,
        on: Ref,
        *,
        limited: bool = False,
        after: str = "",
        limit: int = MAX_PAGE,
    ) -> Holders:
        """Return who may do something now.

        Raises:
            DeniedError: The caller may not ask about others.
            NotFoundError: The action is not known.
        """
        circumstances = Circumstances(self._clock(), limited=limited)
        return self._query(
            caller,
            "who-can",
            lambda view: view.holders(action, _normal_ref(view, on), circumstances, after=after, limit=limit),
        )

    def why(self, caller: Caller, nickname: str, action: Ref, on: Ref, *, limited: bool = False) -> Explanation:
        """Return whether a user may do something, and by which statements and groups; of oneself without any right.

        Raises:
            DeniedError: The caller may not ask about others.
            NotFoundError: The user or the action is not known.
        """
        now = self._clock()

        def look(view: View) -> Explanation:
            rights = Rights.of(view, caller, now)
            if nickname != rights.user.nickname:
                rights.require_query()
            user = view.find_user_named(nickname)
            if user is None:
                raise NotFoundError(f"there is no user {nickname[:80]!r}")
            groups = rights.groups if nickname == rights.user.nickname else view.groups_of(user.number)
            circumstances = Circumstances(now, limited, user.strength)
            verdict = judge(view.matched(groups, action, _normal_ref(view, on)), circumstances)
            return effects.explain(view, user, verdict, circumstances)

        return self._ask(caller, "why", now, look)


def _normal_ref(view: View, ref: Ref) -> Ref:
    if ref.kind is not Kind.OBJECT:
        return ref
    namespace = view.find_namespace(ref.scope)
    if namespace is None:
        raise NotFoundError(f"there is no {Ref(Kind.NAMESPACE, ref.scope)}")
    return Ref(ref.kind, namespace.full_name(ref.name), ref.scope)
