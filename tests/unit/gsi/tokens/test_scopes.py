"""Scopes and groups."""

from __future__ import annotations

import pytest

from gsi.errors import CapabilityError
from gsi.tokens.scopes import Capability, allows, format_scope, parse_groups, parse_path, parse_scopes


def test_by_parts() -> None:
    (one,) = parse_scopes("storage.read:/foo/bar").capabilities
    assert one.covers(("foo", "bar"))
    assert one.covers(("foo", "bar", "qux"))
    assert not one.covers(("foo", "bargain"))
    assert not one.covers(("foo",))
    assert not one.covers(())
    (root,) = parse_scopes("storage.read:/").capabilities
    assert root.covers(())
    assert root.covers(("x",))


def test_what_implies_what() -> None:
    path = ("d",)
    table = {
        "storage.read:/d": {"storage.read"},
        "storage.create:/d": {"storage.create"},
        "storage.modify:/d": {"storage.create", "storage.modify"},
        "storage.stage:/d": {"storage.read", "storage.stage"},
        "read:/d": {"storage.read"},
        "write:/d": {"storage.create", "storage.modify"},
    }
    words = ("storage.read", "storage.create", "storage.modify", "storage.stage")
    for scope, expected in table.items():
        found = parse_scopes(scope).capabilities
        assert {word for word in words if allows(found, word, path)} == expected, scope
    assert allows(parse_scopes("queue").capabilities, "compute.create")
    assert not allows(parse_scopes("compute.read").capabilities, "compute.create")


def test_all_of_them() -> None:
    found = parse_scopes("openid  storage.read:/a compute.cancel wlcg.groups:/vo execute offline_access")
    assert [one.name for one in found.capabilities] == ["storage.read", "compute.cancel", "execute"]
    assert found.others == ("openid", "wlcg.groups:/vo", "offline_access")
    assert parse_scopes("") == ((), ())
    assert not parse_scopes("compute.read").capabilities[0].covers(())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/", ()), ("//", ()), ("/a/", ("a",)), ("/a//b", ("a", "b")), ("/./a/.", ("a",)), ("/a%20b", ("a b",)),
        ("/a%2Fb", ("a", "b")), ("/%252e%252e", ("%2e%2e",)), ("/%C3%BC", ("ü",)), ("/...", ("...",)), ("/A", ("A",)),
    ],
)  # fmt: skip
def test_paths(text: str, parts: tuple[str, ...]) -> None:
    assert parse_path(text) == parts


@pytest.mark.parametrize(
    "text",
    ["", "a", "/..", "/a/../b", "/%2e%2e/a", "/.%2E", "/a%2f..", "/%", "/%4", "/%zz", "/%ff", "/%0a", "/%00", "/%7f",
     "/%C2%80", "/a" * 257, "../a", "/\udcff"],
)  # fmt: skip
def test_odd_paths(text: str) -> None:
    with pytest.raises(CapabilityError):
        parse_path(text)


@pytest.mark.parametrize(
    "text",
    ["storage.read", "storage.read:", "storage.read:data", "storage.poke:/x", "compute.run", "compute.read:/x", "read",
     'a"b', "a\\b", "ü", "a\n", " ".join(["x"] * 513)],
)  # fmt: skip
def test_odd_scopes(text: str) -> None:
    with pytest.raises(CapabilityError):
        parse_scopes(text)


def test_written_and_read() -> None:
    for one in (
        Capability("storage.read", ("a b", "%2e", "ü:", "x")),
        Capability("compute.read"),
        Capability("write", ()),
    ):
        assert parse_scopes(format_scope(one)).capabilities == (one,)


@pytest.mark.parametrize(
    "claim", [None, "x", ["vo"], ["/"], ["/vo/"], ["/vo//g"], ["/vo/."], ["/vo\n"], [5], ["/v" * 600], ["/v"] * 513]
)
def test_odd_groups(claim: object) -> None:
    with pytest.raises(CapabilityError):
        parse_groups(claim)
