"""Whom an initiator means to talk to, and whether the proven peer is that one; strict RFC 2818 and exact names only.

    target = Target.parse("ftp@data.example.org")
    check_target(peer, target)                       # VerificationError(PEER_NAME) when it is somebody else

Agrees with the mode STRICT_RFC2818 of gct:gsi/gssapi/source/library/compare_name.c as far as `gsi.trust.peername` does.
The modes that look names up or cut them at hyphens are not offered here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi import names, oids
from gsi.errors import ConfigError, ParseError, Reason, VerificationError
from gsi.nametext import ASCII_LOWER
from gsi.trust.name_constraints import parse_general_names
from gsi.trust.peername import check_peer_name

if TYPE_CHECKING:
    from gsi.trust.peer import VerifiedPeer

__all__ = ["HOST_SERVICE", "Target", "check_target"]

HOST_SERVICE: Final = "host"
"""The service of a common name that is a bare host."""
MAX_TARGET: Final = 1024  # a DNS name has 253 characters, the longest distinguished names seen some 300
_DNS: Final = 0x82  # dNSName and iPAddress in GeneralName, RFC 5280 section 4.2.1.6
_IP: Final = 0x87


@dataclass(frozen=True, slots=True)
class Target:
    """The peer that is meant: a host with a service, or exactly one identity.

    Attributes:
        host: A DNS name or an IP address; None when an identity is meant.
        service: What has to stand before the host in a common name (`ftp/data.example.org`), where a bare host counts
            as the service `host`; None takes any. Certificates with DNS alternative names say nothing of services.
        identity: A subject in one-line form; None when a host is meant.

    Raises:
        ConfigError: Neither or both of host and identity, or a text that cannot be one.
    """

    host: str | None = None
    service: str | None = None
    identity: str | None = None

    def __post_init__(self) -> None:
        """Check that it can be compared with anything."""
        text = self.host if self.identity is None else self.identity
        if not text or (self.host is not None and self.identity is not None):
            raise ConfigError("a target is either a host or an identity")
        if len(text) > MAX_TARGET or not text.isprintable():
            raise ConfigError("a target's name is not printable or too long")
        if self.identity is not None and not self.identity.startswith("/"):
            raise ConfigError(f"'{self.identity}' is no name in one-line form", hint="/O=Grid/CN=Alice")
        if self.host is not None and (self.service == "" or set("/@ ") & set(self.host + (self.service or ""))):
            raise ConfigError(f"'{self}' is no host, and no service at a host", hint="ftp@data.example.org")

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `/O=Grid/CN=Alice` as an identity, `service@host` and `host` as such.

        Raises:
            ConfigError: The text is none of them.
        """
        if text.startswith("/"):
            return cls(identity=text)
        service, at, host = text.rpartition("@")
        return cls(host=host, service=service if at else None)

    @property
    def server_name(self) -> str | None:
        """The name to announce by SNI: the host, unless it is an address (RFC 6066 section 3)."""
        if self.host is None or _address(self.host) is not None:
            return None
        return self.host.removesuffix(".") or None

    def __str__(self) -> str:
        if self.identity is not None:
            return self.identity
        return f"{self.host}" if self.service is None else f"{self.service}@{self.host}"


def check_target(peer: VerifiedPeer, target: Target) -> None:
    """Check that the peer is the target.

    A DNS name is compared as `gsi.trust.peername` says; where only a common name can match, its service must be the
    target's, if that names one. An address matches only an IP alternative name, byte by byte.

    Raises:
        VerificationError: PEER_NAME, or as `gsi.trust.peername.check_peer_name`.
    """
    if target.identity is not None:
        check_peer_name(peer, "", expected_dn=target.identity)
        return
    host = target.host or ""
    packed = _address(host)
    try:
        listed = _alternative_names(peer)
        if packed is not None:
            if peer.identity_der != peer.eec.subject_der or (_IP, packed) not in listed:
                raise _mismatch(peer, target)
            return
        check_peer_name(peer, host)
        has_dns = any(kind == _DNS for kind, _ in listed)
        if target.service is not None and not has_dns and not _is_service(peer, target.service):
            raise _mismatch(peer, target)
    except ParseError as error:
        raise VerificationError(error.message, reason=Reason.MALFORMED, position=0) from error


def _alternative_names(peer: VerifiedPeer) -> tuple[tuple[int, bytes], ...]:
    extension = peer.eec.find_extension(oids.SUBJECT_ALT_NAME)
    return () if extension is None else parse_general_names(extension.value)


def _is_service(peer: VerifiedPeer, service: str) -> bool:
    """Whether the first common name is of this service."""
    for group in names.attributes(peer.eec.subject_der):
        for attribute in group:
            if attribute.oid == oids.COMMON_NAME:
                found = attribute.text().rpartition("/")[0] or HOST_SERVICE
                return found.translate(ASCII_LOWER) == service.translate(ASCII_LOWER)
    return False


def _address(host: str) -> bytes | None:
    import ipaddress

    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).packed
    except ValueError:
        return None


def _mismatch(peer: VerifiedPeer, target: Target) -> VerificationError:
    return VerificationError(
        f"server identity {peer.identity} does not match {target}",
        reason=Reason.PEER_NAME,
        position=0,
        hint="check the host name; if the server is the right one, name its DN as the target",
    )
