"""A whole policy as one text, and back; not its history, which is written for reading only.

    for line in export_lines(repository): file.write(line)
    import_lines(repository, file, by)

The text is JSON, an object in a line. The first says what it is, each of the others is a change (`cas.policy.changes`):
making them all in a new policy gives the same one. With the history, its entries follow; importing passes over them,
since what they tell of was done elsewhere. The import itself is in the history of the policy that it makes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cas.policy.changes import Change, decode_change, encode_change, encode_statement
from cas.repository.base import MAX_PAGE
from cas.repository.exporting import steps
from gsi.errors import ConflictError, ParseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cas.repository.base import Applied, Author, HistoryEntry, PolicyRepository, View

__all__ = ["FORMAT", "MAX_LINE_CHARS", "export_lines", "import_lines", "parse_export"]

FORMAT: Final = "cas-policy"
VERSION: Final = 1

MAX_LINE_CHARS: Final = 65536
"""The longest line: ten times what a change of the longest names takes."""


def export_lines(repository: PolicyRepository, *, history: bool = False) -> Iterator[str]:
    """Return the lines of a policy, all of one state of it.

    Raises:
        StorageError: It cannot be read.
    """
    return iter(repository.reading(lambda view: list(_lines(view, history=history))))


def _lines(view: View, *, history: bool) -> Iterator[str]:
    yield _line({"format": FORMAT, "version": VERSION, "revision": view.revision()})
    for _, changes in steps(view):
        yield from (_line(encode_change(change)) for change in changes)
    if history:
        for entry in _history(view):
            yield _line({"history": _entry(entry)})


def _history(view: View) -> Iterator[HistoryEntry]:
    """Return every entry; those of one revision are never parted, whatever their number."""
    last, limit = 0, MAX_PAGE
    while page := view.history(after=last, limit=limit):
        yield from page
        last = page[-1].revision


def _entry(entry: HistoryEntry) -> dict[str, object]:
    return {
        "revision": entry.revision,
        "time": entry.time.isoformat(timespec="seconds"),
        "actor": entry.actor,
        "reason": entry.reason,
        "request": entry.request_id,
        "change": encode_change(entry.change),
        "purged": [encode_statement(one) for one in entry.purged],
    }


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n"


def parse_export(lines: Iterable[str]) -> Iterator[Change]:
    """Read the lines of a policy; give its changes.

    Raises:
        ParseError: They are none, or of a version that is not known.
    """
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE_CHARS:
            raise ParseError(f"line {number}: longer than {MAX_LINE_CHARS} characters", what="exported policy")
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ParseError(f"line {number}: not JSON", what="exported policy") from error
        if number == 1:
            if not isinstance(value, dict) or (value.get("format"), value.get("version")) != (FORMAT, VERSION):
                raise ParseError(f"not a {FORMAT} of version {VERSION}", what="exported policy")
            continue
        if isinstance(value, dict) and set(value) == {"history"}:
            continue
        try:
            yield decode_change(value)
        except ParseError as error:
            raise ParseError(f"line {number}: {error.message}", what="exported policy", hint=error.hint) from error


def import_lines(repository: PolicyRepository, lines: Iterable[str], by: Author) -> Applied:
    """Make a policy of its lines in a new store: all of it, or nothing.

    Raises:
        ConflictError: The store is not new, or the lines contradict one another.
        NotFoundError: They name what they do not enrol.
        ParseError: They are not those of a policy.
        StorageError: The store cannot be written.
    """
    changes = list(parse_export(lines))
    if repository.reading(lambda view: view.revision()):
        raise ConflictError("the store has a policy already", hint="import into a new one")
    return repository.apply(changes, by, expected_revision=0, restoring=True)
