"""The MyProxy clients' command lines, prompts and errors; what they do with a server is tested against real ones."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import pexpect
import pytest

from gsi.cli.arguments import UsageError
from gsi.errors import ConfigError, RefusedError
from gsi.secret import Passphrase
from gsi.system.trustdir import TrustDirectory
from myproxy.cli import change_pass_phrase, destroy, get_trustroots, info, init, logon, retrieve, store
from myproxy.cli.options import LongOptionParser
from myproxy.cli.policies import read_policies
from myproxy.cli.trustroots import safe_name
from myproxy.client import MyProxyClient, ServerAddress
from myproxy.protocol.messages import Command, Request
from tests.harness.ca import Issued, TestCA
from tests.harness.daemons import free_port
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.run import Done, c_program, our_program, run

OWNERS = ["myproxy-info", "myproxy-destroy", "myproxy-change-pass-phrase"]
COMMANDS = ["myproxy-init", "myproxy-logon", "myproxy-get-delegation", *OWNERS]
FILES = ["myproxy-store", "myproxy-retrieve", "myproxy-get-trustroots"]
EVERY = [*COMMANDS, *FILES]
PARSERS = {
    "myproxy-change-pass-phrase": change_pass_phrase.build_parser,
    "myproxy-store": store.build_parser,
    "myproxy-retrieve": retrieve.build_parser,
    "myproxy-get-trustroots": get_trustroots.build_parser,
    "myproxy-init": init.build_parser,
    "myproxy-logon": logon.build_parser,
    "myproxy-info": info.build_parser,
    "myproxy-destroy": destroy.build_parser,
}
C_OPTIONS = {
    "myproxy-init": "h:help u:usage v:verbose V:version l:username c:cred_lifetime t:proxy_lifetime s:pshost p:psport "
    "C:certfile y:keyfile a:allow_anonymous_retrievers A:allow_anonymous_renewers x:regex_dn_match X:match_cn_only "
    "r:retrievable_by R:renewable_by Z:retrievable_by_cert S:stdin_pass n:no_passphrase d:dn_as_username k:credname "
    "K:creddesc L:local_proxy m:voms",
    "myproxy-logon": "h:help u:usage v:verbose V:version l:username t:proxy_lifetime o:out s:pshost p:psport "
    "a:authorization d:dn_as_username k:credname S:stdin_pass T:trustroots b:bootstrap n:no_passphrase "
    "N:no_credentials q:quiet m:voms Q:certreq",
    "myproxy-info": "h:help u:usage v:verbose V:version l:username s:pshost p:psport d:dn_as_username k:credname",
    "myproxy-destroy": "h:help u:usage v:verbose V:version l:username s:pshost p:psport d:dn_as_username k:credname",
    "myproxy-change-pass-phrase": "h:help u:usage v:verbose V:version l:username s:pshost p:psport d:dn_as_username "
    "k:credname S:stdin_pass",
    "myproxy-store": "h:help u:usage v:verbose V:version c:certfile y:keyfile t:proxy_lifetime s:pshost p:psport "
    "l:username a:allow_anonymous_retrievers A:allow_anonymous_renewers x:regex_dn_match X:match_cn_only "
    "r:retrievable_by R:renewable_by Z:retrievable_by_cert E:retrieve_key d:dn_as_username k:credname K:creddesc",
    "myproxy-retrieve": "h:help u:usage v:verbose V:version s:pshost p:psport l:username a:authorization "
    "d:dn_as_username k:credname c:certfile y:keyfile S:stdin_pass T:trustroots n:no_passphrase",
    "myproxy-get-trustroots": "h:help u:usage v:verbose V:version s:pshost p:psport q:quiet b:bootstrap",
}
OURS_ALONE = {"myproxy-change-pass-phrase": {("n", "no_passphrase")}, "myproxy-store": {("n", "no_passphrase")}}
"""Short options that the C commands do not have."""


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", "p256")


@pytest.fixture
def user(tmp_path: Path, ca: TestCA, alice: Issued) -> UserEnvironment:
    made = UserEnvironment(tmp_path)
    made.install_user(alice)
    made.trust(ca)
    made.variables |= {"MYPROXY_SERVER": f"127.0.0.1:{free_port()}"}
    return made


def ours(user: UserEnvironment, command: str, *arguments: str | Path, stdin: str = "") -> Done:
    """Run with exactly the user's variables."""
    return run([our_program(command), *arguments], env=user.variables, stdin=stdin)


