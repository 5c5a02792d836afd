"""Initiator and acceptor joined in memory: every token as the mechanism has it, and everything that must be refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest

from gsi import keys
from gsi.context.acceptor import Acceptor, make_acceptor_tls
from gsi.context.base import SecurityContext
from gsi.context.exchange import DELEGATE_FULL, DELEGATE_LIMITED
from gsi.context.framing import MAX_HANDSHAKE_BYTES, MAX_TOKEN_BYTES
from gsi.context.info import ContextFlag
from gsi.context.initiator import Initiator
from gsi.context.target import Target
from gsi.credential import Credential, parse_credential
from gsi.delegation import DelegationRequester, parse_delegation_request
from gsi.errors import (
    AuthenticationError,
    ConfigError,
    CredentialError,
    GridError,
    LocalProtocolError,
    ParseError,
    Reason,
    RemoteProtocolError,
    TransportError,
    VerificationError,
)
from gsi.keys import KeyType
from gsi.proxy.issue import ProxyOptions, make_proxy, sign_proxy
from gsi.proxy.kinds import ProxyKind
from gsi.transport.tls import ClientTLS, PeerVerifier, ServerTLS, TLSSession, TLSVersion
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.verify import verify_chain
from tests.harness.ca import CLIENT_AUTH, FULL_INFO, LIMITED_INFO, TestCA
from tests.harness.contexts import ALICE, HOST, Parties, clock, connect_contexts, make_parties
from tests.harness.trust import forge, make_anchors

VERSIONS = list(TLSVersion)
each_version = pytest.mark.parametrize("version", VERSIONS)
KEY = keys.generate_key(KeyType.RSA)


@pytest.fixture(scope="module")
def parties() -> Parties:
    return make_parties()


def established(
    parties: Parties, version: TLSVersion = TLSVersion.TLS1_3, *, ssl_compatible: bool = False
) -> tuple[Initiator, Acceptor]:
    initiator = parties.initiator(version, ssl_compatible=ssl_compatible)
    acceptor = parties.acceptor(version, ssl_compatible=ssl_compatible)
    connect_contexts(initiator, acceptor)
    return initiator, acceptor


# The tokens


@each_version
@pytest.mark.parametrize("delegate", [None, DELEGATE_FULL, DELEGATE_LIMITED], ids=["0", "D full", "D limited"])
def test_tokens(parties: Parties, version: TLSVersion, delegate: ProxyOptions | None) -> None:
    initiator, acceptor = parties.initiator(version, delegate=delegate), parties.acceptor(version)
    tokens = connect_contexts(initiator, acceptor)
    assert [side for side, _ in tokens] == list("iaiai" if delegate is None else "iaiaiai")
    sizes = [len(token) for _, token in tokens]
    assert sizes[3] == (51 if version is TLSVersion.TLS1_2 else 23)  # CCS and Finished; one NUL
    assert sizes[4] == (30 if version is TLSVersion.TLS1_2 else 23)  # one byte
    assert (acceptor.delegated is None) == (delegate is None)
    assert acceptor.inquire().identity == ALICE
    assert initiator.inquire().identity == HOST


@each_version
def test_ssl_compatible_is_the_handshake_alone(parties: Parties, version: TLSVersion) -> None:
    initiator = parties.initiator(version, ssl_compatible=True)
    acceptor = parties.acceptor(version, ssl_compatible=True)
    tokens = connect_contexts(initiator, acceptor)
    assert [side for side, _ in tokens] == list("iaia" if version is TLSVersion.TLS1_2 else "iai")
    for one, other in ((initiator, acceptor), (acceptor, initiator)):
        assert other.unwrap(one.wrap(b"message")) == b"message"
    assert ContextFlag.SSL_COMPATIBLE in initiator.inquire().flags


@each_version
def test_a_ticket_does_for_the_nul(parties: Parties, version: TLSVersion) -> None:
    """An acceptor that sends session tickets has something to say at the end of its handshake, and says no NUL."""
    tls = ServerTLS(parties.host, lambda: parties.anchors, maximum=version, tickets=1)
    acceptor = Acceptor(parties.host, parties.anchors, now=clock, tls=tls)
    initiator = parties.initiator(version, delegate=DELEGATE_FULL)
    tokens = connect_contexts(initiator, acceptor)
    assert len(tokens[3][1]) > 23
    assert acceptor.unwrap(initiator.wrap(b"message")) == b"message"


@each_version
@pytest.mark.parametrize("sizes", [(1,), (7, 100), (5,)], ids=str)
def test_tokens_cut_into_pieces(parties: Parties, version: TLSVersion, sizes: tuple[int, ...]) -> None:
    """Byte by byte or all at once: the same tokens come out, nothing in between."""

    def feed(context: SecurityContext, token: bytes) -> tuple[bytes, bool]:
        output, at, done, pieces = b"", 0, False, itertools.cycle(sizes)
        while at < len(token):
            size = next(pieces)
            step = context.step(token[at : at + size])
            output, done, at = output + step.output, step.done, at + size
        return output, done

    initiator, acceptor = parties.initiator(version, delegate=DELEGATE_LIMITED), parties.acceptor(version)
    output = initiator.step().output
    for _ in range(4):
        answer, _ = feed(acceptor, output)
        if not answer:
            break
        output, _ = feed(initiator, answer)
    assert initiator.is_established
    assert acceptor.is_established
    token = initiator.wrap(b"x" * 40000)
    assert b"".join(acceptor.unwrap(token[at : at + 999]) for at in range(0, len(token), 999)) == b"x" * 40000


@each_version
def test_what_follows_the_last_token_is_handed_back(parties: Parties, version: TLSVersion) -> None:
    """A stream does not keep tokens apart; after the last one clear bytes may follow (`PROT C`), or messages."""
    initiator, acceptor = parties.initiator(version), parties.acceptor(version)
    answer = acceptor.step(initiator.step().output)
    answer = acceptor.step(initiator.step(answer.output).output)
    last = initiator.step(answer.output)
    assert last.done
    step = acceptor.step(last.output + b"clear bytes")
    assert (step.done, step.rest) == (True, b"clear bytes")
    initiator, acceptor = parties.initiator(version), parties.acceptor(version)
    answer = acceptor.step(initiator.step().output)
    answer = acceptor.step(initiator.step(answer.output).output)
    last = initiator.step(answer.output)
    step = acceptor.step(last.output + initiator.wrap(b"early bird"))
    assert acceptor.unwrap(step.rest) == b"early bird"


# Messages


@each_version
@pytest.mark.parametrize("size", [1, 16384, 16385, 40000])
def test_messages_both_ways(parties: Parties, version: TLSVersion, size: int) -> None:
    initiator, acceptor = established(parties, version)
    message = bytes(index % 251 for index in range(size))
    for one, other in ((initiator, acceptor), (acceptor, initiator)):
        token = one.wrap(message)
        assert token.count(b"\x17\x03\x03") >= -(-size // 16384)
        assert other.unwrap(token) == message


def test_messages_in_one_token_come_joined(parties: Parties) -> None:
    initiator, acceptor = established(parties)
    token = initiator.wrap(b"one") + initiator.wrap(b"two")
    assert acceptor.unwrap(token[:10]) == b""
    assert acceptor.unwrap(token[10:]) == b"onetwo"


@each_version
@pytest.mark.parametrize("how", ["repeated", "reordered", "changed", "reflected", "cut"])
def test_bad_messages(parties: Parties, version: TLSVersion, how: str) -> None:
    initiator, acceptor = established(parties, version)
    one, two = initiator.wrap(b"one"), initiator.wrap(b"two")
    match how:
        case "repeated":
            assert acceptor.unwrap(one) == b"one"
            bad = one
        case "reordered":
            bad = two
        case "changed":
            bad = one[:-1] + bytes((one[-1] ^ 1,))
        case "reflected":
            bad = acceptor.wrap(b"mine")
        case _:
            bad = one[:3] + (len(one) - 6).to_bytes(2, "big") + one[5:-1]
    with pytest.raises(TransportError):
        acceptor.unwrap(bad)
    assert acceptor.alert_token
    with pytest.raises(LocalProtocolError):
        acceptor.unwrap(two)
    with pytest.raises(TransportError):
        initiator.unwrap(acceptor.alert_token)


def test_messages_that_are_refused(parties: Parties) -> None:
    initiator, acceptor = established(parties)
    for message in (b"", bytes(MAX_TOKEN_BYTES)):
        with pytest.raises(LocalProtocolError):
            initiator.wrap(message)
    fresh = parties.initiator()
    for call in (fresh.inquire, fresh.delegate, fresh.receive_delegation):
        with pytest.raises(LocalProtocolError):
            call()
    with pytest.raises(LocalProtocolError):
        fresh.wrap(b"x")
    with pytest.raises(LocalProtocolError):
        acceptor.step(b"x")
    with pytest.raises(RemoteProtocolError, match="integrity code"):
        acceptor.unwrap(bytes.fromhex("1a0300001c") + bytes(40))


@pytest.mark.parametrize(
    "token", [b"", b"GET / HTTP/1.0\r\n\r\n", b"\x17\x02\x00\x00\x01x", bytes(MAX_TOKEN_BYTES + 1)]
)
def test_tokens_that_are_no_tls(parties: Parties, token: bytes) -> None:
    _, acceptor = established(parties)
    with pytest.raises(RemoteProtocolError):
        acceptor.unwrap(token)


# What a context says of itself


@each_version
def test_inquire(parties: Parties, version: TLSVersion) -> None:
    initiator, acceptor = parties.initiator(version, delegate=DELEGATE_LIMITED), parties.acceptor(version)
    connect_contexts(initiator, acceptor)
    ours, theirs = initiator.inquire(), acceptor.inquire()
    usual = ContextFlag.MUTUAL | ContextFlag.REPLAY | ContextFlag.SEQUENCE | ContextFlag.CONF | ContextFlag.INTEG
    delegated = ContextFlag.DELEG | ContextFlag.DELEG_LIMITED
    assert ours.flags == theirs.flags == usual | ContextFlag.PROT_READY | delegated
    assert ours.not_after == theirs.not_after == parties.alice.not_after  # the earlier end, a proxy's
    assert ours.lifetime < timedelta(hours=12)
    assert (ours.version, ours.cipher) == (theirs.version, theirs.cipher)
    assert ours.version is version
    assert (ours.is_initiator, theirs.is_initiator) == (True, False)
    assert ours.own_subject == parties.alice.subject
    assert theirs.peer is not None
    assert theirs.peer.subject == parties.alice.subject
    assert not theirs.is_limited


@each_version
def test_a_limited_peer_is_known_as_such(parties: Parties, version: TLSVersion) -> None:
    limited = parse_credential(parties.user.proxy(info=LIMITED_INFO).bundle())
    initiator, acceptor = (
        parties.initiator(version, credential=limited, delegate=DELEGATE_FULL),
        parties.acceptor(version),
    )
    connect_contexts(initiator, acceptor)
    assert acceptor.inquire().is_limited
    assert not initiator.inquire().is_limited
    assert ContextFlag.DELEG_LIMITED in acceptor.inquire().flags  # what a limited proxy delegates is limited


def test_lifetime_is_not_negative(parties: Parties) -> None:
    now = clock()
    times = iter([*[now] * 20, now + timedelta(days=100)])
    initiator = Initiator(parties.alice, parties.anchors, target=Target("localhost"), now=lambda: next(times))
    connect_contexts(initiator, parties.acceptor())
    for _ in range(30):
        if (lifetime := initiator.inquire().lifetime) == timedelta(0):
            return
        assert lifetime > timedelta(0)


@each_version
def test_anonymous(parties: Parties, version: TLSVersion) -> None:
    tls = ClientTLS(None, maximum=version)
    make: Callable[[], Initiator] = lambda: Initiator(  # noqa: E731  short, and used twice
        None, parties.anchors, target=Target("localhost"), now=clock, tls=tls
    )
    initiator, acceptor = make(), parties.acceptor(version, allow_anonymous=True)
    connect_contexts(initiator, acceptor)
    for context in (initiator, acceptor):
        assert ContextFlag.ANON in context.inquire().flags
        assert ContextFlag.MUTUAL not in context.inquire().flags
    assert acceptor.inquire().identity is None
    assert acceptor.inquire().not_after == parties.host.not_after
    for call in (acceptor.receive_delegation, acceptor.delegate):
        with pytest.raises(AuthenticationError):
            call()
    with pytest.raises(CredentialError):
        initiator.delegate()
    initiator, acceptor = make(), parties.acceptor(version)
    with pytest.raises(VerificationError) as caught:
        connect_contexts(initiator, acceptor)
    assert caught.value.reason is Reason.NO_CERTIFICATE
    assert acceptor.alert_token
    with pytest.raises((AuthenticationError, TransportError)):
        initiator.step(acceptor.alert_token)


@pytest.mark.parametrize("changes", [{"credential": None}, {"target": None}, {"ssl_compatible": True}], ids=str)
def test_delegation_that_cannot_be(parties: Parties, changes: dict[str, bool | None]) -> None:
    credential = None if "credential" in changes else parties.alice
    target = None if "target" in changes else Target("localhost")
    with pytest.raises(ConfigError):
        Initiator(
            credential,
            parties.anchors,
            target=target,
            now=clock,
            delegate=DELEGATE_FULL,
            ssl_compatible="ssl_compatible" in changes,
        )


# Peers that are refused


@each_version
@pytest.mark.parametrize("target", ["other.example.org", "/O=Grid/CN=Mallory", "127.0.0.2"])
def test_another_peer_than_meant(parties: Parties, version: TLSVersion, target: str) -> None:
    """Found before our certificate has left; the acceptor is told by an alert."""
    initiator, acceptor = parties.initiator(version, target=target), parties.acceptor(version)
    answer = acceptor.step(initiator.step().output)
    with pytest.raises(VerificationError) as caught:
        initiator.step(answer.output)
    assert caught.value.reason is Reason.PEER_NAME
    with pytest.raises(AuthenticationError):
        acceptor.step(initiator.alert_token)


@pytest.mark.parametrize("target", ["localhost", "LocalHost.", "host@localhost", HOST, "127.0.0.1", None])
def test_the_peer_that_is_meant(parties: Parties, target: str | None) -> None:
    connect_contexts(parties.initiator(target=target), parties.acceptor())


@each_version
def test_an_acceptor_that_nobody_trusts(parties: Parties, version: TLSVersion) -> None:
    stranger = parse_credential(TestCA("/O=Grid/CN=Other CA", "p256").issue_host().bundle())
    initiator, acceptor = parties.initiator(version), parties.acceptor(version, credential=stranger)
    answer = acceptor.step(initiator.step().output)
    with pytest.raises(VerificationError):
        initiator.step(answer.output)
    with pytest.raises(AuthenticationError, match="CA"):
        acceptor.step(initiator.alert_token)


@each_version
def test_an_initiator_that_nobody_trusts(parties: Parties, version: TLSVersion) -> None:
    stranger = parse_credential(TestCA("/O=Grid/CN=Other CA", "p256").issue(ALICE).bundle())
    initiator, acceptor = parties.initiator(version, credential=stranger), parties.acceptor(version)
    with pytest.raises(VerificationError) as caught:
        connect_contexts(initiator, acceptor)
    assert caught.value.reason is Reason.UNTRUSTED
    with pytest.raises(AuthenticationError):
        initiator.step(acceptor.alert_token)


@each_version
def test_each_acceptor_says_for_itself_who_may_be_anonymous(parties: Parties, version: TLSVersion) -> None:
    """Whatever its TLS side, made for others as well, lets through."""
    tls = make_acceptor_tls(parties.host, parties.anchors, allow_anonymous=True)
    acceptor = Acceptor(parties.host, parties.anchors, now=clock, tls=tls)
    initiator = Initiator(
        None, parties.anchors, target=Target("localhost"), now=clock, tls=ClientTLS(None, maximum=version)
    )
    with pytest.raises(VerificationError) as caught:
        connect_contexts(initiator, acceptor)
    assert caught.value.reason is Reason.NO_CERTIFICATE


@each_version
def test_a_verdict_of_ours_alone(parties: Parties, version: TLSVersion) -> None:
    """OpenSSL has no objection to a limited proxy, nor to a full one below it; we have."""
    limited = parse_credential(parties.user.proxy(info=LIMITED_INFO).bundle())
    below = parse_credential(parties.user.proxy(info=LIMITED_INFO).proxy(info=FULL_INFO).bundle())
    for credential, strict in ((limited, True), (below, False)):
        initiator = parties.initiator(version, credential=credential)
        acceptor = parties.acceptor(version, accept_limited=not strict)
        with pytest.raises(VerificationError) as caught:
            connect_contexts(initiator, acceptor)
        assert caught.value.reason is Reason.PROXY_LIMITED
        assert bool(acceptor.alert_token) is (version is TLSVersion.TLS1_2)
        if acceptor.alert_token:
            with pytest.raises(AuthenticationError):
                initiator.step(acceptor.alert_token)


@each_version
def test_a_limited_acceptor(parties: Parties, version: TLSVersion) -> None:
    """Users' proxies serve, too: on data channels, and where jobs talk back."""
    limited = parse_credential(parties.user.proxy(info=LIMITED_INFO).bundle())
    connect_contexts(parties.initiator(version, target=ALICE), parties.acceptor(version, credential=limited))
    strict = parties.initiator(version, target=ALICE, accept_limited=False)
    with pytest.raises(VerificationError) as caught:
        connect_contexts(strict, parties.acceptor(version, credential=limited))
    assert caught.value.reason is Reason.PROXY_LIMITED


