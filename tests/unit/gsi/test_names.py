"""Names: text forms beside libcrypto's own, the fold beside its canonical hash, and the grid-mapfile escapes."""

from __future__ import annotations

import ctypes
import functools
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi import der, names, oids
from gsi.errors import ParseError

CN, O = oids.COMMON_NAME, oids.ORGANIZATION  # noqa: E741  the attribute's own name
UTF8, PRINTABLE, T61, IA5, BMP, UNIVERSAL = (
    der.UTF8_STRING,
    der.PRINTABLE_STRING,
    der.T61_STRING,
    der.IA5_STRING,
    der.BMP_STRING,
    der.UNIVERSAL_STRING,
)
XN_FLAG_RFC2253 = 0x1110317


@functools.cache
def libcrypto() -> ctypes.CDLL:
    library = ctypes.CDLL("libcrypto.so.3")
    library.d2i_X509_NAME.restype = ctypes.c_void_p
    library.X509_NAME_oneline.restype = ctypes.c_void_p
    library.X509_NAME_oneline.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    library.X509_NAME_free.argtypes = [ctypes.c_void_p]
    library.CRYPTO_free.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.BIO_s_mem.restype = ctypes.c_void_p
    library.BIO_new.restype = ctypes.c_void_p
    library.BIO_new.argtypes = [ctypes.c_void_p]
    library.BIO_free.argtypes = [ctypes.c_void_p]
    library.BIO_read.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.X509_NAME_print_ex.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_ulong]
    library.X509_NAME_hash_ex.restype = ctypes.c_ulong
    library.X509_NAME_hash_ex.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    library.OBJ_txt2nid.argtypes = [ctypes.c_char_p]
    library.OBJ_nid2sn.restype = ctypes.c_char_p
    return library


def openssl_name(name_der: bytes) -> int | None:
    pointer = ctypes.c_char_p(name_der)
    found = libcrypto().d2i_X509_NAME(None, ctypes.byref(pointer), ctypes.c_long(len(name_der)))
    if found is None:
        libcrypto().ERR_clear_error()
    return None if found is None else int(found)


def openssl_oneline(name_der: bytes) -> str:
    name = openssl_name(name_der)
    assert name is not None
    text = libcrypto().X509_NAME_oneline(name, None, 0)
    copied = ctypes.string_at(text).decode("ascii")
    libcrypto().CRYPTO_free(text, b"", 0)
    libcrypto().X509_NAME_free(name)
    return copied


def openssl_rfc2253(name_der: bytes) -> str:
    name, out = openssl_name(name_der), libcrypto().BIO_new(libcrypto().BIO_s_mem())
    assert name is not None
    assert libcrypto().X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253) >= 0
    buffer = ctypes.create_string_buffer(1 << 16)
    length = libcrypto().BIO_read(out, buffer, len(buffer))
    libcrypto().BIO_free(out)
    libcrypto().X509_NAME_free(name)
    return buffer.raw[: max(0, length)].decode("ascii")


def openssl_hash(name_der: bytes) -> int:
    name = openssl_name(name_der)
    assert name is not None
    found = int(libcrypto().X509_NAME_hash_ex(name, None, None, None))
    libcrypto().X509_NAME_free(name)
    return found


def value(oid: str, tag: int, content: bytes) -> bytes:
    return der.encode_sequence(der.encode_oid(oid), der.encode_tlv(tag, content))


def name(*pairs: tuple[str, int, bytes]) -> bytes:
    return names.name_from_rdns([der.encode_set(value(*pair)) for pair in pairs])


