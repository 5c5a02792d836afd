"""Bring a database to the schema that the program expects, with Alembic; not the migrations themselves.

    upgrade(database, "/.../myproxy/repository/migrations")

A migrations directory belongs to the package that owns the tables. Its `env.py` is two lines:

    from gsi.sql.migrate import run_in_environment
    run_in_environment()

All steps run in one transaction, so that a crash leaves the old schema; two servers that start at once wait for each
other. A database written by a newer version is refused instead of being used with the wrong idea of it. `find_schema`
looks at what is there and changes nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

import alembic.command
import alembic.context
import alembic.util
import sqlalchemy
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from gsi.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from gsi.sql.engine import Database

__all__ = ["Schema", "SchemaState", "find_schema", "run_in_environment", "upgrade", "upgraded"]

_CONNECTION: Final = "connection"
_LOCK: Final = 0x677369  # the advisory lock of upgrades in a PostgreSQL database: "gsi"


class SchemaState(Enum):
    """What a database's schema is to this program."""

    CURRENT = "current"
    OLDER = "older"
    """An `upgrade` brings it up to date."""
    EMPTY = "empty"
    """There are no tables yet."""
    UNKNOWN = "unknown"
    """A newer program has written it."""


class Schema(NamedTuple):
    """The schema of a database."""

    state: SchemaState
    version: str | None
    """The version of the database; None where it is empty."""
    head: str | None
    """The version that the program expects."""


def find_schema(database: Database, directory: str) -> Schema:
    """Return which schema a database has; nothing is changed.

    Args:
        database: Where to look.
        directory: The migrations directory.

    Raises:
        StorageError: The database cannot be read.
    """
    config = Config()
    config.set_main_option("script_location", directory.replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    with database.read() as connection:
        version = _current(connection)
    if version is None:
        return Schema(SchemaState.EMPTY, None, head)
    if version == head:
        return Schema(SchemaState.CURRENT, version, head)
    try:
        script.get_revision(version)
    except alembic.util.CommandError:
        return Schema(SchemaState.UNKNOWN, version, head)
    return Schema(SchemaState.OLDER, version, head)


def upgrade(database: Database, directory: str) -> None:
    """Apply the migrations that the database lacks; cheap when there are none.

    Args:
        database: What to upgrade.
        directory: The migrations directory (holds `env.py` and `versions/`).

    Raises:
        StorageError: The database cannot be changed, or comes from a newer version of the program.
    """
    config = Config()
    config.set_main_option("script_location", directory.replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    with database.read() as connection:
        if _current(connection) == head:
            return
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sqlalchemy.text("SET LOCAL statement_timeout = 0"))  # a step may rewrite a large table
            connection.execute(sqlalchemy.text("SET LOCAL lock_timeout = 0"))
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
        current = _current(connection)
        try:
            if current is not None:
                script.get_revision(current)
            config.attributes[_CONNECTION] = connection
            alembic.command.upgrade(config, "head")
        except alembic.util.CommandError as error:
            raise StorageError(
                f"the database {database.place} has schema version {current}, which this program does not know",
                hint="it was written by a newer version; start that one",
            ) from error


def upgraded(database: Database, directory: str) -> Database:
    """Return a database that was just opened, with all migrations applied; it is closed where they cannot be.

    Raises:
        StorageError: As `upgrade`.
    """
    try:
        upgrade(database, directory)
    except BaseException:
        database.close()
        raise
    return database


def run_in_environment() -> None:
    """Run the pending migrations on the connection that `upgrade` opened; called by `env.py`."""
    connection = alembic.context.config.attributes[_CONNECTION]
    alembic.context.configure(connection=connection)
    with alembic.context.begin_transaction():
        alembic.context.run_migrations()


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
