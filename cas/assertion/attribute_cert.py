"""A capability as a VOMS attribute certificate: its groups and roles, which is what that form can carry, and no rights.

    issuer = AttributeIssuer(key, "climate", "cas.example.org:15000")
    certificate = issuer.issue(capability, now=now)

The bytes are `gsi.voms.attribute_cert`'s; what is issued satisfies every check of `gsi.voms.verify` and of libvomsapi.
It ends with the holder's certificate and with the signer's, whichever is first. Targets are the hosts of the audience,
in a critical extension. Must agree with voms: src/ac/write.c.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final

from gsi import oids
from gsi.errors import CapabilityError, DeniedError, IssuanceError, IssuanceStep, ParseError
from gsi.voms.ac_extensions import (
    MAX_TARGETS,
    TagList,
    authority_key_identifier,
    certificates_extension,
    no_rev_avail,
    tags_extension,
    targets_extension,
)
from gsi.voms.attribute_cert import (
    MAX_FQANS,
    AttributeCertificate,
    AttributeInfo,
    parse_sequence_of,
    split_authority,
)
from gsi.voms.exchange import ALL
from gsi.voms.verify import check_fqan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cas.assertion.signing import SigningKey
    from cas.assertion.value import Capability
    from gsi.certificate import Extension
    from gsi.trust.peer import VerifiedPeer
    from gsi.voms.verify import AttributeVerifier

__all__ = [
    "AttributeIssuer",
    "audience_hosts",
    "carried_fqans",
    "order_fqans",
    "select_fqans",
    "serial_of",
]

_MAX_IDENTIFIER_BYTES: Final = 19  # a positive INTEGER of at most 20 bytes (RFC 5755 section 4.2.5)


def serial_of(identifier: bytes) -> int:
    """Return the serial number that a capability's identifier stands for.

    Raises:
        IssuanceError: SERIAL: it is empty, zero, or too long.
    """
    serial = int.from_bytes(identifier, "big")
    if not serial or len(identifier) > _MAX_IDENTIFIER_BYTES:
        raise IssuanceError("an identifier that is no serial number", step=IssuanceStep.SERIAL)
    return serial


def order_fqans(fqans: Sequence[str], first: Sequence[str]) -> tuple[str, ...]:
    """Return FQANs with those that somebody wants first in front; neither adds nor leaves out any.

    Args:
        fqans: What the holder gets.
        first: What is to come first, in this order; `/vo/group` stands for `/vo/group/Role=NULL/Capability=NULL`.
    """
    rank = {_short(fqan): number for number, fqan in reversed(list(enumerate(first)))}
    return tuple(sorted(fqans, key=lambda fqan: rank.get(_short(fqan), len(first))))


def select_fqans(
    held: Sequence[str], wanted: Sequence[str], order: Sequence[str] = (), *, carried: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return what a VOMS server gives of what a user holds: every group, and of the roles those asked for.

    So clients of C and Java have it: to ask for a group is to put it first. Whoever brings attributes of the VO in its
    proxy gets none that are not among them: a delegated proxy with few must not become one with many.

    Args:
        held: What the user holds, in the community's order.
        wanted: What is asked for; `gsi.voms.exchange.ALL` for roles, too; empty for the groups.
        order: What is to come first; empty for `wanted` in its order.
        carried: The attributes in the client's proxy.

    Raises:
        DeniedError: Something that is asked for is not held, or nothing is left.
    """
    known = {_short(fqan) for fqan in held}
    asked = {_short(fqan) for fqan in wanted if fqan != ALL}
    missing = sorted(asked - known)
    if missing:
        raise DeniedError(f"{missing[0][:200]} is not among the attributes of this user")
    everything = ALL in wanted
    found = [one for one in held if everything or "/Role=" not in _short(one) or _short(one) in asked]
    if carried:
        within = {_short(fqan) for fqan in carried}
        found = [one for one in found if _short(one) in within]
    if not found:
        raise DeniedError("no attributes are left of what was asked for")
    return order_fqans(found, order or wanted)


def carried_fqans(peer: VerifiedPeer, community: str, verifier: AttributeVerifier, *, now: datetime) -> tuple[str, ...]:
    """Return the FQANs of a community that a client's proxies carry, to bound what it gets by `select_fqans`.

    Those that have expired bound as well, as long as they were good before: otherwise waiting would widen a delegation.
    What was never good is passed over; it could only widen the bound.

    Args:
        peer: The client.
        community: The VO.
        verifier: Believes the community's own servers, for whatever host (`VOMSOptions.any_host`).
        now: The present time (aware UTC).
    """
    found: dict[str, None] = {}
    for carrier in peer.chain[: peer.chain.index(peer.eec)]:
        extension = carrier.find_extension(oids.VOMS_AC_SEQUENCE)
        if extension is None:
            continue
        try:
            listed = parse_sequence_of(extension.value)
        except ParseError:
            continue
        for certificate in listed:
            try:
                moment = min(now, certificate.info.not_after)
                if split_authority(certificate.info.authority).vo == community:
                    found |= dict.fromkeys(verifier.verify(certificate, peer, now=moment).fqans)
            except (CapabilityError, ParseError):
                continue
    return tuple(found)


