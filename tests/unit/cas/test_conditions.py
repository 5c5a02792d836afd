"""When and for whom a statement holds, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from cas.policy.conditions import ALWAYS, Circumstances, Proxies, Strength, Terms
from gsi.errors import ParseError

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("terms", "holds"),
    [
        (ALWAYS, True),
        (Terms(not_before=NOW), True),
        (Terms(not_before=NOW + timedelta(seconds=1)), False),
        (Terms(not_after=NOW), False),
        (Terms(not_after=NOW + timedelta(seconds=1)), True),
        (Terms(NOW - HOUR, NOW + HOUR), True),
        (Terms(NOW - 2 * HOUR, NOW - HOUR), False),
    ],
)
def test_windows(terms: Terms, holds: bool) -> None:
    for is_denial in (False, True):
        assert terms.holds(Circumstances(NOW), is_denial=is_denial) is holds


@pytest.mark.parametrize(
    ("proxies", "limited", "holds"),
    [
        (Proxies.ANY, False, True),
        (Proxies.ANY, True, True),
        (Proxies.FULL, False, True),
        (Proxies.FULL, True, False),
        (Proxies.LIMITED, False, False),
        (Proxies.LIMITED, True, True),
    ],
)
def test_proxies(proxies: Proxies, limited: bool, holds: bool) -> None:
    for is_denial in (False, True):
        assert Terms(proxies=proxies).holds(Circumstances(NOW, limited), is_denial=is_denial) is holds


@pytest.mark.parametrize("asked", Strength)
@pytest.mark.parametrize("shown", list(Strength)[1:])
def test_strength(asked: Strength, shown: Strength) -> None:
    """A permit is for the strong, a denial for the weak: together they speak of everybody once."""
    terms, how = Terms(strength=asked), Circumstances(NOW, strength=shown)
    assert terms.holds(how, is_denial=False) is (shown >= asked)
    assert terms.holds(how, is_denial=True) is (shown < asked or asked is Strength.NONE)


def test_times_are_whole_seconds_in_utc() -> None:
    odd = datetime(2030, 1, 1, 13, 0, 0, 999, tzinfo=timezone(HOUR))
    assert Terms(not_before=odd).not_before == NOW
    terms = Terms(NOW, NOW + HOUR, Proxies.FULL, Strength.HIGH)
    assert Terms.decode(*terms.encode()) == terms
    assert Terms.decode(*ALWAYS.encode()) == ALWAYS
    assert str(terms) == "from 2030-01-01T12:00:00Z until 2030-01-01T13:00:00Z with full proxies at strength high"


def test_terms_that_cannot_be() -> None:
    with pytest.raises(ParseError):
        Terms(NOW, NOW)
    with pytest.raises(ParseError):
        Terms(NOW.replace(tzinfo=None))
    for values in ((-1, None, "any", 0), (None, 10**18, "any", 0), (None, None, "some", 0), (None, None, "any", 9)):
        with pytest.raises(ParseError):
            Terms.decode(*values)
