"""OpenSSL's `index.txt`: the list of what a CA in a directory has issued, text to value and back; opens no file.

    index = parse_index(data)
    index = index.add(IndexEntry.issued(certificate))
    data = encode_index(index)

One line for each certificate, six fields with tabs between: `V`alid, `R`evoked or `E`xpired; the end of its validity;
time and reason of revocation; the serial number in hexadecimal; a file name nobody uses; the subject. Must agree with
openssl:apps/ca.c and openssl:crypto/txt_db, so that `openssl ca` and this room can work in one directory by turns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gsi.ca.crl import RevocationReason, RevokedEntry, long_time
from gsi.ca.serials import MAX_SERIAL
from gsi.errors import ConflictError, NotFoundError, ParseError
from gsi.names import canonical_oneline, oneline

if TYPE_CHECKING:
    from gsi.certificate import Certificate

__all__ = ["Index", "IndexEntry", "Status", "encode_index", "parse_index"]

MAX_INDEX_BYTES: Final = 64 << 20  # half a million lines; a CA that large has a database
_WHAT: Final = "CA index"
_FIRST_LONG_YEAR: Final = 2050
_FIRST_SHORT_YEAR: Final = 1950
_TIME: Final = re.compile(r"([0-9]{2}|[0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z")
# What `openssl ca` writes in place of a reason when it knows more than that.
_LONGER_REASONS: Final = {
    "holdInstruction": RevocationReason.CERTIFICATE_HOLD,
    "keyTime": RevocationReason.KEY_COMPROMISE,
    "CAkeyTime": RevocationReason.CA_COMPROMISE,
}
_REASONS: Final = {reason.word.lower(): reason for reason in RevocationReason}


class Status(StrEnum):
    """What became of a certificate."""

    VALID = "V"
    REVOKED = "R"
    EXPIRED = "E"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One line.

    Attributes:
        status: What became of the certificate. An expired one is marked so only when somebody asks for it.
        not_after: End of its validity (aware UTC).
        serial: Its serial number.
        subject: Its subject in one-line form.
        revoked: When and why it was revoked; None unless it is.
        file: The fifth field, "unknown" in practice.
    """

    status: Status
    not_after: datetime
    serial: int
    subject: str
    revoked: RevokedEntry | None = None
    file: str = "unknown"

    @classmethod
    def issued(cls, certificate: Certificate) -> IndexEntry:
        """Return the line of a certificate just issued."""
        return cls(Status.VALID, certificate.not_after, certificate.serial, oneline(certificate.subject_der))

    def holds(self, now: datetime) -> bool:
        """Tell whether the certificate is neither revoked nor past its end."""
        return self.status is Status.VALID and now <= self.not_after


@dataclass(frozen=True, slots=True)
class Index:
    """Every line, in the order of the file."""

    entries: tuple[IndexEntry, ...] = ()

    def find(self, serial: int) -> IndexEntry | None:
        """Return the line of this serial number, or None."""
        return next((entry for entry in self.entries if entry.serial == serial), None)

    def find_holding(self, subject: str, now: datetime) -> tuple[IndexEntry, ...]:
        """Return the lines of certificates for this subject that are good at `now`."""
        wanted = canonical_oneline(subject)
        return tuple(entry for entry in self.entries if entry.holds(now) and canonical_oneline(entry.subject) == wanted)

    @property
    def revoked(self) -> tuple[RevokedEntry, ...]:
        """What belongs on a CRL."""
        return tuple(entry.revoked for entry in self.entries if entry.revoked is not None)

    def add(self, entry: IndexEntry) -> Index:
        """Return the index with one more line.

        Raises:
            ConflictError: The serial number is taken.
        """
        if self.find(entry.serial) is not None:
            raise ConflictError(f"serial number {entry.serial:#x} has been used before")
        return Index((*self.entries, entry))

    def revoke(self, revoked: RevokedEntry) -> Index:
        """Return the index with one certificate revoked.

        Raises:
            NotFoundError: No certificate has this serial number.
            ConflictError: It is revoked already.
        """
        entry = self.find(revoked.serial)
        if entry is None:
            raise NotFoundError(f"this CA has issued no certificate with serial number {revoked.serial:#x}")
        if entry.status is Status.REVOKED:
            raise ConflictError(f"the certificate with serial number {revoked.serial:#x} is revoked already")
        changed = replace(entry, status=Status.REVOKED, revoked=revoked)
        return Index(tuple(changed if one is entry else one for one in self.entries))

    def expire(self, now: datetime) -> Index:
        """Return the index with every valid line past its end marked as expired."""
        return Index(
            tuple(
                replace(entry, status=Status.EXPIRED)
                if entry.status is Status.VALID and entry.not_after < now
                else entry
                for entry in self.entries
            )
        )


