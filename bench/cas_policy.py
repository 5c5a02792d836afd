"""A policy of a million users, a hundred thousand groups nested five deep and a million objects, beside a small one.

The small one has a thousand of each. Rows are made in bulk, as the repository would make them. In either a user is in
three groups of the lowest of five levels and through these in twelve more, and each group has five rights: so answers
are of one size, and what is measured is how they are found. One group more holds a tenth of the lowest ones.

    python bench/cas_policy.py [USERS] [--postgres]
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sqlalchemy as sa

from bench.pairs import Figure, alternate, show
from cas.policy.bootstrap import Bootstrap, bootstrap_changes, implicit_changes
from cas.policy.caller import Caller, name_key
from cas.policy.conditions import Strength
from cas.policy.model import Kind, Ref, TrustAnchor, User, UserGroup
from cas.policy.request import EVERYTHING, parse_request
from cas.policy.userfile import parse_users
from cas.repository.base import Author
from cas.repository.rows import get_id, rows, run
from cas.repository.sql import SQLPolicy, open_postgres_policy, open_sqlite_policy
from cas.repository.tables import ENTITIES, MEMBERS, STATEMENTS, USERS
from cas.service import CapabilityRequest, PolicyService, Settings
from gsi.authz.principals import parse_dn
from gsi.certificate import Certificate
from gsi.system import clock
from gsi.system.audit import AuditLog
from tests.harness.ca import TestCA
from tests.harness.postgres import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

FEW, MANY = 1_000, 1_000_000
CA = "/O=Grid/CN=Bench CA"
REAL = 40
LEVELS = 5
ROUNDS = 200
BATCH = 20_000
ENROL = 100_000
LIMIT, WHO_CAN_MS, ENROL_SECONDS = 1.5, 1000.0, 60.0
REQUEST = "Resource: FTPDirectoryTree|ftp://se.example.org/project{}/run/*\n file read\n"


@dataclass(frozen=True, slots=True)
class Community:
    """A policy of some size, and callers in it."""

    service: PolicyService
    repository: SQLPolicy
    callers: list[Caller]
    admin: Caller
    projects: int


def insert(connection: Connection, table: sa.Table, values: Iterator[dict[str, object]]) -> None:
    """Insert rows as they come."""
    while batch := list(itertools.islice(values, BATCH)):
        connection.execute(sa.insert(table), batch)


def fill(repository: SQLPolicy, users: int, groups: int, objects: int) -> int:
    """Fill a policy; return the number of projects."""
    projects = max(objects // 1000, 1)
    level = groups // LEVELS
    with repository.database.write() as connection:
        read, lookup, write = (
            get_id(connection, Ref(Kind.SERVICE_ACTION, name, "file")) for name in ("read", "lookup", "write")
        )
        namespace = get_id(connection, Ref(Kind.NAMESPACE, "FTPDirectoryTree"))
        anchor = get_id(connection, Ref(Kind.TRUST_ANCHOR, "ca"))
        ((next_id,),) = rows(connection, "SELECT next_id FROM policy")
        user0, group0 = next_id, next_id + users
        object0 = group0 + groups + 1
        statement0 = object0 + objects

        def entity(number: int, kind: int, scope: int, name: str, look: str | None) -> dict[str, object]:
            return {"id": number, "kind": kind, "scope": scope, "name": name, "skeleton": look, "version": 1}

        insert(connection, ENTITIES, (entity(user0 + n, 2, 0, f"user{n}", f"user{n}") for n in range(users)))
        keys = ((n, subject(n)) for n in range(users))
        insert(
            connection,
            USERS,
            ({"id": user0 + n, "subject": dn, "subject_key": key_of(n, dn), "anchor_id": anchor} for n, dn in keys),
        )
        total = groups + 1
        insert(connection, ENTITIES, (entity(group0 + n, 3, 0, f"group{n}", f"group{n}") for n in range(total)))
        insert(
            connection,
            ENTITIES,
            (entity(object0 + n, 5, namespace, object_name(n, projects), None) for n in range(objects)),
        )
        insert(connection, MEMBERS, members(users, user0, group0, level))
        insert(
            connection,
            STATEMENTS,
            (
                {
                    "id": statement0 + 5 * n + i,
                    "group_id": group0 + n,
                    "effect": 1,
                    "action_id": (read, lookup, write)[i % 3],
                    "object_id": object0 + (n * 5 + i // 3) * 7919 % objects,
                    "not_before": None,
                    "not_after": None,
                    "proxies": "any",
                    "strength": 0,
                    "terms": "//any/0",
                }
                for n in range(total)
                for i in range(5)
            ),
        )
        run(connection, "UPDATE policy SET next_id = :next", next=statement0 + 5 * total + 10)
    with repository.database.write() as connection:
        connection.execute(sa.text("ANALYZE"))
    return projects


def members(users: int, user0: int, group0: int, level: int) -> Iterator[dict[str, object]]:
    """Each user in three of the lowest groups, each group in one of the next level, some of the lowest in one more."""
    for n in range(users):
        for k in range(3):
            container = group0 + (n * 31 + k * level // 3) % level
            yield {"container_id": container, "member_kind": 2, "member_id": user0 + n, "container_kind": 3}
    for n in range(level * (LEVELS - 1)):
        container = group0 + (n // level + 1) * level + n * 7919 % level
        yield {"container_id": container, "member_kind": 3, "member_id": group0 + n, "container_kind": 3}
    for n in range(level // 10):
        container = group0 + level * LEVELS
        yield {"container_id": container, "member_kind": 3, "member_id": group0 + n, "container_kind": 3}


def object_name(number: int, projects: int) -> str:
    """Return the name of an object: a thousand in each project's tree, every tenth of them a directory."""
    path = f"ftp://se.example.org/project{number % projects}/run/d{number // projects // 10}/f{number // projects}"
    return f"{path}/*" if number % 10 == 0 else path


