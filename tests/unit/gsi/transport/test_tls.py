"""TLS sessions joined in memory: which chains pass, who judges when, what errors say, and what stays on this side."""

from __future__ import annotations

import contextlib
import functools
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, cast

import pytest

from gsi.certificate import Certificate
from gsi.credential import Credential, parse_credential
from gsi.errors import (
    AuthenticationError,
    ConfigError,
    CredentialError,
    CredentialProblem,
    GridError,
    LocalProtocolError,
    Reason,
    TransportError,
    VerificationError,
)
from gsi.transport import tls as tls_module
from gsi.transport.memory import joined_streams
from gsi.transport.tls import ClientTLS, ServerTLS, TLSSession, TLSVersion, parse_tls_version
from gsi.transport.tls_stream import TLSStream
from gsi.trust.anchors import TrustAnchors, build_anchors
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.peer import VerifiedPeer
from gsi.trust.verify import verify_chain
from tests.harness.ca import (
    FULL_INFO,
    INDEPENDENT_INFO,
    LIMITED_INFO,
    SERVER_AUTH,
    Issued,
    KeyKind,
    TestCA,
    proxy_info,
    write_trust_dir,
)

ALICE = "/O=Grid/CN=Alice"
VERSIONS = list(TLSVersion)
INFOS = {
    "full": FULL_INFO,
    "limited": LIMITED_INFO,
    "independent": INDEPENDENT_INFO,
    "restricted": proxy_info("1.2.3.4", policy=b"rules"),
    "depth 0": proxy_info("1.3.6.1.5.5.7.21.1", path_length=0),
}


def now() -> datetime:
    return datetime.now(UTC)


@functools.cache
def _authority(kind: KeyKind) -> TestCA:
    return TestCA(f"/O=Grid/CN=CA {kind}", kind)


def authority(kind: KeyKind = "rsa2048") -> TestCA:
    return _authority(kind)


def read_anchors(directory: Path) -> TrustAnchors:
    return build_anchors({path.name: path.read_bytes() for path in directory.iterdir()}, loaded_at=now())


@pytest.fixture(scope="module")
def anchors(tmp_path_factory: pytest.TempPathFactory) -> TrustAnchors:
    kinds: tuple[KeyKind, ...] = ("rsa2048", "p256", "p384", "ed25519")
    return read_anchors(write_trust_dir(tmp_path_factory.mktemp("trust"), *map(authority, kinds), crl=True))


@pytest.fixture(scope="module")
def host() -> Credential:
    return credential(authority().issue_host())


def credential(issued: Issued) -> Credential:
    return parse_credential(issued.bundle())


def judge(anchors: TrustAnchors) -> Callable[[tuple[bytes, ...]], VerifiedPeer]:
    return lambda chain: verify_chain(chain, anchors, now=now(), options=ValidationOptions(purpose=Purpose.SERVER))


def carry(source: TLSSession, target: TLSSession) -> bytes:
    data = source.data_to_send()
    if data:  # no bytes would mean the end
        target.receive_data(data)
    return data


def shake(client: TLSSession, server: TLSSession) -> bytes:
    """Carry bytes until both sides are done and return what the client sent; the first error comes out."""
    sent = b""
    for _ in range(10):
        done = client.handshake()
        sent += carry(client, server)
        try:
            done = server.handshake() and done
        finally:
            carry(server, client)
        if done:
            return sent
    raise AssertionError("the handshake does not end")


def pair(
    identity: Credential | None, host: Credential, anchors: TrustAnchors, version: TLSVersion = TLSVersion.TLS1_3
) -> tuple[TLSSession, TLSSession]:
    client = ClientTLS(identity, minimum=version, maximum=version).session(judge(anchors))
    server = ServerTLS(host, lambda: anchors).session()
    shake(client, server)
    return client, server


