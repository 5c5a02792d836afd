"""Client and server sessions joined in memory: every exchange, every split of the bytes, every order that is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeAlias

import pytest

from gsi.certificate import Certificate
from gsi.delegation import CertificateBlockParser, encode_certificate_block
from gsi.errors import GridError, LocalProtocolError, RemoteProtocolError
from gsi.secret import Passphrase
from myproxy.protocol.client import ClientSession, ClientState
from myproxy.protocol.codec import MAX_LINES, OK_RESPONSE, encode_request
from myproxy.protocol.events import (
    MAX_CREDENTIAL_TEXT_BYTES,
    NEED_DATA,
    AuthorizationReceived,
    CertificateRequestReceived,
    CertificatesReceived,
    ConnectionClosed,
    CredentialReceived,
    Event,
    PeerFailed,
    RequestReceived,
    ResponseReceived,
)
from myproxy.protocol.messages import (
    AuthorizationMethod,
    AuthorizationOffer,
    AuthorizationReply,
    Command,
    CredentialInfo,
    Request,
    Response,
    SignatureBlock,
)
from myproxy.protocol.server import (
    COUNT_SILENCE_SECONDS,
    FINAL_SILENCE_SECONDS,
    SILENCE_SECONDS,
    ServerSession,
    ServerState,
)
from tests.harness.ca import TestCA

NOW = datetime(2026, 11, 21, tzinfo=UTC)
CSR = b"\x30\x82\x01\x00" + bytes(range(256))
PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
BLOCK = SignatureBlock(b"s" * 256, (b"\x30\x03abc", b"\x30\x01d"))


class Session(Protocol):
    def receive_data(self, data: bytes) -> None: ...

    def next_event(self) -> Event: ...


@pytest.fixture(scope="module")
def chain() -> tuple[Certificate, ...]:
    ca = TestCA("/O=Grid/CN=CA", "p256")
    proxy = ca.issue("/O=Grid/CN=Alice", "p256").proxy()
    return tuple(Certificate.parse(der) for der in proxy.chain_der)


def request(command: Command) -> Request:
    return Request(command, "alice", Passphrase(b"secret pass"), lifetime=timedelta(hours=1))


Step: TypeAlias = tuple[str, Callable[[ClientSession, ServerSession], bytes], type[object]]


def exchange(command: Command, chain: tuple[Certificate, ...]) -> list[Step]:
    """Each message: who sends it, how, and the event that it is for the other side."""
    ask = request(command)
    ok: Step = ("server", lambda _, s: s.send_response(Response.ok()), ResponseReceived)
    begin: Step = ("client", lambda c, _: c.send_start() + c.send_request(ask), RequestReceived)
    info = CredentialInfo(None, NOW, NOW, "/O=x")
    match command:
        case Command.GET:
            return [
                begin,
                ("server", lambda _, s: s.send_response(ask_for("password")), ResponseReceived),
                ("client", lambda c, _: c.send_authorization(password()), AuthorizationReceived),
                ("server", lambda _, s: s.send_response(ask_for("SASL", "X509_certificate_SHA256")), ResponseReceived),
                ("client", lambda c, _: c.send_authorization(signature()), AuthorizationReceived),
                ("server", lambda _, s: s.send_response(ask_for("SASL")), ResponseReceived),
                ("client", lambda c, _: c.send_authorization(sasl(b"UExBSU4=")), AuthorizationReceived),
                ok,
                ("client", lambda c, _: c.send_certificate_request(CSR), CertificateRequestReceived),
                ("server", lambda _, s: s.send_certificates(chain), CertificatesReceived),
                ok,
            ]
        case Command.PUT:
            return [
                begin,
                ok,
                ("server", lambda _, s: s.send_certificate_request(CSR), CertificateRequestReceived),
                ("client", lambda c, _: c.send_certificates(chain), CertificatesReceived),
                ok,
            ]
        case Command.STORE:
            return [begin, ok, ("client", lambda c, _: c.send_credential(PEM), CredentialReceived), ok]
        case Command.RETRIEVE:
            return [begin, ok, ("server", lambda _, s: s.send_credential(PEM), CredentialReceived), ok]
        case Command.INFO:
            answer = Response.ok(credentials=(info,))
            return [begin, ("server", lambda _, s: s.send_response(answer), ResponseReceived)]
        case _:
            return [begin, ok]


def ask_for(*methods: str) -> Response:
    return Response.ask(*(AuthorizationOffer(method, "0123") for method in methods))


def password() -> AuthorizationReply:
    return AuthorizationReply(AuthorizationMethod.PASSWORD, text=Passphrase(b"secret"))


def sasl(text: bytes) -> AuthorizationReply:
    return AuthorizationReply(AuthorizationMethod.SASL, text=Passphrase(text))


def signature() -> AuthorizationReply:
    return AuthorizationReply(AuthorizationMethod.CERTIFICATE_SHA256, signature=BLOCK)


def feed(session: Session, data: bytes, size: int) -> Event:
    """Hand bytes over in portions and return the event, which may come no earlier than all but final NULs are there."""
    found: Event = NEED_DATA
    for at in range(0, len(data), size):
        session.receive_data(data[at : at + size])
        event = session.next_event()
        if event is not NEED_DATA:
            assert found is NEED_DATA
            assert not data[at + size :].strip(b"\0")
            found = event
    assert found is not NEED_DATA
    return found


def play(command: Command, chain: tuple[Certificate, ...], size: int) -> list[Event]:
    client, server = ClientSession(), ServerSession()
    events = []
    for sender, send, expected in exchange(command, chain):
        data = send(client, server)
        event = feed(server if sender == "client" else client, data, size)
        assert isinstance(event, expected)
        events.append(event)
    assert client.state is ClientState.DONE
    assert server.state is ServerState.DONE
    return events


@pytest.mark.parametrize("command", Command)
def test_any_split_of_the_bytes_gives_the_same_events(command: Command, chain: tuple[Certificate, ...]) -> None:
    whole = play(command, chain, 1 << 20)
    assert play(command, chain, 1) == whole
    assert play(command, chain, 7) == whole
    assert isinstance(whole[0], RequestReceived)
    assert whole[0].request == request(command)


def test_what_is_carried_arrives(chain: tuple[Certificate, ...]) -> None:
    events = play(Command.GET, chain, 100)
    replies = [event.reply for event in events if isinstance(event, AuthorizationReceived)]
    assert replies == [password(), signature(), sasl(b"UExBSU4=")]
    assert CertificateRequestReceived(CSR) in events
    assert CertificatesReceived(tuple(certificate.der for certificate in chain)) in events
    assert CredentialReceived(PEM) in play(Command.STORE, chain, 100)
    assert CredentialReceived(PEM) in play(Command.RETRIEVE, chain, 100)


# Everything at once, as networks may glue it


def test_the_server_waits_its_turn_with_what_came_early(chain: tuple[Certificate, ...]) -> None:
    server = ServerSession()
    server.receive_data(b"0" + encode_request(request(Command.GET)) + CSR)
    assert isinstance(server.next_event(), RequestReceived)
    assert server.next_event() is NEED_DATA
    server.send_response(Response.ok())
    assert server.next_event() == CertificateRequestReceived(CSR)
    assert server.send_certificates(chain)[0] == len(chain)
    assert server.send_response(Response.ok()) == OK_RESPONSE


def test_the_client_takes_certificates_and_the_last_word_from_one_read(chain: tuple[Certificate, ...]) -> None:
    client = begun(Command.GET)
    client.receive_data(b"\0" + OK_RESPONSE)
    assert isinstance(client.next_event(), ResponseReceived)
    client.send_certificate_request(CSR)
    client.receive_data(bytes([len(chain)]) + b"".join(one.der for one in chain) + OK_RESPONSE)
    assert isinstance(client.next_event(), CertificatesReceived)
    assert isinstance(client.next_event(), ResponseReceived)
    client.receive_data(b"")
    assert client.next_event() == ConnectionClosed()


def begun(command: Command) -> ClientSession:
    client = ClientSession()
    assert client.send_start() == b"0"
    client.send_request(request(command))
    return client


@pytest.mark.parametrize("size", [1, 1000])
def test_one_nul_in_front_of_everything_is_dropped(size: int) -> None:
    client = begun(Command.DESTROY)
    assert feed(client, b"\0" + OK_RESPONSE, size) == ResponseReceived(Response.ok())


def test_a_second_nul_is_an_empty_response() -> None:
    client = begun(Command.DESTROY)
    client.receive_data(b"\0\0")
    with pytest.raises(RemoteProtocolError):
        client.next_event()


def test_the_last_word_may_be_spared_once_the_certificates_are_there(chain: tuple[Certificate, ...]) -> None:
    client = begun(Command.GET)
    client.receive_data(OK_RESPONSE)
    client.next_event()
    client.send_certificate_request(CSR)
    client.receive_data(bytes([len(chain)]) + b"".join(one.der for one in chain))
    client.receive_data(b"")
    assert isinstance(client.next_event(), CertificatesReceived)
    assert client.next_event() == ConnectionClosed()


def test_the_word_that_it_is_stored_may_not_be_spared(chain: tuple[Certificate, ...]) -> None:
    client = begun(Command.PUT)
    client.receive_data(OK_RESPONSE + CSR)
    client.next_event()
    client.next_event()
    client.send_certificates(chain)
    client.receive_data(b"")
    with pytest.raises(RemoteProtocolError, match="closed"):
        client.next_event()


@pytest.mark.parametrize("sent", [b"VERSION=MYP", b"VERSION=MYPROXYv2\n", b"\0"])
def test_a_server_that_closes_early_is_an_error(sent: bytes) -> None:
    client = begun(Command.GET)
    client.receive_data(sent)
    client.receive_data(b"")
    with pytest.raises(RemoteProtocolError):
        client.next_event()


def test_a_server_may_leave_the_nul_out_when_it_closes() -> None:
    client = begun(Command.DESTROY)
    client.receive_data(OK_RESPONSE[:-1])
    assert client.next_event() is NEED_DATA
    client.receive_data(b"")
    assert client.next_event() == ResponseReceived(Response.ok())


# Refusals


@pytest.mark.parametrize("command", Command)
def test_a_refusal_ends_the_exchange(command: Command) -> None:
    client, server = begun(command), ServerSession()
    server.receive_data(b"0" + encode_request(request(command)))
    server.next_event()
    event = feed(client, server.send_response(Response.refuse("no", "because")), 1)
    assert event == ResponseReceived(Response.refuse("no", "because"))
    assert (client.state, server.state) == (ClientState.DONE, ServerState.DONE)
    client.receive_data(b"")
    assert client.next_event() == ConnectionClosed()


@pytest.mark.parametrize("size", [1, 1000])
def test_an_error_in_place_of_certificates(size: int) -> None:
    client, server = begun(Command.GET), ServerSession()
    server.receive_data(b"0" + encode_request(request(Command.GET)) + CSR)
    server.next_event()
    feed(client, server.send_response(Response.ok()), size)
    client.send_certificate_request(CSR)
    server.next_event()
    event = feed(client, server.send_response(Response.refuse("Unable to delegate credentials.")), size)
    assert event == ResponseReceived(Response.refuse("Unable to delegate credentials."))


def test_a_count_of_86_is_not_taken_for_text(chain: tuple[Certificate, ...]) -> None:
    client = begun(Command.GET)
    client.receive_data(OK_RESPONSE)
    client.next_event()
    client.send_certificate_request(CSR)
    event = feed(client, b"V" + chain[0].der * 86, 1 << 20)
    assert event == CertificatesReceived((chain[0].der,) * 86)


@pytest.mark.parametrize("size", [1, 1000])
def test_a_clients_error_in_place_of_certificates(size: int) -> None:
    client, server = begun(Command.PUT), ServerSession()
    server.receive_data(b"0" + encode_request(request(Command.PUT)))
    server.next_event()
    feed(client, server.send_response(Response.ok()), size)
    feed(client, server.send_certificate_request(CSR), size)
    assert feed(server, client.send_failure("key too weak"), size) == PeerFailed(("key too weak",))
    assert (client.state, server.state) == (ClientState.DONE, ServerState.DONE)


# Clients of other habits


@pytest.mark.parametrize("byte", [b"D", b"1", b"\0", b"V", b"\x16"])
def test_the_first_byte_must_be_the_digit(byte: bytes) -> None:
    server = ServerSession()
    server.receive_data(byte + encode_request(request(Command.INFO)))
    with pytest.raises(RemoteProtocolError, match="delegation" if byte == b"D" else "0x"):
        server.next_event()
    with pytest.raises(RemoteProtocolError):
        server.next_event()
    assert server.send_response(Response.refuse("no")).startswith(b"VERSION=")


def test_a_request_without_nul_ends_with_the_silence() -> None:
    server = ServerSession()
    data = encode_request(request(Command.GET))[:-1]
    server.receive_data(b"0")
    assert server.next_event() is NEED_DATA
    assert server.silence is None
    server.end_of_burst()
    for at in range(len(data)):
        server.receive_data(data[at : at + 1])
        assert server.next_event() is NEED_DATA
    assert [server.silence] == [SILENCE_SECONDS]
    server.end_of_burst()
    event = server.next_event()
    assert isinstance(event, RequestReceived)
    assert event.request == request(Command.GET)
    server.send_response(Response.ok())
    server.receive_data(b"\0")  # the NUL came after all
    assert server.next_event() is NEED_DATA
    server.receive_data(CSR)
    assert server.next_event() == CertificateRequestReceived(CSR)


def test_silence_in_the_middle_of_a_request_is_no_end() -> None:
    server = ServerSession()
    data = encode_request(request(Command.GET))
    server.receive_data(b"0" + data[:20])
    assert server.next_event() is NEED_DATA
    server.end_of_burst()
    assert server.next_event() is NEED_DATA
    assert server.silence == FINAL_SILENCE_SECONDS
    server.receive_data(data[20:30])
    assert [server.silence] == [SILENCE_SECONDS]
    server.receive_data(data[30:])
    assert isinstance(server.next_event(), RequestReceived)


def at_certificates() -> ServerSession:
    server = ServerSession()
    server.receive_data(b"0" + encode_request(request(Command.PUT)))
    server.next_event()
    server.send_response(Response.ok())
    server.send_certificate_request(CSR)
    return server


def at_certificate_request() -> ServerSession:
    server = ServerSession()
    server.receive_data(b"0" + encode_request(request(Command.GET)))
    server.next_event()
    server.send_response(Response.ok())
    return server


def at_credential() -> ServerSession:
    server = ServerSession()
    server.receive_data(b"0" + encode_request(request(Command.STORE)))
    server.next_event()
    server.send_response(Response.ok())
    return server


CUT = [
    (at_certificates, b"\x03" + CSR + CSR, "3 certificates are announced, 2 came whole"),
    (at_certificates, b"\xff" + CSR + CSR, "255 certificates are announced, 2 came whole"),
    (at_certificates, b"\x01" + CSR[:-1], "1 certificates are announced, 0 came whole"),
    (at_certificates, b"\x02" + CSR + CSR[:1], "2 certificates are announced, 1 came whole"),
    (at_certificates, b"\x02", "2 certificates are announced, 0 came whole"),
    (at_certificates, b"V", "1 bytes of it came"),
    (at_certificate_request, CSR[:-1], rf"certificate request did not come whole: {len(CSR) - 1} bytes of it came"),
    (at_credential, b"-----BEGIN CERTIFICATE-----\nMII", "credential did not come whole"),
    (ServerSession, b"0VERSION=MYPROXYv2\nCOMMAND=0\n", "request did not come whole"),
]


@pytest.mark.parametrize(("where", "data", "words"), CUT)
def test_what_never_becomes_whole_is_an_error(where: Callable[[], ServerSession], data: bytes, words: str) -> None:
    server = where()
    server.receive_data(data)
    assert server.next_event() is NEED_DATA
    longer = COUNT_SILENCE_SECONDS if "2 came whole" in words else FINAL_SILENCE_SECONDS
    for seconds in (SILENCE_SECONDS, longer):
        assert server.silence == seconds
        assert server.next_event() is NEED_DATA
        server.end_of_burst()
    with pytest.raises(RemoteProtocolError, match=words):
        server.next_event()
    assert b"RESPONSE=1" in server.send_response(Response.refuse("no"))


@pytest.mark.parametrize(("where", "data", "words"), CUT)
def test_what_is_not_whole_at_the_end_of_the_time_is_an_error(
    where: Callable[[], ServerSession], data: bytes, words: str
) -> None:
    server = where()
    server.receive_data(data)
    assert server.next_event() is NEED_DATA
    server.end_of_time()
    with pytest.raises(RemoteProtocolError, match=words):
        server.next_event()


@pytest.mark.parametrize(
    ("where", "owes"),
    [(at_certificates, True), (at_credential, True), (at_certificate_request, False), (ServerSession, False)],
)
def test_who_owes_something_at_the_end_of_the_time(where: Callable[[], ServerSession], owes: bool) -> None:
    server = where()
    assert server.next_event() is NEED_DATA
    assert server.silence is None
    server.end_of_time()
    if not owes:
        assert server.next_event() is NEED_DATA
        return
    with pytest.raises(RemoteProtocolError, match="did not come whole"):
        server.next_event()


def test_certificates_in_many_pieces_with_pauses_are_whole_in_the_end() -> None:
    server = at_certificates()
    for piece in (b"\x02", CSR[:10], CSR[10:], CSR):
        server.receive_data(piece)
        event = server.next_event()
        if event is NEED_DATA:
            server.end_of_burst()
            assert server.next_event() is NEED_DATA
    assert event == CertificatesReceived((CSR, CSR))


def test_more_lines_after_the_silence_are_not_lost() -> None:
    """Had the first part been taken for the whole, a retrieval policy would have vanished without a word."""
    server = ServerSession()
    data = encode_request(Request(Command.PUT, "alice", retriever="*/CN=bob"))
    cut = data.index(b"RETRIEVER")
    server.receive_data(b"0" + data[:cut])
    assert server.next_event() is NEED_DATA
    assert server.silence == SILENCE_SECONDS
    server.receive_data(data[cut:])
    event = server.next_event()
    assert isinstance(event, RequestReceived)
    assert event.request.retriever == "*/CN=bob"


@pytest.mark.parametrize("command", [Command.DESTROY, Command.CHANGE_PASSPHRASE, Command.RETRIEVE])
def test_what_cannot_be_taken_back_waits_for_a_long_silence(command: Command) -> None:
    """A request cut before CRED_NAME names another credential."""
    data = encode_request(Request(command, "alice", Passphrase(b"secret"), credential_name="old"))
    cut = data.index(b"CRED_NAME")

    def after_short_silence() -> ServerSession:
        server = ServerSession()
        server.receive_data(b"0" + data[:cut])
        assert server.next_event() is NEED_DATA
        server.end_of_burst()
        assert server.next_event() is NEED_DATA
        assert server.silence == FINAL_SILENCE_SECONDS
        return server

    server = after_short_silence()
    server.receive_data(data[cut:])
    event = server.next_event()
    assert isinstance(event, RequestReceived)
    assert event.request.credential_name == "old"
    server = after_short_silence()  # a client that writes no NUL
    server.end_of_burst()
    assert isinstance(server.next_event(), RequestReceived)


def test_the_rest_of_a_cut_put_is_noticed() -> None:
    """After the short silence PUT goes on; what then comes in place of certificates ends it."""
    data = encode_request(Request(Command.PUT, "alice", retriever="*/CN=bob"))
    cut = data.index(b"RETRIEVER")
    server = ServerSession()
    server.receive_data(b"0" + data[:cut])
    assert server.next_event() is NEED_DATA
    server.end_of_burst()
    assert isinstance(server.next_event(), RequestReceived)
    server.send_response(Response.ok())
    server.send_certificate_request(CSR)
    server.receive_data(data[cut:])
    with pytest.raises(RemoteProtocolError):
        server.next_event()


def test_a_client_may_close_anywhere_between_messages() -> None:
    for data in (b"", b"0", b"0" + encode_request(request(Command.GET))):
        server = ServerSession()
        if data:
            server.receive_data(data)
        server.receive_data(b"")
        events = list(itertools.takewhile(lambda event: event != ConnectionClosed(), iter_events(server)))
        assert all(isinstance(event, RequestReceived) for event in events)
    server = ServerSession()
    server.receive_data(b"0VERSION=MYP")
    server.receive_data(b"")
    with pytest.raises(RemoteProtocolError):
        server.next_event()


def iter_events(session: Session) -> Iterator[Event]:
    while True:
        yield session.next_event()


# Limits


def test_limits_hold_before_the_message_is_whole() -> None:
    cases: Iterable[tuple[ServerSession, bytes]] = (
        (ServerSession(max_request_bytes=1000), b"0VERSION=MYPROXYv2\n" + b"x" * 1000),
        (awaiting(Command.GET), b"\x30\x84\x7f\xff\xff\xff"),
        (awaiting(Command.GET), b"PEM"),
        (awaiting(Command.PUT), b"\0"),
        (awaiting(Command.PUT), b"\x01\x31"),
        (awaiting(Command.PUT), b"\x01\x30\x84\x7f\xff\xff\xff"),
        (awaiting(Command.STORE), b"x" * (MAX_CREDENTIAL_TEXT_BYTES + 1)),
    )
    for session, data in cases:
        session.receive_data(data)
        with pytest.raises(RemoteProtocolError):
            session.next_event()
        with pytest.raises(RemoteProtocolError):
            session.next_event()
        session.send_response(Response.refuse("error parsing request"))


def test_too_many_lines_are_refused_before_the_request_is_whole() -> None:
    server = ServerSession()
    server.receive_data(b"0" + encode_request(request(Command.GET))[:-1] + b"\n" * (MAX_LINES - 10))
    assert server.next_event() is NEED_DATA
    server.receive_data(b"\n" * 10)
    with pytest.raises(RemoteProtocolError, match=f"{MAX_LINES} lines"):
        server.next_event()


class CountingBytes(bytearray):
    """A buffer that counts the bytes that are searched, compared or copied out of it."""

    work = 0

    def __getitem__(self, index: slice | int) -> Any:  # type: ignore[override]  # overloads would hide the one line
        found = super().__getitem__(index)
        self.work += len(found) if isinstance(found, bytearray) else 1
        return found

    def __bytes__(self) -> bytes:
        self.work += len(self)
        return bytes(memoryview(self))

    def find(self, sub: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]  # positions only
        self.work += len(self) - start
        return super().find(sub, start, len(self) if end is None else end)

    def count(self, sub: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]  # likewise
        stop = len(self) if end is None else end
        self.work += stop - start
        return super().count(sub, start, stop)

    def lstrip(self, characters: bytes | None = None) -> bytearray:  # type: ignore[override]  # likewise
        self.work += len(self)
        return super().lstrip(characters)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("message", ["request", "credential", "certificates", "signature"])
def test_no_split_makes_a_message_cost_more(
    message: str, size: int, chain: tuple[Certificate, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work is counted in bytes looked at: a few times the message, and never its square."""
    fed: list[int] = []
    real = CertificateBlockParser.feed

    def feed(parser: CertificateBlockParser, data: bytes) -> tuple[bytes, ...] | None:
        fed.append(len(data))
        return real(parser, data)

    monkeypatch.setattr(CertificateBlockParser, "feed", feed)
    certificates = encode_certificate_block(chain * 20)
    match message:
        case "request":
            server, data = ServerSession(), b"0" + encode_request(request(Command.GET))[:-1] + b"x" * 20_000 + b"\0"
        case "credential":
            server, data = awaiting(Command.STORE), PEM * 300 + b"\0"
        case "certificates":
            server, data = awaiting(Command.PUT), certificates
        case _:
            server = ServerSession()
            server.receive_data(b"0" + encode_request(request(Command.GET)))
            server.next_event()
            server.send_response(ask_for("X509_certificate_SHA256"))
            data = b"\4\0\0\0" + b"\0\0\1\0" + b"s" * 256 + certificates
    assert len(data) > 10_000
    buffer = CountingBytes()
    server._buffer._data = buffer
    for at in range(0, len(data), size):
        assert server._buffer._data is buffer
        server.receive_data(data[at : at + size])
        event = server.next_event()
        assert event is NEED_DATA or at + size >= len(data)
        assert event is not NEED_DATA or server.silence in (None, SILENCE_SECONDS)
    assert event is not NEED_DATA
    receives = len(data) // size + 1
    assert buffer.work + sum(fed) < 4 * len(data) + 20 * receives


