"""The engine: combining in order, obligations, and that nothing which goes wrong lets anybody in."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from types import SimpleNamespace
from typing import cast

import pytest

from gsi.authz.combine import Combining, combine
from gsi.authz.deadline import LANE, MAX_THREADS, DeadlinePool
from gsi.authz.decision import (
    Account,
    AuthorizationRequest,
    Authorizer,
    DatabaseRole,
    Decision,
    Effect,
    Obligation,
    PoolLease,
    PosixIds,
    StorageLot,
    StorageQuota,
    Subject,
)
from gsi.authz.engine import Engine
from gsi.authz.obligations import merge_obligations
from gsi.authz.policy import Chain, Member, Policy, Source
from gsi.errors import ConfigError, ParseError, TimeoutExpiredError
from tests.harness.authz import NOW, Fixed, Raising, policy_of, request_of, user

P, D, N, I = Effect.PERMIT, Effect.DENY, Effect.NOT_APPLICABLE, Effect.INDETERMINATE  # noqa: E741
ALICE = user("/O=Grid/CN=Alice")
REQUEST = request_of(ALICE, "read", "/data")


@pytest.mark.parametrize("combining", Combining)
def test_every_sequence_combines_as_the_tables_say(combining: Combining) -> None:
    for effects in product((P, D, N, I), repeat=3):
        engine = Engine(policy_of(*(Fixed(effect) for effect in effects), combining=combining))
        assert engine.authorize(REQUEST).effect is combine(combining, effects), effects


@pytest.mark.parametrize("combining", Combining)
def test_nested_chains(combining: Combining) -> None:
    for effects in product((P, D, N, I), repeat=3):
        for inner in Combining:
            chain = Chain("inner", inner, (Member(Fixed(effects[1])), Member(Fixed(effects[2]))))
            engine = Engine(policy_of(Fixed(effects[0]), chain, combining=combining))
            expected = combine(combining, [effects[0], combine(inner, effects[1:])])
            assert engine.authorize(REQUEST).effect is expected


def test_whoever_comes_after_the_end_is_not_asked() -> None:
    late = Fixed(P)
    Engine(policy_of(Fixed(D), late)).authorize(REQUEST)
    Engine(policy_of(Fixed(I), late)).authorize(REQUEST)
    Engine(policy_of(Fixed(D), late, combining=Combining.DENY_OVERRIDES)).authorize(REQUEST)
    assert late.asked == 0
    Engine(policy_of(Fixed(I), late, combining=Combining.DENY_OVERRIDES)).authorize(REQUEST)
    assert late.asked == 1


def test_a_chain_without_members_cannot_be_made() -> None:
    with pytest.raises(ConfigError):
        Chain("empty", Combining.DENY_OVERRIDES, ())


def test_the_trace_and_the_id() -> None:
    inner = Chain("local", Combining.FIRST_APPLICABLE, (Member(Fixed(N, name="a")), Member(Fixed(P, name="b"))))
    engine = Engine(policy_of(Fixed(N, name="bans"), inner))
    decision = engine.authorize(REQUEST)
    assert [(step.authorizer, step.effect, step.depth) for step in decision.trace] == [
        ("policy", P, 0),
        ("bans", N, 1),
        ("local", P, 1),
        ("a", N, 2),
        ("b", P, 2),
    ]
    assert decision.authorizer == "b"
    assert len(decision.decision_id) == 24
    assert decision.decision_id != engine.authorize(REQUEST).decision_id
    found = engine.find(decision.decision_id)
    assert found is not None
    assert found.decision is decision
    assert found.request is REQUEST
    assert engine.find("nothing") is None


def test_only_the_last_decisions_are_remembered() -> None:
    engine = Engine(policy_of(Fixed(P)), remembered=2)
    ids = [engine.authorize(REQUEST).decision_id for _ in range(3)]
    assert [engine.find(each) is None for each in ids] == [True, False, False]
    assert [recorded.decision.decision_id for recorded in engine.recent()] == ids[1:]


class _Word(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


def _odd_answers() -> list[object]:
    return [
        None,
        True,
        P,
        "permit",
        {"effect": "permit"},
        SimpleNamespace(effect=P, obligations=(), is_permit=True),
        Decision(cast("Effect", "permit"), "text instead of an effect"),
        Decision(cast("Effect", _Word("permit")), "equal to everything"),
        Decision(P, "an obligation of no known type", cast("tuple[Obligation, ...]", ("root",))),
        Decision(P, "obligations in a list", cast("tuple[Obligation, ...]", [Account("alice")])),
    ]


@pytest.mark.parametrize("may_block", [False, True])
@pytest.mark.parametrize("answer", _odd_answers(), ids=repr)
def test_what_is_no_decision_is_indeterminate(answer: object, *, may_block: bool) -> None:
    authorizer = cast("Authorizer", SimpleNamespace(name="odd", decide=lambda _request: answer))
    for combining in Combining:
        decision = Engine(policy_of(authorizer, combining=combining, may_block=may_block)).authorize(REQUEST)
        assert decision.effect is I
        assert not decision.obligations


ERRORS = [
    KeyError("x"),
    ParseError("odd", what="x"),
    RecursionError(),
    MemoryError(),
    TimeoutExpiredError("late"),
    StopIteration(),
    OSError(5, "I/O error"),
    UnicodeError(),
    ExceptionGroup("several", [ValueError()]),
]


@pytest.mark.parametrize("may_block", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_exception_is_indeterminate(error: Exception, *, may_block: bool, caplog: pytest.LogCaptureFixture) -> None:
    decision = Engine(policy_of(Raising(error), Fixed(P), may_block=may_block)).authorize(REQUEST)
    assert decision.effect is I
    assert decision.authorizer == "raising"


def test_an_authorizer_whose_name_fails() -> None:
    class Nameless:
        @property
        def name(self) -> str:
            raise ValueError

        def decide(self, request: AuthorizationRequest) -> Decision:
            return Decision(P, "yes")

    assert Engine(policy_of(Nameless())).authorize(REQUEST).effect is I


def test_a_late_answer_is_indeterminate() -> None:
    gate = threading.Event()

    @dataclass
    class Hanging:
        name: str = "hanging"

        def decide(self, request: AuthorizationRequest) -> Decision:
            gate.wait()
            return Decision(P, "too late")

    decision = Engine(policy_of(Hanging(), may_block=True, time_limit=0.01)).authorize(REQUEST)
    assert decision.effect is I
    assert "0.01 seconds" in decision.reason
    for member in (Fixed(P), Fixed(D)):
        in_place = policy_of(member, time_limit=-1.0)  # whatever it takes is too long
        decision = Engine(in_place).authorize(REQUEST)
        assert decision.effect is I
        assert "took longer than" in decision.reason
    gate.set()


def test_threads_that_hang_do_not_pile_up() -> None:
    gate = threading.Event()
    pool = DeadlinePool("test")
    before = threading.active_count()
    for _ in range(MAX_THREADS + 3):
        with pytest.raises(TimeoutExpiredError):
            pool.call(gate.wait, 0.001)
    assert threading.active_count() - before <= MAX_THREADS
    gate.set()
    assert pool.call(lambda: "again", 30.0) == "again"


def test_lanes_have_threads_of_their_own() -> None:
    """While all threads of one lane hang, another goes on."""
    gate = threading.Event()

    @dataclass
    class Hanging:
        name: str = "hanging"

        def decide(self, request: AuthorizationRequest) -> Decision:
            if request.resource.name == "/hang":
                gate.wait()
            return Decision(P, "at last")

    hung = Engine(policy_of(Hanging(), may_block=True, time_limit=0.01))
    for _ in range(MAX_THREADS):
        assert hung.authorize(request_of(ALICE, "read", "/hang")).effect is I
    patient = replace(hung.policy.root, members=policy_of(Hanging(), may_block=True, time_limit=30.0).root.members)
    hung.replace(replace(hung.policy, root=patient))
    token = LANE.set("service")
    try:
        assert hung.authorize(REQUEST).effect is P
    finally:
        LANE.reset(token)
        gate.set()


def test_a_forked_process_has_threads_of_its_own() -> None:
    pool = DeadlinePool("test")
    assert pool.call(lambda: 1, 30.0) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
        child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if pool.call(lambda: 2, 10.0) == 2 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_expired_proof_is_denied() -> None:
    engine = Engine(policy_of(Fixed(P)))
    for offset, effect in ((1, P), (0, D), (-1, D)):
        subject = replace(ALICE, not_after=NOW + timedelta(seconds=offset))
        decision = engine.authorize(request_of(subject))
        assert decision.effect is effect
        assert decision.not_after == subject.not_after


def test_the_earliest_end_counts() -> None:
    soon, later = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    subject = replace(ALICE, not_after=later)
    assert Engine(policy_of(Fixed(P, not_after=soon))).authorize(request_of(subject)).not_after == soon
    both = policy_of(Fixed(P, not_after=later), Fixed(P, not_after=soon), combining=Combining.DENY_OVERRIDES)
    assert Engine(both).authorize(REQUEST).not_after == soon


# --- obligations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "merged"),
    [
        ((), ()),
        ((Account("a"), Account("a")), (Account("a"),)),
        ((Account("a"), PoolLease("a", "k")), (Account("a"), PoolLease("a", "k"))),
        ((Account("a"), PosixIds(1, 2)), (Account("a"), PosixIds(1, 2))),
        ((StorageQuota("", 5), StorageQuota("", 3), StorageQuota("x", 9)), (StorageQuota("", 3), StorageQuota("x", 9))),
    ],
)
def test_obligations_that_go_together(given: tuple[Obligation, ...], merged: tuple[Obligation, ...]) -> None:
    assert merge_obligations(given) == merged


@pytest.mark.parametrize(
    "given",
    [
        (Account("a"), Account("b")),
        (Account("a"), PoolLease("b", "k")),
        (PoolLease("a", "k"), PoolLease("b", "k")),
        (PosixIds(1, 2), PosixIds(1, 3)),
        (DatabaseRole("a"), DatabaseRole("b")),
        (StorageLot("a"), StorageLot("b")),
    ],
)
def test_obligations_that_contradict(given: tuple[Obligation, ...]) -> None:
    assert isinstance(merge_obligations(given), str)
    assert Engine(policy_of(Fixed(P, given))).authorize(REQUEST).effect is I
    two = policy_of(Fixed(P, given[:1]), Fixed(P, given[1:]), combining=Combining.DENY_OVERRIDES)
    decision = Engine(two).authorize(REQUEST)
    assert decision.effect is I
    assert not decision.obligations


def test_obligations_of_several_permits_are_joined() -> None:
    two = policy_of(
        Fixed(P, (Account("a"),)), Fixed(N), Fixed(P, (StorageLot("l"),)), combining=Combining.DENY_OVERRIDES
    )
    assert Engine(two).authorize(REQUEST).obligations == (Account("a"), StorageLot("l"))


@pytest.mark.parametrize(("desired", "effect"), [(None, P), ("alice", P), ("root", D), ("bob", D), ("", D)])
def test_the_account_asked_for_must_be_the_one_given(desired: str | None, effect: Effect) -> None:
    engine = Engine(policy_of(Fixed(P, (Account("alice"),))))
    assert engine.authorize(request_of(ALICE, desired_account=desired)).effect is effect


@pytest.mark.parametrize(
    "obligation", [Account("root"), PoolLease("root", "k"), PosixIds(0, 5), PosixIds(5, 0), PosixIds(5, 5, (0,))]
)
def test_root_only_where_the_policy_says_so(obligation: Obligation) -> None:
    assert Engine(policy_of(Fixed(P, (obligation,)))).authorize(REQUEST).effect is D
    assert Engine(policy_of(Fixed(P, (obligation,)), allow_root=True)).authorize(REQUEST).effect is P


def test_a_refusal_has_no_obligations() -> None:
    assert not Engine(policy_of(Fixed(D, (Account("a"),)))).authorize(REQUEST).obligations


# --- attribute sources ------------------------------------------------------------------------------------------------


@dataclass
class _Source:
    change: Callable[[AuthorizationRequest], object]
    name: str = "source"

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        return cast("AuthorizationRequest", self.change(request))


def _with_subject(**fields: object) -> Callable[[AuthorizationRequest], object]:
    return lambda request: replace(request, subject=replace(request.subject, **fields))  # type: ignore[arg-type]  # handed on by name


@dataclass
class _Group:
    group: str
    name: str = "group"

    def decide(self, request: AuthorizationRequest) -> Decision:
        return Decision(P if self.group in request.subject.groups else D, "")


def _sourced(*changes: Callable[[AuthorizationRequest], object], may_block: bool = False) -> Decision:
    sources = tuple(Source(_Source(change), may_block=may_block) for change in changes)
    return Engine(policy_of(_Group("staff"), sources=sources)).authorize(REQUEST)


def test_sources_add_attributes_before_anybody_is_asked() -> None:
    add = _with_subject(groups=frozenset({"staff"}))
    assert _sourced(add).effect is P
    assert _sourced(add, may_block=True).effect is P
    assert _sourced(lambda request: request).effect is D
    assert _sourced(add, _with_subject(groups=frozenset({"staff", "other"}))).effect is P


@pytest.mark.parametrize(
    "change",
    [
        lambda request: None,
        lambda request: request.subject,
        _with_subject(identity="/O=Grid/CN=Root"),
        _with_subject(limited=True),
        _with_subject(authenticated_by="magic"),
        _with_subject(issuer="x"),
        lambda request: replace(request, action=replace(request.action, name="write")),
        lambda request: replace(request, resource=replace(request.resource, name="/etc")),
        lambda request: replace(request, environment=replace(request.environment, desired_account="root")),
        lambda request: replace(request, environment=replace(request.environment, now=NOW + timedelta(1))),
        lambda request: 1 / 0,
    ],
)
def test_a_source_that_fails_or_meddles_is_indeterminate(change: Callable[[AuthorizationRequest], object]) -> None:
    add = _with_subject(groups=frozenset({"staff"}))
    for may_block in (False, True):
        decision = _sourced(add, change, may_block=may_block)
        assert decision.effect is I
        assert decision.authorizer == "source"


def test_a_source_that_answers_late_is_indeterminate() -> None:
    """Also one that is asked in place, where nobody could cut it off: what it took is looked at afterwards."""
    add = _with_subject(groups=frozenset({"staff"}))
    for limit, effect in ((5.0, P), (-1.0, I)):  # whatever it takes is more than less than nothing
        sources = (Source(_Source(add), time_limit=limit, may_block=False),)
        decision = Engine(policy_of(_Group("staff"), sources=sources)).authorize(REQUEST)
        assert decision.effect is effect
        assert ("took longer than" in decision.reason) is (effect is I)


class _Hanging:
    """A source that hangs where it waits, and says of whom it does."""

    name = "hanging"

    def __init__(self) -> None:
        self.hang = threading.Event()

    def may_wait(self, request: AuthorizationRequest) -> bool:
        return bool(request.subject.assertions)

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        if self.may_wait(request):
            self.hang.wait(20)
        return request


def test_who_needs_nothing_of_a_source_does_not_wait_for_its_threads() -> None:
    """Though all of them hang, with others' requests."""
    source = _Hanging()
    engine = Engine(policy_of(Fixed(Effect.PERMIT), sources=(Source(source, 0.001),)))
    waiting = request_of(replace(user(), assertions=("x",)))
    for _ in range(2 * MAX_THREADS):
        assert engine.authorize(waiting).effect is Effect.INDETERMINATE
    engine.replace(policy_of(Fixed(Effect.PERMIT), sources=(Source(source, 10.0),)))
    assert engine.authorize(request_of(user())).effect is Effect.PERMIT
    source.hang.set()


