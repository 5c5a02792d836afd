"""One structured line per decision, on disk before the decision takes effect; not operational logging.

    log = AuditLog("/var/lib/myproxy/audit.log")
    log.record(AuditRecord(time=now, request_id="c0ffee", service="myproxy", action="GET", verdict=Verdict.PERMIT, ...))
    posted = log.post(record)                       # a step on the way, to be followed by another record
    posted.settle()                                 # before anything leaves

Each record is one JSON object in one line of ASCII: whatever a peer puts into a name is escaped, so that it can neither
start a line of its own nor confuse a terminal. `record` returns after the line was synced; when it raises, the caller
must refuse what it was about to do. A request of several steps may `post` those by which nothing leaves, and settle
them with the last: one sync serves all of them. The file is 0600 and only appended to, by any number of threads and
processes. There is no field for a secret, and none may be put into one.

One thread per `AuditLog` writes and syncs, always through one descriptor, whatever has gathered while the sync before
was under way; the others wait for it, but no longer than `SYNC_SECONDS`. Writers of several processes take turns by a
lock on the file. A line that did not fit on the disk is taken back; behind one that a crash has torn the next starts
on a line of its own. A file that was moved away or removed while it was open is noticed with the next record, which
goes to a new file of that name, as if the log had been rotated; so no record counts that nobody could read later.
`gsi.system.audit_chain` ties the lines to one another and finds out later what was changed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import stat
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from gsi.errors import StorageError
from gsi.system.audit_chain import Beginning, ChainState, chain_line, find_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

__all__ = [
    "MAX_RECORD_BYTES",
    "POST_SECONDS",
    "SYNC_SECONDS",
    "AuditLog",
    "AuditRecord",
    "AuditSink",
    "Posted",
    "PostingSink",
    "Verdict",
    "encode_record",
]

MAX_RECORD_BYTES: Final = 65536
"""The longest line; a record that needs more has its texts cut to `_MAX_TEXT_CHARS`, and says so."""

SYNC_SECONDS: Final = 10.0
"""How long a record may take to reach the disk before what it speaks of is refused: a busy disk needs a hundredth of
it, clients wait for minutes, and threads that wait for a dead disk are missing elsewhere."""

POST_SECONDS: Final = 1.0
"""The longest that a record which nobody waits for stays in memory."""

MAX_NODE_CHARS: Final = 64
"""The longest name of a node, as of a host."""

_MAX_TEXT_CHARS: Final = 1024
"""What is left of a text in an oversized record: long enough for any real name, six times as much when escaped."""


_MAX_MOVES: Final = 4
"""How often one batch goes over to another file: somebody who removes it faster than that does not want an audit."""

_log = logging.getLogger("gsi.audit")

_JSON: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))

_CHAIN_FIELDS: Final = frozenset({"node", "seq", "begins", "after", "chain"})
"""What `gsi.system.audit_chain` adds."""


class Verdict(StrEnum):
    """What was decided, or what became of it."""

    PERMIT = "permit"
    DENY = "deny"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One decision.

    Attributes:
        time: When, aware UTC.
        request_id: The id that the peer saw and that log lines carry.
        service: The program ("myproxy").
        action: What was asked for ("GET").
        verdict: The answer.
        reason: Why, for an administrator.
        peer: Identity of the asking peer in the one-line form, "<anonymous>", or "<unverified>" when what it showed
            was not believed.
        address: Network address of the peer.
        details: Further names (account, credential name, owner, ...). Never a secret.
    """

    time: datetime
    request_id: str
    service: str
    action: str
    verdict: Verdict
    reason: str
    peer: str
    address: str
    details: Mapping[str, str | int | None] = field(default_factory=dict)


def encode_record(record: AuditRecord) -> bytes:
    """Return the line, line feed included, as it is before it is tied to the others."""
    line = _encode(record, None)
    if len(line) > MAX_RECORD_BYTES:
        line = _encode(record, _MAX_TEXT_CHARS)
    return line


