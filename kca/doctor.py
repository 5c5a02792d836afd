"""What `gsi-doctor` looks at of the Kerberos authority; changes nothing.

LOOKS                                              # named in the entry-point group gsi.doctor
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gsi.doctor.configs import read_config
from gsi.doctor.owner import as_owner
from gsi.doctor.parts import look_at_audit, look_at_credential, look_at_database, look_at_directory
from gsi.doctor.ports import local_place, look_at_health, look_at_stream, look_at_tls
from gsi.doctor.visit import Look
from gsi.errors import GridError
from gsi.trust.diagnose import SOON_CA, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.doctor.visit import Visit
    from kca.config import KCAConfig

__all__ = ["LOOKS"]

_ELSEWHERE: Final = ("books", "audit", "keytab", "HTTP keytab")
"""What is looked at here in another way: `kca-admin check` makes what is missing."""


def _authority(visit: Visit) -> Iterator[Finding]:
    from kca.cli.admin_check import check
    from kca.config import DEFAULT_CONFIG, load_config

    config = yield from read_config(
        visit, "kca", variable="KCA_CONFIG", default=DEFAULT_CONFIG, what="a Kerberos authority", load=load_config
    )
    if config is None:
        return
    with as_owner(config.store.directory):
        yield from look_at_directory(config.store.directory, "books and audit of the authority")
        for one in check(config, leave=_ELSEWHERE):
            severity = Severity.ERROR if one.is_error else Severity.OK
            hint = "kca-admin check, as the service's account" if one.is_error else None
            yield Finding(severity, one.what.replace(" ", "-"), one.what, one.text, hint)
        yield from _expiry(config, visit)
        yield from _database(config)
        yield from look_at_audit(config.store.audit_path)
        yield from _keytabs(config, visit)
    yield from _ports(config, visit)


def _expiry(config: KCAConfig, visit: Visit) -> Iterator[Finding]:
    from kca.wiring.authority import load_authority_certificate

    try:
        ends = load_authority_certificate(config.authority).not_after
    except GridError:
        return  # told by the check
    if visit.now < ends <= visit.now + SOON_CA:
        message = f"the CA's certificate ends soon, {ends:%Y-%m-%d}"
        hint = "make the next CA now, and have the sites install it: docs/howto/operate.md"
        yield Finding(Severity.WARNING, "expires-soon", config.authority.certificate, message, hint)


def _database(config: KCAConfig) -> Iterator[Finding]:
    from kca.repository import migrations
    from kca.repository.sql import DATABASE_NAME

    steps = os.path.dirname(os.path.abspath(migrations.__file__))
    yield from look_at_database(os.path.join(config.store.directory, DATABASE_NAME), config.store.database, steps)


def _keytabs(config: KCAConfig, visit: Visit) -> Iterator[Finding]:
    from gsi.doctor.kerberos import look_at_keytab

    for keytab, service, is_needed in (
        (config.server.keytab, config.server.service, True),
        (config.http.keytab, "HTTP", False),
    ):
        if is_needed or os.path.lexists(keytab):
            fix = f"kadmin -q 'ktadd -k {keytab} {service}/{visit.host}'"
            yield from look_at_keytab(keytab, service, fix=fix)


def _ports(config: KCAConfig, visit: Visit) -> Iterator[Finding]:
    place = visit.places.get("kca") or local_place(config.server.listen[0])
    yield look_at_stream(place, visit, fix="systemctl start kca-server; journalctl -u kca-server")
    if config.server.metrics:
        yield from look_at_health(config.server.metrics, visit)
    http = config.http
    if not os.path.lexists(http.keytab) or http.listen.startswith("/"):
        return
    place = visit.places.get("kca-http") or local_place(http.listen)
    fix = "systemctl start kca-http; journalctl -u kca-http"
    if http.certificate:
        with as_owner(config.store.directory):
            yield from look_at_credential(http.certificate, http.key or http.certificate, visit)
        yield from look_at_tls(place, visit, fix=fix)
    else:
        yield look_at_stream(place, visit, fix=fix)


LOOKS: Final = (Look("kca", 60, "Kerberos authority", _authority),)
