"""Names of resources as policies compare them: URLs and paths, part by part; opens no file.

    readings(resource)                                     # every way to read the name
    ResourcePattern("/data/alice/**").matches(reading)

A service, a file system and a policy may read one name in different ways, and an attacker looks for the difference. So
a name is taken apart in every way it could be meant, and a permit must hold for all of these readings, while a denial
holds when it fits any:

1. as it stands; 2. with `%41` decoded, again and again until nothing changes; 3. the real path behind symbolic links,
where the service has found it out (attribute `real_path`).

`//` is `/`, `.` is nothing, a final slash does not matter. What is odd is refused, because no reading of it is safe: a
`..`, whose meaning depends on links (services resolve it before they ask); a control character; a user name or blank
within a host; a query behind an HTTP path. Paths are compared with their case, schemes and hosts without.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

from gsi.authz.principals import Glob
from gsi.errors import ParseError

if TYPE_CHECKING:
    from gsi.authz.decision import Resource

__all__ = ["MAX_NAME_CHARS", "MAX_PARTS", "Reading", "ResourcePattern", "readings"]

MAX_NAME_CHARS: Final = 8192
"""The longest name of a resource: twice the longest path of Linux, and what HTTP servers take for a URL."""

MAX_PARTS: Final = 256
"""The deepest path: a policy's index looks at each level, and no file tree in use has a quarter of it."""

_MAX_DECODINGS: Final = 4
"""How often a name may be percent-encoded over itself; what is still encoded then was made to deceive."""

_CACHED: Final = 1024
"""Names whose readings are remembered; a service asks for the same ones again within a session."""

_CACHED_CHARS: Final = 1024
"""The longest of these names, so that they take some megabytes at most."""

_CONTROL: Final = re.compile("[\0-\x1f\x7f-\x9f]")


class Reading(NamedTuple):
    """One way to read a resource's name.

    Attributes:
        scheme: In lower case; empty without one.
        host: With port, in lower case, without a final dot; empty without one.
        parts: The parts of the path.
        is_path: Whether the name was a path or URL, and not a word of the service's own (`alice/default`).
    """

    scheme: str
    host: str
    parts: tuple[str, ...]
    is_path: bool


def readings(resource: Resource) -> tuple[Reading, ...]:
    """Return every reading of a resource's name; none for a resource without a name.

    Raises:
        ParseError: The name is odd.
    """
    real = resource.attributes.get("real_path", ()) if resource.attributes else ()
    if not resource.name:
        if real:
            raise ParseError("a real path of a resource without a name", what="resource")
        return ()
    if len(resource.name) > _CACHED_CHARS or real:
        return _read_all(resource.name, real)
    return _read_cached(resource.name)


@lru_cache(maxsize=_CACHED)
def _read_cached(name: str) -> tuple[Reading, ...]:
    return _read_all(name, ())


def _read_all(name: str, real_paths: tuple[str, ...]) -> tuple[Reading, ...]:
    found = _decodings(name)
    first = found[0]
    for path in real_paths:
        if not path.startswith("/"):
            raise ParseError(f"the real path {path[:80]!r} does not begin with a slash", what="resource")
        found.append(Reading(first.scheme, first.host, _parts(path), is_path=True))
    return tuple(dict.fromkeys(found))


def _decodings(name: str) -> list[Reading]:
    found = [_read(name)]
    for _ in range(_MAX_DECODINGS):
        if "%" not in name:
            return found
        decoded = unquote(name, errors="surrogateescape")
        if decoded == name:
            return found
        name = decoded
        found.append(_read(name))
    raise ParseError("the resource's name is percent-encoded over and over", what="resource")


def _read(name: str) -> Reading:
    if len(name) > MAX_NAME_CHARS:
        raise ParseError(f"the resource's name has {len(name)} characters, limit {MAX_NAME_CHARS}", what="resource")
    scheme, host, path = _split(name)
    if scheme in {"http", "https"} and ("?" in path or "#" in path):
        raise ParseError("the resource's name has a query or fragment", what="resource")
    return Reading(scheme, host, _parts(path), path.startswith("/") or bool(scheme))


def _split(name: str) -> tuple[str, str, str]:
    scheme, mark, rest = name.partition("://")
    if not mark or not (scheme.isascii() and scheme.replace("+", "").replace("-", "").replace(".", "").isalnum()):
        return "", "", name
    host, slash, path = rest.partition("/")
    if any(char in "@\\?#%" or char.isspace() or not char.isprintable() for char in host):
        raise ParseError(f"the host {host[:80]!r} of a resource is odd", what="resource")
    return scheme.lower(), host.lower().removesuffix("."), slash + path


def _parts(path: str) -> tuple[str, ...]:
    if _CONTROL.search(path):
        raise ParseError("the resource's name holds a control character", what="resource")
    parts = tuple([part for part in path.split("/") if part not in {"", "."}])
    if ".." in parts:
        raise ParseError("the resource's name holds '..'", what="resource")
    if len(parts) > MAX_PARTS:
        raise ParseError(f"the resource's name has more than {MAX_PARTS} parts", what="resource")
    return parts


class ResourcePattern:
    """A pattern for resources: `/data/*/public/**`, `ftp://*.example.org/data/**`, `alice/default`.

    `*` stands for characters of one part. A final `/**` stands for any number of further parts, so `/data/**` covers
    `/data` itself and all below it, `/data/*` what is directly in it, and `/data` nothing else; none of them covers
    `/database`. A pattern without a scheme fits whatever the scheme and host. `**` alone fits every resource, also one
    without a name.

    Attributes:
        text: As written.
        prefix: The leading parts without a glob, for an index.
    """

    __slots__ = ("_host", "_is_path", "_parts", "_scheme", "is_anything", "is_deep", "prefix", "text")

    def __init__(self, text: str) -> None:
        """Read a pattern.

        Raises:
            ParseError: It is odd in a way that no resource's name can be, or has `**` in another place.
        """
        self.text = text
        self.is_anything = text == "**"
        self.is_deep = self.is_anything or text.endswith("/**")
        body = text.removesuffix("**") if self.is_deep else text
        if not text or "**" in body:
            raise ParseError(f"{text[:80]!r}: ** belongs at the end, after a slash", what="resource pattern")
        if len(text) > MAX_NAME_CHARS:
            raise ParseError("the pattern is too long", what="resource pattern")
        scheme, host, path = _split(body)
        parts = _parts(path)
        self._scheme, self._host = scheme, Glob(host)
        self._is_path = path.startswith("/") or bool(scheme)
        self._parts = tuple(Glob(part) for part in parts)
        count = next((i for i, part in enumerate(self._parts) if not part.is_literal), len(parts))
        self.prefix = parts[:count]

    def matches(self, reading: Reading) -> bool:
        """Say whether a reading fits."""
        if self.is_anything:
            return True
        if self._is_path is not reading.is_path:
            return False
        if self._scheme and not (self._scheme == reading.scheme and self._host.matches(reading.host)):
            return False
        more = len(reading.parts) - len(self._parts)
        if more < 0 or (more and not self.is_deep):
            return False
        return all(glob.matches(part) for glob, part in zip(self._parts, reading.parts, strict=False))

    def __repr__(self) -> str:
        return f"ResourcePattern({self.text!r})"
