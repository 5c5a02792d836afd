"""What statements say together, row by row: one question, and all that somebody may narrowed to a request."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from cas.assertion.value import Comparison
from cas.policy import evaluate
from cas.policy.changes import Enrol, decode_change, encode_change
from cas.policy.conditions import ALWAYS, Circumstances, Proxies, Strength, Terms
from cas.policy.evaluate import Applicable, Matched, Outcome, Place, judge, narrow
from cas.policy.model import (
    SERVER,
    SUPERUSER,
    ActionName,
    Effect,
    Feed,
    FeedSource,
    Kind,
    Ref,
    ServiceAction,
    ServiceType,
    Statement,
    TrustAnchor,
    User,
    is_member_kind,
    parse_ref,
)
from cas.policy.request import EVERYTHING, PolicyRequest, Wanted
from gsi.errors import DeniedError, ParseError
from tests.harness.cas import NOW, READ, group, object_ref

HOUR = timedelta(hours=1)
HOW = Circumstances(NOW)
FILE = {name: ActionName("file", name) for name in ("read", "write", "lookup")}
ALL = frozenset({*FILE.values(), ActionName("cas", "grant")})
PAST, FUTURE = Terms(not_after=NOW), Terms(not_before=NOW + HOUR / 2)


def says(effect: Effect, actions: str | None, *names: str, terms: Terms = ALWAYS) -> Applicable:
    named = None if actions is None else frozenset(FILE[one] for one in actions.split())
    return Applicable(1, effect, named, tuple(Place("n", name, Comparison.WILDCARD) for name in names), terms)


def permits(actions: str | None, *names: str, terms: Terms = ALWAYS) -> Applicable:
    return says(Effect.PERMIT, actions, *names, terms=terms)


def denies(actions: str | None, *names: str, terms: Terms = ALWAYS) -> Applicable:
    return says(Effect.DENY, actions, *names, terms=terms)


def asks(name: str, actions: str | None = None, namespace: str | None = "n") -> PolicyRequest:
    return PolicyRequest(
        (Wanted(namespace, name, None if actions is None else frozenset(FILE[one] for one in actions.split())),)
    )


def get(*statements: Applicable, request: PolicyRequest = EVERYTHING, how: Circumstances = HOW) -> Outcome:
    return narrow(statements, request, how, until=NOW + HOUR, all_actions=ALL)


def told(outcome: Outcome) -> list[str]:
    return [f"{right.object} {' '.join(right.actions)}" for right in outcome.rights]


@pytest.mark.parametrize(
    ("effects", "permitted"),
    [
        ([], False),
        ([(Effect.PERMIT, ALWAYS)], True),
        ([(Effect.DENY, ALWAYS)], False),
        ([(Effect.PERMIT, ALWAYS), (Effect.DENY, ALWAYS)], False),
        ([(Effect.PERMIT, PAST)], False),
        ([(Effect.PERMIT, ALWAYS), (Effect.DENY, PAST)], True),
        ([(Effect.PERMIT, ALWAYS), (Effect.DENY, FUTURE)], True),
        ([(Effect.PERMIT, FUTURE), (Effect.PERMIT, ALWAYS)], True),
    ],
)
def test_one_question(effects: list[tuple[Effect, Terms]], permitted: bool) -> None:
    matched = [Matched(number, "g", effect, terms) for number, (effect, terms) in enumerate(effects)]
    verdict = judge(matched, HOW)
    assert verdict.permitted is permitted
    assert {*verdict.by, *verdict.idle} <= set(matched)
    assert all(one.effect is (Effect.PERMIT if permitted else Effect.DENY) for one in verdict.by)


@pytest.mark.parametrize(
    ("statements", "request_", "found"),
    [
        ([permits("read", "d/*")], EVERYTHING, ["d/* read"]),
        ([permits("read", "d/*"), permits("write", "d/*")], EVERYTHING, ["d/* read write"]),
        ([permits("read", "d/*", "e")], EVERYTHING, ["d/* read", "e read"]),
        # one within the other says nothing more
        ([permits("read", "d/*"), permits("read", "d/a")], EVERYTHING, ["d/* read"]),
        ([permits("read", "d/*"), permits("read write", "d/a")], EVERYTHING, ["d/* read", "d/a write"]),
        # what is asked for
        ([permits("read", "d/*")], asks("d/a"), ["d/a read"]),
        ([permits("read", "d/a")], asks("d/*"), ["d/a read"]),
        ([permits("read", "d/*")], asks("e/*"), []),
        ([permits("read", "d/*")], asks("d/*", "write"), []),
        ([permits("read write", "d/*")], asks("d/*", "write"), ["d/* write"]),
        ([permits("read", "d/*")], asks("d/*", namespace="other"), []),
        ([permits("read write", "d/*")], asks("", "read", namespace=None), ["d/* read"]),
        # every action, but none of CAS's own
        ([permits(None, "d/*")], EVERYTHING, ["d/* lookup read write"]),
        ([permits(None, "d/*")], asks("d/*", "read"), ["d/* read"]),
        # denials
        ([permits("read write", "d/*"), denies("write", "d/*")], EVERYTHING, ["d/* read"]),
        ([permits("read", "d/*"), denies("read", "d/a")], EVERYTHING, []),
        ([permits("read", "d/*"), denies("read", "d/a")], asks("d/b/*"), ["d/b/* read"]),
        ([permits("read", "d/*"), denies("read", "d/a/*")], asks("d/a/x"), []),
        ([permits("read", "d/a"), denies("read", "d/*")], EVERYTHING, []),
        ([permits("read", "d/*"), denies(None, "d/a")], EVERYTHING, []),
        ([permits("read", "d/*"), permits("read", "d/b"), denies("read", "d/a")], EVERYTHING, ["d/b read"]),
        ([denies("read", "d/*"), permits("read", "e")], EVERYTHING, ["e read"]),
        ([permits("read", "d/*"), denies("read", "d/*", terms=PAST)], EVERYTHING, ["d/* read"]),
        # terms
        ([permits("read", "d/*", terms=PAST)], EVERYTHING, []),
        ([permits("read", "d/*", terms=FUTURE)], EVERYTHING, []),
        ([permits("read", "d/*", terms=Terms(proxies=Proxies.LIMITED))], EVERYTHING, []),
        ([permits("read", "d/*", terms=Terms(strength=Strength.MEDIUM))], EVERYTHING, ["d/* read"]),
        ([permits("read", "d/*"), denies("read", "d/*", terms=Terms(strength=Strength.HIGH))], EVERYTHING, []),
    ],
)
def test_capabilities(statements: list[Applicable], request_: PolicyRequest, found: list[str]) -> None:
    assert told(get(*statements, request=request_)) == found
    assert told(get(*reversed(statements), request=request_)) == found


def test_what_is_withheld_is_said() -> None:
    outcome = get(permits("read", "d/*"), denies("read", "d/a"))
    assert [(right.object, right.actions) for right in outcome.withheld] == [("d/*", ("read",))]
    assert get(permits("read", "d/a"), denies("read", "d/*")).withheld == ()


@pytest.mark.parametrize(
    ("statements", "end"),
    [
        ([permits("read", "d/*")], NOW + HOUR),
        ([permits("read", "d/*", terms=Terms(not_after=NOW + HOUR / 4))], NOW + HOUR / 4),
        ([permits("read", "d/*", terms=Terms(not_after=NOW + HOUR * 4))], NOW + HOUR),
        # the longer of two for the same
        ([permits("read", "d/*"), permits("read", "d/*", terms=Terms(not_after=NOW + HOUR / 4))], NOW + HOUR),
        ([permits("read", "d/*"), permits("read", "d/a", terms=Terms(not_after=NOW + HOUR / 4))], NOW + HOUR),
        ([permits("read", "d/*"), permits("read", "e", terms=Terms(not_after=NOW + HOUR / 4))], NOW + HOUR / 4),
        # a denial to come
        ([permits("read", "d/*"), denies("read", "d/a", terms=FUTURE)], NOW + HOUR / 2),
        ([permits("read", "d/*"), denies("write", "d/a", terms=FUTURE)], NOW + HOUR),
        ([permits("read", "d/*"), denies("read", "e/*", terms=FUTURE)], NOW + HOUR),
        ([permits("read", "d/*"), denies("read", "d/a", terms=Terms(not_before=NOW + 2 * HOUR))], NOW + HOUR),
    ],
)
def test_when_a_capability_ends(statements: list[Applicable], end: datetime) -> None:
    outcome = get(*statements)
    assert outcome.rights
    assert outcome.not_after == end


def test_too_many_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "MAX_RIGHTS", 2)
    assert len(get(permits("read", "a", "b")).rights) == 2
    with pytest.raises(DeniedError, match="too many"):
        get(permits("read", "a", "b", "c"))


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words", "ref"),
    [
        (Kind.USER, ["alice"], Ref(Kind.USER, "alice")),
        (Kind.OBJECT, ["n", "ftp://h/a|b"], Ref(Kind.OBJECT, "ftp://h/a|b", "n")),
        (Kind.OBJECT, ["n|ftp://h/a"], Ref(Kind.OBJECT, "ftp://h/a", "n")),
        (Kind.SERVICE_ACTION, ["file", "read"], READ),
        (Kind.SERVICE_ACTION, ["http://x/action/read"], Ref(Kind.SERVICE_ACTION, "read", "http://x/action")),
    ],
)
def test_names_in_words(kind: Kind, words: list[str], ref: Ref) -> None:
    assert parse_ref(kind, words) == ref


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Kind.USER, []),
        (Kind.USER, [""]),
        (Kind.USER, ["a", "b"]),
        (Kind.OBJECT, ["name"]),
        (Kind.OBJECT, ["|name"]),
        (Kind.OBJECT, ["a", "b", "c"]),
        (Kind.SERVICE_ACTION, ["read"]),
        (Kind.SERVICE_ACTION, ["file/"]),
    ],
)
def test_words_that_name_nothing(kind: Kind, words: list[str]) -> None:
    with pytest.raises(ParseError):
        parse_ref(kind, words)


def test_subjects_are_kept_in_one_form() -> None:
    assert User("a", "CN=Alice,O=Grid", "ca").subject == "/O=Grid/CN=Alice"
    assert TrustAnchor("ca", "/O=Grid/CN=CA").data == "/O=Grid/CN=CA"


@pytest.mark.parametrize("name", ["", "a b", "a|b", "/a", "a/", "\xe4", "x" * 300])
def test_service_types_that_cannot_be(name: str) -> None:
    with pytest.raises(ParseError):
        ServiceType(name)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "\xe4", "x" * 65])
def test_actions_that_cannot_be(name: str) -> None:
    with pytest.raises(ParseError):
        ServiceAction("file", name)


def test_feeds() -> None:
    assert Feed(FeedSource.VOMS, "/vo/Role=NULL/Capability=NULL").value == "/vo"
    for source, value in ((FeedSource.VOMS, "vo"), (FeedSource.LDAP, ""), (FeedSource.LDAP, "a\nb")):
        with pytest.raises(ParseError):
            Feed(source, value)


def test_statements_that_cannot_be() -> None:
    for group_, effect, action, on in (
        ("g", Effect.PERMIT, object_ref("x"), SERVER),
        ("g", Effect.PERMIT, SUPERUSER, group("other")),
        ("g", Effect.DENY, Ref(Kind.SERVICE_ACTION, "query", "cas"), SERVER),
        ("g", Effect.PERMIT, Ref(Kind.SERVICE_ACTION, "grantAll", "cas"), group("g")),
    ):
        with pytest.raises(ParseError):
            Statement(group_, effect, action, on)


def test_what_may_be_in_which_group() -> None:
    pairs = {(outer, inner) for outer in Kind for inner in Kind if is_member_kind(outer, inner)}
    assert len(pairs) == 2 + 7 + 2
    assert (Kind.USER_GROUP, Kind.USER) in pairs
    assert (Kind.OBJECT_GROUP, Kind.SERVICE_ACTION) not in pairs


def test_every_thing_as_json() -> None:
    anchor = TrustAnchor("ca", "/O=Grid/CN=CA", strength=Strength.LOW)
    assert decode_change(encode_change(Enrol(anchor, "g"))) == Enrol(anchor, "g")
