"""Lifetimes: the texts of the C tools and the arithmetic of validity."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from gsi.errors import CredentialError, CredentialProblem, ParseError
from gsi.lifetime import BACKDATE, asctime, format_timeleft, parse_hours_minutes, proxy_validity

NOW = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC)
SECOND = NOW.replace(microsecond=0)
FAR = SECOND + timedelta(days=365)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("12:00", 12), ("0:0", 0), ("0:30", 0.5), ("1:60", 2), ("00001:5", 1 + 5 / 60), ("999999:00", 999_999)],
)
def test_reads_hours_and_minutes(text: str, hours: float) -> None:
    assert parse_hours_minutes(text) == timedelta(hours=hours)


@pytest.mark.parametrize(
    "text",
    ["", "12", "12:", ":30", "-1:00", "1:-1", "+1:00", "1:61", "1:2:3", " 1:00", "1:00 ", "1:00x", "1.5:0", "1000000:0",
     "\u0661:00", "1:000", "1:00\n"],
)  # fmt: skip
def test_refuses_other_lifetimes(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_hours_minutes(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00"),
        (-5, "0:00:00"),
        (59, "0:00:59"),
        (3600, "1:00:00"),
        (43199, "11:59:59"),
        (86399, "23:59:59"),
        (86400, "24:00:00"),
        (86401, "24:00:01  (1.0 days)"),
        (100 * 3600 + 62, "100:01:02  (4.2 days)"),
        (365 * 86400, "8760:00:00  (365.0 days)"),
    ],
)
def test_prints_the_time_left_as_grid_proxy_info(seconds: int, text: str) -> None:
    assert format_timeleft(timedelta(seconds=seconds)) == text
    assert format_timeleft(timedelta(seconds=seconds, microseconds=1)) == text


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    "moment", [NOW, datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2060, 7, 9, tzinfo=UTC)]
)
def test_writes_time_as_asctime(zone: str, moment: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert asctime(moment) == time.asctime(time.localtime(moment.timestamp()))
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("zone", "moment", "text"),
    [
        ("Asia/Tokyo", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "Fri Dec 31 23:59:59 9999 UTC"),
        ("America/New_York", datetime(1, 1, 1, tzinfo=UTC), "Mon Jan  1 00:00:00 1 UTC"),
        ("UTC", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "Fri Dec 31 23:59:59 9999"),
    ],
)
def test_times_at_the_ends_of_the_calendar(
    zone: str, moment: datetime, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert asctime(moment) == text
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_default_is_twelve_hours_from_five_minutes_ago() -> None:
    assert proxy_validity(NOW, None, FAR) == (SECOND - BACKDATE, SECOND + timedelta(hours=12), False)


def test_zero_is_as_long_as_the_signer() -> None:
    assert proxy_validity(NOW, timedelta(0), FAR) == (SECOND - BACKDATE, FAR, False)


def test_never_outlives_the_signer() -> None:
    soon = SECOND + timedelta(hours=1)
    assert proxy_validity(NOW, None, soon) == (SECOND - BACKDATE, soon, True)
    assert proxy_validity(NOW, timedelta(hours=1), soon) == (SECOND - BACKDATE, soon, False)
    assert proxy_validity(NOW, timedelta.max, soon) == (SECOND - BACKDATE, soon, True)


@pytest.mark.parametrize("ended", [SECOND, SECOND - timedelta(days=1)])
def test_an_expired_signer_signs_nothing(ended: datetime) -> None:
    with pytest.raises(CredentialError) as caught:
        proxy_validity(NOW, None, ended)
    assert caught.value.problem is CredentialProblem.EXPIRED


def test_a_lifetime_is_not_negative() -> None:
    with pytest.raises(CredentialError):
        proxy_validity(NOW, timedelta(seconds=-1), FAR)


@pytest.mark.interop
@pytest.mark.parametrize("text", ["1:61", "12", "-1:00"])
def test_the_c_tool_refuses_what_we_refuse(text: str) -> None:
    done = subprocess.run(["grid-proxy-init", "-valid", text], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"valid" in done.stderr
