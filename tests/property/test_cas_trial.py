"""What a dry run says of changes, against everybody's rights at every place before and after them."""

from __future__ import annotations

import shutil
import tempfile
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from cas.policy.conditions import ALWAYS, Circumstances, Proxies, Strength, Terms
from cas.policy.matching import covers
from cas.policy.model import (
    GRANT_ALL,
    SERVER,
    SUPERUSER,
    ActionGroup,
    Effect,
    Feed,
    FeedSource,
    Kind,
    ObjectGroup,
    ObjectName,
    Ref,
    Statement,
    User,
    UserGroup,
)
from cas.repository.sql import open_sqlite_policy
from cas.service import changing
from cas.trial import Difference
from gsi.errors import ConflictError, DeniedError, NotFoundError
from tests.harness.ca import TestCA
from tests.harness.cas import (
    ADMINS,
    CA_NAME,
    FTP,
    NOW,
    READ,
    WRITE,
    Community,
    NaivePolicy,
    begin,
    dn,
    group,
    make_community,
    object_ref,
    user,
)

EXACT = "FTPExact"
USERS = ("u1", "u2", "u3")
GROUPS = ("g1", "g2", "g3")
OBJECT_GROUPS = (Ref(Kind.OBJECT_GROUP, "o1"), Ref(Kind.OBJECT_GROUP, "o2"))
ACTION_GROUPS = (Ref(Kind.SERVICE_ACTION_GROUP, "a1"), Ref(Kind.SERVICE_ACTION_GROUP, "a2"))
OBJECTS = (
    *(object_ref(f"ftp://h/{name}") for name in ("*", "d/*", "d/a/*", "d/a/x", "d/b")),
    *(object_ref(f"ftp://h/{name}", EXACT) for name in ("d/a/x", "d/b")),
)
PLACES = tuple(
    object_ref(f"ftp://h/{name}", scope)
    for name in ("d/a/x", "d/a/y", "d/a", "d/b", "d/c", "d", "z")
    for scope in (FTP, EXACT)
)
HOW = tuple(
    Circumstances(NOW + timedelta(minutes=later), limited, strength)
    for later in (0, 30, 90)
    for limited in (False, True)
    for strength in (Strength.NONE, Strength.MEDIUM, Strength.HIGH)
)
VOMS, LDAP = Feed(FeedSource.VOMS, "/climate"), Feed(FeedSource.LDAP, "shift")
PROVEN = (frozenset({VOMS}), frozenset({LDAP}), frozenset({VOMS, LDAP}))
FQANS = ("/climate/a", "/climate/b")
TERMS = (
    Terms(not_before=NOW + timedelta(minutes=20)),
    Terms(not_after=NOW + timedelta(minutes=60)),
    Terms(proxies=Proxies.FULL),
    Terms(proxies=Proxies.LIMITED),
    Terms(strength=Strength.MEDIUM),
    Terms(strength=Strength.HIGH, not_before=NOW + timedelta(minutes=20)),
)


def begin_all() -> list[Change]:
    return [
        *(Enrol(User(name, dn(name), "ca")) for name in USERS),
        *(Enrol(UserGroup(name)) for name in GROUPS),
        *(Enrol(ObjectGroup(ref.name)) for ref in OBJECT_GROUPS),
        *(Enrol(ActionGroup(ref.name)) for ref in ACTION_GROUPS),
        *(Enrol(ObjectName(ref.scope, ref.name), ADMINS) for ref in OBJECTS),
    ]


def a_statement(random: Random) -> Statement:
    effect = Effect.DENY if random.random() < 0.35 else Effect.PERMIT
    what, on = random.choice([READ, READ, WRITE, *ACTION_GROUPS]), random.choice([*OBJECTS, *OBJECTS, *OBJECT_GROUPS])
    if effect is Effect.PERMIT and random.random() < 0.15:
        what, on = random.choice([(SUPERUSER, SERVER), (GRANT_ALL, on)])
    terms = random.choice(TERMS) if random.random() < 0.3 else ALWAYS
    return Statement(random.choice([*GROUPS, "everyone", ADMINS]), effect, what, on, terms)


def a_member(random: Random) -> tuple[Ref, Ref]:
    groups = list(map(group, GROUPS))
    return random.choice(
        [
            (random.choice([*groups, group(ADMINS)]), random.choice([*map(user, USERS), *groups])),
            (random.choice(groups), random.choice([*map(user, USERS), *groups, group("everyone")])),
            (random.choice(OBJECT_GROUPS), random.choice([*OBJECTS, *OBJECT_GROUPS])),
            (random.choice(ACTION_GROUPS), random.choice([READ, WRITE, GRANT_ALL, *ACTION_GROUPS])),
        ]
    )


