"""Talking to the service manager: what state a daemon is in, and the sockets it was given; no library needed.

    descriptors = take_listeners()               # LISTEN_FDS; none when the manager gave none
    manager = Manager.from_environment()
    manager.tell("READY=1", "STATUS=serving")
    manager.watchdog_seconds                     # how often to tell WATCHDOG=1, None when nobody waits for it

The protocol is that of sd_notify(3) and sd_listen_fds(3). Where no manager listens, telling does nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Final

from gsi.system.environ import drop_variable, get_variable

__all__ = ["Manager", "take_listeners"]

FIRST_LISTENER: Final = 3
"""The first descriptor that a manager passes."""

MAX_LISTENERS: Final = 64
"""More addresses than any service has."""


class Manager:
    """The service manager, as far as it wants to hear from us."""

    __slots__ = ("_address", "watchdog_seconds")

    def __init__(self, address: str | None, watchdog_seconds: float | None = None) -> None:
        """Know its socket.

        Args:
            address: The path of its datagram socket, with `@` in front in the abstract space; None where there is none.
            watchdog_seconds: How often it wants to hear that all is well: half of what it waits.
        """
        self._address = address
        self.watchdog_seconds = watchdog_seconds

    @classmethod
    def from_environment(cls) -> Manager:
        """Find it by NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which are taken from the environment."""
        address = drop_variable("NOTIFY_SOCKET")
        usec, pid = drop_variable("WATCHDOG_USEC"), drop_variable("WATCHDOG_PID")
        seconds = None
        if usec and usec.isascii() and usec.isdigit() and int(usec) and pid in {None, str(os.getpid())}:
            seconds = int(usec) / 2_000_000
        return cls(address if address and address[0] in "/@" else None, seconds)

    def tell(self, *lines: str) -> None:
        """Tell it something; what does not reach it is lost."""
        if self._address is None:
            return
        import socket

        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            made.setblocking(False)
            made.sendto("\n".join(lines).encode(), address)

    def tell_reloading(self) -> None:
        """Tell it that the configuration is being read; `READY=1` follows."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def take_listeners() -> list[int]:
    """Return the descriptors of sockets that were meant for this process; the variables that say so are removed."""
    pid, number = get_variable("LISTEN_PID"), get_variable("LISTEN_FDS")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        drop_variable(name)
    if pid != str(os.getpid()) or not number or not (number.isascii() and number.isdigit()):
        return []
    return list(range(FIRST_LISTENER, FIRST_LISTENER + min(int(number), MAX_LISTENERS)))
