"""Changes of the policy, made or tried, each authorised in the transaction that makes it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from cas import effects
from cas.policy.changes import Change, Enrol, Grant, Remove, Revoke
from cas.repository.base import Author
from cas.rights import Rights
from cas.service.base import Deciding, Note
from cas.trial import Trial
from gsi.errors import ConflictError, GridError
from gsi.system.audit import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from cas.policy.caller import Caller
    from cas.policy.model import Entity, Ref, Statement
    from cas.repository.base import Applied, View
    from cas.trial import Preview

__all__ = ["Changes"]

_TRIES: Final = 5
"""How often a trial is begun anew because the policy has moved between two of its steps."""

MAX_TRIAL_SECONDS: Final = 2.0
"""How long one step of a trial looks: others' changes wait for it, and give up after ten seconds.

What was not looked at by then makes the answer incomplete.
"""

MAX_MAKING_SECONDS: Final = 5.0
"""How long changes may take to be made when they are tried, for the same reason: hundreds of them take a second."""


class Changes(Deciding):
    """What changes the policy."""

    def apply(
        self,
        caller: Caller,
        changes: Sequence[Change],
        *,
        reason: str = "",
        expected_revision: int | None = None,
        expected: Mapping[Ref, int] | None = None,
    ) -> Applied:
        """Make changes, all or none.

        Args:
            caller: Who asks.
            changes: In their order; what one makes, the next may use.
            reason: Why; goes into the history.
            expected_revision: The revision at which a preview was looked at.
            expected: The versions that things had when they were looked at.

        Raises:
            DeniedError: The caller lacks a right that one of them needs.
            ConflictError: The policy does not allow it, or another administrator was faster.
            NotFoundError: Something that a change needs is not enrolled.
            ParseError: A name that nothing can have.
            StorageError: The policy cannot be changed, or the decision not be recorded.
        """
        now = self._clock()
        by = Author(caller.identity, now, reason, caller.request_id)
        action = "change" if len(changes) != 1 else type(changes[0]).__name__.lower()
        told: list[bool] = []

        def confirm(applied: Applied) -> None:
            if not told:
                told.append(True)
                text = "; ".join(map(effects.describe, changes))
                details: dict[str, str | int | None] = {"change": text, "revision": applied.revision}
                self._record(caller, action, now, Note(reason or "permitted", details), Verdict.PERMIT)

        try:
            self._repository.reading(lambda view: Rights.of(view, caller, now))  # no stranger takes the lock
            return self._repository.apply(
                changes,
                by,
                guard=self._guard(caller, now),
                confirm=confirm,
                expected_revision=expected_revision,
                expected=expected,
            )
        except GridError as error:
            details: dict[str, str | int | None] = {"change": "; ".join(map(effects.describe, changes))}
            self._refuse(caller, action, now, error, details)
            raise

    def preview(self, caller: Caller, changes: Sequence[Change]) -> Preview:
        """Return who would gain and who would lose what by changes; makes none.

        Raises:
            GridError: As `apply`, for a caller who could not make them or may not ask about others.
        """
        now = self._clock()
        by = Author(caller.identity, now, "", caller.request_id)

        def guarding() -> Callable[[View, Change], None]:
            begun: list[float] = []

            def guard(view: View, change: Change) -> None:
                begun.append(time.monotonic())
                if begun[-1] - begun[0] > MAX_MAKING_SECONDS:
                    raise ConflictError(
                        "it takes too long to try these changes together, and others wait", hint="try fewer at a time"
                    )
                rights = Rights.of(view, caller, now)
                rights.require_query()
                rights.require(change)

            return guard

        with self._deciding(caller, "preview", now):
            self._repository.reading(lambda view: Rights.of(view, caller, now).require_query())
            for _ in range(_TRIES):
                trial, revisions = Trial(changes, now), set[int]()
                for is_after, step in trial.steps:
                    look = partial(_look, step)
                    if is_after:
                        _, revision = self._repository.preview(changes, by, look, guard=guarding())
                    else:
                        revision = self._repository.reading(look)
                    revisions.add(revision)
                    if len(revisions) > 1:
                        break
                else:
                    return trial.preview(revision)
            raise ConflictError("the policy is being changed all the time", hint="try again")

    def _guard(self, caller: Caller, now: datetime) -> Callable[[View, Change], None]:
        def guard(view: View, change: Change) -> None:
            Rights.of(view, caller, now).require(change)

        return guard

    # --- the operations of GT, each one change ------------------------------------------------------------------------

    def enrol(self, caller: Caller, entity: Entity, owner: str | None, *, reason: str = "") -> Applied:
        """Enrol something: addTrustAnchor, addUser, createObject, createObjectNamespace, createServiceType."""
        return self.apply(caller, [Enrol(entity, owner)], reason=reason)

    def remove(self, caller: Caller, ref: Ref, *, reason: str = "") -> Applied:
        """Remove something: removeTrustAnchor, removeUser, deleteObject, deleteGroup, ...; none is no error."""
        return self.apply(caller, [Remove(ref)], reason=reason)

    def grant(self, caller: Caller, statement: Statement, *, reason: str = "") -> Applied:
        """Add a statement to the policy."""
        return self.apply(caller, [Grant(statement)], reason=reason)

    def revoke(self, caller: Caller, statement: Statement, *, reason: str = "") -> Applied:
        """Take a statement out of the policy; one that is not there is no error."""
        return self.apply(caller, [Revoke(statement)], reason=reason)


def _look(step: Callable[[View, Callable[[], bool]], None], view: View) -> int:
    """Do one step of a trial while there is time; return the revision of the policy that it saw."""
    end = time.monotonic() + MAX_TRIAL_SECONDS
    step(view, lambda: time.monotonic() > end)
    return view.revision()
