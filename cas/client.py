"""A blocking client of the community's server: HTTPS with a proxy, JSON; judges no capability that it is given.

    client = CASClient("https://cas.example.org:8443", credential, anchors=directory.anchors, now=clock.now)
    given = client.capability(form="saml1", rights=[...])
    given.text, given.not_after
    client.call("POST", "/cas/v1/list", {"kind": "user"})["names"]

The server has to be the one that is meant: by default its certificate is for the host of the URL (`cas/HOST`,
`host/HOST` or `HOST`); or it has exactly the name that was said, or the caller's own. Nothing is sent before that is
known.
"""

from __future__ import annotations

import http.client
import io
import json
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from gsi._version import __version__
from gsi.errors import (
    ConfigError,
    Reason,
    RefusedError,
    RemoteProtocolError,
    TimeoutExpiredError,
    TransportError,
    VerificationError,
)
from gsi.transport.stream import CONNECT_TIMEOUT, HostPort, connect
from gsi.transport.tls import ClientTLS
from gsi.transport.tls_stream import TLSStream
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.peername import check_peer_name
from gsi.trust.verify import verify_chain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gsi.credential import Credential
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer

__all__ = ["DEFAULT_PORT", "CASClient", "CASRefusedError", "Given", "Place", "describe_request", "parse_url"]

DEFAULT_PORT: Final = 8443
"""The port where a URL names none."""
MAX_ANSWER_BYTES: Final = 8 << 20
"""The longest answer: a page of a thousand names takes some 200 kB, a large assertion 256 kB."""

ANSWER_TIMEOUT: Final = 60.0
_TRIES: Final = 3  # connections that are closed before anything was asked
_SERVER: Final = ValidationOptions(purpose=Purpose.SERVER)
_REFUSALS: Final = 400
_OLD_PATH: Final = "CASService"


class CASRefusedError(RefusedError):
    """The server's no.

    Attributes:
        status: Its HTTP status.
        code: Its word: `denied`, `not-found`, ...
        request_id: What its log and audit know the request by.
    """

    def __init__(self, message: str, *, status: int, code: str, request_id: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.request_id = request_id


class Place(NamedTuple):
    """Where a server is.

    Attributes:
        host: Its name or address.
        port: Its port.
        prefix: The path before all of its own, without a final slash.
    """

    host: str
    port: int
    prefix: str


def parse_url(url: str) -> Place:
    """Read a service's URL. The path of GT's services (`.../CASService`) means nothing here and is passed over.

    Raises:
        ConfigError: It is none, or not https.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{url[:80]!r} is no URL: {error}") from error
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(f"{url[:80]!r} is no https URL", hint="like https://cas.example.org:8443")
    path = parts.path.rstrip("/")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise ConfigError(f"{url[:80]!r} has a path that cannot be asked for")
    return Place(parts.hostname, port or DEFAULT_PORT, "" if path.endswith(_OLD_PATH) else path)


class Given(NamedTuple):
    """A capability as the server gives it.

    Attributes:
        form: `saml1`, `saml2`, `attribute-certificate`, `jwt`.
        text: XML, base64 of DER, or a token.
        identifier: Its identifier in hex.
        not_after: When it ends (aware UTC).
        rights: What it grants: resource and actions.
        fqans: Groups and roles.
        left_out: Of a token: resources that it does not speak of.
    """

    form: str
    text: str
    identifier: str
    not_after: datetime
    rights: tuple[tuple[str, tuple[str, ...]], ...]
    fqans: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Given {self.form} {self.identifier}, until {self.not_after:%Y-%m-%d %H:%M:%S}Z>"


class CASClient:
    """Asks one server; a connection for each request.

    Args:
        url: The server's URL.
        credential: Who asks.
        anchors: Returns the trust anchors for the server's certificate.
        now: The clock.
        expected_dn: The server's exact name, in place of its host's.
        timeout: Seconds for a connection.
        answer_timeout: Seconds of silence within one.

    Raises:
        ConfigError: The URL is none.
        CredentialError: The credential cannot be used.
    """

    def __init__(
        self,
        url: str,
        credential: Credential,
        *,
        anchors: Callable[[], TrustAnchors],
        now: Callable[[], datetime],
        expected_dn: str | None = None,
        timeout: float = CONNECT_TIMEOUT,
        answer_timeout: float = ANSWER_TIMEOUT,
    ) -> None:
        self.place = parse_url(url)
        self._tls = ClientTLS(credential)
        self._anchors = anchors
        self._now = now
        self._expected_dn = expected_dn
        self._timeout = timeout
        self._answer_timeout = answer_timeout

    def whoami(self) -> str:
        """Return the caller's nickname.

        Raises:
            GridError: As `call`.
        """
        return _text(self.call("GET", "/cas/v1/whoami"), "nickname")

    def capability(self, **wishes: object) -> Given:
        """Ask for a capability.

        Args:
            wishes: The members of the request, as the server's OpenAPI document has them; None is left out.

        Raises:
            GridError: As `call`.
        """
        body = {name: value for name, value in wishes.items() if value is not None}
        answer = self.call("POST", "/cas/v1/capability", body)
        try:
            until = datetime.fromisoformat(_text(answer, "not_after"))
        except ValueError as error:
            raise _odd("a time that is none") from error
        if until.tzinfo is None:
            raise _odd("a time without its zone")
        return Given(
            form=_text(answer, "form"),
            text=_text(answer, "capability"),
            identifier=_text(answer, "id"),
            not_after=until,
            rights=_rights(answer.get("rights")),
            fqans=_texts(answer.get("fqans")),
            left_out=_texts(answer.get("left_out", [])),
        )

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, object]:
        """Return the answer to a request.

        Args:
            method: `GET` or `POST`.
            path: The operation's path.
            body: The members of the request.

        Raises:
            CASRefusedError: The server said no.
            VerificationError: The server is not the one that is meant, or not trusted.
            RemoteProtocolError: Its answer cannot be understood.
            TransportError: No connection, or a broken one.
        """
        content = b"" if body is None else json.dumps(body).encode("utf-8")
        status, answer = self._exchange(method, self.place.prefix + path, content)
        if status == 200:
            return answer
        message, hint = answer.get("message"), answer.get("hint")
        request_id, code = answer.get("request_id"), answer.get("error")
        raise CASRefusedError(
            f"{self.place.host}: {message}" if isinstance(message, str) else f"{self.place.host}: HTTP status {status}",
            status=status,
            code=code if isinstance(code, str) else "error",
            request_id=request_id if isinstance(request_id, str) else "",
            hint=hint if isinstance(hint, str) else _hint(status, request_id),
        )

    def _exchange(self, method: str, path: str, content: bytes) -> tuple[int, dict[str, object]]:
        where = HostPort(self.place.host, self.place.port)
        head = [
            f"{method} {path} HTTP/1.1",
            f"Host: {where}",
            f"User-Agent: gsi-toolkit/{__version__}",
            "Accept: application/json",
            "Connection: close",
        ]
        if content:
            head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        stream = self._open(where)
        try:
            stream.send("\r\n".join([*head, "", ""]).encode("ascii") + content)
            received = bytearray()
            while data := stream.receive():
                received += data
                if len(received) > MAX_ANSWER_BYTES:
                    raise TransportError(f"{where}: more than {MAX_ANSWER_BYTES} bytes")
        finally:
            stream.close()
        return _parse(bytes(received))

    def _open(self, where: HostPort) -> TLSStream:
        """Return a connection. A worker that is being replaced may hang up on one; nothing was asked by then."""
        host = self.place.host
        name = None if host.replace(".", "").isdigit() or ":" in host else host  # SNI is for names
        last: TransportError | None = None
        for _ in range(_TRIES):
            connected, _ = connect([where], timeout=self._timeout, read_timeout=self._answer_timeout)
            stream = TLSStream(connected, self._tls.session(self._verify, server_name=name))
            try:
                stream.handshake()
                return stream
            except TimeoutExpiredError:
                stream.close()
                raise
            except TransportError as error:
                stream.close()
                last = error
            except BaseException:
                stream.close()
                raise
        assert last is not None
        raise last

    def _verify(self, chain: tuple[bytes, ...]) -> VerifiedPeer:
        peer = verify_chain(chain, self._anchors(), now=self._now(), options=_SERVER)
        try:
            check_peer_name(peer, self.place.host, expected_dn=self._expected_dn)
        except VerificationError as error:
            if error.reason is Reason.PEER_NAME:
                error.hint = f'if that is the right server, say so: -z "{peer.identity}", or CAS_SERVER_IDENTITY'
            raise
        return peer


class _Bytes:
    """What `http.client` takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str, *_: object) -> io.BytesIO:
        del mode
        return io.BytesIO(self._data)