def assert_error(done: Done, *words: str) -> None:
    assert done.returncode == 1, done
    assert done.stdout == "", done
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert done.stderr.startswith(f"{os.path.basename(done.argv[0])}: error: "), done
    for word in words:
        assert word in done.stderr, done


# Grammar


@pytest.mark.parametrize("command", C_OPTIONS)
def test_every_option_of_the_c_command_is_there(command: str) -> None:
    specs = [spec for section in PARSERS[command]().all_sections for spec in section.specs]
    ours = {(name[1], other[2:]) for spec in specs for name, other in [(*spec.names, "")[:2]] if len(name) == 2}
    theirs = {(word[0], word[2:]) for word in C_OPTIONS[command].split()}
    assert ours == theirs | OURS_ALONE.get(command, set())


def parse(*words: str) -> dict[str, object]:
    parser = LongOptionParser("myproxy-x", "test")
    section = parser.section("Test")
    section.value("-l", "--username", dest="username", metavar="NAME", text="name")
    section.value("-k", "--credname", dest="credname", metavar="NAME", text="name")
    section.flag("-S", "--stdin_pass", dest="stdin_pass", text="flag")
    section.flag("-n", "--no_passphrase", dest="no_passphrase", text="flag")
    section.flag("-N", "--no_credentials", dest="no_credentials", text="flag")
    section.value("--key_type", "--key-type", dest="key_type", metavar="TYPE", text="kind", choices=("a", "b"))
    return dict(vars(parser.parse_args(words)))


@pytest.mark.parametrize(
    "words",
    [
        ["-l", "bob", "-S"],
        ["-lbob", "-S"],
        ["-Sl", "bob"],
        ["-Slbob"],
        ["--username", "bob", "--stdin_pass"],
        ["--username=bob", "--stdin"],
        ["--user", "bob", "--s"],
        ["-l", "alice", "-S", "-l", "bob"],
    ],
)
def test_options_as_getopt_long_reads_them(words: list[str]) -> None:
    found = parse(*words)
    assert (found["username"], found["stdin_pass"], found["credname"]) == ("bob", True, None)


def test_values_may_begin_with_a_dash_or_be_empty() -> None:
    assert parse("-l", "-S", "--credname", "--user")["username"] == "-S"
    assert parse("-l", "-S", "--credname", "--user")["credname"] == "--user"
    assert parse("--username=", "-k", "a=b c")["username"] == ""
    assert parse("--username=", "-k", "a=b c")["credname"] == "a=b c"


