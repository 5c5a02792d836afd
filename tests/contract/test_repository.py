"""What every repository must keep, whatever it is made of; each new kind joins `repository` below."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsi.errors import ConflictError, NotFoundError, StorageError
from gsi.secret import Passphrase
from myproxy.repository import sql
from myproxy.repository.base import (
    MAX_ADDRESS_BYTES,
    MAX_OWNER_BYTES,
    MAX_TEXT_BYTES,
    Repository,
    Selection,
    StoredCredential,
)
from myproxy.repository.seal import Place, Sealer, SealParameters

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ALICE = "/O=Grid/CN=Alice"
BOB = "/O=Grid/CN=Bob"


def credential(**changes: object) -> StoredCredential:
    base = StoredCredential(
        username="alice",
        owner=ALICE,
        certificates=(b"0leaf", b"0issuer"),
        sealed_key=b"sealed\0\xff",
        not_before=NOW,
        not_after=NOW + timedelta(days=7),
        lifetime=timedelta(hours=12),
        created=NOW,
        updated=NOW,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # field values by name


FULL = credential(
    name="second",
    description="a description, with ünïcode",
    retrievers="*",
    renewers="*/CN=x",
    key_retrievers="",
    trusted_retrievers="/CN=y",
    lock_message="closed\nfor repairs",
)


def test_what_goes_in_comes_out(repository: Repository) -> None:
    for stored in (credential(), FULL):
        repository.put(stored)
        expected = dataclasses.replace(stored, version=1)
        assert repository.get(stored.username, stored.name) == expected


def test_the_longest_names(repository: Repository) -> None:
    """Text that cannot be packed smaller, so that it would not fit into an index entry if the limits were higher."""
    noise = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(900))
    for split in (1, 1300, MAX_ADDRESS_BYTES - 1):
        limits = (split, MAX_ADDRESS_BYTES - split, MAX_OWNER_BYTES)
        username, name, owner = (noise.encode()[:limit].decode(errors="ignore") or "x" for limit in limits)
        repository.put(credential(username=username, name=name, owner=owner))
        assert repository.list_owned(username, owner) == (repository.get(username, name),)


def test_absent(repository: Repository) -> None:
    repository.put(credential())
    for username, name in (
        ("bob", None),
        ("alice", "second"),
        ("Alice", None),
        ("alice ", None),
        ("\ud800", None),
        ("a\0", None),
    ):
        with pytest.raises(NotFoundError):
            repository.get(username, name)
        with pytest.raises(NotFoundError):
            repository.delete(username, name, owner=ALICE)


def test_names_never_collide(repository: Repository) -> None:
    """The C store keeps these pairs in one file (user `a-b` unnamed, user `a` name `b`)."""
    pairs: list[tuple[str, str | None]] = [
        ("a-b", None),
        ("a", "b"),
        ("a", "b-c"),
        ("a-b", "c"),
        ("a", None),
        ("A", None),
    ]
    pairs += [("../x", None), (".", None), ("a/b", None), ("a" * 300, None), ("a" * 300, "n" * 300), ("ä", None)]
    for number, (username, name) in enumerate(pairs):
        repository.put(credential(username=username, name=name, sealed_key=b"%d" % number))
    for number, (username, name) in enumerate(pairs):
        assert repository.get(username, name).sealed_key == b"%d" % number


def test_replacing(repository: Repository) -> None:
    repository.put(credential(lock_message="locked"))
    repository.put(credential(sealed_key=b"new", created=LATER, updated=LATER, retrievers="*"))
    found = repository.get("alice", None)
    assert (found.sealed_key, found.retrievers, found.created, found.updated) == (b"new", "*", NOW, LATER)
    assert found.version == 2
    assert found.lock_message == "locked", "storing anew must not unlock"


def test_another_owner_cannot_replace_or_delete(repository: Repository) -> None:
    repository.put(credential())
    with pytest.raises(ConflictError):
        repository.put(credential(owner=BOB, sealed_key=b"stolen"))
    with pytest.raises(NotFoundError):
        repository.delete("alice", None, owner=BOB)
    with pytest.raises(NotFoundError):
        repository.delete("alice", None, owner=ALICE.lower())
    assert repository.get("alice", None).sealed_key == b"sealed\0\xff"


def test_delete(repository: Repository) -> None:
    repository.put(credential())
    repository.put(FULL)
    repository.delete("alice", None, owner=ALICE)
    with pytest.raises(NotFoundError):
        repository.get("alice", None)
    assert repository.get("alice", "second").owner == ALICE
    with pytest.raises(NotFoundError):
        repository.delete("alice", None, owner=ALICE)


def test_listing_is_by_user_and_owner_unnamed_first(repository: Repository) -> None:
    for name in ("zeta", None, "Beta", "alpha"):
        repository.put(credential(name=name))
    repository.put(credential(name="bobs", owner=BOB))
    repository.put(credential(username="other"))
    listed = [found.name for found in repository.list_owned("alice", ALICE)]
    assert listed[0] is None
    assert sorted(filter(None, listed)) == ["Beta", "alpha", "zeta"]
    assert [found.name for found in repository.list_owned("alice", BOB)] == ["bobs"]
    assert repository.list_owned("nobody", ALICE) == ()
    assert [repository.count_owned(ALICE, limit=limit) for limit in (1, 4, 9)] == [1, 4, 5]
    assert [repository.count_owned(owner, limit=9) for owner in (BOB, "/O=Grid/CN=Nobody", "\0")] == [1, 0, 0]


def test_replace_key_needs_the_version_that_was_read(repository: Repository) -> None:
    repository.put(credential())
    read = repository.get("alice", None)
    repository.replace_key(read, b"second", now=LATER)
    with pytest.raises(ConflictError):
        repository.replace_key(read, b"third", now=LATER)
    found = repository.get("alice", None)
    assert (found.sealed_key, found.updated, found.version) == (b"second", LATER, 2)
    repository.delete("alice", None, owner=ALICE)
    with pytest.raises(ConflictError):
        repository.replace_key(found, b"fourth", now=LATER)


def test_forms_of_keys(repository: Repository) -> None:
    assert repository.list_key_forms() == frozenset()
    sealers = [Sealer(SealParameters(memory_kib=8, iterations=count)) for count in (1, 1, 2)]
    place = Place("alice", None, ALICE, "")
    for number, sealer in enumerate(sealers):
        repository.put(credential(name=f"n{number}", sealed_key=sealer.seal(b"key", Passphrase("hunter22"), place)))
    repository.put(credential(name="open", sealed_key=sealers[0].seal(b"key", Passphrase(""), place)))
    repository.put(credential(name="odd", sealed_key=b"\0\xff"))
    assert repository.list_key_forms() == {"?", "0", "1:8/1/1", "1:8/2/1"}
    found = repository.get("alice", "n2")
    repository.replace_key(found, sealers[0].keep(b"no PEM", place), now=LATER)
    assert repository.list_key_forms() == {"?", "0", "1:8/1/1", "2:0"}


def test_lock_and_unlock(repository: Repository) -> None:
    repository.put(credential())
    repository.set_lock("alice", None, "closed", now=LATER)
    assert repository.get("alice", None).lock_message == "closed"
    repository.set_lock("alice", None, None, now=LATER)
    assert repository.get("alice", None).lock_message is None
    with pytest.raises(NotFoundError):
        repository.set_lock("bob", None, "closed", now=LATER)


@pytest.mark.parametrize(
    "changes",
    [
        {"username": ""},
        {"name": ""},
        {"username": "a\0b"},
        {"description": "\ud800"},
        {"retrievers": "x" * (MAX_TEXT_BYTES + 1)},
        {"username": "x" * (MAX_ADDRESS_BYTES + 1)},
        {"username": "x" * MAX_ADDRESS_BYTES, "name": "x"},
        {"owner": "x" * (MAX_OWNER_BYTES + 1)},
    ],
)
def test_what_cannot_be_kept_is_refused(repository: Repository, changes: dict[str, object]) -> None:
    with pytest.raises(StorageError):
        repository.put(credential(**changes))


def test_concurrent_writers(repository: Repository) -> None:
    """Two owners race for each of many names: each name has one winner, and nobody sees a foreign error."""
    errors: list[BaseException] = []

    def write(owner: str) -> None:
        for number in range(20):
            try:
                repository.put(credential(username=f"user{number}", owner=owner))
            except ConflictError:
                pass
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=write, args=(owner,)) for owner in (ALICE, BOB, "/CN=c", "/CN=d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for number in range(20):
        assert repository.get(f"user{number}", None).version == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(username=st.text(min_size=1, max_size=20), name=st.one_of(st.none(), st.text(max_size=20)))
def test_any_text_is_kept_or_refused(repository: Repository, username: str, name: str | None) -> None:
    stored = credential(username=username, name=name, owner=ALICE)
    try:
        repository.put(stored)
    except StorageError:
        return
    found = repository.get(username, name)
    assert (found.username, found.name) == (username, name)


def test_searching(repository: Repository) -> None:
    stored = [
        credential(),
        credential(name="second", not_after=NOW + timedelta(days=1)),
        credential(username="bob", owner=BOB, not_after=NOW + timedelta(days=30)),
    ]
    for one in stored:
        repository.put(one)

    def found(**wanted: object) -> list[tuple[str, str | None]]:
        selection = Selection(**wanted)  # type: ignore[arg-type]  # field values by name
        return [(one.username, one.name) for one in repository.search(selection)]

    everything = [("alice", None), ("alice", "second"), ("bob", None)]
    assert found() == everything
    assert found(username="alice") == everything[:2]
    assert found(name="") == [everything[0], everything[2]]
    assert found(name="second") == [everything[1]]
    assert found(owner=BOB) == [everything[2]]
    assert found(ends_before=NOW + timedelta(days=2)) == [everything[1]]
    assert found(ends_after=NOW + timedelta(days=2)) == [everything[0], everything[2]]
    assert found(ends_after=NOW + timedelta(days=2), ends_before=NOW + timedelta(days=8)) == [everything[0]]
    assert found(username="nobody") == []


def test_searching_goes_on_from_page_to_page(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "_PAGE", 5)
    names = [f"user{number:02}" for number in range(13)]
    for name in names:
        repository.put(credential(username=name))
    assert [one.username for one in repository.search(Selection())] == names


def test_listing_everybodys_under_a_name(repository: Repository) -> None:
    repository.put(credential())
    repository.put(credential(name="bobs", owner=BOB))
    repository.put(credential(name="second"))
    assert [one.name for one in repository.list_named("alice", limit=16)] == [None, "bobs", "second"]
    assert [one.name for one in repository.list_named("alice", limit=2)] == [None, "bobs"]
    assert repository.list_named("bob", limit=16) == ()
