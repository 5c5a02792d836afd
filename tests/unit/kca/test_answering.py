"""From a message to its answer, with the real service; tickets are made up where a KDC would give them."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from gsi import keys
from gsi.errors import AuthenticationError, ConfigError, GridError, StorageError
from gsi.kerberos.accept import Accepted, ReplayError
from gsi.kerberos.libkrb5 import KerberosError
from gsi.keys import KeyType
from gsi.request import make_request
from gsi.secret import Passphrase
from kca.answering import MALFORMED_RECORDS_PER_SECOND, UNPROVEN_RECORDS_PER_SECOND, Answerer, Outcome
from kca.protocol.client import ClientSession, csr_plus, rsa_key
from kca.protocol.codec import parse_response
from kca.protocol.messages import KRB_AP_ERR_REPEAT, MACPolicy, RefusedByKCAError
from kca.replies import ReplyCache
from tests.harness.kca import KCAWorld, authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gsi.kerberos.ticket import ProvenTicket

KEY = Passphrase(b"k" * 32)
PEER = "192.0.2.7"
WRONG_PRINCIPAL = -1765328240
SKEW = -1765328384 + 37


class Tickets:
    """Stands in for `Acceptor`: knows one AP-REQ, once."""

    def __init__(self, ticket: ProvenTicket, *, ap_req: bytes = b"\x6e\0") -> None:
        self.ticket = ticket
        self.ap_req = ap_req
        self.seen: list[bytes] = []
        self.addresses: list[str | None] = []
        self.error: GridError | None = None

    def accept(self, ap_req: bytes, *, address: str | None = None) -> Accepted:
        self.addresses.append(address)
        if self.error is not None:
            raise self.error
        if not ap_req.startswith(self.ap_req):
            raise KerberosError("wrong principal", code=WRONG_PRINCIPAL)
        if ap_req in self.seen:
            raise ReplayError("here before")
        self.seen.append(ap_req)
        return Accepted(self.ticket, KEY, wants_mutual=False, has_subkey=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[KCAWorld]:
    with authority(tmp_path) as made:
        yield made


@pytest.fixture
def tickets(world: KCAWorld) -> Tickets:
    return Tickets(world.ticket("alice"))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """An answerer, with what it said about each message."""

    def __init__(self, world: KCAWorld, *tickets: Any, service: Any = None, replies: ReplyCache | None = None) -> None:
        self.outcomes: list[str] = []
        self.clock = Clock()
        self.answerer = Answerer(
            service or world.service,
            tickets,
            replies=replies or ReplyCache(slots=64),
            policy=MACPolicy.AUTO,
            observe=lambda outcome, _seconds: self.outcomes.append(outcome),
            monotonic=self.clock,
        )

    def __call__(self, message: bytes, *, peer: str = PEER, transport: str = "udp") -> bytes | None:
        return self.answerer.answer(message, peer=peer, transport=transport)


@pytest.fixture
def desk(world: KCAWorld, tickets: Tickets) -> Desk:
    return Desk(world, tickets)


def _session(ap_req: bytes = b"\x6e\0") -> ClientSession:
    return ClientSession(ap_req, KEY)


@pytest.fixture(scope="module")
def wanted() -> bytes:
    return csr_plus(make_request(keys.generate_key(KeyType.P256), b"\x30\x00"))


def test_issued(world: KCAWorld, tickets: Tickets, desk: Desk, wanted: bytes) -> None:
    client = _session()
    reply = desk(client.ask(wanted))
    assert reply is not None
    (leaf,) = client.receive(reply)
    assert world.records()[-1]["verdict"] == "permit"
    assert world.records()[-1]["address"] == PEER
    assert f"{leaf.serial:X}".lstrip("0") == str(world.records()[-1]["serial"]).lstrip("0")
    assert desk.outcomes == [Outcome.ISSUED]
    assert tickets.addresses == [PEER]  # which tickets may be bound to


def test_again(world: KCAWorld, desk: Desk, wanted: bytes) -> None:
    """The same datagram gets the same reply, for as long as a client could wait; then it is a replay, and silence."""
    message = _session().ask(wanted)
    first = desk(message)
    assert desk(message) == first
    assert desk(message, transport="tcp") == first
    assert sum(record["action"] == "ISSUE" for record in world.records()) == 1
    desk.clock.now += 100.0
    assert desk(message) is None
    assert desk.outcomes == [Outcome.ISSUED, Outcome.REPEATED, Outcome.REPEATED, Outcome.REPLAY]
    assert world.records()[-1]["verdict"] != "permit"


def test_again_while_it_is_made(world: KCAWorld, tickets: Tickets, wanted: bytes) -> None:
    """A copy that comes while a slow directory is asked: silence over UDP; a connection waits, and gets the same."""
    client = _session()
    message = client.ask(wanted)
    meanwhile: list[bytes | None] = []

    class Slow:
        """A service in whose time the client grows impatient."""

        def issue(self, *arguments: Any, **keywords: Any) -> object:
            meanwhile.append(desk(message))
            thread.start()
            waiting.wait(20)
            return world.service.issue(*arguments, **keywords)

    waiting = threading.Event()
    desk = Desk(world, tickets, service=Slow())

    def pause(_seconds: float) -> None:
        waiting.set()
        time.sleep(0.001)

    desk.answerer._pause = pause
    thread = threading.Thread(target=lambda: meanwhile.append(desk(message, transport="tcp")))
    reply = desk(message)
    thread.join()
    assert meanwhile == [None, reply]
    assert reply is not None
    client.receive(reply)
    assert tickets.seen == [b"\x6e\0"]


def test_replay_of_another(world: KCAWorld, desk: Desk, wanted: bytes) -> None:
    """Who has listened gets nothing from another address: silence over UDP, an unproved no over TCP."""
    client = _session()
    message = client.ask(wanted)
    assert desk(message) is not None
    assert desk(message, peer="203.0.113.9") is None
    reply = desk(message, peer="203.0.113.9", transport="tcp")
    assert reply is not None
    with pytest.raises(RefusedByKCAError) as refused:
        client.receive(reply)
    assert not refused.value.authenticated


def test_replay_whose_answer_comes_in_between(world: KCAWorld, tickets: Tickets, wanted: bytes) -> None:
    """Two copies at two workers: the slower one hears of a replay, and the other one is done meanwhile."""
    client = _session()
    message = client.ask(wanted)
    replies = ReplyCache(slots=64)
    first: list[bytes | None] = []

    class Behind(Tickets):
        """Finds out that it is the second after the first has been answered."""

        def accept(self, ap_req: bytes, *, address: str | None = None) -> Accepted:
            if not first:
                first.append(None)
                first[0] = racing.answerer.answer(message, peer=PEER, transport="udp")
            return super().accept(ap_req, address=address)

    racing = Desk(world, Behind(tickets.ticket), replies=replies)
    reply = racing(message)
    assert reply is not None
    assert first == [reply]
    client.receive(reply)
    assert racing.outcomes == [Outcome.ISSUED, Outcome.REPEATED]
    assert [record["verdict"] for record in world.records()] == ["permit"]


def test_probe(world: KCAWorld, desk: Desk) -> None:
    client = _session()
    reply = desk(client.probe())
    assert reply is not None
    assert client.receive(reply) == ()
    assert world.records()[-1]["action"] == "PROBE"


def test_probe_without_a_ticket(world: KCAWorld, desk: Desk) -> None:
    message = bytes.fromhex("00000200301a04000414") + bytes(20) + b"\x04\0"
    reply = desk(message)
    assert reply is not None
    assert len(reply) <= len(message)
    assert parse_response(reply).mac is None
    assert world.records() == []


@pytest.mark.parametrize("message", [b"", b"noise", b"\0\0\2\0", b"\0\0\2\0\x30\0", bytes(2000)])
def test_noise(world: KCAWorld, desk: Desk, message: bytes) -> None:
    """Nobody is answered, but it is known afterwards that somebody was there."""
    assert desk(message) is None
    assert desk.outcomes == [Outcome.GARBAGE]
    (record,) = world.records()
    assert (record["action"], record["verdict"], record["peer"]) == ("REQUEST", "fail", "<anonymous>")
    assert record["address"] == PEER
    assert record["request"] == hashlib.sha256(message).hexdigest()


def test_flood_of_noise(world: KCAWorld, desk: Desk) -> None:
    """It makes the audit grow slowly only, whatever the number; and that is told."""
    for number in range(1000):
        desk(bytes([number % 256]) * 40)
    assert len(world.records()) == MALFORMED_RECORDS_PER_SECOND
    desk.clock.now += 1.0
    desk(b"noise")
    assert len(world.records()) == MALFORMED_RECORDS_PER_SECOND + 1
    assert world.records()[-1]["reason"].endswith(f"; and {1000 - MALFORMED_RECORDS_PER_SECOND} more")


def test_other_version(world: KCAWorld, desk: Desk, wanted: bytes) -> None:
    message = b"\0\0\3\0" + _session().ask(wanted)[4:]
    reply = desk(message)
    assert reply is not None
    assert parse_response(reply).error_code == 1
    assert desk.outcomes == [Outcome.VERSION]
    assert "version" in world.records()[-1]["reason"]


def test_no_ticket_of_ours(world: KCAWorld, tickets: Tickets, desk: Desk, wanted: bytes) -> None:
    tickets.error = KerberosError("Clock skew too great", code=SKEW)
    message = _session().ask(wanted)
    reply = desk(message)
    assert reply is not None
    response = parse_response(reply)
    assert (response.error_code, response.mac) == (3, None)
    assert response.text == "Clock skew too great (Kerberos error 37)"
    assert world.records()[-1]["reason"].count("Clock skew") == 1
    assert len(reply) <= len(message)


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("the keytab cannot be used: /etc/kca/kca.keytab"), 4), (StorageError("/var/replay: no space"), 5)],
    ids=["keytab", "replay cache"],
)
def test_our_own_trouble_with_tickets(
    world: KCAWorld,
    tickets: Tickets,
    desk: Desk,
    wanted: bytes,
    caplog: pytest.LogCaptureFixture,
    error: GridError,
    code: int,
) -> None:
    """A stranger hears that it is not his fault, and no paths; the audit and the log say what it is."""
    tickets.error = error
    reply = desk(_session().ask(wanted))
    assert reply is not None
    response = parse_response(reply)
    assert (response.error_code, response.mac) == (code, None)
    assert "administrator" in str(response.text)
    assert "/" not in str(response.text)
    assert world.records()[-1]["verdict"] == "fail"
    assert error.message in str(world.records()[-1]["reason"])
    assert error.message in caplog.text
    assert desk.outcomes == [Outcome.TROUBLE]


def test_replay_over_a_connection(desk: Desk, wanted: bytes) -> None:
    """The client is told in a way that its program understands: it must not take this for the service's last word."""
    client = _session()
    message = client.ask(wanted)
    assert desk(message) is not None
    desk.clock.now += 100.0
    reply = desk(message, transport="tcp")
    assert reply is not None
    with pytest.raises(RefusedByKCAError) as refused:
        client.receive(reply)
    assert refused.value.kerberos_error == KRB_AP_ERR_REPEAT
    assert "another address" in str(refused.value.hint)


