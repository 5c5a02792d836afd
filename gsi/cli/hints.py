"""What a person at a terminal can do about an error that carries no hint of its own; loaded only when one is shown.

The library's hints come first: they know the file and the circumstances. These are the general ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.errors import CredentialError, CredentialProblem, GridError, Reason, VerificationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["find_hint", "find_hint_for"]

_NEW_PROXY: Final = "make a new proxy with grid-proxy-init"
_CA_PACKAGE: Final = "update the CA's package, or tell the administrator of the trust directory"
_BROKEN_PROXY: Final = "the proxy was not made by the rules; make a new one with grid-proxy-init"
_FETCH_CRL: Final = "run grid-fetch-crl, or see who keeps the revocation lists of the trust directory current"

_PROBLEMS: Final[Mapping[CredentialProblem, str]] = {
    CredentialProblem.MISSING: "check the path; without one, X509_* variables and ~/.globus are looked at",
    CredentialProblem.EXPIRED: "make a new proxy, or ask your CA to renew your certificate",
    CredentialProblem.NOT_YET_VALID: "check this machine's clock",
    CredentialProblem.NEEDS_PASSPHRASE: "type it on a terminal, or give it on standard input with -pwstdin",
    CredentialProblem.WRONG_PASSPHRASE: "try again; look at caps lock and the keyboard's layout",
    CredentialProblem.KEY_MISMATCH: "use the key that the certificate was requested with",
    CredentialProblem.KEY_MISSING: "put the private key there, or name its file",
    CredentialProblem.UNSAFE_FILE: "a file with a private key must be yours alone: copy it, with mode 600",
    CredentialProblem.WEAK_KEY: "use an RSA key of 2048 bits or more, or P-256",
    CredentialProblem.UNSUPPORTED_KEY: "use an RSA, P-256, P-384 or Ed25519 key",
    CredentialProblem.CANNOT_SIGN: "sign with your own certificate, or with a proxy that is wide enough",
    CredentialProblem.UNWRITABLE: "check the directory's permissions and the free space, or choose another file",
}

_REASONS: Final[Mapping[Reason, str]] = {
    Reason.EMPTY_CHAIN: "the file must hold certificates in PEM, leaf first",
    Reason.CHAIN_TOO_LONG: "make a new proxy directly under your certificate",
    Reason.NO_END_ENTITY: "the file must hold every certificate up to the user's own, leaf first",
    Reason.UNTRUSTED: "install the CA in the trust directory, or name another one with -certdir",
    Reason.CHAIN_BROKEN: "put the certificates in order, leaf first, with none left out",
    Reason.BAD_SIGNATURE: "the certificate was changed or forged; get it again from its owner",
    Reason.WEAK_SIGNATURE: "ask the CA for a certificate signed with SHA-256",
    Reason.NOT_YET_VALID: "check this machine's clock",
    Reason.EXPIRED: "make a new proxy, or renew the certificate",
    Reason.SIGNING_POLICY_MISSING: _CA_PACKAGE,
    Reason.SIGNING_POLICY_BROKEN: _CA_PACKAGE,
    Reason.SIGNING_POLICY: "the CA may not sign that name by its .signing_policy in the trust directory",
    Reason.NAMESPACES: "the CA may not sign that name by its .namespaces in the trust directory",
    Reason.CRL_MISSING: _FETCH_CRL,
    Reason.CRL_BROKEN: _FETCH_CRL,
    Reason.CRL_EXPIRED: _FETCH_CRL,
    Reason.CRL_NOT_YET_VALID: "check this machine's clock",
    Reason.CRL_BAD_SIGNATURE: _FETCH_CRL,
    Reason.REVOKED: "the CA has withdrawn this certificate; ask it for a new one",
    Reason.PROXY_NAME: _BROKEN_PROXY,
    Reason.PROXY_INFO_NOT_CRITICAL: _BROKEN_PROXY,
    Reason.PROXY_INFO_MALFORMED: _BROKEN_PROXY,
    Reason.PROXY_IS_CA: _BROKEN_PROXY,
    Reason.PROXY_ALT_NAME: _BROKEN_PROXY,
    Reason.PROXY_POLICY_PRESENT: _BROKEN_PROXY,
    Reason.PROXY_PATH_LENGTH: "a proxy in the chain forbids further ones; " + _NEW_PROXY,
    Reason.PROXY_LIMITED: "below a limited proxy only limited ones count; " + _NEW_PROXY,
    Reason.PROXY_RESTRICTION: "only a service that reads this policy language can accept the proxy",
    Reason.PROXY_FORMAT: "make an RFC 3820 proxy (the default), or allow the old form explicitly",
    Reason.EXTENDED_KEY_USAGE: "the certificate is meant for another purpose; see -purpose",
}


def find_hint(error: GridError) -> str | None:
    """Return the error's own hint, else a general one, else None."""
    if error.hint:
        return error.hint
    if isinstance(error, CredentialError):
        return _PROBLEMS.get(error.problem)
    if isinstance(error, VerificationError):
        return _REASONS.get(error.reason)
    return None


def find_hint_for(slug: str) -> str | None:
    """Return the general hint for a reason or problem by its value, else None."""
    general = {str(reason): hint for hints in (_PROBLEMS, _REASONS) for reason, hint in hints.items()}
    return general.get(slug)
