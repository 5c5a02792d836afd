"""What balancers are told: parts that fail, parts that hang, and what asking often costs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from gsi.certificate import Certificate
from gsi.errors import ConfigError, StorageError
from gsi.system.health import KEPT_SECONDS, Health, check_anchors, check_dates
from gsi.system.metrics import write_text
from gsi.trust.anchors import build_anchors
from tests.harness.ca import TestCA

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class World:
    """Two parts, of which the second can fail or hang, and a clock that is set."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.looked = 0
        self.trouble: Exception | None = None
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.hangs = threading.Event()
        parts: dict[str, Callable[[], object]] = {"trust": lambda: None, "store": self.store}
        self.health = Health(parts, log="test.health", clock=lambda: self.seconds, patience=60)

    def store(self) -> None:
        self.looked += 1
        if not self.goes_on.is_set():
            self.hangs.set()
        assert self.goes_on.wait(60)
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.goes_on.set()


def test_asking_often_costs_nothing(world: World) -> None:
    for _ in range(5):
        assert world.health.page("more\n") == ("ok\nmore\n", 200)
    assert world.looked == 1
    world.seconds = KEPT_SECONDS
    world.trouble = StorageError("no route to db1.example.org")
    text, status = world.health.page("more\n")
    assert (text, status) == ("store: fails; the log has more\nmore\n", 503)
    assert world.looked == 2


def test_the_log_says_why_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for trouble in (StorageError("no route"), StorageError("no route"), RuntimeError("a mistake"), None):
        world.trouble = trouble
        world.seconds += KEPT_SECONDS
        assert world.health.page()[1] == (503 if trouble else 200)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["store fails: no route", "store fails", "store works again"]


def test_a_part_that_hangs_holds_nobody(world: World) -> None:
    world.goes_on.clear()
    health = Health({"store": world.store}, log="test.health", patience=0)
    for _ in range(3):
        assert health.page() == ("store: no answer within 3 seconds\n", 503)
    assert world.hangs.wait(60)
    assert world.looked == 1  # one thread waits, however many ask


def test_whoever_asks_while_another_waits_gets_the_former_answer(world: World) -> None:
    assert world.health.page()[1] == 200
    world.seconds, world.trouble = KEPT_SECONDS, StorageError("no route")
    world.goes_on.clear()
    found: list[int] = []
    waits = threading.Thread(target=lambda: found.append(world.health.page()[1]))
    waits.start()
    assert world.hangs.wait(60)
    assert world.health.page()[1] == 200
    world.goes_on.set()
    waits.join(60)
    assert found == [503]


def test_numbers(world: World) -> None:
    world.trouble = StorageError("no route")
    text = write_text([world.health.family("myproxy_portal")]).decode()
    assert 'myproxy_portal_check{part="trust"} 1.0' in text
    assert 'myproxy_portal_check{part="store"} 0.0' in text


def test_what_is_insisted_on() -> None:
    certificate = Certificate.parse(TestCA("/O=Grid/CN=CA", "p256").der)
    check_dates(certificate, now=certificate.not_after, what="it")
    with pytest.raises(ConfigError, match="it is good from"):
        check_dates(certificate, now=certificate.not_after + timedelta(seconds=1), what="it")
    with pytest.raises(ConfigError, match="no CA"):
        check_anchors(build_anchors({}, loaded_at=NOW))
