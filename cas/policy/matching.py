"""Names of objects: how they are written, and which of them cover which; the two algorithms, no policy.

    name = normal_object("FTP://Host/data/*", "", Comparison.WILDCARD)    # "ftp://host/data/*"
    covers("ftp://host/data/*", "ftp://host/data/a/b", Comparison.WILDCARD)

`ExactComparison`: names are equal, byte by byte. `WildCardComparison`: `dir/*` is everything below `dir`, so `dir/a`
and `dir/a/b`, but neither `dir` nor `dirx`; a `*` is only ever the whole last part. Scheme and host have no case, and a
host no final dot; the path is what it is. What is read in one way here and in another there is refused: `..`, `.`, an
empty part, `%41`. Every name is a place in a tree or all below one, so two of them are apart or one is in the other:
what both cover is the smaller one.

A resource knows no namespaces: whoever enforces a right reads URLs and paths of all of them alike. So a URL is stored
in one form whatever compares it, and `meets` says of names of two namespaces whether they speak of one place.

The GridFTP server asks for `ftp://<fqdn>/<path>`, without port and final slash.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cas.assertion.value import Comparison
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MAX_OBJECT_BYTES",
    "MAX_PARTS",
    "below",
    "check_base",
    "common",
    "covering_names",
    "covers",
    "is_place",
    "meets",
    "normal_host",
    "normal_object",
]

MAX_OBJECT_BYTES: Final = 1500
"""The longest name: PostgreSQL indexes some 2,700 bytes, and names of files are rarely longer than 255."""

MAX_PARTS: Final = 64
"""The deepest path: the index is asked once for each level."""

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")


def normal_object(name: str, base: str, comparison: Comparison) -> str:
    """Return the full name of an object, in the form in which it is stored and compared.

    Args:
        name: As written: absolute, or relative to the base.
        base: The namespace's base, or empty.
        comparison: The namespace's algorithm.

    Raises:
        ParseError: It cannot be the name of an object.
    """
    full = name
    if base and _split(name)[0] is None:
        full = f"{base.rstrip('/')}/{name.lstrip('/')}" if comparison is Comparison.WILDCARD else base + name
    _check_text(full)
    if comparison is Comparison.WILDCARD:
        return _normal_place(full)
    if "*" in full:
        return full  # no place for anybody who reads it
    try:
        return _normal_place(full)
    except ParseError:
        return full  # nor this


def _normal_place(full: str) -> str:
    scheme, host, path = _split(full)
    _check_path(path, full, is_url=scheme is not None)
    if scheme is None:
        return full
    if host and not _HOST.match(host):
        raise _odd(full, "the host is none")
    normal = normal_host(host)
    if host and not normal.partition(":")[0]:
        raise _odd(full, "the host is none")
    return f"{scheme.lower()}://{normal}{path}"


def normal_host(host: str) -> str:
    """Return a host, perhaps with a port, as it is compared: in lower case, without a final dot."""
    if host.startswith("["):
        return host.lower()
    name, mark, port = host.lower().partition(":")
    return name.rstrip(".") + mark + port


def check_base(base: str, comparison: Comparison) -> str:
    """Return a namespace's base, in the form in which it is prepended.

    Raises:
        ParseError: No name of an object could begin so.
    """
    if not base:
        return ""
    _check_text(base)
    if comparison is Comparison.EXACT:
        return base
    if "*" in base:
        raise _odd(base, "a base has no wildcard")
    scheme, _, path = _split(base)
    if scheme is not None and path in {"", "/"}:
        return normal_object(base.rstrip("/") + "/", "", comparison)
    return normal_object(base.rstrip("/"), "", comparison)


def covers(pattern: str, name: str, comparison: Comparison) -> bool:
    """Say whether all that a name means is within a pattern; both normal."""
    if pattern == name:
        return True
    below_what = below(pattern, comparison)
    return below_what is not None and len(name) > len(below_what) and name.startswith(below_what)


def is_place(name: str) -> bool:
    """Say whether a name means the same in every namespace: a URL or an absolute path."""
    return name.startswith("/") or _split(name)[0] is not None


def meets(first: str, how: Comparison, second: str, how_second: Comparison) -> bool:
    """Say whether there is something within both, each compared in its own way; both normal."""
    return covers(first, second, how) or covers(second, first, how_second)


def common(first: str, second: str, comparison: Comparison) -> str | None:
    """Return what is within both: the smaller one; None when they are apart."""
    if covers(first, second, comparison):
        return second
    return first if covers(second, first, comparison) else None


def below(name: str, comparison: Comparison) -> str | None:
    """Return how all names begin that are below `dir/*`: `dir/`; None for a name that has nothing below."""
    return name[:-1] if comparison is Comparison.WILDCARD and name.endswith("/*") else None


def covering_names(name: str, comparison: Comparison) -> Iterator[str]:
    """Return every name that covers a name, itself first: as many as its path is deep."""
    yield name
    if comparison is Comparison.EXACT:
        return
    scheme, host, _ = _split(name)
    start = 0 if scheme is None else len(scheme) + 3 + len(host)
    at = len(name) - 2 if name.endswith("/*") else len(name)
    while (at := name.rfind("/", start, at)) >= 0:
        pattern = name[: at + 1] + "*"
        if len(name) > at + 1 and pattern != name:
            yield pattern


def _split(name: str) -> tuple[str | None, str, str]:
    """Return scheme, host and path; None for the scheme of what is no URL."""
    scheme, mark, rest = name.partition("://")
    if not mark or not _SCHEME.match(scheme):
        return None, "", name
    host, slash, path = rest.partition("/")
    return scheme, host, slash + path


def _check_text(name: str) -> None:
    if not name:
        raise ParseError("an empty name", what="object")
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise _odd(name, "it is not Unicode") from error
    if length > MAX_OBJECT_BYTES:
        raise ParseError(f"the name has {length} bytes, limit {MAX_OBJECT_BYTES}", what="object")
    if not name.isprintable() or name != name.strip() or "|" in name:
        raise _odd(name, "it holds a control character or |, or a blank at an end")


def _check_path(path: str, name: str, *, is_url: bool) -> None:
    """Refuse what not everybody reads alike.

    Raises:
        ParseError: The path holds it.
    """
    if _ESCAPE.search(path):
        raise _odd(name, "it holds an escape; write the character itself")
    if is_url:
        if not path:
            raise _odd(name, "there is no path behind the host")
        if path == "/":
            return
        path = path[1:]
    elif path.startswith("/"):
        path = path[1:]
    parts = path.split("/")
    if len(parts) > MAX_PARTS:
        raise _odd(name, f"it has more than {MAX_PARTS} parts")
    if any(part in {"", ".", ".."} for part in parts):
        raise _odd(name, "it holds an empty part, '.' or '..'")
    if any("*" in part for part in parts[:-1]) or ("*" in parts[-1] and parts[-1] != "*"):
        raise _odd(name, "a * stands for the whole last part or not at all")
    if name == "*":
        raise _odd(name, "it would be everything")


def _odd(name: str, why: str) -> ParseError:
    return ParseError(f"no object can be called {name[:80]!r}: {why}", what="object")