def test_extended_key_usage_counts_for_hosts_only(parties: Parties) -> None:
    user = parse_credential(parties.ca.issue("/O=Grid/CN=localhost", eku=[CLIENT_AUTH]).bundle())
    connect_contexts(parties.initiator(target=HOST), parties.acceptor(credential=user))
    with pytest.raises(VerificationError) as caught:
        connect_contexts(parties.initiator(), parties.acceptor(credential=user))
    assert caught.value.reason is Reason.EXTENDED_KEY_USAGE


# Peers that leave the protocol: TLS by hand against a context


def judge(parties: Parties) -> PeerVerifier:
    options = ValidationOptions(purpose=Purpose.SERVER)
    return lambda chain: verify_chain(chain, parties.anchors, now=clock(), options=options)


def by_hand_to_acceptor(
    parties: Parties, acceptor: Acceptor, version: TLSVersion, credential: Credential | None = None
) -> TLSSession:
    """A client that has done its handshake; the acceptor waits for `0` or `D`."""
    tls = ClientTLS(credential or parties.alice, maximum=version)
    session = tls.session(judge(parties))
    for _ in range(4):
        if session.handshake() and not session.has_data_to_send:
            break
        step = acceptor.step(session.data_to_send())
        session.receive_data(step.output)
    session.read()
    return session


