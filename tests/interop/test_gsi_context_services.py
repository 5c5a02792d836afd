"""Security contexts with the real services: our clients with the C servers, the C clients with ours.

Ours with `globus-gridftp-server` and `globus-gatekeeper`; `globus-url-copy` and `globusrun -a` with small servers built
on our acceptor, which serve one file and one ping. TLS 1.2 and 1.3, with delegation and without.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from gsi.context.exchange import DELEGATE_FULL, DELEGATE_LIMITED
from gsi.context.framing import Framing
from gsi.context.ftp import Command, DataAuthentication, FTPRefusedError, Protection
from gsi.context.ftp_server import ControlServer
from gsi.context.gatekeeper import GatekeeperRequest, encode_reply, parse_request, ping
from gsi.context.gridftp import GridFTPClient
from gsi.context.info import ContextFlag, ContextInfo
from gsi.context.initiator import Initiator
from gsi.context.stream import ContextStream
from gsi.context.target import Target
from gsi.credential import Credential
from gsi.errors import GridError, Reason, RefusedError, RemoteProtocolError, TransportError, VerificationError
from gsi.proxy.issue import ProxyOptions
from gsi.transport.stream import HostPort, Stream, TCPStream, connect
from gsi.transport.tls import ClientTLS, TLSVersion
from tests.harness.contexts import Parties, clock, serving
from tests.harness.daemons import Daemon, GridFTPServer
from tests.harness.environment import UserEnvironment
from tests.harness.gatekeeper import c_gatekeeper
from tests.harness.trust import make_anchors
from tests.interop.conftest import ALICE, Grid
from tests.interop.ours import FULL, LIMITED, credential_of, proxy_of, write

each_version = pytest.mark.parametrize("version", list(TLSVersion))
CONTENT = bytes(range(256)) * 400
SILENCE = 20.0
DELEGATIONS = {"0": None, "D full": DELEGATE_FULL, "D limited": DELEGATE_LIMITED}
each_delegation = pytest.mark.parametrize("delegate", DELEGATIONS.values(), ids=DELEGATIONS)


@pytest.fixture(scope="module")
def parties(grid: Grid) -> Parties:
    """Alice and localhost of the shared grid."""
    issued = grid.users["rsa2048", "rsa2048"]
    anchors = make_anchors(*grid.cas.values(), crl=True)
    return Parties(grid.cas["rsa2048"], anchors, issued, proxy_of(issued), credential_of(grid.host))


@pytest.fixture(scope="module")
def gatekeeper(grid: Grid) -> Iterator[Daemon]:
    with c_gatekeeper(grid.host, grid.trust_dir, [ALICE]) as server:
        yield server


# Ours with globus-gridftp-server


def log_in(
    parties: Parties,
    server: GridFTPServer,
    version: TLSVersion = TLSVersion.TLS1_3,
    *,
    credential: Credential | None = None,
    delegate: ProxyOptions | None = DELEGATE_LIMITED,
) -> GridFTPClient:
    own = credential or parties.alice
    client = GridFTPClient.connect(
        [HostPort("localhost", server.port)],
        own,
        parties.anchors,
        now=clock,
        delegate=delegate,
        tls=ClientTLS(own, maximum=version),
        timeout=SILENCE,
    )
    try:
        client.login()
    except BaseException:
        client.close()
        raise
    return client


@each_version
@each_delegation
def test_authenticate_and_ask(
    parties: Parties, gridftp: GridFTPServer, version: TLSVersion, delegate: ProxyOptions | None
) -> None:
    with log_in(parties, gridftp, version, delegate=delegate) as client:
        assert "GridFTP Server" in client.greeting.text
        info = client.context.inquire()
        assert (info.identity, info.version) == ("/O=Grid/CN=localhost", version)
        assert (ContextFlag.DELEG in info.flags) is (delegate is not None)
        features = client.command("FEAT")
        assert features.code == 211
        assert " DCAU" in features.lines
        assert "Type=dir" in client.facts(str(gridftp.files))
        with pytest.raises(FTPRefusedError) as caught:
            client.command("CWD /nonexistent")
        assert caught.value.reply.is_refusal
        assert client.command("NOOP").code == 200


MODES = [
    (DataAuthentication.NONE, Protection.CLEAR),
    (DataAuthentication.SELF, Protection.CLEAR),
    (DataAuthentication.SELF, Protection.SAFE),
    (DataAuthentication.SELF, Protection.PRIVATE),
]


@each_version
@pytest.mark.parametrize(("authentication", "protection"), MODES, ids=[f"DCAU {a} PROT {p}" for a, p in MODES])
def test_data_channels(
    parties: Parties,
    gridftp: GridFTPServer,
    version: TLSVersion,
    authentication: DataAuthentication,
    protection: Protection,
) -> None:
    name = f"data-{version}-{authentication}-{protection}"
    path = gridftp.files / name
    with log_in(parties, gridftp, version) as client:
        client.set_data_authentication(authentication)
        client.protect(protection)
        client.store(str(path), CONTENT)
        assert path.read_bytes() == CONTENT
        assert client.retrieve(str(path)) == CONTENT
        assert name in client.list_names(str(gridftp.files))
        assert any(line.endswith(name) for line in client.list_lines(str(gridftp.files)))
        facts = [line for line in client.list_facts(str(gridftp.files)) if line.endswith(f" {name}")]
        assert len(facts) == 1
        assert f"Size={len(CONTENT)};" in facts[0]
        assert f"Size={len(CONTENT)};" in client.facts(str(path))


@pytest.mark.parametrize(("authentication", "protection"), MODES, ids=[f"DCAU {a} PROT {p}" for a, p in MODES])
def test_a_transfer_that_the_server_refuses(
    parties: Parties, gridftp: GridFTPServer, authentication: DataAuthentication, protection: Protection
) -> None:
    """The server then says nothing on the data channel; the refusal on the other one must end the wait for it."""
    with log_in(parties, gridftp) as client:
        client.set_data_authentication(authentication)
        client.protect(protection)
        for attempt in (
            lambda: client.list_names("/nonexistent"),
            lambda: client.retrieve("/nonexistent"),
            lambda: client.store("/nonexistent/file", b"x"),
        ):
            with pytest.raises(FTPRefusedError):
                attempt()
        assert client.command("NOOP").code == 200


def test_without_delegation_data_channels_are_somebody_elses(parties: Parties, gridftp: GridFTPServer) -> None:
    with (
        log_in(parties, gridftp, delegate=None) as client,
        pytest.raises((VerificationError, TransportError, RefusedError)),
    ):
        client.list_names(str(gridftp.files))
    with log_in(parties, gridftp, delegate=None) as client:
        client.set_data_authentication(DataAuthentication.NONE)
        client.list_names(str(gridftp.files))
        client.protect(Protection.PRIVATE)
        with pytest.raises(GridError):
            client.list_names(str(gridftp.files))


@each_version
@pytest.mark.parametrize("protection", list(Protection))
def test_the_server_connects(
    parties: Parties, gridftp: GridFTPServer, version: TLSVersion, protection: Protection
) -> None:
    """`PORT`: the server opens the data channel and is its initiator, we accept."""
    path = gridftp.files / f"active-{version}-{protection}"
    with log_in(parties, gridftp, version) as client:
        client.store(str(path), CONTENT)
        client.command("TYPE I")
        client.protect(protection)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(SILENCE)
            port: int = listener.getsockname()[1]
            client.command(f"PORT 127,0,0,1,{port >> 8},{port & 255}")
            client._stream.send(client._control.command(f"RETR {path}"))
            channel = TCPStream(listener.accept()[0], timeout=SILENCE)
        is_clear = protection is Protection.CLEAR
        context = parties.acceptor(version, credential=parties.alice, ssl_compatible=not is_clear)
        secured = ContextStream(channel, context)
        secured.establish(initiate=False)
        assert context.inquire().identity == ALICE
        assert context.inquire().is_limited  # it is what we have delegated
        received = secured.take_clear() if is_clear else b""
        carrier: Stream = channel if is_clear else secured
        while data := carrier.receive():
            received += data
        channel.close()
        assert received == CONTENT
        assert [client._read_reply().code for _ in range(2)] == [150, 226]


def test_a_stranger_is_told(grid: Grid, parties: Parties, gridftp: GridFTPServer) -> None:
    mallory = proxy_of(grid.cas["rsa2048"].issue("/O=Grid/OU=Test/CN=Mallory"))
    with pytest.raises(FTPRefusedError, match="530"):
        log_in(parties, gridftp, credential=mallory)


@each_version
def test_another_server_than_meant(parties: Parties, gridftp: GridFTPServer, version: TLSVersion) -> None:
    with pytest.raises(VerificationError):
        GridFTPClient.connect(
            [HostPort("localhost", gridftp.port)],
            parties.alice,
            parties.anchors,
            now=clock,
            target=Target("other.example.org"),
            tls=ClientTLS(parties.alice, maximum=version),
        )


@each_version
@pytest.mark.parametrize("verb", ["ENC", "MIC", "CONF"])
def test_what_the_server_makes_of_our_commands(
    parties: Parties, gridftp: GridFTPServer, version: TLSVersion, verb: str
) -> None:
    """It looks at the token alone; and a command in the clear makes it hang up."""
    with log_in(parties, gridftp, version) as client:
        client._stream.send(client._control.command("NOOP").replace(b"ENC", verb.encode()))
        assert client._read_reply().code == 200
        client._stream.send(b"NOOP\r\n")
        with pytest.raises(TransportError):
            client._read_reply()


# Ours with globus-gatekeeper


@each_version
@each_delegation
@pytest.mark.parametrize("framing", [Framing.BARE, Framing.LENGTH])
def test_ping(
    parties: Parties, gatekeeper: Daemon, version: TLSVersion, delegate: ProxyOptions | None, framing: Framing
) -> None:
    answer = ping(
        [HostPort("localhost", gatekeeper.port)],
        parties.alice,
        parties.anchors,
        now=clock,
        delegate=delegate,
        tls=ClientTLS(parties.alice, maximum=version),
        timeout=SILENCE,
        framing=framing,
    )
    assert (answer.identity, answer.version) == ("/O=Grid/CN=localhost", version)


def test_pings_that_are_refused(grid: Grid, parties: Parties, gatekeeper: Daemon) -> None:
    where = [HostPort("localhost", gatekeeper.port)]

    def attempt(credential: Credential, service: str = "jobmanager-fork", account: str | None = None) -> None:
        ping(where, credential, parties.anchors, now=clock, service=service, account=account, timeout=SILENCE)

    mallory = proxy_of(grid.cas["rsa2048"].issue("/O=Grid/OU=Test/CN=Mallory"))
    with pytest.raises(RefusedError, match="403"):
        attempt(mallory)
    with pytest.raises(RefusedError, match="403"):
        attempt(parties.alice, account="nonesuch")
    with pytest.raises(RefusedError, match="404"):
        attempt(parties.alice, service="nonesuch")
    with pytest.raises(RefusedError, match="403"):  # past the handshake; the service's entry does not allow it
        attempt(proxy_of(parties.user, LIMITED))
    attempt(parties.alice)


@each_version
def test_a_request_cut_into_messages(parties: Parties, gatekeeper: Daemon, version: TLSVersion) -> None:
    """Head and body apart, as globusrun sends them."""
    stream, _ = connect([HostPort("localhost", gatekeeper.port)], read_timeout=SILENCE)
    secured = ContextStream(stream, parties.initiator(version), framing=Framing.MIXED)
    secured.establish()
    secured.send(b"POST ping/jobmanager HTTP/1.1\r\nHost: localhost\r\n", b"Content-Length: 0\r\n\r\n")
    assert secured.receive().startswith(b"HTTP/1.1 200 OK\r\n")
    stream.close()


# globusrun with ours


@each_version
def test_globusrun(parties: Parties, user: UserEnvironment, version: TLSVersion) -> None:
    write(user.proxy_path, proxy_of(parties.user, FULL))
    found: list[tuple[ContextInfo, GatekeeperRequest]] = []

    def serve(stream: TCPStream) -> None:
        context = parties.acceptor(version)
        secured = ContextStream(stream, context)
        secured.establish(initiate=False)
        data = b""
        while (request := parse_request(data)) is None:
            received = secured.receive()
            assert received
            data += received
        found.append((context.inquire(), request))
        secured.send(encode_reply(200 if request.service == "jobmanager" else 404))

    with serving(serve) as server:
        user.theirs("globusrun", "-a", "-r", f"localhost:{server.port}").check()
        done = user.theirs("globusrun", "-a", "-r", f"localhost:{server.port}/nonesuch")
        assert done.returncode != 0
    server.check()
    assert [(info.identity, info.version, info.is_limited) for info, _ in found] == [(ALICE, version, False)] * 2
    assert found[0][1] == GatekeeperRequest(is_ping=True, service="jobmanager", account=None, body=b"")
    assert found[1][1].service == "nonesuch"


@each_version
def test_globusrun_when_we_refuse_it(parties: Parties, user: UserEnvironment, version: TLSVersion) -> None:
    write(user.proxy_path, proxy_of(parties.user, LIMITED))
    refused: list[GridError] = []

    def serve(stream: TCPStream) -> None:
        secured = ContextStream(stream, parties.acceptor(version, accept_limited=False))
        try:
            secured.establish(initiate=False)
        except VerificationError as error:
            refused.append(error)

    with serving(serve) as server:
        done = user.theirs("globusrun", "-a", "-r", f"localhost:{server.port}")
    server.check()
    assert done.returncode != 0
    assert len(refused) == 1


# globus-url-copy with ours


class FileServer:
    """As much of a GridFTP server as one download needs."""

    def __init__(
        self,
        parties: Parties,
        version: TLSVersion,
        content: bytes = CONTENT,
        *,
        data_credential: Credential | None = None,
    ) -> None:
        self._data_credential = data_credential
        self._parties = parties
        self._version = version
        self._content = content
        self.commands: list[Command] = []
        self.infos: list[ContextInfo] = []
        self.delegated: list[Credential | None] = []

    def serve(self, stream: TCPStream) -> None:
        control = ControlServer(lambda: self._parties.acceptor(self._version))
        session = _Session(self._parties, self._version, control, stream, self._content, self._data_credential)
        with session.opened:
            while (command := _next_command(control, stream)) is not None:
                if not self.commands:
                    self.infos.append(control.context.inquire())
                    self.delegated.append(control.context.delegated)
                self.commands.append(command)
                session.obey(command)
                stream.send(control.data_to_send())
                if command.verb == "QUIT":
                    return


def _next_command(control: ControlServer, stream: TCPStream) -> Command | None:
    while (command := control.next_command()) is None:
        if data := control.data_to_send():
            stream.send(data)
        if not (received := stream.receive()):
            return None
        control.receive_data(received)
    return command


class _Session:
    def __init__(
        self,
        parties: Parties,
        version: TLSVersion,
        control: ControlServer,
        stream: TCPStream,
        content: bytes,
        data_credential: Credential | None,
    ) -> None:
        self._content = content
        self._data_credential = data_credential
        self._parties = parties
        self._version = version
        self._control = control
        self._stream = stream
        self._listener: socket.socket | None = None
        self.opened = contextlib.ExitStack()
        self._settings = {"PROT": "C", "DCAU": "A"}

    def obey(self, command: Command) -> None:
        reply = self._control.reply
        match command.verb:
            case "USER":
                reply(331, "Password required.")
            case "PASS":
                reply(230, "User logged in.")
            case "FEAT":
                reply(211, "Extensions supported", "DCAU", "SIZE", "End.")
            case "SITE" if command.argument.startswith("CLIENTINFO"):
                reply(250, "Noted.")
            case "TYPE" | "MODE" | "PBSZ" | "PROT" | "DCAU":
                self._settings[command.verb] = command.argument
                reply(200, f"{command.verb} accepted.")
            case "SIZE":
                reply(213, str(len(CONTENT)))
            case "PASV":
                self._listener = self.opened.enter_context(socket.create_server(("127.0.0.1", 0)))
                port: int = self._listener.getsockname()[1]
                reply(227, f"Entering Passive Mode (127,0,0,1,{port >> 8},{port & 255})")
            case "RETR" if command.argument == "/nonesuch":
                reply(550, "No such file.")  # with the data channel left as it is
            case "RETR":
                self._send_file()
            case "QUIT":
                reply(221, "Goodbye.")
            case _:
                reply(500, "Not here.")

    def _send_file(self) -> None:
        assert self._listener is not None
        self._listener.settimeout(SILENCE)
        channel = TCPStream(self._listener.accept()[0], timeout=SILENCE)
        self.opened.callback(channel.close)
        carrier: Stream = channel
        if self._settings["DCAU"] == "A":
            is_clear = self._settings["PROT"] == "C"
            context = self._parties.acceptor(
                self._version,
                credential=self._data_credential or self._control.context.delegated,
                ssl_compatible=not is_clear,
            )
            secured = ContextStream(channel, context)
            secured.establish(initiate=False)
            assert context.inquire().identity == self._control.context.inquire().identity
            carrier = channel if is_clear else secured
        self._control.reply(150, "Beginning transfer.")
        self._stream.send(self._control.data_to_send())
        carrier.send(self._content)
        channel.close()
        self._control.reply(226, "Transfer complete.")


@each_version
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), None),
        (("-dcsafe",), Command("PROT", "S")),
        (("-dcpriv",), Command("PROT", "P")),
        (("-nodcau",), Command("DCAU", "N")),
    ],
    ids=["plain", "safe", "private", "no dcau"],
)
def test_url_copy(
    parties: Parties, user: UserEnvironment, version: TLSVersion, options: tuple[str, ...], expected: Command | None
) -> None:
    """The whole download: control channel, delegation, and data channels accepted with what was delegated."""
    write(user.proxy_path, proxy_of(parties.user, FULL))
    target = user.home / "target"
    served = FileServer(parties, version)
    with serving(served.serve) as server:
        user.theirs("globus-url-copy", *options, f"gsiftp://localhost:{server.port}/x", f"file://{target}").check()
    server.check()
    assert target.read_bytes() == CONTENT
    assert expected is None or expected in served.commands
    (info,) = served.infos
    assert (info.identity, info.version) == (ALICE, version)
    assert ContextFlag.DELEG_LIMITED in info.flags
    assert served.delegated[0] is not None


@each_version
def test_url_copy_when_it_does_not_mean_us(parties: Parties, user: UserEnvironment, version: TLSVersion) -> None:
    write(user.proxy_path, proxy_of(parties.user, FULL))
    served = FileServer(parties, version)
    with serving(served.serve) as server:
        done = user.theirs(
            "globus-url-copy", "-s", "/O=Grid/CN=Other", f"gsiftp://localhost:{server.port}/x", "file:///dev/null"
        )
    assert done.returncode != 0
    assert served.commands == []


@each_version
@pytest.mark.parametrize("protection", list(Protection))
def test_our_client_with_our_server(parties: Parties, version: TLSVersion, protection: Protection) -> None:
    """Whole, and with the end cut off: a data channel ends without TLS's own farewell."""
    for content in (CONTENT, CONTENT[:-1]):
        served = FileServer(parties, version, content)
        with serving(served.serve) as server:
            hosts = [HostPort("localhost", server.port)]
            with GridFTPClient.connect(hosts, parties.alice, parties.anchors, now=clock, timeout=SILENCE) as client:
                client.login()
                client.protect(protection)
                if content == CONTENT:
                    assert client.retrieve("/x") == CONTENT
                else:
                    with pytest.raises(TransportError, match=f"{len(content)} of {len(CONTENT)} bytes"):
                        client.retrieve("/x")
        server.check()