def awaiting(command: Command) -> ServerSession:
    """A server whose client has to send the second message."""
    server = ServerSession()
    server.receive_data(b"0" + encode_request(request(command)))
    server.next_event()
    server.send_response(Response.ok())
    if command is Command.PUT:
        server.send_certificate_request(CSR)
    return server


def test_bytes_after_the_end_of_the_stream_are_an_error() -> None:
    for session in (ServerSession(), ClientSession()):
        session.receive_data(b"")
        with pytest.raises(RemoteProtocolError):
            session.receive_data(b"0")


@pytest.mark.parametrize("data", [b"\x09\0\0\0x\0", b"\x03\0\0\0x\0", b"\x04\0\0\0\0\0\0\0"])
def test_authorization_that_was_not_offered_or_is_broken(data: bytes) -> None:
    server = ServerSession()
    server.receive_data(b"0" + encode_request(request(Command.GET)))
    server.next_event()
    server.send_response(ask_for("password", "X509_certificate_SHA256"))
    server.receive_data(data)
    with pytest.raises(RemoteProtocolError):
        server.next_event()


# Order


def test_nothing_may_be_sent_out_of_turn(chain: tuple[Certificate, ...]) -> None:
    """In each state of each exchange, every send but the ones of that state is refused and changes nothing."""
    for command in Command:
        client, server = ClientSession(), ServerSession()
        for sender, send, _ in exchange(command, chain):
            legal = client.state, server.state
            _refuse_everything_else(client, server, chain)
            assert (client.state, server.state) == legal
            data = send(client, server)
            (server if sender == "client" else client).receive_data(data)
            (server if sender == "client" else client).next_event()
        _refuse_everything_else(client, server, chain)


