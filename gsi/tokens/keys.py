"""The public keys of token issuers: JWK sets read, each key with the one algorithm it may verify; fetches nothing.

    keys = parse_key_set(data)
    keys.find("kid-1").verify(token)

The algorithm belongs to the key, never to the token's header (RFC 8725 section 3.1): that of the JWK's `alg`, else the
one that goes with the kind of key. Secret keys (`oct`) do not count, so no public key is ever taken for an HMAC secret.
"""

from __future__ import annotations

import base64
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gsi import keys
from gsi.certificate import Certificate
from gsi.errors import CapabilityError, CapabilityProblem, ConfigError, CredentialError, ParseError
from gsi.tokens.compact import parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from joserfc.jwk import ECKey, OKPKey, RSAKey

    from gsi.tokens.compact import CompactToken

    PublicKey: TypeAlias = RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey

__all__ = [
    "MAX_KEYS",
    "MAX_KEY_SET_BYTES",
    "KeySet",
    "KeySource",
    "KeysByIssuer",
    "StaticKeys",
    "VerificationKey",
    "parse_key_set",
]

MAX_KEY_SET_BYTES: Final = 256 << 10  # a set has two or three keys of half a kilobyte
MAX_KEYS: Final = 64
_MAX_KID_CHARS: Final = 255
_MAX_CERTIFICATES: Final = 8  # of one key; chains have two or three
_ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        "P-256": ("ES256",),
        "P-384": ("ES384",),
        "P-521": ("ES512",),
        "Ed25519": ("EdDSA", "Ed25519"),
    }
)
"""For each kind of key the algorithms of asymmetric signatures, the one in force without `alg` first."""

