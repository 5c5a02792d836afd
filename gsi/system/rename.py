"""Renames of Linux that lose nothing: refuse where the new name exists, or swap two names; within an open directory.

    rename_new(directory, ".alice.pem.3f", "alice.pem")       # False: there is an alice.pem
    exchange(directory, ".alice.pem.3f", "alice.pem")         # and what was alice.pem has the other name now

Not every file system can do it, and no other system; the callers know what else is careful enough.
"""

from __future__ import annotations

import errno
import os
from typing import Final

__all__ = ["exchange", "rename_new"]

_NOREPLACE: Final = 1
_EXCHANGE: Final = 2
_UNKNOWN: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})


def rename_new(directory: int, old: str, new: str) -> bool | None:
    """Rename unless the new name exists: True if done, False if it exists, None where the system cannot do that.

    Raises:
        OSError: It failed for another reason.
    """
    try:
        return _rename(directory, old, new, _NOREPLACE)
    except FileExistsError:
        return False


def exchange(directory: int, first: str, second: str) -> bool | None:
    """Swap two names in one step: True if done, None where the system cannot do that.

    Raises:
        OSError: One of them is missing, or it failed for another reason.
    """
    return _rename(directory, first, second, _EXCHANGE)


def _rename(directory: int, old: str, new: str, flag: int) -> bool | None:
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None  # not Linux
    if call(directory, os.fsencode(old), directory, os.fsencode(new), flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return None
    raise OSError(number, os.strerror(number))
