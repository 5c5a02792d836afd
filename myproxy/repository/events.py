"""What happened to credentials in SQL, for their owners; not when it is written (`history`), nor the audit.

    store = SQLEvents(database)
    store.add([Noted("alice", None, "/O=Grid/CN=Alice", "logon", "192.0.2.7", 1, at, at)])
    store.of("alice", "/O=Grid/CN=Alice", limit=200), store.uses("alice", "/O=Grid/CN=Alice")

Nothing is kept about credentials that are not there: whoever tries names at random leaves no row. Refused tries of one
network are one row with their number. Of each credential the newest are kept, `KEPT` of what was done and as many of
what was refused, so that neither pushes out the other; and what is told is shared out in the same way.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from gsi.errors import ConflictError
from gsi.sql.columns import seconds, time_of
from myproxy.auth.throttle import network_of
from myproxy.protocol.messages import Happening
from myproxy.repository.tables import CREDENTIALS, EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection, RowMapping

    from gsi.sql.engine import Database

__all__ = ["KEPT", "USES", "Noted", "SQLEvents"]

KEPT: Final = 50
"""Events of one credential, done and refused each: weeks of a user's life, and 10 KB."""

USES: Final = ("logon", "renewal", "trusted", "key")
"""The kinds by which something leaves."""

_CHUNK: Final = 500
"""Names looked up at once: far below what a statement may hold."""

_TRIES: Final = 5
"""A writer collides with another one's new row seldom, and then with another row; more means something else."""

_MAX_ADDRESS: Final = 100
"""Characters of an address with its scope."""

_E: Final = EVENTS.c
_C: Final = CREDENTIALS.c
# Made once: making them costs as much as running them.
_OWNERS: Final = sa.select(_C.username, _C.name, _C.owner).where(
    _C.username.in_(sa.bindparam("usernames", expanding=True)), _C.name.in_(sa.bindparam("names", expanding=True))
)
_ONLY: Final = (
    sa.select(_C.username, sa.func.min(_C.owner).label("owner"))
    .where(_C.username.in_(sa.bindparam("usernames", expanding=True)))
    .group_by(_C.username)
    .having(sa.func.min(_C.owner) == sa.func.max(_C.owner))
)
_AT: Final = sa.bindparam("its_at", type_=sa.BigInteger())
_COUNT: Final = (
    sa.update(EVENTS)
    .where(_E.source == sa.bindparam("its_source"))
    .values(
        count=_E.count + sa.bindparam("more", type_=sa.BigInteger()),
        address=sa.bindparam("its_address"),
        at=sa.case((_E.at > _AT, _E.at), else_=_AT),
    )
)
_INSERT: Final = sa.insert(EVENTS)
_NEWEST: Final = (_E.at.desc(), _E.id.desc())
_SURPLUS: Final = (
    sa.select(_E.id)
    .where(
        _E.username == sa.bindparam("its_username"),
        _E.name == sa.bindparam("its_name"),
        _E.permitted == sa.bindparam("its_permitted"),
    )
    .order_by(*_NEWEST)
    .offset(KEPT)
)
_EVICT: Final = sa.delete(EVENTS).where(_E.id.in_(_SURPLUS))
_MINE: Final = (_E.username == sa.bindparam("username"), _E.owner == sa.bindparam("owner"))


def _shared_out(*which: sa.ColumnElement[bool]) -> sa.Select[tuple[object, ...]]:
    """Return the query for `most` events of what was done, and as many of what was refused.

    Each credential's newest come first, then the second of each: so no flood hides what happened to another one.
    """
    alone = sa.func.row_number().over(partition_by=(_E.permitted, _E.name), order_by=_NEWEST).label("place")
    mine = sa.select(EVENTS, alone).where(*which).subquery()
    of = mine.c
    turn = sa.func.row_number().over(partition_by=of.permitted, order_by=(of.place, of.at.desc(), of.id.desc()))
    told = sa.select(mine, turn.label("turn")).subquery()
    return sa.select(told).where(told.c.turn <= sa.bindparam("most")).order_by(told.c.at.desc(), told.c.id.desc())


_OF: Final = _shared_out(*_MINE)
_OF_ONE: Final = _shared_out(*_MINE, _E.name == sa.bindparam("its_name"))
_LAST: Final = sa.select(sa.func.max(_E.id)).where(*_MINE, _E.permitted == 1, _E.kind.in_(USES)).group_by(_E.name)
_USES: Final = sa.select(EVENTS).where(_E.id.in_(_LAST))


class Noted(NamedTuple):
    """Something that happened, once or several times from one address.

    Attributes:
        username: The account.
        name: The credential's name, None for the unnamed one.
        owner: Whose it is; None for a refused try, whose owner is looked up.
        kind: A word, see `Happening`.
        address: Where it came from.
        times: How often.
        first: The first time.
        at: The last time.
    """

    username: str
    name: str | None
    owner: str | None
    kind: str
    address: str
    times: int
    first: datetime
    at: datetime


