"""What the client makes of services of all kinds; the tickets are made up, the services are threads of this test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gsi import keys
from gsi.certificate import Certificate
from gsi.errors import ConfigError, GridError, RemoteProtocolError, TransportError
from gsi.kerberos.initiate import Initiation
from gsi.kerberos.libkrb5 import KerberosError
from gsi.kerberos.ticket import Principal, TicketFlags
from gsi.keys import KeyType
from gsi.secret import Passphrase
from kca import client, sending
from kca.cli.kx509 import main
from kca.client import KeyForm, Wish, obtain, probe
from kca.protocol import client as protocol_client
from kca.protocol.codec import encode_certificates, encode_response, parse_request, sealed
from kca.protocol.messages import MACDialect, RefusedByKCAError, RequestKind, Response
from kca.protocol.server import Exchange
from tests.harness.ca import TestCA
from tests.harness.message_server import Server, serving

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = Passphrase(b"k" * 32)
REALM = "TEST.EXAMPLE"
CA = TestCA(key="p256")
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> list[tuple[str, str | None, bool, bool]]:
    """Make tickets up; return what was asked for: service, host, mutual, subkey."""
    monkeypatch.setattr(sending, "FIRST_WAIT", 0.1)
    monkeypatch.setattr(sending, "GRACE_SECONDS", 0.05)
    calls: list[tuple[str, str | None, bool, bool]] = []

    def initiate(
        service: str,
        host: str | None = None,
        *,
        realm: str | None = None,
        ccache: str | None = None,
        mutual: bool,
        subkey: bool,
    ) -> Initiation:
        calls.append((service, host, mutual, subkey))
        if host == "unknown.example":
            raise KerberosError("no such service", code=-1)
        server = Principal((service, host or "x"), REALM)
        return Initiation(b"\x6e\0", KEY, Principal(("alice",), REALM), server, NOW, TicketFlags(0))

    monkeypatch.setattr(client, "initiate", initiate)
    return calls


def _issue_for(message: bytes, key: keys.PrivateKey, **changes: datetime) -> bytes:
    """Answer as a service does that grants everything, for a key of our choice."""
    request = parse_request(message)
    leaf = Certificate.parse(CA.issue("/O=Grid/CN=alice", key, **changes).der)  # type: ignore[arg-type]  # P-256
    listed = request.kind is RequestKind.CSR
    reply = Response(certificate=encode_certificates([leaf, Certificate.parse(CA.der)]) if listed else leaf.der)
    return encode_response(sealed(reply, KEY, MACDialect.RFC))


def _no(code: int, text: str = "no", *, sealed_: bool = True) -> bytes:
    response = Response(code, text=text)
    return encode_response(sealed(response, KEY, MACDialect.RFC) if sealed_ else response)


P256 = keys.generate_key(KeyType.P256)
RSA = keys.generate_key(KeyType.RSA)


def _yes(message: bytes, _number: int) -> list[bytes]:
    kind = parse_request(message).kind
    return [_issue_for(message, P256 if kind is RequestKind.CSR else RSA)]


def _unproved(_message: bytes, _number: int) -> list[bytes]:
    return [_no(3, "clock (Kerberos error 37)", sealed_=False)]


def _old(reply: bytes | None) -> Callable[[bytes, int], list[bytes]]:
    """A service that knows bare RSA keys only, and says this to all others."""

    def answer(message: bytes, number: int) -> list[bytes]:
        if parse_request(message).kind is RequestKind.RSA_KEY:
            return _yes(message, number)
        return [] if reply is None else [reply]

    return answer


def _by_stream(answer: Callable[[bytes, int], list[bytes]]) -> Callable[[bytes], bytes]:
    """The same over connections: what is without a seal is believed no sooner than when both say it."""

    def framed(data: bytes) -> bytes:
        (reply,) = answer(data[4:], 1)
        return len(reply).to_bytes(4, "big") + reply

    return framed


def _wish(*servers: Server | str, **changes: object) -> Wish:
    hosts = tuple(one if isinstance(one, str) else f"127.0.0.1:{one.place.place[1]}" for one in servers)
    return Wish(hosts=hosts, timeout=5.0)._replace(**changes)  # type: ignore[arg-type]  # handed on by name


def test_proved_key(asked: list[object]) -> None:
    with serving(udp=_yes) as server:
        obtained = obtain(_wish(server, key=P256), now=NOW, realm=REALM)
    assert obtained.credential.subject == "/O=Grid/CN=alice"
    assert len(obtained.chain) == 2
    assert obtained.credential.chain == ()  # roots are not carried along
    assert asked == [("kca_service", "127.0.0.1", False, True)]


def test_bare_key(asked: list[object]) -> None:
    with serving(udp=_yes) as server:
        obtained = obtain(_wish(server, key=RSA, form=KeyForm.RSA), now=NOW, realm=REALM)
    assert obtained.key is RSA
    assert asked == [("kca_service", "127.0.0.1", True, False)]


@pytest.mark.parametrize("code", [1, 2, 5])
@pytest.mark.parametrize("sealed_", [True, False])
def test_old_service_that_says_no(asked: list[object], code: int, sealed_: bool) -> None:
    """Michigan's answer to a key that it cannot read leads to the old form, sealed or not."""
    answer = _old(_no(code, sealed_=sealed_))
    with serving(udp=answer, tcp=_by_stream(answer)) as server:
        obtained = obtain(_wish(server, key=RSA), now=NOW, realm=REALM)
    assert obtained.key is RSA
    assert len(asked) == 2


