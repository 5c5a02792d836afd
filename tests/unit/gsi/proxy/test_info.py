"""ProxyCertInfo against the bytes that grid-proxy-init 7.3 writes, and against what must not be read."""

from __future__ import annotations

import pickle

import pytest

from gsi import oids
from gsi.errors import ConfigError, ParseError
from gsi.proxy.info import INHERIT_ALL, MAX_PATH_LENGTH, ProxyCertInfo
from gsi.proxy.legacy import encode_gt3, last_names, parse_gt3

# Content of extnValue as dumped from proxies made by the C tool.
RFC = {
    "full": ("300C300A06082B06010505071501", ProxyCertInfo(None, oids.INHERIT_ALL)),
    "independent": ("300C300A06082B06010505071502", ProxyCertInfo(None, oids.INDEPENDENT)),
    "limited": ("300F300D060B2B060104019B5001010109", ProxyCertInfo(None, oids.LIMITED)),
    "full, path length 2": ("300F020102300A06082B06010505071501", ProxyCertInfo(2, oids.INHERIT_ALL)),
    "restricted": ("300E300C06032A0304040568656C6C6F", ProxyCertInfo(None, "1.2.3.4", b"hello")),
}
DRAFT = {
    "full": ("300C300A06082B06010505071501", ProxyCertInfo(None, oids.INHERIT_ALL)),
    "full, path length 2": ("3011300A06082B06010505071501A103020102", ProxyCertInfo(2, oids.INHERIT_ALL)),
    "limited": ("300F300D060B2B060104019B5001010109", ProxyCertInfo(None, oids.LIMITED)),
}


@pytest.mark.parametrize(("text", "info"), RFC.values(), ids=RFC.keys())
def test_rfc_bytes_are_those_of_the_c_tool(text: str, info: ProxyCertInfo) -> None:
    assert info.encode().hex().upper() == text
    assert ProxyCertInfo.parse(bytes.fromhex(text)) == info


@pytest.mark.parametrize(("text", "info"), DRAFT.values(), ids=DRAFT.keys())
def test_draft_bytes_are_those_of_the_c_tool(text: str, info: ProxyCertInfo) -> None:
    assert encode_gt3(info).hex().upper() == text
    assert parse_gt3(bytes.fromhex(text)) == info


@pytest.mark.parametrize(
    "policy", [b"a,b", b"\x00", b"x\x00y", b"line\n", b"line\r\n", b"tail ", b"", b"\x00" + b"z" * 20000]
)
@pytest.mark.parametrize("path_length", [None, 0, 1, 127, 128, MAX_PATH_LENGTH])
def test_policy_and_length_survive_whatever_they_hold(policy: bytes, path_length: int | None) -> None:
    info = ProxyCertInfo(path_length, "1.2.3.4", policy)
    assert ProxyCertInfo.parse(info.encode()) == info
    assert parse_gt3(encode_gt3(info)) == info


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing"),
        ("300C300A06082B0601050507150100", "trailing byte outside"),
        ("300E300A06082B060105050715010500", "trailing value inside"),
        ("300F0201FF300A06082B06010505071501", "negative path length"),
        ("30110203800000300A06082B06010505071501", "large negative path length"),
        ("301302050080000000300A06082B06010505071501", "path length above the range"),
        ("301002020002300A06082B06010505071501", "path length not minimal"),
        ("30810C300A06082B06010505071501", "long-form length"),
        ("3080300A06082B060105050715010000", "indefinite length"),
        ("3003020100", "no policy"),
        ("30023000", "no language"),
        ("300E300C06032A0304240404020000", "constructed OCTET STRING"),
        ("300C300A06082B0601050507958100", "identifier arc cut off"),
        ("3010300E06032A0304040568656C6C6F0500", "value after the policy"),
        ("300C020102020102300606042A030405", "two lengths"),
        ("3006300406022A80", "identifier ends in the middle"),
    ],
)
def test_what_is_not_der_or_not_in_range_is_refused(text: str, why: str) -> None:
    with pytest.raises(ParseError):
        ProxyCertInfo.parse(bytes.fromhex(text))


