"""Whatever stands on the command line of an administrator's command, it makes a change or one of our errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cas.cli import action, enroll, group_admin, group_entries, remove, rights_admin
from cas.cli.words import Words
from cas.policy.changes import Change, decode_change, encode_change
from gsi.cli.arguments import CommandParser
from gsi.errors import GridError

READERS: tuple[tuple[Callable[[], CommandParser], Sequence[str], Callable[..., Sequence[Change]]], ...] = (
    (action.build_parser, action.FORMS, action._read),
    (enroll.build_parser, enroll.FORMS, enroll._read),
    (group_admin.build_parser, group_admin.FORMS, group_admin._read),
    (group_entries.build_parser, group_entries.FORMS, group_entries._add),
    (group_entries.build_remove_parser, group_entries.FORMS, group_entries._remove),
    (remove.build_parser, remove.FORMS, remove._read),
    (rights_admin.build_parser, rights_admin.FORMS, rights_admin._read),
)
LITERALS = sorted(
    {part for _, forms, _ in READERS for form in forms for word in form.split() for part in word.split("|")}
)
KNOWN = [
    "server",
    "objectGroup",
    "userGroup",
    "X509",
    "/O=Grid/CN=A",
    "ftp://h/d/*",
    "n|ftp://h/d/*",
    "file/read",
    "file",
]
WORD = st.sampled_from(LITERALS + KNOWN) | st.text(st.characters(), max_size=12)


@st.composite
def lines(draw: st.DrawFn) -> tuple[Any, list[str]]:
    """A command, and words that may follow one of its forms."""
    reader = draw(st.sampled_from(READERS))
    form = draw(st.sampled_from(reader[1])).split()
    words = [draw(st.sampled_from(part.split("|")) if not part.isupper() else WORD) for part in form]
    return reader, draw(st.just(words) | st.permutations(words) | st.lists(WORD, max_size=9))


@given(line=lines())
def test_a_change_or_an_error(line: tuple[Any, list[str]]) -> None:
    (factory, forms, read), words = line
    try:
        arguments = factory().parse_args(["--", *words])
        reading = Words("cas-test", forms, arguments.words)
        changes = read(reading, arguments)
        reading.end()
    except GridError:
        return
    for change in changes:
        assert decode_change(encode_change(change)) == change
