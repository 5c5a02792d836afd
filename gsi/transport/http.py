"""Fetching one document over HTTP within limits of time, size and redirections; judges nothing it brings.

    fetched = fetch("http://ca.example.org/crl.der", timeout=30, max_bytes=64 << 20)
    fetched.data, fetched.url
    fetch(ocsp_url, timeout=5, max_bytes=1 << 20, post=Post("application/ocsp-request", request_der))

The time is for all together: names, connecting, TLS, every byte. A server that sends a byte now and then does not get
more. Only looking up a host's name can take longer, which is the system's resolver's business.

Redirections are followed a few times, never from https to http and to no other scheme. TLS servers are verified against
the system's CAs, and those of a directory where one is given. Proxies come from `http_proxy`, `https_proxy` and
`no_proxy` (`read_proxies`); HTTP_PROXY in capitals is not looked at: a web server sets it from a request's header.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from gsi._version import __version__
from gsi.errors import ParseError, RefusedError, TimeoutExpiredError, TransportError
from gsi.system.environ import get_variable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self
    from urllib.parse import SplitResult

    from _typeshed import WriteableBuffer

__all__ = ["MAX_REDIRECTS", "Fetched", "Post", "Proxies", "fetch", "make_context", "parse_url", "read_proxies"]

MAX_REDIRECTS: Final = 5
_MAX_PROXY_ANSWER: Final = 16 << 10  # bytes of a proxy's answer to CONNECT
_CHUNK: Final = 64 << 10
_PORTS: Final = {"http": 80, "https": 443}
_OK: Final = frozenset({200})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SAFE: Final = "/%:=&?~#+!$,;'@()*[]"  # what may stand in a path or query as it is


class Fetched(NamedTuple):
    """A document."""

    data: bytes
    url: str
    """Where it came from in the end."""
    status: int
    """The HTTP status, one of those that were accepted."""


class Post(NamedTuple):
    """A question to send, to which the document is the answer."""

    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers: names and values."""
    accepts: frozenset[int] = frozenset({200})
    """What a good answer's status may be."""


class Proxies(NamedTuple):
    """Which proxy to use for which server."""

    http: str | None = None
    https: str | None = None
    exceptions: tuple[str, ...] = ()
    """Hosts and domains that are reached directly; `*` is all of them."""

    def find(self, url: SplitResult) -> str | None:
        """Return the proxy for a URL, or None to go directly."""
        host = (url.hostname or "").lower()
        for exception in self.exceptions:
            domain = exception.lower().removeprefix("*").lstrip(".")
            if exception == "*" or host == domain or (domain and host.endswith("." + domain)):
                return None
        return self.https if url.scheme == "https" else self.http


def read_proxies(environ: Mapping[str, str] | None = None) -> Proxies:
    """Return the proxies that the environment names."""
    exceptions = get_variable("no_proxy", environ) or get_variable("NO_PROXY", environ) or ""
    return Proxies(
        get_variable("http_proxy", environ),
        get_variable("https_proxy", environ) or get_variable("HTTPS_PROXY", environ),
        tuple(word for word in re.split(r"[,\s]+", exceptions) if word),
    )


def make_context(ca_directory: str | None = None) -> ssl.SSLContext:
    """Return the TLS settings: servers verified against the system's CAs and those of this directory."""
    context = ssl.create_default_context()
    if ca_directory is not None:
        context.load_verify_locations(capath=ca_directory)
    context.sslsocket_class = _TimedTLSSocket
    return context


