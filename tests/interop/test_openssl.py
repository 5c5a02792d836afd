"""What the `openssl` program says of our proxies, keys and delegation requests.

It knows RFC 3820's form, names and path length; limited and restricted mean nothing to it, so here it accepts what our
own validator refuses. That is why acceptance by TLS alone is never enough.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from gsi.proxy.issue import ProxyOptions
from gsi.proxy.kinds import ProxyKind
from tests.harness.ca import KeyKind, TestCA
from tests.harness.run import Done, c_program, run
from tests.interop.ours import FULL, KINDS, LIMITED, credential_of, proxy_of, write

if TYPE_CHECKING:
    from pathlib import Path

    from gsi.credential import Credential

ALL_KEYS: tuple[KeyKind, ...] = ("rsa2048", "p256", "p384", "ed25519")
PROXY_KEYS = ("rsa", "p256", "p384", "ed25519")


def _openssl(*words: str | Path, stdin: bytes = b"") -> Done:
    return run([c_program("openssl"), *words], env={"PATH": "/usr/bin:/bin"}, stdin=stdin)


def _verify(tmp_path: Path, ca: TestCA, proxy: Credential, *, allow: bool = True) -> Done:
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    (tmp_path / "chain.pem").write_bytes(b"".join(c.pem() for c in proxy.certificates[1:]))
    (tmp_path / "leaf.pem").write_bytes(proxy.certificate.pem())
    words: list[str | Path] = ["verify", "-purpose", "sslclient", "-CAfile", tmp_path / "ca.pem"]
    words += ["-untrusted", tmp_path / "chain.pem"]
    if allow:
        words.append("-allow_proxy_certs")
    return _openssl(*words, tmp_path / "leaf.pem")


@pytest.fixture(scope="module")
def cas() -> dict[KeyKind, TestCA]:
    return {kind: TestCA(f"/O=Grid/CN=CA {kind}", kind) for kind in ALL_KEYS}


@pytest.mark.parametrize("ca", ALL_KEYS)
@pytest.mark.parametrize("eec", ALL_KEYS)
def test_verify_every_key(tmp_path: Path, cas: dict[KeyKind, TestCA], ca: KeyKind, eec: KeyKind) -> None:
    """All sixteen pairs of authority and user, below each a proxy with every kind of key in turn."""
    alice = cas[ca].issue("/O=Grid/CN=Alice", eec)
    for key in PROXY_KEYS:
        _verify_strictly(tmp_path, cas[ca], proxy_of(alice, FULL, key))


def _verify_strictly(tmp_path: Path, ca: TestCA, proxy: Credential) -> None:
    assert _verify(tmp_path, ca, proxy).check().stdout.strip().endswith("OK")
    assert _verify(tmp_path, ca, proxy, allow=False).returncode != 0


@pytest.mark.parametrize("kind", KINDS)
def test_verify_every_kind(tmp_path: Path, cas: dict[KeyKind, TestCA], kind: str) -> None:
    alice = cas["rsa2048"].issue("/O=Grid/CN=Alice")
    proxy = proxy_of(alice, KINDS[kind], "p256")
    _verify_strictly(tmp_path, cas["rsa2048"], proxy)
    below = proxy_of(proxy, ProxyOptions(), "p256") if kind != "restricted" else proxy
    _verify_strictly(tmp_path, cas["rsa2048"], below)


def test_verify_through_intermediates(tmp_path: Path, cas: dict[KeyKind, TestCA]) -> None:
    alice = cas["p256"].intermediate("/O=Grid/CN=Sub", "p384").issue("/O=Grid/CN=Alice", "p256")
    proxy = proxy_of(proxy_of(alice, FULL, "p256"), LIMITED, "p256")
    assert len(proxy.certificates) == 4
    _verify_strictly(tmp_path, cas["p256"], proxy)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 65536])
@pytest.mark.parametrize(
    ("kind", "language"),
    [
        (ProxyKind.FULL, "Inherit all"),
        (ProxyKind.INDEPENDENT, "Independent"),
        (ProxyKind.LIMITED, "1.3.6.1.4.1.3536.1.1.1.9"),
    ],
)
def test_text(cas: dict[KeyKind, TestCA], kind: ProxyKind, language: str, length: int) -> None:
    """Its own decoder of ProxyCertInfo reads back what was asked for."""
    proxy = proxy_of(cas["p256"].issue("/O=Grid/CN=A", "p256"), ProxyOptions(kind=kind, path_length=length), "p256")
    text = _openssl("x509", "-noout", "-ext", "proxyCertInfo,keyUsage", stdin=proxy.certificate.pem()).check().stdout
    lines = [line.strip() for line in text.splitlines()]
    assert "Proxy Certificate Information: critical" in lines
    assert f"Policy Language: {language}" in lines
    (shown,) = [line.partition(": ")[2] for line in lines if line.startswith("Path Length Constraint")]
    assert int(shown, 16) == length
    assert "Digital Signature" in lines[lines.index("X509v3 Key Usage: critical") + 1]


@pytest.mark.parametrize("key", PROXY_KEYS)
@pytest.mark.parametrize("traditional", [False, True])
def test_key(cas: dict[KeyKind, TestCA], key: str, traditional: bool) -> None:
    if traditional and key == "ed25519":
        pytest.skip("Ed25519 has no traditional form")
    proxy = proxy_of(cas["p256"].issue("/O=Grid/CN=A", "p256"), FULL, key)
    pem = proxy.encode(traditional=traditional)
    assert "Key is valid" in _openssl("pkey", "-noout", "-check", stdin=pem).check().output
    public = _openssl("pkey", "-pubout", stdin=pem).check().stdout
    assert public == _openssl("x509", "-noout", "-pubkey", stdin=pem).check().stdout


def test_file_layout(tmp_path: Path, cas: dict[KeyKind, TestCA]) -> None:
    """As openssl lists it: the proxy, its key, the signers."""
    proxy = proxy_of(proxy_of(cas["p256"].issue("/O=Grid/CN=A", "p256"), FULL, "p256"), FULL, "p256")
    path = write(tmp_path / "proxy.pem", proxy)
    listed = _openssl("storeutl", "-noout", path).check().stdout
    found = [line.split(": ", 1)[1] for line in listed.splitlines() if line[:1].isdigit()]
    assert found == ["Certificate", "Pkey", "Certificate", "Certificate"]


@pytest.mark.parametrize("key", PROXY_KEYS)
def test_delegation_request(key: str) -> None:
    from gsi.delegation import DelegationRequester
    from gsi.keys import KeyType, generate_key

    requester = DelegationRequester(generate_key(KeyType(key)))
    done = _openssl("req", "-inform", "DER", "-noout", "-verify", "-subject", stdin=requester.request_der).check()
    assert "verify OK" in done.output
    assert "NULL SUBJECT NAME ENTRY" in done.output


def test_keys_and_containers_that_openssl_writes(tmp_path: Path, cas: dict[KeyKind, TestCA]) -> None:
    """The other way round: encrypted keys and PKCS#12 made by the program, read by ours."""
    from gsi.credential import parse_credential, parse_pkcs12
    from gsi.secret import Passphrase

    alice = cas["rsa2048"].issue("/O=Grid/CN=Alice")
    expected = credential_of(alice)
    (tmp_path / "bundle.pem").write_bytes(alice.bundle())
    secret = Passphrase("open sesame")
    for words in (
        ["pkcs8", "-topk8", "-v2", "aes-256-cbc"],
        ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"],
        ["pkcs8", "-topk8", "-scrypt"],
        ["pkcs8", "-topk8", "-v2", "des3"],
        ["rsa", "-traditional", "-aes128"],
        ["rsa", "-traditional", "-des3"],
    ):
        key = subprocess.run(
            ["openssl", *words, "-passout", "pass:open sesame"],
            input=alice.key_pem(),
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        assert b"ENCRYPTED" in key
        read = parse_credential(alice.pem, passphrase=secret, key_pem=key, source="test")
        assert read.certificate == expected.certificate, words
    for words in ([], ["-legacy"], ["-keypbe", "AES-256-CBC", "-certpbe", "NONE"], ["-descert", "-legacy"]):
        done = _openssl(
            "pkcs12", "-export", "-in", tmp_path / "bundle.pem", "-out", tmp_path / "x.p12", *words,
            "-passout", "pass:open sesame",
        )  # fmt: skip
        done.check()
        assert parse_pkcs12((tmp_path / "x.p12").read_bytes(), secret).certificate == expected.certificate, words
