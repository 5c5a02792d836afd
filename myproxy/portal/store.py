"""What lasts longer than a request, for all workers and nodes: sessions, what happened, terminals; no decisions.

    store = open_store(config.store)
    store.sessions.put(KeptSession(...))
    store.activity.add(Event(...)), store.activity.of("alice", "/O=Grid/CN=Alice")

What belongs to a user belongs to an account and the identity that holds it, as at the MyProxy server: whoever takes a
name over sees nothing of its former owner, and ends nothing of his.

One SQLite file, or a PostgreSQL database that several nodes share. Credentials in it are sealed with keys that are not
in it (`myproxy.portal.vault`). What a power loss may take is written without waiting for the disk: users log on again.
The tables are made by `myproxy.portal.migrations`; a change to them is a new step there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from gsi.sql.columns import NUMBER, TEXT, seconds, time_of
from gsi.sql.engine import Database, open_sqlite, prepare_private_directory
from gsi.sql.migrate import upgraded
from myproxy.repository.guesses import SQLGuessStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.engine import Connection, RowMapping

    from myproxy.portal.config import StoreSettings

__all__ = [
    "FILE",
    "MAX_SHOWN",
    "METADATA",
    "MIGRATIONS",
    "ActivityStore",
    "Event",
    "KeptSession",
    "PortalStore",
    "SessionStore",
    "open_store",
]

FILE: Final = "portal.db"
MIGRATIONS: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")
MAX_SHOWN: Final = 200
"""Events that one page shows of what was done, and as many of what was refused."""
MAX_SESSIONS: Final = 20
"""Sessions of one user; beyond it the oldest end, so that a script that never logs off does not fill the store."""
UNTOLD: Final = ""
"""Identity of what is from before it was kept: shown to nobody, and ended by whoever ends what an account has."""

METADATA: Final = sa.MetaData()
SESSIONS: Final = sa.Table(
    "sessions",
    METADATA,
    sa.Column("row", sa.String(64), primary_key=True),
    sa.Column("username", TEXT, nullable=False),
    sa.Column("sealed", sa.LargeBinary(), nullable=False),
    sa.Column("begun", sa.BigInteger(), nullable=False),
    sa.Column("seen", sa.BigInteger(), nullable=False),
    sa.Column("ends", sa.BigInteger(), nullable=False),
    sa.Column("address", TEXT, nullable=False),
    sa.Column("browser", TEXT, nullable=False),
    sa.Column("identity", TEXT, nullable=False, server_default=UNTOLD),
    sa.Index("sessions_username", "username"),
    sa.Index("sessions_ends", "ends"),
)
ACTIVITY: Final = sa.Table(
    "activity",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("username", TEXT, nullable=False),
    sa.Column("at", sa.BigInteger(), nullable=False),
    sa.Column("action", TEXT, nullable=False),
    sa.Column("address", TEXT, nullable=False),
    sa.Column("detail", TEXT, nullable=False),
    sa.Column("identity", TEXT, nullable=False, server_default=UNTOLD),
    sa.Index("activity_username", "username", "id"),
    sa.Index("activity_at", "at"),
)
TERMINALS: Final = sa.Table(
    "terminals",
    METADATA,
    sa.Column("device", sa.String(64), primary_key=True),
    sa.Column("code", sa.String(64), nullable=False, unique=True),
    sa.Column("request", sa.LargeBinary(), nullable=False),
    sa.Column("address", TEXT, nullable=False),
    sa.Column("begun", sa.BigInteger(), nullable=False),
    sa.Column("ends", sa.BigInteger(), nullable=False),
    sa.Column("polled", sa.BigInteger(), nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("username", TEXT, nullable=False),
    sa.Column("chain", sa.LargeBinary(), nullable=False),
    sa.Index("terminals_ends", "ends"),
)


@dataclass(frozen=True, slots=True)
class KeptSession:
    """A session as it rests; times aware UTC.

    Attributes:
        row: Its key in the store.
        username: The account.
        identity: Whose it is: the end entity's name, one-line form.
        sealed: What only its cookie opens.
        begun: When the user logged on.
        seen: The last request, as exactly as it is kept.
        ends: When it ends whatever happens.
        address: Where the user logged on from.
        browser: What the browser called itself then.
    """

    row: str
    username: str
    identity: str
    sealed: bytes
    begun: datetime
    seen: datetime
    ends: datetime
    address: str
    browser: str


class Event(NamedTuple):
    """Something that happened to a user's credentials through the portal."""

    username: str
    identity: str
    at: datetime
    action: str
    address: str
    detail: str


