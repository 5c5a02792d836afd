"""Leases in a gridmapdir, without the C library (see tests/interop/test_pool.py)."""

from __future__ import annotations

import errno
import os
import threading
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gsi.authz import pool as pool_module
from gsi.authz.pool import PoolDirectory, User, decode_lease_name, encode_lease_name, find_system_user
from gsi.errors import ConfigError, ConflictError, NotFoundError, ParseError

ALICE, BOB = "/O=Grid/CN=Alice", "/O=Grid/CN=Bob"


def find_user(account: str) -> User | None:
    """Everyone exists but ghosts; rooty has the rights of root."""
    if account.startswith("ghost"):
        return None
    return User(0 if account.startswith("rooty") else 1000 + zlib.crc32(account.encode()), 100)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "gridmapdir"
    made.mkdir(mode=0o755)
    return made


def fill(directory: Path, *accounts: str) -> None:
    for account in accounts:
        (directory / account).touch()
        os.utime(directory / account, (1_000_000_000, 1_000_000_000))  # made long ago, as account files are


def links(directory: Path) -> dict[str, int]:
    return {entry.name: entry.stat().st_nlink for entry in os.scandir(directory)}


def test_taking_finding_and_releasing(directory: Path) -> None:
    fill(directory, "pool002", "pool001", "other001")
    pool = PoolDirectory(str(directory), find_user=find_user)
    assert pool.find(ALICE) is None
    lease = pool.take(ALICE, ".pool")
    assert (lease.account, lease.gid) == ("pool001", 100)
    assert lease.uid == 1000 + zlib.crc32(b"pool001")
    assert lease.dn == ALICE.lower()
    assert pool.take(ALICE, ".pool").account == "pool001"
    assert pool.take(ALICE.upper(), ".pool").account == "pool001"
    assert pool.take(BOB, ".pool").account == "pool002"
    assert links(directory) == {
        "pool001": 2, "pool002": 2, "other001": 1, "%2fo%3dgrid%2fcn%3dalice": 2, "%2fo%3dgrid%2fcn%3dbob": 2,
    }  # fmt: skip
    assert [one.account for one in pool.leases()] == ["pool001", "pool002"]
    with pytest.raises(NotFoundError, match=r"no free account in the pool \.pool"):
        pool.take("/O=Grid/CN=Carol", ".pool")
    assert pool.take("/O=Grid/CN=Carol", ".").account == "other001"
    assert pool.release(ALICE) == "pool001"
    assert pool.release(ALICE) is None
    assert pool.take("/O=Grid/CN=Dave", ".pool").account == "pool001"
    assert pool.problems() == ()


def test_the_use_is_noted(directory: Path) -> None:
    fill(directory, "pool001")
    pool = PoolDirectory(str(directory), find_user=find_user)
    pool.take(ALICE, ".pool")
    os.utime(directory / "pool001", (1_000_000_000, 1_000_000_000))
    assert pool.leases()[0].last_used == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
    pool.take(ALICE, ".pool")
    assert datetime.now(UTC) - pool.leases()[0].last_used < timedelta(minutes=1)


def test_a_pool_is_its_name_and_digits(directory: Path) -> None:
    fill(directory, "atlasadmin1", "atlas", "atlas1x", "atlas01")
    assert PoolDirectory(str(directory), find_user=find_user).take(ALICE, ".atlas").account == "atlas01"
    with pytest.raises(NotFoundError):
        PoolDirectory(str(directory), find_user=find_user).take(BOB, ".atlas")
    loose = PoolDirectory(str(directory), find_user=find_user, strict_prefix=False)
    assert loose.take(BOB, ".atlas").account == "atlas"


def test_what_is_no_account_is_passed_over(directory: Path) -> None:
    fill(directory, "root", ".hidden", "pool~", "%2fo", "ghost1", "rooty1", "pool 1", "zoe")
    (directory / "alink").symlink_to("zoe")
    (directory / "bdir").mkdir()
    pool = PoolDirectory(str(directory), find_user=find_user)
    assert pool.take(ALICE, ".").account == "zoe"
    with pytest.raises(NotFoundError):
        pool.take(BOB, ".")