def test_the_order_is_kept() -> None:
    assert parse("-Sk", "a", "--key-t=b", "-S")["given"] == (
        ("stdin_pass", None),
        ("credname", "a"),
        ("key_type", "b"),
        ("stdin_pass", None),
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-X"], "invalid option -- 'X'"),
        (["-SX"], "invalid option -- 'X'"),
        (["--bogus"], "unrecognized option '--bogus'"),
        (["-name", "x"], "invalid option -- 'a'"),
        (["--no"], "option '--no' is ambiguous: --no_passphrase, --no_credentials"),
        (["-l"], "option requires an argument -- 'l'"),
        (["--username"], "option '--username' requires an argument"),
        (["--stdin_pass=1"], "option '--stdin_pass' doesn't allow an argument"),
        (["foo"], "'foo' is no option"),
        (["-"], "'-' is no option"),
        (["--", "-S"], "'--' is no option"),
        (["--key_type", "c"], "'c' is not one of a, b"),
    ],
)
def test_what_getopt_long_refuses(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse(*words)


POLICIES: list[tuple[list[tuple[str, str | None]], dict[str, str]]] = [
    ([], {}),
    ([("allow_anonymous_retrievers", None)], {"retriever": "*"}),
    ([("retrievable_by", "Bob")], {"retriever": "*/CN=Bob"}),
    ([("regex_dn_match", None), ("retrievable_by", "/O=x")], {"retriever": "/O=x"}),
    ([("retrievable_by", "Bob"), ("regex_dn_match", None)], {"retriever": "*/CN=Bob"}),
    (
        [("regex_dn_match", None), ("renewable_by", "a"), ("match_cn_only", None), ("retrievable_by_cert", "b")],
        {"renewer": "a", "trusted": "*/CN=b"},
    ),
    ([("allow_anonymous_renewers", None)], {"renewer": "*"}),
]


@pytest.mark.parametrize("number", range(len(POLICIES)))
def test_policy_options(number: int) -> None:
    given, policies = POLICIES[number]
    assert read_policies(given) == policies


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("allow_anonymous_retrievers", "retrievable_by"), "Only one -a or -r option may be specified."),
        (("renewable_by", "allow_anonymous_renewers"), "Only one -A or -R option may be specified."),
        (("retrievable_by_cert", "retrievable_by_cert"), "Only one -Z option may be specified."),
    ],
)
def test_one_option_for_each_policy(names: tuple[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_policies([(name, "x") for name in names])


# Help and versions


@pytest.mark.parametrize("command", EVERY)
@pytest.mark.parametrize("option", ["-h", "--help", "-u", "--usage", "--he"])
def test_help(user: UserEnvironment, command: str, option: str) -> None:
    done = ours(user, command, option)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith(f"usage: {command} [options]\n")
    assert f"See also: man {command}" in done.stdout
    assert "  -s, --pshost HOST[:PORT],..." in done.stdout


@pytest.mark.parametrize("command", EVERY)
def test_version(user: UserEnvironment, command: str) -> None:
    for option in ("-V", "--version"):
        done = ours(user, command, option).check()
        assert re.fullmatch(rf"{command} version MYPROXYv2 \(gsi-toolkit \S+\)\n", done.stdout)


# Errors


@pytest.mark.parametrize("command", EVERY)
def test_bad_usage(user: UserEnvironment, command: str) -> None:
    assert_error(ours(user, command, "--bogus"), "unrecognized option '--bogus'", f"hint: '{command} --help'")
    assert_error(ours(user, command, "operand"), "'operand' is no option")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_server_is_named(user: UserEnvironment, command: str) -> None:
    del user.variables["MYPROXY_SERVER"]
    assert_error(ours(user, command), "Unspecified myproxy-server.", "MYPROXY_SERVER")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_is_not_there(user: UserEnvironment, command: str) -> None:
    done = ours(
        user, command, *([] if command in ("myproxy-info", "myproxy-destroy") else ["-S"]), stdin="secret word\n" * 2
    )
    assert done.returncode == 1
    assert "unable to connect (127.0.0.1:" in done.stderr
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("MYPROXY_SERVER_PORT", "x", "the port 'x' is not a number"),
        ("MYPROXY_SERVER_PORT", "70000", "the port '70000' is not a number"),
        ("MYPROXY_SERVER", "a,,b", "not a list of hosts"),
        ("MYPROXY_SOCKET_TIMEOUT", "soon", "MYPROXY_SOCKET_TIMEOUT='soon'"),
        ("GLOBUS_GSSAPI_NAME_COMPATIBILITY", "LAX", "GLOBUS_GSSAPI_NAME_COMPATIBILITY='LAX'"),
        ("GLOBUS_GSSAPI_MIN_TLS_PROTOCOL", "SSLv3", "'SSLv3' is no TLS version"),
        ("MYPROXY_TCP_PORT_RANGE", "5,4", "'5,4' is not a port range"),
        ("X509_CERT_DIR", "/nonexistent", "there are no trust roots in /nonexistent"),
        ("LOGNAME", "", "Please specify a username."),
        ("LOGNAME", "a\nUSERNAME=b", "the user name holds a line feed"),
    ],
)
def test_variables_that_cannot_be_used(user: UserEnvironment, variable: str, value: str, words: str) -> None:
    user.variables[variable] = value
    if words.startswith("the user name"):
        with TalkingServer(user):
            assert_error(ours(user, "myproxy-logon", "-n"), words)
        return
    assert_error(ours(user, "myproxy-logon", "-n"), words)