def _encode(record: AuditRecord, limit: int | None) -> bytes:
    fields: dict[str, str | int | None] = {
        "time": record.time.isoformat(timespec="milliseconds"),
        "id": record.request_id,
        "service": record.service,
        "action": record.action,
        "verdict": record.verdict.value,
        "reason": record.reason,
        "peer": record.peer,
        "address": record.address,
    }
    fields |= {key: value for key, value in record.details.items() if key not in fields and key not in _CHAIN_FIELDS}
    if limit is not None:
        fields = {key: value[:limit] if isinstance(value, str) else value for key, value in fields.items()}
        fields["cut"] = 1
    return _JSON.encode(fields).encode("ascii") + b"\n"


class Posted(Protocol):
    """A record on its way to the disk."""

    def settle(self) -> None:
        """Return when the record is safe.

        Raises:
            StorageError: It is not known to be on disk as a whole; refuse what it speaks of. After a time-out the line
                may still get there: the file may tell of a yes that was not given, never the other way round.
        """
        ...

    def when_known(self, tell: Callable[[], None], *, soon: bool = True) -> None:
        """Call back once `settle` need not wait; from another thread, or at once.

        Args:
            tell: What to call. It must not raise.
            soon: Have it written now, as somebody waits for it.
        """
        ...

    @property
    def failure(self) -> Exception | None:
        """Why it is not on disk, once that is known; None where it is."""
        ...

    @property
    def waited(self) -> float | None:
        """For how many seconds somebody has waited for it so far; None where nobody has."""
        ...


class AuditSink(Protocol):
    """Where decisions are recorded: an `AuditLog`, or what stands in front of it."""

    def record(self, record: AuditRecord) -> None:
        """Return when the record is safe; StorageError when it is not."""
        ...


class PostingSink(AuditSink, Protocol):
    """The same, for services whose requests take several steps."""

    def post(self, record: AuditRecord) -> Posted:
        """Take the record, which may be safe only later; StorageError when that is not to be expected."""
        ...


class _Entry:
    """A line on its way to the disk, and what became of it."""

    __slots__ = ("_log", "awaited_since", "done", "error", "line", "tell")

    def __init__(self, log: AuditLog, line: bytes) -> None:
        self._log = log
        self.line = line
        self.done = threading.Event()
        self.error: Exception | None = None
        self.tell: list[Callable[[], None]] = []
        self.awaited_since: float | None = None

    def settle(self) -> None:
        """See `Posted`."""
        self._log.await_entry(self)

    def when_known(self, tell: Callable[[], None], *, soon: bool = True) -> None:
        """See `Posted`."""
        if not self._log.watch_entry(self, tell, soon=soon):
            tell()

    @property
    def failure(self) -> Exception | None:
        """See `Posted`."""
        return self.error

    @property
    def waited(self) -> float | None:
        """See `Posted`."""
        return None if self.awaited_since is None else time.monotonic() - self.awaited_since


