"""Scopes of rights: what is written, and above all what is not."""

from __future__ import annotations

import pytest

from cas.assertion.scopes import SCITOKENS_RULES, ScopeBase, ScopeMapping, ScopeRule, map_rights
from cas.assertion.value import Comparison, Right
from gsi.errors import ConfigError
from tests.harness.capabilities import file_right

SE = "https://se.example.org:8443"
CE = "https://ce.example.org"
BASE = ScopeBase(namespace="FTPDirectoryTree", prefix="ftp://se.example.org/vo", audiences=frozenset({SE, "se"}))
JOBS = ScopeBase(namespace="gram", prefix="gram://ce.example.org", audiences=frozenset({CE}))
MAPPING = ScopeMapping(bases=(BASE, JOBS))


def _scopes(*rights: Right, mapping: ScopeMapping = MAPPING, audience: tuple[str, ...] = (SE,)) -> tuple[str, ...]:
    return map_rights(rights, mapping, audience=audience).scopes


def _vo(path: str, *actions: str) -> Right:
    return file_right(f"ftp://se.example.org/vo{path}", *actions)


@pytest.mark.parametrize(
    ("right", "scopes"),
    [
        (_vo("/data/*", "read"), ("storage.read:/data",)),
        (_vo("/*", "read"), ("storage.read:/",)),
        (_vo("/data/*", "read", "stage"), ("storage.read:/data", "storage.stage:/data")),
        (_vo("/data/*", "create"), ("storage.create:/data",)),
        (_vo("/data/*", "create", "delete", "write"), ("storage.create:/data", "storage.modify:/data")),
        (_vo("/a b/ü%/*", "read"), ("storage.read:/a%20b/%C3%BC%25",)),
        # a host has no case, and a right on more than the base is one on all of it
        (file_right("FTP://SE.Example.org/vo/data/*", "read"), ("storage.read:/data",)),
        (file_right("ftp://se.example.org/*", "read"), ("storage.read:/",)),
        (file_right("*", "read"), ("storage.read:/",)),
    ],
)
def test_written(right: Right, scopes: tuple[str, ...]) -> None:
    mapped = map_rights([right], MAPPING, audience=(SE,))
    assert mapped.scopes == scopes
    assert mapped.left_out == ()
    assert mapped.audiences == (SE,)


@pytest.mark.parametrize(
    "right",
    [
        # actions that no scope stands for alone
        _vo("/data/*", "write"),
        _vo("/data/*", "delete", "write"),
        _vo("/data/*", "create_", "lookup"),
        _vo("/data/*", "stage"),
        # single objects
        _vo("/data/f", "read"),
        _vo("/data", "read"),
        file_right("ftp://se.example.org/vo/data/*", "read", comparison=Comparison.EXACT),
        # elsewhere
        file_right("/*", "read"),
        file_right("/vo/*", "read"),
        file_right("data/*", "read"),
        file_right("ftp://other.example.org/vo/data/*", "read"),
        file_right("ftp://se.example.org.evil.example/vo/*", "read"),
        file_right("ftp://se.example.org/voX/data/*", "read"),
        file_right("ftp://se.example.org/v*", "read"),
        file_right("http://se.example.org/vo/*", "read"),
        file_right("ftp://se.example.org/vo/*", "read", namespace="Other"),
        # odd paths
        _vo("/data/../etc/*", "read"),
        _vo("/data//x/*", "read"),
        _vo("/./x/*", "read"),
        _vo("/a*b/*", "read"),
        _vo("/a\nb/*", "read"),
        # jobs at some of the places only
        Right("gram", "gram://ce.example.org/jobmanager-fork", Comparison.WILDCARD, "gram", ("start",)),
        Right("gram", "gram://ce.example.org/jobmanager-fork/*", Comparison.WILDCARD, "gram", ("start",)),
    ],
)
def test_left_out(right: Right) -> None:
    for audience in ((SE,), (CE,), ()):
        mapped = map_rights([right], MAPPING, audience=audience)
        assert mapped.scopes == ()
        assert mapped.left_out == (right,)


def test_rights_on_one_place_count_together() -> None:
    assert _scopes(_vo("/*", "create", "delete"), _vo("/data/*", "write")) == (
        "storage.create:/",
        "storage.modify:/data",
    )
    assert _scopes(_vo("/data/*", "write"), _vo("/dataX/*", "create", "delete")) == ("storage.create:/dataX",)
    assert _scopes(_vo("/data/a/*", "create", "delete"), _vo("/data/*", "write")) == (
        "storage.create:/data/a",
        "storage.modify:/data/a",
    )


