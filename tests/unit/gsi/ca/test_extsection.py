"""Extension sections: what is refused, and with what words; the bytes are compared with OpenSSL's elsewhere."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.ca.asn1text import encode_asn1_text
from gsi.ca.conf import parse_conf
from gsi.ca.extsection import parse_extension_section
from gsi.errors import ConfigError, ParseError

REFUSED = [
    ("noCheck=ignored", "no extension that is known"),
    ("tlsfeature=status_request", "no extension that is known"),
    ("nameConstraints=permitted;DNS:a", "no extension that is known"),
    ("1.2.3.4=something", "needs DER: or ASN1:"),
    ("1.2.3.4=DER:0", "hexadecimal"),
    ("1.2.3.4=DER:0500ff", "left over"),
    ("1.2.3.4=DER:", "ends inside"),
    ("1.2.3.4=DER:30800000", "indefinite"),
    ("1.2.3.4=ASN1:SEQUENCE:x", "not known here"),
    ("1.2.3.4=ASN1:EXPLICIT:0,UTF8:x", "not known here"),
    ("1.2.3.4=ASN1:UTF8:ä", "not ASCII"),
    ("1.2.3.4=ASN1:PRINTABLE:a@b", "characters"),
    ("1.2.3.4=ASN1:FORMAT:BITLIST,BITSTR:1", "not known"),
    ("1.2.3.4=ASN1:INT:1.5", "not known"),
    ("1.2.3.4=ASN1:", "no type"),
    ("keyUsage=digitalSignature,typing", "'typing' is not known"),
    ("keyUsage=", "no value"),
    ("keyUsage=digitalSignature,,keyAgreement", "empty item"),
    ("keyUsage=critical", "'critical' is not known"),
    ("extendedKeyUsage=walking", "no purpose"),
    ("basicConstraints=CA:maybe", "neither"),
    ("basicConstraints=pathlen:-1", "neither"),
    ("subjectKeyIdentifier=0102", "made from the key"),
    ("subjectKeyIdentifier=none", "made from the key"),
    ("subjectKeyIdentifier=critical,hash", "never critical"),
    ("authorityKeyIdentifier=keyid,issuer:always", "key identifier alone"),
    ("authorityKeyIdentifier=issuer", "key identifier alone"),
    ("subjectAltName=email:copy", "not known"),
    ("subjectAltName=DNS:-", "no host name"),
    ("subjectAltName=dirName:x", "no kind of name"),
    ("subjectAltName=alice", "no value"),
    ("subjectAltName=otherName:1.2.3", "NUMBER;TYPE"),
    ("subjectAltName=@nowhere", "no section"),
    ("subjectAltName=@empty\n[empty]", "is empty"),
    ("crlDistributionPoints=a\n[a]\nreasons=keyCompromise", "not known"),
    ("authorityInfoAccess=OCSP:URI", "neither"),
    ("authorityInfoAccess=walk;URI:http://a", "neither"),
    ("certificatePolicies=anyone", "no number"),
    ("certificatePolicies=ia5org", "no policy"),
    ("certificatePolicies=@p\n[p]\nCPS=http://a", "no policyIdentifier"),
    ("certificatePolicies=@p\n[p]\npolicyIdentifier=1.2.3\nuserNotice=@n\n[n]\norganization=x", "not known"),
    ("nsComment=ä", "not ASCII"),
    ("keyUsage=cRLSign\n2.5.29.15=DER:03020780", "twice"),
    ("keyUsage=cRLSign\nkeyUsage=cRLSign", "stands in line 1, too"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=[text for text, _ in REFUSED])
def test_what_is_not_known_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_extension_section(f"# first\n{text}".replace("# first\n", "", 1), path="ext.cnf")
    assert caught.value.path == "ext.cnf"
    assert caught.value.line in {1, 2}


GRAMMAR = [
    (".include /etc/passwd", r"\.include is not followed"),
    ("a = $ENV::HOME", "environment"),
    ("a = ${ENV::HOME}", "environment"),
    ("a = $nothing", "no value yet"),
    ("a = $$", "begins no variable"),
    ("[open", "not a section"),
    ("[a] b = c", "not a section"),
    ("just words", "neither"),
    ('a = "open', "not closed"),
    ("a = bb\nc = " + "$a" * 9000 + "\n", "longer"),
    ("x" * (300 << 10), "longer"),
    ("\n".join(f"a{n}=" for n in range(5000)), "more than"),
]


@pytest.mark.parametrize(("text", "words"), GRAMMAR, ids=range(len(GRAMMAR)))
def test_grammar_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_conf(text, path="x.cnf")


def test_sections_and_lines() -> None:
    conf = parse_conf("a=1\n[b]\nc = 2 # two\n\n[default]\nd=$a${b::c}\\\n3\n", path="x")
    assert [tuple(entry) for entry in conf.section("default")] == [("a", "1", 1), ("d", "123", 6)]
    assert "b" in conf
    assert "c" not in conf
    with pytest.raises(ConfigError, match="no section"):
        conf.section("c")


WORDS = st.sampled_from(
    [
        *"=[]#$\\\"'@,;:.\n ",
        "keyUsage",
        "critical,",
        "DER:",
        "ASN1:",
        "UTF8:",
        "URI:http://a",
        "1.2.3",
        "@s",
        "[s]",
        "CA:",
        "0",
        "CPS",
    ]
)


@given(st.lists(WORDS, max_size=40).map("".join) | st.text(max_size=200))
def test_whatever_comes_in_only_config_errors_come_out(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_extension_section(text, path="x")


@given(st.text(max_size=60) | st.lists(WORDS, max_size=10).map("".join))
def test_whatever_the_value_only_parse_errors_come_out(text: str) -> None:
    with contextlib.suppress(ParseError):
        encode_asn1_text(text)
