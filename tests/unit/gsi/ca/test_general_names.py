"""Alternative names: text in, DER as pyca writes it out, and nothing that is no name."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509

from gsi.ca.general_names import (
    dns_name,
    email_address,
    encode_general_names,
    format_general_name,
    ip_address,
    other_name,
    parse_alternative_names,
    split_general_names,
    uri,
)
from gsi.errors import ParseError


def test_the_bytes_are_those_of_pyca() -> None:
    ours = [
        dns_name("*.example.org"),
        dns_name("xn--bcher-kva.example"),
        ip_address("192.0.2.1"),
        ip_address("2001:db8::1"),
        email_address("a.b+c@example.org"),
        uri("https://example.org/ca.crl?x=1"),
        other_name("1.3.6.1.5.2.2", b"\x04\x01x"),
    ]
    theirs = x509.SubjectAlternativeName(
        [
            x509.DNSName("*.example.org"),
            x509.DNSName("xn--bcher-kva.example"),
            x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
            x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
            x509.RFC822Name("a.b+c@example.org"),
            x509.UniformResourceIdentifier("https://example.org/ca.crl?x=1"),
            x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.2.2"), b"\x04\x01x"),
        ]
    )
    assert encode_general_names(ours) == theirs.public_bytes()
    assert split_general_names(theirs.public_bytes()) == tuple(ours)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "a..b", "-a.example", "a-.example", "a b", "a.example.", "a.*.example", "*", "*.", "192.0.2.1"),
        *("ü.de", "a_b.example", "a\x00b", f"{'a' * 64}.example", ".".join(["a" * 63] * 4), "a\n"),
    ],
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ParseError):
        dns_name(text)


@pytest.mark.parametrize("text", ["", "a", "@b", "a@", "a b@c", "a@*.c", "a@b c", "ü@c", f"{'a' * 65}@b", "a@b\n"])
def test_what_is_no_email_address(text: str) -> None:
    with pytest.raises(ParseError):
        email_address(text)


@pytest.mark.parametrize("text", ["", "/ca.crl", "http:", "http://a b", "http://ü", "1http://x", "http://a\n"])
def test_what_is_no_uri(text: str) -> None:
    with pytest.raises(ParseError):
        uri(text)


@pytest.mark.parametrize("text", ["", "example.org", "192.0.2.1/24", "192.0.2.256", "::g"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ParseError):
        ip_address(text)


def test_lists_are_read_and_shown_alike() -> None:
    text = "DNS:a.example.org, IP:2001:db8::1, email:ca@example.org, URI:https://a/"
    assert ", ".join(map(format_general_name, parse_alternative_names(text))) == text
    assert format_general_name(other_name("1.2.3", b"\x05\x00")).startswith("otherName:")


@pytest.mark.parametrize("text", ["", "a.example", "DNS:", "FOO:a", "DNS:a,,DNS:b", "DNS:a DNS:b"])
def test_lists_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ParseError):
        parse_alternative_names(text)


@pytest.mark.parametrize("value", [b"", b"\x30\x00", b"\x04\x00", b"\x30\x02\x82", b"\x30\x00\x00"])
def test_what_is_no_list_of_names(value: bytes) -> None:
    with pytest.raises(ParseError):
        split_general_names(value)


def test_other_names_hold_one_value() -> None:
    for value in (b"", b"\x04\x01x\x00", b"\x04\x02x"):
        with pytest.raises(ParseError):
            other_name("1.2.3", value)