@each_version
@pytest.mark.parametrize("said", [b"X", b"\0", b"0early data", b"D0", b"00", b"GET / HTTP/1.0\r\n\r\n"])
def test_neither_0_nor_d(parties: Parties, version: TLSVersion, said: bytes) -> None:
    acceptor = parties.acceptor(version)
    session = by_hand_to_acceptor(parties, acceptor, version)
    session.write(said)
    with pytest.raises(RemoteProtocolError):
        acceptor.step(session.data_to_send())
    assert not acceptor.is_established


def sign(signer: Credential, request_der: bytes, options: ProxyOptions | None = None) -> bytes:
    return sign_proxy(signer, parse_delegation_request(request_der).spki_der, options, now=clock()).der


@each_version
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("another key", CredentialError),
        ("not the peer's leaf", VerificationError),
        ("somebody else's", VerificationError),
        ("an end entity", GridError),
        ("more than one", RemoteProtocolError),
        ("no DER", GridError),
        ("no certificate", ParseError),
        ("too long", ParseError),
        ("changed", GridError),
        ("expired", VerificationError),
    ],
)
def test_bad_delegation_to_the_acceptor(
    parties: Parties, version: TLSVersion, fault: str, error: type[GridError]
) -> None:
    acceptor = parties.acceptor(version)
    session = by_hand_to_acceptor(parties, acceptor, version)
    session.write(b"D")
    step = acceptor.step(session.data_to_send())
    session.receive_data(step.output)
    request = session.read()
    eec = parse_credential(parties.user.bundle())
    good = sign(parties.alice, request)
    match fault:
        case "another key":
            bad = make_proxy(parties.alice, now=clock(), key=KEY).certificate.der
        case "not the peer's leaf":
            bad = sign(eec, request)
        case "somebody else's":
            bad = sign(parse_credential(parties.ca.issue("/O=Grid/CN=Mallory").bundle()), request)
        case "an end entity":
            bad = eec.certificate.der
        case "more than one":
            bad = good + parties.alice.certificate.der
        case "no DER":
            bad = b"not DER at all"
        case "no certificate":
            bad = request
        case "too long":
            bad = b"\x30\x84\x7f\xff\xff\xff"
        case "changed":
            bad = good[:-3] + bytes((good[-3] ^ 1,)) + good[-2:]
        case _:
            bad = sign(parties.alice, request, ProxyOptions(lifetime=timedelta(minutes=1)))
            acceptor._clock = lambda: clock() + timedelta(hours=1)
    session.write(bad)
    with pytest.raises(error):
        acceptor.step(session.data_to_send())
    assert acceptor.delegated is None
    assert not acceptor.is_established