@pytest.mark.parametrize("port", ["0", "65536", "000001234567", "0000007512", "7512x", "\u0661"])
def test_ports_that_are_none(user: UserEnvironment, port: str) -> None:
    for options in (("-p", port), ("-s", f"localhost:{port}"), ("-s", f"[::1]:{port}")):
        assert_error(ours(user, "myproxy-logon", "-n", *options), "is not a number from 1 to 65535")


@pytest.mark.parametrize("command", COMMANDS)
def test_empty_values_are_a_mistake(user: UserEnvironment, command: str) -> None:
    """To take them for the default would overwrite the default proxy, or destroy the unnamed credential."""
    options = ["-k", "-s", "-p"] + (["-o"] if "logon" in command or "get" in command else [])
    for option in options:
        assert_error(ours(user, command, option, ""), "the value is empty")


class TalkingServer:
    """Our own MyProxy protocol over real TLS, answering every request with a refusal that quotes it."""

    def __init__(self, user: UserEnvironment) -> None:
        from gsi.credential import parse_credential
        from gsi.system.trustdir import TrustDirectory
        from gsi.transport.tls import ServerTLS

        ca = TestCA("/O=Grid/CN=Host CA", "p256")
        user.trust(ca)
        host = parse_credential(ca.issue_host("localhost", "p256").bundle())
        self._tls = ServerTLS(host, TrustDirectory(str(user.trust_dir)).anchors)
        self._socket = socket.create_server(("127.0.0.1", 0))
        user.variables["MYPROXY_SERVER"] = f"localhost:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread; closing alone would not
        self._thread.join(30)
        self._socket.close()

    def _serve(self) -> None:
        from gsi.errors import GridError
        from gsi.transport.stream import TCPStream
        from gsi.transport.tls_stream import TLSStream
        from myproxy.protocol.events import NEED_DATA, RequestReceived
        from myproxy.protocol.messages import Response
        from myproxy.protocol.server import ServerSession

        while True:
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            stream = TLSStream(TCPStream(accepted), self._tls.session())
            session = ServerSession()
            try:
                stream.handshake()
                stream.flush()
                while (event := session.next_event()) is NEED_DATA:
                    session.receive_data(stream.receive())
                if isinstance(event, RequestReceived):
                    wanted = event.request
                    text = f"{wanted.command.name} {wanted.username} {len(wanted.passphrase)} {wanted.lifetime}"
                    stream.send(session.send_response(Response.refuse(text, "second \x1b[31mline")))
            except GridError:
                pass
            stream.close()


def test_a_refusal_cannot_drive_the_terminal(user: UserEnvironment) -> None:
    with TalkingServer(user):
        done = ours(user, "myproxy-logon", "-S", "-t", "2", stdin="secret word\n")
        assert_error(done, "Failed to receive credentials.", "ERROR from myproxy-server:", "GET alice 11 2:00:00")
        assert "\x1b" not in done.stderr
        assert not user.proxy_path.exists()


def test_pass_phrases_that_cannot_be_used(user: UserEnvironment) -> None:
    assert_error(ours(user, "myproxy-logon", "-S", stdin="short\n"), "at least 6 characters", "hint: ")
    assert_error(ours(user, "myproxy-logon", "-S"), "standard input ended", "--stdin_pass")
    with TalkingServer(user):
        assert_error(ours(user, "myproxy-logon"), "no terminal", "--stdin_pass")
        done = ours(user, "myproxy-logon", "-S", stdin="my USERNAME=x phrase\n")
        assert_error(done, "the pass phrase holds a text")
        assert "phrase=" not in done.stderr
        assert "my USER" not in done.stderr


def test_wishes_for_attributes_that_cannot_be(user: UserEnvironment) -> None:
    for command in ("myproxy-logon", "myproxy-init"):
        assert_error(ours(user, command, "-m", "atlas:"), "'atlas:' is not VO or VO:ATTRIBUTE")
        assert_error(ours(user, command, "-m", "atlas:/atlas/Capability=x"), "capabilities cannot be asked for")
    assert_error(ours(user, "myproxy-logon", "-m", "atlas", "-o", "-"), "-voms is not compatible with -o -")
    user.variables["X509_VOMSES"] = "/nonexistent"
    done = ours(user, "myproxy-init", "-S", "-m", "atlas")
    assert done.stdout == "Your identity: /O=Grid/CN=Alice\n"
    assert_error(done._replace(stdout=""), "VOMS Server for atlas not known!", "/nonexistent")


