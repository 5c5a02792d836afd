"""Who gets room, and whose turn it is."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from gsi.authz.callout.capacity import MAX_HELD_BYTES, Limits, Seats, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = Limits(connections=4, per_user=3, services=2)


class Chair:
    """A connection of nothing."""

    def __init__(self, *, is_deciding: bool = False, is_open: bool = False) -> None:
        self.is_deciding = is_deciding
        self.is_open = is_open


def _sit(seats: Seats[Chair], uid: int, count: int = 1, **state: bool) -> list[Chair]:
    chairs = [Chair(**state) for _ in range(count)]
    for chair in chairs:
        assert seats.admit(chair, uid, is_service=False, limits=LIMITS) == ("", None)
    return chairs


def test_services_are_counted_apart() -> None:
    seats: Seats[Chair] = Seats()
    _sit(seats, 1, 3)
    _sit(seats, 2)
    services = [Chair() for _ in range(3)]
    admitted = [not seats.admit(each, 0, is_service=True, limits=LIMITS).refusal for each in services]
    assert admitted == [True, True, False]
    assert len(seats) == len(seats.every()) == 6
    assert seats.leave(services[0])
    assert not seats.leave(services[0])
    assert not seats.admit(services[2], 7, is_service=True, limits=LIMITS).refusal


def test_one_uid_has_its_share() -> None:
    seats: Seats[Chair] = Seats()
    first, *_ = _sit(seats, 1, 3)
    assert "of uid 1" in seats.admit(Chair(), 1, is_service=False, limits=LIMITS).refusal
    assert seats.leave(first)
    _sit(seats, 1)


def test_who_has_fewer_gets_the_place_of_who_has_more() -> None:
    seats: Seats[Chair] = Seats()
    deciding, session, fresh = (Chair(is_deciding=True), Chair(is_open=True), Chair())
    for each in (deciding, session, fresh):
        seats.admit(each, 1, is_service=False, limits=LIMITS)
    _sit(seats, 2)
    for expected in (fresh, None):  # then both have two
        newcomer = Chair()
        admission = seats.admit(newcomer, 2, is_service=False, limits=LIMITS)
        assert admission.victim is expected
        assert bool(admission.refusal) is (expected is None)
    assert seats.admit(Chair(), 3, is_service=False, limits=LIMITS).victim is session
    assert len(seats) == LIMITS.connections
    assert not seats.leave(fresh)  # it is not counted any more


def test_nobody_is_closed_while_a_question_is_under_way() -> None:
    seats: Seats[Chair] = Seats()
    _sit(seats, 1, 3, is_deciding=True)
    _sit(seats, 2, is_deciding=True)
    assert seats.admit(Chair(), 3, is_service=False, limits=LIMITS).refusal == "too many connections"


def test_bytes_under_way_are_bounded() -> None:
    seats: Seats[Chair] = Seats()
    first, second = _sit(seats, 1, 2)
    (other,) = _sit(seats, 2)
    service = Chair()
    seats.admit(service, 0, is_service=True, limits=LIMITS)
    assert seats.hold(first, MAX_HELD_BYTES - 10)
    assert not seats.hold(second, 11)
    assert seats.hold(second, 10)
    assert seats.hold(other, MAX_HELD_BYTES)
    assert seats.hold(service, 2 * MAX_HELD_BYTES)
    seats.release(first)
    assert seats.hold(second, MAX_HELD_BYTES - 10)
    seats.leave(second)
    seats.release(second)
    assert seats.hold(first, MAX_HELD_BYTES)


class Course:
    """Work in threads that waits until it is told to go on."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gate = threading.Event()
        self.changed = asyncio.Event()
        self.finished: list[str] = []

    def body(self, name: str) -> Callable[[], str]:
        def work() -> str:
            self.begun.append(name)
            self.gate.wait(30)
            return name

        return work

    def done(self, found: asyncio.Future[str]) -> None:
        self.finished.append(found.result())
        self.changed.set()

    async def wait_for(self, count: int) -> None:
        while len(self.finished) < count:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 30)


def test_uids_come_in_turn() -> None:
    async def scenario() -> Course:
        course = Course()
        turns: Turns[str] = Turns(1, share=1, name="test")
        for uid, name in ((1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")):
            turns.submit(uid, course.body(name), course.done, is_gone=lambda: False)
        course.gate.set()
        await course.wait_for(6)
        turns.close()
        return course

    assert asyncio.run(scenario()).begun == ["a1", "a2", "b1", "c1", "a3", "b2"]


def test_one_uid_does_not_get_all_threads() -> None:
    async def scenario() -> None:
        course, quick = Course(), Course()
        quick.gate.set()
        turns: Turns[str] = Turns(3, share=2, name="test")
        for number in range(10):
            turns.submit(1, course.body(f"slow {number}"), course.done, is_gone=lambda: False)
        turns.submit(2, quick.body("other"), quick.done, is_gone=lambda: False)
        await quick.wait_for(1)
        assert len(course.begun) <= 2
        assert not course.finished
        course.gate.set()
        await course.wait_for(10)
        turns.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("gone", [True, False])
def test_what_nobody_waits_for_is_not_begun(*, gone: bool) -> None:
    async def scenario() -> list[str]:
        course = Course()
        turns: Turns[str] = Turns(1, share=1, name="test")
        turns.submit(1, course.body("first"), course.done, is_gone=lambda: False)
        turns.submit(1, course.body("second"), course.done, is_gone=lambda: gone)
        turns.submit(1, course.body("third"), course.done, is_gone=lambda: False)
        course.gate.set()
        await course.wait_for(2 if gone else 3)
        turns.close()
        return course.begun

    assert asyncio.run(scenario()) == (["first", "third"] if gone else ["first", "second", "third"])
