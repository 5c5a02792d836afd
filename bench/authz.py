"""Decisions in process: 10,000 rules and five authorizers, beside Cedar (cedarpy) with as many policies; flatness.

Both judge the same questions: a hundred users, each asking for files in an own directory (permitted by one rule of the
10,000) and in another's (refused). Cedar gets its policies and entities parsed beforehand. Both take turns in short
batches. Flatness compares a policy with 1,000 rules to one with 50,000, of which the others cannot match.

Casbin is another engine that people compare with. It is not measured here: it is none of the packages that
developers of this project install.

    python bench/authz.py
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import Figure, show
from gsi.authz.ban import BanListAuthorizer, parse_bans
from gsi.authz.combine import Combining
from gsi.authz.decision import Action, AuthorizationRequest, Environment, Resource, Subject
from gsi.authz.engine import Engine
from gsi.authz.gridmap import parse_gridmap
from gsi.authz.mapping import GridmapAuthorizer, VomsMapAuthorizer, parse_voms_map
from gsi.authz.policy import Chain, Member, Policy
from gsi.authz.principals import parse_dn
from gsi.authz.rulefile import parse_rules
from gsi.authz.rules import RulesAuthorizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.authz.decision import Authorizer

RULES = 10_000
USERS = 100
BATCH = 500  # decisions per turn
CEDAR_BATCH = 20  # of the same: Cedar looks at every policy, which takes it some milliseconds
TURNS = 21
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINIMUM = 20_000
FLAT = 1.2


def _rules(count: int) -> RulesAuthorizer:
    lines = []
    for number in range(count):
        match number % 10:
            case 8:
                lines.append(f"permit fqan /vo{number % 50}/Role=r{number} to write, create on /vo/{number}/**")
            case 9:
                lines.append(f"deny group g{number} on /archive/{number}/**")
            case _:
                lines.append(f'permit dn "/O=Grid/OU=Test/CN=User {number}" to read, lookup on /home/u{number}/**')
    return RulesAuthorizer("rules", parse_rules("\n".join(lines).encode(), path="rules"), path="rules")


def make_engine(rules: int) -> Engine:
    """Return an engine with five authorizers, of which the last has the rules."""
    bans = "".join(f'dn "/O=Grid/OU=Test/CN=Banned {number}"\n' for number in range(1000))
    site = "deny anyone to delete on /archive/**\npermit group operators to read on /**\n"
    gridmap = "".join(f'"/O=Grid/OU=Test/CN=User {number}" u{number}\n' for number in range(10_000))
    voms = "".join(f'"/vo{number}/Role=production" prod{number}\n' for number in range(50))
    authorizers: list[Authorizer] = [
        BanListAuthorizer("bans", parse_bans(bans.encode(), path="bans"), path="bans"),
        RulesAuthorizer("site", parse_rules(site.encode(), path="site"), path="site"),
        GridmapAuthorizer("map", parse_gridmap(gridmap.encode())),
        VomsMapAuthorizer("voms", tuple(parse_voms_map(voms.encode(), path="voms"))),
        _rules(rules),
    ]
    members = tuple(Member(authorizer, may_block=False) for authorizer in authorizers)
    return Engine(Policy(Chain("policy", Combining.FIRST_APPLICABLE, members)))


def make_requests() -> list[AuthorizationRequest]:
    """Return a batch: every second one is for somebody else's file."""
    subjects = []
    numbers = [number * 10 for number in range(USERS)]
    for number in numbers:
        dn = f"/O=Grid/OU=Test/CN=User {number}"
        subject = Subject(
            identity=dn,
            identity_der=parse_dn(dn),
            issuer="/O=Grid/CN=CA",
            authenticated_by="x509",
            fqans=("/vo1/Role=pilot", "/vo1"),
        )
        subjects.append(subject)
    environment = Environment(now=NOW, service="file")
    return [
        AuthorizationRequest(
            subjects[turn % USERS],
            Action("read", "file"),
            Resource(f"ftp://se.example.org/home/u{numbers[(turn + turn % 2) % USERS]}/run{turn}/file"),
            environment,
        )
        for turn in range(BATCH)
    ]


def _ours(engine: Engine, requests: list[AuthorizationRequest]) -> Callable[[], int]:
    def body() -> int:
        return sum(engine.authorize(request).is_permit for request in requests)

    return body


def _cedar(count: int) -> Callable[[], int] | None:
    """Return the same questions for Cedar, or None where cedarpy is not installed."""
    try:
        import cedarpy
    except ImportError:
        return None
    text = "\n".join(
        f'permit(principal == User::"{number}", action in [Action::"read", Action::"lookup"], '
        f'resource in Directory::"/home/u{number}");'
        for number in range(count)
    )
    policies = cedarpy.PolicySet.from_str(text)
    numbers = [number * 10 for number in range(USERS)]
    pairs = [(numbers[turn % USERS], numbers[(turn + turn % 2) % USERS], turn) for turn in range(BATCH)]
    entities = cedarpy.Entities.from_json_str(
        json.dumps(
            [{"uid": {"type": "User", "id": str(number)}, "attrs": {}, "parents": []} for number in numbers]
            + [
                {"uid": {"type": "Directory", "id": f"/home/u{number}"}, "attrs": {}, "parents": []}
                for number in numbers
            ]
            + [
                {
                    "uid": {"type": "File", "id": f"/home/u{place}/run{turn}/file"},
                    "attrs": {},
                    "parents": [{"type": "Directory", "id": f"/home/u{place}"}],
                }
                for _, place, turn in pairs
            ]
        )
    )
    requests = [
        {
            "principal": f'User::"{user}"',
            "action": 'Action::"read"',
            "resource": f'File::"/home/u{place}/run{turn}/file"',
            "context": {},
        }
        for user, place, turn in pairs
    ]

    def body() -> int:
        chosen = requests[:CEDAR_BATCH]
        return sum(bool(cedarpy.is_authorized(request, policies, entities).allowed) for request in chosen)

    return body


def _time(body: Callable[[], int]) -> float:
    begin = time.perf_counter()
    body()
    return time.perf_counter() - begin


def figures(turns: int = TURNS) -> list[Figure]:
    """Measure and return the figures."""
    requests = make_requests()
    ours = _ours(make_engine(RULES), requests)
    small, large = _ours(make_engine(1_000), requests), _ours(make_engine(50_000), requests)
    cedar = _cedar(RULES)
    if cedar is not None and cedar() != _ours(make_engine(RULES), requests[:CEDAR_BATCH])():
        raise RuntimeError("the two engines do not agree")
    if not small() == ours() == large():
        raise RuntimeError("rules that cannot match change decisions")
    own: list[float] = []
    other: list[float] = []
    ratios: list[float] = []
    for _ in range(turns):
        own.append(_time(ours))
        if cedar is not None:
            other.append(_time(cedar))
        ratios.append(1 / (_time(small) / _time(large)))
    per_second = BATCH / statistics.median(own)
    peer = CEDAR_BATCH / statistics.median(other) if other else None
    flat = statistics.median(ratios)
    return [
        Figure(
            "decision, 10,000 rules, 5 authorizers (peer: cedarpy)",
            per_second,
            peer,
            f">= {MINIMUM:,} /s",
            per_second >= MINIMUM,
            "/s",
        ),
        Figure("the same, 50,000 rules instead of 1,000", flat, None, f"<= {FLAT:g} x", flat <= FLAT, "x"),
    ]


if __name__ == "__main__":
    sys.exit(0 if show(figures()) else 1)
