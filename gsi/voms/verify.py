"""Judging VOMS attribute certificates: all checks of libvomsapi's full verification, and some that it leaves out; pure.

    verifier = AttributeVerifier(servers, anchors)
    for found in verifier.verify_chain(peer, now=now):
        found.attributes or found.error

    attributes = verifier.verify(certificate, peer, now=now)       # CapabilityError, or what it proves

Must agree with voms: src/api/ccapi/voms_api.cc and src/ac/validate.c, but for what these accept and we refuse: SHA-1
signatures, two signature algorithms in one certificate, targets that are not critical, the same extension twice, a
negative serial number, control characters in an FQAN.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from gsi import names, oids
from gsi.errors import CapabilityError, CapabilityProblem, GridError, ParseError, Reason, VerificationError
from gsi.proxy.kinds import Role, classify
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.signatures import check_signature, load_key
from gsi.trust.verify import verify_chain
from gsi.voms.ac_extensions import (
    TagList,
    key_bits_sha1,
    parse_authority_key_identifier,
    parse_certificates,
    parse_tags,
    parse_targets,
)
from gsi.voms.attribute_cert import AttributeCertificate, Authority, parse_sequence_of, split_authority

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.certificate import Certificate
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer
    from gsi.voms.attribute_cert import AttributeInfo
    from gsi.voms.lsc import TrustedServer

__all__ = [
    "GRACE",
    "SIGNER_MEMORY",
    "AttributeVerifier",
    "Found",
    "ServerTrust",
    "VOMSOptions",
    "VerifiedAttributes",
    "check_fqan",
]

GRACE: Final = timedelta(minutes=5)
"""How far clocks may differ: as libvomsapi."""

SIGNER_MEMORY: Final = timedelta(minutes=1)
"""How long a signer that was found good counts as good; a new trust directory (a new CRL) ends it at once."""

_MAX_SIGNERS: Final = 256  # signers remembered; a site trusts some dozen VOMS servers
_MAX_SERIAL_BYTES: Final = 20  # RFC 5755 section 4.2.5
_KNOWN: Final = frozenset(
    {oids.VOMS_CERTIFICATES, oids.VOMS_TAGS, oids.NO_REV_AVAIL, oids.AUTHORITY_KEY_IDENTIFIER, oids.TARGETS}
)
_NULL: Final = b"\x05\x00"


class ServerTrust(Protocol):
    """Knows which servers a site believes."""

    def find(self, vo: str, host: str) -> TrustedServer | None:
        """Return what is trusted for a VO and host, or None.

        Raises:
            GridError: What is written about it cannot be read; nothing is then believed.
        """


class VOMSOptions(NamedTuple):
    """The switches of `AttributeVerifier`.

    Attributes:
        hosts: The names of the own host, for certificates that are meant for certain hosts; any case.
        grace: How far clocks may differ.
        max_lifetime: Refuse certificates that are valid for longer; None for no limit, as libvomsapi.
        validation: How the signer's path is judged.
        nearest_only: Take attributes from the lowest proxy that carries any and no other, as libvomsapi does unless
            told to go on: who delegates can so leave attributes behind.
        any_host: Believe what is meant for other hosts, too. For a holder, who carries it there; never for a service.
    """

    hosts: frozenset[str] = frozenset()
    grace: timedelta = GRACE
    max_lifetime: timedelta | None = None
    validation: ValidationOptions = ValidationOptions(purpose=Purpose.ANY)
    nearest_only: bool = False
    any_host: bool = False


class VerifiedAttributes(NamedTuple):
    """What an attribute certificate proves about the holder of a chain."""

    authority: Authority
    """The VO and its server."""
    fqans: tuple[str, ...]
    """As they are written, the primary one first."""
    tags: tuple[TagList, ...]
    """Generic attributes."""
    serial: int
    issuer: str
    """The subject of the signer's certificate in one-line form."""
    not_before: datetime
    not_after: datetime
    """When the first of these ends: the attribute certificate, the signer's path, the holder's chain."""
    usable_until: datetime
    """The same, but for the grace that the attribute certificate is given."""
    certificate: AttributeCertificate
    signer: VerifiedPeer


class Found(NamedTuple):
    """An attribute certificate of a chain with the verdict: one of `attributes` and `error` is None."""

    position: int
    """Index of the proxy that carries it, leaf first."""
    attributes: VerifiedAttributes | None
    error: CapabilityError | None


