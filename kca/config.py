"""The configuration of the authority: one TOML file as a value; opens nothing but the file itself.

    policy = "kca"                               # the site's authorization policy

    [authority]
    certificate = "/etc/kca/cacert.pem"
    key = "/etc/kca/cakey.pem"                   # or "pkcs11:...", or "program:..."
    crl_urls = ["http://ca.example.org/kca.crl"]

    [realm."EXAMPLE.ORG"]
    base = "/O=Grid/OU=Example"

    [[realm."EXAMPLE.ORG".rule]]                 # without any rule: everybody with one component
    principal = "*"
    groups = ["grid"]
    lifetime = "12h"

    [realm."EXAMPLE.ORG".directory]
    servers = ["ldaps://ldap.example.org"]
    user_base = "ou=people,dc=example,dc=org"
    user_attribute = "uid"
    groups_from = ["memberOf"]

What is not a key is refused, with file, line and the nearest key. `kca-server`, `kca-admin` and the HTTP form read the
same file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping  # noqa: TC003  the binder looks the types of settings up
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from gsi import der
from gsi.authz.ldap_groups import By, DirectorySettings
from gsi.ca.general_names import uri
from gsi.errors import ConfigError, ParseError
from gsi.system.config import Table, bind, option, read_table
from gsi.transport.listening import split_address
from kca.limits import Limits
from kca.principal import RealmRules, check_realms, needs_directory

__all__ = [
    "DEFAULT_CONFIG",
    "AuthoritySettings",
    "HTTPSettings",
    "KCAConfig",
    "LookUp",
    "RealmDirectory",
    "RealmSettings",
    "ResponseMAC",
    "ServerSettings",
    "StoreSettings",
    "load_config",
]

DEFAULT_CONFIG: Final = "/etc/kca/kca.toml"
KCA_PORT: Final = 9878  # RFC 6717, IANA kca-service


class LookUp(StrEnum):
    """By what a directory knows principals."""

    NAME = "name"
    PRINCIPAL = "principal"


class ResponseMAC(StrEnum):
    """How a success is authenticated: what RFC 6717 says, what Heimdal 8 does, or as the request suggests."""

    AUTO = "auto"
    RFC = "rfc"
    HEIMDAL8 = "heimdal8"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritySettings:
    """The `[authority]` table.

    Attributes:
        certificate: The CA's certificate, PEM.
        key: Its key: a file, a `pkcs11:` URI, or `program:` and a command line.
        key_passphrase_file: What opens the key, in a file of mode 0600; empty where it is not locked.
        chain: CA certificates that are sent with each certificate, PEM: those above this one. The CA's own is sent by
            itself where it is no root. Empty for none.
        digest: What signatures are made with: sha256, sha384, sha512; empty for what goes with the key.
        policies: Certificate policies of all certificates, dotted.
        crl_urls: Where the revocation list lies; it goes into certificates and into the trust package.
        ocsp_urls: OCSP responders.
        issuer_urls: Where the CA's certificate lies.
        crl_lifetime: How long a revocation list holds.
    """

    certificate: str
    key: str
    key_passphrase_file: str = ""
    chain: str = ""
    digest: str = ""
    policies: tuple[str, ...] = ()
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()
    crl_lifetime: timedelta = option(timedelta(days=30), minimum=timedelta(hours=1), maximum=timedelta(days=400))

    def __post_init__(self) -> None:
        """Check what stands in certificates."""
        try:
            for url in (*self.crl_urls, *self.ocsp_urls, *self.issuer_urls):
                uri(url)
            for policy in self.policies:
                der.encode_oid(policy)
        except ParseError as error:
            raise ConfigError(error.message, hint=error.hint) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The `[store]` table.

    Attributes:
        directory: Where the books (SQLite) and the audit are; mode 0700, made if it is missing.
        database: A PostgreSQL URI without password, for several nodes; empty for SQLite.
        connections: How many connections to PostgreSQL each worker uses at most.
        patience: How long a failover of the database may take before requests fail.
        audit: The audit file; empty for `audit.log` in `directory`.
    """

    directory: str = "/var/lib/kca"
    database: str = ""
    connections: int = option(8, minimum=1, maximum=256)
    patience: timedelta = option(timedelta(0), minimum=timedelta(0), maximum=timedelta(minutes=5))
    audit: str = ""

    def __post_init__(self) -> None:
        """Refuse names that depend on where the program was started, and other databases."""
        for path in (self.directory, self.audit):
            if path and not os.path.isabs(path):
                raise ConfigError(f"{path!r} is no absolute path")
        if self.database and not self.database.startswith(("postgresql://", "postgres://")):
            raise ConfigError(
                "database: not the URI of a PostgreSQL database",
                hint="postgresql://USER@HOST/NAME?passfile=/path; without the key SQLite is used",
            )

    @property
    def audit_path(self) -> str:
        """The audit file."""
        return self.audit or os.path.join(self.directory, "audit.log")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The `[server]` table, of the datagram and stream form.

    Attributes:
        listen: Addresses with ports, for UDP and TCP; `*` is every address.
        keytab: The key of the service, made by the KDC's administrator.
        service: The first component of the service's principal.
        workers: Processes.
        threads: Of each, for UDP and for TCP; so many requests can wait for a directory, or share a sync of the disk.
        response_mac: How a success is authenticated. Clients of RFC 6717 and of Heimdal 8 do not understand one
            another's; the request tells which is there.
        requests_per_second: How many requests of one address are looked at in a second, by UDP and by TCP each; further
            ones are dropped.
        realm_tickets: Whether tickets for `krbtgt/REALM@REALM` are taken, whose key must then be in the keytab. Only
            for a KDC's own machine.
        metrics: ADDRESS:PORT, on the loopback interface, where monitors get `/metrics` and `/health`; empty for none.
    """

    listen: tuple[str, ...] = (f"*:{KCA_PORT}",)
    keytab: str = "/etc/kca/kca.keytab"
    service: str = "kca_service"
    workers: int = option(2, minimum=1, maximum=64)
    threads: int = option(12, minimum=1, maximum=256)
    response_mac: ResponseMAC = ResponseMAC.AUTO
    requests_per_second: int = option(50, minimum=1, maximum=100_000)
    realm_tickets: bool = False
    metrics: str = ""

    def __post_init__(self) -> None:
        """Check the addresses."""
        if not self.listen:
            raise ConfigError("listen: no address")
        for address in self.listen:
            split_address(address)


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPSettings:
    """The `[http]` table, of the form over HTTP with Negotiate.

    Attributes:
        listen: ADDRESS:PORT, `*` for every address; or the absolute path of a Unix socket behind a front end.
        certificate: The web server's certificate with its chain, PEM; empty where a front end ends TLS.
        key: Its key; empty where it is in the same file.
        keytab: The key of the service `HTTP/host`.
        hostname: The host in the service's name; empty for any in the keytab.
        require_channel_binding: Whether clients must bind their ticket to the TLS connection (tls-server-end-point).
            One that is sent is always checked.
        workers: Processes.
        threads: Of each.
        max_request_bytes: The longest body.
        front_end_certificate: The certificate of a front end that ends TLS, PEM, for the binding of its connections.
        address_header: The header in which the front end says where a request comes from; empty for none. It is
            believed on a Unix socket and on addresses of this machine alone.
        metrics: Whether `/metrics` tells monitors of this machine how much was issued and refused. Only where programs
            of this machine alone can connect; a front end must not pass it on.
    """

    listen: str = "127.0.0.1:9879"
    certificate: str = ""
    key: str = ""
    keytab: str = "/etc/kca/http.keytab"
    hostname: str = ""
    require_channel_binding: bool = False
    workers: int = option(2, minimum=1, maximum=64)
    threads: int = option(8, minimum=1, maximum=256)
    max_request_bytes: int = option(65536, minimum=1024, maximum=1 << 20)
    front_end_certificate: str = ""
    address_header: str = ""
    metrics: bool = False

    def __post_init__(self) -> None:
        """Check the place, and that a key does not stand alone."""
        if not self.listen.startswith("/"):
            split_address(self.listen)
        if self.key and not self.certificate:
            raise ConfigError("key needs certificate beside it")
        if self.certificate and self.front_end_certificate:
            raise ConfigError("certificate and front_end_certificate exclude each other: TLS ends here or there")
        if self.require_channel_binding and not (self.certificate or self.front_end_certificate):
            raise ConfigError("require_channel_binding needs certificate, or front_end_certificate")
        if self.metrics and not self.is_local:
            raise ConfigError("metrics: everybody could read them", hint="listen on 127.0.0.1")
        if self.address_header and not self.is_local:
            raise ConfigError("address_header: everybody could say where they come from", hint="listen on 127.0.0.1")

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can connect."""
        return self.listen.startswith("/") or split_address(self.listen)[0] in {"127.0.0.1", "::1", "localhost"}

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can listen: TLS ends here, or the last part of the way is this machine's."""
        return bool(self.certificate) or self.is_local


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmDirectory(DirectorySettings):
    """The `[realm.NAME.directory]` table: the settings of `gsi.authz.ldap_groups`, and by what principals are known.

    Attributes:
        look_up: `name` looks the first component up in `user_attribute` (`uid`), and principals with an instance are
            not known; `principal` looks the whole up (`krbPrincipalName`).
    """

    by: By = By.ACCOUNT
    look_up: LookUp = LookUp.NAME

    def __post_init__(self) -> None:
        """Refuse what is a matter of distinguished names."""
        DirectorySettings.__post_init__(self)
        if self.by is not By.ACCOUNT:
            raise ConfigError("principals are looked up by name, not by distinguished name", hint="leave `by` out")


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmSettings(RealmRules):
    """A `[realm.NAME]` table: the rules, and the directory that knows groups.

    Attributes:
        directory: The directory; None where no rule asks for groups.
    """

    directory: RealmDirectory | None = None

    def __post_init__(self) -> None:
        """Refuse rules that ask nobody."""
        RealmRules.__post_init__(self)
        if needs_directory(self) and self.directory is None:
            raise ConfigError("a rule asks for groups or an address, and no directory is named")


@dataclass(frozen=True, slots=True, kw_only=True)
class KCAConfig:
    """The whole file.

    Attributes:
        authority: The CA.
        realm: The realms, by name.
        limits: What holds for all certificates.
        store: Where books and audit are.
        server: The datagram and stream form.
        http: The form over HTTP.
        policy: The authorization policy: a name, or an absolute path. Where the named one does not exist, the one that
            comes with the program is used, which permits whatever rules and limits allow.
    """

    authority: AuthoritySettings
    realm: Mapping[str, RealmSettings]
    limits: Limits = field(default_factory=Limits)
    store: StoreSettings = field(default_factory=StoreSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    http: HTTPSettings = field(default_factory=HTTPSettings)
    policy: str = "kca"

    def __post_init__(self) -> None:
        """Refuse realms that could get one another's names."""
        check_realms(self.realm)


def load_config(path: str) -> KCAConfig:
    """Read the file.

    Raises:
        ConfigError: It cannot be read or used, or others than its owner can write it.
    """
    return bind(_table(path), KCAConfig)


def _table(path: str) -> Table:
    return read_table(path, check_writers=True)
