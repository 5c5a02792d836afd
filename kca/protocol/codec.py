"""KX.509 messages: bytes to values and back, and their message authentication codes; no order, no decisions.

    request = parse_request(datagram)
    check_request_mac(request, session_key)
    reply = encode_response(sealed(Response(certificate=der), session_key, MACDialect.RFC))

Strict DER in both directions (RFC 6717 s.3), with the four bytes of the version in front. On TCP four bytes with the
length come before these, as with Kerberos (RFC 4120 s.7.2.2).
"""

from __future__ import annotations

import functools
import hmac
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gsi import der
from gsi.certificate import MAX_EXTENSIONS, Certificate, Extension
from gsi.errors import CredentialError, CredentialProblem, ParseError
from kca.protocol.messages import CSRPlus, MACDialect, MACError, Request, Response, VersionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gsi.secret import Passphrase

__all__ = [
    "FRAME_BYTES",
    "MAX_REQUEST_BYTES",
    "MAX_RESPONSE_BYTES",
    "MAX_TEXT_BYTES",
    "VERSION",
    "check_modulus",
    "check_request_mac",
    "check_response_mac",
    "clean_text",
    "encode_certificates",
    "encode_csr_plus",
    "encode_frame",
    "encode_request",
    "encode_response",
    "frame_length",
    "looks_like_request",
    "parse_certificates",
    "parse_csr_plus",
    "parse_request",
    "parse_response",
    "parse_rsa_key",
    "request_mac",
    "response_mac",
    "sealed",
]

VERSION: Final = b"\x00\x00\x02\x00"
"""2.0; version 1 is Kerberos 4's."""
FRAME_BYTES: Final = 4
MAX_REQUEST_BYTES: Final = 96 << 10
"""A ticket full of groups takes up to 64 KiB, a request for a key of 16384 bits 5."""
MAX_RESPONSE_BYTES: Final = 256 << 10
"""A chain of certificates as Kerberos sites have them takes 4 KiB; the rest is room."""
MAX_CHAIN: Final = 16
MAX_TEXT_BYTES: Final = 200
"""A sentence; replies have to fit into datagrams."""
SMALL: Final = 1000
"""A number of which nobody knows anything has a prime factor below this in nine cases of ten; a key has none."""
MAX_RECEIVED_TEXT_BYTES: Final = 4096
MAX_ERROR_CODE_BYTES: Final = 4
"""Heimdal's INTEGER is of 32 bits."""
_RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"  # RFC 8017 appendix C
_CLIENT_VERSION: Final = der.context(0, constructed=False)
_CSR_PLUS: Final = b"\x7f\x23"  # APPLICATION 35, constructed
_WHAT: Final = "KX.509 request"
_REPLY: Final = "KX.509 reply"


# --- Requests --------------------------------------------------------------------------------------------------------


def looks_like_request(data: bytes) -> bool:
    """Say whether a message begins as a request does, of whatever version: its number, and a SEQUENCE."""
    return data[:2] == VERSION[:2] and data[4:5] == b"\x30"


