"""A signer whose key stays in a PKCS#11 token: a hardware module, a smart card, SoftHSM.

    signer = load_pkcs11_signer(
        "pkcs11:token=GridCA;object=ca-key?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/ca/pin"
    )

The place is a URI (RFC 7512). In the path: `token` (label), `serial` (of the token), `object` (the key's label), `id`
(the key's id, percent-encoded bytes). In the query: `module-path` (the library), `pin-source` (`file:PATH`, `fd:N` or
`env:NAME`). `pin-value` is refused, since a URI stands in configurations and process lists.

RSA (PKCS#1 v1.5) and ECDSA on the NIST curves. The digest is computed here, so that the token needs only its bare
signing mechanism. A session that the token has dropped is opened again once. Needs the extra `hsm` (python-pkcs11),
which is imported when the first signer is made.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol, cast

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gsi import der, keys
from gsi.ca.pkcs11_token import PKCS11Place, acquire, import_pkcs11, missing, parse_pkcs11_uri, read_pin, release
from gsi.ca.signer import Digest, signature_scheme
from gsi.errors import CredentialError, CredentialProblem, GridError, IssuanceError, IssuanceStep

if TYPE_CHECKING:
    from gsi.credential import PassphraseSource
    from gsi.secret import Passphrase

__all__ = ["PKCS11Signer", "load_pkcs11_signer"]

# DigestInfo up to the digest itself, RFC 8017 section 9.2 note 1.
_DIGEST_INFO: Final = {
    Digest.SHA256: bytes.fromhex("3031300d060960864801650304020105000420"),
    Digest.SHA384: bytes.fromhex("3041300d060960864801650304020205000430"),
    Digest.SHA512: bytes.fromhex("3051300d060960864801650304020305000440"),
}
_RSA: Final = "1.2.840.113549.1.1.1"
_EC: Final = "1.2.840.10045.2.1"


def load_pkcs11_signer(uri: str, *, pin: PassphraseSource = None, digest: Digest | None = None) -> PKCS11Signer:
    """Return the signer for the key that a URI names, logged on to its token.

    Args:
        uri: The place, as the module's docstring says.
        pin: The PIN, or a question for it; `pin-source` in the URI goes first.
        digest: As `gsi.ca.signer.signature_scheme`.

    Raises:
        ConfigError: The URI is malformed, or python-pkcs11 is not installed.
        CredentialError: MISSING (no such token or key, or no library), NEEDS_PASSPHRASE, WRONG_PASSPHRASE, WEAK_KEY,
            UNSUPPORTED_KEY.
        IssuanceError: SIGN: the token does not answer.
    """
    place = parse_pkcs11_uri(uri)
    import_pkcs11()
    if place.pin_source is not None:
        pin = read_pin(place.pin_source)
    elif callable(pin):
        pin = pin()
    if pin is None:
        raise CredentialError(
            "the token needs its PIN", problem=CredentialProblem.NEEDS_PASSPHRASE, hint="name a pin-source in the URI"
        )
    return PKCS11Signer(place, pin, digest=digest)


class _Key(Protocol):
    """What is used of python-pkcs11's keys."""

    def sign(self, data: bytes, *, mechanism: object) -> bytes: ...

    def __getitem__(self, attribute: object) -> object: ...


