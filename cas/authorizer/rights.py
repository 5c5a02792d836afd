"""What a site lets a community speak of, and what a capability grants there: objects and actions compared; pure.

    site = SiteRights((Grant(frozenset({("file", "read")}), (parse_object("ftp://localhost/data/*"),)),))
    site.allows("file", "read", places)

Objects are compared by their parts, as the community's own policy does (`cas.policy.matching`): `dir/*` is all below
`dir` and not `dir` itself, and a name that could be read in two ways stands for nothing. What a request names is read
in every way that it could be meant (`gsi.authz.resources`), and each of these readings must be covered.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from cas.assertion.value import Comparison
from cas.policy.matching import normal_host, normal_object
from gsi.authz.resources import Reading, readings
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gsi.authz.decision import AuthorizationRequest
    from gsi.authz.principals import FqanPattern
    from gsi.saml.assertion import AuthorizationDecision

__all__ = [
    "JOBS",
    "Grant",
    "GroupGrant",
    "Names",
    "Pattern",
    "SiteRights",
    "grants",
    "parse_object",
    "parse_tree",
    "places_of",
]

JOBS: Final = "job"
"""The service type of jobs in requests."""

_CACHED: Final = 8192  # names in assertions that are used again and again, some hundred bytes each


class Pattern(NamedTuple):
    """An object of a policy or capability, taken apart.

    Attributes:
        scheme: In lower case; empty for a path.
        host: In lower case.
        parts: Of the path.
        is_tree: Whether all below it is meant, and not the object itself.
    """

    scheme: str
    host: str
    parts: tuple[str, ...]
    is_tree: bool

    def covers(self, place: Reading) -> bool:
        """Say whether a place is the object, or below it."""
        if not place.is_path or (place.scheme, place.host) != (self.scheme, self.host):
            return False
        count = len(self.parts)
        if self.is_tree:
            return len(place.parts) > count and place.parts[:count] == self.parts
        return place.parts == self.parts

    def meets(self, place: Reading) -> bool:
        """Say whether a place is the object, below it, or above it: what a denial is about in any way."""
        if (place.scheme, place.host) != (self.scheme, self.host):
            return False
        return all(mine == its for mine, its in zip(self.parts, place.parts, strict=False))


@lru_cache(maxsize=_CACHED)
def parse_object(name: str, comparison: Comparison = Comparison.WILDCARD) -> Pattern:
    """Return an object's name taken apart.

    Raises:
        ParseError: No object can be called so, or it has a wildcard where names are compared exactly.
    """
    if comparison is Comparison.EXACT and "*" in name:
        raise ParseError(f"{name[:80]!r}: a wildcard, where names are compared exactly", what="object")
    normal = normal_object(name, "", Comparison.WILDCARD)
    scheme, mark, rest = normal.partition("://")
    if not mark:
        scheme, host, path = "", "", normal
    else:
        host, slash, path = rest.partition("/")
        path = slash + path
    if not path.startswith("/"):
        raise ParseError(f"{name[:80]!r} is no path and no URL", what="object")
    parts = tuple(part for part in path.split("/") if part)
    is_tree = parts[-1:] == ("*",)
    return Pattern(scheme, host, parts[:-1] if is_tree else parts, is_tree)


class Names:
    """How a community calls what a service calls otherwise: `ftp://se1.example.org/pool3` is `ftp://se.example.org`.

    A name that is given to one place is no longer that of another: what a service itself calls by it has no name in the
    community.
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Mapping[str, str]) -> None:
        """Read the pairs: the service's name, the community's; both stand for themselves and all below.

        Raises:
            ParseError: One of them is no name of an object, or has a wildcard.
        """
        found = [(parse_tree(ours), parse_tree(theirs)) for ours, theirs in pairs.items()]
        self._pairs = tuple(sorted(found, key=lambda pair: -len(pair[0].parts)))

    def translate(self, place: Reading) -> Reading | None:
        """Return a place as the community calls it, by the longest name that fits; None for one without a name."""
        for ours, theirs in self._pairs:
            if _is_within(place, ours):
                rest = place.parts[len(ours.parts) :]
                return Reading(theirs.scheme, theirs.host, (*theirs.parts, *rest), place.is_path)
        return None if any(_is_within(place, theirs) for _, theirs in self._pairs) else place


