"""How many outside judges are asked at once, so that slow ones never take all of a server's threads; no judge itself.

    slots = Slots(64)
    method = Bounded(PAMMethod("myproxy"), slots)

A judge that waits for a network or sleeps after a wrong password holds a thread meanwhile. There are fewer slots than
threads; who finds none is refused at once, instead of waiting in a thread.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from gsi.errors import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.secret import Passphrase
    from myproxy.auth.base import PasswordMethod

__all__ = ["Bounded", "Slots"]


class Slots:
    """A number of questions that may be open at once. Safe for use by several threads."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Hold a slot.

        Raises:
            AuthenticationError: There is none.
        """
        if not self._free.acquire(blocking=False):
            raise AuthenticationError("too many logons are being judged; try again in a moment")
        try:
            yield
        finally:
            self._free.release()


class Bounded:
    """A `PasswordMethod` that is asked only so often at once."""

    def __init__(self, method: PasswordMethod, slots: Slots) -> None:
        self._judge = method
        self._slots = slots
        self.method = method.method

    def check(self, username: str, passphrase: Passphrase) -> None:
        """See `PasswordMethod.check`."""
        with self._slots.take():
            self._judge.check(username, passphrase)
