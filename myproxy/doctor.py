"""What `gsi-doctor` looks at of a MyProxy server, of the portal, the renewal agent and the delegation service.

LOOKS                                              # named in the entry-point group gsi.doctor

Nothing is changed. The agent and the delegation service have files of their own for it, beside their code.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gsi.doctor.configs import read_config
from gsi.doctor.owner import as_owner
from gsi.doctor.parts import (
    look_at_audit,
    look_at_credential,
    look_at_database,
    look_at_directory,
    look_at_private_file,
    settle,
)
from gsi.doctor.ports import local_place, look_at_health, look_at_stream, look_at_tls
from gsi.doctor.visit import Look, absent
from gsi.doctor.web import look_at_web_certificate
from gsi.errors import ConfigError, CredentialError, GridError
from gsi.trust.diagnose import Finding, Severity, finding_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.doctor.visit import Visit
    from gsi.sql.engine import Database
    from gsi.trust.peer import VerifiedPeer
    from myproxy.config import ServerConfig
    from myproxy.portal.config import PortalConfig, StoreSettings

__all__ = ["LOOKS"]

_PORT: Final = "7512"
_MAX_NOTES: Final = 20
"""Notes on a configuration that are shown; the server's log has all."""


# --- The server ------------------------------------------------------------------------------------------------------


def _server(visit: Visit) -> Iterator[Finding]:
    from myproxy.cli.places import DEFAULT_CONFIG, find_config, find_storage
    from myproxy.server import load_config

    try:
        path = find_config(visit.configs.get("myproxy"))
    except ConfigError:
        yield absent(DEFAULT_CONFIG, "a MyProxy server")
        return
    try:
        config = load_config(path)
    except ConfigError as error:
        yield finding_of(error, path, check="configuration")
        return
    yield Finding(Severity.OK, "configuration", path, "can be used")
    for note in config.notes[:_MAX_NOTES]:
        yield Finding(Severity.NOTE, "configuration", path, note.removeprefix(f"{path}:"))
    storage = find_storage(visit.stores.get("myproxy"))
    with as_owner(storage):
        yield from look_at_directory(storage, "credentials' storage")
        yield from _database(config, storage)
        yield from _audits(config, storage)
        yield from _credential(visit)
        yield from _rules(config, visit)
    place = visit.places.get("myproxy") or f"localhost:{_port()}"
    yield from look_at_tls(place, visit, fix="systemctl start myproxy-server; journalctl -u myproxy-server")
    if config.monitor_listen:
        yield from look_at_health(config.monitor_listen, visit)
    else:
        hint = "monitor_listen 127.0.0.1:9512"
        yield Finding(Severity.NOTE, "health", path, "the server tells monitors nothing", hint)


def _port() -> str:
    from gsi.system.environ import get_variable

    return get_variable("MYPROXY_SERVER_PORT") or _PORT


def _database(config: ServerConfig, storage: str) -> Iterator[Finding]:
    from myproxy.repository import migrations
    from myproxy.repository.sql import DATABASE_NAME

    steps = os.path.dirname(os.path.abspath(migrations.__file__))
    path = os.path.join(storage, DATABASE_NAME)
    yield from look_at_database(path, config.database, steps, more=lambda one: _keys(config, one))


def _keys(config: ServerConfig, database: Database) -> Iterator[Finding]:
    """Look whether every server key that something lies under is there, and what proofs of clients are judged with."""
    from myproxy.repository.sql import SQLRepository
    from myproxy.wiring.methods import make_codes, make_methods
    from myproxy.wiring.repository import make_sealer

    def work() -> str:
        make_sealer(config, SQLRepository(database))
        return "every stored key can be opened" if config.server_key else "none, and none is needed"

    def methods() -> str:
        make_methods(config, _nobody, database)
        if config.otp_key_file is not None:
            make_codes(config, database)
        return "what clients prove themselves with can be judged"

    yield settle("server keys", "server-key", work)
    yield settle("clients' proofs", "methods", methods)


