"""What a look is told, and what a look is; looks at nothing itself.

    LOOKS: Final = (Look("myproxy", 40, "MyProxy server", examine),)        # named in the entry-point group gsi.doctor

    def examine(visit: Visit) -> Iterator[Finding]:
        path = visit.configs.get("myproxy") or "/etc/myproxy-server.config"

A look yields findings and raises nothing that belongs to the world: what cannot be looked at is a finding, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gsi.trust.diagnose import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from gsi.system.environ import Locations
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.options import CRLPolicy
    from gsi.trust.peername import NameMode

__all__ = ["Look", "Visit", "absent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What is asked.

    Attributes:
        now: The time (aware UTC).
        locations: The usual places, by the environment.
        trust_dir: The trust directory.
        anchors: Its contents; None where it cannot be read, of which the look at it tells.
        crl: What to do about missing revocation lists.
        mode: How names in certificates are compared.
        host: What clients call this machine.
        timeout: Seconds to wait for a server.
        time_server: Whom to ask for the time, HOST[:PORT]; None for nobody.
        configs: Configuration files by section, where they are not at their usual places.
        stores: Storage directories by section, likewise.
        places: HOST:PORT by section, where a server is not where its configuration says.
    """

    now: datetime
    locations: Locations
    trust_dir: str
    anchors: TrustAnchors | None
    crl: CRLPolicy
    mode: NameMode
    host: str
    timeout: float
    time_server: str | None = None
    configs: Mapping[str, str] = field(default_factory=dict)
    stores: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)


class Look(NamedTuple):
    """One section of the report."""

    section: str
    """Its short name, for options and JSON."""
    order: int
    """Smaller ones come first: what others depend on."""
    title: str
    """Its heading."""
    examine: Callable[[Visit], Iterator[Finding]]
    """Looks."""


def absent(path: str, what: str) -> Finding:
    """Return the finding that a service is not set up here, which is no fault."""
    return Finding(Severity.NOTE, "not-here", path, f"not there: {what} is not set up on this machine")
