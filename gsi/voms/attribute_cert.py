"""VOMS attribute certificates, value <-> DER, byte for byte (RFC 5755, of which VOMS uses a part); judges nothing.

    certificate = AttributeCertificate.parse(data)
    certificate.info.fqans, certificate.info.authority

    info_der = info.encode()                                   # an issuer signs these bytes
    certificate = AttributeCertificate.assemble(info_der, info.signature_algorithm_der, signature)

What VOMS does not use is refused: other forms of holder and issuer, other attributes, values that are no OCTET STRINGs.
So one value has one encoding, and what is read is written back the same. Must agree with voms: src/ac/newformat.h and
src/ac/write.c. `gsi.voms.ac_extensions` reads the extensions, `gsi.voms.verify` believes or refuses.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import der, oids
from gsi.certificate import Extension
from gsi.errors import ParseError
from gsi.extensions import encode_extension

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MAX_ATTRIBUTE_CERTIFICATES",
    "MAX_ATTRIBUTE_CERTIFICATE_BYTES",
    "MAX_FQANS",
    "AttributeCertificate",
    "AttributeInfo",
    "Authority",
    "encode_sequence_of",
    "parse_sequence_of",
    "split_authority",
]

MAX_ATTRIBUTE_CERTIFICATE_BYTES: Final = 128 << 10  # one with 1000 FQANs and three certificates takes 60 kB
MAX_FQANS: Final = 1024  # the busiest users of the largest VOs have some 100
MAX_ATTRIBUTE_CERTIFICATES: Final = 32  # in one proxy; a user is in a handful of VOs
_MAX_EXTENSIONS: Final = 32  # VOMS servers write four
_MAX_AUTHORITY_CHARS: Final = 1024  # a VO, a host of 253 characters and a port
_WHAT: Final = "attribute certificate"
_V2: Final = 1  # RFC 5755 section 4.2.1
_DIRECTORY_NAME: Final = 0xA4  # GeneralName, RFC 5280 section 4.2.1.6
_URI: Final = 0x86
_HOST_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")
_VO_CHARS: Final = _HOST_CHARS | {"_"}


def _refuse(why: str) -> ParseError:
    return ParseError(f"{_WHAT}: {why}", what=_WHAT)


class Authority(NamedTuple):
    """Who says so: the VO and its server, from the URI `vo://host:port`."""

    vo: str
    host: str
    port: int


def split_authority(uri: str) -> Authority:
    """Return the parts of a policy authority's URI; all of them are safe as names of files.

    Raises:
        ParseError: It is none; a port is mandatory, as for libvomsapi.
    """
    vo, mark, place = uri.partition("://")
    host, colon, port = place.rpartition(":")
    if not mark or not colon or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise _refuse(f"{uri[:80]!r} is not vo://host:port")
    if not vo or not _VO_CHARS.issuperset(vo) or vo.startswith((".", "-")):
        raise _refuse(f"{vo[:80]!r} is no name of a VO")
    if not host or not _HOST_CHARS.issuperset(host) or host.startswith((".", "-")) or len(host) > 253:
        raise _refuse(f"{host[:80]!r} is no name of a host")
    return Authority(vo, host, int(port))


class AttributeInfo(NamedTuple):
    """What is signed: AttributeCertificateInfo (RFC 5755 section 4.1) as VOMS uses it."""

    holder_issuer_der: bytes
    """The name of the CA of the holder's end entity certificate."""
    holder_serial: int
    """That certificate's serial number."""
    issuer_der: bytes
    """The subject of the VOMS server's certificate."""
    signature_algorithm_der: bytes
    """The AlgorithmIdentifier of the signature."""
    serial: int
    not_before: datetime
    """Aware UTC, whole seconds."""
    not_after: datetime
    authority: str
    """Who says so: `vo://host:port`."""
    fqans: tuple[str, ...]
    """The attributes, the primary one first, as they are written."""
    extensions: tuple[Extension, ...]

    def find_extension(self, oid: str) -> Extension | None:
        """Return the first extension with this identifier, or None."""
        return next((extension for extension in self.extensions if extension.oid == oid), None)

    def encode(self) -> bytes:
        """Return the bytes that are signed.

        Raises:
            ParseError: A field cannot be written: an authority that is not ASCII, no FQAN, a year outside 1 to 9999.
        """
        if not self.fqans or not self.authority.isascii():
            raise _refuse("without FQANs, or with an authority that is not ASCII")
        holder = der.encode_tlv(
            der.context(0), _general_names(self.holder_issuer_der) + der.encode_integer(self.holder_serial)
        )
        authority = der.encode_tlv(der.context(0), der.encode_tlv(_URI, self.authority.encode("ascii")))
        values = der.encode_sequence(*(der.encode_octet_string(fqan.encode("utf-8")) for fqan in self.fqans))
        attribute = der.encode_sequence(
            der.encode_oid(oids.VOMS_FQAN), der.encode_set(der.encode_sequence(authority, values))
        )
        extensions = b""
        if self.extensions:
            extensions = der.encode_sequence(*(encode_extension(*extension) for extension in self.extensions))
        return der.encode_sequence(
            der.encode_integer(_V2),
            der.encode_sequence(holder),
            der.encode_tlv(der.context(0), _general_names(self.issuer_der)),
            self.signature_algorithm_der,
            der.encode_integer(self.serial),
            der.encode_sequence(_encode_time(self.not_before), _encode_time(self.not_after)),
            der.encode_sequence(attribute),
            extensions,
        )