ODD_NAMES = {
    "empty": name(),
    "ordinary": name((O, PRINTABLE, b"Grid"), (CN, PRINTABLE, b"Alice")),
    "slash": name((CN, UTF8, b"host/www.example.org")),
    "equals and backslash": name((CN, UTF8, b"a=b\\c")),
    "utf-8": name((CN, UTF8, "Zo\u00eb \u6f22".encode())),
    "bmp": name((CN, BMP, "Zo\u00eb".encode("utf-16-be"))),
    "universal": name((CN, UNIVERSAL, "Zo\u00eb \U0001f600".encode("utf-32-be"))),
    "latin-1 in t61": name((CN, T61, b"Zo\xeb")),
    "controls": name((CN, UTF8, bytes(range(32)) + b"\x7f")),
    "specials": name((CN, UTF8, b'a,b+c"d\\e<f>g;h#i=j')),
    "edges": name((CN, UTF8, b" #leading and trailing ")),
    "hash first": name((CN, UTF8, b"#beef")),
    "one blank": name((CN, UTF8, b" ")),
    "empty value": name((CN, UTF8, b"")),
    "blanks inside": name((CN, PRINTABLE, b"  a  b\t c ")),
    "numeric": name((CN, der.NUMERIC_STRING, b" 12 34")),
    "bit string": name(("2.5.4.45", der.BIT_STRING, b"\x00\x01\xff")),
    "unknown type": name(("1.2.3.4.5", UTF8, b"x")),
    "email, dc, uid": name(
        (oids.DOMAIN_COMPONENT, IA5, b"org"), (oids.EMAIL_ADDRESS, IA5, b"a@b"), (oids.USER_ID, UTF8, b"u")
    ),
    "multi-valued": names.name_from_rdns(
        [
            der.encode_set(value(O, UTF8, b"Grid")),
            der.encode_set(value(CN, UTF8, b"Alice"), value(oids.USER_ID, UTF8, b"alice")),
        ]
    ),
}


def openssl_escapes() -> bool:
    """Whether this libcrypto escapes slashes in the one-line form, which it does since 3.0.22."""
    return openssl_oneline(ODD_NAMES["slash"]) == "/CN=host\\/www.example.org"


@pytest.mark.parametrize("case", ODD_NAMES)
def test_oneline_is_that_of_openssl(case: str) -> None:
    assert names.oneline(ODD_NAMES[case], escaped=openssl_escapes()) == openssl_oneline(ODD_NAMES[case])


STRING_TYPES = st.sampled_from(
    [
        (UTF8, "utf-8"),
        (T61, "latin-1"),
        (PRINTABLE, "latin-1"),
        (IA5, "latin-1"),
        (BMP, "utf-16-be"),
        (UNIVERSAL, "utf-32-be"),
    ]
)
# Without the backslash, where our one-line form deviates knowingly, and within the plane that BMPString has.
CHARACTERS = st.characters(exclude_characters="\\", max_codepoint=0xFFFF, exclude_categories=["Cs"])
TEXTS = st.text(CHARACTERS, max_size=8) | st.text('/+=,;"<># aA\x00\n\x7f', max_size=8)
VALUES = st.tuples(TEXTS.filter(lambda text: text != "#"), STRING_TYPES)  # a lone # OpenSSL forgets to escape


@given(st.lists(st.tuples(st.sampled_from([CN, O, oids.EMAIL_ADDRESS, "1.2.3.4"]), VALUES), max_size=4))
def test_any_name_looks_as_openssl_shows_it(parts: list[tuple[str, tuple[str, tuple[int, str]]]]) -> None:
    one = name(*((oid, tag, text.encode(codec, "replace")) for oid, (text, (tag, codec)) in parts))
    assert names.oneline(one, escaped=openssl_escapes()) == openssl_oneline(one)
    assert names.rfc4514(one) == openssl_rfc2253(one)
    digest = hashlib.sha1(names.canonical(one), usedforsecurity=False).digest()
    assert int.from_bytes(digest[:4], "little") == openssl_hash(one)


ESCAPED = [
    (b"host/www", "/CN=host\\/www", "/CN=host/www"),
    (b"x/CN=Admin", "/CN=x\\/CN=Admin", "/CN=x/CN=Admin"),
    (b"a+b", "/CN=a\\+b", "/CN=a+b"),
    (b"a\\b", "/CN=a\\b", "/CN=a\\b"),
    (b"a\\", "/CN=a\\x5C", "/CN=a\\"),
    (b"a\\/b", "/CN=a\\x5C\\/b", "/CN=a\\/b"),
    (b"\\xC3", "/CN=\\x5CxC3", "/CN=\\xC3"),
    (b"\xc3/", "/CN=\\xC3\\/", "/CN=\\xC3/"),
]


