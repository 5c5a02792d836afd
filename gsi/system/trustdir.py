"""A trust directory on disk as `TrustAnchors`, read again whenever its files change; what they mean is `gsi.trust`'s.

    directory = TrustDirectory("/etc/grid-security/certificates")
    peer = verify_chain(chain, directory.anchors(), now=now())

`anchors()` costs one stat per file while nothing changes, `recent()` nothing. The directory is opened once per look and
every file is read relative to it, so that swapping a symbolic link (`certificates -> certificates-2`) gives the old set
or the new one, never a mixture. Files that change while they are read make the reading start again. One file that
cannot be read or parsed is a `Problem`, and takes nothing else with it. An empty `.rN` is such a file (C takes it for
absent): its CA's certificates are refused until the list is there again or the file is removed. When the process has no
file descriptors left, which strangers can bring about, the last reading stays in use: its CRLs still expire.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import ConfigError
from gsi.system import clock
from gsi.trust.anchors import Problem, TrustAnchors, build_anchors, is_trust_file

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ["MAX_ENTRIES", "MAX_FILE_BYTES", "MAX_TOTAL_BYTES", "TrustDirectory"]

MAX_ENTRIES: Final = 50_000  # directory entries; the IGTF distribution has some 700
MAX_FILE_BYTES: Final = 64 << 20  # one CRL with a million entries takes 40 MB
MAX_TOTAL_BYTES: Final = 512 << 20  # all files together; the IGTF distribution takes 10 MB
_ATTEMPTS: Final = 5  # readings of a directory that keeps changing, before the last one is taken as it is
_RACY_NS: Final = 100_000_000  # a file changed this shortly before being read may change again within one clock tick
_CHUNK: Final = 1 << 20
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE})
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # NONBLOCK: a FIFO must not hang us


class _Stamp(NamedTuple):
    """What changes when a file of the directory does."""

    directory: tuple[int, int, int]
    """Device, inode and time of change of the directory itself."""
    files: tuple[tuple[str, int, int, int, int], ...]
    """Name, inode, size, times of change of content and of inode; links are followed."""

    def is_settled(self, now_ns: int, *, seen_before: bool) -> bool:
        """Tell whether a change of content would surely show in the times.

        A time in the future (a clock that was set, another machine's clock) says nothing about that; such a file counts
        as settled once it was `seen_before`, read twice with nothing changed. Else one of them, which may stay for
        years, would have the directory read at every look.
        """
        times = [time_ns for entry in self.files for time_ns in entry[3:5] if time_ns >= now_ns - _RACY_NS]
        return not times or (seen_before and min(times) > now_ns)


class TrustDirectory:
    """A trust directory that follows its files. Safe to share between threads.

    Args:
        path: The directory, or a symbolic link to it.
        recheck_seconds: How long a look at the files is good for. 0 looks at every call, about 3 microseconds a file;
            a busy server with hundreds of CAs may prefer 1.
    """

    def __init__(self, path: str, *, recheck_seconds: float = 0.0) -> None:
        self.path = path
        self._recheck_ns = int(recheck_seconds * 1_000_000_000)
        self._lock = threading.Lock()
        self._anchors: TrustAnchors | None = None
        self._stamp: _Stamp | None = None
        self._last_stamp: _Stamp | None = None
        self._checked_ns = 0

    def anchors(self) -> TrustAnchors:
        """Return the directory's contents as they are now.

        Raises:
            ConfigError: The directory is missing, unreadable, or beyond the limits.
        """
        with self._lock:
            now_ns = time.monotonic_ns()
            if self._anchors is not None and self._recheck_ns and now_ns - self._checked_ns < self._recheck_ns:
                return self._anchors
            self._refresh()
            self._checked_ns = now_ns
            assert self._anchors is not None  # _refresh sets it or raises
            return self._anchors

    def recent(self) -> TrustAnchors | None:
        """Return the contents if the last look at the files is still good, at once; else None, and `anchors` looks."""
        # Nobody is waited for: whoever holds the lock is looking.
        if not self._lock.acquire(blocking=False):
            return None
        try:
            is_good = time.monotonic_ns() - self._checked_ns < self._recheck_ns
            return self._anchors if is_good else None
        finally:
            self._lock.release()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The files that could not be used.

        Raises:
            ConfigError: As for `anchors`.
        """
        return self.anchors().problems

    @property
    def loaded_at(self) -> datetime | None:
        """When the contents in use were read (aware UTC); None before the first reading."""
        return None if self._anchors is None else self._anchors.loaded_at

    @property
    def age(self) -> timedelta | None:
        """How long ago the contents in use were read; None before the first reading."""
        loaded_at = self.loaded_at
        return None if loaded_at is None else clock.now() - loaded_at

    def _refresh(self) -> None:
        try:
            descriptor = os.open(self.path, _OPEN_DIRECTORY)
        except OSError as error:
            if self._can_wait(error):
                return
            raise ConfigError(
                f"the trust directory cannot be opened: {error.strerror}",
                path=self.path,
                hint="install the CAs' certificates there, or name another directory (X509_CERT_DIR)",
            ) from error
        try:
            stamp = self._take_stamp(descriptor)
            if self._anchors is None or stamp != self._stamp:
                self._load(descriptor, stamp)
        except OSError as error:
            if self._can_wait(error):
                return
            raise ConfigError(f"the trust directory cannot be read: {error.strerror}", path=self.path) from error
        finally:
            os.close(descriptor)

    def _can_wait(self, error: OSError) -> bool:
        """Tell whether the trouble is the process's own, and there is an earlier reading."""
        return self._anchors is not None and error.errno in _EXHAUSTED

    def _load(self, descriptor: int, stamp: _Stamp) -> None:
        """Read all files until they hold still, and make the snapshot."""
        for _ in range(_ATTEMPTS):
            loaded_at = clock.now()
            now_ns = time.time_ns()
            files = self._read_files(descriptor, stamp)
            before, stamp = stamp, self._take_stamp(descriptor)
            if before == stamp:
                break
        anchors = build_anchors(files, loaded_at=loaded_at, previous=self._anchors)
        seen_before = (
            self._anchors is not None and stamp == self._last_stamp and anchors.generation == self._anchors.generation
        )
        settled = before == stamp and stamp.is_settled(now_ns, seen_before=seen_before)
        self._anchors, self._last_stamp = anchors, stamp
        self._stamp = stamp if settled else None  # unsettled: read again at the next look

    def _take_stamp(self, descriptor: int) -> _Stamp:
        found = os.fstat(descriptor)
        listed: list[str] = []
        with os.scandir(descriptor) as entries:
            for count, entry in enumerate(entries):
                if count >= MAX_ENTRIES:
                    raise ConfigError(f"more than {MAX_ENTRIES} entries in the trust directory", path=self.path)
                if is_trust_file(entry.name):
                    listed.append(entry.name)
        listed.sort()
        return _Stamp(
            (found.st_dev, found.st_ino, found.st_mtime_ns), tuple(_stat_entry(name, descriptor) for name in listed)
        )

    def _read_files(self, descriptor: int, stamp: _Stamp) -> dict[str, bytes | Problem]:
        files: dict[str, bytes | Problem] = {}
        total = 0
        for name, *_ in stamp.files:
            content = _read_file(name, descriptor)
            if isinstance(content, bytes):
                total += len(content)
                if total > MAX_TOTAL_BYTES:
                    raise ConfigError(f"more than {MAX_TOTAL_BYTES} bytes in the trust directory", path=self.path)
            files[name] = content
        return files


def _stat_entry(name: str, directory: int) -> tuple[str, int, int, int, int]:
    try:
        found = os.stat(name, dir_fd=directory)
    except OSError:
        return name, 0, 0, 0, 0  # a dangling link, or gone since it was listed
    return name, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read_file(name: str, directory: int) -> bytes | Problem:
    try:
        descriptor = os.open(name, _OPEN_FILE, dir_fd=directory)
    except OSError as error:
        if error.errno in _EXHAUSTED:
            raise  # nothing is wrong with the file
        return Problem(name, f"cannot be opened: {error.strerror}")
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return Problem(name, "is not a regular file")
        if found.st_size > MAX_FILE_BYTES:
            return Problem(name, f"has {found.st_size} bytes, limit {MAX_FILE_BYTES}")
        parts: list[bytes] = []
        size = 0
        while chunk := os.read(descriptor, _CHUNK):
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_FILE_BYTES:
                return Problem(name, f"has more than {MAX_FILE_BYTES} bytes")
        return b"".join(parts)
    except OSError as error:
        return Problem(name, f"cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)
