"""The pattern language: its short forms, what stays live, what is refused, and agreement with the C library's regex."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import ParseError
from myproxy.patterns import MAX_NAME_CHARS, MAX_PATTERN_CHARS, expand_short_forms, parse_pattern

ALICE = "/O=Grid/OU=example.org/CN=Alice"

MATCHES = [
    ("*", ALICE, True),
    ("*", "", True),
    ("", "", True),
    ("", "x", False),
    (ALICE, ALICE, True),
    (ALICE, ALICE.lower(), False),
    ("*/CN=Alice", ALICE, True),
    ("*/CN=Alice", ALICE + " Smith", False),
    ("*/CN=Alice*", ALICE + " Smith", True),
    ("*/CN=Al?ce", ALICE, True),
    ("*/CN=Al?ce", "/CN=Alce", False),
    ("*/OU=example.org/*", ALICE, True),
    ("*/OU=example.org/*", ALICE.replace("example.org", "exampleXorg"), False),
    ("/CN=(Alice|Bob)", "/CN=Bob", True),
    ("/CN=Alice|/CN=Bob", "/CN=Bob", True),
    ("/CN=Alice|/CN=Bob", "/CN=AliceX", False),
    ("/CN=[A-C]+", "/CN=ABBA", True),
    ("/CN=[^A-C]", "/CN=A", False),
    ("/CN=[[:digit:]]{2,3}", "/CN=12", True),
    ("/CN=[[:digit:]]{2,3}", "/CN=1234", False),
    ("/CN=a\\*", "/CN=aaa", True),
    ("/CN=a\\*", "/CN=a*", False),
    ("/CN=a\\?b", "/CN=b", True),
    ("/CN=a\\.b", "/CN=axb", True),
    ("/CN=a\\+b", "/CN=a+b", True),
    ("^/CN=a$", "/CN=a", True),
    ("/CN=^a", "/CN=a", False),
    ("[]a]+", "a]a", True),
    ("[a-]", "-", True),
    ("a{,2}", "", True),
    ("(a|)b", "b", True),
    ("<anonymous>", "<anonymous>", True),
    ("x\\\\|*", "x|anyone", True),
    ("x\\\\|*", ALICE, False),
    ("x\\\\|*", "x", False),
    ("a\\\\(b", "a(b", True),
    ("a\\\\\\\\", "a\\", True),
    ("a\\\\*", "a...", True),
    ("a\\\\*", "a\\", False),
    ("a\\\\.", "a\\b", True),
    ("a\\\\\\.", "a.", True),
    ("a\\\\\\?", "a?", True),
    ("[\\\\]", "\\", True),
    ("*\\", ALICE, True),
    ("a\\", "a", True),
    ("/CN=J\\xC3", "/CN=JxC3", True),
    ("[*]", ".", True),
    ("a\\*\\*b", "b", True),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), MATCHES)
def test_matches(pattern: str, name: str, expected: bool) -> None:
    assert parse_pattern(pattern).matches(name) is expected


REFUSED = [
    "(a", "a)", "a)|(b", "[a", "[z-a]", "[[:nope:]]", "[a-b-c]", "a{", "a{x}", "a{2,1}", "a{256}", "+a", "|\\*",
    "(\\*a)", "a\\\\", "\\\\", "(a)\\1", "(a)\\\\1", "\\<a", "\\ba", "^+", "(" * 60 + ")" * 60, "a" + "+" * 60,
    "((a{250}){250}){250}",
    "(){250}" + "{250}" * 8,
    "a" * (MAX_PATTERN_CHARS + 1), "a\nb", "a\0",
]  # fmt: skip


@pytest.mark.parametrize("pattern", REFUSED, ids=lambda text: repr(text[:20]))
def test_refuses(pattern: str) -> None:
    with pytest.raises(ParseError):
        parse_pattern(pattern)


def test_longest_patterns_are_taken() -> None:
    for pattern in ("*" * MAX_PATTERN_CHARS, "a" * MAX_PATTERN_CHARS, "?" * MAX_PATTERN_CHARS):
        parse_pattern(pattern)


def test_names_beyond_the_limit_never_match() -> None:
    assert parse_pattern("*").matches("a" * MAX_NAME_CHARS)
    assert not parse_pattern("*").matches("a" * (MAX_NAME_CHARS + 1))
    assert not parse_pattern("*").matches("a\0b")


def test_backtracking_bombs_end() -> None:
    """Each of these takes a backtracking matcher longer than the age of the universe; the test's time limit judges."""
    for bomb in ("(a\\*)\\*b", "(a|a)\\*b", "(a|aa)+b", "*a*a*a*a*a*a*a*a*a*b", "(.*)\\*" * 9):
        assert not parse_pattern(bomb).matches("a" * 1000)


