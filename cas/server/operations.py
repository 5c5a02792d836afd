"""What the server can be asked over HTTPS: each operation with its path, its fields and what carries it out; no Flask.

    operation = find("/cas/v1/whoami", "GET")
    answer = operation.run(asked)                              # plain values for JSON, or GridError

The operations of GT's CAS (addUser, grant, getGroupMembers, findApplicablePolicy, ...) are here as a few: everything
that changes the policy is a list of changes in the form of `cas.policy.changes`, made together or not at all. Things
are named as there: `["object", "FTPDirectoryTree", "ftp://host/d/*"]`. What a request may not hold is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from cas.issuing import Form, FormOptions
from cas.policy.changes import decode_change, decode_ref, encode_change, encode_entity, encode_ref, encode_statement
from cas.policy.model import SERVER, SUPERUSER, ActionName, Kind
from cas.policy.request import EVERYTHING, MAX_WANTED, PolicyRequest, Wanted
from cas.repository.base import MAX_PAGE
from cas.service import CapabilityRequest
from gsi.errors import CapabilityError, DeniedError, ParseError
from gsi.system.audit import AuditRecord, Verdict
from gsi.tokens.rules import Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cas.assertion.value import Capability, Right
    from cas.policy.caller import Caller
    from cas.policy.changes import Change
    from cas.policy.model import Ref
    from cas.wiring.service import OpenedCommunity
    from gsi.trust.peer import VerifiedPeer

__all__ = ["OPERATIONS", "Asked", "Field", "Operation", "issue", "read_rights"]

MAX_CHANGES: Final = 1000
"""In one request; each is looked up and made in one transaction."""

MAX_AUDIENCES: Final = 64
MAX_FQANS: Final = 256
_MAX_TEXT: Final = 4096
_MAX_NUMBER: Final = (1 << 53) - 1  # what all readers of JSON agree on (RFC 8259 section 6)
_MAX_LIFETIME: Final = 10 * 366 * 86400

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
                raise _no(f"{name[:40]!r} is not known here")
        for one in self.fields:
            if one.required and body.get(one.name) is None:
                raise _no(f"{one.name!r} is missing")


def _no(message: str) -> ParseError:
    return ParseError(message, what="request")


# --- reading ----------------------------------------------------------------------------------------------------------


def _take(body: Mapping[str, object], name: str, kind: type[_T], default: _T) -> _T:
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not kind:
        raise _no(f"{name} is to be {kind.__name__}")
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        raise _no(f"{name} is too long")
    if isinstance(value, int) and not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise _no(f"{name} is too large")
    return value


def _texts(body: Mapping[str, object], name: str, limit: int) -> tuple[str, ...] | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > limit:
        raise _no(f"{name} is to be a list of at most {limit} texts")
    if not all(isinstance(one, str) and 0 < len(one) <= _MAX_TEXT for one in value):
        raise _no(f"{name} is to be a list of texts")
    return tuple(value)


def _seconds(body: Mapping[str, object], name: str) -> timedelta | None:
    if body.get(name) is None:
        return None
    value = _take(body, name, int, 0)
    if not 0 <= value <= _MAX_LIFETIME:
        raise _no(f"{name} is to be a number of seconds")
    return timedelta(seconds=value)


def _kind(body: Mapping[str, object], name: str) -> Kind:
    try:
        return Kind(_take(body, name, str, ""))
    except ValueError as error:
        raise _no(f"{name} is no kind of thing") from error


def _limit(body: Mapping[str, object]) -> int:
    return max(1, min(_take(body, "limit", int, MAX_PAGE), MAX_PAGE))


def read_rights(value: object) -> PolicyRequest:
    """Return the rights that are asked for; None asks for all.

    Raises:
        ParseError: They are none.
    """
    if value is None:
        return EVERYTHING
    if not isinstance(value, list) or not 0 < len(value) <= MAX_WANTED:
        raise _no(f"rights are to be a list of 1 to {MAX_WANTED}")
    return PolicyRequest(tuple(_read_wanted(one) for one in value))


def _read_wanted(value: object) -> Wanted:
    if not isinstance(value, dict) or not set(value) <= {"resource", "actions"}:
        raise _no("a right has a resource and actions")
    actions = _texts(value, "actions", 256)
    names = None if actions is None else frozenset(_action_name(one) for one in actions)
    resource = _take(value, "resource", str, "")
    if not resource:
        return Wanted(None, "", names)
    namespace, mark, name = resource.partition("|")
    if not mark or not namespace or not name:
        raise _no("a resource is written NAMESPACE|NAME")
    return Wanted(namespace, name, names)


def _action_name(text: str) -> ActionName:
    service_type, mark, name = text.rpartition("/")
    if not mark or not service_type or not name:
        raise _no("an action is written TYPE/ACTION")
    return ActionName(service_type, name)


# --- writing ----------------------------------------------------------------------------------------------------------


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _rights(rights: Sequence[Right]) -> list[dict[str, object]]:
    return [
        {"resource": f"{one.namespace}|{one.object}", "actions": [f"{one.service_type}/{name}" for name in one.actions]}
        for one in rights
    ]


# --- capabilities -----------------------------------------------------------------------------------------------------


def issue(
    asked: Asked, form: Form, request: CapabilityRequest, options: FormOptions
) -> tuple[Capability, dict[str, object]]:
    """Return a capability and what is answered; it is in the audit before it is signed."""
    community = asked.community
    capability = community.service.capability(asked.caller, request)
    issued = community.forms.issue(form, capability, options, now=community.now())
    asked.count(form.value)
    answer: dict[str, object] = {
        "form": form.value,
        "id": capability.identifier.hex(),
        "capability": issued.text,
        "not_before": _time(capability.not_before),
        "not_after": _time(issued.expires),
        "rights": _rights(capability.rights),
        "fqans": list(capability.fqans),
    }
    if form is Form.JWT:
        answer |= {"scope": " ".join(issued.scopes), "groups": list(issued.groups), "left_out": list(issued.left_out)}
    return capability, answer


def _capability(asked: Asked) -> dict[str, object]:
    body = asked.body
    try:
        form = Form(_take(body, "form", str, Form.SAML1.value))
    except ValueError as error:
        raise _no(f"form is one of {', '.join(Form)}") from error
    groups = _take(body, "groups", bool, False)
    bind = _take(body, "bind_key", bool, False)
    profile = None
    if body.get("profile") is not None:
        try:
            profile = Profile(_take(body, "profile", str, ""))
        except ValueError as error:
            raise _no(f"profile is one of {', '.join(Profile)}") from error
    fqans = _texts(body, "fqans", MAX_FQANS)
    if form is Form.ATTRIBUTES or groups or (form is Form.JWT and asked.community.says_groups(profile)):
        fqans = asked.community.bound_fqans(asked.peer, fqans or ())
    else:
        fqans = None
    request = CapabilityRequest(
        policy=None if form is Form.ATTRIBUTES else read_rights(body.get("rights")),
        fqans=fqans,
        lifetime=_seconds(body, "lifetime"),
        audience=_texts(body, "audience", MAX_AUDIENCES) or (),
        bind_key=bind,
        form=form.value,
    )
    client = asked.community.service.whoami(asked.caller) if profile is Profile.RFC9068 else ""
    options = FormOptions(groups=groups, bind_key=bind, profile=profile, client_id=client)
    return issue(asked, form, request, options)[1]


def _whoami(asked: Asked) -> dict[str, object]:
    nickname = asked.community.service.whoami(asked.caller)
    return {
        "nickname": nickname,
        "identity": asked.caller.identity,
        "community": asked.community.config.community,
        "limited": asked.caller.limited,
    }


def _rights_of(asked: Asked) -> dict[str, object]:
    request = read_rights(asked.body.get("rights"))
    nickname = _take(asked.body, "user", str, "") or asked.community.service.whoami(asked.caller)
    found = asked.community.service.rights_of(asked.caller, nickname, request)
    return {
        "user": nickname,
        "rights": _rights(found.rights),
        "withheld": _rights(found.withheld),
        "not_after": _time(found.not_after),
    }


# --- changes ----------------------------------------------------------------------------------------------------------


def _changes(asked: Asked) -> dict[str, object]:
    body = asked.body
    listed = body.get("changes")
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_CHANGES:
        raise _no(f"changes are to be a list of 1 to {MAX_CHANGES}")
    changes: list[Change] = [decode_change(one) for one in listed]
    if _take(body, "dry_run", bool, False):
        return _preview(asked, changes)
    revision = None if body.get("expected_revision") is None else _take(body, "expected_revision", int, 0)
    applied = asked.community.service.apply(
        asked.caller,
        changes,
        reason=_take(body, "reason", str, ""),
        expected_revision=revision,
        expected=_versions(body.get("expected_versions")),
    )
    return {"revision": applied.revision, "changed": list(applied.changed)}


def _versions(value: object) -> dict[Ref, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MAX_CHANGES:
        raise _no("expected_versions are to be a list of [name, version]")
    found: dict[Ref, int] = {}
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or type(pair[1]) is not int:
            raise _no("expected_versions are to be a list of [name, version]")
        found[decode_ref(pair[0])] = pair[1]
    return found


def _preview(asked: Asked, changes: Sequence[Change]) -> dict[str, object]:
    found = asked.community.service.preview(asked.caller, changes)
    differences: list[dict[str, object]] = [
        {
            "action": encode_ref(one.action),
            "on": encode_ref(one.on),
            "gains": list(one.gains),
            "loses": list(one.loses),
            "before": one.before,
            "after": one.after,
        }
        for one in found.differences
    ]
    return {"revision": found.revision, "differences": differences, "complete": found.is_complete}


# --- questions --------------------------------------------------------------------------------------------------------


def _list(asked: Asked) -> dict[str, object]:
    names = asked.community.service.list_names(
        asked.caller,
        _kind(asked.body, "kind"),
        scope=_take(asked.body, "scope", str, ""),
        after=_take(asked.body, "after", str, ""),
    )
    return {"names": list(names), "more": len(names) >= MAX_PAGE}


def _get(asked: Asked) -> dict[str, object]:
    found = asked.community.service.get(asked.caller, decode_ref(asked.body.get("name")))
    return {
        "entity": encode_entity(found.entity),
        "version": found.version,
        "fqan": found.fqan,
        "feeds": [[one.source.value, one.value] for one in found.feeds],
    }


def _members(asked: Asked) -> dict[str, object]:
    after = asked.body.get("after")
    members = asked.community.service.list_members(
        asked.caller, decode_ref(asked.body.get("group")), after=None if after is None else decode_ref(after)
    )
    return {"members": [encode_ref(one) for one in members], "more": len(members) >= MAX_PAGE}


def _policies(asked: Asked) -> dict[str, object]:
    statements = asked.community.service.find_policies(asked.caller, decode_ref(asked.body.get("name")))
    return {"statements": [encode_statement(one) for one in statements]}


def _history(asked: Asked) -> dict[str, object]:
    about = asked.body.get("about")
    entries = asked.community.service.history(
        asked.caller,
        about=None if about is None else decode_ref(about),
        after=_take(asked.body, "after", int, 0),
        limit=_limit(asked.body),
    )
    return {
        "entries": [
            {
                "revision": one.revision,
                "time": _time(one.time),
                "actor": one.actor,
                "reason": one.reason,
                "request_id": one.request_id,
                "change": encode_change(one.change),
                "purged": [encode_statement(statement) for statement in one.purged],
            }
            for one in entries
        ]
    }


def _who_can(asked: Asked) -> dict[str, object]:
    found = asked.community.service.who_can(
        asked.caller,
        decode_ref(asked.body.get("action")),
        decode_ref(asked.body.get("on")),
        limited=_take(asked.body, "limited", bool, False),
        after=_take(asked.body, "after", str, ""),
        limit=_limit(asked.body),
    )
    return {
        "total": found.total,
        "users": list(found.users),
        "groups": list(found.groups),
        "everyone": found.everyone,
        "feeds": [[one.source.value, one.value] for one in found.feeds],
        "conditional": [encode_statement(one) for one in found.conditional],
    }


def _why(asked: Asked) -> dict[str, object]:
    nickname = _take(asked.body, "user", str, "") or asked.community.service.whoami(asked.caller)
    found = asked.community.service.why(
        asked.caller,
        nickname,
        decode_ref(asked.body.get("action")),
        decode_ref(asked.body.get("on")),
        limited=_take(asked.body, "limited", bool, False),
    )
    return {"user": nickname, "permitted": found.permitted, "lines": list(found.lines)}


# --- withdrawing ------------------------------------------------------------------------------------------------------


def _withdraw(asked: Asked) -> dict[str, object]:
    from cas.assertion.revocations import identifier_of

    community, caller = asked.community, asked.caller
    now = community.now()
    try:
        identifier = identifier_of(_take(asked.body, "id", str, ""))
    except CapabilityError as error:
        raise _no("id is no name of a capability") from error
    if len(identifier) != 16:
        raise _no("id is no name of a capability")
    may = (
        not caller.limited
        and community.service.why(caller, community.service.whoami(caller), SUPERUSER, SERVER).permitted
    )
    record = AuditRecord(
        time=now,
        request_id=caller.request_id,
        service="cas",
        action="withdraw",
        verdict=Verdict.PERMIT if may else Verdict.DENY,
        reason=_take(asked.body, "reason", str, "") or ("permitted" if may else "not a superuser with a full proxy"),
        peer=caller.identity,
        address=caller.address,
        details={"capability": identifier.hex()},
    )
    community.audit.record(record)
    if not may:
        raise DeniedError("only superusers withdraw capabilities, with a full proxy")
    ends = now + community.config.capability.max_lifetime
    community.withdrawn.add(identifier, until=ends, now=now)
    return {"id": identifier.hex(), "until": _time(ends)}


# --- the table --------------------------------------------------------------------------------------------------------

_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_NUMBER: Final = {"type": "integer", "minimum": 0}
_YES: Final = {"type": "boolean"}
_NAME: Final = {"$ref": "#/components/schemas/Name"}
_RIGHTS: Final = {"type": "array", "items": {"$ref": "#/components/schemas/Right"}, "maxItems": MAX_WANTED}

OPERATIONS: Final = (
    Operation(
        "/cas/v1/whoami",
        "GET",
        "Say what the community calls the caller.",
        "QUERY",
        _whoami,
        answers={"nickname": "the nickname", "identity": "the distinguished name", "community": "the community"},
    ),
    Operation(
        "/cas/v1/capability",
        "POST",
        "Sign what the caller may do, or less.",
        "ISSUE",
        _capability,
        (
            Field("form", {"type": "string", "enum": [one.value for one in Form]}, "what it is written as (saml1)"),
            Field("rights", _RIGHTS, "the rights; all where it is missing"),
            Field("fqans", _TEXTS, "groups and roles; all groups where it is missing"),
            Field("groups", _YES, "whether an assertion says groups and roles, too"),
            Field("audience", _TEXTS, "for whom alone it is meant"),
            Field("lifetime", _NUMBER, "seconds; 0 for the server's default"),
            Field("bind_key", _YES, "whether it is of use only with the key that the caller has proven"),
            Field("profile", {"type": "string", "enum": [one.value for one in Profile]}, "of tokens"),
        ),
        {
            "capability": "XML, base64 of an attribute certificate's DER, or a token",
            "id": "its identifier in hex",
            "not_after": "when it ends",
            "rights": "what it grants",
            "fqans": "groups and roles",
        },
    ),
    Operation(
        "/cas/v1/rights",
        "POST",
        "Say what rights a user has, without signing them.",
        "QUERY",
        _rights_of,
        (Field("user", _TEXT, "the nickname; the caller's where it is missing"), Field("rights", _RIGHTS, "which")),
        {"rights": "the rights", "withheld": "those within which something is denied", "not_after": "how long"},
    ),
    Operation(
        "/cas/v1/changes",
        "POST",
        "Change the policy: all of it or nothing.",
        "CHANGE",
        _changes,
        (
            Field(
                "changes",
                {"type": "array", "items": {"$ref": "#/components/schemas/Change"}, "maxItems": MAX_CHANGES},
                "the changes in their order",
                required=True,
            ),
            Field("reason", _TEXT, "why, for the history"),
            Field("dry_run", _YES, "only say who would gain and lose what"),
            Field("expected_revision", _NUMBER, "the revision that they were prepared for"),
            Field("expected_versions", {"type": "array"}, "pairs of a name and the version it had"),
        ),
        {"revision": "the policy's revision", "changed": "for each change whether it changed anything"},
    ),
    Operation(
        "/cas/v1/list",
        "POST",
        "List names of a kind.",
        "QUERY",
        _list,
        (
            Field("kind", {"type": "string", "enum": [one.value for one in Kind]}, "the kind", required=True),
            Field("scope", _TEXT, "the namespace of objects, the service type of actions"),
            Field("after", _TEXT, "the last name of the page before"),
        ),
        {"names": "the names", "more": "whether there may be more"},
    ),
    Operation(
        "/cas/v1/get",
        "POST",
        "Return one thing.",
        "QUERY",
        _get,
        (Field("name", _NAME, "its name", required=True),),
        {"entity": "the thing", "version": "how often it was changed"},
    ),
    Operation(
        "/cas/v1/members",
        "POST",
        "List what is in a group.",
        "QUERY",
        _members,
        (Field("group", _NAME, "the group", required=True), Field("after", _NAME, "the last one of the page before")),
        {"members": "their names", "more": "whether there may be more"},
    ),
    Operation(
        "/cas/v1/policies",
        "POST",
        "List the statements that name something.",
        "QUERY",
        _policies,
        (Field("name", _NAME, "the thing", required=True),),
        {"statements": "the statements"},
    ),
    Operation(
        "/cas/v1/history",
        "POST",
        "Say who changed what, when and why.",
        "QUERY",
        _history,
        (
            Field("about", _NAME, "only of this thing"),
            Field("after", _NUMBER, "only later revisions"),
            Field("limit", _NUMBER, "how many at most"),
        ),
        {"entries": "the changes"},
    ),
    Operation(
        "/cas/v1/who-can",
        "POST",
        "Say who may do something now.",
        "QUERY",
        _who_can,
        (
            Field("action", _NAME, "the action", required=True),
            Field("on", _NAME, "on what", required=True),
            Field("limited", _YES, "with a limited proxy"),
            Field("after", _TEXT, "the last nickname of the page before"),
            Field("limit", _NUMBER, "how many at most"),
        ),
        {"total": "how many", "users": "nicknames", "groups": "the groups to which it is permitted"},
    ),
    Operation(
        "/cas/v1/why",
        "POST",
        "Say whether a user may do something, and by which statements.",
        "QUERY",
        _why,
        (
            Field("user", _TEXT, "the nickname; the caller's where it is missing"),
            Field("action", _NAME, "the action", required=True),
            Field("on", _NAME, "on what", required=True),
            Field("limited", _YES, "with a limited proxy"),
        ),
        {"permitted": "whether", "lines": "why"},
    ),
    Operation(
        "/cas/v1/withdraw",
        "POST",
        "Withdraw a capability before its time.",
        "CHANGE",
        _withdraw,
        (Field("id", _TEXT, "its identifier in hex", required=True), Field("reason", _TEXT, "why")),
        {"id": "the identifier", "until": "how long it stays in the list"},
    ),
)
"""Everything that needs a certificate, but for the OAuth endpoint."""