@pytest.mark.parametrize(("content", "escaped", "plain"), ESCAPED)
def test_oneline_escapes_what_could_be_mistaken(content: bytes, escaped: str, plain: str) -> None:
    one = name((CN, T61, content))
    assert names.oneline(one) == escaped
    assert names.oneline(one, escaped=False) == plain
    assert names.same_name(names.parse_oneline(escaped), one)


def test_both_forms_of_a_harmless_slash_are_one_name() -> None:
    old, new = (names.oneline(ODD_NAMES["slash"], escaped=escaped) for escaped in (False, True))
    assert old != new
    assert names.same_oneline(old, new)
    assert names.plain_oneline(new) == old


@pytest.mark.parametrize("content", [b"x/CN=Admin", b"x+CN=Admin", b"x/1.2.3=Admin", b"x/cn=admin"])
def test_a_value_cannot_pretend_to_be_a_part(content: bytes) -> None:
    pretender = names.oneline(name((CN, UTF8, content)))
    assert names.plain_oneline(pretender) == pretender
    assert not names.same_oneline(pretender, "/CN=x/CN=Admin")
    assert not names.same_oneline(pretender, "/CN=" + content.decode())
    assert not names.same_oneline(names.oneline(ODD_NAMES["multi-valued"]), "/O=Grid/CN=Alice/UID=alice")


@pytest.mark.parametrize("case", ODD_NAMES)
def test_rfc4514_is_that_of_openssl(case: str) -> None:
    assert names.rfc4514(ODD_NAMES[case]) == openssl_rfc2253(ODD_NAMES[case])


@pytest.mark.parametrize("case", ODD_NAMES)
def test_canonical_form_has_the_hash_of_openssl(case: str) -> None:
    digest = hashlib.sha1(names.canonical(ODD_NAMES[case]), usedforsecurity=False).digest()
    assert int.from_bytes(digest[:4], "little") == openssl_hash(ODD_NAMES[case])


def test_short_names_are_those_of_openssl() -> None:
    arcs = [f"2.5.4.{number}" for number in range(3, 110)]
    arcs += [f"0.9.2342.19200300.100.1.{number}" for number in range(1, 60)]
    arcs += [f"1.2.840.113549.1.9.{number}" for number in (1, 2, 7, 8, 20)]
    arcs += [f"1.3.6.1.4.1.311.60.2.1.{number}" for number in (1, 2, 3)]
    arcs += [f"1.2.643.100.{number}" for number in (1, 3, 5)]
    for oid in arcs:
        nid = libcrypto().OBJ_txt2nid(oid.encode())
        known = libcrypto().OBJ_nid2sn(nid).decode() if nid else oid
        assert names.oneline(name((oid, UTF8, b"x"))) == f"/{known}=x", oid


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (UTF8, b"\xff\xfe"),
        (UTF8, b"\xc0\x80"),
        (UTF8, b"\xed\xa0\x80"),
        (BMP, b"\x00"),
        (BMP, b"\xd8\x3d\xde\x00"),
        (BMP, b"\xd8\x00"),
        (UNIVERSAL, b"\x00\x11\x00\x00"),
        (UNIVERSAL, b"\x00\x00\x00"),
    ],
)
def test_what_is_no_text_has_no_canonical_form_here_nor_there(tag: int, content: bytes) -> None:
    broken = name((CN, tag, content))
    assert openssl_name(broken) is None
    with pytest.raises(ParseError, match="not valid text"):
        names.canonical(broken)
    with pytest.raises(ParseError):
        names.same_name(broken, ODD_NAMES["ordinary"])
    assert names.same_name(broken, bytes(broken))  # the same bytes are the same name
    assert names.oneline(broken).startswith("/CN=")
    assert names.rfc4514(broken) == "CN=#" + der.encode_tlv(tag, content).hex().upper()


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x30",
        b"\x31\x00",
        der.encode_sequence(der.encode_set()),
        der.encode_sequence(der.encode_sequence()),
        der.encode_sequence(der.encode_set(der.encode_sequence(der.encode_oid(CN)))),
        name((CN, der.OCTET_STRING, b"x")),
        name((CN, der.SEQUENCE, b"")),
        name((CN, der.NULL, b"")),
        name((CN, UTF8, b"x")) + b"\x00",
        name((CN, UTF8, bytes(names.MAX_NAME_BYTES))),
        name(*[(CN, UTF8, b"x")] * (names.MAX_ATTRIBUTES + 1)),
        names.name_from_rdns([der.encode_set(*[value(CN, UTF8, b"x")] * (names.MAX_ATTRIBUTES + 1))]),
    ],
)
def test_refuses_what_is_no_name(broken: bytes) -> None:
    for read in (names.oneline, names.rfc4514, names.canonical, names.attributes):
        with pytest.raises(ParseError):
            read(broken)