def _short(fqan: str) -> str:
    return fqan.removesuffix("/Capability=NULL").removesuffix("/Role=NULL")


def audience_hosts(audience: Sequence[str]) -> tuple[str, ...]:
    """Return the hosts of an audience, of which each is a host name or a URL, without doubles.

    Raises:
        IssuanceError: GRANT: one names no host, such as a word that means everybody.
    """
    from urllib.parse import urlsplit

    found: list[str] = []
    for one in audience:
        try:
            host = urlsplit(one).hostname if "://" in one else one.lower()
        except ValueError:
            host = None
        if not host or not host.isascii() or not host.replace("-", "").replace(".", "").isalnum():
            raise IssuanceError(
                f"the audience {one[:80]!r} names no host, so no attribute certificate can be meant for it",
                step=IssuanceStep.GRANT,
            )
        if host not in found:
            found.append(host)
    return tuple(found)


class AttributeIssuer:
    """Writes and signs attribute certificates for one community. Safe for several threads.

    Attributes:
        authority: Who says so: `vo://host:port`.
    """

    __slots__ = ("_fixed", "_key", "_vo", "authority")

    def __init__(self, key: SigningKey, community: str, place: str) -> None:
        """Prepare what is the same in all of them.

        Args:
            key: Signs; its certificate is the VOMS server's.
            community: The VO.
            place: The server's `host:port`, under which sites have its LSC file and users its vomses line.

        Raises:
            ConfigError: The key has no certificate.
            ParseError: The VO or the place is none.
        """
        self.authority = f"{community}://{place}"
        self._vo = split_authority(self.authority).vo
        self._key = key
        listed = key.certificates
        self._fixed: tuple[Extension, ...] = ()
        if listed:
            self._fixed = (certificates_extension(listed), no_rev_avail(), authority_key_identifier(listed[0]))
        else:
            key.not_after()  # raises: an attribute certificate needs an issuer with a certificate

    def issue(self, capability: Capability, *, now: datetime) -> AttributeCertificate:
        """Return the attribute certificate of a capability.

        Raises:
            DeniedError: The capability has no groups or roles.
            IssuanceError: GRANT: something in it cannot be written; AUTHORITY: the signing key's certificate is not
                valid now; SIGN: the key could not be used.
        """
        signer = self._key.signer_certificate(now=now)
        self._check(capability)
        eec = capability.holder.eec
        not_after = min(capability.not_after, self._key.not_after(), eec.not_after).astimezone(UTC)
        not_before = capability.not_before.astimezone(UTC)
        if not_after <= max(now, not_before):
            raise IssuanceError("its time is over before it begins", step=IssuanceStep.GRANT)
        extensions = self._fixed
        if capability.tags:
            extensions = (*extensions, tags_extension([TagList(self.authority, capability.tags)]))
        if capability.audience:
            extensions = (*extensions, targets_extension(audience_hosts(capability.audience)))
        info = AttributeInfo(
            holder_issuer_der=eec.issuer_der,
            holder_serial=eec.serial,
            issuer_der=signer.subject_der,
            signature_algorithm_der=self._key.signer.algorithm_der,
            serial=serial_of(capability.identifier),
            not_before=not_before.replace(microsecond=0),
            not_after=not_after.replace(microsecond=0),
            authority=self.authority,
            fqans=capability.fqans,
            extensions=extensions,
        )
        try:
            data = info.encode()
            return AttributeCertificate.assemble(data, info.signature_algorithm_der, self._key.signer.sign(data))
        except ParseError as error:
            raise IssuanceError(error.message, step=IssuanceStep.GRANT, hint=error.hint) from error

    def _check(self, capability: Capability) -> None:
        """Check that the VO vouches for its own alone, and that what is written can be read."""
        if not capability.fqans:
            raise DeniedError("nothing in this capability can be written in an attribute certificate: no groups")
        if capability.community != self._vo:
            raise IssuanceError(
                f"a capability of {capability.community!r} for the VO {self._vo!r}", step=IssuanceStep.GRANT
            )
        if len(capability.fqans) > MAX_FQANS or len(capability.audience) > MAX_TARGETS:
            raise IssuanceError("more groups, roles or hosts than can be written", step=IssuanceStep.GRANT)
        try:
            for fqan in capability.fqans:
                check_fqan(fqan, self._vo)
        except CapabilityError as error:
            raise IssuanceError(error.message, step=IssuanceStep.GRANT) from error
