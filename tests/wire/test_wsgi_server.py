"""The worker of all web servers, with an application of a few lines: crowds, slow clients, limits, reloads."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.harness.ca import TestCA
from tests.harness.crowds import HALVES, crowd, open_from
from tests.harness.daemons import Daemon, free_port, running
from tests.harness.environment import clean_environment
from tests.harness.nginx import WebAnswer, ask, exchange
from tests.harness.run import our_program

SERVER = """
import contextlib, logging, os, signal, ssl, sys
from gsi.errors import ConfigError
from gsi.transport.listening import listen_unix
from gsi.transport.serve import listen
from gsi.transport.wsgi_server import Held, Reloads, WebLimits, WebSettings, serve_wsgi

logging.basicConfig(stream=sys.stderr)
PLACE, PORT, TLS = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "tls"
reloads = Reloads()

def load():
    with open(os.path.join(PLACE, "config")) as stream:
        text = stream.read()
    if not text.endswith("."):
        raise ConfigError("half a file")
    return text

def check(old, new):
    if "bad" in new:
        raise ConfigError("it names what is not there")
    if "crash" in new:
        raise ValueError("a defect")

held = Held(load(), load, check)

def make():
    config = held.config
    if os.path.exists(os.path.join(PLACE, "broken")):
        raise ConfigError("a part is broken")
    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/defect":
            raise ValueError("defect")
        if path == "/pid":
            body = str(os.getpid()).encode()
        elif path == "/big":
            body = b"x" * (32 << 20)
        elif path == "/health":
            body = f"ok\\n{reloads.words}".encode() + reloads.render("test")
        elif path == "/":
            body = config.encode()
        else:
            body = environ["REMOTE_ADDR"].encode() + b" " + environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    return application

def describe():
    with contextlib.suppress(FileNotFoundError):  # somebody changes the file and tells it while the server begins
        os.rename(os.path.join(PLACE, "early"), os.path.join(PLACE, "config"))
        os.kill(os.getpid(), signal.SIGHUP)
    return WebSettings(
        name="test", log="test", workers=1, threads=1, certificate=f"{PLACE}/cert.pem" if TLS else "", connections=24,
        limits=WebLimits(per_source=16, head_seconds=HEAD, body_seconds=HEAD, write_seconds=HEAD, head_bytes=4096,
                         body_bytes=10000, held_bytes=HELD),
    )

def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(f"{PLACE}/cert.pem", f"{PLACE}/key.pem")
    return made

sockets = [*listen("127.0.0.1", PORT), listen_unix(f"{PLACE}/socket", 0o600)]
status = serve_wsgi(describe, sockets, make, renew=held.renew, context=context if TLS else None, reloads=reloads)
with open(os.path.join(PLACE, "ended"), "a") as stream:
    stream.write(f"{status} ")
