"""Names of subjects: permits compare exactly, denials compare whatever could be taken for one another."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from gsi.authz.decision import Subject
from gsi.authz.principals import (
    FqanPattern,
    Glob,
    NamePattern,
    has_own_identity,
    issuer_skeletons,
    normal_fqan,
    parse_dn,
    rights_fqans,
    skeleton,
    skeleton_text,
    skeletons,
    subject_key,
)
from gsi.errors import ParseError
from gsi.proxy.kinds import ProxyKind
from gsi.trust.verify import verify_chain
from tests.harness.ca import FULL_INFO, INDEPENDENT_INFO, TestCA
from tests.harness.trust import make_anchors, utc_now


def key(text: str) -> str:
    return subject_key(Subject(identity=text, identity_der=parse_dn(text)))


def name_of(*pairs: tuple[x509.ObjectIdentifier, str, _ASN1Type]) -> bytes:
    return x509.Name([x509.NameAttribute(oid, value, kind) for oid, value, kind in pairs]).public_bytes()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/O=Grid/CN=Alice", "/o=grid/cn=ALICE"),
        ("/O=Grid/CN=Alice Adams", "/O=Grid/CN= Alice  Adams "),
        ("/O=Grid/E=a@b", "/O=Grid/emailAddress=a@b"),
        ("/O=Grid/Email=a@b", "/O=Grid/E=A@B"),
        ("/O=Grid/UID=x", "/O=Grid/USERID=x"),
        ("/O=Grid/CN=Ren\\xC3\\xA9", "/O=Grid/CN=René"),
        ("/O=Grid/CN=Alice", "CN=Alice,O=Grid"),
        ("/CN=host/www.example.org", "/CN=host\\/www.example.org"),
    ],
)
def test_names_that_are_the_same(first: str, second: str) -> None:
    assert key(first) == key(second)
    assert skeleton(parse_dn(first)) == skeleton(parse_dn(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/O=Grid/CN=x/CN=Admin", "/O=Grid/CN=x\\/CN=Admin"),
        ("/O=Grid/CN=x+CN=Admin", "/O=Grid/CN=x/CN=Admin"),
        ("/O=Grid/CN=Ünal", "/O=Grid/CN=ünal"),
        ("/O=Grid/CN=ﬁne", "/O=Grid/CN=fine"),
        ("/O=Grid/CN=\uff21lice", "/O=Grid/CN=Alice"),
        ("/O=Grid/CN=Ali\u200bce", "/O=Grid/CN=Alice"),
        ("/O=Grid/CN=Ali\u00adce", "/O=Grid/CN=Alice"),
        ("/O=Grid/CN=Cafe\u0301", "/O=Grid/CN=Café"),
        ("/O=Grid/CN=Alice\u00a0Adams", "/O=Grid/CN=Alice Adams"),
        ("/O=Grid/CN=Ali\\x01ce", "/O=Grid/CN=Alice"),
        ("/O=Grid/uid=x", "/O=Grid/UID=x"),
    ],
)
def test_names_that_only_a_denial_takes_for_the_same(first: str, second: str) -> None:
    assert key(first) != key(second)
    assert skeleton(parse_dn(first)) == skeleton(parse_dn(second))


def test_string_types_do_not_matter() -> None:
    plain = name_of(
        (NameOID.ORGANIZATION_NAME, "Grid", _ASN1Type.PrintableString),
        (NameOID.COMMON_NAME, "Zoe", _ASN1Type.UTF8String),
    )
    wide = name_of(
        (NameOID.ORGANIZATION_NAME, "GRID", _ASN1Type.UTF8String), (NameOID.COMMON_NAME, "zoe", _ASN1Type.BMPString)
    )
    assert subject_key(Subject(identity="a", identity_der=plain)) == subject_key(
        Subject(identity="b", identity_der=wide)
    )
    assert skeleton(plain) == skeleton(wide) == "/o=grid/cn=zoe"


def test_other_names_stay_other_names() -> None:
    found = {skeleton(parse_dn(f"/O=Grid/CN={name}")) for name in ("Alice", "Alicia", "Al ice", "\u0410lice")}
    assert len(found) == 4
    assert skeleton_text("a b") != skeleton_text("ab")


def test_compatibility_forms_before_and_after_the_case() -> None:
    """Letters whose case is seen only once they are taken apart, and those that lower case takes apart."""
    for capital in ("\u210c", "\U0001d407", "\uff28", "\u24bd"):  # black-letter, bold, wide, in a circle
        assert skeleton_text(f"{capital}ans") == "hans"
    forms = {skeleton_text(form) for form in ("\u01f0", "J\u030c", "j\u030c")}
    assert forms == {"\u01f0"}  # an accent is part of a name, however it is written
    assert skeleton_text("j") not in forms
    assert skeleton_text("\u0390") != skeleton_text("\u03b9")


def test_every_attribute_for_a_user_id() -> None:
    """Of pilots (RFC 4524's `uid` under its older number) and of RFC 4519."""
    numbers = ("0.9.2342.19200300.100.1.1", "0.9.2342.19200300.100.1.44")
    found = {
        skeleton(name_of((x509.ObjectIdentifier(number), value, _ASN1Type.UTF8String)))
        for number in numbers
        for value in ("x", "X")
    }
    assert found == {"/uid=x"}


def test_identities_that_are_no_names() -> None:
    assert subject_key(Subject()) == ""
    assert subject_key(Subject(identity="https://iss#a")) != subject_key(Subject(identity="https://iss#A"))
    assert skeletons(Subject(identity="https://iss#A")) == {"https://iss#a"}
    assert issuer_skeletons(Subject(identity="x", issuer="https://ISS")) == {"https://iss"}
    text = "/O=Grid/CN=Alice"
    assert subject_key(Subject(identity=text)) != key(text)  # a token that names itself so proves no such name


@pytest.mark.parametrize("text", ["", "/", "Alice", "/Nothing=x", "CN=a,"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ParseError):
        parse_dn(text)


def test_a_denial_sees_every_certificate_below_the_cas() -> None:
    root = TestCA("/O=Grid/CN=Root")
    middle = root.intermediate("/O=Grid/CN=Middle")
    alice = middle.issue("/O=Grid/CN=Alice")
    own = alice.proxy(info=INDEPENDENT_INFO, cn="77").proxy(info=FULL_INFO, cn="78")
    peer = verify_chain(own.chain_der, make_anchors(root, middle), now=utc_now())
    subject = Subject.from_peer(peer, fqans=("/vo",))
    assert subject.identity == "/O=Grid/CN=Alice/CN=77"
    assert skeletons(subject) == {
        "/o=grid/cn=alice",
        "/o=grid/cn=alice/cn=77",
        "/o=grid/cn=alice/cn=77/cn=78",
    }
    assert issuer_skeletons(subject) == {"/o=grid/cn=middle", "/o=grid/cn=root"}
    assert has_own_identity(subject)
    assert rights_fqans(subject) == ()
    full = Subject.from_peer(
        verify_chain(alice.proxy(info=FULL_INFO).chain_der, make_anchors(root, middle), now=utc_now()),
        fqans=("/vo/Role=NULL",),
    )
    assert rights_fqans(full) == ("/vo",)
    assert not has_own_identity(full)
    assert has_own_identity(Subject(kind=ProxyKind.RESTRICTED))


@pytest.mark.parametrize(
    ("pattern", "name", "result"),
    [
        ("/O=Grid/CN=*", "/O=Grid/CN=Alice", True),
        ("/O=Grid/CN=*", "/O=Grid/CN=x\\/CN=y", True),
        ("/O=Grid/CN=*", "/O=Grid/CN=x/CN=y", False),
        ("/O=Grid/CN=*", "/O=Grid/OU=x", False),
        ("/O=Grid/CN=*", "/O=Grid", False),
        ("/O=Grid/CN=A*e", "/o=GRID/cn=alicE", True),
        ("/O=Grid/OU=*/CN=Alice", "/O=Grid/OU=x/CN=Alice", True),
        ("/O=Grid/**", "/O=Grid", True),
        ("/O=Grid/**", "/O=Grid/OU=x/CN=y", True),
        ("/O=Grid/**", "/O=Gridiron/CN=y", False),
        ("/O=Grid/**", "/O=Grid\\/CN=y", False),
        ("/O=Grid/**", "/C=XX/O=Grid/CN=y", False),
        ("/O=Grid/CN=host/*.example.org", "/O=Grid/CN=host\\/www.example.org", True),
        ("/O=Grid/CN=a+OU=*", "/O=Grid/OU=x+CN=a", True),
    ],
)
def test_name_patterns(pattern: str, name: str, *, result: bool) -> None:
    assert NamePattern(pattern).matches(parse_dn(name)) is result


@pytest.mark.parametrize("text", ["/**", "/*", "", "*", "/O=Grid/*"])
def test_name_patterns_that_mean_nothing(text: str) -> None:
    with pytest.raises(ParseError):
        NamePattern(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("/vo", "/vo"),
        ("/vo/Role=NULL", "/vo"),
        ("/vo/g/Role=NULL/Capability=NULL", "/vo/g"),
        ("/vo/g/Role=prod/Capability=NULL", "/vo/g/Role=prod"),
        ("/vo/Role=a/Capability=b", "/vo/Role=a/Capability=b"),
    ],
)
def test_fqans(text: str, normal: str) -> None:
    assert normal_fqan(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vo",
        "/",
        "//vo",
        "/vo/",
        "/vo//g",
        "/vo/../x",
        "/Role=a",
        "/vo/Role=a/g",
        "/vo/Role=a/Role=b",
        "/vo/Capability=x/Role=a",
        "/vo\n",
        "/vo/\0",
        "/" + "a" * 2000,
    ],
)
def test_what_is_no_fqan(text: str) -> None:
    with pytest.raises(ParseError):
        normal_fqan(text)


