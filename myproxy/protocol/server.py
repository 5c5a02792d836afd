"""The server's side of a MYPROXYv2 conversation without I/O: what may follow what; not what is answered.

    session = ServerSession()
    session.receive_data(data)                       # b"" = the client has closed
    event = session.next_event()                     # RequestReceived, ..., NEED_DATA
    session.silence                                  # how long to wait before `end_of_burst`, None = for ever
    session.end_of_time()                            # no more is waited for: what is not whole is an error
    out = session.send_response(Response.ok())       # one message; encrypt and send it in one burst

The legal order is the table `_NEXT`; an exchange by command:

    GET             request, [AUTHORIZATION, reply]..., OK, certificate request, certificates, OK
    PUT             request, OK, certificate request, certificates, OK
    STORE           request, OK, credential, OK
    RETRIEVE        request, [AUTHORIZATION, reply]..., OK, credential, OK
    others          request, OK

Before the request a client sends one byte `0`. An error response ends every exchange
(gct:myproxy/source/myproxy_server.c). A client may close after any answer.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from gsi.errors import LocalProtocolError, RemoteProtocolError
from gsi.secret import Passphrase
from myproxy.protocol.codec import (
    MAX_LINES,
    MAX_PASSPHRASE_BYTES,
    MAX_REQUEST_BYTES,
    encode_response,
    find_command,
    looks_complete,
    parse_request,
    parse_response,
)
from myproxy.protocol.events import (
    MAX_AUTHORIZATION_TEXT_BYTES,
    MAX_CERTIFICATE_REQUEST_BYTES,
    MAX_CREDENTIAL_TEXT_BYTES,
    NEED_DATA,
    AuthorizationReceived,
    CertificateRequestReceived,
    CertificatesReceived,
    ConnectionClosed,
    CredentialReceived,
    Event,
    PeerFailed,
    ReceiveBuffer,
    RequestReceived,
)
from myproxy.protocol.messages import (
    METHOD_NAMES,
    AuthorizationMethod,
    AuthorizationReply,
    Command,
    Response,
    ResponseType,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.certificate import Certificate

__all__ = ["COUNT_SILENCE_SECONDS", "FINAL_SILENCE_SECONDS", "SILENCE_SECONDS", "ServerSession", "ServerState"]

NO_DELEGATION: Final = ord("0")
WANTS_DELEGATION: Final = ord("D")

SILENCE_SECONDS: Final = 2.0
"""How long a text without its NUL must have rested before it counts as whole, where a late rest of it would still be
noticed: GET and PUT go on with a message of the client's that the rest would spoil, INFO only shows. TCP repeats a lost
segment after 0.2, 0.6 and 1.4 seconds; the few clients that write no NUL do nothing but wait meanwhile."""
FINAL_SILENCE_SECONDS: Final = 15.0
"""The same, where the answer ends the exchange and a cut request would have done its damage: DESTROY without the name
that was still to come removes another credential. Six losses in a row last 12.6 seconds, so whatever is not whole after
this time will not be: a certificate or a request cut short."""
COUNT_SILENCE_SECONDS: Final = 3.0
"""How much longer than `SILENCE_SECONDS` a block of certificates is waited for that ends with a whole one, though more
are announced. The network cuts there only by chance, and has repeated a lost segment four times by then, so the number
is wrong; the client can store again, and nothing of its credential is kept."""


class ServerState(Enum):
    """Where the conversation stands, named after what has to happen next."""

    AWAIT_FLAG = "await the client's first byte"
    AWAIT_REQUEST = "await the request"
    ANSWER = "answer the request"
    AWAIT_AUTHORIZATION = "await the authorization"
    AWAIT_CERTIFICATE_REQUEST = "await the client's certificate request"
    SEND_CERTIFICATES = "send certificates"
    SEND_CERTIFICATE_REQUEST = "send a certificate request"
    AWAIT_CERTIFICATES = "await certificates"
    AWAIT_CREDENTIAL = "await the credential"
    SEND_CREDENTIAL = "send the credential"
    CONCLUDE = "send the final response"
    DONE = "nothing more"


_AFTER_OK: Final = {
    Command.GET: ServerState.AWAIT_CERTIFICATE_REQUEST,
    Command.PUT: ServerState.SEND_CERTIFICATE_REQUEST,
    Command.STORE: ServerState.AWAIT_CREDENTIAL,
    Command.RETRIEVE: ServerState.SEND_CREDENTIAL,
    Command.INFO: ServerState.DONE,
    Command.DESTROY: ServerState.DONE,
    Command.CHANGE_PASSPHRASE: ServerState.DONE,
    Command.GET_TRUSTROOTS: ServerState.DONE,
}
"""Where a yes to the request leads."""

_FINAL: Final = frozenset({Command.DESTROY, Command.CHANGE_PASSPHRASE, Command.RETRIEVE})
"""What cannot be taken back once answered, and is answered without hearing from the client again."""

_NEXT: Final = {
    (ServerState.AWAIT_CERTIFICATE_REQUEST, CertificateRequestReceived): ServerState.SEND_CERTIFICATES,
    (ServerState.AWAIT_CERTIFICATES, CertificatesReceived): ServerState.CONCLUDE,
    (ServerState.AWAIT_CERTIFICATES, PeerFailed): ServerState.DONE,
    (ServerState.AWAIT_CREDENTIAL, CredentialReceived): ServerState.CONCLUDE,
    (ServerState.AWAIT_AUTHORIZATION, AuthorizationReceived): ServerState.ANSWER,
    (ServerState.AWAIT_REQUEST, RequestReceived): ServerState.ANSWER,
}
"""Where what the client sent leads."""

_MAY_REFUSE: Final = frozenset(
    {
        ServerState.AWAIT_FLAG,
        ServerState.AWAIT_REQUEST,
        ServerState.ANSWER,
        ServerState.AWAIT_AUTHORIZATION,
        ServerState.AWAIT_CERTIFICATE_REQUEST,
        ServerState.SEND_CERTIFICATES,
        ServerState.SEND_CERTIFICATE_REQUEST,
        ServerState.AWAIT_CERTIFICATES,
        ServerState.AWAIT_CREDENTIAL,
        ServerState.CONCLUDE,
    }
)
"""Where an error response can be understood. Not in place of a credential text: C clients would write it to a file."""


_WORDS: Final = {
    ServerState.AWAIT_REQUEST: "request",
    ServerState.AWAIT_AUTHORIZATION: "authorization",
    ServerState.AWAIT_CERTIFICATE_REQUEST: "certificate request",
    ServerState.AWAIT_CERTIFICATES: "certificates",
    ServerState.AWAIT_CREDENTIAL: "credential",
}
"""What the client has to send where."""

_OWED: Final = frozenset({ServerState.AWAIT_CERTIFICATES, ServerState.AWAIT_CREDENTIAL})
"""Where a client that says nothing has left its request undone. After GET's OK it may just have wanted to know."""


