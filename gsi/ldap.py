"""Asking a directory: connect, bind with a password, find one entry; the only importer of python-ldap, and no policy.

    place = LDAPPlace(("ldaps://ldap.example.org",), seconds=5)
    with connect(place) as directory:
        directory.bind("uid=portal,ou=services,dc=example,dc=org", passphrase)     # or nothing: anonymous
        entry = directory.find_entry("ou=people,dc=example,dc=org", equals("uid", username), ("mail",))
        entry.dn, entry.values("mail")

What a stranger typed gets into a filter or a name only through `equals`, `escape_filter` or `escape_dn`. A server over
TLS is verified, by the CAs of `ca_file` or of the system's ldap.conf, and must have the name that the URI says; there
is no way to switch that off. Referrals are not followed, since another server's word was not asked for, and an answer
that leaves a part to another server is none: what is missing might decide. An empty password never binds, since
directories take that for a wish to stay anonymous and say yes (RFC 4513 section 5.1.2).

Needs the extra `ldap`, which is imported at the first connection. A connection is for one thread at a time.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import unquote, urlsplit

from gsi.errors import (
    AuthenticationError,
    ConfigError,
    ConflictError,
    GridError,
    ParseError,
    RefusedError,
    TimeoutExpiredError,
    TransportError,
)
from gsi.transport.ldap_socket import LDAPTLS, make_ldap_context, open_ldap_socket

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType, TracebackType
    from typing import Protocol, Self
    from urllib.parse import SplitResult

    from gsi.secret import Passphrase

    class _Handle(Protocol):
        """What is used of python-ldap's connections."""

        def set_option(self, option: int, value: object) -> None: ...
        def simple_bind(self, who: str, cred: bytes) -> int: ...
        def search_ext(
            self, base: str, scope: int, filterstr: str, attrlist: Sequence[str], *, timeout: float, sizelimit: int
        ) -> int: ...
        def result(self, msgid: int, *, all: int = ..., timeout: float) -> tuple[object, object]: ...  # noqa: A002  its own name
        def unbind_s(self) -> None: ...


__all__ = [
    "DEFAULT_SECONDS",
    "LDAPDirectory",
    "LDAPEntry",
    "LDAPPlace",
    "any_of",
    "connect",
    "equals",
    "escape_dn",
    "escape_filter",
]

