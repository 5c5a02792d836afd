"""Where certificates come from: the front end's headers on its own connections, the TLS layer on all others."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from gsi.authz.web.asgi import AuthorizationMiddleware
from gsi.authz.web.gate import Gate
from gsi.authz.web.peer import (
    UNKNOWN,
    FrontEnd,
    Presented,
    presented_in_environ,
    presented_in_scope,
    strip_environ,
    strip_scope,
)
from gsi.errors import ConfigError, ParseError
from gsi.secret import Passphrase
from tests.harness.ca import FULL_INFO, Issued, TestCA

CA = TestCA("/O=Grid/CN=CA", "p256")
ALICE = CA.issue("/O=Grid/CN=Alice", "p256")
BOB = CA.issue("/O=Grid/CN=Bob", "p256")
PROXY = ALICE.proxy(info=FULL_INFO, key="p256").proxy(info=FULL_INFO, key="p256")
FRONT = FrontEnd(certificate_header="X-Cert", chain_header="X-Chain", addresses=("192.0.2.0/28", "::1"))
UNIX = FrontEnd(certificate_header="X-Cert", unix_socket=True)
SECRET = "0123456789abcdef"
GUARDED = FrontEnd(certificate_header="X-Cert", addresses=("127.0.0.1",), secret=Passphrase(SECRET))
KNOWN = FrontEnd(
    certificate_header="X-Cert", chain_header="X-Chain", addresses=("192.0.2.0/28", "::1"), secret=Passphrase(SECRET)
)
LOCAL = FrontEnd(certificate_header="X-Cert", chain_header="X-Chain", unix_socket=True, address_header="X-Real-IP")
ADDRESSED = FrontEnd(certificate_header="X-Cert", addresses=("127.0.0.1",), address_header="X-Real-IP")


def escaped(issued: Issued) -> str:
    return quote(issued.pem.decode(), safe="")


def item(der: bytes) -> str:
    return f":{base64.b64encode(der).decode()}:"


def environ(address: str = "192.0.2.7", **headers: str) -> dict[str, object]:
    return {"REMOTE_ADDR": address, **{f"HTTP_{name}": value for name, value in headers.items()}}


def scope(address: str | None = "192.0.2.7", *headers: tuple[str, str], server: object = ("h", 1)) -> dict[str, object]:
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    return {"client": None if address is None else (address, 1), "server": server, "headers": pairs}


def local(*headers: tuple[str, str]) -> dict[str, object]:
    """A connection to a Unix socket."""
    return scope(None, *headers, server=("/run/app", None))


# --- the front end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["192.0.2.0", "192.0.2.15", "::1", "::ffff:192.0.2.7", "0:0::1"])
def test_it_says_who_its_client_is(address: str) -> None:
    expected = Presented((ALICE.der,), "", by_front_end=True)
    assert presented_in_environ(environ(address, X_CERT=escaped(ALICE)), FRONT) == expected
    said = (("x-cert", escaped(ALICE)), ("x-front-end-secret", SECRET))
    assert presented_in_scope(scope(address, *said), KNOWN) == expected
    assert presented_in_environ(environ(address), FRONT) == Presented((), "", by_front_end=True)


@pytest.mark.parametrize(
    "address", ["192.0.2.16", "127.0.0.1", "::2", "", "unix:", "192.0.2.7.example.org", "192.0.2.07"]
)
def test_nobody_else_does(address: str) -> None:
    assert presented_in_environ(environ(address, X_CERT=escaped(ALICE)), FRONT).chain == ()
    assert not presented_in_environ(environ(address, X_CERT=escaped(ALICE)), FRONT).by_front_end
    said = (("x-cert", escaped(ALICE)), ("x-front-end-secret", SECRET))
    assert presented_in_scope(scope(address, *said), KNOWN).chain == ()
    assert presented_in_environ(environ(X_CERT=escaped(ALICE)), None).chain == ()


def test_its_secret() -> None:
    good = environ("127.0.0.1", X_CERT=escaped(ALICE), X_FRONT_END_SECRET=SECRET)
    assert presented_in_environ(good, GUARDED).chain == (ALICE.der,)
    for wrong in ("", SECRET[:-1], SECRET + "x", f"{SECRET},{SECRET}", "\u20ac"):
        assert presented_in_environ(good | {"HTTP_X_FRONT_END_SECRET": wrong}, GUARDED).chain == ()
    twice = scope("127.0.0.1", ("x-cert", escaped(ALICE)), ("x-front-end-secret", SECRET), ("X-Front-End-Secret", "x"))
    assert presented_in_scope(twice, GUARDED).chain == ()
    elsewhere = environ("192.0.2.7", X_CERT=escaped(ALICE), X_FRONT_END_SECRET=SECRET)
    assert presented_in_environ(elsewhere, GUARDED).chain == ()


def test_the_clients_address() -> None:
    for said, address in (
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("x", UNKNOWN),
        ("1.2.3.4,5", UNKNOWN),
        ("1.2.3.4:5", UNKNOWN),
        ("", UNKNOWN),
    ):
        assert presented_in_environ(environ("127.0.0.1", X_REAL_IP=said), ADDRESSED).address == address
    assert presented_in_environ(environ("127.0.0.1"), ADDRESSED).address == UNKNOWN  # every ban of an address holds
    assert presented_in_environ(environ("10.1.1.1", X_REAL_IP="1.2.3.4"), ADDRESSED).address == "10.1.1.1"
    assert presented_in_scope(local(("x-real-ip", "1.2.3.4")), LOCAL).address == "1.2.3.4"
    two = local(("x-real-ip", "1.2.3.4"), ("x-real-ip", "1.2.3.4"))
    assert presented_in_scope(two, LOCAL) == Presented((), UNKNOWN, by_front_end=True)


# --- what a client may try through it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [("x-cert", escaped(ALICE)), ("x-cert", escaped(BOB))],
        [("x-cert", escaped(ALICE)), ("x_cert", escaped(BOB))],
        [("X-Cert", escaped(ALICE)), ("x-CERT", escaped(ALICE))],
        [("x-cert", f"{escaped(ALICE)},{escaped(BOB)}")],
        [("x-cert", f"{item(ALICE.der)}, {item(BOB.der)}")],
        [("x-cert", escaped(ALICE)), ("x-chain", item(CA.der)), ("X_Chain", item(CA.der))],
        [("x-cert", "x" * 100)],
        [("x-cert", escaped(ALICE)), ("x-chain", "x")],
        [("x-cert", item(b"\x30\x00"))],
        [("x-cert", escaped(ALICE)), ("x-chain", item(b"\x30\x00"))],
        [("x-cert", escaped(ALICE)), ("x-chain", ",".join([item(CA.der)] * 32))],
        [("x-cert", escaped(ALICE)), *((f"x-chain-{n}", ",".join([item(BOB.der)] * 20)) for n in range(2))],
    ],
    ids=range(12),
)
def test_two_voices_are_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(ParseError):
        presented_in_scope(local(*headers), LOCAL)
    joined: dict[str, str] = {}
    for name, value in headers:  # as WSGI servers that do not tell `_` from `-` hand them on
        key = name.upper().replace("-", "_")
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    if any(key == "X_CHAIN" for key in joined) and joined["X_CHAIN"] == f"{item(CA.der)},{item(CA.der)}":
        return  # a list in two lines is a list (RFC 9110 section 5.3), and says nothing of who the client is
    with pytest.raises(ParseError):
        presented_in_environ(environ("192.0.2.7", **joined), FRONT)


def test_the_chain_is_put_in_order_and_the_leaf_stays() -> None:
    above = [*PROXY.chain_der[1:]]
    for order in (above, above[::-1], [*above, PROXY.der, above[0]]):
        chain = ", ".join(map(item, order))
        found = presented_in_environ(environ(X_CERT=escaped(PROXY), X_CHAIN=chain), FRONT)
        assert found.chain == (PROXY.der, *above)
    single = {f"X_CHAIN_{number}": escaped_der(der) for number, der in enumerate(above)} | {"X_CHAIN_9": item(BOB.der)}
    assert presented_in_environ(environ(X_CERT=escaped(PROXY), **single), FRONT).chain == (PROXY.der, *above)
    spoofed = environ(X_CERT=escaped(BOB), X_CHAIN=", ".join(map(item, [ALICE.der, *above])))
    assert presented_in_environ(spoofed, FRONT).chain[0] == BOB.der


def escaped_der(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE----- {base64.b64encode(der).decode()} -----END CERTIFICATE-----"


# --- what the application sees ----------------------------------------------------------------------------------------

OWN = ["X_CERT", "X_CHAIN", "X_CHAIN_0", "X_CHAIN_15", "X_FRONT_END_SECRET"]
OVERRIDES = ["X_HTTP_METHOD_OVERRIDE", "X_HTTP_METHOD", "X_METHOD_OVERRIDE"]


def test_nothing_of_it_reaches_the_application() -> None:
    asked = environ(**dict.fromkeys([*OWN, *OVERRIDES, "X_OTHER"], "x"))
    strip_environ(asked, FRONT)
    assert asked == environ(X_OTHER="x")
    plain = environ(**dict.fromkeys([*OWN, *OVERRIDES], "x"))
    strip_environ(plain, None)
    assert plain == environ(**dict.fromkeys(OWN, "x"))
    spelled = [name for own in [*OWN, *OVERRIDES] for name in (own, own.lower(), own.replace("_", "-").title())]
    stripped = strip_scope(scope("192.0.2.7", *((name, "x") for name in spelled), ("X-Other", "x")), FRONT)
    assert stripped["headers"] == [(b"X-Other", b"x")]


def test_addresses_that_a_stranger_tells_reach_nobody() -> None:
    """The application would take them for the front end's word."""
    for address in ("127.0.0.1", "192.0.2.66"):
        asked = environ(X_REAL_IP="192.0.2.1", X_OTHER="x") | {"REMOTE_ADDR": address}
        strip_environ(asked, ADDRESSED)
        assert "HTTP_X_REAL_IP" not in asked
        assert asked["HTTP_X_OTHER"] == "x"
        told = scope(address, ("X-Real-IP", "192.0.2.1"), ("x_real_ip", "192.0.2.1"), ("X-Other", "x"))
        assert strip_scope(told, ADDRESSED)["headers"] == [(b"X-Other", b"x")]


