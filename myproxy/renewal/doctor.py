"""What `gsi-doctor` looks at of the renewal agent: its settings, what it renews, whom it asks, whom it tells.

    yield from look_at_agent("/etc/myproxy/renewd.toml", visit)

Nothing is renewed, fetched or told, and no file is made; whether an agent runs is seen by its lock.
"""

from __future__ import annotations

import fcntl
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gsi.doctor.owner import as_owner
from gsi.doctor.parts import look_at_audit, look_at_directory, look_at_private_file
from gsi.doctor.ports import look_at_stream
from gsi.errors import GridError
from gsi.system.diagnose import CredentialPlace, Whose, diagnose_credential
from gsi.trust.diagnose import Finding, Severity, finding_of
from myproxy.renewal.config import Kind, load_config
from myproxy.renewal.schedule import State
from myproxy.renewal.status import take_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gsi.doctor.visit import Visit
    from myproxy.renewal.config import RenewalConfig, SourceSettings, TellSettings
    from myproxy.renewal.status import Row

__all__ = ["look_at_agent"]

MAX_ENTRIES: Final = 20
"""Entries that are named here; `myproxy-renewd --status` names all."""
LATE: Final = timedelta(minutes=20)
"""A renewal due for so long has been forgotten: a timer that runs the agent comes every quarter of an hour."""
_START: Final = "systemctl start myproxy-renewd; journalctl -u myproxy-renewd"


def look_at_agent(path: str, visit: Visit) -> Iterator[Finding]:
    """Look over the agent that has this configuration."""
    try:
        config = load_config(path)
    except GridError as error:
        yield finding_of(error, path, check="configuration")
        return
    yield Finding(Severity.OK, "configuration", path, f"can be used; {len(config.credential)} credentials")
    with as_owner(config.state):
        yield from look_at_directory(config.state, "the agent's notes")
        if config.audit:
            yield from look_at_audit(config.audit)
        yield _agent(config.state)
        yield from _entries(take_status(config, now=visit.now), visit)
        for name in sorted({entry.source for entry in config.credential.values()}):
            yield from _source(name, config, visit)
        yield from _told(config.tell, visit)


def _agent(state: str) -> Finding:
    """Look whether an agent holds the lock of its notes."""
    path = os.path.join(state, "lock")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return Finding(Severity.WARNING, "agent", state, "no agent has ever run here", _START)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Finding(Severity.OK, "agent", state, "an agent runs")
    except OSError as error:
        return Finding(Severity.WARNING, "agent", state, f"its lock cannot be looked at: {error.strerror}", _START)
    finally:
        os.close(descriptor)
    hint = f"where no timer runs myproxy-renewd --once: {_START}"
    return Finding(Severity.NOTE, "agent", state, "no agent runs at the moment", hint)


# --- Credentials -----------------------------------------------------------------------------------------------------


def _entries(rows: Sequence[Row], visit: Visit) -> Iterator[Finding]:
    bad = [finding for row in rows for finding in _entry(row, visit)]
    yield from bad[:MAX_ENTRIES]
    if len(bad) > MAX_ENTRIES:
        message = f"{len(bad) - MAX_ENTRIES} more findings about credentials"
        yield Finding(Severity.ERROR, "credential", "credentials", message, "myproxy-renewd --status names all")
    well = [row for row in rows if row.state is State.OK and row.not_after is not None]
    if well:
        first = min(row.not_after for row in well if row.not_after is not None)
        due = min((row.due for row in well if row.due is not None), default=None)
        then = "" if due is None else f", the next is renewed at {max(due, visit.now):%Y-%m-%d %H:%M} UTC"
        message = f"{len(well)} are well; the first ends at {first:%Y-%m-%d %H:%M} UTC{then}"
        yield Finding(Severity.OK, "credential", "credentials", message)


