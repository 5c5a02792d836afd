"""Our proxies in the handshake of Python's own `ssl`: OpenSSL's path validation on the server's side, in memory."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from tests.harness.ca import Issued, TestCA
from tests.interop.ours import FULL, INDEPENDENT, KINDS, LIMITED, proxy_of, write

if TYPE_CHECKING:
    from pathlib import Path

    from gsi.credential import Credential

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
each_version = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", "p256")


def _handshake(
    directory: Path, ca: TestCA, proxy: Credential | Issued, version: ssl.TLSVersion, *, allow: bool = True
) -> bytes:
    """Shake hands as a client with this proxy and send a word; return the leaf that the server saw.

    Raises:
        ssl.SSLError: The server refused.
    """
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.verify_mode = ssl.CERT_REQUIRED
    server_context.load_verify_locations(cadata=ca.pem.decode())
    if allow:
        server_context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
    host = ca.issue_host(key="p256")
    host.write(directory / "host.pem", directory / "hostkey.pem")
    server_context.load_cert_chain(directory / "host.pem", directory / "hostkey.pem")
    server_context.minimum_version = server_context.maximum_version = version

    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.load_verify_locations(cadata=ca.pem.decode())
    if isinstance(proxy, Issued):
        proxy.write_bundle(directory / "proxy.pem")
    else:
        write(directory / "proxy.pem", proxy)
    client_context.load_cert_chain(directory / "proxy.pem")

    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up, server_hostname="localhost")
    server = server_context.wrap_bio(up, down, server_side=True)
    waiting = [client.do_handshake, server.do_handshake]
    for _ in range(10):
        for step in list(waiting):
            try:
                step()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(step)
        if not waiting:
            break
    client.write(b"word")
    assert server.read(10) == b"word"
    leaf = server.getpeercert(binary_form=True)
    assert leaf is not None
    return leaf


@each_version
@pytest.mark.parametrize("key", ["rsa", "p256", "p384", "ed25519"])
@pytest.mark.parametrize("kind", KINDS)
def test_accepted(tmp_path: Path, ca: TestCA, alice: Issued, kind: str, key: str, version: ssl.TLSVersion) -> None:
    proxy = proxy_of(alice, KINDS[kind], key)
    assert _handshake(tmp_path, ca, proxy, version) == proxy.certificate.der


@each_version
def test_accepted_two_levels(tmp_path: Path, ca: TestCA, alice: Issued, version: ssl.TLSVersion) -> None:
    for above in (FULL, LIMITED, INDEPENDENT):
        first = proxy_of(alice, above._replace(path_length=1), "p256")
        proxy = proxy_of(first, FULL._replace(kind=None), "p256")
        assert _handshake(tmp_path, ca, proxy, version) == proxy.certificate.der


@each_version
def test_needs_the_flag(tmp_path: Path, ca: TestCA, alice: Issued, version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="proxy certificates not allowed"):
        _handshake(tmp_path, ca, proxy_of(alice, FULL, "p256"), version, allow=False)


@each_version
def test_path_length_of_ours_binds(tmp_path: Path, ca: TestCA, alice: Issued, version: ssl.TLSVersion) -> None:
    """Our own code would not sign a second proxy below path length 0, so the second is made by hand."""
    from cryptography import x509

    first = proxy_of(alice, FULL._replace(path_length=0), "p256")
    as_issuer = Issued(
        x509.load_der_x509_certificate(first.certificate.der), first.key, (alice.certificate, *alice.chain)
    )
    with pytest.raises(ssl.SSLCertVerificationError, match="proxy path length constraint exceeded"):
        _handshake(tmp_path, ca, as_issuer.proxy(key="p256"), version)
