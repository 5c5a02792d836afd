"""What a section means in an end entity's certificate and in a proxy."""

from __future__ import annotations

import pytest

from gsi import oids
from gsi.ca.extprofile import MYPROXY_PROFILE, EndEntityProfile, end_entity_profile, proxy_extensions
from gsi.ca.extsection import parse_extension_section
from gsi.ca.general_names import dns_name, email_address, split_general_names
from gsi.certificate import Extension
from gsi.errors import ConfigError
from gsi.extensions import DIGITAL_SIGNATURE


def profile(text: str) -> EndEntityProfile:
    return end_entity_profile(parse_extension_section(text, path="x"), path="x")


def test_an_empty_section_leaves_the_key_usage() -> None:
    assert profile("") == EndEntityProfile(key_usage=MYPROXY_PROFILE.key_usage)


def test_what_the_issuer_writes_itself_may_be_asked_for() -> None:
    found = profile(
        "basicConstraints=CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid,issuer\n"
        "keyUsage=digitalSignature\nextendedKeyUsage=clientAuth,serverAuth,clientAuth\nnsComment=x\n"
        "subjectAltName=DNS:a.example.org"
    )
    assert found.key_usage == DIGITAL_SIGNATURE
    assert found.extended_key_usage == (oids.CLIENT_AUTH, oids.SERVER_AUTH)
    assert found.alternative_names == (dns_name("a.example.org"),)
    assert [one.oid for one in found.extensions] == ["2.16.840.1.113730.1.13"]


def test_what_is_critical_stays_critical() -> None:
    found = profile(
        "extendedKeyUsage=critical,clientAuth\nsubjectAltName=critical,DNS:a.example.org\n1.2.3=critical,DER:0500"
    )
    assert found.extended_key_usage == ()
    assert [(one.oid, one.critical) for one in found.extensions] == [(oids.EXTENDED_KEY_USAGE, True), ("1.2.3", True)]
    names, further = found.names_with(email_address("a@b.org"))
    assert names == ()
    assert further[-1].critical
    assert split_general_names(further[-1].value) == (dns_name("a.example.org"), email_address("a@b.org"))


def test_names_are_joined_once() -> None:
    found = profile("subjectAltName=email:a@b.org")
    assert found.names_with(email_address("a@b.org")) == ((email_address("a@b.org"),), ())
    assert MYPROXY_PROFILE.names_with() == ((), ())


@pytest.mark.parametrize(
    "text",
    [
        "basicConstraints=CA:TRUE",
        "keyUsage=keyCertSign",
        "keyUsage=digitalSignature,cRLSign",
        "keyUsage=DER:030100",
        "keyUsage=DER:0500",
        "basicConstraints=DER:0500",
        "subjectAltName=DER:3000",
        "2.5.29.14=DER:0401ff",
        "2.5.29.35=DER:3000",
        "2.5.29.30=DER:3000",
        "1.3.6.1.5.5.7.1.14=critical,DER:300c300a06082b06010505071501",
        "nsCertType=sslCA",
        "nsCertType=client,objCA",
    ],
)
def test_what_no_user_may_have(text: str) -> None:
    with pytest.raises(ConfigError):
        profile(text)


def test_proxies() -> None:
    section = parse_extension_section("nsComment=x\n1.2.3=DER:0500\nauthorityInfoAccess=OCSP;URI:http://a/", path="x")
    found = proxy_extensions(section, path="x")
    assert found[1] == Extension("1.2.3", False, b"\x05\x00")
    assert len(found) == 3


@pytest.mark.parametrize(
    "text",
    [
        "keyUsage=digitalSignature",
        "extendedKeyUsage=clientAuth",
        "basicConstraints=CA:FALSE",
        "subjectAltName=DNS:a.example.org",
        "issuerAltName=DNS:a.example.org",
        "subjectKeyIdentifier=hash",
        "authorityKeyIdentifier=keyid",
        "2.5.29.14=DER:0401ff",
        "1.3.6.1.5.5.7.1.14=critical,DER:300c300a06082b06010505071501",
        "2.5.29.30=DER:3000",
    ],
)
def test_what_no_proxy_may_have(text: str) -> None:
    with pytest.raises(ConfigError):
        proxy_extensions(parse_extension_section(text, path="x"), path="x")