def fetch(
    url: str,
    *,
    timeout: float,
    max_bytes: int,
    proxies: Proxies | None = None,
    context: ssl.SSLContext | None = None,
    max_redirects: int = MAX_REDIRECTS,
    post: Post | None = None,
    accepts: frozenset[int] = _OK,
) -> Fetched:
    """Get a document.

    Args:
        url: An http or https URL.
        timeout: Seconds for everything together.
        max_bytes: The most that is taken.
        proxies: None goes directly.
        context: Made by `make_context`; None makes one.
        max_redirects: How many redirections are followed.
        post: What to send; redirections of it are not followed.
        accepts: What the status of a good answer may be, where nothing is sent.

    Raises:
        ParseError: Not such a URL.
        TimeoutExpiredError: The time is over.
        RefusedError: The server's answer is not the document.
        TransportError: No connection, a broken one, too many bytes, or a redirection that is not followed.
    """
    deadline = time.monotonic() + timeout
    target = parse_url(url)
    for _ in range(max_redirects + 1):
        try:
            answer = _get(target, deadline, max_bytes, proxies or Proxies(), context, post=post, accepts=accepts)
        except TimeoutError as error:
            raise TimeoutExpiredError(f"{target.netloc}: no answer within {timeout:g} seconds") from error
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or error.reason or str(error)
            raise TransportError(f"{target.netloc}: TLS: {why}") from error
        except OSError as error:
            raise TransportError(f"{target.netloc}: {error.strerror or error}") from error
        except (http.client.HTTPException, ValueError) as error:
            raise TransportError(f"{target.netloc}: no HTTP answer: {type(error).__name__}: {error}"[:300]) from error
        if isinstance(answer, _Document):
            return Fetched(answer.data, target.geturl(), answer.status)
        if post is not None:
            raise TransportError(f"{target.netloc}: redirected, which is not followed with what was sent")
        target = _follow(target, answer.location)
    raise TransportError(f"{url}: more than {max_redirects} redirections")


class _Redirection(NamedTuple):
    location: str


class _Document(NamedTuple):
    data: bytes
    status: int


def parse_url(url: str) -> SplitResult:
    """Return the parts of a URL that `fetch` would take.

    Raises:
        ParseError: It is none by http or https, names no host, or an account.
    """
    try:
        parts = urlsplit(quote(url, safe=_SAFE))
        _ = parts.port  # raises for a number that is none
    except ValueError as error:
        raise ParseError(f"'{url[:80]}' is no URL: {error}", what="URL") from error
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise ParseError(f"'{url[:80]}' is no http or https URL", what="URL")
    return parts._replace(fragment="")


def _follow(target: SplitResult, location: str) -> SplitResult:
    try:
        found = parse_url(urljoin(target.geturl(), location))
    except (ParseError, ValueError) as error:
        raise TransportError(f"{target.netloc}: redirected to '{location[:80]}', which is not followed") from error
    if target.scheme == "https" and found.scheme != "https":
        raise TransportError(f"{target.netloc}: redirected from https to http, which is not followed")
    return found


def _get(
    target: SplitResult,
    deadline: float,
    max_bytes: int,
    proxies: Proxies,
    context: ssl.SSLContext | None,
    *,
    post: Post | None,
    accepts: frozenset[int],
) -> _Document | _Redirection:
    host, port = target.hostname or "", target.port or _PORTS[target.scheme]
    proxy = proxies.find(target)
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    if proxy is None:
        connected = _connect(host, port, deadline)
    else:
        via = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        connected = _connect(via.hostname or "", via.port or 3128, deadline)
    try:
        if target.scheme == "https":
            if proxy is not None:
                _open_tunnel(connected, host, port)
            connected = _start_tls(connected, host, deadline, context)
        elif proxy is not None:
            path = target._replace(path=target.path or "/").geturl()
        connected.settimeout(_left(deadline))
        return _request(connected, target.netloc, path, max_bytes, post=post, accepts=accepts)
    finally:
        connected.close()


class _TimedSocket(socket.socket):
    """A socket all of whose reading must be done by one point in time."""

    deadline = 0.0

    @classmethod
    def adopt(cls, connected: socket.socket, deadline: float) -> Self:
        made = cls(fileno=connected.detach())
        made.deadline = deadline
        return made

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        self.settimeout(_left(self.deadline))
        return super().recv_into(buffer, nbytes, flags)


