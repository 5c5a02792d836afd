"""A certification authority for tests, on pyca/cryptography alone: it imports nothing of the project.

So a mistake in our own encoders cannot hide behind the same mistake here. Names are written in the one-line form
(`/O=Grid/CN=Alice`) or given as `x509.Name`. RSA keys come from a small pool per process, because making them is what
would make suites slow; neighbours in the pool differ, authorities and end entities never share a key.

Workflow:
    ca = TestCA("/O=Grid/CN=Test CA")
    alice = ca.issue("/O=Grid/CN=Alice", key="p256")
    write_trust_dir(directory, ca, crl=True)
    alice.write(cert_path, key_path)
    limited = alice.proxy(info=LIMITED_INFO)
"""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

__all__ = [
    "CLIENT_AUTH",
    "FULL_INFO",
    "INDEPENDENT_INFO",
    "LIMITED_INFO",
    "PROXY_CERT_INFO",
    "SERVER_AUTH",
    "Extra",
    "Issued",
    "KeyKind",
    "PrivateKey",
    "TestCA",
    "encoded_oid",
    "named_bits",
    "new_key",
    "one_line",
    "parse_name",
    "pooled_key",
    "proxy_info",
    "raw_extension",
    "sign",
    "subject_hash",
    "tlv",
    "write_file",
    "write_trust_dir",
]

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
KeyKind: TypeAlias = Literal["rsa2048", "rsa3072", "rsa4096", "p256", "p384", "ed25519"]
Digest: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
Extra: TypeAlias = tuple[x509.ExtensionType, bool]
KeyUsage: TypeAlias = x509.KeyUsage | Sequence[str] | Literal["default"] | None
Name: TypeAlias = str | x509.Name

PROXY_CERT_INFO: Final = "1.3.6.1.5.5.7.1.14"
FULL_INFO: Final = bytes.fromhex("300C300A06082B06010505071501")
INDEPENDENT_INFO: Final = bytes.fromhex("300C300A06082B06010505071502")
LIMITED_INFO: Final = bytes.fromhex("300F300D060B2B060104019B5001010109")
CLIENT_AUTH: Final = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH: Final = ExtendedKeyUsageOID.SERVER_AUTH

POOL_SIZE: Final = 4  # keys per kind and role: enough for the widest chain of distinct keys that a test builds
_ATTRIBUTES: Final = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
}
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_serials = itertools.count(0x1000)


def parse_name(text: Name) -> x509.Name:
    """Build a name from its one-line form; a part without `TYPE=` belongs to the value before it.

    Raises:
        ValueError: The text does not start with `/` or names an unknown attribute type.
    """
    if isinstance(text, x509.Name):
        return text
    if not text.startswith("/"):
        raise ValueError(f"not a one-line name: {text!r}")
    parts: list[tuple[str, str]] = []
    for piece in text[1:].split("/"):
        kind, equals, value = piece.partition("=")
        if equals:
            parts.append((kind, value))
        elif parts:
            parts[-1] = (parts[-1][0], f"{parts[-1][1]}/{piece}")
        else:
            raise ValueError(f"not a one-line name: {text!r}")
    unknown = [kind for kind, _ in parts if kind not in _ATTRIBUTES]
    if unknown:
        raise ValueError(f"unknown attribute type {unknown[0]!r} in {text!r}")
    return x509.Name([x509.NameAttribute(_ATTRIBUTES[kind], value) for kind, value in parts])


def one_line(name: x509.Name) -> str:
    """The one-line form of a name whose values are plain ASCII."""
    short = {oid: kind for kind, oid in _ATTRIBUTES.items()}
    return "".join(f"/{short[a.oid]}={a.value!s}" for a in name)


def new_key(kind: KeyKind) -> PrivateKey:
    """Make a fresh key; for RSA prefer `pooled_key`."""
    match kind:
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa")))


@functools.cache
def _pool(kind: KeyKind, role: str, slot: int) -> PrivateKey:
    return new_key(kind)


_turns: dict[tuple[str, str], itertools.cycle[int]] = {}


