"""A DNS server for SRV records on a free loopback port, in threads of the test: a table, and nothing else.

Workflow:
    with name_server({"_kca._udp.EXAMPLE.ORG": [(0, 0, 9878, "localhost")]}) as (place, asked):
        lookup("_kca._udp.EXAMPLE.ORG", [place])
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["name_server"]


def _name(text: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in text.split(".") if label) + b"\0"


def _question(query: bytes) -> str:
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels)


def _answer(query: bytes, records: Sequence[tuple[int, int, int, str]] | None) -> bytes:
    body = b""
    for priority, weight, port, host in records or ():
        data = b"".join(number.to_bytes(2, "big") for number in (priority, weight, port)) + _name(host)
        # The owner's name as a pointer to the question, as every server writes it.
        body += b"\xc0\x0c" + bytes.fromhex("0021 0001 00000e10") + len(data).to_bytes(2, "big") + data
    flags = bytes((0x81, 0x80 | (3 if records is None else 0)))
    return query[:2] + flags + b"\0\1" + len(records or ()).to_bytes(2, "big") + bytes(4) + query[12:] + body


@contextlib.contextmanager
def name_server(
    table: Mapping[str, Sequence[tuple[int, int, int, str]]],
) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """Answer questions over UDP until the end.

    Args:
        table: Priority, weight, port and host by name; other names are said not to exist.

    Returns:
        The address, and the names asked for so far.
    """
    asked: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                query, place = made.recvfrom(4096)
                if not query:
                    return
                asked.append(_question(query))
                made.sendto(_answer(query, table.get(asked[-1])), place)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield made.getsockname(), asked
        finally:
            made.sendto(b"", made.getsockname())
            thread.join()
