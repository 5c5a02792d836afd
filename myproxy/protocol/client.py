"""The client's side of a MYPROXYv2 conversation without I/O: what may follow what; not what is done with it.

    session = ClientSession()
    out = (session.send_start(), session.send_request(request))     # a TLS record each
    session.receive_data(data)
    event = session.next_event()                                    # ResponseReceived, ..., NEED_DATA

The exchanges are those of `myproxy.protocol.server`, seen from the other side. One NUL in front of everything the
server says is dropped: C servers send it after a TLS 1.3 handshake. A refusal is an event like any other answer; after
it only the end follows.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from gsi.errors import LocalProtocolError, RemoteProtocolError
from myproxy.protocol.codec import (
    MAX_RESPONSE_BYTES,
    MAX_RESPONSE_LINES,
    encode_request,
    encode_response,
    parse_response,
)
from myproxy.protocol.events import (
    MAX_CERTIFICATE_REQUEST_BYTES,
    MAX_CREDENTIAL_TEXT_BYTES,
    NEED_DATA,
    CertificateRequestReceived,
    CertificatesReceived,
    ConnectionClosed,
    CredentialReceived,
    Event,
    ReceiveBuffer,
    ResponseReceived,
)
from myproxy.protocol.messages import (
    METHOD_NAMES,
    AuthorizationMethod,
    AuthorizationReply,
    Command,
    Request,
    Response,
    ResponseType,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.certificate import Certificate

__all__ = ["ClientSession", "ClientState"]

NO_DELEGATION: Final = b"0"


class ClientState(Enum):
    """Where the conversation stands, named after what has to happen next."""

    START = "send the first byte"
    SEND_REQUEST = "send the request"
    AWAIT_RESPONSE = "await the response"
    SEND_AUTHORIZATION = "send the authorization"
    SEND_CERTIFICATE_REQUEST = "send a certificate request"
    AWAIT_CERTIFICATES = "await certificates"
    AWAIT_CERTIFICATE_REQUEST = "await the server's certificate request"
    SEND_CERTIFICATES = "send certificates"
    SEND_CREDENTIAL = "send the credential"
    AWAIT_CREDENTIAL = "await the credential"
    AWAIT_CONCLUSION = "await the final response"
    DONE = "nothing more"


_AFTER_OK: Final = {
    Command.GET: ClientState.SEND_CERTIFICATE_REQUEST,
    Command.PUT: ClientState.AWAIT_CERTIFICATE_REQUEST,
    Command.STORE: ClientState.SEND_CREDENTIAL,
    Command.RETRIEVE: ClientState.AWAIT_CREDENTIAL,
    Command.INFO: ClientState.DONE,
    Command.DESTROY: ClientState.DONE,
    Command.CHANGE_PASSPHRASE: ClientState.DONE,
    Command.GET_TRUSTROOTS: ClientState.DONE,
}
"""Where the server's yes to the request leads."""

_NEXT: Final = {
    (ClientState.AWAIT_CERTIFICATES, CertificatesReceived): ClientState.AWAIT_CONCLUSION,
    (ClientState.AWAIT_CERTIFICATE_REQUEST, CertificateRequestReceived): ClientState.SEND_CERTIFICATES,
    (ClientState.AWAIT_CREDENTIAL, CredentialReceived): ClientState.AWAIT_CONCLUSION,
}
"""Where what the server sent leads; a response leads where `_after_response` says."""

_MAY_CLOSE: Final = frozenset({ClientState.DONE, ClientState.START, ClientState.SEND_REQUEST})
"""Where the server's end is no fault; at `AWAIT_CONCLUSION` only after certificates, see `_at_end`."""