_HASHES: Final[Mapping[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = MappingProxyType(
    {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
)
"""By the last three characters of an algorithm's name (RFC 7518 section 3.1)."""

_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class VerificationKey(NamedTuple):
    """A public key with the one algorithm that it verifies."""

    kid: str
    algorithm: str
    thumbprint: str
    """RFC 7638, of the key alone: equal keys, equal thumbprints."""
    key: PublicKey
    certificates: tuple[Certificate, ...] = ()
    """What the issuer has published with it (`x5c`), its own first; nobody has judged them."""

    def verify(self, token: CompactToken) -> None:
        """Check the signature of a token.

        Raises:
            CapabilityError: ALGORITHM when the header names another one than the key's, or BAD_SIGNATURE.
        """
        if token.header.get("alg") not in _same_algorithm(self.algorithm):
            raise CapabilityError(
                f"token: it names the algorithm {str(token.header.get('alg'))[:20]!r}, its key is for {self.algorithm}",
                problem=CapabilityProblem.ALGORITHM,
            )
        try:
            _check_signature(self.key, self.algorithm, token.signature, token.text.rpartition(".")[0].encode("ascii"))
        except InvalidSignature as error:
            raise CapabilityError("token: the signature is wrong", problem=CapabilityProblem.BAD_SIGNATURE) from error
        except (ValueError, TypeError) as error:
            raise CapabilityError(
                "token: the signature cannot be checked", problem=CapabilityProblem.BAD_SIGNATURE
            ) from error


def _check_signature(key: PublicKey, algorithm: str, signature: bytes, signed: bytes) -> None:
    """Check a signature by an algorithm that goes with the kind of key (RFC 7518 sections 3.3 to 3.5, RFC 8037).

    Raises:
        InvalidSignature: It is wrong.
    """
    if isinstance(key, Ed25519PublicKey):
        key.verify(signature, signed)
        return
    digest = _HASHES[algorithm[2:]]
    if isinstance(key, RSAPublicKey):
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size) if algorithm.startswith("PS") else None
        key.verify(signature, signed, pss or padding.PKCS1v15(), digest)
        return
    size = (key.curve.key_size + 7) // 8
    if len(signature) != 2 * size:
        raise InvalidSignature
    pair = encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
    key.verify(pair, signed, ec.ECDSA(digest))


def _same_algorithm(name: str) -> tuple[str, ...]:
    """Return the names of one algorithm: RFC 9864 calls Ed25519 what RFC 8037 called EdDSA."""
    return ("EdDSA", "Ed25519") if name in {"EdDSA", "Ed25519"} else (name,)


class KeySet(NamedTuple):
    """The keys of one issuer that can be used, by `kid`, and what is wrong with others."""

    keys: Mapping[str, VerificationKey]
    problems: tuple[str, ...] = ()


class KeySource(Protocol):
    """Knows the keys of issuers."""

    def find_key(self, issuer: str, kid: str, *, now: datetime) -> VerificationKey:
        """Return a key.

        Raises:
            CapabilityError: KEY when there is none of this name, KEYS_UNAVAILABLE when the issuer's cannot be had.
        """


class StaticKeys:
    """Keys from files, for sites that fetch nothing."""

    def __init__(self, sets: Mapping[str, KeySet]) -> None:
        self._sets = dict(sets)

    def find_key(self, issuer: str, kid: str, *, now: datetime) -> VerificationKey:  # noqa: ARG002  files do not age
        """Return a key; as for `KeySource`."""
        found = self._sets.get(issuer)
        if found is None:
            raise CapabilityError(
                f"token: no keys of {issuer[:80]!r} are here",
                problem=CapabilityProblem.KEYS_UNAVAILABLE,
                issuer=issuer,
            )
        key = found.keys.get(kid)
        if key is None:
            raise CapabilityError(
                f"token: {issuer[:80]!r} has no key {kid[:80]!r}", problem=CapabilityProblem.KEY, issuer=issuer
            )
        return key


class KeysByIssuer:
    """Keys of some issuers from files, those of all others from somewhere else."""

    def __init__(self, files: Mapping[str, KeySource], others: KeySource) -> None:
        self._files = dict(files)
        self._others = others

    def find_key(self, issuer: str, kid: str, *, now: datetime) -> VerificationKey:
        """Return a key; as for `KeySource`."""
        return self._files.get(issuer, self._others).find_key(issuer, kid, now=now)

    def would_fetch(self, issuer: str, kid: str, *, now: datetime) -> bool:
        """Say whether finding the key would take a fetch."""
        ask = getattr(self._files.get(issuer, self._others), "would_fetch", None)
        return ask is not None and bool(ask(issuer, kid, now=now))


def parse_key_set(data: bytes) -> KeySet:
    """Return the keys of a JWK set (RFC 7517 section 5) that can be used.

    Keys without `kid`, for encryption, secret or too weak are left out with a sentence about each. A `kid` that stands
    for two keys stands for none.

    Raises:
        ParseError: Not a JWK set, or too long.
    """
    what = "JWK set"
    if len(data) > MAX_KEY_SET_BYTES:
        raise ParseError(f"{what}: {len(data)} bytes, limit {MAX_KEY_SET_BYTES}", what=what)
    try:
        listed = parse_object(data, what).get("keys")
    except CapabilityError as error:
        raise ParseError(f"{what}: {error.message.removeprefix('token: ')}", what=what) from error
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ParseError(f"{what}: no list of keys, or more than {MAX_KEYS}", what=what)
    found: dict[str, VerificationKey] = {}
    doubled: set[str] = set()
    problems: list[str] = []
    for number, member in enumerate(listed):
        try:
            key = _parse_key(member)
        except ParseError as error:
            problems.append(f"key {number}: {error.message}")
            continue
        if key.kid in found and found[key.kid].thumbprint != key.thumbprint:
            doubled.add(key.kid)
        found.setdefault(key.kid, key)
    for kid in doubled:
        del found[kid]
        problems.append(f"two keys are called {kid[:80]!r}; neither counts")
    return KeySet(MappingProxyType(found), tuple(problems))


def _parse_key(member: object) -> VerificationKey:
    """Return one key.

    Raises:
        ParseError: It cannot be used.
    """
    what = "JWK"
    if not isinstance(member, dict):
        raise ParseError("no object", what=what)
    kid, use, operations = member.get("kid"), member.get("use", "sig"), member.get("key_ops", ["verify"])
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID_CHARS:
        raise ParseError("without a kid", what=what)
    if use != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise ParseError("not for signatures", what=what)
    if not _PRIVATE_MEMBERS.isdisjoint(member):
        raise ParseError("a private or secret key, which is known to everybody now", what=what)
    kind = member.get("kty") if member.get("kty") == "RSA" else member.get("crv")
    known = _ALGORITHMS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise ParseError("of a kind that is not used here", what=what)
    algorithm = member.get("alg", known[0])
    if algorithm not in known:
        raise ParseError(f"for the algorithm {str(algorithm)[:20]!r}, which does not go with its kind", what=what)
    key = _import(member)
    public = key.public_key
    if not isinstance(public, RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey):
        raise ParseError("of a kind that is not used here", what=what)
    return VerificationKey(kid, algorithm, key.thumbprint(), public, _certificates(member.get("x5c"), public))


def _certificates(listed: object, public: PublicKey) -> tuple[Certificate, ...]:
    """Return the certificates of a key (RFC 7517 section 4.7), or none where they are odd or another key's."""
    if not isinstance(listed, list) or len(listed) > _MAX_CERTIFICATES:
        return ()
    try:
        found = tuple(Certificate.parse(base64.b64decode(one, validate=True)) for one in listed)
        return found if found and keys.parse_public_key(found[0].spki_der) == public else ()
    except (ValueError, TypeError, CredentialError, ParseError):  # binascii.Error is a ValueError
        return ()


def _import(member: Mapping[str, object]) -> RSAKey | ECKey | OKPKey:
    _check_installed()
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    kind, curve = member.get("kty"), member.get("crv")
    try:
        key: RSAKey | ECKey | OKPKey
        if kind == "RSA":
            key = RSAKey.import_key({"kty": "RSA", "n": str(member["n"]), "e": str(member["e"])})
        elif kind == "EC":
            key = ECKey.import_key({"kty": "EC", "crv": str(curve), "x": str(member["x"]), "y": str(member["y"])})
        elif kind == "OKP":
            key = OKPKey.import_key({"kty": "OKP", "crv": str(curve), "x": str(member["x"])})
        else:
            raise ParseError("of a kind that is not used here", what="JWK")
        keys.check_public_key(key.public_key)
    except ParseError:
        raise
    except CredentialError as error:
        raise ParseError(error.message, what="JWK") from error
    except Exception as error:
        raise ParseError(f"malformed: {type(error).__name__}", what="JWK") from error
    return key


def _check_installed() -> None:
    """Check that joserfc is there.

    Raises:
        ConfigError: It is not.
    """
    try:
        import joserfc.jwk  # noqa: F401  found again by those who use it
    except ImportError as error:
        raise ConfigError("tokens need joserfc", hint="install the extra: gsi-toolkit[tokens]") from error
