"""Names of resources: what a pattern covers, every way to read a name, and what is too odd to be read."""

from __future__ import annotations

import pytest

from gsi.authz.decision import Resource
from gsi.authz.resources import MAX_NAME_CHARS, MAX_PARTS, ResourcePattern, readings
from gsi.errors import ParseError


def fits(pattern: str, name: str) -> bool:
    return all(ResourcePattern(pattern).matches(reading) for reading in readings(Resource(name)))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("/data", "/data"),
        ("/data", "/data/"),
        ("/data", "//data/."),
        ("/data/**", "/data"),
        ("/data/**", "/data/a/b"),
        ("/data/*", "/data/a"),
        ("/data/a*z", "/data/az"),
        ("/data/a*b*c", "/data/aXbYc"),
        ("/home/*/public/**", "/home/al/public/x/y"),
        ("/data/**", "ftp://se.example.org/data/f"),
        ("/**", "/"),
        ("/**", "gsiftp://h/a"),
        ("/**", "ftp://h"),
        ("ftp://SE.example.org/data/**", "FTP://se.Example.org./data/f"),
        ("ftp://*.example.org/**", "ftp://a.b.example.org/x"),
        ("ftp://*/data", "ftp://h:2811/data"),
        ("**", "anything at all"),
        ("alice/default", "alice/default"),
        ("alice/**", "alice"),
        ("jobmanager-*", "jobmanager-fork"),
        ("/data/**", "/data/%41"),
    ],
)
def test_covered(pattern: str, name: str) -> None:
    assert fits(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("/data", "/data/a"),
        ("/data", "/database"),
        ("/data", "/Data"),
        ("/data/**", "/database"),
        ("/data/**", "/"),
        ("/data/*", "/data"),
        ("/data/*", "/data/a/b"),
        ("/data/a*z", "/data/a/z"),
        ("/data/a*a", "/data/a"),
        ("ftp://a.example.org/**", "ftp://b.example.org/x"),
        ("ftp://a.example.org/**", "gsiftp://a.example.org/x"),
        ("ftp://a.example.org/**", "/x"),
        ("ftp://*.example.org/**", "ftp://example.org.evil.net/x"),
        ("ftp://*.example.org/**", "ftp://evil.net/.example.org/x"),
        ("/**", "alice/default"),
        ("alice/**", "/alice/default"),
        ("alice/**", "alicex"),
        ("/data/%2e%2e", "/data/%2E%2E%2E"),
        ("/data/a%2Fb", "/data/a%2Fb"),  # a permit must hold for /data/a/b, too
    ],
)
def test_not_covered(pattern: str, name: str) -> None:
    assert not fits(pattern, name)


@pytest.mark.parametrize(
    "name",
    [
        "/data/..",
        "/data/../etc",
        "../x",
        "/data/%2e%2e/etc",
        "/data/%252e%252e/etc",
        "/data/.%2e/x",
        "/data/a\n",
        "/data/a\0",
        "/data/%00",
        "/data/%0a",
        "/data/\x85",
        "/%25252525252541",
        "ftp://user@host/x",
        "ftp://ho st/x",
        "ftp://host\\/x",
        "ftp://%68ost/x",
        "ftp://host?/x",
        "https://h/x?y=1",
        "http://h/x#y",
        "https://h/x%3Fy",
        "/" + "a/" * (MAX_PARTS + 1),
        "/" + "a" * MAX_NAME_CHARS,
    ],
)
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(ParseError):
        readings(Resource(name))


def test_every_reading_is_given_once() -> None:
    assert [reading.parts for reading in readings(Resource("/a/%62"))] == [("a", "%62"), ("a", "b")]
    assert len(readings(Resource("/a/b"))) == 1
    assert len(readings(Resource("/a/100%"))) == 1
    assert len(readings(Resource("/a/%zz"))) == 1
    assert readings(Resource("")) == ()


def test_the_real_path_is_a_reading() -> None:
    resource = Resource("ftp://h/mine/link", {"real_path": ("/secret/f",)})
    first, second = readings(resource)
    assert (first.host, second.host) == ("h", "h")
    assert second.parts == ("secret", "f")
    assert len(readings(Resource("/a", {"real_path": ("/a",)}))) == 1
    for name, real in (("/a", "relative"), ("/a", "/x/../y"), ("", "/a")):
        with pytest.raises(ParseError):
            readings(Resource(name, {"real_path": (real,)}))


@pytest.mark.parametrize(
    "text", ["", "/a/**/b", "/a**", "***", "/../x", "/a\n", "ftp://u@h/", "/" + "a" * MAX_NAME_CHARS]
)
def test_patterns_that_mean_nothing(text: str) -> None:
    with pytest.raises(ParseError):
        ResourcePattern(text)


def test_prefixes() -> None:
    assert ResourcePattern("/a/b/**").prefix == ("a", "b")
    assert ResourcePattern("/a/*/c").prefix == ("a",)
    assert ResourcePattern("**").prefix == ()


def test_matching_takes_no_time_that_grows_with_the_number_of_stars() -> None:
    assert not fits("/" + "a*" * 500 + "b", "/" + "a" * 4000)
