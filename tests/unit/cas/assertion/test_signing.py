"""Signing keys: their names and signatures beside joserfc's, and the certificates that they take."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from cas.assertion.signing import SigningKey
from cas.assertion.token import sign_claims
from gsi.ca.signer import Digest, KeySigner
from gsi.certificate import Certificate
from gsi.errors import ConfigError, CredentialError, CredentialProblem, IssuanceError
from gsi.tokens.keys import parse_key_set
from tests.harness.ca import KeyKind, TestCA, pooled_key
from tests.harness.capabilities import signing_key, token_key

_IMPORTERS = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
def test_joserfc_agrees(kind: KeyKind) -> None:
    """On the name, the public half and the signature."""
    key = token_key(pooled_key(kind))
    public = dict(key.jwk())
    theirs = _IMPORTERS[public["kty"]].import_key({**public})  # type: ignore[attr-defined]  # one of three classes
    assert theirs.thumbprint() == key.kid
    text = sign_claims(key, {"sub": "alice"}, kind="JWT")
    if kind != "ed25519":  # for which joserfc warns of the name that most verifiers know
        found = jws.deserialize_compact(text, theirs, algorithms=[key.algorithm])
        assert json.loads(found.payload or b"") == {"sub": "alice"}
        assert found.protected == {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}
    ours = parse_key_set(json.dumps({"keys": [public]}).encode())
    assert list(ours.keys) == [key.kid]
    assert ours.keys[key.kid].thumbprint == key.kid


def test_digest_follows_the_signer() -> None:
    key = SigningKey(KeySigner(pooled_key("rsa2048"), digest=Digest.SHA512))
    assert (key.algorithm, key.xml_algorithm) == ("RS512", ("rsa-sha512", "sha512"))
    with pytest.raises(ConfigError, match="10045"):
        SigningKey(KeySigner(pooled_key("p256"), digest=Digest.SHA512))
    with pytest.raises(ConfigError, match="Ed25519"):
        _ = token_key(pooled_key("ed25519")).xml_algorithm


def test_certificates() -> None:
    ca = TestCA(key="p256")
    sub = ca.intermediate("/O=Grid/CN=Sub", "p256")
    issued = sub.issue("/O=Grid/CN=cas", "p256")
    root = Certificate.parse(ca.der)
    chain = tuple(Certificate.parse(one) for one in issued.chain_der)
    key = SigningKey(KeySigner(issued.key), (*chain, root))
    assert key.certificates == chain  # nobody believes a root that is sent
    now = datetime.now(UTC)
    assert key.signer_certificate(now=now) == chain[0]
    assert key.not_after() == chain[0].not_after
    for moment in (chain[0].not_after, chain[0].not_before - timedelta(seconds=1)):
        with pytest.raises(IssuanceError, match="not valid now"):
            key.signer_certificate(now=moment)


def test_certificates_that_are_no_use() -> None:
    ca = TestCA(key="p256")
    issued = ca.issue("/O=Grid/CN=cas", "p256")
    proxy = issued.proxy(key="p256")
    mute = ca.issue("/O=Grid/CN=cas", "p256", key_usage=("key_agreement",))
    for key, certificate, problem in (
        (pooled_key("p256"), issued.der, CredentialProblem.KEY_MISMATCH),
        (proxy.key, proxy.der, CredentialProblem.CANNOT_SIGN),
        (ca.key, ca.der, CredentialProblem.CANNOT_SIGN),
        (mute.key, mute.der, CredentialProblem.CANNOT_SIGN),
    ):
        with pytest.raises(CredentialError) as caught:
            SigningKey(KeySigner(key), (Certificate.parse(certificate),))
        assert caught.value.problem is problem
    bare = token_key(issued.key)
    with pytest.raises(ConfigError, match="no certificate"):
        bare.signer_certificate(now=datetime.now(UTC))
    with pytest.raises(ConfigError):
        bare.not_after()
    assert "SigningKey" in repr(bare)
    assert signing_key(issued).kid == bare.kid
