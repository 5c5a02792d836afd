"""Records: what is written of a certificate, and that all who keep books must have kept theirs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gsi.ca import AuditRecorder, IssuanceRecord
from gsi.ca.records import Recorders
from gsi.errors import StorageError
from gsi.system.audit import AuditLog
from tests.unit.gsi.ca.support import Books

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from gsi.ca import CertificateRequest, Grant, Issuer


def test_the_audit_line(
    tmp_path: Path, issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest
) -> None:
    certificate = issuer.issue(request_, grant, now=now).certificate
    log = AuditLog(str(tmp_path / "audit"))
    AuditRecorder(log, service="kca").record(IssuanceRecord(certificate, "alice", "d-1", now))
    log.close()
    line = json.loads((tmp_path / "audit").read_text())
    assert line["subject"] == "/O=Grid/CN=Alice"
    assert line["serial"] == IssuanceRecord(certificate, "", "", now).serial_hex
    assert int(line["serial"], 16) == certificate.serial
    assert len(line["serial"]) % 2 == 0
    assert (line["service"], line["action"], line["peer"], line["id"]) == ("kca", "ISSUE", "alice", "d-1")
    assert line["sha256"] == certificate.fingerprint


def test_every_book_must_be_kept(issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest) -> None:
    record = IssuanceRecord(issuer.issue(request_, grant, now=now).certificate, "alice", "", now)
    first, second = Books(), Books(StorageError("no"))
    with pytest.raises(StorageError):
        Recorders([first, second]).record(record)
    assert first.records == [record]
