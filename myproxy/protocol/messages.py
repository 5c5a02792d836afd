"""The messages of MYPROXYv2 as values; neither their bytes (`codec`) nor their legal order (`client`, `server`).

    request = Request(Command.GET, "alice", passphrase=Passphrase(b"..."), lifetime=timedelta(hours=12))
    response = Response.ok(credentials=(info,))
    response = Response.refuse("invalid credential passphrase")

Text is `str`, pass phrases are `Passphrase`, times aware UTC, lifetimes `timedelta`. Whether a value can travel (no
line feed, no NUL, lengths) is the codec's to say. Agrees with gct:myproxy/source/myproxy.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from gsi.secret import Passphrase

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "METHOD_NAMES",
    "AuthorizationMethod",
    "AuthorizationOffer",
    "AuthorizationReply",
    "Command",
    "CredentialInfo",
    "Request",
    "Response",
    "ResponseType",
    "SignatureBlock",
    "TrustRootFile",
]


class Command(IntEnum):
    """What a client asks for; the numbers travel."""

    GET = 0
    PUT = 1
    INFO = 2
    DESTROY = 3
    CHANGE_PASSPHRASE = 4
    STORE = 5
    RETRIEVE = 6
    GET_TRUSTROOTS = 7


class ResponseType(IntEnum):
    """What a server answers; the numbers travel."""

    OK = 0
    ERROR = 1
    AUTHORIZATION = 2


class AuthorizationMethod(IntEnum):
    """How a client proves in a round of its own that it may have a credential; the numbers travel."""

    PASSWORD = 1
    CERTIFICATE = 2
    SASL = 3
    CERTIFICATE_SHA256 = 4


METHOD_NAMES: Final = {
    AuthorizationMethod.PASSWORD: "password",
    AuthorizationMethod.CERTIFICATE: "X509_certificate",
    AuthorizationMethod.SASL: "SASL",
    AuthorizationMethod.CERTIFICATE_SHA256: "X509_certificate_SHA256",
}
"""The names that a server's offer uses for the numbers of a client's reply."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks, the first message of a conversation.

    Attributes:
        command: The operation.
        username: The account name in the repository; empty only for GET_TRUSTROOTS.
        passphrase: The pass phrase, or empty.
        new_passphrase: For CHANGE_PASSPHRASE; empty asks for a key without one.
        lifetime: In whole seconds, never negative: of the proxy asked for (GET), or the most that proxies made from
            the stored credential may have (PUT, STORE).
        retriever: Who may retrieve with the pass phrase, as a pattern; None leaves it to the server.
        renewer: Who may renew.
        credential_name: One of several credentials of the user; None is the unnamed one.
        description: Free text shown by INFO.
        key_retrievers: Who may retrieve the key itself.
        trusted_retriever: Who may retrieve without a pass phrase.
        wants_trust_roots: Whether the server's trust roots are to come with the answer.
        vo_names: VOMS organisations (with optional group and role) whose attributes the proxy is to carry.
        vomses: Lines of a vomses file, where to ask for them.
        on_behalf_of: Where the user is for whom a front end asks, an address; None where the client asks for itself.
            Ours, and for GET alone.
        wants_history: Whether the answer is to tell what happened to the credentials; ours, and for INFO alone.
    """

    command: Command
    username: str
    passphrase: Passphrase = field(default_factory=lambda: Passphrase(b""))
    new_passphrase: Passphrase = field(default_factory=lambda: Passphrase(b""))
    lifetime: timedelta = timedelta(0)
    retriever: str | None = None
    renewer: str | None = None
    credential_name: str | None = None
    description: str | None = None
    key_retrievers: str | None = None
    trusted_retriever: str | None = None
    wants_trust_roots: bool = False
    vo_names: tuple[str, ...] = ()
    vomses: tuple[str, ...] = ()
    on_behalf_of: str | None = None
    wants_history: bool = False


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that was done with a stored credential, or refused; ours.

    Attributes:
        at: When, aware UTC, whole seconds; the last time, where there were several.
        kind: A word for what: `logon`, `renewal`, `trusted`, `key`, `store`, `change`, `destroy`.
        permitted: Whether it was done.
        address: Where it came from; the last address, where several of one network were refused.
        name: The credential's name, None for the unnamed one.
        count: How often.
        first: The first time.
    """

    at: datetime
    kind: str
    permitted: bool
    address: str
    name: str | None
    count: int
    first: datetime


