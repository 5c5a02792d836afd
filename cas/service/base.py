"""What all operations of the service share: who decides, what is recorded of it, and how one asks; decides nothing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from cas.rights import Rights
from gsi.errors import ConfigError, DeniedError, GridError
from gsi.system.audit import AuditRecord, AuditSink, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from cas.policy.caller import Caller
    from cas.repository.base import PolicyRepository, View

__all__ = ["Deciding", "Note", "Settings"]

SERVICE: Final = "cas"
"""What the audit calls this service."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the community has decided.

    Attributes:
        community: Its name, with which its FQANs begin.
        default_lifetime: Of a capability that was asked for without one.
        max_lifetime: Of any capability.
    """

    community: str
    default_lifetime: timedelta = timedelta(hours=12)
    max_lifetime: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        word = self.community.replace("-", "").replace(".", "").replace("_", "")
        if not (word.isascii() and word.isalnum()) or len(self.community) > 255:
            raise ConfigError(f"{self.community[:80]!r} is no name of a community: letters, digits, '-', '.', '_'")
        if not timedelta() < self.default_lifetime <= self.max_lifetime:
            raise ConfigError("lifetimes of capabilities: the default is to be positive and not above the maximum")


@dataclass(slots=True)
class Note:
    """What the audit is to say of a decision."""

    reason: str = "permitted"
    details: dict[str, str | int | None] = field(default_factory=dict)


class Deciding:
    """One policy, its audit and its clock."""

    def __init__(
        self, repository: PolicyRepository, settings: Settings, audit: AuditSink, clock: Callable[[], datetime]
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._audit = audit
        self._clock = clock

    @property
    def settings(self) -> Settings:
        """What the community has decided."""
        return self._settings

    def _query(self, caller: Caller, action: str, work: Callable[[View], T]) -> T:
        now = self._clock()

        def asked(view: View) -> T:
            Rights.of(view, caller, now).require_query()
            return work(view)

        return self._ask(caller, action, now, asked)

    def _ask(self, caller: Caller, action: str, now: datetime, work: Callable[[View], T]) -> T:
        """Return an answer; only refusals go into the audit, since answers change nothing and sign nothing."""
        try:
            return self._repository.reading(work)
        except DeniedError as error:
            self._refuse(caller, action, now, error, {})
            raise

    # --- the audit ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _deciding(self, caller: Caller, action: str, now: datetime) -> Iterator[Note]:
        note = Note()
        try:
            yield note
        except GridError as error:
            self._refuse(caller, action, now, error, note.details)
            raise
        self._record(caller, action, now, note, Verdict.PERMIT)

    def _refuse(
        self, caller: Caller, action: str, now: datetime, error: GridError, details: dict[str, str | int | None]
    ) -> None:
        verdict = Verdict.DENY if isinstance(error, DeniedError) else Verdict.FAIL
        self._record(caller, action, now, Note(error.message, details), verdict)

    def _record(self, caller: Caller, action: str, now: datetime, note: Note, verdict: Verdict) -> None:
        self._audit.record(
            AuditRecord(
                time=now,
                request_id=caller.request_id,
                service=SERVICE,
                action=action,
                verdict=verdict,
                reason=note.reason,
                peer=caller.identity,
                address=caller.address,
                details=note.details,
            )
        )