def subject(number: int) -> str:
    """Return the name in a user's certificate."""
    return f"/O=Grid/OU=People/CN=User {number}"


def key_of(number: int, dn: str) -> str:
    """Return the key of the name: really for those who ask, else something as long."""
    return name_key(parse_dn(dn)) if number % 997 == 0 else hashlib.sha256(dn.encode()).hexdigest()


def caller_of(authority: TestCA, dn: str) -> Caller:
    """Return a caller with a certificate of the CA."""
    eec = Certificate.parse(authority.issue(dn, "p256").chain_der[0])
    return Caller(eec=eec, key_thumbprint=b"\0" * 32, not_after=eec.not_after, strength=Strength.MEDIUM)


def make(directory: Path, users: int, authority: TestCA, conninfo: str | None) -> Community:
    """Make a policy of some size."""
    directory.mkdir(mode=0o700)
    store = directory / "store"
    # Nothing is kept in memory: what is measured is how answers are found.
    repository = open_sqlite_policy(str(store), kept=0) if conninfo is None else open_postgres_policy(conninfo, kept=0)
    begin = Bootstrap(TrustAnchor("ca", CA), User("admin", "/O=Grid/CN=Admin", "ca"), UserGroup("admins"))
    by = Author("bench", datetime.now(UTC) - timedelta(hours=1))
    repository.apply([*bootstrap_changes(begin), *implicit_changes("admins")], by)
    begun = time.monotonic()
    projects = fill(repository, users, max(users // 10, FEW), users)
    print(f"# {users} users in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    service = PolicyService(repository, Settings(community="bench"), AuditLog(str(directory / "audit.log")), clock.now)
    real = list(range(0, users, 997))[:REAL]
    callers = [caller_of(authority, subject(number)) for number in real]
    return Community(service, repository, callers, caller_of(authority, "/O=Grid/CN=Admin"), projects)


class Quiet:
    """An audit that costs nothing, where the disk's speed is not the question."""

    def record(self, record: object) -> None:
        """Keep nothing."""


def issue_figures(small: Community, large: Community) -> Iterator[Figure]:
    """Measure capabilities."""
    for what, text in (("everything", None), ("of one project", REQUEST)):
        bodies = []
        for one in (small, large):
            service = PolicyService(one.repository, Settings(community="bench"), Quiet(), clock.now)
            callers = itertools.cycle(one.callers)
            counter = itertools.count()

            def body(
                service: PolicyService = service,
                callers: Iterator[Caller] = callers,
                counter: Iterator[int] = counter,
                one: Community = one,
                text: str | None = text,
            ) -> None:
                number = next(counter) * 7 % one.projects
                policy = EVERYTHING if text is None else parse_request(text.format(number).encode())
                service.capability(next(callers), CapabilityRequest(policy=policy))

            bodies.append(body)
        few, many = (statistics.median(times) * 1000 for times in alternate(ROUNDS, *bodies))
        name = f"CAS capability p50, {what}, large policy"
        yield Figure(name, many, few, f"<= {LIMIT} x of {FEW}", many <= LIMIT * few)


def who_can_figures(small: Community, large: Community) -> Iterator[Figure]:
    """Measure who may do something: an object at random, and one on which the largest group has a right."""
    read = Ref(Kind.SERVICE_ACTION, "read", "file")
    for what, order in (
        ("a group's object", "ASC"),
        ("the widest group's object", "DESC"),
    ):
        objects = []
        for one in (small, large):
            with one.repository.database.read() as connection:
                query = (
                    "SELECT e.name FROM statements s JOIN entities e ON e.id = s.object_id JOIN entities a"
                    f" ON a.id = s.action_id WHERE a.name = 'read' AND e.kind = 5 ORDER BY s.group_id {order} LIMIT 1"
                )
                objects.append(Ref(Kind.OBJECT, str(rows(connection, query)[0][0]), "FTPDirectoryTree"))
        found = [one.service.who_can(one.admin, read, on) for one, on in zip((small, large), objects, strict=True)]
        print(f"# who_can, {what}: {[answer.total for answer in found]} users", file=sys.stderr)
        few, many = (
            statistics.median(times) * 1000
            for times in alternate(
                5,
                lambda: small.service.who_can(small.admin, read, objects[0]),  # noqa: B023  called within the loop
                lambda: large.service.who_can(large.admin, read, objects[1]),  # noqa: B023  called within the loop
            )
        )
        yield Figure(f"CAS who-can, {what}", many, few, f"<= {WHO_CAN_MS:.0f} ms", many <= WHO_CAN_MS)


def enrol_figure(large: Community, count: int = ENROL) -> Figure:
    """Enrol many users from a file into the large policy, the audit on disk."""
    lines = [f"new{n}\t/O=Grid/OU=New/CN=New User {n}\tca\tgroup{n % 100}\n" for n in range(count)]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    begun = time.monotonic()
    done = large.service.enrol_users(large.admin, parse_users(lines), owner="admins", digest=digest)
    taken = time.monotonic() - begun
    if done.enrolled != count:
        raise RuntimeError(f"{done.enrolled} users were enrolled")
    return Figure(
        f"CAS enrol {count:,} users from a file", taken, None, f"<= {ENROL_SECONDS:.0f} s", taken <= ENROL_SECONDS, "s"
    )


def figures(users: int = MANY, *, in_postgres: bool = False) -> list[Figure]:
    """Measure everything."""
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(TemporaryDirectory(prefix="bench-cas-")))
        authority = TestCA(CA, "p256")
        conninfos: list[str | None] = [None, None]
        if in_postgres:
            server = stack.enter_context(postgres(durable=True))
            conninfos = [stack.enter_context(server.database()) for _ in range(2)]
        communities = [
            make(root / f"policy{count}", count, authority, conninfo)
            for count, conninfo in zip((FEW, users), conninfos, strict=True)
        ]
        small, large = communities
        found = [*issue_figures(small, large), *who_can_figures(small, large), enrol_figure(large)]
        for one in communities:
            one.repository.close()
        return found


def main() -> int:
    """Measure and print."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    return 0 if show(figures(*numbers, in_postgres="--postgres" in sys.argv)) else 1


if __name__ == "__main__":
    sys.exit(main())