def _nobody(chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
    """Stand for what judges chains, where nothing is judged."""
    raise NotImplementedError("no chain is judged here")


def _audits(config: ServerConfig, storage: str) -> Iterator[Finding]:
    from myproxy.server import audit_path, audit_paths

    try:
        paths = [files[-1] for files in audit_paths(config, storage)]
    except GridError as error:
        yield finding_of(error, storage, check="audit")
        return
    for path in paths or [audit_path(config, storage)]:
        yield from look_at_audit(path)


def _credential(visit: Visit) -> Iterator[Finding]:
    """Look at the server's own certificate, where the server itself looks for it."""
    try:
        places = visit.locations.find_host_credential()
    except CredentialError as error:
        hint = "put it there, or run this with the server's X509_USER_CERT and X509_USER_KEY"
        yield Finding(Severity.ERROR, str(error.problem), error.path or "host certificate", error.message, hint)
        return
    yield from look_at_credential(*places, visit)


def _rules(config: ServerConfig, visit: Visit) -> Iterator[Finding]:
    """Look at what the configuration names beside the store: programs, maps, the authority, keytabs."""
    from myproxy.config import Method
    from myproxy.wiring.methods import DEFAULT_KERBEROS_SERVICE
    from myproxy.wiring.rules import make_settings, make_site_rules, make_trust_roots

    def rules() -> str:
        make_settings(config)
        make_site_rules(config)
        make_trust_roots(config)
        return "programs, maps and trust roots can be used"

    yield settle("site's rules", "rules", rules)
    if config.certificate_issuer_cert is not None or config.certificate_issuer_program is not None:
        yield settle("authority", "issuer", lambda: _authority(config, visit))
    if config.kerberos is not Method.DISABLED and config.kerberos_keytab is not None:
        from gsi.doctor.kerberos import look_at_keytab

        service = config.kerberos_service or DEFAULT_KERBEROS_SERVICE
        fix = f"kadmin -q 'ktadd -k {config.kerberos_keytab} {service}/{visit.host}'"
        yield from look_at_keytab(config.kerberos_keytab, service, fix=fix)


def _authority(config: ServerConfig, visit: Visit) -> str:
    from gsi.system.trustdir import TrustDirectory
    from gsi.trust.options import ValidationOptions
    from gsi.trust.verify import verify_chain
    from myproxy.wiring.authority import make_authority

    anchors = TrustDirectory(visit.trust_dir).anchors

    def verify(chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
        return verify_chain(chain, anchors(), now=now, options=ValidationOptions())

    made = make_authority(config, verify, anchors)
    assert made is not None
    made.check_ready(visit.now)
    return "can issue"


# --- The portal ------------------------------------------------------------------------------------------------------


def _portal(visit: Visit) -> Iterator[Finding]:
    from myproxy.cli.portal import DEFAULT_CONFIG

    config = yield from read_config(
        visit,
        "portal",
        variable="MYPROXY_PORTAL_CONFIG",
        default=DEFAULT_CONFIG,
        what="the web portal",
        load=_load_portal,
    )
    if config is None:
        return
    http = config.http
    with as_owner(config.store.directory):
        yield from look_at_directory(config.store.directory, "portal's sessions and audit")
        yield from _sessions(config.store)
        yield from look_at_audit(os.path.join(config.store.directory, "audit.log"))
        if http.certificate:
            hosts = [name.partition(":")[0] for name in config.names]
            yield from look_at_web_certificate(http.certificate, http.key or http.certificate, hosts, visit)
        yield from _ways(config, visit)
        yield from _front_end(config, visit)
    place = visit.places.get("portal") or local_place(http.listen)
    fix = "systemctl start myproxy-portal; journalctl -u myproxy-portal"
    if http.certificate:
        yield from look_at_tls(place, replace(visit, anchors=None), fix=fix)  # of any CA; judged above
    else:
        yield look_at_stream(place, visit, fix=fix)
    from myproxy.client import ServerAddress

    for host in ServerAddress.parse(config.server).hosts:
        where = f"[{host.host}]:{host.port}" if ":" in host.host else f"{host.host}:{host.port}"
        yield look_at_stream(where, visit, fix="server in portal.toml: does it run, may this machine reach it?")


def _load_portal(path: str) -> PortalConfig:
    from myproxy.portal.config import load_config

    return load_config(path)


def _sessions(store: StoreSettings) -> Iterator[Finding]:
    """Look at what the nodes of a portal share."""
    from myproxy.portal.store import FILE, MIGRATIONS

    yield from look_at_database(os.path.join(store.directory, FILE), store.database, MIGRATIONS)


def _ways(config: PortalConfig, visit: Visit) -> Iterator[Finding]:
    """Look at what other ways to log on than a pass phrase need, and at the store of one-time codes."""
    if config.own.certificate:
        from gsi.system.diagnose import CredentialPlace, Whose, diagnose_credential

        place = CredentialPlace(Whose.HOST, config.own.certificate, config.own.key or config.own.certificate)
        yield from diagnose_credential(place, visit.anchors, now=visit.now, crl=visit.crl)
    if config.oidc.client_secret_file:
        hint = "write what the provider has given there, mode 0600"
        yield look_at_private_file(config.oidc.client_secret_file, "secret of [oidc]", hint)
    if config.kerberos.keytab:
        from gsi.doctor.kerberos import look_at_keytab

        fix = f"kadmin -q 'ktadd -k {config.kerberos.keytab} HTTP/{visit.host}'"
        yield from look_at_keytab(config.kerberos.keytab, "HTTP", fix=fix)
    if config.codes.server_config:

        def work() -> str:
            from myproxy.server import load_config

            load_config(config.codes.server_config)
            return "the server's configuration can be read"

        yield settle("one-time codes", "configuration", work)


def _front_end(config: PortalConfig, visit: Visit) -> Iterator[Finding]:
    """Look whether portal and server agree on who says where users are, as far as the server is on this machine."""
    from myproxy.cli.places import find_config
    from myproxy.client import ServerAddress
    from myproxy.policy import Client
    from myproxy.server import load_config

    certificate = config.own.certificate
    if not certificate:
        return
    try:
        name = _name_in(certificate)
    except GridError:
        return  # told by the look at the credential
    line = f'trusted_front_ends "{name}"'
    try:
        path = find_config(visit.configs.get("myproxy"))
        rules = load_config(path).trusted_front_ends or ()
    except GridError:  # none is here, or what is here has a look of its own
        if config.own.front_end:
            yield Finding(Severity.NOTE, "front-end", config.server, f"has to have in its configuration: {line}")
        return
    is_named = any(rule.matches(Client(name)) for rule in rules)
    if config.own.front_end and is_named:
        yield Finding(Severity.OK, "front-end", path, "takes the portal's word for where users are")
    elif config.own.front_end:
        here = {"localhost", "127.0.0.1", "::1", visit.host}
        asked = {one.host for one in ServerAddress.parse(config.server).hosts}
        message = f"does not name the portal ({name}), which says where users are: all logons are refused"
        yield Finding(Severity.ERROR if here & asked else Severity.WARNING, "front-end", path, message, line)
    elif is_named:
        message = "the server would take its word for where users are, and it says nothing: they count as one"
        yield Finding(Severity.WARNING, "front-end", certificate, message, "front_end = true in [own]")


def _name_in(certificate: str) -> str:
    """Return the name by which servers know a credential.

    Raises:
        GridError: The file cannot be read.
    """
    from gsi.certificate import load_certificates
    from gsi.credential import MAX_CREDENTIAL_BYTES
    from gsi.proxy.chain import ProxyChain
    from gsi.system.files import read_public

    data = read_public(certificate, max_bytes=MAX_CREDENTIAL_BYTES)
    return ProxyChain.split(load_certificates(data, what=certificate)).identity_text


# --- The renewal agent -----------------------------------------------------------------------------------------------


def _renewd(visit: Visit) -> Iterator[Finding]:
    from gsi.system.environ import get_variable
    from myproxy.cli.renewd import DEFAULT_CONFIG

    path = visit.configs.get("renewd") or get_variable("MYPROXY_RENEWD_CONFIG") or DEFAULT_CONFIG
    if not os.path.exists(path) and "renewd" not in visit.configs:
        yield absent(path, "the renewal agent")
        return
    from myproxy.renewal.doctor import look_at_agent

    yield from look_at_agent(path, visit)


# --- The delegation service ------------------------------------------------------------------------------------------


def _delegations(visit: Visit) -> Iterator[Finding]:
    from myproxy.delegation.config import DEFAULT_CONFIG, load_config

    config = yield from read_config(
        visit,
        "delegation",
        variable="MYPROXY_DELEGATION_CONFIG",
        default=DEFAULT_CONFIG,
        what="the delegation service",
        load=load_config,
    )
    if config is not None:
        from myproxy.delegation.doctor import look_at_delegations

        yield from look_at_delegations(config, visit)


LOOKS: Final = (
    Look("myproxy", 40, "MyProxy server", _server),
    Look("portal", 41, "MyProxy portal", _portal),
    Look("renewd", 42, "Renewal agent", _renewd),
    Look("delegation", 43, "Delegation service", _delegations),
)
