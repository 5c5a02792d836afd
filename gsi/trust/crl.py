"""Certificate revocation lists: bytes to a value that answers for a serial number; fetches nothing, reads no file.

    crl = parse_crl(der)
    crl.issuer_der, crl.this_update, crl.next_update
    crl.is_revoked(serial)

Only complete lists of their own issuer are read (RFC 5280 section 5). Delta lists, lists with an issuing distribution
point (partial or indirect ones), and unknown critical extensions, of the list or of an entry, are errors: using such a
list as if it were complete would miss revocations. A list without nextUpdate is an error too, since nobody could tell
when it is stale. The C validator takes several of these (gct: gsi_callback does not look at extensions).

A file without any list, be it empty, is broken and not absent: the C validator takes an empty one for none, so that a
download which fails in the middle opens the CA. An empty file tells nothing about who was revoked.

Whether the list holds now and who signed it is judged by the caller (`gsi.trust.revocation`). The index of serial
numbers is made when it is first asked for: 100,000 entries take a tenth of a second once, and a look-up nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from gsi import der, oids
from gsi.errors import ParseError, VerificationError
from gsi.pem import split_pem
from gsi.trust.signatures import check_signature

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["CRL", "MAX_CRL_BYTES", "parse_crl", "parse_crl_file"]

MAX_CRL_BYTES: Final = 64 << 20  # the longest grid CRLs have 10 MB; a million entries take some 40 MB
_MAX_SERIAL_BYTES: Final = 64  # RFC 5280 allows 20; some CAs went beyond
_MAX_EXTENSIONS: Final = 32  # of a list, and of one entry; five are defined
_MAX_KNOWN_TAILS: Final = 1024  # entries' extensions already judged; most lists repeat the same few reason codes
_MAX_SIGNERS: Final = 32  # more keys than one CA name ever has in a trust directory
_WHAT: Final = "CRL"
_LABELS: Final = frozenset({"X509 CRL"})
_KNOWN: Final = frozenset({oids.CRL_NUMBER, oids.AUTHORITY_KEY_IDENTIFIER})
_REASON_CODE: Final = "2.5.29.21"  # RFC 5280 section 5.3.1
_INVALIDITY_DATE: Final = "2.5.29.24"  # RFC 5280 section 5.3.2
_KNOWN_OF_ENTRY: Final = frozenset({_REASON_CODE, _INVALIDITY_DATE})
_PARTIAL: Final = {
    oids.DELTA_CRL_INDICATOR: "it is a delta CRL",
    oids.ISSUING_DISTRIBUTION_POINT: "it covers only part of the CA's certificates (issuing distribution point)",
    oids.CERTIFICATE_ISSUER: "it lists certificates of other CAs (indirect CRL)",
}


class CRL:
    """One complete CRL. Immutable but for memories of work already done; made by `parse_crl`.

    Attributes:
        der: The bytes as they came.
        issuer_der: The issuer's name.
        this_update: Start of the time in which it holds (aware UTC).
        next_update: End of that time, inclusive (aware UTC).
        signature_algorithm_der: The AlgorithmIdentifier of the signature.
        signature: The signature.
    """

    __slots__ = (
        "__weakref__",
        "_entries",
        "_serials",
        "_verified",
        "der",
        "issuer_der",
        "next_update",
        "signature",
        "signature_algorithm_der",
        "tbs_der",
        "this_update",
    )

    der: bytes
    issuer_der: bytes
    this_update: datetime
    next_update: datetime
    signature_algorithm_der: bytes
    signature: bytes
    tbs_der: bytes
    _entries: bytes
    _serials: frozenset[int] | None
    _verified: dict[bytes, bool]

    @property
    def serials(self) -> frozenset[int]:
        """The serial numbers of every certificate on the list, whatever the reason.

        Raises:
            ParseError: An entry is malformed or has a critical extension that is not known.
        """
        found = self._serials
        if found is None:
            found = _index(self._entries)
            self._serials = found
        return found

    def is_revoked(self, serial: int) -> bool:
        """Tell whether the certificate of this serial number is on the list.

        Raises:
            ParseError: As for `serials`.
        """
        return serial in self.serials

    def is_signed_with(self, spki_der: bytes, key: object, *, accept_weak: bool = False) -> bool:
        """Tell whether a key, however weak itself, made the signature; remembers it, since checking again costs much.

        Args:
            spki_der: The key's SubjectPublicKeyInfo, by which it is remembered.
            key: The key.
            accept_weak: Whether a signature with a weak digest counts.
        """
        memory = spki_der + b"\x01" if accept_weak else spki_der  # what the switch let pass needs the switch
        known = self._verified.get(memory)
        if known is not None:
            return known
        try:
            check_signature(key, self.signature_algorithm_der, self.signature, self.tbs_der, accept_weak=accept_weak)
            signed = True
        except VerificationError:
            signed = False
        if len(self._verified) < _MAX_SIGNERS:
            self._verified[memory] = signed
        return signed

    def __repr__(self) -> str:
        return f"<CRL until {self.next_update:%Y-%m-%d %H:%M:%S}Z, {len(self.der)} bytes>"


def parse_crl(data: bytes) -> CRL:
    """Return the CRL in `data`, which must hold exactly one, in DER.

    Raises:
        ParseError: Too long, not DER, not a CRL, or not one that may be used as a complete list of its issuer.
    """
    if len(data) > MAX_CRL_BYTES:
        raise ParseError(f"{_WHAT}: {len(data)} bytes, limit {MAX_CRL_BYTES}", what=_WHAT, offset=0)
    self = CRL()
    outer = der.parse_one(data, what=_WHAT)
    self.der = data
    self.tbs_der = outer.take_raw(der.SEQUENCE)
    self.signature_algorithm_der = outer.take_raw(der.SEQUENCE)
    self.signature = outer.bit_string()
    outer.finish()
    tbs = der.parse_one(self.tbs_der, what=_WHAT)
    version = tbs.integer() + 1 if tbs.peek() == der.INTEGER else 1
    if tbs.take_raw(der.SEQUENCE) != self.signature_algorithm_der:
        raise ParseError(f"{_WHAT}: the two signature algorithms differ", what=_WHAT)
    self.issuer_der = tbs.take_raw(der.SEQUENCE)
    has_next_update = _skip_times(tbs)
    self._entries = tbs.take(der.SEQUENCE) if tbs.peek() == der.SEQUENCE else b""
    if tbs.peek() == der.context(0):
        tagged = tbs.enter(der.context(0))
        if version != 2:
            raise ParseError(f"{_WHAT}: version {version} with extensions", what=_WHAT)
        _check_extensions(tagged.sequence(), _KNOWN)
        tagged.finish()
    tbs.finish()
    if not has_next_update:
        raise ParseError(f"{_WHAT}: no nextUpdate, so nobody can tell when it is stale", what=_WHAT)
    self.this_update, self.next_update = _read_times(data)
    self._serials = None
    self._verified = {}
    return self


def parse_crl_file(data: bytes) -> tuple[CRL, ...]:
    """Return every CRL of a file, PEM or DER.

    Raises:
        ParseError: A CRL is malformed, or the file holds none.
    """
    if data[:1] == b"\x30":
        return (parse_crl(data),)
    blocks = [block for block in split_pem(data, what=_WHAT) if block.label in _LABELS]
    if not blocks:
        raise ParseError(f"{_WHAT}: neither a PEM file with an X509 CRL block nor DER", what=_WHAT, offset=0)
    return tuple(parse_crl(block.data) for block in blocks)


def _skip_times(tbs: der.Reader) -> bool:
    """Pass over thisUpdate and nextUpdate; tell whether the second is there."""
    count = 0
    while tbs.peek() in {der.UTC_TIME, der.GENERALIZED_TIME} and count < 2:
        tbs.take_any()
        count += 1
    if not count:
        raise ParseError(f"{_WHAT}: no thisUpdate", what=_WHAT)
    return count == 2


def _read_times(data: bytes) -> tuple[datetime, datetime]:
    """Let pyca read the times, and with them check the structure of every entry."""
    try:
        parsed = x509.load_der_x509_crl(data)
        this_update, next_update = parsed.last_update_utc, parsed.next_update_utc
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise ParseError(f"{_WHAT}: {error}", what=_WHAT) from error
    if next_update is None:
        raise ParseError(f"{_WHAT}: no nextUpdate", what=_WHAT)
    return this_update, next_update


def _check_extensions(listed: der.Reader, known: frozenset[str]) -> None:
    seen: set[str] = set()
    while not listed.at_end():
        entry = listed.sequence()
        oid = entry.oid()
        critical = entry.boolean() if entry.peek() == der.BOOLEAN else False
        entry.octet_string()
        entry.finish()
        if oid in seen or len(seen) == _MAX_EXTENSIONS:
            raise ParseError(f"{_WHAT}: an extension twice, or too many of them", what=_WHAT)
        seen.add(oid)
        if oid in _PARTIAL:
            raise ParseError(f"{_WHAT}: {_PARTIAL[oid]}", what=_WHAT, hint="install the CA's complete CRL instead")
        if critical and oid not in known:
            raise ParseError(f"{_WHAT}: unknown critical extension {oid}", what=_WHAT)


def _index(entries: bytes) -> frozenset[int]:
    """Return the serial numbers in the content of revokedCertificates.

    A tight loop in place of `Reader`: it runs once per entry of lists with 100,000 of them.
    """
    serials: set[int] = set()
    judged: set[bytes] = set()
    position, end = 0, len(entries)
    try:
        while position < end:
            length, body = entries[position + 1], position + 2
            if length >= 0x80:
                count = length & 0x7F
                body += count
                length = int.from_bytes(entries[position + 2 : body], "big")
            stop = body + length
            size = entries[body + 1]
            if entries[position] != der.SEQUENCE or entries[body] != der.INTEGER or not 0 < size <= _MAX_SERIAL_BYTES:
                raise ParseError(f"{_WHAT}: malformed entry", what=_WHAT, offset=position)
            time = body + 2 + size
            serials.add(int.from_bytes(entries[body + 2 : time], "big", signed=True))
            tail = time + 2 + entries[time + 1]
            if tail > stop or stop > end:
                raise ParseError(f"{_WHAT}: malformed entry", what=_WHAT, offset=position)
            if tail < stop and (extensions := entries[tail:stop]) not in judged:
                _check_extensions(der.parse_one(extensions, what=_WHAT), _KNOWN_OF_ENTRY)
                if len(judged) < _MAX_KNOWN_TAILS:
                    judged.add(extensions)
            position = stop
    except IndexError:
        raise ParseError(f"{_WHAT}: an entry is cut off", what=_WHAT, offset=position) from None
    return frozenset(serials)
