"""Name constraints of CAs, against real certificates and kind by kind."""

from __future__ import annotations

import ipaddress
from typing import Final

import pytest
from cryptography import x509
from cryptography.x509 import DirectoryName, DNSName, GeneralName, IPAddress, RFC822Name, UniformResourceIdentifier
from cryptography.x509.oid import ObjectIdentifier

from gsi import der, oids
from gsi.errors import ParseError, Reason, VerificationError
from gsi.trust.name_constraints import MAX_COMPARISONS, parse_name_constraints
from gsi.trust.verify import verify_chain
from tests.harness.ca import Issued, TestCA, parse_name, raw_extension, subject_hash
from tests.harness.trust import make_anchors, utc_now

NOW: Final = utc_now()


def constrained(
    permitted: list[GeneralName] | None = None, excluded: list[GeneralName] | None = None, *, critical: bool = True
) -> TestCA:
    extension = x509.NameConstraints(permitted or None, excluded or None)
    return TestCA("/O=Constrained/CN=CA", key="p256", extensions=[(extension, critical)])


def verdict(ca: TestCA, issued: Issued) -> Reason | None:
    try:
        verify_chain(issued.chain_der, make_anchors(ca), now=NOW)
    except VerificationError as error:
        return error.reason
    return None


def directory(text: str) -> DirectoryName:
    return DirectoryName(parse_name(text))


def network(text: str) -> IPAddress:
    return IPAddress(ipaddress.ip_network(text))


