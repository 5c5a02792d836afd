"""Certificates, proxies and CRLs, every field of which can be made wrong; judges nothing.

    ca = authority(name("/O=Grid/CN=Test CA"), load("rsa2048-root"))
    alice = issue(ca, name("/O=Grid/CN=Alice"), load("rsa2048-eec"))
    limited = proxy(alice, LIMITED)
    limited.chain                       the DER certificates, leaf first, root left out

A fact about a proxy is noted when it is made (`Facts`), not read back from its bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from builder import der, keys
from builder.der import explicit, integer, octets, oid, sequence, tlv
from builder.names import attribute, rdn, rdns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.keys import Key

__all__ = [
    "ANY_LANGUAGE",
    "CA_BITS",
    "CA_END",
    "CA_START",
    "EEC_BITS",
    "FULL",
    "GT3",
    "INDEPENDENT",
    "LIMITED",
    "PCI",
    "V3",
    "WORDS",
    "Entity",
    "Facts",
    "Fields",
    "Info",
    "authority",
    "basic_constraints",
    "certify",
    "crl",
    "crl_entry",
    "extension",
    "issue",
    "key_usage",
    "proxy",
    "proxy_fields",
    "purposes",
    "serial_of",
    "with_chain",
]

PCI: Final = "1.3.6.1.5.5.7.1.14"
GT3: Final = "1.3.6.1.4.1.3536.1.222"
ANY_LANGUAGE: Final = "1.3.6.1.5.5.7.21.0"
WORDS: Final = "1.3.6.1.4.1.32473.1.1"  # the suite's own policy language, under the arc for examples (RFC 5612)
_KINDS: Final = {
    "1.3.6.1.5.5.7.21.1": "full",
    "1.3.6.1.5.5.7.21.2": "independent",
    "1.3.6.1.4.1.3536.1.1.1.9": "limited",
}

CA_START: Final = datetime(2020, 1, 1, tzinfo=UTC)
CA_END: Final = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
EEC_END: Final = datetime(2047, 6, 30, 12, 0, 0, tzinfo=UTC)
PROXY_START: Final = datetime(2025, 1, 1, tzinfo=UTC)
PROXY_END: Final = datetime(2045, 1, 1, tzinfo=UTC)

V3: Final = explicit(0, integer(2))
CA_BITS: Final = ("keyCertSign", "cRLSign")
_BITS: Final = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
)


# Extensions


def extension(number: str, value: bytes, *, critical: bool | bytes = False) -> bytes:
    """Return one Extension; bytes as `critical` stand there as they are."""
    flag = critical if isinstance(critical, bytes) else der.TRUE if critical else b""
    return sequence(oid(number), flag, octets(value))


def key_usage(*names: str, critical: bool = True) -> bytes:
    """Return a KeyUsage with these bits (RFC 5280 section 4.2.1.3)."""
    bits = [name in names for name in _BITS]
    while bits and not bits[-1]:
        bits.pop()
    packed = int("".join("01"[bit] for bit in bits).ljust(8, "0"), 2) if bits else 0
    content = der.bit_string(bytes((packed,)), unused=8 - len(bits)) if bits else der.bit_string(b"")
    return extension("2.5.29.15", content, critical=critical)


def basic_constraints(*, ca: bool, path_length: int | None = None, critical: bool = True) -> bytes:
    """Return a BasicConstraints (RFC 5280 section 4.2.1.9)."""
    length = b"" if path_length is None else integer(path_length)
    return extension("2.5.29.19", sequence(der.TRUE if ca else b"", length), critical=critical)


def purposes(*names: str, critical: bool = False) -> bytes:
    """Return an ExtendedKeyUsage of `server`, `client`, `any` or dotted identifiers."""
    known = {"server": "1.3.6.1.5.5.7.3.1", "client": "1.3.6.1.5.5.7.3.2", "any": "2.5.29.37.0"}
    return extension("2.5.29.37", sequence(*(oid(known.get(name, name)) for name in names)), critical=critical)


@dataclass(frozen=True, slots=True)
class Info:
    """What a ProxyCertInfo says (RFC 3820 section 3.8)."""

    language: str
    path_length: int | None = None
    policy: bytes | None = None

    @property
    def kind(self) -> str:
        """full, limited, independent or restricted."""
        return _KINDS.get(self.language, "restricted")

    @property
    def policy_der(self) -> bytes:
        """The ProxyPolicy."""
        return sequence(oid(self.language), b"" if self.policy is None else octets(self.policy))

    def encode(self, form: str = "rfc3820") -> bytes:
        """The extension's content in the form of RFC 3820 or of the draft before it."""
        if form == "gt3":
            length = b"" if self.path_length is None else explicit(1, integer(self.path_length))
            return sequence(self.policy_der, length)
        return sequence(b"" if self.path_length is None else integer(self.path_length), self.policy_der)

    def at_most(self, path_length: int | None) -> Info:
        """The same with this path length."""
        return replace(self, path_length=path_length)


FULL: Final = Info("1.3.6.1.5.5.7.21.1")
INDEPENDENT: Final = Info("1.3.6.1.5.5.7.21.2")
LIMITED: Final = Info("1.3.6.1.4.1.3536.1.1.1.9")


