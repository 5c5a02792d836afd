"""Enrols many users at once: the same rules as one by one (`changing`), asked and done for a whole batch.

    enrol(transaction, lines, owner="superUserGroup", digest=digest)

How far a file is done is noted in the transaction that does it, so that a crash neither skips a line nor repeats one.
A user who is enrolled already under the same names is passed over, and only joins the groups of the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cas.policy.changes import AddMember, Enrol
from cas.policy.model import GRANT_ALL, Effect, Kind, Ref, Statement
from cas.repository.base import LinesRefusedError
from cas.repository.changing import entity_row, statement_row, user_row
from cas.repository.rows import CHUNK, find_id, get_id, insert_many, rows, run, scalar
from cas.repository.tables import CODES, ENTITIES, EVERYONE_ID, MEMBERS, STATEMENTS, USERS
from gsi.errors import ConflictError
from gsi.sql.columns import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import Connection

    from cas.policy.model import User
    from cas.policy.userfile import UserLine
    from cas.repository.sql import Transaction

__all__ = ["enrol", "lines_done"]

_USER: Final = CODES[Kind.USER]


def lines_done(connection: Connection, digest: str) -> int:
    """Return how many lines of a file have been dealt with."""
    done = scalar(connection, "SELECT done FROM enrolments WHERE digest = :digest", digest=digest)
    return 0 if done is None else int(done)


def enrol(transaction: Transaction, lines: Sequence[UserLine], *, owner: str, digest: str) -> int:
    """Enrol the users of some lines, and note that they are done; return how many were new.

    Raises:
        LinesRefusedError: Names or subjects are enrolled as another's, or trust anchors or groups are not enrolled.
        ConflictError: Others were faster with the file.
        NotFoundError: The owner is not enrolled.
    """
    connection = transaction.connection
    if not lines:
        return 0
    if lines_done(connection, digest) != lines[0].number - 1:
        raise ConflictError("somebody else is enrolling the users of the same file")
    batch = _Batch(transaction, owner, lines)
    count = batch.enrol_new()
    batch.check()
    batch.add_members()
    _note(transaction, digest, lines[-1].number)
    return count


def _note(transaction: Transaction, digest: str, done: int) -> None:
    values = {"digest": digest, "done": done, "updated": seconds(transaction.by.now)}
    change = "UPDATE enrolments SET done = :done, updated = :updated WHERE digest = :digest"
    if not run(transaction.connection, change, **values).rowcount:
        run(
            transaction.connection,
            "INSERT INTO enrolments (digest, done, updated) VALUES (:digest, :done, :updated)",
            **values,
        )


class _Batch:
    """The lines of one transaction, and what is enrolled of them."""

    def __init__(self, transaction: Transaction, owner: str, lines: Sequence[UserLine]) -> None:
        self._transaction = transaction
        self._connection = transaction.connection
        self._owner = owner
        self._owner_id = get_id(self._connection, Ref(Kind.USER_GROUP, owner))
        given = [(line, line.user) for line in lines if line.user is not None]
        self._refused: dict[int, str] = {}
        self._anchors = self._find(Kind.TRUST_ANCHOR, {user.anchor for _, user in given})
        self._groups = self._find(Kind.USER_GROUP, {group for line, _ in given for group in line.groups})
        self._lines = [(line, user) for line, user in given if self._has_all(line, user)]
        self._ids: dict[str, int] = {}
        # Made once for each: to parse a name is most of the work.
        self._rows = [
            (entity_row(user.ref, 0, 0), user_row(user, 0, self._anchors[user.anchor])) for _, user in self._lines
        ]

    def _find(self, kind: Kind, names: set[str]) -> dict[str, int]:
        found = {name: find_id(self._connection, Ref(kind, name)) for name in names}
        return {name: number for name, number in found.items() if number is not None}

    def _has_all(self, line: UserLine, user: User) -> bool:
        """Say whether trust anchor and groups of a line are enrolled and can be joined; note it if not."""
        reason = None
        if user.anchor not in self._anchors:
            reason = f"there is no {Ref(Kind.TRUST_ANCHOR, user.anchor)}"
        for group in line.groups:
            if group not in self._groups:
                reason = reason or f"there is no {Ref(Kind.USER_GROUP, group)}"
            elif self._groups[group] == EVERYONE_ID:
                reason = reason or "the whole community's group has no list"
        if reason is not None:
            self._refused[line.number] = reason
        return reason is None

    def check(self) -> None:
        """Insist that every line could be enrolled.

        Raises:
            LinesRefusedError: One of them could not.
        """
        if self._refused:
            raise LinesRefusedError(sorted(self._refused.items()))

    def enrol_new(self) -> int:
        """Insert the users that are not enrolled."""
        known = self._known()
        entities, users, statements = [], [], []
        grant_all = get_id(self._connection, GRANT_ALL)
        take = self._transaction.changer.take_id
        for (line, user), (entity, row) in zip(self._lines, self._rows, strict=True):
            subject = (str(row["subject_key"]), self._anchors[user.anchor])
            try:
                same = known.same_user(user.nickname, str(entity["skeleton"]), subject)
            except ConflictError as error:
                self._refused[line.number] = error.message
                continue
            if same is not None:
                self._ids[user.nickname] = same
                continue
            number = take()
            known.add(user.nickname, str(entity["skeleton"]), subject, number)
            self._ids[user.nickname] = number
            entities.append(entity | {"id": number})
            users.append(row | {"id": number})
            grant = Statement(self._owner, Effect.PERMIT, GRANT_ALL, user.ref)
            statements.append(statement_row(grant, take(), self._owner_id, grant_all, number))
            self._transaction.entries.append((take(), Enrol(user, self._owner), ()))
        for table, values in ((ENTITIES, entities), (USERS, users), (STATEMENTS, statements)):
            insert_many(self._connection, table, values)
        return len(users)

    def add_members(self) -> None:
        """Insert the memberships that are not there."""
        there: set[tuple[int, int]] = set()
        for part in _parts(list(self._ids.values())):
            query = "SELECT container_id, member_id FROM members WHERE member_id IN :ids"
            there.update((int(row[0]), int(row[1])) for row in rows(self._connection, query, ids=part))
        values: list[dict[str, object]] = []
        touched: set[int] = set()
        for line, user in self._lines:
            for name in line.groups:
                pair = (self._groups[name], self._ids[user.nickname])
                if pair in there:
                    continue
                there.add(pair)
                touched.add(pair[0])
                values.append(
                    {
                        "container_id": pair[0],
                        "member_kind": _USER,
                        "member_id": pair[1],
                        "container_kind": CODES[Kind.USER_GROUP],
                    }
                )
                change = AddMember(Ref(Kind.USER_GROUP, name), user.ref)
                self._transaction.entries.append((self._transaction.changer.take_id(), change, ()))
        insert_many(self._connection, MEMBERS, values)
        for part in _parts(sorted(touched)):
            run(self._connection, "UPDATE entities SET version = version + 1 WHERE id IN :ids", ids=part)

    def _known(self) -> _Known:
        """Return what is enrolled of all that the lines name."""
        known = _Known()
        rest = " FROM users u JOIN entities e ON e.id = u.id WHERE "
        columns = "SELECT e.id, e.name, e.skeleton, u.subject_key, u.anchor_id" + rest
        for part in _parts(self._rows):
            looks = [entity["skeleton"] for entity, _ in part]
            known.take(
                rows(self._connection, f"{columns} e.kind = :kind AND e.skeleton IN :all", kind=_USER, all=looks)
            )
            keys = [row["subject_key"] for _, row in part]
            known.take(rows(self._connection, f"{columns} u.subject_key IN :all", all=keys))
        return known


class _Known:
    """Who is enrolled, by name, look and subject."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[int, tuple[str, int]]] = {}
        self._looks: dict[str, str] = {}
        self._subjects: dict[tuple[str, int], str] = {}

    def take(self, found: Sequence[Sequence[Any]]) -> None:
        """Add rows."""
        for number, name, look, key, anchor in found:
            self.add(name, look, (key, int(anchor)), int(number))

    def add(self, name: str, look: str, subject: tuple[str, int], number: int) -> None:
        """Add one user."""
        self._names[name] = (number, subject)
        self._looks[look] = name
        self._subjects[subject] = name

    def same_user(self, name: str, look: str, subject: tuple[str, int]) -> int | None:
        """Return the number of the user of both names, or None for a new one.

        Raises:
            ConflictError: One of the names is another's.
        """
        known = self._names.get(name)
        if known is not None:
            if known[1] == subject:
                return known[0]
            raise ConflictError(f"user {name} is enrolled already, with another subject")
        if look in self._looks:
            raise ConflictError(f"{name!a} looks like the user {self._looks[look]!a}")
        if subject in self._subjects:
            raise ConflictError(f"the subject is enrolled as {self._subjects[subject]}")
        return None


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for at in range(0, len(values), CHUNK):
        yield values[at : at + CHUNK]
