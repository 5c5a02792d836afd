"""What an administrator does with the books: revoke, make revocation lists, clean up; each of it in the audit first.

    desk = Desk(books, authority_certificate, audit, by="root", clock=now)
    entry, is_new = desk.revoke(serial, RevocationReason.KEY_COMPROMISE)
    crl_der, number, count = desk.make_crl(signer, lifetime)

Looking things up is the books' own affair (`Books.search`).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from gsi.ca.crl import RevocationReason, make_crl
from gsi.errors import ConfigError, NotFoundError
from gsi.system.audit import AuditRecord, AuditSink, Verdict
from kca.repository.base import Books, Entry, Selection
from kca.service import authority_id
from kca.trail import SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from gsi.ca.signer import Signer
    from gsi.certificate import Certificate

__all__ = ["CRL", "PRUNE", "REVOKE", "Desk"]

REVOKE: Final = "REVOKE"
CRL: Final = "CRL"
PRUNE: Final = "PRUNE"
"""The actions in the audit."""


class Desk:
    """An administrator's view of one authority."""

    def __init__(
        self, books: Books, certificate: Certificate, audit: AuditSink, *, by: str, clock: Callable[[], datetime]
    ) -> None:
        """Sit down at it.

        Args:
            books: The books.
            certificate: The CA's certificate.
            audit: Where changes are recorded.
            by: Who does it, for audit and books.
            clock: The time.
        """
        self._books = books
        self._certificate = certificate
        self._audit = audit
        self._by = by
        self._clock = clock

    @property
    def authority(self) -> str:
        """What the books call the CA."""
        return authority_id(self._certificate)

    def find(self, serial: int) -> Entry:
        """Return a certificate of this CA.

        Raises:
            NotFoundError: There is none of this number.
            StorageError: The books cannot be read.
        """
        for entry in self._books.search(Selection(serial=serial)):
            if entry.authority == self.authority:
                return entry
        raise NotFoundError(f"the books have no certificate {serial:X} of this authority")

    def revoke(self, serial: int, reason: RevocationReason) -> tuple[Entry, bool]:
        """Revoke a certificate; return its entry, and whether it was not revoked before.

        Raises:
            NotFoundError: There is none of this number.
            StorageError: Audit or books cannot be written.
        """
        entry = self.find(serial)
        self._record(
            REVOKE,
            reason.word,
            {"serial": entry.serial_hex, "subject": entry.subject, "principal": entry.principal},
        )
        return self._books.revoke(self.authority, serial, reason=reason, now=self._clock(), by=self._by)

    def make_crl(self, signer: Signer, lifetime: timedelta) -> tuple[bytes, int, int]:
        """Return a new revocation list (DER), its number, and how many certificates are on it.

        Raises:
            IssuanceError: The CA cannot sign it.
            StorageError: Books or audit cannot be written.
        """
        now = self._clock()
        number, entries = self._books.begin_crl(self.authority, now=now, next_update=now + lifetime)
        crl = make_crl(self._certificate, signer, entries, number=number, now=now, lifetime=lifetime)
        self._record(CRL, f"number {number}", {"number": number, "certificates": len(entries)})
        return crl, number, len(entries)

    def prune(self, *, before: datetime) -> int:
        """Remove certificates from the books that ended before this moment; return how many.

        Raises:
            ConfigError: The moment has not come yet: certificates that can still be used could not be revoked then.
            StorageError: Audit or books cannot be written.
        """
        if before > self._clock():
            raise ConfigError(
                f"{before.isoformat()} has not come yet; certificates that can still be used stay in the books",
                hint="look at the year; `prune -before` takes a time that has passed",
            )
        self._record(PRUNE, f"ended before {before.isoformat()}", {})
        return self._books.prune(before=before)

    def _record(self, action: str, reason: str, details: dict[str, str | int | None]) -> None:
        self._audit.record(
            AuditRecord(
                time=self._clock(),
                request_id=secrets.token_hex(8),
                service=SERVICE,
                action=action,
                verdict=Verdict.PERMIT,
                reason=reason,
                peer=f"local:{self._by}",
                address="",
                details=details,
            )
        )
