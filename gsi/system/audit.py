"""One structured line per decision, on disk before the decision takes effect; not operational logging.

    log = AuditLog("/var/lib/myproxy/audit.log")
    log.record(AuditRecord(time=now, request_id="c0ffee", service="myproxy", action="GET", verdict=Verdict.PERMIT, ...))

Each record is one JSON object in one line of ASCII: whatever a peer puts into a name is escaped, so that it can neither
start a line of its own nor confuse a terminal. `record` returns after the line was synced; when it raises, the caller
must refuse what it was about to do. The file is 0600 and only appended to, by any number of threads and processes.
There is no field for a secret, and none may be put into one.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gsi.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["MAX_RECORD_BYTES", "AuditLog", "AuditRecord", "Verdict", "encode_record"]

MAX_RECORD_BYTES: Final = 65536
"""The longest line; a record that needs more has its texts cut to `_MAX_TEXT_CHARS`, and says so."""

_MAX_TEXT_CHARS: Final = 1024
"""What is left of a text in an oversized record: long enough for any real name, six times as much when escaped."""


class Verdict(StrEnum):
    """What was decided, or what became of it."""

    PERMIT = "permit"
    DENY = "deny"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One decision.

    Attributes:
        time: When, aware UTC.
        request_id: The id that the peer saw and that log lines carry.
        service: The program ("myproxy").
        action: What was asked for ("GET").
        verdict: The answer.
        reason: Why, for an administrator.
        peer: Identity of the asking peer in the one-line form, or "<anonymous>".
        address: Network address of the peer.
        details: Further names (account, credential name, owner, ...). Never a secret.
    """

    time: datetime
    request_id: str
    service: str
    action: str
    verdict: Verdict
    reason: str
    peer: str
    address: str
    details: Mapping[str, str | int | None] = field(default_factory=dict)


def encode_record(record: AuditRecord) -> bytes:
    """Return the line, line feed included."""
    line = _encode(record, None)
    if len(line) > MAX_RECORD_BYTES:
        line = _encode(record, _MAX_TEXT_CHARS)
    return line


def _encode(record: AuditRecord, limit: int | None) -> bytes:
    fields: dict[str, str | int | None] = {
        "time": record.time.isoformat(timespec="milliseconds"),
        "id": record.request_id,
        "service": record.service,
        "action": record.action,
        "verdict": record.verdict.value,
        "reason": record.reason,
        "peer": record.peer,
        "address": record.address,
    }
    fields |= {key: value for key, value in record.details.items() if key not in fields}
    if limit is not None:
        fields = {key: value[:limit] if isinstance(value, str) else value for key, value in fields.items()}
        fields["cut"] = 1
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


class AuditLog:
    """An append-only audit file. Safe for use by several threads and processes."""

    def __init__(self, path: str) -> None:
        """Open the file, creating it 0600.

        Raises:
            StorageError: It cannot be opened for appending, or is not a private regular file of this user.
        """
        self._path = path
        self._lock = threading.Lock()
        self._descriptor = _open_private(path)

    def record(self, record: AuditRecord) -> None:
        """Append one record and wait until it is on disk.

        Raises:
            StorageError: It could not be written as a whole; refuse what it speaks of.
        """
        line = encode_record(record)
        try:
            with self._lock:
                written = os.write(self._descriptor, line)
            if written != len(line):
                raise StorageError(f"the audit line was cut short in {self._path}")
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise StorageError(f"cannot write the audit file {self._path}: {error.strerror}") from error

    def reopen(self) -> None:
        """Open the file of that name anew, after it was moved away by log rotation.

        Raises:
            StorageError: As for opening; the old file stays in use.
        """
        fresh = _open_private(self._path)
        with self._lock:
            # The number stays the same, so that a sync that is under way never meets a closed descriptor.
            os.dup2(fresh, self._descriptor, inheritable=False)
        os.close(fresh)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _open_private(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise StorageError(f"cannot open the audit file {path}: {error.strerror}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        os.close(descriptor)
        raise StorageError(
            f"audit file {path} is not a regular file that only uid {os.geteuid()} can use", hint=f"chmod 600 {path}"
        )
    return descriptor