class SessionStore:
    """Sessions. Safe for use by several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, session: KeptSession) -> None:
        """Insert a session; the user's oldest end when there are too many, and all that is over goes.

        Raises:
            StorageError: The store cannot be written.
        """
        values = {
            "row": session.row,
            "username": session.username,
            "identity": session.identity,
            "sealed": session.sealed,
            "begun": seconds(session.begun),
            "seen": seconds(session.seen),
            "ends": seconds(session.ends),
            "address": session.address,
            "browser": session.browser,
        }

        def insert(connection: Connection, again: bool) -> None:
            table = SESSIONS.c
            connection.execute(sa.delete(SESSIONS).where(table.ends <= values["begun"]))
            if again:
                connection.execute(sa.delete(SESSIONS).where(table.row == session.row))
            owned = (table.username == session.username, table.identity == session.identity)
            mine = sa.select(table.row).where(*owned).order_by(table.begun.desc())
            old = connection.execute(mine.offset(MAX_SESSIONS - 1)).scalars().all()
            connection.execute(sa.delete(SESSIONS).where(table.row.in_(old)))
            connection.execute(sa.insert(SESSIONS).values(values))

        self._database.writing(insert, durable=False)

    def find(self, row: str) -> KeptSession | None:
        """Return a session; StorageError when the store cannot be read."""
        query = sa.select(SESSIONS).where(SESSIONS.c.row == row)
        found = self._database.reading(lambda connection: connection.execute(query).mappings().first())
        return None if found is None else _session(found)

    def of(self, username: str, identity: str, *, now: datetime) -> Sequence[KeptSession]:
        """Return a user's sessions that are not over, the newest first."""
        table = SESSIONS.c
        owned = (table.username == username, table.identity == identity)
        query = sa.select(SESSIONS).where(*owned, table.ends > seconds(now))
        found = self._database.reading(lambda one: one.execute(query.order_by(table.begun.desc())).mappings().all())
        return [_session(one) for one in found]

    def touch(self, row: str, identity: str, *, now: datetime) -> None:
        """Note a request, and whose session it is where that was not kept."""
        change = sa.update(SESSIONS).where(SESSIONS.c.row == row).values(seen=seconds(now), identity=identity)
        self._database.writing(lambda connection, _again: connection.execute(change), durable=False)

    def remove(self, row: str) -> None:
        """End a session; nothing happens when there is none."""
        self._database.writing(
            lambda connection, _again: connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.row == row))
        )

    def remove_others(self, username: str, identity: str, *, but: str) -> int:
        """End all other sessions of a user; return how many there were."""
        table = SESSIONS.c
        owned = (table.username == username, table.identity.in_((identity, UNTOLD)))
        others = sa.delete(SESSIONS).where(*owned, table.row != but)
        return self._database.writing(lambda connection, _again: connection.execute(others).rowcount)


class ActivityStore:
    """What happened, for its users to see; the audit file is what counts."""

    def __init__(self, database: Database, kept: timedelta) -> None:
        self._database = database
        self._kept = kept

    def add(self, event: Event) -> None:
        """Note an event, and forget what is too old."""
        values = {
            "username": event.username,
            "identity": event.identity,
            "at": seconds(event.at),
            "action": event.action,
            "address": event.address,
            "detail": event.detail,
        }
        old = sa.delete(ACTIVITY).where(ACTIVITY.c.at < seconds(event.at - self._kept))

        def insert(connection: Connection, _again: bool) -> None:
            connection.execute(old)
            connection.execute(sa.insert(ACTIVITY).values(values))

        self._database.writing(insert, durable=False)

    def of(self, username: str, identity: str, limit: int = MAX_SHOWN) -> Sequence[Event]:
        """Return what happened to a user's credentials, the newest first."""
        table = ACTIVITY.c
        owned = (table.username == username, table.identity == identity)
        query = sa.select(ACTIVITY).where(*owned).order_by(table.id.desc()).limit(limit)
        found = self._database.reading(lambda connection: connection.execute(query).mappings().all())
        return [
            Event(username, identity, time_of(one["at"]), one["action"], one["address"], one["detail"]) for one in found
        ]


@dataclass(frozen=True, slots=True)
class PortalStore:
    """All of it.

    Attributes:
        database: The file, or the database of several nodes.
        sessions: Who is logged on.
        activity: What happened.
        guesses: Counts of wrong tries.
    """

    database: Database
    sessions: SessionStore
    activity: ActivityStore
    guesses: SQLGuessStore

    def check(self) -> None:
        """Read something.

        Raises:
            StorageError: The store cannot be read.
        """
        self.sessions.find("")

    def close(self) -> None:
        """Close it."""
        self.database.close()


def open_store(settings: StoreSettings) -> PortalStore:
    """Open the store, made or upgraded where it has to be; the directory is made 0700 if it is missing.

    Args:
        settings: Where it is.

    Raises:
        ConfigError: The string of the database is not good, or psycopg is not installed.
        StorageError: It cannot be opened, comes from a newer version, or others could write in the directory.
    """
    prepare_private_directory(settings.directory)
    if settings.database:
        from gsi.sql.postgres import open_postgres

        database = open_postgres(
            settings.database,
            application="myproxy-portal",
            connections=settings.connections,
            patience_seconds=settings.patience.total_seconds(),
        )
    else:
        database = open_sqlite(os.path.join(settings.directory, FILE))
    upgraded(database, MIGRATIONS)
    activity = ActivityStore(database, settings.activity)
    return PortalStore(database, SessionStore(database), activity, SQLGuessStore(database))


def _session(row: RowMapping) -> KeptSession:
    return KeptSession(
        row["row"],
        row["username"],
        row["identity"],
        bytes(row["sealed"]),
        time_of(row["begun"]),
        time_of(row["seen"]),
        time_of(row["ends"]),
        row["address"],
        row["browser"],
    )