# Chains that pass


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ca", ["rsa2048", "p256", "p384", "ed25519"])
@pytest.mark.parametrize("key", ["rsa2048", "p256", "ed25519"])
def test_end_entities_and_proxies_of_every_key(
    anchors: TrustAnchors, host: Credential, version: TLSVersion, ca: KeyKind, key: KeyKind
) -> None:
    alice = authority(ca).issue(ALICE, key)
    for issued, kind in ((alice, None), (alice.proxy(), "full")):
        client, server = pair(credential(issued), host, anchors, version)
        peer = server.verify_peer(anchors, now=now())
        assert peer is not None
        assert (peer.identity, peer.kind) == (ALICE, kind)
        assert client.peer is not None
        assert client.peer.leaf == host.certificate
        assert client.version == server.version == version


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("info", INFOS)
@pytest.mark.parametrize("key", ["rsa2048", "p256"])
def test_proxies_of_every_kind(
    anchors: TrustAnchors, host: Credential, version: TLSVersion, info: str, key: KeyKind
) -> None:
    proxy = authority("p256").issue(ALICE, key).proxy(info=INFOS[info])
    _, server = pair(credential(proxy), host, anchors, version)
    assert server.peer_chain == proxy.chain_der
    options = ValidationOptions(handlers={"1.2.3.4": lambda policy: frozenset({policy.decode()})})
    peer = server.verify_peer(anchors, now=now(), options=options)
    assert peer is not None
    assert server.peer is peer
    assert peer.kind == ("full" if info == "depth 0" else info)


@pytest.mark.parametrize("version", VERSIONS)
def test_long_chains_and_a_proxy_as_host_credential(
    anchors: TrustAnchors, host: Credential, version: TLSVersion
) -> None:
    proxy = authority().issue(ALICE).proxy().proxy().proxy(info=LIMITED_INFO).proxy(info=LIMITED_INFO)
    _, server = pair(credential(proxy), credential(authority().issue_host().proxy()), anchors, version)
    peer = server.verify_peer(anchors, now=now())
    assert peer is not None
    assert peer.limited


@pytest.mark.parametrize("version", VERSIONS)
def test_an_anonymous_client(anchors: TrustAnchors, host: Credential, version: TLSVersion) -> None:
    _, server = pair(None, host, anchors, version)
    assert server.peer_chain == ()
    assert server.verify_peer(anchors, now=now()) is None


def test_the_server_sends_its_authorities_along(anchors: TrustAnchors, host: Credential) -> None:
    client, _ = pair(None, host, anchors)
    assert client.peer_chain == (host.certificate.der, authority().der)


# Data


@pytest.mark.parametrize("version", VERSIONS)
def test_messages_have_records_of_their_own(anchors: TrustAnchors, host: Credential, version: TLSVersion) -> None:
    client, server = pair(None, host, anchors, version)
    for message in (b"0", b"request"):
        client.write(message)
    server.receive_data(client.data_to_send())
    assert [server.read(), server.read(), server.read()] == [b"0", b"request", b""]
    big = os.urandom(100_000)
    server.write(big)
    client.receive_data(server.data_to_send())
    assert b"".join(iter(client.read, b"")) == big
    client.receive_data(b"")
    assert client.read() == b""


@pytest.mark.parametrize("version", VERSIONS)
def test_one_record_and_no_more_follows_the_handshake(
    anchors: TrustAnchors, host: Credential, version: TLSVersion
) -> None:
    """TLS 1.3: the one ticket that C clients wait for, of the stateful kind; TLS 1.2: the server's Finished only."""
    client = ClientTLS(maximum=version).session(judge(anchors))
    server = ServerTLS(host, lambda: anchors).session()
    last = b""
    while not server.is_established:
        client.handshake()
        carry(client, server)
        server.handshake()
        last = carry(server, client)
    assert len(last) < 120  # a stateless ticket would hold the client's chain
    records = []
    while last:
        size = 5 + int.from_bytes(last[3:5], "big")
        records.append(last[0])
        last = last[size:]
    assert records == ([23] if version is TLSVersion.TLS1_3 else [20, 22])


def test_nothing_is_sent_before_the_handshake(anchors: TrustAnchors, host: Credential) -> None:
    client = ClientTLS().session(judge(anchors))
    server = ServerTLS(host, lambda: anchors).session()
    with pytest.raises(LocalProtocolError):
        client.write(b"0")
    with pytest.raises(LocalProtocolError):
        server.verify_peer(anchors, now=now())


