"""What an administrator does to stored credentials on the server's machine; not the commands' words (`cli`).

    desk = AdminDesk(repository, audit, verify=verify, clock=clock.now)
    for stored in desk.find(Selection(username="alice")): ...
    desk.remove(stored), desk.lock(stored, "ask the help desk"), desk.unlock(stored)
    upkeep = UpkeepDesk(repository, sealer, audit, clock=clock.now)
    for finding, outcome in upkeep.check(repair=True, quarantine=False): ...
    report = upkeep.import_from("/var/lib/myproxy")
    enrolment = CodesDesk(codes, store, audit, clock=clock.now).enrol("alice", issuer="Example")

The administrator reads and writes the store directly, while servers run. Each change is recorded before it is made;
what cannot be recorded is not done.
"""

from __future__ import annotations

import getpass
import secrets
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gsi.certificate import Certificate
from gsi.errors import ConflictError, GridError, VerificationError
from gsi.system.audit import AuditRecord, Verdict
from myproxy.repository.exporting import export_spool
from myproxy.repository.fsck import Mend, judge, judge_database, rows
from myproxy.repository.importing import import_spool
from myproxy.repository.upkeep import Mender, rewrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from gsi.system.audit import AuditSink
    from myproxy.auth.totp import CodeStore, Enrolment, OneTimeCodes
    from myproxy.commands import ChainVerifier
    from myproxy.repository.base import Repository, Selection, StoredCredential
    from myproxy.repository.exporting import ExportReport
    from myproxy.repository.fsck import Finding
    from myproxy.repository.importing import ImportReport
    from myproxy.repository.seal import Sealer
    from myproxy.repository.sql import SQLRepository
    from myproxy.repository.upkeep import QuarantinedRow

__all__ = ["AdminDesk", "CodesDesk", "Outcome", "UpkeepDesk"]

SERVICE: Final = "myproxy-admin"


class Outcome(StrEnum):
    """What became of a finding."""

    LEFT = "left"
    REPAIRED = "repaired"
    QUARANTINED = "quarantined"
    CHANGED = "changed meanwhile"


class AdminDesk:
    """The store, as an administrator has it."""

    def __init__(
        self, repository: Repository, audit: AuditSink, *, verify: ChainVerifier, clock: Callable[[], datetime]
    ) -> None:
        """Put it together.

        Args:
            repository: Where credentials rest.
            audit: Where changes are recorded.
            verify: Judges chains.
            clock: The time.
        """
        self._repository = repository
        self._audit = audit
        self._verify = verify
        self._clock = clock

    def find(self, selection: Selection, *, only_invalid: bool = False) -> Iterator[StoredCredential]:
        """Yield the credentials that are meant, by user name and name.

        Args:
            selection: Which.
            only_invalid: Whether to leave out those whose chains are valid now.

        Raises:
            StorageError: The store cannot be read.
        """
        for stored in self._repository.search(selection):
            if not only_invalid or self.find_fault(stored) is not None:
                yield stored

    def find_fault(self, stored: StoredCredential) -> str | None:
        """Return why a credential's chain is not valid now, or None when it is."""
        try:
            self._verify(tuple(map(Certificate.parse, stored.certificates)), now=self._clock())
        except (VerificationError, GridError) as error:
            return error.message
        return None

    def remove(self, stored: StoredCredential) -> None:
        """Remove a credential.

        Raises:
            NotFoundError: It is gone already.
            StorageError: It could not be recorded or removed.
        """
        self._record(stored, "REMOVE")
        self._repository.delete(stored.username, stored.name, owner=stored.owner)

    def lock(self, stored: StoredCredential, message: str) -> None:
        """Let nobody have a credential; whoever asks is told the message.

        Raises:
            NotFoundError: It is gone.
            StorageError: It could not be recorded or written.
        """
        self._record(stored, "LOCK", message)
        self._repository.set_lock(stored.username, stored.name, message, now=self._clock())

    def unlock(self, stored: StoredCredential) -> None:
        """Undo `lock`.

        Raises:
            NotFoundError: It is gone.
            StorageError: It could not be recorded or written.
        """
        self._record(stored, "UNLOCK")
        self._repository.set_lock(stored.username, stored.name, None, now=self._clock())

    def _record(self, stored: StoredCredential, action: str, reason: str = "") -> None:
        details = {"username": stored.username, "credential": stored.name, "owner": stored.owner}
        self._audit.record(_record(self._clock(), action, reason, details))