class _TimedTLSSocket(ssl.SSLSocket):
    """The same over TLS."""

    deadline = 0.0

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        self.settimeout(_left(self.deadline))
        return super().recv_into(buffer, nbytes, flags)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first address that answers; each has its share of the time."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except UnicodeError as error:
        raise OSError(None, f"no such host ({error})") from error
    last: OSError = OSError(None, "no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(_left(deadline) / (len(addresses) - number))
            made.connect(address)
            return _TimedSocket.adopt(made, deadline)
        except OSError as error:
            made.close()
            last = error
    raise last


def _open_tunnel(connected: socket.socket, host: str, port: int) -> None:
    """Ask a proxy for a connection of its own (RFC 9110 section 9.3.6)."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connected.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode("ascii"))
    answer = bytearray()
    byte = bytearray(1)
    while not answer.endswith(b"\r\n\r\n"):  # byte by byte, lest the beginning of TLS be taken for the proxy's
        if not connected.recv_into(byte) or len(answer) > _MAX_PROXY_ANSWER:
            raise OSError(None, "the proxy gave no answer")
        answer += byte
    status = answer.split(b"\r\n", 1)[0].decode("latin-1")
    if not re.match(r"HTTP/1\.[01] 2\d\d\b", status):
        raise RefusedError(f"the proxy refused: {status[:100]}")


def _start_tls(connected: socket.socket, host: str, deadline: float, context: ssl.SSLContext | None) -> socket.socket:
    connected.settimeout(_left(deadline))
    wrapped = (context or make_context()).wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)
    assert isinstance(wrapped, _TimedTLSSocket)  # make_context says so
    wrapped.deadline = deadline
    try:
        wrapped.do_handshake()
    except BaseException:
        wrapped.close()
        raise
    return wrapped


def _request(
    connected: socket.socket, netloc: str, path: str, max_bytes: int, *, post: Post | None, accepts: frozenset[int]
) -> _Document | _Redirection:
    connection = http.client.HTTPConnection("unused")
    connection.sock = connected
    connection.putrequest("GET" if post is None else "POST", path, skip_host=True, skip_accept_encoding=True)
    for name, value in (
        ("Host", netloc),
        ("User-Agent", f"gsi-toolkit/{__version__}"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ):
        connection.putheader(name, value)
    if post is not None:
        connection.putheader("Content-Type", post.content_type)
        connection.putheader("Content-Length", str(len(post.body)))
        for name, value in post.headers:
            connection.putheader(name, value)
    connection.endheaders(None if post is None else post.body)
    answer = connection.getresponse()
    try:
        return _take(answer, netloc, max_bytes, accepts=accepts if post is None else post.accepts)
    finally:
        answer.close()


def _take(
    answer: http.client.HTTPResponse, netloc: str, max_bytes: int, *, accepts: frozenset[int]
) -> _Document | _Redirection:
    if answer.status in _REDIRECTS and (location := answer.getheader("Location")):
        return _Redirection(location)
    if answer.status not in accepts:
        raise RefusedError(f"{netloc}: {answer.status} {answer.reason}"[:200])
    if (answer.getheader("Content-Encoding") or "identity").lower() != "identity":
        raise RefusedError(f"{netloc}: the answer is encoded, which was not asked for")
    expected = answer.length
    if expected is not None and expected > max_bytes:
        raise TransportError(f"{netloc}: {expected} bytes, limit {max_bytes}")
    return _Document(_read(answer, netloc, expected, max_bytes), answer.status)


def _read(answer: http.client.HTTPResponse, netloc: str, expected: int | None, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while chunk := answer.read(_CHUNK):
        parts.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise TransportError(f"{netloc}: more than {max_bytes} bytes")
    if expected is not None and size != expected:
        raise TransportError(f"{netloc}: the connection broke after {size} of {expected} bytes")
    return b"".join(parts)