def test_commands_that_need_a_credential(user: UserEnvironment, ca: TestCA) -> None:
    user.variables |= {"X509_USER_CERT": "", "X509_USER_KEY": ""}
    for command in ("myproxy-info", "myproxy-destroy"):
        assert_error(ours(user, command), "no credential to authenticate with", "grid-proxy-init")
    now = datetime.now(UTC)
    day = timedelta(days=1)
    user.install_proxy(ca.issue("/O=Grid/CN=Alice", "p256", not_before=now - 2 * day, not_after=now - day))
    for command in ("myproxy-info", "myproxy-destroy"):
        assert_error(ours(user, command), "expired", "grid-proxy-init")


def test_an_output_that_cannot_be_written_is_found_first(user: UserEnvironment) -> None:
    done = ours(user, "myproxy-logon", "-S", "-o", "/nonexistent/proxy", stdin="secret word\n")
    assert_error(done, "/nonexistent is not a directory")


def test_a_pass_phrase_file_that_is_not_there(user: UserEnvironment) -> None:
    done = ours(user, "myproxy-logon", "--passin", "file:/nonexistent")
    assert_error(done, "/nonexistent: No such file or directory", "--passin names a file with the pass phrase in it")


def test_a_request_file_without_a_request(user: UserEnvironment) -> None:
    done = ours(user, "myproxy-logon", "-n", "-Q", user.cert_path)
    assert_error(done, "there is no PEM certificate request in it")
    assert_error(ours(user, "myproxy-logon", "-S", "-Q", "-"), "cannot both come from standard input")


# On a terminal


def test_the_prompts_of_init(user: UserEnvironment, alice: Issued) -> None:
    user.install_user(alice, passphrase=b"key phrase")
    with TalkingServer(user):
        child = pexpect.spawn(our_program("myproxy-init"), env=user.variables, timeout=30, encoding="utf-8")
        child.expect_exact("Your identity: /O=Grid/CN=Alice\r\nEnter GRID pass phrase for this identity:")
        child.waitnoecho()
        child.sendline("key phrase")
        child.expect_exact("\r\nCreating proxy ...")  # the line feed of the answer; nothing behind the colon
        assert child.before == ""
        child.expect_exact("Enter MyProxy pass phrase:")
        child.sendline("secret word")
        child.expect_exact("Verifying - Enter MyProxy pass phrase:")
        child.sendline("secret word")
        child.expect_exact("ERROR from myproxy-server:")
        child.expect_exact("PUT alice 11 12:00:00")
        child.expect(pexpect.EOF)
        assert "phrase" not in (child.before or "")
        child.close()
        assert child.exitstatus == 1


def test_two_entries_that_differ(user: UserEnvironment) -> None:
    child = pexpect.spawn(our_program("myproxy-init"), env=user.variables, timeout=30, encoding="utf-8")
    child.expect_exact("Enter MyProxy pass phrase:")
    child.sendline("secret word")
    child.expect_exact("Verifying - Enter MyProxy pass phrase:")
    child.sendline("other word")
    child.expect_exact("Verify failure")
    child.expect_exact("Error entering passphrase.")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1


def test_the_prompt_of_logon_shows_nothing_typed(user: UserEnvironment) -> None:
    with TalkingServer(user):
        child = pexpect.spawn(our_program("myproxy-logon"), env=user.variables, timeout=30, encoding="utf-8")
        child.expect_exact("Enter MyProxy pass phrase:")
        child.sendline("secret word")
        child.expect_exact("GET alice 11 12:00:00")
        assert "secret" not in (child.before or "")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 1


@pytest.mark.parametrize("program", [our_program, c_program])
def test_logon_asks_nothing_where_no_server_is(user: UserEnvironment, program: Callable[[str], Path]) -> None:
    child = pexpect.spawn(str(program("myproxy-logon")), env=user.variables, timeout=30, encoding="utf-8")
    child.expect(pexpect.EOF)
    assert "phrase" not in (child.before or "")
    child.close()
    assert child.exitstatus == 1