class UpkeepDesk:
    """The store as a whole: is it sound, where does it come from, where can it go."""

    def __init__(
        self, repository: SQLRepository, sealer: Sealer, audit: AuditSink, *, clock: Callable[[], datetime]
    ) -> None:
        """Put it together.

        Args:
            repository: Where credentials rest.
            sealer: Knows the server's keys.
            audit: Where changes are recorded.
            clock: The time.
        """
        self._repository = repository
        self._sealer = sealer
        self._audit = audit
        self._clock = clock
        self._mender = Mender(repository.database)

    def check(self, *, repair: bool, quarantine: bool) -> Iterator[tuple[Finding, Outcome]]:
        """Look at every stored item; yield what is wrong and what became of it.

        Args:
            repair: Whether to repair what can be told anew.
            quarantine: Whether to put aside what cannot be used.

        Raises:
            StorageError: The store cannot be read, or a change not be recorded or written.
        """
        for finding in judge_database(self._repository.database):
            if repair and finding.mend is Mend.REPAIR:
                self._note("REINDEX", finding.problem, {"table": finding.table})
                self._mender.repair_index(finding)
                yield finding, Outcome.REPAIRED
            else:
                yield finding, Outcome.LEFT
        for row in rows(self._repository.database):
            for finding in judge(row, self._sealer, now=self._clock()):
                yield finding, self._mend(row, finding, repair=repair, quarantine=quarantine)

    def _mend(self, row: Mapping[str, object], finding: Finding, *, repair: bool, quarantine: bool) -> Outcome:
        details = {"username": finding.username, "credential": finding.name, "row": finding.row}
        try:
            if repair and finding.mend is Mend.REPAIR:
                self._note("REPAIR", finding.problem, details)
                self._mender.repair(row, finding)
                return Outcome.REPAIRED
            if quarantine and finding.mend is Mend.QUARANTINE:
                self._note("QUARANTINE", finding.problem, details)
                self._mender.quarantine(row, finding, now=self._clock())
                return Outcome.QUARANTINED
        except ConflictError:
            return Outcome.CHANGED
        return Outcome.LEFT

    def quarantined(self) -> Iterator[QuarantinedRow]:
        """Yield what was put aside.

        Raises:
            StorageError: It cannot be read.
        """
        return self._mender.quarantined()

    def restore(self, number: int) -> None:
        """Bring back what was put aside.

        Raises:
            NotFoundError: There is nothing of that number.
            ConflictError: Another credential has taken its place.
            StorageError: It could not be recorded or written.
        """
        self._note("RESTORE", "", {"quarantine": number})
        self._mender.restore(number)

    def rewrap(self) -> Iterator[tuple[StoredCredential, str | None]]:
        """Bring every key under the current server key; yields each that was not, and why it still is not.

        Raises:
            StorageError: The store cannot be read or written, or it cannot be recorded.
        """
        current = self._sealer.server_keys.current
        self._note("REWRAP", "", {"server_key": None if current is None else current.hex()})
        return rewrap(self._repository, self._sealer, now=self._clock())

    def import_from(self, directory: str, *, progress: Callable[[ImportReport], None]) -> ImportReport:
        """Take over what is new in a store of the C server.

        Raises:
            StorageError: It cannot be read, or not be recorded or written.
        """
        self._note("IMPORT", "begins", {"directory": directory})
        report = import_spool(self._repository.database, self._sealer, directory, now=self._clock(), progress=progress)
        counts = {"imported": report.imported, "known": report.known, "refused": len(report.faults)}
        verdict = Verdict.FAIL if report.faults else Verdict.PERMIT
        self._note("IMPORT", "has ended", {"directory": directory, **counts}, verdict)
        return report

    def export_to(self, directory: str, *, replace: bool, progress: Callable[[ExportReport], None]) -> ExportReport:
        """Write what is stored as a store of the C server.

        Raises:
            StorageError: Store or directory cannot be used, or it cannot be recorded.
        """
        self._note("EXPORT", "", {"directory": directory})
        return export_spool(self._repository, self._sealer, directory, replace=replace, progress=progress)

    def _note(
        self, action: str, reason: str, details: Mapping[str, str | int | None], verdict: Verdict = Verdict.PERMIT
    ) -> None:
        self._audit.record(_record(self._clock(), action, reason, details, verdict))


class CodesDesk:
    """Who has an authenticator for one-time codes."""

    def __init__(
        self, codes: OneTimeCodes, store: CodeStore, audit: AuditSink, *, clock: Callable[[], datetime]
    ) -> None:
        """Put it together.

        Args:
            codes: Makes secrets.
            store: Where they rest.
            audit: Where changes are recorded; secrets are not among what is.
            clock: The time.
        """
        self._codes = codes
        self._store = store
        self._audit = audit
        self._clock = clock

    def enrol(
        self,
        username: str,
        *,
        issuer: str,
        algorithm: str = "SHA1",
        secret: bytes | None = None,
        used_step: int = 0,
    ) -> Enrolment:
        """Give a user a secret in place of any former one; see `OneTimeCodes.enrol`.

        Raises:
            ConfigError: The secret is too short or too long.
            StorageError: It could not be recorded or written.
        """
        self._record("ENROL_OTP", username)
        return self._codes.enrol(username, issuer=issuer, algorithm=algorithm, secret=secret, used_step=used_step)

    def remove(self, username: str) -> None:
        """Take a user's secret away.

        Raises:
            NotFoundError: There is none.
            StorageError: It could not be recorded or written.
        """
        self._record("REMOVE_OTP", username)
        self._store.remove(username)

    def usernames(self) -> Sequence[str]:
        """Return who has a secret, in order; StorageError when the store cannot be read."""
        return self._store.usernames()

    def _record(self, action: str, username: str) -> None:
        self._audit.record(_record(self._clock(), action, "", {"username": username}))


def _record(
    now: datetime,
    action: str,
    reason: str,
    details: Mapping[str, str | int | None],
    verdict: Verdict = Verdict.PERMIT,
) -> AuditRecord:
    return AuditRecord(
        time=now,
        request_id=secrets.token_hex(8),
        service=SERVICE,
        action=action,
        verdict=verdict,
        reason=reason or "administrator",
        peer=f"local:{getpass.getuser()}",
        address="",
        details=details,
    )