# --- connections ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def unix_pair() -> Iterator[socket.socket]:
    first, second = socket.socketpair(socket.AF_UNIX)
    with first, second:
        yield first


@contextlib.contextmanager
def tcp_pair() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            yield accepted
        del client


def test_the_socket_counts_and_not_a_variable_that_middleware_rewrites() -> None:
    asked = environ("127.0.0.1", X_CERT=escaped(ALICE))
    with unix_pair() as connected:
        assert presented_in_environ(asked | {"gunicorn.socket": connected}, UNIX).by_front_end
        assert not presented_in_environ(asked | {"gunicorn.socket": connected}, ADDRESSED).by_front_end
    with tcp_pair() as connected:
        assert presented_in_environ(
            asked | {"gunicorn.socket": connected, "REMOTE_ADDR": "8.8.8.8"}, ADDRESSED
        ).by_front_end
        assert not presented_in_environ(asked | {"gunicorn.socket": connected}, UNIX).by_front_end
        assert not presented_in_environ(
            asked | {"werkzeug.socket": connected, "REMOTE_ADDR": "192.0.2.7"}, FRONT
        ).by_front_end
    closed = socket.socket()
    closed.close()
    assert not presented_in_environ(asked | {"gunicorn.socket": closed}, ADDRESSED).by_front_end
    assert not presented_in_environ(asked | {"REMOTE_ADDR": ""}, UNIX).by_front_end


