"""Where a web service takes its client's certificates from, and from where it does not; judges none of them.

    front_end = FrontEnd(certificate_header="X-SSL-Client-Cert", addresses=("192.0.2.7",))
    presented = presented_in_environ(environ, front_end)         # WSGI
    presented = presented_in_scope(scope, front_end)             # ASGI

Two sources, never mixed:

1. A connection from the front end: its headers. Who the client is stands in one of them, of which there must be exactly
   one; the TLS of such a connection is the front end's own.
2. Any other connection: the TLS layer of the server (gunicorn's or werkzeug's socket, `SSL_CLIENT_CERT` as a server
   variable, the `tls` extension of ASGI). Headers of the front end count for nothing there.

The leaf is what the handshake has proved. The certificates above it prove nothing by themselves and may come from
anywhere, also from the client: each has to be the signer of the one below it, up to an anchor of ours. That is why
`Client-Cert-Chain` (RFC 9440) may be passed through from clients where a front end knows the leaf only.

ASGI shows no socket, and servers write into `scope["client"]` what an `X-Forwarded-For` says, uvicorn by default for
whoever connects from this machine. So an address alone makes nobody the front end: `addresses` count only together
with a secret. Without a front end's word, the address of a request with such a header is `UNKNOWN`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias

from gsi.authz.web.chain_headers import MAX_CERTIFICATES, parse_certificates
from gsi.certificate import Certificate
from gsi.credential import order_chain
from gsi.errors import ConfigError, ParseError
from gsi.secret import Passphrase
from gsi.transport.tls import chain_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "UNKNOWN",
    "Connection",
    "FrontEnd",
    "Presented",
    "address_of_scope",
    "presented_in_environ",
    "presented_in_scope",
    "strip_environ",
    "strip_scope",
]

MAX_NUMBERED: Final = 16
"""How many headers `NAME-0`, `NAME-1`, ... are looked for: Apache numbers the certificates above the leaf."""

_SOCKETS: Final = ("gunicorn.socket", "werkzeug.socket")
"""Where servers leave the connection in a WSGI environment."""

_OVERRIDES: Final = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
"""Headers by which frameworks take another method than the one that was judged; they never reach the application."""

UNKNOWN: Final = "unknown"
"""The address of a client of which a header says something that nobody vouches for (RFC 7239 section 6.2 has the word):
any rule that denies an address holds for it, and none that permits."""

_REWRITING: Final = frozenset({"x-forwarded-for", "forwarded"})
"""Headers from which ASGI servers and wrappers make `scope["client"]`."""

_WHAT: Final = "client certificates"
_HeaderReader: TypeAlias = "Callable[[str], list[str]]"


@dataclass(frozen=True, slots=True)
class Connection:
    """Who has connected to the server.

    Attributes:
        address: Its network address, or empty where that is not known.
        is_unix: Whether it came over a Unix socket.
        is_hearsay: Whether the address may be what a header says.
    """

    address: str = ""
    is_unix: bool = False
    is_hearsay: bool = False


@dataclass(frozen=True, slots=True)
class Presented:
    """What is known of the client, before anybody has judged it.

    Attributes:
        chain: Its certificates in DER, leaf first; none for an anonymous client.
        address: Its network address, empty where that is not known, or `UNKNOWN`.
        by_front_end: Whether the front end says so.
    """

    chain: tuple[bytes, ...] = ()
    address: str = ""
    by_front_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnd:
    """A server in front of this one that ends TLS and says who its clients are.

    It has to set `certificate_header`, and `address_header` where that is named, on every request, whatever the
    client has sent under these names, and must keep apart from clients what they would send with `_` for `-`.

    Attributes:
        certificate_header: The header with the client's certificate, in any form of `chain_headers`.
        chain_header: The header with the certificates above it; also `NAME-0` to `NAME-15`.
        addresses: Where the front end connects from: addresses or networks. On a machine with other users a loopback
            address is not enough: name a secret, or use a Unix socket. For ASGI an address is never enough.
        unix_socket: Whether whoever can connect to this server's Unix socket is the front end.
        secret: What it has to say in `secret_header`, or None.
        secret_header: Where it says it.
        address_header: The header with the client's address, or empty: then the address is not known. Where it is named
            and is no address, the client's is `UNKNOWN`.

    Raises:
        ConfigError: An address is none, or nobody could be the front end.
    """

    certificate_header: str
    chain_header: str = "Client-Cert-Chain"
    addresses: tuple[str, ...] = ()
    unix_socket: bool = False
    secret: Passphrase | None = None
    secret_header: str = "X-Front-End-Secret"
    address_header: str = ""
    _networks: tuple[IPv4Network | IPv6Network, ...] = field(init=False, repr=False, compare=False)
    _own: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            networks = tuple(ip_network(text) for text in self.addresses)
        except ValueError as error:
            raise ConfigError(f"front end: {error}", hint="an address, or a network like 192.0.2.0/28") from error
        if not networks and not self.unix_socket:
            raise ConfigError("front end: neither an address nor the Unix socket: no connection could be its")
        if self.secret is not None and len(self.secret) < 16:
            raise ConfigError("front end: the secret is shorter than 16 characters", hint="openssl rand -hex 32")
        names = [self.certificate_header, self.chain_header, self.secret_header, self.address_header]
        for name in names:
            if not name.replace("-", "").isalnum() and name:
                raise ConfigError(f"front end: {name!r} is no header's name", hint="letters, digits and -")
        if not self.certificate_header or not self.secret_header:
            raise ConfigError("front end: a header without a name")
        own = {name.lower() for name in names if name}
        if len(own) != len([name for name in names if name]):
            raise ConfigError("front end: one header for two purposes")
        own |= {f"{self.chain_header.lower()}-{number}" for number in range(MAX_NUMBERED) if self.chain_header}
        object.__setattr__(self, "_networks", networks)
        object.__setattr__(self, "_own", frozenset(own))

    @property
    def headers(self) -> frozenset[str]:
        """The headers that are between the front end and this server, in lower case: no application gets them."""
        return self._own

    def is_behind(self, connection: Connection, read: _HeaderReader) -> bool:
        """Say whether a connection is the front end's."""
        if connection.is_unix:
            known = self.unix_socket
        else:
            known = _is_in(connection.address, self._networks)
            if connection.is_hearsay and self.secret is None:
                return False
        if not known or self.secret is None:
            return known
        said = read(self.secret_header)
        return len(said) == 1 and self.secret == Passphrase(said[0].encode("latin-1", "replace"))

    def read(self, read: _HeaderReader) -> Presented:
        """Return what the front end says.

        Raises:
            ParseError: It says nothing that can be understood, or somebody else speaks, too.
        """
        leaves = _single(read, self.certificate_header, only=True)
        address = ""
        if self.address_header:
            said = read(self.address_header)
            address = (_normal_address(said[0]) if len(said) == 1 else "") or UNKNOWN
        if not leaves:
            return Presented((), address, by_front_end=True)
        above = list(leaves[1:])
        if self.chain_header:
            above += _single(read, self.chain_header)
            for number in range(MAX_NUMBERED):
                more = _single(read, f"{self.chain_header}-{number}")
                if not more:
                    break
                above += more
        return Presented(_ordered(leaves[0], above), address, by_front_end=True)


