"""Signer: whatever holds a CA's private key and signs with it; knows neither certificates nor what it signs.

    signer = load_signer("/etc/ca/private/cakey.pem", passphrase=ask)
    signer = load_signer("pkcs11:token=CA;object=ca-key?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/p")
    signer = load_signer("program:/usr/local/bin/sign --ca grid", certificate=ca_certificate)
    signature = signer.sign(tbs_der)        # under signer.algorithm_der, which stands inside what is signed, too

Implementations: `KeySigner` here, `gsi.ca.program_signer`, `gsi.ca.pkcs11_signer`; one contract suite holds for all. A
signer may be used by several threads at once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from gsi import der, keys
from gsi.errors import ConfigError, CredentialError, CredentialProblem, IssuanceError, IssuanceStep
from gsi.pem import split_pem
from gsi.secret import Passphrase

if TYPE_CHECKING:
    from gsi.certificate import Certificate
    from gsi.credential import PassphraseSource
    from gsi.keys import PrivateKey, PublicKey

__all__ = [
    "Digest",
    "KeySigner",
    "Signer",
    "file_of",
    "load_key_signer",
    "load_signer",
    "scheme_of",
    "signature_scheme",
]

_SCHEMES: Final = frozenset({"file", "pkcs11", "program"})


class Digest(StrEnum):
    """The digests that a CA may sign with."""

    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


_HASHES: Final = {Digest.SHA256: hashes.SHA256(), Digest.SHA384: hashes.SHA384(), Digest.SHA512: hashes.SHA512()}
_RSA_OIDS: Final = {  # RFC 8017 appendix A.2.4
    Digest.SHA256: "1.2.840.113549.1.1.11",
    Digest.SHA384: "1.2.840.113549.1.1.12",
    Digest.SHA512: "1.2.840.113549.1.1.13",
}
_ECDSA_OIDS: Final = {  # RFC 5758 section 3.2
    Digest.SHA256: "1.2.840.10045.4.3.2",
    Digest.SHA384: "1.2.840.10045.4.3.3",
    Digest.SHA512: "1.2.840.10045.4.3.4",
}


class Signer(Protocol):
    """A private key that can be used but not seen."""

    @property
    def spki_der(self) -> bytes:
        """The public key, SubjectPublicKeyInfo in DER."""

    @property
    def algorithm_der(self) -> bytes:
        """The AlgorithmIdentifier of every signature it makes."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data` in the form that certificates hold (ECDSA as a DER SEQUENCE).

        Raises:
            IssuanceError: SIGN: the key could not be used.
        """

    def probe(self) -> None:
        """Find out, as far as that goes without signing, whether the key can be used.

        Raises:
            IssuanceError: SIGN: it cannot.
        """

    def close(self) -> None:
        """Let go of the key; `sign` must not be called after it."""


def signature_scheme(public_key: PublicKey, digest: Digest | None = None) -> tuple[bytes, Digest | None]:
    """Return the AlgorithmIdentifier and the digest to sign with under this key.

    Args:
        public_key: The CA's key.
        digest: The digest wanted; None follows the key: SHA-256, SHA-384 for P-384, SHA-512 for P-521.

    Returns:
        The AlgorithmIdentifier in DER; the digest, None for Ed25519, which has its own.

    Raises:
        ConfigError: A digest is asked for that this kind of key has no use for.
    """
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        if digest is not None:
            raise ConfigError("an Ed25519 key signs without a digest of the caller's choice")
        return keys.signature_algorithm_der(public_key), None
    if digest is None:
        found = keys.signature_digest(public_key)
        assert found is not None  # only Ed25519 has none
        digest = Digest(found.name)
    if isinstance(public_key, rsa.RSAPublicKey):
        return der.encode_sequence(der.encode_oid(_RSA_OIDS[digest]), b"\x05\x00"), digest
    return der.encode_sequence(der.encode_oid(_ECDSA_OIDS[digest])), digest


class KeySigner:
    """A key in the memory of this process. Thread-safe.

    Attributes:
        spki_der: The public key.
        algorithm_der: The AlgorithmIdentifier of its signatures.
    """

    __slots__ = ("_digest", "_key", "algorithm_der", "spki_der")

    def __init__(self, key: PrivateKey, *, digest: Digest | None = None) -> None:
        """Take the key.

        Args:
            key: The private key.
            digest: As `signature_scheme`.

        Raises:
            CredentialError: WEAK_KEY or UNSUPPORTED_KEY.
            ConfigError: The digest does not go with the key.
        """
        public_key = key.public_key()
        keys.check_public_key(public_key)
        self._key: PrivateKey | None = key
        self.algorithm_der, self._digest = signature_scheme(public_key, digest)
        self.spki_der = keys.spki_der(public_key)

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`; raises as `Signer.sign`."""
        key = self._key
        if key is None:
            raise IssuanceError("the CA's key was put away", step=IssuanceStep.SIGN)
        if isinstance(key, ed25519.Ed25519PrivateKey) or self._digest is None:
            assert isinstance(key, ed25519.Ed25519PrivateKey)  # `signature_scheme` gives all others a digest
            return key.sign(data)
        digest = _HASHES[self._digest]
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(data, padding.PKCS1v15(), digest)
        return key.sign(data, ec.ECDSA(digest))

    def probe(self) -> None:
        """See whether the key is still here; raises as `Signer.probe`."""
        if self._key is None:
            raise IssuanceError("the CA's key was put away", step=IssuanceStep.SIGN)

    def close(self) -> None:
        """Let go of the key."""
        self._key = None

    def __repr__(self) -> str:
        return "KeySigner(***)"


