"""A small GridFTP client, blocking: connect, authenticate, commands, listings and files over authenticated channels.

    with GridFTPClient.connect(parse_hosts("data.example.org", default_port=2811), credential, anchors, now=now) as ftp:
        ftp.login()
        ftp.list_names("/data")
        ftp.protect(Protection.PRIVATE)
        content = ftp.retrieve("/data/file")

For examples, checks and small files: one stream, everything in memory up to a limit, the client always connects. Moving
data at size is globus-url-copy's trade. The control channel is `ftp_client`'s.

Data channels (GFD.20, `DCAU`): with SELF, the default after authentication, the server shows the credential delegated
to it, and the identity has to be our own. Under `PROT C` the context is a full one and the bytes after it are clear;
under S and P it is a plain TLS handshake and the bytes stay in its records. The server announces a transfer (150) only
once that handshake is done, but refuses one without any, so both channels are watched. Agrees with gct:gridftp/control.
"""

from __future__ import annotations

import select
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from gsi.context.exchange import DELEGATE_LIMITED
from gsi.context.ftp import (
    Command,
    DataAuthentication,
    FTPRefusedError,
    Protection,
    Reply,
    parse_data_address,
)
from gsi.context.ftp_client import ControlClient
from gsi.context.initiator import Initiator
from gsi.context.stream import ContextStream
from gsi.context.target import Target
from gsi.errors import GridError, LocalProtocolError, RemoteProtocolError, TimeoutExpiredError, TransportError
from gsi.names import oneline
from gsi.proxy.chain import ProxyChain
from gsi.transport.stream import CONNECT_TIMEOUT, READ_TIMEOUT, HostPort, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsi.context.base import Anchors, Clock
    from gsi.credential import Credential
    from gsi.proxy.issue import ProxyOptions
    from gsi.transport.stream import Stream, TCPStream
    from gsi.transport.tls import ClientTLS

__all__ = ["DEFAULT_PORT", "MAPPED_ACCOUNT", "MAX_DATA_BYTES", "GridFTPClient"]

DEFAULT_PORT: Final = 2811
"""The port of GridFTP servers, as IANA has it (gsiftp)."""
MAX_DATA_BYTES: Final = 256 << 20
"""What one listing or file may bring: all of it is held in memory."""
SEND_BYTES: Final = 1 << 20
"""What is handed to the data channel in one piece."""
MAPPED_ACCOUNT: Final = ":globus-mapping:"
"""The user name that stands for whatever the server maps our identity to."""


