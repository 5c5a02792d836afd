"""What an administrator does to stored credentials on the server's machine; not the commands' words (`cli`).

    desk = AdminDesk(repository, audit, verify=verify, clock=clock.now)
    for stored in desk.find(Selection(username="alice")): ...
    desk.remove(stored), desk.lock(stored, "ask the help desk"), desk.unlock(stored)

The administrator reads and writes the store directly, while servers run. Each change is recorded before it is made;
what cannot be recorded is not done.
"""

from __future__ import annotations

import getpass
import secrets
from typing import TYPE_CHECKING, Final

from gsi.certificate import Certificate
from gsi.errors import GridError, VerificationError
from gsi.system.audit import AuditRecord, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from myproxy.commands import ChainVerifier
    from myproxy.repository.base import Repository, Selection, StoredCredential
    from myproxy.trail import AuditSink

__all__ = ["AdminDesk"]

SERVICE: Final = "myproxy-admin"


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
        self._audit.record(
            AuditRecord(
                time=self._clock(),
                request_id=secrets.token_hex(8),
                service=SERVICE,
                action=action,
                verdict=Verdict.PERMIT,
                reason=reason or "administrator",
                peer=f"local:{getpass.getuser()}",
                address="",
                details={"username": stored.username, "credential": stored.name, "owner": stored.owner},
            )
        )
