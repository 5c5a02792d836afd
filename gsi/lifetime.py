"""Lifetimes: validity periods of what is issued, and time as the grid tools read and print it; never reads the clock.

    lifetime = parse_hours_minutes("12:00")
    not_before, not_after, shortened = proxy_validity(now, lifetime, signer.not_after)
    format_timeleft(not_after - now)

Times are aware UTC; `now` is a parameter. Must agree with gct:gsi/proxy/proxy_utils/source/programs/grid_proxy_init.c
and grid_proxy_info.c.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from gsi.errors import CredentialError, CredentialProblem, ParseError

__all__ = [
    "BACKDATE",
    "DEFAULT_PROXY_LIFETIME",
    "MAX_HOURS",
    "asctime",
    "format_timeleft",
    "parse_hours_minutes",
    "proxy_validity",
]

BACKDATE: Final = timedelta(minutes=5)  # GCT and VOMS: peers whose clocks run behind by less take the proxy at once
DEFAULT_PROXY_LIFETIME: Final = timedelta(hours=12)  # GCT's default
MAX_HOURS: Final = 999_999  # a century; a credential's own end comes sooner
_HOURS_MINUTES: Final = r"([0-9]{1,6}):([0-9]{1,2})\Z"
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parse_hours_minutes(text: str) -> timedelta:
    """Return the lifetime that `H:M` stands for, as `-valid` takes it: minutes 0 to 60, `0:0` is no time at all.

    Raises:
        ParseError: Any other text, or more than `MAX_HOURS` hours.
    """
    found = re.match(_HOURS_MINUTES, text)
    if found is None or int(found[2]) > 60:
        raise ParseError(
            f"{text[:40]!r} is no lifetime: hours, a colon, and minutes from 0 to 60 are expected",
            what="lifetime",
            hint="12:00 is twelve hours, 0:30 half an hour",
        )
    return timedelta(hours=int(found[1]), minutes=int(found[2]))


def format_timeleft(left: timedelta) -> str:
    """Return the time left as grid-proxy-info prints it: `H:MM:SS`, and `  (N.N days)` behind it over 24 hours.

    The days count whole hours. No time left, or less, is `0:00:00`.
    """
    seconds = max(0, left.days * 86400 + left.seconds)
    hours = seconds // 3600
    text = f"{hours}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
    return f"{text}  ({hours / 24:.1f} days)" if seconds > 86400 else text


def asctime(moment: datetime) -> str:
    """Return a time in the local zone as C's asctime writes it, without its newline: `Thu Jan  1 00:00:00 1970`.

    English whatever the locale, as the C tools print it, too. A time that falls outside the years 1 to 9999 in the
    local zone, such as the "no end" 99991231235959Z of RFC 5280 east of Greenwich, is written in UTC, and says so.
    """
    try:
        local = moment.astimezone()
    except (OverflowError, ValueError, OSError):  # which of them, the platform decides
        return f"{_asctime(moment)} UTC"
    return _asctime(local)


def _asctime(local: datetime) -> str:
    return (
        f"{_DAYS[local.weekday()]} {_MONTHS[local.month - 1]} {local.day:2d} "
        f"{local.hour:02d}:{local.minute:02d}:{local.second:02d} {local.year}"
    )


def proxy_validity(
    now: datetime, lifetime: timedelta | None, signer_not_after: datetime
) -> tuple[datetime, datetime, bool]:
    """Return (not before, not after, shortened) for what a signer issues now.

    Args:
        now: The present, aware UTC; fractions of a second are dropped.
        lifetime: How long it is wanted for; None is 12 hours, zero as long as the signer.
        signer_not_after: When the signer itself ends.

    Returns:
        The begin, 5 minutes back; the end, never after the signer's; whether that cut the wanted lifetime short.

    Raises:
        CredentialError: EXPIRED: the signer has ended. CANNOT_SIGN: the lifetime is negative.
    """
    now = now.replace(microsecond=0)
    if signer_not_after <= now:
        raise CredentialError(
            f"the signing credential expired on {signer_not_after:%Y-%m-%d %H:%M:%S} UTC",
            problem=CredentialProblem.EXPIRED,
        )
    wanted = DEFAULT_PROXY_LIFETIME if lifetime is None else lifetime
    if wanted < timedelta(0):
        raise CredentialError("a lifetime cannot be negative", problem=CredentialProblem.CANNOT_SIGN)
    shortened = wanted > signer_not_after - now
    not_after = now + wanted if wanted and not shortened else signer_not_after
    return now - BACKDATE, not_after, shortened