CASES: Final = [
    # permitted, excluded, subject, alternative names, accepted
    ([directory("/O=Grid")], [], "/O=Grid/CN=Alice", None, True),
    ([directory("/O=GRID")], [], "/O=grid/CN=Alice", None, True),
    ([directory("/O=Grid")], [], "/O=Other/CN=Alice", None, False),
    ([directory("/O=Grid")], [], "/O=Grid2/CN=Alice", None, False),
    ([directory("/O=Grid"), directory("/O=Other")], [], "/O=Other/CN=Alice", None, True),
    ([directory("/O=Grid/OU=a")], [], "/O=Grid", None, False),
    ([], [directory("/O=Grid/OU=a")], "/O=Grid/OU=a/CN=Alice", None, False),
    ([], [directory("/O=Grid/OU=a")], "/O=Grid/OU=b/CN=Alice", None, True),
    ([directory("/O=Grid")], [directory("/O=Grid/OU=a")], "/O=Grid/OU=a/CN=Alice", None, False),
    ([DNSName("example.org")], [], "/O=Grid/CN=Alice", None, True),
    ([DNSName("example.org")], [], "/O=Grid/CN=Alice", ["DNS:host.example.org"], True),
    ([DNSName("example.org")], [], "/O=Grid/CN=Alice", ["DNS:EXAMPLE.org"], True),
    ([DNSName("example.org")], [], "/O=Grid/CN=Alice", ["DNS:badexample.org"], False),
    ([DNSName("example.org")], [], "/O=Grid/CN=Alice", ["DNS:host.example.org", "DNS:other.net"], False),
    ([DNSName("example.org")], [], "/O=Grid/CN=host.example.org", None, True),
    ([DNSName("example.org")], [], "/O=Grid/CN=host.other.net", None, False),
    ([DNSName("example.org")], [], "/O=Grid/CN=host/www.other.net", None, False),
    ([DNSName("example.org")], [], "/O=Grid/CN=www.other.net", ["DNS:www.example.org"], True),
    ([DNSName("example.org")], [], "/O=Grid/CN=www.other.net.", None, False),
    ([DNSName("example.org")], [], "/O=Grid/CN=host/www.other.net.", None, False),
    ([], [DNSName("example.org")], "/O=Grid/CN=host/www.example.org.", None, False),
    ([], [DNSName("example.org")], "/O=Grid/CN=Alice", ["DNS:a.b.example.org"], False),
    ([], [DNSName("example.org")], "/O=Grid/CN=Alice", ["DNS:*.org"], False),
    ([], [DNSName("example.org")], "/O=Grid/CN=Alice", ["DNS:*.net"], True),
    ([DNSName("example.org")], [], "/O=Grid/CN=Alice", ["DNS:*.example.org"], True),
    ([DNSName("example.org")], [], "/O=Grid/CN=Alice", ["DNS:*.org"], False),
    ([RFC822Name("example.org")], [], "/O=Grid/CN=Alice", ["email:a@example.org"], True),
    ([RFC822Name("example.org")], [], "/O=Grid/CN=Alice", ["email:a@host.example.org"], False),
    ([RFC822Name(".example.org")], [], "/O=Grid/CN=Alice", ["email:a@host.example.org"], True),
    ([RFC822Name(".example.org")], [], "/O=Grid/CN=Alice", ["email:a@example.org"], False),
    ([RFC822Name("a@example.org")], [], "/O=Grid/CN=Alice", ["email:a@example.org"], True),
    ([RFC822Name("a@example.org")], [], "/O=Grid/CN=Alice", ["email:b@example.org"], False),
    ([RFC822Name("example.org")], [], "/O=Grid/CN=Alice/emailAddress=a@other.net", None, False),
    ([RFC822Name("example.org")], [], "/O=Grid/CN=Alice/emailAddress=a@example.org", None, True),
    ([RFC822Name("example.org")], [], "/O=Grid/CN=Alice/emailAddress=nonsense", None, False),
    ([UniformResourceIdentifier("example.org")], [], "/O=Grid/CN=A", ["URI:https://example.org/x"], True),
    ([UniformResourceIdentifier("example.org")], [], "/O=Grid/CN=A", ["URI:https://example.org:8443/x"], True),
    ([UniformResourceIdentifier("example.org")], [], "/O=Grid/CN=A", ["URI:https://www.example.org/"], False),
    ([UniformResourceIdentifier(".example.org")], [], "/O=Grid/CN=A", ["URI:https://u@www.example.org/"], True),
    ([UniformResourceIdentifier("example.org")], [], "/O=Grid/CN=A", ["URI:urn:uuid:1"], False),
    ([UniformResourceIdentifier("example.org")], [], "/O=Grid/CN=A", ["URI:https://10.0.0.1/"], False),
    ([UniformResourceIdentifier("example.org")], [], "/O=Grid/CN=A", ["URI:https://evil.net/@example.org"], False),
    ([network("10.0.0.0/8")], [], "/O=Grid/CN=A", ["IP:10.1.2.3"], True),
    ([network("10.0.0.0/8")], [], "/O=Grid/CN=A", ["IP:11.1.2.3"], False),
    ([network("10.0.0.0/8")], [], "/O=Grid/CN=A", ["IP:fe80::1"], False),
    ([], [network("fe80::/16")], "/O=Grid/CN=A", ["IP:fe80::1"], False),
    ([], [network("fe80::/16")], "/O=Grid/CN=A", ["IP:10.1.2.3"], True),
]


@pytest.mark.parametrize(("permitted", "excluded", "subject", "san", "accepted"), CASES)
@pytest.mark.parametrize("critical", [True, False])
def test_end_entity(
    permitted: list[GeneralName],
    excluded: list[GeneralName],
    subject: str,
    san: list[str] | None,
    accepted: bool,
    critical: bool,
) -> None:
    ca = constrained(permitted, excluded, critical=critical)
    found = verdict(ca, ca.issue(subject, key="p256", san=san))
    assert found is (None if accepted else Reason.NAME_CONSTRAINTS)


def test_proxies_follow_their_end_entity() -> None:
    ca = constrained([directory("/O=Grid"), DNSName("example.org")])
    assert verdict(ca, ca.issue("/O=Grid/CN=Alice", key="p256").proxy(key="p256", cn="a.other.net")) is None


def test_a_self_issued_ca_is_exempt_but_nothing_else_of_its_name() -> None:
    root = constrained([directory("/O=Grid")])
    link = root.intermediate(root.name, key="p256")  # RFC 5280 section 6.1.3 (b) and (c)
    assert verdict(root, link.issue("/O=Grid/CN=Alice", key="p256")) is None
    assert verdict(root, link.issue("/O=Other/CN=Alice", key="p256")) is Reason.NAME_CONSTRAINTS
    assert verdict(root, link.issue(root.name, key="p256")) is Reason.NAME_CONSTRAINTS