def parse_request(data: bytes) -> Request:
    """Return the request in a message.

    Raises:
        VersionError: It is a request of another version, by its outer form.
        ParseError: It is none.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise ParseError(f"{_WHAT}: {len(data)} bytes, limit {MAX_REQUEST_BYTES}", what=_WHAT)
    if len(data) < len(VERSION) or data[:2] != VERSION[:2]:
        raise ParseError(f"{_WHAT}: no version in front", what=_WHAT, offset=0)
    reader = der.parse_one(data[len(VERSION) :], what=_WHAT)
    authenticator = reader.octet_string()
    pk_hash = reader.octet_string()
    pk_key = reader.octet_string()
    client_version: str | None = None
    if reader.peek() == _CLIENT_VERSION:
        client_version = clean_text(reader.take(_CLIENT_VERSION).decode("ascii", "replace"))
    reader.finish()
    if data[2] != VERSION[2]:
        raise VersionError(f"{_WHAT}: version {data[2]}.{data[3]}, where 2.0 is spoken")
    return Request(authenticator, pk_hash, pk_key, client_version)


def encode_request(request: Request) -> bytes:
    """Return the message of a request."""
    fields = [der.encode_octet_string(part) for part in request[:3]]
    if request.client_version is not None:
        fields.append(der.encode_tlv(_CLIENT_VERSION, request.client_version.encode("ascii")))
    return VERSION + der.encode_sequence(*fields)


def parse_rsa_key(data: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo of a bare RSAPublicKey (RFC 8017 appendix A.1.1); its strength is not judged.

    Raises:
        ParseError: It is none.
    """
    what = "RSA public key"
    reader = der.parse_one(data, what=what)
    if reader.integer() <= 0 or reader.integer() <= 0:
        raise ParseError(f"{what}: a number that is not positive", what=what)
    reader.finish()
    algorithm = der.encode_sequence(der.encode_oid(_RSA_ENCRYPTION), der.encode_tlv(der.NULL, b""))
    return der.encode_sequence(algorithm, der.encode_bit_string(data))


def check_modulus(spki_der: bytes) -> None:
    """Refuse a bare RSA key that anybody could break: nothing proves that its sender made it as keys are made.

    Raises:
        CredentialError: WEAK_KEY: a small prime divides the modulus.
        ParseError: It is no RSA key.
    """
    reader = der.parse_one(spki_der, what="public key")
    reader.take_raw(der.SEQUENCE)
    modulus = der.parse_one(reader.bit_string(), what="RSA public key").integer()
    if math.gcd(modulus, _small_primes()) != 1:
        raise CredentialError("the modulus of the RSA key has small factors", problem=CredentialProblem.WEAK_KEY)


@functools.cache
def _small_primes() -> int:
    """Return the product of the primes below `SMALL`."""
    return math.prod(n for n in range(2, SMALL) if all(n % k for k in range(2, math.isqrt(n) + 1)))


def parse_csr_plus(data: bytes) -> CSRPlus:
    """Return Heimdal's form of a key; the PKCS#10 in it is not looked at.

    Raises:
        ParseError: It is none.
    """
    what = "Kx509CSRPlus"
    if data[:2] != _CSR_PLUS:
        raise ParseError(f"{what}: tag 7f 23 expected", what=what, offset=0)
    # A tag of two bytes, which `gsi.der` does not read, in place of one: the rest is a SEQUENCE's.
    reader = der.parse_one(bytes((der.SEQUENCE,)) + data[2:], what=what).sequence()
    csr = reader.octet_string()
    extensions: list[Extension] = []
    end_time: datetime | None = None
    if reader.peek() == der.SEQUENCE:
        listed = reader.sequence()
        while not listed.at_end():
            extensions.append(_parse_extension(listed.sequence()))
            if len(extensions) > MAX_EXTENSIONS:
                raise ParseError(f"{what}: more than {MAX_EXTENSIONS} extensions", what=what)
    if reader.peek() == der.GENERALIZED_TIME:
        end_time = _parse_time(reader.take(der.GENERALIZED_TIME), what)
    # The type is extensible (`...`), so what follows is passed over.
    while not reader.at_end():
        reader.take_any()
    return CSRPlus(csr, tuple(extensions), end_time)


def encode_csr_plus(plus: CSRPlus) -> bytes:
    """Return Heimdal's form of a key."""
    fields = [der.encode_octet_string(plus.csr)]
    if plus.extensions:
        fields.append(der.encode_sequence(*(_encode_extension(one) for one in plus.extensions)))
    if plus.end_time is not None:
        fields.append(der.encode_tlv(der.GENERALIZED_TIME, f"{plus.end_time:%Y%m%d%H%M%SZ}".encode()))
    # The tag's first byte alone, then its second in front of the length of what `encode_tlv` has made.
    return _CSR_PLUS + der.encode_tlv(der.SEQUENCE, der.encode_sequence(*fields))[1:]