sys.exit(status)
"""


class Site(NamedTuple):
    """A server."""

    port: int
    place: Path
    server: Daemon
    context: ssl.SSLContext | None = None

    def ask(self, target: str = "/", *headers: str, method: str = "GET", body: bytes = b"") -> WebAnswer:
        return ask(self.port, method, target, headers=headers, body=body, context=self.context)


@contextlib.contextmanager
def web(place: Path, *, tls: bool = False, seconds: float = 300, held: int = 64 << 20) -> Iterator[Site]:
    """Run it. By default it waits longer than any test, so that whoever is served is not served by a time-out."""
    place.mkdir(mode=0o700, exist_ok=True)
    (place / "config").write_text("first.")
    context = None
    if tls:
        TestCA().issue_host().write(place / "cert.pem", place / "key.pem")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    (place / "server.py").write_text(SERVER.replace("HEAD,", f"{seconds},").replace("HELD", str(held)))
    port = free_port()
    argv: list[str | Path] = [our_program("python"), place / "server.py", place, str(port), "tls" if tls else "plain"]
    with running(argv, env=clean_environment(place), port=port, directory=place) as server:
        yield Site(port, place, server, context)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with web(tmp_path_factory.mktemp("plain") / "s") as found:
        yield found


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with web(tmp_path_factory.mktemp("hasty") / "s", seconds=0.5) as found:
        yield found


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with web(tmp_path_factory.mktemp("secure") / "s", tls=True) as found:
        yield found


def is_ended(connected: socket.socket) -> bool:
    """Wait for the server to end a connection: properly, or with what it has not read."""
    try:
        return connected.recv(100) == b""
    except ConnectionResetError:
        return True


# --- whom it does not wait for ----------------------------------------------------------------------------------------


def test_a_crowd_that_stops_halfway(site: Site) -> None:
    with crowd(site.port, count=12):
        assert site.ask().body == "first."


def test_a_crowd_that_stops_within_tls(secure: Site) -> None:
    with crowd(secure.port, count=12, tls=True):
        assert secure.ask().body == "first."
    with contextlib.ExitStack() as stack:  # and after it
        for half in HALVES:
            plain = stack.enter_context(open_from("127.0.0.2", secure.port))
            assert secure.context is not None
            stack.enter_context(secure.context.wrap_socket(plain)).sendall(half or b"\r")
        assert secure.ask().body == "first."


def test_they_are_ended_in_time(hasty: Site) -> None:
    with crowd(hasty.port, count=5) as silent:
        assert all(is_ended(one) for one in silent)
    with open_from("127.0.0.2", hasty.port) as drip, contextlib.suppress(ConnectionError):
        while True:  # a byte for each tenth of the time
            drip.sendall(b"G")
            drip.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                assert drip.recv(100) == b""
                break
    assert "no whole request in time" in hasty.server.log()


def test_an_address_has_so_many_connections_and_the_newest_stay(site: Site) -> None:
    with crowd(site.port, count=20) as silent:
        assert site.ask("/who").body == "127.0.0.1 "
        assert all(is_ended(one) for one in silent[:4])
        made = open_from("127.0.0.2", site.port, b"GET /who HTTP/1.1\r\nHost: x\r\n\r\n")
        with made:
            assert made.recv(4096).endswith(b"127.0.0.2 ")
            assert is_ended(silent[4])  # it gave way


def test_all_addresses_together_have_so_many(site: Site) -> None:
    sources = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(crowd(site.port, count=12, source=source)) for source in sources]
        assert site.ask("/who").body == "127.0.0.1 "
        assert all(is_ended(one) for one in silent[0])


def test_a_client_that_does_not_take_its_answer(site: Site) -> None:
    with open_from("127.0.0.2", site.port, b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n") as slow:
        assert slow.recv(10) == b"HTTP/1.1 2"
        assert site.ask().body == "first."  # by the one thread that there is
        rest = slow.recv(1 << 20)
        while len(rest) < 32 << 20:
            rest += slow.recv(1 << 20)


# --- HTTP -------------------------------------------------------------------------------------------------------------


def test_one_connection_for_several_requests(site: Site) -> None:
    lines = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n1\r\n"
    chunked = b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    last = b"GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    whole = lines + chunked + last
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as made:
        for at in range(len(whole)):  # by the byte, so that each is found whole at its own time
            made.sendall(whole[at : at + 1])
        found = b""
        while part := made.recv(65536):
            found += part
    assert found.count(b"HTTP/1.1 200 OK") == 3
    places = [found.index(word) for word in (b"127.0.0.1 1\r\n", b"127.0.0.1 ab", b"Connection: close")]
    assert places == sorted(places)
    again = exchange(site.port, whole).body  # and all in one piece
    assert again.count("HTTP/1.1 200 OK") == 2


def test_a_client_that_waits_for_a_word_gets_it_once(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as made:
        made.sendall(b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert made.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        made.sendall(b"ab")
        answer = made.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"127.0.0.1 ab")


def test_what_is_refused(site: Site) -> None:
    assert site.ask("/", method="POST", body=b"x" * 10001).status == 413
    assert site.ask("/a", method="POST", body=b"x" * 10000).status == 200
    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    chunks = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n%s\r\n" % (b"x" * 1000) * 11
    assert exchange(site.port, chunks).status == 413
    assert site.ask("/", f"X: {'x' * 5000}").status == 431
    assert exchange(site.port, head + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab").status == 400
    both = b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /pid HTTP/1.1\r\nHost: x\r\n\r\n"
    assert "200 OK" not in exchange(site.port, head + both).body
    assert exchange(site.port, b"GET / HTTP/1.1\nHost: x\n\nGET / HTTP/1.1\r\n\r\n").status == 400
    assert exchange(site.port, b"\x16\x03\x01\r\n\r\n").status == 400
    for refused in (site.ask("/", method="POST", body=b"x" * 10001), exchange(site.port, b"\x16\x03\x01\r\n\r\n")):
        assert refused.body
        assert refused.headers["cache-control"] == "no-store"
        assert refused.headers["content-security-policy"] == "default-src 'none'"
        assert refused.headers["x-content-type-options"] == "nosniff"
    assert site.ask("/defect").status == 500
    assert site.ask("/", method="HEAD").body == ""
    assert exchange(site.port, b"GET / HTTP/1.0\r\n\r\n").body == "first."


@pytest.mark.parametrize(
    "length",
    [
        "Content-Length: 100000000000000000000",
        "Content-Length: 0000000000000000000000",
        "Content-Length: +0",
        "Content-Length: 0x0",
        "Content-Length: 0, 0",
        "Content-Length:",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    ],
)
def test_lengths_that_can_be_read_in_two_ways_are_refused_with_all_that_follows(length: str, site: Site) -> None:
    """What one server takes for a body another takes for the next request (RFC 9112 section 11.2)."""
    head = f"POST /a HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode()
    with open_from("127.0.0.1", site.port, head + b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n") as made:
        answers = b""
        with contextlib.suppress(ConnectionResetError):
            while part := made.recv(4096):
                answers += part
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert answers.count(b"HTTP/1.1 ") == 1


def test_no_words_of_http_1_1_for_http_1_0(site: Site) -> None:
    head = b"POST /a HTTP/1.0\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with open_from("127.0.0.1", site.port, head + b"a") as made:
        made.sendall(b"b")
        answer = made.recv(4096)
    assert b" 200 OK" in answer.partition(b"\r\n")[0]
    assert b"Continue" not in answer


def test_plain_http_at_the_tls_port(secure: Site) -> None:
    with open_from("127.0.0.2", secure.port, b"GET / HTTP/1.1\r\n\r\n") as made, contextlib.suppress(ConnectionError):
        while part := made.recv(4096):
            assert b"200" not in part
    assert secure.ask().status == 200


def test_whoever_holds_most_gives_way_not_whoever_comes_next(tmp_path: Path) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
    with web(tmp_path / "s", held=40000) as site, contextlib.ExitStack() as stack:
        for number in range(2, 6):  # each as much as one source may
            stack.enter_context(open_from(f"127.0.0.{number}", site.port, head + b"x" * 8900))
        small = open_from("127.0.0.6", site.port, head + b"x" * 3900)
        stack.enter_context(small)
        for _ in range(3):
            assert site.ask("/a", method="POST", body=b"y" * 3000).body == f"127.0.0.1 {'y' * 3000}"
        small.sendall(b"x" * 5100)
        assert b"200 OK" in small.recv(4096)


# --- reloads and broken parts -----------------------------------------------------------------------------------------


def until(condition: str, site: Site, target: str = "/") -> WebAnswer:
    """Ask until an answer has these words; a worker that is being replaced may end a connection."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        with contextlib.suppress(ConnectionError):
            answer = site.ask(target)
            if condition in answer.body:
                return answer
        time.sleep(0.02)
    raise AssertionError(f"never {condition!r}: {site.server.log()}")


