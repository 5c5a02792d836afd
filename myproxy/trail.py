"""The audit trail of the service: one record per decision, safe before anybody hears of it; not the file it goes to.

    with trail.deciding(caller, request, "GET"):        # an error inside is recorded, then goes on
        ...
        trail.permit(caller, request, "GET", permission, owner=stored.owner)

Both raise `StorageError` when the record cannot be written, and then nothing may be handed out.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from gsi.errors import AuthenticationError, DeniedError, GridError
from gsi.system.audit import AuditRecord, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from myproxy.grants import Caller
    from myproxy.policy import Permission
    from myproxy.protocol.messages import Request

__all__ = ["AuditSink", "DecisionTrail"]


class AuditSink(Protocol):
    """Where decisions are recorded."""

    def record(self, record: AuditRecord) -> None:
        """Return when the record is safe; raise StorageError when it is not."""
        ...


class DecisionTrail:
    """Turns decisions about requests into audit records. Pass phrases are never among them."""

    def __init__(self, sink: AuditSink, clock: Callable[[], datetime]) -> None:
        self._sink = sink
        self._clock = clock

    @contextlib.contextmanager
    def deciding(self, caller: Caller, request: Request, action: str) -> Iterator[None]:
        """Record why a request is refused before the client hears it.

        Raises:
            StorageError: It could not be recorded; raised in place of the refusal.
        """
        try:
            yield
        except GridError as error:
            verdict = Verdict.DENY if isinstance(error, DeniedError | AuthenticationError) else Verdict.FAIL
            reasons = [f"{error.slug}: {error.message}"]
            if isinstance(error.__cause__, GridError):
                reasons.append(error.__cause__.message)
            self._record(caller, request, action, verdict, " <- ".join(reasons))
            raise

    def permit(
        self, caller: Caller, request: Request, action: str, permission: Permission, **details: str | int | None
    ) -> None:
        """Record a yes with the rules that gave it.

        Raises:
            StorageError: It could not be recorded; do not go on.
        """
        rules = [permission.server_rule, permission.credential_rule]
        self._record(caller, request, action, Verdict.PERMIT, "; ".join(filter(None, rules)), **details)

    def _record(
        self,
        caller: Caller,
        request: Request,
        action: str,
        verdict: Verdict,
        reason: str,
        **details: str | int | None,
    ) -> None:
        self._sink.record(
            AuditRecord(
                time=self._clock(),
                request_id=caller.request_id,
                service="myproxy",
                action=action,
                verdict=verdict,
                reason=reason,
                peer=caller.client.name,
                address=caller.address,
                details={"username": request.username, "credential": request.credential_name, **details},
            )
        )
