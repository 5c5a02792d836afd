"""What the agent must still know after a restart: a small file for each entry; when to renew is not in it.

    notes = Notebook("/var/lib/myproxy-renewd")
    note = notes.load("alice")
    notes.save(replace(note, failures=note.failures + 1))

When to renew follows from the credential itself (`myproxy.renewal.schedule`). Here are the failures, what was told, and
what is still to be told. A note that cannot be read counts as none: at worst somebody is told twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, GridError
from gsi.system.files import FileLock, read_private, write_private
from myproxy.renewal.schedule import State

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Delivery", "Note", "Notebook"]

MAX_NOTE_BYTES: Final = 1 << 16
"""A note has a dozen short texts; errors in it are cut."""
MAX_ERROR: Final = 1000
MAX_DELIVERIES: Final = 16
"""What waits to be told of one entry: a state or two on three ways, and a program after a renewal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Something to be told on one way.

    Attributes:
        way: `hook`, `mail`, `webhook` or `after`.
        event: The state that is told, or `renewed`.
        error: The last failure, for the reader.
        tries: How often it was tried.
        next_try: When it is tried next, seconds since 1970.
    """

    way: str
    event: str
    error: str = ""
    tries: int = 0
    next_try: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is known of an entry.

    Attributes:
        name: The entry's.
        fingerprint: Of the credential that the failures are about; empty for none.
        failures: Renewals that failed, in a row.
        next_try: When the next one is, seconds since 1970; 0 for no failure.
        error: Why the last one failed.
        renewed: When the agent last renewed it, seconds since 1970; 0 for never.
        told: The state that was told last.
        deliveries: What is still to be told.
    """

    name: str
    fingerprint: str = ""
    failures: int = 0
    next_try: float = 0.0
    error: str = ""
    renewed: float = 0.0
    told: str = State.OK.value
    deliveries: tuple[Delivery, ...] = ()

    @property
    def retry_at(self) -> datetime | None:
        """`next_try` as a moment; None where there was no failure."""
        return datetime.fromtimestamp(self.next_try, UTC) if self.failures and self.next_try > 0 else None


class Notebook:
    """The directory of the notes."""

    def __init__(self, directory: str) -> None:
        """Name it; nothing is opened."""
        self.directory = directory

    def prepare(self) -> None:
        """Make the directory if it is missing, and see that it is private.

        Raises:
            ConfigError: It cannot be used.
        """
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            found = os.stat(self.directory)
        except OSError as error:
            raise ConfigError(f"{self.directory}: {error.strerror}", hint="see state in the configuration") from error
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise ConfigError(
                f"{self.directory}: must belong to the agent's user (uid {os.geteuid()}) and have the mode 0700",
                hint=f"chmod 700 {self.directory}",
            )

    def lock(self) -> FileLock:
        """Return the lock that lets one agent at a time use the directory."""
        return FileLock(os.path.join(self.directory, "lock"), wait_seconds=0)

    def load(self, name: str) -> Note:
        """Return the note of an entry; an empty one where there is none that can be read."""
        try:
            found = json.loads(read_private(self._path(name), max_bytes=MAX_NOTE_BYTES))
            return _read(name, found)
        except (GridError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
            return Note(name=name)

    def save(self, note: Note) -> None:
        """Write a note.

        Raises:
            CredentialError: UNWRITABLE.
        """
        write_private(self._path(note.name), json.dumps(asdict(note), ensure_ascii=True).encode("ascii") + b"\n")

    def forget(self, name: str) -> None:
        """Remove the note of an entry that is no longer one."""
        try:
            os.unlink(self._path(name))
        except OSError:
            return

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, hashlib.sha256(name.encode()).hexdigest()[:32] + ".json")


def _read(name: str, found: Mapping[str, object]) -> Note:
    """Return the note that was written so; anything else is a ValueError, TypeError or KeyError."""
    if found["name"] != name:
        raise ValueError("of another entry")
    deliveries = found["deliveries"]
    if not isinstance(deliveries, list) or len(deliveries) > MAX_DELIVERIES:
        raise ValueError("deliveries")
    return Note(
        name=name,
        fingerprint=_text(found["fingerprint"]),
        failures=_count(found["failures"]),
        next_try=_moment(found["next_try"]),
        error=_text(found["error"]),
        renewed=_moment(found["renewed"]),
        told=State(_text(found["told"])).value,
        deliveries=tuple(
            Delivery(
                way=_text(each["way"]),
                event=_text(each["event"]),
                error=_text(each["error"]),
                tries=_count(each["tries"]),
                next_try=_moment(each["next_try"]),
            )
            for each in deliveries
        ),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value[:MAX_ERROR]


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError("no count")
    return value


def _moment(value: object) -> float:
    if type(value) not in {int, float} or not isinstance(value, (int, float)) or not 0 <= value < 1 << 34:
        raise ValueError("no moment")
    return float(value)