def a_feed(random: Random) -> Change:
    """What somebody proves, or is told by."""
    name, feed = random.choice(GROUPS), random.choice([VOMS, LDAP])
    told = SetFqan(name, random.choice([*FQANS, None]))
    changes: list[Change] = [AddFeed(name, feed), AddFeed(name, feed), RemoveFeed(name, feed), told, told]
    return random.choice(changes)


def changes_together(random: Random, naive: NaivePolicy) -> list[Change]:
    """One or two changes, or a nickname that becomes another person's, somewhere else or at the same place."""
    if random.random() < 0.85:
        return [a_change(random, naive) for _ in range(random.randint(1, 2))]
    (name,) = random.sample(USERS, 1)
    around = [one for one in naive.members if one[1] == user(name)]
    subject = dn(random.choice([name, "Mallory"]))
    back = [one for one in around if random.random() < 0.8]
    away: list[Change] = [*(RemoveMember(*one) for one in around), Remove(user(name))]
    return [*away, Enrol(User(name, subject, "ca")), *(AddMember(*one) for one in back)]


def a_change(random: Random, naive: NaivePolicy) -> Change:
    kind = random.random()
    if kind < 0.3:
        return Grant(a_statement(random))
    if kind < 0.5:
        return Revoke(random.choice(sorted(naive.statements, key=str)))
    if kind < 0.7:
        return AddMember(*a_member(random))
    if kind < 0.82:
        return RemoveMember(*random.choice(sorted(naive.members, key=str)))
    if kind < 0.9:
        return a_feed(random)
    if kind < 0.95:
        return Enrol(User("u4", dn("u4"), "ca"))
    return Remove(random.choice([*OBJECTS, user("u3")]))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Community, Path]:
    """A community in which everything is enrolled and nothing granted but to superusers; its store is closed."""
    directory = tmp_path_factory.mktemp("cas-trial")
    with make_community(TestCA(CA_NAME, "p256"), directory) as community:
        community.make(*begin_all())
        assert community.admin.subject_key  # the certificate is issued once
    return community, directory / "store"


@pytest.fixture(autouse=True)
def as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "MAX_TRIAL_SECONDS", 600.0)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_all_who_gain_or_lose_are_told(template: tuple[Community, Path], seed: int) -> None:
    random = Random(seed)
    with tempfile.TemporaryDirectory(prefix="cas-trial-") as directory:
        shutil.copytree(template[1], Path(directory) / "store")
        policy = open_sqlite_policy(f"{directory}/store")
        try:
            community = replace(template[0], repository=policy)
            naive = NaivePolicy()
            naive.make([*begin(), *begin_all()])
            for _ in range(random.randint(5, 20)):
                kind = random.random()
                if kind < 0.55:
                    make_if_allowed(community, naive, Grant(a_statement(random)))
                elif kind < 0.85:
                    make_if_allowed(community, naive, AddMember(*a_member(random)))
                else:
                    make_if_allowed(community, naive, a_feed(random))
            for _ in range(3):
                try_some(community, naive, changes_together(random, naive))
        finally:
            policy.close()


def make_if_allowed(community: Community, naive: NaivePolicy, *changes: Change) -> bool:
    try:
        community.make(*changes)
    except ConflictError:
        return False
    naive.make(changes)
    return True


def try_some(community: Community, naive: NaivePolicy, changes: list[Change]) -> None:
    try:
        preview = community.service.preview(community.admin, changes)
    except (ConflictError, NotFoundError, DeniedError):  # of the last one, where nobody may ask any more
        return
    assert preview.is_complete
    before = deepcopy(naive)
    assert make_if_allowed(community, naive, *changes)
    judge(before, naive, preview.differences)
    judge_proofs(before, naive, preview.differences)
    judge_fqans(before, naive, preview.differences)


