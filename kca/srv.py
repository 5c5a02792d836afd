"""DNS SRV records (RFC 2782): asked of the machine's name servers, in the order in which to try them.

    for target in lookup("_kca._udp.EXAMPLE.ORG"): target.host, target.port

No cache, no search list, no DNSSEC: what comes back is where to ask, and whom to trust is decided by Kerberos. Only the
parts of RFC 1035 that a stub resolver needs. Python's `socket` knows no records but addresses.
"""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import CredentialError, ParseError, TransportError
from gsi.system.files import read_public

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Target", "encode_query", "lookup", "nameservers", "order_targets", "parse_answer"]

RESOLV_CONF: Final = "/etc/resolv.conf"
MAX_RESOLV_BYTES: Final = 64 << 10
MAX_NAMESERVERS: Final = 3  # resolv.conf(5)
TRY_SECONDS: Final = 2.0
"""For an answer of one name server."""
TRIES: Final = 2
MAX_RECORDS: Final = 64
"""A realm with more servers of a kind would not fit into a datagram."""
MAX_NAME_BYTES: Final = 255
_SRV: Final = 33
_INTERNET: Final = 1
_PORT: Final = 53
_POINTER: Final = 0xC0
_MAX_MESSAGE: Final = 65535
_WHAT: Final = "DNS answer"


class Target(NamedTuple):
    """One server."""

    priority: int
    weight: int
    port: int
    host: str


def encode_query(name: str, identifier: int) -> bytes:
    """Return the question for a name's SRV records.

    Raises:
        ParseError: It is no name.
    """
    labels = name.rstrip(".").encode("ascii", "replace").split(b".")
    if not all(0 < len(label) < 64 for label in labels) or len(name) > MAX_NAME_BYTES - 2:
        raise ParseError(f"{name!r} is no DNS name", what="DNS name")
    question = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    flags = 0x0100  # recursion desired
    header = b"".join(number.to_bytes(2, "big") for number in (identifier, flags, 1, 0, 0, 0))
    return header + question + _SRV.to_bytes(2, "big") + _INTERNET.to_bytes(2, "big")


def parse_answer(data: bytes, query: bytes) -> tuple[Target, ...] | None:
    """Return the SRV records of an answer, none where the name has none; None when it was cut off (ask by TCP).

    Raises:
        ParseError: It is no answer to this question, or the server failed.
    """
    if len(data) < 12 or data[:2] != query[:2] or not data[2] & 0x80 or data[12 : len(query)] != query[12:]:
        raise ParseError(f"{_WHAT}: not to our question", what=_WHAT)
    if data[2] & 0x02:
        return None
    status = data[3] & 0x0F
    if status not in {0, 3}:
        raise ParseError(f"{_WHAT}: status {status}", what=_WHAT)
    count = int.from_bytes(data[6:8], "big")
    offset = len(query)
    found: list[Target] = []
    for _ in range(min(count, MAX_RECORDS)):
        _, offset = _read_name(data, offset)
        kind, length = (
            int.from_bytes(data[offset : offset + 2], "big"),
            int.from_bytes(data[offset + 8 : offset + 10], "big"),
        )
        start = offset + 10
        offset = start + length
        if offset > len(data):
            raise ParseError(f"{_WHAT}: cut off", what=_WHAT, offset=len(data))
        if kind == _SRV and length >= 7:
            numbers = [int.from_bytes(data[start + at : start + at + 2], "big") for at in (0, 2, 4)]
            host, _ = _read_name(data, start + 6)
            if host:  # a lone dot: this service is not there
                found.append(Target(numbers[0], numbers[1], numbers[2], host))
    return tuple(found)


