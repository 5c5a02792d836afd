"""The committed test keys and signatures that come out the same each time; strong and weak alike.

Everybody has these private keys: nothing may ever trust a certificate that they signed outside of tests.

    key = load("rsa2048-eec")
    key.spki                        SubjectPublicKeyInfo
    sign(key, data, "sha256")       (AlgorithmIdentifier, signature)

RSA signs with PKCS#1 v1.5 (RFC 8017 section 8.2), computed here where the library finds a key or digest too weak; PSS
has a fixed salt, ECDSA its nonce from RFC 6979.
"""

from __future__ import annotations

import functools
import hashlib
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from builder import der

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

__all__ = ["KEYS", "Key", "algorithm", "identity_signature", "load", "modulus_of", "rsa_spki", "sign"]

KEYS: Final = Path(__file__).resolve().parent.parent / "keys"
_RSA: Final = "1.2.840.113549.1.1"
_RSA_NUMBERS: Final = {"md5": 4, "sha1": 5, "sha224": 14, "sha256": 11, "sha384": 12, "sha512": 13}
_ECDSA: Final = {
    "sha1": "1.2.840.10045.4.1",
    "sha224": "1.2.840.10045.4.3.1",
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
}
_DIGEST_OIDS: Final = {
    "md5": "1.2.840.113549.2.5",
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_DIGESTS: Final[dict[str, hashes.HashAlgorithm]] = {
    "md5": hashes.MD5(),
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_LIBRARY_SIGNS: Final = 1024  # bits; below, pyca refuses


class _RSANumbers(NamedTuple):
    modulus: int
    public: int
    private: int


class Key(NamedTuple):
    """One test key.

    Attributes:
        name: Its file in `certs-test/keys`, without the ending.
        kind: "rsa", "ec", "ed25519" or "ed448".
        spki: Its SubjectPublicKeyInfo.
        digest: What it signs with when nothing else is asked.
    """

    name: str
    kind: str
    spki: bytes
    digest: str

    @property
    def path(self) -> str:
        """The private key's file, relative to `certs-test`."""
        return f"keys/{self.name}.pem"


@functools.cache
def load(name: str) -> Key:
    """Return the test key of this name."""
    if name.startswith("rsa"):
        numbers = _rsa_numbers(name)
        return Key(name, "rsa", rsa_spki(numbers.modulus, numbers.public), "sha256")
    private = _private(name)
    spki = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if isinstance(private, ec.EllipticCurvePrivateKey):
        size = private.curve.key_size
        return Key(name, "ec", spki, "sha256" if size <= 256 else "sha384" if size <= 384 else "sha512")
    return Key(name, "ed25519" if isinstance(private, ed25519.Ed25519PrivateKey) else "ed448", spki, "")


def rsa_spki(modulus: int, exponent: int) -> bytes:
    """Return the SubjectPublicKeyInfo of an RSA key (RFC 3279 section 2.3.1), sensible or not."""
    numbers = der.sequence(der.integer(modulus), der.integer(exponent))
    return der.sequence(der.sequence(der.oid(f"{_RSA}.1"), der.NULL), der.bit_string(numbers))


def modulus_of(key: Key) -> int:
    """Return an RSA key's modulus."""
    return _rsa_numbers(key.name).modulus


def algorithm(key: Key, digest: str | None = None) -> bytes:
    """Return the AlgorithmIdentifier of signatures by this key with this digest ("pss" is PSS with SHA-256)."""
    digest = key.digest if digest is None else digest
    if digest == "pss":
        return _pss_algorithm()
    if key.kind == "rsa":
        return der.sequence(der.oid(f"{_RSA}.{_RSA_NUMBERS[digest]}"), der.NULL)
    if key.kind == "ec":
        return der.sequence(der.oid(_ECDSA[digest]))
    return der.sequence(der.oid("1.3.101.112" if key.kind == "ed25519" else "1.3.101.113"))


def sign(key: Key, data: bytes, digest: str | None = None) -> bytes:
    """Return the signature over `data`, the same at every call."""
    digest = key.digest if digest is None else digest
    if key.kind == "rsa":
        return _sign_pss(key, data) if digest == "pss" else _sign_rsa(key, data, digest)
    private = _private(key.name)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return private.sign(data, ec.ECDSA(_DIGESTS[digest], deterministic_signing=True))
    assert isinstance(private, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return private.sign(data)


def _sign_rsa(key: Key, data: bytes, digest: str) -> bytes:
    numbers = _rsa_numbers(key.name)
    if numbers.modulus.bit_length() >= _LIBRARY_SIGNS:
        private = _private(key.name)
        assert isinstance(private, rsa.RSAPrivateKey)
        return private.sign(data, padding.PKCS1v15(), _DIGESTS[digest])
    size = (numbers.modulus.bit_length() + 7) // 8
    return _raise(numbers, _pkcs1_block(data, digest, size))


def _pkcs1_block(data: bytes, digest: str, size: int) -> bytes:
    """RFC 8017 section 9.2: 00 01 FF.. 00 DigestInfo."""
    info = der.sequence(
        der.sequence(der.oid(_DIGEST_OIDS[digest]), der.NULL), der.octets(hashlib.new(digest, data).digest())
    )
    return b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info


def identity_signature(key: Key, data: bytes) -> bytes:
    """Return what verifies under the key's modulus with public exponent 1: the padded digest itself."""
    return _pkcs1_block(data, "sha256", (modulus_of(key).bit_length() + 7) // 8)


def _pss_algorithm() -> bytes:
    sha256 = der.sequence(der.oid(_DIGEST_OIDS["sha256"]), der.NULL)
    mask = der.sequence(der.oid(f"{_RSA}.8"), sha256)
    return der.sequence(
        der.oid(f"{_RSA}.10"),
        der.sequence(der.explicit(0, sha256), der.explicit(1, mask), der.explicit(2, der.integer(32))),
    )


def _sign_pss(key: Key, data: bytes) -> bytes:
    """RFC 8017 section 9.1.1 with SHA-256 and a salt that is always the same."""
    numbers = _rsa_numbers(key.name)
    bits = numbers.modulus.bit_length() - 1
    size = (bits + 7) // 8
    salt = bytes(range(32))
    digest = hashlib.sha256(bytes(8) + hashlib.sha256(data).digest() + salt).digest()
    block = bytes(size - len(salt) - len(digest) - 2) + b"\x01" + salt
    mask = b"".join(
        hashlib.sha256(digest + counter.to_bytes(4, "big")).digest() for counter in range(len(block) // 32 + 1)
    )
    masked = bytearray(one ^ other for one, other in zip(block, mask, strict=False))
    masked[0] &= 0xFF >> (8 * size - bits)
    return _raise(numbers, bytes(masked) + digest + b"\xbc")


def _raise(numbers: _RSANumbers, block: bytes) -> bytes:
    size = (numbers.modulus.bit_length() + 7) // 8
    return pow(int.from_bytes(block, "big"), numbers.private, numbers.modulus).to_bytes(size, "big")


@functools.cache
def _rsa_numbers(name: str) -> _RSANumbers:
    """Read PKCS#8 by hand: the library takes no key of 512 bits."""
    info = _content(_key_der(name))
    _, _, wrapped = der.items(info)[:3]
    _, modulus, public, private = der.items(_content(_content(wrapped)))[:4]
    return _RSANumbers(*(int.from_bytes(_content(part), "big") for part in (modulus, public, private)))


def _content(value: bytes) -> bytes:
    start, end = der.body(value)
    return value[start:end]


def _key_der(name: str) -> bytes:
    lines = (KEYS / f"{name}.pem").read_text("ascii").splitlines()
    return b64decode("".join(line for line in lines if not line.startswith("-")))


@functools.cache
def _private(name: str) -> PrivateKeyTypes:
    return serialization.load_der_private_key(_key_der(name), None)
