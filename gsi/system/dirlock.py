"""An exclusive lock on a directory between processes, for programs that replace files in it; leaves no file behind.

    with DirectoryLock("/etc/grid-security/certificates"):
        ...

An advisory lock (flock) on the directory itself: it binds those who take it, and the kernel lets go of it when the
process ends, however that happens. For a lock on a file of its own see `gsi.system.files.FileLock`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gsi.errors import ConflictError, StorageError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["DirectoryLock"]

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class DirectoryLock:
    """The lock, for use in a `with` statement.

    Args:
        path: The directory.
        wait: Whether to wait while another process holds the lock.
    """

    __slots__ = ("_descriptor", "_path", "_wait")

    def __init__(self, path: str, *, wait: bool = True) -> None:
        self._path = path or "."
        self._wait = wait
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            ConflictError: Held by another process, and not to be waited for.
            StorageError: The directory cannot be opened or locked.
        """
        import fcntl

        try:
            descriptor = os.open(self._path, _FLAGS)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if self._wait else fcntl.LOCK_NB))
            except BaseException:
                os.close(descriptor)
                raise
        except BlockingIOError as error:
            raise ConflictError(f"{self._path}: another process is changing files there") from error
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise StorageError(f"{self._path}: cannot be locked: {reason}") from error
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the lock."""
        os.close(self._descriptor)
        self._descriptor = -1
