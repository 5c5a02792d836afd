"""The error families of the whole project; no behaviour beyond carrying what went wrong.

Every error a caller can meet is a `GridError`. A family says who must act: the holder of a credential
(`CredentialError`), the presenter of a chain (`VerificationError`) or of a capability (`CapabilityError`), the peer
(`RemoteProtocolError`), the caller (`LocalProtocolError`), the administrator (`ConfigError`). The `slug` is stable and
meant for programs and logs; the message is meant for a person and says what, where and why; the hint says what to do.
Translation into wire text, exit codes or HTTP status happens at the edges, never here.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "AuthenticationError",
    "CapabilityError",
    "CapabilityProblem",
    "ConfigError",
    "ConflictError",
    "CredentialError",
    "CredentialProblem",
    "DeniedError",
    "GridError",
    "IssuanceError",
    "IssuanceStep",
    "LocalProtocolError",
    "NotFoundError",
    "ParseError",
    "ProtocolError",
    "Reason",
    "RefusedError",
    "RemoteProtocolError",
    "StorageError",
    "TimeoutExpiredError",
    "TransportError",
    "VerificationError",
]


class GridError(Exception):
    """Anything that this project reports to a caller.

    Attributes:
        message: What went wrong, where and why, as one sentence for a person.
        hint: What to do about it, or None.
    """

    slug = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class ParseError(GridError):
    """Foreign bytes or text that do not follow their grammar.

    Attributes:
        what: The thing that was being parsed ("certificate", "signing policy").
        offset: Byte offset of the fault, or None where none is known.
    """

    slug = "parse"

    def __init__(self, message: str, *, what: str, offset: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.what = what
        self.offset = offset


class CredentialProblem(StrEnum):
    """Why a credential (a key with its certificates) cannot be used."""

    MISSING = "missing"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    NEEDS_PASSPHRASE = "needs-passphrase"
    WRONG_PASSPHRASE = "wrong-passphrase"
    KEY_MISMATCH = "key-mismatch"
    KEY_MISSING = "key-missing"
    UNSAFE_FILE = "unsafe-file"
    WEAK_KEY = "weak-key"
    UNSUPPORTED_KEY = "unsupported-key"
    CANNOT_SIGN = "cannot-sign"
    UNWRITABLE = "unwritable"


class CredentialError(GridError):
    """A credential that is missing, out of date, locked, unsafe on disk, or unfit for the purpose.

    Attributes:
        problem: The stable reason.
        path: The file concerned, or None.
    """

    slug = "credential"

    def __init__(
        self, message: str, *, problem: CredentialProblem, path: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.problem = problem
        self.path = path


class Reason(StrEnum):
    """Why a certificate chain was refused. Values are stable: programs and the test vectors rely on them."""

    EMPTY_CHAIN = "empty-chain"
    CHAIN_TOO_LONG = "chain-too-long"
    MALFORMED = "malformed"
    UNSUPPORTED_VERSION = "unsupported-version"
    DUPLICATE_EXTENSION = "duplicate-extension"
    UNKNOWN_CRITICAL_EXTENSION = "unknown-critical-extension"
    NO_END_ENTITY = "no-end-entity"
    UNTRUSTED = "untrusted"
    CHAIN_BROKEN = "chain-broken"
    BAD_SIGNATURE = "bad-signature"
    WEAK_SIGNATURE = "weak-signature"
    WEAK_KEY = "weak-key"
    UNSUPPORTED_ALGORITHM = "unsupported-algorithm"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    NOT_A_CA = "not-a-ca"
    IS_A_CA = "is-a-ca"
    CA_PATH_LENGTH = "ca-path-length"
    PATH_TOO_COMPLEX = "path-too-complex"
    NAME_CONSTRAINTS = "name-constraints"
    CERTIFICATE_POLICY = "certificate-policy"
    KEY_USAGE = "key-usage"
    EXTENDED_KEY_USAGE = "extended-key-usage"
    SIGNING_POLICY_MISSING = "signing-policy-missing"
    SIGNING_POLICY_BROKEN = "signing-policy-broken"
    SIGNING_POLICY = "signing-policy"
    NAMESPACES = "namespaces"
    CRL_MISSING = "crl-missing"
    CRL_BROKEN = "crl-broken"
    CRL_EXPIRED = "crl-expired"
    CRL_NOT_YET_VALID = "crl-not-yet-valid"
    CRL_BAD_SIGNATURE = "crl-bad-signature"
    CRL_SIGNER = "crl-signer"
    REVOKED = "revoked"
    PROXY_NAME = "proxy-name"
    PROXY_INFO_NOT_CRITICAL = "proxy-info-not-critical"
    PROXY_INFO_MALFORMED = "proxy-info-malformed"
    PROXY_IS_CA = "proxy-is-ca"
    PROXY_ALT_NAME = "proxy-alt-name"
    PROXY_PATH_LENGTH = "proxy-path-length"
    PROXY_POLICY_PRESENT = "proxy-policy-present"
    PROXY_LIMITED = "proxy-limited"
    PROXY_RESTRICTION = "proxy-restriction"
    PROXY_MIXED_FORMATS = "proxy-mixed-formats"
    PROXY_FORMAT = "proxy-format"
    PEER_NAME = "peer-name"
    NO_CERTIFICATE = "no-certificate"


class VerificationError(GridError):
    """A certificate chain that must not be trusted (RFC 5280 section 6, RFC 3820 section 4).

    Attributes:
        reason: The stable reason code.
        position: Index of the offending certificate in the chain as presented, leaf first; None for the chain as
            a whole. An anchor or CA taken from the trust directory counts on past the presented certificates.
    """

    slug = "verification"

    def __init__(self, message: str, *, reason: Reason, position: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.position = position


class CapabilityProblem(StrEnum):
    """Why a signed capability was refused. Values are stable: policies, logs and tests rely on them."""

    MALFORMED = "malformed"
    VERSION = "version"
    CONTENT = "content"
    CRITICAL = "critical"
    ALGORITHM = "algorithm"
    ISSUER = "issuer"
    SIGNER = "signer"
    KEY = "key"
    KEYS_UNAVAILABLE = "keys-unavailable"
    BAD_SIGNATURE = "bad-signature"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    LIFETIME = "lifetime"
    HOLDER = "holder"
    AUDIENCE = "audience"
    REPLAYED = "replayed"
    REVOKED = "revoked"


class CapabilityError(GridError):
    """A signed capability (attribute certificate, token, assertion) that must not be believed.

    Attributes:
        problem: The stable reason.
        issuer: Who it says issued it, as far as that could be read; never proven.
    """

    slug = "capability"

    def __init__(
        self, message: str, *, problem: CapabilityProblem, issuer: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.problem = problem
        self.issuer = issuer


class AuthenticationError(GridError):
    """A peer or user did not prove who it is."""

    slug = "authentication"


class DeniedError(GridError):
    """An authorization decision against the subject.

    Attributes:
        decision: The decision that denied, or None where the denial needs no further record.
    """

    slug = "denied"

    def __init__(self, message: str, *, decision: object | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.decision = decision


class IssuanceStep(StrEnum):
    """Where the issuing of a certificate or CRL stopped; the steps of `gsi.ca.issuer` in their order."""

    AUTHORITY = "authority"
    REQUEST = "request"
    GRANT = "grant"
    SERIAL = "serial"
    SIGN = "sign"
    CHECK = "check"
    RECORD = "record"


class IssuanceError(GridError):
    """A certificate or CRL that was not issued, for a reason on the authority's side; nothing left it.

    Attributes:
        step: Where it stopped.
    """

    slug = "issuance"

    def __init__(self, message: str, *, step: IssuanceStep, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.step = step


class ProtocolError(GridError):
    """A conversation that left its protocol."""

    slug = "protocol"


class LocalProtocolError(ProtocolError):
    """This side was asked to send what the protocol does not allow; nothing was sent."""

    slug = "protocol-local"


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol does not allow."""

    slug = "protocol-remote"


class RefusedError(GridError):
    """A well-formed no from the peer; the message keeps its words."""

    slug = "refused"


class TransportError(GridError):
    """Bytes could not be carried: no connection, a reset, a failed TLS handshake."""

    slug = "transport"


class TimeoutExpiredError(TransportError):
    """The peer did not answer within the time allowed."""

    slug = "timeout"


class StorageError(GridError):
    """A store could not be read or written; what was acknowledged before is still there."""

    slug = "storage"


class NotFoundError(StorageError):
    """The named thing is not in the store."""

    slug = "not-found"


class ConflictError(StorageError):
    """The change contradicts what the store holds."""

    slug = "conflict"


class ConfigError(GridError):
    """A configuration that cannot be used.

    Attributes:
        path: The file, or None when the value came from an argument or the environment.
        line: The line, counted from 1, or None.
    """

    slug = "config"

    def __init__(
        self, message: str, *, path: str | None = None, line: int | None = None, hint: str | None = None
    ) -> None:
        place = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(place + message, hint=hint)
        self.path = path
        self.line = line