def test_a_refusal_ends_the_wait_for_data(parties: Parties) -> None:
    served = FileServer(parties, TLSVersion.TLS1_3)
    with serving(served.serve) as server:
        hosts = [HostPort("localhost", server.port)]
        with GridFTPClient.connect(hosts, parties.alice, parties.anchors, now=clock, timeout=SILENCE) as client:
            client.login()
            with pytest.raises(FTPRefusedError, match="550"):
                client.retrieve("/nonesuch")
            assert client.retrieve("/x") == CONTENT
    server.check()


@pytest.mark.parametrize("protection", list(Protection))
def test_a_data_channel_that_is_somebody_elses(parties: Parties, protection: Protection) -> None:
    """Whoever connects to the data channel first: it has to be our own identity that answers."""
    served = FileServer(parties, TLSVersion.TLS1_3, data_credential=parties.host)
    with serving(served.serve) as server:
        hosts = [HostPort("localhost", server.port)]
        with GridFTPClient.connect(hosts, parties.alice, parties.anchors, now=clock, timeout=SILENCE) as client:
            client.login()
            client.protect(protection)
            with pytest.raises(VerificationError) as caught:
                client.retrieve("/x")
            assert caught.value.reason is Reason.PEER_NAME
    assert server.errors


# Servers that lie


