"""The store, the seals and their keys, as the configuration says; they themselves are in `myproxy.repository`.

prepare_repository(config, storage, audit_path)    # once, before the workers
repository = open_repository(config, storage)
sealer = make_sealer(config, repository)
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import secrets
import stat
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, StorageError
from gsi.sql.engine import prepare_private_directory
from gsi.system import clock
from gsi.system.audit import AuditLog, AuditRecord, Verdict
from gsi.system.files import write_private
from myproxy.repository.importing import import_at_first_start
from myproxy.repository.keysources import load_server_keys
from myproxy.repository.seal import Sealer
from myproxy.repository.sealforms import SealParameters, parse_form
from myproxy.repository.sql import (
    DATABASE_NAME,
    SQLRepository,
    open_postgres_repository,
    open_sqlite_repository,
)
from myproxy.repository.sweep import ServerStart, Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myproxy.config import ServerConfig
    from myproxy.repository.importing import ImportReport
    from myproxy.repository.serverkeys import ServerKeys

__all__ = ["has_repository", "import_record", "make_sealer", "make_sweeper", "open_repository", "prepare_repository"]

MARKER_NAME: Final = "first-start.done"
"""File in the storage directory that is there from the first start on."""
MARKER_TEXT: Final = b"myproxy-server has taken over this directory; myproxy.db holds its credentials.\n"

_SCHEMES: Final = ("postgresql://", "postgres://")
_SHOWN_FAULTS: Final = 20
"""How many credentials that could not be imported the log names; `myproxy-admin-import` names all."""

_log: Final = logging.getLogger("myproxy.repository")


def open_repository(config: ServerConfig, storage: str, *, patient: bool = False, create: bool = True) -> SQLRepository:
    """Open the store, creating or upgrading its tables.

    Args:
        config: Where the database is.
        storage: The storage directory.
        patient: Whether requests wait for a database server that is away, as a failover takes its time; a start does
            not.
        create: Whether a SQLite store that is not there is made. Not by a server that has been running with one.

    Raises:
        ConfigError: The database is not one that is known here.
        StorageError: Directory or database cannot be used, or are not safe.
    """
    if config.database is None:
        return open_sqlite_repository(storage, create=create)
    if not config.database.startswith(_SCHEMES):
        raise ConfigError(
            "database: not the URI of a PostgreSQL database",
            hint="database postgresql://USER@HOST/NAME?passfile=/path; without the line SQLite is used",
        )
    prepare_private_directory(storage)  # audit log and counters are there all the same
    return open_postgres_repository(
        config.database,
        connections=config.database_connections,
        patience_seconds=config.database_patience if patient else 0.0,
    )


def prepare_repository(config: ServerConfig, storage: str, audit_path: str) -> None:
    """Make or upgrade the store, so that mistakes show before the server detaches.

    At the first start on a directory of the C server, its credentials are taken over, all at once: either all that
    can be used are in the store and in the audit, or none. The files are left as they are.

    Whether it is the first is not left to the database alone: one that was lost, and made anew empty, would bring back
    what users have destroyed since, and their former pass phrases. A file in the storage directory says so, too, and
    where there is no database any more, a record in the audit log.

    Args:
        config: The configuration.
        storage: The storage directory.
        audit_path: The audit log.

    Raises:
        ConfigError: The database or a server key cannot be used.
        StorageError: Directory or store are not safe or cannot be used, the store that was here is gone, or the import
            cannot be recorded.
    """
    prepare_private_directory(storage)
    _check_closed(storage)
    marker = os.path.join(storage, MARKER_NAME)
    if config.database is None and not os.path.exists(os.path.join(storage, DATABASE_NAME)):
        traces = [path for path in (marker, audit_path) if _is_used(path)]
        if traces:
            raise _lost(storage, "is gone", traces)

    def first() -> bool:
        if not os.path.exists(marker):
            return True
        if config.database is None:
            raise _lost(storage, "is empty", [marker])
        _log.warning("%s was used with another database: its C credentials are not imported again", storage)
        return False

    with contextlib.closing(open_repository(config, storage)) as repository:
        sealer = make_sealer(config, repository)

        def record(report: ImportReport) -> None:
            with contextlib.closing(AuditLog(audit_path, node=config.node_name)) as audit:
                audit.record(import_record(report, storage))

        report = import_at_first_start(repository.database, sealer, storage, now=clock.now(), agree=record, first=first)
    if not os.path.exists(marker):  # also beside a store from before there was such a file
        write_private(marker, MARKER_TEXT)
    if report is None:
        return
    _log.warning(
        "credentials of the C server in %s: %d imported, %d not; the files are left as they are",
        storage,
        report.imported,
        len(report.faults),
    )
    for fault in (report.faults + report.warnings)[:_SHOWN_FAULTS]:
        _log.warning("import: %s: %s", fault.stem, fault.reason)
    if len(report.faults) > _SHOWN_FAULTS:
        _log.warning("import: myproxy-admin-import names all %d that were not imported", len(report.faults))


def _check_closed(storage: str) -> None:
    """Insist on a directory that nobody else can even look into, as the C server does.

    Raises:
        StorageError: It is not.
    """
    mode = stat.S_IMODE(os.stat(storage).st_mode)
    if mode & 0o077:
        raise StorageError(f"directory {storage} is open to others (mode {mode:04o})", hint=f"chmod 700 {storage}")


def _is_used(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


def _lost(storage: str, what: str, traces: Sequence[str]) -> StorageError:
    return StorageError(
        f"the database {os.path.join(storage, DATABASE_NAME)} {what}, but there was one: see {' and '.join(traces)}",
        hint="bring it back from a backup, with the -wal file beside it; to begin anew all the same, with what the C "
        f"server left and without anything stored since, move {' and '.join(traces)} away",
    )


def import_record(report: ImportReport, directory: str) -> AuditRecord:
    """Return the audit record of an import: a failure where it is not whole."""
    left = f": {len(report.faults)} could not be taken over" if report.faults else ""
    return AuditRecord(
        time=clock.now(),
        request_id=secrets.token_hex(8),
        service="myproxy",
        action="IMPORT",
        verdict=Verdict.FAIL if report.faults else Verdict.PERMIT,
        reason=f"credentials of the C server{left}",
        peer=f"local:{getpass.getuser()}",
        address="",
        details={
            "directory": directory,
            "imported": report.imported,
            "known": report.known,
            "refused": len(report.faults),
        },
    )


def has_repository(config: ServerConfig, storage: str) -> bool:
    """Say whether there is a store already, so that a command need not make one by mistake."""
    return config.database is not None or os.path.exists(os.path.join(storage, DATABASE_NAME))


def make_sealer(config: ServerConfig, repository: SQLRepository, *, serves: bool = True) -> Sealer:
    """Return what seals and opens the keys in a store, with every price and lock that is in use there.

    Args:
        config: Prices and server keys.
        repository: The store.
        serves: Whether users are to be served, who need every server key that is in use.

    Raises:
        ConfigError: A server key cannot be used, or one that is needed is not named.
        StorageError: The store cannot be read.
    """
    forms = [parse_form(text) for text in repository.list_key_forms()]
    server_keys = load_server_keys(config.server_key or ())
    if serves:
        _check_server_keys(server_keys, {form.server_key for form in forms if form.server_key is not None})
    return Sealer(
        SealParameters(memory_kib=config.argon2_memory_kib, iterations=config.argon2_iterations),
        in_use=[form.price for form in forms if form.price is not None],
        locks_in_use=[form.lock_cost for form in forms if form.lock_cost is not None],
        server_keys=server_keys,
        keeps_copies=config.keep_c_export,
    )


def make_sweeper(
    config: Callable[[], ServerConfig], repository: SQLRepository, audit: AuditLog, started: ServerStart | None
) -> Sweeper:
    """Return what removes credentials that expired long ago, as the configuration of the moment says."""
    return Sweeper(
        repository.database,
        audit,
        grace=lambda: timedelta(hours=config().expired_credential_grace),
        clock=clock.now,
        started=started,
    )


def _check_server_keys(known: ServerKeys, in_use: set[str]) -> None:
    """Insist that every key that something lies under is there: a server that lost one must not begin to serve."""
    lost = sorted(in_use - known.known)
    if lost:
        raise ConfigError(
            f"stored credentials lie under server keys that are not configured: {', '.join(lost)}",
            hint="name them with server_key, behind the current one; if they are lost for good, "
            "myproxy-admin-fsck --quarantine puts these credentials aside",
        )
