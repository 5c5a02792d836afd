"""The configuration of `myproxy-delegation`: one TOML file as a value; opens nothing but the file itself.

[http]
listen = "*:8446"
certificate = "/etc/grid-security/hostcert.pem"
key = "/etc/grid-security/hostkey.pem"

[store]
keys = ["/etc/myproxy/delegation.key"]       # openssl rand -base64 32

[services.fts]
identities = ["/O=Grid/CN=host/fts.example.org"]
users = ["/O=Grid/*"]
"""

from __future__ import annotations

import os
from collections.abc import Mapping  # noqa: TC003  the binder looks the types of settings up
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from gsi.errors import ConfigError
from gsi.system.config import option, read_config
from myproxy.patterns import parse_pattern

__all__ = [
    "DEFAULT_CONFIG",
    "DelegationConfig",
    "DelegationSettings",
    "HTTPSettings",
    "ServiceSettings",
    "StoreSettings",
    "TrustSettings",
    "load_config",
]

DEFAULT_CONFIG: Final = "/etc/myproxy/delegation.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPSettings:
    """The `[http]` table.

    Attributes:
        certificate: The server's certificate with its chain, PEM; of a CA that the clients know.
        key: Its key; empty where it is in the same file.
        listen: ADDRESS:PORT, `*` for every address.
        workers: Processes.
        threads: Of each.
        metrics: Whether `/metrics` tells numbers to monitors of this machine.
    """

    certificate: str
    key: str = ""
    listen: str = "*:8446"
    workers: int = option(2, minimum=1, maximum=64)
    threads: int = option(8, minimum=1, maximum=256)
    metrics: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The `[store]` table.

    Attributes:
        keys: Where the keys are that seal what is stored: the first seals, all open; a path, `credential:NAME` or
            `pkcs11:...`, as MyProxy's `server_key`.
        directory: Where the store (SQLite) and the audit are; mode 0700, made if it is missing.
        database: A PostgreSQL URI without password, for several nodes; empty for SQLite.
    """

    keys: tuple[str, ...]
    directory: str = "/var/lib/myproxy-delegation"
    database: str = ""

    def __post_init__(self) -> None:
        """Refuse to keep keys in clear, and names that depend on where the program was started."""
        if not self.keys:
            raise ConfigError("keys: private keys are not kept in clear", hint="openssl rand -base64 32 makes one")
        if not os.path.isabs(self.directory):
            raise ConfigError("directory must be an absolute path")
        if self.database and not self.database.startswith(("postgresql://", "postgres://")):
            raise ConfigError("database: not the URI of a PostgreSQL database")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings:
    """The `[trust]` table.

    Attributes:
        directory: The CAs by which clients are known; empty for the usual place.
        vomsdir: VOMS servers that are believed (`/etc/grid-security/vomsdir`); empty to look at no attributes.
    """

    directory: str = ""
    vomsdir: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationSettings:
    """The `[delegations]` table.

    Attributes:
        users: Who may delegate: patterns of names, as in MyProxy's configuration.
        longest: A proxy that lasts longer is not taken.
    """

    users: tuple[str, ...] = ("*",)
    longest: timedelta = option(timedelta(days=7), minimum=timedelta(minutes=5), maximum=timedelta(days=366))

    def __post_init__(self) -> None:
        """Refuse patterns that cannot be read."""
        for text in self.users:
            parse_pattern(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """A table `[services.NAME]`: who may fetch proxies of whom.

    Attributes:
        identities: The service's names: patterns.
        users: Whose proxies: patterns.
        lifetime: How long a proxy is at most that it fetches.
    """

    identities: tuple[str, ...]
    users: tuple[str, ...] = ("*",)
    lifetime: timedelta = option(timedelta(hours=12), minimum=timedelta(minutes=5), maximum=timedelta(days=366))

    def __post_init__(self) -> None:
        """Refuse patterns that cannot be read, and services that are everybody."""
        for text in (*self.identities, *self.users):
            parse_pattern(text)
        if not self.identities or "*" in self.identities:
            raise ConfigError("identities: whoever has a certificate could fetch everybody's proxies")


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationConfig:
    """The whole file.

    Attributes:
        http: The `[http]` table; the others likewise.
        services: Who may fetch proxies.
    """

    http: HTTPSettings
    store: StoreSettings
    trust: TrustSettings = field(default_factory=TrustSettings)
    delegations: DelegationSettings = field(default_factory=DelegationSettings)
    services: Mapping[str, ServiceSettings] = field(default_factory=dict)


def load_config(path: str) -> DelegationConfig:
    """Read the file.

    Raises:
        ConfigError: It cannot be read, or says what makes no sense.
    """
    return read_config(path, DelegationConfig, check_writers=True)
