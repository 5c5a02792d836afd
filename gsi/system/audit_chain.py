"""The chain that ties the lines of an audit file to one another: making its links, and judging a whole file.

    line, state = chain_line(encoded, state, node="a.example.org", begins=Beginning.NONE)   # for gsi.system.audit
    report = verify_file("/var/lib/myproxy/audit.log")
    report.faults                                                                           # what somebody changed

Each line ends in three fields: `node` (who wrote it), `seq` (its number in the chain) and `chain`, the SHA-256 over the
32 bytes of the link before and all of the line in front of the field itself. So no line can be altered, removed, put in
or moved without all that follow it being written anew. A line where a chain begins, or is taken up again after the file
was opened, says so in `begins`; behind a rotation `after` repeats the last link of the file before.

What no chain can show by itself is that its end was cut off while nobody wrote. Therefore the report names the last
link: whoever keeps that elsewhere sees later whether it is still part of the file.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import stat
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

__all__ = [
    "MAX_LINE_BYTES",
    "NO_LINK",
    "Beginning",
    "ChainReport",
    "ChainState",
    "Finding",
    "chain_line",
    "find_state",
    "read_lines",
    "verify_file",
    "verify_files",
]

NO_LINK: Final = bytes(32)
"""The link before the first line of a chain."""

MAX_LINE_BYTES: Final = 65536 + 1024
"""The longest line: a record of the largest size and the fields of the chain."""

MAX_FINDINGS: Final = 1000
"""Findings that a report keeps: of a file that somebody has mangled a thousand lines tell enough."""

_FIELD: Final = b',"chain":"'
_TAIL: Final = len(_FIELD) + 64 + len(b'"}')


class Beginning(StrEnum):
    """Why a line does not simply follow the one before it."""

    NONE = ""
    START = "start"
    OPEN = "open"
    ROTATION = "rotation"
    TORN = "torn"
    FOREIGN = "foreign"


class ChainState(NamedTuple):
    """Where a chain stands: the number of its last line, and that line's link."""

    sequence: int
    link: bytes


FRESH: Final = ChainState(0, NO_LINK)


def chain_line(encoded: bytes, state: ChainState, *, node: str, begins: Beginning) -> tuple[bytes, ChainState]:
    """Return a record's line with its fields of the chain, and where the chain stands behind it.

    Args:
        encoded: One JSON object in ASCII, line feed included.
        state: Where the chain stands.
        node: Who writes.
        begins: Why the line does not simply follow the one before.
    """
    fields = f',"node":{json.dumps(node)},"seq":{state.sequence + 1}'
    if begins is not Beginning.NONE:
        fields += f',"begins":"{begins.value}"'
    if begins is Beginning.ROTATION:
        fields += f',"after":"{state.link.hex()}"'
    content = encoded[:-2] + fields.encode("ascii")
    link = _next_link(state.link, content)
    return content + _FIELD + link.hex().encode() + b'"}\n', ChainState(state.sequence + 1, link)


def _next_link(link: bytes, content: bytes) -> bytes:
    return hashlib.sha256(link + content).digest()


class _Link(NamedTuple):
    """What a line says about its place."""

    content: bytes
    node: str
    sequence: int
    begins: Beginning
    after: str
    link: bytes

    @property
    def state(self) -> ChainState:
        return ChainState(self.sequence, self.link)


def _parse_line(line: bytes) -> _Link | None:
    """Return the place of a line (without its line feed) in its chain; None where it has none."""
    content, tail = line[:-_TAIL], line[-_TAIL:]
    if not tail.startswith(_FIELD) or not line.endswith(b'"}'):
        return None
    try:
        link = bytes.fromhex(tail[len(_FIELD) : -2].decode("ascii"))
        fields = json.loads(line)
        node, sequence = fields["node"], fields["seq"]
        begins, after = Beginning(fields.get("begins", "")), fields.get("after", "")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(node, str) or type(sequence) is not int or not isinstance(after, str) or sequence < 1:
        return None
    return _Link(content, node, sequence, begins, after, link)


def find_state(descriptor: int, size: int) -> tuple[ChainState, Beginning]:
    """Return where the chain of a file stands, and how the next line has to begin.

    What lies behind its last line in the chain is counted in, so that it cannot disappear later: what a crash has torn
    (`Beginning.TORN`), or what was written by somebody else (`Beginning.FOREIGN`).

    Args:
        descriptor: The file.
        size: How long it is.

    Raises:
        OSError: It cannot be read.
    """
    if not size:
        return FRESH, Beginning.START
    start = max(0, size - 2 * MAX_LINE_BYTES)
    data = os.pread(descriptor, size - start, start)
    torn = not data.endswith(b"\n")
    lines = data.removesuffix(b"\n").split(b"\n")[1 if start else 0 :]
    for back, line in enumerate(reversed(lines)):
        found = _parse_line(line)
        if found is None:
            continue
        state = found.state
        for more in lines[len(lines) - back :]:
            state = ChainState(state.sequence + 1, _next_link(state.link, more))
        if not back:
            return (state, Beginning.TORN) if torn else (state, Beginning.NONE)
        return state, Beginning.TORN if torn and back == 1 else Beginning.FOREIGN
    return FRESH, Beginning.FOREIGN