def test_constraints_of_every_ca_above_bind() -> None:
    root = constrained([directory("/O=Grid")])
    sub = TestCA(
        "/O=Grid/CN=Sub",
        key="p256",
        parent=root,
        extensions=[(x509.NameConstraints([directory("/O=Grid/OU=a"), directory("/O=Other")], None), True)],
    )
    anchors = make_anchors(
        root, more={f"{subject_hash(sub.certificate)}.signing_policy": sub.signing_policy().encode()}
    )
    for subject, accepted in (("/O=Grid/OU=a/CN=A", True), ("/O=Grid/OU=b/CN=A", False), ("/O=Other/CN=A", False)):
        chain = sub.issue(subject, key="p256").chain_der
        if accepted:
            assert verify_chain(chain, anchors, now=NOW).kind is None
            continue
        with pytest.raises(VerificationError) as caught:
            verify_chain(chain, anchors, now=NOW)
        assert (caught.value.reason, caught.value.position) == (Reason.NAME_CONSTRAINTS, 0)


def test_intermediate_outside() -> None:
    root = constrained([directory("/O=Grid")])
    sub = root.intermediate("/O=Other/CN=Sub", key="p256")
    anchors = make_anchors(
        root, more={f"{subject_hash(sub.certificate)}.signing_policy": sub.signing_policy().encode()}
    )
    with pytest.raises(VerificationError) as caught:
        verify_chain(sub.issue("/O=Grid/CN=A", key="p256").chain_der, anchors, now=NOW)
    assert (caught.value.reason, caught.value.position) == (Reason.NAME_CONSTRAINTS, 1)


def test_many_names_under_many_subtrees() -> None:
    def directories(count: int, label: str) -> list[GeneralName]:
        return [directory(f"/O=Grid/OU={label} {number}") for number in range(count)]

    ca = constrained([], directories(1000, "closed"))
    for count, expected in ((100, None), (150, Reason.NAME_CONSTRAINTS)):
        names = (x509.SubjectAlternativeName(directories(count, "open")), False)
        assert verdict(ca, ca.issue("/O=Grid/CN=A", key="p256", extensions=[names])) is expected
    assert 100 * 1000 < MAX_COMPARISONS < 150 * 1000


OTHER_NAME: Final = x509.OtherName(ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def test_unknown_kind() -> None:
    critical = constrained([OTHER_NAME])
    assert verdict(critical, critical.issue("/O=Grid/CN=A", key="p256")) is Reason.NAME_CONSTRAINTS
    lax = constrained([OTHER_NAME], critical=False)
    assert verdict(lax, lax.issue("/O=Grid/CN=A", key="p256")) is None
    other = (x509.SubjectAlternativeName([OTHER_NAME]), False)
    assert verdict(lax, lax.issue("/O=Grid/CN=A", key="p256", extensions=[other])) is Reason.NAME_CONSTRAINTS


DNS_X: Final = der.encode_tlv(0x82, b"x")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x30\x00",
        b"garbage",
        der.encode_sequence(der.encode_explicit(0, b"")),
        der.encode_sequence(der.encode_explicit(0, der.encode_sequence())),
        der.encode_sequence(der.encode_explicit(0, der.encode_sequence(DNS_X, der.encode_tlv(0x80, b"\x01")))),
        der.encode_sequence(der.encode_explicit(0, der.encode_sequence(DNS_X, der.encode_tlv(0x81, b"\x01")))),
        der.encode_sequence(der.encode_explicit(0, der.encode_sequence(der.encode_tlv(0x87, b"1234567")))),
        der.encode_sequence(der.encode_explicit(2, der.encode_sequence(DNS_X))),
    ],
)
def test_malformed(value: bytes) -> None:
    with pytest.raises(ParseError):
        parse_name_constraints(value, critical=True)
    ca = TestCA("/O=X/CN=CA", key="p256", extensions=[raw_extension(oids.NAME_CONSTRAINTS, value, critical=True)])
    assert verdict(ca, ca.issue("/O=Grid/CN=A", key="p256")) is Reason.NAME_CONSTRAINTS