@each_version
def test_what_is_wider_than_its_issuer(parties: Parties, version: TLSVersion) -> None:
    issued = parties.user.proxy(info=LIMITED_INFO)
    acceptor = parties.acceptor(version)
    session = by_hand_to_acceptor(parties, acceptor, version, parse_credential(issued.bundle()))
    session.write(b"D")
    session.receive_data(acceptor.step(session.data_to_send()).output)
    spki_der = parse_delegation_request(session.read()).spki_der
    session.write(forge(issued.proxy(info=FULL_INFO).der, issued.key, spki_der=spki_der))
    with pytest.raises(VerificationError) as caught:
        acceptor.step(session.data_to_send())
    assert caught.value.reason is Reason.PROXY_LIMITED


def test_anonymous_delegation(parties: Parties) -> None:
    acceptor = parties.acceptor(allow_anonymous=True)
    session = ClientTLS(None).session(judge(parties))
    for _ in range(4):
        if session.handshake() and not session.has_data_to_send:
            break
        session.receive_data(acceptor.step(session.data_to_send()).output)
    session.read()
    session.write(b"D")
    with pytest.raises(AuthenticationError):
        acceptor.step(session.data_to_send())


def by_hand_to_initiator(parties: Parties, initiator: Initiator, version: TLSVersion) -> TLSSession:
    """A server that has done its handshake and said nothing yet; what the initiator said last is in its hands."""
    session = ServerTLS(parties.host, lambda: parties.anchors, maximum=version, tickets=0).session()
    output = initiator.step().output
    for _ in range(4):
        session.receive_data(output)
        if session.handshake():
            break
        output = initiator.step(session.data_to_send()).output
    return session


