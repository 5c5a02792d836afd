"""Where delegated proxies rest, sealed with the server's keys; decides nothing.

    store = open_store(config.store)
    store.put_request(Owner(...), key_pem, now=now, until=now + HOUR)
    store.find(delegation_id)

Private keys and proxies lie under AES-256-GCM, bound to their row; the keys are not in the store.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag

from gsi.errors import ConflictError, StorageError
from gsi.sql.columns import TEXT, seconds, time_of
from gsi.sql.engine import Database, open_sqlite, prepare_private_directory
from gsi.sql.migrate import upgraded
from myproxy.repository.keysources import load_server_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection, RowMapping

    from myproxy.delegation.config import StoreSettings
    from myproxy.repository.serverkeys import ServerKey

__all__ = ["MAX_OF_ONE", "METADATA", "DelegationStore", "Kept", "Owner", "Seal", "open_store"]

FILE: Final = "delegation.db"
MIGRATIONS: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")
MAX_OF_ONE: Final = 20
"""Delegations of one identity: one for each set of attributes that it uses."""

METADATA: Final = sa.MetaData()
DELEGATIONS: Final = sa.Table(
    "delegations",
    METADATA,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("identity", TEXT, nullable=False),
    sa.Column("fqans", TEXT, nullable=False),
    sa.Column("asked", sa.LargeBinary(), nullable=False),
    sa.Column("asked_until", sa.BigInteger(), nullable=False),
    sa.Column("proxy", sa.LargeBinary(), nullable=False),
    sa.Column("ends", sa.BigInteger(), nullable=False),
    sa.Column("fetched", sa.BigInteger(), nullable=False),
    sa.Index("delegations_identity", "identity"),
)
_SALT: Final = 16
_NONCE: Final = 12


class Seal:
    """The keys of the server, of which the first seals and all open."""

    def __init__(self, keys: Sequence[ServerKey]) -> None:
        self._keys = {key.id: key for key in keys}
        self._first = keys[0]

    def close(self, data: bytes, place: str) -> bytes:
        """Return data as it may rest."""
        salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
        head = self._first.id + salt + nonce
        return head + self._first.cipher(salt).encrypt(nonce, data, head + place.encode())

    def open(self, blob: bytes, place: str) -> bytes:
        """Return what was sealed.

        Raises:
            StorageError: It lies under a key that is not known, belongs to another row, or is damaged.
        """
        size = len(self._first.id)
        key = self._keys.get(blob[:size])
        if key is None:
            raise StorageError("a delegation lies under a key that this server does not have", hint="name it in keys")
        head = blob[: size + _SALT + _NONCE]
        try:
            return key.cipher(head[size : size + _SALT]).decrypt(
                head[-_NONCE:], blob[len(head) :], head + place.encode()
            )
        except InvalidTag as error:
            raise StorageError("a delegation is damaged, or belongs to another row") from error


class Owner(NamedTuple):
    """Whose a delegation is."""

    id: str
    identity: str
    fqans: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A delegation; times aware UTC.

    Attributes:
        owner: Whose.
        asked: The key of a request that waits, PEM; empty where none does.
        asked_until: How long it waits.
        proxy: The proxy, PEM; empty where there is none yet.
        ends: When it ends.
    """

    owner: Owner
    asked: bytes
    asked_until: datetime
    proxy: bytes
    ends: datetime