def load_key_signer(path: str, *, passphrase: PassphraseSource = None, digest: Digest | None = None) -> KeySigner:
    """Return a signer with the key in a PEM file, PKCS#8, PKCS#1 or SEC1, locked or not.

    Args:
        path: The file, with a mode of at most 0600 and owned by the effective user.
        passphrase: Opens the key; a function is called only when the key is locked.
        digest: As `signature_scheme`.

    Raises:
        CredentialError: MISSING, UNSAFE_FILE, KEY_MISSING (no key in it), or as `gsi.keys.parse_private_key`.
        ParseError: The file is malformed.
        ConfigError: The digest does not go with the key.
    """
    from gsi.system.files import read_private

    data = read_private(path, max_bytes=keys.MAX_PRIVATE_KEY_BYTES * 4)  # PEM, and a certificate beside it
    for block in split_pem(data, what=path):
        if block.label not in keys.KEY_LABELS:
            continue
        secret: Passphrase | None = None
        if keys.is_encrypted(block):
            secret = passphrase if isinstance(passphrase, Passphrase) or passphrase is None else passphrase()
        try:
            return KeySigner(keys.parse_private_key(block, secret), digest=digest)
        except CredentialError as error:
            raise CredentialError(
                f"{path}: {error.message}", problem=error.problem, path=path, hint=error.hint
            ) from error
    raise CredentialError(f"{path}: no private key in it", problem=CredentialProblem.KEY_MISSING, path=path)


def scheme_of(place: str) -> str:
    """Return `pkcs11`, `program` or `file`, whatever the case and the blanks before it; empty for a plain path."""
    kind, colon, _ = place.strip().partition(":")
    kind = kind.lower()
    return kind if colon and kind in _SCHEMES else ""


def file_of(place: str) -> str | None:
    """Return the file that a place such as that of a key names, with `file:` before it or without, or None."""
    kind = scheme_of(place)
    return (place.partition(":")[2] if kind else place) if kind in {"", "file"} else None


def load_signer(
    place: str,
    *,
    certificate: Certificate | None = None,
    passphrase: PassphraseSource = None,
    digest: Digest | None = None,
) -> Signer:
    """Return the signer that a line of configuration stands for.

    Args:
        place: A path (or `file:` and a path), a `pkcs11:` URI (RFC 7512, see `gsi.ca.pkcs11_signer`), or `program:` and
            a command line without shell (see `gsi.ca.program_signer`).
        certificate: The CA's certificate. Needed for a program, which cannot be asked for its public key; for the
            others it is checked that the key belongs to it.
        passphrase: Opens a locked key file; for a token the PIN, unless the URI names its source.
        digest: As `signature_scheme`.

    Raises:
        ConfigError: The text is malformed, an extra is not installed, or the digest does not go with the key.
        CredentialError: The key is missing, locked, weak or another's than the certificate's (KEY_MISMATCH).
        IssuanceError: SIGN: the token or program does not answer.
    """
    kind, rest = scheme_of(place), place.partition(":")[2]
    signer: Signer
    if kind == "pkcs11":
        from gsi.ca.pkcs11_signer import load_pkcs11_signer

        signer = load_pkcs11_signer(f"pkcs11:{rest}", pin=passphrase, digest=digest)
    elif kind == "program":
        from gsi.ca.program_signer import ProgramSigner

        if certificate is None:
            raise ConfigError("a signing program needs the CA's certificate beside it")
        signer = ProgramSigner.from_command(rest, certificate.spki_der, digest=digest)
    else:
        signer = load_key_signer(file_of(place) or place, passphrase=passphrase, digest=digest)
    if certificate is not None and not _fits(signer, certificate):
        signer.close()
        raise CredentialError(
            "the signing key does not belong to the CA's certificate", problem=CredentialProblem.KEY_MISMATCH
        )
    return signer


def _fits(signer: Signer, certificate: Certificate) -> bool:
    return signer.spki_der == keys.spki_der(keys.parse_public_key(certificate.spki_der))