SAME = [
    (name((CN, PRINTABLE, b"Alice")), name((CN, UTF8, b"aLICE"))),
    (name((CN, T61, b"Zo\xeb")), name((CN, UTF8, "Zo\u00eb".encode()))),
    (name((CN, BMP, "Zo\u00eb".encode("utf-16-be"))), name((CN, UTF8, "Zo\u00eb".encode()))),
    (name((CN, PRINTABLE, b" a   b ")), name((CN, IA5, b"A B"))),
]
DIFFERENT = [
    (name((CN, PRINTABLE, b"Alice")), name((O, PRINTABLE, b"Alice"))),
    (name((CN, UTF8, "ZO\u00cb".encode())), name((CN, UTF8, "zo\u00eb".encode()))),  # only ASCII is folded
    (name((CN, PRINTABLE, b"ab")), name((CN, PRINTABLE, b"a b"))),
    (name((O, UTF8, b"x"), (CN, UTF8, b"y")), name((CN, UTF8, b"y"), (O, UTF8, b"x"))),
    (
        name((O, UTF8, b"x"), (CN, UTF8, b"y")),
        names.name_from_rdns([der.encode_set(value(O, UTF8, b"x"), value(CN, UTF8, b"y"))]),
    ),
    (name((CN, der.NUMERIC_STRING, b"1")), name((CN, UTF8, b"1"))),  # as OpenSSL: NumericString is not folded
    (name((CN, PRINTABLE, b"Alice")), name()),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_same_names(first: bytes, second: bytes) -> None:
    assert names.same_name(first, second)
    assert openssl_hash(first) == openssl_hash(second)


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_different_names(first: bytes, second: bytes) -> None:
    assert not names.same_name(first, second)
    assert openssl_hash(first) != openssl_hash(second)


# --- one-line text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/O=Grid/CN=Alice", None),
        ("/CN=host/www.example.org", "/CN=host\\/www.example.org"),
        ("/CN=host\\/www.example.org", None),
        ("/CN=a/Foo=b/O=c", "/CN=a\\/Foo=b/O=c"),
        ("/CN=a\\/O=b", None),
        ("/CN=a\\+O=b", None),
        ("/O=Grid/CN=Alice+UID=alice", None),
        ("/CN=a+b", "/CN=a\\+b"),
        ("/CN=a\\x5C/O=b", None),
        ("/cn=Alice/o=Grid", "/CN=Alice/O=Grid"),
        ("/Email=a@b", "/emailAddress=a@b"),
        ("/E=a@b", "/emailAddress=a@b"),
        ("/USERID=u/UID=v", "/UID=u/UID=v"),
        ("/uid=u", "/uid=u"),
        ("/2.5.4.3=x/1.2.3.4=y", "/CN=x/1.2.3.4=y"),
        ("/CN=Zo\\xC3\\xAB", None),
        ("/CN=Zo\u00eb", "/CN=Zo\\xC3\\xAB"),
        ("/CN=", None),
        ("/", ""),
        ("", ""),
    ],
)
def test_parses_one_line_names(text: str, shown: str | None) -> None:
    assert names.oneline(names.parse_oneline(text)) == (text if shown is None else shown)


@pytest.mark.parametrize(
    "text", ["CN=x", "x", "/x", "/Foo=x", "//CN=x", " /CN=x", "/CN", "/9.9=x/CN=y", "/CN=\ud800", "+CN=x"]
)
def test_refuses_other_one_line_text(text: str) -> None:
    with pytest.raises(ParseError):
        names.parse_oneline(text)


def test_a_part_without_its_own_type_belongs_to_the_value() -> None:
    parts = names.attributes(names.parse_oneline("/CN=host/www.example.org/O=Grid"))
    assert [(part[0].oid, part[0].content) for part in parts] == [(CN, b"host/www.example.org"), (O, b"Grid")]