def test_seal_of_another(world: KCAWorld, desk: Desk, wanted: bytes) -> None:
    """A key in the place of the client's: the ticket is real, the seal is not; whose ticket it was is written down."""
    message = bytearray(_session().ask(wanted))
    message[-1] ^= 1
    reply = desk(bytes(message))
    assert reply is not None
    assert parse_response(reply).error_code == 1024
    record = world.records()[-1]
    assert record["verdict"] != "permit"
    assert record["peer"].startswith("alice@")


def test_denied(world: KCAWorld, tickets: Tickets, desk: Desk, wanted: bytes) -> None:
    tickets.ticket = world.ticket("alice/admin")
    client = _session()
    reply = desk(client.ask(wanted))
    assert reply is not None
    with pytest.raises(RefusedByKCAError) as refused:
        client.receive(reply)
    assert refused.value.authenticated
    assert refused.value.code == 1012
    assert world.records()[-1]["verdict"] == "deny"


def test_weak_key(world: KCAWorld, desk: Desk) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    from gsi import der

    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    raw = der.encode_sequence(der.encode_integer(numbers.n), der.encode_integer(numbers.e))
    reply = desk(_session().ask(raw))
    assert reply is not None
    assert "1024" in (parse_response(reply).text or "")
    assert world.records()[-1]["verdict"] != "permit"