# --- the same answers as regcomp and regexec, which the C server calls -----------------------------------------------

_LIBC = ctypes.CDLL(ctypes.util.find_library("c"))
_EXTENDED_NOSUB = 1 | 8


def c_translation(pattern: str) -> str:
    """The expression that the C server makes, by its own state machine (regex_compare)."""
    made, escaped = "^(", False
    for character in pattern:
        if character == "\\" and not escaped:
            escaped = True
            continue
        if character in "*?":
            made += character if escaped else {"*": ".*", "?": "."}[character]
        elif character == ".":
            made += "." if escaped else "\\."
        elif character == "\\":
            made += "\\"
        else:
            made += f"\\{character}" if escaped else character
        escaped = False
    return made + ")$"


def c_matches(pattern: str, name: str) -> bool | None:
    """What the C server finds; None where it does not compile."""
    compiled = ctypes.create_string_buffer(1024)
    if _LIBC.regcomp(compiled, c_translation(pattern).encode(), _EXTENDED_NOSUB):
        return None
    try:
        return bool(_LIBC.regexec(compiled, name.encode(), 0, None, 0) == 0)
    finally:
        _LIBC.regfree(compiled)


@pytest.mark.parametrize(("pattern", "name", "expected"), MATCHES)
def test_the_table_is_what_the_c_library_says(pattern: str, name: str, expected: bool) -> None:
    assert c_matches(pattern, name) is expected


_PIECES = st.sampled_from(
    ["a", "b", "/", "=", "*", "?", ".", "\\*", "\\?", "\\.", "+", "|", "(", ")", "[ab]", "[^a]", "[a-c]", "[[:alpha:]]",
     "[*]", "\\", "\\\\", "\\|", "[\\\\]", "{2}", "{1,2}", "{,1}", "{1,}", "^", "$", "\\+", "\\(", "\\w", "[]b]",
     "[b-]", "()"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=8).map("".join), st.text("abc/=.*+|\\", max_size=8))
def test_agrees_with_the_c_library(pattern: str, name: str) -> None:
    try:
        ours = parse_pattern(pattern).matches(name)
    except ParseError:
        return  # stricter is allowed; test_nothing_valid_is_refused says where
    assert ours == c_matches(pattern, name)


@given(st.lists(_PIECES.filter(lambda piece: piece not in "()^$"), max_size=8).map("".join))
def test_nothing_valid_is_refused(pattern: str) -> None:
    """Without parentheses and anchors (where we are stricter), what the C library compiles is taken."""
    if c_matches(pattern, "") is not None:
        parse_pattern(pattern)


@given(st.text("ab\\\\\\*?.|()[]+", max_size=12))
def test_the_expression_is_the_one_that_the_c_server_compiles(pattern: str) -> None:
    assert f"^({expand_short_forms(pattern)})$" == c_translation(pattern)


@given(st.text(max_size=40))
def test_only_our_errors(text: str) -> None:
    with contextlib.suppress(ParseError):
        parse_pattern(text).matches(text)
