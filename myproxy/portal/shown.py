"""How values are written on pages: times, durations, names; pure.

{{ view.ends | left(now) }}                  -> "6 days"
{{ session.identity | common_name }}         -> "Alice Example"
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

__all__ = ["FILTERS", "action", "common_name", "duration", "left", "moment"]

_ENOUGH: Final = 100
"""From so many of a unit on, nobody wants to know the next smaller one."""
_PROXY: Final = re.compile(r"/CN=(?:[0-9]+|proxy|limited proxy)\Z")


def duration(span: timedelta) -> str:
    """Return a span as one says it, in its two largest units: `6 days 23 hours`, `4 minutes`."""
    seconds = max(0, int(span.total_seconds()))
    minutes = seconds // 60
    parts = ((minutes // 1440, "day"), (minutes // 60 % 24, "hour"), (minutes % 60, "minute"))
    at = next((place for place, (count, _word) in enumerate(parts) if count), None)
    if at is None:
        return "less than a minute"
    told = parts[at : at + 2] if parts[at][0] < _ENOUGH else parts[at : at + 1]
    return " ".join(f"{count} {word}" if count == 1 else f"{count} {word}s" for count, word in told if count)


def left(moment: datetime, now: datetime) -> str:
    """Return how long something still lasts."""
    return duration(moment - now)


def moment(value: datetime) -> str:
    """Return a time in words and figures that nobody reads in two ways."""
    return f"{value.day} {value:%B %Y, %H:%M} UTC"


def common_name(subject: str) -> str:
    """Return the last common name of a one-line name that is not a proxy's, or the whole."""
    text = subject
    while (shorter := _PROXY.sub("", text)) != text:
        text = shorter
    _, found, name = text.rpartition("/CN=")
    return name if found and name else subject


def _machine_time(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


_ACTIONS: Final = {
    "LOGON": "Logged on",
    "LOGOFF": "Logged off",
    "FETCH": "Proxy fetched",
    "STORE": "Credential stored",
    "CHANGE": "Pass phrase changed",
    "DESTROY": "Credential destroyed",
    "TERMINAL": "Proxy for a terminal",
    "CODES": "Authenticator set up",
    "SITE": "Site's audit checked",
    "REVOKE": "Certificate revoked",
    "CAPABILITY": "Capability fetched",
    "POLICY": "Change of the community's policy",
    "END OTHER SESSIONS": "Other sessions ended",
    "GRANT": "Application allowed",
    "GRANT PROXY": "Proxy for an application",
    "GRANT END": "Application ended",
}


def action(name: str) -> str:
    """Return what was done, in words."""
    return _ACTIONS.get(name, name.capitalize())


def _use(kind: str) -> str:
    """Return how the use of a credential is called."""
    return {"trusted": "trusted retrieval", "key": "key retrieval"}.get(kind, kind)


FILTERS: Final[dict[str, Callable[..., str]]] = {
    "left": left,
    "moment": moment,
    "duration": duration,
    "use": _use,
    "common_name": common_name,
    "machine_time": _machine_time,
}
