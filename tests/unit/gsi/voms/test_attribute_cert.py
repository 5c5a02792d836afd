"""Attribute certificates, value <-> DER."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from gsi.errors import ParseError
from gsi.voms import attribute_cert
from gsi.voms.ac_extensions import (
    Tag,
    TagList,
    parse_authority_key_identifier,
    parse_certificates,
    parse_tags,
    parse_targets,
    tags_extension,
    targets_extension,
)
from gsi.voms.attribute_cert import (
    AttributeCertificate,
    Authority,
    encode_sequence_of,
    parse_sequence_of,
    split_authority,
)
from tests.harness.ca import Issued, TestCA, encoded_oid, tlv
from tests.harness.voms import VO, VOMSServer, extension, target_list

_FQAN: Final = "1.3.6.1.4.1.8005.100.100.4"


@pytest.fixture(scope="module")
def server() -> VOMSServer:
    return VOMSServer(TestCA())


@pytest.fixture(scope="module")
def alice(server: VOMSServer) -> Issued:
    return server.ca.issue("/O=Grid/CN=Alice")


def test_read_and_written_the_same(server: VOMSServer, alice: Issued) -> None:
    data = server.attribute_certificate(alice, fqans=["/testvo", "/testvo/Grüße"], serial=77)
    found = AttributeCertificate.parse(data)
    info = found.info
    assert info.encode() == found.info_der
    assert AttributeCertificate.assemble(info.encode(), found.signature_algorithm_der, found.signature) == found
    assert (info.serial, info.authority) == (77, "testvo://voms.example.org:15000")
    assert info.fqans == ("/testvo", "/testvo/Grüße")
    assert info.holder_serial == alice.certificate.serial_number
    assert info.holder_issuer_der == alice.certificate.issuer.public_bytes()
    assert info.issuer_der == server.credential.certificate.subject.public_bytes()
    (own,) = parse_certificates(info.extensions[0].value)
    assert own.der == server.credential.der


def test_the_sequence(server: VOMSServer, alice: Issued) -> None:
    both = tuple(AttributeCertificate.parse(server.attribute_certificate(alice)) for _ in range(2))
    assert parse_sequence_of(encode_sequence_of(both)) == both
    with pytest.raises(ParseError, match="without any"):
        parse_sequence_of(tlv(0x30, tlv(0x30, b"")))
    with pytest.raises(ParseError, match="left over"):
        parse_sequence_of(encode_sequence_of(both) + b"\0")


def _values(*content: bytes) -> bytes:
    return tlv(0x30, b"".join(content))


_AUTHORITY: Final = tlv(0xA0, tlv(0x86, b"testvo://h:1"))
_ATTRIBUTES: Final[dict[str, tuple[bytes, str]]] = {
    "another attribute": (tlv(0x30, encoded_oid("1.2.3") + tlv(0x31, b"")), "not of VOMS"),
    "two attributes": (
        tlv(0x30, encoded_oid(_FQAN) + tlv(0x31, tlv(0x30, _AUTHORITY + _values(tlv(0x04, b"/testvo"))))) * 2,
        "left over",
    ),
    "two values": (
        tlv(0x30, encoded_oid(_FQAN) + tlv(0x31, tlv(0x30, _AUTHORITY + _values(tlv(0x04, b"/testvo"))) * 2)),
        "left over",
    ),
    "no FQANs": (tlv(0x30, encoded_oid(_FQAN) + tlv(0x31, tlv(0x30, _AUTHORITY + _values()))), "without FQANs"),
    "no authority": (
        tlv(0x30, encoded_oid(_FQAN) + tlv(0x31, tlv(0x30, _values(tlv(0x04, b"/testvo"))))),
        "tag",
    ),
    "UTF8String": (
        tlv(0x30, encoded_oid(_FQAN) + tlv(0x31, tlv(0x30, _AUTHORITY + _values(tlv(0x0C, b"/testvo"))))),
        "tag",
    ),
    "not UTF-8": (
        tlv(0x30, encoded_oid(_FQAN) + tlv(0x31, tlv(0x30, _AUTHORITY + _values(tlv(0x04, b"/testvo\xff"))))),
        "not UTF-8",
    ),
    "too many": (
        tlv(0x30, encoded_oid(_FQAN) + tlv(0x31, tlv(0x30, _AUTHORITY + _values(tlv(0x04, b"/v") * 1025)))),
        "more than 1024",
    ),
}


@pytest.mark.parametrize("name", _ATTRIBUTES)
def test_odd_attributes(name: str, server: VOMSServer, alice: Issued) -> None:
    attributes, words = _ATTRIBUTES[name]
    with pytest.raises(ParseError, match=words):
        AttributeCertificate.parse(server.attribute_certificate(alice, attributes=attributes))


_CHANGES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "cut": lambda data: data[:-1],
    "more": lambda data: data + b"\0",
    "version": lambda data: data.replace(b"\x02\x01\x01", b"\x02\x01\x00", 1),
    "time": lambda data: data.replace(b"\x18\x0f20", b"\x18\x0f2x", 1),
    "month": lambda data: data[: (at := data.index(b"\x18\x0f")) + 6] + b"13" + data[at + 8 :],
    "critical FALSE": lambda data: data.replace(
        b"\x06\x03\x55\x1d\x38\x04\x02\x05\x00", b"\x06\x03\x55\x1d\x38\x01\x01\x00\x04", 1
    ),
}


@pytest.mark.parametrize("name", _CHANGES)
def test_malformed(name: str, server: VOMSServer, alice: Issued) -> None:
    data = server.attribute_certificate(alice)
    changed = _CHANGES[name](data)
    assert changed != data
    with pytest.raises(ParseError):
        AttributeCertificate.parse(changed)


def test_bounds(server: VOMSServer, alice: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    data = server.attribute_certificate(alice)
    monkeypatch.setattr(attribute_cert, "MAX_ATTRIBUTE_CERTIFICATE_BYTES", len(data) - 1)
    with pytest.raises(ParseError, match="limit"):
        AttributeCertificate.parse(data)


@pytest.mark.parametrize(
    "uri",
    [
        "", "testvo", "testvo://", "testvo://host", "testvo://host:", "testvo://host:0", "testvo://host:99999",
        "testvo://:1", "://h:1", "../x://h:1", ".vo://h:1", "vo://../h:1", "vo://h/../x:1", "vo://.h:1", "v o://h:1",
        "vo\n://h:1", "vo://h\0:1", "vo://h:\N{ARABIC-INDIC DIGIT ONE}",
    ],
)  # fmt: skip
def test_authorities_that_are_none(uri: str) -> None:
    with pytest.raises(ParseError):
        split_authority(uri)


def test_authority() -> None:
    assert split_authority("vo.example-1_x://h.example.org:15000") == Authority(
        "vo.example-1_x", "h.example.org", 15000
    )


def test_targets_and_tags() -> None:
    found = targets_extension(["a.example.org", "b"])
    assert found.critical
    assert found.value == target_list("a.example.org", "b")
    assert parse_targets(found.value) == ("a.example.org", "b")
    with pytest.raises(ParseError):  # the form with one SEQUENCE less, which VOMS does not read either
        parse_targets(tlv(0x30, tlv(0x30, tlv(0xA0, tlv(0x86, b"a")))))
    tags = (TagList("vo://h:1", (Tag("a", "b", "/vo"), Tag("", "ü", ""))), TagList("vo://h:2", ()))
    assert parse_tags(tags_extension(tags).value) == tags


def test_key_identifiers(server: VOMSServer) -> None:
    name = server.ca.certificate.subject.public_bytes()
    value = tlv(0x30, tlv(0xA1, tlv(0xA4, name)) + tlv(0x82, b"\x05"))
    assert parse_authority_key_identifier(value) == (None, name, 5)
    for odd in (tlv(0x30, b""), tlv(0x30, tlv(0xA1, tlv(0xA4, name))), tlv(0x30, tlv(0x82, b"\x05"))):
        with pytest.raises(ParseError):
            parse_authority_key_identifier(odd)


def test_an_odd_list_of_certificates() -> None:
    assert VO
    with pytest.raises(ParseError, match="empty"):
        parse_certificates(tlv(0x30, tlv(0x30, b"")))
    with pytest.raises(ParseError):
        parse_certificates(tlv(0x30, tlv(0x30, extension("1.2.3", b""))))
