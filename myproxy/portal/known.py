"""From where a user has logged on before; knows neither who guesses nor what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from myproxy.auth.throttle import network_of
from myproxy.portal.store import ACTIVITY

if TYPE_CHECKING:
    from gsi.sql.engine import Database

__all__ = ["is_known"]

MAX_LOGONS: Final = 200
"""The last logons of a user that are looked at: months of most, and no more than a page of activity."""


def is_known(database: Database, username: str, address: str) -> bool:
    """Say whether a user has logged on from this network (/24, /64) as far back as activity is kept.

    Raises:
        StorageError: The store cannot be read.
    """
    table = ACTIVITY.c
    query = (
        sa.select(table.address)
        .where(table.username == username, table.action == "LOGON")
        .order_by(table.id.desc())
        .limit(MAX_LOGONS)
    )
    found = database.reading(lambda connection: set(connection.scalars(query)))
    return network_of(address) in set(map(network_of, found))