def test_string_types_are_those_of_certification_authorities() -> None:
    made = names.attributes(names.parse_oneline("/DC=org/O=Grid/CN=Zo\u00eb/emailAddress=a@b/CN=\\xEB"))
    assert [group[0].tag for group in made] == [IA5, PRINTABLE, UTF8, IA5, T61]


# --- RFC 4514 text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("CN=Alice,O=Grid", "/O=Grid/CN=Alice"),
        ("cn=Alice , o=Grid", "/O=Grid/CN=Alice"),
        ("CN=Alice;O=Grid", "/O=Grid/CN=Alice"),
        ('CN="a, b",O=Grid', "/O=Grid/CN=a, b"),
        (r"CN=a\, b", "/CN=a, b"),
        (r"CN=a\2C b", "/CN=a, b"),
        (r"CN=a\ ", "/CN=a "),
        (r"CN=a\\ ", "/CN=a\\x5C"),
        (r"CN=\ a", "/CN= a"),
        (r"CN=\#a", "/CN=#a"),
        (r"CN=Zo\C3\AB", "/CN=Zo\\xC3\\xAB"),
        ("CN=#0C0141", "/CN=A"),
        ("OID.2.5.4.3=x", "/CN=x"),
        ("UID=u", "/UID=u"),
        ("uid=u", "/UID=u"),
        ("CN=", "/CN="),
        ("CN=a=b", "/CN=a=b"),
        ("", ""),
    ],
)
def test_parses_rfc_4514(text: str, same: str) -> None:
    assert names.oneline(names.parse_rfc4514(text)) == same


def test_parses_multi_valued_parts() -> None:
    assert names.same_name(names.parse_rfc4514("UID=alice+CN=Alice,O=Grid"), ODD_NAMES["multi-valued"])


@pytest.mark.parametrize(
    "text",
    [
        "x", "=x", "Foo=x", "CN=a,", "CN=a,,O=b", 'CN=a"b', 'CN="a', 'CN="a"b', r"CN=a\q", "CN=a\\", "CN=a<b", "CN=#",
        "CN=#0C", "CN=#0C0241", "CN=#0500", "CN=#0C01410C0141", "CN=a\0b", ",", "+", "CN=\ud800", "CN=#zz",
        "CN=" + "x" * names.MAX_NAME_BYTES,
    ],
)  # fmt: skip
def test_refuses_other_rfc_4514_text(text: str) -> None:
    with pytest.raises(ParseError):
        names.parse_rfc4514(text)


@pytest.mark.parametrize("case", ODD_NAMES)
def test_text_forms_are_read_back(case: str) -> None:
    if case in {"numeric", "bit string"}:
        return  # the fold keeps these string types apart, and text does not show them
    assert names.same_name(names.parse_rfc4514(names.rfc4514(ODD_NAMES[case])), ODD_NAMES[case])
    if case not in {"bmp", "universal"}:  # their one-line form shows the bytes, not the characters
        assert names.same_name(names.parse_oneline(names.oneline(ODD_NAMES[case])), ODD_NAMES[case])


def test_a_lone_hash_is_not_taken_for_hexadecimal() -> None:
    assert names.rfc4514(name((CN, UTF8, b"#"))) == "CN=\\#"


def test_the_pilot_uid_is_not_mistaken_for_the_user_id() -> None:
    pilot = name(("0.9.2342.19200300.100.1.44", UTF8, b"x"))
    assert names.rfc4514(pilot) == "0.9.2342.19200300.100.1.44=#0C0178"
    assert names.same_name(names.parse_rfc4514(names.rfc4514(pilot)), pilot)
    assert names.same_name(names.parse_oneline(names.oneline(pilot)), pilot)


# --- proxies' names ---------------------------------------------------------------------------------------------------

BASE = ODD_NAMES["ordinary"]


@pytest.mark.parametrize("cn", ["2077717579", "proxy", "limited proxy", "Zo\u00eb", ""])
def test_appends_a_common_name(cn: str) -> None:
    longer = names.append_common_name(BASE, cn)
    assert names.rdns(longer)[:-1] == names.rdns(BASE)
    assert names.added_common_name(longer, BASE) == cn
    assert names.last_common_name(longer) == cn


