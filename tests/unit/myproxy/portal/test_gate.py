"""Questions to a backend that hangs: some are open, the others are refused at once, and pages that ask nobody stay."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Blueprint

from gsi.errors import RefusedError, TransportError
from gsi.secret import Passphrase
from gsi.system import clock
from myproxy.auth.base import ThrottledError
from myproxy.client import ServerAddress
from myproxy.portal import app as app_module
from myproxy.portal.config import HTTPSettings, OIDCSettings
from myproxy.portal.desk import Desk, plain_address, told_apart
from myproxy.portal.gate import OVERDUE_SECONDS, BusyBackendError, Gate
from myproxy.portal.oidc import Provider
from tests.harness.ca import Issued, TestCA, write_trust_dir
from tests.harness.portal_pages import open_pages


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", "p256")


class Moment:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_asker_leaves_room_for_others_and_nobody_waits_for_what_is_overdue() -> None:
    moment = Moment()
    gate = Gate("it", slots=8, clock=moment)
    with contextlib.ExitStack() as open_questions:
        for asker, most in (("a", 5), ("b", 2), ("c", 1)):
            for _ in range(most):
                open_questions.enter_context(gate.take(asker))
            moment.now += OVERDUE_SECONDS
            with pytest.raises(BusyBackendError), gate.take(asker):
                pass
    assert not gate._answers
    moment.now += OVERDUE_SECONDS
    with gate.take("a"), gate.take("a"), gate.take("a"), gate.take("a"):
        pass


def test_who_waits_gets_the_slot_that_becomes_free() -> None:
    gate = Gate("it", slots=2)
    got = threading.Event()

    def wait() -> None:
        with contextlib.suppress(BusyBackendError), gate.take("a"):
            got.set()

    with gate.take("a"):
        thread = threading.Thread(target=wait)
        thread.start()
    thread.join()
    assert got.is_set()


def test_the_desk_asks_nobody_where_too_many_questions_are_open(ca: TestCA, tmp_path: Path) -> None:
    desk = Desk(ServerAddress.parse("192.0.2.1"), lambda: pytest.fail("somebody is asked"), clock=clock.now, slots=2)
    with desk._gate.take("x"), desk._gate.take("y"):
        for number in range(2):
            desk._gate._begun = dict.fromkeys(desk._gate._begun, -1000.0)
            with pytest.raises(TransportError, match="too many questions"):
                desk.log_on("alice", Passphrase(b"x"), lifetime=timedelta(hours=1), source=f"203.0.{number}.1")
    provider = Provider(
        OIDCSettings(issuer="https://192.0.2.1", client_id="x"), str(write_trust_dir(tmp_path, ca)), clock=clock.now
    )
    with provider._gate.take("x"), provider._gate.take("y"):
        provider._gate._begun = dict.fromkeys(provider._gate._begun, -1000.0)
        with pytest.raises(TransportError, match="too many questions"):
            provider.begin("https://portal.example.org/")
    assert provider._failed == {}, "it was not asked"


def test_a_provider_that_has_failed_is_left_alone_for_a_while(
    ca: TestCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fail(url: str, **_: object) -> None:
        asked.append(url)
        raise TransportError("timed out")

    monkeypatch.setattr("myproxy.portal.oidc.fetch", fail)
    provider = Provider(
        OIDCSettings(issuer="https://192.0.2.1", client_id="x"), str(write_trust_dir(tmp_path, ca)), clock=clock.now
    )
    for _ in range(5):
        with pytest.raises(TransportError):
            provider.begin("https://portal.example.org/")
    assert len(asked) == 1
    provider._failed = dict.fromkeys(provider._failed, -1000.0)
    with pytest.raises(TransportError):
        provider.begin("https://portal.example.org/")
    assert len(asked) == 2


def test_pages_of_a_service_that_hangs_leave_threads_for_the_others(
    tmp_path: Path, ca: TestCA, alice: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages_of = Blueprint("slow", __name__)

    @pages_of.get("/")
    def show() -> str:
        return "shown"

    page = SimpleNamespace(title="Slow", blueprint=pages_of)
    point = SimpleNamespace(name="slow", value="x", load=lambda: lambda _host: page)
    monkeypatch.setattr(app_module, "entry_points", lambda group: [point])
    gates: list[Gate] = []

    def make(name: str, *, slots: int) -> Gate:
        gates.append(Gate(name, slots=slots))
        return gates[-1]

    monkeypatch.setattr(app_module, "Gate", make)
    with open_pages(ca, tmp_path, http=HTTPSettings(threads=16)) as pages:
        pages.store("alice", alice)
        pages.log_on()
        for _ in range(3):
            assert pages.get("/slow/").text == "shown"
        (gate,) = gates
        with gate.take("x"), gate.take("y"):
            gate._begun = dict.fromkeys(gate._begun, -1000.0)
            answer = pages.get("/slow/")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
            assert pages.get("/activity").status_code == 200
        assert pages.get("/slow/").text == "shown"


def test_what_a_server_says_that_has_not_judged() -> None:
    words = "too many wrong pass phrases for this account from this network; try again in 12 seconds"
    text = f"ERROR from myproxy-server:\ninvalid credential passphrase\n{words}\nrequest id: c0ffee"
    waiting = told_apart(RefusedError(text))
    assert isinstance(waiting, ThrottledError)
    assert waiting.seconds == 12
    other = told_apart(RefusedError('"/O=Grid/CN=portal" not authorized by server\'s trusted_front_ends policy'))
    assert isinstance(other, TransportError)
    plain = RefusedError("ERROR from myproxy-server:\ninvalid credential passphrase")
    assert told_apart(plain) is plain
    assert [plain_address(text) for text in ("2001:DB8::1", "local")] == ["2001:db8::1", "127.0.0.1"]
