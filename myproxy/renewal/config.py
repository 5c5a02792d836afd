"""The configuration of the renewal agent: one TOML file, and a directory of further ones, as a value.

    state = "/var/lib/myproxy-renewd"

    [source.grid]
    kind = "myproxy"
    server = "myproxy.example.org"
    certificate = "/etc/grid-security/hostcert.pem"      # who the agent is
    key = "/etc/grid-security/hostkey.pem"

    [credential.alice]
    source = "grid"
    path = "/var/lib/jobs/alice.pem"
    username = "alice"

    [tell]
    hook = ["/usr/local/sbin/credential-news"]

What is not a key is refused, with file, line and the nearest key. Nothing but the configuration is opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping  # noqa: TC003  the binder looks the types of settings up
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from gsi.errors import ConfigError
from gsi.keys import KeyType
from gsi.system.config import option, read_config

__all__ = [
    "DEFAULT_CONFIG",
    "Entry",
    "Kind",
    "MailSettings",
    "MailTLS",
    "Proof",
    "RenewalConfig",
    "SourceSettings",
    "TellSettings",
    "WebhookSettings",
    "load_config",
]

DEFAULT_CONFIG: Final = "/etc/myproxy/renewd.toml"
MAX_FILES: Final = 10_000
"""Files in the directory of entries: more than any site has programs that put one there."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}\Z")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,60}\Z")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)


class Kind(StrEnum):
    """What a source is."""

    MYPROXY = "myproxy"
    KCA = "kca"


class Proof(StrEnum):
    """How the right to a credential of a MyProxy server is proved."""

    RENEWAL = "renewal"
    """By the agent's own certificate, and by the key of the credential to be renewed."""
    TRUST = "trust"
    """By the agent's own certificate alone (trusted retrieval, or a certificate authority that admits it)."""
    PASSPHRASE = "passphrase"
    """By a pass phrase in a file."""


class MailTLS(StrEnum):
    """How mail is protected on its way to the server."""

    NO = "no"
    STARTTLS = "starttls"
    TLS = "tls"


def _absolute(what: str, path: str) -> None:
    if path and not os.path.isabs(path):
        raise ConfigError(f"{what} must be an absolute path, not {path!r}")


def _program(what: str, words: tuple[str, ...]) -> None:
    if words:
        _absolute(f"the program of {what}", words[0] or ".")