def test_a_source_that_cannot_say_whether_it_waits_is_indeterminate() -> None:
    source = _Hanging()
    source.may_wait = lambda _: 1 / 0  # type: ignore[method-assign,assignment,return-value]  # a plug-in's defect
    engine = Engine(policy_of(Fixed(Effect.PERMIT), sources=(Source(source),)))
    assert "ZeroDivisionError" in engine.authorize(request_of(user())).reason


def test_what_a_source_adds_may_end_earlier_and_never_later() -> None:
    soon, later = NOW + timedelta(minutes=1), NOW + timedelta(hours=1)
    add = _with_subject(groups=frozenset({"staff"}))
    assert _sourced(add, _with_subject(not_after=soon)).not_after == soon
    assert _sourced(add, _with_subject(not_after=later), _with_subject(not_after=soon)).not_after == soon
    assert _sourced(add, _with_subject(not_after=NOW)).effect is D
    for change in (later, None):
        decision = _sourced(add, _with_subject(not_after=soon), _with_subject(not_after=change))
        assert decision.effect is I
        assert "when the proof ends" in decision.reason


def test_a_source_cannot_take_attributes_away() -> None:
    subject = replace(ALICE, groups=frozenset({"staff", "suspended"}), fqans=("/vo",), claims={"a": 1})
    policy = policy_of(Fixed(P))
    less: list[dict[str, object]] = [
        {"groups": frozenset({"staff"})},
        {"fqans": ()},
        {"claims": {}},
        {"claims": {"a": 2}},
    ]
    for fields in less:
        sourced = replace(policy, sources=(Source(_Source(_with_subject(**fields))),))
        assert Engine(sourced).authorize(request_of(subject)).effect is I


