"""What somebody asks of their rights: a request as a value, and the policy request file of `cas-proxy-init`.

    request = parse_request(data)             # ParseError: which line, and what is wrong with it
    EVERYTHING                                # no file

The file, as GT 3.2 and 4.x read it:

    Resource: FTPDirectoryTree|ftp://sample1.org/data/*
     file read
     file lookup
    Resource: uri:samlResourceWildcard
     uri:samlActionNSWildcard uri:samlActionWildcard

Each resource is followed by its actions. The wildcard action comes first, and then no other one says more. Empty lines,
and lines that begin with `#`, say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cas.policy.model import ActionName
from gsi.errors import ParseError

__all__ = [
    "ANY_ACTION",
    "ANY_RESOURCE",
    "ANY_TYPE",
    "EVERYTHING",
    "MAX_REQUEST_BYTES",
    "MAX_WANTED",
    "PolicyRequest",
    "Wanted",
    "encode_request",
    "parse_request",
]

ANY_RESOURCE: Final = "uri:samlResourceWildcard"
ANY_TYPE: Final = "uri:samlActionNSWildcard"
ANY_ACTION: Final = "uri:samlActionWildcard"

MAX_REQUEST_BYTES: Final = 65536
"""The largest file: what it asks for has to fit into a proxy, which is smaller."""

MAX_WANTED: Final = 256
"""The most resources in one request: the policy is looked through for each."""

_MARK: Final = "Resource:"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Actions on one resource.

    Attributes:
        namespace: The nickname of the object's namespace; None for every object.
        name: The object's name, as written; a service makes it normal.
        actions: Which; None for every one.
    """

    namespace: str | None
    name: str
    actions: frozenset[ActionName] | None


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """All that is asked for; rights beyond it are left out.

    Attributes:
        wanted: What; at least one.
    """

    wanted: tuple[Wanted, ...]


EVERYTHING: Final = PolicyRequest((Wanted(None, "", None),))
"""Every right that somebody has."""


def parse_request(data: bytes) -> PolicyRequest:
    """Read a policy request file.

    Raises:
        ParseError: It does not follow the grammar, or is too large.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise ParseError(f"{len(data)} bytes, limit {MAX_REQUEST_BYTES}", what="policy request")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ParseError("not UTF-8", what="policy request", offset=error.start) from error
    blocks: list[tuple[int, str, list[tuple[int, str]]]] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if not line.isprintable() and not line.replace("\t", " ").isprintable():
            raise _fault(number, "a control character")
        if line.startswith(_MARK):
            if len(blocks) >= MAX_WANTED:
                raise _fault(number, f"more than {MAX_WANTED} resources")
            blocks.append((number, line[len(_MARK) :].strip(), []))
        elif blocks:
            blocks[-1][2].append((number, line))
        else:
            raise _fault(number, "an action before any resource", hint=f"begin with {_MARK} NAMESPACE|NAME")
    if not blocks:
        raise ParseError("it asks for nothing", what="policy request", hint="without a file, everything is asked for")
    return PolicyRequest(tuple(_read_block(*block) for block in blocks))


def _read_block(number: int, resource: str, lines: list[tuple[int, str]]) -> Wanted:
    if not lines:
        raise _fault(number, "a resource without actions", hint=f"{ANY_TYPE} {ANY_ACTION} is every one")
    actions = _read_actions(lines)
    if resource == ANY_RESOURCE:
        return Wanted(None, "", actions)
    namespace, mark, name = resource.partition("|")
    if not mark or not namespace or not name:
        raise _fault(number, "a resource is written NAMESPACE|NAME", hint=f"{ANY_RESOURCE} is every one")
    return Wanted(namespace, name, actions)


def _read_actions(lines: list[tuple[int, str]]) -> frozenset[ActionName] | None:
    """Return the actions, or None for all of them.

    Raises:
        ParseError: One is malformed, or the wildcard does not come first.
    """
    found: set[ActionName] = set()
    for position, (number, line) in enumerate(lines):
        words = line.split()
        if len(words) != 2:
            raise _fault(number, "an action is written TYPE ACTION")
        if words == [ANY_TYPE, ANY_ACTION]:
            if position == 0:
                return None
            raise _fault(number, "the wildcard comes before all other actions")
        if ANY_TYPE in words or ANY_ACTION in words:
            raise _fault(number, f"the wildcards go together: {ANY_TYPE} {ANY_ACTION}")
        found.add(ActionName(*words))
    return frozenset(found)


def encode_request(request: PolicyRequest) -> bytes:
    """Return the file that asks for this."""
    lines: list[str] = []
    for want in request.wanted:
        lines.append(f"{_MARK} {ANY_RESOURCE if want.namespace is None else f'{want.namespace}|{want.name}'}")
        if want.actions is None:
            lines.append(f" {ANY_TYPE} {ANY_ACTION}")
        else:
            lines += [f" {one.service_type} {one.name}" for one in sorted(want.actions)]
    return ("\n".join(lines) + "\n").encode()


def _fault(number: int, why: str, *, hint: str | None = None) -> ParseError:
    return ParseError(f"line {number}: {why}", what="policy request", hint=hint)
