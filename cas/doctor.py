"""What `gsi-doctor` looks at of a community's server; changes nothing.

LOOKS                                              # named in the entry-point group gsi.doctor
"""

from __future__ import annotations

import os
from datetime import timedelta
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
from gsi.doctor.visit import Look
from gsi.trust.diagnose import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cas.config import CASConfig, KeySettings
    from gsi.doctor.visit import Visit

__all__ = ["LOOKS"]

SOON_KEY: Final = timedelta(days=14)
"""When the end of the last signing key is worth a word: sites must learn of the next one before it signs."""

_FIX: Final = "systemctl start cas-server; journalctl -u cas-server"


def _community(visit: Visit) -> Iterator[Finding]:
    from cas.config import DEFAULT_CONFIG, load_config

    config = yield from read_config(
        visit, "cas", variable="CAS_CONFIG", default=DEFAULT_CONFIG, what="a community's server", load=load_config
    )
    if config is None:
        return
    with as_owner(config.store.directory):
        yield from look_at_directory(config.store.directory, "policy and audit of the community")
        yield from _database(config)
        yield from look_at_audit(config.store.audit_path)
        yield from look_at_credential(config.http.certificate, config.http.key or config.http.certificate, visit)
        yield from _signing(config, visit)
        yield settle("site's policy", "policy", lambda: _policy(config))
    yield from look_at_tls(visit.places.get("cas") or local_place(config.http.listen), visit, fix=_FIX)
    if config.voms is not None:
        yield look_at_stream(visit.places.get("voms") or local_place(config.voms.listen), visit, fix=_FIX)
    if config.metrics:
        yield from look_at_health(config.metrics, visit)


def _database(config: CASConfig) -> Iterator[Finding]:
    from cas.repository import migrations
    from cas.repository.sql import DATABASE_NAME

    steps = os.path.dirname(os.path.abspath(migrations.__file__))
    yield from look_at_database(os.path.join(config.store.directory, DATABASE_NAME), config.store.database, steps)


def _signing(config: CASConfig, visit: Visit) -> Iterator[Finding]:
    """Look at the keys that sign: their files, and whether one signs now and for some time to come."""
    rings: list[tuple[str, tuple[KeySettings, ...]]] = [("key", config.key)]
    if config.tokens is not None and config.tokens.key:
        rings.append(("tokens.key", config.tokens.key))
    for name, keys in rings:
        for one in keys:
            if not one.place.startswith("pkcs11:"):
                yield look_at_private_file(one.place, "signing key", "restore it from its backup")
        specs = [one.spec() for one in keys]
        where, hint = f"[[{name}]]", f"make the next key, and name it in a [[{name}]] of its own: docs/howto/operate.md"
        if not any(one.begins <= visit.now < one.ends for one in specs):
            yield Finding(Severity.ERROR, "signing-key", where, "no key may sign now", hint)
            continue
        last = max(one.ends for one in specs)
        if last <= visit.now + SOON_KEY:
            message = f"the last key ends soon, {last:%Y-%m-%d %H:%M} UTC"
            yield Finding(Severity.WARNING, "signing-key", where, message, hint)
        else:
            yield Finding(Severity.OK, "signing-key", where, f"keys until {last:%Y-%m-%d}")


def _policy(config: CASConfig) -> str:
    from cas.wiring.authz import make_gate

    make_gate(config.policy)
    return f"{config.policy} can be used"


LOOKS: Final = (Look("cas", 50, "Community's server", _community),)
