"""One thing that the server can be asked, and how the fields of a request are read; which there are is `operations`.

    Operation("/cas/v1/list", "POST", "List names of a kind.", "QUERY", run, (Field("kind", TEXT, "the kind"),))
    take(asked.body, "kind", str, "")

What a request may not hold is refused, and so is a value of another type or beyond a limit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from cas.policy.model import Kind
from cas.repository.base import MAX_PAGE
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cas.policy.caller import Caller
    from cas.wiring.service import OpenedCommunity
    from gsi.trust.peer import VerifiedPeer

__all__ = [
    "NAME",
    "NUMBER",
    "TEXT",
    "TEXTS",
    "YES",
    "Asked",
    "Field",
    "Operation",
    "odd",
    "take",
    "take_kind",
    "take_limit",
    "take_seconds",
    "take_texts",
    "time_text",
]

_MAX_TEXT: Final = 4096
_MAX_NUMBER: Final = (1 << 53) - 1  # what all readers of JSON agree on (RFC 8259 section 6)
_MAX_LIFETIME: Final = 10 * 366 * 86400

TEXT: Final = {"type": "string"}
TEXTS: Final = {"type": "array", "items": {"type": "string"}}
NUMBER: Final = {"type": "integer", "minimum": 0}
YES: Final = {"type": "boolean"}
NAME: Final = {"$ref": "#/components/schemas/Name"}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose sender is proven.

    Attributes:
        community: The service.
        caller: Who asks.
        peer: What their chain proved.
        body: What they say.
        count: Told the form of each capability that was signed.
    """

    community: OpenedCommunity
    caller: Caller
    peer: VerifiedPeer
    body: Mapping[str, object]
    count: Callable[[str], None] = lambda _form: None


@dataclass(frozen=True, slots=True)
class Field:
    """A member of a request.

    Attributes:
        name: Its name.
        schema: Its JSON schema.
        text: What it is.
        required: Whether it has to be there.
    """

    name: str
    schema: Mapping[str, object]
    text: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that can be asked.

    Attributes:
        path: Where.
        method: `GET` or `POST`.
        summary: What it does, one sentence.
        site_action: What the site's policy is asked about.
        run: Carries it out.
        fields: What a request may hold.
        answers: The members of the answer, with what they are.
    """

    path: str
    method: str
    summary: str
    site_action: str
    run: Callable[[Asked], dict[str, object]]
    fields: tuple[Field, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)

    def check(self, body: Mapping[str, object]) -> None:
        """Refuse what is not known, and what is missing.

        Raises:
            ParseError: It is.
        """
        known = {one.name for one in self.fields}
        for name in body:
            if name not in known:
                raise odd(f"{name[:40]!r} is not known here")
        for one in self.fields:
            if one.required and body.get(one.name) is None:
                raise odd(f"{one.name!r} is missing")


def odd(message: str) -> ParseError:
    """Return the error for a request that cannot be read."""
    return ParseError(message, what="request")


def take(body: Mapping[str, object], name: str, kind: type[_T], default: _T) -> _T:
    """Return a field of exactly one type, or the default where it is missing.

    Raises:
        ParseError: It is of another type, or beyond a limit.
    """
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not kind:
        raise odd(f"{name} is to be {kind.__name__}")
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        raise odd(f"{name} is too long")
    if isinstance(value, int) and not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise odd(f"{name} is too large")
    return value


def take_texts(body: Mapping[str, object], name: str, limit: int) -> tuple[str, ...] | None:
    """Return a list of texts, or None where it is missing.

    Raises:
        ParseError: It is none, or too long.
    """
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > limit:
        raise odd(f"{name} is to be a list of at most {limit} texts")
    if not all(isinstance(one, str) and 0 < len(one) <= _MAX_TEXT for one in value):
        raise odd(f"{name} is to be a list of texts")
    return tuple(value)


def take_seconds(body: Mapping[str, object], name: str) -> timedelta | None:
    """Return a time span given in seconds, or None where it is missing.

    Raises:
        ParseError: It is none, or beyond ten years.
    """
    if body.get(name) is None:
        return None
    value = take(body, name, int, 0)
    if not 0 <= value <= _MAX_LIFETIME:
        raise odd(f"{name} is to be a number of seconds")
    return timedelta(seconds=value)


def take_kind(body: Mapping[str, object], name: str) -> Kind:
    """Return a kind of thing.

    Raises:
        ParseError: It is none.
    """
    try:
        return Kind(take(body, name, str, ""))
    except ValueError as error:
        raise odd(f"{name} is no kind of thing") from error


def take_limit(body: Mapping[str, object]) -> int:
    """Return how many answers are wanted: at least one, at most a page.

    Raises:
        ParseError: It is no number.
    """
    return max(1, min(take(body, "limit", int, MAX_PAGE), MAX_PAGE))


def time_text(moment: datetime) -> str:
    """Return a moment as answers have it (RFC 3339, UTC, whole seconds)."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
