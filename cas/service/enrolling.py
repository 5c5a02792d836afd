"""Enrolment of many users from a file, some thousand in a transaction; reads no file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cas.policy.changes import AddMember, Enrol
from cas.policy.model import Kind, Ref
from cas.repository.base import Author
from cas.rights import Rights
from cas.service.base import Deciding, Note
from gsi.errors import GridError
from gsi.system.audit import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cas.policy.caller import Caller
    from cas.policy.userfile import UserLine
    from cas.repository.base import View

__all__ = ["BATCH_LINES", "Enrolment", "Progress"]

BATCH_LINES: Final = 2000
"""Lines of a file of users in one transaction: half a second of work, during which others wait."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file of users is done.

    Attributes:
        lines: Lines dealt with, of this call and those before.
        enrolled: Users that this call has enrolled.
    """

    lines: int
    enrolled: int


class Enrolment(Deciding):
    """What enrols many users."""

    def enrol_users(
        self,
        caller: Caller,
        lines: Iterator[UserLine],
        *,
        owner: str,
        digest: str,
        reason: str = "",
        progress: Callable[[Progress], None] | None = None,
    ) -> Progress:
        """Enrol the users of a file, some thousand at a time; called again, it goes on where it stopped.

        Args:
            caller: Who asks.
            lines: All lines of the file, from the first one.
            owner: The user group that gets `grantAll` on each user.
            digest: SHA-256 of the file, by which it is known again.
            reason: Why; goes into the history.
            progress: Told after each transaction.

        Raises:
            GridError: As `apply`, and `ParseError` for a line; what was done before stays.
        """
        done = self._repository.enrolled_lines(_progress_key(caller, owner, digest))
        enrolled = 0
        batch: list[UserLine] = []
        for line in lines:
            if line.number <= done:
                continue
            batch.append(line)
            if len(batch) >= BATCH_LINES:
                enrolled += self._enrol_batch(caller, batch, owner=owner, digest=digest, reason=reason)
                done = batch[-1].number
                batch = []
                if progress is not None:
                    progress(Progress(done, enrolled))
        if batch:
            enrolled += self._enrol_batch(caller, batch, owner=owner, digest=digest, reason=reason)
            done = batch[-1].number
        final = Progress(done, enrolled)
        if progress is not None:
            progress(final)
        return final

    def enrolled_lines(self, caller: Caller, *, owner: str, digest: str) -> int:
        """Return how many lines of a file of users have been dealt with, for whoever may enrol users.

        Raises:
            DeniedError: The caller may not.
        """
        now = self._clock()

        def look(view: View) -> None:
            Rights.of(view, caller, now).require_on_server("enroll_user")

        self._ask(caller, "enrol-users", now, look)
        return self._repository.enrolled_lines(_progress_key(caller, owner, digest))

    def _enrol_batch(self, caller: Caller, lines: Sequence[UserLine], *, owner: str, digest: str, reason: str) -> int:
        now = self._clock()
        by = Author(caller.identity, now, reason, caller.request_id)
        first = next((line.user for line in lines if line.user is not None), None)
        groups = sorted({group for line in lines for group in line.groups})
        details: dict[str, str | int | None] = {
            "lines": f"{lines[0].number}-{lines[-1].number}",
            "file": digest,
            "groups": " ".join(groups),
        }

        def guard(view: View) -> None:
            rights = Rights.of(view, caller, now)
            if first is not None:
                rights.require(Enrol(first, owner))
            for group in groups:
                rights.require(AddMember(Ref(Kind.USER_GROUP, group), Ref(Kind.USER, rights.user.nickname)))

        def confirm(count: int) -> None:
            self._record(
                caller, "enrol-users", now, Note(reason or "permitted", details | {"users": count}), Verdict.PERMIT
            )

        try:
            key = _progress_key(caller, owner, digest)
            return self._repository.enrol_users(lines, by, owner=owner, digest=key, guard=guard, confirm=confirm)
        except GridError as error:
            self._refuse(caller, "enrol-users", now, error, details)
            raise


def _progress_key(caller: Caller, owner: str, digest: str) -> str:
    """Return by what the progress of a file is known: each caller's is their own, since they alone say what is in it.

    What others have enrolled of the same file is found to be enrolled.
    """
    who = hashlib.sha256(f"{caller.subject_key}:{caller.issuer_key}".encode()).hexdigest()
    return f"{owner}:{digest}:{who}"
