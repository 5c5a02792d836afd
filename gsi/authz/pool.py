"""Pool accounts: leases in a gridmapdir, shared with the C library and all that follow its protocol.

    pool = PoolDirectory("/etc/grid-security/gridmapdir")
    lease = pool.take("/O=Grid/CN=Alice", ".atlas")    # her account, or a free one from now on
    lease.account, lease.uid, lease.gid
    pool.find(dn), pool.leases(), pool.release(dn), pool.problems()

The directory holds one empty file per account. A lease is a second name (a hard link) of an account's file: the user's
name in one-line form, encoded (`encode_lease_name`). No file is locked, and none holds anything: the link count says it
all (gct:gsi/gss_assist/source/gridmap.c). Nothing here decides who may have an account.

Taking one: the account's file is linked to a name of our own (`%~...`). If its count is two then, it is ours alone, and
that name is renamed to the user's, never over another one. So a user's name appears only when the account is surely
theirs. The C library links to the user's name first and counts afterwards, so for a moment two users may be seen to
have one account; `find` waits until that is over. Accounts are tried in alphabetical order.

Stricter than C: `.atlas` stands for `atlas` and digits only, not for `atlasadmin1`; a lease in another pool than the
grid-mapfile's is refused; accounts must exist and not be root's; the directory must not be open to others.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.authz.gridmap_lines import POOL_MARK, is_account
from gsi.errors import ConfigError, ConflictError, NotFoundError, ParseError, StorageError
from gsi.system.rename import rename_new

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Lease", "PoolDirectory", "User", "decode_lease_name", "encode_lease_name", "find_system_user"]

MAX_NAME_BYTES: Final = 255  # of one file name on every file system in use
MAX_ENTRIES: Final = 200_000  # of a gridmapdir; the largest sites have some 10,000 accounts
_RESERVED: Final = "%~"
"""What our reservations start with; the C library passes over names with `%` in front or `~` within."""
_ROUNDS: Final = 50  # looks at the directory before a lease is given up
_TRIES: Final = 60  # scans for a free account while others reach for the same ones
_WAITS: Final = 100  # for another process to let go of an account
_PAUSE_SECONDS: Final = 0.005
_UNSETTLED_NS: Final = 50_000_000  # a link younger than this may be withdrawn by a C process; that takes microseconds
_ALNUM: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_ENCODED: Final = re.compile(rb"%([0-9a-f]{2})")


class User(NamedTuple):
    """Who an account is to the system."""

    uid: int
    gid: int


class Lease(NamedTuple):
    """An account that a name has."""

    name: str
    """The file name of the lease."""
    account: str
    last_used: datetime
    """When it was last taken or looked up by anyone (aware UTC)."""
    uid: int = -1
    """User id of the account; -1 in a list of leases."""
    gid: int = -1
    """Primary group id of the account; -1 in a list of leases."""

    @property
    def dn(self) -> str:
        """The holder's name in one-line form, in lower case: the file name tells no more."""
        return decode_lease_name(self.name)


def encode_lease_name(dn: str) -> str:
    """Return the file name of a name's lease: letters in lower case, all but letters and digits as `%hh`.

    Two names that differ in letter case only share a lease, as in C.

    Raises:
        ParseError: Not a name in one-line form, or too long for a file name.
    """
    what = "pool account"
    if not dn.startswith("/") or not dn.isascii() or not dn.isprintable():
        raise ParseError(f"{what}: '{dn[:80]}' is no name in one-line form", what=what)
    name = "".join([chr(byte) if byte in _ALNUM else f"%{byte:02x}" for byte in dn.encode("ascii")]).lower()
    if len(name) > MAX_NAME_BYTES:
        raise ParseError(
            f"{what}: the name of a lease would take {len(name)} bytes, and a file name has {MAX_NAME_BYTES}",
            what=what,
            hint="map this name to an account of its own in the grid-mapfile",
        )
    return name


def decode_lease_name(name: str) -> str:
    """Return the name, in lower case, that a lease's file name stands for."""
    return _ENCODED.sub(lambda found: bytes((int(found[1], 16),)), name.encode("utf-8", "surrogateescape")).decode(
        "utf-8", "replace"
    )


def find_system_user(account: str) -> User | None:
    """Return whom the system knows under an account's name, or None."""
    import pwd

    try:
        found = pwd.getpwnam(account)
    except (KeyError, ValueError, UnicodeEncodeError):
        return None
    return User(found.pw_uid, found.pw_gid)


