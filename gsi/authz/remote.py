"""Decisions of another service, asked over HTTPS with XACML in JSON: the authorizer `xacml`.

    [authorizer.site-pdp]
    type = "xacml"
    url = "https://pdp.example.org/authorize"
    profile = "common-authz"                         # default: gsi, for another of this project
    certificate = "/etc/grid-security/hostcert.pem"  # without key: a proxy, or both in one file
    key = "/etc/grid-security/hostkey.pem"

The server is judged as grid servers are, by the trust directory, and must have the URL's host name, or the `server_dn`
that is given. Plain http is for this machine only. There is one question per connection and no redirection, and an
answer is an answer only if it is 200, small, in time, of the right media type, and wholly understood. Anything else is
indeterminate; a permit with an obligation that is not known here is a denial (gsi.authz.xacml.obligations).
"""

from __future__ import annotations

import grp
import http.client
import io
import os
import pwd
from collections.abc import Mapping  # noqa: TC003  the policy's reader looks the type of a setting up
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from gsi._version import __version__
from gsi.authz.decision import PosixIds
from gsi.authz.registry import Plugin
from gsi.authz.xacml.attributes import EncodingOptions, request_attributes
from gsi.authz.xacml.document import MAX_MESSAGE_BYTES, MEDIA_TYPE, encode_request, parse_response
from gsi.authz.xacml.identifiers import Profile
from gsi.authz.xacml.obligations import decision_of
from gsi.errors import ConfigError, ParseError, RefusedError, TransportError
from gsi.system import clock
from gsi.system.config import option
from gsi.system.credential_files import load_user_credential
from gsi.system.environ import read_locations
from gsi.system.trustdir import TrustDirectory
from gsi.transport.stream import HostPort, connect
from gsi.transport.tls import ClientTLS
from gsi.transport.tls_stream import TLSStream
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.peername import check_peer_name
from gsi.trust.verify import verify_chain

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from urllib.parse import SplitResult

    from _typeshed import WriteableBuffer

    from gsi.authz.decision import AuthorizationRequest, Decision
    from gsi.authz.registry import Place
    from gsi.credential import Credential
    from gsi.transport.stream import Stream
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer

__all__ = ["PLUGIN", "RemoteAuthorizer", "RemotePlace", "RemoteSettings"]

MAX_HEAD_BYTES: Final = 64 << 10
"""What may come before the body; http.client bounds lines and their number within this."""

