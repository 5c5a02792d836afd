"""The audit file: whole lines, nothing that a peer could forge, refusal when it cannot be written."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import StorageError
from gsi.system.audit import MAX_RECORD_BYTES, AuditLog, AuditRecord, Verdict, _Entry, encode_record
from gsi.system.audit_chain import verify_file, verify_files

RECORD = AuditRecord(
    time=datetime(2030, 1, 1, tzinfo=UTC),
    request_id="c0ffee",
    service="myproxy",
    action="GET",
    verdict=Verdict.PERMIT,
    reason="rule *",
    peer="/O=Grid/CN=Alice",
    address="127.0.0.1",
    details={"username": "alice", "credential": None, "count": 3},
)


def bare(data: bytes) -> bytes:
    """Lines without the fields that tie them to one another."""
    return re.sub(rb',"node":"[^"]*","seq":[^\n]*\}\n', b"}\n", data)


def test_one_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    log.record(RECORD)
    log.record(dataclasses.replace(RECORD, verdict=Verdict.DENY))
    log.close()
    first, second = map(json.loads, bare(path.read_bytes()).splitlines())
    assert first == {
        "time": "2030-01-01T00:00:00.000+00:00",
        "id": "c0ffee",
        "service": "myproxy",
        "action": "GET",
        "verdict": "permit",
        "reason": "rule *",
        "peer": "/O=Grid/CN=Alice",
        "address": "127.0.0.1",
        "username": "alice",
        "credential": None,
        "count": 3,
    }
    assert second["verdict"] == "deny"
    assert path.stat().st_mode & 0o777 == 0o600


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_nothing_breaks_out_of_its_field(text: str, details: dict[str, str]) -> None:
    line = encode_record(dataclasses.replace(RECORD, peer=text, details={"verdict": "forged", **details}))
    assert line.count(b"\n") == 1
    assert line.endswith(b"}\n")
    assert all(32 <= byte < 127 for byte in line[:-1])
    decoded = json.loads(line)
    assert decoded["peer"] == text
    assert decoded["verdict"] == "permit"


def test_long_texts_are_cut_and_marked() -> None:
    line = encode_record(dataclasses.replace(RECORD, peer="é" * MAX_RECORD_BYTES))
    assert len(line) < MAX_RECORD_BYTES
    assert json.loads(line)["cut"] == 1


@pytest.fixture
def no_larger_than() -> Iterator[Callable[[int], None]]:
    """Sets the size at which files of this process stop growing, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


def test_a_line_that_does_not_fit_is_an_error_and_leaves_nothing(
    tmp_path: Path, no_larger_than: Callable[[int], None]
) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    log.record(RECORD)
    whole = path.read_bytes()
    no_larger_than(len(whole) + 40)
    for _ in range(2):
        with pytest.raises(StorageError, match="cannot write the audit file"):
            log.record(RECORD)
        assert path.read_bytes() == whole
    no_larger_than(len(whole))
    with pytest.raises(StorageError, match="File too large"):
        log.record(RECORD)
    no_larger_than(10 * len(whole))
    log.record(RECORD)
    log.close()
    assert bare(path.read_bytes()) == bare(whole) * 2
    assert not verify_file(str(path)).findings


def test_after_a_torn_line_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    path.write_bytes(encode_record(RECORD)[:30])
    log.record(RECORD)
    log.record(RECORD)
    log.close()
    assert bare(path.read_bytes()) == encode_record(RECORD)[:30] + b"\n" + encode_record(RECORD) * 2


