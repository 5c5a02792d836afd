"""Who may do something: every kind of entry that a policy can have, and that a denial takes it off the list."""

from __future__ import annotations

import pytest

from gsi.authz.ban import BanListAuthorizer, parse_bans
from gsi.authz.decision import ANONYMOUS, Effect
from gsi.authz.engine import Engine
from gsi.authz.gridmap import parse_gridmap
from gsi.authz.mapping import GridmapAuthorizer, VomsMapAuthorizer, parse_voms_map
from gsi.authz.rulefile import parse_rules
from gsi.authz.rules import RulesAuthorizer
from gsi.authz.whocan import unlisted, who_can
from tests.harness.authz import Fixed, policy_of, request_of


def asked(rules: str, bans: str = "", action: str = "read", resource: str = "/data/f", kind: str = "file") -> list[str]:
    gridmap = b'"/O=Grid/CN=Alice" alice\n"/O=Grid/CN=Bob" bob\n"odd" x\n'
    engine = Engine(
        policy_of(
            BanListAuthorizer("bans", parse_bans(bans.encode(), path="b")),
            RulesAuthorizer("rules", parse_rules(rules.encode(), path="r")),
            GridmapAuthorizer("map", parse_gridmap(gridmap)),
            VomsMapAuthorizer("voms", tuple(parse_voms_map(b'"/vo/*" vo\n', path="v"))),
        )
    )
    found = [answer.who for answer in who_can(engine, request_of(ANONYMOUS, action, resource, kind=kind))]
    assert not engine.recent()
    return found


@pytest.mark.parametrize(
    ("rule", "who"),
    [
        ("permit dn /O=Grid/CN=Carol, https://iss#1 to read", ["dn /O=Grid/CN=Carol", "dn https://iss#1"]),
        ("permit dn-like /O=Other/CN=* to read", ["dn-like /O=Other/CN=*"]),
        ("permit dn-like /O=Other/** to read", ["dn-like /O=Other/**"]),
        ("permit fqan /vo/Role=prod to read", ["fqan /vo/Role=prod"]),
        ("permit fqan /x/**, /y/* to read", ["fqan /x/**", "fqan /y/*"]),
        ("permit group staff, st* to read", ["group staff", "group st*"]),
        ("permit dn /O=Grid/CN=Carol group staff to read", ["dn /O=Grid/CN=Carol group staff"]),
        ("permit dn-like /O=Other/** fqan /x to read", ["dn-like /O=Other/** fqan /x"]),
        ("permit issuer https://iss to read", ["issuer https://iss"]),
        ("permit dn /O=Grid/CN=Carol to read by kerberos", ["dn /O=Grid/CN=Carol by kerberos"]),
        ("permit dn /O=Grid/CN=Carol to write", []),
        ("permit dn /O=Grid/CN=Carol to read on /other", []),
        ("permit dn /O=Grid/CN=Carol to read\ndeny dn /O=Grid/CN=Carol", []),
        ("permit fqan /x to read\ndeny fqan /x", []),
    ],
)
def test_rules(rule: str, who: list[str]) -> None:
    assert asked(rule) == who


def test_everybody() -> None:
    found = asked("permit anyone to read")
    assert found[:2] == ["anyone", "authenticated"]
    found = asked("permit authenticated to read")
    assert found[0] == "authenticated"
    assert "dn /O=Grid/CN=Alice" in found


def test_maps_and_bans() -> None:
    who = asked("deny anyone to write", action="login", kind="login", resource="")
    assert who == ["dn /O=Grid/CN=Alice", "dn /O=Grid/CN=Bob", "fqan /vo/*"]
    who = asked("deny anyone to write", "dn /O=Grid/CN=Bob", action="login", kind="login", resource="")
    assert who == ["dn /O=Grid/CN=Alice", "fqan /vo/*"]


def test_who_is_not_listed() -> None:
    """Types that name nobody, wherever they stand; a ban list permits nobody anyway."""
    engine = Engine(
        policy_of(
            BanListAuthorizer("bans", ()),
            Fixed(Effect.PERMIT, name="directory"),
            RulesAuthorizer("rules", ()),
        )
    )
    assert unlisted(engine) == ("directory",)
