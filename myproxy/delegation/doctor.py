"""What `gsi-doctor` looks at of the delegation service: its directory, store, keys, audit, certificate and port.

    yield from look_at_delegations(config, visit)

Nothing is made, upgraded or opened that is sealed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gsi.doctor.owner import as_owner
from gsi.doctor.parts import look_at_audit, look_at_credential, look_at_database, look_at_directory, settle
from gsi.doctor.ports import local_place, look_at_tls
from gsi.system.trustdir import TrustDirectory
from gsi.trust.diagnose import Finding, Severity
from myproxy.delegation.store import FILE, MIGRATIONS
from myproxy.repository.keysources import load_server_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.doctor.visit import Visit
    from myproxy.delegation.config import DelegationConfig

__all__ = ["look_at_delegations"]

_FIX: Final = "systemctl start myproxy-delegation; journalctl -u myproxy-delegation"


def look_at_delegations(config: DelegationConfig, visit: Visit) -> Iterator[Finding]:
    """Look over the service that has this configuration."""
    directory = config.store.directory
    with as_owner(directory):
        yield from look_at_directory(directory, "delegations and their audit")
        for place in config.store.keys:
            yield settle(place, "server-key", lambda place=place: _key(place))  # type: ignore[misc]  # a default binds it
        yield from look_at_database(os.path.join(directory, FILE), config.store.database, MIGRATIONS)
        yield from look_at_audit(os.path.join(directory, "audit.log"))
        yield from look_at_credential(config.http.certificate, config.http.key or config.http.certificate, visit)
        if config.trust.directory:  # another than that of this machine, which has a look of its own
            yield settle(config.trust.directory, "configuration", lambda: _trust(config.trust.directory))
    if not config.services:
        hint = "[services.NAME] names who may fetch proxies"
        yield Finding(Severity.WARNING, "configuration", "[services]", "nobody may fetch what users delegate", hint)
    place = visit.places.get("delegation") or local_place(config.http.listen)
    yield from look_at_tls(place, visit, fix=_FIX)


def _key(place: str) -> str:
    load_server_key(place)
    return "a key that seals what is stored"


def _trust(directory: str) -> str:
    TrustDirectory(directory).anchors()
    return "the CAs of clients can be read"
