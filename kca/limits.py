"""What holds for every ticket and every certificate, whoever's it is: freshness, loop guard, ends; pure.

    check_ticket(ticket, limits, now=now)
    window = find_window(ticket, limits, entitlement, now=now)
    window.lifetime, window.not_after, window.backdate

A certificate must not be worth more than the ticket that it was given for. It ends with the ticket (or `beyond_ticket`
later, where a site wants that), and however often tickets are renewed, within `since_authentication` of the moment when
somebody last proved to the KDC who it is. Tickets that were got by a certificate (PKINIT) are refused, since the two
would renew one another for ever; an MIT KDC says so in the ticket by an authentication indicator, Heimdal's does not.
Another realm's indicators do not reach us, so its tickets are refused unless its table says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import ConfigError, DeniedError
from gsi.kerberos.ticket import TicketFlags
from gsi.keys import MIN_RSA_BITS
from gsi.system.config import option

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.kerberos.ticket import ProvenTicket

__all__ = ["Limits", "Window", "check_ticket", "find_window"]

SKEW: Final = timedelta(minutes=5)
"""How far clocks may be apart: what Kerberos allows (RFC 4120 section 1.6)."""

LEAST: Final = timedelta(minutes=1)
"""The least that a ticket must have left: a certificate that is over at once helps nobody."""

_LONGEST: Final = timedelta(seconds=1_000_000)
"""The longest life of a short-lived certificate by the profile of the grid's short-lived credential services."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of all realms.

    Attributes:
        lifetime: The longest certificate.
        beyond_ticket: How long a certificate may outlive its ticket; by default it may not.
        since_authentication: The latest end of a certificate, counted from when the client last proved who it is to the
            KDC. Renewed tickets keep that moment.
        ticket_age: How long ago that may be when a certificate is asked for.
        initial: Whether only tickets are taken that were got by a proof for this very service (`kinit -S`), none that
            were got by another ticket.
        refused_indicators: Authentication indicators of tickets that are refused. `pkinit` is what MIT's KDC is told to
            say of tickets that were got by a certificate (`pkinit_indicator`).
        required_indicators: Authentication indicators of which a ticket must have one, such as `otp`; empty for no such
            condition.
        rsa_bits: The smallest RSA key; below 2048 it has no effect.
        backdate: How far back validity begins, for peers whose clocks run behind.
        certificates: How many certificates a principal may get within `per`, on all nodes together; 0 for any number.
        per: See `certificates`.

    Raises:
        ConfigError: They do not fit together.
    """

    lifetime: timedelta = option(timedelta(hours=12), minimum=timedelta(minutes=5), maximum=_LONGEST)
    beyond_ticket: timedelta = option(timedelta(0), minimum=timedelta(0), maximum=_LONGEST)
    since_authentication: timedelta = option(timedelta(days=1), minimum=timedelta(minutes=5), maximum=_LONGEST)
    ticket_age: timedelta = option(timedelta(days=1), minimum=timedelta(minutes=1), maximum=_LONGEST)
    initial: bool = False
    refused_indicators: frozenset[str] = frozenset({"pkinit"})
    required_indicators: frozenset[str] = frozenset()
    rsa_bits: int = option(MIN_RSA_BITS, minimum=MIN_RSA_BITS, maximum=16384)
    backdate: timedelta = option(SKEW, minimum=timedelta(0), maximum=timedelta(hours=1))
    certificates: int = option(30, minimum=0, maximum=1_000_000)
    per: timedelta = option(timedelta(hours=1), minimum=timedelta(seconds=1), maximum=timedelta(days=7))

    def __post_init__(self) -> None:
        """Refuse indicators that are both wanted and not."""
        both = self.refused_indicators & self.required_indicators
        if both:
            raise ConfigError(f"the indicator {min(both)!r} is refused and required")


class Window(NamedTuple):
    """When a certificate may be valid."""

    lifetime: timedelta
    """From now."""
    not_after: datetime
    """The latest end."""
    backdate: timedelta
    """How far before now it begins."""


def check_ticket(ticket: ProvenTicket, limits: Limits, *, unmarked: bool = False, now: datetime) -> None:
    """Refuse a ticket that is too old, not yet good, nobody's, or got in a way that the limits exclude.

    Args:
        ticket: The ticket.
        limits: The limits.
        unmarked: Whether another realm's ticket is taken although its indicators do not reach us: MIT's KDC leaves them
            out of what it gives for such a ticket.
        now: The time.

    Raises:
        DeniedError: Says what is wrong with it.
    """
    flags = ticket.flags
    if flags is not None and flags & TicketFlags.INVALID:
        raise DeniedError("the ticket is postdated and was not validated")
    if flags is not None and flags & TicketFlags.ANONYMOUS:
        raise DeniedError("an anonymous ticket names nobody")
    if ticket.start_time > now + SKEW or ticket.auth_time > now + SKEW:
        raise DeniedError("the ticket begins in the future", hint="compare the clocks")
    if ticket.end_time < now + LEAST:
        raise DeniedError("the ticket has expired, or is about to", hint="get a new one: kinit")
    age = now - ticket.auth_time
    if age > limits.ticket_age:
        raise DeniedError(
            f"the ticket's owner last proved who it is {_hours(age)} ago, and {_hours(limits.ticket_age)} are allowed",
            hint="get a new ticket with the password: kinit",
        )
    if limits.initial:
        if flags is None:
            raise DeniedError("whether the ticket is an initial one cannot be seen")
        if not flags & TicketFlags.INITIAL:
            raise DeniedError(
                "the ticket was got by another ticket, and only initial ones are taken",
                hint=f"kinit -S {ticket.server.name}",
            )
    _check_indicators(ticket, limits)
    if limits.refused_indicators and ticket.client.realm != ticket.server.realm and not unmarked:
        raise DeniedError(
            f"how a ticket of the realm {ticket.client.realm} was got cannot be seen here",
            hint="the authority's administrator may allow it: unmarked_tickets of that realm",
        )


def _check_indicators(ticket: ProvenTicket, limits: Limits) -> None:
    indicators = ticket.indicators or ()
    for indicator in indicators:
        if indicator in limits.refused_indicators:
            raise DeniedError(
                f"the ticket was got by {indicator!r}, which is not taken here",
                hint="get a ticket with the password: kinit",
            )
    if limits.required_indicators and not limits.required_indicators.intersection(indicators):
        wanted = ", ".join(sorted(limits.required_indicators))
        known = "cannot be seen" if ticket.indicators is None else "is " + (", ".join(indicators) or "not marked")
        raise DeniedError(f"the ticket must have been got by {wanted}, and how it was {known}")


def find_window(
    ticket: ProvenTicket,
    limits: Limits,
    *,
    lifetime: timedelta | None = None,
    beyond_ticket: timedelta | None = None,
    now: datetime,
) -> Window:
    """Return when a certificate for this ticket may be valid.

    Args:
        ticket: The ticket, which was checked.
        limits: The limits.
        lifetime: What the rules allow; the general limit holds as well.
        beyond_ticket: What the rules allow in place of the general limit.
        now: The time.

    Raises:
        DeniedError: Not at all.
    """
    beyond = limits.beyond_ticket if beyond_ticket is None else beyond_ticket
    longest = limits.lifetime if lifetime is None else min(lifetime, limits.lifetime)
    end = min(ticket.end_time + beyond, ticket.auth_time + limits.since_authentication)
    if end < now + LEAST:
        raise DeniedError(
            f"certificates end {_hours(limits.since_authentication)} after their owner proved who it is",
            hint="get a new ticket with the password: kinit",
        )
    backdate = max(timedelta(0), min(limits.backdate, now - ticket.auth_time + SKEW))
    return Window(longest, end, backdate)


def _hours(span: timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes % 60 else f"{minutes // 60} h"