def answering(*replies: bytes) -> Callable[[TCPStream], None]:
    def serve(stream: TCPStream) -> None:
        for reply in replies:
            stream.send(reply)
            stream.receive()

    return serve


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ((b"SSH-2.0-OpenSSH\r\n",), RemoteProtocolError),
        ((b"421 busy\r\n",), FTPRefusedError),
        ((b"220 ready\r\n", b"235 welcome\r\n"), RemoteProtocolError),
        ((b"220 ready\r\n", b"504 no\r\n"), FTPRefusedError),
        ((b"220 ready\r\n", b"334 go on\r\n", b"235 welcome\r\n"), RemoteProtocolError),
        ((b"220 ready\r\n", b"334 go on\r\n", b"335 ADAT=\r\n"), RemoteProtocolError),
        ((b"220 ready\r\n", b"334 go on\r\n", b"335 ADAT=!\r\n"), RemoteProtocolError),
        ((b"220 ready\r\n", b"334 go on\r\n"), TransportError),
    ],
)
def test_servers_that_lie(parties: Parties, replies: tuple[bytes, ...], error: type[GridError]) -> None:
    with serving(answering(*replies)) as server, pytest.raises(error):
        GridFTPClient.connect(
            [HostPort("127.0.0.1", server.port)], parties.alice, parties.anchors, now=clock, timeout=SILENCE
        )