# The client judges before it shows itself


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refused_server_never_sees_the_clients_certificate(
    anchors: TrustAnchors, host: Credential, version: TLSVersion
) -> None:
    def refuse(_chain: tuple[bytes, ...]) -> VerifiedPeer:
        raise VerificationError("not this one", reason=Reason.PEER_NAME)

    alice = authority().issue(ALICE)
    client = ClientTLS(credential(alice), maximum=version).session(refuse)
    server = ServerTLS(host, lambda: anchors).session()
    assert not client.handshake()
    hello = carry(client, server)
    server.handshake()
    carry(server, client)
    with pytest.raises(VerificationError, match="not this one"):
        client.handshake()
    assert client.data_to_send() == b""
    assert hello[0] == 22
    assert len(hello) == 5 + int.from_bytes(hello[3:5], "big")  # the ClientHello alone
    assert not client.is_established
    with pytest.raises(LocalProtocolError):
        client.write(b"0")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "trail", [b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x03\x00\x04abcd", b"\x17\x03\x03\x00\x20" + b"x" * 32]
)
def test_a_stranger_that_adds_garbage_sees_no_certificate_either(
    anchors: TrustAnchors, version: TLSVersion, trail: bytes
) -> None:
    """OpenSSL answers the server's flight and then stumbles over what follows it in the same segment."""
    client = ClientTLS(credential(authority().issue(ALICE)), maximum=version).session(judge(anchors))
    server = ServerTLS(credential(TestCA("/O=Elsewhere/CN=CA").issue_host()), lambda: anchors).session()
    assert not client.handshake()
    carry(client, server)
    server.handshake()
    client.receive_data(server.data_to_send() + trail)
    with pytest.raises(VerificationError) as caught:
        client.handshake()
    assert caught.value.reason is Reason.UNTRUSTED
    assert client.data_to_send() == b""


def test_the_reason_for_refusing_a_server_is_ours(anchors: TrustAnchors) -> None:
    stranger = credential(TestCA("/O=Elsewhere/CN=CA").issue_host())
    with pytest.raises(VerificationError) as caught:
        pair(None, stranger, anchors)
    assert caught.value.reason is Reason.UNTRUSTED