def _read_name(data: bytes, offset: int) -> tuple[str, int]:
    """Return (name, offset behind it), following pointers backwards only, so that there is an end."""
    labels: list[bytes] = []
    behind: int | None = None
    limit, size = offset + 1, 0
    while True:
        if offset >= len(data):
            raise ParseError(f"{_WHAT}: cut off", what=_WHAT, offset=len(data))
        length = data[offset]
        if length & _POINTER == _POINTER and offset + 1 < len(data):
            behind = offset + 2 if behind is None else behind
            target = int.from_bytes(data[offset : offset + 2], "big") & 0x3FFF
            if target >= limit - 1:
                raise ParseError(f"{_WHAT}: a name that points forward", what=_WHAT, offset=offset)
            offset, limit = target, target + 1
            continue
        if length & _POINTER:
            raise ParseError(f"{_WHAT}: an unknown kind of label", what=_WHAT, offset=offset)
        offset += 1
        if not length:
            return b".".join(labels).decode("ascii", "replace"), offset if behind is None else behind
        label = data[offset : offset + length]
        size += length + 1
        if size > MAX_NAME_BYTES or b"." in label:
            raise ParseError(f"{_WHAT}: no name", what=_WHAT, offset=offset)
        labels.append(label)
        offset += length


def order_targets(targets: Sequence[Target], draw: Callable[[int], int] = secrets.randbelow) -> list[Target]:
    """Return targets by priority, and within one by weighted lot (RFC 2782, "Weight").

    Args:
        targets: In any order.
        draw: Gives a number from 0 up to, and not including, its argument.
    """
    ordered: list[Target] = []
    for priority in sorted({target.priority for target in targets}):
        left = sorted((target for target in targets if target.priority == priority), key=lambda one: one.weight)
        while left:
            lot = draw(sum(target.weight for target in left) + 1)
            for target in left:
                lot -= target.weight
                if lot <= 0:
                    break
            left.remove(target)
            ordered.append(target)
    return ordered


def nameservers() -> list[tuple[str, int]]:
    """Return the name servers of resolv.conf; without any, this machine."""
    try:
        text = read_public(RESOLV_CONF, max_bytes=MAX_RESOLV_BYTES).decode("utf-8", "replace")
    except (CredentialError, ParseError):  # missing, or nothing that a resolver would read
        text = ""
    words = [line.split() for line in text.splitlines()]
    found = [(line[1], _PORT) for line in words if len(line) > 1 and line[0] == "nameserver"]
    return found[:MAX_NAMESERVERS] or [("127.0.0.1", _PORT)]


def lookup(name: str, servers: Sequence[tuple[str, int]] | None = None) -> list[Target]:
    """Return the targets of a name in the order in which to try them; none where it has none.

    Args:
        name: With service and protocol: `_kca._udp.EXAMPLE.ORG`.
        servers: Name servers as (address, port); None is `nameservers()`.

    Raises:
        TransportError: No name server answers.
        ParseError: It is no name.
    """
    query = encode_query(name, secrets.randbelow(1 << 16))
    failures: list[str] = []
    for _ in range(TRIES):
        for server in nameservers() if servers is None else servers:
            try:
                found = parse_answer(_ask(server, query, socket.SOCK_DGRAM), query)
                if found is None:
                    found = parse_answer(_ask(server, query, socket.SOCK_STREAM), query)
                return order_targets(found or ())
            except (OSError, ParseError) as error:
                failures.append(f"{server[0]}: {error}")
    raise TransportError(f"no name server answers for {name} ({'; '.join(failures)})")


def _ask(server: tuple[str, int], query: bytes, kind: socket.SocketKind) -> bytes:
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, kind) as made:
        made.settimeout(TRY_SECONDS)
        made.connect(server)
        if kind == socket.SOCK_DGRAM:
            made.send(query)
            return made.recv(_MAX_MESSAGE)
        made.sendall(len(query).to_bytes(2, "big") + query)
        length = int.from_bytes(_receive(made, 2), "big")
        return _receive(made, length)


def _receive(made: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        got = made.recv(length - len(data))
        if not got:
            raise OSError("closed the connection")
        data += got
    return data
