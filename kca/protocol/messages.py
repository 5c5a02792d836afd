"""What KX.509 messages say, as values; knows no bytes and no order.

RFC 6717 with what its two families of programs have made of it: the University of Michigan's (RSA keys bare, errors
from 0 to 6), and Heimdal's (PKCS#10 requests, probes, Kerberos errors from 1000 on, a message authentication code of
its own). docs/wire/kx509.md tells them apart.
"""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import AuthenticationError, RefusedError, RemoteProtocolError

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.certificate import Extension

__all__ = [
    "HEIMDAL_BASE",
    "HEIMDAL_GENERIC",
    "HEIMDAL_POLICY",
    "HEIMDAL_PREAUTHENTICATION",
    "KRB_AP_ERR_REPEAT",
    "CSRPlus",
    "ErrorCode",
    "MACDialect",
    "MACError",
    "MACPolicy",
    "RefusedByKCAError",
    "Request",
    "RequestKind",
    "Response",
    "VersionError",
]

HEIMDAL_BASE: Final = 1000
"""Heimdal adds this to the error codes of Kerberos (RFC 4120 s.7.5.9)."""
HEIMDAL_POLICY: Final = HEIMDAL_BASE + 12
"""KDC_ERR_POLICY; the one code that makes Heimdal's client take a probe for refused."""
HEIMDAL_PREAUTHENTICATION: Final = HEIMDAL_BASE + 24
"""KDC_ERR_PREAUTH_FAILED: the message authentication code is wrong."""
HEIMDAL_GENERIC: Final = HEIMDAL_BASE + 60
"""KRB_ERR_GENERIC."""
KRB_AP_ERR_REPEAT: Final = 34
"""The number of Kerberos (RFC 4120 s.7.5.9) for an AP-REQ that was here before."""


class ErrorCode(IntEnum):
    """The codes of RFC 6717."""

    GOOD = 0
    CLIENT_BAD = 1
    """Nothing that the client could do would help."""
    CLIENT_FIX = 2
    """The client can do something about it."""
    CLIENT_TEMPORARY = 3
    SERVER_BAD = 4
    """An administrator has to do something."""
    SERVER_TEMPORARY = 5


class RequestKind(Enum):
    """What is wanted."""

    PROBE = "probe"
    """Is the service there? Without a ticket."""
    AUTHENTICATED_PROBE = "authenticated probe"
    """Would I get a certificate?"""
    RSA_KEY = "RSA key"
    """A certificate for a bare RSA key."""
    CSR = "certificate request"
    """A certificate for the key of a PKCS#10, which proves its possession."""


class MACDialect(StrEnum):
    """How the error code goes into the message authentication code of a reply."""

    RFC = "rfc"
    """RFC 6717: not at all where it is left out, which is where it is 0."""
    HEIMDAL8 = "heimdal8"
    """Always, so that 0 is one byte."""


class MACPolicy(StrEnum):
    """Which dialect a server answers in."""

    AUTO = "auto"
    """The one of the client, as far as its request shows it."""
    RFC = "rfc"
    HEIMDAL8 = "heimdal8"


class Request(NamedTuple):
    """Kx509Request.

    Attributes:
        authenticator: An AP-REQ; empty in an unauthenticated probe.
        pk_hash: The message authentication code.
        pk_key: The key in one of the forms of `RequestKind`; empty in a probe.
        client_version: What some of Michigan's clients call themselves, None for all others.
    """

    authenticator: bytes
    pk_hash: bytes
    pk_key: bytes
    client_version: str | None = None

    @property
    def kind(self) -> RequestKind:
        """What is wanted, by the first bytes of the key."""
        if not self.authenticator:
            return RequestKind.PROBE
        if not self.pk_key:
            return RequestKind.AUTHENTICATED_PROBE
        return RequestKind.CSR if self.pk_key[:1] == b"\x7f" else RequestKind.RSA_KEY


class CSRPlus(NamedTuple):
    """Kx509CSRPlus, Heimdal's form of a key.

    Attributes:
        csr: A PKCS#10 request in DER; Heimdal's writer may leave its attributes out altogether.
        extensions: Wishes, beside those in the request.
        end_time: A wish for the end of validity.
    """

    csr: bytes
    extensions: tuple[Extension, ...] = ()
    end_time: datetime | None = None


class Response(NamedTuple):
    """Kx509Response.

    Attributes:
        error_code: 0 for a yes.
        mac: The message authentication code; None where the sender shares no key with us, so anybody may have sent it.
        certificate: One certificate, or a list of them, in DER.
        text: Words for a person.
    """

    error_code: int = 0
    mac: bytes | None = None
    certificate: bytes | None = None
    text: str | None = None


class VersionError(RemoteProtocolError):
    """A message of another version of KX.509."""


class MACError(AuthenticationError):
    """A message authentication code that is not that of the ticket's key: altered on the way, or made by another."""


class RefusedByKCAError(RefusedError):
    """The service said no.

    Attributes:
        code: Its error code.
        authenticated: Whether it was the service for certain. Where it was not, another way may still work.
        kerberos_error: The number within RFC 4120 s.7.5.9 of what is wrong with the AP-REQ, where the service tells.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int,
        authenticated: bool,
        kerberos_error: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.authenticated = authenticated
        self.kerberos_error = kerberos_error
