"""Every repository under kill -9 and full disks, at each call by which bytes reach a disk or a socket.

The trials themselves are in `tests.harness.store_crashes`, which runs in a process with the calls counted.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gsi.certificate import Certificate
from gsi.pem import split_pem
from myproxy.repository.spool import SpoolEntry, write_entry
from tests.harness.ca import TestCA
from tests.harness.killpoints import How, build_library, run_with_killpoints
from tests.harness.postgres import Postgres

SCRIPT = "tests.harness.store_crashes"
CREDENTIALS_TO_IMPORT = 5


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("library"))


def count(done: str) -> int:
    """How many trials there were; a handful would mean that the calls are not seen."""
    return int(done.rsplit(maxsplit=1)[-1])


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        pytest.param("sqlite", How.KILL_BEFORE, id="sqlite-before"),
        pytest.param("sqlite", How.KILL_HALFWAY, id="sqlite-halfway"),
        pytest.param("postgresql", How.KILL_BEFORE, id="postgresql"),  # half a message is none to its server
    ],
)
def test_what_was_acknowledged_is_whole(
    request: pytest.FixtureRequest, tmp_path: Path, library: Path, kind: str, how: How
) -> None:
    if kind == "sqlite":
        done = run_with_killpoints(SCRIPT, kind, how.name, tmp_path, library=library).check()
        assert count(done.stdout) > 40
        return
    server = request.getfixturevalue("postgres_server")
    assert isinstance(server, Postgres)
    with server.database() as conninfo:
        done = run_with_killpoints(SCRIPT, kind, how.name, tmp_path, conninfo, library=library).check()
    assert count(done.stdout) > 40


def test_a_store_that_was_half_made(tmp_path: Path, library: Path) -> None:
    done = run_with_killpoints(SCRIPT, "making", How.KILL_HALFWAY.name, tmp_path, library=library).check()
    assert count(done.stdout) > 10


def test_a_first_import_is_all_or_nothing(tmp_path: Path, library: Path) -> None:
    authority = TestCA("/O=Grid/CN=Test CA", "p256")
    alice = authority.issue("/O=Grid/CN=Alice", "p256")
    (key,) = (block for block in split_pem(alice.bundle(), what="test") if block.label.endswith("PRIVATE KEY"))
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    for number in range(CREDENTIALS_TO_IMPORT):
        entry = SpoolEntry(
            stem="",
            username=f"user{number}",
            name=None,
            owner="/O=Grid/CN=Alice",
            lifetime=timedelta(hours=1),
            certificates=tuple(map(Certificate.parse, alice.chain_der)),
            key=key,
            stored=datetime(2030, 1, 1, tzinfo=UTC),
        )
        write_entry(str(spool), entry, replace=False)
    done = run_with_killpoints(SCRIPT, "importing", How.KILL_BEFORE.name, tmp_path, spool, library=library).check()
    assert count(done.stdout) > 10


def test_a_full_disk_is_an_error_of_ours_and_loses_nothing(tmp_path: Path, library: Path) -> None:
    done = run_with_killpoints(SCRIPT, "sqlite", How.DISK_FULL.name, tmp_path, library=library).check()
    assert count(done.stdout) > 20
