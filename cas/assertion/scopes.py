"""Rights in the words of tokens: which scope stands for which actions, on which objects, at which services.

    mapping = ScopeMapping(
        bases=(ScopeBase(namespace="FTPDirectoryTree", prefix="ftp://se.example.org/climate",
                         audiences=frozenset({"https://se.example.org:8443"})),),
    )
    mapped = map_rights(capability.rights, mapping, audience=("https://se.example.org:8443",))
    mapped.scopes                                     # ("storage.read:/data",), below the issuer's base path
    mapped.left_out                                   # rights for which there are no words

The one rule: a scope never allows what the rights do not, but for the directory of `dir/*` itself. So a scope is
written only where all of the actions that it needs are granted; an object's path only below a base, cut by whole parts;
a scope without a path only where a right covers all of a base; and a token for several services only what is granted at
each of them. A path in a scope stands for everything below it: the right on `dir/*` becomes `/dir`, a right on one
object no scope at all, unless its base says that single objects there are files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence  # noqa: TC003  a configuration reads the fields' types at run time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from cas.assertion.value import Comparison
from gsi.errors import CapabilityError, ConfigError
from gsi.tokens.scopes import Capability, format_scope, parse_scopes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cas.assertion.value import Right

__all__ = [
    "SCITOKENS_RULES",
    "WITHOUT_PATH",
    "WLCG_RULES",
    "MappedScopes",
    "ScopeBase",
    "ScopeMapping",
    "ScopeRule",
    "map_rights",
]

_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_WITH_PATH: Final = frozenset({"storage.read", "storage.create", "storage.modify", "storage.stage", "read", "write"})
WITHOUT_PATH: Final = frozenset({"compute.read", "compute.create", "compute.modify", "compute.cancel", "queue"})
"""Scopes that have no path: those for jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeRule:
    """When a scope is written.

    Attributes:
        scope: What it is named after: `storage.read`.
        service_type: Of the right.
        actions: Of which all must be granted on the object.

    Raises:
        ConfigError: A scope that is not known, or no action.
    """

    scope: str
    service_type: str
    actions: frozenset[str]

    def __post_init__(self) -> None:
        if self.scope not in _WITH_PATH | WITHOUT_PATH:
            raise ConfigError(f"the scope {self.scope[:80]!r} is not known")
        if not self.actions or not self.service_type:
            raise ConfigError(f"the scope {self.scope} has to need an action of a service type")


def _rule(scope: str, service_type: str, *actions: str) -> ScopeRule:
    return ScopeRule(scope=scope, service_type=service_type, actions=frozenset(actions))


WLCG_RULES: Final = (
    _rule("storage.read", "file", "read"),
    _rule("storage.stage", "file", "read", "stage"),
    _rule("storage.create", "file", "create"),
    _rule("storage.modify", "file", "create", "delete", "write"),
    _rule("compute.create", "gram", "start"),
    _rule("compute.read", "gram", "status"),
    _rule("compute.cancel", "gram", "cancel"),
    _rule("compute.modify", "gram", "register", "renew", "signal"),
)
"""The scopes of the WLCG profile and what each may be used for, but for looking names up, which every storage scope
includes: whoever wants `file/lookup` to be granted first adds it to the actions."""