class AuditLog:
    """An append-only audit file. Safe for use by several threads, and by several processes that open it each."""

    def __init__(self, path: str, *, node: str | None = None, sync_seconds: float = SYNC_SECONDS) -> None:
        """Open the file, creating it 0600.

        Args:
            path: The file.
            node: What this machine is called in each line; by default its host name. Cut to `MAX_NODE_CHARS`.
            sync_seconds: The longest that `record` waits.

        Raises:
            StorageError: It cannot be opened for appending, or is not a private regular file of this user.
        """
        self._path = path
        self._node = (node or os.uname().nodename)[:MAX_NODE_CHARS]
        self._state: ChainState | None = None
        self._size: int | None = None  # how long the file was when its chain stood there; None while that is not known
        self._patience = sync_seconds
        self._changed = threading.Condition()
        self._descriptor = _open_private(path)
        self._fresh: int | None = None
        self._waiting: list[_Entry] = []
        self._urgent = False  # somebody waits for one of them
        self._failed = False  # what was to be written last
        self._busy_since: float | None = None
        self._writer: threading.Thread | None = None
        self._closing = False

    def record(self, record: AuditRecord) -> None:
        """Append one record and wait until it is on disk.

        Raises:
            StorageError: It is not known to be on disk as a whole; refuse what it speaks of. After a time-out the line
                may still get there: the file may tell of a yes that was not given, never the other way round.
        """
        self._enter(record, urgent=True).settle()

    def post(self, record: AuditRecord) -> Posted:
        """Append one record with the next that somebody waits for, or by itself after `POST_SECONDS`.

        Records stay in their order: once a later one is on disk, so is this, or settling it raises. While the file
        cannot be written nothing is put off. Waits for nothing.

        Raises:
            StorageError: The file is closed, or has taken too long already.
        """
        return self._enter(record, urgent=self._failed)

    def _enter(self, record: AuditRecord, *, urgent: bool) -> _Entry:
        entry = _Entry(self, encode_record(record))
        with self._changed:
            if self._closing:
                raise StorageError(f"the audit file {self._path} is closed")
            if self._busy_since is not None and time.monotonic() - self._busy_since > self._patience:
                raise self._too_slow()
            if self._writer is None:
                self._writer = threading.Thread(target=self._run, name="audit", daemon=True)
                self._writer.start()
            self._waiting.append(entry)
            if urgent:
                self._urgent = True
                self._changed.notify_all()
        return entry

    def await_entry(self, entry: _Entry) -> None:
        """See `Posted.settle`; all who wait for one record, in turn or at once, wait no longer than for one."""
        with self._changed:
            since = self._hasten(entry)
        if not entry.done.wait(max(0.0, since + self._patience - time.monotonic())):
            with self._changed:
                if entry in self._waiting:
                    self._waiting.remove(entry)
                    entry.error = TimeoutError()
                    entry.done.set()
                    told = entry.tell
                else:  # it is being written, and nobody knows for how long
                    told = []
            for tell in told:
                tell()
            raise self._too_slow()
        if entry.error is not None:
            if isinstance(entry.error, TimeoutError):
                raise self._too_slow()
            why = getattr(entry.error, "strerror", None) or entry.error
            raise StorageError(f"cannot write the audit file {self._path}: {why}") from entry.error

    def watch_entry(self, entry: _Entry, tell: Callable[[], None], *, soon: bool) -> bool:
        """Have somebody told of an entry, and say whether that is still to come."""
        with self._changed:
            if entry.done.is_set():
                return False
            entry.tell.append(tell)
            if soon:
                self._hasten(entry)
            return True

    def _hasten(self, entry: _Entry) -> float:
        """Have an entry written now; return since when somebody has waited for it."""
        if entry.awaited_since is None:
            entry.awaited_since = time.monotonic()
        if entry in self._waiting and not self._urgent:
            self._urgent = True
            self._changed.notify_all()
        return entry.awaited_since

    def reopen(self, path: str | None = None) -> None:
        """Go on in a file opened anew: the same name after log rotation has moved the old one away, or another name.

        Lines that wait are written to the new file; the old one is closed once what is under way has been synced.

        Raises:
            StorageError: As for opening; the old file stays in use.
        """
        path = path or self._path
        fresh = _open_private(path)
        with self._changed:
            self._path = path
            if self._writer is None:
                self._go_over(fresh)
                return
            old, self._fresh = self._fresh, fresh  # only the writer knows when the present one is free
            self._changed.notify_all()
        if old is not None:
            os.close(old)

    def close(self) -> None:
        """Write what waits and close the file."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        if self._writer is not None:
            self._writer.join(self._patience)
            if self._writer.is_alive():
                return  # it hangs in a sync; its descriptor must not come to mean another file
        for descriptor in (self._descriptor, self._fresh):
            if descriptor is not None:
                os.close(descriptor)

    def _run(self) -> None:
        """Write batch after batch until closed: the body of the writer's thread."""
        while True:
            batch, fresh = self._next_batch()
            error: Exception | None = None
            try:
                if fresh is not None:
                    self._go_over(fresh)
                elif not batch:
                    return
                if batch:
                    self._append([entry.line for entry in batch])
            except Exception as problem:  # noqa: BLE001  # handed to those who wait; without a writer they all would hang
                error = problem
            with self._changed:
                self._busy_since = None
                self._failed = error is not None
                for entry in batch:
                    entry.error = error
                    entry.done.set()
            for entry in batch:
                for tell in entry.tell:
                    tell()

    def _next_batch(self) -> tuple[Sequence[_Entry], int | None]:
        """Wait for lines and take them all, and the file to go over to, if any; nothing of both at the end."""
        with self._changed:
            # Whoever has waited too long takes its line back, so that there may be nothing to write.
            while not (self._urgent and self._waiting) and self._fresh is None and not self._closing:
                # Those that were only posted are not told of: whoever wakes up for nothing finds them.
                if not self._changed.wait(POST_SECONDS) and self._waiting:
                    break
            batch, self._waiting, self._urgent = self._waiting, [], False
            fresh, self._fresh = self._fresh, None
            self._busy_since = time.monotonic() if batch else None
            return batch, fresh

    def _too_slow(self) -> StorageError:
        return StorageError(f"the audit file {self._path} could not be written within {self._patience:g} seconds")

    def _append(self, lines: Sequence[bytes]) -> None:
        """Append lines, tied to those before, and sync them; or take back what was written of them.

        Raises:
            OSError: They are not on disk.
            StorageError: The file is gone, and a new one cannot be opened.
        """
        for _ in range(_MAX_MOVES):
            size = self._lock()
            try:
                state, begins = self._find_place(self._descriptor, size)
                # A crash has torn the line before, unless it is ours.
                is_torn = size not in (0, self._size) and os.pread(self._descriptor, 1, size - 1) != b"\n"
                data = b"\n" if is_torn else b""
                for line in lines:
                    chained, state = chain_line(line, state, node=self._node, begins=begins)
                    data, begins = data + chained, Beginning.NONE
                written = os.write(self._descriptor, data)
                if written != len(data):
                    os.ftruncate(self._descriptor, size)
                    # The usual reason of a short write; a file limit is the other.
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._state, self._size = state, size + written
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.fdatasync(self._descriptor)
            if os.fstat(self._descriptor).st_nlink:
                return
        raise OSError(errno.ESTALE, "it is removed again and again")

    def _lock(self) -> int:
        """Lock the file, and return its size; where the path names another or none, that is gone over to before.

        Whoever sees, under the lock, that the file has moved is behind all who wrote to it, and nobody will again: so
        the chain goes on exactly where it ends there.
        """
        for _ in range(_MAX_MOVES):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            found = os.fstat(self._descriptor)
            if _names(self._path, found):
                return found.st_size
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            fresh = _open_private(self._path)
            what = "moved away" if found.st_nlink else "removed"
            _log.warning("the audit file %s was %s while in use; a new one is written", self._path, what)
            self._go_over(fresh)
        raise OSError(errno.ESTALE, "it is replaced again and again")

    def _go_over(self, fresh: int) -> None:
        """Write to another file from now on, behind where the chain stands in this one."""
        with contextlib.suppress(OSError):  # else the next file begins a chain of its own
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # closing lets go of it
            size = os.fstat(self._descriptor).st_size
            if size and (self._state is None or size != self._size):
                self._state = find_state(self._descriptor, size)[0]
        os.close(self._descriptor)
        self._descriptor, self._size = fresh, None

    def _find_place(self, descriptor: int, size: int) -> tuple[ChainState, Beginning]:
        """Return what the next line follows: what was written last here, unless others have written since."""
        if self._state is not None:
            if size == self._size:
                return self._state, Beginning.NONE
            if not size:
                return self._state, Beginning.ROTATION
            if self._size is not None and size < self._size:  # somebody has cut the file; the numbers tell of the gap
                return self._state, Beginning.FOREIGN
        state, begins = find_state(descriptor, size)
        return state, Beginning.OPEN if begins is Beginning.NONE and self._size is None else begins


def _names(path: str, found: os.stat_result) -> bool:
    """Say whether the path is this file's."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return (there.st_ino, there.st_dev) == (found.st_ino, found.st_dev)


def _open_private(path: str) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise StorageError(f"cannot open the audit file {path}: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise StorageError(
                f"audit file {path} is not a regular file that only uid {os.geteuid()} can use",
                hint=f"chmod 600 {path}",
            )
        _sync_directory(os.path.dirname(path) or ".")
    except OSError as error:
        os.close(descriptor)
        raise StorageError(f"cannot make the audit file {path} durable: {error.strerror}") from error
    except StorageError:
        os.close(descriptor)
        raise
    return descriptor


def _sync_directory(path: str) -> None:
    """Make a new file's name durable; else a crash could leave synced lines in a file without one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has no sync for directories
            raise
    finally:
        os.close(descriptor)