def test_a_server_that_does_not_wait_for_the_user(user: UserEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was held for too long is left, and the call makes one of its own."""
    for held, connections in ((60.0, 1), (0.0, 2)):
        monkeypatch.setattr("myproxy.client.HELD_SECONDS", held)
        with TalkingServer(user) as server:
            anchors = TrustDirectory(str(user.trust_dir)).anchors()
            client = MyProxyClient(ServerAddress.parse(user.variables["MYPROXY_SERVER"]), anchors)
            client.open()
            with pytest.raises(RefusedError):
                client.authenticate(Request(Command.GET, "alice", Passphrase("secret word")))
            assert server.connections == connections


def test_the_other_name_of_logon_is_the_same_command(user: UserEnvironment) -> None:
    done = run([our_program("myproxy-get-delegation"), "--bogus"], env=user.variables)
    assert done.stderr.startswith("myproxy-get-delegation: error: ")


@pytest.mark.parametrize("command", ["myproxy-init", "myproxy-logon", "myproxy-info", "myproxy-destroy"])
@pytest.mark.parametrize("option", ["-h", "-help", "--help", "-u", "--usage", "-vh"])
def test_help_comes_first(command: str, option: str, tmp_path: Path) -> None:
    done = run([our_program(command), option], env=clean_environment(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: {command}" in done.stdout.lower()


# Stored keys and trust roots


def test_names_of_trust_roots_stay_in_their_directory() -> None:
    assert safe_name("1234abcd.0") == "1234abcd.0"
    assert safe_name("../../etc/passwd") == "-.-..-etc-passwd"
    assert safe_name(".hidden") == "-hidden"
    for name in ("", "a" * 256, "a\nb", "a\0b"):
        with pytest.raises(ConfigError, match="impossible name"):
            safe_name(name)


def test_files_of_a_stored_key(user: UserEnvironment, tmp_path: Path) -> None:
    certificate, key = user.cert_path, user.key_path
    refused = ours(user, "myproxy-store", "--require_passphrase")
    assert_error(refused, "error: ", "the key is not locked by a pass phrase", "grid-change-pass-phrase")
    assert_error(ours(user, "myproxy-store", "-n", "-c", str(key)), "there is no PEM certificate in it")
    assert_error(ours(user, "myproxy-store", "-n", "-y", str(tmp_path / "no")), "no")
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() * 2)
    both.chmod(0o600)
    assert_error(ours(user, "myproxy-store", "-n", "-c", str(certificate), "-y", str(both)), "holds 2 PEM keys")
    other = TestCA("/O=Grid/CN=Other", "p256").issue("/O=Grid/CN=Alice", "p256")
    other.write(tmp_path / "other.pem", tmp_path / "otherkey.pem")
    assert_error(ours(user, "myproxy-store", "-n", "-y", str(tmp_path / "otherkey.pem")), "the key does not belong to")


def test_retrieving_overwrites_nothing(user: UserEnvironment, tmp_path: Path) -> None:
    there, free = tmp_path / "there", tmp_path / "free"
    there.write_text("precious")
    cases = [
        (["-c", str(there), "-y", str(free)], "exists already"),
        (["-c", str(free), "-y", str(there)], "exists already"),
        (["-c", str(free), "-y", str(free)], "cannot be written to one file"),
        (["-c", str(tmp_path / "no" / "x"), "-y", str(free)], "is not a directory"),
    ]
    for options, words in cases:
        done = ours(user, "myproxy-retrieve", "-n", *options)
        assert done.returncode == 255
        assert words in done.stderr
    assert ours(user, "myproxy-retrieve", "--bogus").returncode == 1
    assert there.read_text() == "precious"


def test_one_source_of_a_pass_phrase(user: UserEnvironment) -> None:
    assert_error(ours(user, "myproxy-logon", "-S", "--passin", "stdin"), "mutually exclusive")
    assert_error(ours(user, "myproxy-logon", "--passin", "pass:secret"), "can be read by others")
    assert_error(ours(user, "myproxy-change-pass-phrase", "-n", "--passout", "stdin"), "mutually exclusive")
