"""The server's side of SASL over the real libsasl2: what clients must not get away with, and what is given back."""

from __future__ import annotations

import base64
import contextlib
import gc
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsi.errors import AuthenticationError, ConfigError
from gsi.secret import Passphrase
from myproxy.auth import libsasl, sasl
from myproxy.auth.base import Method, Proof
from myproxy.auth.sasl import SASLMethod, SASLSettings
from myproxy.auth.sasl_client import SASLAnswers
from myproxy.protocol.messages import AuthorizationMethod, AuthorizationReply
from tests.harness.logins import sasl_site

WORDS = "sasl-words"
HERE = "192.0.2.7"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sasldb with alice and bob, which offers everything that must not be taken, too."""
    made = sasl_site(tmp_path, {"alice": WORDS, "bob": WORDS}, mechanisms="PLAIN SCRAM-SHA-256 ANONYMOUS LOGIN")
    monkeypatch.setenv("SASL_CONF_PATH", str(made.directory))
    return made.directory


def make(**changes: str) -> SASLMethod:
    return SASLMethod(SASLSettings(fqdn="localhost", **changes), seconds=10)


def reply(data: bytes | str) -> AuthorizationReply:
    text = data if isinstance(data, bytes) else base64.b64encode(data.encode())
    return AuthorizationReply(AuthorizationMethod.SASL, text=Passphrase(text))


def begun(method: SASLMethod, username: str = "alice", address: str = HERE) -> sasl._Exchange:
    """An exchange whose client has seen the mechanisms."""
    exchange = method.begin(username, address)
    assert exchange.offer().data == "SASL authorization negotiation server"
    guessable = [exchange.is_guessable]
    assert exchange.answer(reply(b"")) is None
    guessable.append(exchange.is_guessable)
    assert guessable == [False, True]
    return exchange


def mechanisms(exchange: sasl._Exchange) -> list[str]:
    return base64.b64decode(exchange.offer().data).decode().split()


def plain(authorization: str, user: str, password: str = WORDS) -> AuthorizationReply:
    return reply(f"PLAIN\0{authorization}\0{user}\0{password}")


@contextlib.contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(AuthenticationError, match=r"^SASL authentication failed\nauthentication failed$"):
        yield


def test_who_proves_to_be_whom(site: Path) -> None:
    method = make()
    assert "ANONYMOUS" not in mechanisms(begun(method))
    for authorization in ("", "alice"):
        assert begun(method).answer(plain(authorization, "alice")) == Proof(Method.SASL, None)
    for authorization, user, password in (
        ("alice", "alice", "other"),
        ("alice", "alice", ""),
        ("bob", "bob", WORDS),  # somebody, but not who the request names
        ("alice", "bob", WORDS),
        ("bob", "alice", WORDS),
        ("", "", WORDS),
    ):
        with refused():
            begun(method).answer(plain(authorization, user, password))


def test_a_mechanism_that_needs_more_rounds(site: Path) -> None:
    for client_sees, mechanism in (("LOGIN", "LOGIN"), ("SCRAM-SHA-256", "SCRAM-SHA-256")):
        exchange = begun(make())
        with SASLAnswers("localhost", "alice", lambda _prompt, _hidden: Passphrase(WORDS)) as answers:
            answers.reply("words")
            said = answers.reply(base64.b64encode(client_sees.encode()).decode())
            assert base64.b64decode(said.text.reveal()).split(b"\0")[0] == mechanism.encode()
            proof = exchange.answer(said)
            while proof is None:
                proof = exchange.answer(answers.reply(exchange.offer().data))
            assert answers.is_done


def test_only_the_mechanism_that_is_set(site: Path) -> None:
    method = make(mechanism="SCRAM-SHA-256")
    exchange = begun(method)
    assert mechanisms(exchange) == ["SCRAM-SHA-256"]
    with refused():
        exchange.answer(plain("", "alice"))


def test_a_realm(tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    made = sasl_site(tmp_path / "other", {"alice": WORDS}, realm="EXAMPLE.ORG")
    monkeypatch.setenv("SASL_CONF_PATH", str(made.directory))
    method = make(realm="EXAMPLE.ORG")
    assert begun(method).answer(plain("", "alice")) is not None
    with refused():
        begun(method, "bob").answer(plain("", "alice"))
    with refused():
        begun(method, "alice@EXAMPLE.ORG").answer(plain("", "alice"))


@pytest.mark.parametrize(
    "data",
    [
        b"not base64!",
        b"QUJD\nQUJD",
        b"",
        base64.b64encode(b"NO-SUCH-MECHANISM"),
        base64.b64encode(b"ANONYMOUS\0trace"),
        base64.b64encode(b"EXTERNAL\0alice"),
        base64.b64encode(b"X" * 100),
        base64.b64encode(b"\xff\xfe"),
        base64.b64encode(b"PLAIN\0" + b"x" * 30000),
        base64.b64encode(b"PLAIN\0alice\0alice"),
        base64.b64encode(b"PLAIN\0" + b"\0" * 100),
    ],
)
def test_nonsense(site: Path, data: bytes) -> None:
    with refused():
        begun(make()).answer(reply(data))


def test_an_empty_initial_response_is_not_an_absent_one(site: Path) -> None:
    exchange = begun(make())
    assert exchange.answer(reply("PLAIN")) is None  # the server waits for the rest
    assert exchange.offer().data == ""
    assert exchange.answer(reply(f"\0alice\0{WORDS}")) is not None
    with refused():
        begun(make()).answer(reply("PLAIN\0"))


def test_after_a_no_there_is_only_no(site: Path) -> None:
    exchange = begun(make())
    with refused():
        exchange.answer(plain("", "alice", "other"))
    for _ in range(2):
        with refused():
            exchange.answer(plain("", "alice"))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_whatever_comes_is_a_no(site: Path, data: list[bytes]) -> None:
    assert _outcome([b"SCRAM-SHA-256\0" + data[0], *data[1:], b"", b"", b""]) is AuthenticationError


def _outcome(messages: list[bytes]) -> type[AuthenticationError] | Proof | None:
    exchange = begun(make())
    proof: Proof | None = None
    try:
        for one in messages:
            proof = proof or exchange.answer(reply(base64.b64encode(one)))
    except AuthenticationError:
        return AuthenticationError
    return proof


# What is given back -------------------------------------------------------------------------------------------------


def test_an_exchange_that_nobody_holds_ends_its_process(site: Path) -> None:
    method = make()
    exchange = begun(method)
    (helper,) = method._open._helpers
    del exchange
    gc.collect()
    assert helper._process.wait(10) == -9
    begun(method).answer(plain("", "alice"))
    assert method._open._helpers == []


def test_one_network_keeps_only_so_many_open(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sasl, "MAX_OPEN_PER_NETWORK", 2)
    method = make()
    first, second = begun(method), begun(method)
    elsewhere = begun(method, address="198.51.100.1")
    third = begun(method, address="192.0.2.200")  # the same network
    with refused():
        first.answer(plain("", "alice"))  # it had waited longest
    for exchange in (second, third, elsewhere):
        assert exchange.answer(plain("", "alice")) is not None


def test_a_worker_keeps_only_so_many_open(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sasl, "MAX_OPEN", 2)
    method = make()
    held = [begun(method, address=f"198.51.{number}.1") for number in range(2)]
    with pytest.raises(AuthenticationError, match="too many logons"):
        begun(method)
    monkeypatch.setattr(sasl, "MIN_IDLE_SECONDS", 0.0)
    assert begun(method).answer(plain("", "alice")) is not None
    with refused():
        held[0].answer(plain("", "alice"))
    assert held[1].answer(plain("", "alice")) is not None


def test_a_saslauthd_that_does_not_answer_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "saslauthd"
    place.mkdir()
    made = sasl_site(tmp_path, {}, mechanisms="PLAIN", socket=place)
    monkeypatch.setenv("SASL_CONF_PATH", str(made.directory))
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place / "mux"))
        silent.listen()
        method = SASLMethod(SASLSettings(fqdn="localhost"), seconds=1)
        exchange = begun(method)
        (helper,) = method._open._helpers
        with refused():
            exchange.answer(plain("", "alice"))
        assert helper._process.returncode == -9


def test_many_at_once(site: Path) -> None:
    method = make()
    results: list[bool] = []

    def one(number: int) -> None:
        try:
            results.append(begun(method).answer(plain("", "alice", WORDS if number % 2 else "other")) is not None)
        except AuthenticationError:
            results.append(False)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 6 + [True] * 6
    assert method._open._helpers == []


# Without libsasl2, and without a configuration ----------------------------------------------------------------------


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libsasl, "_LIBRARY", "libsasl2-not-here.so")
    assert not libsasl.is_available()
    with pytest.raises(ConfigError, match="not installed") as caught:
        SASLMethod(SASLSettings())
    assert "libsasl2" in (caught.value.hint or "")
    with (
        SASLAnswers("localhost", "alice", lambda _prompt, _hidden: Passphrase("x")) as answers,
        pytest.raises(ConfigError, match="not installed"),
    ):
        answers.reply("words")


def test_no_mechanism_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = sasl_site(tmp_path, {}, mechanisms="NOTHING")
    monkeypatch.setenv("SASL_CONF_PATH", str(made.directory))
    with refused():
        make().begin("alice", HERE).answer(reply(b""))


def test_a_client_that_cannot_be_asked(site: Path) -> None:
    class GoneError(Exception):
        pass

    def gone(_prompt: str, _hidden: bool) -> Passphrase:
        raise GoneError

    with SASLAnswers("localhost", "alice", gone) as answers:
        answers.reply("words")
        with pytest.raises(GoneError):
            answers.reply(base64.b64encode(b"PLAIN").decode())
