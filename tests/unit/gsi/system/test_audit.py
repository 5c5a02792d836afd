"""The audit file: whole lines, nothing that a peer could forge, refusal when it cannot be written."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import StorageError
from gsi.system.audit import MAX_RECORD_BYTES, AuditLog, AuditRecord, Verdict, encode_record

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


def test_one_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    log.record(RECORD)
    log.record(dataclasses.replace(RECORD, verdict=Verdict.DENY))
    log.close()
    first, second = map(json.loads, path.read_text("ascii").splitlines())
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


def test_a_full_device_is_an_error() -> None:
    log = AuditLog.__new__(AuditLog)
    log._path, log._lock, log._descriptor = "/dev/full", threading.Lock(), os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(StorageError, match="No space left"):
        log.record(RECORD)
    log.close()


def test_a_line_cut_short_is_an_error(tmp_path: Path) -> None:
    import resource
    import signal

    log = AuditLog(str(tmp_path / "audit.log"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
    try:
        with pytest.raises(StorageError):
            log.record(RECORD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    log.close()


def test_unsafe_files_are_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared.log"
    shared.touch()
    shared.chmod(0o644)
    (tmp_path / "link.log").symlink_to(tmp_path / "elsewhere.log")
    os.mkfifo(tmp_path / "fifo.log", 0o600)
    for name in ("shared.log", "link.log", "fifo.log", "missing/audit.log"):
        with pytest.raises(StorageError):
            AuditLog(str(tmp_path / name))


def test_rotation(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    log.record(RECORD)
    path.rename(tmp_path / "audit.log.1")
    log.record(RECORD)
    log.reopen()
    log.record(RECORD)
    log.close()
    assert len((tmp_path / "audit.log.1").read_text().splitlines()) == 2
    assert len(path.read_text().splitlines()) == 1


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
    assert lines == [encode_record(RECORD)] * 120
    for log in logs:
        log.close()