def test_single_files() -> None:
    base = ScopeBase(
        namespace="FTPExact", prefix="ftp://se.example.org/vo", audiences=frozenset({SE}), single_files=True
    )
    mapping = ScopeMapping(bases=(base,))
    right = file_right("ftp://se.example.org/vo/f", "read", comparison=Comparison.EXACT, namespace="FTPExact")
    assert _scopes(right, mapping=mapping) == ("storage.read:/f",)
    star = file_right("ftp://se.example.org/vo/*", "read", comparison=Comparison.EXACT, namespace="FTPExact")
    assert _scopes(star, mapping=mapping) == ()


def test_jobs() -> None:
    every = Right("gram", "gram://ce.example.org/*", Comparison.WILDCARD, "gram", ("cancel", "start", "status"))
    assert _scopes(every, audience=(CE,)) == ("compute.create", "compute.read", "compute.cancel")
    assert _scopes(every, audience=(SE,)) == ()
    assert _scopes(every, audience=(CE, SE)) == ()


def test_a_token_for_several_services_says_what_holds_at_each() -> None:
    second = ScopeBase(
        namespace="FTPDirectoryTree", prefix="ftp://two.example.org", audiences=frozenset({"https://two.example.org"})
    )
    mapping = ScopeMapping(bases=(BASE, second))
    rights = (_vo("/data/*", "read"), file_right("ftp://two.example.org/else/*", "read"))
    assert _scopes(*rights, mapping=mapping, audience=(SE,)) == ("storage.read:/data",)
    assert _scopes(*rights, mapping=mapping, audience=("https://two.example.org",)) == ("storage.read:/else",)
    # A path at one of them would be a path at the other.
    assert _scopes(*rights, mapping=mapping, audience=(SE, "https://two.example.org")) == ()
    both = map_rights(rights, mapping)
    assert (both.scopes, both.audiences, both.left_out) == ((), (), rights)
    assert map_rights(rights[:1], mapping).audiences == ("https://se.example.org:8443", "se")
    assert _scopes(*rights, mapping=mapping, audience=("https://wlcg.cern.ch/jwt/v1/any",)) == ()


def test_rules_of_ones_own() -> None:
    strict = ScopeRule(scope="storage.read", service_type="file", actions=frozenset({"read", "lookup"}))
    mapping = ScopeMapping(bases=(BASE,), rules=(strict,))
    assert _scopes(_vo("/d/*", "read"), mapping=mapping) == ()
    assert _scopes(_vo("/d/*", "read", "lookup"), mapping=mapping) == ("storage.read:/d",)
    mapped = map_rights(
        [_vo("/d/*", "read", "create", "write", "delete")], MAPPING, audience=(SE,), rules=SCITOKENS_RULES
    )
    assert mapped.scopes == ("read:/d", "write:/d")


def test_what_no_configuration_may_say() -> None:
    for scope, service_type, actions in (
        ("storage.admin", "file", {"read"}),
        ("openid", "file", {"read"}),
        ("storage.read", "file", set()),
        ("storage.read", "", {"read"}),
    ):
        with pytest.raises(ConfigError):
            ScopeRule(scope=scope, service_type=service_type, actions=frozenset(actions))
    for namespace, prefix, audiences in (
        ("", "ftp://h", {SE}),
        ("n", "ftp://h", set()),
        ("n", "ftp://h", {""}),
        ("n", "ftp://h/*", {SE}),
        ("n", "ftp://h/../x", {SE}),
    ):
        with pytest.raises(ConfigError):
            ScopeBase(namespace=namespace, prefix=prefix, audiences=frozenset(audiences))


def test_many_rights_are_quick() -> None:
    """The work grows with the rights, not with their square."""
    rights = [_vo(f"/{number}/a/b/c/*", "read", "create", "delete", "write") for number in range(2000)]
    assert len(_scopes(*rights)) == 6000


def test_all_paths_are_all_of_a_base_of_paths() -> None:
    paths = ScopeMapping(bases=(ScopeBase(namespace="FTPDirectoryTree", prefix="/vo", audiences=frozenset({SE})),))
    assert _scopes(file_right("/*", "read"), mapping=paths) == ("storage.read:/",)
    assert _scopes(file_right("/vo/data/*", "read"), mapping=paths) == ("storage.read:/data",)
    assert _scopes(file_right("/other/*", "read"), mapping=paths) == ()


@pytest.mark.parametrize("prefix", ["ftp://se", "ftp://se/", "ftp://se/vo"])
def test_the_base_itself_is_no_file(prefix: str) -> None:
    """Whatever is said of single objects: a scope for it would be one for all of the base."""
    base = ScopeBase(namespace="FTPDirectoryTree", prefix=prefix, audiences=frozenset({SE}), single_files=True)
    for name in ("ftp://se/", "ftp://se/vo"):
        scopes = _scopes(file_right(name, "read"), mapping=ScopeMapping(bases=(base,)))
        assert scopes == (("storage.read:/vo",) if name == "ftp://se/vo" != prefix else ())