class ClientSession:
    """One conversation. Not safe for use by two threads at once."""

    __slots__ = ("_buffer", "_command", "_heard", "_offers", "_state")

    def __init__(self) -> None:
        self._buffer = ReceiveBuffer()
        self._state = ClientState.START
        self._command: Command | None = None
        self._offers: frozenset[str] = frozenset()
        self._heard = False

    @property
    def state(self) -> ClientState:
        """What has to happen next."""
        return self._state

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the server; no bytes mean that it has closed.

        Raises:
            RemoteProtocolError: Bytes after the end of the stream.
        """
        if data and not self._heard:
            self._heard = True
            if data.startswith(b"\0"):
                data = data[1:]
                if not data:
                    return
        self._buffer.receive(data)

    def end_of_burst(self) -> None:
        """Say that no more bytes are under way: a response that ends here without NUL is taken as whole."""
        self._buffer.burst_ended = True

    def next_event(self) -> Event:
        """Return what has arrived, or NEED_DATA.

        Raises:
            RemoteProtocolError: The server left the protocol, or closed too early.
        """
        event = self._read()
        if event is None:
            return self._at_end()
        self._state = (
            self._after_response(event.response)
            if isinstance(event, ResponseReceived)
            else _NEXT[self._state, type(event)]
        )
        return event

    def send_start(self) -> bytes:
        """The first byte, `0` for no GSI delegation. It has to be a TLS record of its own."""
        self._expect(ClientState.START)
        self._state = ClientState.SEND_REQUEST
        return NO_DELEGATION

    def send_request(self, request: Request) -> bytes:
        """Ask.

        Raises:
            LocalProtocolError: Not its turn, or a value cannot travel; nothing has to be sent then.
        """
        self._expect(ClientState.SEND_REQUEST)
        data = encode_request(request)
        self._command = request.command
        self._state = ClientState.AWAIT_RESPONSE
        return data

    def send_authorization(self, reply: AuthorizationReply) -> bytes:
        """Answer the server's offer.

        Raises:
            LocalProtocolError: Not its turn, the method was not offered, or the reply lacks its part.
        """
        self._expect(ClientState.SEND_AUTHORIZATION)
        if METHOD_NAMES[reply.method] not in self._offers:
            raise LocalProtocolError(f"the server does not offer authorization by {METHOD_NAMES[reply.method]}")
        text = reply.text.reveal()
        if b"\0" in text:
            raise LocalProtocolError("authorization data cannot hold a NUL")
        match reply.method, reply.signature:
            case AuthorizationMethod.PASSWORD, None:
                data = text + b"\0\0"
            case AuthorizationMethod.SASL, None:
                data = text + b"\0" if text else b"\0\0"
            case ((AuthorizationMethod.CERTIFICATE | AuthorizationMethod.CERTIFICATE_SHA256), block) if (
                block is not None
            ):
                length = len(block.signature).to_bytes(4, "big")
                if not 1 <= len(block.certificates) <= 255:
                    raise LocalProtocolError("a signature block holds 1 to 255 certificates")
                count = bytes((len(block.certificates),))
                data = b"".join((length, block.signature, count, *block.certificates))
            case _:
                raise LocalProtocolError("the authorization does not fit its method")
        self._state = ClientState.AWAIT_RESPONSE
        return bytes((reply.method, 0, 0, 0)) + data

    def send_certificate_request(self, der: bytes) -> bytes:
        """GET: ask for a proxy for this PKCS#10 request."""
        self._expect(ClientState.SEND_CERTIFICATE_REQUEST)
        self._state = ClientState.AWAIT_CERTIFICATES
        return der

    def send_certificates(self, certificates: Sequence[Certificate]) -> bytes:
        """PUT: hand over the proxy for the server's key and its chain."""
        from gsi.delegation import encode_certificate_block

        self._expect(ClientState.SEND_CERTIFICATES)
        data = encode_certificate_block(certificates)
        self._state = ClientState.AWAIT_CONCLUSION
        return data

    def send_failure(self, *errors: str) -> bytes:
        """PUT: say why no certificates come; nothing more follows."""
        self._expect(ClientState.SEND_CERTIFICATES)
        self._state = ClientState.DONE
        return encode_response(Response.refuse(*errors))

    def send_credential(self, pem: bytes) -> bytes:
        """STORE: hand over a credential's text: certificate, key, further certificates."""
        self._expect(ClientState.SEND_CREDENTIAL)
        if b"\0" in pem or not pem or len(pem) > MAX_CREDENTIAL_TEXT_BYTES:
            raise LocalProtocolError(
                f"a credential's text has 1 to {MAX_CREDENTIAL_TEXT_BYTES} bytes and cannot hold a NUL"
            )
        self._state = ClientState.AWAIT_CONCLUSION
        return pem + b"\0"

    def _after_response(self, response: Response) -> ClientState:
        if response.type is ResponseType.ERROR:
            return ClientState.DONE
        if self._state is not ClientState.AWAIT_RESPONSE:
            if self._state is not ClientState.AWAIT_CONCLUSION or response.type is not ResponseType.OK:
                raise RemoteProtocolError("the server sent a response where none is due")
            return ClientState.DONE
        assert self._command is not None
        if response.type is ResponseType.AUTHORIZATION:
            if self._command not in (Command.GET, Command.RETRIEVE) or not response.offers:
                raise RemoteProtocolError("the server demands authorization where none is due, or offers no way")
            self._offers = frozenset(offer.method for offer in response.offers)
            return ClientState.SEND_AUTHORIZATION
        return _AFTER_OK[self._command]

    def _expect(self, state: ClientState) -> None:
        if self._state is not state:
            raise LocalProtocolError(f"cannot {state.value} now; the conversation stands at: {self._state.value}")

    def _read(self) -> Event | None:
        """Take one whole message, if it is the server's turn and one is there."""
        match self._state:
            case ClientState.AWAIT_RESPONSE | ClientState.AWAIT_CONCLUSION:
                return self._read_response()
            case ClientState.AWAIT_CERTIFICATES:
                head = b"" if self._buffer.in_block else self._buffer.peek(2)
                if head == b"V":  # a count of 86, or the start of VERSION
                    return None
                if head == b"VE":
                    return self._read_response()
                certificates = self._buffer.take_block("certificates from the server")
                return None if certificates is None else CertificatesReceived(certificates)
            case ClientState.AWAIT_CERTIFICATE_REQUEST:
                if self._buffer.peek(1) == b"V":
                    return self._read_response()
                der = self._buffer.take_der(MAX_CERTIFICATE_REQUEST_BYTES, "certificate request")
                return None if der is None else CertificateRequestReceived(der)
            case ClientState.AWAIT_CREDENTIAL:
                if b"VERSION=".startswith(head := self._buffer.peek(8)):
                    return self._read_response() if len(head) == 8 else None
                pem = self._buffer.take_text(MAX_CREDENTIAL_TEXT_BYTES, "credential from the server")
                return None if pem is None else CredentialReceived(pem)
        return None

    def _read_response(self) -> Event | None:
        text = self._buffer.take_text(MAX_RESPONSE_BYTES, "server's response", max_lines=MAX_RESPONSE_LINES)
        return None if text is None else ResponseReceived(parse_response(text))

    def _at_end(self) -> Event:
        if not self._buffer.closed:
            return NEED_DATA
        if len(self._buffer) and self._state is not ClientState.DONE:
            raise RemoteProtocolError("the server closed in the middle of a message")
        if self._state in _MAY_CLOSE or (
            self._state is ClientState.AWAIT_CONCLUSION and self._command in (Command.GET, Command.RETRIEVE)
        ):  # what was asked for is here; some servers spare the last word
            return ConnectionClosed()
        raise RemoteProtocolError(f"the server closed the connection; the conversation stands at: {self._state.value}")
