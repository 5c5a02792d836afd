"""Chains that can be changed anywhere and signed again: the input of the differential fuzzer.

    world = World()
    chain = mutate(rng.choice(world.chains), rng, world)
    chain.encode(), chain.now, chain.changes

A `Draft` is a certificate before it is signed. Whatever was changed in it, its issuer's key signs it at the end, so
that a verifier gets past the signature to the rule in question.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.fuzz.mutate import encode_tree, mutate_bytes, mutate_der, parse_tree
from tests.harness.ca import (
    FULL_INFO,
    INDEPENDENT_INFO,
    LIMITED_INFO,
    PROXY_CERT_INFO,
    Issued,
    PrivateKey,
    TestCA,
    encoded_oid,
    named_bits,
    proxy_info,
    tlv,
)

__all__ = ["Chain", "Draft", "World", "mutate"]

_COMMON_NAME: Final = encoded_oid("2.5.4.3")
_ECDSA_SHA256: Final = tlv(0x30, encoded_oid("1.2.840.10045.4.3.2"))
_ECDSA_SHA384: Final = tlv(0x30, encoded_oid("1.2.840.10045.4.3.3"))
_ECDSA_SHA1: Final = tlv(0x30, encoded_oid("1.2.840.10045.4.1"))
_RSA_SHA256: Final = tlv(0x30, encoded_oid("1.2.840.113549.1.1.11") + b"\x05\x00")
_RSA_SHA1: Final = tlv(0x30, encoded_oid("1.2.840.113549.1.1.5") + b"\x05\x00")
_ED25519: Final = tlv(0x30, encoded_oid("1.3.101.112"))


@dataclass(slots=True)
class Draft:
    """One certificate before it is signed; names, validity and key are whole DER values."""

    serial: bytes
    issuer: bytes
    validity: bytes
    subject: bytes
    spki: bytes
    extensions: list[tuple[str, bool, bytes]]
    key: PrivateKey
    version: int = 3
    weak: bool = False
    """Signed with SHA-1."""
    change_tbs: Callable[[bytes], bytes] | None = None
    change_whole: Callable[[bytes], bytes] | None = None

    @classmethod
    def of(cls, issued: Issued) -> Draft:
        """Take a finished certificate apart."""
        tbs = issued.certificate.tbs_certificate_bytes
        fields = [encode_tree([node]) for node in parse_tree(tbs)[0].children or ()]
        return cls(
            serial=fields[1],
            issuer=fields[3],
            validity=fields[4],
            subject=fields[5],
            spki=fields[6],
            extensions=[
                (one.oid.dotted_string, one.critical, one.value.public_bytes()) for one in issued.certificate.extensions
            ],
            key=issued.key,
        )

    def sign(self, signer: PrivateKey) -> bytes:
        """Put it together and sign it."""
        algorithm = _algorithm(signer, weak=self.weak)
        version = b"" if self.version == 1 else tlv(0xA0, tlv(0x02, bytes((self.version - 1,))))
        listed = b"".join(
            tlv(0x30, encoded_oid(oid) + (b"\x01\x01\xff" if critical else b"") + tlv(0x04, value))
            for oid, critical, value in self.extensions
        )
        extensions = tlv(0xA3, tlv(0x30, listed)) if listed else b""
        fields = (version, self.serial, algorithm, self.issuer, self.validity, self.subject, self.spki, extensions)
        tbs = tlv(0x30, b"".join(fields))
        if self.change_tbs is not None:
            tbs = self.change_tbs(tbs)
        whole = tlv(0x30, tbs + algorithm + tlv(0x03, b"\x00" + _signature(signer, tbs, weak=self.weak)))
        return whole if self.change_whole is None else self.change_whole(whole)


def _algorithm(key: PrivateKey, *, weak: bool) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return _RSA_SHA1 if weak else _RSA_SHA256
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _ED25519
    if weak:
        return _ECDSA_SHA1
    return _ECDSA_SHA384 if key.curve.key_size == 384 else _ECDSA_SHA256


def _signature(key: PrivateKey, data: bytes, *, weak: bool) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA1() if weak else hashes.SHA256())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    usual = hashes.SHA384() if key.curve.key_size == 384 else hashes.SHA256()
    return key.sign(data, ec.ECDSA(hashes.SHA1() if weak else usual))


@dataclass(slots=True)
class Chain:
    """Drafts, leaf first, with the signer of the last, the time to judge at, and what was done to it."""

    drafts: list[Draft]
    root: PrivateKey
    now: datetime
    changes: list[str] = field(default_factory=list)
    arrange: list[Callable[[list[bytes]], list[bytes]]] = field(default_factory=list)

    def encode(self) -> tuple[bytes, ...]:
        """Sign each under the key of the next, and arrange them."""
        signers = [draft.key for draft in self.drafts[1:]] + [self.root]
        found = [draft.sign(signer) for draft, signer in zip(self.drafts, signers, strict=True)]
        for step in self.arrange:
            found = step(found)
        return tuple(found)


class World:
    """A root, a CA below it, users and hosts, strangers; and the chains to start from."""

    def __init__(self) -> None:
        self.root = TestCA("/O=Grid/CN=Root", "p256")
        self.sub = self.root.intermediate("/O=Grid/CN=Sub", "p256")
        self.stranger = TestCA("/O=Other/CN=Stranger", "p256")
        self.now = datetime.now(UTC).replace(microsecond=0)
        alice = self.root.issue("/O=Grid/OU=Test/CN=Alice", "p256", eku=[x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
        bob = self.sub.issue("/DC=org/DC=grid/CN=Bob", "p384", key_usage=("digital_signature", "key_agreement"))
        host = self.root.issue_host("www.example.org", "p256")
        carol = self.root.issue("/O=Grid/CN=Carol", "rsa2048", ca=None, key_usage=None)
        sub = self.sub.credential
        full, bobs = alice.proxy(key="p256"), bob.proxy(info=LIMITED_INFO, key="p256")
        deep = alice.proxy(info=proxy_info("1.3.6.1.5.5.7.21.1", path_length=2), key="p256")
        lines: tuple[tuple[Issued, ...], ...] = (
            (alice,),
            (bob, sub),
            (host,),
            (carol,),
            (full, alice),
            (bob.proxy(key="ed25519"), bob, sub),
            (full.proxy(key="p256"), full, alice),
            (full.proxy(info=LIMITED_INFO, key="p256"), full, alice),
            (bobs.proxy(info=LIMITED_INFO, key="p256"), bobs, bob, sub),
            (host.proxy(info=INDEPENDENT_INFO, key="p256", key_usage=None), host),
            (deep.proxy(key="p256"), deep, alice),
            (carol.proxy(key="rsa2048"), carol),
        )
        self.issued = tuple(line[0] for line in lines)
        self.chains = [Chain([Draft.of(one) for one in line], self.root.key, self.now) for line in lines]
        self.others = [
            certificate.public_bytes(Encoding.DER)
            for certificate in (
                self.root.certificate,
                self.sub.certificate,
                self.stranger.certificate,
                self.stranger.issue("/O=Grid/CN=Alice", "p256").certificate,
                alice.certificate,
            )
        ]
        self.spkis = [
            issued.key.public_key().public_bytes(Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            for issued in (*self.issued[:6], self.root.credential)
        ]


def mutate(chain: Chain, rng: Random, world: World) -> Chain:
    """Return a copy with one to three changes."""
    found = copy.copy(chain)
    found.drafts = [copy.copy(draft) for draft in chain.drafts]
    for draft in found.drafts:
        draft.extensions = list(draft.extensions)
    found.changes, found.arrange = [], []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choices(_CHANGES, _WEIGHTS)[0]
        at = rng.randrange(len(found.drafts))
        found.changes.append(f"{change.__name__[1:]}@{at}")
        change(found, at, rng, world)
    return found


def _tbs(chain: Chain, at: int, rng: Random, world: World) -> None:
    seed = rng.getrandbits(32)
    chain.drafts[at].change_tbs = lambda tbs: mutate_der(tbs, Random(seed))


def _whole(chain: Chain, at: int, rng: Random, world: World) -> None:
    seed = rng.getrandbits(32)
    change = mutate_der if rng.random() < 0.5 else mutate_bytes
    chain.drafts[at].change_whole = lambda whole: change(whole, Random(seed))


def _remove_extension(chain: Chain, at: int, rng: Random, world: World) -> None:
    extensions = chain.drafts[at].extensions
    if extensions:
        del extensions[rng.randrange(len(extensions))]


def _add_extension(chain: Chain, at: int, rng: Random, world: World) -> None:
    oid, value = rng.choice(_EXTENSIONS)
    extensions = chain.drafts[at].extensions
    if rng.random() < 0.9:
        extensions[:] = [one for one in extensions if one[0] != oid]
    extensions.insert(rng.randrange(len(extensions) + 1), (oid, rng.random() < 0.5, value))


def _double_extension(chain: Chain, at: int, rng: Random, world: World) -> None:
    extensions = chain.drafts[at].extensions
    if extensions:
        extensions.append(rng.choice(extensions))


def _change_extension(chain: Chain, at: int, rng: Random, world: World) -> None:
    extensions = chain.drafts[at].extensions
    if extensions:
        index = rng.randrange(len(extensions))
        oid, critical, value = extensions[index]
        if rng.random() < 0.3:
            critical = not critical
        else:
            value = mutate_der(value, rng)
        extensions[index] = (oid, critical, value)


def _key_usage(chain: Chain, at: int, rng: Random, world: World) -> None:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
    )
    chosen = [name for name in names if rng.random() < 0.5]
    if not chosen:
        return
    extensions = chain.drafts[at].extensions
    extensions[:] = [one for one in extensions if one[0] != _KEY_USAGE]
    extensions.append((_KEY_USAGE, rng.random() < 0.8, named_bits(*chosen).public_bytes()))


def _proxy_info(chain: Chain, at: int, rng: Random, world: World) -> None:
    extensions = chain.drafts[at].extensions
    extensions[:] = [one for one in extensions if one[0] != PROXY_CERT_INFO]
    value = proxy_info(
        rng.choice(_LANGUAGES),
        path_length=rng.choice((None, None, 0, 1, 2, 127, 128, -1)),
        policy=rng.choice((None, None, None, b"", b"policy")),
    )
    extensions.append((PROXY_CERT_INFO, rng.random() < 0.9, value))


def _name(chain: Chain, at: int, rng: Random, world: World) -> None:
    """Change a name; the certificates below follow it half of the time."""
    draft = chain.drafts[at]
    rdns = [encode_tree([node]) for node in parse_tree(draft.subject)[0].children or ()]
    match rng.randrange(8):
        case 0 if rdns:
            rdns.pop()
        case 1:
            rdns.append(_rdn(rng))
        case 2 if rdns:
            rdns[-1] = _rdn(rng)
        case 3 if rdns:
            rdns.insert(0, rdns.pop())
        case 4 if rdns:
            rdns[-1] = tlv(0x31, rdns[-1][2:] + _rdn(rng)[2:])
        case 5:
            rdns = []
        case _:
            rdns = [_recased(rdn, rng) for rdn in rdns]
    draft.subject = tlv(0x30, b"".join(rdns))
    if rng.random() < 0.2:
        draft.issuer = draft.subject
    if rng.random() < 0.6:
        _follow(chain, at)


def _follow(chain: Chain, at: int) -> None:
    for index in range(at - 1, -1, -1):
        above, below = chain.drafts[index + 1], chain.drafts[index]
        below.issuer = above.subject
        if any(oid == PROXY_CERT_INFO for oid, _, _ in below.extensions):
            rdns = parse_tree(below.subject)[0].children or []
            below.subject = tlv(0x30, parse_content(above.subject) + encode_tree(rdns[-1:]))


def parse_content(der: bytes) -> bytes:
    """Return the content of one value."""
    node = parse_tree(der)[0]
    return node.content if node.children is None else node.prefix + encode_tree(node.children)


def _rdn(rng: Random) -> bytes:
    value = rng.choice((b"proxy", b"limited proxy", b"1234", b"Alice", b"www.example.org", b"a/b", b"", b"x" * 70))
    oid = rng.choice((_COMMON_NAME, _COMMON_NAME, encoded_oid("2.5.4.11"), encoded_oid("1.2.840.113549.1.9.1")))
    return tlv(0x31, tlv(0x30, oid + tlv(rng.choice((0x13, 0x13, 0x0C, 0x16, 0x14, 0x1E, 0x04)), value)))


def _recased(rdn: bytes, rng: Random) -> bytes:
    tree = parse_tree(rdn)
    for pair in tree[0].children or ():
        value = (pair.children or [pair])[-1]
        if rng.random() < 0.3:
            value.tag = rng.choice((0x0C, 0x13, 0x14, 0x16))
        value.content = rng.choice((value.content, value.content.upper(), b" " + value.content, value.content + b"  "))
    return encode_tree(tree)


def _times(chain: Chain, at: int, rng: Random, world: World) -> None:
    moments = [world.now + timedelta(seconds=rng.choice(_SHIFTS)) for _ in range(2)]
    chain.drafts[at].validity = tlv(0x30, b"".join(_time(moment, rng) for moment in sorted(moments)))


def _time(moment: datetime, rng: Random) -> bytes:
    if rng.random() < 0.15:
        return rng.choice(_ODD_TIMES)
    if moment.year < 2050:
        return tlv(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(0x18, moment.strftime("%Y%m%d%H%M%SZ").encode())


def _now(chain: Chain, at: int, rng: Random, world: World) -> None:
    certificate = rng.choice(world.issued).certificate
    edge = rng.choice((certificate.not_valid_before_utc, certificate.not_valid_after_utc))
    chain.now = edge + timedelta(seconds=rng.choice((-1, 0, 1)))


def _spki(chain: Chain, at: int, rng: Random, world: World) -> None:
    draft = chain.drafts[at]
    draft.spki = rng.choice(world.spkis) if rng.random() < 0.5 else mutate_der(draft.spki, rng)


def _version(chain: Chain, at: int, rng: Random, world: World) -> None:
    chain.drafts[at].version = rng.choice((1, 2, 4))
    if rng.random() < 0.5:
        chain.drafts[at].extensions = []


def _serial(chain: Chain, at: int, rng: Random, world: World) -> None:
    content = rng.choice((b"\x00", b"\xff", b"\x80\x00", b"\x00\x01", b"\x7f" * 20, b"\x7f" * 30, b""))
    chain.drafts[at].serial = tlv(0x02, content)


def _weak(chain: Chain, at: int, rng: Random, world: World) -> None:
    chain.drafts[at].weak = True


def _signer(chain: Chain, at: int, rng: Random, world: World) -> None:
    chain.drafts[at].key = rng.choice((world.root.key, world.stranger.key, world.issued[0].key))


def _drop(chain: Chain, at: int, rng: Random, world: World) -> None:
    """Take one out before the signing, so that the next key signs what is below."""
    if len(chain.drafts) > 1:
        del chain.drafts[at]
        if rng.random() < 0.6 and at:
            _follow(chain, min(at, len(chain.drafts) - 1))


def _arrange(chain: Chain, at: int, rng: Random, world: World) -> None:
    seed = rng.getrandbits(32)

    def step(found: list[bytes]) -> list[bytes]:
        own = Random(seed)
        index = own.randrange(len(found))
        match own.randrange(5):
            case 0:
                own.shuffle(found)
            case 1:
                found.insert(own.randrange(len(found) + 1), found[index])
            case 2 if len(found) > 1:
                del found[index]
            case 3:
                found[1:] = own.sample(found[1:], len(found) - 1)
            case _:
                found.insert(own.randrange(1, len(found) + 1), own.choice(world.others))
        return found

    chain.arrange.append(step)


def _longer(chain: Chain, at: int, rng: Random, world: World) -> None:
    """Put one more proxy below the leaf."""
    above = chain.drafts[0]
    key = ec.derive_private_key(rng.getrandbits(128) | 1, ec.SECP256R1())
    last = tlv(0x31, tlv(0x30, _COMMON_NAME + tlv(0x13, b"%d" % rng.getrandbits(31))))
    spki = key.public_key().public_bytes(Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    extensions = [
        (PROXY_CERT_INFO, True, rng.choice((FULL_INFO, LIMITED_INFO, INDEPENDENT_INFO))),
        (_KEY_USAGE, True, named_bits("digital_signature").public_bytes()),
    ]
    name = tlv(0x30, parse_content(above.subject) + last)
    chain.drafts.insert(0, Draft(tlv(0x02, b"\x05"), above.subject, above.validity, name, spki, extensions, key))


_KEY_USAGE: Final = "2.5.29.15"
_LANGUAGES: Final = (
    "1.3.6.1.5.5.7.21.0",
    "1.3.6.1.5.5.7.21.1",
    "1.3.6.1.5.5.7.21.1",
    "1.3.6.1.5.5.7.21.2",
    "1.3.6.1.4.1.3536.1.1.1.9",
    "1.2.3.4",
)
_SHIFTS: Final = (-(10**9), -86400, -1, 0, 1, 3600, 10**8, 9 * 10**8)
_ODD_TIMES: Final = (
    b"\x17\x0b5001010000Z",
    b"\x17\x11491231235959+0000",
    b"\x18\x0f20200101000000Z",
    b"\x18\x1120200101000000.5Z",
    b"\x18\x0f99991231235959Z",
    b"\x17\x0d990230000000Z",
    b"\x17\x00",
)


def _extension_values() -> tuple[tuple[str, bytes], ...]:
    from ipaddress import ip_network

    client, server = x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH, x509.oid.ExtendedKeyUsageOID.SERVER_AUTH
    names: list[x509.GeneralName] = [x509.DNSName("www.example.org"), x509.RFC822Name("a@example.org")]
    grid = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Grid")]))
    values: list[x509.ExtensionType] = [
        x509.BasicConstraints(ca=True, path_length=None),
        x509.BasicConstraints(ca=True, path_length=0),
        x509.BasicConstraints(ca=True, path_length=1),
        x509.BasicConstraints(ca=False, path_length=None),
        x509.ExtendedKeyUsage([client]),
        x509.ExtendedKeyUsage([server]),
        x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
        x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.2.3.4")]),
        x509.SubjectAlternativeName(names),
        x509.IssuerAlternativeName(names),
        x509.NameConstraints([grid], None),
        x509.NameConstraints(None, [grid]),
        x509.NameConstraints([x509.DNSName("example.org")], [x509.IPAddress(ip_network("10.0.0.0/8"))]),
        x509.NameConstraints([x509.RFC822Name("example.org")], None),
        x509.SubjectKeyIdentifier(b"12345678"),
        x509.AuthorityKeyIdentifier(b"12345678", None, None),
        x509.PolicyConstraints(0, None),
        x509.PolicyConstraints(None, 0),
        x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3.4"), None)]),
        x509.InhibitAnyPolicy(0),
        x509.CRLDistributionPoints([x509.DistributionPoint([x509.DNSName("x")], None, None, None)]),
        x509.TLSFeature([x509.TLSFeatureType.status_request]),
    ]
    plain = [(value.oid.dotted_string, value.public_bytes()) for value in values]
    return (
        *plain,
        ("1.2.3.4", b"\x05\x00"),
        ("2.16.840.1.113730.1.1", b"\x03\x02\x07\x80"),  # Netscape certificate type: TLS client
        ("2.16.840.1.113730.1.1", b"\x03\x02\x00\x07"),  # CA only
        ("2.5.29.16", b"\x30\x00"),  # private key usage period
        ("1.3.6.1.4.1.3536.1.222", FULL_INFO),
        (PROXY_CERT_INFO, b"\x30\x00"),
        (PROXY_CERT_INFO, b""),
    )


_EXTENSIONS: Final = _extension_values()
_CHANGES: Final = (
    _tbs,
    _whole,
    _remove_extension,
    _add_extension,
    _double_extension,
    _change_extension,
    _key_usage,
    _proxy_info,
    _name,
    _times,
    _now,
    _spki,
    _version,
    _serial,
    _weak,
    _signer,
    _drop,
    _arrange,
    _longer,
)
_WEIGHTS: Final = (8, 2, 4, 8, 2, 6, 6, 8, 8, 5, 2, 3, 2, 2, 1, 2, 2, 4, 3)
