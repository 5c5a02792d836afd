"""Opening the repository for the commands that run on the server's machine; not what they do there (`myproxy.admin`).

    with open_desk(arguments) as desk: ...
    with open_upkeep(arguments) as desk: ...
    with open_deposit(arguments) as desk: ...
    with open_codes(arguments) as desk: ...

As root, everything is done as the owner of the storage directory, so that no file of the store comes to belong to root
and the server can still write it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gsi.cli.arguments import Completion, UsageError
from gsi.errors import StorageError
from myproxy.cli.places import DEFAULT_CONFIG, STORAGE_PLACES, find_storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.cli.arguments import Namespace, Section
    from gsi.system.audit import AuditLog
    from gsi.trust.peer import VerifiedPeer
    from myproxy.admin import AdminDesk, CodesDesk, UpkeepDesk
    from myproxy.config import ServerConfig
    from myproxy.deposit import DepositDesk
    from myproxy.repository.sql import SQLRepository

__all__ = [
    "add_place_options",
    "find_username",
    "is_unused",
    "open_codes",
    "open_deposit",
    "open_desk",
    "open_upkeep",
    "read_config",
]


def find_username(arguments: Namespace) -> str:
    """Return the account name: --username, else $LOGNAME.

    Raises:
        UsageError: There is none.
    """
    from gsi.system.environ import get_variable

    username = arguments.username or get_variable("LOGNAME")
    if not username:
        raise UsageError("Please specify a username.", hint="name it with --username, or set LOGNAME")
    return str(username)


def add_place_options(section: Section, *, config_letter: str | None = "-c") -> None:
    """Add the options that say which repository is meant.

    Args:
        section: Where they are listed.
        config_letter: The letter for the configuration; None where it means something else.
    """
    section.value(
        "-s",
        "--storage",
        dest="storage",
        metavar="DIRECTORY",
        completion=Completion.DIRECTORY,
        text=f"the storage directory ({STORAGE_PLACES[0]})",
    )
    section.value(
        *([] if config_letter is None else [config_letter]),
        "--config",
        dest="config",
        metavar="FILE",
        completion=Completion.FILE,
        text=f"the server's configuration ({DEFAULT_CONFIG}, if it is there)",
    )


@contextlib.contextmanager
def open_desk(arguments: Namespace) -> Iterator[AdminDesk]:
    """Open the store and the audit file that the options name.

    Raises:
        ConfigError: The configuration cannot be read.
        StorageError: The store cannot be opened.
    """
    from gsi.system import clock
    from gsi.system.environ import read_locations
    from gsi.system.trustdir import TrustDirectory
    from gsi.trust.verify import verify_chain
    from myproxy.admin import AdminDesk

    with _open_store(arguments, creates=False) as (_, repository, audit):
        trust = TrustDirectory(read_locations().trust_dir)

        def verify(chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
            return verify_chain(chain, trust.anchors(), now=now)

        yield AdminDesk(repository, audit, verify=verify, clock=clock.now)


@contextlib.contextmanager
def open_upkeep(arguments: Namespace, *, creates: bool = False) -> Iterator[UpkeepDesk]:
    """Open the store, its server keys and the audit file that the options name.

    Args:
        arguments: The command line.
        creates: Whether to make a store where there is none.

    Raises:
        ConfigError: The configuration or a server key cannot be read.
        StorageError: The store cannot be opened.
    """
    from gsi.system import clock
    from myproxy.admin import UpkeepDesk
    from myproxy.wiring.repository import make_sealer

    with _open_store(arguments, creates=creates) as (config, repository, audit):
        sealer = make_sealer(config, repository, serves=False)
        yield UpkeepDesk(repository, sealer, audit, clock=clock.now)


@contextlib.contextmanager
def open_deposit(arguments: Namespace) -> Iterator[DepositDesk]:
    """Open the store for putting credentials in, and the audit file that the options name.

    In an empty directory this is the first start: the store is made as the server would make it.

    Raises:
        ConfigError: The configuration, the trust directory or a server key cannot be read.
        StorageError: The store cannot be opened.
    """
    from gsi.system import clock
    from gsi.system.environ import read_locations
    from gsi.system.trustdir import TrustDirectory
    from gsi.trust.verify import verify_chain
    from myproxy.deposit import DepositDesk
    from myproxy.wiring.repository import make_sealer

    trust = TrustDirectory(read_locations().trust_dir)

    def verify(chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
        return verify_chain(chain, trust.anchors(), now=now)

    with _open_store(arguments, creates=False, begins=True) as (config, repository, audit):
        sealer = make_sealer(config, repository, serves=False)
        yield DepositDesk(repository, sealer, audit, verify=verify, clock=clock.now)


@contextlib.contextmanager
def open_codes(arguments: Namespace) -> Iterator[CodesDesk]:
    """Open the secrets of one-time codes that the options name, and the audit file; an empty directory is no hindrance.

    Raises:
        ConfigError: The configuration or the key of the secrets cannot be read.
        StorageError: The store cannot be opened.
    """
    from gsi.system import clock
    from myproxy.admin import CodesDesk
    from myproxy.repository.codes import SQLCodeStore
    from myproxy.wiring.methods import make_codes

    with _open_store(arguments, creates=False, begins=True) as (config, repository, audit):
        codes, store = make_codes(config, repository.database), SQLCodeStore(repository.database)
        yield CodesDesk(codes, store, audit, clock=clock.now)


def read_config(arguments: Namespace) -> ServerConfig:
    """Return the server's configuration, that of the option or of the usual place; the defaults where there is none.

    Raises:
        ConfigError: It cannot be read.
    """
    from myproxy.config import ServerConfig
    from myproxy.server import load_config

    path = arguments.config or (DEFAULT_CONFIG if os.path.exists(DEFAULT_CONFIG) else None)
    return ServerConfig() if path is None else load_config(os.path.abspath(path))


def is_unused(arguments: Namespace) -> bool:
    """Say whether the directory is that of a server which has never run: it is empty of anything a server leaves.

    Raises:
        ConfigError: The configuration cannot be read.
        StorageError: The directory cannot.
    """
    return _is_unused(read_config(arguments), find_storage(arguments.storage))


def _is_unused(config: ServerConfig, storage: str) -> bool:
    from myproxy.wiring.repository import has_repository

    if has_repository(config, storage):
        return False
    try:
        return not os.listdir(storage)
    except OSError as error:
        raise StorageError(
            f"{storage}: {error.strerror}", hint="name the server's storage directory with -s"
        ) from error


@contextlib.contextmanager
def _open_store(
    arguments: Namespace, *, creates: bool, begins: bool = False
) -> Iterator[tuple[ServerConfig, SQLRepository, AuditLog]]:
    """Open the store.

    Args:
        arguments: The command line.
        creates: Whether one is made where there is none, whatever else is there.
        begins: Whether one is made in an empty directory, as by the server's first start.

    Raises:
        GridError: It cannot be used, or there is none.
    """
    from gsi.system.audit import AuditLog
    from myproxy.server import audit_path
    from myproxy.wiring.repository import has_repository, open_repository, prepare_repository

    storage = find_storage(arguments.storage)
    config = read_config(arguments)
    begins = begins and _is_unused(config, storage)
    if not creates and not begins and not has_repository(config, storage):
        raise StorageError(
            f"{storage}: there is no repository here",
            hint="name the server's storage directory with -s; one of the C server is taken over at the first start of "
            "myproxy-server, or by myproxy-admin-import",
        )
    if not creates or os.path.isdir(storage):
        _become_owner(storage)
    if begins:
        prepare_repository(config, storage, audit_path(config, storage))
    with contextlib.ExitStack() as stack:
        repository = stack.enter_context(contextlib.closing(open_repository(config, storage)))
        audit = AuditLog(audit_path(config, storage), node=config.node_name)
        yield config, repository, stack.enter_context(contextlib.closing(audit))


def _become_owner(storage: str) -> None:
    """Give up root for the owner of the directory.

    Raises:
        StorageError: That is not possible.
    """
    if os.geteuid() != 0:
        return
    # What is loaded late elsewhere: afterwards an interpreter below /root may be out of reach.
    import sqlite3  # noqa: F401

    import sqlalchemy.dialects.sqlite.pysqlite  # noqa: F401

    try:
        facts = os.stat(storage)
        if facts.st_uid != 0:
            os.setgroups([])
            os.setgid(facts.st_gid)
            os.setuid(facts.st_uid)
    except OSError as error:
        raise StorageError(f"{storage}: cannot act as its owner: {error.strerror}") from error
