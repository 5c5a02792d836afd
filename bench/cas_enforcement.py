"""Verifying capabilities of a community within decisions, as the callout does: the issuer known, the capability new.

Each decision is the engine's, with a policy that asks the authorizer for communities. A capability is verified at the
first operation of a session and then counts for a minute: the first column is what the first operation takes longer
than the others do, the second what these take, with the site's rights, the objects and the account.

    python bench/cas_enforcement.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import Figure, show
from tests.harness.cas_site import EnforcingSite, ac_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.authz.decision import AuthorizationRequest, Subject

SESSIONS = 200
BATCH = 20
LIMIT_TOKEN = 0.15
LIMIT_ATTRIBUTES = 0.3
LIMIT_ASSERTION = 1.0


def figures(sessions: int = SESSIONS) -> list[Figure]:
    """Measure and return the figures."""
    found = []
    for number, (name, limit, key, make) in enumerate(_FORMS):
        with tempfile.TemporaryDirectory() as place:
            site = EnforcingSite(Path(place), key="rsa2048" if key == "rsa2048" else "p256")
            found.append(_measure(f"verify a new {name}, beside its decision", limit, site, make, sessions + number))
    return found


_FORMS: tuple[tuple[str, float, str, Callable[[EnforcingSite], Subject]], ...] = (
    ("token, ES256", LIMIT_TOKEN, "p256", lambda site: site.subject(site.alice, site.climate.token(site.alice))),
    (
        "attribute certificate, RSA 2048",
        LIMIT_ATTRIBUTES,
        "rsa2048",
        lambda site: site.subject(site.alice, extensions=[ac_of(site.climate.attributes(site.alice))]),
    ),
    (
        "assertion, RSA 2048",
        LIMIT_ASSERTION,
        "rsa2048",
        lambda site: site.carrying(site.alice, site.climate.assertion(site.alice)),
    ),
)


def _measure(
    name: str, limit: float, site: EnforcingSite, make: Callable[[EnforcingSite], Subject], sessions: int
) -> Figure:
    """Measure in processor time: the limits are for one core, whoever else is on the machine."""
    engine = site.engine()
    requests = [site.request(make(site)) for _ in range(sessions)]
    assert engine.authorize(site.request(make(site))).is_permit  # now the issuer is known
    for one in requests:
        if one.subject.assertions:  # shown in a session, whose chain has been looked at when it began
            engine.authorize(replace(one, subject=replace(one.subject, assertions=())))

    def run(asked: list[AuthorizationRequest]) -> float:
        begin = time.process_time()
        for one in asked:
            assert engine.authorize(one).is_permit
        return (time.process_time() - begin) / len(asked) * 1000

    taken: tuple[list[float], list[float]] = ([], [])
    for at in range(0, sessions, BATCH):  # both in turn, so that both have the same neighbours on the machine
        for times in taken:
            times.append(run(requests[at : at + BATCH]))
    first, again = map(statistics.median, taken)
    return Figure(name, first - again, again, f"<= {limit} ms", first - again <= limit)


def main() -> int:
    """Print the table; exit status 0 when every figure was reached."""
    return 0 if show(figures()) else 1


if __name__ == "__main__":
    sys.exit(main())