def parse_index(data: bytes) -> Index:
    """Return the index in a file's bytes.

    Raises:
        ParseError: Too long, or a line that does not follow the form; the offset is the line's number.
    """
    if len(data) > MAX_INDEX_BYTES:
        raise ParseError(f"{_WHAT}: {len(data)} bytes, limit {MAX_INDEX_BYTES}", what=_WHAT)
    entries: list[IndexEntry] = []
    seen: set[int] = set()
    for number, raw in enumerate(data.split(b"\n"), 1):
        if not raw or raw.startswith(b"#"):
            continue
        try:
            entry = _parse_line(raw.decode("utf-8", "surrogateescape"))
        except ValueError as error:
            raise ParseError(f"{_WHAT}: line {number}: {error}", what=_WHAT, offset=number) from error
        if entry.serial in seen:
            raise ParseError(f"{_WHAT}: line {number}: a serial number for the second time", what=_WHAT, offset=number)
        seen.add(entry.serial)
        entries.append(entry)
    return Index(tuple(entries))


def _parse_line(line: str) -> IndexEntry:
    fields = line.split("\t")
    if len(fields) != 6:
        raise ValueError(f"{len(fields)} fields, not six")
    letter, end, revocation, serial_text, file, subject = fields
    if letter not in {"V", "R", "E"}:
        raise ValueError(f"status {letter[:8]!r} is not V, R or E")
    if not re.fullmatch(r"[0-9A-Fa-f]{1,40}", serial_text) or not 0 < int(serial_text, 16) <= MAX_SERIAL:
        raise ValueError("no serial number")
    status, serial = Status(letter), int(serial_text, 16)
    if (status is Status.REVOKED) != bool(revocation):
        raise ValueError("status and revocation time contradict one another")
    revoked = _parse_revocation(revocation, serial) if revocation else None
    return IndexEntry(status, _parse_time(end), serial, subject, revoked, file)


def _parse_revocation(text: str, serial: int) -> RevokedEntry:
    when, _, rest = text.partition(",")
    word, _, argument = rest.partition(",")
    if not word:
        return RevokedEntry(serial, _parse_time(when))
    since = _parse_any_time(argument) if word in {"keyTime", "CAkeyTime"} else None
    reason = _LONGER_REASONS.get(word) or _REASONS.get(word.lower())
    if reason is None:
        raise ValueError(f"reason {word[:40]!r} is not known")
    return RevokedEntry(serial, _parse_time(when), reason, since)


def _parse_time(text: str) -> datetime:
    """Read the time of an event, which is written again as short as `openssl ca` does."""
    moment = _parse_any_time(text)
    if moment.year < _FIRST_SHORT_YEAR:
        raise ValueError(f"{text[:20]!r} is a time before {_FIRST_SHORT_YEAR}, which two digits could not say again")
    return moment


def _parse_any_time(text: str) -> datetime:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:20]!r} is no time")
    year, *rest = map(int, found.groups())
    if len(found[1]) == 2:
        year += 2000 if year < 50 else 1900
    return datetime(year, *rest, tzinfo=UTC)  # type: ignore[misc, arg-type]  # five numbers follow, as the pattern says


def encode_index(index: Index) -> bytes:
    """Return the bytes of the file."""
    return b"".join([_encode_line(entry) for entry in index.entries])


def _encode_line(entry: IndexEntry) -> bytes:
    serial = f"{entry.serial:X}"
    fields = (
        entry.status.value,
        _encode_time(entry.not_after),
        "" if entry.revoked is None else _encode_revocation(entry.revoked),
        serial if len(serial) % 2 == 0 else f"0{serial}",
        entry.file,
        entry.subject,
    )
    return ("\t".join(fields) + "\n").encode("utf-8", "surrogateescape")


def _encode_revocation(revoked: RevokedEntry) -> str:
    when = _encode_time(revoked.time)
    if revoked.invalid_since is not None and revoked.reason in {
        RevocationReason.KEY_COMPROMISE,
        RevocationReason.CA_COMPROMISE,
    }:
        word = "keyTime" if revoked.reason is RevocationReason.KEY_COMPROMISE else "CAkeyTime"
        return f"{when},{word},{long_time(revoked.invalid_since)}"
    if revoked.reason is RevocationReason.UNSPECIFIED:
        return when
    return f"{when},{revoked.reason.word}"


def _encode_time(moment: datetime) -> str:
    return f"{moment:%Y%m%d%H%M%SZ}" if moment.year >= _FIRST_LONG_YEAR else f"{moment:%y%m%d%H%M%SZ}"
