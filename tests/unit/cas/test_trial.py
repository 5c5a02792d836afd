"""What changes would do: who would gain and who would lose what, as the service says it of a trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cas import touched, trial
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
from cas.policy.conditions import Proxies, Strength, Terms
from cas.policy.model import (
    GRANT_ALL,
    Effect,
    Feed,
    FeedSource,
    Kind,
    ObjectGroup,
    ObjectName,
    Ref,
    ServiceAction,
    Statement,
    User,
    UserGroup,
)
from cas.repository.base import View
from cas.repository.view import SQLView
from cas.service import changing
from cas.trial import Difference
from gsi.errors import ConflictError, DeniedError
from tests.harness.ca import TestCA
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
CLIMATE = Feed(FeedSource.VOMS, "/climate")
BANNED = Feed(FeedSource.LDAP, "banned")


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA(CA_NAME, "p256")


@pytest.fixture
def world(ca: TestCA, tmp_path: Path) -> Iterator[Community]:
    with make_community(ca, tmp_path) as community:
        community.enrol("alice", "readers")
        community.enrol("bob")
        community.make(Enrol(ObjectName(FTP, DATA), ADMINS), Grant(permit("readers", READ, DATA)))
        yield community


def test_who_gains_and_who_loses(world: Community) -> None:
    def told(*changes: Change) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
        preview = world.service.preview(world.admin, changes)
        assert preview.is_complete
        return [(one.action.name, one.gains, one.loses) for one in preview.differences if one.action]

    assert told(AddMember(group("readers"), user("bob"))) == [("read", ("bob",), ())]
    assert told(RemoveMember(group("readers"), user("alice"))) == [("read", (), ("alice",))]
    assert told(Grant(permit("everyone", WRITE, DATA))) == [("write", ("alice", "bob"), ())]
    assert told(Grant(permit("readers", READ, DATA, Effect.DENY))) == [("read", (), ("alice",))]
    assert told(Grant(permit("everyone", READ, DATA)), Revoke(permit("readers", READ, DATA))) == [
        ("read", ("bob",), ())
    ]
    assert told(Remove(object_ref(DATA))) == [("read", (), ("alice",))]
    assert told(Enrol(UserGroup("new"), "readers")) == [("grantAll", ("alice",), ())]
    assert told(Grant(permit("readers", READ, DATA))) == []
    nested = (Enrol(UserGroup("all")), AddMember(group("all"), user("bob")), AddMember(group("readers"), group("all")))
    assert told(*nested) == [("read", ("bob",), ())]
    with pytest.raises(DeniedError):
        world.service.preview(world.caller("bob"), [Grant(permit("everyone", READ, DATA))])


def differences(world: Community, *changes: Change) -> tuple[Difference, ...]:
    preview = world.service.preview(world.admin, changes)
    assert preview.is_complete
    return preview.differences


def tried(world: Community, *changes: Change, is_complete: bool = True) -> set[tuple[str, str, str, str, str]]:
    """What a dry run says: action, on what, who gains, who loses, and when."""
    preview = world.service.preview(world.admin, changes)
    assert preview.is_complete is is_complete
    return {
        (one.action.name, one.on.name, " ".join(one.gains), " ".join(one.loses), one.when)
        for one in preview.differences
        if one.action and one.on
    }


def test_what_is_within_an_object_is_looked_at(world: Community) -> None:
    """A denial around what is permitted, and a new member where a part is denied."""
    world.make(Enrol(ObjectName(FTP, "ftp://h/*"), ADMINS), Enrol(ObjectName(FTP, "ftp://h/data/embargo/*"), ADMINS))
    denial = permit("readers", READ, "ftp://h/*", Effect.DENY)
    assert tried(world, Grant(denial)) == {("read", DATA, "", "alice", "")}
    world.make(Grant(denial))
    assert tried(world, Revoke(denial)) == {("read", DATA, "alice", "", "")}
    world.make(Revoke(denial), Grant(permit("readers", READ, "ftp://h/data/embargo/*", Effect.DENY)))
    assert tried(world, AddMember(group("readers"), user("bob"))) == {("read", DATA, "bob", "", "")}
    everything = Ref(Kind.OBJECT_GROUP, "all")
    world.make(Enrol(ObjectGroup("all")), Grant(Statement("readers", Effect.DENY, READ, everything)))
    assert tried(world, AddMember(everything, object_ref("FTP://H/*"))) == {("read", DATA, "", "alice", "")}


def test_a_denial_is_looked_at_in_every_namespace(world: Community) -> None:
    world.make(Enrol(ObjectName("FTPExact", "ftp://h/data/f"), ADMINS))
    exact = object_ref("ftp://h/data/f", "FTPExact")
    world.make(Grant(Statement("everyone", Effect.PERMIT, READ, exact)))
    preview = world.service.preview(world.admin, [Grant(permit("readers", READ, DATA, Effect.DENY))])
    assert [(one.on, one.loses) for one in preview.differences] == [
        (object_ref(DATA), ("alice",)),
        (object_ref("ftp://h/data/f"), ("alice",)),
        (exact, ("alice",)),
    ]


def test_terms_are_looked_at_in_a_trial(world: Community) -> None:
    later, end = NOW + timedelta(days=3), NOW + timedelta(days=5)

    def granted(terms: Terms) -> set[tuple[str, str, str, str, str]]:
        return tried(world, Grant(Statement("readers", Effect.PERMIT, WRITE, object_ref(DATA), terms)))

    def told(when: str) -> set[tuple[str, str, str, str, str]]:
        return {("write", DATA, "alice", "", when)}

    assert granted(Terms(proxies=Proxies.LIMITED)) == told("with limited proxies")
    assert granted(Terms(not_before=later)) == told("from 2030-01-04T12:00:00Z")
    assert granted(Terms(not_after=later)) == told("now")
    assert granted(Terms(strength=Strength.HIGH)) == told("at strength high")
    all_of_it = Terms(later, end, Proxies.FULL, Strength.HIGH)
    assert granted(all_of_it) == told("from 2030-01-04T12:00:00Z, with full proxies, at strength high")
    assert granted(Terms(NOW - timedelta(days=2), NOW - timedelta(days=1))) == set()
    denial = Statement("readers", Effect.DENY, READ, object_ref(DATA), Terms(strength=Strength.HIGH))
    assert tried(world, Grant(denial)) == {("read", DATA, "", "alice", "below strength high")}
    shift = Statement("everyone", Effect.PERMIT, READ, object_ref(DATA), Terms(not_after=later))
    world.make(Grant(shift))
    lost = tried(world, Revoke(permit("readers", READ, DATA)))
    assert lost == {("read", DATA, "", "alice", "from 2030-01-04T12:00:00Z")}


def test_what_everybody_may_a_new_user_may(world: Community) -> None:
    world.make(Grant(permit("everyone", READ, DATA)))
    assert tried(world, Enrol(User("carol", dn("carol"), "ca"))) == {("read", DATA, "carol", "", "")}
    assert tried(world, Remove(user("bob"))) == {("read", DATA, "", "bob", "")}


def test_who_joins_the_superusers_may_everything(world: Community) -> None:
    assert tried(world, AddMember(group(ADMINS), user("bob"))) == {("superuser", "casServer", "bob", "", "")}


def test_a_trial_that_looks_at_a_part_says_so(world: Community, monkeypatch: pytest.MonkeyPatch) -> None:
    world.enrol("carol", "lookers")
    for number in range(6):
        name = f"ftp://h/data/{number}/*"
        world.make(Enrol(ObjectName(FTP, name), ADMINS), Grant(permit("lookers", READ, name)))
    everybody = Grant(permit("everyone", READ, DATA))
    assert len(tried(world, everybody)) == 7
    monkeypatch.setattr(trial, "MAX_LOOKS", 5)
    assert len(tried(world, everybody, is_complete=False)) <= 5
    monkeypatch.setattr(trial, "MAX_LOOKS", 200)
    monkeypatch.setattr(trial, "MAX_NAMED", 1)
    (one,) = world.service.preview(world.admin, [AddMember(group("lookers"), user("alice"))]).differences[:1]
    assert (one.gains, one.loses, one.before, one.after) == ((), (), 3, 3)


@pytest.mark.parametrize("calls", range(2, 7))
def test_a_trial_while_others_change_the_policy(world: Community, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """All steps see the policy at one revision, and it is the one that is told."""
    left = [calls]

    def disturbed(ask: Callable[..., object]) -> Callable[..., object]:
        def asked(*args: object, **more: object) -> object:
            answer = ask(*args, **more)
            left[0] -= 1
            if left[0] == 0:
                world.make(AddMember(group("readers"), user("bob")))
            return answer

        return asked

    before = world.repository.reading(lambda view: view.revision())
    for name in ("reading", "preview"):
        monkeypatch.setattr(world.repository, name, disturbed(getattr(world.repository, name)))
    preview = world.service.preview(world.admin, [Grant(permit("everyone", READ, DATA))])
    assert left[0] <= 0
    gains = [one.gains for one in preview.differences]
    assert (gains, preview.revision) == (([("bob",)], before) if calls == 6 else ([], before + 1))


# --- what is proven ---------------------------------------------------------------------------------------------------


def proven(world: Community, *changes: Change) -> list[tuple[str, tuple[Feed, ...], tuple[Feed, ...]]]:
    """What a dry run says of attributes."""
    return [
        (one.action.name if one.action else one.fqan, one.feeds_gain, one.feeds_lose)
        for one in differences(world, *changes)
    ]


def test_what_an_attribute_gives_is_told(world: Community) -> None:
    permitted = Grant(permit("fed", READ, DATA))
    world.make(Enrol(UserGroup("fed")), AddFeed("fed", CLIMATE))
    assert proven(world, permitted) == [("read", (CLIMATE,), ())]
    assert proven(world, AddMember(group("readers"), group("fed"))) == [("read", (CLIMATE,), ())]
    world.make(permitted)
    gone = [("read", (), (CLIMATE,))]
    assert proven(world, Revoke(permit("fed", READ, DATA))) == gone
    assert proven(world, Grant(permit("fed", READ, DATA, Effect.DENY))) == gone
    assert proven(world, RemoveFeed("fed", CLIMATE)) == gone
    assert proven(world, AddFeed("fed", BANNED)) == [("read", (BANNED,), ())]
    assert proven(world, Grant(permit("everyone", READ, DATA, Effect.DENY))) == gone
    assert proven(world, Grant(permit("fed", WRITE, DATA, Effect.DENY))) == [("write", (), (CLIMATE,))]  # superusers'
    everybody = Grant(permit("everyone", READ, DATA))
    assert proven(world, everybody) == [("read", (), ())]
    world.make(everybody)
    assert proven(world, Revoke(permit("fed", READ, DATA))) == []


def test_who_can_names_what_is_proven_and_not_denied(world: Community) -> None:
    world.make(Enrol(UserGroup("fed")), AddFeed("fed", CLIMATE), AddFeed("readers", BANNED))
    world.make(Grant(permit("fed", READ, DATA)))

    def feeds() -> tuple[Feed, ...]:
        return world.service.who_can(world.admin, READ, object_ref(DATA)).feeds

    assert feeds() == (BANNED, CLIMATE)
    world.make(AddFeed("fed", BANNED), Revoke(permit("fed", READ, DATA)), Grant(permit("fed", READ, DATA, Effect.DENY)))
    assert feeds() == ()
    world.make(RemoveFeed("fed", BANNED))
    assert feeds() == (BANNED,)
    world.make(Grant(permit("everyone", READ, DATA, Effect.DENY)))
    assert feeds() == ()


def test_an_attribute_that_takes_away_is_told(world: Community) -> None:
    world.make(Enrol(UserGroup("banned")), AddFeed("banned", BANNED))
    denial = permit("banned", READ, DATA, Effect.DENY)
    assert proven(world, Grant(denial)) == [("read", (), (BANNED,))]
    world.make(Grant(denial))
    assert proven(world, Revoke(denial)) == [("read", (BANNED,), ())]
    assert proven(world, RemoveFeed("banned", BANNED)) == [("read", (BANNED,), ())]


def test_who_has_it_by_an_attribute_and_is_denied_it_by_name(world: Community) -> None:
    world.make(Enrol(UserGroup("fed")), AddFeed("fed", CLIMATE), Grant(permit("fed", WRITE, DATA)))
    world.make(Enrol(UserGroup("banned")), Grant(permit("banned", WRITE, DATA, Effect.DENY)))
    bans = AddMember(group("banned"), user("bob"))
    assert tried(world, bans) == {("write", DATA, "", "bob (by voms/ldap)", "")}
    assert tried(world, Enrol(User("carol", dn("carol"), "ca")), AddMember(group("banned"), user("carol"))) == set()
    world.make(bans)
    assert tried(world, RemoveMember(group("banned"), user("bob"))) == {("write", DATA, "bob (by voms/ldap)", "", "")}


def test_by_what_fqan_people_are_told(world: Community) -> None:
    def told(*changes: Change) -> list[tuple[str, tuple[str, ...], tuple[str, ...], int, int]]:
        found = differences(world, *changes)
        return [(one.fqan, one.gains, one.loses, one.before, one.after) for one in found]

    named = SetFqan("readers", "/climate/prod")
    assert told(named) == [("/climate/prod", ("alice",), (), 0, 1)]
    world.make(named, Enrol(UserGroup("night")))
    assert told(SetFqan("readers", None)) == [("/climate/prod", (), ("alice",), 1, 0)]
    assert told(SetFqan("readers", "/climate/x")) == [
        ("/climate/x", ("alice",), (), 0, 1),
        ("/climate/prod", (), ("alice",), 1, 0),
    ]
    assert ("/climate/prod", ("bob",), (), 1, 2) in told(AddMember(group("readers"), user("bob")))
    assert told(AddMember(group("night"), user("bob"))) == []
    nested = (AddMember(group("readers"), group("night")), AddMember(group("night"), user("bob")))
    assert ("/climate/prod", ("bob",), (), 1, 2) in told(*nested)
    fed = [one for one in differences(world, AddFeed("readers", CLIMATE)) if one.fqan]
    assert [(one.fqan, one.feeds_gain) for one in fed] == [("/climate/prod", (CLIMATE,))]


# --- changes together -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "when"), [(Proxies.LIMITED, "with limited proxies"), (Proxies.FULL, "with full proxies")]
)
def test_terms_of_both_states_are_looked_at(world: Community, proxies: Proxies, when: str) -> None:
    """What is granted together brings out a place on which nothing was said before."""
    part = object_ref("ftp://h/data/c")
    shift = Statement("readers", Effect.PERMIT, READ, object_ref(DATA), Terms(proxies=proxies))
    world.make(Enrol(ObjectName(FTP, part.name)), Revoke(permit("readers", READ, DATA)), Grant(shift))
    found = tried(world, Revoke(shift), Grant(permit("everyone", WRITE, part)))
    assert found == {
        ("read", DATA, "", "alice", when),
        ("read", part.name, "", "alice", when),
        ("write", part.name, "alice bob", "", ""),
    }


def test_another_person_under_a_nickname_is_another_one(world: Community) -> None:
    def anew(subject: str) -> list[Change]:
        away: list[Change] = [RemoveMember(group("readers"), user("alice")), Remove(user("alice"))]
        return [*away, Enrol(User("alice", subject, "ca")), AddMember(group("readers"), user("alice"))]

    assert tried(world, *anew(dn("alice"))) == set()
    mallory, alice = f"alice ({dn('Mallory')})", f"alice ({dn('alice')})"
    assert tried(world, *anew(dn("Mallory"))) == {("read", DATA, mallory, alice, "")}


def test_numbers_are_those_of_the_circumstances(world: Community) -> None:
    world.make(Grant(Statement("everyone", Effect.PERMIT, READ, object_ref(DATA), Terms(proxies=Proxies.LIMITED))))
    world.enrol("carol", "late")
    found = differences(world, Grant(permit("late", READ, DATA)))
    assert [(one.gains, one.before, one.after, one.when) for one in found] == [(("carol",), 2, 3, "with full proxies")]
    world.make(Revoke(Statement("everyone", Effect.PERMIT, READ, object_ref(DATA), Terms(proxies=Proxies.LIMITED))))
    world.make(AddMember(group("late"), user("bob")))
    world.make(Grant(Statement("late", Effect.PERMIT, READ, object_ref(DATA), Terms(proxies=Proxies.LIMITED))))
    world.enrol("dave", "new")
    found = differences(world, Grant(permit("new", READ, DATA)))
    assert {(one.gains, one.before, one.after, one.when) for one in found} == {
        (("dave",), 2, 3, "with full proxies"),
        (("dave",), 4, 5, "with limited proxies"),
    }


def test_a_new_action_is_that_of_those_who_may_do_all(world: Community) -> None:
    world.make(Grant(permit("readers", GRANT_ALL, DATA)))
    append = Enrol(ServiceAction("file", "append"))
    assert tried(world, append) == {("append", DATA, "admin alice", "", "")}
    world.make(append)
    assert tried(world, Remove(action("append"))) == {("append", DATA, "", "admin alice", "")}


# --- time -------------------------------------------------------------------------------------------------------------


def test_nobody_waits_for_a_trial(world: Community, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others change the policy while what was before is looked at, and soon when what comes after is."""
    held: list[bool] = []
    finding = touched.find

    def looking(view: View, changes: list[Change], is_over: Callable[[], bool]) -> object:
        """Change something else while this looks at what was before; look at what is after as long as there is time."""
        found = finding(view, changes, is_over)
        if not held:
            world.make(Enrol(UserGroup("other")))
        held.append(view.number_of(group("tried")) is not None)
        while held[-1] and not is_over():
            pass
        return found

    monkeypatch.setattr("cas.trial.find", looking)
    monkeypatch.setattr(changing, "MAX_TRIAL_SECONDS", 0.2)
    preview = world.service.preview(world.admin, [Enrol(UserGroup("tried")), Grant(permit("everyone", READ, DATA))])
    assert held == [False, True, False, True]  # the first one saw an older policy
    assert (preview.differences, preview.is_complete) == ((), False)


def test_a_trial_without_time_says_that_it_is_a_part(world: Community, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "MAX_TRIAL_SECONDS", -1.0)
    assert tried(world, Grant(permit("everyone", READ, DATA)), is_complete=False) == set()


def test_more_changes_than_others_can_wait_for(world: Community, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "MAX_MAKING_SECONDS", 0.0)
    one, other = Grant(permit("everyone", READ, DATA)), Grant(permit("everyone", WRITE, DATA))
    assert world.service.preview(world.admin, [one]).is_complete
    with pytest.raises(ConflictError, match="too long to try"):
        world.service.preview(world.admin, [one, other])


def test_what_is_said_of_the_same_groups_is_asked_once(world: Community, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        name = f"ftp://h/{number}/*"
        world.make(Enrol(ObjectName(FTP, name)), Grant(permit("readers", READ, name)))
    asked: list[object] = []
    reach = SQLView.reach

    def counting(view: SQLView, *args: object, **more: object) -> object:
        asked.append(args)
        return reach(view, *args, **more)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(SQLView, "reach", counting)
    assert len(differences(world, AddMember(group("readers"), user("bob")))) == 21
    assert len(asked) == 2
