"""What happened to a user's credentials, as the portal and the MyProxy server tell it, in one list; pure.

entries = merge(portal.store.activity.of(username, identity), account.history, 200)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from myproxy.portal.shown import action, moment

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from myproxy.portal.store import Event
    from myproxy.protocol.messages import Happening

__all__ = ["Entry", "merge"]

_KINDS: Final = {
    "logon": "Proxy handed out at a logon",
    "renewal": "Proxy renewed",
    "trusted": "Proxy handed out to a trusted service",
    "key": "Key handed out",
    "store": "Credential stored",
    "change": "Pass phrase changed",
    "destroy": "Credential destroyed",
}
_TRIES: Final = {
    "logon": "Try to fetch a proxy",
    "key": "Try to fetch the key",
    "store": "Try to store a credential",
    "change": "Try to change the pass phrase",
    "destroy": "Try to destroy the credential",
}


class Entry(NamedTuple):
    """A line of the list.

    Attributes:
        at: When, for the last time.
        what: What.
        detail: More about it, or nothing.
        address: Where it came from.
        where: Who tells it.
        refused: Whether it was refused.
    """

    at: datetime
    what: str
    detail: str
    address: str
    where: str
    refused: bool


def merge(events: Iterable[Event], history: Iterable[Happening] | None, limit: int) -> list[Entry]:
    """Return the newest of both, the newest first; None is a server that tells nothing.

    `limit` is for what was done, and for what was refused: so no flood of tries hides a logon.
    """
    entries = [Entry(one.at, action(one.action), one.detail, one.address, "Portal", refused=False) for one in events]
    entries += map(_entry, history or ())
    entries.sort(key=lambda entry: entry.at, reverse=True)
    done = [entry for entry in entries if not entry.refused][:limit]
    refused = [entry for entry in entries if entry.refused][:limit]
    return sorted(done + refused, key=lambda entry: entry.at, reverse=True)


def _entry(one: Happening) -> Entry:
    what = (_KINDS if one.permitted else _TRIES).get(one.kind, one.kind)
    details = [one.name or "default"]
    if one.count > 1:
        details.append(f"{one.count} times since {moment(one.first)}")
    return Entry(one.at, what, ", ".join(details), one.address, "MyProxy server", refused=not one.permitted)