@pytest.mark.parametrize(
    ("pattern", "fqan", "result"),
    [
        ("/vo", "/vo", True),
        ("/vo", "/voX", False),
        ("/vo", "/vo/g", False),
        ("/vo", "/vo/Role=x", False),
        ("/vo", "/VO", False),
        ("/vo/*", "/vo", False),
        ("/vo/*", "/vo/g", True),
        ("/vo/*", "/vo/g/h/Role=x", True),
        ("/vo/*", "/voX/g", False),
        ("/vo/**", "/vo", True),
        ("/vo/**", "/vo/g/Role=x", True),
        ("/vo/**", "/voX", False),
        ("/vo/Role=*", "/vo/Role=x", True),
        ("/vo/Role=*", "/vo", False),
        ("/vo/*/Role=lcg*", "/vo/g/Role=lcgadmin", True),
        ("/vo/*/Role=lcg*", "/vo/g/h/Role=lcgadmin", False),
        ("/vo/Role=NULL", "/vo", True),
    ],
)
def test_fqan_patterns(pattern: str, fqan: str, *, result: bool) -> None:
    assert FqanPattern(pattern).matches(fqan) is result


@pytest.mark.parametrize("text", ["", "*", "/*", "/**", "/v*", "/v*/g", "vo"])
def test_fqan_patterns_that_mean_nothing(text: str) -> None:
    with pytest.raises(ParseError):
        FqanPattern(text)


@pytest.mark.parametrize(
    ("pattern", "text", "result"),
    [
        ("a*", "a", True),
        ("*a", "ba", True),
        ("a*a", "a", False),
        ("*", "", True),
        ("a*b*c", "abc", True),
        ("a*bb*b", "abb", False),
        ("ab", "ab", True),
        ("**", "x", True),
    ],
)
def test_globs(pattern: str, text: str, *, result: bool) -> None:
    assert Glob(pattern).matches(text) is result