DEFAULT_SECONDS: Final = 10.0  # for each step; a directory that answers at all does so in milliseconds
MAX_VALUES: Final = 4096  # of one attribute; memberOf of the busiest person has hundreds
MAX_VALUE_BYTES: Final = 64 << 10  # a name or an address; photographs are not asked for
_SCHEMES: Final = ("ldap://", "ldaps://", "ldapi://")
_NO_ATTRIBUTES: Final = "1.1"  # RFC 4511 section 4.5.1.8
_FILTER_SPECIAL: Final = frozenset("\\*()\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class LDAPPlace:
    """Where a directory is and how to get there.

    Attributes:
        uris: `ldap://`, `ldaps://` or `ldapi://`; the first that can be reached counts.
        start_tls: Whether to go over to TLS before anything is said. Not with ldaps.
        ca_file: The CAs that vouch for the server, PEM; None for those of the system's ldap.conf.
        seconds: How long connecting, and then each answer, may take.

    Raises:
        ConfigError: These do not fit together, or something else stands in place of a URI.
    """

    uris: tuple[str, ...]
    start_tls: bool = False
    ca_file: str | None = None
    seconds: float = DEFAULT_SECONDS

    def __post_init__(self) -> None:
        """Check what can be checked without a connection."""
        if not self.uris:
            raise ConfigError("no LDAP server is named")
        for uri in self.uris:
            if not uri.lower().startswith(_SCHEMES) or not uri.isascii() or not uri.isprintable() or " " in uri:
                raise ConfigError(f"{uri!r} is no LDAP server", hint="write it as ldaps://ldap.example.org")
            try:
                _ = urlsplit(uri).port
            except ValueError as error:
                raise ConfigError(f"{uri!r} is no LDAP server: {error}") from error
            if self.start_tls and not uri.lower().startswith("ldap://"):
                raise ConfigError(f"{uri}: StartTLS is for ldap://", hint="leave StartTLS out, or write ldap://")
        if not self.seconds > 0:
            raise ConfigError("an LDAP server needs more than no time to answer")

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read or change what is said: TLS, or a socket of this machine."""
        return self.start_tls or all(uri.lower().startswith(("ldaps://", "ldapi://")) for uri in self.uris)


@dataclass(frozen=True, slots=True)
class LDAPEntry:
    """One entry, with the attributes that were asked for.

    Attributes:
        dn: Its name as the server writes it (RFC 4514).
        attributes: Values by the attribute's name in lower case, without options.
    """

    dn: str
    attributes: Mapping[str, tuple[bytes, ...]] = field(repr=False)

    def values(self, name: str) -> tuple[str, ...]:
        """Return an attribute's values as text; none when it is absent.

        Raises:
            ParseError: One of them is not UTF-8.
        """
        try:
            return tuple(value.decode("utf-8") for value in self.attributes.get(name.lower(), ()))
        except UnicodeDecodeError as error:
            raise ParseError(f"attribute {name} of {self.dn} is not text", what="LDAP entry") from error


def escape_filter(value: str) -> str:
    r"""Return a value as a filter may hold it (RFC 4515 section 3): `*()\` and NUL as two hexadecimal digits."""
    return "".join(f"\\{ord(char):02x}" if char in _FILTER_SPECIAL else char for char in value)


def escape_dn(value: str) -> str:
    """Return a value as a name may hold it (RFC 4514 section 2.4)."""
    out: list[str] = []
    for index, char in enumerate(value):
        if char in ',+"\\<>;=' or (char in " #" and index == 0) or (char == " " and index == len(value) - 1):
            out.append("\\" + char)
        elif char < " ":
            out.append(f"\\{ord(char):02x}")
        else:
            out.append(char)
    return "".join(out)


def equals(attribute: str, value: str) -> str:
    """Return the filter for entries whose attribute has this value.

    Raises:
        ConfigError: `attribute` is no name of an attribute.
    """
    if not attribute.isascii() or not attribute.replace("-", "").replace(".", "").replace(";", "").isalnum():
        raise ConfigError(f"{attribute!r} is no name of an LDAP attribute")
    return f"({attribute}={escape_filter(value)})"


def any_of(filters: Sequence[str]) -> str:
    """Return the filter for entries that one of these filters finds; there is at least one."""
    return filters[0] if len(filters) == 1 else f"(|{''.join(filters)})"


def connect(place: LDAPPlace) -> LDAPDirectory:
    """Return a connection to the first server that can be reached; a context manager, which closes it.

    Raises:
        ConfigError: python-ldap is not installed, or `ca_file` cannot be used.
        TransportError: No server can be reached, or it does not prove its name.
        TimeoutExpiredError: None answers in time.
        RefusedError: The server does not do StartTLS.
    """
    library = _import_ldap()
    failure: GridError | None = None
    for uri in place.uris:
        try:
            return LDAPDirectory(uri, _open(library, place, uri), library, place.seconds)
        except (TransportError, RefusedError) as error:
            failure = failure or error
    assert failure is not None  # there is at least one server
    raise failure


class LDAPDirectory:
    """A connection. Made by `connect`; not for several threads at once.

    Attributes:
        uri: The server.
    """

    def __init__(self, uri: str, handle: _Handle, library: ModuleType, seconds: float) -> None:
        self.uri = uri
        self._handle: _Handle | None = handle
        self._library = library
        self._seconds = seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            with contextlib.suppress(self._library.LDAPError):
                handle.unbind_s()

    @property
    def _open(self) -> _Handle:
        if self._handle is None:
            raise TransportError(f"{self.uri}: the connection is closed")
        return self._handle

    def bind(self, dn: str, passphrase: Passphrase) -> None:
        """Prove to be an entry by its password (simple bind, RFC 4513 section 5.1.3).

        Args:
            dn: The entry's name.
            passphrase: Its password.

        Raises:
            AuthenticationError: The directory does not accept the two, or one of them is empty, in which case it is
                not asked: it would say yes and mean nobody.
            RefusedError: It takes no passwords in this way (without TLS, say).
            TransportError: The connection failed.
        """
        if not dn or not passphrase or "\0" in dn:
            raise AuthenticationError(f"{self.uri}: a bind needs a name and a password")
        library = self._library
        refusals = (
            library.INVALID_CREDENTIALS,
            library.INAPPROPRIATE_AUTH,
            library.INVALID_DN_SYNTAX,
            library.NO_SUCH_OBJECT,
            library.CONSTRAINT_VIOLATION,  # how locked accounts are reported
            library.INSUFFICIENT_ACCESS,
        )
        try:
            self._open.result(self._open.simple_bind(dn, passphrase.reveal()), timeout=self._seconds)
        except refusals as error:
            raise AuthenticationError(f"{self.uri}: the directory does not accept the password of {dn}") from error
        except library.LDAPError as error:
            _translate(library, self.uri, error)

    def find_entry(self, base: str, search_filter: str, attributes: Sequence[str] = ()) -> LDAPEntry | None:
        """Return the one entry below (or at) `base` that the filter finds; None when there is none.

        Args:
            base: Where to search, with everything below it.
            search_filter: Made with `equals`, or a site's own with `escape_filter` around what strangers typed.
            attributes: Which attributes to bring; none by default.

        Raises:
            ConflictError: There are several; which is meant is anybody's guess.
            RefusedError: The directory does not answer the question, or leaves a part of the answer to another server.
            TransportError: The connection failed.
            ParseError: The entry is larger than anything of use.
        """
        found = self._search(base, search_filter, attributes, 2)
        if found is None or len(found) > 1:
            raise _several(self.uri, search_filter)
        return found[0] if found else None

    def find_entries(
        self, base: str, search_filter: str, attributes: Sequence[str] = (), *, limit: int
    ) -> tuple[LDAPEntry, ...]:
        """Return all entries below (or at) `base` that the filter finds.

        Args:
            base: Where to search, with everything below it.
            search_filter: As for `find_entry`.
            attributes: Which attributes to bring; none by default.
            limit: The most that may be found.

        Raises:
            ConflictError: There are more, or the server has a limit of its own and there may be.
            RefusedError: The directory does not answer the question, or leaves a part of the answer to another server.
            TransportError: The connection failed.
            ParseError: An entry is larger than anything of use.
        """
        found = self._search(base, search_filter, attributes, limit + 1)
        if found is None or len(found) > limit:
            why = "" if found else "the server's size limit is reached, or "
            raise ConflictError(
                f"{self.uri}: not all entries that answer to {search_filter[:200]} are told: "
                f"{why}there are more than {limit}"
            )
        return tuple(found)

    def _search(
        self, base: str, search_filter: str, attributes: Sequence[str], size_limit: int
    ) -> list[LDAPEntry] | None:
        """Return what the filter finds, or None where the server found more than it may say."""
        library = self._library
        wanted = list(attributes) or [_NO_ATTRIBUTES]
        try:
            number = self._open.search_ext(
                base, library.SCOPE_SUBTREE, search_filter, wanted, timeout=self._seconds, sizelimit=size_limit
            )
            _, answers = self._open.result(number, timeout=self._seconds)
            return [LDAPEntry(dn, _read_attributes(dn, raw)) for dn, raw in _entries(self.uri, answers)]
        except library.SIZELIMIT_EXCEEDED:
            return None
        except library.NO_SUCH_OBJECT as error:
            raise RefusedError(f"{self.uri}: {base!r} does not exist or may not be searched") from error
        except library.LDAPError as error:
            _translate(library, self.uri, error)


def _several(uri: str, search_filter: str) -> ConflictError:
    return ConflictError(f"{uri}: several entries answer to {search_filter}")


def _import_ldap() -> ModuleType:
    try:
        import ldap
    except ImportError as error:
        raise ConfigError("python-ldap is not installed", hint="pip install 'gsi-toolkit[ldap]'") from error
    library: ModuleType = ldap
    return library


def _open(library: ModuleType, place: LDAPPlace, uri: str) -> _Handle:
    parts = urlsplit(uri)
    options: list[tuple[int, object]] = [
        (library.OPT_PROTOCOL_VERSION, library.VERSION3),
        (library.OPT_REFERRALS, 0),
        (library.OPT_DEREF, library.DEREF_NEVER),
        (library.OPT_NETWORK_TIMEOUT, place.seconds),
        (library.OPT_TIMEOUT, place.seconds),
    ]
    try:
        if parts.scheme == "ldapi" and parts.netloc:
            handle = _adopt(library, _connect_local(unquote(parts.netloc), place.seconds), "ldapi://")
        elif parts.scheme == "ldapi":  # where libldap thinks that the socket is
            handle = library.initialize(uri)
        else:
            handle = _adopt(library, _connect(library, place, parts))
        for option, value in options:
            handle.set_option(option, value)
    except (library.LDAPError, ValueError) as error:
        raise ConfigError(f"{uri}: the connection cannot be set up: {_describe(error)}") from error
    return handle


def _connect(library: ModuleType, place: LDAPPlace, parts: SplitResult) -> socket.socket:
    """Connect, over TLS where that is wanted."""
    tls = LDAPTLS.ALWAYS if parts.scheme == "ldaps" else LDAPTLS.START if place.start_tls else LDAPTLS.NONE
    context = None
    if tls is not LDAPTLS.NONE:
        # What the system's ldap.conf says (TLS_CACERT, TLS_CACERTDIR), where the caller says nothing.
        own = place.ca_file is None
        context = make_ldap_context(
            library.get_option(library.OPT_X_TLS_CACERTFILE) if own else place.ca_file,
            library.get_option(library.OPT_X_TLS_CACERTDIR) if own else None,
        )
    port = parts.port or (636 if parts.scheme == "ldaps" else 389)
    return open_ldap_socket(parts.hostname or "localhost", port, tls=tls, context=context, seconds=place.seconds)


def _connect_local(path: str, seconds: float) -> socket.socket:
    """Connect to a socket of this machine."""
    import socket

    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(seconds)
        connected.connect(path)
        connected.settimeout(None)
    except TimeoutError as error:
        connected.close()
        raise TimeoutExpiredError(f"{path}: no connection in time") from error
    except OSError as error:
        connected.close()
        raise TransportError(f"{path}: {error.strerror or error}") from error
    return connected


def _adopt(library: ModuleType, connected: socket.socket, kind: str = "ldap://") -> _Handle:
    """Give a connected socket to the C library, which closes it at the end."""
    # The library is not told of TLS, so that it does not begin a second one.
    handle: _Handle = library.initialize(kind, fileno=connected.fileno())
    connected.detach()
    return handle


def _translate(library: ModuleType, uri: str, error: Exception) -> NoReturn:
    """Raise one of ours for one of python-ldap's."""
    told = _describe(error)
    if isinstance(error, library.TIMEOUT | library.TIMELIMIT_EXCEEDED):
        raise TimeoutExpiredError(f"{uri}: no answer in time") from error
    if isinstance(error, library.SERVER_DOWN | library.CONNECT_ERROR | library.UNAVAILABLE | library.BUSY):
        raise TransportError(f"{uri}: {told}") from error
    hint = None
    if isinstance(error, library.CONFIDENTIALITY_REQUIRED | library.STRONG_AUTH_REQUIRED):
        hint = "use ldaps:// or StartTLS"
    raise RefusedError(f"{uri}: {told}", hint=hint) from error


def _describe(error: Exception) -> str:
    """Return libldap's words; python-ldap's exceptions carry a dictionary."""
    facts = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    words = [str(facts[name]) for name in ("desc", "info") if facts.get(name)]
    return ": ".join(words) or type(error).__name__


def _entries(uri: str, answers: object) -> Iterator[tuple[str, Mapping[str, Sequence[bytes]]]]:
    """Give the entries of an answer.

    Raises:
        RefusedError: It has references to other servers (RFC 4511 section 4.5.3), which have no name.
    """
    for dn, raw in answers if isinstance(answers, list) else ():
        if dn is None:
            place = str(next(iter(raw), ""))[:200] if isinstance(raw, list | tuple) else ""
            raise RefusedError(
                f"{uri}: a part of the answer is elsewhere, at {place!a}, where nobody is asked",
                hint="search below a base all of which this server has",
            )
        yield dn, raw


def _read_attributes(dn: str, raw: Mapping[str, Sequence[bytes]]) -> dict[str, tuple[bytes, ...]]:
    found: dict[str, tuple[bytes, ...]] = {}
    for name, values in raw.items():
        if len(values) > MAX_VALUES or any(len(value) > MAX_VALUE_BYTES for value in values):
            raise ParseError(f"attribute {name} of {dn} is too large", what="LDAP entry")
        short = name.partition(";")[0].lower()
        found[short] = (*found.get(short, ()), *values)
    return found
