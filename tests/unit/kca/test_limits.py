"""Limits: which tickets are taken, and how long certificates last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gsi.errors import ConfigError, DeniedError
from gsi.kerberos.ticket import ProvenTicket, TicketFlags
from kca.limits import Limits, check_ticket, find_window
from tests.harness.kca import make_ticket

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
USUAL = Limits()


def ticket(**changes: Any) -> ProvenTicket:
    return make_ticket("alice", now=NOW, **changes)


def refusal(limits: Limits = USUAL, **changes: Any) -> str:
    with pytest.raises(DeniedError) as caught:
        check_ticket(ticket(**changes), limits, now=NOW)
    return caught.value.message


def test_usual_tickets() -> None:
    for flags in (None, TicketFlags(0), TicketFlags.INITIAL):
        check_ticket(ticket(flags=flags, indicators=None), USUAL, now=NOW)


def test_tickets_that_do_not_hold() -> None:
    assert "expired" in refusal(end_time=NOW - timedelta(seconds=1))
    assert "about to" in refusal(end_time=NOW + timedelta(seconds=59))
    assert "future" in refusal(start_time=NOW + timedelta(minutes=6))
    assert "future" in refusal(auth_time=NOW + timedelta(minutes=6))
    assert "postdated" in refusal(flags=TicketFlags.INVALID | TicketFlags.INITIAL)
    assert "anonymous" in refusal(flags=TicketFlags.ANONYMOUS)
    check_ticket(ticket(start_time=NOW + timedelta(minutes=4), auth_time=NOW + timedelta(minutes=4)), USUAL, now=NOW)


def test_age() -> None:
    limits = Limits(ticket_age=8 * HOUR)
    check_ticket(ticket(auth_time=NOW - 8 * HOUR), limits, now=NOW)
    assert "8 h 01 min ago, and 8 h are allowed" in refusal(limits, auth_time=NOW - 8 * HOUR - timedelta(minutes=1))


def test_initial_tickets_only() -> None:
    limits = Limits(initial=True)
    check_ticket(ticket(flags=TicketFlags.INITIAL), limits, now=NOW)
    assert "another ticket" in refusal(limits, flags=TicketFlags.PREAUTHENTICATED)
    assert "cannot be seen" in refusal(limits, flags=None)


def test_tickets_that_were_got_by_a_certificate() -> None:
    """Else certificate and ticket would renew one another for ever."""
    assert "got by 'pkinit'" in refusal(indicators=("otp", "pkinit"))
    check_ticket(ticket(indicators=("pkinit",)), Limits(refused_indicators=frozenset()), now=NOW)


def test_tickets_of_other_realms_hide_how_they_were_got() -> None:
    """Our KDC leaves another realm's indicators out, so that `pkinit` is not seen."""
    other = make_ticket("alice@OTHER.EXAMPLE", now=NOW)
    with pytest.raises(DeniedError, match=r"realm OTHER\.EXAMPLE was got cannot be seen"):
        check_ticket(other, USUAL, now=NOW)
    check_ticket(other, USUAL, unmarked=True, now=NOW)
    check_ticket(other, Limits(refused_indicators=frozenset()), now=NOW)
    with pytest.raises(DeniedError, match="got by 'pkinit'"):  # where they do come through
        check_ticket(other._replace(indicators=("pkinit",)), USUAL, unmarked=True, now=NOW)


def test_indicators_that_are_required() -> None:
    limits = Limits(required_indicators=frozenset({"otp", "hardened"}))
    check_ticket(ticket(indicators=("otp",)), limits, now=NOW)
    assert "by hardened, otp, and how it was is not marked" in refusal(limits)
    assert "cannot be seen" in refusal(limits, indicators=None)
    with pytest.raises(ConfigError, match="refused and required"):
        Limits(required_indicators=frozenset({"pkinit"}))


def test_the_end_of_the_ticket_ends_the_certificate() -> None:
    window = find_window(ticket(end_time=NOW + HOUR), USUAL, now=NOW)
    assert (window.lifetime, window.not_after) == (12 * HOUR, NOW + HOUR)
    window = find_window(ticket(end_time=NOW + HOUR), Limits(beyond_ticket=2 * HOUR), lifetime=2 * HOUR, now=NOW)
    assert (window.lifetime, window.not_after) == (2 * HOUR, NOW + 3 * HOUR)
    window = find_window(
        ticket(end_time=NOW + HOUR), Limits(beyond_ticket=2 * HOUR), beyond_ticket=timedelta(0), now=NOW
    )
    assert window.not_after == NOW + HOUR


def test_rules_cannot_go_beyond_the_limits() -> None:
    assert find_window(ticket(), Limits(lifetime=HOUR), lifetime=9 * HOUR, now=NOW).lifetime == HOUR


def test_renewing_tickets_renews_no_certificates() -> None:
    """A ticket keeps the moment of the proof however often it is renewed."""
    limits = Limits(since_authentication=20 * HOUR)
    renewed = ticket(auth_time=NOW - 15 * HOUR, end_time=NOW + 10 * HOUR)
    assert find_window(renewed, limits, now=NOW).not_after == NOW + 5 * HOUR
    assert find_window(renewed, limits, beyond_ticket=9 * HOUR, now=NOW).not_after == NOW + 5 * HOUR
    with pytest.raises(DeniedError, match="20 h after"):
        find_window(renewed._replace(auth_time=NOW - 20 * HOUR), limits, now=NOW)


def test_begin() -> None:
    assert find_window(ticket(auth_time=NOW), USUAL, now=NOW).backdate == timedelta(minutes=5)
    assert find_window(ticket(auth_time=NOW + timedelta(minutes=3)), USUAL, now=NOW).backdate == timedelta(minutes=2)
    assert find_window(ticket(), Limits(backdate=timedelta(0)), now=NOW).backdate == timedelta(0)
