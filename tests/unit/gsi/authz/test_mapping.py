"""The grid-mapfile and the VOMS map as authorizers: whom they map, to what, and whom never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from gsi.authz.decision import Account, Decision, Effect, PoolLease, Subject
from gsi.authz.engine import Engine
from gsi.authz.gridmap import parse_gridmap
from gsi.authz.mapping import GridmapAuthorizer, VomsMapAuthorizer, parse_voms_map
from gsi.errors import ConfigError, ConflictError
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


@dataclass
class _Leases:
    held: dict[str, str] = field(default_factory=dict)
    free: list[str] = field(default_factory=lambda: ["pool1", "pool2"])

    def lease(self, prefix: str, identity: str) -> tuple[str, str]:
        if not self.free:
            raise ConflictError("no free account")
        assert prefix == "pool"
        self.held[identity] = self.free.pop(0)
        return self.held[identity], identity

    def find(self, identity: str) -> tuple[str, str] | None:
        account = self.held.get(identity)
        return None if account is None else (account, identity)


def mapped(
    subject: Subject,
    *,
    desired: str | None = None,
    action: str = "login",
    kind: str = "login",
    actions: tuple[str, ...] = ("login",),
    leases: _Leases | None = None,
) -> Decision:
    authorizer = GridmapAuthorizer("map", parse_gridmap(GRIDMAP), actions=actions, leases=leases)
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


def test_pools() -> None:
    leases, pia = _Leases(), user("/O=Grid/CN=Pia")
    authorizer = GridmapAuthorizer("map", parse_gridmap(GRIDMAP), leases=leases)
    engine = Engine(policy_of(authorizer))
    assert engine.preview(request_of(pia, "login", kind="login")).effect is P
    assert not leases.held
    assert mapped(pia, desired="pool1", leases=leases).effect is N  # nothing is leased for the asking
    assert not leases.held
    first = engine.authorize(request_of(pia, "login", kind="login"))
    assert first.obligations == (PoolLease("pool1", "/O=Grid/CN=Pia"),)
    assert engine.authorize(request_of(pia, "login", kind="login")).account == "pool1"
    assert mapped(pia, desired="pool1", leases=leases).account == "pool1"
    assert mapped(pia, desired="pool2", leases=leases).effect is N
    leases.held.clear()
    leases.free.clear()
    assert mapped(pia, leases=leases).effect is I


VOMS_MAP = b"""
# first match in the order of the subject's FQANs
"/atlas/Role=production" atlasprd
"/atlas/*" atlas, other
"/cms" .pool
"""


def voms(
    subject: Subject, *, desired: str | None = None, primary_only: bool = False, leases: _Leases | None = None
) -> Decision:
    lines = tuple(parse_voms_map(VOMS_MAP, path="v"))
    authorizer = VomsMapAuthorizer("map", lines, primary_only=primary_only, leases=leases)
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


def test_voms_leases_are_per_user_and_fqan() -> None:
    leases = _Leases()
    voms(user("/O=Grid/CN=Alice", fqans=("/cms",)), leases=leases)
    voms(user("/O=Grid/CN=Bob", fqans=("/cms",)), leases=leases)
    assert leases.held == {"/O=Grid/CN=Alice:/cms": "pool1", "/O=Grid/CN=Bob:/cms": "pool2"}


@pytest.mark.parametrize(
    "line", [b'"atlas" a', b'"/atlas', b'"/atlas"', b'"/at*" a', b"/atlas/Role=x y # comment", b'"/O=Grid//CN=x" a']
)
def test_a_malformed_voms_map_is_an_error(line: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        list(parse_voms_map(b"\n" + line, path="v"))
    assert (caught.value.path, caught.value.line) == ("v", 2)