class SQLEvents:
    """Events over a database whose schema is current. Safe for use by several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, noted: Sequence[Noted]) -> None:
        """Keep what happened; without waiting for a disk, and twice where a server is lost while it commits.

        Raises:
            StorageError: The database cannot be written.
        """
        tried = [one for one in noted if one.owner is None]
        owners = self._find_owners(tried)
        tried = [
            one._replace(owner=owners[one.username, one.name]) for one in tried if (one.username, one.name) in owners
        ]
        made = [one for one in noted if one.owner is not None]
        if not tried and not made:
            return
        done, refused = [_row(one) for one in made], _joined(tried)
        touched = {(one.username, one.name or "", 1) for one in made}
        touched |= {(one.username, one.name or "", 0) for one in tried}
        evict = [{"its_username": user, "its_name": name, "its_permitted": how} for user, name, how in sorted(touched)]

        def work(connection: Connection, _again: bool) -> None:
            for row in refused:  # in one order, so that two writers never wait for one another
                change = {"its_source": row["source"], "more": row["count"], "its_address": row["address"]}
                if not connection.execute(_COUNT, change | {"its_at": row["at"]}).rowcount:
                    connection.execute(_INSERT, row)
            if done:
                connection.execute(_INSERT, done)
            connection.execute(_EVICT, evict)

        for attempt in range(_TRIES):
            try:
                self._database.writing(work, durable=False)
            except ConflictError:  # another writer inserted one of the sources meanwhile
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    def of(self, username: str, owner: str, *, name: str | None = None, limit: int) -> tuple[Happening, ...]:
        """Return what happened to an owner's credentials under a user name, the newest first.

        Args:
            username: The account.
            owner: Whose credentials.
            name: The one credential to tell of; None for all.
            limit: How many events of what was done, and of what was refused, shared out among the credentials.

        Raises:
            StorageError: The database cannot be read.
        """
        values: dict[str, object] = {"username": username, "owner": owner, "most": limit}
        if name is None:
            return tuple(map(_happening, self._select(_OF, values)))
        return tuple(map(_happening, self._select(_OF_ONE, values | {"its_name": name})))

    def uses(self, username: str, owner: str) -> dict[str | None, Happening]:
        """Return the last use of each of an owner's credentials under a user name, by name.

        Raises:
            StorageError: The database cannot be read.
        """
        found = map(_happening, self._select(_USES, {"username": username, "owner": owner}))
        return {one.name: one for one in found}

    def prune(self, *, before: datetime) -> int:
        """Forget what is older; return how many events that were.

        Raises:
            StorageError: The database cannot be written.
        """
        gone = sa.delete(EVENTS).where(_E.at < seconds(before))
        return self._database.writing(lambda connection, _again: connection.execute(gone).rowcount, durable=False)

    def _find_owners(self, refused: Sequence[Noted]) -> dict[tuple[str, str | None], str]:
        """Return whose credentials were tried, by user name and name.

        A try without a name, where no unnamed credential is, is the business of him who owns all that is there.
        """
        found: dict[tuple[str, str | None], str] = {}
        wanted = sorted({(one.username, one.name or "") for one in refused})
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            names = {"usernames": sorted({user for user, _ in part}), "names": sorted({name for _, name in part})}
            for row in self._select(_OWNERS, names):
                found[row["username"], row["name"] or None] = row["owner"]
            left = [user for user, name in part if not name and (user, None) not in found]
            if left:
                found |= {(row["username"], None): row["owner"] for row in self._select(_ONLY, {"usernames": left})}
        return found

    def _select(self, query: sa.Select[tuple[object, ...]], values: Mapping[str, object]) -> Sequence[RowMapping]:
        return self._database.reading(lambda connection: connection.execute(query, dict(values)).mappings().all())


def _joined(tried: Iterable[Noted]) -> list[dict[str, object]]:
    """Return one row for all refused tries of one network on one credential, in the order of their sources."""
    alike: defaultdict[str, list[Noted]] = defaultdict(list)
    for one in tried:
        alike[_source(one)].append(one)
    rows = []
    for source, members in sorted(alike.items()):
        last = max(members, key=lambda one: one.at)
        whole = last._replace(times=sum(one.times for one in members), first=min(one.first for one in members))
        rows.append(_row(whole) | {"permitted": 0, "source": source})
    return rows


def _source(one: Noted) -> str:
    parts = (one.username, one.name or "", one.owner or "", one.kind, network_of(one.address))
    encoded = (part.encode("utf-8", "surrogateescape") for part in parts)
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in encoded)).hexdigest()


def _row(one: Noted) -> dict[str, object]:
    return {
        "username": one.username,
        "name": one.name or "",
        "owner": one.owner,
        "kind": one.kind,
        "permitted": 1,
        "address": one.address[:_MAX_ADDRESS],
        "count": one.times,
        "first": seconds(one.first),
        "at": seconds(one.at),
        "source": None,
    }


def _happening(row: RowMapping) -> Happening:
    return Happening(
        time_of(row["at"]),
        row["kind"],
        bool(row["permitted"]),
        row["address"],
        row["name"] or None,
        row["count"],
        time_of(row["first"]),
    )