class AttributeCertificate(NamedTuple):
    """One attribute certificate as it came: its bytes and its fields."""

    der: bytes
    info_der: bytes
    """What is signed."""
    info: AttributeInfo
    signature_algorithm_der: bytes
    """The AlgorithmIdentifier beside the signature; that within must be the same."""
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> AttributeCertificate:
        """Return the attribute certificate in `data`, which must hold exactly one.

        Raises:
            ParseError: Too long, not DER, or not as VOMS writes it.
        """
        if len(data) > MAX_ATTRIBUTE_CERTIFICATE_BYTES:
            raise _refuse(f"{len(data)} bytes, limit {MAX_ATTRIBUTE_CERTIFICATE_BYTES}")
        outer = der.parse_one(data, what=_WHAT)
        info_der = outer.take_raw(der.SEQUENCE)
        algorithm_der = outer.take_raw(der.SEQUENCE)
        signature = outer.bit_string()
        outer.finish()
        return cls(data, info_der, _parse_info(info_der), algorithm_der, signature)

    @classmethod
    def assemble(cls, info_der: bytes, algorithm_der: bytes, signature: bytes) -> AttributeCertificate:
        """Return the attribute certificate made of signed bytes and their signature.

        Raises:
            ParseError: The bytes are not what `AttributeInfo.encode` returns.
        """
        return cls.parse(der.encode_sequence(info_der, algorithm_der, der.encode_bit_string(signature)))


def parse_sequence_of(value: bytes) -> tuple[AttributeCertificate, ...]:
    """Return the attribute certificates of a proxy's extension (`oids.VOMS_AC_SEQUENCE`).

    Raises:
        ParseError: Malformed, empty, or more than `MAX_ATTRIBUTE_CERTIFICATES`.
    """
    outer = der.parse_one(value, what=_WHAT)
    listed = outer.sequence()
    outer.finish()
    found: list[AttributeCertificate] = []
    while not listed.at_end():
        if len(found) == MAX_ATTRIBUTE_CERTIFICATES:
            raise _refuse(f"more than {MAX_ATTRIBUTE_CERTIFICATES} in one extension")
        found.append(AttributeCertificate.parse(listed.take_raw(der.SEQUENCE)))
    if not found:
        raise _refuse("an extension without any")
    return tuple(found)


def encode_sequence_of(certificates: Sequence[AttributeCertificate]) -> bytes:
    """Return the value of a proxy's extension (`oids.VOMS_AC_SEQUENCE`, not critical)."""
    return der.encode_sequence(der.encode_sequence(*(certificate.der for certificate in certificates)))


# --- fields -----------------------------------------------------------------------------------------------------------


