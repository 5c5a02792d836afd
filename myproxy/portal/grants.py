"""What users have allowed applications, for all workers: codes, then grants; decides nothing about who may ask.

    code = grants.offer("alice", "/O=Grid/CN=Alice", "gateway", scope, content, now=now, address="192.0.2.7")
    kept, content = grants.take(code, now=now)                     # once
    token = grants.give(kept, content, now=now)
    kept, content = grants.find(token, now=now)

What the user's proxy is sealed with is in the code, then in the token, and both are with the application: the store
opens nothing. A code that comes twice ends the grant that was made of it (RFC 6749 section 4.1.2).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from gsi.errors import NotFoundError
from gsi.sql.columns import TEXT, seconds, time_of
from myproxy.portal.store import METADATA, UNTOLD
from myproxy.portal.vault import Ticket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection, RowMapping

    from gsi.sql.engine import Database

__all__ = ["CODE_LIFETIME", "MAX_GRANTS", "PER_MINUTE", "Content", "Grants", "KeptGrant"]

CODE_LIFETIME: Final = timedelta(minutes=1)
"""How long an application has to fetch what a code stands for."""
MAX_GRANTS: Final = 20
"""Grants of one user to one application; beyond it the oldest end."""
PER_MINUTE: Final = 30
"""Proxies of one grant: each is a signature."""

GRANTS: Final = sa.Table(
    "grants",
    METADATA,
    sa.Column("row", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("username", TEXT, nullable=False),
    sa.Column("application", TEXT, nullable=False),
    sa.Column("scope", TEXT, nullable=False),
    sa.Column("sealed", sa.LargeBinary(), nullable=False),
    sa.Column("begun", sa.BigInteger(), nullable=False),
    sa.Column("used", sa.BigInteger(), nullable=False),
    sa.Column("times", sa.BigInteger(), nullable=False),
    sa.Column("ends", sa.BigInteger(), nullable=False),
    sa.Column("address", TEXT, nullable=False),
    sa.Column("made", sa.String(64), nullable=False),
    sa.Column("identity", TEXT, nullable=False, server_default=UNTOLD),
    sa.Index("grants_username", "username"),
    sa.Index("grants_ends", "ends"),
)
_CODE: Final = "code"
_USED: Final = "used"
_GRANT: Final = "grant"


@dataclass(frozen=True, slots=True)
class KeptGrant:
    """A code or a grant as it rests; times aware UTC.

    Attributes:
        row: Its key in the store.
        username: The account.
        identity: Who has allowed it: the end entity's name, one-line form.
        application: Whom.
        scope: What.
        begun: When.
        used: When a proxy was made last; `begun` where none was.
        ends: When it ends whatever happens.
        address: Where the user was then.
        times: How many proxies were made in the minute of `used`; 0 where none was.
    """

    row: str
    username: str
    identity: str
    application: str
    scope: str
    begun: datetime
    used: datetime
    ends: datetime
    address: str
    times: int


class Content(NamedTuple):
    """What is sealed.

    Attributes:
        proxy: The user's proxy, PEM.
        ends: When the grant ends, Unix seconds.
        redirect: Where the user was sent back to.
        challenge: The application's, for its verifier (RFC 7636).
    """

    proxy: str
    ends: int
    redirect: str = ""
    challenge: str = ""


class Grants:
    """Codes and grants. Safe for use by several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def offer(
        self,
        username: str,
        identity: str,
        application: str,
        scope: str,
        content: Content,
        *,
        now: datetime,
        address: str,
    ) -> Ticket:
        """Keep what a user has allowed until the application comes for it; return its code.

        Raises:
            StorageError: It cannot be kept.
        """
        code = Ticket.make()
        values = _values(
            _CODE,
            code,
            content,
            owner=(username, identity),
            application=application,
            scope=scope,
            now=now,
            address=address,
        )
        values["ends"] = seconds(now + CODE_LIFETIME)

        def insert(connection: Connection, again: bool) -> None:
            _clear(connection, code.row if again else None, now)
            connection.execute(sa.insert(GRANTS).values(values))

        self._database.writing(insert, durable=False)
        return code

    def take(self, code: Ticket, *, now: datetime) -> tuple[KeptGrant, Content] | None:
        """Return what a code stands for, once; None where it stands for nothing.

        Raises:
            StorageError: The store cannot be written.
        """
        table, moment = GRANTS.c, seconds(now)
        query = sa.select(GRANTS).where(table.row == code.row, table.kind.in_((_CODE, _USED))).with_for_update()
        given: list[RowMapping] = []

        def look(connection: Connection, again: bool) -> RowMapping | None:
            row = connection.execute(query).mappings().first()
            if row is None or row["ends"] <= moment:
                return None
            if row["kind"] == _USED:
                if again and given:
                    return given[0]
                connection.execute(sa.delete(GRANTS).where(table.row.in_((row["made"], code.row))))
                return None
            connection.execute(sa.update(GRANTS).where(table.row == code.row).values(kind=_USED, sealed=b""))
            given[:] = [row]
            return row

        row = self._database.writing(look)
        return None if row is None else _open(row, code)

    def give(self, code: Ticket, kept: KeptGrant, content: Content, *, now: datetime) -> Ticket:
        """Make the grant of a code that was taken; return its token.

        Raises:
            NotFoundError: The code came a second time meanwhile.
            StorageError: It cannot be kept.
        """
        token, table = Ticket.make(), GRANTS.c
        settled = content._replace(redirect="", challenge="")
        values = _values(
            _GRANT,
            token,
            settled,
            owner=(kept.username, kept.identity),
            application=kept.application,
            scope=kept.scope,
            now=now,
            address=kept.address,
        )
        mark = sa.update(GRANTS).where(table.row == code.row, table.kind == _USED).values(made=token.row)
        mine = (
            sa.select(table.row)
            .where(table.kind == _GRANT, table.username == kept.username, table.identity == kept.identity)
            .where(table.application == kept.application)
            .order_by(table.begun.desc())
            .offset(MAX_GRANTS - 1)
        )

        def insert(connection: Connection, again: bool) -> None:
            _clear(connection, token.row if again else None, now)
            if not connection.execute(mark).rowcount:
                raise NotFoundError("the code came a second time")
            old = connection.execute(mine).scalars().all()
            connection.execute(sa.delete(GRANTS).where(table.row.in_(old)))
            connection.execute(sa.insert(GRANTS).values(values))

        self._database.writing(insert)
        return token

    def find(self, token: Ticket, *, now: datetime) -> tuple[KeptGrant, Content] | None:
        """Return the grant of a token, None where it is over or there is none."""
        table = GRANTS.c
        query = sa.select(GRANTS).where(table.row == token.row, table.kind == _GRANT, table.ends > seconds(now))
        row = self._database.reading(lambda connection: connection.execute(query).mappings().first())
        return None if row is None else _open(row, token)

    def use(self, kept: KeptGrant, identity: str, *, now: datetime) -> bool:
        """Note that a proxy is made, and whose it is where that was not kept.

        False where too many were made in this minute, or the grant has ended.

        Raises:
            StorageError: It cannot be written.
        """
        table, moment = GRANTS.c, seconds(now)
        query = sa.select(table.used, table.times).where(table.row == kept.row).with_for_update()

        def note(connection: Connection, _again: bool) -> bool:
            row = connection.execute(query).first()
            if row is None:
                return False
            times = row.times + 1 if row.used // 60 == moment // 60 else 1
            if times > PER_MINUTE:
                return False
            values = {"used": moment, "times": times, "identity": identity}
            connection.execute(sa.update(GRANTS).where(table.row == kept.row).values(values))
            return True

        return self._database.writing(note, durable=False)

    def of(self, username: str, identity: str, *, now: datetime) -> Sequence[KeptGrant]:
        """Return a user's grants that are not over, the newest first."""
        table = GRANTS.c
        owned = (table.username == username, table.identity == identity)
        query = sa.select(GRANTS).where(*owned, table.kind == _GRANT, table.ends > seconds(now))
        rows = self._database.reading(lambda one: one.execute(query.order_by(table.begun.desc())).mappings().all())
        return [_kept(one) for one in rows]

    def end(self, row: str, *, username: str, identity: str) -> bool:
        """End a grant of a user; return whether there was such a one."""
        table = GRANTS.c
        owned = (table.username == username, table.identity == identity)
        change = sa.delete(GRANTS).where(table.row == row, *owned, table.kind == _GRANT)
        return self._database.writing(lambda connection, again: bool(connection.execute(change).rowcount) or again)

    def end_all(self, username: str, identity: str) -> None:
        """End all that a user has allowed, codes as well."""
        table = GRANTS.c
        change = sa.delete(GRANTS).where(table.username == username, table.identity.in_((identity, UNTOLD)))
        self._database.writing(lambda connection, _again: connection.execute(change))