def pooled_key(kind: KeyKind, *, role: str = "end-entity") -> PrivateKey:
    """A key of this kind: fresh for the cheap kinds, the next of a small ring for RSA.

    Two keys taken one after the other for the same role differ; keys of different roles always differ.
    """
    if not kind.startswith("rsa"):
        return new_key(kind)
    turn = _turns.setdefault((kind, role), itertools.cycle(range(POOL_SIZE)))
    return _pool(kind, role, next(turn))


def _key(key: KeyKind | PrivateKey, role: str) -> PrivateKey:
    return pooled_key(key, role=role) if isinstance(key, str) else key


def named_bits(*names: str) -> x509.KeyUsage:
    """A KeyUsage with just these bits, named as pyca names them (`digital_signature`, `key_cert_sign`, ...)."""
    unknown = set(names) - set(_USAGES)
    if unknown:
        raise ValueError(f"unknown key usage {sorted(unknown)}")
    return x509.KeyUsage(**{usage: usage in names for usage in _USAGES})


def raw_extension(oid: str, value: bytes, *, critical: bool = False) -> Extra:
    """An extension with these exact bytes as its value, for `extensions=`."""
    return x509.UnrecognizedExtension(ObjectIdentifier(oid), value), critical


def tlv(tag: int, content: bytes) -> bytes:
    """One TLV with a definite length."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def encoded_oid(dotted: str) -> bytes:
    """An object identifier, whole."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    out = bytearray()
    for arc in (40 * first + second, *rest):
        group = [arc & 0x7F]
        while arc := arc >> 7:
            group.append(0x80 | arc & 0x7F)
        out += bytes(reversed(group))
    return tlv(0x06, bytes(out))


def proxy_info(language: str, *, path_length: int | None = None, policy: bytes | None = None) -> bytes:
    """A ProxyCertInfo (RFC 3820 section 3.8), encoded by hand."""
    length = b""
    if path_length is not None:
        size = path_length.bit_length() // 8 + 1
        length = tlv(0x02, path_length.to_bytes(size, "big", signed=True))
    octets = b"" if policy is None else tlv(0x04, policy)
    return tlv(0x30, length + tlv(0x30, encoded_oid(language) + octets))


def _digest_for(key: PrivateKey) -> Digest | None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size == 384:
        return hashes.SHA384()
    return hashes.SHA256()


