"""Reading and writing single files so that nobody else can lead it astray; knows no certificate.

    pem = read_private(path, max_bytes=MAX_CREDENTIAL_BYTES)
    write_private(path, pem)

Reading checks the file that was opened, never the name: regular, bounded, and for a private file owned by the effective
user with a mode of at most 0600. A symbolic link to a private file is followed only if the user or root made it. What
the service manager has handed over as a credential (systemd.exec(5), LoadCredential=) is root's and 0440, and is
guarded by its directory.

Writing makes a new file beside the old one and renames it into place. So nobody reads half a file, a full disk leaves
the old one as it was, and a link, a FIFO or a device under the name is never written into: a link is replaced, not
followed, anything but a regular file is refused. Must be at least as careful as
gct:gsi/sysconfig/source/library/globus_gsi_system_config.c.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import TYPE_CHECKING, Final, NoReturn

from gsi.errors import CredentialError, CredentialProblem, ParseError
from gsi.system.environ import get_variable, ignores_credential_permissions

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["FileLock", "read_private", "read_public", "write_new", "write_private", "write_public"]

_READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY  # NONBLOCK: a FIFO must not hang us
_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS: Final = 8  # a certificate store needs two
_CHUNK: Final = 1 << 20
_PRIVATE_MODE: Final = 0o600
_HANDED_OVER_MODE: Final = 0o640  # an access list for the service's user shows as the group's right to read
_CREDENTIALS: Final = "/run/credentials"
_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
_DIRECTORY_FLAGS: Final = os.O_DIRECTORY | os.O_CLOEXEC
_LOCK_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_LOCK_TRIED_EACH: Final = 0.02  # seconds; those who hold a lock for others to wait do so for milliseconds
_NO_DIRECTORY_SYNC: Final = frozenset({errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP, errno.ENOSYS, errno.EROFS})
"""How file systems (several FUSE and network ones) say that directories are not synchronised; EBADF: O_PATH."""


def read_private(path: str, *, max_bytes: int) -> bytes:
    """Return the content of a file that holds a secret.

    GLOBUS_IGNORE_CRED_PERMS in the environment switches the checks of owner and mode off. A file of the service manager
    may be root's, and readable for its group.

    Args:
        path: The file.
        max_bytes: The most that is read; a longer file is refused.

    Raises:
        CredentialError: MISSING (no such file, or empty) or UNSAFE_FILE (not regular, another owner, open to others, a
            link made by somebody else, not readable).
        ParseError: The file is longer than `max_bytes`.
    """
    descriptor = _open_own(path)
    try:
        found = os.fstat(descriptor)
        _check_regular(path, found)
        if not ignores_credential_permissions():
            handed_over = _is_handed_over(path)
            if found.st_uid != os.geteuid() and not (handed_over and found.st_uid == 0):
                _unsafe(
                    path,
                    f"is not owned by the current user (uid {os.geteuid()}) but by uid {found.st_uid}",
                    f"use a copy of your own, or as root: chown {os.geteuid()} {path}",
                )
            if stat.S_IMODE(found.st_mode) & ~(_HANDED_OVER_MODE if handed_over else _PRIVATE_MODE):
                _unsafe(
                    path,
                    f"has permissions {stat.S_IMODE(found.st_mode):03o}, which are too permissive. "
                    "Maximum allowable permissions are 600",
                    f"chmod 600 {path}",
                )
        if found.st_size == 0:
            raise CredentialError(f"{path}: the file is empty", problem=CredentialProblem.MISSING, path=path)
        return _read(path, descriptor, max_bytes)
    finally:
        os.close(descriptor)


def _is_handed_over(path: str) -> bool:
    """Say whether a file lies in a directory that the service manager has made for a service's credentials."""
    directory = os.path.dirname(os.path.abspath(path))
    if directory == get_variable("CREDENTIALS_DIRECTORY"):
        return True
    return os.path.dirname(directory) == _CREDENTIALS  # which nobody but root can write