def test_a_name_that_was_moved_to_another_pool(directory: Path) -> None:
    fill(directory, "admin1", "guest1")
    pool = PoolDirectory(str(directory), find_user=find_user)
    pool.take(ALICE, ".admin")
    with pytest.raises(ConflictError, match=r"has the account admin1, which is not in the pool \.guest"):
        pool.take(ALICE, ".guest")
    assert PoolDirectory(str(directory), find_user=find_user, keep_moved=True).take(ALICE, ".guest").account == "admin1"
    pool.release(ALICE)
    assert pool.take(ALICE, ".guest").account == "guest1"


@pytest.mark.parametrize("dn", ["", "CN=Alice", "Alice", "/CN=R\u00e9", "/CN=a\n", "/CN=" + "/" * 90])
def test_only_names_in_one_line_form(directory: Path, dn: str) -> None:
    pool = PoolDirectory(str(directory), find_user=find_user)
    for call in (pool.find, pool.release, lambda name: pool.take(name, ".")):
        with pytest.raises(ParseError):
            call(dn)


@pytest.mark.parametrize("pool", ["", "pool", ".po/ol", ". ", "..;"])
def test_only_pools(directory: Path, pool: str) -> None:
    with pytest.raises(ParseError):
        PoolDirectory(str(directory), find_user=find_user).take(ALICE, pool)


def test_names_of_leases() -> None:
    assert encode_lease_name("/O=Grid/CN=Ren\\xC3 1") == "%2fo%3dgrid%2fcn%3dren%5cxc3%201"
    assert decode_lease_name("%2fo%3dgrid%2fcn%3dren%5cxc3%201") == "/o=grid/cn=ren\\xc3 1"
    assert decode_lease_name("%2fx%") == "/x%"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o757])