def presented_in_environ(environ: Mapping[str, object], front_end: FrontEnd | None) -> Presented:
    """Return what is known of the client of a WSGI request.

    Raises:
        ParseError: The front end's headers cannot be understood.
    """
    connection = _connection_of(environ)

    def read(name: str) -> list[str]:
        value = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return [value] if isinstance(value, str) else []

    if front_end is not None and front_end.is_behind(connection, read):
        return front_end.read(read)
    address = environ.get("REMOTE_ADDR")
    return Presented(_server_chain(environ), _normal_address(address if isinstance(address, str) else ""))


def strip_environ(environ: dict[str, object], front_end: FrontEnd | None) -> None:
    """Take away what is between front end and server, and what would have an application serve another method."""
    for name in _OVERRIDES | (front_end.headers if front_end else frozenset()):
        environ.pop(f"HTTP_{name.upper().replace('-', '_')}", None)


def presented_in_scope(scope: Mapping[str, object], front_end: FrontEnd | None) -> Presented:
    """Return what is known of the client of an ASGI connection.

    Raises:
        ParseError: The front end's headers or the server's chain cannot be understood.
    """
    connection = _connection_of_scope(scope)
    headers = _headers_of(scope)

    def read(name: str) -> list[str]:
        wanted = name.lower()
        return [value.decode("latin-1") for key, value in headers if _normal_header(key) == wanted]

    if front_end is not None and front_end.is_behind(connection, read):
        return front_end.read(read)
    return Presented(_extension_chain(scope), address_of_scope(scope))


def address_of_scope(scope: Mapping[str, object]) -> str:
    """Return the address of an ASGI client where no front end speaks, or `UNKNOWN` where a header may have made it."""
    if any(_normal_header(name) in _REWRITING for name, _ in _headers_of(scope)):
        return UNKNOWN
    return _connection_of_scope(scope).address


def strip_scope(scope: Mapping[str, object], front_end: FrontEnd | None) -> dict[str, object]:
    """Return the scope without what `strip_environ` takes away, however it is spelled."""
    names = _OVERRIDES | (front_end.headers if front_end else frozenset())
    return {**scope, "headers": [pair for pair in _headers_of(scope) if _normal_header(pair[0]) not in names]}


# --- connections ------------------------------------------------------------------------------------------------------


