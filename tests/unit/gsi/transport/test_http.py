"""Fetching documents from a scripted server on loopback."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsi.errors import GridError, ParseError, RefusedError, TimeoutExpiredError, TransportError
from gsi.transport.http import MAX_REDIRECTS, Fetched, Post, Proxies, fetch, make_context, read_proxies
from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.web import Answer, Drip, Hang, Raw, Redirect, Script, WebServer

BODY = bytes(range(256)) * 1000
ROUTES: dict[str, Script] = {
    "/doc": Answer(BODY),
    "/empty": Answer(b""),
    "/a%20b": Answer(b"blank"),
    "/missing-body": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
    "/chunked": Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
    "/chunked-cut": Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n9\r\nde"),
    "/chunked-bad": Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"),
    "/until-close": Raw(b"HTTP/1.0 200 OK\r\n\r\nall of it"),
    "/until-close-long": Raw(b"HTTP/1.0 200 OK\r\n\r\n" + BODY),
    "/encoded": Answer(b"x", headers=("Content-Encoding: gzip",)),
    "/nothing": Raw(b""),
    "/garbage": Raw(b"\x00\xff\x00\r\n\r\n"),
    "/many-headers": Raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 2000 + b"\r\n"),
    "/long-header": Raw(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200_000 + b"\r\n\r\n"),
    "/bad-length": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nbody"),
    "/partial": Answer(b"x", "206 Partial Content"),
    "/gone": Answer(b"x", "410 Gone"),
    "/hang": Hang(),
    "/drip-head": Drip(),
    "/drip-body": Drip(b"HTTP/1.1 200 OK\r\n\r\n"),
    "/to-doc": Redirect("/doc"),
    "/to-doc-whole": Redirect("{url}/to-doc", "308 Permanent Redirect"),
    "/loop": Redirect("/loop"),
    "/to-file": Redirect("file:///etc/passwd"),
    "/to-ftp": Redirect("ftp://127.0.0.1/"),
    "/to-nowhere": Redirect("http://["),
    "/no-place": Answer(b"", "302 Found"),
}


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with WebServer(ROUTES) as server:
        yield server


def get(url: str, *, timeout: float = 20, max_bytes: int = 1 << 20, proxies: Proxies | None = None) -> Fetched:
    return fetch(url, timeout=timeout, max_bytes=max_bytes, proxies=proxies)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/doc", BODY),
        ("/doc?a=b#c", BODY),
        ("/empty", b""),
        ("/a b", b"blank"),
        ("/chunked", b"abcde"),
        ("/until-close", b"all of it"),
        ("/to-doc", BODY),
        ("/to-doc-whole", BODY),
    ],
)
def test_documents(web: WebServer, path: str, body: bytes) -> None:
    assert get(web.url(path)).data == body


def test_the_last_url_is_told(web: WebServer) -> None:
    assert get(web.url("/to-doc-whole")).url == web.url("/doc")


@pytest.mark.parametrize(
    ("path", "error", "why"),
    [
        ("/none", RefusedError, "404 Not Found"),
        ("/gone", RefusedError, "410 Gone"),
        ("/partial", RefusedError, "206"),
        ("/no-place", RefusedError, "302"),
        ("/encoded", RefusedError, "encoded"),
        ("/missing-body", TransportError, "broke after 5 of 100 bytes"),
        ("/chunked-cut", TransportError, "IncompleteRead"),
        ("/chunked-bad", TransportError, "no HTTP answer"),
        ("/nothing", TransportError, "without response"),
        ("/garbage", TransportError, "BadStatusLine"),
        ("/many-headers", TransportError, "headers"),
        ("/long-header", TransportError, "LineTooLong"),
        ("/loop", TransportError, f"more than {MAX_REDIRECTS} redirections"),
        ("/to-file", TransportError, "not followed"),
        ("/to-ftp", TransportError, "not followed"),
        ("/to-nowhere", TransportError, "not followed"),
    ],
)
def test_what_is_no_document(web: WebServer, path: str, error: type[GridError], why: str) -> None:
    with pytest.raises(error, match=why):
        get(web.url(path))


@pytest.mark.parametrize("path", ["/hang", "/drip-head", "/drip-body"])
def test_time_is_for_all_together(web: WebServer, path: str) -> None:
    with pytest.raises((TimeoutExpiredError, TransportError)):
        get(web.url(path), timeout=0.3, max_bytes=1 << 30)


@pytest.mark.parametrize("path", ["/hang", "/drip-body"])
def test_silence_and_drops_run_out_of_time(web: WebServer, path: str) -> None:
    with pytest.raises(TimeoutExpiredError, match=r"no answer within 0\.3 seconds"):
        get(web.url(path), timeout=0.3, max_bytes=1 << 30)


@pytest.mark.parametrize("path", ["/doc", "/until-close-long"])
def test_size_is_bounded(web: WebServer, path: str) -> None:
    with pytest.raises(TransportError, match=r"(limit|more than) 255999"):
        get(web.url(path), max_bytes=len(BODY) - 1)
    assert get(web.url(path), max_bytes=len(BODY)).data == BODY


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://a/", "file:///etc/passwd", "http://", "http://a:99999/", "http://a:b/", "http://u:p@a/", "//a/"],
)
def test_only_http_urls(url: str) -> None:
    with pytest.raises(ParseError):
        get(url)


def test_nobody_there() -> None:
    with WebServer({}) as server:
        url = server.url("/")
    with pytest.raises(TransportError, match="refused"):
        get(url)
    with pytest.raises(TransportError):
        get("http://host.invalid/")
    with pytest.raises(TransportError):
        get(f"http://{'a' * 64}.example/")  # no name of a host has so long a part


def server_context(directory: Path, ca: TestCA, host: str = "localhost") -> ssl.SSLContext:
    issued = ca.issue_host(host, "p256")
    issued.write(directory / "cert.pem", directory / "key.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


def test_tls(tmp_path: Path) -> None:
    ca = TestCA(key="p256")
    trust = make_context(str(write_trust_dir(tmp_path / "certificates", ca)))
    routes: dict[str, Script] = {
        "/doc": Answer(BODY),
        "/down": Redirect("http://127.0.0.1:1/x"),
        "/hang": Hang(),
        "/cut": Raw(b""),
    }
    with WebServer(routes, context=server_context(tmp_path, ca)) as web:
        assert fetch(web.url("/doc"), timeout=20, max_bytes=1 << 20, context=trust).data == BODY
        with pytest.raises(TransportError, match="from https to http"):
            fetch(web.url("/down"), timeout=20, max_bytes=1 << 20, context=trust)
        with pytest.raises(TimeoutExpiredError):
            fetch(web.url("/hang"), timeout=0.5, max_bytes=1 << 20, context=trust)
        with pytest.raises(TransportError):
            fetch(web.url("/cut"), timeout=20, max_bytes=1 << 20, context=trust)
        with pytest.raises(TransportError, match="TLS: "):
            get(web.url("/doc"))  # the system does not know this CA
        with WebServer({"/up": Redirect(web.url("/doc"))}) as plain:
            assert fetch(plain.url("/up"), timeout=20, max_bytes=1 << 20, context=trust).data == BODY
    with (
        WebServer({"/doc": Answer(BODY)}) as plain,
        pytest.raises(TransportError, match="TLS: "),
    ):
        get(plain.url("/doc").replace("http:", "https:"))


def test_tls_handshake_is_timed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutExpiredError):
        get(f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.3)


def test_proxies(tmp_path: Path) -> None:
    ca = TestCA(key="p256")
    trust = make_context(str(write_trust_dir(tmp_path / "certificates", ca)))
    with (
        WebServer({"/doc": Answer(b"via proxy")}) as proxy,
        WebServer({"/doc": Answer(b"direct")}) as plain,
        WebServer({"/doc": Answer(b"secret")}, context=server_context(tmp_path, ca)) as secured,
    ):
        proxies = Proxies(proxy.url(), f"127.0.0.1:{proxy.port}", ("other.example",))
        assert get(plain.url("/doc"), proxies=proxies).data == b"via proxy"
        assert proxy.requests == [f"GET {plain.url('/doc')} HTTP/1.1"]
        found = fetch(secured.url("/doc"), timeout=20, max_bytes=100, proxies=proxies, context=trust)
        assert found.data == b"secret"
        assert proxy.requests[1] == f"CONNECT 127.0.0.1:{secured.port} HTTP/1.1"
        direct = Proxies(proxy.url(), None, ("127.0.0.1",))
        assert get(plain.url("/doc"), proxies=direct).data == b"direct"
    with (
        WebServer({}, context=server_context(tmp_path, ca)) as no_proxy,
        pytest.raises(TransportError),
    ):
        get("https://127.0.0.1:1/", proxies=Proxies(None, f"http://127.0.0.1:{no_proxy.port}"), timeout=5)


def test_which_proxy() -> None:
    from urllib.parse import urlsplit

    proxies = Proxies("http://p:1", "http://s:2", ("localhost", ".example.org", "*.example.net", "ca.test"))
    for url, expected in (
        ("http://a/", "http://p:1"),
        ("https://a/", "http://s:2"),
        ("http://localhost/", None),
        ("http://www.example.org/", None),
        ("http://example.org/", None),
        ("http://notexample.org/", "http://p:1"),
        ("http://x.example.net/", None),
        ("http://sub.ca.test:8080/", None),
    ):
        assert proxies.find(urlsplit(url)) == expected, url
    assert Proxies("http://p:1", None, ("*",)).find(urlsplit("http://a/")) is None


def test_proxies_of_the_environment() -> None:
    environ = {
        "http_proxy": "http://p:1",
        "HTTP_PROXY": "http://attacker:1",
        "HTTPS_PROXY": "http://s:2",
        "NO_PROXY": "a, b c",
    }
    assert read_proxies(environ) == Proxies("http://p:1", "http://s:2", ("a", "b", "c"))
    assert read_proxies({"HTTP_PROXY": "http://attacker:1"}) == Proxies()


def test_a_question_is_posted_and_not_redirected() -> None:
    with WebServer({"/ask": Answer(b"yes"), "/elsewhere": Redirect("{url}/ask")}) as web:
        post = Post("application/ocsp-request", b"\x00\xff")
        assert fetch(web.url("/ask"), timeout=5, max_bytes=10, post=post).data == b"yes"
        with pytest.raises(TransportError, match="redirected"):
            fetch(web.url("/elsewhere"), timeout=5, max_bytes=10, post=post)
        assert web.requests == ["POST /ask HTTP/1.1", "POST /elsewhere HTTP/1.1"]