@dataclass(frozen=True, slots=True)
class CredentialInfo:
    """What INFO tells about one stored credential.

    Attributes:
        name: Its name, or None for the unnamed one.
        description: Free text, or None.
        start_time: Latest notBefore over the stored certificates, aware UTC, whole seconds.
        end_time: Earliest notAfter over them.
        owner: One-line subject of its owner.
        retriever: Retrieval policy, or None.
        key_retrievers: Key retrieval policy, or None.
        trusted_retriever: Policy for retrieval without a pass phrase, or None.
        renewer: Renewal policy, or None.
        lock_message: Why it is locked, or None when it is not.
        last_use: When a proxy or the key was last handed out, or None where the server does not say.
    """

    name: str | None
    start_time: datetime
    end_time: datetime
    owner: str
    description: str | None = None
    retriever: str | None = None
    key_retrievers: str | None = None
    trusted_retriever: str | None = None
    renewer: str | None = None
    lock_message: str | None = None
    last_use: Happening | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What a server tells the owner of credentials.

    Attributes:
        credentials: The credentials, the unnamed one first.
        history: What happened to them, the newest first; None from a server that does not say.
    """

    credentials: tuple[CredentialInfo, ...]
    history: tuple[Happening, ...] | None = None


@dataclass(frozen=True, slots=True)
class TrustRootFile:
    """One file of a trust directory.

    Attributes:
        name: Its base name.
        data: Its content.
    """

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class AuthorizationOffer:
    """One way of authorization that a server accepts in this round.

    Attributes:
        method: The name on the wire (`METHOD_NAMES`); clients pass over names they do not know.
        data: A prompt, a challenge, or SASL data.
    """

    method: str
    data: str


@dataclass(frozen=True, slots=True)
class SignatureBlock:
    """Proof of possession of a key, for renewal.

    Attributes:
        signature: Over the ASCII text of the challenge.
        certificates: DER, the signer's first, then its chain.
    """

    signature: bytes
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AuthorizationReply:
    """The client's answer to an offer.

    Attributes:
        method: The one chosen.
        text: The pass phrase (PASSWORD) or base64 SASL data (SASL); empty for the others.
        signature: The proof, for the two certificate methods.
    """

    method: AuthorizationMethod
    text: Passphrase = field(default_factory=lambda: Passphrase(b""))
    signature: SignatureBlock | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answers.

    Attributes:
        type: OK, an error after which the server closes, or a demand for authorization.
        errors: The lines of an error; at least one when it is one.
        offers: The ways of authorization.
        credentials: The answer to INFO, the unnamed credential first.
        trust_roots: The files of the server's trust directory.
        on_behalf_of: The user's address, as the server has taken it from a front end; None from all other servers,
            which would have judged the front end in the user's place.
        history: What happened to the credentials listed, the newest first; None from a server that does not say.
    """

    type: ResponseType
    errors: tuple[str, ...] = ()
    offers: tuple[AuthorizationOffer, ...] = ()
    credentials: tuple[CredentialInfo, ...] = ()
    trust_roots: tuple[TrustRootFile, ...] = ()
    on_behalf_of: str | None = None
    history: tuple[Happening, ...] | None = None

    @classmethod
    def ok(
        cls,
        *,
        credentials: tuple[CredentialInfo, ...] = (),
        trust_roots: tuple[TrustRootFile, ...] = (),
        on_behalf_of: str | None = None,
        history: tuple[Happening, ...] | None = None,
    ) -> Response:
        """Return a yes, with what was asked for."""
        return cls(
            ResponseType.OK,
            credentials=credentials,
            trust_roots=trust_roots,
            on_behalf_of=on_behalf_of,
            history=history,
        )

    @classmethod
    def refuse(cls, *lines: str) -> Response:
        """Return a no with its reasons, one per line."""
        return cls(ResponseType.ERROR, errors=lines or ("request refused",))

    @classmethod
    def ask(cls, *offers: AuthorizationOffer) -> Response:
        """Return a demand for authorization by one of these ways."""
        return cls(ResponseType.AUTHORIZATION, offers=offers)