def _check_wish(text: str) -> None:
    from gsi.voms.wishes import parse_wish

    try:
        parse_wish(text)
    except ValueError as error:
        raise ConfigError(f"voms: {error}") from error
    if text.startswith("-"):
        raise ConfigError(f"voms: {text!r} begins with a dash")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """A `[source.NAME]` table.

    Attributes:
        kind: What it is.
        server: MyProxy: host[:port], several with commas.
        server_dn: MyProxy: the name that the server must have; empty goes by the host name.
        certificate: MyProxy: the agent's own certificate, with its chain; empty for none.
        key: MyProxy: its key; empty where it is in the same file.
        hosts: KCA: the services; none looks for them as `kx509` does.
        realm: KCA: the realm; empty is that of the tickets.
        keytab: KCA: a keytab; empty is the system's.
        timeout: How long one renewal may wait for the source.
    """

    kind: Kind = Kind.MYPROXY
    server: str = ""
    server_dn: str = ""
    certificate: str = ""
    key: str = ""
    hosts: tuple[str, ...] = ()
    realm: str = ""
    keytab: str = ""
    timeout: timedelta = option(timedelta(seconds=30), minimum=timedelta(seconds=1), maximum=timedelta(minutes=10))

    def __post_init__(self) -> None:
        """Refuse settings of the other kind."""
        if self.kind is Kind.MYPROXY:
            if not self.server:
                raise ConfigError("a source of the kind myproxy needs server")
            from myproxy.client import ServerAddress

            ServerAddress.parse(self.server)
        alien = (
            ("hosts", "realm", "keytab") if self.kind is Kind.MYPROXY else ("server", "server_dn", "certificate", "key")
        )
        for name in alien:
            if getattr(self, name):
                raise ConfigError(f"{name} means nothing for a source of the kind {self.kind}")
        if self.key and not self.certificate:
            raise ConfigError("key needs certificate beside it")
        for name in ("certificate", "key", "keytab"):
            _absolute(name, getattr(self, name))
        if any(host.startswith("-") for host in self.hosts) or self.realm.startswith("-"):
            raise ConfigError("hosts and realm do not begin with a dash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A `[credential.NAME]` table.

    Attributes:
        source: The name of its source.
        path: The file.
        key: The file of its key where that is another one; the key is then kept, and only the certificate is renewed.
        username: MyProxy: the account.
        credential_name: MyProxy: which of its credentials; empty is the unnamed one.
        proof: MyProxy: how the right to it is proved.
        passphrase_file: MyProxy: where the pass phrase is, mode 0600.
        principal: KCA: whose ticket, from the keytab.
        lifetime: MyProxy: what is asked for; servers give less where they want.
        voms: MyProxy: whose attributes a proxy gets at each renewal, as `voms-proxy-init -voms` has it.
        key_type: The kind of a new key.
        identity: Whose the credential must be; empty is that of the file.
        create: Whether it is fetched where there is no file; else a file that was removed stays so.
        warn: How long before the end failures are told; None is a quarter of the life.
        after: A program to run after each renewal, with its arguments.
        name: The name of the table; not a key of it.
    """

    source: str
    path: str
    key: str = ""
    username: str = ""
    credential_name: str = ""
    proof: Proof = Proof.RENEWAL
    passphrase_file: str = ""
    principal: str = ""
    lifetime: timedelta = option(timedelta(hours=12), minimum=_MINUTE, maximum=timedelta(days=400))
    voms: tuple[str, ...] = ()
    key_type: KeyType = KeyType.RSA
    identity: str = ""
    create: bool = False
    warn: timedelta | None = None
    after: tuple[str, ...] = ()
    name: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("path", "key", "passphrase_file"):
            _absolute(name, getattr(self, name))
        if not self.path or self.path.endswith("/"):
            raise ConfigError("path names no file")
        if self.key == self.path:
            raise ConfigError("key is for a file other than path", hint="leave it out")
        if self.proof is Proof.PASSPHRASE and not self.passphrase_file:
            raise ConfigError('proof = "passphrase" needs passphrase_file')
        if self.passphrase_file and self.proof is not Proof.PASSPHRASE:
            raise ConfigError('passphrase_file needs proof = "passphrase"')
        if self.create and not self.identity:
            raise ConfigError(
                "create needs identity: without a file nothing else says whose credential is expected",
                hint='identity = "/O=Grid/CN=..."',
            )
        if self.create and self.key:
            raise ConfigError("create makes one file, and key is for a key that is there already")
        if self.voms and self.key:
            raise ConfigError("voms is for proxies, whose keys are in the same file", hint="leave key out")
        for wish in self.voms:
            _check_wish(wish)
        _program("after", self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """The `[tell.mail]` table.

    Attributes:
        to: Who is told.
        sender: Whom the mail is from.
        server: HOST:PORT that takes the mail; empty uses `sendmail`.
        sendmail: The program that takes it else.
        tls: How the server is protected.
        username: Who the agent is to the server; empty for nobody.
        password_file: Where the password is, mode 0600.
    """

    to: tuple[str, ...]
    sender: str
    server: str = ""
    sendmail: str = "/usr/sbin/sendmail"
    tls: MailTLS = MailTLS.NO
    username: str = ""
    password_file: str = ""

    def __post_init__(self) -> None:
        """Refuse addresses that are none, and passwords in the open."""
        if not self.to:
            raise ConfigError("to names nobody")
        for address in (*self.to, self.sender):
            if not address.isprintable() or " " in address or address.startswith("-") or "@" not in address:
                raise ConfigError(f"{address!r} is no mail address")
        if self.server:
            from gsi.transport.stream import parse_hosts

            host = parse_hosts(self.server, default_port=25)[0].host
            if self.username and self.tls is MailTLS.NO and host not in _LOOPBACK:
                raise ConfigError("without TLS everybody on the way could read the password", hint='tls = "starttls"')
        _absolute("sendmail", self.sendmail)
        _absolute("password_file", self.password_file)
        if bool(self.username) != bool(self.password_file):
            raise ConfigError("username and password_file belong together")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """The `[tell.webhook]` table.

    Attributes:
        url: Where to post to; https, or http on this machine.
        secret_file: What the header says is in this file, mode 0600; empty for no header.
        header: The header's name.
        ca_file: The CAs by which the server is known, PEM; empty for the system's.
        timeout: How long one try may take.
    """

    url: str
    secret_file: str = ""
    header: str = "Authorization"
    ca_file: str = ""
    timeout: timedelta = option(timedelta(seconds=10), minimum=timedelta(seconds=1), maximum=timedelta(minutes=2))

    def __post_init__(self) -> None:
        """Refuse what would show the secret to others."""
        try:
            parts = urlsplit(self.url)
            host, _port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ConfigError(f"url: {error}") from error
        if not self.url.isascii() or not self.url.isprintable() or " " in self.url or not host or parts.username:
            raise ConfigError("url must be an https URL without a user name")
        if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
            raise ConfigError("url must begin with https://, unless it is on this machine")
        if not _HEADER.match(self.header):
            raise ConfigError("header is no name of a header")
        _absolute("secret_file", self.secret_file)
        _absolute("ca_file", self.ca_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class TellSettings:
    """The `[tell]` table: who hears of what needs a person.

    Attributes:
        hook: A program with its arguments; none for no program.
        mail: Mail; None for none.
        webhook: A web service; None for none.
    """

    hook: tuple[str, ...] = ()
    mail: MailSettings | None = None
    webhook: WebhookSettings | None = None

    def __post_init__(self) -> None:
        """Refuse programs that depend on a search path."""
        _program("hook", self.hook)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalConfig:
    """The whole configuration.

    Attributes:
        source: The sources by name.
        credential: The entries by name, those of the directory included.
        state: Where the agent keeps its notes; mode 0700, made if it is missing.
        entries: A directory with further files (`*.toml`) of `[credential.NAME]` tables; empty for none.
        trust: The CAs; empty is X509_CERT_DIR or where they usually are.
        audit: A file for one line per renewal, chained; empty for none.
        workers: How many renewals run at the same time.
        look: How often files are looked at that others may have replaced or removed.
        metrics: ADDRESS:PORT of the loopback interface where monitors are answered; empty for nowhere.
        tell: Who is told.
    """

    source: Mapping[str, SourceSettings] = field(default_factory=dict)
    credential: Mapping[str, Entry] = field(default_factory=dict)
    state: str = "/var/lib/myproxy-renewd"
    entries: str = ""
    trust: str = ""
    audit: str = ""
    workers: int = option(8, minimum=1, maximum=64)
    look: timedelta = option(_MINUTE, minimum=timedelta(seconds=1), maximum=_HOUR)
    metrics: str = ""
    tell: TellSettings = field(default_factory=TellSettings)

    def __post_init__(self) -> None:
        """Refuse paths that depend on where the agent was started."""
        for name in ("state", "entries", "trust", "audit"):
            _absolute(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class _EntryFile:
    credential: Mapping[str, Entry] = field(default_factory=dict)


def load_config(path: str) -> RenewalConfig:
    """Return what a configuration file, and the directory of entries that it names, say.

    Raises:
        ConfigError: A file cannot be read or used, an entry names no source, or two entries have one name or one file.
    """
    config = read_config(path, RenewalConfig, check_writers=True)
    found: dict[str, Entry] = {}
    files: dict[str, str] = {}
    for where, entries in [(path, config.credential), *_read_directory(config.entries)]:
        for name, entry in entries.items():
            _check(where, name, entry, config)
            if name in found:
                raise ConfigError(f"there is another entry of the name {name!r}", path=where)
            for file in (entry.path, entry.key):
                other = files.setdefault(os.path.normpath(file), name) if file else name
                if other != name:
                    raise ConfigError(
                        f"[credential.{name}] and [credential.{other}] have the same file {file}", path=where
                    )
            object.__setattr__(entry, "name", name)
            found[name] = entry
    return replace(config, credential=found)


def _check(where: str, name: str, entry: Entry, config: RenewalConfig) -> None:
    def refuse(message: str) -> None:
        raise ConfigError(f"[credential.{name}]: {message}", path=where)

    if not _NAME.match(name):
        refuse("a name has letters, digits and . _ @ + - in it, 100 at most")
    source = config.source.get(entry.source)
    if source is None:
        refuse(f"there is no [source.{entry.source}]")
    elif source.kind is Kind.KCA:
        if not entry.principal or entry.principal.startswith("-"):
            refuse("a source of the kind kca needs principal")
        if entry.username or entry.credential_name or entry.passphrase_file or entry.voms:
            refuse("username, credential_name, passphrase_file and voms are for sources of the kind myproxy")
    elif not entry.username or entry.principal:
        refuse("a source of the kind myproxy needs username, and no principal")
    elif entry.proof is not Proof.PASSPHRASE and not source.certificate:
        refuse(f'proof = "{entry.proof}" needs a certificate in [source.{entry.source}]')
    elif entry.proof is Proof.RENEWAL and entry.create:
        refuse('what is not there cannot prove anything: create needs proof = "trust" or "passphrase"')


def _read_directory(directory: str) -> list[tuple[str, Mapping[str, Entry]]]:
    if not directory:
        return []
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".toml") and not name.startswith("."))
    except OSError as error:
        raise ConfigError(f"cannot be listed: {error.strerror}", path=directory) from error
    if len(names) > MAX_FILES:
        raise ConfigError(f"more than {MAX_FILES} files", path=directory)
    paths = [os.path.join(directory, name) for name in names]
    return [(path, read_config(path, _EntryFile, check_writers=True).credential) for path in paths]
