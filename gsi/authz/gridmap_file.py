"""The grid-mapfile on disk: read again when it changes, and replaced in one step; what lines mean is `gridmap`'s.

    mapfile = GridmapFile("/etc/grid-security/grid-mapfile", report=log.error)
    mapfile.gridmap().find_account(dn)

    edit_file(path, lambda data: add_accounts(data, dn, accounts).data)

A look costs one stat while nothing changes. A new version that cannot be used (unreadable, open to other writers, too
long; with `strict`, any line that does not mean what it seems to) leaves the old one in force, and `report` is told. A
file that is gone maps nobody, as in C: taking it away is how an administrator closes a service. The C library reads the
whole file at every lookup, and checks neither owner nor mode.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.authz.gridmap import MAX_GRIDMAP_BYTES, Gridmap, parse_gridmap
from gsi.errors import ConfigError, ConflictError, CredentialError, CredentialProblem, GridError
from gsi.system.files import FileLock, read_public, write_public

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BACKUP_SUFFIX", "GridmapFile", "edit_file"]

BACKUP_SUFFIX: Final = ".old"
"""What the tools of the C toolkit call the version before."""
_DEFAULT_MODE: Final = 0o644
_WAIT_SECONDS: Final = 30.0
"""How long an editor waits for others: a file of half a gigabyte takes a few seconds, a stopped editor for ever."""
_RACY_NS: Final = 100_000_000  # a file changed this shortly before being read may change again within one clock tick
_SHOWN_PROBLEMS: Final = 5


class _Stamp(NamedTuple):
    """What changes when the file does."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> _Stamp:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class GridmapFile:
    """A grid-mapfile that follows its file. Safe to share between threads.

    Args:
        path: The file; symbolic links are followed.
        strict: Take no version with any problem, instead of reporting the problems.
        check_writers: Refuse a file that anyone but its owner can write, or that belongs to neither root nor the
            effective user.
        report: Told in a sentence what is wrong with a new version, once per version.
        recheck_seconds: How long a look at the file is good for.
    """

    def __init__(
        self,
        path: str,
        *,
        strict: bool = False,
        check_writers: bool = True,
        report: Callable[[str], None] | None = None,
        recheck_seconds: float = 0.0,
    ) -> None:
        self.path = path
        self._strict = strict
        self._check_writers = check_writers
        self._report = report
        self._recheck_ns = int(recheck_seconds * 1_000_000_000)
        self._lock = threading.Lock()
        self._gridmap: Gridmap | None = None
        self._stamp: _Stamp | None = None
        self._told: _Stamp | None = None
        self._checked_ns = 0
        self._fault: GridError | None = None

    @property
    def fault(self) -> GridError | None:
        """Why the version on disk, as last seen, is not the one in force; None when it is."""
        return self._fault

    def gridmap(self) -> Gridmap:
        """Return the version in force, after a look at the file.

        While one thread reads a new version, the others get the old one.

        Raises:
            ConfigError: There is no such file, or no version could be used yet.
        """
        known = self._gridmap
        if not self._lock.acquire(blocking=known is None):
            assert known is not None
            return known
        try:
            now_ns = time.monotonic_ns()
            if self._gridmap is None or now_ns - self._checked_ns >= self._recheck_ns:
                self._refresh()
                self._checked_ns = now_ns
            assert self._gridmap is not None  # _refresh sets it or raises
            return self._gridmap
        finally:
            self._lock.release()

    def _refresh(self) -> None:
        try:
            stamp = _Stamp.of(os.stat(self.path))
        except (FileNotFoundError, NotADirectoryError) as error:
            self._gridmap = self._stamp = None
            raise ConfigError(
                "the grid-mapfile does not exist, so nobody is mapped",
                path=self.path,
                hint="make it with grid-mapfile-add-entry, or name another (GRIDMAP)",
            ) from error
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            self._keep_old(ConfigError(f"the grid-mapfile cannot be looked at: {reason}", path=self.path), None)
            return
        if stamp == self._stamp:
            return
        read_ns = time.time_ns()
        try:
            data = read_public(self.path, max_bytes=MAX_GRIDMAP_BYTES, check_writers=self._check_writers)
            gridmap = parse_gridmap(data, strict=self._strict)
        except GridError as error:
            self._keep_old(error, stamp)
            return
        settled = max(stamp.modified_ns, stamp.changed_ns) < read_ns - _RACY_NS
        if self._gridmap is not None and not settled and data and not data.endswith(b"\n"):
            return  # perhaps still being written, and a line cut off may name another account
        self._gridmap, self._fault = gridmap, None
        self._stamp = stamp if settled else None
        if stamp != self._told and gridmap.problems:
            self._tell_problems(gridmap)
        self._told = stamp

    def _keep_old(self, error: GridError, stamp: _Stamp | None) -> None:
        """Note why a new version is not taken; raise when there is no old one."""
        if self._gridmap is None:
            raise ConfigError(error.message, hint=error.hint) from error
        is_news = self._fault is None or self._fault.message != error.message
        self._fault, self._stamp = error, stamp
        if is_news and self._report is not None:
            self._report(f"the new grid-mapfile is not used, the old one stays in force: {error.message}")

    def _tell_problems(self, gridmap: Gridmap) -> None:
        if self._report is None:
            return
        shown = "; ".join(str(problem) for problem in gridmap.problems[:_SHOWN_PROBLEMS])
        more = gridmap.problem_count - min(_SHOWN_PROBLEMS, len(gridmap.problems))
        self._report(f"{self.path}: {shown}{f'; and {more} more' if more else ''}")


