"""The directory of a renewed credential: opened so that nobody leads the agent elsewhere, and written in without loss.

    with open_folder("/var/lib/jobs") as folder:
        folder.replace("alice.pem", data, mode, owner, is_expected=lambda found: ...)

An agent of root's renews files in directories of others, who may exchange them for links at any moment. So a path is
walked step by step, a link is followed only where nobody but root and the agent's user can have put it, and everything
after that names files within the directory that was opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import TYPE_CHECKING, Final

from gsi.errors import CredentialError, CredentialProblem
from gsi.system.files import write_new
from gsi.system.rename import exchange, rename_new

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Folder", "open_folder"]

_STEP: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS: Final = 40  # as the kernel itself
_MAX_NAME_CHARS: Final = 50  # of the file's name in that of its successor: four bytes each fit beside the rest in 255
_HASH_CHARS: Final = 32  # of SHA-256 of the whole name: files whose names begin alike have successors of their own


@contextlib.contextmanager
def open_folder(path: str) -> Iterator[Folder]:
    """Open a directory for the time of a `with` statement.

    Args:
        path: Absolute.

    Raises:
        CredentialError: UNSAFE_FILE: a link on the way that others could have put there.
        OSError: It cannot be opened.
    """
    descriptor = _walk(path)
    try:
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)


class Folder:
    """An open directory. Made by `open_folder`."""

    __slots__ = ("_path", "descriptor")

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self.descriptor = descriptor

    def look(self, name: str) -> os.stat_result | None:
        """Return what is known of a file, without following a link; None where there is none."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def create(self, name: str, data: bytes, mode: int) -> bool:
        """Write a new file, whole or not at all; False where there is one of that name.

        Raises:
            OSError: It cannot be written.
        """
        temporary = f".{name[:_MAX_NAME_CHARS]}.{os.urandom(8).hex()}"
        with self._successor(temporary, data, mode, None):
            made = rename_new(self.descriptor, temporary, name)
            if made is None:
                made = True
                try:
                    os.link(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
                except FileExistsError:
                    made = False
        self._sync()
        return made

    def replace(
        self,
        name: str,
        data: bytes,
        mode: int,
        owner: tuple[int, int] | None,
        *,
        is_expected: Callable[[os.stat_result], bool],
    ) -> bool:
        """Put a file in the place of another; False where that is not the expected one, which then stays.

        The two change places, so that what was replaced can be looked at once nobody can reach it by its name. The
        successor has a name that no other file's has, the same each time: one that an agent left behind when it was
        killed is removed. It is seen to be what was written here before it takes the place, and after.

        Args:
            name: The file; whoever calls holds its lock.
            data: The new content.
            mode: Its permissions.
            owner: Its user and group id; None leaves them to the system.
            is_expected: Tells whether a file is the one to replace; asked of the name before and of the file after.

        Raises:
            OSError: It cannot be written; the old file is in its place.
        """
        temporary = _successor_name(name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=self.descriptor)
        with self._successor(temporary, data, mode, owner) as successor:
            found = self.look(name)
            if found is None or not is_expected(found) or not self._has(temporary, successor):
                return False
            if exchange(self.descriptor, temporary, name) is None:
                os.rename(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
            elif not is_expected(self._stat(temporary)):
                self._give_back(temporary, name, successor)
                return False
            is_done = self._has(name, successor)
        self._sync()
        return is_done

    def _give_back(self, temporary: str, name: str, successor: os.stat_result) -> None:
        """Put back what somebody had just placed there, unless they have placed something again: that is the latest."""
        exchange(self.descriptor, temporary, name)
        if not self._has(temporary, successor):
            exchange(self.descriptor, temporary, name)

    @contextlib.contextmanager
    def _successor(
        self, temporary: str, data: bytes, mode: int, owner: tuple[int, int] | None
    ) -> Iterator[os.stat_result]:
        """Write a file for the time of a `with` statement; what has its name at the end is removed.

        It stays open, so that no other file is given its inode.
        """
        try:
            written = write_new(temporary, data, mode, owner=owner, directory=self.descriptor)
            kept = os.open(temporary, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor)
            try:
                yield written
            finally:
                os.close(kept)
        finally:
            with contextlib.suppress(OSError):  # renamed, or never made
                os.unlink(temporary, dir_fd=self.descriptor)

    def _has(self, name: str, written: os.stat_result) -> bool:
        """Tell whether a name leads to the file that was written."""
        found = self.look(name)
        return found is not None and os.path.samestat(found, written)

    def _stat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)

    def _sync(self) -> None:
        """Make new names durable, where the file system offers that and the directory may be listed."""
        with contextlib.suppress(OSError):
            listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.descriptor)
            try:
                os.fsync(listed)
            finally:
                os.close(listed)


def _successor_name(name: str) -> str:
    whole = hashlib.sha256(os.fsencode(name)).hexdigest()[:_HASH_CHARS]
    return f".{name[:_MAX_NAME_CHARS]}.{whole}.renewing"


def _walk(path: str) -> int:
    parts = path.split("/")[::-1]
    descriptor = os.open("/", _STEP)
    links = 0
    try:
        while parts:
            part = parts.pop()
            if part in {"", "."}:
                continue
            try:
                step = os.open(part, _STEP, dir_fd=descriptor)
            except NotADirectoryError:
                links += 1
                target = _read_link(path, part, descriptor, links)
                parts += target.split("/")[::-1]
                if not target.startswith("/"):
                    continue
                step = os.open("/", _STEP)
            os.close(descriptor)
            descriptor = step
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read_link(path: str, name: str, directory: int, links: int) -> str:
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        raise NotADirectoryError(f"{name} is not a directory")
    holder = os.fstat(directory)
    own = {0, os.geteuid()}
    is_open = holder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not holder.st_mode & stat.S_ISVTX
    if links > _MAX_LINKS or found.st_uid not in own or holder.st_uid not in own or is_open:
        raise CredentialError(
            f"{path}: {name} is a symbolic link in a directory that others can change",
            problem=CredentialProblem.UNSAFE_FILE,
            path=path,
            hint="name the directory itself",
        )
    return os.readlink(name, dir_fd=directory)
