"""Nicknames: what can be one, and which look alike."""

from __future__ import annotations

import pytest

from cas.policy.model import User, UserGroup, check_new
from cas.policy.nicknames import MAX_NICKNAME_CHARS, check_nickname, skeleton
from gsi.errors import ParseError


@pytest.mark.parametrize(
    "name",
    [
        "alice",
        "Alice Smith",
        "a.b@c",
        "\u0410\u043b\u0438\u0441\u0430",
        "\u6771\u4eac\u3055\u304f\u3089",
        "\xe9mile",
        "x" * MAX_NICKNAME_CHARS,
    ],
)
def test_nicknames(name: str) -> None:
    check_nickname(name, "user")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * (MAX_NICKNAME_CHARS + 1),
        "-a",
        " a",
        "a ",
        "a  b",
        "a|b",
        "a/b",
        "a*",
        "a\nb",
        "a\x7f",
        "\u0430lice",  # a Cyrillic letter among Latin ones
        "\ufb01le",  # a ligature, whose plainer form is two letters
        "e\u0301",  # a letter and its accent apart
        "a\u200bb",  # nothing to be seen
        "a\u202eb",  # what follows runs backwards
        "\u0663",  # an Arabic digit
        "\U0001d41a",  # a mathematical letter
        "\u02b0",  # a modifier
        "a\u0338",  # a stroke through a letter
        "\ua4ee\ua4e1\ua4f2\ua4da\ua4f0",  # ALICE in Lisu
        "\u13aa\u13a0",  # GD in Cherokee
        "a\u026a",  # a small capital
        "\u01c0ars",  # a click, which is a stroke
        "\uab64lice",  # a letter of dialectologists
        "\ua781ars",  # one of a book on Cornish
    ],
)
def test_what_is_no_nickname(name: str) -> None:
    with pytest.raises(ParseError):
        check_nickname(name, "user")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", "ALICE"),
        ("alice", "aIice"),
        ("alice", "a1ice"),
        ("lars", "Iars"),
        ("mallory", "rnallory"),
        ("wolf", "vvolf"),
        ("root", "r00t"),
        ("bib", "\u0412\u0406\u0412"),  # Cyrillic throughout
        ("coco", "\u0441\u043e\u0441\u043e"),  # Cyrillic throughout
        ("HOPE", "\u041d\u041e\u0420\u0415"),
        ("NEO", "\u039d\u0395\u039f"),  # Greek throughout
        ("hug", "\u0570\u057d\u0581"),  # Armenian throughout
        ("SOU", "\u054f\u0555\u054d"),
        ("oo", "\u03c3\u03bf"),
        ("ceope", "\u0441\u04bd\u043e\u0440\u0435"),
        ("olaf", "ola\u0192"),
        ("\u3078", "\u30d8"),  # Hiragana and Katakana
        ("\u529b\u53e3", "\u30ab\u30ed"),  # Chinese and Katakana
        ("\u5de5\u4e8c", "\u30a8\u30cb"),
        ("\u0645\u064a\u0631", "\u0645\u06cc\u0631"),  # a Yeh of Arabic, and of Persian
        ("\u0643\u0631\u064a\u0645", "\u06a9\u0631\u06cc\u0645"),
        ("\u0647\u0649", "\u06c1\u06cc"),
        ("\u06be", "\u06d5"),
    ],
)
def test_what_looks_alike(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


def test_too_long_for_tokens() -> None:
    check_new(User("\u0430" * 42, "/O=Grid/CN=A", "ca"))
    with pytest.raises(ParseError, match="too long for tokens"):
        check_new(User("\u0430" * 43, "/O=Grid/CN=A", "ca"))


def test_what_is_there_keeps_its_name() -> None:
    """Rules for names are for those that are enrolled from now on."""
    for name in ("\ua4ee\ua4e1\ua4f2\ua4da\ua4f0", "\u0430lice", "-a"):
        assert User(name, "/O=Grid/CN=A", "ca").nickname == name
        with pytest.raises(ParseError):
            check_new(UserGroup(name))
    for name in ("", "a|b", "a\nb", "a\ud800", "x" * (MAX_NICKNAME_CHARS + 1)):
        with pytest.raises(ParseError):
            UserGroup(name)


def test_what_does_not() -> None:
    assert len({skeleton(name) for name in ("alice", "bob", "alice2", "al ice", "\xe9mile", "emile")}) == 6