def test_appended_names_have_the_string_type_of_gct() -> None:
    assert [group[-1].tag for group in names.attributes(names.append_common_name(BASE, "123"))][-1] == PRINTABLE


@pytest.mark.parametrize(
    "subject",
    [
        BASE,
        name(),
        name((O, PRINTABLE, b"Grid")),
        names.append_common_name(names.append_common_name(BASE, "1"), "2"),
        names.name_from_rdns([*names.rdns(BASE), der.encode_set(value(oids.ORGANIZATIONAL_UNIT, UTF8, b"1"))]),
        names.name_from_rdns([*names.rdns(BASE), der.encode_set(value(CN, UTF8, b"1"), value(CN, UTF8, b"2"))]),
        names.append_common_name(name((O, PRINTABLE, b"Grid"), (CN, PRINTABLE, b"Bob")), "1"),
        names.name_from_rdns([der.encode_set(value(CN, UTF8, b"1")), *names.rdns(BASE)]),
    ],
)
def test_other_additions_are_none(subject: bytes) -> None:
    assert names.added_common_name(subject, BASE) is None


def test_the_base_may_differ_in_string_types() -> None:
    other = name((O, UTF8, b"grid"), (CN, UTF8, b"ALICE"))
    assert names.added_common_name(names.append_common_name(other, "7"), BASE) == "7"


def test_last_common_name() -> None:
    assert names.last_common_name(name()) is None
    assert names.last_common_name(name((CN, UTF8, b"x"), (O, UTF8, b"y"))) is None
    assert names.last_common_name(name((CN, BMP, "proxy".encode("utf-16-be")))) == "proxy"


# --- comparing text, grid-mapfiles ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("/CN=Alice", "/cn=ALICE", True),
        ("/UID=a", "/USERID=a", True),
        ("/E=a@b", "/Email=a@b", True),
        ("/emailAddress=a@b", "/e=A@B", True),
        ("/CN=x/E=a", "/CN=x/EMAIL=a", True),
        ("/CN=a", "/CN=b", False),
        ("/CN=E=a", "/CN=Email=a", False),
        ("/CN=ZO\u00cb", "/CN=zo\u00eb", False),
        ("/CN=a ", "/CN=a", False),
        ("/CN=host\\/www", "/cn=HOST/www", True),
        ("/CN=a+UID=b", "/CN=a+userid=B", True),
    ],
)
def test_compares_text_as_gct(first: str, second: str, same: bool) -> None:
    assert names.same_oneline(first, second) is same
    assert (names.canonical_oneline(first) == names.canonical_oneline(second)) is same


@pytest.mark.parametrize(
    ("dn", "quoted"),
    [
        ("/O=Grid/CN=Alice", '"/O=Grid/CN=Alice"'),
        ("/CN=a b", '"/CN=a b"'),
        ('/CN=a"b', r'"/CN=a\x22b"'),
        ("/CN=a\\", r'"/CN=a\x5C"'),
        ("/CN=Zo\\xC3\\xAB", r'"/CN=Zo\xC3\xAB"'),
        ("/CN=\\x41", r'"/CN=\x5Cx41"'),
        ("/CN=#x", '"/CN=#x"'),
    ],
)
def test_quotes_for_grid_mapfiles(dn: str, quoted: str) -> None:
    assert names.quote_gridmap(dn) == quoted
    assert names.unquote_gridmap(quoted) == dn


@pytest.mark.parametrize(
    ("field", "dn"),
    [
        ("/CN=Alice", "/CN=Alice"),
        (r"/CN=a\ b", "/CN=a b"),
        (r'"a\"b"', 'a"b'),
        (r'"a\\"', "a\\"),
        (r"\x41\xzz", "Axzz"),
        ("\u00eb", r"\xC3\xAB"),
        (r"\x0a\xff", r"\x0A\xFF"),
        ('""', ""),
    ],
)
def test_unquotes_as_gct(field: str, dn: str) -> None:
    assert names.unquote_gridmap(field) == dn


@pytest.mark.parametrize("field", ['"a', '"a"b', 'a"b', "a b", "a\\", '"a\\', "\ud800", '"a\\"'])
def test_refuses_misquoted_fields(field: str) -> None:
    with pytest.raises(ParseError):
        names.unquote_gridmap(field)
