"""Refusals that repeat: one record in a while for each network, with the number of those that were left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from myproxy.portal import repeats as repeats_module
from myproxy.portal.config import LogonSettings
from myproxy.portal.repeats import Repeats
from tests.harness.ca import TestCA
from tests.harness.portal_pages import open_pages

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_each_source_is_told_every_ten_seconds() -> None:
    repeats = Repeats()
    seconds = (0, 1, 9, 10, 12, 40, -5)
    assert [repeats.look("a", NOW + timedelta(seconds=second)) for second in seconds] == [0, None, None, 2, None, 1, 0]
    assert repeats.look("b", NOW) == 0


def test_not_more_sources_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats_module, "MAX_SOURCES", 2)
    repeats = Repeats()
    assert [repeats.look(source, NOW) for source in "abca"] == [0, 0, 0, 0]


def test_throttled_tries_cost_no_disk(tmp_path: Path) -> None:
    with open_pages(TestCA("/O=Grid/CN=CA", "p256"), tmp_path, logon=LogonSettings(free_tries=2)) as pages:
        assert [pages.log_on("alice", "wrong words").status_code for _ in range(9)] == [403] * 2 + [429] * 7
        assert pages.audit().count('"LOGON"') == 3
        pages.pass_time(timedelta(seconds=11))
        assert [pages.log_on("alice", "wrong words").status_code for _ in range(2)][1] == 429
        assert "; 6 more since the last record" in pages.audit()