# Judging -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth telling about a file.

    Attributes:
        line: Its number, from 1; 0 for the file as a whole.
        text: What there is.
        is_fault: Whether somebody has changed the file; else it is only worth knowing.
    """

    line: int
    text: str
    is_fault: bool = True


@dataclass(slots=True)
class ChainReport:
    """What there is to say about one file.

    Attributes:
        path: The file.
        records: How many lines of the chain it holds.
        first: The number of its first line in the chain, 0 when there is none.
        before: The link that its first line follows, `NO_LINK` at the start of a chain.
        state: Where the chain stands at its end.
        nodes: Who wrote, in order of appearance.
        findings: What is to be told, at most `MAX_FINDINGS`.
    """

    path: str
    records: int = 0
    first: int = 0
    before: bytes = NO_LINK
    state: ChainState = FRESH
    nodes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def faults(self) -> list[Finding]:
        """What somebody has changed."""
        return [one for one in self.findings if one.is_fault]

    def tell(self, line: int, text: str, *, is_fault: bool = True) -> None:
        """Add a finding."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(line, text, is_fault))


def verify_files(paths: list[str]) -> list[ChainReport]:
    """Judge files of one chain, the oldest first: each by itself, and whether each goes on where the one before ended.

    Raises:
        StorageError: A file cannot be read.
    """
    reports = [verify_file(path) for path in paths]
    for old, new in itertools.pairwise(reports):
        due = (old.state.sequence + 1, old.state.link)
        if not old.records or not new.records or (new.first, new.before) == due:
            continue
        if new.first == 1:
            new.tell(
                0,
                f"begins a chain of its own behind {old.path}, which ends with line {old.state.sequence} of another: a "
                "file between them was removed, or the log was rotated while nobody wrote",
            )
        else:
            new.tell(0, f"does not go on where {old.path} ends (line {old.state.sequence} of the chain)")
    return reports


def read_lines(path: str) -> Iterator[bytes]:
    """Yield the lines of an audit file, without their line feeds; an overlong line in pieces.

    Raises:
        StorageError: It cannot be read.
    """
    try:
        with open(path, "rb", opener=_open_regular) as file:
            for _, line, _ in _lines(file):
                yield line
    except OSError as error:
        raise StorageError(f"cannot read the audit file {path}: {error.strerror or error}") from error


def verify_file(path: str) -> ChainReport:
    """Judge one file.

    Raises:
        StorageError: It cannot be read.
    """
    report = ChainReport(path)
    try:
        with open(path, "rb", opener=_open_regular) as file:
            _judge(file, report)
    except OSError as error:
        raise StorageError(f"cannot read the audit file {path}: {error.strerror or error}") from error
    return report


def _open_regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("is not a regular file")
    return descriptor


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, content and whether it is whole; an overlong line in pieces."""
    number = 0
    while data := file.readline(MAX_LINE_BYTES):
        number += 1
        yield number, data.removesuffix(b"\n"), data.endswith(b"\n")


def _judge(file: BinaryIO, report: ChainReport) -> None:
    state = FRESH
    unreadable: list[int] = []
    for number, line, whole in _lines(file):
        found = _parse_line(line)
        if found is None:
            if not whole:
                report.tell(
                    number, "is cut off, and nothing follows yet: a crash, or it is being written", is_fault=False
                )
            unreadable.append(number)
            if state is not FRESH:
                state = ChainState(state.sequence + 1, _next_link(state.link, line))
            continue
        state = _judge_link(found, state, number, unreadable, report)
        unreadable.clear()
    if unreadable and whole:
        _tell_foreign(unreadable, report)
    report.state = state


def _judge_link(found: _Link, state: ChainState, number: int, unreadable: list[int], report: ChainReport) -> ChainState:
    """Compare a line with where the chain stands before it; return where it stands behind it."""
    if found.node not in report.nodes:
        report.nodes.append(found.node)
    first, report.records = not report.records, report.records + 1
    expected = state
    if first:
        if unreadable:
            report.tell(unreadable[0], f"{len(unreadable)} lines stand before the chain begins", is_fault=False)
        start = _find_start(found, number, report)
        report.first = found.sequence
        if start is None:
            return found.state
        expected, report.before = start, start.link
    elif unreadable:
        if found.begins is Beginning.TORN and len(unreadable) == 1:
            report.tell(
                unreadable[0], "is cut off: a crash has torn it; the line behind vouches for it", is_fault=False
            )
        else:
            _tell_foreign(unreadable, report)
    elif found.begins in {Beginning.TORN, Beginning.FOREIGN}:
        pass  # a whole line that lacked only its line feed, or a gap that the number tells
    if found.sequence > expected.sequence + 1:
        gap = found.sequence - expected.sequence - 1
        report.tell(number, f"lines {expected.sequence + 1} to {found.sequence - 1} of the chain are missing ({gap})")
    elif found.sequence <= expected.sequence:
        report.tell(number, f"has number {found.sequence} in the chain where {expected.sequence + 1} is due")
    elif _next_link(expected.link, found.content) != found.link:
        report.tell(number, "was altered, or a line before it was: its link does not fit")
    return found.state


def _find_start(found: _Link, number: int, report: ChainReport) -> ChainState | None:
    """Return what the first line of a file follows; None where that is not here, so that its link cannot be judged."""
    if found.begins is Beginning.ROTATION:
        try:
            link = bytes.fromhex(found.after)
        except ValueError:
            link = NO_LINK
        return ChainState(found.sequence - 1, link)
    if found.sequence > 1:
        report.tell(number, f"the beginning is missing: the first line has number {found.sequence} in the chain")
        return None
    return FRESH


def _tell_foreign(unreadable: list[int], report: ChainReport) -> None:
    for number in unreadable:
        report.tell(number, "does not belong to the chain: damaged, or written by somebody else")
