"""Looks at what belongs to no service: clock, trust directory, host certificate, callouts of C services, authorization.

LOOKS                                              # named in the entry-point group gsi.doctor
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gsi.doctor.owner import as_owner
from gsi.doctor.parts import look_at_audit, look_at_credential
from gsi.doctor.ports import look_at_unix
from gsi.doctor.visit import Look, absent
from gsi.errors import GridError
from gsi.trust.diagnose import Finding, Severity, finding_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gsi.authz.calloutconf import Finding as AuthzFinding
    from gsi.doctor.visit import Visit

__all__ = ["LOOKS"]

_FETCH: Final = "grid-fetch-crl, and have its timer or cron job run every six hours"


def _clock(visit: Visit) -> Iterator[Finding]:
    """Ask a time server; that it cannot be asked is a warning, since many sites let no such question out."""
    if visit.time_server is None:
        yield Finding(Severity.NOTE, "clock", "clock", "no time server was asked")
        return
    from gsi.cli.server_findings import look_at_clock

    found = look_at_clock(visit.time_server, timeout=visit.timeout)
    if found.check == "clock-offset":
        hint = None if found.severity is Severity.OK else "have chronyd, ntpd or systemd-timesyncd set this clock"
        yield replace(found, hint=hint)
    else:
        hint = "name the site's own with -time-server, or -time-server none"
        yield replace(found, severity=Severity.WARNING, message=f"cannot be asked: {found.message}", hint=hint)


def _trust(visit: Visit) -> Iterator[Finding]:
    from gsi.system.diagnose import diagnose_trust_directory

    found, _ = diagnose_trust_directory(visit.trust_dir, now=visit.now, crl=visit.crl)
    for one in found:
        is_list = one.check.startswith("crl") and one.severity in {Severity.ERROR, Severity.WARNING}
        yield replace(one, hint=_FETCH) if is_list and one.hint is None else one


def _host(visit: Visit) -> Iterator[Finding]:
    places = visit.locations.host_credentials
    there = next((pair for pair in places if any(map(os.path.exists, pair))), None)
    if there is None:
        where = places[0][0] if places else "host certificate"
        hint = "grid-cert-request -host NAME asks a CA for one; a machine without grid servers needs none"
        yield Finding(Severity.WARNING, "missing", where, "there is no host certificate", hint)
        return
    yield from look_at_credential(*there, visit)


# --- Authorization ---------------------------------------------------------------------------------------------------


def _callouts(visit: Visit) -> Iterator[Finding]:
    """Look at what the C services of this machine read, where there are any."""
    from gsi.authz.calloutconf import Family, find_callout_conf, lint_callouts
    from gsi.authz.serviceconf import find_service_files, lint_service_files
    from gsi.system.environ import get_variable

    del visit
    conf, is_there = find_callout_conf()
    services = [files for files in find_service_files(frozenset(Family)) if files.exist]
    families = frozenset(files.family for files in services)
    if not is_there and not services and get_variable("GSI_AUTHZ_CONF") is None:
        yield absent(conf, "a GridFTP server or gatekeeper")
        return
    found = list(lint_callouts(conf, families=families or frozenset(Family)))
    for files in services:
        found += lint_service_files(files)
    yield from _translated(dict.fromkeys(found))
    if not found:
        yield Finding(Severity.OK, "callouts", conf, "every question of the C services has its callout")


def _translated(found: Iterable[AuthzFinding]) -> Iterator[Finding]:
    from gsi.authz.calloutconf import Severity as Kind

    for one in found:
        severity = Severity.NOTE if one.severity is Kind.NOTE else Severity.ERROR
        yield Finding(severity, f"authz-{one.severity.value}", one.place, one.message, one.fix or None)


def _authorization(visit: Visit) -> Iterator[Finding]:
    """Look at the policies, and at the daemon where one is configured."""
    from gsi.authz.callout.config import DEFAULT_CONFIG, CalloutConfig, load_config
    from gsi.authz.lint import lint_policy
    from gsi.system.environ import authz_policy_dir

    directory = authz_policy_dir()
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".toml"))
    except OSError:
        names = []
    for name in names:
        path = os.path.join(directory, name)
        found = list(lint_policy(path))
        yield from _translated(found)
        if not found:
            yield Finding(Severity.OK, "policy", path, "can be used")
    path = visit.configs.get("authz") or DEFAULT_CONFIG
    if not names and not os.path.exists(path):
        yield absent(path, "gsi-authz-server")
        return
    try:
        config = load_config(path) if os.path.exists(path) or "authz" in visit.configs else CalloutConfig()
    except GridError as error:
        yield finding_of(error, path, check="configuration")
        return
    if os.path.exists(path):
        yield Finding(Severity.OK, "configuration", path, "can be used")
        yield look_at_unix(config.server.socket, visit, fix="systemctl start gsi-authz-server")
    if config.server.audit:
        with as_owner(os.path.dirname(config.server.audit)):
            yield from look_at_audit(config.server.audit)


LOOKS: Final = (
    Look("clock", 10, "Clock", _clock),
    Look("trust", 20, "Trust directory", _trust),
    Look("host", 30, "Host certificate", _host),
    Look("callouts", 80, "Callouts of C services", _callouts),
    Look("authz", 81, "Authorization", _authorization),
)
