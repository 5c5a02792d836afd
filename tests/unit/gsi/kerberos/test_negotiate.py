"""Negotiate: bindings of TLS connections, and tokens that are none; real tickets are in the interop tests."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsi.errors import AuthenticationError, ConfigError, ParseError
from gsi.kerberos import negotiate
from gsi.kerberos.negotiate import MAX_TOKEN_BYTES, Negotiator, server_end_point
from tests.harness.ca import Digest, TestCA
from tests.harness.kdc import write_keytab

PREFIX = b"tls-server-end-point:"


@pytest.mark.parametrize(
    ("digest", "expected"),
    [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512")],
)
def test_the_digest_is_that_of_the_signature(digest: Digest, expected: str) -> None:
    """RFC 5929 section 4.1."""
    leaf = TestCA("/O=Grid/CN=CA", key="p256").issue("/O=Grid/CN=web", "p256", digest=digest).der
    assert server_end_point(leaf) == PREFIX + hashlib.new(expected, leaf).digest()


@pytest.mark.parametrize("algorithm", [4, 5], ids=["md5", "sha1"])
def test_old_digests_count_as_sha256(algorithm: int) -> None:
    """RFC 5929 section 4.1; libraries that sign no more with these still meet old certificates."""
    leaf = TestCA("/O=Grid/CN=CA", key="rsa2048").issue("/O=Grid/CN=web", "p256", digest=hashes.SHA256()).der
    rsa_encryption = bytes.fromhex("06092a864886f70d0101")
    old = leaf.replace(rsa_encryption + b"\x0b", rsa_encryption + bytes([algorithm]))
    assert old.count(rsa_encryption + bytes([algorithm])) == 2
    assert server_end_point(old) == PREFIX + hashlib.sha256(old).digest()


class _Attribute(NamedTuple):
    values: list[bytes]
    authenticated: bool


def _library(target: bytes = b"HTTP/localhost@X.TEST", *, authenticated: bool = True) -> Any:
    """A GSS-API library with one context, of which it tells this."""
    import gssapi

    shown = SimpleNamespace(name=target)
    numbers = {
        "1.2.840.113554.1.2.2.5.12": struct.pack("=I", 1_900_000_000),
        "1.2.840.113554.1.2.2.5.1": struct.pack("=I", 0),
    }
    raw = SimpleNamespace(
        inquire_context=lambda *_, **__: SimpleNamespace(initiator_name="client", target_name="server"),
        display_name=lambda name: shown if name == "server" else SimpleNamespace(name=b"alice@X.TEST"),
        inquire_sec_context_by_oid=lambda _context, oid: [numbers[oid.dotted_form]],
        get_name_attribute=lambda *_: _Attribute([b"otp"], authenticated),
    )
    return SimpleNamespace(raw=raw, OID=gssapi.OID, exceptions=gssapi.exceptions)


@pytest.mark.parametrize("authenticated", [True, False])
def test_indicators_are_the_kdcs(authenticated: bool) -> None:
    """What the client has put into the ticket itself says nothing about how it got it."""
    found = negotiate._read_ticket(_library(authenticated=authenticated), object(), "HTTP", 1_900_003_600)
    assert found.client.text == "alice@X.TEST"
    assert found.indicators == (("otp",) if authenticated else ())


@pytest.mark.parametrize("target", [b"host/localhost@X.TEST", b"HTTP@X.TEST", b"HTTP/localhost/x@X.TEST"])
def test_tickets_for_other_services(target: bytes) -> None:
    """The keytab may hold their keys, and the library takes any of them."""
    with pytest.raises(AuthenticationError, match="a ticket for"):
        negotiate._read_ticket(_library(target), object(), "HTTP", 1_900_003_600)


def test_words_of_the_library_end_where_they_end() -> None:
    assert negotiate._describe(OSError("no such\n key\0")) == "no such key"


def test_signatures_without_a_digest() -> None:
    assert server_end_point(TestCA("/O=Grid/CN=CA", key="ed25519").issue("/O=Grid/CN=web", "p256").der) is None


def test_what_is_no_certificate() -> None:
    with pytest.raises(ParseError):
        server_end_point(b"nothing")


def test_keytabs_without_the_key(tmp_path: Path) -> None:
    for place in (tmp_path / "none", write_keytab(tmp_path / "garbage")):
        if place.exists():
            place.write_bytes(b"garbage")
        with pytest.raises(ConfigError, match=r"no key of HTTP/\*") as caught:
            Negotiator(keytab=str(place))
        assert caught.value.hint is not None
    with pytest.raises(ConfigError, match="no key of HTTP/www"):
        Negotiator(keytab=str(write_keytab(tmp_path / "keytab")), hostname="www.example.org")
    Negotiator(keytab=str(write_keytab(tmp_path / "keytab")))
    Negotiator(keytab=str(write_keytab(tmp_path / "keytab")), hostname="localhost")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    token=st.binary(max_size=200)
    | st.binary(max_size=60).map(lambda rest: bytes.fromhex("604006062b0601050502a0363034a00e300c060a") + rest)
    | st.binary(max_size=60).map(lambda rest: bytes.fromhex("604006092a864886f71201020201006e36") + rest)
)
def test_whatever_comes_only_our_errors_come_out(tmp_path: Path, token: bytes) -> None:
    negotiator = Negotiator(keytab=str(write_keytab(tmp_path / "keytab")))
    with pytest.raises(AuthenticationError):
        negotiator.accept(token, binding=b"x")


def test_tokens_that_are_too_long(tmp_path: Path) -> None:
    negotiator = Negotiator(keytab=str(write_keytab(tmp_path / "keytab")))
    with pytest.raises(AuthenticationError, match="limit"):
        negotiator.accept(b"\x60" * (MAX_TOKEN_BYTES + 1))