def step_and_end(context: SecurityContext, *tokens: bytes) -> None:
    """Feed tokens, then the end of the connection."""
    for token in tokens:
        context.step(token)
    context.receive_end()


@pytest.mark.parametrize("said", [b"X", b"\0\0", b"0", b"220 ready\r\n"])
def test_no_nul(parties: Parties, said: bytes) -> None:
    initiator = parties.initiator()
    session = by_hand_to_initiator(parties, initiator, TLSVersion.TLS1_3)
    session.write(said)
    with pytest.raises(RemoteProtocolError):
        initiator.step(session.data_to_send())
    assert not initiator.is_established


@each_version
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("changed", GridError),
        ("a certificate", GridError),
        ("no DER", RemoteProtocolError),
        ("too long", ParseError),
        ("more than one", RemoteProtocolError),
        ("cut and closed", TransportError),
    ],
)
def test_bad_requests_to_the_initiator(
    parties: Parties, version: TLSVersion, fault: str, error: type[GridError]
) -> None:
    initiator = parties.initiator(version, delegate=DELEGATE_FULL)
    session = by_hand_to_initiator(parties, initiator, version)
    if version is TLSVersion.TLS1_3:
        session.write(b"\0")
    session.receive_data(initiator.step(session.data_to_send()).output)
    assert session.read() == b"D"
    good = DelegationRequester(KEY).request_der
    bad = {
        "changed": good[:-1] + bytes((good[-1] ^ 1,)),
        "a certificate": parties.host.certificate.der,
        "no DER": b"D",
        "too long": b"\x30\x82\xff\xff",
        "more than one": good + good,
        "cut and closed": good[:-1],
    }[fault]
    session.write(bad)
    with pytest.raises(error):
        step_and_end(initiator, session.data_to_send())
    assert not initiator.is_established


