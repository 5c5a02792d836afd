"""Destroying a private file: overwrite its bytes, then take its name away; decides nothing about which file.

    wipe_file("/tmp/x509up_u1000")
    for path in find_delegated_proxies("/tmp"): wipe_file(path)

The C tool opens whatever the name leads to, so a symbolic link makes it overwrite another file. Here only a regular
file of the effective user with a single name is touched, opened without following a link at the end of the path.
Overwriting is what can be done from here: a journal, a snapshot or a solid-state disk may keep the old blocks.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from gsi.errors import CredentialError, CredentialProblem, NotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DELEGATED_PREFIX", "find_delegated_proxies", "wipe_file"]

DELEGATED_PREFIX: Final = "x509up_p"
"""How the C services name proxies delegated to them: x509up_p<pid>.<random>.<n>."""

_BLOCK: Final = bytes(64 << 10)
_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC


def find_delegated_proxies(directory: str) -> Iterator[str]:
    """Give the paths of the delegated proxies in a directory that belong to the effective user.

    Raises:
        StorageError: The directory cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in entries if entry.name.startswith(DELEGATED_PREFIX))
    except OSError as error:
        raise StorageError(f"cannot read the directory {directory}: {error.strerror}") from error
    for name in names:
        path = os.path.join(directory, name)
        try:
            found = os.lstat(path)
        except OSError:
            continue  # gone meanwhile
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
            yield path


def wipe_file(path: str, *, dry_run: bool = False) -> None:
    """Overwrite a file with zeros, make that durable, and remove it.

    Args:
        path: The file.
        dry_run: Only make the checks.

    Raises:
        NotFoundError: There is no such file.
        CredentialError: UNSAFE_FILE when it is a symbolic link, not a regular file, another user's, or has a second
            name (hard link) whose content would go too; nothing was changed.
        StorageError: The system refused to open, overwrite or remove it.
    """
    try:
        before = os.lstat(path)
        _check(path, before)
        descriptor = os.open(path, os.O_PATH | _FLAGS) if dry_run else _open_to_overwrite(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot open {path}: {_why(error)}") from error
    try:
        opened = os.fstat(descriptor)
        _check(path, opened)
        if dry_run:
            return
        _overwrite(descriptor, opened.st_size)
        after = os.lstat(path)
        if (after.st_dev, after.st_ino) != (opened.st_dev, opened.st_ino):
            raise StorageError(f"{path} was replaced meanwhile; the old file is overwritten, the new one stays")
        os.unlink(path)
    except OSError as error:
        raise StorageError(f"cannot destroy {path}: {_why(error)}") from error
    finally:
        os.close(descriptor)


def _open_to_overwrite(path: str) -> int:
    """Open a file for writing; an own one that may only be read (mode 0400) is made writable first.

    Its name is looked up once: the mode is changed, and the file opened again, through the descriptor.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | _FLAGS)
    except PermissionError:
        held = os.open(path, os.O_PATH | _FLAGS)
    try:
        _check(path, os.fstat(held))
        itself = f"/proc/self/fd/{held}"
        os.chmod(itself, stat.S_IRUSR | stat.S_IWUSR)
        return os.open(itself, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(held)


def _check(path: str, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        reason = "is a symbolic link"
    elif not stat.S_ISREG(found.st_mode):
        reason = "is not a regular file"
    elif found.st_uid != os.geteuid():
        reason = f"belongs to uid {found.st_uid}, not to you (uid {os.geteuid()})"
    elif found.st_nlink > 1:
        reason = f"has {found.st_nlink} names (hard links); the others would lose their content too"
    else:
        return
    raise CredentialError(
        f"{path} {reason}; it was left alone",
        problem=CredentialProblem.UNSAFE_FILE,
        path=path,
        hint="look at it with 'ls -li' and remove it by hand if it is not needed",
    )


def _overwrite(descriptor: int, size: int) -> None:
    """Write zeros over the whole length and wait until they are on the disk."""
    left = size
    while left > 0:
        left -= os.write(descriptor, _BLOCK[: min(left, len(_BLOCK))])
    os.fsync(descriptor)


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