def test_in_asgi_an_address_alone_proves_nothing() -> None:
    """As uvicorn makes scopes by default: the client is what X-Forwarded-For says, with port 0."""
    rewritten = scope("192.0.2.7", ("x-cert", escaped(ALICE)), ("x-forwarded-for", "192.0.2.7"))
    rewritten |= {"client": ("192.0.2.7", 0), "server": ("127.0.0.1", 8000)}
    assert presented_in_scope(rewritten, FRONT) == Presented((), UNKNOWN)
    assert presented_in_scope(rewritten, KNOWN) == Presented((), UNKNOWN)
    assert presented_in_scope(scope("192.0.2.7", ("x-cert", escaped(ALICE))), FRONT).chain == ()
    both = FrontEnd(certificate_header="X-Cert", addresses=("192.0.2.7",), unix_socket=True)
    assert presented_in_scope(rewritten, both) == Presented((), UNKNOWN)
    assert presented_in_scope(local(("x-cert", escaped(ALICE))), both).chain == (ALICE.der,)

    async def application(*_: object) -> None:
        raise AssertionError

    gate = object.__new__(Gate)
    for front_end in (FRONT, ADDRESSED, both):
        with pytest.raises(ConfigError, match="proves nothing"):
            AuthorizationMiddleware(application, gate, front_end=front_end)
    for good in (KNOWN, GUARDED, UNIX, None):
        AuthorizationMiddleware(application, gate, front_end=good)


