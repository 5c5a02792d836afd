"""Assertions found in proxies."""

from __future__ import annotations

from gsi.certificate import Certificate
from gsi.saml.carriers import encode_extension_value, find_assertions
from tests.harness.ca import TestCA, raw_extension, tlv
from tests.harness.saml import assertion_extension


def test_found_from_the_leaf_upwards() -> None:
    alice = TestCA().issue("/O=Grid/CN=Alice", "p256")
    upper = alice.proxy(key="p256", extensions=[assertion_extension(b"<old/>")])
    lower = upper.proxy(
        key="p256",
        extensions=[
            assertion_extension(b"<raw/>", oid="1.3.6.1.4.1.3536.1.1.1.10", raw=True),
            assertion_extension(b"<gt3/>", oid="1.3.6.1.4.1.3536.1.1.1.9", raw=True),
        ],
    )
    chain = [Certificate.parse(one) for one in lower.proxy(key="p256").chain_der]
    assert [one[:2] for one in find_assertions(chain)] == [(1, b"<raw/>"), (2, b"<old/>")]
    assert [one[:2] for one in find_assertions(chain, accept_gt3=True)] == [
        (1, b"<raw/>"),
        (1, b"<gt3/>"),
        (2, b"<old/>"),
    ]


def test_what_is_no_text_is_found_as_malformed() -> None:
    alice = TestCA().issue("/O=Grid/CN=Alice", "p256")
    for value in (b"<raw/>", tlv(0x0C, b"x") + b"\0", tlv(0x04, b"x")):
        proxy = alice.proxy(key="p256", extensions=[raw_extension("1.3.6.1.4.1.3536.1.1.1.12", value)])
        (found,) = find_assertions([Certificate.parse(proxy.der)])
        assert found.error is not None
        assert found.data == b""


def test_a_ca_that_carries_one_carries_none() -> None:
    ca = TestCA(key="p256", extensions=[assertion_extension(b"<x/>")])
    assert find_assertions([Certificate.parse(ca.der)]) == ()


def test_written() -> None:
    assert encode_extension_value("<ü/>") == tlv(0x0C, "<ü/>".encode())