# --- keeping ----------------------------------------------------------------------------------------------------------


def test_a_permit_that_cannot_be_audited_is_none() -> None:
    def fail(_request: AuthorizationRequest, _decision: Decision) -> None:
        raise OSError(28, "No space left on device")

    decision = Engine(policy_of(Fixed(P, (Account("a"),))), audit=fail).authorize(REQUEST)
    assert decision.effect is I
    assert not decision.obligations
    assert Engine(policy_of(Fixed(D)), audit=fail).authorize(REQUEST).effect is D


def test_the_audit_gets_every_decision_first() -> None:
    told: list[Decision] = []
    engine = Engine(policy_of(Fixed(P)), audit=lambda _request, decision: told.append(decision))
    assert [engine.authorize(REQUEST)] == told


def test_a_record_that_fails_does_not_change_the_decision(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_request: AuthorizationRequest, _decision: Decision) -> None:
        raise OSError(28, "No space left on device")

    assert Engine(policy_of(Fixed(P)), record=fail).authorize(REQUEST).effect is P
    assert "could not be recorded" in caplog.text


def test_the_log_line_shows_foreign_text_escaped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gsi.authz")
    subject = Subject(identity="evil\ndecision 00: permit", authenticated_by="token")
    decision = Engine(policy_of(Fixed(D))).authorize(request_of(subject, "read", "/a\x1b[2J"))
    assert decision.decision_id in caplog.text
    assert "\nevil" not in caplog.text
    assert "evil\\ndecision" in caplog.text
    assert "\x1b" not in caplog.text