SCITOKENS_RULES: Final = (
    _rule("read", "file", "read"),
    _rule("write", "file", "create", "delete", "write"),
    _rule("queue", "gram", "start"),
)
"""The same in the words of SciTokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeBase:
    """A part of a namespace that services know as a tree of paths.

    Attributes:
        namespace: The namespace's nickname.
        prefix: What objects begin with; a path of a token is what follows. `ftp://se.example.org/climate`.
        audiences: What these services call themselves: the audiences of tokens that hold there.
        single_files: Every object of this part that is no `.../*` is a file, which has nothing below it: so that
            rights on single ones can be written; but for the prefix itself.

    Raises:
        ConfigError: No namespace or audience, or a prefix with a wildcard or `..`.
    """

    namespace: str
    prefix: str
    audiences: frozenset[str]
    single_files: bool = False

    def __post_init__(self) -> None:
        if not self.namespace or not self.audiences or not all(self.audiences):
            raise ConfigError("a base of scopes needs a namespace and an audience")
        if "*" in self.prefix or ".." in self.prefix.split("/"):
            raise ConfigError(f"{self.prefix[:80]!r} is no prefix of objects")

    def relative(self, name: str, *, holds: bool = False) -> tuple[str, ...] | None:
        """Return the parts of an object's path below this base; None for an object that is not below it.

        Args:
            name: The object.
            holds: It stands for all below it: one that holds the base is the whole of it; so is one without a name.
        """
        if holds and not name:
            return ()
        prefix, text = _split(self.prefix.removesuffix("/")), _split(name)
        if text[0] != prefix[0]:
            return None
        if text[1][: len(prefix[1])] == prefix[1]:
            return text[1][len(prefix[1]) :]
        return () if holds and prefix[1][: len(text[1])] == text[1] else None


def _split(name: str) -> tuple[str, tuple[str, ...]]:
    """Return scheme and host, which have no case, and the parts of the path; a path alone has neither."""
    scheme, mark, rest = name.partition("://")
    place, path = "", name
    if mark:
        host, slash, rest = rest.partition("/")
        place, path = f"{scheme}://{host}".lower(), slash + rest
    path = path.removeprefix("/")
    return place, tuple(path.split("/")) if path else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeMapping:
    """How rights become scopes; written in the service's configuration.

    Attributes:
        bases: Where.
        rules: What; empty for those of the tokens' profile.
    """

    bases: tuple[ScopeBase, ...]
    rules: tuple[ScopeRule, ...] = ()


class _Key(NamedTuple):
    """A place, with what is granted there."""

    base: int
    service_type: str
    parts: tuple[str, ...]
    is_tree: bool


class MappedScopes(NamedTuple):
    """What was found.

    Attributes:
        scopes: By the mapping's rules in their order, each once.
        audiences: For whom: what was asked for, else the services at which all of these are granted.
        left_out: Rights of which nothing could be written.
    """

    scopes: tuple[str, ...]
    audiences: tuple[str, ...]
    left_out: tuple[Right, ...]


def map_rights(
    rights: Sequence[Right],
    mapping: ScopeMapping,
    *,
    audience: Sequence[str] = (),
    rules: tuple[ScopeRule, ...] = WLCG_RULES,
) -> MappedScopes:
    """Return the scopes that rights stand for, at each of the services of an audience.

    Args:
        rights: The rights.
        mapping: The words.
        audience: The services; without any, the bases that are met must all be of the same services.
        rules: The rules of the profile, where the mapping has none of its own.
    """
    wanted = frozenset(audience)
    actions: dict[_Key, set[str]] = {}
    used: list[set[_Key]] = [set() for _ in rights]
    for number, right in enumerate(rights):
        for index, base in enumerate(mapping.bases):
            if base.namespace != right.namespace or not wanted <= base.audiences:
                continue
            place = _place(right, base)
            if place is not None:
                key = _Key(index, right.service_type, *place)
                actions.setdefault(key, set()).update(right.actions)
                used[number].add(key)
    services = {mapping.bases[key.base].audiences for key in actions}
    if not wanted and len(services) > 1:
        return MappedScopes((), (), tuple(rights))
    found: dict[str, None] = {}
    told: set[_Key] = set()
    for rule in mapping.rules or rules:
        for key in actions:
            if key.service_type == rule.service_type and _reaches(key, rule, actions):
                text = _write(rule.scope, key.parts)
                if text is not None:
                    found[text] = None
                    told.add(key)
    left_out = tuple(right for right, keys in zip(rights, used, strict=True) if told.isdisjoint(keys))
    for_whom = tuple(audience) if audience else tuple(sorted(next(iter(services), frozenset())))
    return MappedScopes(tuple(found), for_whom, left_out)


def _place(right: Right, base: ScopeBase) -> tuple[tuple[str, ...], bool] | None:
    """Return the path that a right is on, and whether it is all of it that lies below; None for none."""
    is_tree = right.comparison is Comparison.WILDCARD and (right.object == "*" or right.object.endswith("/*"))
    name = right.object[:-1] if is_tree else right.object
    if is_tree and name != "/":  # which is all paths, and no URL
        name = name.removesuffix("/")
    if "*" in name or (not is_tree and not base.single_files):
        return None
    parts = base.relative(name, holds=is_tree)
    if parts is None or any(map(_is_odd, parts)) or (not parts and not is_tree):  # the base itself is no file
        return None
    return parts, is_tree


def _is_odd(part: str) -> bool:
    """Say whether a part of a path could be read in two ways."""
    return part in {"", ".", ".."} or not part.isprintable() or _ESCAPE.search(part) is not None


def _reaches(key: _Key, rule: ScopeRule, actions: Mapping[_Key, set[str]]) -> bool:
    """Say whether all that a rule needs is granted here, by rights on this place or on what holds it."""
    if rule.scope in WITHOUT_PATH and (key.parts or not key.is_tree):
        return False
    if rule.actions.isdisjoint(actions[key]):
        return False
    held = set(actions[key])
    for depth in range(len(key.parts) + 1 if key.is_tree else len(key.parts)):
        held |= actions.get(_Key(key.base, key.service_type, key.parts[:depth], True), set())
    return rule.actions <= held


def _write(scope: str, parts: tuple[str, ...]) -> str | None:
    """Return a scope, if it is read back as the same."""
    text = scope if scope in WITHOUT_PATH else format_scope(Capability(scope, parts))
    try:
        (read,) = parse_scopes(text).capabilities
    except (CapabilityError, ValueError):
        return None
    return text if read == Capability(scope, None if scope in WITHOUT_PATH else parts) else None
