"""New pass phrases: long enough, not too long, and not one of those that are guessed first."""

from __future__ import annotations

import pytest

from myproxy.portal.strength import find_weakness


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("eleven char", "at least 12 characters"),
        ("correct horse " * 10, "at most 128 characters"),
        ("passwordpassword", "guessed first. Repeats like"),
        ("123456789012", "guessed first. This is similar to a commonly used password."),
        ("wolfeschlegel1", "guessed first"),
        ("a" * 128, "guessed first"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    assert words in find_weakness(text, about=("wolfeschlegel",))


@pytest.mark.parametrize(
    "text", ["correct horse", "brand new words", "Vögel und Bäume", "x9-Q w7 & 4k!", "correct horse " * 9]
)
def test_what_is_good(text: str) -> None:
    assert find_weakness(text, about=("alice",)) == ""
