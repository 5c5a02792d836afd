"""Delegation without a wire: ask for a proxy, grant one, accept what came back; framing by the caller's protocol.

The key never travels. Whoever receives a delegation makes the key and sends a request; the owner of the credential
signs a proxy for it; the receiver checks the answer and holds a credential.

    requester = DelegationRequester(key)                         # receiver
    request = parse_delegation_request(requester.request_der)    # owner
    chain = grant_delegation(credential, request, options, now=now)
    block = encode_certificate_block(chain)
    certificates, _ = parse_certificate_block(block)             # receiver
    proxy = requester.accept(certificates, now=now)

The request is PKCS#10 (RFC 2986) as the C programs write it: version 0, subject `CN=NULL SUBJECT NAME ENTRY`, and the
wanted ProxyCertInfo as a requested extension. Its subject means nothing. GSS sends the certificates one after another,
MyProxy behind a count byte; both use the same values here. Agrees with gct:gsi/proxy/proxy_core and with
gct:myproxy/source/myproxy_delegation; the checks in `accept` are ours, the C mechanism makes none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import der, keys, names, oids
from gsi.certificate import MAX_CERTIFICATE_BYTES, Certificate
from gsi.credential import Credential
from gsi.errors import (
    CredentialError,
    CredentialProblem,
    LocalProtocolError,
    ParseError,
    Reason,
    RemoteProtocolError,
    VerificationError,
)
from gsi.proxy.chain import ProxyChain, check_proxy_rules
from gsi.proxy.info import INHERIT_ALL, ProxyCertInfo
from gsi.proxy.issue import ProxyOptions, sign_proxy
from gsi.proxy.kinds import ProxyFormat, ProxyKind, Role, classify, kind_of_language
from gsi.proxy.legacy import parse_gt3

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = [
    "MAX_BLOCK_BYTES",
    "MAX_BLOCK_CERTIFICATES",
    "MAX_CHAIN",
    "MAX_REQUEST_BYTES",
    "CertificateBlockParser",
    "DelegationRequest",
    "DelegationRequester",
    "encode_certificate_block",
    "grant_delegation",
    "parse_certificate_block",
    "parse_delegation_request",
]

MAX_REQUEST_BYTES: Final = 64 << 10  # a 16384-bit key takes 5 kB; the rest is room for a policy
MAX_CHAIN: Final = 100  # the validator's own limit
MAX_BLOCK_CERTIFICATES: Final = 255  # the count is one byte
MAX_BLOCK_BYTES: Final = 1 << 20  # a chain of three with attribute certificates takes under 100 kB

_WHAT: Final = "delegation request"
_BLOCK: Final = "certificate block"
_HEADER_BYTES: Final = 6  # tag, length of length, four bytes of length: the longest DER header read
_ATTRIBUTES: Final = der.context(0)
_HIGHEST_VERSION: Final = 2  # 0 is the only one defined; old writers took the certificate's 2
_MARKS: Final = {oids.PROXY_CERT_INFO: ProxyFormat.RFC3820, oids.PROXY_CERT_INFO_GT3: ProxyFormat.GT3}
_SUBJECT_DER: Final = names.append_common_name(der.encode_sequence(), "NULL SUBJECT NAME ENTRY")


class DelegationRequest(NamedTuple):
    """What a peer asks for: its key, which it has proved to hold, and perhaps the proxy it would like."""

    spki_der: bytes
    """The public key, SubjectPublicKeyInfo in DER."""
    wanted: ProxyCertInfo | None = None
    """The proxy asked for; None when the request names none. A wish: it can only narrow what is granted."""
    wanted_format: ProxyFormat = ProxyFormat.GT2
    """The form of the wish. GT2 when no ProxyCertInfo was requested, as C peers do under GT_PROXY_MODE=old."""

    @property
    def wants_legacy(self) -> bool:
        """Whether a GT2 proxy was asked for, or nothing in particular: on the wire the two look the same."""
        return self.wanted is None


class DelegationRequester:
    """The receiving end of one delegation: it holds the new key, asks, and checks the answer.

    Attributes:
        request_der: The request to send, PKCS#10 in DER.
    """

    __slots__ = ("_key", "_spki_der", "request_der")

    def __init__(self, key: keys.PrivateKey, *, info: ProxyCertInfo | None = INHERIT_ALL) -> None:
        """Make the request.

        Args:
            key: The new key pair, made for this delegation alone.
            info: The proxy to ask for; None asks for nothing, which C peers answer with a GT2 proxy.
        """
        self._key = key
        self._spki_der = keys.spki_der(key)
        attributes = b"" if info is None else _encode_extension_request(info)
        body = der.encode_sequence(
            der.encode_integer(0), _SUBJECT_DER, self._spki_der, der.encode_tlv(_ATTRIBUTES, attributes)
        )
        signature, algorithm = keys.sign(key, body)
        self.request_der = der.encode_sequence(body, algorithm, der.encode_bit_string(signature))

    def accept(self, certificates: Sequence[bytes], *, now: datetime, allow_end_entity: bool = False) -> Credential:
        """Check what the peer sent and return it with our key.

        Checked: the key is ours; each certificate is issued by the next, by name and signature; no proxy is wider than
        its issuer (RFC 3820 section 4.1.3); all are valid at `now`. Not checked: whether the end entity is anybody we
        know, for which see `gsi.trust.verify`.

        Args:
            certificates: DER, the new certificate first, then its issuers. A root at the end is left out.
            now: The time, aware UTC.
            allow_end_entity: Take an end entity certificate, as a MyProxy CA issues, and not only a proxy.

        Raises:
            ParseError: Something that is not a certificate.
            CredentialError: The certificate is not for our key.
            VerificationError: A link, signature, validity or narrowing is broken; the position counts from the new
                certificate.
            RemoteProtocolError: Nothing was sent, or an end entity certificate where a proxy was due.
        """
        if not certificates:
            raise RemoteProtocolError("the peer delegated nothing: no certificate came")
        if len(certificates) > MAX_CHAIN:
            raise VerificationError(
                f"{len(certificates)} certificates came, limit {MAX_CHAIN}", reason=Reason.CHAIN_TOO_LONG
            )
        parsed = [Certificate.parse(bytes(one)) for one in certificates]
        if not keys.same_key(self._key, parsed[0].spki_der):
            raise CredentialError(
                "the delegated certificate is not for the key that was asked for",
                problem=CredentialProblem.KEY_MISMATCH,
            )
        while len(parsed) > 1 and _is_root(parsed[-1]):
            parsed.pop()
        chain = ProxyChain.split(parsed)
        if not chain.is_proxy and not allow_end_entity:
            raise RemoteProtocolError("the peer sent an end entity certificate where a proxy was due")
        check_proxy_rules(chain)
        _check_signatures(chain.certificates)
        for position, certificate in enumerate((*chain.proxies, chain.eec)):
            _check_validity(certificate, position, now)
        return Credential(key=self._key, certificate=parsed[0], chain=tuple(parsed[1:]))


def _encode_extension_request(info: ProxyCertInfo) -> bytes:
    extension = der.encode_sequence(
        der.encode_oid(oids.PROXY_CERT_INFO), der.encode_boolean(True), der.encode_octet_string(info.encode())
    )
    return der.encode_sequence(der.encode_oid(oids.EXTENSION_REQUEST), der.encode_set(der.encode_sequence(extension)))


def _is_root(certificate: Certificate) -> bool:
    return certificate.is_self_issued and classify(certificate).role is Role.CA


def _check_signatures(certificates: tuple[Certificate, ...]) -> None:
    for position in range(len(certificates) - 1):
        certificate, issuer = certificates[position], certificates[position + 1]
        if not names.same_name(certificate.issuer_der, issuer.subject_der):
            raise VerificationError(
                f"certificate at index {position}: its issuer is not the next certificate",
                reason=Reason.CHAIN_BROKEN,
                position=position,
            )
        if certificate.inner_signature_algorithm_der != certificate.signature_algorithm_der:
            raise VerificationError(
                f"certificate at index {position}: two different signature algorithms",
                reason=Reason.BAD_SIGNATURE,
                position=position,
            )
        _check_signature(certificate, issuer, position)


def _check_signature(certificate: Certificate, issuer: Certificate, position: int) -> None:
    try:
        public_key = keys.parse_public_key(issuer.spki_der)
    except (CredentialError, ParseError) as error:
        is_weak = isinstance(error, CredentialError) and error.problem is CredentialProblem.WEAK_KEY
        raise VerificationError(
            f"certificate at index {position + 1}: {error.message}",
            reason=Reason.WEAK_KEY if is_weak else Reason.UNSUPPORTED_ALGORITHM,
            position=position + 1,
        ) from error
    try:
        keys.verify_signature(
            public_key, certificate.signature_algorithm_der, certificate.signature, certificate.tbs_der
        )
    except (VerificationError, ParseError) as error:
        raise VerificationError(
            f"certificate at index {position}: {error.message}",
            reason=error.reason if isinstance(error, VerificationError) else Reason.MALFORMED,
            position=position,
        ) from error


def _check_validity(certificate: Certificate, position: int, now: datetime) -> None:
    if certificate.not_before <= now <= certificate.not_after:
        return
    name = names.oneline(certificate.subject_der)
    if now > certificate.not_after:
        raise VerificationError(
            f"{name}: expired {certificate.not_after:%Y-%m-%d %H:%M:%S} UTC", reason=Reason.EXPIRED, position=position
        )
    raise VerificationError(
        f"{name}: not valid before {certificate.not_before:%Y-%m-%d %H:%M:%S} UTC",
        reason=Reason.NOT_YET_VALID,
        position=position,
        hint="compare this machine's clock with the peer's",
    )


def parse_delegation_request(data: bytes, *, min_rsa_bits: int = keys.MIN_RSA_BITS) -> DelegationRequest:
    """Return what a peer's PKCS#10 request asks for, once its signature has proved that it holds the key.

    Subject and attributes other than the requested ProxyCertInfo are passed over. Versions 0 to 2 are read, because
    old writers numbered requests like certificates.

    Args:
        data: The request, DER, nothing after it.
        min_rsa_bits: Smallest RSA key to take; who lowers it has to say so in `ProxyOptions`, too, before such a key is
            signed.

    Raises:
        ParseError: Not such a request.
        CredentialError: The key is too weak, or of a kind that is not supported.
        VerificationError: The signature is wrong, or made with a broken digest.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise _bad(f"{len(data)} bytes, limit {MAX_REQUEST_BYTES}")
    outer = der.parse_one(data, what=_WHAT)
    body_der = outer.take_raw(der.SEQUENCE)
    algorithm = outer.take_raw(der.SEQUENCE)
    signature = outer.bit_string()
    outer.finish()
    body = der.parse_one(body_der, what=_WHAT)
    version = body.integer()
    if not 0 <= version <= _HIGHEST_VERSION:
        raise _bad("unknown version")
    body.take(der.SEQUENCE)  # the subject, which the signer must not believe
    spki_der = body.take_raw(der.SEQUENCE)
    wanted, form = _read_attributes(body.enter(_ATTRIBUTES)) if body.peek() == _ATTRIBUTES else (None, ProxyFormat.GT2)
    body.finish()
    public_key = keys.parse_public_key(spki_der, min_rsa_bits=min_rsa_bits)
    keys.verify_signature(public_key, algorithm, signature, body_der)
    return DelegationRequest(spki_der, wanted, form)