def sign(
    subject: Name,
    public_key: PrivateKey,
    issuer: Name,
    issuer_key: PrivateKey,
    *,
    not_before: datetime,
    not_after: datetime,
    serial: int | None = None,
    extensions: Iterable[Extra] = (),
    digest: Digest | None = None,
) -> x509.Certificate:
    """Sign any certificate at all; the rules are the caller's.

    Args:
        subject: The new certificate's subject.
        public_key: The private key whose public half is certified.
        issuer: The issuer's name, which need not belong to `issuer_key`.
        issuer_key: The signing key.
        not_before: Start of validity.
        not_after: End of validity.
        serial: Serial number; the next of a counter by default.
        extensions: Pairs of extension and criticality, in order.
        digest: Digest of the signature; what suits the key by default.
    """
    builder = (
        x509.CertificateBuilder()
        .subject_name(parse_name(subject))
        .issuer_name(parse_name(issuer))
        .public_key(public_key.public_key())
        .serial_number(next(_serials) if serial is None else serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, digest or _digest_for(issuer_key))


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key and the certificates between it and the root.

    Attributes:
        certificate: The leaf.
        key: Its private key.
        chain: Issuers of the leaf, nearest first, the root left out.
    """

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def subject(self) -> str:
        """The subject in one-line form."""
        return one_line(self.certificate.subject)

    @property
    def der(self) -> bytes:
        """The leaf in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        """The leaf and its issuers in DER, leaf first, as a peer presents them."""
        return (self.der, *(c.public_bytes(serialization.Encoding.DER) for c in self.chain))

    @property
    def pem(self) -> bytes:
        """The leaf in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        """The issuers (without the leaf) in PEM."""
        return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in self.chain)

    def key_pem(self, passphrase: bytes | None = None, *, traditional: bool = False) -> bytes:
        """The private key in PEM: PKCS#8, or the older form named after its algorithm."""
        form = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
        lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            lock = serialization.BestAvailableEncryption(passphrase)
        return self.key.private_bytes(serialization.Encoding.PEM, form, lock)

    def bundle(self, *, traditional: bool = False) -> bytes:
        """Certificate, key, chain: the order of a proxy file."""
        return self.pem + self.key_pem(traditional=traditional) + self.chain_pem

    def pkcs12(self, passphrase: bytes, *, friendly_name: bytes = b"test") -> bytes:
        """Leaf, key and chain as PKCS#12."""
        lock = serialization.BestAvailableEncryption(passphrase)
        return pkcs12.serialize_key_and_certificates(friendly_name, self.key, self.certificate, self.chain, lock)

    def write(
        self, cert_path: str | Path, key_path: str | Path, *, passphrase: bytes | None = None, key_mode: int = 0o600
    ) -> None:
        """Write certificate (with chain, 0644) and key to two files."""
        write_file(cert_path, self.pem + self.chain_pem, 0o644)
        write_file(key_path, self.key_pem(passphrase), key_mode)

    def write_bundle(self, path: str | Path, *, mode: int = 0o600) -> None:
        """Write the proxy file."""
        write_file(path, self.bundle(), mode)

    def proxy(
        self,
        *,
        info: bytes = FULL_INFO,
        info_oid: str | None = PROXY_CERT_INFO,
        info_critical: bool = True,
        cn: str | None = None,
        key: KeyKind | PrivateKey = "rsa2048",
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        serial: int | None = None,
        key_usage: KeyUsage = ("digital_signature", "key_encipherment"),
        extensions: Sequence[Extra] = (),
        subject: Name | None = None,
    ) -> Issued:
        """Sign a proxy certificate with this credential, by hand; every rule can be broken.

        Args:
            info: The exact ProxyCertInfo value.
            info_oid: Its OID, or None for a proxy without (the oldest form, with `cn="proxy"`).
            info_critical: Criticality of that extension.
            cn: The common name added to the subject; the serial in decimal by default.
            key: Kind of the new key, or the key.
            not_before: Start of validity; five minutes ago by default.
            not_after: End of validity; twelve hours from now by default.
            serial: Serial number.
            key_usage: Names of the bits, a KeyUsage, or None for no extension.
            extensions: More extensions.
            subject: A whole subject in place of issuer + CN.
        """
        now = datetime.now(UTC).replace(microsecond=0)
        serial = next(_serials) if serial is None else serial
        added = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, cn or str(serial))])
        own = x509.Name([*self.certificate.subject.rdns, added]) if subject is None else parse_name(subject)
        private = _key(key, "proxy")
        usage: list[Extra] = []
        if key_usage is not None:
            named = ("digital_signature",) if key_usage == "default" else key_usage
            usage.append((named if isinstance(named, x509.KeyUsage) else named_bits(*named), True))
        marker = [] if info_oid is None else [raw_extension(info_oid, info, critical=info_critical)]
        certificate = sign(
            own,
            private,
            self.certificate.subject,
            self.key,
            not_before=not_before or now - timedelta(minutes=5),
            not_after=not_after or now + timedelta(hours=12),
            serial=serial,
            extensions=[*usage, *marker, *extensions],
        )
        return Issued(certificate, private, (self.certificate, *self.chain))