@pytest.mark.parametrize("header", ["x-forwarded-for", "X-Forwarded-For", "x_forwarded_for", "forwarded", "Forwarded"])
def test_an_address_that_a_header_may_have_made_is_none(header: str) -> None:
    asked = scope("8.8.8.8", (header, "8.8.8.8"))
    assert presented_in_scope(asked, None).address == UNKNOWN
    assert presented_in_scope(asked, LOCAL).address == UNKNOWN
    assert presented_in_scope(local((header, "8.8.8.8"), ("x-real-ip", "1.2.3.4")), LOCAL).address == "1.2.3.4"
    assert presented_in_scope(scope("8.8.8.8", ("x-forwarded-proto", "https")), None).address == "8.8.8.8"


def test_unix_sockets_in_asgi() -> None:
    header = ("x-cert", escaped(ALICE))
    assert presented_in_scope(scope(None, header, server=("/", "t")), UNIX).by_front_end  # gunicorn 27
    for port in (("/", 80), ("/", "80"), ("127.0.0.1", "t"), (None, None), (b"/", None)):
        assert not presented_in_scope(scope(None, header, server=port), UNIX).by_front_end
    assert presented_in_scope(scope(None, header, server=("/run/app", None)), UNIX).by_front_end
    assert presented_in_scope(scope("", header, server=["/run/app", None]), UNIX).by_front_end
    for server in (None, ("h", 1), (), "x"):
        assert not presented_in_scope(scope(None, header, server=server), UNIX).by_front_end
    assert not presented_in_scope(scope("127.0.0.1", header, server=("/run/app", None)), UNIX).by_front_end
    assert not presented_in_scope({}, UNIX).by_front_end


# --- TLS of the server ------------------------------------------------------------------------------------------------


class FakeTLS:
    """What `chain_of` needs of a TLS socket."""

    family = socket.AF_INET

    def __init__(self, chain: list[bytes], leaf: bytes | None = None) -> None:
        self._chain = chain
        self._leaf = leaf

    def getpeername(self) -> tuple[str, int]:
        return "192.0.2.99", 1

    def get_unverified_chain(self) -> list[bytes]:
        return self._chain

    def getpeercert(self, binary_form: bool = False) -> bytes | None:
        return self._leaf


