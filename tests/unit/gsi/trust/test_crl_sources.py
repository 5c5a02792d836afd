"""Where revocation lists are published."""

from __future__ import annotations

import pytest
from cryptography import x509

from gsi.certificate import Certificate
from gsi.errors import ParseError
from gsi.trust.crl_sources import MAX_URLS, TrustInfo, distribution_points, is_url, parse_crl_url, parse_info
from tests.harness.ca import TestCA, parse_name

A, B, C = "http://a.example/a.crl", "https://b.example/b.pem", "ftp://c.example/c"


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def certificate(*points: x509.DistributionPoint) -> Certificate:
    ca = TestCA(key="p256", extensions=[(x509.CRLDistributionPoints(points), False)])
    return Certificate.parse(ca.der)


def point(*names: x509.GeneralName, reasons: bool = False, issuer: bool = False) -> x509.DistributionPoint:
    return x509.DistributionPoint(
        full_name=list(names),
        relative_name=None,
        reasons=frozenset({x509.ReasonFlags.key_compromise}) if reasons else None,
        crl_issuer=[x509.DirectoryName(parse_name("/O=Other"))] if issuer else None,
    )


def test_crl_url() -> None:
    assert parse_crl_url(f"# lists\n{A}\r\n\n  {B}  # second\n{A}\n".encode()) == (A, B)
    assert parse_crl_url(b"") == ()


@pytest.mark.parametrize("data", [b"not a url\n", b"http:/x y\n", b"/etc/passwd\n", b"x" * 70_000, b"\xff\xfe"])
def test_crl_url_that_is_none(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_crl_url(data)


def test_crl_url_is_bounded() -> None:
    lines = "".join(f"http://a/{number}\n" for number in range(MAX_URLS + 1))
    with pytest.raises(ParseError, match="limit"):
        parse_crl_url(lines.encode())


def test_info() -> None:
    data = f"""\
# @(#)$Id$
alias = Grid-CA
ca_url = http://a.example/ca.pem
crl_url = {A};{B} \\
  {C}
crl_url.1 = {B}
email = a@example.org
subjectdn = "/C=XX/O=Grid/CN=CA"
status =
""".encode()
    assert parse_info(data) == TrustInfo("Grid-CA", "/C=XX/O=Grid/CN=CA", ((A, B, C), (B,)))
    assert parse_info(b"alias = x\n") == TrustInfo("x", None, ())
    assert parse_info(f"crl_url.0 = {A}\ncrl_url.2 = {B}\n".encode()) == TrustInfo(None, None, ((A,),))


@pytest.mark.parametrize("data", [b"alias\n", b"crl_url = somewhere\n", b"=x\n", b"a" * 70_000])
def test_info_that_is_none(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_info(data)


def test_distribution_points() -> None:
    assert distribution_points(Certificate.parse(TestCA(key="p256").der)) == ()
    assert distribution_points(certificate(point(uri(A), uri(B)), point(uri(A)))) == (A, B)
    directory = x509.DirectoryName(parse_name("/O=Grid"))
    assert distribution_points(certificate(point(directory, uri(A)))) == (A,)
    assert distribution_points(certificate(point(uri("http://a/my list.crl")))) == ("http://a/my%20list.crl",)
    assert distribution_points(certificate(point(uri("ldap:///cn=x")))) == ("ldap:///cn=x",)


def test_points_for_part_of_the_list() -> None:
    assert distribution_points(certificate(point(uri(A), reasons=True), point(uri(B)))) == (B,)
    assert distribution_points(certificate(point(uri(A), issuer=True))) == ()
    relative = x509.DistributionPoint(
        full_name=None,
        relative_name=x509.RelativeDistinguishedName(parse_name("/CN=list")),
        reasons=None,
        crl_issuer=None,
    )
    assert distribution_points(certificate(relative)) == ()


@pytest.mark.parametrize("text", [A, B, "file:///srv/crls", "HTTP://A/", "x:/y"])
def test_urls(text: str) -> None:
    assert is_url(text)


@pytest.mark.parametrize("text", ["", "a", "/srv", "http:", "http:a", "http://a b", "http://a\n", "h" * 3000, "1:/x"])
def test_no_urls(text: str) -> None:
    assert not is_url(text)
