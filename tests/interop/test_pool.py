"""One gridmapdir, two implementations: leases made by either side are the other's, also when all reach at once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gsi.authz.pool import PoolDirectory, User, encode_lease_name
from gsi.errors import ConflictError, NotFoundError
from tests.harness.gss_assist import GssAssist

ROOT = Path(__file__).parents[2]

OURS = """
import json, sys
from gsi.authz.pool import PoolDirectory, User
pool = PoolDirectory(sys.argv[1], find_user=lambda account: User(1000, 100))
for line in sys.stdin:
    print(json.dumps(pool.take(json.loads(line), ".pool").account), flush=True)
"""


def make(tmp_path: Path, count: int) -> tuple[Path, Path]:
    """A gridmapdir with accounts made long ago, and a grid-mapfile that sends every user to its pool."""
    directory = tmp_path / "gridmapdir"
    directory.mkdir(mode=0o755)
    for number in range(count):
        account = directory / f"pool{number:03}"
        account.touch()
        os.utime(account, (1_000_000_000, 1_000_000_000))
    mapfile = tmp_path / "grid-mapfile"
    mapfile.write_text("".join(f'"/O=Grid/CN=User {number}" .pool\n' for number in range(100)))
    return directory, mapfile


def ours(directory: Path) -> PoolDirectory:
    return PoolDirectory(str(directory), find_user=lambda _account: User(1000, 100))


def test_leases_are_shared(tmp_path: Path) -> None:
    directory, mapfile = make(tmp_path, 4)
    pool = ours(directory)
    with GssAssist(gridmap=mapfile, gridmapdir=directory) as c:
        theirs = c.gridmap(b"/O=Grid/CN=User 1")
        assert theirs is not None
        lease = pool.find("/O=Grid/CN=User 1")
        assert lease is not None
        assert lease.account == theirs.decode()
        mine = pool.take("/O=Grid/CN=User 2", ".pool").account
        assert mine != theirs.decode()
        assert c.gridmap(b"/O=Grid/CN=User 2") == mine.encode()
        assert c.gridmap(b"/o=grid/cn=user 2") == mine.encode()
        assert c.userok(b"/O=Grid/CN=User 2", mine.encode())
        assert not c.userok(b"/O=Grid/CN=User 2", theirs)
        assert c.map_local_user(mine.encode()) == b"/o=grid/cn=user 2"
        assert pool.release("/O=Grid/CN=User 1") == theirs.decode()
        assert not c.userok(b"/O=Grid/CN=User 1", theirs)
        for number in (3, 4):
            assert c.gridmap(f"/O=Grid/CN=User {number}".encode()) is not None
        assert pool.take("/O=Grid/CN=User 5", ".pool").account not in {None, mine}
        assert c.gridmap(b"/O=Grid/CN=User 6") is None
        with pytest.raises(NotFoundError):
            pool.take("/O=Grid/CN=User 6", ".pool")
    assert len(pool.leases()) == 4
    assert [problem for problem in pool.problems() if "user id" not in problem] == []


@pytest.mark.parametrize(
    "dn", ["/O=Grid/CN=a(b) c-d_e.f", "/O=Grid/CN=Ren\\xC3\\xA9", "/O=Grid/CN=host\\/www", "/CN=%2f~"]
)
def test_names_of_leases_are_the_same(tmp_path: Path, dn: str) -> None:
    directory, mapfile = make(tmp_path, 1)
    mapfile.write_text('"{}" .\n'.format(dn.replace("\\", "\\\\")))
    with GssAssist(gridmap=mapfile, gridmapdir=directory) as c:
        assert c.gridmap(dn.encode()) == b"pool000"
    assert encode_lease_name(dn) in os.listdir(directory)
    found = ours(directory).find(dn)
    assert found is not None
    assert found.account == "pool000"


def test_c_does_not_see_our_reservations(tmp_path: Path) -> None:
    directory, mapfile = make(tmp_path, 2)
    os.link(directory / "pool000", directory / "%~1-ab")
    with GssAssist(gridmap=mapfile, gridmapdir=directory) as c:
        assert c.gridmap(b"/O=Grid/CN=User 1") == b"pool001"
        assert c.gridmap(b"/O=Grid/CN=User 2") is None


def test_a_user_who_was_moved_to_another_pool_keeps_the_account_in_c_alone(tmp_path: Path) -> None:
    directory, mapfile = make(tmp_path, 1)
    pool = ours(directory)
    pool.take("/O=Grid/CN=User 1", ".pool")
    mapfile.write_text('"/O=Grid/CN=User 1" .guest\n')
    with GssAssist(gridmap=mapfile, gridmapdir=directory) as c:
        assert c.gridmap(b"/O=Grid/CN=User 1") == b"pool000"
    with pytest.raises(ConflictError):
        pool.take("/O=Grid/CN=User 1", ".guest")


def test_c_takes_accounts_that_merely_start_like_the_pool(tmp_path: Path) -> None:
    directory, mapfile = make(tmp_path, 0)
    (directory / "pooladmin1").touch()
    with pytest.raises(NotFoundError):
        ours(directory).take("/O=Grid/CN=User 1", ".pool")
    with GssAssist(gridmap=mapfile, gridmapdir=directory) as c:
        assert c.gridmap(b"/O=Grid/CN=User 1") == b"pooladmin1"


def test_no_double_lease_under_parallel_load(tmp_path: Path) -> None:
    """Three C processes share the users among them (two of them asking for one user have a race of their own);
    three of ours ask for every user at the same time.
    """
    users, sides = 48, 3
    directory, mapfile = make(tmp_path, users + 8)
    dns = [f"/O=Grid/CN=User {number}" for number in range(users)]
    found: dict[str, set[str]] = {dn: set() for dn in dns}
    lock = threading.Lock()
    start = threading.Barrier(2 * sides)
    failures: list[BaseException] = []

    def note(dn: str, account: str) -> None:
        with lock:
            found[dn].add(account)

    def ask_c(side: int) -> None:
        with GssAssist(gridmap=mapfile, gridmapdir=directory) as c:
            assert c.gridmap(b"/O=Grid/CN=none") is None  # it is up and running
            start.wait(60)
            for dn in random.Random(side).sample(dns[side::sides], len(dns[side::sides])):
                account = c.gridmap(dn.encode())
                if account is not None:  # while another process reaches for the account C may see no lease
                    note(dn, account.decode())

    def ask_ours(side: int) -> None:
        argv = [sys.executable, "-c", OURS, str(directory)]
        with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            start.wait(60)
            for dn in random.Random(side).sample(dns, len(dns)):
                process.stdin.write(json.dumps(dn) + "\n")
                process.stdin.flush()
                note(dn, json.loads(process.stdout.readline()))

    def guard(body: object, side: int) -> None:
        try:
            assert callable(body)
            body(side)
        except BaseException as error:
            failures.append(error)
            start.abort()

    threads = [
        threading.Thread(target=guard, args=(body, side), daemon=True)
        for body in (ask_c, ask_ours)
        for side in range(sides)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures, failures
    assert all(len(accounts) == 1 for accounts in found.values()), found
    assert len(set.union(*found.values())) == users
    leases = ours(directory).leases()
    assert {lease.account for lease in leases} == set.union(*found.values())
    assert not [problem for problem in ours(directory).problems() if "user id" not in problem]
