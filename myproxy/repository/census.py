"""How much there is in a store, for whoever watches it; not what it is.

census = take_census(repository.database, now=clock.now())
census.credentials, census.soonest
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gsi.sql.columns import seconds, time_of
from myproxy.repository.tables import CREDENTIALS

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.sql.engine import Database

__all__ = ["Census", "take_census"]


@dataclass(frozen=True, slots=True)
class Census:
    """What is in a store.

    Attributes:
        credentials: How many, whether they have expired or not.
        expired: How many of them have expired.
        soonest: When the next of the others expires; None when there is none.
    """

    credentials: int
    expired: int
    soonest: datetime | None


def take_census(database: Database, *, now: datetime) -> Census:
    """Count what is in a store: some 50 ms for a million credentials, from an index.

    Raises:
        StorageError: It cannot be read.
    """
    ends, moment = CREDENTIALS.c.not_after, seconds(now)
    count = sa.select(sa.func.count()).select_from(CREDENTIALS)
    with database.read() as connection:
        total = connection.execute(count).scalar_one()
        expired = connection.execute(count.where(ends < moment)).scalar_one()
        soonest = connection.execute(sa.select(sa.func.min(ends)).where(ends >= moment)).scalar_one()
    return Census(total, expired, None if soonest is None else time_of(soonest))
