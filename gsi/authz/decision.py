"""The values of an authorization decision and the two interfaces behind it; decides nothing and touches no machine.

    request = AuthorizationRequest(
        subject=Subject.from_peer(peer),
        action=Action("read", "file"),
        resource=Resource("ftp://se.example.org/data/f"),
        environment=Environment(now=now, service="gridftp"),
    )
    decision = engine.authorize(request)
    account = require_permit(decision, understands=(Account, PoolLease)).account

Only `Effect.PERMIT` lets anybody do anything; the other three refuse. `NOT_APPLICABLE` says that no rule spoke of the
request, `INDETERMINATE` that a rule could not be evaluated (an error, a time-out, an unknown value); to the peer they
are "denied" and "system failure". The four values and obligations are those of XACML 2.0 (sections 7.13 and 7.14).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from gsi import names
from gsi.errors import DeniedError, ParseError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.proxy.kinds import ProxyKind
    from gsi.trust.peer import VerifiedPeer

__all__ = [
    "ANONYMOUS",
    "MAX_ACCOUNT_CHARS",
    "MAX_ID",
    "Account",
    "Action",
    "AttributeSource",
    "AuthorizationRequest",
    "Authorizer",
    "DatabaseRole",
    "Decision",
    "DecisionStep",
    "Effect",
    "Environment",
    "Obligation",
    "PoolLease",
    "PosixIds",
    "Resource",
    "StorageLot",
    "StorageQuota",
    "Subject",
    "deny",
    "indeterminate",
    "not_applicable",
    "permit",
    "require_permit",
    "understood",
]

MAX_ACCOUNT_CHARS: Final = 255
"""The longest account name; GridFTP's buffer holds 63, the gatekeeper's 255, and no system has longer ones."""

MAX_ID: Final = (1 << 32) - 2
"""The highest uid or gid; the one above means "no change" to the kernel."""

_ACCOUNT: Final = re.compile(r"(?!\d+\Z)[A-Za-z0-9_][A-Za-z0-9_.@$+\\-]*\Z", re.ASCII)


def _nothing() -> Mapping[str, tuple[str, ...]]:
    return _NOTHING


def _no_claims() -> Mapping[str, object]:
    return _NOTHING


_NOTHING: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})


class Effect(StrEnum):
    """What one authorizer, or all of them together, answered."""

    PERMIT = "permit"
    DENY = "deny"
    NOT_APPLICABLE = "not_applicable"
    INDETERMINATE = "indeterminate"


# --- the question -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who asks, as far as it was proven. Make it with `from_peer` where a certificate chain was verified.

    Attributes:
        identity: The name to authorise in one-line form (`/O=Grid/CN=Alice`), `issuer#subject` for a token, a
            principal for Kerberos; empty for an anonymous peer.
        identity_der: The same name in DER, or empty where it is no distinguished name. Authorizers compare this, never
            the text, where it is there.
        kind: The strictest kind of proxy in the chain, or None without proxy.
        limited: Whether a limited proxy is in the chain: whoever starts jobs must refuse.
        independent: Whether an independent proxy is in the chain: it has none of the end entity's rights by itself.
        chain: The verified path, leaf first, the anchor last; empty without certificate.
        not_after: When what was proven ends (aware UTC), or None.
        issuer: Who vouches for the identity: the issuing CA in one-line form, a token's issuer, a realm.
        authenticated_by: How: "x509", "token", "kerberos", "password", "anonymous".
        fqans: VOMS attributes that were verified, the primary one first.
        groups: Groups from any other verified source (token claims, LDAP, local files).
        claims: Claims of a verified token, or what an attribute source added.
        assertions: Verified or still to be verified assertions (SAML, CAS) for the authorizers that know them.
    """

    identity: str = ""
    identity_der: bytes = b""
    kind: ProxyKind | None = None
    limited: bool = False
    independent: bool = False
    chain: tuple[Certificate, ...] = ()
    not_after: datetime | None = None
    issuer: str = ""
    authenticated_by: str = "anonymous"
    fqans: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    claims: Mapping[str, object] = field(default_factory=_no_claims, hash=False)
    assertions: tuple[object, ...] = ()

    @classmethod
    def from_peer(
        cls, peer: VerifiedPeer, *, fqans: tuple[str, ...] = (), assertions: tuple[object, ...] = ()
    ) -> Subject:
        """Return the subject that a verified chain proves.

        Args:
            peer: The judged chain.
            fqans: VOMS attributes verified from the same chain.
            assertions: Assertions found with it.
        """
        return cls(
            identity=peer.identity,
            identity_der=peer.identity_der,
            kind=peer.kind,
            limited=peer.limited,
            independent=peer.independent,
            chain=peer.chain,
            not_after=peer.not_after,
            issuer=names.oneline(peer.eec.issuer_der),
            authenticated_by="x509",
            fqans=fqans,
            assertions=assertions,
        )

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing says who it is."""
        return not self.identity


ANONYMOUS: Final = Subject()
"""A peer that showed nothing."""


@dataclass(frozen=True, slots=True)
class Action:
    """What the subject wants to do.

    Attributes:
        name: The word of the service type: "read", "write", "create", "delete", "lookup" for files; "start",
            "status", "cancel" for jobs; "login" for the mapping of an account.
        service: The service type: "file", "job", "login", "http", "myproxy".
    """

    name: str
    service: str


@dataclass(frozen=True, slots=True)
class Resource:
    """What it is to be done to.

    Attributes:
        name: A URL or an absolute path, as the service wrote it; empty where the action has none.
        attributes: What else is known of it ("rsl", "owner", "real_path", "exists").
    """

    name: str = ""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Under which circumstances.

    Attributes:
        now: The time of the decision (aware UTC).
        service: The service that asks, as it calls itself ("file" for GridFTP, "jobmanager-fork", "myproxy").
        host: The host it runs on, or empty.
        peer_address: The network address of the client, or empty.
        desired_account: The account that the client asked to be, or None. A mapping must then give this account
            or refuse, never another.
        attributes: What else is known.
    """

    now: datetime
    service: str = ""
    host: str = ""
    peer_address: str = ""
    desired_account: str | None = None
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing, hash=False)


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """One question: may the subject do this to the resource, now and here?"""

    subject: Subject
    action: Action
    resource: Resource
    environment: Environment


