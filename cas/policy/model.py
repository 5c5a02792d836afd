"""The things of a community's policy as values, and what they may be called; not what they allow (`evaluate`).

    alice = User("alice", "/O=Grid/CN=Alice", "defaultTrustAnchor")
    read = Ref(Kind.SERVICE_ACTION, "read", "file")
    Statement("readers", Effect.PERMIT, read, Ref(Kind.OBJECT, "ftp://h/data/*", "FTPDirectoryTree"))

Everything has a kind and a name. An object's name is unique in its namespace and an action's in its service type, which
is their scope; the others are unique in their kind, also among what looks alike (`nicknames`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cas.assertion.value import subject_of
from cas.policy.caller import name_forms
from cas.policy.conditions import ALWAYS, Strength, Terms
from cas.policy.matching import check_base, normal_object
from cas.policy.nicknames import MAX_NICKNAME_CHARS, check_nickname, check_stored
from gsi.authz.principals import normal_fqan
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cas.assertion.value import Comparison

__all__ = [
    "CAS",
    "DEFAULT_NAMESPACE",
    "EVERYONE",
    "GRANT_ALL",
    "SERVER",
    "SUPERUSER",
    "X509",
    "ActionGroup",
    "ActionName",
    "Effect",
    "Entity",
    "Feed",
    "FeedSource",
    "Kind",
    "Namespace",
    "ObjectGroup",
    "ObjectName",
    "Ref",
    "ServiceAction",
    "ServiceType",
    "Statement",
    "TrustAnchor",
    "User",
    "UserGroup",
    "check_new",
    "is_member_kind",
    "parse_ref",
]

X509: Final = "X509"
"""The one way in which trust anchors authenticate: by the name of a CA."""

CAS: Final = "cas"
"""The service type of the community's own administration."""

EVERYONE: Final = "everyone"
"""The user group of the whole community, which is always there and has no list of members."""

DEFAULT_NAMESPACE: Final = "casDefaultNS"
"""The namespace that is always there: exact, without base."""

MAX_ACTION_CHARS: Final = 64
"""The longest name of an action: they are words."""

MAX_TYPE_CHARS: Final = 256
"""The longest name of a service type: some are URLs."""


class Kind(StrEnum):
    """What a thing is; the words are those of the commands."""

    TRUST_ANCHOR = "trustAnchor"
    USER = "user"
    USER_GROUP = "userGroup"
    OBJECT = "object"
    OBJECT_GROUP = "objectGroup"
    NAMESPACE = "namespace"
    SERVICE_TYPE = "serviceType"
    SERVICE_ACTION = "serviceAction"
    SERVICE_ACTION_GROUP = "serviceActionGp"
    SERVER = "server"


_IN_OBJECT_GROUPS: Final = frozenset(
    {
        Kind.OBJECT,
        Kind.OBJECT_GROUP,
        Kind.USER,
        Kind.USER_GROUP,
        Kind.SERVICE_TYPE,
        Kind.NAMESPACE,
        Kind.TRUST_ANCHOR,
    }
)
_MEMBERS: Final = {
    Kind.USER_GROUP: frozenset({Kind.USER, Kind.USER_GROUP}),
    Kind.OBJECT_GROUP: _IN_OBJECT_GROUPS,
    Kind.SERVICE_ACTION_GROUP: frozenset({Kind.SERVICE_ACTION, Kind.SERVICE_ACTION_GROUP}),
}


def is_member_kind(container: Kind, member: Kind) -> bool:
    """Say whether a thing of one kind may be in a group of another kind."""
    return member in _MEMBERS.get(container, frozenset())


class ActionName(NamedTuple):
    """An action with its service type."""

    service_type: str
    name: str


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """The name of one thing.

    Attributes:
        kind: What it is.
        name: What it is called; of an object the full name, its namespace's base prepended.
        scope: The namespace of an object, the service type of an action, else empty.
    """

    kind: Kind
    name: str
    scope: str = ""

    def __str__(self) -> str:
        if self.kind is Kind.OBJECT:
            return f"{self.kind.value} {self.scope}|{self.name}"
        if self.kind is Kind.SERVICE_ACTION:
            return f"{self.kind.value} {self.scope}/{self.name}"
        return f"{self.kind.value} {self.name}"


SERVER: Final = Ref(Kind.SERVER, "casServer")
"""The server itself, on which the rights to enrol and create are held."""

GRANT_ALL: Final = Ref(Kind.SERVICE_ACTION, "grantAll", CAS)
"""Every action on a thing, except to be superuser."""

SUPERUSER: Final = Ref(Kind.SERVICE_ACTION, "superuser", CAS)
"""Held on the server: every action on everything."""