_TYPES: Final = frozenset({MEDIA_TYPE, "application/json"})
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS: Final = {"http": 80, "https": 443}
_SERVER: Final = ValidationOptions(purpose=Purpose.SERVER)
_RECHECK_SECONDS: Final = 1.0  # how often the trust directory is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """What a policy file says of a remote decision.

    Attributes:
        url: Where to ask.
        profile: Which attributes to send.
        actions: Action identifiers by ours (`EncodingOptions`).
        resource: The resource identifier, for all requests.
        profile_id: The profile identifier, where another than the usual one is wanted.
        send_chain: Whether the subject's certificate chain is sent.
        certificate: The certificate to show, or a proxy; empty to show none.
        key: Its key, where it is in another file.
        server_dn: The exact name that the server must have in place of its host's.
        trust_dir: The trust directory; empty for X509_CERT_DIR or the system's.
        answer_within: How long a question may take, all together. Keep it below `time_limit`.
    """

    url: str
    profile: Profile = Profile.GSI
    actions: Mapping[str, str] = field(default_factory=dict)
    resource: str = ""
    profile_id: str = ""
    send_chain: bool = True
    certificate: str = ""
    key: str = ""
    server_dn: str = ""
    trust_dir: str = ""
    answer_within: timedelta = option(
        timedelta(seconds=4), minimum=timedelta(milliseconds=10), maximum=timedelta(minutes=1)
    )

    def __post_init__(self) -> None:
        parts = _split(self.url)
        if parts.scheme == "http" and (self.certificate or self.server_dn):
            raise ConfigError("certificate and server_dn are for https")
        if self.key and not self.certificate:
            raise ConfigError("a key without a certificate")


def _split(url: str) -> SplitResult:
    """Take a URL apart.

    Raises:
        ConfigError: It is none that can be asked.
    """
    hint = "https://pdp.example.org/authorize"
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{url!a} is no URL", hint=hint)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{url!a} is no URL: {error}", hint=hint) from error
    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or parts.username is not None or parts.fragment:
        raise ConfigError(f"{url!a} is no URL to ask at", hint=hint)
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        raise ConfigError("over plain http anybody on the way decides", hint="use https, or a service on this machine")
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePlace:
    """Where to ask, and as whom.

    Attributes:
        url: The service.
        anchors: The trust anchors for its certificate, now.
        seconds: How long a question may take.
        credential: Whom to be, or None.
        server_dn: The name of the server in place of its host's, or empty.
    """

    url: str
    anchors: Callable[[], TrustAnchors]
    seconds: float
    credential: Credential | None = None
    server_dn: str = ""


class RemoteAuthorizer:
    """Asks another service. Safe for several threads."""

    def __init__(self, name: str, place: RemotePlace, options: EncodingOptions | None = None) -> None:
        """Make it; nothing is asked yet.

        Args:
            name: What the policy calls it.
            place: Where to ask.
            options: What to send.

        Raises:
            ConfigError: The URL is none.
            CredentialError: The credential cannot be used.
        """
        self._name = name
        self._place = place
        self._options = options or EncodingOptions()
        self._parts = _split(place.url)
        self._tls = ClientTLS(place.credential) if self._parts.scheme == "https" else None

    @property
    def name(self) -> str:
        """What the policy calls it."""
        return self._name

    @property
    def reads_assertions(self) -> bool:
        """Whether texts that clients have shown are sent along: the profile `gsi` alone has a place for them."""
        return self._options.profile is Profile.GSI

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Ask.

        Raises:
            TransportError: No answer, none in time, or from somebody else.
            VerificationError: The server does not prove its name.
            RefusedError: The service answers with something else than 200.
            ParseError: The answer is none, or the request cannot be asked.
        """
        body = encode_request(request_attributes(request, self._options))
        if len(body) > MAX_MESSAGE_BYTES:
            raise ParseError(f"the question has {len(body)} bytes, limit {MAX_MESSAGE_BYTES}", what="XACML")
        return decision_of(parse_response(self._ask(body)), self._name, find_ids=find_ids)

    def _ask(self, body: bytes) -> bytes:
        host = self._parts.hostname or ""
        port = self._parts.port or _PORTS[self._parts.scheme]
        seconds = self._place.seconds
        connected, _ = connect([HostPort(host, port)], timeout=seconds, read_timeout=seconds, within=seconds)
        stream: Stream = connected
        try:
            if self._tls is not None:
                secured = TLSStream(stream, self._tls.session(self._verify, server_name=_sni(host)))
                secured.handshake()
                stream = secured
            stream.send(self._head(len(body)) + body)
            return _read_answer(stream)
        finally:
            stream.close()

    def _verify(self, chain: tuple[bytes, ...]) -> VerifiedPeer:
        peer = verify_chain(chain, self._place.anchors(), now=clock.now(), options=_SERVER)
        check_peer_name(peer, self._parts.hostname or "", expected_dn=self._place.server_dn or None)
        return peer

    def _head(self, length: int) -> bytes:
        parts = self._parts
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = (
            f"POST {target} HTTP/1.1",
            f"Host: {parts.netloc}",
            f"User-Agent: gsi-toolkit/{__version__}",
            f"Content-Type: {MEDIA_TYPE}",
            f"Content-Length: {length}",
            f"Accept: {MEDIA_TYPE}, application/json",
            "Accept-Encoding: identity",
            "Connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode("ascii")


def _sni(host: str) -> str | None:
    """Return the name to announce: none for an address (RFC 6066 section 3)."""
    return None if ":" in host or host.replace(".", "").isdigit() else host


class _Bytes(io.RawIOBase):
    """What arrives on a stream, to a limit, for http.client."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = MAX_HEAD_BYTES + MAX_MESSAGE_BYTES
        self._pending = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._pending:
            self._pending = self._stream.receive()
            self._left -= len(self._pending)
            if self._left < 0:
                raise TransportError("the service's answer is too long")
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._pending))
        view[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count


class _Socket:
    """As much of a socket as http.client reads answers from."""

    def __init__(self, stream: Stream) -> None:
        self._bytes = _Bytes(stream)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._bytes)


def _read_answer(stream: Stream) -> bytes:
    answer = http.client.HTTPResponse(cast("socket.socket", _Socket(stream)), method="POST")
    try:
        answer.begin()
        if answer.status != 200:
            raise RefusedError(f"the service answers {answer.status} {answer.reason[:100]!a}")
        told = answer.getheader("Content-Type") or ""
        if told.partition(";")[0].strip().lower() not in _TYPES:
            raise RefusedError(f"the service answers with {told[:80]!a}, which is no XACML in JSON")
        if (answer.getheader("Content-Encoding") or "identity").lower() != "identity":
            raise RefusedError("the service's answer is encoded, which was not asked for")
        expected = answer.length
        data = answer.read(MAX_MESSAGE_BYTES + 1)
        if len(data) > MAX_MESSAGE_BYTES:
            raise TransportError("the service's answer is too long")
        if expected is not None and len(data) != expected:
            raise TransportError(f"the connection broke after {len(data)} of {expected} bytes")
        return data
    except (http.client.HTTPException, ValueError) as error:
        raise TransportError(f"the service's answer is no HTTP: {type(error).__name__}") from error
    finally:
        answer.close()


def find_ids(account: str, primary: str, groups: Sequence[str]) -> PosixIds:
    """Return the ids of an account with these groups, by the system's user database.

    Raises:
        ParseError: One of them does not exist here.
    """
    try:
        uid = pwd.getpwnam(account).pw_uid
        return PosixIds(uid, grp.getgrnam(primary).gr_gid, tuple(grp.getgrnam(group).gr_gid for group in groups))
    except KeyError as error:
        raise ParseError(f"it names what does not exist here: {error.args[0]}", what="XACML") from error


def _build(name: str, settings: RemoteSettings, place: Place) -> RemoteAuthorizer:
    directory = os.path.dirname(os.path.abspath(place.path))
    credential = None
    if settings.certificate:
        certificate = place.resolve(settings.certificate)
        credential = load_user_credential(certificate, place.resolve(settings.key) if settings.key else None)
    trust = TrustDirectory(
        os.path.join(directory, settings.trust_dir) if settings.trust_dir else read_locations().trust_dir,
        recheck_seconds=_RECHECK_SECONDS,
    )
    options = EncodingOptions(
        profile=settings.profile,
        actions=settings.actions,
        resource=settings.resource,
        profile_id=settings.profile_id,
        send_chain=settings.send_chain,
    )
    where = RemotePlace(
        url=settings.url,
        anchors=trust.anchors,
        seconds=settings.answer_within.total_seconds(),
        credential=credential,
        server_dn=settings.server_dn,
    )
    return RemoteAuthorizer(name, where, options)


PLUGIN: Final = Plugin(RemoteSettings, _build, "asks another service, by XACML in JSON", may_block=True)