CLIENT_SENDS: dict[ClientState, str] = {
    ClientState.START: "start",
    ClientState.SEND_REQUEST: "request",
    ClientState.SEND_AUTHORIZATION: "authorization",
    ClientState.SEND_CERTIFICATE_REQUEST: "certificate request",
    ClientState.SEND_CERTIFICATES: "certificates",
    ClientState.SEND_CREDENTIAL: "credential",
}
SERVER_SENDS: dict[ServerState, str] = {
    ServerState.ANSWER: "ok",
    ServerState.CONCLUDE: "ok",
    ServerState.SEND_CERTIFICATE_REQUEST: "certificate request",
    ServerState.SEND_CERTIFICATES: "certificates",
    ServerState.SEND_CREDENTIAL: "credential",
}


def _refuse_everything_else(client: ClientSession, server: ServerSession, chain: tuple[Certificate, ...]) -> None:
    of_client: dict[str, Callable[[], bytes]] = {
        "start": client.send_start,
        "request": lambda: client.send_request(request(Command.GET)),
        "authorization": lambda: client.send_authorization(password()),
        "certificate request": lambda: client.send_certificate_request(CSR),
        "certificates": lambda: client.send_certificates(chain),
        "credential": lambda: client.send_credential(PEM),
    }
    of_server: dict[str, Callable[[], bytes]] = {
        "ok": lambda: server.send_response(Response.ok()),
        "certificate request": lambda: server.send_certificate_request(CSR),
        "certificates": lambda: server.send_certificates(chain),
        "credential": lambda: server.send_credential(PEM),
    }
    for name, send in of_client.items():
        if name != CLIENT_SENDS.get(client.state):
            with pytest.raises(LocalProtocolError):
                send()
    for name, send in of_server.items():
        if name != SERVER_SENDS.get(server.state):
            with pytest.raises(LocalProtocolError):
                send()


