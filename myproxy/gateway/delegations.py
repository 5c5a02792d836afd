"""A client of delegation services: `myproxy-delegation`, and the REST interface of FTS3; blocking.

    service = Delegations("https://delegation.example.org:8446", proxy, anchors=directory.anchors)
    identifier = service.delegate(lifetime=timedelta(days=2))        # the user's proxy signs
    service.ends(identifier)
    own = Delegations(url, host_credential, anchors=directory.anchors)
    proxy = own.fetch(identifier)                                    # a service, with a key made here

Every call is one connection, on which nothing is sent before the server has been proved.
"""

from __future__ import annotations

import http.client
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gsi._version import __version__
from gsi.certificate import load_certificates
from gsi.delegation import DelegationRequester, grant_delegation, parse_delegation_request
from gsi.errors import ConfigError, ParseError, RefusedError, RemoteProtocolError, TransportError
from gsi.keys import KeyType, generate_key
from gsi.pem import encode_pem, split_pem
from gsi.proxy.issue import ProxyOptions
from gsi.system import clock
from gsi.transport.stream import CONNECT_TIMEOUT, READ_TIMEOUT, HostPort, connect
from gsi.transport.tls import ClientTLS
from gsi.transport.tls_stream import TLSStream
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.peername import check_peer_name
from gsi.trust.verify import verify_chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.credential import Credential
    from gsi.keys import PrivateKey
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer

__all__ = ["DEFAULT_PORT", "Delegations"]

DEFAULT_PORT: Final = 8446
MAX_ANSWER_BYTES: Final = 1 << 20
"""A chain of ten proxies with attribute certificates of 60 kB each stays below."""
_SERVER: Final = ValidationOptions(purpose=Purpose.SERVER)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z", re.ASCII)
_REFUSALS: Final = 400


