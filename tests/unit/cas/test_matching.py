"""Names of objects: how they are written and which cover which, row by row."""

from __future__ import annotations

import pytest

from cas.assertion.value import Comparison
from cas.policy.matching import (
    MAX_OBJECT_BYTES,
    MAX_PARTS,
    check_base,
    common,
    covering_names,
    covers,
    meets,
    normal_object,
)
from gsi.errors import ParseError

EXACT, WILDCARD = Comparison.EXACT, Comparison.WILDCARD


@pytest.mark.parametrize(
    ("pattern", "name", "is_covered"),
    [
        ("ftp://h/d/*", "ftp://h/d/a", True),
        ("ftp://h/d/*", "ftp://h/d/a/b", True),
        ("ftp://h/d/*", "ftp://h/d/a/*", True),
        ("ftp://h/d/*", "ftp://h/d/*", True),
        ("ftp://h/d/*", "ftp://h/d", False),
        ("ftp://h/d/*", "ftp://h/dx", False),
        ("ftp://h/d/*", "ftp://h/*", False),
        ("ftp://h/*", "ftp://h/", False),
        ("ftp://h/*", "ftp://h/d", True),
        ("ftp://h/*", "ftp://h2/d", False),
        ("ftp://h/d", "ftp://h/d", True),
        ("ftp://h/d", "ftp://h/d/a", False),
        ("ftp://h/D", "ftp://h/d", False),
        ("d/*", "d/a", True),
        ("/d/*", "d/a", False),
    ],
)
def test_wildcard(pattern: str, name: str, is_covered: bool) -> None:
    assert covers(pattern, name, WILDCARD) is is_covered
    assert (pattern in covering_names(name, WILDCARD)) is is_covered, "what the index is asked for is the same"
    assert covers(pattern, name, EXACT) is (pattern == name)
    assert meets(pattern, WILDCARD, name, WILDCARD) is (is_covered or covers(name, pattern, WILDCARD))


def test_what_two_names_have_in_common() -> None:
    assert common("ftp://h/*", "ftp://h/a/*", WILDCARD) == "ftp://h/a/*"
    assert common("ftp://h/a/b", "ftp://h/a/*", WILDCARD) == "ftp://h/a/b"
    assert common("ftp://h/a/*", "ftp://h/b/*", WILDCARD) is None
    assert common("ftp://h/*", "ftp://h/a", EXACT) is None


def test_names_around_a_name() -> None:
    assert list(covering_names("ftp://h/a/b", WILDCARD)) == ["ftp://h/a/b", "ftp://h/a/*", "ftp://h/*"]
    assert list(covering_names("ftp://h/a/*", WILDCARD)) == ["ftp://h/a/*", "ftp://h/*"]
    assert list(covering_names("ftp://h/", WILDCARD)) == ["ftp://h/"]
    assert list(covering_names("ftp://h/a", EXACT)) == ["ftp://h/a"]


@pytest.mark.parametrize(
    ("name", "base", "full"),
    [
        ("FTP://Host.Example/Data/*", "", "ftp://host.example/Data/*"),
        ("ftp://h:2811/d", "", "ftp://h:2811/d"),
        ("ftp://[::1]/d", "", "ftp://[::1]/d"),
        ("ftp://H./d/*", "", "ftp://h/d/*"),
        ("ftp://h.:2811/d", "", "ftp://h:2811/d"),
        ("ftp://h../d", "", "ftp://h/d"),
        ("ftp://h/", "", "ftp://h/"),
        ("ftp://h/ein Bild/ä", "", "ftp://h/ein Bild/ä"),
        ("ftp://h/100%", "", "ftp://h/100%"),
        ("file:///d/x", "", "file:///d/x"),
        ("d/x", "ftp://H/base", "ftp://h/base/d/x"),
        ("/d/x", "ftp://h/base/", "ftp://h/base/d/x"),
        ("ftp://other/d", "ftp://h/base", "ftp://other/d"),
        ("d/*", "", "d/*"),
    ],
)
def test_full_names(name: str, base: str, full: str) -> None:
    assert normal_object(name, check_base(base, WILDCARD), WILDCARD) == full
    assert normal_object(full, "", WILDCARD) == full, "what is normal stays so"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*",
        "ftp://h",
        "ftp://h/d/",
        "ftp://h//d",
        "ftp://h/d/../e",
        "ftp://h/./d",
        "ftp://h/*/d",
        "ftp://h/d*",
        "ftp://h/*d",
        "ftp://h/%2e%2e/d",
        "ftp://user@h/d",
        "ftp://h:port/d",
        "ftp://./d",
        "ftp://h\\x/d",
        "ftp://h/a\nb",
        "ftp://h/a\0",
        " ftp://h/d",
        "ns|ftp://h/d",
        "ftp://h/\ud800",
        "ftp://h/\u202etxt",
        "ftp://h/" + "a" * MAX_OBJECT_BYTES,
        "ftp://h/" + "a/" * MAX_PARTS + "a",
    ],
)
def test_names_that_nothing_can_have(name: str) -> None:
    with pytest.raises(ParseError):
        normal_object(name, "", WILDCARD)


def test_exact_names_are_taken_as_they_are() -> None:
    assert normal_object("FTP://H/a/../*", "", EXACT) == "FTP://H/a/../*"
    assert normal_object("b", "a:", EXACT) == "a:b"
    assert normal_object("FTP://H./a/B", "", EXACT) == "ftp://h/a/B", "a place has one name in all namespaces"
    with pytest.raises(ParseError):
        normal_object("a\tb", "", EXACT)


@pytest.mark.parametrize("base", ["ftp://h/*", "ftp://h/a/../b", "a|b"])
def test_bases_that_cannot_be(base: str) -> None:
    with pytest.raises(ParseError):
        check_base(base, WILDCARD)