@each_version
def test_the_peer_hangs_up(parties: Parties, version: TLSVersion) -> None:
    acceptor = parties.acceptor(version)
    by_hand_to_acceptor(parties, acceptor, version)
    with pytest.raises(TransportError) as caught:
        acceptor.receive_end()
    assert caught.value.hint is not None
    assert "our name" in caught.value.hint
    with pytest.raises(LocalProtocolError):
        acceptor.step(b"0")


@each_version
@pytest.mark.parametrize("at", range(5))
def test_a_token_again(parties: Parties, version: TLSVersion, at: int) -> None:
    """Each token once more, after the whole handshake or in place of the next one."""
    tokens = connect_contexts(parties.initiator(version), parties.acceptor(version))
    side, token = tokens[at]
    fresh: SecurityContext = parties.acceptor(version) if side == "i" else parties.initiator(version)
    if side == "a":
        fresh.step()
    with pytest.raises((TransportError, RemoteProtocolError)):
        step_and_end(fresh, token, token)
    assert not fresh.is_established


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"GET / HTTP/1.0\r\n\r\n",
        b"220 localhost ready\r\n",
        b"\x80\x2e\x01\x00\x02",  # SSLv2
        b"\x16\x03\x01\xff\xff",
        b"\x17\x03\x03\x00\x010",  # data where a hello is due
        b"\x16\x03\x01\x00\x04" + b"\xff" * 4,
        b"\x16\x03\x01" + bytes(MAX_HANDSHAKE_BYTES),
    ],
    ids=lambda token: token[:8].hex() or "empty",
)
def test_garbage_first(parties: Parties, token: bytes) -> None:
    acceptor, initiator = parties.acceptor(), parties.initiator()
    initiator.step()
    for context in (acceptor, initiator):
        with pytest.raises((RemoteProtocolError, TransportError)):
            context.step(token)
        with pytest.raises(LocalProtocolError):
            context.step(token)