class TestCA:
    """A root (or, through `intermediate`, a subordinate) authority.

    Attributes:
        name: The subject in one-line form, where it has one.
        certificate: The authority's own certificate.
        key: Its private key.
        chain: Certificates between this authority and the root, its own first; empty for a root.
    """

    __test__ = False  # pytest would collect it by its name

    def __init__(
        self,
        name: Name = "/O=Grid/CN=Test CA",
        key: KeyKind | PrivateKey = "rsa2048",
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        path_length: int | None = None,
        key_usage: KeyUsage = ("key_cert_sign", "crl_sign"),
        extensions: Sequence[Extra] = (),
        serial: int | None = None,
        parent: TestCA | None = None,
    ) -> None:
        now = datetime.now(UTC).replace(microsecond=0)
        self.key = _key(key, "authority")
        subject = parse_name(name)
        issuer = subject if parent is None else parent.certificate.subject
        issuer_key = self.key if parent is None else parent.key
        own: list[Extra] = [(x509.BasicConstraints(ca=True, path_length=path_length), True)]
        if key_usage is not None:
            named = ("key_cert_sign", "crl_sign") if key_usage == "default" else key_usage
            own.append((named if isinstance(named, x509.KeyUsage) else named_bits(*named), True))
        own.append((x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False))
        if parent is not None:
            own.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False))
        self.certificate: x509.Certificate = sign(
            subject,
            self.key,
            issuer,
            issuer_key,
            not_before=not_before or now - timedelta(days=1),
            not_after=not_after or now + timedelta(days=3650),
            serial=serial,
            extensions=[*own, *extensions],
        )
        self.parent = parent
        self.chain: tuple[x509.Certificate, ...] = () if parent is None else (self.certificate, *parent.chain)

    @property
    def name(self) -> str:
        """The subject in one-line form."""
        return one_line(self.certificate.subject)

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def credential(self) -> Issued:
        """The authority as a credential, for tests that misuse it as a signer of proxies."""
        return Issued(self.certificate, self.key, () if self.parent is None else self.parent.chain)

    def intermediate(
        self, name: Name, key: KeyKind | PrivateKey = "rsa2048", *, path_length: int | None = None
    ) -> TestCA:
        """A subordinate authority, signed by this one; what it issues carries it in `chain`."""
        return TestCA(name, key, path_length=path_length, parent=self)

    def issue(
        self,
        subject: Name,
        key: KeyKind | PrivateKey = "rsa2048",
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        serial: int | None = None,
        ca: bool | None = False,
        path_length: int | None = None,
        key_usage: KeyUsage = "default",
        eku: Sequence[ObjectIdentifier] | None = None,
        san: Sequence[str] | None = None,
        extensions: Sequence[Extra] = (),
        digest: Digest | None = None,
    ) -> Issued:
        """Issue a certificate.

        Args:
            subject: Its name.
            key: The kind of key, or the key itself.
            not_before: Start of validity; an hour ago by default.
            not_after: End of validity; thirty days from now by default.
            serial: Serial number.
            ca: The BasicConstraints flag; None leaves the extension out.
            path_length: The BasicConstraints path length, for `ca=True`.
            key_usage: `"default"` (digitalSignature, and keyEncipherment for RSA), the names of bits, a KeyUsage, or
                None for no extension.
            eku: Extended key usages, or None for no extension.
            san: Alternative names: `DNS:host`, `IP:address`, `email:a@b` or `URI:...`.
            extensions: More extensions (`raw_extension` for exact bytes).
            digest: Digest of the signature.
        """
        now = datetime.now(UTC).replace(microsecond=0)
        private = _key(key, "end-entity")
        own: list[Extra] = []
        if ca is not None:
            own.append((x509.BasicConstraints(ca=ca, path_length=path_length), True))
        if key_usage is not None:
            if key_usage == "default":
                key_usage = ("digital_signature",)
                if isinstance(private, rsa.RSAPrivateKey):
                    key_usage = (*key_usage, "key_encipherment")
                if ca:
                    key_usage = (*key_usage, "key_cert_sign", "crl_sign")
            own.append((key_usage if isinstance(key_usage, x509.KeyUsage) else named_bits(*key_usage), True))
        if eku is not None:
            own.append((x509.ExtendedKeyUsage(eku), False))
        if san is not None:
            own.append((x509.SubjectAlternativeName([_general_name(text) for text in san]), False))
        certificate = sign(
            subject,
            private,
            self.certificate.subject,
            self.key,
            not_before=not_before or now - timedelta(hours=1),
            not_after=not_after or now + timedelta(days=30),
            serial=serial,
            extensions=[*own, *extensions],
            digest=digest,
        )
        return Issued(certificate, private, self.chain)

    def issue_host(self, host: str = "localhost", key: KeyKind | PrivateKey = "rsa2048") -> Issued:
        """A host certificate for this name and for 127.0.0.1, fit for server and client use."""
        return self.issue(
            f"/O=Grid/CN={host}", key, san=[f"DNS:{host}", "IP:127.0.0.1"], eku=[SERVER_AUTH, CLIENT_AUTH]
        )

    def crl(
        self,
        revoked: Iterable[Issued | TestCA | x509.Certificate | int] = (),
        *,
        this_update: datetime | None = None,
        next_update: datetime | None = None,
        number: int | None = 1,
        extensions: Sequence[Extra] = (),
        issuer: Name | None = None,
        key: PrivateKey | None = None,
    ) -> bytes:
        """A CRL in PEM.

        Args:
            revoked: Certificates, credentials or serial numbers.
            this_update: Start; an hour ago by default.
            next_update: End; thirty days from now by default.
            number: CRL number, or None for no such extension.
            extensions: More CRL extensions.
            issuer: Another issuer name than the authority's.
            key: Another signing key than the authority's.
        """
        now = datetime.now(UTC).replace(microsecond=0)
        this_update = this_update or now - timedelta(hours=1)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject if issuer is None else parse_name(issuer))
            .last_update(this_update)
            .next_update(next_update or now + timedelta(days=30))
        )
        for item in revoked:
            serial = _serial_of(item)
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(this_update)
            builder = builder.add_revoked_certificate(entry.build())
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        signer = key or self.key
        return builder.sign(signer, _digest_for(signer)).public_bytes(serialization.Encoding.PEM)

    def signing_policy(self, *globs: str) -> str:
        """The text of a `.signing_policy` that lets this authority sign these subjects (all by default)."""
        subjects = " ".join(f'"{glob}"' for glob in globs or ("*",))
        return (
            f"access_id_CA   X509    '{self.name}'\n"
            "pos_rights     globus  CA:sign\n"
            f"cond_subjects  globus  '{subjects}'\n"
        )