def judge(before: NaivePolicy, after: NaivePolicy, told: tuple[Difference, ...]) -> None:
    first, second = (naive.all_rights((READ, WRITE), PLACES, HOW) for naive in (before, after))
    stated = named_by_statements(before) | named_by_statements(after)
    others = {name for name in before.users() & after.users() if before.persons[name] != after.persons[name]}
    for name, what, at, how in first ^ second | {one for one in first & second if one[0] in others}:
        for is_gain in {True, False} if name in others else {(name, what, at, how) in second}:
            if (name, what, at, how) in (second if is_gain else first):
                shown = f"{name} ({(after if is_gain else before).persons[name]})"
                known = {name, shown} if name in others else {name}
                on = told_on(at, stated)
                assert any(tells(one, known, what, on, is_gain=is_gain) for one in told), (
                    name,
                    str(what),
                    str(at),
                    how,
                )
    plain = [one for one in told if one.action in {READ, WRITE} and one.on and one.on.kind is Kind.OBJECT]
    for one in plain[:4]:  # each takes as long as all of the above
        assert one.on is not None
        assert one.action is not None
        at = object_ref(one.on.name.replace("*", "nothing/smaller"), one.on.scope)
        had, has = (naive.all_rights([one.action], [at], HOW) for naive in (before, after))
        numbers = {how: (len({x for x in had if x[3] == how}), len({x for x in has if x[3] == how})) for how in HOW}
        assert (one.before, one.after) in numbers.values(), one
        assert one.when or set(numbers.values()) == {(one.before, one.after)}, one
        for name in (*one.gains, *one.loses):
            if " (" in name:  # by what they prove, or as somebody else
                continue
            is_gain = name in one.gains
            changed = [how for how in HOW if ((name, one.action, at, how) in (has if is_gain else had) - (had & has))]
            if name not in others:
                assert changed, (name, one)
                assert one.when or len(changed) == len(HOW), (name, one)


def told_on(at: Ref, stated: set[str]) -> str:
    around = [one for one in stated if covers(one, at.name, Comparison.WILDCARD)]
    return at.name if at.name in around else max(around, key=len, default="")


def judge_proofs(before: NaivePolicy, after: NaivePolicy, told: tuple[Difference, ...]) -> None:
    """Whoever gets or loses something by proving more than their name is told: they, or what they prove."""
    stated = named_by_statements(before) | named_by_statements(after)
    there = before.users() & after.users()
    for at in PLACES[:6:2] if before.feeds | after.feeds else ():
        for how in HOW[::7]:
            for name in sorted(there):
                for proven in PROVEN:
                    had, has = (one.may(name, READ, at, how, proven) for one in (before, after))
                    if had is has:
                        continue
                    names = {name, f"{name} (by voms/ldap)", f"{name} ({after.persons[name]})"}
                    on = told_on(at, stated)
                    assert any(
                        tells(one, names, READ, on, is_gain=has)
                        or (proven & set(one.feeds_gain if has else one.feeds_lose) and is_about(one, READ, on))
                        for one in told
                    ), (name, at, how, proven)


def judge_fqans(before: NaivePolicy, after: NaivePolicy, told: tuple[Difference, ...]) -> None:
    for fqan in FQANS:
        had, has = (
            {(name, one.persons[name]) for name in one.users() if any(one.is_in(name, of) for of in one.told_by(fqan))}
            for one in (before, after)
        )
        found = [one for one in told if one.fqan == fqan]
        gains = {name.split(" ")[0] for one in found for name in one.gains}
        loses = {name.split(" ")[0] for one in found for name in one.loses}
        assert gains == {name for name, _ in has - had}, fqan
        assert loses == {name for name, _ in had - has}, fqan
        assert all((one.before, one.after) == (len(had), len(has)) for one in found)


def named_by_statements(naive: NaivePolicy) -> set[str]:
    """Return the names of objects that statements speak of, but for what superusers are permitted besides all else."""
    supers = [one.group for one in naive.statements if one.action == SUPERUSER and one.terms == ALWAYS]
    telling = {
        one.object
        for one in naive.statements
        if one.effect is Effect.DENY or not any(naive.holds(group(of), group(one.group)) for of in supers)
    }
    return {ref.name for ref in OBJECTS if any(naive.holds(on, ref) for on in telling)}


def tells(one: Difference, names: set[str], what: Ref, on: str, *, is_gain: bool) -> bool:
    """Say whether a difference is about one of these names and a right on an object, whose name is given."""
    return bool(names & set(one.gains if is_gain else one.loses)) and is_about(one, what, on)


def is_about(one: Difference, what: Ref, on: str) -> bool:
    if one.action is None or one.on is None:
        return False
    return one.action == SUPERUSER or (one.action in {what, GRANT_ALL} and one.on.name == on)
