"""Calling what may hang, with a limit in time; decides nothing.

    pool = DeadlinePool("ldap-groups")
    answer = pool.call(lambda: authorizer.decide(request), 5.0)

The call runs in a thread, for nothing else can be left behind. A thread that hangs is not waited for, and while all
`MAX_THREADS` hang, further calls fail by the same limit without ever starting. Who must not wait for others' calls sets
`LANE`, and has threads of its own. Daemon threads, because those of `concurrent.futures` would keep the process from
ending.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from gsi.errors import TimeoutExpiredError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LANE", "MAX_THREADS", "DeadlinePool"]

MAX_THREADS: Final = 8
"""Threads per authorizer: as many questions as a directory server is glad to get from one client at a time."""

LANE: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("gsi_authz_lane", default="")
"""Whose calls these are: those of one lane do not take another's threads. To be one of a few fixed words."""

_IDLE_SECONDS: Final = 30.0
"""How long a thread without work is kept."""

T = TypeVar("T")


class _Call(Generic[T]):
    """One call on its way through a thread."""

    __slots__ = ("_body", "_done", "_error", "_result", "abandoned")

    def __init__(self, body: Callable[[], T]) -> None:
        self._body = body
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._result: T | None = None
        self.abandoned = False

    def run(self) -> None:
        if not self.abandoned:
            try:
                self._result = self._body()
            except BaseException as error:  # noqa: BLE001  handed to the caller; the thread has nobody else to tell
                self._error = error
        self._done.set()

    def wait(self, seconds: float) -> T:
        if not self._done.wait(seconds):
            self.abandoned = True
            raise TimeoutExpiredError(f"no answer within {seconds:g} seconds")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # set, as there is no error


class DeadlinePool:
    """Threads for calls to one thing that may hang. Safe for several threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._reset()

    def _reset(self) -> None:
        """Begin without threads: at first, and in a process that was forked off, where none of them is."""
        self._pid = os.getpid()
        self._waiting: queue.SimpleQueue[_Call[object]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._busy = 0

    def call(self, body: Callable[[], T], seconds: float) -> T:
        """Return what the body returns, or raise what it raises.

        Raises:
            TimeoutExpiredError: It has not ended within the seconds; it may go on, and its result is thrown away.
        """
        if self._pid != os.getpid():
            self._reset()
        call = _Call(body)
        start = False
        with self._lock:
            self._busy += 1
            if self._busy > self._threads < MAX_THREADS:
                self._threads += 1
                start = True
        self._waiting.put(call)  # type: ignore[arg-type]  # the queue does not look at results
        if start:
            threading.Thread(target=self._run, name=f"authz-{self._name}", daemon=True).start()
        return call.wait(seconds)

    def _run(self) -> None:
        while True:
            try:
                call = self._waiting.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._busy < self._threads:  # a call that is about to be put counts as busy
                        self._threads -= 1
                        return
                continue
            call.run()
            with self._lock:
                self._busy -= 1
            del call  # an idle thread must not keep a request alive
