"""A policy as the changes that make it again, from any point on: for a file, or for an answer page by page.

    for point, changes in steps(view):               # all of it
        ...
    for point, changes in steps(view, after=point):  # what comes behind

Things come before what names them: groups, trust anchors and namespaces, then users, actions and objects, then members,
attributes, statements. A point is of use in the same state of the policy only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cas.policy.changes import AddFeed, AddMember, Change, Enrol, Grant, SetFqan
from cas.policy.model import CAS, DEFAULT_NAMESPACE, EVERYONE, Kind, Ref, UserGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cas.repository.base import View

__all__ = ["BEGINNING", "Point", "steps"]

_KINDS: Final = (
    Kind.USER_GROUP,
    Kind.TRUST_ANCHOR,
    Kind.NAMESPACE,
    Kind.SERVICE_TYPE,
    Kind.SERVICE_ACTION_GROUP,
    Kind.OBJECT_GROUP,
    Kind.USER,
)
"""In an order in which nothing names what comes later."""

_SCOPES: Final = {Kind.SERVICE_ACTION: Kind.SERVICE_TYPE, Kind.OBJECT: Kind.NAMESPACE}
_GROUPS: Final = (Kind.USER_GROUP, Kind.OBJECT_GROUP, Kind.SERVICE_ACTION_GROUP)
_ALWAYS_THERE: Final = frozenset(
    {Ref(Kind.USER_GROUP, EVERYONE), Ref(Kind.NAMESPACE, DEFAULT_NAMESPACE), Ref(Kind.SERVICE_TYPE, CAS)}
)


class Point(NamedTuple):
    """How far an export has come.

    Attributes:
        stage: In which stage.
        outer: With which scope or group.
        inner: Behind which name, member or number within it; empty for its beginning.
    """

    stage: int
    outer: str = ""
    inner: str = ""


BEGINNING: Final = Point(0)


def steps(view: View, *, after: Point = BEGINNING) -> Iterator[tuple[Point, tuple[Change, ...]]]:
    """Return the changes that make a policy, some at a time, each with the point behind them.

    Args:
        view: The policy.
        after: The point behind which to begin.

    Raises:
        NotFoundError: The point is of another state.
        StorageError: The policy cannot be read.
    """
    stages = _stages()
    point = after
    for number in range(after.stage, len(stages)):
        yield from stages[number](view, point if number == after.stage else Point(number))


def _stages() -> list[Callable[[View, Point], Iterator[tuple[Point, tuple[Change, ...]]]]]:
    return [
        *(lambda view, point, kind=kind: _things(view, point, kind) for kind in _KINDS),
        *(lambda view, point, kind=kind: _scoped(view, point, kind) for kind in _SCOPES),
        *(lambda view, point, kind=kind: _members(view, point, kind) for kind in _GROUPS),
        _attributes,
        _statements,
    ]


def _names(view: View, kind: Kind, scope: str = "", *, after: str = "") -> Iterator[str]:
    while page := view.list_names(kind, scope=scope, after=after):
        yield from page
        after = page[-1]


def _from(view: View, kind: Kind, first: str) -> Iterator[str]:
    """Return names from one on, with it."""
    if first:
        yield first
    yield from _names(view, kind, after=first)


def _things(view: View, point: Point, kind: Kind) -> Iterator[tuple[Point, tuple[Change, ...]]]:
    for name in _names(view, kind, after=point.inner):
        yield point._replace(inner=name), _enrolment(view, Ref(kind, name))


def _scoped(view: View, point: Point, kind: Kind) -> Iterator[tuple[Point, tuple[Change, ...]]]:
    for scope in _from(view, _SCOPES[kind], point.outer):
        for name in _names(view, kind, scope, after=point.inner if scope == point.outer else ""):
            yield Point(point.stage, scope, name), _enrolment(view, Ref(kind, name, scope))


def _enrolment(view: View, ref: Ref) -> tuple[Change, ...]:
    found = view.find(ref)
    if found is None or ref in _ALWAYS_THERE or ref.scope == CAS:
        return ()
    return (Enrol(found.entity),)


def _members(view: View, point: Point, kind: Kind) -> Iterator[tuple[Point, tuple[Change, ...]]]:
    for name in _from(view, kind, point.outer):
        group = Ref(kind, name)
        after = _read_member(point.inner) if name == point.outer and point.inner else None
        while page := view.list_members(group, after=after):
            for member in page:
                yield Point(point.stage, name, _write_member(member)), (AddMember(group, member),)
            after = page[-1]


def _write_member(ref: Ref) -> str:
    return f"{ref.kind.value} {ref.scope}|{ref.name}"


def _read_member(text: str) -> Ref | None:
    kind, _, rest = text.partition(" ")
    scope, mark, name = rest.partition("|")
    return Ref(Kind(kind), name, scope) if mark and kind in set(Kind) else None


def _attributes(view: View, point: Point) -> Iterator[tuple[Point, tuple[Change, ...]]]:
    for name in _names(view, Kind.USER_GROUP, after=point.inner):
        found = view.find(Ref(Kind.USER_GROUP, name))
        if found is not None and isinstance(found.entity, UserGroup):
            fqan = () if found.fqan is None else (SetFqan(name, found.fqan),)
            yield point._replace(inner=name), (*fqan, *(AddFeed(name, feed) for feed in found.feeds))


def _statements(view: View, point: Point) -> Iterator[tuple[Point, tuple[Change, ...]]]:
    last = int(point.inner) if point.inner.isdecimal() else 0
    while page := view.page_statements(after=last):
        for last, statement in page:
            yield point._replace(inner=str(last)), (Grant(statement),)