def _bad(why: str) -> ParseError:
    return ParseError(f"{_WHAT}: {why}", what=_WHAT)


def _read_attributes(reader: der.Reader) -> tuple[ProxyCertInfo | None, ProxyFormat]:
    """Return the requested ProxyCertInfo, in either form, from a request's attributes."""
    found: list[tuple[ProxyCertInfo, ProxyFormat]] = []
    while not reader.at_end():
        attribute = reader.sequence()
        oid = attribute.oid()
        values = attribute.enter(der.SET)
        attribute.finish()
        if oid != oids.EXTENSION_REQUEST:
            continue
        extensions = values.sequence()
        values.finish()
        while not extensions.at_end():
            found += _read_extension(extensions.sequence())
    if len(found) > 1:
        raise _bad("more than one ProxyCertInfo is requested")
    if not found:
        return None, ProxyFormat.GT2
    info, _ = found[0]
    if info.has_forbidden_policy:
        raise _bad("a policy beside inheritAll or independent is requested")
    return found[0]


def _read_extension(entry: der.Reader) -> list[tuple[ProxyCertInfo, ProxyFormat]]:
    oid = entry.oid()
    if entry.peek() == der.BOOLEAN:
        entry.boolean()  # criticality says nothing here: the signer decides
    value = entry.octet_string()
    entry.finish()
    form = _MARKS.get(oid)
    if form is None:
        return []
    return [(ProxyCertInfo.parse(value) if form is ProxyFormat.RFC3820 else parse_gt3(value), form)]


