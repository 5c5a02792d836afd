"""The service with all its parts, as the configuration says; made anew in each worker process.

prepare(config)                                    # once, before workers are forked: directory and database
with open_service(config) as opened:               # in each worker
    opened.service.issue(...)
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gsi.names import oneline
from gsi.sql.engine import prepare_private_directory
from gsi.system import clock
from gsi.system.audit import AuditLog, AuditSink
from gsi.system.health import check_dates
from kca.repository.sql import open_postgres_books, open_sqlite_books
from kca.service import KCAService
from kca.trail import Trail
from kca.wiring.authority import make_authority
from kca.wiring.authz import make_authorization
from kca.wiring.directory import make_directories

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from kca.config import KCAConfig
    from kca.repository.sql import SQLBooks
    from kca.service import Authority

__all__ = ["OpenedService", "open_books", "open_service", "prepare"]


class OpenedService:
    """A service with what has to be closed behind it; a context manager.

    Attributes:
        service: The service.
        books: Its books.
        authority: The CA.
        audit: Its audit file, which `reopen` follows after a log rotation.
    """

    def __init__(self, service: KCAService, books: SQLBooks, audit: AuditLog, authority: Authority) -> None:
        self.service = service
        self.books = books
        self.audit = audit
        self.authority = authority

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check_certificates(self) -> None:
        """Insist that the CA's certificate and those above it are good now.

        Raises:
            ConfigError: One of them is not.
        """
        now = clock.now()
        for one in self.authority.certificates:
            check_dates(one, now=now, what=f"the certificate of {oneline(one.subject_der)}")

    def check_books(self) -> None:
        """Insist that the books can be read.

        Raises:
            StorageError: They cannot.
        """
        self.books.find_owner("")

    def close(self) -> None:
        """Close books and audit, and let go of the CA's key."""
        self.books.close()
        self.audit.close()
        self.authority.close()


def prepare(config: KCAConfig) -> None:
    """Make or upgrade the books, so that mistakes show before a server detaches.

    Raises:
        ConfigError: The database is not good.
        StorageError: Directory, books or audit cannot be used, or are not safe.
    """
    with contextlib.closing(open_books(config)):
        AuditLog(config.store.audit_path).close()


def open_books(config: KCAConfig, *, patient: bool = False) -> SQLBooks:
    """Open the books, creating or upgrading their tables.

    Args:
        config: Where they are.
        patient: Whether requests wait for a database that is away, as a failover takes its time; a start does not.

    Raises:
        ConfigError: The database is not good.
        StorageError: Directory or database cannot be used, or are not safe.
    """
    store = config.store
    if not store.database:
        return open_sqlite_books(store.directory)
    prepare_private_directory(store.directory)
    return open_postgres_books(
        store.database,
        connections=store.connections,
        patience_seconds=store.patience.total_seconds() if patient else 0.0,
    )


def open_service(
    config: KCAConfig,
    *,
    meter: Callable[[AuditSink], AuditSink] = lambda sink: sink,
    now: Callable[[], datetime] = clock.now,
) -> OpenedService:
    """Return the service.

    Args:
        config: The configuration.
        meter: Puts what counts decisions around the audit (`kca.metrics.MeteredSink`).
        now: The time.

    Raises:
        ConfigError: The configuration cannot be used.
        GridError: The CA's key, the books or the audit cannot be used.
    """
    with contextlib.ExitStack() as opened:
        authority = make_authority(config.authority)
        opened.callback(authority.close)
        authorize = make_authorization(config.policy)
        directories = make_directories(config.realm)
        books = open_books(config, patient=True)
        opened.callback(books.close)
        audit = AuditLog(config.store.audit_path)
        opened.pop_all()  # from here on all of it belongs to who gets it
    service = KCAService(
        realms=config.realm,
        limits=config.limits,
        authority=authority,
        books=books,
        trail=Trail(meter(audit), now),
        authorize=authorize,
        directories=directories,
        clock=now,
    )
    return OpenedService(service, books, audit, authority)