def test_a_directory_open_to_others(directory: Path, mode: int) -> None:
    fill(directory, "pool1")
    directory.chmod(mode)
    with pytest.raises(ConfigError, match="others may write"):
        PoolDirectory(str(directory), find_user=find_user).find(ALICE)
    trusting = PoolDirectory(str(directory), find_user=find_user, trusted_groups=frozenset({directory.stat().st_gid}))
    if mode == 0o775:
        assert trusting.take(ALICE, ".pool").account == "pool1"
    else:
        with pytest.raises(ConfigError):
            trusting.find(ALICE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_strangers_directory(directory: Path) -> None:
    os.chown(directory, 65534, -1)
    with pytest.raises(ConfigError, match="belongs to uid 65534"):
        PoolDirectory(str(directory)).find(ALICE)


def test_no_directory(directory: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        PoolDirectory(str(directory / "none")).find(ALICE)
    with pytest.raises(ConfigError):
        PoolDirectory("a\x00b").find(ALICE)


def test_damaged_leases(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_PAUSE_SECONDS", 0)
    fill(directory, "pool1", "pool2", "ghost1", "rooty1")
    pool = PoolDirectory(str(directory), find_user=find_user)
    alone = directory / encode_lease_name("/CN=alone")
    alone.touch()
    for account, *dns in (("pool1", "/CN=a", "/CN=b"), ("ghost1", "/CN=g"), ("rooty1", "/CN=r")):
        for dn in dns:
            os.link(directory / account, directory / encode_lease_name(dn))
            os.utime(directory / account)
    for dn, why in (
        ("/CN=alone", "damaged"),
        ("/CN=a", "3 names"),
        ("/CN=g", "does not exist"),
        ("/CN=r", "rights of root"),
    ):
        for call in (pool.find, lambda name: pool.take(name, ".")):
            with pytest.raises(ConflictError, match=why):
                call(dn)
    (directory / encode_lease_name("/CN=link")).symlink_to("pool2")
    with pytest.raises(ConflictError, match="damaged"):
        pool.find("/CN=link")
    assert len(pool.problems()) == 5
    assert [lease.account for lease in pool.leases()] == ["ghost1", "rooty1"]


def test_two_leases_of_one_file(directory: Path) -> None:
    """Two lease names and no account: whoever asks must not get a file name for an account."""
    first, second = (directory / encode_lease_name(dn) for dn in (ALICE, BOB))
    first.touch()
    os.link(first, second)
    os.utime(first)
    with pytest.raises(ConflictError, match="account's file is gone"):
        PoolDirectory(str(directory), find_user=find_user).find(ALICE)


def test_a_link_that_is_withdrawn_is_waited_for(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A C process links first and counts then; what it takes back must not be seen as a lease."""
    fill(directory, "pool1")
    lease = directory / encode_lease_name(ALICE)
    os.link(directory / "pool1", lease)  # changed just now, and never used
    monkeypatch.setattr("gsi.authz.pool.time.sleep", lambda _seconds: lease.unlink(missing_ok=True))
    assert PoolDirectory(str(directory), find_user=find_user).find(ALICE) is None


def test_rivals_for_one_account(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process holds a reservation the account is not free; without one it is."""
    fill(directory, "pool1", "pool2")
    rival = directory / "%~1-rival"
    os.link(directory / "pool1", rival)
    pool = PoolDirectory(str(directory), find_user=find_user)
    assert pool.take(ALICE, ".pool").account == "pool2"
    monkeypatch.setattr("gsi.authz.pool.time.sleep", lambda _seconds: rival.unlink(missing_ok=True))
    assert pool.take(BOB, ".pool").account == "pool1"


def test_an_abandoned_reservation_is_told(directory: Path) -> None:
    fill(directory, "pool1")
    os.link(directory / "pool1", directory / "%~99-dead")
    os.utime(directory / "pool1")
    pool = PoolDirectory(str(directory), find_user=find_user)
    with pytest.raises(NotFoundError):
        pool.take(ALICE, ".pool")
    assert "did not finish" in pool.problems()[0]
    assert pool.leases() == ()


def test_accounts_of_one_user_id_are_told(directory: Path) -> None:
    fill(directory, "pool1", "pool2")
    pool = PoolDirectory(str(directory), find_user=lambda _account: User(1000, 100))
    assert pool.problems() == ("pool2: has the user id 1000 of pool1",)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL])
def test_without_renaming_that_does_not_replace(directory: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Some file systems cannot; then the lease is made as the C library makes it."""
    monkeypatch.setattr(pool_module, "rename_new", lambda *_: None)
    fill(directory, "pool1", "pool2")
    pool = PoolDirectory(str(directory), find_user=find_user)
    assert pool.take(ALICE, ".pool").account == "pool1"
    assert pool.take(ALICE, ".pool").account == "pool1"
    assert pool.take(BOB, ".pool").account == "pool2"
    assert sorted(links(directory).values()) == [2, 2, 2, 2]


def test_the_last_free_account_is_taken_for_the_same_name_meanwhile(directory: Path) -> None:
    """Then that lease is the one, and the pool is not exhausted."""
    fill(directory, "pool001")
    other = PoolDirectory(str(directory), find_user=find_user)
    taken: list[str] = []

    def find_slowly(account: str) -> User | None:
        if not taken:
            taken.append("")
            taken[0] = other.take("/CN=A", ".pool").account
        return find_user(account)

    assert PoolDirectory(str(directory), find_user=find_slowly).take("/CN=A", ".pool").account == "pool001"
    assert taken == ["pool001"]


@pytest.mark.parametrize("like_c", [False, True])
def test_threads_get_different_accounts(directory: Path, monkeypatch: pytest.MonkeyPatch, like_c: bool) -> None:
    if like_c:
        monkeypatch.setattr(pool_module, "rename_new", lambda *_: None)
    fill(directory, *(f"pool{number:03}" for number in range(24)))
    pool = PoolDirectory(str(directory), find_user=find_user)
    found: dict[str, set[str]] = {}
    lock = threading.Lock()

    def work(number: int) -> None:
        dn = f"/CN=user {number % 24}"
        account = pool.take(dn, ".pool").account
        with lock:
            found.setdefault(dn, set()).add(account)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(48)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 24
    assert all(len(accounts) == 1 for accounts in found.values())
    assert len(set.union(*found.values())) == 24
    assert pool.problems() == ()
    assert sum(links(directory).values()) == 96


def test_system_users() -> None:
    assert find_system_user("root") == User(0, 0)
    assert find_system_user("no such user") is None
    assert find_system_user("\x00") is None
