"""The grid-mapfile and the VOMS map as authorizers: whom they map, to what, and whom never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from gsi.authz.decision import Account, Decision, Effect, PoolLease, Subject
from gsi.authz.engine import Engine
from gsi.authz.gridmap import parse_gridmap
from gsi.authz.mapping import GridmapAuthorizer, VomsMapAuthorizer, parse_voms_map
from gsi.authz.pool import PoolDirectory, User
from gsi.errors import ConfigError
from gsi.proxy.kinds import ProxyKind
from tests.harness.authz import policy_of, request_of, user

P, D, N, I = Effect.PERMIT, Effect.DENY, Effect.NOT_APPLICABLE, Effect.INDETERMINATE  # noqa: E741
GRIDMAP = rb"""
"/O=Grid/CN=Alice" alice,grid
"/O=Grid/CN=Ren\xc3\xa9" rene
"/O=Grid/CN=Pia" .pool
"/O=Grid/CN=Nobody"
"/O=Grid/CN=Odd" a\b
"/O=Grid/CN=Root" root
"/O=Grid/CN=x/CN=Admin" admin
"""


@pytest.fixture
def pool(tmp_path: Path) -> PoolDirectory:
    """A gridmapdir with two accounts."""
    directory = tmp_path / "gridmapdir"
    directory.mkdir(mode=0o755)
    for number in (1, 2):
        (directory / f"pool{number}").touch(mode=0o600)
    return PoolDirectory(str(directory), find_user=lambda account: User(5000 + int(account[-1]), 5000))


def mapped(
    subject: Subject,
    *,
    desired: str | None = None,
    action: str = "login",
    kind: str = "login",
    actions: tuple[str, ...] = ("login",),
    pool: PoolDirectory | None = None,
) -> Decision:
    authorizer = GridmapAuthorizer("map", parse_gridmap(GRIDMAP), actions=actions, pool=pool)
    request = request_of(subject, action, kind=kind, desired_account=desired)
    return Engine(policy_of(authorizer)).authorize(request)


@pytest.mark.parametrize(
    ("dn", "desired", "account"),
    [
        ("/O=Grid/CN=Alice", None, "alice"),
        ("/O=Grid/CN=Alice", "alice", "alice"),
        ("/O=Grid/CN=Alice", "grid", "grid"),
        ("/o=grid/cn=ALICE", None, "alice"),
        ("/O=Grid/CN=René", None, "rene"),
        ("/O=Grid/CN=Odd", None, "a\\b"),
        ("/O=Grid/CN=x/CN=Admin", None, "admin"),
    ],
)
def test_mapped(dn: str, desired: str | None, account: str) -> None:
    decision = mapped(user(dn), desired=desired)
    assert decision.effect is P
    assert decision.obligations == (Account(account),)


@pytest.mark.parametrize(
    ("subject", "desired", "effect"),
    [
        (user("/O=Grid/CN=Bob"), None, N),
        (user("/O=Grid/CN=Nobody"), None, N),
        (user("/O=Grid/CN=Alice"), "root", N),
        (user("/O=Grid/CN=Alice"), "", N),
        (user("/O=Grid/CN=Alice"), ".pool", N),
        (user("/O=Grid/CN=Root"), None, D),
        (user("/O=Grid/CN=Pia"), None, N),
        (user("/O=Grid/CN=x\\/CN=Admin"), None, N),
        (user("/O=Grid/CN=Alice/CN=7"), None, N),
        (user(), None, N),
        (Subject(identity="/O=Grid/CN=Alice", authenticated_by="token"), None, N),
    ],
)
def test_not_mapped(subject: Subject, desired: str | None, effect: Effect) -> None:
    decision = mapped(subject, desired=desired)
    assert decision.effect is effect
    assert not decision.obligations


@pytest.mark.parametrize(
    ("actions", "action", "kind", "effect"),
    [
        (("login",), "read", "file", N),
        (("*",), "read", "file", P),
        (("file:*",), "read", "file", P),
        (("file:*",), "start", "job", N),
        (("job:start", "login"), "start", "job", P),
    ],
)
def test_it_speaks_of_its_actions_only(actions: tuple[str, ...], action: str, kind: str, effect: Effect) -> None:
    assert mapped(user("/O=Grid/CN=Alice"), actions=actions, action=action, kind=kind).effect is effect


def test_pools(pool: PoolDirectory) -> None:
    pia = user("/O=Grid/CN=Pia")
    authorizer = GridmapAuthorizer("map", parse_gridmap(GRIDMAP), pool=pool)
    assert authorizer.may_block
    engine = Engine(policy_of(authorizer, may_block=True))
    assert engine.preview(request_of(pia, "login", kind="login")).effect is P
    assert mapped(pia, desired="pool1", pool=pool).effect is N  # nothing is leased for the asking
    assert not pool.leases()
    first = engine.authorize(request_of(pia, "login", kind="login"))
    assert first.obligations == (PoolLease("pool1", "%2fo%3dgrid%2fcn%3dpia"),)
    assert engine.authorize(request_of(pia, "login", kind="login")).account == "pool1"
    assert engine.preview(request_of(pia, "login", kind="login")).account == "pool1"
    assert mapped(pia, desired="pool1", pool=pool).account == "pool1"
    assert mapped(pia, desired="pool2", pool=pool).effect is N
    pool.release("/O=Grid/CN=Pia")
    for other in ("/O=Grid/CN=x", "/O=Grid/CN=y"):
        pool.take(other, ".pool")
    assert mapped(pia, pool=pool).effect is I


VOMS_MAP = b"""
# first match in the order of the subject's FQANs
"/atlas/Role=production" atlasprd
"/atlas/*" atlas, other
"/cms" .pool
"""


def voms(
    subject: Subject, *, desired: str | None = None, primary_only: bool = False, pool: PoolDirectory | None = None
) -> Decision:
    lines = tuple(parse_voms_map(VOMS_MAP, path="v"))
    authorizer = VomsMapAuthorizer("map", lines, primary_only=primary_only, pool=pool)
    return Engine(policy_of(authorizer)).authorize(request_of(subject, "login", kind="login", desired_account=desired))


@pytest.mark.parametrize(
    ("fqans", "desired", "account"),
    [
        (("/atlas/Role=production/Capability=NULL",), None, "atlasprd"),
        (("/atlas/g", "/atlas/Role=production"), None, "atlas"),
        (("/atlas/g",), "other", "other"),
        (("/atlas/g",), "root", None),
        (("/atlas",), None, None),
        (("/atlasX/g",), None, None),
        (("/lhcb", "/atlas/Role=production"), None, "atlasprd"),
        ((), None, None),
    ],
)
def test_voms(fqans: tuple[str, ...], desired: str | None, account: str | None) -> None:
    decision = voms(user("/O=Grid/CN=Alice", fqans=fqans), desired=desired)
    assert decision.account == account
    assert decision.effect is (N if account is None else P)


def test_voms_primary_only() -> None:
    subject = user("/O=Grid/CN=Alice", fqans=("/lhcb", "/atlas/Role=production"))
    assert voms(subject, primary_only=True).effect is N


def test_voms_attributes_that_prove_nothing() -> None:
    subject = user("/O=Grid/CN=Alice", fqans=("/atlas/Role=production",))
    assert voms(replace(subject, independent=True)).effect is N
    assert voms(replace(subject, kind=ProxyKind.RESTRICTED)).effect is N
    assert voms(replace(subject, fqans=("atlas",))).effect is I
    claims: Mapping[str, object] = {"fqans": ["/atlas/Role=production"]}
    assert voms(replace(subject, fqans=(), groups=frozenset({"/atlas/Role=production"}), claims=claims)).effect is N


def test_voms_leases_are_per_user_and_fqan(pool: PoolDirectory) -> None:
    for name in ("Alice", "Bob"):
        voms(user(f"/O=Grid/CN={name}", fqans=("/cms",)), pool=pool)
    assert {lease.dn: lease.account for lease in pool.leases()} == {
        "/o=grid/cn=alice:/cms": "pool1",
        "/o=grid/cn=bob:/cms": "pool2",
    }


@pytest.mark.parametrize(
    "line", [b'"atlas" a', b'"/atlas', b'"/atlas"', b'"/at*" a', b"/atlas/Role=x y # comment", b'"/O=Grid//CN=x" a']
)
def test_a_malformed_voms_map_is_an_error(line: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        list(parse_voms_map(b"\n" + line, path="v"))
    assert (caught.value.path, caught.value.line) == ("v", 2)
