"""A policy goes out in parts: from any point on the rest, of one state only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cas.policy.changes import AddFeed, AddMember, Change, Enrol, Grant, SetFqan
from cas.policy.model import ActionGroup, Feed, FeedSource, Kind, ObjectGroup, ObjectName, Ref, User, UserGroup
from cas.repository.exporting import Point, steps
from cas.service import asking
from gsi.errors import ConflictError, DeniedError
from tests.harness.ca import TestCA
from tests.harness.cas import ADMINS, CA_NAME, FTP, READ, Community, dn, group, make_community, object_ref, permit, user

DATA = "ftp://h/data/*"
HOLDINGS = Ref(Kind.OBJECT_GROUP, "holdings")
READING = Ref(Kind.SERVICE_ACTION_GROUP, "reading")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Community]:
    with make_community(TestCA(CA_NAME), tmp_path_factory.mktemp("policy")) as community:
        changes: list[Change] = [Enrol(UserGroup(name), ADMINS) for name in ("readers", "writers", "a group")]
        changes += [Enrol(User(f"u{number}", dn(f"u{number}"), "ca"), ADMINS) for number in range(4)]
        changes += [AddMember(group("readers"), user(f"u{number}")) for number in range(4)]
        changes += [
            AddMember(group("writers"), group("readers")),
            Enrol(ObjectName(FTP, DATA), ADMINS),
            Enrol(ObjectName("casDefaultNS", "thing"), ADMINS),
            Enrol(ObjectGroup("holdings"), ADMINS),
            AddMember(HOLDINGS, object_ref(DATA)),
            AddMember(HOLDINGS, object_ref("thing", "casDefaultNS")),
            AddMember(HOLDINGS, user("u1")),
            Enrol(ActionGroup("reading"), ADMINS),
            AddMember(READING, READ),
            SetFqan("readers", "/climate/readers"),
            AddFeed("readers", Feed(FeedSource.VOMS, "/atlas")),
            AddFeed("readers", Feed(FeedSource.LDAP, "cn=x")),
            Grant(permit("readers", READ, DATA)),
            Grant(permit("writers", READING, HOLDINGS)),
        ]
        community.service.apply(community.admin, changes)
        yield community


def test_from_any_point_on_comes_the_rest(world: Community) -> None:
    def look(after: Point | None = None) -> list[tuple[Point, tuple[Change, ...]]]:
        return world.repository.reading(lambda view: list(steps(view) if after is None else steps(view, after=after)))

    whole = look()
    assert len({point for point, _ in whole}) == len(whole) > 50
    for number, (point, _) in enumerate(whole):
        assert look(point) == whole[number + 1 :], point


def test_parts_make_the_whole(world: Community, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = world.service.export(world.admin)
    assert whole.point is None
    monkeypatch.setattr(asking, "MAX_EXPORT", 3)
    page = world.service.export(world.admin)
    parts = [page.changes]
    while page.point is not None:
        page = world.service.export(world.admin, after=page.point, revision=whole.revision)
        parts.append(page.changes)
    assert tuple(change for part in parts for change in part) == whole.changes
    assert max(map(len, parts)) <= 5  # a group's attributes stay together


def test_parts_are_of_one_state(world: Community) -> None:
    revision = world.service.export(world.admin).revision
    with pytest.raises(ConflictError, match="changed while it was exported"):
        world.service.export(world.admin, revision=revision - 1)


def test_who_may_not_ask_gets_none(world: Community) -> None:
    with pytest.raises(DeniedError, match="cas/query"):
        world.service.export(world.caller("u0"))