class ServerSession:
    """One conversation. Not safe for use by two threads at once.

    Args:
        max_request_bytes: Limit of a request (the directive `request_size_limit`).
    """

    __slots__ = ("_broken", "_buffer", "_cut", "_max_request", "_method", "_offers", "_request", "_silence", "_state")

    def __init__(self, *, max_request_bytes: int = MAX_REQUEST_BYTES) -> None:
        self._buffer = ReceiveBuffer()
        self._max_request = max_request_bytes
        self._state = ServerState.AWAIT_FLAG
        self._request: Command | None = None
        self._offers: frozenset[str] = frozenset()
        self._method: AuthorizationMethod | None = None
        self._broken = False
        self._cut = False  # what is not whole by now will not be
        self._silence: float | None = SILENCE_SECONDS

    @property
    def state(self) -> ServerState:
        """What has to happen next."""
        return self._state

    @property
    def silence(self) -> float | None:
        """Seconds of silence after which `end_of_burst` is to be called, or None to wait for bytes alone.

        Some clients write no NUL. A request that the network cut in two would lose its last lines, which may be its
        access policies or the name of what is to be destroyed; so only silence tells the two apart, and what is
        buffered is looked at when it has lasted, not at every record.
        """
        return self._silence if self._state in _WORDS and len(self._buffer) else None

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client; no bytes mean that it has closed.

        Raises:
            RemoteProtocolError: Bytes after the end of the stream.
        """
        self._buffer.receive(data)
        self._silence = SILENCE_SECONDS

    def end_of_burst(self) -> None:
        """Say that nothing has come for `silence` seconds: a text that is whole but for its NUL is taken.

        What is not whole then, and a request that would do lasting damage, waits for a longer silence; what is not
        whole even after that is an error of the client's.
        """
        before = self.silence
        if before is None:
            return
        text = self._buffer.peek(len(self._buffer))
        is_final = False
        if self._state is ServerState.AWAIT_CREDENTIAL:
            is_whole = b"-----END " in text
        else:
            is_whole = self._state is ServerState.AWAIT_REQUEST and looks_complete(text)
            is_final = find_command(text) in _FINAL
        if before == SILENCE_SECONDS and (is_final or not is_whole):
            self._silence = COUNT_SILENCE_SECONDS if self._buffer.ends_between else FINAL_SILENCE_SECONDS
        elif is_whole:
            self._silence, self._buffer.burst_ended = None, True
        else:
            self._cut = True

    def end_of_time(self) -> None:
        """Say that no more is waited for: a message that has begun, or that the client owes, is an error."""
        self._cut = self._state in _WORDS and (len(self._buffer) > 0 or self._state in _OWED)

    def next_event(self) -> Event:
        """Return what has arrived, or NEED_DATA.

        What comes before it is its turn stays in the buffer.

        Raises:
            RemoteProtocolError: The client left the protocol. The session can then only refuse.
        """
        if self._broken:
            raise RemoteProtocolError("the client has left the protocol")
        try:
            event = self._read()
            if event is None and self._cut:
                raise RemoteProtocolError(f"the {_WORDS[self._state]} did not come whole: {self._buffer.missing}")
        except RemoteProtocolError:
            self._broken = True
            raise
        if event is None:
            return self._at_end()
        self._state = _NEXT[self._state, type(event)]
        return event

    def send_response(self, response: Response) -> bytes:
        """Answer the request, demand authorization, refuse, or conclude.

        Raises:
            LocalProtocolError: Not its turn, or the response cannot be encoded.
        """
        state = self._after_response(response)
        data = encode_response(response)
        self._state = state
        if response.type is ResponseType.AUTHORIZATION:
            self._offers = frozenset(offer.method for offer in response.offers)
            self._method = None
        return data

    def send_certificate_request(self, der: bytes) -> bytes:
        """PUT: ask for a proxy for the server's new key.

        Raises:
            LocalProtocolError: Not its turn.
        """
        self._expect(ServerState.SEND_CERTIFICATE_REQUEST)
        self._state = ServerState.AWAIT_CERTIFICATES
        return der

    def send_certificates(self, certificates: Sequence[Certificate]) -> bytes:
        """GET: hand over the new proxy and its chain; the final response follows.

        Raises:
            LocalProtocolError: Not its turn, or not 1 to 255 certificates.
        """
        from gsi.delegation import encode_certificate_block

        self._expect(ServerState.SEND_CERTIFICATES)
        data = encode_certificate_block(certificates)
        self._state = ServerState.CONCLUDE
        return data

    def send_credential(self, pem: bytes) -> bytes:
        """RETRIEVE: hand over the credential's text; the final response follows.

        Raises:
            LocalProtocolError: Not its turn, or the text holds a NUL.
        """
        self._expect(ServerState.SEND_CREDENTIAL)
        if b"\0" in pem:
            raise LocalProtocolError("a credential's text cannot hold a NUL")
        self._state = ServerState.CONCLUDE
        return pem + b"\0"

    def _after_response(self, response: Response) -> ServerState:
        if response.type is ResponseType.ERROR:
            if self._state not in _MAY_REFUSE:
                raise self._not_now("refuse")
            return ServerState.DONE
        if self._broken:
            raise LocalProtocolError("the client has left the protocol; it can only be refused")
        if response.type is ResponseType.AUTHORIZATION:
            self._expect(ServerState.ANSWER)
            if self._request not in (Command.GET, Command.RETRIEVE) or not response.offers:
                raise LocalProtocolError("authorization can only be offered to GET and RETRIEVE, and never nothing")
            return ServerState.AWAIT_AUTHORIZATION
        if self._state is ServerState.CONCLUDE:
            return ServerState.DONE
        self._expect(ServerState.ANSWER)
        assert self._request is not None
        return _AFTER_OK[self._request]

    def _expect(self, state: ServerState) -> None:
        if self._broken or self._state is not state:
            raise self._not_now(state.value)

    def _not_now(self, action: str) -> LocalProtocolError:
        return LocalProtocolError(f"cannot {action} now; the conversation stands at: {self._state.value}")

    def _read(self) -> Event | None:
        """Take one whole message, if it is the client's turn and one is there."""
        if self._state is ServerState.AWAIT_FLAG:
            self._read_flag()
        match self._state:
            case ServerState.AWAIT_REQUEST:
                return self._read_request()
            case ServerState.AWAIT_AUTHORIZATION:
                return self._read_authorization()
            case ServerState.AWAIT_CERTIFICATE_REQUEST:
                der = self._buffer.take_der(MAX_CERTIFICATE_REQUEST_BYTES, "certificate request")
                return None if der is None else CertificateRequestReceived(der)
            case ServerState.AWAIT_CERTIFICATES:
                return self._read_certificates()
            case ServerState.AWAIT_CREDENTIAL:
                pem = self._buffer.take_text(MAX_CREDENTIAL_TEXT_BYTES, "credential")
                return None if pem is None else CredentialReceived(pem)
        return None

    def _read_flag(self) -> None:
        """Take the byte that says whether GSI delegation follows the handshake; MyProxy clients send `0`."""
        byte = self._buffer.take_byte()
        if byte is None:
            return
        if byte == WANTS_DELEGATION:
            raise RemoteProtocolError("the client asks for GSI delegation, which MyProxy does not have")
        if byte != NO_DELEGATION:
            raise RemoteProtocolError(f"the client's first byte is 0x{byte:02x} instead of '0': no MyProxy client")
        self._state = ServerState.AWAIT_REQUEST

    def _read_request(self) -> Event | None:
        text = self._buffer.take_text(self._max_request, "request", max_lines=MAX_LINES)
        if text is None:
            return None
        request = parse_request(text)
        self._request = request.command
        return RequestReceived(request)

    def _read_certificates(self) -> Event | None:
        head = b"" if self._buffer.in_block else self._buffer.peek(2)
        # 'V' could be a count of 86, but then a DER SEQUENCE (0x30) follows.
        if head == b"V":
            return None
        if head == b"VE":
            text = self._buffer.take_text(MAX_REQUEST_BYTES, "client's error")
            return None if text is None else PeerFailed(parse_response(text).errors)
        certificates = self._buffer.take_block("certificates")
        return None if certificates is None else CertificatesReceived(certificates)

    def _read_authorization(self) -> Event | None:
        """Take 4 bytes with the method's number in the first, then its data (myproxy.md: 4)."""
        if self._method is None:
            self._method = self._read_method()
            if self._method is None:
                return None
        match self._method:
            case AuthorizationMethod.PASSWORD | AuthorizationMethod.SASL:
                limit = (
                    MAX_PASSPHRASE_BYTES
                    if self._method is AuthorizationMethod.PASSWORD
                    else MAX_AUTHORIZATION_TEXT_BYTES
                )
                text = self._buffer.take_text(limit, "authorization")
                if text is None:
                    return None
                reply = AuthorizationReply(self._method, text=Passphrase(text))
            case _:
                found = self._buffer.take_signature()
                if found is None:
                    return None
                reply = AuthorizationReply(self._method, signature=found)
        self._buffer.allow_stray_nuls()  # C clients end a pass phrase with two
        return AuthorizationReceived(reply)

    def _read_method(self) -> AuthorizationMethod | None:
        head = self._buffer.peek(4)
        if len(head) < 4:
            return None
        for _ in range(4):
            self._buffer.take_byte()
        try:
            method = AuthorizationMethod(head[0])
        except ValueError:
            raise RemoteProtocolError(f"the client chose the unknown authorization method {head[0]}") from None
        if METHOD_NAMES[method] not in self._offers:
            raise RemoteProtocolError(f"the client chose the authorization method {METHOD_NAMES[method]}, not offered")
        return method

    def _at_end(self) -> Event:
        """Say what silence means: waiting, or the end."""
        if not self._buffer.closed:
            return NEED_DATA
        if len(self._buffer) and self._state is not ServerState.DONE:
            raise RemoteProtocolError("the client closed in the middle of a message")
        return ConnectionClosed()