def grant_delegation(
    credential: Credential, request: DelegationRequest, options: ProxyOptions | None = None, *, now: datetime
) -> tuple[Certificate, ...]:
    """Sign a proxy for the peer's key and return it with its issuers, new proxy first, end entity last.

    The options decide. The request can only take away: under options or a signer that would give a full proxy, a
    limited, independent or restricted one is made when the peer asks for it, and the smaller path length counts. A
    wish for more than the options give is passed over.

    Args:
        credential: The signer.
        request: What `parse_delegation_request` returned.
        options: What to grant; by default a proxy of the signer's kind for 12 hours.
        now: The time, aware UTC.

    Raises:
        CredentialError: The credential cannot sign such a proxy, or the peer's key is weak.
        ConfigError: The options contradict one another.
        RemoteProtocolError: The peer asks for a restricted proxy but names no policy.
    """
    narrowed = _narrow(credential, request, options or ProxyOptions())
    return (sign_proxy(credential, request.spki_der, narrowed, now=now), *credential.certificates)


def _narrow(credential: Credential, request: DelegationRequest, options: ProxyOptions) -> ProxyOptions:
    signer = classify(credential.certificate)
    if options.format is None and options.allow_legacy and signer.role is Role.EEC:
        options = options._replace(format=_wanted_format(request, options))
    wanted = request.wanted
    if wanted is None:
        return options
    granted = options.kind or signer.kind or ProxyKind.FULL
    if options.language is not None:
        granted = kind_of_language(options.language)
    kind = kind_of_language(wanted.language)
    if granted is ProxyKind.FULL and kind is not ProxyKind.FULL:
        if kind is ProxyKind.RESTRICTED and wanted.policy is None:
            raise RemoteProtocolError("the peer asks for a restricted proxy but sends no policy")
        policy = wanted.policy if kind is ProxyKind.RESTRICTED else None
        options = options._replace(kind=kind, language=wanted.language, policy=policy)
    return options._replace(path_length=_smaller(options.path_length, wanted.path_length, credential))


