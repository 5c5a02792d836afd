"""Kinds of keys, their sizes, and the digests and forms of signatures (RFC 3279, RFC 4055, RFC 5480, RFC 8410)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder import der
from builder.certificates import Entity, authority, issue, proxy
from builder.keys import algorithm, identity_signature, load, modulus_of, rsa_spki
from builder.model import accept, refuse
from builder.world import ALICE, ROOT, TrustDir, authority_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case, Option

__all__ = ["cases"]

_STRONG: Final = ("rsa3072", "rsa4096", "p256-eec", "p384", "p521", "ed25519")
_RSA: Final = "RFC 3279 s. 2.3.1"
_CURVE: Final = "RFC 5480 s. 2.1.1.1"
_POINT: Final = "RFC 5480 s. 2.2"
_EDWARDS: Final = "RFC 8410 s. 4"
_SIZES: Final = "NIST SP 800-131A s. 3"
_BROKEN: Final = ("RFC 8446 s. 4.4.2.4", _SIZES)
_CHOICE: Final = "choice of algorithms"
_WEAK: Final[dict[str, Option]] = {"accept_weak_signatures": True}


def _alice(key: str, issuer: Entity = ROOT) -> Entity:
    return issue(issuer, ALICE.subject, load(key), text=ALICE.text)


def _features(*names: str) -> tuple[str, ...]:
    found = {"ecdsa" for name in names if name.startswith(("p2", "p3", "p5"))}
    found |= {"ed25519" for name in names if name.startswith("ed25519")}
    return tuple(sorted(found))


def _spec(*names: str) -> tuple[str, ...]:
    """Return where each of these kinds of keys is described."""
    places = {"r": _RSA, "p": _CURVE, "e": _EDWARDS}
    return tuple(dict.fromkeys(places[name[0]] for name in names))


def cases() -> Iterator[Case]:
    """Yield good keys, weak and unsupported ones, then signatures."""
    yield from _strong()
    yield from _weak_keys()
    yield from _odd_keys()
    yield from _digests()
    yield from _forms()


def _strong() -> Iterator[Case]:
    for key in _STRONG:
        short = key.removesuffix("-eec")
        yield accept(
            f"keys::end-entity::{short}",
            f"A proxy with an RSA key of a user with a key of {short}.",
            proxy(_alice(key)),
            spec=_spec(key),
            features=_features(key),
        )
        yield accept(
            f"keys::proxy::{short}",
            f"A proxy with a key of {short}.",
            proxy(ALICE, key=load(key)),
            spec=_spec(key),
            features=_features(key),
        )
        yield accept(
            f"keys::signing-proxy::{short}",
            f"A proxy below a proxy with a key of {short}.",
            proxy(proxy(ALICE, key=load(key))),
            spec=_spec(key),
            features=_features(key),
            importance="medium",
        )
    for key in ("p256-root", "p384-root", "ed25519-root", "rsa4096"):
        ca = authority(ROOT.subject, load(key), text=ROOT.text)
        trust = TrustDir(f"ca-{key.removesuffix('-root')}", authority_files(ca))
        for below in ("rsa2048-eec", "p256-eec"):
            alice = _alice(below, ca)
            yield accept(
                f"keys::ca::{key.removesuffix('-root')}-over-{below.removesuffix('-eec')}",
                f"A CA with a key of {key.removesuffix('-root')}, a user with one of {below.removesuffix('-eec')}.",
                proxy(alice),
                spec=_spec(key, below),
                trust=trust,
                features=_features(key, below),
                importance="medium",
            )


def _weak_keys() -> Iterator[Case]:
    for key in ("rsa512", "rsa1024", "rsa1536"):
        importance = "medium" if key == "rsa1536" else "high"
        features = () if key == "rsa512" else ("rsa-minimum",)
        yield refuse(
            f"keys::weak::proxy-{key}",
            f"A proxy with an RSA key of {key[3:]} bits.",
            proxy(ALICE, key=load(key)),
            "weak-key",
            spec=_SIZES,
            features=features,
            importance=importance,
        )
        yield refuse(
            f"keys::weak::signing-proxy-{key}",
            f"A proxy below one with an RSA key of {key[3:]} bits.",
            proxy(proxy(ALICE, key=load(key)), digest="sha256"),
            "weak-key",
            1,
            spec=_SIZES,
            features=features,
            importance=importance,
        )
        yield refuse(
            f"keys::weak::end-entity-{key}",
            f"A proxy of a user with an RSA key of {key[3:]} bits.",
            proxy(_alice(key)),
            "weak-key",
            1,
            spec=_SIZES,
            features=features,
            importance=importance,
        )
    ca = authority(ROOT.subject, load("rsa1024"), text=ROOT.text)
    yield refuse(
        "keys::weak::ca-rsa1024",
        "A CA with an RSA key of 1024 bits.",
        proxy(_alice("rsa2048-eec", ca)),
        "weak-key",
        2,
        spec=_SIZES,
        trust=TrustDir("ca-rsa1024", authority_files(ca)),
        features=["rsa-minimum"],
    )
    exponent_3 = proxy(_alice("rsa2048-exponent-3"))
    yield refuse(
        "keys::weak::exponent-3",
        "A proxy of a user whose RSA key has the exponent 3.",
        exponent_3,
        "weak-key",
        1,
        spec="FIPS 186-5 s. 5.1",
        features=["rsa-minimum"],
        importance="low",
    )
    one = issue(ROOT, ALICE.subject, ALICE.key, text=ALICE.text, spki=rsa_spki(modulus_of(ALICE.key), 1))
    forged = proxy(one)
    start, _ = der.body(forged.certificate)
    tbs = forged.certificate[start : der.body(forged.certificate, start)[1]]
    yield refuse(
        "keys::weak::exponent-1",
        "A user's key with the exponent 1, under which anybody can make a signature: the padded digest itself.",
        proxy(one, signature=identity_signature(ALICE.key, tbs)),
        "weak-key",
        1,
        spec="FIPS 186-5 s. 5.1",
    )
    for label, modulus, exponent in (
        ("even-modulus", modulus_of(ALICE.key) - 1, 65537),
        ("even-exponent", modulus_of(ALICE.key), 65536),
        ("exponent-0", modulus_of(ALICE.key), 0),
    ):
        yield refuse(
            f"keys::weak::{label}",
            f"A proxy whose RSA key has an {label.replace('-', ' ')}.",
            proxy(ALICE, spki=rsa_spki(modulus, exponent)),
            "weak-key",
            spec="RFC 8017 s. 3.1",
            importance="medium",
        )


def _odd_keys() -> Iterator[Case]:
    for key in ("secp256k1", "p224", "ed448"):
        yield refuse(
            f"keys::unsupported::proxy-{key}",
            f"A proxy with a key of {key}.",
            proxy(ALICE, key=load(key)),
            "unsupported-algorithm",
            spec=_CHOICE,
            features=["algorithm-choice"],
            importance="low",
        )
        yield refuse(
            f"keys::unsupported::end-entity-{key}",
            f"A proxy of a user with a key of {key}.",
            proxy(_alice(key)),
            "unsupported-algorithm",
            1,
            spec=_CHOICE,
            features=["algorithm-choice"],
            importance="low",
        )
    huge = (1 << 20000) + 1
    yield refuse(
        "keys::unsupported::rsa-20001",
        "A proxy with an RSA modulus of 20,001 bits, which would take seconds to verify with.",
        proxy(ALICE, spki=rsa_spki(huge, 65537)),
        "unsupported-algorithm",
        spec="limits of implementations",
        features=["implementation-limit"],
        importance="low",
    )
    yield refuse(
        "keys::unsupported::rsa-exponent-1000-bits",
        "A proxy with an RSA exponent of a thousand bits.",
        proxy(ALICE, spki=rsa_spki(modulus_of(ALICE.key), (1 << 1000) + 1)),
        "unsupported-algorithm",
        spec="limits of implementations",
        features=["implementation-limit"],
        importance="low",
    )
    point = load("p256-proxy-1").spki[-65:]
    ec = der.oid("1.2.840.10045.2.1")
    p256 = der.oid("1.2.840.10045.3.1.7")
    moved = point[:-1] + bytes((point[-1] ^ 1,))
    malformed = {
        "ec-off-the-curve": (
            "A point that is not on its curve",
            der.sequence(der.sequence(ec, p256), der.bit_string(moved)),
        ),
        "ec-infinity": ("The point at infinity", der.sequence(der.sequence(ec, p256), der.bit_string(b"\x00"))),
        "ec-cut-off": ("A point cut off", der.sequence(der.sequence(ec, p256), der.bit_string(point[:40]))),
        "rsa-garbage": (
            "An RSA key that is no DER",
            der.sequence(der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL), der.bit_string(b"\xde\xad")),
        ),
        "rsa-negative": ("A negative RSA modulus", rsa_spki(-modulus_of(ALICE.key), 65537)),
        "ed25519-short": (
            "An Ed25519 key of 31 bytes",
            der.sequence(der.sequence(der.oid("1.3.101.112")), der.bit_string(bytes(31))),
        ),
    }
    for label, (words, spki) in malformed.items():
        yield refuse(
            f"keys::malformed::{label}",
            f"{words} in a proxy.",
            proxy(ALICE, spki=spki),
            "weak-key" if label == "rsa-negative" else "malformed",
            spec={"ec": _POINT, "rsa": _RSA, "ed25519": _EDWARDS}[label.partition("-")[0]],
            importance="medium",
        )
    yield refuse(
        "keys::unsupported::unknown-kind",
        "A proxy with a key of a kind that nobody knows.",
        proxy(ALICE, spki=der.sequence(der.sequence(der.oid("1.2.3.4")), der.bit_string(b"\x01"))),
        "unsupported-algorithm",
        spec="RFC 5280 s. 4.1.2.7",
    )
    yield refuse(
        "keys::unsupported::ec-curve-spelled-out",
        "P-256 spelled out in numbers in place of its name.",
        proxy(ALICE, spki=der.sequence(der.sequence(ec, _spelled_out_p256()), der.bit_string(point))),
        "unsupported-algorithm",
        spec=("RFC 5480 s. 2.1.1", _CURVE),
    )


def _spelled_out_p256() -> bytes:
    """SEC 1 appendix C.2: the curve's field, coefficients, base point, order and cofactor."""
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = bytes.fromhex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
    base = bytes.fromhex(
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    order = int("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
    return der.sequence(
        der.integer(1),
        der.sequence(der.oid("1.2.840.10045.1.1"), der.integer(prime)),
        der.sequence(der.octets((prime - 3).to_bytes(32, "big")), der.octets(b)),
        der.octets(base),
        der.integer(order),
        der.integer(1),
    )


def _digests() -> Iterator[Case]:
    for digest in ("sha384", "sha512"):
        yield accept(
            f"keys::digest::proxy-{digest}",
            f"A proxy signed with {digest}.",
            proxy(ALICE, digest=digest),
            spec="RFC 4055 s. 5",
            importance="medium",
        )
    yield accept(
        "keys::digest::proxy-pss",
        "A proxy signed with RSASSA-PSS.",
        proxy(ALICE, digest="pss"),
        spec="RFC 4055 s. 3.1",
        features=["rsa-pss"],
        importance="low",
    )
    yield refuse(
        "keys::digest::proxy-sha224",
        "A proxy signed with SHA-224.",
        proxy(ALICE, digest="sha224"),
        "unsupported-algorithm",
        spec=_CHOICE,
        features=["algorithm-choice"],
        importance="low",
    )
    for digest in ("sha1", "md5"):
        weak_alice = issue(ROOT, ALICE.subject, ALICE.key, text=ALICE.text, digest=digest)
        for label, words, entity, position in (
            ("proxy", "A proxy", proxy(ALICE, digest=digest), 0),
            ("proxy-above", "A proxy below one that was", proxy(proxy(ALICE, digest=digest)), 1),
            ("end-entity", "A proxy of a user whose certificate was", proxy(weak_alice), 1),
        ):
            yield refuse(
                f"keys::digest::{label}-{digest}",
                f"{words} signed with {digest.upper()}.",
                entity,
                "weak-signature",
                position,
                spec=_BROKEN,
            )
        yield accept(
            f"keys::digest::end-entity-{digest}-switch",
            f"A user's certificate signed with {digest.upper()} where that is accepted.",
            proxy(weak_alice),
            spec=_CHOICE,
            options=_WEAK,
            features=["weak-signatures"],
            importance="low",
        )
    for key in ("p256-eec", "p521"):
        yield refuse(
            f"keys::digest::ecdsa-sha1-{key.removesuffix('-eec')}",
            "A proxy signed with ECDSA and SHA-1.",
            proxy(_alice(key), digest="sha1"),
            "weak-signature",
            spec=_BROKEN,
            features=["ecdsa"],
        )
    yield accept(
        "keys::digest::ecdsa-p384-sha256",
        "A signature by P-384 with SHA-256.",
        proxy(_alice("p384"), digest="sha256"),
        spec="RFC 5758 s. 3.2",
        features=["ecdsa"],
        importance="low",
    )
    ca = authority(ROOT.subject, ROOT.key, text=ROOT.text, digest="sha1")
    yield accept(
        "keys::digest::root-sha1",
        "A root that signed itself with SHA-1: nobody relies on that signature.",
        proxy(ALICE),
        spec="RFC 5280 s. 6.1",
        trust=TrustDir("root-sha1", authority_files(ca)),
    )


def _forms() -> Iterator[Case]:
    rsa = load("rsa2048-eec")
    bare = der.sequence(der.oid("1.2.840.113549.1.1.11"))
    yield accept(
        "keys::algorithm::rsa-without-null",
        "sha256WithRSAEncryption without its NULL.",
        proxy(ALICE, inner=bare, outer=bare),
        spec="RFC 4055 s. 5",
        importance="low",
    )
    ecdsa_null = der.sequence(der.oid("1.2.840.10045.4.3.2"), der.NULL)
    yield refuse(
        "keys::algorithm::ecdsa-with-null",
        "ecdsa-with-SHA256 with a NULL, which old Java wrote and RFC 5758 forbids.",
        proxy(_alice("p256-eec"), inner=ecdsa_null, outer=ecdsa_null),
        "malformed",
        spec="RFC 5758 s. 3.2",
        features=["ecdsa"],
        importance="low",
    )
    unknown = der.sequence(der.oid("1.2.3.4"))
    other_kind = algorithm(load("p256-eec"))
    yield refuse(
        "keys::algorithm::unknown",
        "A signature algorithm that nobody knows.",
        proxy(ALICE, inner=unknown, outer=unknown),
        "unsupported-algorithm",
        spec="RFC 5280 s. 4.1.1.2",
    )
    yield refuse(
        "keys::algorithm::rsa-encryption",
        "rsaEncryption, which is a kind of key, as the signature algorithm.",
        proxy(
            ALICE,
            inner=der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL),
            outer=der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL),
        ),
        "unsupported-algorithm",
        spec="RFC 5280 s. 4.1.1.2",
        importance="medium",
    )
    yield refuse(
        "keys::algorithm::ecdsa-over-rsa-key",
        "An RSA signature that is called ECDSA.",
        proxy(ALICE, inner=other_kind, outer=other_kind),
        "bad-signature",
        spec="RFC 5280 s. 4.1.1.2",
    )
    yield refuse(
        "keys::algorithm::other-digest",
        "A signature with SHA-256 that is called SHA-512.",
        proxy(
            ALICE,
            inner=algorithm(rsa, "sha512"),
            outer=algorithm(rsa, "sha512"),
        ),
        "bad-signature",
        spec="RFC 5280 s. 4.1.1.2",
    )