def test_a_client_without_a_verifier_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        TLSSession(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


# The server's refusals, as both sides see them


def refused(identity: Issued, host: Credential, anchors: TrustAnchors, version: TLSVersion) -> tuple[GridError, ...]:
    client = ClientTLS(credential(identity), minimum=version, maximum=version).session(judge(anchors))
    server = ServerTLS(host, lambda: anchors).session()
    with pytest.raises(VerificationError) as at_server:
        shake(client, server)
    with pytest.raises(AuthenticationError) as at_client:
        client.read() if client.is_established else client.handshake()
    return at_server.value, at_client.value


@pytest.mark.parametrize("version", VERSIONS)
def test_clients_that_openssl_refuses(anchors: TrustAnchors, host: Credential, version: TLSVersion) -> None:
    old = authority().issue(ALICE, not_before=now() - timedelta(days=9), not_after=now() - timedelta(days=1))
    young = authority().issue(ALICE, not_before=now() + timedelta(days=1), not_after=now() + timedelta(days=9))
    stranger = TestCA("/O=Elsewhere/CN=CA").issue(ALICE)
    only_server = authority().issue(ALICE, eku=[SERVER_AUTH])
    for issued, reason, words in (
        (old, Reason.EXPIRED, "expired"),
        (young, Reason.NOT_YET_VALID, ""),
        (stranger, Reason.UNTRUSTED, "CA"),
        (only_server, Reason.EXTENDED_KEY_USAGE, "kind of certificate"),
    ):
        at_server, at_client = refused(issued, host, anchors, version)
        assert isinstance(at_server, VerificationError)
        assert at_server.reason is reason
        assert words in at_client.message


def test_a_legacy_proxy_is_told_what_to_do(anchors: TrustAnchors, host: Credential) -> None:
    at_server, _ = refused(authority().issue(ALICE).proxy(info_oid=None, cn="proxy"), host, anchors, TLSVersion.TLS1_3)
    assert isinstance(at_server, VerificationError)
    assert at_server.hint is not None
    assert "RFC 3820" in at_server.hint


def test_what_openssl_lets_pass_is_still_judged(anchors: TrustAnchors, host: Credential) -> None:
    """A full proxy below a limited one: OpenSSL accepts it, which knows no limited proxies."""
    proxy = authority().issue(ALICE).proxy(info=LIMITED_INFO).proxy(info=FULL_INFO)
    _, server = pair(credential(proxy), host, anchors)
    with pytest.raises(VerificationError) as caught:
        server.verify_peer(anchors, now=now())
    assert caught.value.reason is Reason.PROXY_LIMITED
    assert server.peer is None


def test_a_revoked_client_is_refused_by_us(tmp_path: Path, host: Credential) -> None:
    alice = authority().issue(ALICE)
    revoking = read_anchors(write_trust_dir(tmp_path, authority(), crl=authority().crl(revoked=[alice])))
    _, server = pair(credential(alice.proxy()), host, revoking)
    with pytest.raises(VerificationError) as caught:
        server.verify_peer(revoking, now=now())
    assert caught.value.reason is Reason.REVOKED


@pytest.mark.parametrize(
    ("reason", "words"),
    [(Reason.REVOKED, "revoked"), (Reason.EXPIRED, "expired"), (Reason.UNTRUSTED, "CA"), (Reason.NAMESPACES, "accept")],
)
def test_a_refusal_in_place_of_the_last_flight(
    anchors: TrustAnchors, host: Credential, reason: Reason, words: str
) -> None:
    """TLS 1.2: the client's handshake fails, with a reason, although OpenSSL had let it pass."""
    client = ClientTLS(credential(authority().issue(ALICE)), maximum=TLSVersion.TLS1_2).session(judge(anchors))
    server = ServerTLS(host, lambda: anchors).session()
    assert not server.refuse_peer(VerificationError("too early", reason=reason))
    while not server.handshake():
        carry(server, client)
        client.handshake()
        carry(client, server)
    assert server.refuse_peer(VerificationError("no", reason=reason))
    carry(server, client)
    with pytest.raises(AuthenticationError, match=words):
        client.handshake()


def test_no_refusal_in_the_handshake_once_it_is_over(anchors: TrustAnchors, host: Credential) -> None:
    error = VerificationError("no", reason=Reason.REVOKED)
    for version in VERSIONS:
        client, server = pair(credential(authority().issue(ALICE)), host, anchors, version)
        assert not server.refuse_peer(error)
        assert not client.refuse_peer(error)
        assert server.data_to_send() == b""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_tells_why_it_refuses(anchors: TrustAnchors, host: Credential, version: TLSVersion) -> None:
    """Before the end of its handshake, in the clear; nothing else of its own has left by then."""

    def refuse(chain: tuple[bytes, ...]) -> VerifiedPeer:
        raise VerificationError("no", reason=Reason.EXPIRED)

    client = ClientTLS(credential(authority().issue(ALICE)), maximum=version).session(refuse)
    server = ServerTLS(host, lambda: anchors).session()
    client.handshake()
    carry(client, server)
    server.handshake()
    carry(server, client)
    with pytest.raises(VerificationError) as caught:
        client.handshake()
    assert not client.has_data_to_send
    assert client.refuse_peer(caught.value)
    assert len(carry(client, server)) == 7
    with pytest.raises(AuthenticationError, match="expired"):
        server.handshake()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_may_require_certificates(anchors: TrustAnchors, host: Credential, version: TLSVersion) -> None:
    server = ServerTLS(host, lambda: anchors, require_certificate=True).session()
    client = ClientTLS(None, maximum=version).session(judge(anchors))
    with pytest.raises(VerificationError) as caught:
        shake(client, server)
    assert caught.value.reason is Reason.NO_CERTIFICATE
    assert not server.is_established


def test_a_server_may_send_no_ticket(anchors: TrustAnchors, host: Credential) -> None:
    for tickets in (0, 1):
        client = ClientTLS(None).session(judge(anchors))
        server = ServerTLS(host, lambda: anchors, tickets=tickets).session()
        client.handshake()
        carry(client, server)
        assert not server.handshake()
        carry(server, client)
        assert client.handshake()
        carry(client, server)
        assert server.handshake()
        assert server.has_data_to_send is bool(tickets)
        assert server.cipher == client.cipher == "TLS_AES_256_GCM_SHA384"


@pytest.mark.parametrize("name", [".example.org", "x" * 64 + ".org", ""])
def test_names_that_no_server_can_be_told(anchors: TrustAnchors, name: str) -> None:
    with pytest.raises(ConfigError):
        ClientTLS(None).session(judge(anchors), server_name=name)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_closing_alert_is_noticed(anchors: TrustAnchors, host: Credential, version: TLSVersion) -> None:
    client, server = pair(None, host, anchors, version)
    assert not client.is_closed
    with contextlib.suppress(ssl.SSLWantReadError):
        server._tls.unwrap()
    carry(server, client)
    assert client.read() == b""
    assert client.is_closed


class Resumed:
    """Stands for an SSLObject whose session was resumed: the leaf is known, the chain is not."""

    session_reused = True

    def __init__(self, leaf: bytes | None) -> None:
        self._leaf = leaf

    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        assert binary_form
        return self._leaf

    def get_unverified_chain(self) -> list[bytes]:
        return []


@pytest.mark.parametrize("leaf", [None, b"leaf"])
def test_a_resumed_session_without_its_chain_is_refused(
    anchors: TrustAnchors, host: Credential, leaf: bytes | None
) -> None:
    _, server = pair(None, host, anchors)
    server._tls = cast("ssl.SSLObject", Resumed(leaf))
    with pytest.raises(VerificationError) as caught:
        server.verify_peer(anchors, now=now())
    assert caught.value.reason is Reason.NO_CERTIFICATE


def test_a_client_that_tries_to_resume_is_judged_by_its_chain(anchors: TrustAnchors, host: Credential) -> None:
    """With Python's client, which keeps its session and offers it again."""
    server_side = ServerTLS(host, lambda: anchors)
    alice = authority().issue(ALICE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tls_module._load_credential(context, credential(alice))
    session: ssl.SSLSession | None = None
    for _ in range(3):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, session=session)
        server = server_side.session()
        for _ in range(4):
            try:
                client.do_handshake()
                client.read()
            except ssl.SSLWantReadError:
                pass
            server.receive_data(outgoing.read())
            server.handshake()
            incoming.write(server.data_to_send())
        peer = server.verify_peer(anchors, now=now())
        assert peer is not None
        assert peer.identity == ALICE
        session = client.session


# Versions, ciphers, contexts


def test_versions_that_do_not_meet(anchors: TrustAnchors, host: Credential) -> None:
    client = ClientTLS(minimum=TLSVersion.TLS1_3).session(judge(anchors))
    server = ServerTLS(host, lambda: anchors, maximum=TLSVersion.TLS1_2).session()
    with pytest.raises(TransportError, match="TLS version"):
        shake(client, server)
    with pytest.raises(TransportError, match="TLS version"):
        client.handshake()
    with pytest.raises(ConfigError):
        ClientTLS(minimum=TLSVersion.TLS1_3, maximum=TLSVersion.TLS1_2)


def test_the_highest_common_version_is_taken(anchors: TrustAnchors, host: Credential) -> None:
    client = ClientTLS().session(judge(anchors))
    server = ServerTLS(host, lambda: anchors, maximum=TLSVersion.TLS1_2).session()
    shake(client, server)
    assert client.version is TLSVersion.TLS1_2


def test_the_spelling_of_versions() -> None:
    assert parse_tls_version("TLS1_2_VERSION", default=TLSVersion.TLS1_3) is TLSVersion.TLS1_2
    assert parse_tls_version("0", default=TLSVersion.TLS1_3) is TLSVersion.TLS1_3
    for text in ("TLS1_VERSION_DEPRECATED", "1.1", "ssl3"):
        with pytest.raises(ConfigError):
            parse_tls_version(text, default=TLSVersion.TLS1_3)


def test_contexts_offer_nothing_weak(anchors: TrustAnchors, host: Credential) -> None:
    for context in (ClientTLS()._context, ServerTLS(host, lambda: anchors)._context):
        names = {cipher["name"] for cipher in context.get_ciphers()}
        assert not {
            name for name in names if any(word in name for word in ("NULL", "ADH", "AECDH", "RC4", "DES", "PSK"))
        }
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_new_anchors_count_from_the_next_connection(anchors: TrustAnchors, host: Credential, tmp_path: Path) -> None:
    newcomer = TestCA("/O=New/CN=CA")
    current = [anchors]
    server_side = ServerTLS(host, lambda: current[0])
    alice = credential(newcomer.issue(ALICE))
    with pytest.raises(VerificationError):
        shake(ClientTLS(alice).session(judge(anchors)), server_side.session())
    current[0] = read_anchors(write_trust_dir(tmp_path, newcomer, authority()))
    shake(ClientTLS(alice).session(judge(anchors)), server_side.session())


class MoreAnchors(NamedTuple):
    """Anchors as the server side looks at them, with an authority that no builder would make."""

    generation: int
    authorities: tuple[object, ...]

    def find_authorities(self, _name: bytes) -> tuple[object, ...]:
        return ()


def test_an_authority_that_openssl_cannot_read_takes_no_other_along(
    anchors: TrustAnchors, host: Credential, caplog: pytest.LogCaptureFixture
) -> None:
    good = Certificate.parse(authority().der)
    der = good.der.replace(b"\x0c\x04Grid", b"\xda\x04Grid", 1)
    bad = SimpleNamespace(der=der, fingerprint="bad", subject_der=good.subject_der)
    with pytest.raises(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=bad.der)
    mixed = (SimpleNamespace(certificate=bad), *anchors.authorities)
    current = [anchors, cast("TrustAnchors", MoreAnchors(-1, mixed)), cast("TrustAnchors", MoreAnchors(-2, mixed))]
    server_side = ServerTLS(host, lambda: current[0])
    for _ in range(3):
        shake(ClientTLS(credential(authority().issue(ALICE))).session(judge(anchors)), server_side.session())
        current = current[1:] or current
    ServerTLS(host, lambda: current[0])  # a restart
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "OpenSSL cannot read the CA /O=Grid/CN=CA rsa2048, whose clients are refused"
    ] * 2


