"""FTP lines, replies and commands, and both halves of a control channel joined in memory."""

from __future__ import annotations

import pytest

from gsi.context.exchange import DELEGATE_LIMITED
from gsi.context.framing import encode_base64
from gsi.context.ftp import (
    MAX_LINE_BYTES,
    MAX_REPLY_BYTES,
    Command,
    FTPRefusedError,
    LineReader,
    Reply,
    ReplyAssembler,
    encode_command,
    encode_reply,
    parse_command,
    parse_data_address,
)
from gsi.context.ftp_client import ControlClient
from gsi.context.ftp_server import MAX_CLEAR_COMMANDS, ControlServer
from gsi.errors import GridError, LocalProtocolError, RemoteProtocolError, VerificationError
from gsi.transport.tls import TLSVersion
from tests.harness.contexts import ALICE, Parties, make_parties


@pytest.fixture(scope="module")
def parties() -> Parties:
    return make_parties()


def read(data: bytes) -> list[Reply]:
    lines, assembler, found = LineReader(), ReplyAssembler(), []
    lines.feed(data)
    while (line := lines.next_line()) is not None:
        if (reply := assembler.add(line)) is not None:
            found.append(reply)
    assert not assembler.is_within
    return found


@pytest.mark.parametrize(
    ("data", "replies"),
    [
        (b"220 ready\r\n", [Reply(220, ("ready",))]),
        (b"220\n200 \r\n", [Reply(220, ("",)), Reply(200, ("",))]),
        (b"211-One\r\n two\r\n212 three\r\n211 End\r\n", [Reply(211, ("One", " two", "212 three", "End"))]),
        (b"632-YQ==\r\n632-YQ==\r\n632 YQ==\r\n", [Reply(632, ("YQ==", "YQ==", "YQ=="))]),
        (b"250-x\r\n n\xff\r\n250 End\r\n", [Reply(250, ("x", " n\udcff", "End"))]),
    ],
)
def test_replies(data: bytes, replies: list[Reply]) -> None:
    assert read(data) == replies