def test_a_preview_leaves_no_trace() -> None:
    @dataclass
    class Leasing:
        name: str = "leasing"

        def decide(self, request: AuthorizationRequest) -> Decision:
            raise AssertionError("asked in earnest")

        def preview(self, request: AuthorizationRequest) -> Decision:
            return Decision(P, "would lease")

    told: list[Decision] = []
    engine = Engine(policy_of(Leasing()), audit=lambda _request, decision: told.append(decision))
    decision = engine.preview(REQUEST)
    assert decision.effect is P
    assert decision.decision_id == ""
    assert not told
    assert not engine.recent()
    decision = engine.authorize(REQUEST, leasing=False)  # changes nothing, but is a decision
    assert decision.effect is P
    assert told == [decision]
    assert engine.find(decision.decision_id) is not None


def test_async() -> None:
    threads: list[threading.Thread] = []

    @dataclass
    class Here:
        name: str = "here"

        def decide(self, request: AuthorizationRequest) -> Decision:
            threads.append(threading.current_thread())
            return Decision(P, "yes")

    for may_block in (False, True):
        decision = asyncio.run(Engine(policy_of(Here(), may_block=may_block)).authorize_async(REQUEST))
        assert decision.is_permit
    assert threads[0] is threading.main_thread()
    assert threads[1] is not threading.main_thread()


def test_a_replaced_policy_is_in_force_at_once() -> None:
    engine = Engine(policy_of(Fixed(P)))
    engine.replace(Policy(policy_of(Fixed(D)).root))
    assert engine.authorize(REQUEST).effect is D