def test_a_context_that_cannot_be_renewed_stays_in_use(
    anchors: TrustAnchors, host: Credential, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_arguments: object) -> None:
        raise CredentialError("no file descriptors", problem=CredentialProblem.UNSUPPORTED_KEY)

    server_side = ServerTLS(host, lambda: anchors)
    before = server_side._context
    monkeypatch.setattr(tls_module, "SESSIONS_PER_CONTEXT", 1)
    server_side.session()
    with monkeypatch.context() as patch:
        patch.setattr(tls_module, "_load_credential", broken)
        for _ in range(3):
            server_side.session()
        assert server_side._context is before
    server_side.session()
    assert server_side._context is not before
    assert len(caplog.records) == 1


def test_a_context_serves_a_bounded_number_of_connections(
    anchors: TrustAnchors, host: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_module, "SESSIONS_PER_CONTEXT", 3)
    server_side = ServerTLS(host, lambda: anchors)
    contexts = []
    for _ in range(7):
        server_side.session()
        contexts.append(server_side._context)
    assert [contexts.count(one) for one in dict.fromkeys(contexts)] == [3, 3, 1]


def test_the_credential_can_be_replaced(anchors: TrustAnchors, host: Credential) -> None:
    server_side = ServerTLS(host, lambda: anchors)
    other = credential(authority().issue_host("other.example.org"))
    server_side.replace_credential(other)
    client = ClientTLS().session(judge(anchors))
    shake(client, server_side.session())
    assert client.peer is not None
    assert "other.example.org" in client.peer.identity
    broken = cast(
        "Credential", SimpleNamespace(encode=lambda: b"nonsense", certificates=other.certificates, subject="x")
    )
    with pytest.raises(CredentialError):
        server_side.replace_credential(broken)
    shake(ClientTLS().session(judge(anchors)), server_side.session())