@pytest.mark.parametrize("data", [b"\r\n", b"hello\r\n", b"SSH-2.0-x\r\n", b"99 x\r\n", b"999 x\r\n", b"2200 x\r\n"])
def test_no_replies(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read(data)


def test_lines_are_bounded() -> None:
    reader = LineReader(limit=10)
    reader.feed(b"0123456789\r")
    with pytest.raises(RemoteProtocolError):
        reader.next_line()
    assembler = ReplyAssembler()
    line = "211-" + "x" * MAX_LINE_BYTES
    for _ in range(MAX_REPLY_BYTES // len(line)):
        assembler.add(line)
    with pytest.raises(RemoteProtocolError, match="reply of more"):
        assembler.add(line)


def test_what_a_reply_is() -> None:
    assert Reply(150, ("",)).is_preliminary
    assert Reply(550, ("",)).is_refusal
    assert not Reply(226, ("",)).is_refusal
    assert not Reply(632, ("",)).is_refusal
    assert str(Reply(211, ("a", "b"))) == "211 a\nb"


@pytest.mark.parametrize("line", ["", "NOOP\r\nDELE x", "NOOP\n", "CWD \0"])
def test_commands_that_are_not_sent(line: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode_command(line)


@pytest.mark.parametrize("lines", [(), ("a\r\nb",), ("a", "b\n"), ("\0",)])
def test_replies_that_are_not_sent(lines: tuple[str, ...]) -> None:
    with pytest.raises(LocalProtocolError):
        encode_reply(200, *lines)


def test_commands() -> None:
    assert parse_command("auth GSSAPI") == Command("AUTH", "GSSAPI")
    assert parse_command("RETR  two blanks") == Command("RETR", " two blanks")
    for line in ("", " x", "A", "GET/ HTTP/1.0", "TOOLONGVERB x"):
        with pytest.raises(RemoteProtocolError):
            parse_command(line)


@pytest.mark.parametrize(
    ("code", "text", "address"),
    [
        (227, "Entering Passive Mode (127,0,0,1,4,1)", ("127.0.0.1", 1025)),
        (227, "=10,0,0,9,255,255", ("10.0.0.9", 65535)),
        (229, "Entering Extended Passive Mode (|||65535|)", ("::1", 65535)),
        (227, "Entering Passive Mode (256,0,0,1,4,1)", None),
        (227, "Entering Passive Mode (127,0,0,1,0,0)", None),
        (227, "(1,2,3)", None),
        (229, "(|||0|)", None),
        (229, "(|||65536|)", None),
        (229, "(127,0,0,1,4,1)", None),
        (200, "(127,0,0,1,4,1)", None),
    ],
)
def test_data_addresses(code: int, text: str, address: tuple[str, int] | None) -> None:
    reply = Reply(code, (text,))
    if address is not None:
        assert parse_data_address(reply, host="::1") == address
        return
    with pytest.raises(RemoteProtocolError):
        parse_data_address(reply, host="::1")


# Both halves


def one_reply(client: ControlClient) -> Reply:
    reply = client.next_reply()
    assert reply is not None
    return reply


def secured(parties: Parties, version: TLSVersion = TLSVersion.TLS1_3) -> tuple[ControlClient, ControlServer]:
    client = ControlClient(parties.initiator(version, delegate=DELEGATE_LIMITED))
    server = ControlServer(lambda: parties.acceptor(version))
    client.receive_data(server.data_to_send())
    assert one_reply(client).code == 220
    message = client.begin()
    for _ in range(10):
        server.receive_data(message)
        assert server.next_command() is None
        client.receive_data(server.data_to_send())
        message = client.authenticate(one_reply(client))
        if not message:
            break
    assert client.is_secured
    assert server.is_secured
    return client, server


@pytest.mark.parametrize("version", list(TLSVersion))
def test_authentication_and_commands(parties: Parties, version: TLSVersion) -> None:
    client, server = secured(parties, version)
    assert server.context.inquire().identity == ALICE
    assert server.context.delegated is not None
    server.receive_data(client.command("USER :globus-mapping:") + client.command("FEAT"))
    assert server.next_command() == Command("USER", ":globus-mapping:")
    assert server.next_command() == Command("FEAT")
    assert server.next_command() is None
    server.reply(331, "Password required.")
    server.reply(211, "Extensions supported:", "MLST", "DCAU", "End.")
    data = server.data_to_send()
    assert data.count(b"632-") == 3
    assert data.count(b"632 ") == 2
    for byte in data[:-1]:
        client.receive_data(bytes((byte,)))
    assert one_reply(client) == Reply(331, ("Password required.",))
    assert client.next_reply() is None
    client.receive_data(data[-1:])
    assert one_reply(client) == Reply(211, ("Extensions supported:", " MLST", " DCAU", "End."))


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"AUTH TLS\r\n", 504),
        (b"AUTH GSI\r\n", 504),
        (b"ADAT YQ==\r\n", 530),
        (b"USER alice\r\n", 530),
        (b"ENC YQ==\r\n", 530),
    ],
)
def test_before_authentication(parties: Parties, line: bytes, code: int) -> None:
    server = ControlServer(parties.acceptor)
    server.data_to_send()
    server.receive_data(line + b"auth gssapi\r\nAUTH GSSAPI\r\n")
    assert server.next_command() is None
    assert [reply.code for reply in read(server.data_to_send())] == [code, 334, 503]
    with pytest.raises(LocalProtocolError):
        server.reply(200, "x")


@pytest.mark.parametrize("line", [b"ADAT \r\n", b"ADAT FgMBAA\r\n", b"ADAT FgMB\r\n", b"ADAT R0VUIC8=\r\n"])
def test_bad_tokens(parties: Parties, line: bytes) -> None:
    server = ControlServer(parties.acceptor)
    server.receive_data(b"AUTH GSSAPI\r\n" + line)
    with pytest.raises(RemoteProtocolError):
        server.next_command()
    assert [reply.code for reply in read(server.data_to_send())] == [220, 334, 535]
    with pytest.raises(LocalProtocolError):
        server.next_command()


def test_a_client_that_never_authenticates(parties: Parties) -> None:
    server = ControlServer(parties.acceptor)
    server.receive_data(b"NOOP\r\n" * (MAX_CLEAR_COMMANDS + 1))
    with pytest.raises(RemoteProtocolError):
        server.next_command()
    with pytest.raises(LocalProtocolError):
        _ = server.context


@pytest.mark.parametrize("what", ["clear", "another verb", "two", "empty", "replayed", "no verb"])
def test_bad_commands(parties: Parties, what: str) -> None:
    client, server = secured(parties)
    wrap = client.context.wrap
    match what:
        case "clear":
            line = b"NOOP\r\n"
        case "another verb":
            line = client.command("NOOP").replace(b"ENC", b"XENC")
        case "two":
            line = b"ENC " + encode_base64(wrap(b"NOOP\r\nDELE x\r\n")).encode() + b"\r\n"
        case "empty":
            line = b"ENC " + encode_base64(wrap(b"\r\n")).encode() + b"\r\n"
        case "no verb":
            line = b"ENC " + encode_base64(wrap(b"??\r\n")).encode() + b"\r\n"
        case _:
            line = client.command("NOOP")
            server.receive_data(line)
            assert server.next_command() == Command("NOOP")
    server.receive_data(line)
    with pytest.raises(GridError):
        server.next_command()
    with pytest.raises(LocalProtocolError):
        server.next_command()


