"""The configuration of `gsi-authz-server`: a TOML file as a value; starts nothing.

    [server]
    socket = "/run/gsi-authz/socket"
    service_users = ["root"]            # who may ask for mappings
    workers = 2

    [files]
    renames = "checked"                 # or "disabled", with RNFR and RNTO in the server's disable_command_list

    [[services]]
    name = "file"                       # what the C service calls itself; "*" and "?" as in shells, first match counts
    policy = "gridftp"                  # a policy's name, or the path of its file

Without a file all of this holds, with the policies "gridftp" for `file` and "gram" for `jobmanager*`, where they exist.
Every key may be left out; one that is not known is refused.
"""

from __future__ import annotations

import fnmatch
import os
import pwd
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.fileops import FileRules
from gsi.errors import ConfigError
from gsi.system.config import option, read_config
from gsi.system.environ import authz_policy_path

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DEFAULT_CONFIG",
    "DEFAULT_SOCKET",
    "CalloutConfig",
    "ServerSettings",
    "ServicePolicy",
    "load_config",
    "policy_path",
    "uids_of",
]

DEFAULT_SOCKET: Final = "/run/gsi-authz/socket"
DEFAULT_CONFIG: Final = "/etc/grid-security/gsi-authz-server.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The `[server]` table. Times are for one worker's view of one connection.

    Attributes:
        socket: Where to listen. Its directory may be writable by nobody else.
        socket_mode: Its mode: mapped users must be able to connect, so that 0o666 is the default.
        service_users: Accounts whose processes may ask for mappings: those the services run as before they take on
            a user's identity.
        workers: Processes.
        connections: Open connections of a worker, a session is one, of all uids that are not the services' own. When
            there are so many, whoever has fewer than another gets the place of one of its that waits for nothing.
        per_user: Of these, how many of one uid.
        service_connections: Open connections of a worker of the uids in `service_users`, counted apart.
        request_time: From the first byte of a question to its last, and for connections that have not asked yet.
        idle_time: How long a session may ask nothing. The library opens a new one when it needs to.
        drain_time: For questions under way after SIGTERM.
        threads: Questions in a worker that may wait (for a directory, a pool, a disk) at once; of users.
        user_threads: Of these, how many of one uid; uids come in turn.
        service_threads: The same for the uids in `service_users`, apart from all others.
        job_owner_manages: Whether the owner of a job may always query and cancel it.
        host: This host's name for policies; empty for what the system calls it.
        audit: The audit file; empty for none.
    """

    socket: str = DEFAULT_SOCKET
    socket_mode: int = option(0o666, minimum=0, maximum=0o777)
    service_users: tuple[str, ...] = ("root",)
    workers: int = option(2, minimum=1, maximum=64)
    connections: int = option(4096, minimum=1, maximum=1 << 16)
    per_user: int = option(1024, minimum=1, maximum=1 << 16)
    service_connections: int = option(4096, minimum=1, maximum=1 << 16)
    request_time: timedelta = option(timedelta(seconds=10), minimum=timedelta(milliseconds=100))
    idle_time: timedelta = option(timedelta(hours=12), minimum=timedelta(seconds=1))
    drain_time: timedelta = option(timedelta(seconds=10), minimum=timedelta(0))
    threads: int = option(16, minimum=1, maximum=256)
    user_threads: int = option(4, minimum=1, maximum=256)
    service_threads: int = option(8, minimum=1, maximum=256)
    job_owner_manages: bool = True
    host: str = ""
    audit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePolicy:
    """One `[[services]]` entry: which policy judges a C service.

    Attributes:
        name: The service's own word, with `*` and `?`.
        policy: The name of a policy, or the absolute path of its file.
    """

    name: str
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalloutConfig:
    """The whole file."""

    server: ServerSettings = field(default_factory=ServerSettings)
    files: FileRules = field(default_factory=FileRules)
    services: tuple[ServicePolicy, ...] = ()

    def policy_for(self, service: str) -> str | None:
        """Return the policy of a service, or None: then everything of it is refused."""
        for entry in self.services or _SERVICES:
            if fnmatch.fnmatchcase(service, entry.name):
                return entry.policy
        return None

    def policies(self, *, every: bool = False) -> tuple[str, ...]:
        """Return the policies to load; of those that nobody configured the ones that are there, or with `every` all."""
        if self.services:
            return tuple(dict.fromkeys(entry.policy for entry in self.services))
        return tuple(entry.policy for entry in _SERVICES if every or os.path.exists(policy_path(entry.policy)))


_SERVICES: Final = (ServicePolicy(name="file", policy="gridftp"), ServicePolicy(name="jobmanager*", policy="gram"))


def policy_path(policy: str) -> str:
    """Return the file of a policy; a path stands for itself."""
    return authz_policy_path(policy)


def load_config(path: str) -> CalloutConfig:
    """Read the file.

    Raises:
        ConfigError: It cannot be read or used.
    """
    return read_config(path, CalloutConfig, check_writers=True)


def uids_of(users: Iterable[str], path: str | None = None) -> frozenset[int]:
    """Return the uids of accounts; a number stands for itself.

    Raises:
        ConfigError: There is no such account.
    """
    found = set()
    for user in users:
        if user.isascii() and user.isdigit():
            found.add(int(user))
            continue
        try:
            found.add(pwd.getpwnam(user).pw_uid)
        except KeyError:
            raise ConfigError(f"service_users: there is no account {user!r}", path=path) from None
    return frozenset(found)