def test_a_refusal_is_not_possible_where_a_c_client_would_take_it_for_data() -> None:
    server = awaiting(Command.RETRIEVE)
    with pytest.raises(LocalProtocolError):
        server.send_response(Response.refuse("no"))
    server = awaiting(Command.INFO)
    with pytest.raises(LocalProtocolError):
        server.send_response(Response.refuse("no"))


@pytest.mark.parametrize("command", [Command.PUT, Command.INFO, Command.STORE])
def test_only_fetching_takes_authorization(command: Command) -> None:
    server = ServerSession()
    server.receive_data(b"0" + encode_request(request(command)))
    server.next_event()
    with pytest.raises(LocalProtocolError):
        server.send_response(ask_for("password"))
    client = begun(command)
    client.receive_data(b"VERSION=MYPROXYv2\nRESPONSE=2\nAUTHORIZATION_DATA=password:x\n\0")
    with pytest.raises(RemoteProtocolError):
        client.next_event()


def test_what_cannot_be_sent_leaves_the_session_where_it_was() -> None:
    client = ClientSession()
    client.send_start()
    with pytest.raises(LocalProtocolError):
        client.send_request(Request(Command.GET, "a\nb"))
    assert client.state is ClientState.SEND_REQUEST
    server = awaiting(Command.GET)
    server.receive_data(CSR)
    server.next_event()
    with pytest.raises(GridError):
        server.send_certificates(())
    assert server.state is ServerState.SEND_CERTIFICATES