def _parse(data: bytes) -> tuple[int, dict[str, object]]:
    if not data:
        raise TransportError("the server closed the connection without an answer")
    response = http.client.HTTPResponse(_Bytes(data))  # type: ignore[arg-type]  # it only asks for a file
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, ValueError, OSError) as error:
        raise _odd(f"no HTTP: {type(error).__name__}") from error
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        if response.status >= _REFUSALS:  # of what stands before the server, which has words of its own
            return response.status, {}
        raise _odd(f"no JSON, HTTP status {response.status}") from error
    if not isinstance(found, dict):
        raise _odd("no JSON object")
    return response.status, found


def _hint(status: int, request_id: object) -> str | None:
    """Return what helps where the server has no hint: of its own trouble only its log says more."""
    if status == 503 and request_id is None:
        return "the server runs and cannot work just now: it begins, or its log says why it cannot"
    return f"the server's log has more under {request_id}" if status >= 500 and isinstance(request_id, str) else None


def _odd(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"the answer of the server: {message}")


def _text(answer: Mapping[str, object], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise _odd(f"without {name}")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _odd("no list of texts")
    return tuple(value)


def _rights(value: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, list):
        raise _odd("without rights")
    found: list[tuple[str, tuple[str, ...]]] = []
    for one in value:
        if not isinstance(one, dict):
            raise _odd("a right that is none")
        found.append((_text(one, "resource"), _texts(one.get("actions"))))
    return tuple(found)


def describe_request(wanted: Sequence[tuple[str, Sequence[str] | None]]) -> list[dict[str, object]]:
    """Return rights as a request has them: resources (empty for every one) with actions (None for every one)."""
    found: list[dict[str, object]] = []
    for resource, actions in wanted:
        right: dict[str, object] = {}
        if resource:
            right["resource"] = resource
        if actions is not None:
            right["actions"] = list(actions)
        found.append(right)
    return found
