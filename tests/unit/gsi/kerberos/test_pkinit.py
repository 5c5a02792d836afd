"""PKINIT from the outside: names in each KDC's order, principals in certificates, what kinit's words mean."""

from __future__ import annotations

import re
import shlex

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from gsi.certificate import Certificate
from gsi.errors import ConfigError, ParseError
from gsi.kerberos.pkinit import (
    Identity,
    KinitKind,
    Purposes,
    explain,
    heimdal_mapping,
    kinit_arguments,
    kinit_kind,
    mit_match,
    pkinit_principals,
    purposes,
    recipe,
)
from gsi.kerberos.ticket import Principal
from tests.harness.ca import Extra, TestCA

CA = TestCA("/O=Grid/CN=CA", key="p256")
ALICE = Principal(("alice",), "MIT.TEST")
NAMED = bytes.fromhex("3020a00a1b084d49542e54455354a1123010a003020101a10930071b05616c696365")


def certificate(name: str = "/O=Grid/CN=Alice", *extensions: Extra) -> Certificate:
    return Certificate.parse(CA.issue(name, "p256", extensions=extensions).der)


def naming(*values: bytes) -> Extra:
    others = [x509.OtherName(ObjectIdentifier("1.3.6.1.5.2.2"), value) for value in values]
    return (x509.SubjectAlternativeName([x509.DNSName("x.example.org"), *others]), False)


def test_whose_kinit() -> None:
    assert kinit_kind("kinit.heimdal (Heimdal 7.8.0)\nCopyright") is KinitKind.HEIMDAL
    assert kinit_kind("kinit: unrecognized option '--version'") is KinitKind.MIT


def test_arguments() -> None:
    both = Identity("/x/proxy", "/x/proxy")
    pair = Identity("/x/cert", "/x/key")
    assert kinit_arguments(KinitKind.MIT, pair, principal="alice", anchors="DIR:/c", lifetime="1h") == [
        "-X", "X509_user_identity=FILE:/x/cert,/x/key", "-X", "X509_anchors=DIR:/c", "-l", "1h", "alice",
    ]  # fmt: skip
    assert kinit_arguments(KinitKind.HEIMDAL, both, anchors="FILE:/c", cache="FILE:/cc", forwardable=True) == [
        "-C", "FILE:/x/proxy", "--x509-anchors=FILE:/c", "-c", "FILE:/cc", "-f",
    ]  # fmt: skip
    assert Identity("/x/a.p12", "/x/a.p12").text == "PKCS12:/x/a.p12"
    for wrong in (Identity("/a,b", "/c"), Identity("/a", "/b,c")):
        with pytest.raises(ConfigError, match="comma"):
            kinit_arguments(KinitKind.MIT, wrong)
    with pytest.raises(ConfigError, match="no principal"):
        kinit_arguments(KinitKind.MIT, pair, principal="--help")


def test_names_in_each_order() -> None:
    found = certificate("/DC=org/O=Grid (x)/CN=A. B*c+d [e]")
    assert mit_match(found) == ("&&<ISSUER>^O=Grid,CN=CA$<SUBJECT>^DC=org,O=Grid [(]x[)],CN=A[.] B[*]c[+]d [[]e[]]$")
    assert heimdal_mapping(found, "a@R") == "a@R:CN=A. B*c\\+d [e],O=Grid (x),DC=org"


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")  # `[[]` is a bracket, as POSIX has it
@given(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters='<>"'), min_size=1, max_size=30)
)
def test_the_expression_is_for_this_name_alone(text: str) -> None:
    """Read as a regular expression it fits the name, and no other of the same length with one character changed."""
    from gsi.kerberos.pkinit import _plain

    expression = "".join(map(_plain, text))
    assert re.fullmatch(expression, text)
    for at in range(len(text)):
        changed = text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]
        assert not re.fullmatch(expression, changed)


@pytest.mark.parametrize("name", ["/O=Grid/CN=<x>", '/O=Grid/CN="x"', "/O=Grid/CN=Ünal"])
def test_names_that_a_rule_cannot_hold(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot hold"):
        mit_match(certificate(name))


def test_principals_in_certificates() -> None:
    assert pkinit_principals(certificate()) == ()
    assert pkinit_principals(certificate("/O=Grid/CN=Alice", naming(NAMED))) == (ALICE,)
    assert pkinit_principals(certificate("/O=Grid/CN=Alice", naming(NAMED, NAMED))) == (ALICE, ALICE)
    for broken in (NAMED[:-1] + b"\xff", b"\x30\x00", b"\x04\x00"):
        with pytest.raises(ParseError):
            pkinit_principals(certificate("/O=Grid/CN=Alice", naming(broken)))


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3), st.text(min_size=1, max_size=20))
def test_what_the_authority_writes_is_read_back(components: list[str], realm: str) -> None:
    from gsi import der
    from gsi.kerberos.pkinit import _read_principal
    from kca.principal import encode_pkinit_name

    try:
        encoded = encode_pkinit_name(Principal(tuple(components), realm))
    except ParseError:  # a lone surrogate
        return
    name = der.Reader(encoded, what="name").enter(0xA0)
    assert name.oid() == "1.3.6.1.5.2.2"
    assert _read_principal(name.enter(0xA0).take_raw()) == Principal(tuple(components), realm)


def test_purposes() -> None:
    def of(*oids: str) -> Purposes:
        usage = x509.ExtendedKeyUsage([ObjectIdentifier(oid) for oid in oids])
        return purposes(certificate("/O=Grid/CN=Alice", (usage, False)))

    client = ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string
    assert purposes(certificate()) is Purposes.ANY
    assert of(client) is Purposes.OTHER
    assert of(client, "1.3.6.1.5.2.3.4") is Purposes.PKINIT
    assert of("1.3.6.1.4.1.311.20.2.2") is Purposes.SMARTCARD
    assert of("2.5.29.37.0") is Purposes.ANY


def test_the_recipe() -> None:
    told = recipe(certificate(), ALICE)
    order = next(line for line in told.splitlines() if "setstr" in line)
    assert shlex.split(order) == [
        "kadmin.local",
        "-q",
        'setstr alice pkinit_cert_match "&&<ISSUER>^O=Grid,CN=CA$<SUBJECT>^O=Grid,CN=Alice$"',
    ]
    assert told.endswith("\nalice@MIT.TEST:CN=Alice,O=Grid\n")
    assert "pkinit_eku_checking = none" in told
    named = recipe(certificate("/O=Grid/CN=Alice", naming(NAMED)), ALICE)
    assert "setstr" not in named
    assert "no mapping is needed" in named
    assert "setstr" in recipe(certificate("/O=Grid/CN=Alice", naming(NAMED)), Principal(("bob",), "MIT.TEST"))
    quoted = next(
        line for line in recipe(certificate("/O=Grid/CN=O'Hara $(x)"), ALICE).splitlines() if "setstr" in line
    )
    assert len(shlex.split(quoted)) == 3
    for wrong in ("a'b", "a b", "a;b", "a$b"):
        with pytest.raises(ConfigError, match="mean something"):
            recipe(certificate(), Principal((wrong,), "R"))


def test_what_kinit_says() -> None:
    found = explain("kinit: Client name mismatch while getting initial credentials")
    assert found is not None
    assert "does not know that the certificate is this principal's" in found[0]
    assert "grid-kinit -recipe" in found[1]
    assert explain("kinit: something new") is None