class PKCS11Signer:
    """A private key in a token. Thread-safe, and usable on both sides of a fork.

    Attributes:
        spki_der: The public key.
        algorithm_der: The AlgorithmIdentifier of its signatures.
    """

    def __init__(self, place: PKCS11Place, pin: Passphrase, *, digest: Digest | None = None) -> None:
        """Log on and find the key; raises as `load_pkcs11_signer`."""
        self._pkcs11 = import_pkcs11()
        self._place = place
        self._key: _Key | None = None
        self._generation = 0
        self._is_open = True
        self._login = acquire(place, pin)
        try:
            with self._login.lock:
                public_key = self._read_public_key()
            self._is_rsa = keys.is_rsa(public_key)
            self.spki_der = keys.spki_der(public_key)
            self.algorithm_der, chosen = signature_scheme(public_key, digest)
        except BaseException:
            self.close()
            raise
        assert chosen is not None  # only Ed25519 has none, and `_read_public_key` refuses it
        self._digest = chosen

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`; raises as `gsi.ca.signer.Signer.sign`."""
        if not self._is_open:
            raise IssuanceError("the CA's key was put away", step=IssuanceStep.SIGN)
        digest = hashlib.new(self._digest.value, data).digest()
        mechanism = self._pkcs11.Mechanism.RSA_PKCS if self._is_rsa else self._pkcs11.Mechanism.ECDSA
        content = _DIGEST_INFO[self._digest] + digest if self._is_rsa else digest
        with self._login.lock:
            signature = self._sign(content, mechanism)
        if self._is_rsa:
            return signature
        half = len(signature) // 2
        return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))

    def probe(self) -> None:
        """Look for the key in the token, which signs nothing; raises as `gsi.ca.signer.Signer.probe`."""
        if not self._is_open:
            raise IssuanceError("the CA's key was put away", step=IssuanceStep.SIGN)
        with self._login.lock:
            try:
                try:
                    self._find(self._pkcs11.ObjectClass.PRIVATE_KEY)
                except (self._pkcs11.exceptions.PKCS11Error, CredentialError):
                    self._login.drop()
                    self._find(self._pkcs11.ObjectClass.PRIVATE_KEY)
            except self._pkcs11.exceptions.PKCS11Error as error:
                self._login.drop()
                raise IssuanceError(
                    f"{self._place.describe_token()} does not answer: {type(error).__name__}", step=IssuanceStep.SIGN
                ) from error
            except GridError as error:
                self._login.drop()
                raise IssuanceError(error.message, step=IssuanceStep.SIGN, hint=error.hint) from error

    def _sign(self, content: bytes, mechanism: object) -> bytes:
        """Sign; open the session anew once if the token has dropped it."""
        try:
            try:
                return bytes(self._private_key().sign(content, mechanism=mechanism))
            except self._pkcs11.exceptions.PKCS11Error:
                self._login.drop()
                return bytes(self._private_key().sign(content, mechanism=mechanism))
        except self._pkcs11.exceptions.PKCS11Error as error:
            self._login.drop()
            raise IssuanceError(
                f"the token did not sign: {type(error).__name__}",
                step=IssuanceStep.SIGN,
                hint="see whether the token is there, and its log",
            ) from error
        except GridError as error:
            self._login.drop()  # a session in which the key is not found is that of a token that was away
            raise IssuanceError(f"the token did not sign: {error.message}", step=IssuanceStep.SIGN) from error

    def close(self) -> None:
        """Log off, if nobody else in this process uses the token."""
        if self._is_open:
            self._is_open = False
            release(self._login)

    def _private_key(self) -> _Key:
        self._login.session()
        if self._key is None or self._generation != self._login.generation:
            self._key = self._find(self._pkcs11.ObjectClass.PRIVATE_KEY)
            self._generation = self._login.generation
        return self._key

    def _find(self, kind: object) -> _Key:
        attribute = self._pkcs11.Attribute
        wanted: dict[object, object] = {attribute.CLASS: kind}
        if self._place.label is not None:
            wanted[attribute.LABEL] = self._place.label
        if self._place.key_id is not None:
            wanted[attribute.ID] = self._place.key_id
        found = list(cast("list[_Key]", self._login.session().get_objects(wanted)))
        if len(found) != 1:
            raise missing(f"{len(found)} keys with {self._place.describe_key()} in {self._place.describe_token()}")
        return found[0]

    def _read_public_key(self) -> keys.PublicKey:
        """Return the public half; open the session anew once if the token has dropped that of an earlier user."""
        try:
            try:
                return self._find_public_key()
            except self._pkcs11.exceptions.PKCS11Error:
                self._login.drop()
                return self._find_public_key()
        except self._pkcs11.exceptions.PKCS11Error as error:
            raise IssuanceError(
                f"the token does not tell the public key: {type(error).__name__}", step=IssuanceStep.SIGN
            ) from error

    def _find_public_key(self) -> keys.PublicKey:
        """Read RSA's out of the private object, that of an EC key out of the public object beside it."""
        attribute, kinds = self._pkcs11.Attribute, self._pkcs11.KeyType
        private = self._private_key()
        kind = private[attribute.KEY_TYPE]
        if kind == kinds.RSA:
            modulus = int.from_bytes(cast("bytes", private[attribute.MODULUS]), "big")
            exponent = int.from_bytes(cast("bytes", private[attribute.PUBLIC_EXPONENT]), "big")
            content = der.encode_sequence(der.encode_integer(modulus), der.encode_integer(exponent))
            return _parse_public_key(_RSA, b"\x05\x00", content)
        if kind == kinds.EC:
            public = self._find(self._pkcs11.ObjectClass.PUBLIC_KEY)
            point = der.Reader(cast("bytes", public[attribute.EC_POINT]), what="EC point").octet_string()
            return _parse_public_key(_EC, cast("bytes", public[attribute.EC_PARAMS]), point)
        raise CredentialError("the token's key is neither RSA nor EC", problem=CredentialProblem.UNSUPPORTED_KEY)

    def __repr__(self) -> str:
        return f"<PKCS11Signer {self._place.describe_key()} in {self._place.describe_token()}>"


def _parse_public_key(oid: str, parameters: bytes, content: bytes) -> keys.PublicKey:
    algorithm = der.encode_sequence(der.encode_oid(oid), parameters)
    return keys.parse_public_key(der.encode_sequence(algorithm, der.encode_bit_string(content)))
