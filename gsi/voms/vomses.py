"""`vomses` files: where the servers of VOs are, for those who fetch attributes; finds no file and contacts nobody.

    entries = parse_vomses(b'"testvo" "voms.example.org" "15000" "/O=Grid/CN=voms.example.org" "testvo"')
    entries[0].alias, entries[0].place

A line is `"alias" "host" "port" "server DN" "vo" ["Globus version"]`. `gsi.system.vomsdir` finds and reads the files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_VOMSES_BYTES", "VOMSEntry", "encode_vomses", "find_vomses", "parse_vomses"]

MAX_VOMSES_BYTES: Final = 1 << 20  # ten thousand servers; there are some hundred in the world
_MAX_FIELD_CHARS: Final = 1024
_WHAT: Final = "vomses file"
_LINE: Final = re.compile(r'"[^"]*"(?:[ \t]+"[^"]*")*\Z')
_FIELD: Final = re.compile(r'"([^"]*)"')


class VOMSEntry(NamedTuple):
    """One server of a VO."""

    alias: str
    """What a user calls it; usually the VO."""
    host: str
    port: int
    server_dn: str
    """The subject of the server's certificate in one-line form."""
    vo: str
    version: str = ""
    """The Globus version of the server, of which nothing depends any more."""

    @property
    def place(self) -> str:
        """Host and port, as in the URI of a policy authority."""
        return f"{self.host}:{self.port}"


def parse_vomses(data: bytes, *, path: str = _WHAT) -> tuple[VOMSEntry, ...]:
    """Return the entries of a file in its order; blank lines and lines that begin with `#` are passed over.

    Raises:
        ParseError: Too long, not UTF-8, or a line that does not follow the grammar.
    """
    if len(data) > MAX_VOMSES_BYTES:
        raise ParseError(f"{path}: {len(data)} bytes, limit {MAX_VOMSES_BYTES}", what=_WHAT)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError(f"{path}: not UTF-8", what=_WHAT, offset=error.start) from error
    found: list[VOMSEntry] = []
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip(" \t\r")
        if stripped and not stripped.startswith("#"):
            found.append(_entry(stripped, path, number))
    return tuple(found)


def encode_vomses(entries: tuple[VOMSEntry, ...]) -> bytes:
    """Return the text of a file.

    Raises:
        ParseError: An entry could not be read back.
    """
    lines: list[str] = []
    for entry in entries:
        fields = [entry.alias, entry.host, str(entry.port), entry.server_dn, entry.vo, *filter(None, (entry.version,))]
        line = " ".join(f'"{field}"' for field in fields)
        if "\n" in line or _entry(line, _WHAT, len(lines) + 1) != entry:
            raise ParseError(f"{_WHAT}: the entry {entry.alias[:80]!r} cannot be written", what=_WHAT)
        lines.append(line + "\n")
    return "".join(lines).encode("utf-8")


def find_vomses(entries: Iterable[VOMSEntry], name: str) -> tuple[VOMSEntry, ...]:
    """Return the entries of this alias or, where there is none, of this VO, in order; each server once."""
    known = tuple(entries)
    matching = [entry for entry in known if entry.alias == name] or [entry for entry in known if entry.vo == name]
    return tuple(dict.fromkeys(matching))


def _entry(line: str, path: str, number: int) -> VOMSEntry:
    fields = _FIELD.findall(line) if _LINE.match(line) else []
    if len(fields) not in {5, 6} or not all(fields[:5]) or max(map(len, fields)) > _MAX_FIELD_CHARS:
        raise ParseError(
            f"{path}:{number}: not five or six fields in quotes",
            what=_WHAT,
            hint='"alias" "host" "port" "server DN" "vo"',
        )
    if not all(field.isprintable() for field in fields):
        raise ParseError(f"{path}:{number}: a control character", what=_WHAT)
    alias, host, port, server_dn, vo, *rest = fields
    if not port.isascii() or not port.isdigit() or len(port) > 5 or not 0 < int(port) < 65536:
        raise ParseError(f"{path}:{number}: {port[:20]!r} is no port", what=_WHAT)
    if not server_dn.startswith("/"):
        raise ParseError(f"{path}:{number}: {server_dn[:80]!r} is no name of a server", what=_WHAT)
    return VOMSEntry(alias, host, int(port), server_dn, vo, *rest)
