"""Keeps for owners what happened to their credentials, written behind the requests; not the audit, which has it all.

    history = History(SQLEvents(database), clock=clock.now)
    history.start()                                             # a thread of its own
    history.note("logon", "alice", None, "192.0.2.7", owner=...)    # takes microseconds, and never fails
    history.of("alice", owner, name=None, limit=200), history.uses("alice", owner)
    history.stop()                                              # writes what is left

What a worker has noted is written once a second, in one transaction that waits for no disk. So no request waits for it
or fails by it; what a worker had noted in its last second is lost when it is killed, and so is what the database did
not take. Whoever looks sees the last second later.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import GridError
from myproxy.repository.events import Noted

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from myproxy.protocol.messages import Happening
    from myproxy.repository.events import SQLEvents

__all__ = ["History"]

EVERY_SECONDS: Final = 1.0
"""How long what is noted may wait: as long as a user takes from a logon to a look at it."""

MAX_NOTED: Final = 4096
"""What may wait, done and refused each: more than a worker does in a second. Beyond it nothing more is noted."""

MAX_AGE: Final = timedelta(days=400)
"""After which events are forgotten: a year, and what is needed to look back at it."""

PRUNE_SECONDS: Final = 3600.0
"""How often a worker forgets what is too old."""

_log: Final = logging.getLogger("myproxy.history")


class _Key(NamedTuple):
    """What is noted as one."""

    username: str
    name: str | None
    owner: str | None
    kind: str
    address: str


class _Waiting:
    """What happened alike, since the last time something was written."""

    __slots__ = ("at", "count", "first")

    def __init__(self, at: datetime) -> None:
        self.first = self.at = at
        self.count = 1


class History:
    """What happened, as it is noted and as it is told. Safe for use by several threads."""

    def __init__(self, store: SQLEvents, *, clock: Callable[[], datetime]) -> None:
        """Put it together.

        Args:
            store: Where it is kept.
            clock: The time.
        """
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._done: dict[_Key, _Waiting] = {}
        self._refused: dict[_Key, _Waiting] = {}
        self._left_out = 0
        self._due = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._prune_at = 0.0

    def note(self, kind: str, username: str, name: str | None, address: str, *, owner: str | None = None) -> None:
        """Take note of something.

        Args:
            kind: What, see `Happening`.
            username: The account.
            name: The credential's name, None for the unnamed one.
            address: Where it came from.
            owner: Whose credential it is; None for a try that was refused, whose owner is looked up later.
        """
        key, at = _Key(username, name, owner, kind, address), self._clock()
        with self._lock:
            waiting = self._refused if owner is None else self._done
            found = waiting.get(key)
            if found is not None:
                found.count, found.at = found.count + 1, at
            elif len(waiting) < MAX_NOTED:
                waiting[key] = _Waiting(at)
            else:
                self._left_out += 1
        if not self._due.is_set():
            self._due.set()

    def of(self, username: str, owner: str, *, name: str | None = None, limit: int) -> tuple[Happening, ...]:
        """Return what happened to an owner's credentials under a user name, or to one; see `SQLEvents.of`.

        Raises:
            StorageError: It cannot be read.
        """
        return self._store.of(username, owner, name=name, limit=limit)

    def uses(self, username: str, owner: str) -> dict[str | None, Happening]:
        """Return the last use of each of an owner's credentials under a user name, by name.

        Raises:
            StorageError: It cannot be read.
        """
        return self._store.uses(username, owner)

    def start(self) -> None:
        """Begin to write, in a thread that does not keep the process alive."""
        self._thread = threading.Thread(target=self._run, name="myproxy-history", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and end."""
        self._stopped.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def flush(self) -> None:
        """Write what was noted; what cannot be written is lost, and the log says so."""
        with self._lock:
            waiting, left_out = {**self._done, **self._refused}, self._left_out
            self._done, self._refused, self._left_out = {}, {}, 0
        if left_out:
            _log.warning("%d events are in the audit alone: more happened than their owners can be told", left_out)
        if not waiting:
            return
        try:
            self._store.add([Noted(*key, one.count, one.first, one.at) for key, one in waiting.items()])
        except GridError as error:
            _log.warning("%d events are in the audit alone: %s", sum(one.count for one in waiting.values()), error)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._due.wait()
            self._stopped.wait(EVERY_SECONDS)
            self._due.clear()
            try:
                self.flush()
                self._prune()
            except Exception:  # noqa: BLE001  the last door of this thread
                _log.exception("what happened could not be kept for its owners")

    def _prune(self) -> None:
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + PRUNE_SECONDS
        try:
            self._store.prune(before=self._clock() - MAX_AGE)
        except GridError as error:
            _log.warning("old events were not forgotten: %s", error)
