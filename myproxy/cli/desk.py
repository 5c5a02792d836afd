"""Opening the repository for the commands that run on the server's machine; not what they do there (`myproxy.admin`).

    with open_desk(arguments) as desk: ...

As root, everything is done as the owner of the storage directory, so that no file of the store comes to belong to root
and the server can still write it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gsi.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.cli.arguments import Namespace
    from gsi.trust.peer import VerifiedPeer
    from myproxy.admin import AdminDesk

__all__ = ["open_desk"]


@contextlib.contextmanager
def open_desk(arguments: Namespace) -> Iterator[AdminDesk]:
    """Open the store and the audit file that the options name.

    Raises:
        ConfigError: The configuration cannot be read.
        StorageError: The store cannot be opened.
    """
    from gsi.system import clock
    from gsi.system.audit import AuditLog
    from gsi.system.environ import read_locations
    from gsi.system.trustdir import TrustDirectory
    from gsi.trust.verify import verify_chain
    from myproxy.admin import AdminDesk
    from myproxy.cli.places import DEFAULT_CONFIG, find_storage
    from myproxy.config import ServerConfig
    from myproxy.server import AUDIT_NAME, load_config
    from myproxy.wiring.repository import has_repository, open_repository

    storage = find_storage(arguments.storage)
    config_path = arguments.config or (DEFAULT_CONFIG if os.path.exists(DEFAULT_CONFIG) else None)
    config = ServerConfig() if config_path is None else load_config(os.path.abspath(config_path))
    if not has_repository(config, storage):
        raise StorageError(
            f"{storage}: there is no repository here", hint="name the server's storage directory with -s"
        )
    _become_owner(storage)
    trust = TrustDirectory(read_locations().trust_dir)

    def verify(chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
        return verify_chain(chain, trust.anchors(), now=now)

    repository = open_repository(config, storage)
    try:
        audit = AuditLog(config.audit_log or os.path.join(storage, AUDIT_NAME))
        try:
            yield AdminDesk(repository, audit, verify=verify, clock=clock.now)
        finally:
            audit.close()
    finally:
        repository.close()


def _become_owner(storage: str) -> None:
    """Give up root for the owner of the directory.

    Raises:
        StorageError: That is not possible.
    """
    if os.geteuid() != 0:
        return
    try:
        facts = os.stat(storage)
        if facts.st_uid != 0:
            os.setgroups([])
            os.setgid(facts.st_gid)
            os.setuid(facts.st_uid)
    except OSError as error:
        raise StorageError(f"{storage}: cannot act as its owner: {error.strerror}") from error
