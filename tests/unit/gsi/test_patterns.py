"""The matcher of regular expressions: agreement with the C library, the two switches, and its bounds.

How the pattern language of MyProxy lies on top of it is tested in `tests/unit/myproxy/test_patterns.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import ParseError
from gsi.patterns import MAX_STATES, MAX_TEXT_CHARS, Budget, parse_expression

_LIBC = ctypes.CDLL(ctypes.util.find_library("c"))
_EXTENDED, _IGNORE_CASE, _NOSUB = 1, 2, 8


def c_matches(expression: str, text: str, *, ignore_case: bool = False) -> bool | None:
    """What regcomp and regexec say of the expression between anchors; None where it does not compile."""
    compiled = ctypes.create_string_buffer(1024)
    flags = _EXTENDED | _NOSUB | (_IGNORE_CASE if ignore_case else 0)
    if _LIBC.regcomp(compiled, f"^({expression})$".encode(), flags):
        return None
    try:
        return bool(_LIBC.regexec(compiled, text.encode(), 0, None, 0) == 0)
    finally:
        _LIBC.regfree(compiled)


_PIECES = st.sampled_from(
    ["a", "B", "/", "=", "a*", ".", "b?", "\\*", "\\.", "+", "|", "(", ")", "[aB]", "[^a]", "[A-C]", "[^b-c]",
     "[[:upper:]]", "{2}", "{1,2}", "{1,}", "^", "$", "\\(", "\\w", "[]b]", "[B-]", "()"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=8).map("".join), st.text("abcABC/=.*+", max_size=8), st.booleans())
def test_agrees_with_the_c_library(expression: str, text: str, ignore_case: bool) -> None:
    try:
        parsed = parse_expression(expression, ignore_case=ignore_case)
    except ParseError:
        return  # stricter is allowed
    expected = c_matches(expression, text, ignore_case=ignore_case)
    assert parsed.matches(text) == expected
    assert parsed.matches(text) == expected  # from memory


def test_only_ascii_letters_have_two_cases() -> None:
    for expression, text in (("k", "\u212a"), ("\u212a", "k"), ("s", "\u017f"), ("\u00e9", "\u00c9")):
        assert not parse_expression(expression, ignore_case=True).matches(text)
    assert parse_expression("k", ignore_case=True).matches("K")
    assert not parse_expression("k").matches("K")


def test_backslash_in_a_bracket() -> None:
    assert parse_expression(r"[\]]").matches("\\]")  # POSIX: a class of the backslash, then a bracket
    escaped = parse_expression(r"[\]\-\\]+", bracket_escapes=True)
    assert escaped.matches("]-\\")
    assert not escaped.matches("a")
    for expression in (r"[\D]", r"[\1]", "[\\"):
        with pytest.raises(ParseError):
            parse_expression(expression, bracket_escapes=True)


@given(st.text("ab-]\\^.", min_size=1, max_size=6), st.sampled_from("ab-]\\^.x"))
def test_escaped_members_are_those_of_python(members: str, char: str) -> None:
    bracket = "[" + "".join(re.escape(one) if not one.isalnum() else one for one in members).replace("\\.", ".") + "]"
    assert parse_expression(bracket, bracket_escapes=True).matches(char) == (char in members)


def test_budget() -> None:
    expression = parse_expression(".*a.*b", what="thing")
    budget = Budget(1000)
    assert expression.matches("aab", budget)
    spent = 1000 - budget.left
    assert 0 < spent < 100
    expression.matches("aab", budget)
    assert 1000 - budget.left < 2 * spent  # remembered moves cost less
    with pytest.raises(ParseError, match="thing") as caught:
        expression.matches("a" * 2000, budget)
    assert caught.value.what == "thing"


def test_bounds() -> None:
    assert parse_expression(".*").matches("a" * MAX_TEXT_CHARS)
    assert not parse_expression(".*").matches("a" * (MAX_TEXT_CHARS + 1))
    assert not parse_expression(".*").matches("a\0b")
    with pytest.raises(ParseError, match="too large"):
        parse_expression("a" * (MAX_STATES + 1))


def test_what_is_remembered_is_bounded() -> None:
    expression = parse_expression(".*")
    for code in range(2000):
        assert expression.matches(chr(0x100 + code) + "x")
    assert len(expression._moves) <= 512
    wide = parse_expression("(" + "a?" * 100 + ")*")
    assert wide.matches("a" * 300)
    assert not wide._moves


@given(st.text(max_size=40), st.booleans(), st.booleans())
def test_only_our_errors(text: str, ignore_case: bool, escapes: bool) -> None:
    with contextlib.suppress(ParseError):
        parse_expression(text, ignore_case=ignore_case, bracket_escapes=escapes).matches(text)
