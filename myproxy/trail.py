"""The audit trail of the service: one record per decision, safe before anybody hears of it; not the file it goes to.

    trail.refuse_client(address, request_id, chain, error)     # whoever could not prove to be somebody
    trail.refuse_message(caller, None, error)                  # what could not be read
    with trail.deciding(caller, request, "GET"):        # an error inside is recorded, then goes on
        ...
        trail.permit(caller, request, "GET", permission, owner=stored.owner)

All raise `StorageError` when the record cannot be written, and then nothing may be handed out.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, Protocol

from gsi.certificate import Certificate
from gsi.errors import AuthenticationError, DeniedError, GridError, ParseError, VerificationError
from gsi.names import oneline
from gsi.system.audit import AuditRecord, Verdict
from myproxy.auth.base import ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from gsi.system.audit import Posted, PostingSink
    from myproxy.grants import Caller
    from myproxy.policy import Permission
    from myproxy.protocol.messages import Request

__all__ = ["CONNECT", "THROTTLED", "UNREADABLE", "UNVERIFIED", "DecisionTrail", "Notice"]

CONNECT: Final = "CONNECT"
"""The action of a client that was refused before it could ask for anything."""

UNREADABLE: Final = "REQUEST"
"""The action of a request that could not be read."""

THROTTLED: Final = "throttled"
"""The detail of a record, 1 where a try was not judged because there were too many before."""

_TRIES: Final = {
    "GET": "logon",
    "RETRIEVE": "key",
    "PUT": "store",
    "STORE": "store",
    "CHANGE_PASSPHRASE": "change",
    "DESTROY": "destroy",
}
"""What of the refused an owner is told, by the kinds of `Happening`."""

MAX_CAUSES: Final = 3
"""How far behind an error the audit looks: a refusal, what it stands for, and why that was."""

UNVERIFIED: Final = "<unverified>"
"""In place of the name of a client that showed certificates which were not believed."""


class Notice(Protocol):
    """Lets the owner of a credential know later of a try that was refused."""

    def __call__(self, kind: str, username: str, name: str | None, address: str) -> None:
        """Take note of it; see `History.note`."""
        ...


class DecisionTrail:
    """Turns decisions about requests into audit records. Pass phrases are never among them."""

    def __init__(self, sink: PostingSink, clock: Callable[[], datetime], note: Notice | None = None) -> None:
        """Put it together.

        Args:
            sink: Where records go.
            clock: The time.
            note: Told of refused tries, for the owner of the credential; see `History.note`.
        """
        self._sink = sink
        self._clock = clock
        self._note = note

    def refuse_client(
        self, address: str, request_id: str, presented: Sequence[bytes], error: GridError, *, peer: str = UNVERIFIED
    ) -> None:
        """Record that a client was turned away for the certificates that it showed.

        Args:
            address: Where it came from.
            request_id: The id that it is told.
            presented: What it showed, DER, leaf first, as far as that is known. The leaf's subject goes into
                the record under a name that says that nobody has vouched for it.
            error: Why.
            peer: Its identity, where that was proven.

        Raises:
            StorageError: It could not be recorded.
        """
        details: dict[str, str | int | None] = {"unverified_subject": _subject(presented)}
        if isinstance(error, VerificationError):
            details |= {"reason_code": error.reason.value, "position": error.position}
        self._sink.record(
            self._stamp(
                request_id, address, peer, action=CONNECT, verdict=Verdict.DENY, reason=_reason(error), details=details
            )
        )

    def refuse_message(self, caller: Caller, request: Request | None, error: GridError) -> None:
        """Record that a verified client has left the protocol.

        Args:
            caller: Who it is.
            request: What it had asked for, or None when the request itself could not be read.
            error: What was wrong.

        Raises:
            StorageError: It could not be recorded.
        """
        action = UNREADABLE if request is None else request.command.name
        self._record(caller, request, action, Verdict.DENY, _reason(error))

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
            reasons = [_reason(error), *_causes(error)]
            slowed = isinstance(error, ThrottledError) or isinstance(error.__cause__, ThrottledError)
            details = {THROTTLED: 1} if slowed else {}
            self._record(caller, request, action, verdict, " <- ".join(reasons), **details)
            kind = _TRIES.get(action)
            if self._note is not None and verdict is Verdict.DENY and kind is not None:
                self._note(kind, request.username, request.credential_name, caller.address)
            raise

    def permit(
        self, caller: Caller, request: Request, action: str, permission: Permission, **details: str | int | None
    ) -> None:
        """Record a yes with the rules that gave it.

        Raises:
            StorageError: It could not be recorded; do not go on.
        """
        self._record(caller, request, action, Verdict.PERMIT, _rules(permission), **details)

    def post_permit(
        self, caller: Caller, request: Request, action: str, permission: Permission, **details: str | int | None
    ) -> Posted:
        """Record a yes by which nothing leaves yet, nor anything is told that was guessed; settle it before that.

        Raises:
            StorageError: It cannot be recorded; do not go on.
        """
        return self._sink.post(self._make(caller, request, action, Verdict.PERMIT, _rules(permission), **details))

    def _record(
        self,
        caller: Caller,
        request: Request | None,
        action: str,
        verdict: Verdict,
        reason: str,
        **details: str | int | None,
    ) -> None:
        self._sink.record(self._make(caller, request, action, verdict, reason, **details))

    def _make(
        self,
        caller: Caller,
        request: Request | None,
        action: str,
        verdict: Verdict,
        reason: str,
        **details: str | int | None,
    ) -> AuditRecord:
        if caller.front_end:
            details = {"front_end": caller.front_end, **details}
        if request is not None:
            details = {"username": request.username, "credential": request.credential_name, **details}
        return self._stamp(
            caller.request_id,
            caller.address,
            caller.client.name,
            action=action,
            verdict=verdict,
            reason=reason,
            details=details,
        )

    def _stamp(
        self,
        request_id: str,
        address: str,
        peer: str,
        *,
        action: str,
        verdict: Verdict,
        reason: str,
        details: Mapping[str, str | int | None],
    ) -> AuditRecord:
        return AuditRecord(
            time=self._clock(),
            request_id=request_id,
            service="myproxy",
            action=action,
            verdict=verdict,
            reason=reason,
            peer=peer,
            address=address,
            details=details,
        )


def _rules(permission: Permission) -> str:
    return "; ".join(filter(None, (permission.server_rule, permission.credential_rule)))


def _reason(error: GridError) -> str:
    return f"{error.slug}: {error.message}"


def _causes(error: GridError) -> list[str]:
    """Return what lies behind an error, the nearest first: what the client is told says less and less of it."""
    found: list[str] = []
    cause = error.__cause__
    while isinstance(cause, GridError) and len(found) < MAX_CAUSES:
        found.append(cause.message)
        cause = cause.__cause__
    return found


def _subject(presented: Sequence[bytes]) -> str | None:
    """Return the subject that a chain claims, None where there is none that can be read."""
    try:
        return oneline(Certificate.parse(presented[0]).subject_der) if presented else None
    except ParseError:
        return None