def test_a_gatekeeper_that_hangs_up(parties: Parties) -> None:
    def serve(stream: TCPStream) -> None:
        secured = ContextStream(stream, parties.acceptor())
        secured.establish(initiate=False)
        secured.receive()

    with serving(serve) as server, pytest.raises(RemoteProtocolError, match="without an answer"):
        ping([HostPort("localhost", server.port)], parties.alice, parties.anchors, now=clock, timeout=SILENCE)
    server.check()


def test_streams_end_within_a_message(parties: Parties) -> None:
    def serve(stream: TCPStream) -> None:
        context = parties.acceptor()
        ContextStream(stream, context).establish(initiate=False)
        stream.send(context.wrap(b"message")[:-1])

    with serving(serve) as server:
        stream, _ = connect([HostPort("localhost", server.port)], read_timeout=SILENCE)
        secured = ContextStream(stream, parties.initiator())
        secured.establish()
        with pytest.raises(TransportError, match="within a message"):
            secured.receive()
        secured.close()
    server.check()


def test_an_initiator_told_in_the_handshake(parties: Parties) -> None:
    """The alert of whoever refuses reaches the other end through the stream."""
    errors: list[GridError] = []

    def serve(stream: TCPStream) -> None:
        try:
            ContextStream(stream, parties.acceptor()).establish(initiate=False)
        except GridError as error:
            errors.append(error)

    with serving(serve) as server:
        stream, _ = connect([HostPort("localhost", server.port)], read_timeout=SILENCE)
        context = Initiator(parties.alice, parties.anchors, target=Target("other.example.org"), now=clock)
        with pytest.raises(VerificationError):
            ContextStream(stream, context).establish()
        stream.close()
    assert [error.slug for error in errors] == ["authentication"]
