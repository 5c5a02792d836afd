"""One X.509 certificate as a value: its bytes as received and its fields, parsed once; judges nothing.

The names, the key and the extensions are kept as the DER that was signed, because proxy certificates are bound to
their issuer byte by byte (RFC 3820 section 3.4) and text forms lose string types. pyca's object is there beside them
for what it does well (keys, times, signatures).

    certificate = Certificate.parse(der)
    certificate.subject_der, certificate.find_extension(oids.PROXY_CERT_INFO)
"""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from gsi import der
from gsi.errors import ParseError
from gsi.pem import encode_pem, split_pem

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

__all__ = ["MAX_CERTIFICATE_BYTES", "MAX_EXTENSIONS", "VERSION", "Certificate", "Extension", "load_certificates"]

MAX_CERTIFICATE_BYTES: Final = 256 << 10  # proxies carry attribute certificates and SAML, up to some 60 kB seen
MAX_EXTENSIONS: Final = 64  # the busiest public certificates have 12
_CERTIFICATE_LABELS: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})
_RSA_ARC: Final = bytes.fromhex("2a864886f70d0101")  # 1.2.840.113549.1.1: its NULL parameters are right
_WHAT: Final = "certificate"
VERSION: Final = "certificate version"  # `what` of the error about one that is neither 1 nor 3
_T = TypeVar("_T")


class Extension(NamedTuple):
    """One extension as it stands in the certificate."""

    oid: str
    critical: bool
    value: bytes
    """The content of extnValue, DER."""


