"""Who gets how much of a worker: connections, bytes, threads; knows neither sockets nor questions.

    seats = Seats()
    admission = seats.admit(connection, uid, is_service=False, limits=limits)
    if admission.refusal: ...                 # else close `admission.victim`, if there is one, and serve
    turns = Turns(16, share=4, name="judge")
    turns.submit(uid, judge, finish, is_gone=lambda: False)

Any local user can connect and ask, so that none may be able to take from another what it needs, least of all from the
services, whose questions are everybody's logins:

* Connections of the services are counted apart. Of the rest one uid has `per_user` at most; when there is no room left,
  whoever has fewer than another gets the place of one of its connections that wait for nothing. The library opens a
  session anew that was closed.
* What one uid has sent and has no answer for yet is bounded in bytes.
* Questions that may wait are judged in threads, the services' in some of their own. Of the others one uid gets a share
  of the threads, and uids come in turn.

All of it belongs to one thread, the event loop's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_HELD_BYTES", "Admission", "Limits", "Seat", "Seats", "Turns"]

MAX_HELD_BYTES: Final = 64 << 20
"""What one uid may have sent and not been answered: hundreds of the longest assertions seen, or as many jobs as it has
connections."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections of a worker.

    Attributes:
        connections: Of all uids that are not the services'.
        per_user: Of each of them.
        services: Of the services' uids together.
    """

    connections: int
    per_user: int
    services: int


class Seat(Protocol):
    """A connection, as far as counting goes."""

    @property
    def is_deciding(self) -> bool:
        """Whether a question is under way: it is not closed then."""

    @property
    def is_open(self) -> bool:
        """Whether it is a session: one that has asked nothing yet goes first."""


S = TypeVar("S", bound=Seat)
T = TypeVar("T")


class Admission(NamedTuple, Generic[S]):
    """What becomes of a new connection.

    Attributes:
        refusal: Why there is no room for it, or empty.
        victim: A connection to be closed for it; it is not counted any more.
    """

    refusal: str = ""
    victim: S | None = None


class Seats(Generic[S]):
    """The connections of a worker, by whose they are."""

    def __init__(self) -> None:
        self._of_uid: dict[int, dict[S, None]] = {}  # of uids that are not the services'; oldest first
        self._services: set[S] = set()
        self._uids: dict[S, int] = {}
        self._held: dict[S, int] = {}
        self._held_of_uid: dict[int, int] = {}

    def __len__(self) -> int:
        """Count them all."""
        return len(self._uids) + len(self._services)

    def every(self) -> list[S]:
        """Return them all."""
        return [*self._uids, *self._services]

    def admit(self, seat: S, uid: int, *, is_service: bool, limits: Limits) -> Admission[S]:
        """Count a new connection, if there is room."""
        if is_service:
            if len(self._services) >= limits.services:
                return Admission("too many connections of the services")
            self._services.add(seat)
            return Admission()
        mine = len(self._of_uid.get(uid, ()))
        if mine >= limits.per_user:
            return Admission(f"too many connections of uid {uid}")
        victim = None
        if len(self._uids) >= limits.connections:
            victim = self._find_victim(mine)
            if victim is None:
                return Admission("too many connections")
            self.leave(victim)
        self._uids[seat] = uid
        self._of_uid.setdefault(uid, {})[seat] = None
        return Admission(victim=victim)

    def _find_victim(self, mine: int) -> S | None:
        """Return a connection of the uid that has most, if that is more than the newcomer will have."""
        most = max(self._of_uid.values(), key=len, default={})
        if len(most) <= mine + 1:
            return None
        session = None
        for seat in most:
            if seat.is_deciding:
                continue
            if not seat.is_open:
                return seat
            session = session or seat
        return session

    def leave(self, seat: S) -> bool:
        """Take a connection off the count; say whether it was on it."""
        self.release(seat)
        if seat in self._services:
            self._services.discard(seat)
            return True
        uid = self._uids.pop(seat, None)
        if uid is None:
            return False
        own = self._of_uid[uid]
        del own[seat]
        if not own:
            del self._of_uid[uid]
        return True

    def hold(self, seat: S, size: int) -> bool:
        """Count bytes that a connection has sent and has no answer for; False when its uid has sent too many."""
        uid = self._uids.get(seat)
        if uid is None:
            return True  # a service's
        total = self._held_of_uid.get(uid, 0) + size
        if total > MAX_HELD_BYTES:
            return False
        self._held_of_uid[uid] = total
        self._held[seat] = self._held.get(seat, 0) + size
        return True

    def release(self, seat: S) -> None:
        """Forget the bytes: they were answered, or the connection is gone."""
        size = self._held.pop(seat, 0)
        if size:
            uid = self._uids[seat]
            left = self._held_of_uid[uid] - size
            if left:
                self._held_of_uid[uid] = left
            else:
                del self._held_of_uid[uid]


class _Task(NamedTuple, Generic[T]):
    body: Callable[[], T]
    done: Callable[[asyncio.Future[T]], None]
    is_gone: Callable[[], bool]


class Turns(Generic[T]):
    """Threads for what may wait.

    Args:
        threads: How many.
        share: How many of them one uid gets at once.
        name: What they are called.
    """

    def __init__(self, threads: int, *, share: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._share = share
        self._running: dict[int, int] = {}
        self._waiting: dict[int, deque[_Task[T]]] = {}  # whose turn it is comes first

    def submit(
        self,
        uid: int,
        body: Callable[[], T],
        done: Callable[[asyncio.Future[T]], None],
        *,
        is_gone: Callable[[], bool],
    ) -> None:
        """Have something done in a thread when it is its turn.

        Args:
            uid: Whose turn.
            body: What to do.
            done: Called in the event loop with its result.
            is_gone: Whether nobody waits for the result any more; asked before it is begun, which it then is not.
        """
        self._waiting.setdefault(uid, deque()).append(_Task(body, done, is_gone))
        self._start()

    def close(self) -> None:
        """Begin nothing more."""
        self._waiting.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._free:
            uid = next((one for one in self._waiting if self._running.get(one, 0) < self._share), None)
            if uid is None:
                return
            tasks = self._waiting.pop(uid)
            task = tasks.popleft()
            if tasks:
                self._waiting[uid] = tasks  # behind all others
            if not task.is_gone():
                self._run(uid, task)

    def _run(self, uid: int, task: _Task[T]) -> None:
        self._free -= 1
        self._running[uid] = self._running.get(uid, 0) + 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, task.body)
        future.add_done_callback(lambda found: self._finish(uid, task, found))

    def _finish(self, uid: int, task: _Task[T], found: asyncio.Future[T]) -> None:
        self._free += 1
        self._running[uid] -= 1
        if not self._running[uid]:
            del self._running[uid]
        task.done(found)
        self._start()
