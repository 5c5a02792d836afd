"""The books of the authority: the interface and the values it keeps; no SQL (`sql`).

    books.add(entry, rate=Rate(30, timedelta(hours=1)))   # on disk when it returns; only then the certificate leaves
    books.find_request(request_hash)                      # the entry of a request that came before, or None
    books.revoke(authority, serial, reason=..., now=now, by="root")

A subject belongs to the principal that first got it, for ever: another one is refused it (`SubjectTakenError`), also
when the names differ only in what programs do not compare, such as case. Every change is atomic and durable before the
method returns. Whatever goes wrong is a `StorageError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from gsi.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime, timedelta

    from gsi.ca.crl import RevocationReason, RevokedEntry
    from gsi.errors import StorageError

__all__ = [
    "MAX_TEXT_BYTES",
    "Books",
    "Entry",
    "Owner",
    "Rate",
    "RepeatedRequestError",
    "Revocation",
    "Selection",
    "SubjectTakenError",
    "TooFastError",
]

MAX_TEXT_BYTES: Final = 2048
"""The longest name or principal: both stand in entries of PostgreSQL's indexes, which hold 2,700 bytes."""


class SubjectTakenError(ConflictError):
    """The subject belongs to another principal."""


class RepeatedRequestError(ConflictError):
    """A request of this hash was answered before."""


class TooFastError(ConflictError):
    """The principal has had as many certificates as it may for now.

    Attributes:
        until: When it may have the next.
    """

    def __init__(self, message: str, *, until: datetime, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.until = until


@dataclass(frozen=True, slots=True)
class Rate:
    """How many certificates a principal may have.

    Attributes:
        certificates: So many at once, and evenly spread from then on; at least 1.
        per: Within this time.
    """

    certificates: int
    per: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """That a certificate was revoked.

    Attributes:
        time: When.
        reason: Why.
        by: Who did it.
    """

    time: datetime
    reason: RevocationReason
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One certificate in the books.

    Attributes:
        authority: Which CA key: SHA-256 of its SubjectPublicKeyInfo, hexadecimal.
        serial: The serial number.
        principal: Whose ticket it was.
        realm: The principal's realm.
        subject: The subject in one-line form.
        subject_key: SHA-256 of the subject as names are compared, hexadecimal.
        not_before: Begin of validity.
        not_after: End of validity.
        issued: When it was issued.
        authenticated: When the principal had last proved who it is.
        request_id: The id in the audit.
        request_hash: SHA-256 of the request, or nothing where requests cannot be told apart.
        decision: Id of the authorization decision.
        rule: The mapping rule that gave it.
        peer: The client's address.
        transport: "udp", "tcp" or "http".
        certificate: DER.
        revocation: That it was revoked, or None.
        id: Counts entries in their order; 0 before it is kept.
    """

    authority: str
    serial: int
    principal: str
    realm: str
    subject: str
    subject_key: str
    not_before: datetime
    not_after: datetime
    issued: datetime
    authenticated: datetime
    request_id: str
    request_hash: bytes
    decision: str
    rule: str
    peer: str
    transport: str
    certificate: bytes = field(repr=False)
    revocation: Revocation | None = None
    id: int = 0

    @property
    def serial_hex(self) -> str:
        """The serial number as OpenSSL writes it: upper case, an even count of digits."""
        text = f"{self.serial:X}"
        return text if len(text) % 2 == 0 else f"0{text}"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a subject is.

    Attributes:
        subject: In one-line form, as it was first issued.
        principal: The principal.
        since: When it first got it.
    """

    subject: str
    principal: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which certificates an administrator means; all that is given has to fit.

    Attributes:
        serial: Exactly this number.
        principal: Exactly this principal.
        realm: Exactly this realm.
        subject: The subject holds this text, ASCII without case.
        valid_at: Valid, and not revoked, at this moment.
        revoked: Whether it was revoked.
        since: Issued at this moment or later.
        until: Issued before this moment.
    """

    serial: int | None = None
    principal: str | None = None
    realm: str | None = None
    subject: str | None = None
    valid_at: datetime | None = None
    revoked: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


class Books(Protocol):
    """The books. Safe for use by several threads, processes and nodes at once."""

    def add(self, entry: Entry, *, rate: Rate | None) -> None:
        """Keep an entry.

        Raises:
            SubjectTakenError: The subject is another principal's; nothing was changed.
            TooFastError: The principal's rate is used up; nothing was changed.
            RepeatedRequestError: A request of this hash has an entry; nothing was changed.
            ConflictError: The serial number is taken; nothing was changed.
            StorageError: It could not be made durable; nothing was changed.
        """
        ...

    def check(self, principal: str, subject_key: str, *, rate: Rate | None, now: datetime) -> None:
        """Return when `add` would keep an entry of this principal for this subject now, as far as both go.

        Raises:
            SubjectTakenError: The subject is another principal's.
            TooFastError: The principal's rate is used up.
            StorageError: The books cannot be read.
        """
        ...

    def find_request(self, request_hash: bytes) -> Entry | None:
        """Return the entry of a request, or None.

        Raises:
            StorageError: The books cannot be read.
        """
        ...

    def find_owner(self, subject_key: str) -> Owner | None:
        """Return whose a subject is; None while it is nobody's.

        Raises:
            StorageError: The books cannot be read.
        """
        ...

    def list_owners(self, *, realm: str | None = None) -> Iterator[Owner]:
        """Yield all subjects with their principals, by subject; read in pages.

        Raises:
            StorageError: The books cannot be read.
        """
        ...

    def search(
        self, selection: Selection, *, limit: int | None = None, on_damage: Callable[[StorageError], None] | None = None
    ) -> Iterator[Entry]:
        """Yield the entries that are meant, the newest first; read in pages.

        Args:
            selection: Which.
            limit: The most.
            on_damage: Hears of an entry that cannot be read, which is then left out; without it that is raised.

        Raises:
            StorageError: The books cannot be read.
        """
        ...

    def revoke(
        self, authority: str, serial: int, *, reason: RevocationReason, now: datetime, by: str
    ) -> tuple[Entry, bool]:
        """Take note that a certificate is revoked; return its entry, and whether that is new.

        One that was revoked before keeps its moment and reason.

        Raises:
            NotFoundError: There is no such certificate.
            StorageError: It could not be made durable; nothing was changed.
        """
        ...

    def begin_crl(self, authority: str, *, now: datetime, next_update: datetime) -> tuple[int, Sequence[RevokedEntry]]:
        """Return the number of the next revocation list, which is used from now on, and what stands on it.

        That is each revoked certificate that has not expired, or not before the last list was made (RFC 5280 section
        3.3: it stands on one list after its end). One whose reason cannot be read stands there without.

        Raises:
            StorageError: The books cannot be read or written.
        """
        ...

    def prune(self, *, before: datetime) -> int:
        """Remove certificates that ended before this moment, and old rates; return how many certificates.

        Owners of subjects are kept, and revoked certificates until they were on a list made after their end.

        Raises:
            StorageError: The books cannot be written.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