@pytest.mark.parametrize(
    "text",
    [
        "300F020102300A06082B06010505071501",  # the RFC order
        "3011300A06082B06010505071501A1030201FF",  # negative
        "3014300A06082B06010505071501A106020102020102",  # two integers under the tag
        "3011300A06082B06010505071501A103020102" + "00",
    ],
)
def test_draft_refuses(text: str) -> None:
    with pytest.raises(ParseError):
        parse_gt3(bytes.fromhex(text))


def test_an_identifier_arc_beyond_all_use_is_a_parse_error() -> None:
    arc = b"\xff" * 40 + b"\x7f"
    policy = b"\x06" + bytes([len(arc) + 1]) + b"\x2a" + arc
    inner = b"\x30" + bytes([len(policy)]) + policy
    with pytest.raises(ParseError):
        ProxyCertInfo.parse(b"\x30" + bytes([len(inner)]) + inner)


@pytest.mark.parametrize("path_length", [-1, MAX_PATH_LENGTH + 1])
def test_constructor_refuses_a_path_length_out_of_range(path_length: int) -> None:
    with pytest.raises(ConfigError, match="path length"):
        ProxyCertInfo(path_length, oids.INHERIT_ALL)


@pytest.mark.parametrize("language", ["", "1", "limited", "1.2.x", "3.1.1", "1.2." + "9" * 50])
def test_constructor_refuses_a_language_that_is_no_identifier(language: str) -> None:
    with pytest.raises(ConfigError, match="policy language"):
        ProxyCertInfo(None, language)


def test_forbidden_policy_is_read_and_named() -> None:
    info = ProxyCertInfo.parse(bytes.fromhex("300F300D06082B06010505071501040178"))
    assert info.policy == b"x"
    assert info.has_forbidden_policy
    assert ProxyCertInfo(None, oids.INDEPENDENT, b"").has_forbidden_policy
    assert not INHERIT_ALL.has_forbidden_policy
    assert not ProxyCertInfo(None, "1.2.3", b"x").has_forbidden_policy


def test_value_semantics() -> None:
    info = ProxyCertInfo(1, "1.2.3", b"secret-policy")
    assert info == ProxyCertInfo(1, "1.2.3", b"secret-policy")
    assert hash(info) == hash(ProxyCertInfo(1, "1.2.3", b"secret-policy"))
    assert info != ProxyCertInfo(1, "1.2.3", None)
    assert ProxyCertInfo(None, "1.2.3", b"") != ProxyCertInfo(None, "1.2.3", None)
    assert pickle.loads(pickle.dumps(info)) == info
    assert info.replace_path_length(None).path_length is None
    with pytest.raises(AttributeError):
        info.path_length = 2
    with pytest.raises(AttributeError):
        del info.policy


def _name(*rdns: tuple[tuple[int, str], ...]) -> bytes:
    from gsi import der

    def encode(tag: int, text: str) -> bytes:
        codec = {der.BMP_STRING: "utf-16-be", der.UNIVERSAL_STRING: "utf-32-be"}.get(tag, "utf-8")
        return der.encode_sequence(der.encode_oid(oids.COMMON_NAME), der.encode_tlv(tag, text.encode(codec)))

    return der.encode_sequence(*(der.encode_set(*(encode(t, v) for t, v in rdn)) for rdn in rdns))


def test_last_names_sees_every_value_of_the_last_rdn_in_every_string_type() -> None:
    assert last_names(_name()) == ()
    assert last_names(_name(((0x0C, "proxy"),), ((0x13, "Alice"),))) == (b"Alice",)
    assert last_names(_name(((0x1E, "proxy"),))) == (b"proxy",)
    assert last_names(_name(((0x1C, "proxy"),))) == (b"proxy",)
    assert set(last_names(_name(((0x0C, "proxy"), (0x0C, "zz"))))) == {b"proxy", b"zz"}


@pytest.mark.parametrize("text", ["", "30", "3002310100", "30033101" + "00", "0500"])
def test_last_names_refuses_what_is_no_name(text: str) -> None:
    with pytest.raises(ParseError):
        last_names(bytes.fromhex(text))