def edit_file(path: str, change: Callable[[bytes], bytes], *, create: bool = False, dry_run: bool = False) -> bool:
    """Replace a grid-mapfile by a changed one, in one step, and keep the version before as `<path>.old`.

    Owner, group and mode stay; a symbolic link stays and what it leads to is replaced. Editors that use this function
    wait for each other, by a lock on the file `.<name>.lock` beside it; a change by anyone else at the same time is
    noticed.

    Args:
        path: The file.
        change: Given the content, returns the new one; what it raises ends the edit with nothing changed.
        create: Begin with an empty file where there is none.
        dry_run: Write nothing, which takes neither the lock nor the right to write.

    Returns:
        Whether the content changed, or would; if not, nothing was written.

    Raises:
        NotFoundError: There is no such file, and `create` is not set.
        ConflictError: Another program changed the file meanwhile.
        CredentialError: UNSAFE_FILE or UNWRITABLE: it cannot be read or written, or not locked, be it that another
            editor has not finished.
    """
    path = os.path.realpath(path)
    directory, name = os.path.split(path)
    if dry_run:
        before, data = _read(path, create=create)
        if before is None and not os.path.isdir(directory):
            raise CredentialError(f"{directory}: no such directory", problem=CredentialProblem.MISSING, path=directory)
        return change(data) != data
    with FileLock(os.path.join(directory, f".{name}.lock"), wait_seconds=_WAIT_SECONDS):
        before, data = _read(path, create=create)
        changed = change(data)
        if changed == data:
            return False
        if len(changed) > MAX_GRIDMAP_BYTES:
            raise ConfigError(f"the new file would have {len(changed)} bytes, limit {MAX_GRIDMAP_BYTES}", path=path)
        mode = _DEFAULT_MODE if before is None else stat.S_IMODE(before.st_mode)
        owner = None if before is None else (before.st_uid, before.st_gid)
        if before is not None:
            write_public(path + BACKUP_SUFFIX, data, mode, owner=owner)
        _check_unchanged(path, before)
        write_public(path, changed, mode, owner=owner)
    return True


def _read(path: str, *, create: bool) -> tuple[os.stat_result | None, bytes]:
    try:
        found = os.stat(path)
    except OSError:
        found = None  # reading tells why
    try:
        return found, read_public(path, max_bytes=MAX_GRIDMAP_BYTES)
    except CredentialError as error:
        if create and error.problem is CredentialProblem.MISSING:
            return None, b""
        error.hint = "GRIDMAP or an option of the command names another grid-mapfile"
        raise


def _check_unchanged(path: str, before: os.stat_result | None) -> None:
    try:
        now: _Stamp | None = _Stamp.of(os.stat(path))
    except OSError:
        now = None
    if now != (None if before is None else _Stamp.of(before)):
        raise ConflictError(f"{path}: another program changed it at the same time; nothing was written")
