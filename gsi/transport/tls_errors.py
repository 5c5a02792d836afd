"""What OpenSSL says about a failed handshake or connection, as our errors; only `gsi.transport.tls` asks.

    except ssl.SSLError as error:
        raise translate(error, "TLS handshake failed") from error
    alert_for(Reason.REVOKED)                        # 44

Alerts about a certificate become `AuthenticationError`: the peer refuses us. Verdicts on the peer's certificate become
`VerificationError` with our reason codes. Everything else is a `TransportError`.
"""

from __future__ import annotations

import ssl
from typing import Final

from gsi.errors import AuthenticationError, GridError, Reason, TransportError, VerificationError

__all__ = ["alert_for", "reason_of", "translate"]

_REFUSED_HINT: Final = "the server's log says why; check its trust directory and the dates of the certificate"
_REFUSALS: Final = {
    "TLSV1_ALERT_UNKNOWN_CA": ("the peer does not know the CA of our certificate", _REFUSED_HINT),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("the peer refuses our certificate", _REFUSED_HINT),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": ("the peer refuses this kind of certificate", _REFUSED_HINT),
    "SSLV3_ALERT_CERTIFICATE_REVOKED": ("the peer says that our certificate is revoked", None),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("the peer says that our certificate has expired", "make a new proxy"),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("the peer does not accept our certificate", _REFUSED_HINT),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ("the peer requires a certificate", "make a proxy first"),
    "TLSV1_ALERT_ACCESS_DENIED": ("the peer denies access to our certificate", None),
}
"""What OpenSSL calls an alert about our certificate, and what it means to a person."""
_FAULTS: Final[dict[str, tuple[str, str | None]]] = {
    "TLSV1_ALERT_PROTOCOL_VERSION": ("the peer wants another TLS version", None),
    "UNSUPPORTED_PROTOCOL": ("the peer offers no TLS version that is safe to use", None),
    "WRONG_VERSION_NUMBER": ("the peer does not speak TLS", "check host and port"),
    "HTTP_REQUEST": ("the peer speaks HTTP, not TLS", None),
    "NO_SHARED_CIPHER": ("no cipher in common with the peer", None),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": ("the peer refused the handshake", None),
    "TLSV1_ALERT_INTERNAL_ERROR": ("the peer has an internal error", None),
}
"""The same for other alerts and faults."""

_VERIFY_HINTS: Final = {
    Reason.NOT_A_CA: "legacy (GT2, GT3) proxies cannot be used for TLS here; make an RFC 3820 proxy",
    Reason.EXTENDED_KEY_USAGE: "the certificate's extended key usage leaves out TLS clients, which OpenSSL insists on",
}
_VERIFY_REASONS: Final = {
    2: Reason.UNTRUSTED,
    7: Reason.BAD_SIGNATURE,
    9: Reason.NOT_YET_VALID,
    10: Reason.EXPIRED,
    18: Reason.UNTRUSTED,
    19: Reason.UNTRUSTED,
    20: Reason.UNTRUSTED,
    21: Reason.UNTRUSTED,
    22: Reason.CHAIN_TOO_LONG,
    23: Reason.REVOKED,
    24: Reason.NOT_A_CA,
    25: Reason.CA_PATH_LENGTH,
    26: Reason.EXTENDED_KEY_USAGE,
    27: Reason.UNTRUSTED,
    28: Reason.UNTRUSTED,
    29: Reason.CHAIN_BROKEN,
    32: Reason.KEY_USAGE,
    34: Reason.UNKNOWN_CRITICAL_EXTENSION,
    38: Reason.PROXY_PATH_LENGTH,
    39: Reason.KEY_USAGE,
    41: Reason.MALFORMED,
    47: Reason.NAME_CONSTRAINTS,
    48: Reason.NAME_CONSTRAINTS,
    66: Reason.WEAK_KEY,
    67: Reason.WEAK_KEY,
    68: Reason.WEAK_SIGNATURE,
    72: Reason.PROXY_NAME,
    79: Reason.NOT_A_CA,
}
"""OpenSSL's X509_V_ERR numbers (openssl/x509_vfy.h) as our reasons; any other is MALFORMED."""

_ALERTS: Final = {
    Reason.EXPIRED: 45,  # certificate_expired
    Reason.NOT_YET_VALID: 45,
    Reason.REVOKED: 44,  # certificate_revoked
    Reason.UNTRUSTED: 48,  # unknown_ca
    Reason.WEAK_KEY: 43,  # unsupported_certificate
    Reason.WEAK_SIGNATURE: 43,
    Reason.UNSUPPORTED_ALGORITHM: 43,
}
"""RFC 5246 section 7.2.2, as far as it has words for our reasons."""
_ALERT_ELSE: Final = 46  # certificate_unknown: "some other (unspecified) issue"


def alert_for(reason: Reason) -> int:
    """Return the number of the alert that tells a peer best why its certificates are refused."""
    return _ALERTS.get(reason, _ALERT_ELSE)


def translate(error: ssl.SSLError, what: str) -> GridError:
    """Return the error to raise.

    Args:
        error: What `ssl` raised.
        what: What was going on, as the beginning of a message.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _verification_error(error)
    if isinstance(error, ssl.SSLZeroReturnError | ssl.SSLEOFError):
        return TransportError(f"{what}: the peer closed the connection")
    reason = error.reason or ""
    if reason in _REFUSALS:
        message, hint = _REFUSALS[reason]
        return AuthenticationError(message, hint=hint)
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return VerificationError("the peer showed no certificate", reason=Reason.NO_CERTIFICATE)
    words, hint = _FAULTS.get(reason, (reason_of(error), None))
    return TransportError(f"{what}: {words}", hint=hint)


def reason_of(error: Exception) -> str:
    """OpenSSL's words for an error, without its numbers and source lines."""
    reason = getattr(error, "reason", None)
    return reason.replace("_", " ").lower() if isinstance(reason, str) and reason else str(error)


def _verification_error(error: ssl.SSLCertVerificationError) -> VerificationError:
    """OpenSSL's verdict on a client's certificates as one of ours. It does not say which certificate."""
    reason = _VERIFY_REASONS.get(error.verify_code, Reason.MALFORMED)
    return VerificationError(
        f"the peer's certificate was refused in the TLS handshake: {error.verify_message}",
        reason=reason,
        hint=_VERIFY_HINTS.get(reason),
    )