class GridFTPClient:
    """One session with a server. Made by `connect`.

    Attributes:
        greeting: The server's first words.
    """

    def __init__(
        self,
        stream: TCPStream,
        control: ControlClient,
        credential: Credential,
        anchors: Anchors,
        *,
        now: Clock,
        timeout: float,
        tls: ClientTLS | None,
    ) -> None:
        self._stream = stream
        self._control = control
        self._credential = credential
        self._anchors = anchors
        self._now = now
        self._timeout = timeout
        self._tls = tls
        self._protection = Protection.CLEAR
        self._authentication = DataAuthentication.SELF
        self._replies: deque[Reply] = deque()
        self.greeting = Reply(220, ("",))

    @classmethod
    def connect(
        cls,
        hosts: Sequence[HostPort],
        credential: Credential,
        anchors: Anchors,
        *,
        now: Clock,
        target: Target | None = None,
        delegate: ProxyOptions | None = DELEGATE_LIMITED,
        tls: ClientTLS | None = None,
        timeout: float = READ_TIMEOUT,
    ) -> Self:
        """Connect to the first host that answers and authenticate.

        Args:
            hosts: Where the server is.
            credential: Whom to be.
            anchors: Whom to trust.
            now: The time, aware UTC, or what tells it.
            target: Who the server has to be; the host by default.
            delegate: What to delegate: data channels with SELF need something. None for nothing.
            tls: See `Initiator`.
            timeout: Seconds of silence before giving up.

        Raises:
            FTPRefusedError: The server refuses us.
            GridError: As `SecurityContext.step`.
            TransportError: The connection failed.
        """
        stream, where = connect(hosts, timeout=min(timeout, CONNECT_TIMEOUT), read_timeout=timeout)
        try:
            target = target or Target(host=where.host)
            context = Initiator(credential, anchors, target=target, now=now, delegate=delegate, tls=tls)
            client = cls(stream, ControlClient(context), credential, anchors, now=now, timeout=timeout, tls=tls)
            client._authenticate()
        except BaseException:
            stream.close()
            raise
        return client

    def _authenticate(self) -> None:
        self.greeting = self._read_reply()
        if self.greeting.code != 220:
            raise FTPRefusedError(self.greeting)
        self._stream.send(self._control.begin())
        while message := self._control.authenticate(self._read_reply()):
            self._stream.send(message)

    def _read_reply(self) -> Reply:
        while not self._replies:
            self._receive_replies()
        return self._replies.popleft()

    def _receive_replies(self) -> None:
        """Wait for bytes on the control channel and keep the replies in them."""
        data = self._stream.receive()
        if not data:
            raise TransportError("the server closed the control channel")
        self._control.receive_data(data)
        while (reply := self._control.next_reply()) is not None:
            self._replies.append(reply)

    def _await_data(self, channel: TCPStream) -> None:
        """Wait until there is something on the data channel, unless the control channel says that nothing will be.

        Raises:
            FTPRefusedError: The server refuses the transfer.
            TimeoutExpiredError: Both were silent.
        """
        while True:
            ready, _, _ = select.select([channel, self._stream], [], [], self._timeout)
            if not ready:
                raise TimeoutExpiredError(f"the server was silent for {self._timeout:g} seconds")
            if self._stream in ready:
                self._receive_replies()
                refusal = next((reply for reply in self._replies if reply.is_refusal), None)
                if refusal is not None:
                    self._replies.clear()
                    raise FTPRefusedError(refusal)
            if channel in ready:
                return

    @property
    def context(self) -> Initiator:
        """The context of the control channel, to inquire."""
        return self._control.context

    def command(self, line: str) -> Reply:
        """Send a command and return the reply to it.

        Raises:
            FTPRefusedError: The server says no.
            LocalProtocolError: The line cannot be one command.
            TransportError: The connection failed.
        """
        self._stream.send(self._control.command(line))
        reply = self._read_reply()
        if reply.is_refusal:
            raise FTPRefusedError(reply)
        return reply

    def login(self, account: str = MAPPED_ACCOUNT) -> Reply:
        """Log in; by default to the account that the server maps us to.

        Raises:
            FTPRefusedError: The server maps us to none, or not to this one.
        """
        reply = self.command(f"USER {account}")
        if reply.code == 331:
            reply = self.command("PASS dummy")
        if reply.code != 230:
            raise RemoteProtocolError(f"no answer to a log-in: {reply}")
        return reply

    def facts(self, path: str) -> str:
        """Return the facts about a file in one line, as `MLST` gives them: `Type=file;Size=3; name`."""
        lines = self.command(f"MLST {path}").lines
        if len(lines) != 3:
            raise RemoteProtocolError("the reply to MLST has no line of facts")
        return lines[1].strip()

    def set_data_authentication(self, mode: DataAuthentication) -> None:
        """Say who has to be at the other end of data channels (`DCAU`)."""
        self.command(f"DCAU {mode.value}")
        self._authentication = mode

    def protect(self, level: Protection) -> None:
        """Say what is done to data (`PBSZ`, `PROT`); anything but CLEAR needs data channels that are authenticated."""
        if level is not Protection.CLEAR:
            self.command("PBSZ 1048576")
        self.command(f"PROT {level.value}")
        self._protection = level

    def list_names(self, path: str = "") -> list[str]:
        """Return the names in a directory (`NLST`)."""
        return self._read_lines(Command("NLST", path))

    def list_lines(self, path: str = "") -> list[str]:
        """Return a directory as the server prints it (`LIST`)."""
        return self._read_lines(Command("LIST", path))

    def list_facts(self, path: str = "") -> list[str]:
        """Return the facts about everything in a directory (`MLSD`), one line each."""
        return self._read_lines(Command("MLSD", path))

    def _read_lines(self, command: Command) -> list[str]:
        text = self._transfer(command, None).decode("utf-8", "surrogateescape")
        return [stripped for line in text.split("\n") if (stripped := line.rstrip("\r"))]

    def retrieve(self, path: str) -> bytes:
        """Return a file's content.

        C servers end a data channel without a closing alert, so that TLS alone cannot tell whether data was cut off;
        the length is compared with what the server says on the control channel.

        Raises:
            FTPRefusedError: The server says no.
            GridError: The data channel cannot be authenticated.
            RemoteProtocolError: It is larger than `MAX_DATA_BYTES`.
            TransportError: A connection failed, or less came than the file has.
        """
        self.command("TYPE I")
        size = self.command(f"SIZE {path}").text.strip()
        content = self._transfer(Command("RETR", path), None)
        if size.isascii() and size.isdigit() and len(size) < 20 and len(content) < int(size):
            raise TransportError(f"{len(content)} of {size} bytes came")
        return content

    def store(self, path: str, content: bytes) -> None:
        """Write a file.

        Raises:
            FTPRefusedError: The server says no.
            GridError: The data channel cannot be authenticated.
            TransportError: A connection failed.
        """
        self.command("TYPE I")
        self._transfer(Command("STOR", path), content)

    def _transfer(self, command: Command, content: bytes | None) -> bytes:
        """Open a data channel, give the command, send the content or read what comes."""
        if self._protection is not Protection.CLEAR and self._authentication is DataAuthentication.NONE:
            raise LocalProtocolError("data cannot be protected on channels that nobody authenticates")
        address = parse_data_address(self._open_passive(), host=self._stream.peer.host)
        channel, _ = connect(
            [HostPort(*address)], timeout=min(self._timeout, CONNECT_TIMEOUT), read_timeout=self._timeout
        )
        try:
            line = f"{command.verb} {command.argument}" if command.argument else command.verb
            self._stream.send(self._control.command(line))
            try:
                carrier, begun = self._authenticate_data(channel)
            except TransportError as error:
                channel.close()
                raise self._explain(error) from error
            reply = self._read_reply()
            if reply.is_refusal:
                raise FTPRefusedError(reply)
            if not reply.is_preliminary:
                raise RemoteProtocolError(f"the server announces no data: {reply}")
            if content is None:
                received = _read_all(carrier, begun)
            else:
                received = b""
                for start in range(0, len(content), SEND_BYTES):
                    carrier.send(content[start : start + SEND_BYTES])
        finally:
            channel.close()
        self._finish()
        return received

    def _explain(self, error: TransportError) -> GridError:
        """The server's words on a data channel that it broke, where it has any."""
        try:
            reply = self._read_reply()
        except TransportError:
            return error
        return FTPRefusedError(reply, hint="was a credential delegated?") if reply.is_refusal else error

    def _open_passive(self) -> Reply:
        return self.command("EPSV" if ":" in self._stream.peer.host else "PASV")

    def _finish(self) -> None:
        reply = self._read_reply()
        while reply.is_preliminary:  # performance markers and the like
            reply = self._read_reply()
        if reply.is_refusal:
            raise FTPRefusedError(reply)

    def _authenticate_data(self, channel: TCPStream) -> tuple[Stream, bytes]:
        """Authenticate the channel as agreed; return what carries the data, and what has come of it already."""
        if self._authentication is DataAuthentication.NONE:
            return channel, b""
        secured = ContextStream(_Watched(channel, self._await_data), self._make_data_context())
        secured.establish()
        if self._protection is Protection.CLEAR:
            return channel, secured.take_clear()
        return secured, b""

    def _make_data_context(self) -> Initiator:
        own = oneline(ProxyChain.split(self._credential.certificates).eec.subject_der)
        return Initiator(
            self._credential,
            self._anchors,
            target=Target(identity=own),
            now=self._now,
            ssl_compatible=self._protection is not Protection.CLEAR,
            tls=self._tls,
        )

    def close(self) -> None:
        """Take leave and close the connection."""
        try:
            if self._control.is_secured:
                self._stream.send(self._control.command("QUIT"))
        except GridError:
            return
        finally:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Watched:
    """A data channel that is read only once `wait` agrees."""

    def __init__(self, channel: TCPStream, wait: Callable[[TCPStream], None]) -> None:
        self._channel = channel
        self._wait = wait

    def send(self, data: bytes, /) -> None:
        self._channel.send(data)

    def receive(self) -> bytes:
        self._wait(self._channel)
        return self._channel.receive()

    def close(self) -> None:
        self._channel.close()


def _read_all(stream: Stream, begun: bytes) -> bytes:
    data = bytearray(begun)
    while received := stream.receive():
        data += received
        if len(data) > MAX_DATA_BYTES:
            raise RemoteProtocolError(f"more than {MAX_DATA_BYTES} bytes came over the data channel")
    return bytes(data)
