"""The list of certificate timestamps in host certificates of public CAs as text (RFC 6962 section 3.3); checks none.

lines = timestamp_lines(extension.value)
"""

from __future__ import annotations

from typing import Final

from gsi import der
from gsi.errors import ParseError

__all__ = ["timestamp_lines"]

_SCT_HASHES: Final = {4: "SHA256", 5: "SHA384", 6: "SHA512"}
"""RFC 5246 section 7.4.1.4.1; the logs use the first."""


def timestamp_lines(value: bytes) -> list[str]:
    """Return the lines for the content of the extension.

    Raises:
        ParseError: It is no such list.
    """
    listed = _SCTReader(_SCTReader(der.Reader(value, what="SCT list").octet_string()).block())
    lines: list[str] = []
    while listed.left:
        lines += _timestamp(_SCTReader(listed.block()))
    return lines


def _timestamp(one: _SCTReader) -> list[str]:
    from datetime import UTC, datetime, timedelta

    version = one.take(1)[0]
    log = one.take(32)
    milliseconds = int.from_bytes(one.take(8), "big")
    extensions = one.block()
    hashed, signed = one.take(2)
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
        shown = f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S}.{milliseconds % 1000:03d} {moment.year} GMT"
    except OverflowError:
        shown = f"{milliseconds} milliseconds after 1970"
    kind = {1: "{}WithRSAEncryption", 3: "ecdsa-with-{}"}.get(signed, f"signature algorithm {signed} with {{}}")
    digest = _SCT_HASHES.get(hashed, f"hash {hashed}")
    algorithm = kind.format(digest.lower() if signed == 1 else digest)
    return [
        "Signed Certificate Timestamp:",
        f"    Version   : {'v1' if version == 0 else 'unknown'} (0x{version:x})",
        *_labelled("Log ID    ", log),
        f"    Timestamp : {shown}",
        *(_labelled("Extensions", extensions) if extensions else ["    Extensions: none"]),
        f"    Signature : {algorithm}",
        *(f"                {line}" for line in _wrapped(one.block())),
    ]


def _labelled(label: str, data: bytes) -> list[str]:
    first, *rest = _wrapped(data)
    return [f"    {label}: {first}", *(f"                {line}" for line in rest)]


def _wrapped(data: bytes) -> list[str]:
    pieces = [data[start : start + 16].hex(":").upper() for start in range(0, len(data), 16)] or [""]
    return [f"{piece}{':' if number < len(pieces) - 1 else ''}" for number, piece in enumerate(pieces)]


class _SCTReader:
    """A cursor over TLS presentation language: fixed fields and blocks with a length of two bytes before them."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def left(self) -> int:
        return len(self._data)

    def take(self, count: int) -> bytes:
        if count > len(self._data):
            raise ParseError("SCT list: cut off", what="SCT list")
        found, self._data = self._data[:count], self._data[count:]
        return found

    def block(self) -> bytes:
        return self.take(int.from_bytes(self.take(2), "big"))