def _values(
    kind: str,
    ticket: Ticket,
    content: Content,
    *,
    owner: tuple[str, str],
    application: str,
    scope: str,
    now: datetime,
    address: str,
) -> dict[str, object]:
    return {
        "row": ticket.row,
        "kind": kind,
        "username": owner[0],
        "identity": owner[1],
        "application": application,
        "scope": scope,
        "sealed": ticket.seal(json.dumps(content._asdict()).encode()),
        "begun": seconds(now),
        "used": seconds(now),
        "times": 0,
        "ends": content.ends,
        "address": address,
        "made": "",
    }


def _clear(connection: Connection, row: str | None, now: datetime) -> None:
    gone = GRANTS.c.ends <= seconds(now)
    connection.execute(sa.delete(GRANTS).where(gone if row is None else sa.or_(gone, GRANTS.c.row == row)))


def _open(row: RowMapping, ticket: Ticket) -> tuple[KeptGrant, Content] | None:
    data = ticket.open(bytes(row["sealed"]))
    return None if data is None else (_kept(row), Content(**json.loads(data)))


def _kept(row: RowMapping) -> KeptGrant:
    return KeptGrant(
        row["row"],
        row["username"],
        row["identity"],
        row["application"],
        row["scope"],
        time_of(row["begun"]),
        time_of(row["used"]),
        time_of(row["ends"]),
        row["address"],
        row["times"],
    )
