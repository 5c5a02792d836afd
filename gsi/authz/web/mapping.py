"""HTTP requests as the engine's actions and resources; judges none of them.

    mapping = RequestMapping()
    mapping.action("PUT")                        # Action("write", "http")
    mapping.resource("/data/f")                  # Resource("/data/f")
    split_target("/data/%66?x=1")                # "/data/f": for front ends, which pass the raw target on

A path is judged as the application sees it, and in every other way in which something behind could read it: decoded
once more (the engine does that itself), with compatibility characters and backslashes resolved, and without `;`
parameters. What could be read as another path is permitted only if that one is, too. A path with `..` is refused.

Not here: what a request says beside method and path. A method that names a second resource (`MOVE`, `COPY`) has no
action by default, nor has any other that is not in the table: such a request is refused.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, unquote_to_bytes

from gsi.authz.decision import Action, Resource
from gsi.authz.resources import MAX_NAME_CHARS, readings
from gsi.errors import ConfigError, ParseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_ACTIONS", "RequestMapping", "path_of_environ", "path_of_scope", "split_target"]

DEFAULT_ACTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "GET": "read",
        "HEAD": "read",
        "OPTIONS": "lookup",
        "PROPFIND": "lookup",
        "POST": "write",
        "PUT": "write",
        "PATCH": "write",
        "PROPPATCH": "write",
        "LOCK": "write",
        "UNLOCK": "write",
        "MKCOL": "create",
        "DELETE": "delete",
    }
)
"""The words of the file services where they fit."""

_MAX_METHOD_CHARS: Final = 32
"""The longest registered method has 18."""

_MAX_DECODINGS: Final = 5
"""One more than the engine allows before it refuses the name."""

_ENCODED: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+", re.ASCII)
_DISPUTED: Final = frozenset("/\\%;?#")

_WHAT: Final = "HTTP request"


def _default_actions() -> Mapping[str, str]:
    return DEFAULT_ACTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMapping:
    """Which action a method is, and which resource a path.

    Attributes:
        actions: The action of each method, methods in capitals.
        service_type: The type of service that the actions belong to, for rules like `http:read`.
        base_url: What stands before every path (`https://www.example.org`), or empty for the path alone. The `Host`
            that a client sends is not asked.

    Raises:
        ConfigError: The base is neither empty nor a URL without a path.
    """

    actions: Mapping[str, str] = field(default_factory=_default_actions)
    service_type: str = "http"
    base_url: str = ""

    def __post_init__(self) -> None:
        scheme, mark, host = self.base_url.partition("://")
        if self.base_url and not (scheme in {"http", "https"} and mark and host and "/" not in host):
            raise ConfigError(f"{self.base_url!r} is no base URL", hint="https://www.example.org, without a path")
        for method in self.actions:
            if not (method.isascii() and method.isupper() and method.isalpha()):
                raise ConfigError(f"{method!r} is no HTTP method", hint="in capitals")

    def action(self, method: str) -> Action:
        """Return the action of a request. Methods are compared with their case (RFC 9110 section 9.1).

        Raises:
            ParseError: There is none.
        """
        found = self.actions.get(method) if len(method) <= _MAX_METHOD_CHARS else None
        if found is None:
            raise ParseError(f"no action is mapped to the method {method[:_MAX_METHOD_CHARS]!a}", what=_WHAT)
        return Action(found, self.service_type)

    def resource(self, path: str) -> Resource:
        """Return the resource of a path.

        Args:
            path: As the application sees it, or still encoded; beginning with a slash, without a query.

        Raises:
            ParseError: It is no such path, or no reading of it is safe (gsi.authz.resources).
        """
        if not path.startswith("/"):
            raise ParseError("the path does not begin with a slash", what=_WHAT)
        if len(path) > MAX_NAME_CHARS:
            raise ParseError(f"a path of {len(path)} characters, limit {MAX_NAME_CHARS}", what=_WHAT)
        others = _other_readings(path)
        found = Resource(f"{self.base_url}{path}", {"real_path": others} if others else {})
        readings(found)  # what the engine could not read is the client's fault, not the engine's
        return found


def _other_readings(path: str) -> tuple[str, ...]:
    """Return the other readings of a path and of what it decodes to, which the engine finds out itself."""
    found: dict[str, None] = {}
    for _ in range(_MAX_DECODINGS):
        other = _obliging(path)
        if other != path:
            found[other] = None
        decoded = unquote(path, errors="surrogateescape")
        if decoded == path:
            break
        path = decoded
    return tuple(found)


def _obliging(path: str) -> str:
    """Return the path as the most obliging server would read it."""
    if path.isascii() and ";" not in path and "\\" not in path:
        return path
    read = unicodedata.normalize("NFKC", path).replace("\\", "/")
    return "/".join(part.partition(";")[0] for part in read.split("/")) if ";" in read else read


def path_of_environ(environ: Mapping[str, object]) -> str:
    """Return the path of a WSGI request as its application sees it (PEP 3333: bytes in the clothes of Latin-1).

    Raises:
        ParseError: It is no UTF-8.
    """
    parts = (environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""))
    text = "".join(part for part in parts if isinstance(part, str))
    try:
        return text.encode("latin-1").decode("utf-8") or "/"
    except UnicodeError as error:
        raise ParseError("the path is no UTF-8", what=_WHAT) from error


def path_of_scope(scope: Mapping[str, object]) -> str:
    """Return the path of an ASGI connection as its application sees it: decoded, `root_path` included.

    Raises:
        ParseError: There is none, or it is no UTF-8.
    """
    path, root = scope.get("path"), scope.get("root_path", "")
    if not isinstance(path, str) or not isinstance(root, str):
        raise ParseError("the server gives no path", what=_WHAT)
    if "\ufffd" in path or any("\ud800" <= character <= "\udfff" for character in path):
        raise ParseError("the path is no UTF-8", what=_WHAT)
    # Since version 2.4 of the specification `path` has the root in front; older servers leave it away.
    return path if not root or path == root or path.startswith(f"{root}/") else f"{root}{path}"


def split_target(target: str) -> str:
    """Return the path of a raw request target, without query and fragment.

    What is encoded without need is decoded (RFC 3986 section 6.2.2.2). What servers disagree about stays encoded, so
    that the engine reads it both ways: slashes, backslashes, `%`, `;`, `?`, `#`, controls, and what is no UTF-8.

    Raises:
        ParseError: It is no path (`*`, an absolute URL, an authority), or no ASCII.
    """
    if not target.startswith("/") or not target.isascii() or not target.isprintable() or " " in target:
        raise ParseError("the request target is no path", what=_WHAT)
    return _ENCODED.sub(_decode_harmless, target.partition("?")[0].partition("#")[0])


def _decode_harmless(found: re.Match[str]) -> str:
    try:
        text = unquote_to_bytes(found[0]).decode("utf-8")
    except UnicodeDecodeError:
        return found[0]
    return "".join(quote(one, safe="") if one in _DISPUTED or not one.isprintable() else one for one in text)