def test_too_much_before_the_end(parties: Parties) -> None:
    for context in (parties.acceptor(), parties.initiator()):
        if isinstance(context, Initiator):
            context.step()
        with pytest.raises(RemoteProtocolError, match="more than"):
            context.step(b"\x16\x03\x01" + bytes(MAX_HANDSHAKE_BYTES))


def test_a_token_before_the_first(parties: Parties) -> None:
    with pytest.raises(RemoteProtocolError):
        parties.initiator().step(b"x")


def test_messages_have_a_limit(parties: Parties) -> None:
    """On both sides: what is sent, and what is taken in one token, though it be good."""
    initiator, acceptor = established(parties)
    with pytest.raises(LocalProtocolError, match="message"):
        initiator.wrap(bytes(MAX_TOKEN_BYTES // 2 + 1))
    token = initiator.wrap(bytes(MAX_TOKEN_BYTES // 2))
    assert len(acceptor.unwrap(token)) == MAX_TOKEN_BYTES // 2
    longer = b"".join(initiator.wrap(bytes(MAX_TOKEN_BYTES // 2)) for _ in range(2))
    with pytest.raises(RemoteProtocolError, match=f"limit {MAX_TOKEN_BYTES}"):
        acceptor.unwrap(longer)
    with pytest.raises(LocalProtocolError, match="not established"):
        acceptor.unwrap(longer[:100])


# Delegation over an established context


@each_version
@pytest.mark.parametrize("ssl_compatible", [False, True], ids=["protected", "bare"])
def test_delegation_afterwards(parties: Parties, version: TLSVersion, ssl_compatible: bool) -> None:
    initiator, acceptor = established(parties, version, ssl_compatible=ssl_compatible)
    for giver, taker, who in ((initiator, acceptor, ALICE), (acceptor, initiator, HOST), (initiator, acceptor, ALICE)):
        sender, receiver = giver.delegate(DELEGATE_LIMITED), taker.receive_delegation(key=KEY)
        first = sender.step().output
        assert (first == b"D") is ssl_compatible
        request = receiver.step(first)
        answer = sender.step(request.output)
        assert answer.done
        if not ssl_compatible:  # the C receiver needs each certificate in a record of its own
            assert answer.output.count(b"\x17\x03\x03") >= 2
        assert receiver.step(answer.output).done
        assert receiver.credential is not None
        assert receiver.peer is not None
        assert (receiver.peer.identity, receiver.peer.kind) == (who, ProxyKind.LIMITED)
        for exchange in (sender, receiver):
            with pytest.raises(LocalProtocolError):
                exchange.step(b"D")
    assert acceptor.unwrap(initiator.wrap(b"still good")) == b"still good"


def test_delegation_in_pieces(parties: Parties) -> None:
    initiator, acceptor = established(parties)
    sender, receiver = initiator.delegate(), acceptor.receive_delegation(key=KEY)
    token, turn = sender.step().output, True
    for _ in range(3):
        output = b""
        for at in range(0, len(token), 100):
            step = (receiver if turn else sender).step(token[at : at + 100])
            output += step.output
        token, turn = output, not turn
    assert receiver.credential is not None


@pytest.mark.parametrize("fault", ["not D", "empty", "no DER", "another key", "somebody else", "wider", "twice"])
def test_bad_delegation_afterwards(parties: Parties, fault: str) -> None:
    mallory = parse_credential(parties.ca.issue("/O=Grid/CN=Mallory").bundle())
    initiator, acceptor = established(parties)
    receiver = acceptor.receive_delegation(key=KEY)
    if fault == "not D":
        with pytest.raises(RemoteProtocolError):
            receiver.step(initiator.wrap(b"X"))
        return
    if fault == "empty":
        with pytest.raises(RemoteProtocolError):
            receiver.step(b"")
        return
    initiator.unwrap(receiver.step(initiator.wrap(b"D")).output)
    limited = parties.user.proxy(info=LIMITED_INFO)
    chain: tuple[bytes, ...]
    match fault:
        case "no DER":
            chain = (b"x" * 100,)
        case "another key":
            chain = tuple(one.der for one in make_proxy(parties.alice, now=clock()).certificates)
        case "somebody else":
            chain = tuple(one.der for one in make_proxy(mallory, now=clock(), key=KEY).certificates)
        case "wider":
            wide = forge(limited.proxy(info=FULL_INFO).der, limited.key, spki_der=keys.spki_der(KEY))
            chain = (wide, *limited.chain_der)
        case _:
            good = tuple(one.der for one in make_proxy(parties.alice, now=clock(), key=KEY).certificates)
            chain = (good[0], *good)
    with pytest.raises(GridError):
        receiver.step(b"".join(initiator.wrap(one) for one in chain))
    assert receiver.credential is None


def test_somebody_elses_credential_where_that_is_wanted(parties: Parties) -> None:
    bob = parse_credential(parties.ca.issue("/O=Grid/CN=Bob").bundle())
    initiator, acceptor = established(parties)
    sender, receiver = initiator.delegate(credential=bob), acceptor.receive_delegation(key=KEY, any_identity=True)
    receiver.step(sender.step(receiver.step(sender.step().output).output).output)
    assert receiver.peer is not None
    assert receiver.peer.identity == "/O=Grid/CN=Bob"


def test_the_key_for_a_delegation(parties: Parties) -> None:
    """A service may have some ready; by default it is as long as the peer's own."""
    acceptor = Acceptor(parties.host, parties.anchors, now=clock, make_key=lambda: KEY)
    connect_contexts(parties.initiator(delegate=DELEGATE_FULL), acceptor)
    assert acceptor.delegated is not None
    assert acceptor.delegated.key is KEY
    longer = parse_credential(parties.ca.issue(ALICE, "rsa3072").bundle())
    acceptor = parties.acceptor()
    connect_contexts(parties.initiator(credential=longer, delegate=DELEGATE_FULL), acceptor)
    assert acceptor.delegated is not None
    assert keys.key_bits(keys.parse_public_key(acceptor.delegated.certificate.spki_der)) == 3072
    elliptic = parse_credential(parties.ca.issue(ALICE, "p256").bundle())
    acceptor = parties.acceptor()
    connect_contexts(parties.initiator(credential=elliptic, delegate=DELEGATE_FULL), acceptor)
    assert acceptor.delegated is not None
    assert keys.is_rsa(acceptor.delegated.key)


def test_delegation_below_an_intermediate_authority() -> None:
    """Whether the peer shows its CA or the trust directory has it, the delegated credential has the whole chain."""
    root = TestCA("/O=Grid/CN=Root", "p256")
    middle = root.intermediate("/O=Grid/CN=Middle", "p256")
    alice = middle.issue(ALICE, "p256")
    host = parse_credential(root.issue_host(key="p256").bundle())
    shown = parse_credential(alice.bundle())
    hidden = Credential(shown.key, shown.certificate)
    anchors = make_anchors(root, middle)
    for credential in (shown, hidden):
        tls = ClientTLS(credential)
        initiator = Initiator(
            credential, anchors, target=Target("localhost"), now=clock, delegate=DELEGATE_FULL, tls=tls
        )
        acceptor = Acceptor(host, anchors, now=clock, make_key=lambda: KEY)
        connect_contexts(initiator, acceptor)
        assert acceptor.delegated is not None
        assert [one.subject_der for one in acceptor.delegated.chain] == [
            one.subject_der for one in (shown.certificate, *shown.chain)
        ]


def test_anchors_and_time_may_be_values_or_functions() -> None:
    ca = TestCA("/O=Grid/CN=Values CA", "p256")
    alice, host = (parse_credential(one.bundle()) for one in (ca.issue(ALICE, "p256"), ca.issue_host(key="p256")))
    anchors = make_anchors(ca)
    initiator = Initiator(alice, lambda: anchors, target=None, now=clock())
    connect_contexts(initiator, Acceptor(host, lambda: anchors, now=clock()))
    late = Initiator(alice, anchors, target=None, now=clock() + timedelta(days=400))
    with pytest.raises(VerificationError) as caught:
        connect_contexts(late, Acceptor(host, anchors, now=clock()))
    assert caught.value.reason is Reason.EXPIRED
