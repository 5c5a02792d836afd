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
from cas.policy.changes import AddMember, Change, Enrol, Grant, Remove, RemoveMember, Revoke
from cas.policy.conditions import ALWAYS, Circumstances, Proxies, Strength, Terms
from cas.policy.matching import covers
from cas.policy.model import (
    GRANT_ALL,
    SERVER,
    SUPERUSER,
    ActionGroup,
    Effect,
    Kind,
    ObjectGroup,
    ObjectName,
    Ref,
    Statement,
    User,
    UserGroup,
)
from cas.repository.sql import open_sqlite_policy
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


def a_change(random: Random, naive: NaivePolicy) -> Change:
    kind = random.random()
    if kind < 0.3:
        return Grant(a_statement(random))
    if kind < 0.5:
        return Revoke(random.choice(sorted(naive.statements, key=str)))
    if kind < 0.7:
        return AddMember(*a_member(random))
    if kind < 0.9:
        return RemoveMember(*random.choice(sorted(naive.members, key=str)))
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
                if random.random() < 0.6:
                    make_if_allowed(community, naive, Grant(a_statement(random)))
                else:
                    make_if_allowed(community, naive, AddMember(*a_member(random)))
            for _ in range(3):
                try_some(community, naive, [a_change(random, naive) for _ in range(random.randint(1, 2))])
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


def judge(before: NaivePolicy, after: NaivePolicy, told: tuple[Difference, ...]) -> None:
    first, second = (naive.all_rights((READ, WRITE), PLACES, HOW) for naive in (before, after))
    stated = named_by_statements(before) | named_by_statements(after)
    for name, what, at, how in first ^ second:
        around = [one for one in stated if covers(one, at.name, Comparison.WILDCARD)]
        on = at.name if at.name in around else max(around, key=len, default="")
        is_gain = (name, what, at, how) in second
        assert any(tells(one, name, what, on, is_gain=is_gain) for one in told), (name, str(what), str(at), how)
    plain = [one for one in told if one.action in {READ, WRITE} and one.on.kind is Kind.OBJECT]
    for one in plain[:4]:  # each takes as long as all of the above
        at = object_ref(one.on.name.replace("*", "nothing/smaller"), one.on.scope)
        had, has = (naive.all_rights([one.action], [at], HOW) for naive in (before, after))
        for name in (*one.gains, *one.loses):
            is_gain = name in one.gains
            changed = [how for how in HOW if ((name, one.action, at, how) in (has if is_gain else had) - (had & has))]
            assert changed, (name, one)
            assert one.when or len(changed) == len(HOW), (name, one)


def named_by_statements(naive: NaivePolicy) -> set[str]:
    """Return the names of objects that statements speak of, but for what superusers are permitted besides all else."""
    supers = [one.group for one in naive.statements if one.action == SUPERUSER and one.terms == ALWAYS]
    telling = {
        one.object
        for one in naive.statements
        if one.effect is Effect.DENY or not any(naive.holds(group(of), group(one.group)) for of in supers)
    }
    return {ref.name for ref in OBJECTS if any(naive.holds(on, ref) for on in telling)}


def tells(one: Difference, name: str, what: Ref, on: str, *, is_gain: bool) -> bool:
    """Say whether a difference is about a right on an object, whose name is given."""
    if name not in (one.gains if is_gain else one.loses):
        return False
    return one.action == SUPERUSER or (one.action in {what, GRANT_ALL} and one.on.name == on)
