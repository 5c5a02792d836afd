"""Operations about capabilities: sign one, say what rights there are without signing, withdraw one; makes no table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cas.config import MAX_LIFETIME
from cas.issuing import Form, FormOptions
from cas.policy.model import SERVER, SUPERUSER, ActionName
from cas.policy.request import EVERYTHING, MAX_WANTED, PolicyRequest, Wanted
from cas.server.operation import (
    NUMBER,
    TEXT,
    TEXTS,
    YES,
    Field,
    Operation,
    odd,
    take,
    take_seconds,
    take_texts,
    time_text,
)
from cas.service import CapabilityRequest
from gsi.errors import CapabilityError, DeniedError
from gsi.system.audit import AuditRecord, Verdict
from gsi.tokens.rules import Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cas.assertion.value import Capability, Right
    from cas.server.operation import Asked

__all__ = ["CAPABILITY_OPERATIONS", "issue", "read_rights"]

MAX_AUDIENCES: Final = 64
MAX_FQANS: Final = 256
_RIGHTS: Final = {"type": "array", "items": {"$ref": "#/components/schemas/Right"}, "maxItems": MAX_WANTED}


def read_rights(value: object) -> PolicyRequest:
    """Return the rights that are asked for; None asks for all.

    Raises:
        ParseError: They are none.
    """
    if value is None:
        return EVERYTHING
    if not isinstance(value, list) or not 0 < len(value) <= MAX_WANTED:
        raise odd(f"rights are to be a list of 1 to {MAX_WANTED}")
    return PolicyRequest(tuple(_read_wanted(one) for one in value))


def _read_wanted(value: object) -> Wanted:
    if not isinstance(value, dict) or not set(value) <= {"resource", "actions"}:
        raise odd("a right has a resource and actions")
    actions = take_texts(value, "actions", 256)
    names = None if actions is None else frozenset(_action_name(one) for one in actions)
    resource = take(value, "resource", str, "")
    if not resource:
        return Wanted(None, "", names)
    namespace, mark, name = resource.partition("|")
    if not mark or not namespace or not name:
        raise odd("a resource is written NAMESPACE|NAME")
    return Wanted(namespace, name, names)


def _action_name(text: str) -> ActionName:
    service_type, mark, name = text.rpartition("/")
    if not mark or not service_type or not name:
        raise odd("an action is written TYPE/ACTION")
    return ActionName(service_type, name)


def _rights(rights: Sequence[Right]) -> list[dict[str, object]]:
    return [
        {"resource": f"{one.namespace}|{one.object}", "actions": [f"{one.service_type}/{name}" for name in one.actions]}
        for one in rights
    ]


def issue(
    asked: Asked, form: Form, request: CapabilityRequest, options: FormOptions
) -> tuple[Capability, dict[str, object]]:
    """Return a capability and what is answered; it is in the audit before it is signed."""
    community = asked.community
    if form is Form.JWT and asked.caller.limited and request.fqans is not None:
        # Groups may stand for jobs at a site: bound to a limited proxy they stay what a limited proxy may do.
        request = replace(request, bind_key=True)
    capability = community.service.capability(asked.caller, request)
    issued = community.forms.issue(form, capability, options, now=community.now())
    asked.count(form.value)
    answer: dict[str, object] = {
        "form": form.value,
        "id": capability.identifier.hex(),
        "capability": issued.text,
        "not_before": time_text(capability.not_before),
        "not_after": time_text(issued.expires),
        "rights": _rights(capability.rights),
        "fqans": list(capability.fqans),
    }
    if form is Form.JWT:
        answer |= {"scope": " ".join(issued.scopes), "groups": list(issued.groups), "left_out": list(issued.left_out)}
    return capability, answer


def _capability(asked: Asked) -> dict[str, object]:
    body = asked.body
    try:
        form = Form(take(body, "form", str, Form.SAML1.value))
    except ValueError as error:
        raise odd(f"form is one of {', '.join(Form)}") from error
    groups = take(body, "groups", bool, False)
    bind = take(body, "bind_key", bool, False)
    profile = None
    if body.get("profile") is not None:
        try:
            profile = Profile(take(body, "profile", str, ""))
        except ValueError as error:
            raise odd(f"profile is one of {', '.join(Profile)}") from error
    fqans = take_texts(body, "fqans", MAX_FQANS)
    is_narrow = body.get("rights") is not None
    if form is Form.ATTRIBUTES and is_narrow:
        raise odd("rights cannot be said in an attribute certificate, which has groups and roles: ask for fqans")
    says_groups = form is Form.JWT and asked.community.says_groups(profile) and (not is_narrow or fqans is not None)
    if form is Form.ATTRIBUTES or (groups and form is not Form.JWT) or says_groups:
        fqans = asked.community.bound_fqans(asked.peer, fqans or ())
    else:
        fqans = None
    request = CapabilityRequest(
        policy=None if form is Form.ATTRIBUTES else read_rights(body.get("rights")),
        fqans=fqans,
        lifetime=take_seconds(body, "lifetime"),
        audience=take_texts(body, "audience", MAX_AUDIENCES) or (),
        bind_key=bind,
        form=form.value,
    )
    client = asked.community.service.whoami(asked.caller) if profile is Profile.RFC9068 else ""
    options = FormOptions(groups=groups, bind_key=bind, profile=profile, client_id=client)
    answer = issue(asked, form, request, options)[1]
    if form is Form.JWT and is_narrow and not answer["scope"]:
        raise DeniedError(
            "none of these rights can be said in a token", hint="ask for a directory, or for an assertion"
        )
    return answer


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
    nickname = take(asked.body, "user", str, "") or asked.community.service.whoami(asked.caller)
    found = asked.community.service.rights_of(asked.caller, nickname, request)
    return {
        "user": nickname,
        "rights": _rights(found.rights),
        "withheld": _rights(found.withheld),
        "not_after": time_text(found.not_after),
    }


def _withdraw(asked: Asked) -> dict[str, object]:
    from cas.assertion.revocations import identifier_of

    community, caller = asked.community, asked.caller
    now = community.now()
    try:
        identifier = identifier_of(take(asked.body, "id", str, ""))
    except CapabilityError as error:
        raise odd("id is no name of a capability") from error
    if len(identifier) != 16:
        raise odd("id is no name of a capability")
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
        reason=take(asked.body, "reason", str, "") or ("permitted" if may else "not a superuser with a full proxy"),
        peer=caller.identity,
        address=caller.address,
        details={"capability": identifier.hex()},
    )
    community.audit.record(record)
    if not may:
        raise DeniedError("only superusers withdraw capabilities, with a full proxy")
    ends = now + MAX_LIFETIME  # and not what is configured: it may have been longer when this one was signed
    community.withdrawn.add(identifier, until=ends, now=now)
    return {"id": identifier.hex(), "until": time_text(ends)}


CAPABILITY_OPERATIONS: Final = (
    Operation(
        "/cas/v1/whoami",
        "GET",
        "Say what the community calls the caller.",
        "QUERY",
        _whoami,
        answers={
            "nickname": "the nickname",
            "identity": "the distinguished name",
            "community": "the community",
            "limited": "whether the caller has shown a limited proxy",
        },
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
            Field("fqans", TEXTS, "groups and roles; all groups where it is missing"),
            Field("groups", YES, "whether an assertion says groups and roles, too"),
            Field("audience", TEXTS, "for whom alone it is meant"),
            Field("lifetime", NUMBER, "seconds; 0 for the server's default"),
            Field("bind_key", YES, "whether it is of use only with the key that the caller has proven"),
            Field("profile", {"type": "string", "enum": [one.value for one in Profile]}, "of tokens"),
        ),
        {
            "form": "what it is written as",
            "not_before": "when it begins",
            "scope": "of a token: its scopes, with a blank between each two",
            "groups": "of a token: those that it says",
            "left_out": "of a token: rights that its profile cannot say",
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
        (Field("user", TEXT, "the nickname; the caller's where it is missing"), Field("rights", _RIGHTS, "which")),
        {
            "user": "whose",
            "rights": "the rights",
            "withheld": "those within which something is denied",
            "not_after": "how long",
        },
    ),
    Operation(
        "/cas/v1/withdraw",
        "POST",
        "Withdraw a capability before its time.",
        "CHANGE",
        _withdraw,
        (Field("id", TEXT, "its identifier in hex", required=True), Field("reason", TEXT, "why")),
        {"id": "the identifier", "until": "how long it stays in the list"},
    ),
)
"""What concerns the caller and capabilities."""
