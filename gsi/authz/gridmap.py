r"""A grid-mapfile as an index from names to accounts: grammar and lookup, pure; `gridmap_file` reads the disk.

    gridmap = parse_gridmap(data)
    gridmap.find_account("/O=Grid/CN=Alice")          # "alice", or None
    gridmap.permits("/O=Grid/CN=Alice", "grid")       # may she ask for this account?
    gridmap.problems                                  # the lines that do not mean what they seem to

Names are compared as the C library compares them (letter case of ASCII, `/E=` and its other spellings, `/UID=`), and
in both the present and the earlier form of a slash within a value (`gsi.nametext.canonical_oneline`). The first line of
a name counts, alone. Must never map a name where gct:gsi/gss_assist/source/gridmap.c maps it to another account or to
none, but for what `docs/wire/grid-mapfile.md` lists.

The index holds, for each line, 64 bits of a keyed hash of its name and where the line begins, sorted by hash: 12 bytes
a line. The line itself is read again when it is asked for, and its name compared in full. So a million lines take the
file's own size and 12 MB, and a lookup takes microseconds.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from itertools import accumulate, chain, islice
from operator import eq
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.authz.gridmap_lines import POOL_MARK, GridmapLine, ProblemKind, parse_line
from gsi.errors import ParseError
from gsi.nametext import MAX_NAME_BYTES, canonical_oneline

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MAX_GRIDMAP_BYTES",
    "MAX_PROBLEMS",
    "Gridmap",
    "GridmapEntry",
    "GridmapProblem",
    "ProblemKind",
    "parse_gridmap",
]

MAX_GRIDMAP_BYTES: Final = 512 << 20  # five million lines; offsets are kept in 32 bits
MAX_PROBLEMS: Final = 1000  # kept with their texts; the others are counted
_WHAT: Final = "grid-mapfile"
_BLOCK_BYTES: Final = 64 << 10  # indexed in one go; one odd line makes the rest of its block slow, and no more
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

# A line that means what it seems to: a quoted name without escapes, then accounts of the portable characters. Also
# blank lines and comments, which leave the group empty. What does not match goes through `parse_line`.
# Possessive throughout, so that no line can make the match go back and forth.
_WORD: Final = rb"[A-Za-z0-9_.][A-Za-z0-9_.@-]{0,254}+"
_USUAL_TEXT: Final = (
    rb'^[ \t]*+(?:"(/[ !#-\[\]-~]{0,4096}+)"[ \t]*+%b'
    + _WORD
    + rb"(?:[, \t]++"
    + _WORD
    + rb")*+%b[, \t]*+|(?:#[^\n]*+)?+)\r?$"
)
_USUAL_NAME: Final = re.compile(_USUAL_TEXT % (b"", b""), re.MULTILINE)
_USUAL: Final = re.compile(_USUAL_TEXT % (b"(", b")"), re.MULTILINE)
_TYPES: Final = re.compile(rb"([/+])(?:(uid)|e|email)=")  # of lower-case text without escapes


class GridmapProblem(NamedTuple):
    """A line that does not mean what it seems to."""

    line: int
    """Its number, counted from 1."""
    kind: ProblemKind
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class GridmapEntry(NamedTuple):
    """A line that maps a name."""

    line: int
    """Its number, counted from 1."""
    dn: str
    """The name, in one-line form as it stands there."""
    accounts: tuple[str, ...]
    """First the default; none when the name maps to nobody."""


class Gridmap:
    """An immutable grid-mapfile. Made by `parse_gridmap`.

    Attributes:
        problems: The first `MAX_PROBLEMS` lines that do not mean what they seem to, in order.
        problem_count: How many there are.
    """

    __slots__ = ("_data", "_keys", "_offsets", "problem_count", "problems")

    def __init__(
        self,
        data: bytes,
        keys: array[int],
        offsets: array[int],
        problems: tuple[GridmapProblem, ...],
        problem_count: int,
    ) -> None:
        self._data = data
        self._keys = keys
        self._offsets = offsets
        self.problems = problems
        self.problem_count = problem_count

    def __len__(self) -> int:
        """Return the number of lines with a name."""
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<Gridmap {len(self)} lines, {self.problem_count} problems>"

    def accounts(self, dn: str) -> tuple[str, ...]:
        """Return the accounts of a name in one-line form, first the default; empty when it maps to nobody.

        An account that starts with `.` stands for any free one of a pool (`gsi.authz.pool`).
        """
        if len(dn) > 4 * MAX_NAME_BYTES:  # each byte of a name may be shown as four characters
            return ()
        if not dn.isascii():
            return ()  # names are shown in ASCII
        key = _fold(dn.lower().encode("ascii")) if "\\" not in dn else _key(dn)
        hashed = hash(key)
        at = bisect_left(self._keys, hashed)
        while at < len(self._keys) and self._keys[at] == hashed:
            found = self._find_at(self._offsets[at], key)
            if found is not None:
                return found
            at += 1
        return ()

    def find_account(self, dn: str) -> str | None:
        """Return the default account of a name in one-line form, or None when it maps to nobody."""
        found = self.accounts(dn)
        return found[0] if found else None

    def permits(self, dn: str, account: str) -> bool:
        """Tell whether a name may ask for this account. A pool's accounts are not known here, so never those."""
        found = self.accounts(dn)
        return account in found and not found[0].startswith(POOL_MARK) and not account.startswith(POOL_MARK)

    def find_dns(self, account: str) -> Iterator[str]:
        """Give each name that may ask for this account, in the order of the lines, by searching the whole file.

        Takes some tenths of a second for a million lines: for administrators, not for requests.
        """
        word = re.escape(account.encode("utf-8", "surrogateescape"))
        for found in re.finditer(rb'[," \t]' + word + rb"(?=[, \t\r\n]|\Z)", self._data):
            begin = self._data.rfind(b"\n", 0, found.start() + 1) + 1
            line = self._line_at(begin)
            if line is not None and line.dn is not None and account in line.accounts and self._counts(line.dn, begin):
                yield line.dn

    def find_dn(self, account: str) -> str | None:
        """Return the first name that may ask for this account, or None; as slow as `find_dns`."""
        return next(self.find_dns(account), None)

    def entries(self) -> Iterator[GridmapEntry]:
        """Give each line with a name, also those that do not count, in the order of the file."""
        for number, text in enumerate(_each_line(self._data), 1):
            line = parse_line(text)
            if line is not None and line.dn is not None:
                yield GridmapEntry(number, line.dn, line.accounts)

    def _find_at(self, offset: int, key: bytes) -> tuple[str, ...] | None:
        """Return the accounts of the line that begins here, if its name is this one."""
        usual = _USUAL.match(self._data, offset)
        if usual is not None and usual[1]:
            if _fold(usual[1].lower()) != key:
                return None
            return tuple(usual[2].replace(b",", b" ").decode("ascii").split())
        line = self._line_at(offset)
        if line is None or line.dn is None or _key(line.dn) != key:
            return None
        return line.accounts

    def _line_at(self, offset: int) -> GridmapLine | None:
        end = self._data.find(b"\n", offset)
        return parse_line(self._data[offset : end if end >= 0 else len(self._data)])

    def _counts(self, dn: str, offset: int) -> bool:
        """Tell whether the line that begins here is the one that counts for its name."""
        key = _key(dn)
        hashed = hash(key)
        at = bisect_left(self._keys, hashed)
        while at < len(self._keys) and self._keys[at] == hashed:
            if self._offsets[at] == offset:
                return True
            if self._find_at(self._offsets[at], key) is not None:
                return False
            at += 1
        return False