class Certificate:
    """An immutable X.509 certificate (RFC 5280 section 4.1), equal to another by its bytes."""

    __slots__ = (
        "__weakref__",
        "_findings",
        "_fingerprint",
        "_public_key",
        "der",
        "extensions",
        "inner_signature_algorithm_der",
        "issuer_der",
        "not_after",
        "not_before",
        "serial",
        "signature",
        "signature_algorithm_der",
        "spki_der",
        "subject_der",
        "tbs_der",
        "version",
        "x509",
    )

    der: bytes
    x509: x509.Certificate
    version: int
    serial: int
    inner_signature_algorithm_der: bytes
    signature_algorithm_der: bytes
    signature: bytes
    issuer_der: bytes
    subject_der: bytes
    spki_der: bytes
    tbs_der: bytes
    not_before: datetime
    not_after: datetime
    extensions: tuple[Extension, ...]
    _findings: dict[object, object]
    _fingerprint: str | None
    _public_key: CertificatePublicKeyTypes | None

    @classmethod
    def parse(cls, data: bytes) -> Certificate:
        """Return the certificate in `data`, which must hold exactly one, in DER.

        Extensions are listed but not interpreted; doubled ones are kept for the validator to refuse. Version 2, which
        no CA has ever used, is refused like those that do not exist.

        Raises:
            ParseError: Too long, not DER, not a certificate, or bytes left over; a version other than 1 and 3, with
                `VERSION` as its `what`.
        """
        if len(data) > MAX_CERTIFICATE_BYTES:
            raise ParseError(f"{_WHAT}: {len(data)} bytes, limit {MAX_CERTIFICATE_BYTES}", what=_WHAT, offset=0)
        self = cls.__new__(cls)
        put = object.__setattr__
        outer = der.parse_one(data, what=_WHAT)
        tbs_der = outer.take_raw(der.SEQUENCE)
        put(self, "signature_algorithm_der", outer.take_raw(der.SEQUENCE))
        put(self, "signature", outer.bit_string())
        outer.finish()
        tbs = der.parse_one(tbs_der, what=_WHAT)
        version = 1
        if tbs.peek() == der.context(0):
            tagged = tbs.enter(der.context(0))
            version = tagged.integer() + 1
            tagged.finish()
            if version not in {1, 3}:
                raise ParseError(f"{_WHAT}: version {version} is not supported", what=VERSION)
        put(self, "version", version)
        put(self, "serial", tbs.integer())
        put(self, "inner_signature_algorithm_der", tbs.take_raw(der.SEQUENCE))
        put(self, "issuer_der", tbs.take_raw(der.SEQUENCE))
        tbs.take(der.SEQUENCE)  # validity: read by pyca below
        put(self, "subject_der", tbs.take_raw(der.SEQUENCE))
        put(self, "spki_der", tbs.take_raw(der.SEQUENCE))
        for unique_id in (der.context(1, constructed=False), der.context(2, constructed=False)):
            if tbs.peek() == unique_id:
                tbs.take(unique_id)
        put(self, "extensions", _read_extensions(tbs))
        tbs.finish()
        put(self, "der", data)
        put(self, "tbs_der", tbs_der)
        put(self, "_public_key", None)
        put(self, "_fingerprint", None)
        put(self, "_findings", {})
        try:
            parsed = _load_quietly(data) if self._makes_pyca_warn() else x509.load_der_x509_certificate(data)
            put(self, "not_before", parsed.not_valid_before_utc)
            put(self, "not_after", parsed.not_valid_after_utc)
        except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
            raise ParseError(f"{_WHAT}: {error}", what=_WHAT) from error
        put(self, "x509", parsed)
        return self

    @classmethod
    def parse_pem(cls, data: bytes, *, what: str = "PEM file") -> Certificate:
        """Return the first certificate of a PEM file.

        Raises:
            ParseError: There is none, or a block is malformed.
        """
        certificates = load_certificates(data, what=what)
        if not certificates:
            raise ParseError(f"{what}: no certificate in it", what=_WHAT)
        return certificates[0]

    def _makes_pyca_warn(self) -> bool:
        """Tell whether pyca warns about this certificate; our own validator judges it instead.

        Old CAs have serial 0, and old Java wrote NULL parameters behind ECDSA identifiers.
        """
        return self.serial <= 0 or (
            self.signature_algorithm_der.endswith(b"\x05\x00") and _RSA_ARC not in self.signature_algorithm_der
        )

    @property
    def has_duplicate_extensions(self) -> bool:
        """Whether an extension occurs twice, which RFC 5280 section 4.2 forbids."""
        return len({extension.oid for extension in self.extensions}) != len(self.extensions)

    @property
    def is_self_issued(self) -> bool:
        """Whether issuer and subject are the same bytes (RFC 5280 section 3.2)."""
        return self.issuer_der == self.subject_der

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the DER, in lower-case hex."""
        found = self._fingerprint
        if found is None:
            found = hashlib.sha256(self.der).hexdigest()
            object.__setattr__(self, "_fingerprint", found)
        return found

    def find_extension(self, oid: str) -> Extension | None:
        """Return the first extension with this identifier, or None."""
        for extension in self.extensions:
            if extension.oid == oid:
                return extension
        return None

    def find_once(self, find: Callable[[Certificate], _T]) -> _T:
        """Return what a function finds in this certificate; it is called once, unless it raises.

        Args:
            find: A function of a module, whose result follows from the certificate alone and is immutable.
        """
        known = self._findings
        if find not in known:
            known[find] = find(self)
        return cast("_T", known[find])

    def public_key(self) -> CertificatePublicKeyTypes:
        """Return the subject's public key.

        Raises:
            ParseError: The key is malformed or of a kind that the cryptography library does not know.
        """
        key = self._public_key
        if key is None:
            try:
                key = self.x509.public_key()
            except (ValueError, TypeError, UnsupportedAlgorithm) as error:
                raise ParseError(f"{_WHAT}: unusable public key: {error}", what=_WHAT) from error
            object.__setattr__(self, "_public_key", key)
        return key

    def pem(self) -> bytes:
        """Return the certificate as one PEM block."""
        return encode_pem("CERTIFICATE", self.der)

    def __eq__(self, other: object) -> bool:
        return self.der == other.der if isinstance(other, Certificate) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        return f"<Certificate serial={self.serial:#x} sha256={self.fingerprint[:16]}>"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Certificate is immutable; {name} cannot be set")

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return Certificate.parse, (self.der,)


def _load_quietly(data: bytes) -> x509.Certificate:
    # Changing the warning filters is not thread-safe, so only the certificates that need it come here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x509.load_der_x509_certificate(data)


def _read_extensions(tbs: der.Reader) -> tuple[Extension, ...]:
    if tbs.peek() != der.context(3):
        return ()
    tagged = tbs.enter(der.context(3))
    listed = tagged.sequence()
    tagged.finish()
    found: list[Extension] = []
    while not listed.at_end():
        if len(found) == MAX_EXTENSIONS:
            raise ParseError(f"{_WHAT}: more than {MAX_EXTENSIONS} extensions", what=_WHAT)
        entry = listed.sequence()
        oid = entry.oid()
        critical = entry.boolean() if entry.peek() == der.BOOLEAN else False
        found.append(Extension(oid, critical, entry.octet_string()))
        entry.finish()
    if not found:
        raise ParseError(f"{_WHAT}: empty list of extensions", what=_WHAT)
    return tuple(found)


def load_certificates(data: bytes, *, what: str = "PEM file") -> tuple[Certificate, ...]:
    """Return every certificate of a PEM file in its order; other blocks are passed over.

    Raises:
        ParseError: A block is malformed or a certificate does not parse; `what` names the file in the text.
    """
    found: list[Certificate] = []
    for block in split_pem(data, what=what):
        if block.label not in _CERTIFICATE_LABELS:
            continue
        try:
            found.append(Certificate.parse(block.data))
        except ParseError as error:
            raise ParseError(
                f"{what}: certificate {len(found)}: {error.message}", what=_WHAT, offset=error.offset
            ) from error
    return tuple(found)