def parse_ref(kind: Kind, words: Sequence[str]) -> Ref:
    """Return the thing that the words of a command name: `name`, or scope and name, or the two in one.

    Raises:
        ParseError: Too many words, or a form that the kind does not have.
    """
    if kind is Kind.OBJECT:
        scope, name = _split_pair(words, "|", "an object is named NAMESPACE NAME or NAMESPACE|NAME", last=False)
        return Ref(kind, name, scope)
    if kind is Kind.SERVICE_ACTION:
        scope, name = _split_pair(words, "/", "an action is named TYPE ACTION or TYPE/ACTION", last=True)
        return Ref(kind, name, scope)
    if len(words) != 1 or not words[0]:
        raise ParseError(f"a {kind.value} is named by one word", what="name")
    return Ref(kind, words[0])


def _split_pair(words: Sequence[str], separator: str, hint: str, *, last: bool) -> tuple[str, str]:
    if len(words) == 1:
        first, _, second = words[0].rpartition(separator) if last else words[0].partition(separator)
    elif len(words) == 2:
        first, second = words
    else:
        first = second = ""
    if not first or not second:
        raise ParseError("not the name of one thing", what="name", hint=hint)
    return first, second


# --- things -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """A CA whose users may be enrolled.

    Attributes:
        nickname: Its name here.
        data: The distinguished name of the CA, one-line form.
        method: How it authenticates; `X509`.
        strength: How sure one may be of the names that it certifies.
    """

    nickname: str
    data: str
    method: str = X509
    strength: Strength = Strength.MEDIUM

    def __post_init__(self) -> None:
        check_stored(self.nickname, "trust anchor")
        if self.method != X509:
            raise ParseError(f"the method {self.method[:40]!r} is not known", what="trust anchor", hint="X509 is")
        object.__setattr__(self, "data", name_forms(self.data)[0])

    @property
    def ref(self) -> Ref:
        """Its name."""
        return Ref(Kind.TRUST_ANCHOR, self.nickname)


@dataclass(frozen=True, slots=True)
class User:
    """A person or service: one nickname for one name of one CA.

    Attributes:
        nickname: Its name here.
        subject: The distinguished name in its certificate, one-line form.
        anchor: The nickname of the CA that issued it.
    """

    nickname: str
    subject: str
    anchor: str

    def __post_init__(self) -> None:
        check_stored(self.nickname, "user")
        object.__setattr__(self, "subject", name_forms(self.subject)[0])

    @property
    def ref(self) -> Ref:
        """Its name."""
        return Ref(Kind.USER, self.nickname)


@dataclass(frozen=True, slots=True)
class UserGroup:
    """Users and other user groups; rights are granted to these alone."""

    name: str

    def __post_init__(self) -> None:
        check_stored(self.name, "user group")

    @property
    def ref(self) -> Ref:
        """Its name."""
        return Ref(Kind.USER_GROUP, self.name)


@dataclass(frozen=True, slots=True)
class Namespace:
    """Names of objects and how they compare.

    Attributes:
        nickname: Its name here.
        base: What is prepended to relative names of objects, or empty.
        comparison: How names compare.
    """

    nickname: str
    base: str
    comparison: Comparison

    def __post_init__(self) -> None:
        check_stored(self.nickname, "namespace")
        object.__setattr__(self, "base", check_base(self.base, self.comparison))

    @property
    def ref(self) -> Ref:
        """Its name."""
        return Ref(Kind.NAMESPACE, self.nickname)

    def full_name(self, name: str) -> str:
        """Return the name of an object as it is stored and compared.

        Raises:
            ParseError: Nothing can be called so.
        """
        return normal_object(name, self.base, self.comparison)


@dataclass(frozen=True, slots=True)
class ObjectName:
    """A resource, or all below a place.

    Attributes:
        namespace: The nickname of its namespace.
        name: Its name, as the namespace compares it; made full when it is enrolled.
    """

    namespace: str
    name: str

    @property
    def ref(self) -> Ref:
        """Its name."""
        return Ref(Kind.OBJECT, self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class ObjectGroup:
    """Objects, and other things on which rights are held."""

    name: str

    def __post_init__(self) -> None:
        check_stored(self.name, "object group")

    @property
    def ref(self) -> Ref:
        """Its name."""
        return Ref(Kind.OBJECT_GROUP, self.name)


@dataclass(frozen=True, slots=True)
class ServiceType:
    """A kind of service, whose actions are enrolled so that nobody mistypes them."""

    name: str

    def __post_init__(self) -> None:
        bad = any(char in '|\\"' or not "!" <= char <= "~" for char in self.name)
        if not self.name or bad or len(self.name) > MAX_TYPE_CHARS or self.name[0] == "/" or self.name[-1] == "/":
            raise ParseError(f"{self.name[:80]!r} is no name of a service type", what="service type")

    @property
    def ref(self) -> Ref:
        """Its name."""
        return Ref(Kind.SERVICE_TYPE, self.name)


@dataclass(frozen=True, slots=True)
class ServiceAction:
    """What one may do at services of a type."""

    service_type: str
    name: str

    def __post_init__(self) -> None:
        word = self.name.replace("_", "").replace("-", "").replace(".", "")
        if not (word.isascii() and word.isalnum()) or len(self.name) > MAX_ACTION_CHARS:
            raise ParseError(f"{self.name[:80]!r} is no name of an action", what="service action")

    @property
    def ref(self) -> Ref:
        """Its name."""
        return Ref(Kind.SERVICE_ACTION, self.name, self.service_type)


@dataclass(frozen=True, slots=True)
class ActionGroup:
    """Actions that are granted together."""

    name: str

    def __post_init__(self) -> None:
        check_stored(self.name, "service action group")

    @property
    def ref(self) -> Ref:
        """Its name."""
        return Ref(Kind.SERVICE_ACTION_GROUP, self.name)


Entity: TypeAlias = (
    TrustAnchor | User | UserGroup | Namespace | ObjectName | ObjectGroup | ServiceType | ServiceAction | ActionGroup
)
"""Whatever can be enrolled."""


_NICKNAMED: Final[Mapping[type[Entity], str]] = {
    TrustAnchor: "trust anchor",
    User: "user",
    UserGroup: "user group",
    Namespace: "namespace",
    ObjectGroup: "object group",
    ActionGroup: "service action group",
}


def check_new(entity: Entity) -> None:
    """Check what something is called that is to be enrolled; what is there already keeps its name.

    Raises:
        ParseError: Nothing can be called so.
    """
    what = _NICKNAMED.get(type(entity))
    if what is not None:
        check_nickname(entity.ref.name, what)
    if isinstance(entity, User) and len(subject_of(entity.nickname)) > MAX_NICKNAME_CHARS:
        raise ParseError(f"{entity.nickname[:80]!r} is too long for tokens, which escape it", what="nickname")


class FeedSource(StrEnum):
    """Where members of a group may come from besides its list."""

    VOMS = "voms"
    LDAP = "ldap"


@dataclass(frozen=True, slots=True, order=True)
class Feed:
    """An attribute that makes whoever proves it a member of a group for as long as it is proven.

    Attributes:
        source: Who vouches for it.
        value: The FQAN, normal; or the name of the directory's group, exact.
    """

    source: FeedSource
    value: str

    def __post_init__(self) -> None:
        if self.source is FeedSource.VOMS:
            object.__setattr__(self, "value", normal_fqan(self.value))
        elif not self.value or not self.value.isprintable() or len(self.value) > 1024:
            raise ParseError(f"{self.value[:80]!r} is no group of a directory", what="feed")


# --- statements -------------------------------------------------------------------------------------------------------


class Effect(StrEnum):
    """What a statement says."""

    PERMIT = "permit"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Statement:
    """One right of one group, or its refusal.

    Attributes:
        group: The user group that has it.
        effect: Permit or deny; a denial goes before every permit.
        action: A service action or a group of them.
        object: On what: an object or object group, or any other thing for CAS's own actions.
        terms: When and for whom it holds.
    """

    group: str
    effect: Effect
    action: Ref
    object: Ref
    terms: Terms = ALWAYS

    def __post_init__(self) -> None:
        if self.action.kind not in {Kind.SERVICE_ACTION, Kind.SERVICE_ACTION_GROUP}:
            raise ParseError(f"{self.action} is no action", what="statement")
        if self.effect is Effect.DENY and self.action.scope == CAS:
            raise ParseError(
                f"{self.action} cannot be denied",
                what="statement",
                hint="revoke what grants it; nobody is locked out so",
            )
        if self.is_self_referential:
            raise ParseError("a group may not hold grantAll over itself", what="statement")
        if self.action == SUPERUSER and self.object != SERVER:
            raise ParseError("to be superuser is a right on the server alone", what="statement")

    @property
    def is_self_referential(self) -> bool:
        """Whether a group would govern itself."""
        return self.action == GRANT_ALL and self.object == Ref(Kind.USER_GROUP, self.group)

    def __str__(self) -> str:
        terms = f" {self.terms}" if self.terms != ALWAYS else ""
        return f"{self.effect.value} {self.group} {self.action} on {self.object}{terms}"
