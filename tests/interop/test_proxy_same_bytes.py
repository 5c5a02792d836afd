"""Given the same keys and the same second, our proxy file is the C program's, byte for byte.

RSA PKCS#1 v1.5 signatures have no randomness, so signing again what `grid-proxy-init` signed must give its very file.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from gsi.credential import parse_credential
from gsi.lifetime import BACKDATE
from gsi.proxy.chain import ProxyChain
from gsi.proxy.issue import ProxyOptions, make_proxy
from tests.harness.ca import CLIENT_AUTH, TestCA, named_bits
from tests.harness.environment import UserEnvironment

if TYPE_CHECKING:
    from pathlib import Path

USAGES = ("digital_signature", "content_commitment", "key_agreement", "key_cert_sign", "decipher_only")


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> UserEnvironment:
    """A user whose certificate has all that a proxy inherits, and more that it must not."""
    user = UserEnvironment(tmp_path_factory.mktemp("rich"))
    ca = TestCA()
    user.trust(ca)
    extensions = [(x509.ExtendedKeyUsage([CLIENT_AUTH]), True), (named_bits(*USAGES), False)]
    user.install_user(ca.issue("/O=Grid/OU=Test/CN=Alice", key_usage=None, san=["email:a@b.c"], extensions=extensions))
    return user


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> UserEnvironment:
    """A user whose certificate has no extensions at all."""
    user = UserEnvironment(tmp_path_factory.mktemp("bare"))
    ca = TestCA()
    user.trust(ca)
    user.install_user(ca.issue("/O=Grid/OU=Test/CN=Bob", ca=None, key_usage=None))
    return user


@pytest.mark.parametrize("owner", ["rich", "bare"])
@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "-limited",
        "-independent",
        "-path-length 2",
        "-policy POLICY -pl 1.2.3.4",
        "-draft",
        "-draft -limited",
        "-draft -independent",
        "-draft -path-length 2",
        "-draft -policy POLICY -pl 1.2.3.4",
        "-old",
        "-old -limited",
        "-valid 1:30",
    ],
)
def test_same_bytes(request: pytest.FixtureRequest, tmp_path: Path, owner: str, arguments: str) -> None:
    user: UserEnvironment = request.getfixturevalue(owner)
    policy = tmp_path / "policy"
    policy.write_bytes(b"read only please")
    path = tmp_path / "proxy"
    words = [str(policy) if word == "POLICY" else word for word in arguments.split()]
    user.theirs("grid-proxy-init", "-q", *words, "-out", path).check()

    recorded = path.read_bytes()
    theirs = parse_credential(recorded, passphrase=None, source="proxy")
    signer = parse_credential(
        user.cert_path.read_bytes(), passphrase=None, key_pem=user.key_path.read_bytes(), source="user"
    )
    (found,) = ProxyChain.split(theirs.certificates).classifications
    info = found.info
    options = ProxyOptions(
        kind=found.kind,
        format=found.format,
        lifetime=timedelta(minutes=90) if "-valid" in words else None,
        path_length=None if info is None else info.path_length,
        language=None if info is None else info.language,
        policy=None if info is None else info.policy,
        allow_legacy=True,
    )
    made_at = theirs.certificate.not_before + BACKDATE
    ours = make_proxy(signer, options, now=made_at, key=theirs.key)
    assert ours.certificate.der.hex() == theirs.certificate.der.hex()
    assert ours.encode() == recorded