def test_the_servers_connection() -> None:
    chain = [*PROXY.chain_der]
    assert presented_in_environ(environ() | {"gunicorn.socket": FakeTLS(chain)}, None).chain == tuple(chain)
    assert presented_in_environ(environ() | {"gunicorn.socket": FakeTLS([], ALICE.der)}, None).chain == (ALICE.der,)
    assert presented_in_environ(environ() | {"gunicorn.socket": FakeTLS([])}, None).chain == ()
    # On its connections the TLS is the front end's own, whatever it says of its client.
    near = FrontEnd(certificate_header="X-Cert", addresses=("192.0.2.99",))
    tls = {"gunicorn.socket": FakeTLS([BOB.der])}
    assert presented_in_environ(environ(X_CERT=escaped(ALICE)) | tls, near).chain == (ALICE.der,)
    assert presented_in_environ(environ() | tls, near).chain == ()

    class Broken(FakeTLS):
        def get_unverified_chain(self) -> list[bytes]:
            raise ValueError("handshake not done yet")

    with pytest.raises(ParseError):
        presented_in_environ(environ() | {"gunicorn.socket": Broken([])}, None)


def test_server_variables() -> None:
    """mod_wsgi and uWSGI name them; a client's headers all begin with HTTP_."""
    variables = {"SSL_CLIENT_CERT": PROXY.pem.decode()}
    variables |= {f"SSL_CLIENT_CERT_CHAIN_{n}": escaped_der(der) for n, der in enumerate(PROXY.chain_der[1:])}
    assert presented_in_environ(environ() | variables, None).chain == tuple(PROXY.chain_der)
    assert presented_in_environ(environ(SSL_CLIENT_CERT=escaped(ALICE)), None).chain == ()
    assert presented_in_environ(environ() | {"SSL_CLIENT_CERT": ""}, None).chain == ()


def test_the_extension_of_asgi() -> None:
    def with_tls(value: object) -> dict[str, object]:
        return scope() | {"extensions": {"tls": value}}

    pems = [PROXY.pem.decode(), *(escaped_der(der) for der in PROXY.chain_der[1:])]
    assert presented_in_scope(with_tls({"client_cert_chain": pems}), None).chain == tuple(PROXY.chain_der)
    nothings: list[object] = [{}, {"client_cert_chain": []}, {"client_cert_chain": None}, None, "x"]
    for nothing in nothings:
        assert presented_in_scope(with_tls(nothing), None).chain == ()
    for bad in ([1], ["x"], ["x" * 100000], pems * 20):
        with pytest.raises(ParseError):
            presented_in_scope(with_tls({"client_cert_chain": bad}), None)


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"certificate_header": "X-Cert"},
        {"certificate_header": "", "unix_socket": True},
        {"certificate_header": "X Cert", "unix_socket": True},
        {"certificate_header": "X_Cert", "unix_socket": True},
        {"certificate_header": "X-Cert", "chain_header": "x-cert", "unix_socket": True},
        {"certificate_header": "X-Front-End-Secret", "unix_socket": True},
        {"certificate_header": "X-Cert", "address_header": "X-cert", "unix_socket": True},
        {"certificate_header": "X-Cert", "addresses": ("localhost",)},
        {"certificate_header": "X-Cert", "addresses": ("192.0.2.7/24",)},
        {"certificate_header": "X-Cert", "unix_socket": True, "secret": Passphrase("short")},
        {"certificate_header": "X-Cert", "unix_socket": True, "secret_header": ""},
    ],
)
def test_a_front_end_that_cannot_be(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        FrontEnd(**settings)  # type: ignore[arg-type]  # by name


def test_a_front_end_without_a_chain() -> None:
    bare = FrontEnd(certificate_header="X-Cert", chain_header="", unix_socket=True)
    assert bare.headers == {"x-cert", "x-front-end-secret"}
    with unix_pair() as connected:
        asked = environ(X_CERT=escaped(PROXY), X_CHAIN="x") | {"gunicorn.socket": connected}
        assert presented_in_environ(asked, bare).chain == (PROXY.der,)
    assert SECRET not in repr(GUARDED)
