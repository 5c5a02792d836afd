"""When credentials are renewed, tried again and warned of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from myproxy.renewal.schedule import LAST_RETRY, Life, State, judge, renewal_time, retry_time

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LIFE = Life(NOON, NOON + 12 * HOUR, "ab" * 32)
lives = st.builds(
    lambda minutes, mark: Life(NOON, NOON + timedelta(minutes=minutes), mark),
    st.integers(1, 600_000),
    st.text("0123456789abcdef", min_size=64, max_size=64),
)


@given(lives, st.text(max_size=20))
def test_at_half_of_the_life_with_jitter(life: Life, name: str) -> None:
    part = (renewal_time(life, name) - life.not_before) / life.span
    assert 0.449 < part < 0.551
    assert renewal_time(life, name) == renewal_time(life, name)


def test_credentials_made_at_once_come_back_spread() -> None:
    times = sorted(renewal_time(LIFE, f"entry{number}") for number in range(10_000))
    assert times[-1] - times[0] > timedelta(minutes=70)
    busiest = max(
        sum(1 for when in times if start <= when < start + timedelta(minutes=1))
        for start in (NOON + timedelta(minutes=minute) for minute in range(320, 400))
    )
    assert busiest < 200  # 10,000 over 72 minutes are 139 a minute


def test_back_off_doubles_and_ends_at_an_hour() -> None:
    life = Life(NOON - timedelta(days=30), NOON + timedelta(days=30), "ab" * 32)
    waits = [retry_time(life, "x", failures=count, now=NOON) - NOON for count in range(1, 20)]
    for count, wait in enumerate(waits):
        wanted = min(timedelta(seconds=30) * 2**count, LAST_RETRY)
        assert 0.75 * wanted <= wait <= wanted


@given(lives, st.integers(1, 10**6), st.floats(0, 1))
def test_tries_go_on_until_the_end(life: Life, failures: int, part: float) -> None:
    """However often it has failed, the next try is before the end, unless that is seconds away."""
    now = life.not_before + life.span * part
    again = retry_time(life, "x", failures=failures, now=now)
    assert now + timedelta(seconds=5) <= again <= now + LAST_RETRY
    if life.not_after - now > timedelta(seconds=5):
        assert again < life.not_after


def test_states() -> None:
    def state(hours: float, failures: int, warn: timedelta | None = None) -> State:
        return judge(LIFE, failures=failures, now=NOON + hours * HOUR, warn=warn)

    assert state(11, 0) is State.OK
    assert state(8.9, 1) is State.FAILING
    assert state(9, 1) is State.EXPIRING
    assert state(9, 1, HOUR) is State.FAILING
    assert state(11, 1, HOUR) is State.EXPIRING
    assert state(12, 0) is State.EXPIRED
