r"""Authorization requests in Cedar's terms: entities, context, and the schema of policies; pure.

    for question in questions(request):
        is_authorized(question.request, policies, question.entities)

| | |
|---|---|
| principal | `User` with the distinguished name in one-line form, `Principal` with another identity, `Anonymous::""` |
| its parents | `Group::"staff"`; `Fqan::"/atlas/Role=production"`, which is in `Fqan::"/atlas"` |
| its tags | claims, as sets of texts |
| action | `Action::"file:read"` |
| resource | `Resource` with its name, in `Directory::"/data"` for each level of its path |
| its tags | its attributes, and those of the environment as `environment.NAME` |
| context | `now`, `service`, `host`, `desiredAccount`, and `address` where it is known |

A resource whose name can be read in several ways (`gsi.authz.resources`) makes several questions, one for each reading.
In the text of a name, `/` within a value is `\/`, so that no value can be taken for a part. FQANs of an independent or
restricted proxy are in `allFqans` alone, for what forbids.
"""

from __future__ import annotations

from datetime import UTC
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from gsi import names
from gsi.authz.principals import normal_fqan, plain_host, rights_fqans
from gsi.authz.resources import Reading, readings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gsi.authz.decision import AuthorizationRequest, Environment, Subject

__all__ = ["ACTIONS", "Entity", "Question", "questions", "schema_text"]

Entity: TypeAlias = "dict[str, object]"

ACTIONS: Final = (
    "login:login",
    *(f"file:{name}" for name in ("read", "write", "create", "delete", "lookup", "authz_assert")),
    *(f"job:{name}" for name in ("start", "status", "cancel", "signal", "register", "unregister", "renew")),
)
"""The actions of the services that come with the package."""

_SCHEMA: Final = """\
entity Group;
entity Fqan in [Fqan];
entity Directory in [Directory];
entity User, Principal, Anonymous in [Group, Fqan] {
    identity: String,
    issuer: String,
    authenticatedBy: String,
    proxy: String,
    limited: Bool,
    independent: Bool,
    fqans: Set<String>,
    allFqans: Set<String>,
    groups: Set<String>,
} tags Set<String>;
entity Resource in [Directory] {
    name: String,
    scheme: String,
    host: String,
    path: String,
} tags Set<String>;
"""
_ACTION: Final = """\
action {names} appliesTo {{
    principal: [User, Principal, Anonymous],
    resource: [Resource],
    context: {{
        now: datetime,
        service: String,
        host: String,
        desiredAccount: String,
        address?: ipaddr,
    }},
}};
"""


class Question(NamedTuple):
    """What Cedar is asked."""

    request: dict[str, object]
    entities: list[Entity]


def schema_text(actions: Iterable[str]) -> str:
    """Return the schema, in Cedar's syntax, with these actions."""
    listed = ", ".join(f'"{action}"' for action in dict.fromkeys(actions))
    return _SCHEMA + _ACTION.format(names=listed)


def questions(request: AuthorizationRequest) -> Iterator[Question]:
    """Yield the questions that a request amounts to; all of them must be answered yes for a yes.

    Raises:
        ParseError: A name in the request is odd.
    """
    principal, around = _principal(request.subject)
    action = {"type": "Action", "id": f"{request.action.service}:{request.action.name}"}
    context = _context(request.environment)
    tags = _tags(request.resource.attributes)
    tags |= {f"environment.{name}": value for name, value in _tags(request.environment.attributes).items()}
    for reading in readings(request.resource) or (Reading("", "", (), is_path=False),):
        resource, above = _resource(reading, tags)
        asked: dict[str, object] = {
            "principal": principal["uid"],
            "action": action,
            "resource": resource["uid"],
            "context": context,
        }
        yield Question(asked, [principal, *around, resource, *above])


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _entity(kind: str, name: str, parents: Iterable[dict[str, str]] = ()) -> Entity:
    return {"uid": _uid(kind, name), "attrs": {}, "parents": list(parents)}


def _principal(subject: Subject) -> tuple[Entity, list[Entity]]:
    if subject.identity_der:
        kind, name = "User", names.oneline(subject.identity_der)
    else:
        kind, name = ("Principal" if subject.identity else "Anonymous"), subject.identity
    fqans = rights_fqans(subject)
    chains = _fqan_entities(fqans)
    groups = sorted(subject.groups)
    principal = _entity(kind, name, [*(_uid("Group", each) for each in groups), *(_uid("Fqan", f) for f in fqans)])
    principal["attrs"] = {
        "identity": name,
        "issuer": subject.issuer,
        "authenticatedBy": subject.authenticated_by,
        "proxy": "none" if subject.kind is None else subject.kind.value,
        "limited": subject.limited,
        "independent": subject.independent,
        "fqans": list(fqans),
        "allFqans": [normal_fqan(fqan) for fqan in subject.fqans],
        "groups": groups,
    }
    principal["tags"] = {
        claim: [_text(each) for each in (value if isinstance(value, tuple | list) else (value,))]
        for claim, value in subject.claims.items()
        if _is_plain(value)
    }
    return principal, [*chains, *(_entity("Group", each) for each in groups)]


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(isinstance(each, str | bool | int) for each in value)
    return isinstance(value, str | bool | int)


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _fqan_entities(fqans: Iterable[str]) -> list[Entity]:
    found: dict[str, Entity] = {}
    for fqan in fqans:
        at = fqan
        while at and at not in found:
            above = at.rpartition("/")[0]
            found[at] = _entity("Fqan", at, [_uid("Fqan", above)] if above else [])
            at = above
    return list(found.values())


def _resource(reading: Reading, tags: Mapping[str, list[str]]) -> tuple[Entity, list[Entity]]:
    levels = ["/" + "/".join(reading.parts[:count]) for count in range(len(reading.parts) + 1)]
    path = levels[-1] if reading.is_path else "/".join(reading.parts)
    place = f"{reading.scheme}://{reading.host}" if reading.scheme else ""
    name = f"{place}{path}"
    # A path is in its own directory, too: `resource in Directory::"/data"` is what `/data/**` is elsewhere.
    directories = levels if reading.is_path else []
    resource = _entity("Resource", name, [_uid("Directory", directories[-1])] if directories else [])
    resource["attrs"] = {"name": name, "scheme": reading.scheme, "host": reading.host, "path": path}
    resource["tags"] = dict(tags)
    above = [
        _entity("Directory", level, [_uid("Directory", directories[index - 1])] if index else [])
        for index, level in enumerate(directories)
    ]
    return resource, above


def _tags(attributes: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(values) for name, values in attributes.items()}


def _context(environment: Environment) -> dict[str, object]:
    moment = environment.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    context: dict[str, object] = {
        "now": {"__extn": {"fn": "datetime", "arg": moment}},
        "service": environment.service,
        "host": plain_host(environment.host),
        "desiredAccount": environment.desired_account or "",
    }
    try:
        address = ip_address(environment.peer_address.partition("%")[0])
    except ValueError:
        return context
    mapped = getattr(address, "ipv4_mapped", None) or address
    return {**context, "address": {"__extn": {"fn": "ip", "arg": str(mapped)}}}