def _parse_info(data: bytes) -> AttributeInfo:
    reader = der.parse_one(data, what=_WHAT)
    if reader.integer() != _V2:
        raise _refuse("not of version 2")
    holder_issuer_der, holder_serial = _parse_holder(reader.sequence())
    issuer = reader.enter(der.context(0))
    issuer_der = _parse_general_names(issuer.sequence())
    issuer.finish()
    algorithm_der = reader.take_raw(der.SEQUENCE)
    serial = reader.integer()
    validity = reader.sequence()
    not_before, not_after = _parse_time(validity), _parse_time(validity)
    validity.finish()
    authority, fqans = _parse_attributes(reader.sequence())
    extensions = () if reader.at_end() else _parse_extensions(reader.sequence())
    reader.finish()
    return AttributeInfo(
        holder_issuer_der,
        holder_serial,
        issuer_der,
        algorithm_der,
        serial,
        not_before,
        not_after,
        authority,
        fqans,
        extensions,
    )


def _parse_holder(reader: der.Reader) -> tuple[bytes, int]:
    base = reader.enter(der.context(0))
    reader.finish()
    issuer_der = _parse_general_names(base.sequence())
    serial = base.integer()
    base.finish()
    return issuer_der, serial


def _parse_general_names(reader: der.Reader) -> bytes:
    """Return the one directoryName of a list of names."""
    tagged = reader.enter(_DIRECTORY_NAME)
    reader.finish()
    name_der = tagged.take_raw(der.SEQUENCE)
    tagged.finish()
    return name_der


def _general_names(name_der: bytes) -> bytes:
    return der.encode_sequence(der.encode_tlv(_DIRECTORY_NAME, name_der))


def _parse_attributes(reader: der.Reader) -> tuple[str, tuple[str, ...]]:
    """Return the authority and FQANs of the one attribute."""
    attribute = reader.sequence()
    reader.finish()
    if attribute.oid() != oids.VOMS_FQAN:
        raise _refuse("an attribute that is not of VOMS")
    values = attribute.enter(der.SET)
    attribute.finish()
    syntax = values.sequence()
    values.finish()
    names = syntax.enter(der.context(0))
    uri = names.take(_URI)
    names.finish()
    listed = syntax.sequence()
    syntax.finish()
    if len(uri) > _MAX_AUTHORITY_CHARS or not uri.isascii():
        raise _refuse("a policy authority that is no URI")
    fqans: list[str] = []
    while not listed.at_end():
        if len(fqans) == MAX_FQANS:
            raise _refuse(f"more than {MAX_FQANS} FQANs")
        fqans.append(_text(listed.octet_string()))
    if not fqans:
        raise _refuse("without FQANs")
    return uri.decode("ascii"), tuple(fqans)


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refuse("an FQAN that is not UTF-8") from error


def _parse_extensions(reader: der.Reader) -> tuple[Extension, ...]:
    found: list[Extension] = []
    while not reader.at_end():
        if len(found) == _MAX_EXTENSIONS:
            raise _refuse(f"more than {_MAX_EXTENSIONS} extensions")
        entry = reader.sequence()
        oid = entry.oid()
        critical = entry.peek() == der.BOOLEAN
        if critical and not entry.boolean():
            raise _refuse("FALSE written out (X.690 section 11.5)")
        found.append(Extension(oid, critical, entry.octet_string()))
        entry.finish()
    if not found:
        raise _refuse("an empty list of extensions")
    return tuple(found)


def _parse_time(reader: der.Reader) -> datetime:
    text = reader.take(der.GENERALIZED_TIME)
    if len(text) != 15 or not text[:14].isdigit() or text[14:] != b"Z":
        raise _refuse("a time that is not YYYYMMDDHHMMSSZ")
    try:
        pairs = [int(text[at : at + 2]) for at in range(4, 14, 2)]
        return datetime(int(text[:4]), *pairs, tzinfo=UTC)  # type: ignore[misc,arg-type]  # five numbers
    except ValueError as error:
        raise _refuse("a time that does not exist") from error


def _encode_time(moment: datetime) -> bytes:
    return der.encode_tlv(der.GENERALIZED_TIME, f"{moment.year:04}{moment:%m%d%H%M%SZ}".encode("ascii"))