def _entry(row: Row, visit: Visit) -> Iterator[Finding]:
    """Yield what is wrong with one credential."""
    end = "" if row.not_after is None else f", ends at {row.not_after:%Y-%m-%d %H:%M} UTC"
    why = f": {row.error}" if row.error else ""
    look = (
        "put what the error names right: it is tried again by itself, or by myproxy-renewd --once while no agent runs"
    )
    match row.state:
        case State.OK:
            if row.due is not None and row.due + LATE < visit.now:
                message = f"{row.name}: due since {row.due:%Y-%m-%d %H:%M} UTC, and not renewed{end}"
                yield Finding(Severity.ERROR, "overdue", row.path, message, _START)
        case State.FAILING:
            message = f"{row.name}: {row.failures} renewals have failed{end}{why}"
            yield Finding(Severity.WARNING, "renewal", row.path, message, look)
        case State.EXPIRING:
            message = f"{row.name}: {row.failures} renewals have failed, and the end is near{end}{why}"
            yield Finding(Severity.ERROR, "renewal", row.path, message, look)
        case State.EXPIRED:
            hint = "an expired credential may prove nothing: put a new one there by hand"
            yield Finding(Severity.ERROR, "expired", row.path, f"{row.name}: has ended{why}", hint)
        case State.MISSING:
            hint = "put one there by hand, or say create = true with its identity"
            yield Finding(Severity.ERROR, "missing", row.path, f"{row.name}: there is no file{why}", hint)
        case State.UNREADABLE:
            hint = "it has to be a credential of the agent's account, mode 0600"
            yield Finding(Severity.ERROR, "unreadable", row.path, f"{row.name}: cannot be used{why}", hint)
    for one in row.untold:
        hint = "put the hook, mail or webhook of [tell] right, or the program of after"
        yield Finding(Severity.WARNING, "untold", row.path, f"{row.name}: nobody was told by {one}", hint)


# --- Whom it asks and tells ------------------------------------------------------------------------------------------


def _source(name: str, config: RenewalConfig, visit: Visit) -> Iterator[Finding]:
    source: SourceSettings = config.source[name]
    if source.kind is Kind.KCA:
        if source.keytab:
            hint = f"kadmin -q 'ktadd -k {source.keytab} PRINCIPAL'"
            yield look_at_private_file(source.keytab, f"keys of [source.{name}]", hint)
        return
    if source.certificate:
        place = CredentialPlace(Whose.HOST, source.certificate, source.key or source.certificate)
        yield from diagnose_credential(place, visit.anchors, now=visit.now, crl=visit.crl)
    from myproxy.client import ServerAddress

    for host in ServerAddress.parse(source.server).hosts:
        where = f"[{host.host}]:{host.port}" if ":" in host.host else f"{host.host}:{host.port}"
        fix = f"[source.{name}] names it: does the server run, and may this machine reach it?"
        yield look_at_stream(where, visit, fix=fix)


def _told(tell: TellSettings, visit: Visit) -> Iterator[Finding]:
    if not (tell.hook or tell.mail or tell.webhook):
        hint = "name a hook, mail or a webhook in [tell]"
        yield Finding(Severity.WARNING, "tell", "[tell]", "nobody hears when a credential cannot be renewed", hint)
    if tell.hook:
        yield _program(tell.hook[0], "hook")
    if tell.mail is not None:
        if tell.mail.server:
            yield look_at_stream(tell.mail.server, visit, fix="[tell.mail] server: does it run?")
        else:
            yield _program(tell.mail.sendmail, "sendmail")
        if tell.mail.password_file:
            yield look_at_private_file(tell.mail.password_file, "password of [tell.mail]", "write it there, mode 0600")
    if tell.webhook is not None:
        parts = urlsplit(tell.webhook.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        yield look_at_stream(where, visit, fix="[tell.webhook] url: does the service run?")
        if tell.webhook.secret_file:
            hint = "write it there, mode 0600"
            yield look_at_private_file(tell.webhook.secret_file, "secret of [tell.webhook]", hint)


def _program(path: str, what: str) -> Finding:
    if not os.access(path, os.X_OK, effective_ids=True) or os.path.isdir(path):
        message = f"{what} is no program that the agent can run"
        return Finding(Severity.ERROR, "hook", path, message, f"chmod 755 {path}, or name another in [tell]")
    return Finding(Severity.OK, "hook", path, f"{what} can be run")