def read_public(path: str, *, max_bytes: int, check_writers: bool = False) -> bytes:
    """Return the content of a file that holds no secret; it may be empty, and links are followed.

    Args:
        path: The file.
        max_bytes: The most that is read; a longer file is refused.
        check_writers: Refuse a file that anyone but its owner can write, or that belongs to anyone but the effective
            user or root, as GCT does for user certificates (except that it also refuses root's);
            GLOBUS_IGNORE_CRED_PERMS switches that off.

    Raises:
        CredentialError: MISSING or UNSAFE_FILE (not regular, not readable, writable by others).
        ParseError: The file is longer than `max_bytes`.
    """
    descriptor = _open(path, _READ_FLAGS)
    try:
        found = os.fstat(descriptor)
        _check_regular(path, found)
        if check_writers and not ignores_credential_permissions():
            if found.st_uid not in {0, os.geteuid()}:
                _unsafe(path, f"is owned by uid {found.st_uid}, neither the current user nor root")
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                _unsafe(
                    path,
                    f"has permissions {stat.S_IMODE(found.st_mode):03o}: others can change it. "
                    "Maximum allowable permissions are 644",
                    f"chmod go-w {path}",
                )
        return _read(path, descriptor, max_bytes)
    finally:
        os.close(descriptor)


def _unsafe(path: str, why: str, hint: str | None = None) -> NoReturn:
    raise CredentialError(f"{path} {why}", problem=CredentialProblem.UNSAFE_FILE, path=path, hint=hint)


def _open(path: str, flags: int, *, target: str | None = None) -> int:
    """Open `path`, or what its links lead to; errors name `path`."""
    try:
        return os.open(path if target is None else target, flags)
    except OSError as error:
        if error.errno in _MISSING:
            raise CredentialError(f"{path}: {error.strerror}", problem=CredentialProblem.MISSING, path=path) from error
        raise CredentialError(f"{path}: {error.strerror}", problem=CredentialProblem.UNSAFE_FILE, path=path) from error
    except ValueError as error:  # a NUL or an unencodable character in the name
        raise CredentialError(
            f"{path!r} is no file name: {error}", problem=CredentialProblem.MISSING, path=path
        ) from error


def _open_own(path: str) -> int:
    """Open without following a link at the end of the path, except links that the user or root made."""
    at = path
    for _ in range(_MAX_LINKS):
        try:
            found = os.lstat(at)
            if not stat.S_ISLNK(found.st_mode):
                break
            target = os.readlink(at)
        except (OSError, ValueError):
            break  # the open below tells why
        if found.st_uid not in {0, os.geteuid()}:
            _unsafe(path, f"is a symbolic link made by uid {found.st_uid}, neither the current user nor root")
        at = os.path.join(os.path.dirname(at), target)
    return _open(path, _READ_FLAGS | os.O_NOFOLLOW, target=at)