def test_keys_touch_no_disk(host: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_arguments: object) -> None:
        raise AssertionError("written to disk")

    monkeypatch.setattr(tls_module, "_load_through_disk", forbidden)
    before = set(os.listdir("/proc/self/fd"))
    ClientTLS(host)
    assert set(os.listdir("/proc/self/fd")) == before


def test_without_memory_files_a_private_one_is_used_and_removed(
    host: Credential, anchors: TrustAnchors, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    modes = []
    real = ssl.SSLContext.load_cert_chain

    def spy(context: ssl.SSLContext, path: str) -> None:
        modes.append((os.stat(path).st_mode & 0o777, os.stat(os.path.dirname(path)).st_mode & 0o777))
        real(context, path)

    def missing(*_arguments: object) -> int:
        raise OSError("no memory files")

    monkeypatch.setattr(os, "memfd_create", missing)
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
    ClientTLS(host)
    assert modes == [(0o600, 0o700)]
    assert list(tmp_path.iterdir()) == []


# The blocking stream


def test_two_streams_talk(anchors: TrustAnchors, host: Credential) -> None:
    import threading

    ours, theirs = joined_streams(portion=100)
    server = ServerTLS(host, lambda: anchors).session()
    seen: list[bytes] = []

    def serve() -> None:
        stream = TLSStream(theirs, server)
        stream.handshake()
        stream.flush()
        seen.extend(iter(stream.receive, b""))
        stream.send(b"answer", b"more")
        stream.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    client = TLSStream(ours, ClientTLS(credential(authority().issue(ALICE))).session(judge(anchors)))
    client.handshake()
    client.send(b"0", b"request")
    ours.close()
    thread.join(30)
    assert seen == [b"0", b"request"]
    assert [client.receive(), client.receive(), client.receive()] == [b"answer", b"more", b""]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n", b"\0" * 100])
def test_a_peer_that_does_not_speak_tls(anchors: TrustAnchors, answer: bytes) -> None:
    ours, theirs = joined_streams()
    theirs.send(answer)
    theirs.close()
    with pytest.raises(TransportError, match=r"TLS handshake failed: .+"):
        TLSStream(ours, ClientTLS().session(judge(anchors))).handshake()
