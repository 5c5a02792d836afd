"""The chain of an audit file: every change of what was written is found, and crashes are told from changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsi.errors import StorageError
from gsi.system.audit import AuditLog, encode_record
from gsi.system.audit_chain import NO_LINK, ChainReport, verify_file, verify_files
from tests.unit.gsi.system.test_audit import RECORD

Lines = list[bytes]


def write(path: Path, count: int, *, node: str = "a") -> None:
    log = AuditLog(str(path), node=node)
    for _ in range(count):
        log.record(RECORD)
    log.close()


def told(report: ChainReport) -> list[tuple[int, bool]]:
    return [(one.line, one.is_fault) for one in report.findings]


def fields(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def test_a_chain_over_several_openings(path: Path) -> None:
    write(path, 2)
    write(path, 1, node="b")
    report = verify_file(str(path))
    assert (report.records, report.first, report.before, report.nodes) == (3, 1, NO_LINK, ["a", "b"])
    assert report.state.sequence == 3
    assert report.state.link.hex() == fields(path)[-1]["chain"]
    assert not report.findings
    assert [(one["seq"], one.get("begins")) for one in fields(path)] == [(1, "start"), (2, None), (3, "open")]


def change(lines: Lines) -> None:
    lines[2] = lines[2].replace(b"permit", b"deny")


def change_and_its_link(lines: Lines) -> None:
    lines[2] = lines[2].replace(b"permit", b"deny")[:-10] + b"00000000" + lines[2][-2:]


def remove(lines: Lines) -> None:
    del lines[2]


def remove_the_first(lines: Lines) -> None:
    del lines[0]


def repeat(lines: Lines) -> None:
    lines.insert(2, lines[2])


def swap(lines: Lines) -> None:
    lines[2], lines[3] = lines[3], lines[2]


def put_in(lines: Lines) -> None:
    lines.insert(2, encode_record(RECORD).strip())


def blank(lines: Lines) -> None:
    lines.insert(2, b"")


def cut(lines: Lines) -> None:
    lines[2] = lines[2][:40]


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (change, [3]),
        (change_and_its_link, [3, 4]),
        (remove, [3]),
        (remove_the_first, [1]),
        (repeat, [4]),
        (swap, [3, 4, 5]),
        (put_in, [3, 4]),
        (blank, [3, 4]),
        (cut, [3, 4]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_changes_are_found(path: Path, spoil: Callable[[Lines], None], where: list[int]) -> None:
    write(path, 6)
    lines = path.read_bytes().splitlines()
    spoil(lines)
    path.write_bytes(b"\n".join(lines) + b"\n")
    report = verify_file(str(path))
    assert [one.line for one in report.faults] == where


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_byte_can_change(path: Path, data: st.DataObject) -> None:
    path.unlink(missing_ok=True)
    write(path, 3)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 2))  # a missing last line feed is a crash
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert verify_file(str(path)).faults


def test_a_torn_line_is_told_and_kept_in_the_chain(path: Path) -> None:
    write(path, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[1][:50])
    assert told(verify_file(str(path))) == [(3, False)]
    write(path, 2)
    assert told(verify_file(str(path))) == [(3, False)]
    assert fields_from(path, 3)[0]["begins"] == "torn"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert [one.line for one in verify_file(str(path)).faults] == [3]


def fields_from(path: Path, first: int) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()[first:]]


def test_a_whole_line_without_its_line_feed(path: Path) -> None:
    write(path, 2)
    path.write_bytes(path.read_bytes()[:-1])
    write(path, 1)
    assert not verify_file(str(path)).findings


def test_what_somebody_else_appends_is_told(path: Path) -> None:
    log = AuditLog(str(path), node="a")
    log.record(RECORD)
    with path.open("ab") as file:
        file.write(encode_record(RECORD))
    log.record(RECORD)
    log.close()
    assert told(verify_file(str(path))) == [(2, True)]


def test_lines_that_disappear_while_somebody_writes(path: Path) -> None:
    log = AuditLog(str(path), node="a")
    for _ in range(3):
        log.record(RECORD)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0])
    log.record(RECORD)
    log.close()
    assert told(verify_file(str(path))) == [(2, True)]


def test_a_file_of_before_goes_on_with_a_chain(path: Path) -> None:
    path.write_bytes(encode_record(RECORD) * 3)
    path.chmod(0o600)
    write(path, 2)
    report = verify_file(str(path))
    assert told(report) == [(1, False)]
    assert report.records == 2


@pytest.mark.parametrize("copied", [False, True])
def test_a_rotation_ties_the_files(path: Path, tmp_path: Path, copied: bool) -> None:
    log = AuditLog(str(path), node="a")
    log.record(RECORD)
    log.record(RECORD)
    old = tmp_path / "audit.log.1"
    if copied:
        old.write_bytes(path.read_bytes())
        path.write_bytes(b"")
    else:
        path.rename(old)
        log.reopen()
    log.record(RECORD)
    log.close()
    (line,) = fields(path)
    assert (line["seq"], line["begins"]) == (3, "rotation")
    assert line["after"] == fields(old)[-1]["chain"]
    reports = verify_files([str(old), str(path)])
    assert not any(report.findings for report in reports)
    old.write_bytes(b"".join(old.read_bytes().splitlines(keepends=True)[:1]))
    assert [told(report) for report in verify_files([str(old), str(path)])] == [[], [(0, True)]]


def test_a_file_that_was_removed_behind_a_rotation_shows_after_a_restart(path: Path, tmp_path: Path) -> None:
    write(path, 2)
    path.rename(tmp_path / "audit.log.1")
    write(path, 1)
    reports = verify_files([str(tmp_path / "audit.log.1"), str(path)])
    assert [told(report) for report in reports] == [[], [(0, True)]]
    assert "which ends with line 2 of another: a file between them was removed" in reports[1].faults[0].text


def test_a_rotation_before_anything_was_written_since_the_start(path: Path, tmp_path: Path) -> None:
    write(path, 2)
    log = AuditLog(str(path))
    path.rename(tmp_path / "audit.log.1")
    log.reopen()
    log.record(RECORD)
    log.close()
    (line,) = fields(path)
    assert (line["seq"], line["begins"]) == (3, "rotation")
    assert not any(report.findings for report in verify_files([str(tmp_path / "audit.log.1"), str(path)]))


@given(content=st.binary(max_size=400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_there_is_can_be_judged_and_written_behind(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    verify_file(str(path))
    write(path, 1)
    assert verify_file(str(path)).records == 1


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        verify_file(str(tmp_path / "missing"))
    with pytest.raises(StorageError, match="not a regular file"):
        verify_file("/dev/null")
