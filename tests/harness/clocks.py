"""A time server for tests: it answers each question with the time it is told to have."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

__all__ = ["time_server"]

_EPOCH = datetime(1900, 1, 1, tzinfo=UTC)


@contextlib.contextmanager
def time_server(seconds_off: float = 0) -> Iterator[str]:
    """A server whose clock is so far ahead; gives its HOST:PORT."""
    stopped = threading.Event()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.2)

        def serve() -> None:
            while not stopped.is_set():
                try:
                    question, peer = sock.recvfrom(100)
                except TimeoutError:
                    continue
                at = datetime.now(UTC) - _EPOCH + timedelta(seconds=seconds_off)
                stamp = struct.pack(">II", int(at.total_seconds()) % 2**32, int(at.microseconds / 1e6 * 2**32))
                sock.sendto(bytes((0x24, 2)) + bytes(22) + question[40:48] + stamp + stamp, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{sock.getsockname()[1]}"
        finally:
            stopped.set()
            thread.join()