def _check_regular(path: str, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        _unsafe(path, "is a directory, not a file")
    if not stat.S_ISREG(found.st_mode):
        _unsafe(path, "is not a regular file")


def _read(path: str, descriptor: int, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    left = max_bytes + 1
    try:
        while left > 0 and (chunk := os.read(descriptor, min(left, _CHUNK))):
            chunks.append(chunk)
            left -= len(chunk)
    except OSError as error:
        raise CredentialError(f"{path}: {error.strerror}", problem=CredentialProblem.UNSAFE_FILE, path=path) from error
    if left <= 0:
        raise ParseError(f"{path}: longer than {max_bytes} bytes", what="file", offset=max_bytes)
    return b"".join(chunks)


# --- writing ----------------------------------------------------------------------------------------------------------


def write_private(path: str, data: bytes) -> None:
    """Write a file that holds a secret: mode 0600, in one step, durable when this returns.

    Args:
        path: The file; one that is there is replaced, and kept if this fails.
        data: The whole content.

    Raises:
        CredentialError: UNWRITABLE: no such directory, no permission, no space, or the name belongs to a directory, a
            FIFO, a socket or a device. The old file is then unchanged; the message says so where it is otherwise.
    """
    _write(path, data, _PRIVATE_MODE)


def write_public(path: str, data: bytes, mode: int = 0o644, *, owner: tuple[int, int] | None = None) -> None:
    """Write a file that holds no secret, as carefully as `write_private`.

    Args:
        path: The file; one that is there is replaced, and kept if this fails.
        data: The whole content.
        mode: Its permissions, whatever the umask.
        owner: Its user and group id; None leaves them to the system.

    Raises:
        CredentialError: UNWRITABLE, as `write_private`.
    """
    _write(path, data, mode, owner)


def _write(path: str, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    directory, name = os.path.split(path)
    if name in {"", ".", ".."}:
        raise CredentialError(f"{path!r} is no file name", problem=CredentialProblem.UNWRITABLE, path=path)
    try:
        # Everything below is relative to this directory, so that nobody can put another under its name meanwhile.
        descriptor = _open_directory(directory or ".")
        try:
            _check_target(path, name, descriptor)
            try:
                written = _replace(name, data, mode, owner, descriptor)
            except PermissionError as error:
                raise _name_owner(error, name, descriptor) from error
            _check_in_place(path, name, written, descriptor)
            _sync_directory(path, descriptor)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise CredentialError(
            f"{path}: cannot be written: {reason}",
            problem=CredentialProblem.UNWRITABLE,
            path=path,
            hint="a file that was there before is unchanged",
        ) from error


def _open_directory(path: str) -> int:
    """Open a directory to name files in it; one that may be written but not listed, too (mode 1733)."""
    try:
        return os.open(path, os.O_RDONLY | _DIRECTORY_FLAGS)
    except PermissionError:
        return os.open(path, os.O_PATH | _DIRECTORY_FLAGS)


def _check_target(path: str, name: str, directory: int) -> None:
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise CredentialError(
            f"{path}: cannot be written: it is {kind}", problem=CredentialProblem.UNWRITABLE, path=path
        )


def _replace(name: str, data: bytes, mode: int, owner: tuple[int, int] | None, directory: int) -> os.stat_result:
    """Put the new file in place of the old one; whatever is raised, the old one is still there."""
    temporary = f".{os.fsdecode(os.fsencode(name)[:100])}.{os.urandom(8).hex()}"
    try:  # from here on, lest a signal find the file made and not yet guarded
        written = write_new(temporary, data, mode, owner=owner, directory=directory)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:  # an interrupt, too, must not leave a key lying about
        with contextlib.suppress(OSError):  # what made the writing fail is the news
            os.unlink(temporary, dir_fd=directory)
        raise
    return written


def write_new(name: str, data: bytes, mode: int, *, owner: tuple[int, int] | None, directory: int) -> os.stat_result:
    """Write and sync a file that is not there yet, and return what is known of it; who calls removes what is left.

    Args:
        name: Its name in the directory.
        data: The whole content.
        mode: Its permissions, whatever the umask.
        owner: Its user and group id; None leaves them to the system.
        directory: A descriptor.

    Raises:
        OSError: It is there, or cannot be written; a part of it may be.
    """
    descriptor = os.open(name, _CREATE_FLAGS, _PRIVATE_MODE, dir_fd=directory)
    try:
        if owner is not None:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _name_owner(error: PermissionError, name: str, directory: int) -> OSError:
    """Say whose the file is that cannot be replaced: in a directory such as /tmp each user replaces only their own."""
    try:
        owner = os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid
    except OSError:
        return error
    if owner == os.geteuid():
        return error
    return OSError(error.errno, f"{error.strerror}: the file there belongs to uid {owner}")


def _check_in_place(path: str, name: str, written: os.stat_result, directory: int) -> None:
    """See that the name leads to a file of the user's: what was written, or what another program of theirs wrote since.

    Only in a directory where strangers may replace files can it be anything else.
    """
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return  # removed again, by whoever may
    if (found.st_dev, found.st_ino) == (written.st_dev, written.st_ino):
        return
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise CredentialError(
            f"{path}: was written, and somebody put something else in its place at the same time",
            problem=CredentialProblem.UNWRITABLE,
            path=path,
            hint="look who may write to its directory: ls -ld",
        )


def _sync_directory(path: str, directory: int) -> None:
    """Make the new name durable, where the file system offers that."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise CredentialError(
                f"{path}: was written, but it is not certain that it reached the disk: {error.strerror}",
                problem=CredentialProblem.UNWRITABLE,
                path=path,
                hint="the disk reports errors; see the system log",
            ) from error


class FileLock:
    """An exclusive lock between processes, on a file of its own that stays; for use in a `with` statement.

    Only who may write to the directory of the lock file can take the lock, and so hold others up: the file is the
    directory's owner's, and open to the group or to all only as far as the directory is. What lies there and is open to
    more is refused. The kernel lets go of the lock when the process ends, however that happens.
    """

    __slots__ = ("_descriptor", "_path", "_wait_seconds")

    def __init__(self, path: str, *, wait_seconds: float | None = None) -> None:
        """Name the lock file; it is made when needed.

        Args:
            path: The lock file.
            wait_seconds: How long to wait while another process holds the lock; None for as long as it takes.
        """
        self._path = path
        self._wait_seconds = wait_seconds
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            CredentialError: UNWRITABLE: held by another process for longer than is to be waited, or no lock file can be
                made. UNSAFE_FILE: the lock file is none, or not only of those who may write to its directory.
        """
        try:
            descriptor = _open_lock(self._path)
            try:
                self._take(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        except (OSError, ValueError) as error:
            raise self._explain(error) from error
        self._descriptor = descriptor
        return self

    def _take(self, descriptor: int) -> None:
        import fcntl

        if self._wait_seconds is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            return
        end = time.monotonic() + self._wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                left = end - time.monotonic()
                if left <= 0:
                    raise
                time.sleep(min(left, _LOCK_TRIED_EACH))
            else:
                return

    def _explain(self, error: OSError | ValueError) -> CredentialError:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        message, hint = f"{self._path}: cannot be locked: {reason}", None
        if isinstance(error, BlockingIOError):
            waited = f", and was for {self._wait_seconds:g} seconds" if self._wait_seconds else ""
            message, hint = f"{self._path}: in use by another process{waited}", f"see which: fuser -v {self._path}"
        elif isinstance(error, PermissionError):
            directory = os.path.dirname(self._path) or "."
            hint = f"only who may write to {directory} can do this"
            if os.access(directory, os.W_OK):
                hint = f"see whose it is: ls -l {self._path}; if a program of another user has left it, remove it"
        elif isinstance(error, OSError) and error.errno == errno.ELOOP:
            message, hint = f"{self._path}: cannot be locked: it is a symbolic link", f"remove it: rm {self._path}"
        return CredentialError(message, problem=CredentialProblem.UNWRITABLE, path=self._path, hint=hint)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the lock."""
        os.close(self._descriptor)
        self._descriptor = -1


def _open_lock(path: str) -> int:
    """Open a lock file, or make it; refuse one that somebody can hold who may not write to its directory."""
    directory = os.stat(os.path.dirname(path) or ".")
    shared = 0 if directory.st_mode & stat.S_ISVTX else directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    mode = _PRIVATE_MODE | shared | shared << 1  # who may write there may read and write the lock
    try:
        descriptor = os.open(path, _LOCK_FLAGS)
    except FileNotFoundError:
        try:
            return _make_lock(path, directory, mode)
        except FileExistsError:  # by another process, this very moment
            descriptor = os.open(path, _LOCK_FLAGS)
    try:
        found = os.fstat(descriptor)
        _check_regular(path, found)
        hint = f"remove it while no program uses it: rm {path}"
        if not shared and found.st_uid not in {0, os.geteuid(), directory.st_uid}:
            _unsafe(path, f"is a lock that uid {found.st_uid} has made, who may not replace files there", hint)
        if found.st_mode & 0o066 & ~mode:
            permissions = stat.S_IMODE(found.st_mode)
            _unsafe(path, f"has permissions {permissions:03o}: others than may write there can hold the lock", hint)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make_lock(path: str, directory: os.stat_result, mode: int) -> int:
    descriptor = os.open(path, _LOCK_FLAGS | os.O_CREAT | os.O_EXCL, _PRIVATE_MODE)
    with contextlib.suppress(OSError):  # a system that keeps no owners or modes; others are then told whose it is
        os.fchown(descriptor, directory.st_uid if os.geteuid() == 0 else -1, directory.st_gid)
        os.fchmod(descriptor, mode)
    return descriptor
