"""The service: who may have, ask and change what, what the audit says of it, and what a change would do."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cas.assertion.value import Comparison
from cas.policy.caller import Caller
from cas.policy.changes import AddMember, Change, Enrol, Grant, Remove, RemoveMember, Revoke, SetFqan
from cas.policy.conditions import Proxies, Strength, Terms
from cas.policy.model import (
    GRANT_ALL,
    SERVER,
    SUPERUSER,
    ActionGroup,
    Effect,
    Kind,
    Namespace,
    ObjectGroup,
    ObjectName,
    Ref,
    ServiceAction,
    ServiceType,
    Statement,
    TrustAnchor,
    User,
    UserGroup,
)
from cas.policy.request import PolicyRequest, Wanted
from cas.policy.userfile import UserLine, parse_users
from cas.service import CapabilityRequest, Progress, Settings, enrolling
from gsi.certificate import Certificate
from gsi.errors import ConfigError, ConflictError, DeniedError, NotFoundError, ParseError, StorageError
from gsi.system.audit import Verdict
from gsi.trust.verify import verify_chain
from tests.harness.ca import INDEPENDENT_INFO, LIMITED_INFO, TestCA, write_trust_dir
from tests.harness.cas import (
    ADMINS,
    CA_NAME,
    FTP,
    NOW,
    READ,
    WRITE,
    Community,
    action,
    dn,
    group,
    make_community,
    object_ref,
    permit,
    user,
)

DATA = "ftp://h/data/*"
GRANT, REVOKE = action("grant", "cas"), action("revoke", "cas")


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA(CA_NAME, "p256")


@pytest.fixture
def world(ca: TestCA, tmp_path: Path) -> Iterator[Community]:
    with make_community(ca, tmp_path) as community:
        community.enrol("alice", "readers")
        community.enrol("bob")
        community.make(Enrol(ObjectName(FTP, DATA), ADMINS), Grant(permit("readers", READ, DATA)))
        community.sink.records.clear()
        yield community


# --- capabilities -----------------------------------------------------------------------------------------------------


def test_a_capability(world: Community) -> None:
    alice = world.caller("alice")
    found = world.service.capability(alice, CapabilityRequest(audience=("h",), form="saml"))
    assert (found.community, found.holder.nickname, found.holder.eec) == ("climate", "alice", alice.eec)
    assert [(right.object, right.service_type, right.actions) for right in found.rights] == [(DATA, "file", ("read",))]
    assert found.fqans == ("/climate/Role=NULL/Capability=NULL",)
    assert (found.issued_at, found.not_before, found.not_after) == (NOW, NOW, NOW + timedelta(hours=12))
    assert (found.audience, found.holder.key_thumbprint, len(found.identifier)) == (("h",), None, 16)
    (record,) = world.sink.records
    assert (record.verdict, record.action, record.peer, record.address) == (
        Verdict.PERMIT,
        "capability",
        dn("alice"),
        "192.0.2.1",
    )
    assert record.details["capability"] == found.identifier.hex()
    bound = world.service.capability(alice, CapabilityRequest(bind_key=True))
    assert bound.holder.key_thumbprint == alice.key_thumbprint
    assert bound.identifier != found.identifier


@pytest.mark.parametrize(
    ("asked", "given"), [(None, 12), (timedelta(), 12), (timedelta(hours=1), 1), (timedelta(days=9), 24)]
)
def test_lifetimes(world: Community, asked: timedelta | None, given: int) -> None:
    found = world.service.capability(world.caller("alice"), CapabilityRequest(lifetime=asked))
    assert found.not_after - NOW == timedelta(hours=given)


def test_a_capability_ends_with_what_it_rests_on(world: Community) -> None:
    alice = world.caller("alice")
    on = object_ref("ftp://h/more")
    soon, later = NOW + timedelta(minutes=10), NOW + timedelta(minutes=5)
    world.make(
        Enrol(ObjectName(FTP, on.name)),
        Grant(Statement("readers", Effect.PERMIT, READ, on, Terms(not_after=soon))),
    )
    assert world.service.capability(alice, CapabilityRequest()).not_after == soon
    part = PolicyRequest((Wanted(FTP, DATA, None),))
    assert world.service.capability(alice, CapabilityRequest(policy=part)).not_after == NOW + timedelta(hours=12)
    world.make(Grant(Statement("everyone", Effect.DENY, READ, object_ref(DATA), Terms(not_before=later))))
    assert world.service.capability(alice, CapabilityRequest(policy=part)).not_after == later
    world.now = alice.eec.not_after - timedelta(minutes=1)
    rest = world.service.capability(alice, CapabilityRequest(policy=None))
    assert rest.not_after == alice.eec.not_after
    world.now = alice.eec.not_after
    with pytest.raises(DeniedError):
        world.service.capability(alice, CapabilityRequest())


def test_nothing_for_strangers_and_nothing_for_nothing(world: Community) -> None:
    nothing = PolicyRequest((Wanted(FTP, "ftp://h/other/x", None),))
    for caller, request in (
        (world.caller("mallory"), CapabilityRequest()),
        (world.caller("alice"), CapabilityRequest(policy=nothing, fqans=None)),
        (world.caller("bob"), CapabilityRequest(fqans=None)),
        (world.caller("alice"), CapabilityRequest(policy=None, fqans=("/climate/Role=admin",))),
        (world.caller("alice"), CapabilityRequest(lifetime=timedelta(seconds=-1))),
    ):
        with pytest.raises(DeniedError):
            world.service.capability(caller, request)
    assert [record.verdict for record in world.sink.records] == [Verdict.DENY] * 5
    odd = PolicyRequest((Wanted(FTP, "ftp://h/../x", None),))
    with pytest.raises(ParseError):
        world.service.capability(world.caller("alice"), CapabilityRequest(policy=odd))


def test_somebody_of_another_ca_is_somebody_else(world: Community) -> None:
    other = TestCA("/O=Grid/CN=Other CA", "p256").issue(dn("alice"), "p256")
    eec = Certificate.parse(other.chain_der[0])
    with pytest.raises(DeniedError):
        world.service.whoami(Caller(eec=eec, key_thumbprint=b"", not_after=eec.not_after))
    assert world.service.whoami(world.caller("alice")) == "alice"


def test_groups_and_roles(world: Community) -> None:
    world.enrol("carol", "model", "admins", "elsewhere")
    world.make(
        SetFqan("model", "/climate/model"), SetFqan("admins", "/climate/Role=admin"), SetFqan("elsewhere", "/x/y")
    )
    carol = world.caller("carol")

    def fqans(*asked: str) -> tuple[str, ...]:
        found = world.service.capability(carol, CapabilityRequest(fqans=asked)).fqans
        return tuple(fqan.replace("/Capability=NULL", "").replace("/Role=NULL", "") for fqan in found)

    assert fqans() == ("/climate", "/climate/model")
    assert fqans("/climate/Role=admin", "/climate") == ("/climate/Role=admin", "/climate")
    assert fqans("/climate/model/Role=NULL/Capability=NULL", "/climate/Role=other", "/x/y") == ("/climate/model",)


def test_limited_proxies_and_strength(world: Community) -> None:
    world.make(Revoke(permit("readers", READ, DATA)))
    world.make(Grant(Statement("readers", Effect.PERMIT, READ, object_ref(DATA), Terms(proxies=Proxies.FULL))))
    world.make(Grant(Statement("readers", Effect.PERMIT, WRITE, object_ref(DATA), Terms(strength=Strength.HIGH))))

    def actions(**how: object) -> list[tuple[str, ...]]:
        return [
            one.actions for one in world.service.capability(world.caller("alice", **how), CapabilityRequest()).rights
        ]

    assert actions() == [("read",)]
    assert actions(limited=True) == []
    assert actions(limited=True, strength=Strength.HIGH) == [("write",)]


def test_callers_are_made_of_verified_chains(world: Community, ca: TestCA, tmp_path: Path) -> None:
    from gsi.system.trustdir import TrustDirectory

    issued = ca.issue(dn("alice"), "p256")
    anchors = TrustDirectory(str(write_trust_dir(tmp_path / "ca", ca))).anchors()
    for proxy, limited in ((issued, False), (issued.proxy(), False), (issued.proxy(info=LIMITED_INFO), True)):
        chain = tuple(map(Certificate.parse, proxy.chain_der))
        peer = verify_chain(chain, anchors, now=chain[0].not_before + timedelta(minutes=1))
        caller = Caller.from_peer(peer, fqans=["/vo/Role=NULL"], groups=["g"])
        assert (caller.eec, caller.limited, caller.fqans) == (
            Certificate.parse(issued.chain_der[0]),
            limited,
            frozenset({"/vo"}),
        )
        assert caller.key_thumbprint == hashlib.sha256(proxy.chain_der[0]).digest()
        assert world.service.whoami(caller) == "alice"
    chain = tuple(map(Certificate.parse, issued.proxy(info=INDEPENDENT_INFO).chain_der))
    peer = verify_chain(chain, anchors, now=chain[0].not_before + timedelta(minutes=1))
    with pytest.raises(DeniedError):
        Caller.from_peer(peer)


def test_no_capability_without_audit_or_clock(world: Community) -> None:
    world.sink.broken = True
    with pytest.raises(StorageError, match="no space"):
        world.service.capability(world.caller("alice"), CapabilityRequest())
    world.sink.broken = False
    world.now = NOW - timedelta(hours=1)
    with pytest.raises(StorageError, match="clock"):
        world.service.capability(world.caller("alice"), CapabilityRequest())


def test_settings_that_cannot_be() -> None:
    for options in ({"community": "a/b"}, {"community": ""}, {"community": "x", "max_lifetime": timedelta(hours=1)}):
        with pytest.raises(ConfigError):
            Settings(**options)


# --- CAS's own rights -------------------------------------------------------------------------------------------------

NEEDS: list[tuple[Change, list[tuple[Ref, Ref]]]] = [
    (Enrol(TrustAnchor("other", "/CN=Other"), "own"), [(action("enroll_trustAnchor", "cas"), SERVER)]),
    (Enrol(User("new", dn("new"), "ca"), "own"), [(action("enroll_user", "cas"), SERVER)]),
    (Enrol(Namespace("new", "", Comparison.EXACT), "own"), [(action("enroll_namespace", "cas"), SERVER)]),
    (Enrol(ObjectName(FTP, "ftp://new/*"), "own"), [(action("enroll_object", "cas"), SERVER)]),
    (Enrol(ServiceType("new"), "own"), [(action("enroll_serviceType", "cas"), SERVER)]),
    (Enrol(ServiceAction("file", "new")), [(action("create_group_entry", "cas"), Ref(Kind.SERVICE_TYPE, "file"))]),
    (Enrol(UserGroup("new"), "own"), [(action("create_user_group", "cas"), SERVER)]),
    (Enrol(ObjectGroup("new"), "own"), [(action("create_object_group", "cas"), SERVER)]),
    (Enrol(ActionGroup("new"), "own"), [(action("create_serviceAction_group", "cas"), SERVER)]),
    (Remove(group("empty")), [(action("delete_user_group", "cas"), group("empty"))]),
    (Remove(object_ref(DATA)), [(action("remove", "cas"), object_ref(DATA))]),
    (
        Remove(action("chdir")),
        [(action("delete_group_entry", "cas"), Ref(Kind.SERVICE_TYPE, "file"))],
    ),
    (AddMember(group("empty"), user("alice")), [(action("add_group_entry", "cas"), group("empty"))]),
    (RemoveMember(group("readers"), user("alice")), [(action("remove_group_entry", "cas"), group("readers"))]),
    (Grant(permit("own", READ, DATA)), [(GRANT, object_ref(DATA)), (READ, object_ref(DATA))]),
    (Grant(permit("own", GRANT_ALL, DATA)), [(GRANT_ALL, object_ref(DATA))]),
    (Grant(permit("own", READ, DATA, Effect.DENY)), [(GRANT, object_ref(DATA))]),
    (Revoke(permit("readers", READ, DATA)), [(REVOKE, object_ref(DATA))]),
    (
        Revoke(permit("own", READ, DATA, Effect.DENY)),
        [(REVOKE, object_ref(DATA)), (GRANT, object_ref(DATA)), (READ, object_ref(DATA))],
    ),
    (
        AddMember(Ref(Kind.OBJECT_GROUP, "things"), object_ref(DATA)),
        [(action("add_group_entry", "cas"), Ref(Kind.OBJECT_GROUP, "things")), (GRANT_ALL, object_ref(DATA))],
    ),
    (
        AddMember(Ref(Kind.SERVICE_ACTION_GROUP, "acts"), READ),
        [(action("add_group_entry", "cas"), Ref(Kind.SERVICE_ACTION_GROUP, "acts"))],
    ),
    (SetFqan("empty", "/climate/empty"), [(SUPERUSER, SERVER)]),
]


@pytest.mark.parametrize(("change", "needed"), NEEDS, ids=lambda value: type(value).__name__)
def test_each_right_is_needed_and_all_are_enough(
    world: Community, change: Change, needed: list[tuple[Ref, Ref]]
) -> None:
    world.make(
        Enrol(UserGroup("empty")), Enrol(UserGroup("own")), Enrol(ObjectGroup("things")), Enrol(ActionGroup("acts"))
    )
    world.make(AddMember(group("own"), user("bob")))
    bob = world.caller("bob")
    for left_out in range(len(needed)):
        some = [Grant(permit("own", *one)) for number, one in enumerate(needed) if number != left_out]
        world.make(*some)
        with pytest.raises(DeniedError):
            world.service.apply(bob, [change])
        world.make(*(Revoke(one.statement) for one in some))
    world.make(*(Grant(permit("own", *one)) for one in needed))
    world.service.apply(bob, [change])


def test_nobody_grants_what_they_do_not_hold(world: Community) -> None:
    world.enrol("bob", "own")
    ag = Ref(Kind.SERVICE_ACTION_GROUP, "acts")
    world.make(Enrol(ActionGroup("acts")), Grant(permit("own", GRANT, DATA)), Grant(permit("own", READ, DATA)))
    bob = world.caller("bob")
    world.service.grant(bob, permit("readers", READ, "ftp://H/data/*"))
    for statement in (permit("own", WRITE, DATA), permit("own", GRANT_ALL, DATA), permit("own", ag, DATA)):
        with pytest.raises(DeniedError):
            world.service.grant(bob, statement)
    world.make(AddMember(ag, READ))
    world.service.grant(bob, permit("readers", ag, DATA))
    world.make(AddMember(ag, WRITE))
    with pytest.raises(DeniedError):
        world.service.grant(bob, permit("own", ag, DATA))
    world.make(Grant(permit("own", action("add_group_entry", "cas"), ag)))
    with pytest.raises(DeniedError, match="statements use"):
        world.service.apply(bob, [AddMember(ag, action("delete"))])


def test_nobody_enrols_over_the_heads_of_others(world: Community) -> None:
    world.enrol("bob", "own")
    world.make(Grant(permit("own", action("enroll_object", "cas"), SERVER)))
    bob = world.caller("bob")
    for name in ("ftp://h/*", "ftp://h/data/part/*", "ftp://h/data/f"):
        with pytest.raises(DeniedError):
            world.service.enrol(bob, ObjectName(FTP, name), "own")
    world.service.enrol(bob, ObjectName(FTP, "ftp://h/mine/*"), "own")
    world.service.enrol(bob, ObjectName(FTP, "ftp://h/mine/part/*"), "own")
    with pytest.raises(DeniedError):
        world.service.enrol(bob, ObjectName(FTP, "ftp://h/*"), "own")
    world.make(Grant(permit("own", GRANT_ALL, DATA)))
    world.service.enrol(bob, ObjectName(FTP, "ftp://h/*"), "own")


@pytest.mark.parametrize(
    ("namespace", "name"),
    [(FTP, "ftp://H./*"), (FTP, "ftp://h./data/x"), ("FTPExact", "FTP://h/data/x"), ("FTPExact", "ftp://h./data/x")],
)
def test_nobody_enrols_what_others_call_otherwise(world: Community, namespace: str, name: str) -> None:
    world.enrol("bob", "own")
    world.make(Grant(permit("own", action("enroll_object", "cas"), SERVER)))
    with pytest.raises(DeniedError, match="grantAll"):
        world.service.enrol(world.caller("bob"), ObjectName(namespace, name), "own")
    world.make(Grant(permit("own", GRANT_ALL, DATA)))
    if name.endswith("x"):
        world.service.enrol(world.caller("bob"), ObjectName(namespace, name), "own")


def test_nobody_enrols_around_what_others_call_otherwise(world: Community) -> None:
    world.enrol("bob", "own")
    world.make(
        Grant(permit("own", action("enroll_object", "cas"), SERVER)),
        Enrol(ObjectName("FTPExact", "ftp://h/more/x"), ADMINS),
    )
    with pytest.raises(DeniedError, match="grantAll"):
        world.service.enrol(world.caller("bob"), ObjectName(FTP, "ftp://h/more/*"), "own")


@pytest.mark.parametrize(("namespace", "name"), [("FTPExact", "ftp://h/data/x"), (FTP, "ftp://h./data/x")])
def test_a_denial_holds_whatever_the_object_is_called(world: Community, namespace: str, name: str) -> None:
    asked = PolicyRequest((Wanted(namespace, name, None),))
    admin = world.admin
    assert world.service.capability(admin, CapabilityRequest(policy=asked, fqans=None)).rights
    world.make(Grant(permit("everyone", READ, DATA, Effect.DENY)))
    found = world.service.capability(admin, CapabilityRequest(policy=asked, fqans=None))
    assert [one for one in found.rights if "read" in one.actions] == []
    world.make(
        Revoke(permit("everyone", READ, DATA, Effect.DENY)),
        Enrol(ObjectName("FTPExact", "ftp://h/data/x"), ADMINS),
        Grant(permit("everyone", READ, Ref(Kind.OBJECT, "ftp://h/data/x", "FTPExact"), Effect.DENY)),
    )
    tree = PolicyRequest((Wanted(FTP, DATA, None),))
    found = world.service.capability(admin, CapabilityRequest(policy=tree, fqans=None))
    assert [one for one in found.rights if "read" in one.actions] == [], "nor all that it is in"
    world.make(Grant(permit("readers", GRANT, DATA)))
    with pytest.raises(DeniedError):
        world.service.grant(world.caller("alice"), permit("readers", READ, DATA))


SOON, LATER = NOW + timedelta(hours=1), NOW + timedelta(hours=2)


@pytest.mark.parametrize(
    ("held", "given", "is_enough"),
    [
        (Terms(not_after=SOON), Terms(), False),
        (Terms(not_after=SOON), Terms(not_after=LATER), False),
        (Terms(not_after=SOON), Terms(not_after=SOON, strength=Strength.HIGH), True),
        (Terms(proxies=Proxies.FULL), Terms(), False),
        (Terms(proxies=Proxies.FULL), Terms(proxies=Proxies.LIMITED), False),
        (Terms(proxies=Proxies.FULL), Terms(proxies=Proxies.FULL), True),
        (Terms(strength=Strength.MEDIUM), Terms(strength=Strength.LOW), False),
        (Terms(strength=Strength.MEDIUM), Terms(strength=Strength.MEDIUM), True),
    ],
)
def test_nobody_grants_more_than_they_hold(world: Community, held: Terms, given: Terms, is_enough: bool) -> None:
    world.enrol("bob", "own")
    on = object_ref(DATA)
    world.make(Grant(permit("own", GRANT, DATA)), Grant(Statement("own", Effect.PERMIT, WRITE, on, held)))
    wanted = Statement("own", Effect.PERMIT, WRITE, on, given)
    if is_enough:
        world.service.grant(world.caller("bob"), wanted)
        return
    with pytest.raises(DeniedError, match="to grant it"):
        world.service.grant(world.caller("bob"), wanted)


def test_what_is_held_for_a_time_is_not_made_ones_own(world: Community) -> None:
    """Neither by enrolling a part of it, nor through a group of objects, nor before a denial begins."""
    world.enrol("bob", "own")
    bob = world.caller("bob")
    things = Ref(Kind.OBJECT_GROUP, "things")
    on = object_ref(DATA)
    world.make(
        Enrol(ObjectGroup("things"), "own"),
        Grant(permit("own", action("enroll_object", "cas"), SERVER)),
        Grant(Statement("own", Effect.PERMIT, GRANT_ALL, on, Terms(not_after=SOON))),
    )
    with pytest.raises(DeniedError):
        world.service.enrol(bob, ObjectName(FTP, "ftp://h/data/x"), "own")
    with pytest.raises(DeniedError):
        world.service.apply(bob, [AddMember(things, on)])
    world.make(
        Grant(permit("own", GRANT_ALL, DATA)),
        Grant(Statement("own", Effect.DENY, READ, on, Terms(not_before=SOON))),
    )
    with pytest.raises(DeniedError):
        world.service.grant(bob, permit("readers", READ, DATA))
    world.service.grant(bob, Statement("readers", Effect.PERMIT, READ, on, Terms(not_after=SOON)))


def test_removing_lifts_no_denial(world: Community) -> None:
    world.enrol("bob", "own")
    bob = world.caller("bob")
    on, things = object_ref("ftp://h/data/embargo/*"), Ref(Kind.OBJECT_GROUP, "things")
    denial = permit("own", READ, on, Effect.DENY)
    world.make(
        Enrol(ObjectName(FTP, on.name)),
        Grant(denial),
        Grant(permit("own", action("remove", "cas"), on)),
        Enrol(ObjectGroup("things"), "own"),
        AddMember(things, on),
        Grant(permit("own", GRANT_ALL, on)),
        Grant(permit("own", READ, things, Effect.DENY)),
    )
    with pytest.raises(DeniedError, match="revoke"):
        world.service.apply(bob, [RemoveMember(things, on)])
    world.make(RemoveMember(things, on))
    with pytest.raises(DeniedError, match="revoke"):
        world.service.remove(bob, on)
    world.make(Revoke(denial))
    world.service.remove(bob, on)


def test_nobody_grants_on_a_group_what_is_denied_on_its_members(world: Community) -> None:
    world.enrol("bob", "own")
    bob = world.caller("bob")
    on, outer, inner = object_ref("ftp://h/data/embargo/*"), Ref(Kind.OBJECT_GROUP, "og"), Ref(Kind.OBJECT_GROUP, "in")
    world.make(
        Enrol(ObjectName(FTP, on.name)),
        Enrol(ObjectGroup("og")),
        Enrol(ObjectGroup("in")),
        AddMember(outer, inner),
        AddMember(inner, on),
        Grant(permit("own", GRANT, outer)),
        Grant(permit("own", READ, outer)),
        Grant(permit("own", READ, DATA, Effect.DENY)),
    )
    with pytest.raises(DeniedError, match="to grant it"):
        world.service.grant(bob, permit("readers", READ, outer))
    world.make(Revoke(permit("own", READ, DATA, Effect.DENY)))
    world.service.grant(bob, permit("readers", READ, outer))


def test_no_group_governs_itself_by_a_group_of_actions(world: Community) -> None:
    acts = Ref(Kind.SERVICE_ACTION_GROUP, "acts")
    world.make(Enrol(ActionGroup("acts")), AddMember(acts, GRANT_ALL))
    with pytest.raises(ConflictError, match="itself"):
        world.service.grant(world.admin, permit("readers", acts, group("readers")))


def test_the_last_superuser_stays(world: Community) -> None:
    admins = group(ADMINS)
    with pytest.raises(ConflictError, match="superuser"):
        world.service.apply(world.admin, [RemoveMember(admins, user("admin"))])
    with pytest.raises(ConflictError, match="superuser"):
        world.service.revoke(world.admin, permit(ADMINS, SUPERUSER, SERVER))
    for_a_time = Statement("readers", Effect.PERMIT, SUPERUSER, SERVER, Terms(not_after=SOON))
    world.make(Grant(for_a_time))
    with pytest.raises(ConflictError, match="superuser"):
        world.service.apply(world.admin, [RemoveMember(admins, user("admin"))])
    world.service.apply(world.admin, [AddMember(admins, user("bob")), RemoveMember(admins, user("admin"))])


def test_strangers_do_not_hear_what_is_enrolled(world: Community) -> None:
    change = Grant(permit("readers", READ, DATA))
    for caller in (world.caller("mallory"), world.caller("bob")):
        for version in (1, 99):
            with pytest.raises(DeniedError):
                world.service.apply(caller, [change], expected={user("alice"): version})
            with pytest.raises(DeniedError):
                world.service.apply(caller, [change], expected_revision=version)
        with pytest.raises(DeniedError):
            world.service.enrol(caller, ObjectName("nons", "x"), "readers")
        with pytest.raises(DeniedError):
            world.service.preview(caller, [Enrol(ObjectName("nons", "x"), "readers")])


def test_limited_proxies_change_nothing(world: Community) -> None:
    with pytest.raises(DeniedError, match="limited"):
        world.service.enrol(world.caller("admin", limited=True), UserGroup("new"), ADMINS)
    with pytest.raises(DeniedError, match="not enrolled"):
        world.service.enrol(world.caller("mallory"), UserGroup("new"), ADMINS)


def test_changes_are_told(world: Community) -> None:
    applied = world.service.grant(world.admin, permit("readers", WRITE, DATA), reason="ticket 12")
    (record,) = world.sink.records
    assert (record.verdict, record.action, record.reason) == (Verdict.PERMIT, "grant", "ticket 12")
    assert record.details["change"] == f"grant permit readers serviceAction file/write on object {FTP}|{DATA}"
    (entry,) = world.service.history(world.admin, after=applied.revision - 1)
    assert (entry.actor, entry.reason, entry.request_id) == (dn("admin"), "ticket 12", "r1")
    with pytest.raises(ConflictError):
        world.service.remove(world.admin, group("readers"))
    assert world.sink.records[-1].verdict is Verdict.FAIL
    world.sink.broken = True
    with pytest.raises(StorageError):
        world.service.enrol(world.admin, UserGroup("new"), ADMINS)
    world.sink.broken = False
    assert "new" not in world.service.list_names(world.admin, Kind.USER_GROUP)


def test_what_was_looked_at_is_what_is_changed(world: Community) -> None:
    preview = world.service.preview(world.admin, [Grant(permit("everyone", READ, DATA))])
    world.make(Enrol(UserGroup("faster")))
    with pytest.raises(ConflictError):
        world.service.apply(world.admin, [Grant(permit("everyone", READ, DATA))], expected_revision=preview.revision)


# --- questions --------------------------------------------------------------------------------------------------------


def test_questions_need_the_right_to_ask(world: Community) -> None:
    bob, service = world.caller("bob"), world.service
    questions: list[Callable[[Caller], object]] = [
        lambda who: service.list_names(who, Kind.USER),
        lambda who: service.get(who, user("alice")),
        lambda who: service.list_members(who, group("readers")),
        lambda who: service.find_policies(who, object_ref("ftp://H/data/*")),
        service.history,
        lambda who: service.who_can(who, READ, object_ref(DATA)),
        lambda who: service.why(who, "alice", READ, object_ref(DATA)),
        lambda who: service.rights_of(who, "alice"),
        lambda who: service.preview(who, []),
    ]
    for question in questions[:-1]:
        with pytest.raises(DeniedError):
            question(bob)
    assert {record.verdict for record in world.sink.records} == {Verdict.DENY}
    world.make(Enrol(UserGroup("own")), AddMember(group("own"), user("bob")))
    world.make(Grant(permit("own", action("query", "cas"), SERVER)))
    for question in questions:
        question(bob)
    with pytest.raises(NotFoundError):
        service.get(bob, user("nobody"))
    with pytest.raises(NotFoundError):
        service.rights_of(bob, "nobody")
    assert service.rights_of(world.caller("alice"), "alice").rights == service.rights_of(bob, "alice").rights


def test_why(world: Community) -> None:
    alice, on = world.caller("alice"), object_ref("ftp://h/data/f")
    told = world.service.why(alice, "alice", READ, on)
    assert told.permitted
    assert told.lines == (f"permit readers serviceAction file/read on object {FTP}|{DATA} (alice is in readers)",)
    told = world.service.why(alice, "alice", WRITE, on)
    assert (told.permitted, told.lines) == (False, ("no statement permits it",))
    world.make(Enrol(UserGroup("all")), AddMember(group("all"), group("readers")))
    world.make(Grant(permit("all", READ, DATA, Effect.DENY)))
    world.make(
        Grant(Statement("everyone", Effect.PERMIT, WRITE, object_ref(DATA), Terms(not_before=NOW + timedelta(days=1))))
    )
    told = world.service.why(alice, "alice", READ, on)
    assert not told.permitted
    assert "alice is in readers, which is in all" in told.lines[0]
    told = world.service.why(alice, "alice", WRITE, on)
    assert told.lines[1].startswith("begins later: permit everyone")
    assert "everybody is in it" in told.lines[1]


@pytest.mark.parametrize(("permitted", "denied"), [("ftp://h/d/*", "ftp://h/*"), ("ftp://h/d/*", "ftp://h/d/*")])
def test_a_star_in_an_exact_name_is_reached_by_denials(world: Community, permitted: str, denied: str) -> None:
    """Whether a capability is asked for by name or as a whole, and whoever may do it is asked for."""
    exact = object_ref(permitted, "FTPExact")
    world.make(Enrol(ObjectName(FTP, denied)), Enrol(ObjectName(exact.scope, exact.name)))
    world.make(Grant(Statement("readers", Effect.PERMIT, READ, exact)))
    alice = world.caller("alice")
    by_name = CapabilityRequest(policy=PolicyRequest((Wanted(exact.scope, exact.name, None),)))

    def has() -> list[bool]:
        found: list[bool] = []
        for one in (by_name, CapabilityRequest()):
            try:
                rights = world.service.capability(alice, one).rights
            except DeniedError:
                rights = ()
            found.append(any(right.namespace == exact.scope for right in rights))
        return [*found, "alice" in world.service.who_can(world.admin, READ, exact).users]

    assert has() == [True, True, True]
    world.make(Grant(permit("everyone", READ, denied, Effect.DENY)))
    assert has() == [False, False, False]


# --- many users -------------------------------------------------------------------------------------------------------


def test_many_users_in_parts(world: Community, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolling, "BATCH_LINES", 4)
    lines = [f"m{number}\t/O=Grid/CN=Many {number}\tca\treaders\n" for number in range(10)]
    seen: list[Progress] = []

    def stopping(count: int) -> Iterator[UserLine]:
        for line in parse_users(lines):
            if line.number > count:
                raise KeyboardInterrupt
            yield line

    with pytest.raises(KeyboardInterrupt):
        world.service.enrol_users(world.admin, stopping(6), owner=ADMINS, digest="d", progress=seen.append)
    assert seen == [Progress(4, 4)]
    done = world.service.enrol_users(
        world.admin, parse_users(lines), owner=ADMINS, digest="d", reason="import", progress=seen.append
    )
    assert done == Progress(10, 6)
    assert seen[1:] == [Progress(8, 4), Progress(10, 6)]
    assert world.service.who_can(world.admin, READ, object_ref(DATA)).total == 12
    again = world.service.enrol_users(world.admin, parse_users(lines), owner=ADMINS, digest="d")
    assert again == Progress(10, 0)
    assert [record.details["users"] for record in world.sink.records if record.action == "enrol-users"] == [4, 4, 2]


def test_a_file_given_again_enrols_who_was_removed(world: Community) -> None:
    lines = [f"{name}\t{dn(name)}\tca\treaders\n" for name in ("carol", "dave", "eve")]

    def enrol() -> Progress:
        return world.service.enrol_users(world.admin, parse_users(lines), owner=ADMINS, digest="d")

    assert [enrol(), enrol()] == [Progress(3, 3), Progress(3, 0)]
    world.make(RemoveMember(group("readers"), user("carol")), Remove(user("carol")))
    world.make(RemoveMember(group("readers"), user("dave")))
    assert enrol() == Progress(3, 1)
    for name in ("carol", "dave"):
        assert world.service.why(world.admin, name, READ, object_ref(DATA)).permitted


def test_nobody_says_that_anothers_file_is_done(world: Community) -> None:
    world.enrol("bob", "own")
    world.make(Grant(permit("own", action("enroll_user", "cas"), SERVER)))
    bob, digest = world.caller("bob"), "d" * 64
    junk = parse_users(["# nothing\n", "# nothing\n"])
    assert world.service.enrol_users(bob, junk, owner=ADMINS, digest=digest) == Progress(2, 0)
    lines = [f"{name}\t{dn(name)}\tca\n" for name in ("carol", "dave")]
    assert world.service.enrolled_lines(world.admin, owner=ADMINS, digest=digest) == 0
    assert world.service.enrol_users(world.admin, parse_users(lines), owner=ADMINS, digest=digest) == Progress(2, 2)
    assert world.service.enrolled_lines(world.admin, owner=ADMINS, digest=digest) == 2


def test_a_bearer_token_ends_with_the_proxy(world: Community) -> None:
    soon = NOW + timedelta(minutes=2)
    short = dataclasses.replace(world.caller("alice"), not_after=soon)
    assert world.service.capability(short, CapabilityRequest(form="jwt")).not_after == soon
    assert world.service.capability(short, CapabilityRequest(form="jwt", bind_key=True)).not_after > soon
    assert world.service.capability(short, CapabilityRequest(form="saml1")).not_after > soon


def test_many_users_need_the_rights_of_one(world: Community) -> None:
    world.enrol("bob", "own")
    bob = world.caller("bob")
    lines = ["new\t/O=Grid/CN=new\tca\treaders\n"]
    for needed in ((action("enroll_user", "cas"), SERVER), (action("add_group_entry", "cas"), group("readers"))):
        with pytest.raises(DeniedError):
            world.service.enrol_users(bob, parse_users(lines), owner="own", digest="d")
        world.make(Grant(permit("own", *needed)))
    assert world.service.enrol_users(bob, parse_users(lines), owner="own", digest="d").enrolled == 1
    assert world.sink.records[-2].verdict is Verdict.DENY