@pytest.mark.parametrize("verb", [b"ENC", b"MIC", b"CONF", b"enc"])
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"", b"\r\n\0"])
def test_commands_however_protected(parties: Parties, verb: bytes, end: bytes) -> None:
    """The C server looks at nothing but the token; and not every client ends its lines."""
    client, server = secured(parties)
    server.receive_data(verb + b" " + encode_base64(client.context.wrap(b"NOOP" + end)).encode() + b"\r\n")
    assert server.next_command() == Command("NOOP")


@pytest.mark.parametrize("what", ["clear", "another code", "inner", "early", "late", "cut", "two"])
def test_bad_protected_replies(parties: Parties, what: str) -> None:
    client, server = secured(parties)

    def line(separator: str, text: bytes) -> bytes:
        return f"632{separator}{encode_base64(server.context.wrap(text))}\r\n".encode()

    match what:
        case "clear":
            data = b"226 Transfer complete.\r\n"
        case "another code":
            data = line(" ", b"200 ok\r\n").replace(b"632", b"634")
        case "inner":
            data = line(" ", b"hello\r\n")
        case "early":
            data = line("-", b"200 ok\r\n") + line(" ", b"200 ok\r\n")
        case "late":
            data = line(" ", b"211-one\r\n")
        case "cut":
            data = line(" ", b"200 ok")
        case _:
            data = line(" ", b"200 ok\r\n226 done\r\n")
    client.receive_data(data)
    with pytest.raises(RemoteProtocolError):
        client.next_reply()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(335, ("ADAT=",)),
        Reply(335, ("no token",)),
        Reply(335, ("ADAT=FgMB",)),
        Reply(235, ("fine",)),
        Reply(200, ("what?",)),
        Reply(530, ("no",)),
    ],
    ids=str,
)
def test_bad_answers_to_tokens(parties: Parties, reply: Reply) -> None:
    """Above all a success before the server is proven."""
    client = ControlClient(parties.initiator())
    with pytest.raises(LocalProtocolError):
        client.command("NOOP")
    client.begin()
    with pytest.raises(LocalProtocolError):
        client.begin()
    assert client.authenticate(Reply(334, ("go on",))).startswith(b"ADAT ")
    with pytest.raises(FTPRefusedError if reply.code == 530 else RemoteProtocolError):
        client.authenticate(reply)
    assert not client.is_secured
    with pytest.raises(LocalProtocolError):
        client.authenticate(reply)


def test_a_server_that_knows_no_gssapi(parties: Parties) -> None:
    client = ControlClient(parties.initiator())
    client.begin()
    with pytest.raises(FTPRefusedError) as caught:
        client.authenticate(Reply(504, ("Unknown",)))
    assert caught.value.reply.code == 504


def test_another_server_than_meant(parties: Parties) -> None:
    client = ControlClient(parties.initiator(target="other.example.org"))
    server = ControlServer(parties.acceptor)
    server.data_to_send()
    server.receive_data(client.begin())
    server.next_command()
    client.receive_data(server.data_to_send())
    server.receive_data(client.authenticate(one_reply(client)))
    server.next_command()
    client.receive_data(server.data_to_send())
    with pytest.raises(VerificationError):
        client.authenticate(one_reply(client))


def test_a_last_token_with_the_success(parties: Parties) -> None:
    """`235 ADAT=` has to be taken; here it brings a token that nothing is to be done with."""
    client = ControlClient(parties.initiator())
    server = parties.acceptor()
    client.begin()
    message = client.authenticate(Reply(334, ("go on",)))
    for _ in range(2):
        step = server.step(_token(message))
        message = client.authenticate(Reply(335, ("ADAT=" + encode_base64(step.output),)))
    assert server.step(_token(message)).done
    assert client.authenticate(Reply(235, ("ADAT=" + encode_base64(server.wrap(b"x")),))) == b""
    assert client.is_secured


def _token(message: bytes) -> bytes:
    import base64

    return base64.b64decode(message.removeprefix(b"ADAT "))
