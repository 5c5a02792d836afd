"""Several worker processes behind one listening socket: starting, replacing, stopping them; not what they do.

    Supervisor(sockets, work, workers=4).run(on_ready)

The first process only supervises. SIGTERM and SIGINT stop the workers; SIGHUP is passed on to them, unless `on_reload`
finds the new state no good, which it keeps for workers made later; a worker that dies unasked is replaced; workers
notice by the end of a pipe when the supervisor is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Final

from gsi.errors import GridError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

__all__ = ["EXIT_FAILED", "EXIT_OK", "Supervisor"]

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
RESTART_SECONDS: Final = 1.0
"""A worker that lived shorter is replaced only after this pause: a fault at start must not spin."""


class Supervisor:
    """The first process of several: it holds the sockets, starts workers, passes signals on.

    Args:
        sockets: The listening sockets, which all workers share.
        work: Runs in each worker until it is told to stop; calls its first argument once it accepts connections, and
            stops when the descriptor that is its second becomes readable, because then the supervisor is gone.
        workers: How many.
        on_reload: Called here at SIGHUP; the workers get the signal when it returns True.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        work: Callable[[Callable[[], None], int], None],
        workers: int,
        on_reload: Callable[[], bool] = lambda: True,
    ) -> None:
        self._sockets = sockets
        self._work = work
        self._wanted = workers
        self._on_reload = on_reload
        self._started: dict[int, float] = {}
        self._stopping = False
        self._life_reader, self._life_writer = os.pipe()  # workers see its end when this process dies

    def run(self, on_ready: Callable[[], None]) -> int:
        """Start the workers, wait until all accept connections, keep them running; return the exit status."""
        before = {
            number: signal.signal(number, self._pass_on) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        try:
            if not all(self._start_and_wait() for _ in range(self._wanted)):
                self._stop()
                self._reap()
                return EXIT_FAILED
            on_ready()
            self._reap()
            return EXIT_OK
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._life_reader)
            os.close(self._life_writer)

    def _start_and_wait(self) -> bool:
        """Start one worker; True once it accepts connections, False when it ended before."""
        reader, writer = os.pipe()
        self._start(writer)
        os.close(writer)
        try:
            return os.read(reader, 1) == b"."
        finally:
            os.close(reader)

    def _start(self, ready: int | None) -> None:
        pid = os.fork()
        if pid:
            self._started[pid] = time.monotonic()
            return
        status = EXIT_FAILED
        try:
            status = self._run_worker(ready)
        except GridError as error:
            os.write(2, f"worker: {error}\n".encode("utf-8", "backslashreplace"))
        finally:
            os._exit(status)  # nothing of the supervisor's may run here, least of all its cleanup

    def _run_worker(self, ready: int | None) -> int:
        os.close(self._life_writer)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

        def announce() -> None:
            if ready is not None:
                os.write(ready, b".")
                os.close(ready)

        self._work(announce, self._life_reader)
        return EXIT_OK

    def _pass_on(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            if self._on_reload():
                self._signal_all(signal.SIGHUP)
        else:
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        for one in self._sockets:  # else the kernel would go on taking connections that nobody serves
            one.close()
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: int) -> None:
        for pid in tuple(self._started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _reap(self) -> None:
        """Wait for workers; replace those that end unasked."""
        while self._started:
            pid, _ = os.waitpid(-1, 0)
            begun = self._started.pop(pid, None)
            if begun is None or self._stopping:
                continue
            if time.monotonic() - begun < RESTART_SECONDS:
                time.sleep(RESTART_SECONDS)
            if not self._stopping:
                self._start(None)
            self._repeat_stop()

    def _repeat_stop(self) -> None:
        """Pass a stop on once more: it may have come while a new worker was not yet known."""
        if self._stopping:
            self._signal_all(signal.SIGTERM)