class _Signer(NamedTuple):
    """The certificates of a list, with what was found about them."""

    listed: tuple[Certificate, ...]
    peer: VerifiedPeer
    generation: str


def _refuse(message: str, problem: CapabilityProblem, hint: str | None = None) -> CapabilityError:
    return CapabilityError(f"attribute certificate: {message}", problem=problem, hint=hint)


def check_fqan(fqan: str, vo: str) -> None:
    """Check that an FQAN belongs to a VO and holds nothing that could deceive.

    Raises:
        CapabilityError: CONTENT.
    """
    if fqan != f"/{vo}" and not fqan.startswith(f"/{vo}/"):
        raise _refuse(f"the FQAN {fqan[:80]!r} does not belong to the VO {vo!r}", CapabilityProblem.CONTENT)
    parts = fqan.split("/")[1:]
    if not fqan.isprintable() or not {"", ".", ".."}.isdisjoint(parts):
        raise _refuse(f"the FQAN {fqan[:80]!r} is odd", CapabilityProblem.CONTENT)


class AttributeVerifier:
    """Judges attribute certificates by what a site trusts. Safe for several threads.

    Args:
        servers: Which VOMS servers are believed.
        anchors: Returns the current trust anchors; asked each time, so it has to be cheap.
        options: The switches.
    """

    __slots__ = ("_anchors", "_hosts", "_options", "_servers", "_signers")

    def __init__(
        self, servers: ServerTrust, anchors: Callable[[], TrustAnchors], options: VOMSOptions | None = None
    ) -> None:
        self._servers = servers
        self._anchors = anchors
        self._options = options = options or VOMSOptions()
        self._hosts = frozenset(host.lower() for host in options.hosts)
        self._signers: dict[bytes, _Signer] = {}

    def verify_chain(self, peer: VerifiedPeer, *, now: datetime) -> tuple[Found, ...]:
        """Judge every attribute certificate in the proxies of a verified chain, from the leaf upwards.

        Never raises for what is found: each certificate has its verdict.
        """
        found: list[Found] = []
        for position, certificate in enumerate(peer.chain):
            extensions = [one for one in certificate.extensions if one.oid == oids.VOMS_AC_SEQUENCE]
            if not extensions or not _is_below_the_cas(certificate):
                continue
            try:
                if len(extensions) > 1:
                    raise _refuse("two extensions with such", CapabilityProblem.MALFORMED)
                certificates = parse_sequence_of(extensions[0].value)
            except ParseError as error:
                malformed = CapabilityError(error.message, problem=CapabilityProblem.MALFORMED)
                found.append(Found(position, None, malformed))
            except CapabilityError as error:
                found.append(Found(position, None, error))
            else:
                found.extend(self._judge(one, peer, position, now) for one in certificates)
            if self._options.nearest_only:
                break
        return tuple(found)

    def _judge(self, certificate: AttributeCertificate, peer: VerifiedPeer, position: int, now: datetime) -> Found:
        try:
            return Found(position, self.verify(certificate, peer, now=now), None)
        except CapabilityError as error:
            return Found(position, None, error)

    def verify(self, certificate: AttributeCertificate, peer: VerifiedPeer, *, now: datetime) -> VerifiedAttributes:
        """Judge one attribute certificate for the holder of a verified chain; return what it proves.

        Raises:
            CapabilityError: It must not be believed.
        """
        info = certificate.info
        try:
            return self._verify(certificate, info, peer, now)
        except CapabilityError as error:
            error.issuer = error.issuer or info.authority
            raise
        except VerificationError as error:
            problem = CapabilityProblem.SIGNER
            raise CapabilityError(
                f"attribute certificate: its signer: {error.message}",
                problem=problem,
                issuer=info.authority,
                hint=error.hint,
            ) from error
        except ParseError as error:
            raise CapabilityError(
                error.message, problem=CapabilityProblem.MALFORMED, issuer=info.authority, hint=error.hint
            ) from error

    def _verify(
        self, certificate: AttributeCertificate, info: AttributeInfo, peer: VerifiedPeer, now: datetime
    ) -> VerifiedAttributes:
        # 2. The holder: the end entity of the chain.
        if info.holder_serial != peer.eec.serial or not names.same_name(info.holder_issuer_der, peer.eec.issuer_der):
            raise _refuse("it was issued to another holder", CapabilityProblem.HOLDER)
        # 3. VO and host.
        authority = split_authority(info.authority)
        # 7. Times.
        self._check_times(info, now)
        # 8. and 9. Extensions.
        self._check_extensions(info)
        # 10. FQANs of the VO alone.
        for fqan in info.fqans:
            check_fqan(fqan, authority.vo)
        # 11. The serial number.
        if info.serial < 0 or info.serial.bit_length() > 8 * _MAX_SERIAL_BYTES:
            raise _refuse("its serial number is negative or too long", CapabilityProblem.CONTENT)
        # 4. and 5. The signer: trusted for this VO and host, and with a path to an anchor.
        signer = self._find_signer(info, authority, now)
        if not names.same_name(info.issuer_der, signer.leaf.subject_der):
            raise _refuse("it names another issuer than its signer", CapabilityProblem.SIGNER)
        _check_key_identifier(info, signer.leaf)
        # 6. The signature.
        if info.signature_algorithm_der != certificate.signature_algorithm_der:
            raise _refuse("it names two different signature algorithms", CapabilityProblem.ALGORITHM)
        _check_signature(certificate, signer.leaf)
        tags = info.find_extension(oids.VOMS_TAGS)
        return VerifiedAttributes(
            authority,
            info.fqans,
            () if tags is None else parse_tags(tags.value),
            info.serial,
            signer.identity,
            info.not_before,
            # 12. No longer than what it stands on.
            min(info.not_after, signer.not_after, peer.not_after),
            min(info.not_after + self._options.grace, signer.not_after, peer.not_after),
            certificate,
            signer,
        )

    def _check_times(self, info: AttributeInfo, now: datetime) -> None:
        grace, limit = self._options.grace, self._options.max_lifetime
        if info.not_after < info.not_before:
            raise _refuse("it ends before it begins", CapabilityProblem.MALFORMED)
        if now < info.not_before - grace:
            raise _refuse(f"not valid before {info.not_before:%Y-%m-%dT%H:%M:%SZ}", CapabilityProblem.NOT_YET_VALID)
        if now > info.not_after + grace:
            raise _refuse(f"expired at {info.not_after:%Y-%m-%dT%H:%M:%SZ}", CapabilityProblem.EXPIRED)
        if limit is not None and info.not_after - info.not_before > limit:
            raise _refuse(f"valid for longer than {limit}", CapabilityProblem.LIFETIME)

    def _check_extensions(self, info: AttributeInfo) -> None:
        seen: set[str] = set()
        for extension in info.extensions:
            if extension.oid in seen:
                raise _refuse(f"the extension {extension.oid} twice", CapabilityProblem.MALFORMED)
            seen.add(extension.oid)
            if extension.critical and extension.oid != oids.TARGETS:
                raise _refuse(f"the critical extension {extension.oid}", CapabilityProblem.CRITICAL)
        no_rev_avail = info.find_extension(oids.NO_REV_AVAIL)
        if no_rev_avail is None or no_rev_avail.value != _NULL:
            raise _refuse("without noRevAvail, and no list of revoked ones is known", CapabilityProblem.CONTENT)
        targets = info.find_extension(oids.TARGETS)
        meant_for = () if targets is None else parse_targets(targets.value)
        if targets is not None and not self._options.any_host and self._hosts.isdisjoint(map(_target_host, meant_for)):
            raise _refuse("it is meant for other hosts", CapabilityProblem.AUDIENCE)

    # --- the signer ---------------------------------------------------------------------------------------------------

    def _find_signer(self, info: AttributeInfo, authority: Authority, now: datetime) -> VerifiedPeer:
        try:
            trusted = self._servers.find(authority.vo, authority.host)
        except GridError as error:
            raise _refuse(
                f"what is trusted for {authority.vo} cannot be read: {error.message}", CapabilityProblem.ISSUER
            ) from error
        if trusted is None or not (trusted.chains or trusted.certificates):
            raise _refuse(
                f"no server {authority.host} of the VO {authority.vo!r} is trusted here",
                CapabilityProblem.ISSUER,
                f"an LSC file {authority.vo}/{authority.host}.lsc in the vomsdir would say so",
            )
        extension = info.find_extension(oids.VOMS_CERTIFICATES)
        if trusted.chains:
            if extension is None:
                raise _refuse("without its issuer's certificates", CapabilityProblem.SIGNER)
            signer = self._judge_signer(extension.value, None, now)
            _check_names(trusted, signer, authority)
            return signer.peer
        for certificate in trusted.certificates:
            if names.same_name(certificate.subject_der, info.issuer_der):
                listed = b"" if extension is None else extension.value
                return self._judge_signer(listed, certificate, now).peer
        raise _refuse(f"its issuer is no server trusted for the VO {authority.vo!r}", CapabilityProblem.ISSUER)

    def _judge_signer(self, value: bytes, pinned: Certificate | None, now: datetime) -> _Signer:
        """Judge the path of a signer, or remember how it was judged."""
        anchors = self._anchors()
        key = value if pinned is None else pinned.der + value
        known = self._signers.get(key)
        if known is not None and known.generation == anchors.generation:
            since = known.peer.verified_at
            if since <= now < since + SIGNER_MEMORY and now < known.peer.not_after:
                return known
        listed = parse_certificates(value) if value else ()
        if pinned is not None:
            listed = (pinned, *(one for one in listed if one != pinned and one.subject_der != pinned.subject_der))
        peer = verify_chain(listed, anchors, now=now, options=self._options.validation)
        if peer.is_proxy:
            raise _refuse("signed by a proxy", CapabilityProblem.SIGNER)
        load_key(peer.leaf, 0)
        signer = _Signer(listed, peer, anchors.generation)
        self._signers[key] = signer
        while len(self._signers) > _MAX_SIGNERS:
            with suppress(KeyError, StopIteration, RuntimeError):  # another thread may be at it
                del self._signers[next(iter(self._signers))]
        return signer


