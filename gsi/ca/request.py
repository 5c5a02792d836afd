"""What is to be certified: a PKCS#10 request, proved by its signature, or a bare public key; grants nothing.

    request = parse_request(der)              # strict, signature checked over the bytes as sent
    request = load_request(pem, what=path)    # the one request of a file, PEM or DER
    request = CertificateRequest.from_public_key(spki_der)

The subject and the extensions in a request are wishes. `gsi.ca.issuer` does not read them; a service that honours some
of them puts them into the grant. Attributes may be missing altogether (Heimdal's writer leaves the field out), and
versions 0 to 2 are read, because old writers numbered requests like certificates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gsi import der, keys, oids
from gsi.certificate import MAX_EXTENSIONS, Extension
from gsi.errors import ParseError, Reason, VerificationError
from gsi.pem import split_pem

if TYPE_CHECKING:
    from gsi.keys import PublicKey

__all__ = ["MAX_REQUEST_BYTES", "CertificateRequest", "load_request", "parse_request"]

MAX_REQUEST_BYTES: Final = 64 << 10  # a 16384-bit key takes 5 kB; the rest is room for names
MAX_REQUEST_FILE_BYTES: Final = 1 << 20  # grid-cert-request writes a page of text before the block
_MAX_ATTRIBUTES: Final = 32  # extensionRequest and challengePassword are what is met
_HIGHEST_VERSION: Final = 2
_ATTRIBUTES: Final = der.context(0)
_EMPTY_NAME: Final = der.encode_sequence()
_LABELS: Final = frozenset({"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"})
_WHAT: Final = "certificate request"
_HINTS: Final = {
    Reason.BAD_SIGNATURE: "the request was changed, or signed by another key than the one in it; have it made anew",
    Reason.WEAK_SIGNATURE: "have it signed with SHA-256: openssl req -new -sha256",
    Reason.UNSUPPORTED_ALGORITHM: "have it signed with SHA-256: openssl req -new -sha256",
}


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A public key to be certified, with what its holder wishes.

    Attributes:
        public_key: The key, judged by `gsi.keys.check_public_key`.
        spki_der: The same as SubjectPublicKeyInfo, in the one form that this project writes.
        subject_der: The name asked for, a Name in DER; empty when none.
        extensions: The extensions asked for.
        der: The PKCS#10 as sent; None for a bare key.
    """

    public_key: PublicKey = field(repr=False)
    spki_der: bytes = field(repr=False)
    subject_der: bytes = _EMPTY_NAME
    extensions: tuple[Extension, ...] = ()
    der: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_public_key(cls, spki_der: bytes) -> CertificateRequest:
        """Return a request for a key that came without proof that the requester holds it.

        The protocol must have bound the two (KX.509's raw key is covered by the ticket's HMAC).

        Raises:
            ParseError: Not a SubjectPublicKeyInfo.
            CredentialError: WEAK_KEY or UNSUPPORTED_KEY.
        """
        public_key = keys.parse_public_key(spki_der)
        return cls(public_key, keys.spki_der(public_key))

    @property
    def is_proven(self) -> bool:
        """Whether a signature has shown that the requester holds the private key."""
        return self.der is not None

    def find_extension(self, oid: str) -> Extension | None:
        """Return the extension asked for with this identifier, or None."""
        return next((extension for extension in self.extensions if extension.oid == oid), None)


def parse_request(data: bytes) -> CertificateRequest:
    """Return what a PKCS#10 request (RFC 2986) asks for, once its signature has proved that the sender holds the key.

    Args:
        data: The request in DER, nothing after it.

    Raises:
        ParseError: Not such a request.
        CredentialError: WEAK_KEY or UNSUPPORTED_KEY, as `gsi.keys.check_public_key`.
        VerificationError: BAD_SIGNATURE, WEAK_SIGNATURE or UNSUPPORTED_ALGORITHM.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise _bad(f"{len(data)} bytes, limit {MAX_REQUEST_BYTES}")
    outer = der.parse_one(data, what=_WHAT)
    body_der = outer.take_raw(der.SEQUENCE)
    algorithm_der = outer.take_raw(der.SEQUENCE)
    signature = outer.bit_string()
    outer.finish()
    body = der.parse_one(body_der, what=_WHAT)
    if not 0 <= body.integer() <= _HIGHEST_VERSION:
        raise _bad("unknown version")
    subject_der = body.take_raw(der.SEQUENCE)
    public_key = keys.parse_public_key(body.take_raw(der.SEQUENCE))
    extensions = _read_attributes(body.enter(_ATTRIBUTES)) if body.peek() == _ATTRIBUTES else ()
    body.finish()
    try:
        keys.verify_signature(public_key, algorithm_der, signature, body_der)
    except VerificationError as error:
        told = f"{_WHAT}: {error.message}"
        raise VerificationError(told, reason=error.reason, hint=_HINTS.get(error.reason)) from error
    return CertificateRequest(public_key, keys.spki_der(public_key), subject_der, extensions, data)


def _read_attributes(reader: der.Reader) -> tuple[Extension, ...]:
    """Return the requested extensions; other attributes (a challenge password) are passed over."""
    found: list[Extension] = []
    count = 0
    while not reader.at_end():
        count += 1
        if count > _MAX_ATTRIBUTES:
            raise _bad(f"more than {_MAX_ATTRIBUTES} attributes")
        attribute = reader.sequence()
        oid = attribute.oid()
        values = attribute.enter(der.SET)
        attribute.finish()
        if oid != oids.EXTENSION_REQUEST:
            continue
        listed = values.sequence()
        values.finish()
        while not listed.at_end():
            found.append(_read_extension(listed.sequence()))
            if len(found) > MAX_EXTENSIONS:
                raise _bad(f"more than {MAX_EXTENSIONS} extensions")
    if len({extension.oid for extension in found}) != len(found):
        raise _bad("an extension is asked for twice")
    return tuple(found)


def _read_extension(entry: der.Reader) -> Extension:
    oid = entry.oid()
    critical = entry.boolean() if entry.peek() == der.BOOLEAN else False
    value = entry.octet_string()
    entry.finish()
    return Extension(oid, critical, value)


def load_request(data: bytes, *, what: str = _WHAT) -> CertificateRequest:
    """Return the one request of a file, PEM (with any text around it) or DER.

    Args:
        data: The file's content.
        what: What or where it is, for the error text.

    Raises:
        ParseError: There is none, there are several, or it is malformed.
        CredentialError: As `parse_request`.
        VerificationError: As `parse_request`.
    """
    if len(data) > MAX_REQUEST_FILE_BYTES:
        raise ParseError(f"{what}: {len(data)} bytes, limit {MAX_REQUEST_FILE_BYTES}", what=_WHAT)
    if data[:1] == b"\x30":
        return parse_request(data)
    found = [block.data for block in split_pem(data, what=what) if block.label in _LABELS]
    if not found:
        raise ParseError(
            f"{what}: no certificate request in it", what=_WHAT, hint="it holds -----BEGIN CERTIFICATE REQUEST-----"
        )
    if len(found) > 1:
        raise ParseError(
            f"{what}: {len(found)} certificate requests in it", what=_WHAT, hint="put each into a file of its own"
        )
    return parse_request(found[0])


def _bad(why: str) -> ParseError:
    return ParseError(f"{_WHAT}: {why}", what=_WHAT)
