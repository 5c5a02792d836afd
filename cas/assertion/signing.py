"""A community's key for signing: a `Signer` with its certificates, its name and the words for its algorithm.

    key = SigningKey(load_signer("/etc/cas/key.pem"), certificates)
    key.kid, key.algorithm, key.jwk()
    key.sign_jws(data)                          # RFC 7515 and XML signatures; `key.signer.sign` for certificates

The key is loaded once and stays where it is: a file's in memory, a token's in the token. Its name is its RFC 7638
thumbprint, so that no name can stand for two keys. When it may be used is `keys`' matter.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gsi import der, keys
from gsi.errors import ConfigError, CredentialError, CredentialProblem, IssuanceError, IssuanceStep
from gsi.extensions import DIGITAL_SIGNATURE
from gsi.proxy.chain import key_usage_bits
from gsi.proxy.kinds import Role, classify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from gsi.ca.signer import Signer
    from gsi.certificate import Certificate

__all__ = ["SigningKey", "b64url", "key_thumbprint"]


class _Scheme(NamedTuple):
    """The words for one algorithm.

    Attributes:
        jws: RFC 7518 section 3.1, RFC 8037.
        xml: The end of its XML signature URI (RFC 9231); empty where there is none that verifiers know.
        digest: That of the digest beside it.
    """

    jws: str
    xml: str
    digest: str


_RSA: Final = {
    "1.2.840.113549.1.1.11": _Scheme("RS256", "rsa-sha256", "sha256"),
    "1.2.840.113549.1.1.12": _Scheme("RS384", "rsa-sha384", "sha384"),
    "1.2.840.113549.1.1.13": _Scheme("RS512", "rsa-sha512", "sha512"),
}
_ECDSA: Final = {
    ("1.2.840.10045.4.3.2", 256): _Scheme("ES256", "ecdsa-sha256", "sha256"),
    ("1.2.840.10045.4.3.3", 384): _Scheme("ES384", "ecdsa-sha384", "sha384"),
    ("1.2.840.10045.4.3.4", 521): _Scheme("ES512", "ecdsa-sha512", "sha512"),
}
_ED25519: Final = _Scheme("EdDSA", "", "")


def b64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


class SigningKey:
    """A private key that signs what the community says. Safe for several threads.

    Attributes:
        signer: Holds the key.
        certificates: Its certificate and those above it, nearest first; empty for a key that signs tokens only.
        kid: Its name: the base64url of its RFC 7638 thumbprint.
        algorithm: What JWS calls its algorithm.
    """

    __slots__ = ("_half", "_jwk", "_scheme", "certificates", "kid", "signer")

    def __init__(self, signer: Signer, certificates: tuple[Certificate, ...] = ()) -> None:
        """Take the key.

        Args:
            signer: Holds the key.
            certificates: Its own first; a root above it is left out, since nobody believes one that is sent.

        Raises:
            ConfigError: The digest does not go with the kind of key.
            CredentialError: KEY_MISMATCH: the first certificate is another key's; CANNOT_SIGN: it is a proxy's or a
                CA's, or its key usage forbids signatures.
        """
        public = keys.parse_public_key(signer.spki_der)
        if certificates:
            _check_certificate(certificates[0], signer)
        self.signer = signer
        self.certificates = certificates[:1] + tuple(
            one for one in certificates[1:] if one.subject_der != one.issuer_der
        )
        self._scheme = _scheme_of(signer, public)
        self._half = (public.curve.key_size + 7) // 8 if isinstance(public, ec.EllipticCurvePublicKey) else 0
        self._jwk = _members(public)
        self.kid = key_thumbprint(public)

    def __repr__(self) -> str:
        return f"<SigningKey {self.kid}, {self.algorithm}>"

    @property
    def algorithm(self) -> str:
        """What JWS calls its algorithm."""
        return self._scheme.jws

    @property
    def xml_algorithm(self) -> tuple[str, str]:
        """The ends of the URIs of its XML signature and digest, `rsa-sha256` and `sha256`.

        Raises:
            ConfigError: There is none that verifiers know.
        """
        if not self._scheme.xml:
            raise ConfigError("an Ed25519 key signs no assertions", hint="use RSA or a NIST curve")
        return self._scheme.xml, self._scheme.digest

    def jwk(self) -> Mapping[str, str]:
        """Return the public half as a JWK (RFC 7517) with `kid`, `use` and `alg`."""
        return self._jwk | {"kid": self.kid, "use": "sig", "alg": self.algorithm}

    def sign_jws(self, data: bytes) -> bytes:
        """Return the signature as JWS and XML signatures have it: two numbers side by side for ECDSA (RFC 7518 3.4).

        Raises:
            IssuanceError: SIGN: the key could not be used.
        """
        signature = self.signer.sign(data)
        if not self._half:
            return signature
        r, s = decode_dss_signature(signature)
        return r.to_bytes(self._half, "big") + s.to_bytes(self._half, "big")

    def signer_certificate(self, *, now: datetime) -> Certificate:
        """Return the certificate of this key.

        Raises:
            ConfigError: It has none.
            IssuanceError: AUTHORITY: it is not valid now.
        """
        if not self.certificates:
            raise ConfigError(
                "this key has no certificate, so it signs tokens only",
                hint="name the file of its certificate beside the key",
            )
        for one in self.certificates:
            if not one.not_before <= now < one.not_after:
                raise IssuanceError(
                    f"a certificate of the signing key is not valid now: {one.not_before:%Y-%m-%d} to "
                    f"{one.not_after:%Y-%m-%d %H:%M:%S}",
                    step=IssuanceStep.AUTHORITY,
                )
        return self.certificates[0]

    def not_after(self) -> datetime:
        """Return when the first of its certificates ends.

        Raises:
            ConfigError: It has none.
        """
        if not self.certificates:
            raise ConfigError("this key has no certificate")
        return min(one.not_after for one in self.certificates)


def _check_certificate(certificate: Certificate, signer: Signer) -> None:
    if keys.spki_der(keys.parse_public_key(certificate.spki_der)) != signer.spki_der:
        raise CredentialError(
            "the signing key does not belong to its certificate", problem=CredentialProblem.KEY_MISMATCH
        )
    usage = key_usage_bits(certificate)
    if classify(certificate).role is not Role.EEC or (usage is not None and not usage & DIGITAL_SIGNATURE):
        raise CredentialError(
            "the certificate of the signing key is a proxy's or a CA's, or is not for signatures",
            problem=CredentialProblem.CANNOT_SIGN,
            hint="ask the CA for a service certificate with key usage digitalSignature",
        )


def _scheme_of(signer: Signer, public: keys.PublicKey) -> _Scheme:
    oid = der.parse_one(signer.algorithm_der, what="signature algorithm").oid()
    found = None
    if isinstance(public, rsa.RSAPublicKey):
        found = _RSA.get(oid)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        found = _ECDSA.get((oid, public.curve.key_size))
    elif isinstance(public, ed25519.Ed25519PublicKey):
        found = _ED25519
    if found is None:
        raise ConfigError(
            f"no capability can be signed by this key with the algorithm {oid}",
            hint="leave the digest to the key: SHA-256 for RSA and P-256, SHA-384 for P-384, SHA-512 for P-521",
        )
    return found


def key_thumbprint(public: keys.PublicKey) -> str:
    """Return the thumbprint of a key (RFC 7638 section 3)."""
    ordered = json.dumps(_members(public), separators=(",", ":"), sort_keys=True)
    return b64url(hashlib.sha256(ordered.encode("ascii")).digest())


def _members(public: keys.PublicKey) -> dict[str, str]:
    """Return the members of which RFC 7638 section 3.2 makes the thumbprint."""
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    if isinstance(public, ec.EllipticCurvePublicKey):
        point, size = public.public_numbers(), (public.curve.key_size + 7) // 8
        return {
            "kty": "EC",
            "crv": f"P-{public.curve.key_size}",
            "x": _number(point.x, size),
            "y": _number(point.y, size),
        }
    return {"kty": "OKP", "crv": "Ed25519", "x": b64url(public.public_bytes_raw())}


def _number(value: int, size: int | None = None) -> str:
    return b64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))
