"""Several worker processes behind one listening socket: starting, replacing, stopping them; not what they do.

    Supervisor(sockets, work, workers=4).run(on_ready)

The first process only supervises. SIGTERM and SIGINT stop the workers; SIGHUP is passed on to them, unless `on_reload`
finds the new state no good, which it keeps for workers made later; a worker that dies unasked is replaced, at once when
it had lived for a while, else after pauses that grow, because what broke it is probably still broken; workers notice by
the end of a pipe when the supervisor is killed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import GridError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["EXIT_FAILED", "EXIT_OK", "Supervisor", "Watcher"]

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
PROVEN_SECONDS: Final = 60.0
"""A worker that lived so long was in order: the next one starts at once."""
LONGEST_PAUSE_SECONDS: Final = 60.0
"""Between two tries to replace a worker: they double from one second, so that a broken disk is not made busier."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Watcher:
    """Hears what becomes of a server, in the process that was started; this one does nothing with it.

    Attributes:
        seconds: How often `alive` is called, None for never.
    """

    seconds: float | None = None

    def ready(self) -> None:
        """Connections are accepted."""

    def reloading(self) -> None:
        """SIGHUP has come."""

    def reloaded(self) -> None:
        """It has been acted upon, or found to be no good."""

    def stopping(self) -> None:
        """SIGTERM has come."""

    def alive(self) -> None:
        """Time has gone by, and this process still turns."""


class _Running(NamedTuple):
    slot: int
    begun: float


class Supervisor:
    """The first process of several: it holds the sockets, starts workers, passes signals on.

    Args:
        sockets: The listening sockets, which all workers share.
        work: Runs in each worker until it is told to stop; calls its first argument once it accepts connections, and
            stops when the descriptor that is its second becomes readable, because then the supervisor is gone.
        workers: How many.
        on_reload: Called here at SIGHUP; the workers get the signal when it returns True.
        on_worker: Called in each worker before `work`, with its number from 0; one that replaces another has its
            number.
        watcher: Hears what happens.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        work: Callable[[Callable[[], None], int], None],
        workers: int,
        on_reload: Callable[[], bool] = lambda: True,
        *,
        on_worker: Callable[[int], None] = lambda _number: None,
        watcher: Watcher | None = None,
    ) -> None:
        self._sockets = sockets
        self._work = work
        self._wanted = workers
        self._on_reload = on_reload
        self._on_worker = on_worker
        self._watcher = watcher or Watcher()
        self._running: dict[int, _Running] = {}
        self._failures: dict[int, int] = {}
        self._due: dict[int, float] = {}
        self._arrived: list[int] = []
        self._stopping = False
        self._wake_reader, self._wake_writer = os.pipe()  # a byte for each signal
        for one in (self._wake_reader, self._wake_writer):
            os.set_blocking(one, False)
        self._life_reader, self._life_writer = os.pipe()  # workers see its end when this process dies

    def run(self, on_ready: Callable[[], None]) -> int:
        """Start the workers, wait until all accept connections, keep them running; return the exit status."""
        gc.collect()
        gc.freeze()  # what is there already stays in pages that the workers share: no collection writes to it
        with self._catching_signals():
            if not all(self._start_and_wait(slot) for slot in range(self._wanted)):
                self._stop()
                self._supervise()
                return EXIT_FAILED
            on_ready()
            self._watcher.ready()
            self._supervise()
            return EXIT_OK

    @contextlib.contextmanager
    def _catching_signals(self) -> Iterator[None]:
        """Have signals noted, to be acted upon where nothing is half done."""
        before = {number: signal.signal(number, self._note) for number in (*_SIGNALS, signal.SIGCHLD)}
        wakeup = signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            for one in (self._wake_reader, self._wake_writer, self._life_reader, self._life_writer):
                os.close(one)

    def _note(self, number: int, _frame: object) -> None:
        self._arrived.append(number)

    # Starting

    def _start_and_wait(self, slot: int) -> bool:
        """Start one worker; True once it accepts connections, False when it ended before."""
        reader, writer = os.pipe()
        self._start(slot, writer)
        os.close(writer)
        try:
            while True:
                self._sleep(None, reader)
                self._act_on_signals()
                if select.select([reader], [], [], 0)[0]:
                    return os.read(reader, 1) == b"."
        finally:
            os.close(reader)

    def _start(self, slot: int, ready: int | None) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # none may reach the child before it knows what to do
        pid = os.fork()
        if pid:
            self._running[pid] = _Running(slot, time.monotonic())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return
        status = EXIT_FAILED
        try:
            status = self._run_worker(slot, ready)
        except GridError as error:
            os.write(2, f"worker: {error}\n".encode("utf-8", "backslashreplace"))
        finally:
            os._exit(status)  # nothing of the supervisor's may run here, least of all its cleanup

    def _run_worker(self, slot: int, ready: int | None) -> int:
        signal.set_wakeup_fd(-1)
        for number in (*_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        for one in (self._wake_reader, self._wake_writer, self._life_writer):
            os.close(one)

        def announce() -> None:
            if ready is not None:
                os.write(ready, b".")
                os.close(ready)

        self._on_worker(slot)
        self._work(announce, self._life_reader)
        return EXIT_OK

    # Keeping them running

    def _supervise(self) -> None:
        """Act on signals, replace workers that end unasked; return when all have ended because they were asked to."""
        seconds = self._watcher.seconds
        next_tick = None if seconds is None else time.monotonic()
        while True:
            self._act_on_signals()
            self._reap()  # before each sleep: the byte that told of an end may have been read already
            self._start_due()
            if seconds is not None and next_tick is not None and time.monotonic() >= next_tick:
                self._watcher.alive()
                next_tick = time.monotonic() + seconds
            if not self._running and (self._stopping or not self._due):
                return
            due = [*self._due.values(), *([] if next_tick is None else [next_tick])]
            self._sleep(max(0.0, min(due) - time.monotonic()) if due else None)

    def _sleep(self, seconds: float | None, *others: int) -> None:
        """Wait for a signal, a descriptor or the time."""
        select.select([self._wake_reader, *others], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_reader, 512):
                pass

    def _act_on_signals(self) -> None:
        while self._arrived:
            number = self._arrived.pop(0)
            if number == signal.SIGHUP:
                self._reload()
            elif number != signal.SIGCHLD:
                self._stop()

    def _reload(self) -> None:
        self._watcher.reloading()
        if self._on_reload():
            self._signal_all(signal.SIGHUP)
        self._watcher.reloaded()

    def _stop(self) -> None:
        if not self._stopping:
            self._watcher.stopping()
        self._stopping = True
        self._due.clear()
        for one in self._sockets:  # else the kernel would go on taking connections that nobody serves
            one.close()
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: int) -> None:
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _reap(self) -> None:
        """Take note of the workers that have ended, and of when to replace them."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            ended = self._running.pop(pid, None)
            if ended is not None and not self._stopping:
                self._due[ended.slot] = time.monotonic() + self._pause(ended)

    def _pause(self, ended: _Running) -> float:
        if time.monotonic() - ended.begun >= PROVEN_SECONDS:
            self._failures[ended.slot] = 0
            return 0.0
        failures = self._failures.get(ended.slot, 0)
        self._failures[ended.slot] = failures + 1
        return min(float(2 ** (failures - 1)), LONGEST_PAUSE_SECONDS) if failures else 0.0

    def _start_due(self) -> None:
        for slot in [slot for slot, due in self._due.items() if due <= time.monotonic()]:
            del self._due[slot]
            self._start(slot, None)