# Certificates


class Fields(TypedDict, total=False):
    """The fields of a certificate that may be chosen; what is left out is as it should be."""

    version: bytes
    serial: int | bytes
    inner: bytes
    issuer: bytes
    start: datetime | bytes
    end: datetime | bytes
    validity: bytes
    subject: bytes
    spki: bytes
    ids: bytes
    extensions: Sequence[bytes] | None
    extensions_der: bytes
    outer: bytes
    signer: Key
    digest: str
    signature: bytes
    unused_bits: int


def certify(key: Key, issuer_key: Key, **fields: Unpack[Fields]) -> bytes:
    """Return a certificate for `key`, signed by `signer` or else the issuer's key.

    `subject`, `issuer`, `start` and `end` must be given. Bytes for a field are its whole encoding. An
    `extensions_der` takes the place of the whole [3]; None for `extensions` leaves that out.
    """
    signer = fields.get("signer", issuer_key)
    algorithm = keys.algorithm(signer, fields.get("digest"))
    listed = fields.get("extensions")
    behind_serial = [
        fields.get("inner", algorithm),
        fields["issuer"],
        fields.get("validity") or sequence(_time(fields["start"]), _time(fields["end"])),
        fields["subject"],
        fields.get("spki", key.spki),
        fields.get("ids", b""),
        fields.get("extensions_der", b"" if listed is None else explicit(3, sequence(*listed))),
    ]
    serial = fields.get("serial")
    if serial is None:  # from the content, so that one case more or less changes no other
        serial = int.from_bytes(hashlib.sha256(b"".join(behind_serial)).digest()[:8], "big") >> 1 | 1 << 40
    number = serial if isinstance(serial, bytes) else integer(serial)
    tbs = sequence(fields.get("version", V3), number, *behind_serial)
    signature = fields.get("signature")
    if signature is None:
        signature = keys.sign(signer, tbs, fields.get("digest"))
    return sequence(tbs, fields.get("outer", algorithm), der.bit_string(signature, unused=fields.get("unused_bits", 0)))


def _time(moment: datetime | bytes) -> bytes:
    return moment if isinstance(moment, bytes) else der.time(moment)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a judge that accepts a chain should find out about it.

    Attributes:
        identity: The one-line name to authorise.
        kinds: The kind of each proxy, leaf first.
        form: "rfc3820", "gt3" or "gt2"; None without proxy.
        depth_left: How many more proxies may follow; None for no limit.
        not_after: The earliest end of the chain.
        grants: What the restrictions leave; None when nothing restricts.
    """

    identity: str
    not_after: datetime
    kinds: tuple[str, ...] = ()
    form: str | None = None
    depth_left: int | None = None
    grants: frozenset[str] | None = None

    def below(self, subject: str, info: Info, form: str, end: datetime) -> Facts:
        """Return the facts with one more proxy."""
        left = None if self.depth_left is None else max(self.depth_left - 1, 0)
        own = info.path_length
        depth = own if left is None else left if own is None else min(left, own)
        grants = self.grants
        if info.kind == "restricted":
            words = frozenset((info.policy or b"").decode("latin-1").split())
            grants = words if grants is None else grants & words
        return Facts(
            identity=subject if info.kind in {"independent", "restricted"} else self.identity,
            not_after=min(self.not_after, end),
            kinds=(info.kind, *self.kinds),
            form=form,
            depth_left=depth,
            grants=grants,
        )


@dataclass(frozen=True, slots=True)
class Entity:
    """A certificate with its key, the certificates above it (root left out), and what is true of the chain."""

    certificate: bytes
    subject: bytes
    key: Key
    text: str
    facts: Facts
    above: tuple[bytes, ...] = ()
    is_root: bool = False
    has_key: bool = True
    """Whether `key` is the one in the certificate."""

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificates, leaf first."""
        return (self.certificate, *self.above)


def authority(name: bytes, key: Key, *, text: str, **fields: Unpack[Fields]) -> Entity:
    """Return a root CA."""
    made: Fields = {
        "subject": name,
        "issuer": name,
        "start": CA_START,
        "end": CA_END,
        "extensions": [basic_constraints(ca=True), key_usage(*CA_BITS)],
    }
    made.update(fields)
    certificate = certify(key, key, **made)
    return Entity(certificate, made["subject"], key, text, Facts(text, _moment(made["end"], CA_END)), is_root=True)


EEC_BITS: Final = ("digitalSignature", "keyEncipherment")


def issue(parent: Entity, name: bytes, key: Key, *, text: str, ca: bool = False, **fields: Unpack[Fields]) -> Entity:
    """Return an end entity, or a CA below another, that `parent` has certified."""
    made: Fields = {
        "subject": name,
        "issuer": parent.subject,
        "start": CA_START,
        "end": EEC_END,
        "extensions": [basic_constraints(ca=True), key_usage(*CA_BITS)] if ca else [key_usage(*EEC_BITS)],
    }
    made.update(fields)
    certificate = certify(key, parent.key, **made)
    end = min(parent.facts.not_after, _moment(made["end"], EEC_END))
    above = () if parent.is_root else parent.chain
    return Entity(certificate, made["subject"], key, text, Facts(text, end), above)


