"""What the renewal agent knows of one credential that it renews, and when that is due; asks and writes nothing.

slot = Slot(entry, notebook.read(entry))
slot.look()
slot.plan(now, can_renew_expired=False)
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gsi.errors import GridError
from myproxy.renewal.attempt import Looked, look_at
from myproxy.renewal.place import Place, Stamp
from myproxy.renewal.schedule import LAST_RETRY, State, judge, renewal_time
from myproxy.renewal.tell import RENEWED, News

if TYPE_CHECKING:
    from datetime import datetime

    from myproxy.renewal.config import Entry
    from myproxy.renewal.notes import Note

__all__ = ["Slot"]

_LONGEST_LOCK: Final = timedelta(minutes=15)
"""Sources may take ten minutes at the most."""


class Slot:
    """An entry with all that is known of it; changed by the deciding thread only.

    Attributes:
        entry: What is to be renewed.
        note: What survives a restart.
        looked: What is in its place; None where that is nothing usable.
        trouble: MISSING or UNREADABLE where `looked` is None.
        error: Why it is UNREADABLE.
        stamp: Of the file when it was looked at.
        due: When to renew; None for not until the file changes.
        busy: Whether a worker has it.
        telling: The ways on which somebody is being told.
    """

    __slots__ = ("busy", "due", "entry", "error", "looked", "note", "stamp", "telling", "trouble")

    def __init__(self, entry: Entry, note: Note) -> None:
        self.entry = entry
        self.note = note
        self.looked: Looked | None = None
        self.trouble: State | None = None
        self.error = ""
        self.stamp: Stamp | None = None
        self.due: datetime | None = None
        self.busy = False
        self.telling: set[str] = set()

    def look(self) -> None:
        """Read the file, and forget failures that were about another one."""
        self.looked, self.trouble, self.error = None, None, ""
        self.stamp = Place(self.entry.path, self.entry.key).look()
        try:
            self.looked = look_at(self.entry)
        except GridError as error:
            self.trouble = State.MISSING if self.stamp is None else State.UNREADABLE
            self.error = error.message
        found = "" if self.looked is None else self.looked.life.fingerprint
        if self.looked is not None and self.note.fingerprint not in {"", found}:
            self.note = replace(self.note, failures=0, next_try=0.0, error="")
        if self.looked is not None:
            self.note = replace(self.note, fingerprint=found)

    def state(self, now: datetime) -> State:
        """Return how it is."""
        if self.looked is None:
            return self.trouble or State.MISSING
        return judge(self.looked.life, failures=self.note.failures, now=now, warn=self.entry.warn)

    def plan(self, now: datetime, *, can_renew_expired: bool) -> None:
        """Set when to renew."""
        if self.looked is None:
            fetches = self.trouble is State.MISSING and self.entry.create
            self.due = (self.note.retry_at or now) if fetches else None
        elif now >= self.looked.life.not_after and not can_renew_expired:
            self.due = None
        else:
            self.due = self.note.retry_at or renewal_time(self.looked.life, self.entry.name)
        if self.due is not None and self.note.failures and self.due > now + LAST_RETRY:
            self.due = now + LAST_RETRY  # the clock was set back

    def news(self, event: str) -> News:
        """Return what is to be told."""
        looked = self.looked
        return News(
            event,
            self.entry.name,
            self.entry.path,
            "" if looked is None else looked.identity,
            None if looked is None else looked.life.not_after,
            "" if event in {RENEWED, State.OK} else (self.error or self.note.error),
        )

    def is_held_too_long(self, now: datetime) -> bool:
        """Say whether somebody has kept the file for longer than a renewal takes: a lock that is never let go of."""
        return self.looked is not None and now > renewal_time(self.looked.life, self.entry.name) + _LONGEST_LOCK
