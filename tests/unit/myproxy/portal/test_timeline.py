"""One list of what the portal and the server tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from myproxy.portal.store import Event
from myproxy.portal.timeline import merge
from myproxy.protocol.messages import Happening

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def happening(minutes: int, *, permitted: bool) -> Happening:
    at = NOW + timedelta(minutes=minutes)
    return Happening(at, "logon", permitted, f"198.51.100.{minutes}", None, 1, at)


def test_the_newest_of_both_and_no_flood_of_tries_hides_a_logon() -> None:
    fetched = Event("alice", "/O=Grid/CN=Alice", NOW + timedelta(minutes=1), "FETCH", "192.0.2.7", "")
    logons = [happening(minutes, permitted=True) for minutes in (4, 2, 0)]
    tries = [happening(minutes, permitted=False) for minutes in range(90, 10, -1)]
    found = merge([fetched], [*tries, *logons], 3)
    assert [(one.at - NOW).seconds // 60 for one in found] == [90, 89, 88, 4, 2, 1]
    assert [one.refused for one in found] == [True] * 3 + [False] * 3
    assert [one.where for one in found][-1] == "Portal"
    assert [one.at for one in merge([fetched], None, 3)] == [fetched.at]