def _parse_extension(entry: der.Reader) -> Extension:
    oid = entry.oid()
    critical = entry.boolean() if entry.peek() == der.BOOLEAN else False
    value = entry.octet_string()
    entry.finish()
    return Extension(oid, critical, value)


def _encode_extension(extension: Extension) -> bytes:
    critical = der.encode_boolean(True) if extension.critical else b""
    return der.encode_sequence(der.encode_oid(extension.oid), critical, der.encode_octet_string(extension.value))


def _parse_time(content: bytes, what: str) -> datetime:
    """Read a KerberosTime (RFC 4120 s.5.2.3): whole seconds, in UTC."""
    if len(content) != 15 or not content[:14].isdigit() or content[14:] != b"Z":
        raise ParseError(f"{what}: not a KerberosTime", what=what)
    try:
        return datetime.strptime(content[:14].decode("ascii"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise ParseError(f"{what}: no such time", what=what) from error


def request_mac(request: Request, key: Passphrase) -> bytes:
    """Return what `pk_hash` has to be: over the key, or in a probe over the AP-REQ."""
    covered = request.pk_key or request.authenticator
    return hmac.digest(key.reveal(), VERSION + covered, "sha1")


def check_request_mac(request: Request, key: Passphrase) -> None:
    """Return when the request was made by whom the ticket is for.

    Raises:
        MACError: It was not.
    """
    if not hmac.compare_digest(request_mac(request, key), request.pk_hash):
        raise MACError("the request's message authentication code (HMAC) is not that of its ticket")


# --- Replies ---------------------------------------------------------------------------------------------------------


def parse_response(data: bytes) -> Response:
    """Return the reply in a message; nothing about it is proved.

    Raises:
        VersionError: It is of another version.
        ParseError: It is none.
    """
    if len(data) > MAX_RESPONSE_BYTES:
        raise ParseError(f"{_REPLY}: {len(data)} bytes, limit {MAX_RESPONSE_BYTES}", what=_REPLY)
    if len(data) < len(VERSION) or data[:2] != VERSION[:2]:
        raise ParseError(f"{_REPLY}: no version in front", what=_REPLY, offset=0)
    if data[2] != VERSION[2]:
        raise VersionError(f"{_REPLY}: version {data[2]}.{data[3]}, where 2.0 is spoken")
    reader = der.parse_one(data[len(VERSION) :], what=_REPLY)
    code = 0
    mac = certificate = None
    text: str | None = None
    if reader.peek() == der.context(0):
        inner = reader.enter(der.context(0))
        code = inner.integer()
        inner.finish()
        if not 0 <= code < 1 << (8 * MAX_ERROR_CODE_BYTES - 1):
            raise ParseError(f"{_REPLY}: the error code {code} is out of range", what=_REPLY)
    if reader.peek() == der.context(1):
        inner = reader.enter(der.context(1))
        mac = inner.octet_string()
        inner.finish()
    if reader.peek() == der.context(2):
        inner = reader.enter(der.context(2))
        certificate = inner.octet_string()
        inner.finish()
    if reader.peek() == der.context(3):
        inner = reader.enter(der.context(3))
        raw = inner.take(der.VISIBLE_STRING)
        inner.finish()
        if len(raw) > MAX_RECEIVED_TEXT_BYTES:
            raise ParseError(f"{_REPLY}: a text of {len(raw)} bytes", what=_REPLY)
        text = raw.decode("latin-1")  # what it is has to be ASCII, and its bytes count for the code
    reader.finish()
    return Response(code, mac, certificate, text)


def encode_response(response: Response) -> bytes:
    """Return the message of a reply; an error code of 0 is left out, as by everybody (DER: a default is)."""
    fields: list[bytes] = []
    if response.error_code:
        fields.append(der.encode_explicit(0, der.encode_integer(response.error_code)))
    if response.mac is not None:
        fields.append(der.encode_explicit(1, der.encode_octet_string(response.mac)))
    if response.certificate is not None:
        fields.append(der.encode_explicit(2, der.encode_octet_string(response.certificate)))
    if response.text is not None:
        fields.append(der.encode_explicit(3, der.encode_tlv(der.VISIBLE_STRING, _text_bytes(response.text))))
    return VERSION + der.encode_sequence(*fields)


def response_mac(response: Response, key: Passphrase, dialect: MACDialect) -> bytes:
    """Return what `mac` has to be."""
    code = b""
    if response.error_code or dialect is MACDialect.HEIMDAL8:
        code = der.parse_one(der.encode_sequence(der.encode_integer(response.error_code)), what=_REPLY).take(
            der.INTEGER
        )
    text = b"" if response.text is None else _text_bytes(response.text)
    return hmac.digest(key.reveal(), VERSION + code + (response.certificate or b"") + text, "sha1")


def sealed(response: Response, key: Passphrase, dialect: MACDialect) -> Response:
    """Return the reply with its message authentication code."""
    return response._replace(mac=response_mac(response, key, dialect))


def check_response_mac(response: Response, key: Passphrase) -> MACDialect:
    """Return in which dialect the service has sealed its reply; both are taken, as the key is the same.

    Raises:
        MACError: It did not, or it was not the service.
    """
    given = b"" if response.mac is None else response.mac
    for dialect in MACDialect:
        if hmac.compare_digest(response_mac(response, key, dialect), given):
            return dialect
    raise MACError("the reply's message authentication code (HMAC) is not that of our ticket")


def encode_certificates(certificates: Iterable[Certificate]) -> bytes:
    """Return a list of certificates, leaf first."""
    return der.encode_sequence(*(one.der for one in certificates))


def parse_certificates(data: bytes) -> tuple[Certificate, ...]:
    """Return the certificates of a reply, leaf first: one, or a list of them, whatever was asked for.

    Raises:
        ParseError: Neither, or more than `MAX_CHAIN`.
    """
    reader = der.parse_one(data, what=_REPLY)
    first = der.parse_one(reader.take_raw(der.SEQUENCE), what=_REPLY)
    if first.peek() != der.SEQUENCE:  # a certificate's first field is a SEQUENCE, whose own first is none
        return (Certificate.parse(data),)
    reader = der.parse_one(data, what=_REPLY)
    found: list[Certificate] = []
    while not reader.at_end():
        found.append(Certificate.parse(reader.take_raw(der.SEQUENCE)))
        if len(found) > MAX_CHAIN:
            raise ParseError(f"{_REPLY}: more than {MAX_CHAIN} certificates", what=_REPLY)
    return tuple(found)


def clean_text(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    """Return a text as VisibleString has it: printable ASCII, cut to a length."""
    return "".join(char if " " <= char <= "~" else "?" for char in " ".join(text.split()))[:limit]


def _text_bytes(text: str) -> bytes:
    """Return the bytes that the text was read from, or is written as."""
    return text.encode("latin-1", "replace")


# --- Streams ---------------------------------------------------------------------------------------------------------


def encode_frame(message: bytes) -> bytes:
    """Return a message as it goes over TCP."""
    return len(message).to_bytes(FRAME_BYTES, "big") + message


def frame_length(data: bytes, *, limit: int) -> int | None:
    """Return how long the message is that begins a stream, without its length field; None while that is not known.

    Raises:
        ParseError: Longer than the limit, or empty.
    """
    if len(data) < FRAME_BYTES:
        return None
    length = int.from_bytes(data[:FRAME_BYTES], "big")
    if not 0 < length <= limit:
        raise ParseError(f"KX.509 over TCP: a message of {length} bytes, limit {limit}", what="KX.509 message")
    return length