class DelegationStore:
    """Delegations. Safe for use by several threads and processes."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self._seal = seal

    def find(self, delegation_id: str) -> Kept | None:
        """Return a delegation, None where there is none.

        Raises:
            StorageError: The store cannot be read.
        """
        query = sa.select(DELEGATIONS).where(DELEGATIONS.c.id == delegation_id)
        row = self._database.reading(lambda connection: connection.execute(query).mappings().first())
        return None if row is None else self._read(row)

    def ask(self, owner: Owner, key: bytes, *, now: datetime, until: datetime) -> bytes:
        """Let a request wait with this key, or keep the one that waits already; return the key.

        Raises:
            ConflictError: The identifier is somebody else's, or the owner has too many.
            StorageError: The store cannot be written.
        """
        table = DELEGATIONS.c
        asked = {"asked": self._seal.close(key, f"asked {owner.id}"), "asked_until": seconds(until)}
        over = sa.and_(table.ends <= seconds(now), table.asked_until <= seconds(now), table.id != owner.id)

        def put(connection: Connection, _again: bool) -> bytes:
            connection.execute(sa.delete(DELEGATIONS).where(over))
            row = connection.execute(sa.select(DELEGATIONS).where(table.id == owner.id).with_for_update()).mappings()
            found = row.first()
            if found is None:
                mine = sa.select(sa.func.count()).select_from(DELEGATIONS).where(table.identity == owner.identity)
                if connection.execute(mine).scalar_one() >= MAX_OF_ONE:
                    raise ConflictError("too many delegations")
                fqans = json.dumps(owner.fqans)
                values = {"id": owner.id, "identity": owner.identity, "fqans": fqans, "proxy": b"", "ends": 0}
                connection.execute(sa.insert(DELEGATIONS).values(values | asked | {"fetched": 0}))
                return key
            kept = self._read(found)
            if kept.owner != owner:
                raise ConflictError("the identifier is somebody else's")
            if kept.asked and kept.asked_until > now:
                return kept.asked
            connection.execute(sa.update(DELEGATIONS).where(table.id == owner.id).values(asked))
            return key

        return self._database.writing(put)

    def put(self, owner: Owner, proxy: bytes, *, ends: datetime) -> None:
        """Keep a proxy in the place of a former one.

        Raises:
            StorageError: The store cannot be written.
        """
        table = DELEGATIONS.c
        values = {"proxy": self._seal.close(proxy, f"proxy {owner.id}"), "ends": seconds(ends)}
        change = sa.update(DELEGATIONS).where(table.id == owner.id, table.identity == owner.identity).values(values)
        if not self._database.writing(lambda connection, _again: connection.execute(change).rowcount):
            raise ConflictError("the delegation was removed meanwhile")

    def note_fetch(self, delegation_id: str, *, now: datetime) -> None:
        """Note that a service has fetched a proxy."""
        change = sa.update(DELEGATIONS).where(DELEGATIONS.c.id == delegation_id).values(fetched=seconds(now))
        self._database.writing(lambda connection, _again: connection.execute(change), durable=False)

    def remove(self, owner: Owner) -> bool:
        """Remove a delegation; return whether there was one."""
        table = DELEGATIONS.c
        change = sa.delete(DELEGATIONS).where(table.id == owner.id, table.identity == owner.identity)
        return self._database.writing(lambda connection, again: bool(connection.execute(change).rowcount) or again)

    def check(self) -> None:
        """Read something.

        Raises:
            StorageError: The store cannot be read.
        """
        self.find("")

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def _read(self, row: RowMapping) -> Kept:
        owner = Owner(row["id"], row["identity"], tuple(json.loads(row["fqans"])))
        asked, proxy = bytes(row["asked"]), bytes(row["proxy"])
        return Kept(
            owner,
            self._seal.open(asked, f"asked {owner.id}") if asked else b"",
            time_of(row["asked_until"]),
            self._seal.open(proxy, f"proxy {owner.id}") if proxy else b"",
            time_of(row["ends"]),
        )


def open_store(settings: StoreSettings) -> DelegationStore:
    """Open the store, made or upgraded where it has to be; the directory is made 0700 if it is missing.

    Raises:
        ConfigError: A key or the database cannot be used.
        StorageError: It cannot be opened, comes from a newer version, or others could write in the directory.
    """
    seal = Seal([load_server_key(one) for one in settings.keys])
    prepare_private_directory(settings.directory)
    if settings.database:
        from gsi.sql.postgres import open_postgres

        database = open_postgres(settings.database, application="myproxy-delegation", connections=8)
    else:
        database = open_sqlite(os.path.join(settings.directory, FILE))
    upgraded(database, MIGRATIONS)
    return DelegationStore(database, seal)
