"""Terminals in a crowd: strangers keep nobody out, and of two answers one counts."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gsi.delegation import DelegationRequester
from gsi.errors import ConflictError
from gsi.keys import KeyType, generate_key
from myproxy.portal import terminals
from myproxy.portal.guard import SESSION_COOKIE
from tests.harness.ca import TestCA
from tests.harness.portal_pages import NAME, Pages, open_pages


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    ca = TestCA("/O=Grid/CN=CA", "p256")
    with open_pages(ca, tmp_path) as opened:
        opened.store("alice", ca.issue("/O=Grid/CN=Alice", "p256"))
        opened.log_on()
        yield opened


def test_no_stranger_keeps_terminals_of_others_out(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminals, "MAX_WAITING", 60)
    waiting = terminals.Terminals(pages.portal.store.database)
    for number in range(terminals.MAX_PER_NETWORK):
        waiting.begin(b"r", f"2001:db8:9::{number:x}", now=pages.now - terminals.WAIT)
    with pytest.raises(ConflictError):  # one /64 is one network
        waiting.begin(b"r", "2001:db8:9::ffff", now=pages.now - terminals.WAIT)
    honest, code = waiting.begin(b"r", "198.51.100.9", now=pages.now)
    for number in range(100):
        with contextlib.suppress(ConflictError):
            waiting.begin(b"r", f"2001:db8:0:{number // 20}::{number:x}", now=pages.now + timedelta(seconds=1))
    assert waiting.find(code, now=pages.now) is not None, "the largest network gives way"
    other, _ = waiting.begin(b"r", "192.0.2.1", now=pages.now)
    for device in (honest, other):
        assert waiting.take(device, now=pages.now + timedelta(seconds=9))[0] == "waiting"


@pytest.mark.parametrize(("interval", "state"), [(1, "waiting"), (2, "waiting"), (5, "slow_down")])
def test_how_often_a_terminal_asks_is_configured(pages: Pages, interval: int, state: str) -> None:
    waiting = terminals.Terminals(pages.portal.store.database, interval=timedelta(seconds=interval))
    device, _ = waiting.begin(b"r", "192.0.2.1", now=pages.now)
    assert waiting.take(device, now=pages.now)[0] == "waiting"
    assert waiting.take(device, now=pages.now + timedelta(seconds=1))[0] == state


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/json", ""])
def test_what_does_not_say_that_it_is_json_is_not_read(pages: Pages, kind: str) -> None:
    for what in ("start", "take"):
        answer = pages.open("POST", f"/terminal/v1/{what}", data=b'{"device_code": "x"}', content_type=kind)
        assert answer.status_code == 415
    said = "application/json; charset=utf-8"
    answer = pages.open("POST", "/terminal/v1/take", data=b'{"device_code": "x"}', content_type=said)
    assert answer.get_json() == {"state": "over"}


def test_two_answers_to_one_terminal_give_one_thing_and_one_record(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    requester = DelegationRequester(generate_key(KeyType.P256))
    content = {"request": base64.b64encode(requester.request_der).decode()}
    told = pages.open("POST", "/terminal/v1/start", json=content).get_json()
    both = threading.Barrier(2, timeout=30)
    claim = terminals.Terminals.claim

    def meet(self: terminals.Terminals, device: str, username: str, *, now: datetime) -> None:
        both.wait()  # both have seen that it waits
        claim(self, device, username, now=now)

    monkeypatch.setattr(terminals.Terminals, "claim", meet)
    token, cookie = pages.token("/activity"), str(pages.cookie(SESSION_COOKIE))
    found: list[int] = []

    def answer() -> None:
        client = pages.app.test_client()
        client.set_cookie(SESSION_COOKIE, cookie, domain=NAME, secure=True)
        form = {"form_token": token, "code": told["user_code"], "answer": "yes", "hours": "1"}
        sent = client.post("/terminal", base_url=f"https://{NAME}", headers={"Host": NAME}, data=form)
        found.append(sent.status_code)

    threads = [threading.Thread(target=answer) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [303, 409]
    assert pages.audit().count('"TERMINAL"') == 1