def _is_below_the_cas(certificate: Certificate) -> bool:
    try:
        return classify(certificate).role is not Role.CA
    except ParseError:
        return True


def _target_host(target: str) -> str:
    """Return the host of a target: `host`, `host:port` or a URI."""
    place = target.partition("://")[2] or target
    place = place.partition("/")[0]
    host, colon, port = place.rpartition(":")
    return (host if colon and port.isdigit() else place).lower()


def _check_names(trusted: TrustedServer, signer: _Signer, authority: Authority) -> None:
    """Check the listed certificates against the LSC file, and its further lines against the path above them."""
    above = signer.peer.chain
    for chain in trusted.chains:
        if len(signer.listed) > len(chain):
            continue
        certificates = (*signer.listed, *above[len(signer.listed) :])
        if len(chain) <= len(certificates) and all(
            pair.matches(certificate) for pair, certificate in zip(chain, certificates, strict=False)
        ):
            return
    raise _refuse(
        f"{signer.peer.identity} is not what {authority.vo}/{authority.host}.lsc names",
        CapabilityProblem.ISSUER,
    )


def _check_key_identifier(info: AttributeInfo, signer: Certificate) -> None:
    extension = info.find_extension(oids.AUTHORITY_KEY_IDENTIFIER)
    if extension is None:
        raise _refuse("without an authority key identifier", CapabilityProblem.CONTENT)
    found = parse_authority_key_identifier(extension.value)
    if found.key_id is not None and found.key_id != key_bits_sha1(signer.spki_der):
        own = signer.find_extension(oids.SUBJECT_KEY_IDENTIFIER)
        if own is None or own.value[2:] != found.key_id or len(own.value) != len(found.key_id) + 2:
            raise _refuse("its key identifier is not the signer's", CapabilityProblem.SIGNER)
    if found.issuer_der is not None and not (
        found.serial == signer.serial and names.same_name(found.issuer_der, signer.issuer_der)
    ):
        raise _refuse(
            "its authority key identifier names another certificate than the signer's", CapabilityProblem.SIGNER
        )


def _check_signature(certificate: AttributeCertificate, signer: Certificate) -> None:
    try:
        check_signature(
            signer.public_key(), certificate.signature_algorithm_der, certificate.signature, certificate.info_der
        )
    except VerificationError as error:
        wrong = error.reason in {Reason.BAD_SIGNATURE, Reason.MALFORMED}
        raise _refuse(
            error.message, CapabilityProblem.BAD_SIGNATURE if wrong else CapabilityProblem.ALGORITHM
        ) from error