def _wanted_format(request: DelegationRequest, options: ProxyOptions) -> ProxyFormat | None:
    """Return the form asked for, unless it is GT2 and cannot say what the options want said."""
    is_plain = (
        options.kind in {None, ProxyKind.FULL, ProxyKind.LIMITED}
        and options.language is None
        and options.path_length is None
        and not options.random_serial
    )
    return request.wanted_format if is_plain or request.wanted_format is not ProxyFormat.GT2 else None


def _smaller(granted: int | None, wanted: int | None, credential: Credential) -> int | None:
    """Return the path length to write: the peer's where it is smaller than what is granted and left to give."""
    if wanted is None or (granted is not None and granted <= wanted):
        return granted
    left = ProxyChain.split(credential.certificates).depth_left
    return granted if left is not None and wanted >= left else wanted


def encode_certificate_block(certificates: Sequence[Certificate]) -> bytes:
    """Return MyProxy's form of a chain: one byte with the count, then the certificates in DER.

    Raises:
        LocalProtocolError: None, more than 255, or more bytes than a receiver takes.
    """
    if not 1 <= len(certificates) <= MAX_BLOCK_CERTIFICATES:
        raise LocalProtocolError(f"{_BLOCK}: {len(certificates)} certificates; it holds 1 to {MAX_BLOCK_CERTIFICATES}")
    block = bytes((len(certificates),)) + b"".join([certificate.der for certificate in certificates])
    if len(block) > MAX_BLOCK_BYTES:
        raise LocalProtocolError(f"{_BLOCK}: {len(block)} bytes, limit {MAX_BLOCK_BYTES}")
    return block