def test_several_names(world: KCAWorld, wanted: bytes) -> None:
    """A ticket for the second name is taken; one for neither is refused with the first name's words."""
    first, second = (Tickets(world.ticket("alice"), ap_req=one) for one in (b"\x6e\1", b"\x6e\2"))
    desk = Desk(world, first, second)
    client = _session(b"\x6e\2x")
    reply = desk(client.ask(wanted))
    assert reply is not None
    client.receive(reply)
    assert desk(_session(b"\x6e\3x").ask(wanted)) is not None
    assert desk.outcomes == [Outcome.ISSUED, Outcome.UNPROVEN]


def test_flood_of_strangers(
    world: KCAWorld, tickets: Tickets, desk: Desk, wanted: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Strangers make the audit grow only so fast; how many were left out is told."""
    tickets.error = AuthenticationError("no")
    for number in range(UNPROVEN_RECORDS_PER_SECOND + 5):
        desk(_session(bytes((0x6E, number))).ask(wanted))
    assert len(world.records()) == UNPROVEN_RECORDS_PER_SECOND
    desk.clock.now += 1.0
    desk(_session(b"\x6e\xff").ask(wanted))
    assert len(world.records()) == UNPROVEN_RECORDS_PER_SECOND + 1
    assert "5 more requests" in caplog.text


class Broken:
    """A service whose disk is full, or whose author has slept."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def issue(self, *_: object, **__: object) -> object:
        raise self.error

    def probe(self, *_: object, **__: object) -> None:
        raise self.error

    def refuse(self, *_: object, **__: object) -> None:
        raise StorageError("the disk is full")


@pytest.mark.parametrize("error", [StorageError("the disk is full"), RuntimeError("a defect")], ids=["disk", "defect"])
def test_trouble(world: KCAWorld, tickets: Tickets, wanted: bytes, error: Exception) -> None:
    """The client hears that it is not its fault, and nothing about what it is."""
    client = _session()
    reply = Desk(world, tickets, service=Broken(error))(client.ask(wanted))
    assert reply is not None
    with pytest.raises(RefusedByKCAError, match="administrator") as refused:
        client.receive(reply)
    assert refused.value.authenticated
    assert "disk" not in refused.value.message
    assert "defect" not in refused.value.message


def test_audit_that_cannot_be_written(world: KCAWorld, tickets: Tickets, wanted: bytes) -> None:
    """A refusal is given all the same: nothing is handed out."""
    desk = Desk(world, tickets, service=Broken(GridError("x")))
    message = bytearray(_session().ask(wanted))
    message[-1] ^= 1
    reply = desk(bytes(message))
    assert reply is not None
    assert parse_response(reply).error_code == 1024


def test_bare_key_for_an_old_client(world: KCAWorld, desk: Desk) -> None:
    spki = keys.spki_der(keys.generate_key(KeyType.RSA))
    client = _session()
    reply = desk(client.ask(rsa_key(spki), client_version="KRB5 1.0"))
    assert reply is not None
    (leaf,) = client.receive(reply)
    assert leaf.spki_der == spki
    with contextlib.suppress(KeyError):
        assert world.records()[-1]["transport"] == "udp"