# --- obligations ------------------------------------------------------------------------------------------------------


def _check_account(name: str) -> None:
    """Refuse what could mean anything but one account.

    Raises:
        ParseError: The name is empty, too long, a number, or has characters that no account name has.
    """
    if len(name) > MAX_ACCOUNT_CHARS or not _ACCOUNT.match(name):
        raise ParseError(
            f"account name {name[:80]!r} is not one",
            what="account name",
            hint="letters, digits and . _ @ $ + \\ -, at most 255, beginning with a letter, digit or _, not a number",
        )


@dataclass(frozen=True, slots=True)
class Account:
    """Run as this local account. The name holds no blank, slash, colon, comma or control character.

    Raises:
        ParseError: The name could be taken for anything but one account.
    """

    name: str

    def __post_init__(self) -> None:
        _check_account(self.name)


@dataclass(frozen=True, slots=True)
class PosixIds:
    """Run with these user and group ids; `gids` are the secondary groups.

    Raises:
        ParseError: An id is out of range.
    """

    uid: int
    gid: int
    gids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not all(0 <= number <= MAX_ID for number in (self.uid, self.gid, *self.gids)):
            raise ParseError("a user or group id is out of range", what="posix ids")


@dataclass(frozen=True, slots=True)
class PoolLease:
    """Run as this pool account, which is leased under this key of the grid map directory.

    Raises:
        ParseError: The account's name is not one.
    """

    account: str
    key: str

    def __post_init__(self) -> None:
        _check_account(self.account)


@dataclass(frozen=True, slots=True)
class DatabaseRole:
    """Use this role of the database."""

    role: str


@dataclass(frozen=True, slots=True)
class StorageQuota:
    """Store no more than so many bytes in this space (empty: all of them)."""

    space: str
    max_bytes: int

    def __post_init__(self) -> None:
        if self.max_bytes < 0:
            raise ParseError("a quota below zero", what="storage quota")


@dataclass(frozen=True, slots=True)
class StorageLot:
    """Account what is stored to this lot."""

    lot: str


Obligation = Account | PosixIds | PoolLease | DatabaseRole | StorageQuota | StorageLot
"""What a permit is bound to. The union is closed: who enforces matches it exhaustively."""


