"""A policy file kept in force while it changes; reads nothing that is not in the policy or named by it.

    engine = open_engine("/etc/grid-security/gsi-authz.d/gridftp.toml", service="gridftp")
    engine.authorize(request)                 # by the file as it is now, a second late at most
    engine.problems                           # what is wrong with the file since it was changed

A change of the policy file, or of any file it names, has what changed read again, once nobody has written to it for a
moment, in a thread of its own. Questions that come meanwhile wait for it, so that a ban counts for the next one however
long nobody had asked; where reading takes longer than `WAIT_SECONDS`, they are decided by the old policy. The new one
is put in force when it has been read completely. One that cannot be read is not: the old one stays, and an error goes
to the log and to `on_problem` at each try and each minute, so that nobody can overlook it. Files are looked at by each
question, and by a thread for the sake of services that nobody asks, so that errors are told there, too.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

from gsi.authz.engine import REMEMBERED, Engine
from gsi.authz.policyfile import load_policy
from gsi.authz.record import DecisionFile
from gsi.authz.registry import Place, is_settled, stamp_of
from gsi.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gsi.authz.decision import AuthorizationRequest, Decision
    from gsi.authz.policyfile import LoadedPolicy
    from gsi.authz.registry import Stamp

__all__ = ["CHECK_SECONDS", "WAIT_SECONDS", "PolicyEngine", "open_engine"]

CHECK_SECONDS: Final = 1.0
"""How often files are looked at: ten `stat` calls a second cost nothing, and a ban works within this time."""

WAIT_SECONDS: Final = 2.0
"""How long questions wait for what is being read: files take milliseconds, a grid-mapfile of a million lines 3 s, and
the services that ask give up after 10 s."""

_REMIND_SECONDS: Final = 60.0
"""How often a file that stays broken is read again and complained about."""

_LOG: Final = logging.getLogger("gsi.authz")


class PolicyEngine(Engine):
    """An engine whose policy comes from a file. Made by `open_engine`."""

    def __init__(
        self,
        path: str,
        *,
        service: str = "",
        audit: Callable[[AuthorizationRequest, Decision], None] | None = None,
        on_problem: Callable[[str], None] | None = None,
        remembered: int = REMEMBERED,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        """Read the policy.

        Args:
            path: The policy file.
            service: The service that asks.
            audit: As for `Engine`.
            on_problem: Called with a sentence whenever a changed file cannot be used, and with "" when it can again.
            remembered: As for `Engine`.
            check_seconds: How often the files are looked at.

        Raises:
            ConfigError: The policy cannot be used; there is no engine then.
        """
        self._place = Place(path, service)
        self._on_problem = on_problem
        self._check_seconds = check_seconds
        self._reading = threading.Lock()
        self._started = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wait_until = 0.0
        self._problem = ""
        self._seen: Mapping[str, Stamp] = {}
        self._read_again = False
        self._remind_at = 0.0
        self._loaded = self._read(None)
        super().__init__(
            self._loaded.policy,
            audit=audit,
            record=self._recorder(),
            refresh=self.look,
            remembered=remembered,
        )
        self._next_look = time.monotonic() + check_seconds
        _WATCH.add(self)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong or odd with the files as they are now; empty when all is well."""
        return ((self._problem,) if self._problem else ()) + self._loaded.problems

    @property
    def loaded(self) -> LoadedPolicy:
        """The policy in force, with its settings and files."""
        return self._loaded

    def reload(self) -> bool:
        """Read the files again, now; say whether they are in force. If not, the old policy stays."""
        with self._reading:
            try:
                loaded = self._read(self._loaded)
            except Exception as error:  # noqa: BLE001  whatever it is, the old policy stays
                self._complain(error)
                return False
            if any(stamp_of(path) != stamp for path, stamp in loaded.files.items()):
                self._read_again = True  # it changed while it was being read; what was read may be half of it
                return False
            self._loaded = loaded
            self._record = self._recorder()
            self.replace(loaded.policy)
            _LOG.info("policy %s is in force as changed", self._place.path)
            for problem in loaded.problems:
                _LOG.warning("policy %s: %s", self._place.path, problem)
            if self._problem:
                self._problem = ""
                self._tell("")
            return True

    def _read(self, previous: LoadedPolicy | None) -> LoadedPolicy:
        """Read everything, and note how each file was before it was read."""
        place = Place(self._place.path, self._place.service)
        begin = time.time_ns()
        try:
            return load_policy(place, previous=previous)
        finally:
            self._seen = place.files
            # A file changed a moment ago can change again within the same tick of its clock.
            self._read_again = not all(is_settled(stamp, begin) for stamp in place.files.values())

    def _recorder(self) -> Callable[[AuthorizationRequest, Decision], None] | None:
        return DecisionFile(self._loaded.record).append if self._loaded.record else None

    def look(self) -> Callable[[], None] | None:
        """Have read what has changed, if it is time to look; return how to wait for what is being read."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + self._check_seconds
            _WATCH.run()
            if self._is_due(now):
                self._start(now)
        thread = self._thread
        return self._wait if thread is not None and thread.is_alive() and now < self._wait_until else None

    def _is_due(self, now: float) -> bool:
        """Say whether something has changed, or is still wrong, and nobody is writing."""
        found = {path: stamp_of(path) for path in self._seen}
        changed = self._read_again or found != self._seen
        if not changed and not (self._problem and now >= self._remind_at):
            return False
        # A file that is being written in place is empty or half for a moment: an empty ban list bans nobody.
        return all(is_settled(stamp, time.time_ns()) for stamp in found.values())

    def _start(self, now: float) -> None:
        if not self._started.acquire(blocking=False):
            return  # another question does so at this moment
        try:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self.reload, name="authz-reload", daemon=True)
                self._wait_until = now + WAIT_SECONDS
                self._thread.start()
        finally:
            self._started.release()

    def _wait(self) -> None:
        thread = self._thread
        if thread is not None:
            thread.join(max(0.0, self._wait_until - time.monotonic()))

    def begin_anew(self) -> None:
        """Forget the threads and locks of the parent process."""
        self._reading = threading.Lock()
        self._started = threading.Lock()
        self._thread = None
        self._next_look = 0.0

    def _complain(self, error: Exception) -> None:
        if isinstance(error, GridError):
            self._problem = f"{error.message} ({error.hint})" if error.hint else error.message
        else:
            self._problem = f"{type(error).__name__}: {error}"
        self._remind_at = time.monotonic() + _REMIND_SECONDS
        path = self._place.path
        _LOG.error("the changed policy %s cannot be used, the old one stays in force: %s", path, self._problem)
        self._tell(self._problem)

    def _tell(self, sentence: str) -> None:
        if self._on_problem is not None:
            try:
                self._on_problem(sentence)
            except Exception:  # noqa: BLE001  decisions go on
                _LOG.exception("a policy's problem could not be told")


class _Watch:
    """Looks after the engines of this process that nobody asks."""

    def __init__(self) -> None:
        self._engines: weakref.WeakSet[PolicyEngine] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, engine: PolicyEngine) -> None:
        """Look after one more; from its first question on, so that a process which only makes it stays as it is."""
        with self._guard:
            self._engines.add(engine)

    def run(self) -> None:
        """Begin, if nobody has yet."""
        if self._thread is None and self._guard.acquire(blocking=False):
            try:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._watch, name="authz-watch", daemon=True)
                    self._thread.start()
            finally:
                self._guard.release()

    def _watch(self) -> None:
        while True:
            time.sleep(CHECK_SECONDS)
            with self._guard:
                engines = list(self._engines)
                if not engines:
                    self._thread = None
                    return
            for engine in engines:
                engine.look()
            del engines, engine

    def begin_anew(self) -> None:
        """Begin anew in a child process, which has none of the threads."""
        self._guard = threading.Lock()
        self._thread = None
        for engine in list(self._engines):
            engine.begin_anew()


_WATCH: Final = _Watch()
os.register_at_fork(after_in_child=_WATCH.begin_anew)


def open_engine(
    path: str,
    *,
    service: str = "",
    audit: Callable[[AuthorizationRequest, Decision], None] | None = None,
    on_problem: Callable[[str], None] | None = None,
) -> PolicyEngine:
    """Return an engine that follows a policy file; arguments and errors as for `PolicyEngine`.

    Raises:
        ConfigError: The policy cannot be used.
    """
    return PolicyEngine(path, service=service, audit=audit, on_problem=on_problem)
