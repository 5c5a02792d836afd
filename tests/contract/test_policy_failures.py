"""What becomes of a policy when the store is full or gone, and what its questions read."""

from __future__ import annotations

import contextlib
import re
import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import event

from cas.policy.changes import AddMember, Change, Enrol, Grant
from cas.policy.conditions import Circumstances
from cas.policy.model import Effect, Kind, ObjectGroup, ObjectName, Ref, User, UserGroup
from cas.policy.request import EVERYTHING, PolicyRequest, Wanted
from cas.policy.userfile import UserLine, parse_users
from cas.repository.base import Applied, Author, View
from cas.repository.sql import SQLPolicy, open_postgres_policy, open_sqlite_policy
from gsi.errors import StorageError
from gsi.system.audit import AuditLog, AuditRecord, Verdict
from tests.harness.cas import ADMINS, FTP, NOW, READ, begin, dn, group, object_ref, permit, user
from tests.harness.postgres import postgres
from tests.harness.stores import lay_store

BY = Author("/O=Grid/CN=admin", NOW)
DATA = "ftp://h/data/*"


@pytest.fixture
def policy(tmp_path: Path) -> Iterator[SQLPolicy]:
    lay_store(open_sqlite_policy, tmp_path / "store")
    store = open_sqlite_policy(str(tmp_path / "store"))
    store.apply(begin(), BY)
    store.apply(
        [
            Enrol(UserGroup("readers")),
            Enrol(User("alice", dn("alice"), "ca")),
            AddMember(group("readers"), user("alice")),
            Enrol(ObjectName(FTP, DATA)),
            Enrol(ObjectGroup("og")),
            AddMember(Ref(Kind.OBJECT_GROUP, "og"), object_ref(DATA)),
            Grant(permit("readers", READ, DATA)),
            Grant(permit("readers", READ, Ref(Kind.OBJECT_GROUP, "og"), Effect.DENY)),
        ],
        BY,
    )
    yield store
    store.close()


def test_a_full_disk(policy: SQLPolicy) -> None:
    """A batch that does not fit is not there at all; what was there before can be read, and changed in place."""
    revision = policy.reading(lambda view: view.revision())
    with policy.database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # it stays as large as it is
    lines = list(parse_users(f"m{number}\t/O=Grid/CN=Many {number}\tca\treaders\n" for number in range(3000)))
    with pytest.raises(StorageError, match="full"):
        policy.enrol_users(lines, BY, owner=ADMINS, digest="d", guard=lambda _view: None, confirm=lambda _count: None)
    assert policy.reading(lambda view: (view.revision(), view.find(user("m0")))) == (revision, None)
    assert policy.enrolled_lines("d") == 0
    with policy.database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    policy.enrol_users(lines, BY, owner=ADMINS, digest="d", guard=lambda _view: None, confirm=lambda _count: None)
    assert policy.enrolled_lines("d") == 3000


def test_a_database_that_is_gone() -> None:
    with postgres() as server, server.database() as conninfo:
        policy = open_postgres_policy(conninfo)
        try:
            policy.apply(begin(), BY)
            server.stop()
            for work in (
                lambda: policy.reading(lambda view: view.revision()),
                lambda: policy.apply([Enrol(UserGroup("new"))], BY),
                lambda: policy.enrolled_lines("d"),
            ):
                with pytest.raises(StorageError):
                    work()
            server.start()
            assert policy.apply([Enrol(UserGroup("new"))], BY).changed == (True,)
        finally:
            policy.close()