def parse_gridmap(data: bytes, *, strict: bool = False) -> Gridmap:
    """Return the grid-mapfile that these bytes are.

    Args:
        data: The whole file.
        strict: Refuse a file with any problem instead of listing it.

    Raises:
        ParseError: Longer than `MAX_GRIDMAP_BYTES`; with `strict`, the first problem.
    """
    if len(data) > MAX_GRIDMAP_BYTES:
        raise ParseError(f"{_WHAT}: {len(data)} bytes, limit {MAX_GRIDMAP_BYTES}", what=_WHAT, offset=0)
    indexer = _Indexer(data.removeprefix(_BYTE_ORDER_MARK))
    indexer.read()
    gridmap = indexer.finish()
    if strict and gridmap.problems:
        raise ParseError(
            f"{_WHAT}: {gridmap.problems[0]}",
            what=_WHAT,
            hint="grid-mapfile-check-consistency lists all such lines",
        )
    return gridmap


class _Indexer:
    """One pass over a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._keys: array[int] = array("q")
        self._offsets: array[int] = array("I")
        self._problems: list[GridmapProblem] = []
        self._problem_count = 0

    def read(self) -> None:
        """Index every line, block by block."""
        data, start, first = self._data, 0, 1
        while start < len(data):
            stop = data.find(b"\n", start + _BLOCK_BYTES)
            stop = len(data) if stop < 0 else stop
            first += self._read_block(data[start:stop], start, first)
            start = stop + 1

    def _read_block(self, block: bytes, start: int, first: int) -> int:
        """Index whole lines that begin at offset `start` with number `first`; return how many they are."""
        folded = _fold(block.lower())
        dns: list[bytes] = _USUAL_NAME.findall(folded)
        lines = block.split(b"\n")
        offsets = accumulate(chain((start,), [len(line) + 1 for line in islice(lines, len(lines) - 1)]))
        if len(dns) != len(lines):
            self._read_lines(lines, folded.split(b"\n"), offsets, first)
        elif b"" in dns:
            self._keys.extend(hash(dn) for dn in dns if dn)
            self._offsets.extend(offset for dn, offset in zip(dns, offsets, strict=True) if dn)
        else:
            self._keys.extend(map(hash, dns))
            self._offsets.extend(offsets)
        return len(lines)

    def _read_lines(self, lines: list[bytes], folded: list[bytes], offsets: Iterator[int], first: int) -> None:
        """Index lines of which some are unusual."""
        for number, (text, low, offset) in enumerate(zip(lines, folded, offsets, strict=True), first):
            usual = _USUAL_NAME.match(low)
            if usual is not None:
                if usual[1]:
                    self._add(usual[1], offset)
                continue
            line = parse_line(text)
            if line is None:
                continue
            if line.kind is not None:
                self._note(number, line.kind, line.message)
            if line.dn is not None:
                self._add(_key(line.dn), offset)

    def _add(self, key: bytes, offset: int) -> None:
        self._keys.append(hash(key))
        self._offsets.append(offset)

    def _note(self, number: int, kind: ProblemKind, message: str) -> None:
        self._problem_count += 1
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(GridmapProblem(number, kind, message))

    def finish(self) -> Gridmap:
        """Sort the index, so that of one name the first line comes first, and return the value."""
        order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        keys = array("q", map(self._keys.__getitem__, order))
        offsets = array("I", map(self._offsets.__getitem__, order))
        self._note_duplicates(keys, offsets)
        problems = tuple(sorted(self._problems))
        return Gridmap(self._data, keys, offsets, problems, self._problem_count)

    def _note_duplicates(self, keys: array[int], offsets: array[int]) -> None:
        """List the lines whose name an earlier line has."""
        if not any(map(eq, keys, islice(keys, 1, None))):
            return
        pairs: list[tuple[int, int]] = []
        first = 0
        for at in range(1, len(keys)):
            if keys[at] != keys[at - 1]:
                first = at
            elif len(self._problems) + len(pairs) < MAX_PROBLEMS:
                pairs.append((offsets[at], offsets[first]))
            else:
                self._problem_count += 1
        numbers = _number_lines(self._data, sorted({offset for pair in pairs for offset in pair}))
        for offset, first_offset in pairs:
            message = f"the same name as in line {numbers[first_offset]}; only that line counts"
            self._note(numbers[offset], ProblemKind.DUPLICATE, message)


def _key(dn: str) -> bytes:
    """Return what a name is known by in the index."""
    return canonical_oneline(dn).encode("ascii")


def _fold(text: bytes) -> bytes:
    """Finish what `canonical_oneline` does, for lower-case text of names without escapes."""
    if b"uid=" in text or b"email=" in text or b"/e=" in text or b"+e=" in text:
        return _TYPES.sub(_spell, text)
    return text


def _spell(found: re.Match[bytes]) -> bytes:
    return found[1] + (b"userid=" if found[2] else b"emailaddress=")


def _each_line(data: bytes) -> Iterator[bytes]:
    """Give the lines of a file one after the other; a list of a million would take more than the file."""
    start = 0
    while start < len(data):
        stop = data.find(b"\n", start)
        stop = len(data) if stop < 0 else stop
        yield data[start:stop]
        start = stop + 1


def _number_lines(data: bytes, offsets: list[int]) -> dict[int, int]:
    """Return the numbers of the lines that begin at these offsets, given in ascending order."""
    numbers: dict[int, int] = {}
    at, number = 0, 1
    for offset in offsets:
        number += data.count(b"\n", at, offset)
        numbers[offset] = number
        at = offset
    return numbers