def _is_within(place: Reading, tree: Pattern) -> bool:
    """Say whether a place is this one, or below it."""
    same_host = (place.scheme, place.host) == (tree.scheme, tree.host)
    return same_host and place.parts[: len(tree.parts)] == tree.parts


def parse_tree(name: str) -> Pattern:
    """Return a name that stands for itself and all below it: `ftp://host`, `ftp://host/data`, `/data`.

    Raises:
        ParseError: It is no name of an object, or has a wildcard.
    """
    _, mark, place = name.partition("://")
    if mark and place.count("/") <= 1 and name.endswith("/"):
        text = name
    else:
        text = f"{name}/" if mark and "/" not in place else name.removesuffix("/")
    found = parse_object(text)
    if found.is_tree:
        raise ParseError(f"{name[:80]!r}: a name without a wildcard stands for all below it", what="object")
    return found


class Grant(NamedTuple):
    """Actions, each with its service type, on objects."""

    actions: frozenset[tuple[str, str]]
    """A `*` in the place of the action is any of the service type."""
    objects: tuple[Pattern, ...]

    def allows(self, service_type: str, action: str, place: Reading) -> bool:
        """Say whether it allows this, there."""
        if (service_type, action) not in self.actions and (service_type, "*") not in self.actions:
            return False
        return any(one.covers(place) for one in self.objects)


class GroupGrant(NamedTuple):
    """What the site lets a community's groups and roles do."""

    fqans: tuple[FqanPattern, ...]
    grant: Grant


class SiteRights(NamedTuple):
    """What a site lets a community speak of; nothing that it says counts beyond it."""

    grants: tuple[Grant, ...]

    def allows(self, service_type: str, action: str, places: Sequence[Reading]) -> bool:
        """Say whether it may speak of this in every way in which it can be read; of no place at all it may not."""
        return bool(places) and all(any(one.allows(service_type, action, at) for one in self.grants) for at in places)


def places_of(request: AuthorizationRequest) -> tuple[Reading, ...]:
    """Return what a request is about: a file in every reading; for a job the service that runs it, `gram://host/name`.

    Raises:
        ParseError: The resource's name is odd.
    """
    if request.action.service == JOBS:
        environment = request.environment
        host, service = normal_host(environment.host), environment.service
        if not host or not service or "/" in service:
            return ()
        return (Reading("gram", host, (service,), is_path=True),)
    return readings(request.resource)


def grants(
    decisions: Sequence[AuthorizationDecision],
    namespaces: Mapping[str, Comparison],
    service_type: str,
    action: str,
    places: Sequence[Reading],
) -> bool:
    """Say whether one assertion's statements permit an action at all of these places, and deny it at none.

    Args:
        decisions: Of one assertion; those of two are never put together.
        namespaces: How the objects of each namespace are compared; of others nothing is understood.
        service_type: The namespace of the action.
        action: The action.
        places: Every reading of the object.
    """
    permits: list[Pattern] = []
    for one in decisions:
        if not any((each.namespace, each.name) == (service_type, action) for each in one.actions):
            continue
        pattern = _pattern(one, namespaces)
        if one.decision == "Permit":
            if pattern is not None:
                permits.append(pattern)
        elif pattern is None or any(pattern.meets(place) for place in places):
            return False
    return bool(places) and all(any(one.covers(place) for one in permits) for place in places)


def _pattern(statement: AuthorizationDecision, namespaces: Mapping[str, Comparison]) -> Pattern | None:
    """Return the object of a statement, or None for one that is not understood."""
    comparison = namespaces.get(statement.namespace) if statement.namespace else Comparison.WILDCARD
    if comparison is None:
        return None
    try:
        return parse_object(statement.object, comparison)
    except ParseError:
        return None