def _serial_of(item: Issued | TestCA | x509.Certificate | int) -> int:
    if isinstance(item, int):
        return item
    return item.serial_number if isinstance(item, x509.Certificate) else item.certificate.serial_number


def _general_name(text: str) -> x509.GeneralName:
    import ipaddress

    kind, _, value = text.partition(":")
    match kind:
        case "DNS":
            return x509.DNSName(value)
        case "IP":
            return x509.IPAddress(ipaddress.ip_address(value))
        case "email":
            return x509.RFC822Name(value)
        case "URI":
            return x509.UniformResourceIdentifier(value)
    raise ValueError(f"not an alternative name: {text!r}")


_hashes: dict[tuple[bytes, str], str] = {}  # of subjects: the rest of a certificate has no part in them


def subject_hash(certificate: x509.Certificate, *, old: bool = False) -> str:
    """The subject hash as the `openssl` program computes it (`old`: the form before OpenSSL 1.0)."""
    place = certificate.subject.public_bytes(), "-subject_hash_old" if old else "-subject_hash"
    if place not in _hashes:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        argv = ["openssl", "x509", "-noout", place[1]]
        done = subprocess.run(argv, input=pem, capture_output=True, check=True, timeout=30)
        _hashes[place] = done.stdout.decode().strip()
    return _hashes[place]


def write_file(path: str | Path, data: bytes, mode: int) -> None:
    """Write a file and set its exact mode."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    os.chmod(target, mode)


def write_trust_dir(
    path: str | Path,
    *cas: TestCA,
    crl: bool | bytes | None = None,
    signing_policy: str | bool = True,
    old_hash: bool = False,
) -> Path:
    """Write a trust directory: `<hash>.0`, `<hash>.signing_policy` and, when asked, `<hash>.r0` for each authority.

    Args:
        path: The directory; made when missing.
        cas: The authorities. Two of the same name get `.0` and `.1`.
        crl: True for an empty CRL each, or the PEM of the CRL to write for each; None or False for none.
        signing_policy: True for "may sign anything", False for none, or the exact text.
        old_hash: Name the files by the hash used before OpenSSL 1.0.

    Returns:
        The directory.
    """
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    for ca in cas:
        digest = subject_hash(ca.certificate, old=old_hash)
        number = next(n for n in itertools.count() if not (directory / f"{digest}.{n}").exists())
        write_file(directory / f"{digest}.{number}", ca.pem, 0o644)
        if signing_policy is not False:
            text = ca.signing_policy() if signing_policy is True else signing_policy
            write_file(directory / f"{digest}.signing_policy", text.encode(), 0o644)
        if crl:
            write_file(directory / f"{digest}.r{number}", ca.crl() if crl is True else crl, 0o644)
    return directory