class CertificateBlockParser:
    """Collects a certificate block that arrives in pieces of any size.

    Feed it until it returns the certificates; what followed the block is then in `rest`.
    """

    __slots__ = ("_buffer", "_certificates", "_count", "_need", "_offset")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._certificates: list[bytes] = []
        self._count = 0
        self._offset = 0  # where the next certificate begins
        self._need = 1  # how far the buffer must reach before there is anything to do

    def feed(self, data: bytes) -> tuple[bytes, ...] | None:
        """Take the next bytes; return the certificates (DER each, not parsed) once all have come, else None.

        Raises:
            ParseError: The count is 0, something is not a DER SEQUENCE, or a limit is passed.
        """
        self._buffer += data
        while not self._is_complete() and len(self._buffer) >= self._need:
            self._advance()
        return tuple(self._certificates) if self._is_complete() else None

    @property
    def rest(self) -> bytes:
        """What came after the block; everything that came, while the block is not complete."""
        return bytes(self._buffer[self._offset :] if self._is_complete() else self._buffer)

    @property
    def announced(self) -> int:
        """How many certificates the block has by its first byte; 0 before that has come."""
        return self._count

    @property
    def complete(self) -> int:
        """How many of them have come."""
        return len(self._certificates)

    @property
    def ends_between(self) -> bool:
        """Whether what came ends with a whole certificate, though more are announced."""
        return 0 < len(self._certificates) < self._count and len(self._buffer) == self._offset

    @property
    def consumed(self) -> int:
        """How many bytes the certificates complete so far have taken, the count byte included."""
        return self._offset

    def _is_complete(self) -> bool:
        return self._count > 0 and len(self._certificates) == self._count

    def _advance(self) -> None:
        if self._count == 0:
            self._count = self._buffer[0]
            if self._count == 0:
                raise ParseError(f"{_BLOCK}: it announces no certificate", what=_BLOCK, offset=0)
            self._offset, self._need = 1, 2
            return
        head = bytes(self._buffer[self._offset : self._offset + _HEADER_BYTES])
        if head[0] != der.SEQUENCE:
            raise ParseError(f"{_BLOCK}: no certificate where one is due", what=_BLOCK, offset=self._offset)
        length = der.object_length(head, what=_BLOCK, limit=MAX_CERTIFICATE_BYTES)
        if length is None:
            self._need = len(self._buffer) + 1
            return
        end = self._offset + length
        if end > MAX_BLOCK_BYTES:
            raise ParseError(f"{_BLOCK}: more than {MAX_BLOCK_BYTES} bytes", what=_BLOCK, offset=self._offset)
        if len(self._buffer) < end:
            self._need = end
            return
        self._certificates.append(bytes(self._buffer[self._offset : end]))
        self._offset, self._need = end, end + 1


def parse_certificate_block(data: bytes) -> tuple[tuple[bytes, ...], int] | None:
    """Return (certificates, bytes consumed) for a block at the beginning of `data`, or None while it is incomplete.

    Raises:
        ParseError: As `CertificateBlockParser.feed`.
    """
    parser = CertificateBlockParser()
    certificates = parser.feed(data)
    return None if certificates is None else (certificates, parser.consumed)
