"""The policy in SQL against the rules told naively, on policies and changes that nobody would think of."""

from __future__ import annotations

import itertools
import shutil
import tempfile
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
    RemoveMember,
    Revoke,
    decode_change,
    encode_change,
)
from cas.policy.conditions import ALWAYS, Circumstances, Proxies, Strength, Terms
from cas.policy.evaluate import Outcome, judge, narrow
from cas.policy.matching import covers, normal_object
from cas.policy.model import (
    GRANT_ALL,
    SERVER,
    SUPERUSER,
    ActionGroup,
    ActionName,
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
from cas.policy.request import EVERYTHING, PolicyRequest, Wanted, encode_request, parse_request
from cas.policy.userfile import UserLine, parse_line
from cas.repository.base import Author, View
from cas.repository.sql import SQLPolicy, open_sqlite_policy
from gsi.errors import ConflictError, ParseError
from tests.harness.cas import ADMINS, FTP, NOW, READ, WRITE, NaivePolicy, action, begin, dn, group, object_ref, user

BY = Author("test", NOW)
USERS = ("u1", "u2", "u3")
GROUPS = ("g1", "g2", "g3", "g4")
OBJECT_GROUPS = (Ref(Kind.OBJECT_GROUP, "o1"), Ref(Kind.OBJECT_GROUP, "o2"))
ACTION_GROUPS = (Ref(Kind.SERVICE_ACTION_GROUP, "a1"), Ref(Kind.SERVICE_ACTION_GROUP, "a2"))
PATTERNS = ("ftp://h/*", "ftp://h/a/*", "ftp://h/a/b/*", "ftp://h/a", "ftp://h/a/b", "ftp://h/ab", "ftp://h/b/*")
NAMES = ("ftp://h/a", "ftp://h/ab", "ftp://h/a/b", "ftp://h/a/c", "ftp://h/a/b/c", "ftp://h/b/a", "ftp://x/a")
ACTIONS = (READ, WRITE, action("grant", "cas"))
FEED = Feed(FeedSource.VOMS, "/vo/Role=x")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which everything is enrolled and nothing granted."""
    directory = tmp_path_factory.mktemp("cas-property")
    policy = open_sqlite_policy(str(directory / "store"))
    policy.apply(begin_all(), BY)
    policy.close()
    return directory / "store"


def begin_all() -> list[Change]:
    return [
        *begin(),
        *(Enrol(User(name, dn(name), "ca")) for name in USERS),
        *(Enrol(UserGroup(name)) for name in GROUPS),
        *(Enrol(ObjectGroup(ref.name)) for ref in OBJECT_GROUPS),
        *(Enrol(ActionGroup(ref.name)) for ref in ACTION_GROUPS),
        *(Enrol(ObjectName(FTP, name)) for name in PATTERNS),
        # Without these, hardly anything would be permitted to anybody.
        *(AddMember(group(outer), user(inner)) for outer, inner in (("g1", "u1"), ("g1", "u2"), ("g2", "u2"))),
        AddMember(group("g4"), group("g1")),
        AddMember(OBJECT_GROUPS[0], object_ref(PATTERNS[1])),
        AddMember(ACTION_GROUPS[0], READ),
    ]


# --- what may happen --------------------------------------------------------------------------------------------------

moments = st.sampled_from([None, NOW - timedelta(hours=2), NOW, NOW + timedelta(minutes=30), NOW + timedelta(days=2)])


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    if draw(st.booleans()):
        return ALWAYS
    first, second = draw(moments), draw(moments)
    if first is not None and second is not None and first >= second:
        second = None
    proxies = draw(st.sampled_from([Proxies.ANY, Proxies.ANY, *Proxies]))
    return Terms(first, second, proxies, draw(st.sampled_from([Strength.NONE, Strength.NONE, *Strength])))


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    effect = draw(st.sampled_from([Effect.PERMIT, Effect.PERMIT, Effect.DENY]))
    name = draw(st.sampled_from([*GROUPS, "everyone"]))
    if effect is Effect.PERMIT and draw(st.integers(0, 9)) == 0:
        what, on = draw(st.sampled_from([(SUPERUSER, SERVER), (GRANT_ALL, object_ref(PATTERNS[1]))]))
    else:
        choice = [READ, WRITE, *ACTION_GROUPS]
        what = draw(st.sampled_from(choice))
        on = draw(st.sampled_from([*map(object_ref, PATTERNS), *OBJECT_GROUPS, group("g1")]))
    return Statement(name, effect, what, on, draw(terms()))


@st.composite
def memberships(draw: st.DrawFn) -> tuple[Ref, Ref]:
    kind = draw(st.integers(0, 3))
    groups = list(map(group, GROUPS))
    if kind < 2:
        return draw(st.sampled_from(groups)), draw(st.sampled_from([*map(user, USERS), *groups, group("everyone")]))
    if kind == 2:
        members = [*map(object_ref, PATTERNS), *OBJECT_GROUPS, group("g1")]
        return draw(st.sampled_from(OBJECT_GROUPS)), draw(st.sampled_from(members))
    return draw(st.sampled_from(ACTION_GROUPS)), draw(st.sampled_from([READ, WRITE, *ACTION_GROUPS]))


changes: st.SearchStrategy[Change] = st.one_of(
    statements().map(Grant),
    statements().map(Grant),
    memberships().map(lambda pair: AddMember(*pair)),
    memberships().map(lambda pair: AddMember(*pair)),
    memberships().map(lambda pair: RemoveMember(*pair)),
    statements().map(Revoke),
    st.sampled_from(GROUPS).map(lambda name: AddFeed(name, FEED)),
    st.sampled_from([Remove(object_ref(PATTERNS[0])), Remove(object_ref(PATTERNS[4]))]),
)
circumstances = st.builds(
    Circumstances, st.just(NOW), limited=st.booleans(), strength=st.sampled_from(list(Strength)[1:])
)
requests = st.one_of(
    st.just(EVERYTHING),
    st.lists(
        st.builds(
            Wanted,
            st.just(FTP),
            st.sampled_from([*PATTERNS, *NAMES, "ftp://h/a/c/*"]),
            st.sampled_from([None, frozenset({ActionName("file", "read")})]),
        ),
        min_size=1,
        max_size=3,
    ).map(lambda found: PolicyRequest(tuple(found))),
)


def random_changes(random: Random) -> list[Change]:
    """Changes of a policy in which about half of what could be permitted is: drawn evenly, as strategies are not."""
    places = [*map(object_ref, PATTERNS), *map(object_ref, PATTERNS), *OBJECT_GROUPS]
    made: list[Change] = []
    for _ in range(random.randint(4, 20)):
        effect = Effect.DENY if random.random() < 0.3 else Effect.PERMIT
        name = random.choice([*GROUPS, "everyone"])
        what = random.choice([READ, READ, WRITE, *ACTION_GROUPS])
        on = random.choice(places)
        if effect is Effect.PERMIT and random.random() < 0.1:
            what, on = random.choice([(SUPERUSER, SERVER), (GRANT_ALL, on), (GRANT_ALL, on)])
        window = sorted(random.sample(range(-2, 4), 2))
        terms = ALWAYS
        if random.random() < 0.3:
            terms = Terms(NOW + timedelta(minutes=25 * window[0]), NOW + timedelta(minutes=25 * window[1]))
        elif random.random() < 0.2:
            terms = Terms(proxies=random.choice(list(Proxies)), strength=random.choice(list(Strength)))
        made.append(Grant(Statement(name, effect, what, on, terms)))
    groups = list(map(group, GROUPS))
    for _ in range(random.randint(0, 6)):
        member: tuple[Ref, Ref] = random.choice(
            [
                (random.choice(groups), random.choice([*map(user, USERS), *groups, group("everyone")])),
                (random.choice(OBJECT_GROUPS), random.choice(places)),
                (random.choice(ACTION_GROUPS), random.choice([READ, WRITE, *ACTION_GROUPS])),
            ]
        )
        made.append(AddMember(*member))
    made += [
        change for change in (AddFeed("g3", FEED), RemoveMember(group("g4"), group("g1"))) if random.random() < 0.3
    ]
    made += [Revoke(one.statement) for one in made if isinstance(one, Grant) and random.random() < 0.1]
    made += [Remove(object_ref(PATTERNS[random.randrange(7)])) for _ in range(random.randint(0, 1))]
    return made


def make_both(policy: SQLPolicy, made: list[Change]) -> NaivePolicy:
    naive = NaivePolicy()
    naive.make(begin_all())
    for change in made:
        try:
            policy.apply([change], BY)
        except ConflictError:
            continue
        naive.make([change])
    return naive


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), how=circumstances, request=requests, fed=st.booleans())
def test_sql_says_what_the_rules_say(
    template: Path, seed: int, how: Circumstances, request: PolicyRequest, fed: bool
) -> None:
    feeds = frozenset({FEED}) if fed else frozenset()
    with tempfile.TemporaryDirectory(prefix="cas-property-") as directory:
        store = Path(directory) / "store"
        shutil.copytree(template, store)
        policy = open_sqlite_policy(str(store))
        try:
            naive = make_both(policy, random_changes(Random(seed)))
            policy.reading(lambda view: compare(view, naive, how, request, feeds, Random(seed)))
        finally:
            policy.close()


def compare(
    view: View, naive: NaivePolicy, how: Circumstances, request: PolicyRequest, feeds: frozenset[Feed], random: Random
) -> None:
    places = [*map(object_ref, NAMES), *map(object_ref, PATTERNS), *OBJECT_GROUPS, group("g1"), SERVER]
    fqans = frozenset(feed.value for feed in feeds)
    groups = {}
    for name in USERS:
        found = view.find_user_named(name)
        assert found is not None
        groups[name] = view.groups_of(found.number, fqans=fqans)
    for on in random.sample(places, 3):
        for name, what in itertools.product(USERS, random.sample([*ACTIONS, SUPERUSER], 2)):
            said = judge(view.matched(groups[name], what, on), how).permitted
            assert said is naive.may(name, what, on, how, feeds), (name, str(what), str(on))
        holders = view.holders(READ, on, how)
        expected = {name for name in naive.users() if naive.may(name, READ, on, how)}
        assert (set(holders.users), holders.total) == (expected, len(expected)), str(on)
    for name in USERS:
        until = NOW + timedelta(hours=1)
        outcome = narrow(
            view.applicable(groups[name], request), request, how, until=until, all_actions=view.all_actions()
        )
        judge_outcome(outcome, naive, name, how, request, feeds)


def judge_outcome(
    outcome: Outcome,
    naive: NaivePolicy,
    name: str,
    how: Circumstances,
    request: PolicyRequest,
    feeds: frozenset[Feed],
) -> None:
    """Hold a capability to the rules: nothing is in it that may not be done, and what is left out is said."""
    assert NOW < outcome.not_after <= NOW + timedelta(hours=1) or not outcome.rights
    is_superuser = naive.may(name, SUPERUSER, SERVER, how, feeds)
    last = Circumstances(outcome.not_after - timedelta(seconds=1), how.limited, how.strength)
    for what, on in itertools.product((READ, WRITE), NAMES):
        one = ActionName(what.scope, what.name)
        asked = any(
            (want.namespace is None or covers(want.name, on, Comparison.WILDCARD))
            and (want.actions is None or one in want.actions)
            for want in request.wanted
        )
        told, withheld = (
            any(covers(right.object, on, right.comparison) and what.name in right.actions for right in rights)
            for rights in (outcome.rights, outcome.withheld)
        )
        permitted = naive.may(name, what, object_ref(on), how, feeds)
        if told:
            assert asked
            assert permitted, (name, what.name, on)
            assert naive.may(name, what, object_ref(on), last, feeds), "it ends before a right in it does"
        elif asked and permitted:
            assert withheld or (is_superuser and request == EVERYTHING), (name, what.name, on)


# --- texts ------------------------------------------------------------------------------------------------------------


@given(changes)
def test_changes_as_json(change: Change) -> None:
    assert decode_change(encode_change(change)) == change


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(changes, st.data())
def test_json_that_is_no_change(change: Change, data: st.DataObject) -> None:
    plain = encode_change(change)
    key = data.draw(st.sampled_from([*plain, "more"]))
    plain[key] = data.draw(json_values)
    try:
        found = decode_change(plain)
    except ParseError:
        return
    assert decode_change(encode_change(found)) == found


@given(st.text(max_size=60), st.sampled_from(["", "ftp://H/base", "d"]), st.sampled_from(Comparison))
def test_full_names_stay_as_they_are(name: str, base: str, comparison: Comparison) -> None:
    try:
        full = normal_object(name, base, comparison)
    except ParseError:
        return
    assert normal_object(full, "", comparison) == full


words = st.from_regex(r"[a-z]{1,6}", fullmatch=True)


@given(
    st.lists(
        st.builds(
            Wanted,
            words,
            words,
            st.none() | st.frozensets(st.builds(ActionName, words, words), min_size=1, max_size=3),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_requests_are_read_as_written(wanted: list[Wanted]) -> None:
    request = PolicyRequest(tuple(wanted))
    assert parse_request(encode_request(request)) == request


def test_the_oracle_knows_the_first_superuser() -> None:
    naive = NaivePolicy()
    naive.make(begin_all())
    assert naive.may("admin", READ, object_ref("ftp://h/x"), Circumstances(NOW))
    assert not naive.may("u1", READ, object_ref("ftp://h/x"), Circumstances(NOW))
    assert ADMINS == "superUserGroup"


@given(
    user=st.builds(lambda n: User(f"user{n}", f"/O=Grid/CN=User {n}", "ca"), st.integers(min_value=0)),
    groups=st.lists(st.sampled_from(["readers", "writers", "a b"]), unique=True).map(tuple),
    number=st.integers(min_value=1),
    end=st.sampled_from(["", "\n", "\r\n"]),
)
def test_lines_of_users_are_read_as_written(user: User, groups: tuple[str, ...], number: int, end: str) -> None:
    line = "\t".join([user.nickname, user.subject, user.anchor, *([",".join(groups)] if groups else [])])
    assert parse_line(number, line + end) == UserLine(number, user, groups)


@given(line=st.text(max_size=60) | st.lists(st.text(max_size=12), max_size=5).map("\t".join))
def test_lines_that_are_no_users(line: str) -> None:
    try:
        found = parse_line(7, line)
    except ParseError as error:
        assert error.message.startswith("line 7: ")  # noqa: PT017  either is right
    else:
        assert found.number == 7
