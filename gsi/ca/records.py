"""Records of what was issued: the value, and who must take it before the certificate may leave; stores nothing itself.

    class Table:
        def record(self, record: IssuanceRecord) -> None: ...   # raises when it is not kept

`AuditRecorder` writes the record to an audit file. `gsi.ca.directory` keeps OpenSSL's index; services have databases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gsi.names import oneline
from gsi.system.audit import AuditRecord, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.system.audit import AuditLog

__all__ = ["AuditRecorder", "IssuanceRecord", "Recorder", "Recorders"]


@dataclass(frozen=True, slots=True)
class IssuanceRecord:
    """One certificate that is about to leave.

    Attributes:
        certificate: It.
        requester: Who asked, from the grant.
        decision: Id of the authorization decision, from the grant.
        time: When (aware UTC).
    """

    certificate: Certificate
    requester: str
    decision: str
    time: datetime

    @property
    def subject(self) -> str:
        """The subject in one-line form."""
        return oneline(self.certificate.subject_der)

    @property
    def serial_hex(self) -> str:
        """The serial number as OpenSSL writes it into file names and its index: upper case, an even count of digits."""
        text = f"{self.certificate.serial:X}"
        return text if len(text) % 2 == 0 else f"0{text}"


class Recorder(Protocol):
    """Whoever keeps the books."""

    def record(self, record: IssuanceRecord) -> None:
        """Keep a record so that it is there after a crash; return only then.

        Raises:
            GridError: It is not kept. The certificate does not leave. `ConflictError` when its serial number is taken.
        """


class Recorders:
    """Several recorders as one; every one must take the record."""

    __slots__ = ("_all",)

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self._all = tuple(recorders)

    def record(self, record: IssuanceRecord) -> None:
        """Give the record to each in turn; raises as the first that refuses."""
        for recorder in self._all:
            recorder.record(record)


class AuditRecorder:
    """Records in an audit file, one line for each certificate."""

    __slots__ = ("_log", "_service")

    def __init__(self, log: AuditLog, *, service: str) -> None:
        """Use this file.

        Args:
            log: The open file.
            service: The program's name in the records.
        """
        self._log = log
        self._service = service

    def record(self, record: IssuanceRecord) -> None:
        """Write the line and wait until it is on disk.

        Raises:
            StorageError: It is not.
        """
        certificate = record.certificate
        self._log.record(
            AuditRecord(
                time=record.time,
                request_id=record.decision,
                service=self._service,
                action="ISSUE",
                verdict=Verdict.PERMIT,
                reason="granted",
                peer=record.requester,
                address="",
                details={
                    "subject": record.subject,
                    "issuer": oneline(certificate.issuer_der),
                    "serial": record.serial_hex,
                    "not_before": certificate.not_before.isoformat(),
                    "not_after": certificate.not_after.isoformat(),
                    "sha256": certificate.fingerprint,
                },
            )
        )
