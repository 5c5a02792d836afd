"""What the scopes of a token allow, in the words of the WLCG profile and the older ones of SciTokens; decides nothing.

    scopes = parse_scopes("storage.read:/data storage.create:/data/out compute.create openid")
    scopes.capabilities[0].covers(("data", "f"))
    allows(scopes.capabilities, "storage.read", path=("data", "f"))

Paths are compared part by part: `/data` covers `/data/f` and not `/database`. They are percent-decoded once; `..`, and
what is no text, is refused with the whole token, because an issuer that signs it cannot be trusted to mean anything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gsi.errors import CapabilityError, CapabilityProblem

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAX_SCOPES",
    "STORAGE",
    "Capability",
    "Scopes",
    "allows",
    "format_scope",
    "parse_groups",
    "parse_path",
    "parse_scopes",
]

MAX_SCOPES: Final = 512  # in one token; all of it has 16 kB at most
MAX_GROUPS: Final = 512
MAX_PARTS: Final = 256  # of a path, as for resources in policies
_MAX_GROUP_CHARS: Final = 1024

STORAGE: Final = frozenset({"storage.read", "storage.create", "storage.modify", "storage.stage"})
"""Scopes of which each needs a path."""

_COMPUTE: Final = frozenset({"compute.read", "compute.modify", "compute.create", "compute.cancel"})
_SCITOKENS_PATHS: Final = frozenset({"read", "write"})
_SCITOKENS_WORDS: Final = frozenset({"queue", "execute"})
_WITH_PATH: Final = STORAGE | _SCITOKENS_PATHS
_WITHOUT_PATH: Final = _COMPUTE | _SCITOKENS_WORDS
_IMPLIED: Final = {
    "storage.modify": frozenset({"storage.create"}),
    "storage.stage": frozenset({"storage.read"}),
    "read": frozenset({"storage.read"}),
    "write": frozenset({"storage.modify", "storage.create"}),
    "queue": frozenset({"compute.create"}),
}
"""What a scope allows beside itself; SciTokens' words in WLCG's."""

_TOKEN: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+\Z")  # RFC 6749 section 3.3


def _refuse(message: str) -> CapabilityError:
    return CapabilityError(f"token: {message}", problem=CapabilityProblem.CONTENT)


class Capability(NamedTuple):
    """One scope that allows something.

    Attributes:
        name: "storage.read", "compute.create", ...
        path: The parts of its path, decoded; empty for the root, and None for scopes that have none.
    """

    name: str
    path: tuple[str, ...] | None = None

    def allows(self, name: str) -> bool:
        """Say whether it allows what another scope is named after."""
        return name == self.name or name in _IMPLIED.get(self.name, ())

    def covers(self, path: tuple[str, ...]) -> bool:
        """Say whether a path is that of this scope or lies below it."""
        return self.path is not None and path[: len(self.path)] == self.path


class Scopes(NamedTuple):
    """The scopes of a token.

    Attributes:
        capabilities: Those that allow something.
        others: All else (`openid`, `wlcg.groups`), which allow nothing here.
    """

    capabilities: tuple[Capability, ...] = ()
    others: tuple[str, ...] = ()


def parse_scopes(text: str) -> Scopes:
    """Return the scopes of a `scope` claim.

    Raises:
        CapabilityError: CONTENT: a character that scopes have not, or a known scope whose path is missing, odd, or
            not its to have.
    """
    words = text.split(" ") if text else []
    if len(words) > MAX_SCOPES:
        raise _refuse(f"more than {MAX_SCOPES} scopes")
    capabilities: list[Capability] = []
    others: list[str] = []
    for word in words:
        if not word:
            continue
        if not _TOKEN.match(word):
            raise _refuse(f"the scope {word[:80]!r} has a character that scopes have not")
        name, colon, path = word.partition(":")
        if name in _WITH_PATH:
            if not colon:
                raise _refuse(f"the scope {name} without a path")
            capabilities.append(Capability(name, parse_path(path)))
        elif name in _WITHOUT_PATH:
            if colon:
                raise _refuse(f"the scope {name} with a path")
            capabilities.append(Capability(name))
        elif name.partition(".")[0] in {"storage", "compute"}:
            raise _refuse(f"the scope {name[:80]!r} is not known")
        else:
            others.append(word)
    return Scopes(tuple(capabilities), tuple(others))


def parse_path(text: str) -> tuple[str, ...]:
    """Return the parts of a path, percent-decoded once; `//` and `/./` are `/`, a final slash does not matter.

    Raises:
        CapabilityError: CONTENT: it does not begin with a slash, holds `..`, a broken escape, a control character or
            bytes that are not UTF-8, or is too deep.
    """
    if not text.startswith("/"):
        raise _refuse(f"the path {text[:80]!r} does not begin with a slash")
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise _refuse(f"the path {text[:80]!r} has a broken escape")
    try:
        decoded = unquote_to_bytes(text.encode("utf-8")).decode("utf-8")
    except UnicodeError as error:
        raise _refuse(f"the path {text[:80]!r} is not UTF-8") from error
    parts = tuple([part for part in decoded.split("/") if part not in {"", "."}])
    if ".." in parts:
        raise _refuse(f"the path {text[:80]!r} holds '..'")
    if any(char < " " or "\x7f" <= char < "\xa0" for char in decoded):
        raise _refuse(f"the path {text[:80]!r} holds a control character")
    if len(parts) > MAX_PARTS:
        raise _refuse(f"a path of more than {MAX_PARTS} parts")
    return parts


def format_scope(capability: Capability) -> str:
    """Return a scope as it stands in a claim; read back, it is the same."""
    from urllib.parse import quote

    if capability.path is None:
        return capability.name
    return f"{capability.name}:/{'/'.join(quote(part, safe=_PATH_SAFE) for part in capability.path)}"


_PATH_SAFE: Final = "!$&'()*+,-.:;=@_~"


def allows(capabilities: Iterable[Capability], name: str, path: tuple[str, ...] | None = None) -> bool:
    """Say whether any of these allows what a scope is named after, at a path where one matters."""
    return any(one.allows(name) and (path is None or one.covers(path)) for one in capabilities)


def parse_groups(claim: object) -> tuple[str, ...]:
    """Return the groups of a `wlcg.groups` claim in its order.

    Raises:
        CapabilityError: CONTENT: not a list of `/vo[/group...]`.
    """
    if not isinstance(claim, list) or len(claim) > MAX_GROUPS:
        raise _refuse("its groups are no list, or too many")
    for group in claim:
        if (
            not isinstance(group, str)
            or not group.startswith("/")
            or len(group) > _MAX_GROUP_CHARS
            or not group.isprintable()
            or not {"", ".", ".."}.isdisjoint(group[1:].split("/"))
        ):
            raise _refuse(f"{str(group)[:80]!r} is no group")
    return tuple(claim)