# --- the answer -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DecisionStep:
    """What one authorizer or attribute source contributed to a decision.

    Attributes:
        authorizer: Its name in the policy file.
        effect: Its verdict.
        reason: Its words, for an administrator.
        depth: How deep it is nested: 0 for the policy itself, 1 for its members.
        microseconds: How long it took.
        obligations: What it asked for.
    """

    authorizer: str
    effect: Effect
    reason: str
    depth: int = 1
    microseconds: int = 0
    obligations: tuple[Obligation, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one request.

    Attributes:
        effect: The verdict. Anything but PERMIT refuses.
        reason: Why, for an administrator and the log; `DeniedError` shows it to the caller, not to the peer.
        obligations: What a permit is bound to; who does not understand one must refuse.
        authorizer: Who decided: the name of an authorizer or of a chain in the policy file.
        decision_id: What log lines and clients quote; random, and empty until the engine gives one.
        not_after: When the answer ends (aware UTC), or None; ask again before going on longer.
        trace: Every step that led here, in the order asked.
    """

    effect: Effect
    reason: str
    obligations: tuple[Obligation, ...] = ()
    authorizer: str = ""
    decision_id: str = ""
    not_after: datetime | None = None
    trace: tuple[DecisionStep, ...] = ()

    @property
    def is_permit(self) -> bool:
        """Whether this is a PERMIT. Prefer `require_permit`, whose result cannot be ignored."""
        return self.effect is Effect.PERMIT

    @property
    def account(self) -> str | None:
        """The local account that the obligations name, or None; the engine refuses permits that name two."""
        for obligation in self.obligations:
            match obligation:
                case Account(name):
                    return name
                case PoolLease(account, _):
                    return account
                case _:
                    pass
        return None


def permit(authorizer: str, reason: str, *obligations: Obligation, not_after: datetime | None = None) -> Decision:
    """Return a permit, bound to the obligations."""
    return Decision(Effect.PERMIT, reason, obligations, authorizer, not_after=not_after)


def deny(authorizer: str, reason: str) -> Decision:
    """Return a denial: a rule says no."""
    return Decision(Effect.DENY, reason, (), authorizer)


def not_applicable(authorizer: str, reason: str = "no rule speaks of this request") -> Decision:
    """Return the answer of an authorizer that has nothing to say."""
    return Decision(Effect.NOT_APPLICABLE, reason, (), authorizer)


def indeterminate(authorizer: str, reason: str) -> Decision:
    """Return the answer of an authorizer that could not decide. It never permits."""
    return Decision(Effect.INDETERMINATE, reason, (), authorizer)


def understood(decision: Decision, understands: Collection[type[Obligation]]) -> Decision:
    """Return the decision, or an INDETERMINATE one if it permits with an obligation of another type.

    Args:
        decision: The engine's answer.
        understands: The types of obligations that the caller will carry out.
    """
    if decision.is_permit:
        for obligation in decision.obligations:
            if type(obligation) not in understands:
                return replace(
                    decision,
                    effect=Effect.INDETERMINATE,
                    reason=f"the permit is bound to {type(obligation).__name__}, which this service cannot carry out",
                    obligations=(),
                )
    return decision


def require_permit(decision: Decision, *, understands: Collection[type[Obligation]] = ()) -> Decision:
    """Return the decision if it permits and all its obligations can be carried out.

    Args:
        decision: The engine's answer.
        understands: The types of obligations that the caller will carry out; by default none.

    Raises:
        DeniedError: It does not; the error carries the decision that refuses.
    """
    judged = understood(decision, understands)
    if not judged.is_permit:
        ident = f" (decision {judged.decision_id})" if judged.decision_id else ""
        raise DeniedError(f"{judged.reason}{ident}", decision=judged)
    return judged


# --- the interfaces ---------------------------------------------------------------------------------------------------


class Authorizer(Protocol):
    """A policy decision point: a plug-in that judges requests. Implementations must be safe for several threads.

    It may raise: the engine turns any exception, a late answer and anything that is no `Decision` into INDETERMINATE.
    """

    @property
    def name(self) -> str:
        """What the policy file calls it."""

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Judge one request. NOT_APPLICABLE is the answer where it has nothing to say."""


class AttributeSource(Protocol):
    """A policy information point: a plug-in that adds what it knows to a request, before any authorizer is asked.

    It may raise: the engine then answers INDETERMINATE, because a missing attribute could hide a denial; for a
    `CapabilityError` of the problem EXPIRED it denies, and the client is told its words.

    A source may also have: `may_wait(request)`, quick and without waiting itself, to say whether this request needs
    what could hang (without it, any may); `takes(shown)`, to say whether an assertion that a client has shown is of its
    kind; `takes_one = True` where the next of these replaces the last. An authorizer that reads the texts of assertions
    itself has `reads_assertions = True`, and `tells_what_ended = True` if an end in its denials says that one is over.
    """

    @property
    def name(self) -> str:
        """What the policy file calls it."""

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        """Return the request with attributes added; what was there stays, identity and chain above all.

        `not_after` of the subject may become earlier, where what was added ends before the rest.
        """