def _connection_of(environ: Mapping[str, object]) -> Connection:
    """Look at the socket itself where the server shows it: `REMOTE_ADDR` may have been rewritten on the way."""
    import socket

    for key in _SOCKETS:
        found = environ.get(key)
        if found is None:
            continue
        family, name = getattr(found, "family", None), getattr(found, "getpeername", None)
        if family == socket.AF_UNIX:
            return Connection(is_unix=True)
        try:
            return Connection(_normal_address(name()[0]) if name is not None else "")
        except (OSError, IndexError, TypeError):
            return Connection()
    address = environ.get("REMOTE_ADDR")
    return Connection(_normal_address(address if isinstance(address, str) else ""))


def _connection_of_scope(scope: Mapping[str, object]) -> Connection:
    client, server = scope.get("client"), scope.get("server")
    if isinstance(client, tuple | list) and client and isinstance(client[0], str) and client[0]:
        return Connection(_normal_address(client[0]), is_hearsay=True)
    return Connection(is_unix=_is_path(server))


def _is_path(server: object) -> bool:
    """Say whether a server's place is a Unix socket. A TCP one always has a port, a number.

    The specification has `(path, None)`; gunicorn 27 gives the first two letters of the path.
    """
    if not isinstance(server, tuple | list) or len(server) != 2 or not isinstance(server[0], str):
        return False
    return server[1] is None or (server[0] == "/" and isinstance(server[1], str) and len(server[1]) == 1)


def _normal_address(text: str) -> str:
    """Return an address in its one form, IPv4 as such; empty for what is none."""
    try:
        found = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found)


def _is_in(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    if not address:
        return False
    found = ip_address(address)
    return any(found.version == network.version and found in network for network in networks)


# --- chains -----------------------------------------------------------------------------------------------------------


def _single(read: _HeaderReader, name: str, *, only: bool = False) -> tuple[bytes, ...]:
    """Return the certificates of a header. With `only` it must have come once: servers join copies by commas."""
    values = read(name)
    if len(values) > 1 or (only and values and "," in values[0]):
        raise ParseError(f"the header {name} is there several times", what=_WHAT)
    return parse_certificates(values[0]) if values else ()


def _ordered(leaf: bytes, above: list[bytes]) -> tuple[bytes, ...]:
    """Return a chain in the validator's order. The leaf stays the leaf, whatever else was sent.

    Raises:
        ParseError: A certificate is none, or there are too many.
    """
    if len(above) >= MAX_CERTIFICATES:
        raise ParseError(f"more than {MAX_CERTIFICATES} certificates", what=_WHAT)
    first = Certificate.parse(leaf)
    rest = order_chain(first, [Certificate.parse(each) for each in above])
    return (leaf, *(each.der for each in rest))


def _server_chain(environ: Mapping[str, object]) -> tuple[bytes, ...]:
    for key in _SOCKETS:
        found = environ.get(key)
        if found is not None and hasattr(found, "getpeercert"):
            return _socket_chain(found)
    leaf = environ.get("SSL_CLIENT_CERT")
    if not isinstance(leaf, str):
        return ()
    certificates = list(parse_certificates(leaf))
    for number in range(MAX_NUMBERED):
        more = environ.get(f"SSL_CLIENT_CERT_CHAIN_{number}")
        if not isinstance(more, str):
            break
        certificates += parse_certificates(more)
    return _ordered(certificates[0], certificates[1:]) if certificates else ()


def _socket_chain(connected: object) -> tuple[bytes, ...]:
    """Return the chain of a TLS connection; of a resumed one perhaps only the leaf is known, which is judged alone.

    Raises:
        ParseError: The connection cannot say.
    """
    try:
        chain = chain_of(connected)  # type: ignore[arg-type]  # any server's TLS socket
        leaf = None if chain else connected.getpeercert(True)  # type: ignore[attr-defined]  # of SSL sockets alone
    except (AttributeError, OSError, ValueError) as error:
        raise ParseError("the TLS connection does not tell the client's certificates", what=_WHAT) from error
    if not chain:
        return (leaf,) if leaf else ()
    return _ordered(chain[0], list(chain[1:]))


def _extension_chain(scope: Mapping[str, object]) -> tuple[bytes, ...]:
    """Return the chain that the `tls` extension of ASGI has: PEM texts, leaf first."""
    extensions = scope.get("extensions")
    tls = extensions.get("tls") if isinstance(extensions, dict) else None
    listed = tls.get("client_cert_chain") if isinstance(tls, dict) else None
    texts = list(listed)[: MAX_CERTIFICATES + 1] if isinstance(listed, tuple | list) else []
    certificates: list[bytes] = []
    for text in texts:
        if not isinstance(text, str):
            raise ParseError("the server's chain is no list of texts", what=_WHAT)
        certificates += parse_certificates(text)
    return _ordered(certificates[0], certificates[1:]) if certificates else ()


def _headers_of(scope: Mapping[str, object]) -> list[tuple[bytes, bytes]]:
    found = scope.get("headers")
    return [(bytes(pair[0]), bytes(pair[1])) for pair in found] if isinstance(found, list | tuple) else []


def _normal_header(name: bytes) -> str:
    """Return a header's name as an application behind CGI-like variables would see it."""
    return name.decode("latin-1").lower().replace("_", "-")