def test_what_takes_too_long_is_refused(tmp_path: Path) -> None:
    """Somebody holds the lock on the file: records fail within their time, those behind at once, until it is free."""
    path = tmp_path / "audit.log"
    log = AuditLog(str(path), sync_seconds=0.05)
    with open(path, "rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        for _ in range(3):
            with pytest.raises(StorageError, match=r"could not be written within 0\.05 seconds"):
                log.record(RECORD)
    deadline = time.monotonic() + 20
    while True:
        try:
            log.record(RECORD)
            break
        except StorageError:
            assert time.monotonic() < deadline
    log.close()
    assert 1 <= len(path.read_bytes().splitlines()) <= 4


def test_closed(tmp_path: Path) -> None:
    log = AuditLog(str(tmp_path / "audit.log"))
    log.record(RECORD)
    log.close()
    log.close()
    with pytest.raises(StorageError, match="closed"):
        log.record(RECORD)


def test_unsafe_files_are_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared.log"
    shared.touch()
    shared.chmod(0o644)
    (tmp_path / "link.log").symlink_to(tmp_path / "elsewhere.log")
    os.mkfifo(tmp_path / "fifo.log", 0o600)
    for name in ("shared.log", "link.log", "fifo.log", "missing/audit.log"):
        with pytest.raises(StorageError):
            AuditLog(str(tmp_path / name))


@pytest.mark.parametrize("told", [False, True])
def test_rotation(tmp_path: Path, told: bool) -> None:
    """Who moves the file away need not tell: the next record is in a new one, and the chain goes on."""
    path, old = tmp_path / "audit.log", tmp_path / "audit.log.1"
    log = AuditLog(str(path))
    log.record(RECORD)
    path.rename(old)
    if told:
        log.reopen()
    log.record(RECORD)
    log.record(RECORD)
    log.close()
    assert len(old.read_text().splitlines()) == 1
    assert len(path.read_text().splitlines()) == 2
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(report.findings for report in verify_files([str(old), str(path)]))


def test_rotation_below_several_writers(tmp_path: Path) -> None:
    """Who goes over first knows of the lines of the others, and they of his."""
    path, old = tmp_path / "audit.log", tmp_path / "audit.log.1"
    logs = [AuditLog(str(path)) for _ in range(3)]
    for log in (*logs, logs[0]):
        log.record(RECORD)
    path.rename(old)
    for log in (logs[2], logs[1], logs[0], logs[1]):
        log.record(RECORD)
    for log in logs:
        log.close()
    reports = verify_files([str(old), str(path)])
    assert [report.records for report in reports] == [4, 4]
    assert not any(report.findings for report in reports)


def test_a_removed_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    log.record(RECORD)
    path.unlink()
    log.record(RECORD)
    (line,) = path.read_text().splitlines()
    assert (json.loads(line)["seq"], json.loads(line)["begins"]) == (2, "rotation")
    assert "was removed while in use" in caplog.text
    assert open_files(tmp_path) == ["audit.log"]
    log.close()


def test_a_file_that_cannot_be_found_counts_for_nothing(tmp_path: Path) -> None:
    """Where no new file can be made, records fail; and none is missing once one can."""
    path = tmp_path / "store" / "audit.log"
    path.parent.mkdir()
    log = AuditLog(str(path))
    log.record(RECORD)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match="cannot write the audit file"):
        log.record(RECORD)
    path.rmdir()
    path.touch(0o644)
    path.chmod(0o644)
    with pytest.raises(StorageError, match="is not a regular file that only uid"):
        log.record(RECORD)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        log.record(RECORD)
    path.unlink()
    log.record(RECORD)
    log.close()
    assert len(path.read_text().splitlines()) == 1