def until_gone(pid: int) -> None:
    """Wait for a worker that is finishing."""
    limit = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_reload_takes_what_is_good_and_says_what_is_not(tmp_path: Path) -> None:
    with web(tmp_path / "s") as site:
        assert "test_reload_refused_timestamp_seconds 0.000" in site.ask("/health").body
        for broken in ("hal", "bad.", "crash."):
            worker = site.ask("/pid").body
            (site.place / "config").write_text(broken)
            os.kill(site.server.pid, signal.SIGHUP)
            until("an older configuration is in force", site, "/health")
            assert site.ask().body == "first."
            assert site.ask("/pid").body == worker  # not even replaced
            assert "test_reload_refused_timestamp_seconds 0.000" not in site.ask("/health").body
            (site.place / "config").write_text("first.")
            os.kill(site.server.pid, signal.SIGHUP)
            until_gone(int(worker))
            until("test_reload_refused_timestamp_seconds 0.000", site, "/health")
        assert "half a file" in site.server.log()
        assert "it names what is not there" in site.server.log()
        assert "internal error: ValueError: a defect" in site.server.log()
        (site.place / "config").write_text("second.")
        worker = site.ask("/pid").body
        os.kill(site.server.pid, signal.SIGHUP)
        until("second.", site)
        until_gone(int(worker))
        with socket.socket(socket.AF_UNIX) as made:  # which workers that end leave alone
            made.connect(str(site.place / "socket"))
            made.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"second." in made.recv(4096)
        assert not (site.place / "ended").exists()
    assert not (site.place / "socket").exists()
    assert (site.place / "ended").read_text() == "0 "


def test_a_reload_while_it_begins_is_not_lost(tmp_path: Path) -> None:
    place = tmp_path / "s"
    place.mkdir(mode=0o700)
    (place / "early").write_text("second.")
    with web(place) as site:
        until("second.", site)


def test_a_worker_that_cannot_begin_answers_503_until_it_can(tmp_path: Path) -> None:
    with web(tmp_path / "s") as site:
        worker = int(site.ask("/pid").body)
        (site.place / "broken").touch()
        os.kill(worker, signal.SIGKILL)
        answer = until("not now", site)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert "a part is broken" in site.server.log()
        (site.place / "broken").unlink()
        until("first.", site)


def test_the_end_waits_for_what_is_in_hand_alone(tmp_path: Path) -> None:
    with web(tmp_path / "s") as site, crowd(site.port, count=5):
        half = open_from("127.0.0.1", site.port, b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
        with half:
            assert site.ask().status == 200  # by now that one is being waited for
            os.kill(site.server.pid, signal.SIGTERM)
            half.sendall(b"b")
            assert half.recv(4096).endswith(b"127.0.0.1 ab")
