"""What the pages ask of the community's server with the user's proxy, and what they make of a capability; no pages.

    desk = CommunityDesk(client, proxy, now=now)
    desk.me(), desk.rights()
    desk.fetch(Wish("saml2", hours=8))           # a proxy with the capability, or a token, as a file
    desk.preview(changes), desk.apply(changes, revision=7, reason="ticket 12")

The server decides everything: what it refuses is a `CASRefusedError` with its words.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from cas.assertion.embed import assertion_extension, attribute_extension, embed
from cas.client import CASRefusedError
from cas.policy.changes import decode_ref, decode_statement, encode_change, encode_ref
from cas.policy.model import SERVER, SUPERUSER, Kind, Ref
from gsi.errors import RemoteProtocolError
from gsi.proxy.issue import ProxyOptions
from gsi.voms.attribute_cert import AttributeCertificate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from cas.client import CASClient, Given
    from cas.policy.changes import Change
    from cas.policy.model import Statement
    from gsi.certificate import Extension
    from gsi.credential import Credential

__all__ = ["FORMS", "MAX_NAMES", "CommunityDesk", "Difference", "Event", "Fetched", "Me", "Preview", "Right", "Wish"]

FORMS: Final = {
    "saml2": "Proxy with a SAML 2 assertion",
    "saml2-ac": "Proxy with a SAML 2 assertion and VOMS attributes",
    "saml1": "Proxy with a SAML 1.1 assertion, for older services",
    "attribute-certificate": "Proxy with VOMS attributes alone",
    "jwt": "Token (JWT)",
}
"""What can be fetched, and what the form says of it."""

MAX_NAMES: Final = 1000
"""On one page: one page of the server."""

MAX_EVENTS: Final = 50


class Me(NamedTuple):
    """Who the user is to the community."""

    nickname: str
    community: str
    is_superuser: bool


class Right(NamedTuple):
    """What somebody may do with something."""

    resource: str
    actions: tuple[str, ...]


class Fetched(NamedTuple):
    """A file for the user."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a user wants.

    Attributes:
        form: A key of `FORMS`.
        hours: For how long; the server may give less.
        resources: Of the rights, those with these; empty for all.
        audience: For which services alone.
    """

    form: str
    hours: int
    resources: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()


class Difference(NamedTuple):
    """Who gains and who loses what."""

    what: str
    gains: tuple[str, ...]
    loses: tuple[str, ...]
    before: int
    after: int


class Preview(NamedTuple):
    """What changes would do.

    Attributes:
        revision: For the policy of this revision.
        differences: Who would gain or lose what.
        is_complete: Whether all was looked at.
    """

    revision: int
    differences: tuple[Difference, ...]
    is_complete: bool


class Event(NamedTuple):
    """Who changed what."""

    time: str
    actor: str
    what: str
    reason: str


class CommunityDesk:
    """Asks in the name of one user; belongs to one request."""

    def __init__(self, client: CASClient, proxy: Credential, *, now: Callable[[], datetime]) -> None:
        self._client = client
        self._proxy = proxy
        self._now = now

    # --- members ------------------------------------------------------------------------------------------------------

    def me(self) -> Me:
        """Return who the user is; CASRefusedError for strangers."""
        told = self._client.call("GET", "/cas/v1/whoami")
        try:
            is_superuser, _ = self.why(SUPERUSER, SERVER)
        except CASRefusedError:
            is_superuser = False
        return Me(_text(told, "nickname"), _text(told, "community"), is_superuser)

    def rights(self, nickname: str = "") -> tuple[tuple[Right, ...], tuple[Right, ...]]:
        """Return what a user may do, and within what something is denied."""
        told = self._ask("rights", {"user": nickname} if nickname else {})
        return _rights(told.get("rights")), _rights(told.get("withheld"))

    def why(self, action: Ref, on: Ref, nickname: str = "", *, limited: bool = False) -> tuple[bool, tuple[str, ...]]:
        """Say whether a user may do something, and by which statements."""
        body: dict[str, object] = {"action": encode_ref(action), "on": encode_ref(on), "limited": limited}
        if nickname:
            body["user"] = nickname
        told = self._ask("why", body)
        return told.get("permitted") is True, _texts(told.get("lines"))

    def who_can(self, action: Ref, on: Ref) -> tuple[tuple[str, ...], int]:
        """Return who may do something, the first thousand, and how many there are."""
        told = self._ask("who-can", {"action": encode_ref(action), "on": encode_ref(on)})
        total = told.get("total")
        return _texts(told.get("users")), total if isinstance(total, int) else 0

    def fetch(self, wish: Wish, account: str) -> Fetched:
        """Return a capability as a file.

        Args:
            wish: Which.
            account: Goes into the file's name.

        Raises:
            GridError: The server gives none, or the session's proxy cannot carry it.
        """
        rights = [{"resource": one} for one in wish.resources] or None
        common: dict[str, object] = {"audience": list(wish.audience) or None, "lifetime": wish.hours * 3600}
        if wish.form == "jwt":
            token = self._client.capability(form="jwt", rights=rights, **common)
            return Fetched(f"{account}.jwt", "application/jwt", f"{token.text}\n".encode("ascii"))
        given: list[Given] = []
        extensions: list[Extension] = []
        if wish.form != "attribute-certificate":
            found = self._client.capability(form=wish.form.removesuffix("-ac"), rights=rights, **common)
            given.append(found)
            extensions.append(assertion_extension(found.text.encode("utf-8")))
        if wish.form in {"saml2-ac", "attribute-certificate"}:
            found = self._client.capability(form="attribute-certificate", **common)
            given.append(found)
            extensions.append(attribute_extension([_attributes(found)]))
        now = self._now()
        until = min([one.not_after for one in given] + [self._proxy.not_after])
        proxy = embed(self._proxy, extensions, ProxyOptions(lifetime=until - now), now=now)
        return Fetched(f"x509up_{account}.cas.pem", "application/x-pem-file", proxy.encode())

    # --- administrators -----------------------------------------------------------------------------------------------

    def names(self, kind: Kind, scope: str = "") -> tuple[str, ...]:
        """List the names of a kind, the first thousand."""
        return _texts(self._ask("list", {"kind": kind.value, **({"scope": scope} if scope else {})}).get("names"))

    def members(self, group: Ref) -> tuple[Ref, ...]:
        """List who is in a group."""
        told = self._ask("members", {"group": encode_ref(group)}).get("members")
        return tuple(decode_ref(one) for one in _list(told))

    def entity(self, ref: Ref) -> dict[str, str]:
        """Return what is known of something, for people."""
        told = self._ask("get", {"name": encode_ref(ref)}).get("entity")
        return {str(key): str(value) for key, value in told.items()} if isinstance(told, dict) else {}

    def statements(self, ref: Ref) -> tuple[Statement, ...]:
        """Return the statements that name something."""
        told = self._ask("policies", {"name": encode_ref(ref)}).get("statements")
        return tuple(decode_statement(one) for one in _list(told))

    def history(self, ref: Ref) -> tuple[Event, ...]:
        """Return who changed something, the newest first."""
        told = self._ask("history", {"about": encode_ref(ref)}).get("entries")
        found = [one for one in _list(told) if isinstance(one, dict)]
        return tuple(
            Event(str(one.get("time")), str(one.get("actor")), tell_change(one.get("change")), str(one.get("reason")))
            for one in reversed(found[-MAX_EVENTS:])
        )

    def preview(self, changes: Sequence[Change]) -> Preview:
        """Say who would gain and who would lose what; nothing is changed."""
        told = self._ask("changes", {"changes": [encode_change(one) for one in changes], "dry_run": True})
        differences = [one for one in _list(told.get("differences")) if isinstance(one, dict)]
        return Preview(_number(told, "revision"), tuple(map(_difference, differences)), told.get("complete") is True)

    def apply(self, changes: Sequence[Change], *, revision: int, reason: str) -> bool:
        """Make changes that were looked at; say whether they changed anything.

        Raises:
            CASRefusedError: They are not permitted, or the policy was changed meanwhile.
        """
        body: dict[str, object] = {
            "changes": [encode_change(one) for one in changes],
            "expected_revision": revision,
            "reason": reason,
        }
        return any(_list(self._ask("changes", body).get("changed")))

    def _ask(self, operation: str, body: Mapping[str, object]) -> dict[str, object]:
        return self._client.call("POST", f"/cas/v1/{operation}", body)


def tell_change(value: object) -> str:
    """Return a change, as it is sent, in one line for people."""
    if not isinstance(value, dict):
        return ""
    words = [str(value.get("do"))]
    words += [_tell(item) for key, item in value.items() if key != "do" and item is not None]
    return " ".join(words)


def _tell(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(_tell(item) for item in value.values())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _difference(value: Mapping[str, object]) -> Difference:
    if "fqan" in value:
        what = f"FQAN {_text(value, 'fqan')}"
    else:
        action, on = decode_ref(value.get("action")), decode_ref(value.get("on"))
        what = f"{action.scope}/{action.name} on {on}"
    when = value.get("when")
    return Difference(
        what + (f", {when}" if isinstance(when, str) and when else ""),
        (*_texts(value.get("gains")), *_feeds(value.get("feeds_gain"))),
        (*_texts(value.get("loses")), *_feeds(value.get("feeds_lose"))),
        _number(value, "before"),
        _number(value, "after"),
    )


def _feeds(value: object) -> tuple[str, ...]:
    return tuple(f"whoever proves {' '.join(_texts(one))}" for one in _list(value))


def _attributes(given: Given) -> AttributeCertificate:
    try:
        return AttributeCertificate.parse(base64.b64decode(given.text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise _odd("no attribute certificate") from error


def _rights(value: object) -> tuple[Right, ...]:
    found = [one for one in _list(value) if isinstance(one, dict)]
    return tuple(Right(str(one.get("resource")), _texts(one.get("actions"))) for one in found)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise _odd("no list")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in _list(value))


def _text(answer: Mapping[str, object], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise _odd(f"without {name}")
    return value


def _number(answer: Mapping[str, object], name: str) -> int:
    value = answer.get(name)
    if type(value) is not int:
        raise _odd(f"without {name}")
    return value


def _odd(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"the answer of the community's server: {what}")
