"""Requests as actions and resources: every way in which something behind could read a path."""

from __future__ import annotations

import pytest

from gsi.authz.decision import Action
from gsi.authz.resources import readings
from gsi.authz.web.mapping import RequestMapping, path_of_environ, path_of_scope, split_target
from gsi.errors import ConfigError, ParseError

MAPPING = RequestMapping()


def paths(path: str) -> set[str]:
    """Every path that a request could be about."""
    return {"/" + "/".join(reading.parts) for reading in readings(MAPPING.resource(path))}


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/data/f", set()),
        ("/data/%66", {"/data/f"}),
        # compatibility characters
        ("/\uff53ecret/f", {"/secret/f"}),
        ("/data\uff0fsecret", {"/data/secret"}),
        ("/data/\ufb01le", {"/data/file"}),
        ("/%EF%BD%93ecret", {"/\uff53ecret", "/secret"}),
        # backslashes
        ("/data\\secret", {"/data/secret"}),
        ("/data%5csecret", {"/data\\secret", "/data/secret"}),
        ("/data\uff3csecret", {"/data/secret"}),
        # parameters
        ("/data;x=1/f", {"/data/f"}),
        ("/data/f;v=2", {"/data/f"}),
        ("/data%3bx/f", {"/data;x/f", "/data/f"}),
        ("/data\uff1bx/f", {"/data/f"}),
        ("/;a/data/;b;c/f", {"/data/f"}),
        # several of them
        ("/data\\f;x\uff0fg", {"/data/f/g"}),
    ],
)
def test_readings(path: str, others: set[str]) -> None:
    """What is permitted has to be permitted under each of these names."""
    assert paths(path) == {path, *others}


@pytest.mark.parametrize(
    "path",
    [
        "/data/../secret", "/data/%2e%2e/secret", "/data/\uff0e\uff0e/secret", "/data/..\\secret", "/data\\..\\secret",
        "/data/..;x=1/secret", "/data/%2e%2e%3bx/secret", "/data/%E2%80%A5/secret", "/data/\u2025/secret",
        "/data/\0", "/data/%00", "data", "", "*", "/" + "a" * 8192, "/%2525252525252e",
    ],
)  # fmt: skip
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(ParseError):
        MAPPING.resource(path)


def test_resources_of_a_host() -> None:
    found = RequestMapping(base_url="https://www.example.org").resource("/data;x/f")
    assert (found.name, found.attributes) == ("https://www.example.org/data;x/f", {"real_path": ("/data/f",)})
    for base in ("www.example.org", "ftp://h", "https://", "https://h/x"):
        with pytest.raises(ConfigError):
            RequestMapping(base_url=base)


def test_methods() -> None:
    assert MAPPING.action("PUT") == Action("write", "http")
    assert RequestMapping(actions={"MOVE": "write"}, service_type="dav").action("MOVE") == Action("write", "dav")
    for method in ("MOVE", "COPY", "put", "", "TRACE", "CONNECT", "G" * 40):
        with pytest.raises(ParseError):
            MAPPING.action(method)
    with pytest.raises(ConfigError):
        RequestMapping(actions={"get": "read"})


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/data/f?x=1#y", "/data/f"),
        ("/data/%66", "/data/f"),
        ("/data/%C3%A9", "/data/é"),
        ("/a%2Fb%5C%25%3B%3f%23", "/a%2Fb%5C%25%3B%3F%23"),
        ("/a%FF", "/a%FF"),
        ("/a%0A", "/a%0A"),
    ],
)
def test_targets(target: str, path: str) -> None:
    assert split_target(target) == path


@pytest.mark.parametrize("target", ["*", "https://h/x", "h:443", "", "/é", "/a b", "/a\n"])
def test_targets_that_are_no_paths(target: str) -> None:
    with pytest.raises(ParseError):
        split_target(target)


def test_paths_of_servers() -> None:
    assert path_of_environ({"SCRIPT_NAME": "/app", "PATH_INFO": "/\xc3\xa9"}) == "/app/é"
    assert path_of_environ({}) == "/"
    assert path_of_scope({"path": "/x", "root_path": "/app"}) == "/app/x"
    assert path_of_scope({"path": "/app/x", "root_path": "/app"}) == "/app/x"
    assert path_of_scope({"path": "/apple", "root_path": "/app"}) == "/app/apple"
    with pytest.raises(ParseError):
        path_of_environ({"PATH_INFO": "/\xff"})
    for scope in ({}, {"path": b"/x"}, {"path": "/\ufffd"}, {"path": "/\udcff"}):
        with pytest.raises(ParseError):
            path_of_scope(scope)
