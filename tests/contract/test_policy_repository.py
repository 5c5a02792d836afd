"""What every store of a policy must keep, whatever it is made of; each new kind joins `policy` below."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from cas.assertion.value import Comparison
from cas.policy.changes import (
    AddFeed,
    AddMember,
    Change,
    Enrol,
    Grant,
    Remove,
    RemoveFeed,
    RemoveMember,
    Revoke,
    SetFqan,
)
from cas.policy.conditions import Circumstances, Proxies, Strength, Terms
from cas.policy.evaluate import judge, narrow
from cas.policy.model import (
    GRANT_ALL,
    SERVER,
    SUPERUSER,
    ActionGroup,
    ActionName,
    Effect,
    Entity,
    Feed,
    FeedSource,
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
from cas.policy.request import EVERYTHING, PolicyRequest, Wanted
from cas.policy.userfile import parse_users
from cas.repository.base import MAX_DEPTH, MAX_GROUPS, MAX_SKEW, Author, LinesRefusedError, View
from cas.repository.rows import insert_many
from cas.repository.sql import SQLPolicy, open_postgres_policy, open_sqlite_policy
from cas.repository.tables import ENROLMENTS
from cas.repository.transfer import export_lines, import_lines
from cas.repository.withdrawn import Withdrawn
from gsi.errors import ConflictError, DeniedError, NotFoundError, ParseError, StorageError
from tests.harness.cas import ADMINS, FTP, NOW, READ, WRITE, action, begin, dn, group, object_ref, permit, user
from tests.harness.postgres import Postgres
from tests.harness.stores import lay_store

BY = Author("/O=Grid/CN=admin", NOW, "a reason", "r1")
HOW = Circumstances(NOW)
DATA = "ftp://h/data/*"


@pytest.fixture(params=["sqlite", "postgresql"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], SQLPolicy]]:
    """Opens one and the same store, as each of several nodes does."""
    if request.param == "sqlite":
        lay_store(open_sqlite_policy, tmp_path / "store")
        yield lambda: open_sqlite_policy(str(tmp_path / "store"))
    else:
        server = request.getfixturevalue("postgres_server")
        assert isinstance(server, Postgres)
        with server.database() as conninfo:
            yield lambda: open_postgres_policy(conninfo)


@pytest.fixture
def policy(opener: Callable[[], SQLPolicy]) -> Iterator[SQLPolicy]:
    store = opener()
    store.apply(begin(), BY)
    yield store
    store.close()


def make(policy: SQLPolicy, *changes: Change) -> tuple[bool, ...]:
    return policy.apply(changes, BY).changed


def readers(policy: SQLPolicy) -> None:
    """The worked example: Alice reads below a directory."""
    make(
        policy,
        Enrol(UserGroup("readers"), ADMINS),
        Enrol(User("alice", dn("alice"), "ca"), ADMINS),
        AddMember(group("readers"), user("alice")),
        Enrol(ObjectName(FTP, "FTP://H/data/*"), ADMINS),
        Grant(permit("readers", READ, DATA)),
    )


def may(policy: SQLPolicy, nickname: str, what: Ref, on: Ref, how: Circumstances = HOW) -> bool:
    def look(view: View) -> bool:
        found = view.find_user_named(nickname)
        assert found is not None
        return judge(view.matched(view.groups_of(found.number), what, on), how).permitted

    return policy.reading(look)


def rights(policy: SQLPolicy, nickname: str, request: PolicyRequest = EVERYTHING) -> set[tuple[str, tuple[str, ...]]]:
    def look(view: View) -> set[tuple[str, tuple[str, ...]]]:
        found = view.find_user_named(nickname)
        assert found is not None
        outcome = narrow(
            view.applicable(view.groups_of(found.number), request),
            request,
            HOW,
            until=NOW + timedelta(hours=1),
            all_actions=view.all_actions(),
        )
        return {(right.object, right.actions) for right in outcome.rights}

    return policy.reading(look)


# --- things -----------------------------------------------------------------------------------------------------------


def test_what_goes_in_comes_out(policy: SQLPolicy) -> None:
    things: list[Entity] = [
        TrustAnchor("other", "/O=Other/CN=CA", strength=Strength.HIGH),
        User("b\xf6b", "/O=Other/CN=B\xf6b", "other"),
        UserGroup("writers"),
        Namespace("tape", "ftp://tape/base", Comparison.WILDCARD),
        ObjectName("tape", "ftp://tape/base/a b/*"),
        ObjectGroup("all data"),
        ServiceType("http://example.org/jobs"),
        ServiceAction("http://example.org/jobs", "start"),
        ActionGroup("use"),
    ]
    make(policy, *(Enrol(thing) for thing in things))
    for thing in things:
        found = policy.reading(lambda view, ref=thing.ref: view.find(ref))  # type: ignore[misc]  # bound at once
        assert found is not None
        assert (found.entity, found.version) == (thing, 1)
    assert policy.reading(lambda view: view.list_names(Kind.TRUST_ANCHOR)) == ("ca", "other")
    assert policy.reading(lambda view: view.list_names(Kind.TRUST_ANCHOR, after="ca")) == ("other",)
    assert policy.reading(lambda view: view.list_names(Kind.OBJECT, scope="tape")) == ("ftp://tape/base/a b/*",)
    assert policy.reading(lambda view: view.list_names(Kind.OBJECT, scope="nowhere")) == ()


def test_names_are_made_full(policy: SQLPolicy) -> None:
    make(policy, Enrol(Namespace("tape", "FTP://Tape/base/", Comparison.WILDCARD)), Enrol(ObjectName("tape", "a/*")))
    assert policy.reading(lambda view: view.list_names(Kind.OBJECT, scope="tape")) == ("ftp://tape/base/a/*",)
    make(policy, Remove(object_ref("a/*", "tape")))
    assert policy.reading(lambda view: view.list_names(Kind.OBJECT, scope="tape")) == ()
    for name in ("a/../b", "a//b", "a%2fb", "*/b"):
        with pytest.raises(ParseError):
            make(policy, Enrol(ObjectName("tape", name)))


def test_names_are_unique_also_to_the_eye(policy: SQLPolicy) -> None:
    readers(policy)
    for thing in (
        User("alice", dn("other"), "ca"),
        User("ALICE", dn("other"), "ca"),
        User("\u0430\u04cf\u0456\u0441\u0435", dn("other"), "ca"),
        User("alice2", "/o=grid/cn=ALICE", "ca"),
        UserGroup("Readers"),
        TrustAnchor("ca2", "CN=ca,O=grid"),
        ObjectName(FTP, "ftp://H/data/*"),
        Namespace("ftpdirectorytree", "", Comparison.EXACT),
    ):
        with pytest.raises(ConflictError):
            make(policy, Enrol(thing))
    make(policy, Enrol(ObjectName("FTPExact", DATA)), Enrol(UserGroup("alice")))


def test_what_is_missing(policy: SQLPolicy) -> None:
    for change in (
        Enrol(User("bob", dn("bob"), "nowhere")),
        Enrol(UserGroup("g"), "nobody"),
        Enrol(ObjectName("nowhere", "x")),
        Enrol(ServiceAction("nothing", "x")),
        AddMember(group("nobody"), user("admin")),
        AddMember(group(ADMINS), user("nobody")),
        Grant(permit("nobody", READ, SERVER)),
        Grant(permit(ADMINS, action("nothing"), SERVER)),
        Grant(permit(ADMINS, READ, "ftp://nowhere/x")),
        SetFqan("nobody", "/climate"),
    ):
        with pytest.raises(NotFoundError):
            make(policy, change)


def test_things_in_use_stay(policy: SQLPolicy) -> None:
    readers(policy)
    make(
        policy,
        Enrol(ObjectGroup("og")),
        AddMember(Ref(Kind.OBJECT_GROUP, "og"), object_ref(DATA)),
        Enrol(ActionGroup("ag")),
        AddMember(Ref(Kind.SERVICE_ACTION_GROUP, "ag"), WRITE),
        Enrol(UserGroup("fed")),
        AddFeed("fed", Feed(FeedSource.VOMS, "/climate")),
    )
    for ref in (
        user("alice"),
        group("readers"),
        group("fed"),
        Ref(Kind.TRUST_ANCHOR, "ca"),
        Ref(Kind.NAMESPACE, FTP),
        Ref(Kind.SERVICE_TYPE, "file"),
        READ,
        WRITE,
        object_ref(DATA),
        Ref(Kind.OBJECT_GROUP, "og"),
        Ref(Kind.SERVICE_ACTION_GROUP, "ag"),
        SERVER,
        group("everyone"),
        Ref(Kind.NAMESPACE, "casDefaultNS"),
        Ref(Kind.SERVICE_TYPE, "cas"),
        GRANT_ALL,
    ):
        with pytest.raises(ConflictError):
            make(policy, Remove(ref))


def test_removing_takes_the_statements_on_it_along(policy: SQLPolicy) -> None:
    readers(policy)
    assert make(policy, Remove(object_ref(DATA))) == (True,)
    statements = policy.reading(lambda view: view.list_statements(group("readers")))
    assert [one.object for one in statements] == [group("readers")], "what was granted on the object is gone"
    entry = policy.reading(lambda view: view.history(about=object_ref(DATA)))[-1]
    assert entry.change == Remove(object_ref(DATA))
    assert set(entry.purged) == {permit("readers", READ, DATA), permit(ADMINS, GRANT_ALL, DATA)}
    make(policy, RemoveMember(group("readers"), user("alice")), Remove(user("alice")), Remove(group("readers")))
    assert policy.reading(lambda view: view.find(user("alice"))) is None


def test_removing_what_is_not_there_is_no_error(policy: SQLPolicy) -> None:
    absent: list[Change] = [
        Remove(user("nobody")),
        Remove(object_ref("ftp://h/x")),
        RemoveMember(group(ADMINS), user("nobody")),
        Revoke(permit("nobody", READ, "ftp://h/x")),
        RemoveFeed(ADMINS, Feed(FeedSource.VOMS, "/x")),
    ]
    assert make(policy, *absent) == (False,) * len(absent)
    assert policy.reading(lambda view: view.history(after=1)) == ()
    for change in (RemoveMember(group("nobody"), user("admin")), RemoveFeed("nobody", Feed(FeedSource.VOMS, "/x"))):
        with pytest.raises(NotFoundError, match="there is no userGroup nobody"):
            make(policy, change)


def test_doing_it_twice_changes_nothing(policy: SQLPolicy) -> None:
    readers(policy)
    done: list[Change] = [AddMember(group("readers"), user("alice")), Grant(permit("readers", READ, DATA))]
    assert make(policy, *done) == (False, False)
    new: list[Change] = [
        SetFqan("readers", "/climate/readers"),
        AddFeed("readers", Feed(FeedSource.LDAP, "cn=readers")),
        Revoke(permit("readers", READ, DATA)),
    ]
    for change in new:
        assert make(policy, change, change) == (True, False)


# --- groups -----------------------------------------------------------------------------------------------------------


def test_groups_are_never_in_themselves(policy: SQLPolicy) -> None:
    for kind, form, leaf in (
        (Kind.USER_GROUP, UserGroup, user("admin")),
        (Kind.OBJECT_GROUP, ObjectGroup, user("admin")),
        (Kind.SERVICE_ACTION_GROUP, ActionGroup, READ),
    ):
        names = [Ref(kind, name) for name in ("one", "two", "three")]
        make(policy, *(Enrol(form(ref.name)) for ref in names))
        make(policy, AddMember(names[0], names[1]), AddMember(names[1], names[2]), AddMember(names[2], leaf))
        for inner, outer in ((0, 0), (0, 1), (0, 2), (1, 2)):
            with pytest.raises(ConflictError, match="in itself"):
                make(policy, AddMember(names[outer], names[inner]))
        assert policy.reading(lambda view, ref=names[0]: view.list_members(ref)) == (names[1],)  # type: ignore[misc]  # bound at once


def test_what_groups_hold(policy: SQLPolicy) -> None:
    readers(policy)
    og, ag = Ref(Kind.OBJECT_GROUP, "og"), Ref(Kind.SERVICE_ACTION_GROUP, "ag")
    make(policy, Enrol(ObjectGroup("og")), Enrol(ActionGroup("ag")))
    things = [object_ref(DATA), user("alice"), group("readers"), Ref(Kind.SERVICE_TYPE, "file")]
    things += [Ref(Kind.NAMESPACE, FTP), Ref(Kind.TRUST_ANCHOR, "ca")]
    make(policy, *(AddMember(og, thing) for thing in things), AddMember(ag, READ))
    assert set(policy.reading(lambda view: view.list_members(og))) == set(things)
    seen: list[Ref] = []

    def following(view: View) -> tuple[Ref, ...]:
        return view.list_members(og, after=seen[-1] if seen else None, limit=2)

    while page := policy.reading(following):
        seen += page
    assert sorted(seen) == sorted(things)
    for container, member in (
        (og, READ),
        (ag, user("alice")),
        (group("readers"), object_ref(DATA)),
        (user("alice"), og),
    ):
        with pytest.raises(ConflictError):
            make(policy, AddMember(container, member))
    with pytest.raises(ConflictError):
        make(policy, AddMember(group("everyone"), user("alice")))


def test_how_deep_and_how_many(policy: SQLPolicy) -> None:
    chain = [group(f"g{number}") for number in range(MAX_DEPTH + 1)]
    make(policy, *(Enrol(UserGroup(ref.name)) for ref in chain))
    make(policy, *(AddMember(outer, inner) for outer, inner in itertools.pairwise(chain[:-1])))
    with pytest.raises(ConflictError, match="deeper"):
        make(policy, AddMember(chain[-2], chain[-1]))
    with pytest.raises(ConflictError, match="deeper"):
        make(policy, AddMember(chain[-1], chain[0]))
    make(policy, AddMember(chain[0], chain[-1]))
    assert MAX_GROUPS > MAX_DEPTH


def test_self_reference_is_refused(policy: SQLPolicy) -> None:
    readers(policy)
    outer, inner = Ref(Kind.OBJECT_GROUP, "outer"), Ref(Kind.OBJECT_GROUP, "inner")
    with pytest.raises(ParseError):
        permit("readers", GRANT_ALL, group("readers"))
    make(policy, Enrol(ObjectGroup("outer")), Enrol(ObjectGroup("inner")), AddMember(outer, inner))
    make(policy, Grant(permit("readers", GRANT_ALL, outer)))
    with pytest.raises(ConflictError):
        make(policy, AddMember(inner, group("readers")))
    make(policy, Revoke(permit("readers", GRANT_ALL, outer)), AddMember(inner, group("readers")))
    with pytest.raises(ConflictError):
        make(policy, Grant(permit("readers", GRANT_ALL, outer)))
    make(policy, Grant(permit(ADMINS, GRANT_ALL, outer)))


# --- rights -----------------------------------------------------------------------------------------------------------


def test_the_worked_example(policy: SQLPolicy) -> None:
    readers(policy)
    assert may(policy, "alice", READ, object_ref("ftp://h/data/f"))
    for what, name in (
        (WRITE, "ftp://h/data/f"),
        (READ, "ftp://h/other/f"),
        (READ, "ftp://h/data"),
        (READ, "ftp://h/*"),
    ):
        assert not may(policy, "alice", what, object_ref(name))
    assert may(policy, "admin", WRITE, object_ref("ftp://h/other/f"))
    assert rights(policy, "alice") == {(DATA, ("read",))}
    narrow_to = PolicyRequest((Wanted(FTP, "ftp://h/data/a/*", frozenset({ActionName("file", "read")})),))
    assert rights(policy, "alice", narrow_to) == {("ftp://h/data/a/*", ("read",))}
    wider = PolicyRequest((Wanted(FTP, "ftp://h/*", None), Wanted("nowhere", "x", None)))
    assert rights(policy, "alice", wider) == {(DATA, ("read",))}
    with pytest.raises(NotFoundError):
        may(policy, "alice", action("nothing"), object_ref(DATA))


def test_denials_go_first(policy: SQLPolicy) -> None:
    readers(policy)
    secret = "ftp://h/data/secret/*"
    make(
        policy,
        Enrol(ObjectName(FTP, secret)),
        Enrol(UserGroup("suspended")),
        AddMember(group("suspended"), user("alice")),
        Grant(permit("suspended", READ, secret, Effect.DENY)),
    )
    assert may(policy, "alice", READ, object_ref("ftp://h/data/f"))
    assert not may(policy, "alice", READ, object_ref("ftp://h/data/secret/f"))
    assert not may(policy, "alice", READ, object_ref(DATA)), "a whole that holds something denied is not permitted"
    assert rights(policy, "alice") == set()
    part = PolicyRequest((Wanted(FTP, "ftp://h/data/open/*", None), Wanted(FTP, "ftp://h/data/secret/x", None)))
    assert rights(policy, "alice", part) == {("ftp://h/data/open/*", ("read",))}
    make(policy, RemoveMember(group("suspended"), user("alice")))
    assert rights(policy, "alice") == {(DATA, ("read",))}


def test_groups_of_everything(policy: SQLPolicy) -> None:
    readers(policy)
    og, ag = Ref(Kind.OBJECT_GROUP, "og"), Ref(Kind.SERVICE_ACTION_GROUP, "ag")
    inner = Ref(Kind.OBJECT_GROUP, "inner")
    make(
        policy,
        Enrol(UserGroup("all")),
        AddMember(group("all"), group("readers")),
        Enrol(ObjectGroup("og")),
        Enrol(ObjectGroup("inner")),
        AddMember(og, inner),
        AddMember(inner, object_ref(DATA)),
        Enrol(ActionGroup("ag")),
        AddMember(ag, WRITE),
        AddMember(ag, action("create")),
        Grant(Statement("all", Effect.PERMIT, ag, og)),
    )
    assert may(policy, "alice", WRITE, object_ref("ftp://h/data/f"))
    assert rights(policy, "alice") == {(DATA, ("create", "read", "write"))}
    for name, found in (("ftp://h/data/x", "ftp://h/data/x"), ("ftp://h/*", DATA)):
        asked = PolicyRequest((Wanted(FTP, name, frozenset({ActionName("file", "write")})),))
        assert rights(policy, "alice", asked) == {(found, ("write",))}
    assert policy.reading(lambda view: view.chain(view.find_user_named("alice").number, "all")) == ("readers", "all")  # type: ignore[union-attr]  # is enrolled
    make(policy, Grant(Statement("everyone", Effect.DENY, ag, og)))
    assert not may(policy, "alice", WRITE, object_ref("ftp://h/data/f"))
    assert rights(policy, "alice") == {(DATA, ("read",))}


def test_grant_all_is_every_action_but_to_be_superuser(policy: SQLPolicy) -> None:
    readers(policy)
    make(policy, Grant(permit("readers", GRANT_ALL, DATA)), Grant(permit("readers", GRANT_ALL, SERVER)))
    assert may(policy, "alice", action("delete"), object_ref("ftp://h/data/x"))
    assert may(policy, "alice", action("grant", "cas"), object_ref(DATA))
    assert may(policy, "alice", action("enroll_user", "cas"), SERVER)
    assert not may(policy, "alice", SUPERUSER, SERVER)
    ((name, actions),) = rights(policy, "alice")
    assert name == DATA
    assert {"read", "write", "delete"} <= set(actions)
    assert "grant" not in actions, "CAS's own rights are no business of resources"


def test_attributes_make_members(policy: SQLPolicy) -> None:
    readers(policy)
    make(
        policy,
        Enrol(UserGroup("voms")),
        AddFeed("voms", Feed(FeedSource.VOMS, "/climate/Role=prod/Capability=NULL")),
        AddFeed("voms", Feed(FeedSource.LDAP, "cn=prod")),
        Grant(permit("voms", WRITE, DATA)),
        SetFqan("voms", "/climate/voms"),
    )

    def look(view: View) -> list[bool]:
        alice = view.find_user_named("alice")
        assert alice is not None
        shown: list[tuple[frozenset[str], frozenset[str]]] = [
            (frozenset(), frozenset()),
            (frozenset({"/climate/Role=prod"}), frozenset()),
            (frozenset({"/climate"}), frozenset({"/climate/Role=prod"})),
            (frozenset(), frozenset({"cn=prod"})),
        ]
        answers = []
        for fqans, groups in shown:
            found = view.groups_of(alice.number, fqans=fqans, groups=groups)
            answers.append(judge(view.matched(found, WRITE, object_ref(DATA)), HOW).permitted)
            assert ("/climate/voms" in view.fqans_of(found)) is answers[-1]
        return answers

    assert policy.reading(look) == [False, True, False, True]
    holders = policy.reading(lambda view: view.holders(WRITE, object_ref(DATA), HOW))
    assert holders.users == ("admin",)
    assert {feed.value for feed in holders.feeds} == {"/climate/Role=prod", "cn=prod"}


def test_terms(policy: SQLPolicy) -> None:
    readers(policy)
    make(policy, Revoke(permit("readers", READ, DATA)))
    on = object_ref(DATA)
    for terms, how in (
        (Terms(not_after=NOW), Circumstances(NOW)),
        (Terms(not_before=NOW + timedelta(hours=1)), Circumstances(NOW)),
        (Terms(proxies=Proxies.FULL), Circumstances(NOW, limited=True)),
        (Terms(strength=Strength.HIGH), Circumstances(NOW)),
    ):
        one = Statement("readers", Effect.PERMIT, READ, on, terms)
        make(policy, Grant(one))
        assert not may(policy, "alice", READ, on, how)
        assert "alice" not in policy.reading(lambda view, how=how: view.holders(READ, on, how)).users  # type: ignore[misc]  # bound at once
        assert policy.reading(lambda view: view.list_statements(group("readers")))[-1] == one
        make(policy, Revoke(one))
    make(policy, Grant(permit("readers", READ, DATA)))
    for terms, denied in ((Terms(strength=Strength.HIGH), True), (Terms(strength=Strength.LOW), False)):
        one = Statement("readers", Effect.DENY, READ, on, terms)
        make(policy, Grant(one))
        assert may(policy, "alice", READ, on) is not denied
        holders = policy.reading(lambda view: view.holders(READ, on, HOW))
        assert ("alice" in holders.users) is not denied
        assert (one in holders.conditional) is denied
        make(policy, Revoke(one))


def test_who_can(policy: SQLPolicy) -> None:
    readers(policy)
    make(policy, *(Enrol(User(f"u{number}", dn(f"u{number}"), "ca")) for number in range(7)))
    make(policy, *(AddMember(group("readers"), user(f"u{number}")) for number in range(7)))
    on = object_ref("ftp://h/data/f")
    first = policy.reading(lambda view: view.holders(READ, on, HOW, limit=4))
    assert (first.total, len(first.users), first.groups, first.everyone) == (9, 4, ("readers", ADMINS), False)
    rest = policy.reading(lambda view: view.holders(READ, on, HOW, after=first.users[-1]))
    assert sorted(first.users + rest.users) == ["admin", "alice", *(f"u{number}" for number in range(7))]
    make(policy, Grant(permit("everyone", READ, DATA)), Enrol(UserGroup("out")), AddMember(group("out"), user("u3")))
    everyone = policy.reading(lambda view: view.holders(READ, on, HOW, limit=3))
    assert (everyone.total, everyone.users, everyone.everyone) == (9, ("admin", "alice", "u0"), True)
    make(policy, Grant(permit("out", READ, DATA, Effect.DENY)))
    found = policy.reading(lambda view: view.holders(READ, on, HOW))
    assert (found.total, "u3" in found.users, found.everyone) == (8, False, False)
    make(policy, Grant(permit("everyone", READ, DATA, Effect.DENY)))
    assert policy.reading(lambda view: view.holders(READ, on, HOW)).total == 0


def test_too_much_is_refused(policy: SQLPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    from cas.repository import closures, speaking

    readers(policy)
    make(policy, Enrol(ObjectName(FTP, "ftp://h/more")), Grant(permit("readers", READ, "ftp://h/more")))
    monkeypatch.setattr(speaking, "MAX_ROWS", 1)
    with pytest.raises(DeniedError):
        rights(policy, "alice")
    monkeypatch.setattr(closures, "MAX_GROUPS", 0)
    with pytest.raises(StorageError):
        may(policy, "alice", READ, object_ref(DATA))


# --- administrators ---------------------------------------------------------------------------------------------------


def test_all_or_nothing(policy: SQLPolicy) -> None:
    with pytest.raises(ConflictError):
        make(policy, Enrol(UserGroup("one")), Enrol(UserGroup("two")), Enrol(UserGroup("one")))
    assert policy.reading(lambda view: view.find(group("two"))) is None
    assert policy.reading(lambda view: view.revision()) == 1


def test_two_administrators(policy: SQLPolicy) -> None:
    readers(policy)
    revision = policy.reading(lambda view: view.revision())
    found = policy.reading(lambda view: view.find(group("readers")))
    assert found is not None
    expected = {group("readers"): found.version}
    make(policy, Enrol(UserGroup("other")))
    with pytest.raises(ConflictError, match="somebody else"):
        policy.apply([Enrol(UserGroup("mine"))], BY, expected_revision=revision)
    policy.apply([RemoveMember(group("readers"), user("alice"))], BY, expected=expected)
    with pytest.raises(ConflictError, match="somebody else"):
        policy.apply([Remove(group("readers"))], BY, expected=expected)
    with pytest.raises(ConflictError):
        policy.apply([], BY, expected={group("gone"): 1})


def test_two_administrators_close_no_circle(policy: SQLPolicy) -> None:
    """Each puts one group into the other: one of them is late, and is told."""
    make(policy, Enrol(UserGroup("one")), Enrol(UserGroup("two")))
    ready = threading.Barrier(2)
    errors: list[Exception] = []

    def administrator(outer: str, inner: str) -> None:
        ready.wait()
        try:
            make(policy, AddMember(group(outer), group(inner)))
        except ConflictError as error:
            errors.append(error)

    threads = [threading.Thread(target=administrator, args=names) for names in (("one", "two"), ("two", "one"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 1


def test_one_administrator_removes_what_another_grants(policy: SQLPolicy) -> None:
    """Whoever is first: no statement, member or feed is left of what is gone."""
    readers(policy)
    make(policy, Enrol(ObjectGroup("og")))
    for number in range(8):
        thing = object_ref(f"ftp://h/o{number}")
        make(policy, Enrol(ObjectName(FTP, thing.name)))
        ready = threading.Barrier(2)
        told: list[str] = []

        def administrator(*changes: Change, ready: threading.Barrier = ready, told: list[str] = told) -> None:
            ready.wait()
            try:
                make(policy, *changes)
            except (ConflictError, NotFoundError) as error:
                told.append(type(error).__name__)

        works: list[tuple[Change, ...]] = [
            (Remove(thing),),
            (Grant(permit("readers", READ, thing)), AddMember(Ref(Kind.OBJECT_GROUP, "og"), thing)),
        ]
        threads = [threading.Thread(target=administrator, args=work) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        is_there = policy.reading(lambda view, thing=thing: view.find(thing) is not None)  # type: ignore[misc]  # bound now
        assert told == [ConflictError.__name__ if is_there else NotFoundError.__name__]
        listed = policy.reading(lambda view: view.list_members(Ref(Kind.OBJECT_GROUP, "og")))
        granted = {one.object for one in policy.reading(lambda view: view.list_statements(group("readers")))}
        assert (thing in listed, thing in granted) == (is_there, is_there)


def test_readers_see_one_state(policy: SQLPolicy) -> None:
    """What changes between two questions of one look is in neither answer, or in both."""
    readers(policy)
    looks = 0

    def look(view: View) -> tuple[int, bool]:
        nonlocal looks
        looks += 1
        before = view.revision()
        if looks == 1:
            done = threading.Thread(target=make, args=(policy, Enrol(UserGroup("new"))))
            done.start()
            done.join()
        return before, view.find(group("new")) is not None

    before, is_there = policy.reading(look)
    assert is_there is (before == policy.reading(lambda view: view.revision()))


def test_guards_see_what_was_changed_before(policy: SQLPolicy) -> None:
    seen: list[tuple[bool, Change]] = []

    def guard(view: View, change: Change) -> None:
        seen.append((view.find(group("new")) is not None, change))
        if isinstance(change, Remove):
            raise DeniedError("not this one")

    with pytest.raises(DeniedError):
        policy.apply([Enrol(UserGroup("new")), Remove(object_ref("FTP://H/x"))], BY, guard=guard)
    assert seen == [(False, Enrol(UserGroup("new"))), (True, Remove(object_ref("ftp://h/x")))]
    assert policy.reading(lambda view: view.find(group("new"))) is None


def test_a_change_that_cannot_be_told_is_not_made(policy: SQLPolicy) -> None:
    def confirm(_applied: object) -> None:
        raise StorageError("no space left")

    with pytest.raises(StorageError):
        policy.apply([Enrol(UserGroup("new"))], BY, confirm=confirm)
    assert policy.reading(lambda view: view.find(group("new"))) is None


def test_previews_change_nothing(policy: SQLPolicy) -> None:
    readers(policy)
    revision = policy.reading(lambda view: view.revision())

    def look(view: View) -> int:
        return view.holders(READ, object_ref(DATA), HOW).total

    grant = Grant(permit("everyone", READ, DATA, Effect.DENY))
    assert policy.preview([grant], BY, look, guard=lambda _view, _change: None) == (0, revision)
    assert policy.reading(lambda view: view.revision()) == revision
    assert policy.reading(look) == 2


def test_the_history(policy: SQLPolicy) -> None:
    readers(policy)
    entries = policy.reading(lambda view: view.history(about=user("alice")))
    assert [entry.change for entry in entries] == [
        Enrol(User("alice", dn("alice"), "ca"), ADMINS),
        AddMember(group("readers"), user("alice")),
    ]
    assert {(entry.actor, entry.time, entry.reason, entry.request_id, entry.revision) for entry in entries} == {
        (BY.name, NOW, "a reason", "r1", 2)
    }
    whole = policy.reading(lambda view: view.history())
    assert len(whole) == len(begin()) + 5
    assert policy.reading(lambda view: view.history(after=1)) == whole[len(begin()) :]
    assert policy.reading(lambda view: view.history(limit=2)) == whole[: len(begin())], "what was done together"
    with pytest.raises(StorageError):
        policy.apply([], Author("x", NOW, "y" * 5000))


def test_clocks_that_go_back(policy: SQLPolicy) -> None:
    back = Author("x", NOW - MAX_SKEW - timedelta(seconds=1))
    with pytest.raises(StorageError, match="clock"):
        policy.apply([Enrol(UserGroup("new"))], back)
    policy.apply([Enrol(UserGroup("new"))], Author("x", NOW - MAX_SKEW))
    assert policy.reading(lambda view: view.latest()) == NOW, "a clock that is a little behind takes nothing back"
    policy.accept_clock(back.now)
    policy.apply([Enrol(UserGroup("newer"))], back)


# --- the whole policy as text -----------------------------------------------------------------------------------------


def fill(policy: SQLPolicy) -> None:
    """One of each thing that a policy can hold."""
    readers(policy)
    og, ag = Ref(Kind.OBJECT_GROUP, "og"), Ref(Kind.SERVICE_ACTION_GROUP, "ag")
    make(
        policy,
        Enrol(TrustAnchor("other", "/O=Other/CN=CA", strength=Strength.LOW)),
        Enrol(UserGroup("all")),
        AddMember(group("all"), group("readers")),
        Enrol(ObjectGroup("og")),
        AddMember(og, object_ref(DATA)),
        AddMember(og, group("all")),
        Enrol(ActionGroup("ag")),
        AddMember(ag, WRITE),
        Grant(Statement("all", Effect.DENY, ag, og, Terms(NOW, NOW + timedelta(days=1), Proxies.FULL, Strength.HIGH))),
        SetFqan("all", "/climate/all"),
        AddFeed("all", Feed(FeedSource.VOMS, "/climate/x")),
        Remove(user("nobody")),
    )


def test_a_policy_as_text_and_back(policy: SQLPolicy, tmp_path: Path) -> None:
    fill(policy)
    lines = list(export_lines(policy))
    with_history = list(export_lines(policy, history=True))
    assert with_history[: len(lines)] == lines
    told = [json.loads(line)["history"] for line in with_history[len(lines) :]]
    assert len(told) == len(policy.reading(lambda view: view.history()))
    other = open_sqlite_policy(str(tmp_path / "other"))
    try:
        import_lines(other, with_history, BY)
        assert {*list(export_lines(other))[1:]} == {*lines[1:]}
        assert may(other, "alice", READ, object_ref("ftp://h/data/x"))
        with pytest.raises(ConflictError):
            import_lines(other, lines, BY)
    finally:
        other.close()


OLD_NAMES = ("alice", "aIice", "a1ice", "\ua4ee\ua4e1\ua4f2\ua4da\ua4f0", "\u0436" * 200)
"""What an earlier version enrolled: looking alike, of a script that is refused, too long for tokens."""


def test_names_that_are_refused_by_now_are_read_and_imported(policy: SQLPolicy, tmp_path: Path) -> None:
    enrolled = [Enrol(User(name, dn(f"u{number}"), "ca"), ADMINS) for number, name in enumerate(OLD_NAMES)]
    for one in enrolled[3:]:
        with pytest.raises(ParseError):
            make(policy, one)
    policy.apply(enrolled, BY, restoring=True)
    for one in enrolled:
        found = policy.reading(lambda view: view.find(one.entity.ref))  # noqa: B023  called at once
        assert found is not None
        assert found.entity == one.entity
    assert [entry.change for entry in policy.reading(lambda view: view.history())[-5:]] == enrolled
    lines = list(export_lines(policy, history=True))
    store = open_sqlite_policy(str(tmp_path / "other"))
    try:
        import_lines(store, lines, BY)
        assert {*list(export_lines(store))[1:]} == {*list(export_lines(policy))[1:]}
        with pytest.raises(ConflictError, match="looks like"):
            make(store, Enrol(User("alicE", dn("other"), "ca")))
    finally:
        store.close()


def test_nothing_new_is_enrolled_beside_what_looks_alike_already(policy: SQLPolicy) -> None:
    """Whichever of them goes."""
    policy.apply([Enrol(User(name, dn(name), "ca")) for name in OLD_NAMES[:3]], BY, restoring=True)
    for name in (None, "alice", "a1ice"):
        if name is not None:
            make(policy, Remove(user(name)))
        with pytest.raises(ConflictError, match="looks like"):
            make(policy, Enrol(User("alicE", dn("other"), "ca")))
        with pytest.raises(LinesRefusedError, match="looks like"):
            enrol(policy, [f"alicE\t{dn('other')}\tca\n"], 1, 1)
    make(policy, Remove(user("aIice")), Enrol(User("alicE", dn("other"), "ca")))


@pytest.mark.parametrize(
    "lines",
    [
        ["{}"],
        ["[]"],
        ["x"],
        ['{"format":"cas-policy","version":2}'],
        ['{"format":"cas-policy","version":1}', "[" * 10_000],
        ['{"format":"cas-policy","version":1}', '{"do":"nothing"}'],
        ['{"format":"cas-policy","version":1}', '{"do":"remove","ref":["user","x"],"more":1}'],
        ['{"format":"cas-policy","version":1}', '"' + "x" * 70_000 + '"'],
    ],
)
def test_text_that_is_no_policy(lines: list[str], tmp_path: Path) -> None:
    store = open_sqlite_policy(str(tmp_path / "new"))
    try:
        with pytest.raises(ParseError):
            import_lines(store, lines, BY)
    finally:
        store.close()


# --- many users -------------------------------------------------------------------------------------------------------

LINES = [f"m{number}\t/O=Grid/CN=Many {number}\tca\treaders\n" for number in range(20)]


def enrol(policy: SQLPolicy, lines: list[str], first: int, last: int) -> int:
    chosen = [line for line in parse_users(lines) if first <= line.number <= last]
    return policy.enrol_users(
        chosen, BY, owner=ADMINS, digest="d", guard=lambda _view: None, confirm=lambda _count: None
    )


def test_many_users(policy: SQLPolicy) -> None:
    readers(policy)
    assert enrol(policy, LINES, 1, 12) == 12
    assert policy.enrolled_lines("d") == 12
    for first in (1, 14):
        with pytest.raises(ConflictError, match="somebody else"):
            enrol(policy, LINES, first, 20)
    assert enrol(policy, LINES, 13, 20) == 8
    assert may(policy, "m19", READ, object_ref(DATA))
    assert policy.reading(lambda view: view.holders(action("remove", "cas"), user("m7"), HOW)).users == ("admin",)
    entries = policy.reading(lambda view: view.history(about=user("m7")))
    assert [type(entry.change) for entry in entries] == [Enrol, AddMember]


@pytest.mark.parametrize(
    "line",
    [
        "M3\t/O=Grid/CN=new\tca",
        "m3\t/O=Grid/CN=new\tca",
        "new\t/O=Grid/CN=many 3\tca",
        "alice\t/O=Grid/CN=new\tca",
        "new\t/O=Grid/CN=new\tnowhere",
        "new\t/O=Grid/CN=new\tca\tnobody",
        "new\t/O=Grid/CN=new\tca\teveryone",
    ],
)
def test_many_users_of_whom_one_cannot_be(policy: SQLPolicy, line: str) -> None:
    readers(policy)
    with pytest.raises(LinesRefusedError) as caught:
        enrol(policy, [*LINES, line, "fine\t/O=Grid/CN=fine\tca", line], 1, 23)
    assert [number for number, _ in caught.value.lines] == [21, 23]
    assert policy.enrolled_lines("d") == 0
    assert policy.reading(lambda view: view.find(user("m0"))) is None


def test_users_who_are_enrolled_already_are_passed_over(policy: SQLPolicy) -> None:
    readers(policy)
    make(policy, Enrol(User("m3", "/O=Grid/CN=Many 3", "ca")), Enrol(User("m4", "/O=Grid/CN=Many 4", "ca")))
    make(policy, AddMember(group("readers"), user("m4")))
    assert enrol(policy, LINES, 1, 20) == 18
    assert may(policy, "m3", READ, object_ref(DATA))


# --- withdrawn capabilities -------------------------------------------------------------------------------------------


def test_what_one_node_withdraws_all_know(policy: SQLPolicy, opener: Callable[[], SQLPolicy]) -> None:
    here, end = Withdrawn(policy.database), NOW + timedelta(hours=1)
    here.add(b"\0" * 16, until=end, now=NOW)
    here.add(b"\xff" * 16, until=end, now=NOW)
    other = opener()
    there = Withdrawn(other.database)
    assert there.read(now=NOW) == {b"\0" * 16: end, b"\xff" * 16: end}
    there.add(b"\0" * 16, until=NOW, now=NOW)  # never sooner
    there.add(b"\xff" * 16, until=end + timedelta(hours=1), now=NOW)
    other.close()
    assert here.read(now=NOW) == {b"\0" * 16: end, b"\xff" * 16: end + timedelta(hours=1)}
    assert here.read(now=end) == {b"\xff" * 16: end + timedelta(hours=1)}


def test_a_clock_that_is_ahead_brings_back_nothing(policy: SQLPolicy) -> None:
    withdrawn, end = Withdrawn(policy.database), NOW + timedelta(hours=1)
    withdrawn.add(b"a" * 16, until=end, now=NOW)
    withdrawn.add(b"b" * 16, until=NOW + timedelta(days=9), now=NOW + timedelta(days=6))
    assert set(withdrawn.read(now=NOW)) == {b"a" * 16, b"b" * 16}
    withdrawn.add(b"c" * 16, until=NOW + timedelta(days=9), now=NOW + timedelta(days=8))
    assert set(withdrawn.read(now=NOW)) == {b"b" * 16, b"c" * 16}


def test_no_more_are_withdrawn_than_can_be_told(policy: SQLPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cas.repository.withdrawn.MAX_REVOKED", 2)
    withdrawn, end = Withdrawn(policy.database), NOW + timedelta(hours=1)
    for name in (b"a", b"b", b"a"):
        withdrawn.add(name * 16, until=end, now=NOW)
    with pytest.raises(StorageError, match="limit"):
        withdrawn.add(b"c" * 16, until=end, now=NOW)
    withdrawn.add(b"c" * 16, until=end + timedelta(hours=2), now=end)
    assert set(withdrawn.read(now=end)) == {b"c" * 16}


# --- what is stored ---------------------------------------------------------------------------------------------------


def test_rows_that_contradict_the_schema(policy: SQLPolicy) -> None:
    """What the driver says of many rows at once is told as what it says of one."""
    row = {"digest": "d", "done": 1, "updated": 1}
    with pytest.raises(ConflictError), policy.database.write() as connection:
        insert_many(connection, ENROLMENTS, [row, row])
    with policy.database.write() as connection:
        insert_many(connection, ENROLMENTS, [])
        insert_many(connection, ENROLMENTS, [row, row | {"digest": "e\t\\N\n"}])
    assert (policy.enrolled_lines("d"), policy.enrolled_lines("e\t\\N\n")) == (1, 1)


def test_the_schema_is_what_the_code_expects(policy: SQLPolicy) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from cas.repository.tables import METADATA

    with policy.database.read() as connection:
        found = compare_metadata(MigrationContext.configure(connection), METADATA)
        indexes = {index["name"] for name in METADATA.tables for index in sa.inspect(connection).get_indexes(name)}
    assert [change for change in found if change[0] not in {"remove_index", "remove_constraint"}] == []
    assert {index.name for table in METADATA.tables.values() for index in table.indexes} <= indexes
