"""The configuration of the portal: one TOML file as a value; opens nothing but the file itself.

    names = ["portal.example.org"]               # what browsers call it; requests for other names are refused
    server = "myproxy.example.org"               # host[:port], several with commas

    [http]
    listen = "*:443"
    certificate = "/etc/grid-security/hostcert.pem"
    key = "/etc/grid-security/hostkey.pem"

    [logon]
    one_time_codes = "optional"                  # "no", "optional", "required"; the server is who insists

    [session]
    idle = "30m"
    longest = "8h"

What is not a key is refused, with file, line and the nearest key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping  # noqa: TC003  the binder looks the types of settings up
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from gsi.errors import ConfigError
from gsi.system.config import option, read_config
from gsi.transport.listening import split_address
from myproxy.portal.registered import ApplicationSettings, check_names

__all__ = [
    "DEFAULT_CONFIG",
    "AdminSettings",
    "CodesSettings",
    "HTTPSettings",
    "Insistence",
    "KerberosSettings",
    "LogonSettings",
    "OIDCSettings",
    "OwnSettings",
    "PortalConfig",
    "SessionSettings",
    "StoreSettings",
    "TrustSettings",
    "load_config",
]

DEFAULT_CONFIG: Final = "/etc/myproxy/portal.toml"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?\Z")
_HOUR: Final = timedelta(hours=1)


class Insistence(StrEnum):
    """Whether a one-time code belongs to a logon."""

    NO = "no"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPSettings:
    """The `[http]` table.

    Attributes:
        listen: ADDRESS:PORT, `*` for every address.
        certificate: The web server's certificate with its chain, PEM; empty where a front end ends TLS.
        key: Its key; empty where it is in the same file.
        workers: Processes.
        threads: Of each. A half of them may wait for the MyProxy server, a quarter for the provider and an eighth for
            each service of further pages.
        address_header: The header in which a front end says where a request comes from; empty for none. It is believed
            on addresses of this machine alone.
        metrics: Whether `/metrics` tells numbers to monitors.
    """

    listen: str = "127.0.0.1:8443"
    certificate: str = ""
    key: str = ""
    workers: int = option(2, minimum=1, maximum=64)
    threads: int = option(16, minimum=4, maximum=256)
    address_header: str = ""
    metrics: bool = False

    def __post_init__(self) -> None:
        """Insist on TLS where others are on the way."""
        host = split_address(self.listen)[0]
        if self.key and not self.certificate:
            raise ConfigError("key needs certificate beside it")
        if host in {"127.0.0.1", "::1", "localhost"}:
            return
        if not self.certificate:
            raise ConfigError(
                "without TLS everybody on the way could read pass phrases",
                hint="name a certificate, or listen on 127.0.0.1 behind a front end",
            )
        if self.address_header:
            raise ConfigError("address_header: everybody could say where they come from", hint="listen on 127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The `[store]` table.

    Attributes:
        directory: Where sessions (SQLite) and the audit are; mode 0700, made if it is missing.
        database: A PostgreSQL URI without password, for several nodes; empty for SQLite.
        connections: How many connections to PostgreSQL each worker uses at most.
        patience: How long a failover of the database may take before requests fail.
        activity: How long what happened is shown to its user.
    """

    directory: str = "/var/lib/myproxy-portal"
    database: str = ""
    connections: int = option(8, minimum=1, maximum=256)
    patience: timedelta = option(timedelta(0), minimum=timedelta(0), maximum=timedelta(minutes=5))
    activity: timedelta = option(timedelta(days=90), minimum=_HOUR, maximum=timedelta(days=3650))

    def __post_init__(self) -> None:
        """Refuse names that depend on where the program was started, and other databases."""
        if not os.path.isabs(self.directory):
            raise ConfigError("directory must be an absolute path")
        if self.database and not self.database.startswith(("postgresql://", "postgres://")):
            raise ConfigError(
                "database: not the URI of a PostgreSQL database",
                hint="postgresql://USER@HOST/NAME?passfile=/path; without the key SQLite is used",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings:
    """The `[trust]` table.

    Attributes:
        directory: The CAs by which the server is known; empty for the usual place.
        server_dn: The name that the server must have; empty goes by its host name.
    """

    directory: str = ""
    server_dn: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """The `[session]` table.

    Attributes:
        idle: A session ends after so long without a request.
        longest: It ends then whatever happens.
        proxy_lifetime: How long proxies can be that need no further pass phrase.
    """

    idle: timedelta = option(timedelta(minutes=30), minimum=timedelta(minutes=1), maximum=timedelta(hours=12))
    longest: timedelta = option(timedelta(hours=8), minimum=timedelta(minutes=5), maximum=timedelta(hours=24))
    proxy_lifetime: timedelta = option(timedelta(hours=12), minimum=timedelta(minutes=5), maximum=timedelta(days=11))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogonSettings:
    """The `[logon]` table.

    Attributes:
        one_time_codes: Whether the form has a field for a code. The server judges it, and is who insists.
        free_tries: Wrong tries on an account from a network before some are refused; fewer than the server's.
        first_time: Whether a credential can be stored without a session, by whoever has its certificate and key, as
            with `myproxy-init`: who has nothing stored cannot log on.
        terminal_interval: How often a terminal asks that waits for its user, in whole seconds.
    """

    one_time_codes: Insistence = Insistence.OPTIONAL
    free_tries: int = option(4, minimum=1, maximum=100)
    first_time: bool = False
    terminal_interval: timedelta = option(
        timedelta(seconds=2), minimum=timedelta(seconds=1), maximum=timedelta(minutes=1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CodesSettings:
    """The `[codes]` table: setting up authenticators, where the server's store is at hand.

    Attributes:
        server_config: The configuration of the server, which names its store's database and the key of the secrets;
            empty where the store is elsewhere: then users cannot set up authenticators here.
        storage: The server's storage directory.
        issuer: What authenticators show beside the account.
    """

    server_config: str = ""
    storage: str = "/var/lib/myproxy"
    issuer: str = "MyProxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSettings:
    """The `[own]` table: the portal's credential.

    Attributes:
        certificate: The certificate with its chain, PEM; the server names its subject in `trusted_retrievers`, for
            users who prove themselves to somebody else than the server, or in `trusted_front_ends`. Empty where the
            portal is a stranger to the server.
        key: Its key; empty where it is in the same file.
        front_end: Whether the server names it in `trusted_front_ends`: the portal then says where users are who log on,
            and the server counts wrong tries by that.
    """

    certificate: str = ""
    key: str = ""
    front_end: bool = False

    def __post_init__(self) -> None:
        """Insist on a certificate where the server is to know it."""
        if self.front_end and not self.certificate:
            raise ConfigError("front_end needs certificate beside it")


@dataclass(frozen=True, slots=True, kw_only=True)
class OIDCSettings:
    """The `[oidc]` table.

    Attributes:
        issuer: The provider, as it calls itself; empty for none.
        client_id: What it calls the portal.
        client_secret_file: A file of mode 0600 with the secret that it has given; empty for a public client.
        claim: Which claim of the ID token is the account. It must be one that users cannot choose.
        scope: What is asked for.
        required: Claims that the ID token must have, such as `acr`: a value, or one of a list.
        title: What stands on the button.
    """

    issuer: str = ""
    client_id: str = ""
    client_secret_file: str = ""
    claim: str = "preferred_username"
    scope: str = "openid profile"
    required: Mapping[str, str] = field(default_factory=dict)
    title: str = "Log on with your institution"

    def __post_init__(self) -> None:
        """Insist on TLS, and on what the flow needs."""
        if self.issuer and not (self.issuer.startswith("https://") and self.client_id):
            raise ConfigError("issuer must begin with https://, and client_id stand beside it")
        if self.issuer and "openid" not in self.scope.split():
            raise ConfigError("scope: without openid there is no ID token")


@dataclass(frozen=True, slots=True, kw_only=True)
class KerberosSettings:
    """The `[kerberos]` table.

    Attributes:
        keytab: The key of the service `HTTP/host`; empty where Kerberos is not used.
        realms: Whose principals of one component are accounts.
        title: What stands on the button.
    """

    keytab: str = ""
    realms: tuple[str, ...] = ()
    title: str = "Log on with Kerberos"

    def __post_init__(self) -> None:
        """Insist on a realm."""
        if self.keytab and not self.realms:
            raise ConfigError("keytab needs realms beside it")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """The `[admin]` table: pages for the site's administrators.

    Attributes:
        identities: Who they are: the names of their certificates, one-line form; empty for no such pages.
        second_factor: Whether they need a one-time code at their logon, where the site has codes.
        monitors: Services by name, and where their monitors answer: `http://127.0.0.1:7513`.
        audits: Audit files by name; the portal's user has to be able to read them.
        server_config: The configuration of the server, where its store is at hand: what expires is shown.
        storage: The server's storage directory.
    """

    identities: tuple[str, ...] = ()
    second_factor: bool = True
    monitors: Mapping[str, str] = field(default_factory=dict)
    audits: Mapping[str, str] = field(default_factory=dict)
    server_config: str = ""
    storage: str = "/var/lib/myproxy"

    def __post_init__(self) -> None:
        """Refuse what nobody could be, and what could not be asked."""
        for name in self.identities:
            if not name.startswith("/"):
                raise ConfigError(f"identities: {name!r} is no name", hint="like /O=Grid/CN=Alice Example")
        for name, url in self.monitors.items():
            if not url.startswith(("http://", "https://")):
                raise ConfigError(f"monitors.{name}: {url!r} is no URL")
        for name, path in self.audits.items():
            if not os.path.isabs(path):
                raise ConfigError(f"audits.{name} must be an absolute path")


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalConfig:
    """The whole file.

    Attributes:
        names: What browsers call the portal: host, or host:port where the port is not 443. The first is shown.
        server: The MyProxy server, `host[:port],...`.
        title: What stands at the top of every page.
        http: The `[http]` table; the others likewise.
        pages: What pages of other packages are to know, by the names of their entry points: `[pages.cas]`.
        applications: Web applications that may ask users for proxies, by their identifiers: `[applications.ID]`.
    """

    names: tuple[str, ...]
    server: str
    title: str = "MyProxy"
    http: HTTPSettings = field(default_factory=HTTPSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    trust: TrustSettings = field(default_factory=TrustSettings)
    session: SessionSettings = field(default_factory=SessionSettings)
    logon: LogonSettings = field(default_factory=LogonSettings)
    codes: CodesSettings = field(default_factory=CodesSettings)
    own: OwnSettings = field(default_factory=OwnSettings)
    oidc: OIDCSettings = field(default_factory=OIDCSettings)
    kerberos: KerberosSettings = field(default_factory=KerberosSettings)
    admin: AdminSettings = field(default_factory=AdminSettings)
    pages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    applications: Mapping[str, ApplicationSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what requests are compared with."""
        if not self.names:
            raise ConfigError("names: the portal needs one")
        if (self.oidc.issuer or self.kerberos.keytab) and not self.own.certificate:
            raise ConfigError("[oidc] and [kerberos] need [own] certificate, which the server trusts")
        check_names(self.applications)
        for name in self.names:
            if not _NAME.match(name):
                raise ConfigError(f"names: {name!r} is no host name", hint="lower case, with :PORT if it is not 443")


def load_config(path: str) -> PortalConfig:
    """Read the file.

    Raises:
        ConfigError: It cannot be read, or says what makes no sense.
    """
    return read_config(path, PortalConfig, check_writers=True)