def test_a_file_that_is_removed_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is on the disk, and nobody can read it: it is written once more. Who does that for ever gets no audit,
    and nothing else."""
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    sync, times = os.fdatasync, [0]

    def remove_and_sync(descriptor: int) -> None:
        if times[0]:
            times[0] -= 1
            path.unlink()
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", remove_and_sync)
    times[0] = 1
    log.record(RECORD)
    assert len(path.read_text().splitlines()) == 1
    times[0] = 1000
    with pytest.raises(StorageError, match="again and again"):
        log.record(RECORD)
    log.close()


def open_files(directory: Path) -> list[str]:
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    found = [os.readlink(link) for link in links if os.path.lexists(link)]
    return [os.path.basename(name) for name in found if name.startswith(str(directory))]


@pytest.mark.parametrize("used", [False, True], ids=["idle", "used"])
def test_moving_to_another_file_closes_the_old_one(tmp_path: Path, used: bool) -> None:
    log = AuditLog(str(tmp_path / "a.log"))
    if used:
        log.record(RECORD)
    for name in ("b.log", "c.log", "d.log"):
        log.reopen(str(tmp_path / name))
    log.record(RECORD)
    assert open_files(tmp_path) == ["d.log"]
    with pytest.raises(StorageError):
        log.reopen(str(tmp_path / "missing" / "e.log"))
    log.record(RECORD)
    log.close()
    assert open_files(tmp_path) == []
    assert bare((tmp_path / "d.log").read_bytes()) == encode_record(RECORD) * 2


def test_the_name_of_a_new_file_is_synced_and_every_line_where_it_was_written(tmp_path: Path) -> None:
    program = (
        "import sys; from tests.unit.gsi.system.test_audit import RECORD, AuditLog\n"
        "log = AuditLog(sys.argv[1] + '/a.log'); log.record(RECORD)\n"
        "log.reopen(sys.argv[1] + '/b.log'); log.record(RECORD); log.close()"
    )
    trace = tmp_path / "trace"
    found = shutil.which("strace")
    assert found is not None, "strace is missing"
    options = ["-f", "-y", "-e", "trace=write,fsync,fdatasync", "-o", str(trace)]
    root = str(Path(__file__).parents[4])
    env = {"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
    done = subprocess.run([found, *options, sys.executable, "-c", program, str(tmp_path)], env=env, check=False)
    assert done.returncode == 0
    calls = re.findall(
        r"(write|fsync|fdatasync)\(\d+<" + re.escape(str(tmp_path)) + r"(/[ab]\.log)?>", trace.read_text()
    )
    assert calls == [
        ("fsync", ""),
        ("write", "/a.log"),
        ("fdatasync", "/a.log"),
        ("fsync", ""),
        ("write", "/b.log"),
        ("fdatasync", "/b.log"),
    ]


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    logs = [AuditLog(str(path)) for _ in range(2)]
    threads = [
        threading.Thread(target=lambda log=log: [log.record(RECORD) for _ in range(20)])
        for log in logs
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = path.read_bytes().splitlines(keepends=True)
    assert [bare(line) for line in lines] == [encode_record(RECORD)] * 120
    assert not verify_file(str(path)).findings
    for log in logs:
        log.close()


def test_a_posted_record_goes_with_the_next_one_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    posted = log.post(dataclasses.replace(RECORD, action="GET"))
    log.record(dataclasses.replace(RECORD, action="DELEGATE"))
    assert [json.loads(line)["action"] for line in path.read_bytes().splitlines()] == ["GET", "DELEGATE"]
    posted.settle()
    log.close()


def test_settling_writes_what_was_only_posted(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    log.post(RECORD).settle()
    assert path.read_bytes().count(b"\n") == 1
    log.close()


def test_closing_writes_what_nobody_settled(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    log.post(RECORD)
    log.close()
    assert path.read_bytes().count(b"\n") == 1


def test_a_posted_record_that_cannot_be_written_is_no_yes(
    tmp_path: Path, no_larger_than: Callable[[int], None]
) -> None:
    """And the next neither, until one can be written again."""
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    log.record(RECORD)
    posted = log.post(RECORD)
    no_larger_than(path.stat().st_size)
    with pytest.raises(StorageError, match="cannot write the audit file"):
        posted.settle()
    with pytest.raises(StorageError, match="cannot write the audit file"):
        log.post(RECORD).settle()
    no_larger_than(1 << 20)
    log.post(RECORD).settle()
    log.close()


def test_after_a_stall_everything_is_written_again(tmp_path: Path) -> None:
    """Also where those who waited meanwhile took their lines back, so that nothing was left to write."""
    path = tmp_path / "audit.log"
    log = AuditLog(str(path), sync_seconds=0.2)
    log.record(RECORD)
    refused: list[StorageError] = []

    def is_writing() -> bool:
        return log._busy_since is not None

    def try_once() -> None:
        try:
            log.record(RECORD)
        except StorageError as error:
            refused.append(error)

    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as a disk that takes no more
        first = threading.Thread(target=try_once)
        first.start()
        while not is_writing():
            time.sleep(0.001)
        others = [threading.Thread(target=try_once) for _ in range(3)]
        for thread in others:
            thread.start()
        for thread in (first, *others):
            thread.join()
    assert len(refused) == 4
    while is_writing():
        time.sleep(0.001)
    for _ in range(2):
        log.record(RECORD)
    log.close()
    report = verify_file(str(path))
    assert (report.faults, report.records) == ([], len(path.read_bytes().splitlines()))


def test_whoever_waits_twice_waits_no_longer_than_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path), sync_seconds=3600)
    log.record(RECORD)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        posted = log.post(RECORD)
        posted.when_known(lambda: None)
        assert isinstance(posted, _Entry)
        assert posted.awaited_since is not None
        posted.awaited_since -= 3600  # an hour has passed
        with pytest.raises(StorageError, match="within"):
            posted.settle()
    log.close()


def test_posting_waits_for_nothing_where_the_file_cannot_be_written(
    tmp_path: Path, no_larger_than: Callable[[int], None]
) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path), sync_seconds=30)
    no_larger_than(0)
    with pytest.raises(StorageError):
        log.record(RECORD)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        posted = log.post(RECORD)  # would wait for half a minute
    with pytest.raises(StorageError):
        posted.settle()
    assert posted.failure is not None
    log.close()


def test_whoever_posts_hears_what_became_of_it(tmp_path: Path) -> None:
    log = AuditLog(str(tmp_path / "audit.log"))
    told = threading.Event()
    posted = log.post(RECORD)
    posted.when_known(told.set, soon=False)
    assert posted.waited is None
    log.record(RECORD)
    assert told.wait(10)
    assert posted.failure is None
    again = threading.Event()
    posted.when_known(again.set)
    assert again.is_set()
    log.close()