class PoolDirectory:
    """A gridmapdir. Holds nothing open; safe to share between threads.

    Args:
        path: The directory (GRIDMAPDIR).
        find_user: Says who an account is; None for one that does not exist.
        strict_prefix: Whether `.atlas` means `atlas` and digits only; else it means every account that starts so, as
            in C.
        keep_moved: Whether a name keeps the account that it has when the grid-mapfile has moved it to another pool,
            as in C.
        trusted_groups: Groups that may write to the directory.
    """

    def __init__(
        self,
        path: str,
        *,
        find_user: Callable[[str], User | None] = find_system_user,
        strict_prefix: bool = True,
        keep_moved: bool = False,
        trusted_groups: frozenset[int] = frozenset(),
    ) -> None:
        self.path = path
        self._find_user = find_user
        self._strict_prefix = strict_prefix
        self._keep_moved = keep_moved
        self._trusted_groups = trusted_groups
        self._known: dict[int, str] = {}

    # --- asking -------------------------------------------------------------------------------------------------------

    def find(self, dn: str) -> Lease | None:
        """Return the lease of a name in one-line form, or None. Changes nothing.

        Raises:
            ParseError: Not such a name.
            ConfigError: The directory is missing or open to others.
            ConflictError: The lease is damaged, or its account cannot be used.
            StorageError: The directory cannot be read.
        """
        name = encode_lease_name(dn)
        with self._open() as directory:
            return self._find(directory, name)

    def leases(self) -> tuple[Lease, ...]:
        """Return every sound lease, ordered by account.

        Raises:
            ConfigError: The directory is missing or open to others.
            StorageError: The directory cannot be read.
        """
        with self._open() as directory:
            found = [
                Lease(names[0], accounts[0], _last_used(status))
                for status, accounts, names in self._group(directory)
                if len(accounts) == len(names) == 1 and status.st_nlink == 2 and not names[0].startswith(_RESERVED)
            ]
        return tuple(sorted(found, key=lambda lease: lease.account))

    def problems(self) -> tuple[str, ...]:
        """Return, in sentences, what in the directory cannot be used or should be looked at.

        Raises:
            ConfigError: The directory is missing or open to others.
            StorageError: The directory cannot be read.
        """
        found: list[str] = []
        owners: dict[int, str] = {}
        with self._open() as directory:
            groups = list(self._group(directory))
        for status, accounts, names in groups:
            every = sorted([*accounts, *names])
            if not stat.S_ISREG(status.st_mode):
                found.append(f"{every[0]}: not a regular file")
            elif len(accounts) > 1 or len(names) > 1 or status.st_nlink > 2:
                found.append(f"{', '.join(every)}: {status.st_nlink} names of one file, where a lease has two")
            elif not accounts:
                found.append(f"{every[0]}: a lease whose account's file is gone")
            elif names and names[0].startswith(_RESERVED):
                found.append(f"{accounts[0]}: reserved by a process that did not finish ({names[0]})")
            for account in accounts:
                user = self._find_user(account)
                if user is None or user.uid == 0:
                    found.append(f"{account}: {'no such account' if user is None else 'has the rights of root'}")
                elif owners.setdefault(user.uid, account) != account:
                    found.append(f"{account}: has the user id {user.uid} of {owners[user.uid]}")
        return tuple(sorted(found))

    # --- changing -----------------------------------------------------------------------------------------------------

    def take(self, dn: str, pool: str) -> Lease:
        """Return the lease of a name, taking a free account of the pool where it has none, and note the use.

        Args:
            dn: The name in one-line form.
            pool: As in a grid-mapfile: `.atlas` for accounts called `atlas` and digits, `.` for any.

        Raises:
            ParseError: Not such a name, or not a pool.
            NotFoundError: No account of the pool is free.
            ConflictError: The name has an account of another pool, or its lease is damaged.
            ConfigError: The directory is missing or open to others.
            StorageError: The directory cannot be read or written.
        """
        name = encode_lease_name(dn)
        if not pool.startswith(POOL_MARK) or not is_account(pool):
            raise ParseError(f"'{pool}' is no pool; one is written as .name", what="pool account")
        prefix = pool.removeprefix(POOL_MARK)
        with self._open() as directory:
            for _ in range(_ROUNDS):
                lease = self._find(directory, name)
                if lease is None and not self._take_free(directory, name, prefix):
                    continue  # another process has leased for this name meanwhile
                if lease is None:
                    lease = self._find(directory, name, is_ours=True)
                if lease is not None:
                    self._check_pool(lease, prefix)
                    self._touch(directory, lease.account)
                    return lease
        raise ConflictError(f"no lease for {dn} could be made: other processes keep changing it")

    def release(self, dn: str) -> str | None:
        """End the lease of a name and return the account, which is free for anyone then; None if there was none.

        Make sure first that nothing of the holder's is left under the account: files, processes, jobs.

        Raises:
            ParseError: Not a name in one-line form.
            ConfigError: The directory is missing or open to others.
            ConflictError: The lease is damaged.
            StorageError: The directory cannot be written.
        """
        name = encode_lease_name(dn)
        with self._open() as directory:
            lease = self._find(directory, name, check_user=False)
            if lease is None:
                return None
            try:
                os.unlink(name, dir_fd=directory)
            except FileNotFoundError:
                return None  # somebody else was faster
            return lease.account

    # --- the protocol -------------------------------------------------------------------------------------------------

    def _find(self, directory: int, name: str, *, check_user: bool = True, is_ours: bool = False) -> Lease | None:
        """Return the lease of this file name once it is settled."""
        status = _stat(name, directory)
        for _ in range(_WAITS):
            if status is None or not (status.st_nlink > 2 or (not is_ours and _may_be_withdrawn(status))):
                break
            time.sleep(_PAUSE_SECONDS)
            status = _stat(name, directory)
        if status is None:
            return None
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 2:
            raise ConflictError(
                f"{self.path}/{name}: a damaged lease ({status.st_nlink} names of one file, where there should be two)",
                hint="look with 'ls -li' who has the account, and remove the names that are too many",
            )
        account = self._account_of(directory, name, status)
        if account is None:
            return None  # withdrawn meanwhile
        user = self._find_user(account) if check_user else User(-1, -1)
        if user is None or user.uid == 0:
            reason = "does not exist" if user is None else "has the rights of root"
            raise ConflictError(f"the account {account} of the lease {name} {reason}")
        return Lease(name, account, _last_used(status), user.uid, user.gid)

    def _account_of(self, directory: int, name: str, status: os.stat_result) -> str | None:
        """Return the other name of a lease's file: an account."""
        known = self._known.get(status.st_ino)
        if known is not None and _same_file(_stat(known, directory), status):
            return known
        candidates = [entry for entry in self._list(directory) if not entry.name.startswith("%")]
        likely = [entry.name for entry in candidates if entry.inode() == status.st_ino]
        for account in [*likely, *(entry.name for entry in candidates)]:  # overlays tell other numbers in a listing
            if _same_file(_stat(account, directory), status):
                if not _may_be_leased(account):
                    raise ConflictError(f"{self.path}/{account}: the other name of the lease {name} is no account")
                if len(self._known) < MAX_ENTRIES:
                    self._known[status.st_ino] = account
                return account
        now = _stat(name, directory)
        if now is None or now.st_nlink != 2 or not _same_file(now, status):
            return None
        raise ConflictError(f"{self.path}/{name}: a lease whose account's file is gone")

    def _take_free(self, directory: int, name: str, prefix: str) -> bool:
        """Lease a free account; False when the name has got a lease meanwhile.

        Raises:
            NotFoundError: None is free.
        """
        for _ in range(_TRIES):
            is_contended = False
            for account in sorted(entry.name for entry in self._list(directory)):
                if not _may_be_leased(account) or not self._is_in_pool(account, prefix):
                    continue
                status = _stat(account, directory)
                if status is None or not stat.S_ISREG(status.st_mode) or not self._is_usable(account):
                    continue
                if status.st_nlink == 1:
                    taken = self._try(directory, account, name)
                    if taken is not None:
                        return taken
                    is_contended = True
                elif status.st_nlink > 2 or _may_be_withdrawn(status):
                    is_contended = True
            if _stat(name, directory) is not None:
                return False  # maybe with the last one that was free
            if not is_contended:
                break
            time.sleep(_PAUSE_SECONDS * (1 + os.urandom(1)[0] / 64))  # apart from those who tried at the same time
        raise NotFoundError(
            f"no free account in the pool .{prefix} of {self.path}",
            hint="add account files, or release leases that are not needed any more",
        )

    def _is_usable(self, account: str) -> bool:
        user = self._find_user(account)
        return user is not None and user.uid != 0

    def _try(self, directory: int, account: str, name: str) -> bool | None:
        """Reach for one free account. True: leased; False: the name has a lease; None: somebody else reached, too."""
        reservation = f"{_RESERVED}{os.getpid()}-{os.urandom(8).hex()}"
        try:
            os.link(account, reservation, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        kept = False
        try:
            if os.stat(reservation, dir_fd=directory, follow_symlinks=False).st_nlink != 2:
                return None
            renamed = rename_new(directory, reservation, name)
            if renamed is None:
                return self._link_like_c(directory, account, name)
            kept = renamed
            return renamed
        finally:
            if not kept:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(reservation, dir_fd=directory)

    def _link_like_c(self, directory: int, account: str, name: str) -> bool | None:
        """Make the lease on a file system that cannot rename without replacing; the reservation is the third name."""
        try:
            os.link(account, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        except FileExistsError:
            return False
        status = _stat(name, directory)
        if status is not None and status.st_nlink > 3:
            os.unlink(name, dir_fd=directory)
            return None
        return True

    def _touch(self, directory: int, account: str) -> None:
        """Note the use. Who may not write to the account's file cannot; the lease holds all the same."""
        with contextlib.suppress(OSError):
            os.utime(account, dir_fd=directory, follow_symlinks=False)

    def _is_in_pool(self, account: str, prefix: str) -> bool:
        if not account.startswith(prefix):
            return False
        rest = account[len(prefix) :]
        return not prefix or not self._strict_prefix or (rest.isascii() and rest.isdigit())

    def _check_pool(self, lease: Lease, prefix: str) -> None:
        if not self._keep_moved and not self._is_in_pool(lease.account, prefix):
            raise ConflictError(
                f"{lease.dn} has the account {lease.account}, which is not in the pool .{prefix} that it is mapped to",
                hint="release the old lease, once nothing is left under that account",
            )

    # --- the directory ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        """Open the directory once, so that nobody can put another in its place meanwhile; translate errors."""
        try:
            directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the directory of pool accounts cannot be opened: {_why(error)}",
                path=self.path,
                hint="make it, with one empty file per account, or name another (GRIDMAPDIR)",
            ) from error
        try:
            self._check_safe(os.fstat(directory))
            yield directory
        except OSError as error:
            raise StorageError(f"{self.path}: pool accounts: {_why(error)}") from error
        finally:
            os.close(directory)

    def _check_safe(self, found: os.stat_result) -> None:
        """Refuse a directory where others could hand out accounts."""
        if found.st_uid not in {0, os.geteuid()}:
            raise ConfigError(f"belongs to uid {found.st_uid}, neither root nor this service", path=self.path)
        writers = found.st_mode & (stat.S_IWOTH | (0 if found.st_gid in self._trusted_groups else stat.S_IWGRP))
        if writers:
            raise ConfigError(
                f"others may write to the directory of pool accounts (mode {stat.S_IMODE(found.st_mode):03o})",
                path=self.path,
                hint=f"chmod go-w {self.path}",
            )

    def _list(self, directory: int) -> list[os.DirEntry[str]]:
        with os.scandir(directory) as entries:
            found: list[os.DirEntry[str]] = []
            for entry in entries:
                if len(found) == MAX_ENTRIES:
                    raise ConfigError(f"more than {MAX_ENTRIES} entries", path=self.path)
                found.append(entry)
        return found

    def _group(self, directory: int) -> Iterator[tuple[os.stat_result, list[str], list[str]]]:
        """Give each file once: its status, its names as accounts, its names as leases."""
        groups: dict[int, tuple[os.stat_result, list[str], list[str]]] = {}
        for name in sorted(entry.name for entry in self._list(directory)):
            status = _stat(name, directory)
            if status is None or name.startswith("."):
                continue
            if not _may_be_leased(name) and not name.startswith("%"):
                continue  # `root`, editors' copies
            _, accounts, names = groups.setdefault(status.st_ino, (status, [], []))
            (names if name.startswith("%") else accounts).append(name)
        yield from groups.values()


def _may_be_leased(name: str) -> bool:
    """Tell whether a file of this name stands for an account, as the C library chooses, and is one by its name."""
    return name != "root" and not name.startswith(("%", ".")) and "~" not in name and is_account(name)


def _stat(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _same_file(first: os.stat_result | None, second: os.stat_result) -> bool:
    return first is not None and (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _may_be_withdrawn(status: os.stat_result) -> bool:
    """Tell whether a C process may be about to take this link back, as it does after a tie.

    Links change the inode and not the content, so the time of change is later than that of modification; the note of a
    use sets both to the same.
    """
    return status.st_ctime_ns != status.st_mtime_ns and 0 <= time.time_ns() - status.st_ctime_ns < _UNSETTLED_NS


def _last_used(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