def test_old_service_that_hangs_up() -> None:
    with serving(udp=_old(None), tcp=lambda _: None) as server:
        assert obtain(_wish(server, key=RSA), now=NOW, realm=REALM).key is RSA


def test_old_service_and_new_key() -> None:
    """A key that cannot be sent bare is not replaced by another behind the user's back."""
    with serving(udp=_old(_no(2))) as server, pytest.raises(RefusedByKCAError):
        obtain(_wish(server, key=P256), now=NOW, realm=REALM)
    with pytest.raises(ConfigError):
        obtain(_wish("127.0.0.1:1", key_type=KeyType.P256, form=KeyForm.RSA), now=NOW, realm=REALM)


def test_final_no(asked: list[object]) -> None:
    """A policy is the same for every form and on every host."""
    with (
        serving(udp=lambda *_: [_no(1012, "against policy")]) as server,
        serving(udp=_yes) as other,
        pytest.raises(RefusedByKCAError, match="against policy") as refused,
    ):
        obtain(_wish(server, other, key=RSA), now=NOW, realm=REALM)
    assert refused.value.authenticated
    assert len(asked) == 1


@pytest.mark.parametrize("code", [4, 5])
def test_trouble_of_one_host(code: int) -> None:
    with serving(udp=lambda *_: [_no(code)]) as broken, serving(udp=_yes) as server:
        obtained = obtain(_wish(broken, server, key=P256), now=NOW, realm=REALM)
    assert obtained.endpoint.port == server.place.place[1]


def test_next_host(asked: list[object]) -> None:
    """Nobody there, a name without a principal, somebody who proves nothing; then the right one."""
    with serving(udp=_unproved, tcp=_by_stream(_unproved)) as liar, serving(udp=_yes) as server:
        obtained = obtain(_wish("127.0.0.1:1", "unknown.example", liar, server, key=P256), now=NOW, realm=REALM)
    assert obtained.endpoint.port == server.place.place[1]
    assert len(asked) == 4


