"""What leaves once it is granted: with and without waiting, and never before its records are safe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gsi.certificate import Certificate, Extension
from gsi.delegation import DelegationRequester
from gsi.errors import DeniedError, StorageError
from gsi.keys import KeyType, generate_key
from gsi.system.audit import Verdict
from myproxy import conversation
from myproxy.conversation import becomes_known
from myproxy.grants import RetrievalGrant, Settings
from myproxy.protocol.messages import Command
from tests.harness.ca import Issued, TestCA
from tests.harness.myproxy import OPEN, Sink, World, ask, make_world

PUT = ask(Command.PUT)
GET = ask(Command.GET)


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=Test CA")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice")


@pytest.fixture
def world(ca: TestCA, alice: Issued, tmp_path: Path) -> Iterator[World]:
    with make_world(ca, tmp_path) as made:
        made.put(alice, PUT)
        made.sink.records.clear()
        yield made


def granted(world: World) -> RetrievalGrant:
    return world.begin_get(None, GET)


def test_without_waiting_the_same_leaves_and_the_same_is_recorded(world: World) -> None:
    requester = DelegationRequester(generate_key(KeyType.P256))
    signed = world.service.sign_quickly(granted(world), requester.request_der)
    assert signed is not None
    signed.settle()
    proxy = requester.accept([one.der for one in signed.certificates], now=world.now)
    assert proxy.certificate == signed.certificates[0]
    assert world.verdicts() == [("GET", Verdict.PERMIT), ("DELEGATE", Verdict.PERMIT)]


def test_records_that_are_not_safe_are_no_yes(world: World) -> None:
    requester = DelegationRequester(generate_key(KeyType.P256))
    grant = granted(world)
    signed = world.service.sign_quickly(grant, requester.request_der)
    assert signed is not None
    world.sink.broken = True
    with pytest.raises(StorageError):
        signed.settle()
    with pytest.raises(StorageError):
        world.service.finish_get(grant, requester.request_der)


def test_a_refusal_is_left_to_whoever_can_record_it(world: World) -> None:
    grant = granted(world)
    assert world.service.sign_quickly(grant, b"no request") is None
    assert world.verdicts() == [("GET", Verdict.PERMIT)]
    with pytest.raises(DeniedError, match="Unable to delegate"):
        world.service.finish_get(grant, b"no request")
    assert world.verdicts()[1:] == [("DELEGATE", Verdict.DENY)]


def test_what_has_to_ask_somebody_waits(world: World) -> None:
    def ask_outside(username: str, chain: Sequence[Certificate]) -> tuple[Extension, ...]:
        raise AssertionError(f"asked about {username}, {chain}")

    world.configure(Settings(access=OPEN), proxy_extensions=ask_outside)
    requester = DelegationRequester(generate_key(KeyType.P256))
    assert world.service.sign_quickly(granted(world), requester.request_der) is None


def test_a_record_that_stays_on_its_way_is_not_waited_for_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(Sink):
        def when_known(self, tell: Callable[[], None], *, soon: bool = True) -> None:
            """Tell nobody, as a disk that hangs."""

    monkeypatch.setattr(conversation, "SYNC_SECONDS", 0.01)
    assert not asyncio.run(becomes_known(Never()))
    assert asyncio.run(becomes_known(Sink()))
