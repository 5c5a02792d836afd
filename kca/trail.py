"""The audit trail of the authority: one record per answer, safe before anybody hears of it; not the file it goes to.

    trail.permit(visit, entry)                    # a certificate that is about to leave
    trail.refuse(visit, "ISSUE", error)           # why somebody got none

Both raise `StorageError` when the record cannot be written, and then nothing may be handed out.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gsi.errors import AuthenticationError, DeniedError, GridError
from gsi.system.audit import AuditRecord, AuditSink, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.kerberos.ticket import Principal
    from kca.repository.base import Entry

__all__ = ["ANONYMOUS", "ISSUE", "PROBE", "REQUEST", "SERVICE", "Trail", "Visit"]

SERVICE: Final = "kca"

ISSUE: Final = "ISSUE"
"""The action of a request for a certificate."""

PROBE: Final = "PROBE"
"""The action of a question whether one would be granted."""

REQUEST: Final = "REQUEST"
"""The action of what was refused before anybody knew who came."""

ANONYMOUS: Final = "<anonymous>"

MAX_CAUSES: Final = 3
"""How far behind an error the audit looks: a refusal, what it stands for, and why that was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request, whoever comes.

    Attributes:
        peer: The network address.
        transport: "udp", "tcp" or "http".
        principal: Whose ticket it is; None before that is proven.
        request_hash: SHA-256 of the request; empty where there was none.
        request_id: The id in audit, books and log.
    """

    peer: str
    transport: str
    principal: Principal | None = None
    request_hash: bytes = b""
    request_id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def who(self) -> str:
        """The principal as text."""
        return ANONYMOUS if self.principal is None else self.principal.text


class Trail:
    """Turns answers into audit records."""

    def __init__(self, sink: AuditSink, clock: Callable[[], datetime]) -> None:
        self._sink = sink
        self._clock = clock

    def permit(self, visit: Visit, entry: Entry) -> None:
        """Record that a certificate leaves.

        Raises:
            StorageError: It could not be recorded; it must not leave.
        """
        self._write(
            visit,
            ISSUE,
            Verdict.PERMIT,
            entry.rule,
            {
                "subject": entry.subject,
                "serial": entry.serial_hex,
                "not_before": entry.not_before.isoformat(),
                "not_after": entry.not_after.isoformat(),
                "authenticated": entry.authenticated.isoformat(),
                "decision": entry.decision,
            },
        )

    def repeat(self, visit: Visit, entry: Entry) -> None:
        """Record that a request that came before gets the same certificate again.

        Raises:
            StorageError: It could not be recorded; it must not leave.
        """
        details: dict[str, str | int | None] = {"subject": entry.subject, "serial": entry.serial_hex}
        self._write(visit, ISSUE, Verdict.PERMIT, f"the same request again, first {entry.request_id}", details)

    def probed(self, visit: Visit, subject: str, rule: str, decision: str) -> None:
        """Record that a certificate would be granted.

        Raises:
            StorageError: It could not be recorded.
        """
        self._write(visit, PROBE, Verdict.PERMIT, rule, {"subject": subject, "decision": decision})

    def refuse(self, visit: Visit, action: str, error: GridError) -> None:
        """Record why somebody gets nothing.

        Raises:
            StorageError: It could not be recorded.
        """
        verdict = Verdict.DENY if isinstance(error, DeniedError | AuthenticationError) else Verdict.FAIL
        reasons = [f"{error.slug}: {error.message}", *_causes(error)]
        self._write(visit, action, verdict, " <- ".join(reasons), {})

    def _write(
        self, visit: Visit, action: str, verdict: Verdict, reason: str, details: dict[str, str | int | None]
    ) -> None:
        self._sink.record(
            AuditRecord(
                time=self._clock(),
                request_id=visit.request_id,
                service=SERVICE,
                action=action,
                verdict=verdict,
                reason=reason,
                peer=visit.who,
                address=visit.peer,
                details={**details, "transport": visit.transport, "request": visit.request_hash.hex() or None},
            )
        )


def _causes(error: GridError) -> list[str]:
    """Return what lies behind an error, the nearest first: what the client is told says less of it."""
    found: list[str] = []
    cause = error.__cause__
    while isinstance(cause, GridError) and len(found) < MAX_CAUSES:
        found.append(cause.message)
        cause = cause.__cause__
    return found