def test_all_fail() -> None:
    """Every attempt is in the message; a refusal says more than silence."""
    with pytest.raises(TransportError) as error:
        obtain(_wish("127.0.0.1:1", "unknown.example", key=P256), now=NOW, realm=REALM)
    assert "127.0.0.1:1" in error.value.message
    assert "no such service" in error.value.message
    with (
        serving(udp=_unproved, tcp=_by_stream(_unproved)) as server,
        pytest.raises(RefusedByKCAError, match="clock") as refused,
    ):
        obtain(_wish("127.0.0.1:1", server, key=P256), now=NOW, realm=REALM)
    assert "clock" in str(refused.value.hint)


def test_certificate_for_another_key() -> None:
    other = keys.generate_key(KeyType.P256)
    with serving(udp=lambda message, _: [_issue_for(message, other)]) as server, pytest.raises(RemoteProtocolError):
        obtain(_wish(server, key=P256), now=NOW, realm=REALM)


def test_certificate_of_yesterday() -> None:
    old = {"not_before": NOW - timedelta(days=2), "not_after": NOW - timedelta(days=1)}
    with (
        serving(udp=lambda message, _: [_issue_for(message, P256, **old)]) as server,
        pytest.raises(RemoteProtocolError, match="expired"),
    ):
        obtain(_wish(server, key=P256), now=NOW, realm=REALM)


def test_forged_then_genuine() -> None:
    """Somebody is faster than the service, without its key."""
    forged = encode_response(sealed(Response(certificate=CA.der), Passphrase(b"guess"), MACDialect.RFC))
    with serving(udp=lambda message, number: [forged, _no(1, sealed_=False), *_yes(message, number)]) as server:
        assert obtain(_wish(server, key=P256), now=NOW, realm=REALM).key is P256


def test_probe() -> None:
    def confirm(message: bytes, _number: int) -> list[bytes]:
        return [Exchange(parse_request(message), KEY, wants_mutual=False, has_subkey=True).confirm()]

    with serving(udp=confirm) as server:
        assert probe(_wish(server), realm=REALM).port == server.place.place[1]
    with serving(udp=lambda *_: [_no(1012)]) as server, pytest.raises(GridError):
        probe(_wish(server), realm=REALM)


def test_named_principal(asked: list[object]) -> None:
    with serving(udp=_yes) as server:
        obtain(_wish(server, key=P256, service=f"krbtgt/{REALM}@{REALM}"), now=NOW, realm=REALM)
    assert asked == [(f"krbtgt/{REALM}@{REALM}", None, False, True)]


def test_told() -> None:
    told: list[str] = []
    with serving(udp=_old(_no(2))) as server:
        obtain(_wish(server, key=RSA), now=NOW, realm=REALM, tell=told.append)
    assert [line.rpartition(" ")[2] for line in told if "asking" in line] == ["csr", "rsa"]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("the ticket has expired, or is about to", "get a new one: kinit"),
        ("the ticket was got by 'pkinit', which is not taken here", "get a new ticket with the password: kinit"),
        ("the ticket's owner last proved who it is 30 h ago", "get a new ticket with the password: kinit"),
        ("the ticket was got by another ticket, and only initial ones are taken", "kinit -S"),
    ],
)
def test_hints_by_what_the_service_says(said: str, hint: str) -> None:
    refused = protocol_client._refused(Response(1012, text=said), authenticated=True)
    assert hint in (refused.hint or "")


def test_the_time_is_for_all_forms_together(
    asked: list[tuple[str, str | None, bool, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    def exchange(*_: object, timeout: float, **__: object) -> None:
        given.append(timeout)
        raise sending.SilenceError("nothing", closed=False)

    monkeypatch.setattr(client, "exchange", exchange)
    with pytest.raises(TransportError):
        obtain(Wish(hosts=("127.0.0.1:1",), timeout=600.0), now=datetime.now(UTC), realm="R")
    assert len(given) == 2
    assert given[0] <= 300.0
    assert given[1] <= 600.0


def test_nowhere_to_put_a_certificate(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anybody is asked."""
    assert main(["-no-cache"]) == 1
    assert "leaves no place" in capsys.readouterr().err