class Delegations:
    """A service, as whoever has a credential sees it. Safe for use by several threads."""

    def __init__(
        self,
        url: str,
        credential: Credential,
        *,
        anchors: Callable[[], TrustAnchors],
        now: Callable[[], datetime] = clock.now,
        make_key: Callable[[], PrivateKey] = lambda: generate_key(KeyType.RSA),
    ) -> None:
        """Know the service; asks nothing yet.

        Args:
            url: Its address, `https://delegation.example.org:8446`.
            credential: Whom to be: a user's proxy, or a service's own.
            anchors: Whom to trust, now.
            now: The clock.
            make_key: Makes keys.

        Raises:
            ConfigError: The address is not one of https.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or DEFAULT_PORT
        except ValueError as error:
            raise ConfigError(f"{url[:80]!r} is no URL: {error}") from error
        if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.path.strip("/"):
            raise ConfigError(f"{url[:80]!r} is no https address", hint="like https://delegation.example.org:8446")
        self._where = HostPort(parts.hostname, port)
        self._credential = credential
        self._tls = ClientTLS(credential)
        self._anchors = anchors
        self._now = now
        self._make_key = make_key

    def delegate(self, *, lifetime: timedelta = timedelta(hours=12), limited: bool = False) -> str:
        """Leave a proxy below the credential with the service; return its identifier.

        Args:
            lifetime: How long it is to be; never longer than the credential.
            limited: Whether it is to be good for data transfers alone.

        Raises:
            RefusedError: The service says no.
            CredentialError: The credential is over, or the service's key too weak.
            GridError: No connection, or what came makes no sense.
        """
        from gsi.proxy.kinds import ProxyKind

        identifier = self._whoami()
        blocks = split_pem(self._ask("GET", f"/delegation/{identifier}/request"), what="the service's request")
        if len(blocks) != 1:
            raise RemoteProtocolError("the service's answer is not one certificate request")
        wanted = parse_delegation_request(blocks[0].data)
        options = ProxyOptions(lifetime=lifetime, kind=ProxyKind.LIMITED if limited else None)
        chain = grant_delegation(self._credential, wanted, options, now=self._now())
        self._ask("PUT", f"/delegation/{identifier}/credential", b"".join(one.pem() for one in chain))
        return identifier

    def ends(self) -> datetime | None:
        """Return when the caller's delegation ends (aware UTC), None where there is none.

        Raises:
            GridError: No connection, or the service refuses.
        """
        told = _read_json(self._ask("GET", f"/delegation/{self._whoami()}"))
        text = told.get("termination_time") if isinstance(told, dict) else None
        if text is None:
            return None
        try:
            return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        except ValueError as error:
            raise RemoteProtocolError("the service's answer has no time") from error

    def remove(self) -> None:
        """Remove the caller's delegation.

        Raises:
            GridError: No connection, or the service refuses; also where there is none.
        """
        self._ask("DELETE", f"/delegation/{self._whoami()}")

    def fetch(self, identifier: str, *, lifetime: timedelta | None = None) -> Credential:
        """Return a proxy of a user who has delegated, as a service that may have it.

        Args:
            identifier: What `delegate` gave the user.
            lifetime: At most so long; None is as long as it may be.

        Raises:
            RefusedError: The service says no.
            GridError: No connection, or what came makes no sense.
        """
        if not _ID.match(identifier):
            raise ParseError("that is no identifier of a delegation", what="delegation")
        requester = DelegationRequester(self._make_key())
        query = "" if lifetime is None else f"?lifetime={max(1, int(lifetime.total_seconds()))}"
        wanted = encode_pem("CERTIFICATE REQUEST", requester.request_der)
        data = self._ask("POST", f"/delegation/{identifier}/proxy{query}", wanted)
        found = load_certificates(data, what="the service's answer")
        return requester.accept([one.der for one in found], now=self._now())

    def _whoami(self) -> str:
        told = _read_json(self._ask("GET", "/whoami"))
        identifier = told.get("delegation_id") if isinstance(told, dict) else None
        if not isinstance(identifier, str) or not _ID.match(identifier):
            raise RemoteProtocolError("the service's answer has no identifier")
        return identifier

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        head = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self._where}",
            f"User-Agent: gsi-toolkit/{__version__}",
            "Accept: */*",
            "Connection: close",
        ]
        if body is not None:
            head += ["Content-Type: application/x-pem-file", f"Content-Length: {len(body)}"]
        host = self._where.host
        name = None if host.replace(".", "").isdigit() or ":" in host else host  # SNI is for names
        connected, _ = connect([self._where], timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT)
        stream = TLSStream(connected, self._tls.session(self._verify, server_name=name))
        received = bytearray()
        try:
            stream.handshake()
            stream.send("\r\n".join([*head, "", ""]).encode("ascii") + (body or b""))
            while data := stream.receive():
                received += data
                if len(received) > MAX_ANSWER_BYTES:
                    raise TransportError(f"{self._where}: more than {MAX_ANSWER_BYTES} bytes")
        finally:
            stream.close()
        return _read_answer(bytes(received))

    def _verify(self, chain: tuple[bytes, ...]) -> VerifiedPeer:
        peer = verify_chain(chain, self._anchors(), now=self._now(), options=_SERVER)
        check_peer_name(peer, self._where.host)
        return peer


class _Bytes:
    """What `http.client` takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str, *_: object) -> io.BytesIO:
        del mode
        return io.BytesIO(self._data)


def _read_answer(data: bytes) -> bytes:
    """Return the body of an HTTP answer.

    Raises:
        RefusedError: It is a refusal.
        RemoteProtocolError: It is no HTTP.
    """
    response = http.client.HTTPResponse(_Bytes(data))  # type: ignore[arg-type]  # it only asks for a file
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, ValueError, OSError) as error:
        raise RemoteProtocolError(f"the service's answer is no HTTP: {type(error).__name__}") from error
    if response.status < _REFUSALS:
        return body
    told: object = None
    if response.headers.get_content_type() == "application/json":
        told = _read_json(body)
    text = str(told.get("message", "")) if isinstance(told, dict) else ""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:200])
    raise RefusedError(f"the delegation service says {response.status}: {shown}")


def _read_json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError("the service's answer is no JSON") from error