def _moment(end: datetime | bytes, default: datetime) -> datetime:
    return end if isinstance(end, datetime) else default


PROXY_KEYS: Final = tuple(f"rsa2048-proxy-{number}" for number in range(1, 6))


def proxy_fields(
    above: Entity,
    info: Info | bytes | None = FULL,
    *,
    form: str = "rfc3820",
    cn: str | None = None,
    usage: Sequence[str] | None = EEC_BITS,
    more: Sequence[bytes] = (),
    critical: bool | bytes = True,
) -> Fields:
    """Return the fields of a proxy under `above` (RFC 3820 section 3).

    Args:
        above: The signer.
        info: The ProxyCertInfo, as bytes for its exact content, None for none (GT2).
        form: "rfc3820", "gt3" or "gt2".
        cn: The common name that is added; by default a number that tells the level.
        usage: Bits of the KeyUsage; None for no such extension.
        more: Further extensions.
        critical: Whether the ProxyCertInfo is.
    """
    if cn is None:
        cn = "proxy" if form == "gt2" else str(1001 + len(above.facts.kinds))
    subject = sequence(*rdns(above.subject), rdn(attribute("CN", cn)))
    listed = [] if usage is None else [key_usage(*usage)]
    if info is not None and form != "gt2":
        content = info.encode(form) if isinstance(info, Info) else info
        listed.append(extension(GT3 if form == "gt3" else PCI, content, critical=critical))
    listed += more
    made: Fields = {"subject": subject, "issuer": above.subject, "start": PROXY_START, "end": PROXY_END}
    made["extensions"] = listed or None
    return made


def proxy(
    above: Entity,
    info: Info | bytes | None = FULL,
    *,
    key: Key | None = None,
    form: str = "rfc3820",
    cn: str | None = None,
    usage: Sequence[str] | None = EEC_BITS,
    more: Sequence[bytes] = (),
    critical: bool | bytes = True,
    **fields: Unpack[Fields],
) -> Entity:
    """Return a proxy that `above` has signed; see `proxy_fields`, whatever of which may be overridden."""
    made = proxy_fields(above, info, form=form, cn=cn, usage=usage, more=more, critical=critical)
    made.update(fields)
    if key is None:
        key = keys.load(PROXY_KEYS[len(above.facts.kinds) % len(PROXY_KEYS)])
    certificate = certify(key, above.key, **made)
    shown = Info(FULL.language) if not isinstance(info, Info) else info
    if form == "gt2":
        shown = LIMITED if cn == "limited proxy" else FULL
    if cn is None:
        cn = "proxy" if form == "gt2" else str(1001 + len(above.facts.kinds))
    text = f"{above.text}/CN={cn}"
    facts = above.facts.below(text, shown, form, _moment(made["end"], PROXY_END))
    return Entity(certificate, made["subject"], key, text, facts, above.chain, has_key="spki" not in fields)


def with_chain(entity: Entity, *above: bytes) -> Entity:
    """Return the same leaf with other certificates above it."""
    return replace(entity, above=above)


# CRLs


def crl_entry(serial: int, *extensions: bytes) -> bytes:
    """Return one entry of revokedCertificates."""
    listed = sequence(*extensions) if extensions else b""
    return sequence(integer(serial), der.utc_time("240101000000Z"), listed)


def crl(
    issuer: Entity,
    revoked: Sequence[bytes] = (),
    *,
    name: bytes | None = None,
    signer: Key | None = None,
    this_update: datetime | bytes = datetime(2024, 1, 1, tzinfo=UTC),
    next_update: datetime | bytes | None = CA_END,
    version: bytes | None = None,
    extensions: Sequence[bytes] | None = None,
    digest: str | None = None,
    signature: bytes | None = None,
    outer: bytes | None = None,
) -> bytes:
    """Return a CRL (RFC 5280 section 5) in DER."""
    key = signer or issuer.key
    algorithm = keys.algorithm(key, digest)
    listed = [extension("2.5.29.20", integer(1))] if extensions is None else extensions
    tbs = sequence(
        integer(1) if version is None else version,
        algorithm,
        name or issuer.subject,
        _time(this_update),
        b"" if next_update is None else _time(next_update),
        sequence(*revoked) if revoked else b"",
        explicit(0, sequence(*listed)) if listed else b"",
    )
    made = keys.sign(key, tbs, digest) if signature is None else signature
    return sequence(tbs, outer or algorithm, der.bit_string(made))


def serial_of(certificate: bytes) -> int:
    """Return the serial number of a certificate that was made here."""
    start, _ = der.body(certificate)
    first, _ = der.body(certificate, start)
    version_end = der.body(certificate, first)[1]
    at = version_end if certificate[first] == 0xA0 else first
    begin, end = der.body(certificate, at)
    assert certificate[at] == tlv(0x02, b"")[0]
    return int.from_bytes(certificate[begin:end], "big", signed=True)
