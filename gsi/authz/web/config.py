"""The configuration of `gsi-authz-http`, the endpoint for front ends: a TOML file as a value; starts nothing.

    [server]
    listen = "/run/gsi-authz/http"       # a Unix socket; or "127.0.0.1:7513", with a secret
    workers = 2

    [front_end]
    certificate_header = "X-SSL-Client-Cert"

    [requests]
    policy = "web"
    accounts = true                      # the front end carries out the account that a permit names

    [requests.actions]
    GET = "read"

Every key may be left out; one that is not known is refused.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # the binder looks at it
from dataclasses import dataclass, field
from typing import Final

from gsi.authz.decision import Account, PoolLease
from gsi.authz.web.gate import Gate, open_gate
from gsi.authz.web.mapping import DEFAULT_ACTIONS, RequestMapping
from gsi.authz.web.peer import FrontEnd
from gsi.authz.web.subrequest import SubrequestApplication
from gsi.errors import ConfigError
from gsi.secret import Passphrase
from gsi.system.audit import AuditLog
from gsi.system.config import option, read_config
from gsi.system.files import read_private
from gsi.transport.listening import split_address

__all__ = ["DEFAULT_CONFIG", "DEFAULT_FRONT_END", "DEFAULT_LISTEN", "EndpointConfig", "load_config", "make_application"]

DEFAULT_CONFIG: Final = "/etc/grid-security/gsi-authz-http.toml"
DEFAULT_LISTEN: Final = "/run/gsi-authz/http"
_MAX_SECRET_BYTES: Final = 4096
"""A secret has 64 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The `[server]` table.

    Attributes:
        listen: A Unix socket's absolute path, or ADDRESS:PORT.
        socket_mode: The mode of the Unix socket: whoever can connect says who its clients are.
        workers: Processes.
        threads: Of each; so many questions can wait for a directory or a disk.
        audit: The audit file, or empty for none.
    """

    listen: str = DEFAULT_LISTEN
    socket_mode: int = option(0o660, minimum=0, maximum=0o777)
    workers: int = option(2, minimum=1, maximum=64)
    threads: int = option(8, minimum=1, maximum=256)
    audit: str = ""

    def __post_init__(self) -> None:
        """Check the place."""
        if not self.is_unix:
            split_address(self.listen)

    @property
    def is_unix(self) -> bool:
        """Whether it listens on a Unix socket."""
        return self.listen.startswith("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndSettings:
    """The `[front_end]` table: as `FrontEnd`, the secret in a file of mode 0600."""

    certificate_header: str = "X-SSL-Client-Cert"
    chain_header: str = "Client-Cert-Chain"
    address_header: str = "X-Real-IP"
    addresses: tuple[str, ...] = ("127.0.0.1", "::1")
    secret_file: str = ""
    secret_header: str = "X-Front-End-Secret"
    only_own_headers: bool = True


DEFAULT_FRONT_END: Final = FrontEndSettings()


def _default_actions() -> Mapping[str, str]:
    return DEFAULT_ACTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettings:
    """The `[requests]` table.

    Attributes:
        policy: The name of a policy, or the absolute path of its file.
        service: What rules know the service as.
        service_type: The type of service that actions belong to.
        base_url: What stands before every path in rules, or empty.
        accounts: Whether the front end carries out the account that a permit names. If not, such a permit refuses.
        actions: The action of each method.
    """

    policy: str = "web"
    service: str = "web"
    service_type: str = "http"
    base_url: str = ""
    accounts: bool = False
    actions: Mapping[str, str] = field(default_factory=_default_actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """The whole file."""

    server: ServerSettings = field(default_factory=ServerSettings)
    front_end: FrontEndSettings = field(default_factory=FrontEndSettings)
    requests: RequestSettings = field(default_factory=RequestSettings)


def load_config(path: str) -> EndpointConfig:
    """Read the file.

    Raises:
        ConfigError: It cannot be read or used.
    """
    return read_config(path, EndpointConfig, check_writers=True)


def make_application(config: EndpointConfig) -> SubrequestApplication:
    """Open policy, trust directory and audit, and return the endpoint. Called in each worker.

    Raises:
        ConfigError: Something cannot be used; or any user of the machine could pass for the front end.
        GridError: The secret or the audit file cannot be used.
    """
    front = config.front_end
    is_unix = config.server.is_unix
    if not is_unix and not front.secret_file:
        raise ConfigError(
            "on a network address the front end needs a secret: every user of this machine could pass for it",
            hint="secret_file in [front_end], or a Unix socket",
        )
    front_end = FrontEnd(
        certificate_header=front.certificate_header,
        chain_header=front.chain_header,
        addresses=() if is_unix else front.addresses,
        unix_socket=is_unix,
        secret=_read_secret(front.secret_file) if front.secret_file else None,
        secret_header=front.secret_header,
        address_header=front.address_header,
    )
    return SubrequestApplication(_make_gate(config), front_end, only_own_headers=front.only_own_headers)


def _make_gate(config: EndpointConfig) -> Gate:
    settings = config.requests
    return open_gate(
        settings.service,
        policy=settings.policy,
        mapping=RequestMapping(
            actions=settings.actions, service_type=settings.service_type, base_url=settings.base_url
        ),
        understands=(Account, PoolLease) if settings.accounts else (),
        audit=AuditLog(config.server.audit) if config.server.audit else None,
    )


def _read_secret(path: str) -> Passphrase:
    return Passphrase(read_private(path, max_bytes=_MAX_SECRET_BYTES).strip())