def test_a_database_that_goes_away_within_a_change() -> None:
    """Without patience nothing is made; with patience it is made once, though it was begun twice."""
    with postgres() as server, server.database() as conninfo:
        told: list[Applied] = []

        def lose(applied: Applied) -> None:
            told.append(applied)
            if len(told) == 1:
                server.kill()
                server.start()

        for patience, made in ((0.0, 0), (20.0, 1)):
            policy = open_postgres_policy(conninfo, patience_seconds=patience)
            policy.apply(begin() if not made else [], BY)
            change: list[Change] = [Enrol(UserGroup("new")), Enrol(User("bob", dn("bob"), "ca"))]
            change.append(AddMember(group("new"), user("bob")))
            told.clear()
            try:
                policy.apply(change, BY, confirm=lose)
            except StorageError:
                assert not made
            entries = policy.reading(lambda view: view.history(about=user("bob")))
            assert [type(entry.change) for entry in entries] == [Enrol, AddMember] * made
            assert len(told) == 1 + made
            policy.close()


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file of this process become larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_files_that_cannot_grow(tmp_path: Path) -> None:
    """A full disk as the system tells of it: the change, or the record of it, is refused, and nothing is half there."""
    policy = open_sqlite_policy(str(tmp_path / "store"))
    policy.apply(begin(), BY)
    log = AuditLog(str(tmp_path / "audit.log"))
    lines = list(parse_users(f"m{number}\t/O=Grid/CN=Many {number}\tca\n" for number in range(3000)))
    record = AuditRecord(
        time=NOW,
        request_id="r1",
        service="cas",
        action="enrol-users",
        verdict=Verdict.PERMIT,
        reason="x" * 4096,
        peer="/O=Grid/CN=admin",
        address="",
    )

    def enrol(some: Sequence[UserLine], confirm: Callable[[int], None]) -> None:
        policy.enrol_users(some, BY, owner=ADMINS, digest="d", guard=lambda _view: None, confirm=confirm)

    largest = max(path.stat().st_size for path in (tmp_path / "store").iterdir())
    cases: list[tuple[int, list[UserLine], Callable[[int], None]]] = [
        (largest, lines, lambda _count: None),
        (1024, lines[:1], lambda _count: log.record(record)),
    ]
    for limit, some, confirm in cases:
        with pytest.raises(StorageError), file_size_limit(limit):
            enrol(some, confirm)
        assert policy.enrolled_lines("d") == 0
        assert policy.reading(lambda view: (view.revision(), view.find(user("m0")))) == (1, None)
    enrol(lines, lambda _count: None)
    assert policy.enrolled_lines("d") == 3000
    log.close()
    policy.close()


def groups_of(view: View) -> frozenset[int]:
    alice = view.find_user_named("alice")
    assert alice is not None
    return view.groups_of(alice.number, fqans=frozenset({"/climate"}))


PART = PolicyRequest((Wanted(FTP, "ftp://h/data/a/*", None),))
QUESTIONS: dict[str, Callable[[View], object]] = {
    "user": lambda view: view.find_user("0" * 64, "0" * 64),
    "groups": groups_of,
    "everything": lambda view: view.applicable(groups_of(view), EVERYTHING),
    "a part": lambda view: view.applicable(groups_of(view), PART),
    "one": lambda view: view.matched(groups_of(view), READ, object_ref("ftp://h/data/a")),
    "a whole": lambda view: view.matched(groups_of(view), READ, object_ref(DATA)),
    "FQANs": lambda view: view.fqans_of(groups_of(view)),
    "who can": lambda view: view.holders(READ, object_ref(DATA), Circumstances(NOW)),
    "thing": lambda view: view.find(group("readers")),
    "names": lambda view: view.list_names(Kind.USER, after="a"),
    "members": lambda view: view.list_members(group("readers")),
    "statements": lambda view: view.list_statements(group("readers")),
    "history": lambda view: view.history(about=user("alice")),
    "near and stated": lambda view: view.objects_near(object_ref("ftp://h/*"), limit=10, stated=True),
    "clauses": lambda view: view.clauses(READ, object_ref(DATA)),
    "FQANs around": lambda view: view.fqans_around(group("readers")),
    "all of it": lambda view: view.grants_of_all(limit=10),
    "reach": lambda view: view.reach(groups_of(view), {0}, limit=10),
    "people": lambda view: view.people(groups_of(view)),
    "near": lambda view: view.objects_near(object_ref("ftp://h/*"), limit=10),
}
LARGE = re.compile(
    r"^SCAN (entities|users|members|statements|history|history_of|[emosuh])\b(?! USING INDEX statements_denials)",
    re.MULTILINE,
)


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_reads_a_whole_table(policy: SQLPolicy, question: str) -> None:
    """Every statement has an index for what may be large, and begins with what is small; as denials are."""
    asked: list[tuple[str, object]] = []

    def hear(_connection: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        asked.append((statement, parameters))

    engine = policy.database.engine
    event.listen(engine, "before_cursor_execute", hear)
    policy.reading(QUESTIONS[question])
    event.remove(engine, "before_cursor_execute", hear)
    queries = [(text, values) for text, values in asked if not text.startswith("BEGIN")]
    assert queries
    with policy.database.read() as connection:
        for text, values in queries:
            assert isinstance(values, tuple)
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all()
            steps = "\n".join(str(row[3]) for row in plan)
            assert not LARGE.search(steps), f"{text}\n{steps}"
