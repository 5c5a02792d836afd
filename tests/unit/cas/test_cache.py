"""Answers that are kept: of the newest state alone, and not without end."""

from __future__ import annotations

from pathlib import Path

from cas.policy.changes import AddMember, Enrol, Grant, RemoveMember
from cas.policy.conditions import Circumstances
from cas.policy.evaluate import judge
from cas.policy.model import ObjectName, User, UserGroup
from cas.policy.request import EVERYTHING
from cas.repository.base import Author, View
from cas.repository.cache import ViewCache
from cas.repository.sql import open_sqlite_policy
from tests.harness.cas import FTP, NOW, READ, begin, dn, group, object_ref, permit, user

BY = Author("test", NOW)


def test_answers_are_of_one_revision() -> None:
    cache = ViewCache()
    assert cache.get(1, "a") is None
    cache.put(1, {"a": 1})
    assert (cache.get(1, "a"), cache.get(2, "a"), cache.get(0, "a")) == (1, None, None)
    cache.put(3, {"b": 2})
    assert (cache.get(1, "a"), cache.get(3, "a"), cache.get(3, "b")) == (None, None, 2)
    cache.put(2, {"a": 3})
    assert (cache.get(2, "a"), cache.get(3, "a")) == (None, None), "a reader that was slow adds nothing"


def test_there_are_so_many_of_them() -> None:
    cache = ViewCache(3)
    cache.put(1, {"a": 1, "b": 2})
    cache.put(1, {"c": 3, "d": 4})
    assert [cache.get(1, key) for key in "abcd"] == [None, 2, 3, 4]


def test_a_change_is_seen_at_once_on_every_node(tmp_path: Path) -> None:
    one, other = (open_sqlite_policy(str(tmp_path / "store")) for _ in range(2))
    data = "ftp://h/data/*"

    def may(view: View) -> tuple[bool, int]:
        found = view.find_user_named("alice")
        assert found is not None
        groups = view.groups_of(found.number)
        permitted = judge(view.matched(groups, READ, object_ref(data)), Circumstances(NOW)).permitted
        return permitted, len(view.applicable(groups, EVERYTHING))

    try:
        one.apply(begin(), BY)
        one.apply([Enrol(User("alice", dn("alice"), "ca")), Enrol(UserGroup("g")), Enrol(ObjectName(FTP, data))], BY)
        assert (one.reading(may), other.reading(may)) == ((False, 0), (False, 0))
        one.apply([AddMember(group("g"), user("alice")), Grant(permit("g", READ, data))], BY)
        assert (one.reading(may), other.reading(may)) == ((True, 1), (True, 1))
        other.apply([RemoveMember(group("g"), user("alice"))], BY)
        assert (one.reading(may), other.reading(may)) == ((False, 0), (False, 0))
    finally:
        one.close()
        other.close()
