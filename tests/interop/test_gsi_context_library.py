"""The C mechanism's library against ours, call by call, in process through ctypes: both roles, both TLS versions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from gsi.context.acceptor import Acceptor
from gsi.context.exchange import DELEGATE_FULL, DELEGATE_LIMITED
from gsi.context.info import ContextFlag
from gsi.context.initiator import Initiator
from gsi.context.target import Target, check_target
from gsi.credential import parse_credential
from gsi.errors import (
    AuthenticationError,
    GridError,
    Reason,
    RemoteProtocolError,
    TransportError,
    VerificationError,
)
from gsi.proxy.issue import ProxyOptions
from gsi.proxy.kinds import ProxyKind
from gsi.transport.tls import TLSVersion
from gsi.trust.verify import verify_chain
from tests.harness.ca import LIMITED_INFO, Issued, TestCA, write_trust_dir
from tests.harness.contexts import ALICE, HOST, Parties, clock, make_parties
from tests.harness.environment import clean_environment
from tests.harness.gssapi import COMPLETE, CONTINUE, Answer, CLibrary, PeerCrashedError, c_library

VERSIONS = list(TLSVersion)
each_version = pytest.mark.parametrize("version", VERSIONS)
DELEG, ANON, LIMIT, REFUSE_LIMITED, SSL_COMPATIBLE = 1, 64, 4096, 8192, 16384
BASE = 2 | 16 | 32  # mutual, conf, integ
MESSAGE = bytes(index % 253 for index in range(40000))
Pair: TypeAlias = tuple[CLibrary, Initiator | Acceptor]


@pytest.fixture(scope="module")
def parties() -> Parties:
    return make_parties()


class Library:
    """Starts the library as Alice or as the host."""

    def __init__(self, parties: Parties, directory: Path) -> None:
        self.parties = parties
        self._directory = directory
        trust_dir = write_trust_dir(directory / "certificates", parties.ca)
        self._variables = clean_environment(directory) | {
            "X509_CERT_DIR": str(trust_dir),
            "GLOBUS_GSSAPI_NAME_COMPATIBILITY": "STRICT_RFC2818",
        }
        self._count = 0

    @contextlib.contextmanager
    def run(
        self, issued: Issued, usage: str, version: TLSVersion = TLSVersion.TLS1_3, *, ciphers: str | None = None
    ) -> Iterator[CLibrary]:
        self._count += 1
        path = self._directory / f"credential{self._count}.pem"
        issued.write_bundle(path)
        variables = self._variables | {
            "X509_USER_PROXY": str(path),
            "GLOBUS_GSSAPI_MAX_TLS_PROTOCOL": f"TLS{version.value.replace('.', '_')}_VERSION",
        }
        if ciphers is not None:
            variables["GLOBUS_GSSAPI_CIPHERS"] = ciphers
        with c_library(variables) as peer:
            peer.acquire("accept" if usage == "accept" else "initiate")
            yield peer

    @contextlib.contextmanager
    def anonymous(self, version: TLSVersion) -> Iterator[CLibrary]:
        with c_library(
            self._variables | {"GLOBUS_GSSAPI_MAX_TLS_PROTOCOL": f"TLS{version.value.replace('.', '_')}_VERSION"}
        ) as peer:
            yield peer


@pytest.fixture(scope="module")
def library(parties: Parties, tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(parties, tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def host(parties: Parties) -> Issued:
    """A host certificate as issued; the library takes any credential from a proxy file."""
    return parties.ca.issue_host()


@pytest.fixture(scope="module")
def alice(parties: Parties) -> Issued:
    return parties.user.proxy()


def initiate(ours: Initiator, theirs: CLibrary, *, flags: int = 16) -> tuple[int, Answer]:
    """Ours against their acceptor; returns how many tokens it took and their last answer."""
    step, count = ours.step(), 0
    while True:
        count += 1
        answer = theirs.accept(step.output, flags=flags)
        if step.done and answer.done:
            return count, answer
        step = ours.step(answer.check().token)
        if step.done and not step.output:  # TLS 1.2 without the byte: the acceptor had the last word
            return count, answer


def accept(ours: Acceptor, theirs: CLibrary, *, flags: int = BASE) -> tuple[int, Answer]:
    """Their initiator against ours."""
    answer, count = theirs.init(flags=flags).check(), 1
    while True:
        step = ours.step(answer.token)
        if not step.output:
            assert step.done
            assert answer.done
            return count, answer
        answer, count = theirs.init(step.output, flags=flags).check(), count + 1
        if answer.done and not answer.token:
            return count, answer


@contextlib.contextmanager
def established(library: Library, role: str, version: TLSVersion, host: Issued, alice: Issued) -> Iterator[Pair]:
    """A context between us in a role and the library in the other one."""
    if role == "initiator":
        with library.run(host, "accept", version) as theirs:
            initiator = library.parties.initiator(version)
            initiate(initiator, theirs)
            yield theirs, initiator
    else:
        with library.run(alice, "initiate", version) as theirs:
            theirs.target("localhost/127.0.0.1")
            acceptor = library.parties.acceptor(version)
            accept(acceptor, theirs)
            yield theirs, acceptor


each_role = pytest.mark.parametrize("role", ["initiator", "acceptor"])


# Establishing


@each_version
@pytest.mark.parametrize("delegate", [None, DELEGATE_FULL, DELEGATE_LIMITED], ids=["0", "D full", "D limited"])
def test_our_initiator(library: Library, host: Issued, version: TLSVersion, delegate: ProxyOptions | None) -> None:
    ours = library.parties.initiator(version, delegate=delegate)
    with library.run(host, "accept", version) as theirs:
        count, answer = initiate(ours, theirs)
        assert count == (3 if delegate is None else 4)
        assert bool(answer.flags & DELEG) is (delegate is not None)
        found = theirs.inquire().more
        assert (found["source"], found["local"], found["open"]) == (ALICE, 0, 1)
        info = ours.inquire()
        assert info.identity == HOST
        assert theirs.ask("gss_ext_tls_version_oid") == [f"TLSv{version.value}".encode() + b"\0"]
        assert theirs.ask("gss_ext_tls_cipher_oid") == [info.cipher.encode() + b"\0"]
        if delegate is not None:
            received = parse_credential(theirs.export())
            peer = verify_chain(received.certificates, library.parties.anchors, now=clock())
            assert (peer.identity, peer.limited) == (ALICE, delegate is DELEGATE_LIMITED)
            assert received.not_after == library.parties.alice.not_after


@each_version
@pytest.mark.parametrize("flags", [0, DELEG, DELEG | LIMIT], ids=["0", "D full", "D limited"])
def test_our_acceptor(library: Library, alice: Issued, version: TLSVersion, flags: int) -> None:
    ours = library.parties.acceptor(version)
    with library.run(alice, "initiate", version) as theirs:
        theirs.target("localhost/127.0.0.1")
        count, _ = accept(ours, theirs, flags=BASE | flags)
        assert count == (4 if flags else 3)
        info = ours.inquire()
        assert (info.identity, info.version) == (ALICE, version)
        assert (ours.delegated is not None) is bool(flags)
        assert (ContextFlag.DELEG in info.flags) is bool(flags)
        assert (ContextFlag.DELEG_LIMITED in info.flags) is bool(flags & LIMIT)
        if ours.delegated is not None:
            verify_chain(ours.delegated.certificates, library.parties.anchors, now=clock())
        assert theirs.inquire().more["target"] == HOST


@each_role
@each_version
def test_ssl_compatible(library: Library, host: Issued, alice: Issued, role: str, version: TLSVersion) -> None:
    """Both sides know it beforehand; delegation afterwards is then in bare tokens."""
    parties = library.parties
    if role == "initiator":
        with library.run(host, "accept", version) as theirs:
            ours = parties.initiator(version, ssl_compatible=True)
            initiate(ours, theirs, flags=16 | SSL_COMPATIBLE)
            assert theirs.unwrap(ours.wrap(MESSAGE)).check().token == MESSAGE
            assert ours.unwrap(theirs.wrap(MESSAGE).check().token) == MESSAGE
    else:
        with library.run(alice, "initiate", version) as theirs:
            theirs.target("localhost/127.0.0.1")
            acceptor = parties.acceptor(version, ssl_compatible=True)
            accept(acceptor, theirs, flags=BASE | SSL_COMPATIBLE)
            assert theirs.unwrap(acceptor.wrap(MESSAGE)).check().token == MESSAGE
            assert acceptor.unwrap(theirs.wrap(MESSAGE).check().token) == MESSAGE


# Messages


@each_role
@each_version
@pytest.mark.parametrize("size", [1, 16384, 16385, 40000])
def test_messages(library: Library, host: Issued, alice: Issued, role: str, version: TLSVersion, size: int) -> None:
    with established(library, role, version, host, alice) as (theirs, ours):
        message = MESSAGE[:size]
        assert theirs.unwrap(ours.wrap(message)).check().token == message
        for conf in (True, False):  # without: encrypted all the same
            answer = theirs.wrap(message, conf=conf).check()
            assert answer.more["conf"] == 1
            assert ours.unwrap(answer.token) == message


@each_version
def test_a_message_in_halves(library: Library, host: Issued, alice: Issued, version: TLSVersion) -> None:
    """Half a record gives nothing, with either of us; the rest gives the message."""
    with established(library, "initiator", version, host, alice) as (theirs, ours):
        token = ours.wrap(b"message")
        assert theirs.unwrap(token[:9]).check().token == b""
        assert theirs.unwrap(token[9:]).check().token == b"message"
        token = theirs.wrap(b"message").check().token
        assert ours.unwrap(token[:9]) == b""
        assert ours.unwrap(token[9:]) == b"message"


@each_version
def test_an_integrity_code_is_refused(library: Library, host: Issued, alice: Issued, version: TLSVersion) -> None:
    """QOP 1 without confidentiality: the one way by which the library sends a message in the clear."""
    with established(library, "initiator", version, host, alice) as (theirs, ours):
        token = theirs.wrap(b"in the clear", conf=False, qop=1).check().token
        assert token.startswith(b"\x1a\x03\x00")
        assert token.endswith(b"in the clear")
        with pytest.raises(RemoteProtocolError, match="integrity code"):
            ours.unwrap(token)


@each_version
def test_the_library_refuses_what_we_refuse(library: Library, host: Issued, alice: Issued, version: TLSVersion) -> None:
    with established(library, "initiator", version, host, alice) as (theirs, ours):
        token = ours.wrap(b"once")
        assert theirs.unwrap(token).check().token == b"once"
        assert theirs.unwrap(token).major not in (COMPLETE, CONTINUE)


# Delegation afterwards


@each_role
@each_version
def test_delegating_to_the_library(
    library: Library, host: Issued, alice: Issued, role: str, version: TLSVersion
) -> None:
    with established(library, role, version, host, alice) as (theirs, ours):
        for options in (DELEGATE_LIMITED, DELEGATE_FULL):  # as often as wanted
            sender = ours.delegate(options)
            request = theirs.accept_delegation(sender.step().output).check()
            last = sender.step(request.token)
            assert last.done
            assert theirs.accept_delegation(last.output).done
            received = parse_credential(theirs.export())
            peer = verify_chain(received.certificates, library.parties.anchors, now=clock())
            assert peer.identity == (ALICE if role == "initiator" else HOST)
            assert peer.limited is (options is DELEGATE_LIMITED)
        assert theirs.unwrap(ours.wrap(b"still good")).check().token == b"still good"


@each_role
@each_version
@pytest.mark.parametrize(("flags", "seconds", "minutes"), [(0, 7200, 120), (LIMIT, 3601, 61), (0, 0, None)])
def test_the_library_delegates(
    library: Library,
    host: Issued,
    alice: Issued,
    role: str,
    version: TLSVersion,
    flags: int,
    seconds: int,
    minutes: int | None,
) -> None:
    """Seconds become minutes, rounded up; none mean as long as its own credential."""
    with established(library, role, version, host, alice) as (theirs, ours):
        receiver = ours.receive_delegation()
        began = clock()
        first = theirs.init_delegation(flags=flags, seconds=seconds).check()
        request = receiver.step(first.token)
        last = theirs.init_delegation(request.output, flags=flags, seconds=seconds)
        assert receiver.step(last.check().token).done
        assert receiver.credential is not None
        assert receiver.peer is not None
        assert receiver.peer.identity == (HOST if role == "initiator" else ALICE)
        assert receiver.peer.limited is bool(flags)
        if minutes is not None:
            assert abs(receiver.credential.not_after - began - timedelta(minutes=minutes)) < timedelta(seconds=30)
        assert ours.unwrap(theirs.wrap(b"still good").check().token) == b"still good"


def test_why_each_certificate_has_its_record(library: Library, host: Issued, alice: Issued) -> None:
    """The library asks its undecrypted bytes whether more will follow, and dies when nothing does."""
    with established(library, "initiator", TLSVersion.TLS1_3, host, alice) as (theirs, ours):
        sender = ours.delegate()
        sender._protect = lambda messages: ours.wrap(b"".join(messages))
        request = theirs.accept_delegation(sender.step().output).check()
        with pytest.raises(PeerCrashedError):
            theirs.accept_delegation(sender.step(request.token).output)


# Who is refused


@each_version
@pytest.mark.parametrize("kind", ["host_ip", "service", "user"])
def test_the_library_refuses_our_name(library: Library, alice: Issued, version: TLSVersion, kind: str) -> None:
    """After the handshake, by hanging up before its last byte."""
    ours = library.parties.acceptor(version)
    name = {"host_ip": "other.example.org/127.0.0.2", "service": "host@other.example.org", "user": "/O=Grid/CN=Other"}
    with library.run(alice, "initiate", version) as theirs:
        theirs.target(name[kind], kind)
        answer = theirs.init(flags=BASE).check()
        while answer.major == CONTINUE:
            answer = theirs.init(ours.step(answer.token).output, flags=BASE)
        assert answer.major not in (COMPLETE, CONTINUE)
        assert "do not match" in answer.error or "name" in answer.error.lower()
        assert not ours.is_established
        with pytest.raises(TransportError):
            ours.receive_end()


@each_version
def test_we_refuse_the_librarys_name(library: Library, host: Issued, version: TLSVersion) -> None:
    """Within the handshake, and the library learns why."""
    ours = library.parties.initiator(version, target="other.example.org")
    with library.run(host, "accept", version) as theirs:
        answer = theirs.accept(ours.step().output).check()
        with pytest.raises(VerificationError) as caught:
            ours.step(answer.token)
        assert caught.value.reason is Reason.PEER_NAME
        refusal = theirs.accept(ours.alert_token)
        assert refusal.major not in (COMPLETE, CONTINUE)
        assert "alert" in refusal.error


@each_version
def test_limited_peers(library: Library, parties: Parties, host: Issued, version: TLSVersion) -> None:
    limited = parties.user.proxy(info=LIMITED_INFO)
    credential = parse_credential(limited.bundle())
    with library.run(host, "accept", version) as theirs:
        _, answer = initiate(parties.initiator(version, credential=credential), theirs)
        assert answer.flags & REFUSE_LIMITED  # in the answer it says that the peer is limited
    with library.run(host, "accept", version) as theirs:
        ours = parties.initiator(version, credential=credential)
        answer = theirs.accept(ours.step().output, flags=16 | REFUSE_LIMITED).check()
        answer = theirs.accept(ours.step(answer.token).output, flags=16 | REFUSE_LIMITED)
        assert answer.major not in (COMPLETE, CONTINUE)
    for strict in (False, True):
        with library.run(limited, "initiate", version) as theirs:
            theirs.target("localhost/127.0.0.1")
            acceptor = parties.acceptor(version, accept_limited=not strict)
            if strict:
                with pytest.raises(VerificationError) as caught:
                    accept(acceptor, theirs)
                assert caught.value.reason is Reason.PROXY_LIMITED
            else:
                accept(acceptor, theirs)
                assert acceptor.inquire().is_limited


@each_version
def test_anonymous(library: Library, parties: Parties, host: Issued, version: TLSVersion) -> None:
    with library.run(host, "accept", version) as theirs:
        ours = Initiator(None, parties.anchors, target=Target("localhost"), now=clock)
        _, answer = initiate(ours, theirs)
        assert answer.flags & ANON
        assert theirs.inquire().more["source"] == "<anonymous>"
        assert ContextFlag.ANON in ours.inquire().flags
    for allowed in (True, False):
        with library.anonymous(version) as theirs:
            theirs.target("localhost/127.0.0.1")
            acceptor = parties.acceptor(version, allow_anonymous=allowed)
            if not allowed:
                with pytest.raises(VerificationError) as caught:
                    accept(acceptor, theirs, flags=BASE | ANON)
                assert caught.value.reason is Reason.NO_CERTIFICATE
                continue
            accept(acceptor, theirs, flags=BASE | ANON)
            assert acceptor.inquire().identity is None
            assert ContextFlag.ANON in acceptor.inquire().flags


@each_version
def test_strangers(library: Library, parties: Parties, version: TLSVersion) -> None:
    other = TestCA("/O=Grid/CN=Other CA", "p256")
    with library.run(other.issue_host(), "accept", version) as theirs:
        ours = parties.initiator(version)
        answer = theirs.accept(ours.step().output).check()
        with pytest.raises(VerificationError):
            ours.step(answer.token)
        assert "alert" in theirs.accept(ours.alert_token).error
    with library.run(other.issue(ALICE), "initiate", version) as theirs:
        theirs.target("localhost/127.0.0.1")
        acceptor = parties.acceptor(version)
        with pytest.raises(VerificationError):
            accept(acceptor, theirs)
        assert acceptor.alert_token
    with library.run(parties.ca.issue_host(), "accept", version) as theirs:
        stranger = parse_credential(other.issue(ALICE, "p256").bundle())
        ours = parties.initiator(version, credential=stranger)
        answer = theirs.accept(ours.step().output).check()
        answer = theirs.accept(ours.step(answer.token).output)
        assert answer.major not in (COMPLETE, CONTINUE)
        with pytest.raises(AuthenticationError):  # the library sends its alert with the error
            ours.step(answer.token)


# What it says of itself


@each_role
@each_version
def test_flags(library: Library, host: Issued, alice: Issued, role: str, version: TLSVersion) -> None:
    """Ours are true; the library's initiator claims delegation and anonymity whatever happened."""
    with established(library, role, version, host, alice) as (theirs, ours):
        flags = ours.inquire().flags
        assert flags == (
            ContextFlag.MUTUAL
            | ContextFlag.REPLAY
            | ContextFlag.SEQUENCE
            | ContextFlag.CONF
            | ContextFlag.INTEG
            | ContextFlag.PROT_READY
        )
        assert theirs.inquire().flags == (190 if role == "initiator" else 190 | DELEG | ANON)


def test_flags_with_a_cbc_cipher(library: Library, host: Issued) -> None:
    """The library then says that nothing is confidential, although it is."""
    ours = library.parties.initiator(TLSVersion.TLS1_2)
    with library.run(host, "accept", TLSVersion.TLS1_2, ciphers="ECDHE-RSA-AES128-SHA256") as theirs:
        initiate(ours, theirs)
        assert ours.inquire().cipher == "ECDHE-RSA-AES128-SHA256"
        assert ContextFlag.CONF in ours.inquire().flags
        assert not theirs.inquire().flags & ContextFlag.CONF
        assert theirs.unwrap(ours.wrap(MESSAGE)).check().token == MESSAGE
        assert ours.unwrap(theirs.wrap(MESSAGE).check().token) == MESSAGE


@each_version
def test_a_library_that_wants_no_confidentiality(
    library: Library, host: Issued, alice: Issued, version: TLSVersion
) -> None:
    """It prefers suites without encryption, and gets none from us."""
    initiator, acceptor = library.parties.initiator(version), library.parties.acceptor(version)
    with library.run(host, "accept", version) as theirs:
        initiate(initiator, theirs, flags=0)
    with library.run(alice, "initiate", version) as theirs:
        theirs.target("localhost/127.0.0.1")
        accept(acceptor, theirs, flags=2)
    for context in (initiator, acceptor):
        cipher = context.inquire().cipher
        assert "AES" in cipher or "CHACHA20" in cipher
        assert "NULL" not in cipher


@each_version
def test_lifetime(library: Library, host: Issued, alice: Issued, version: TLSVersion) -> None:
    """The earlier end counts; the library takes the later one."""
    with established(library, "initiator", version, host, alice) as (theirs, ours):
        lifetime = theirs.inquire().more["lifetime"]
        assert isinstance(lifetime, int)
        assert lifetime > 86400 * 29
        assert ours.inquire().lifetime < timedelta(hours=13)


NAMES = ["localhost", "host/localhost", "ftp/localhost", "LOCALHOST", "HOST/localhost", "other"]
TARGETS = [("localhost", "host_ip"), ("host@localhost", "service"), ("ftp@localhost", "service")]


def test_names_compare_as_in_the_library(library: Library, parties: Parties) -> None:
    with library.anonymous(TLSVersion.TLS1_3) as theirs:
        for name in NAMES:
            issued = parties.ca.issue(f"/O=Grid/CN={name}")
            peer = verify_chain(issued.chain_der, parties.anchors, now=clock())
            for target, kind in [*TARGETS, (ALICE, "user"), (f"/O=Grid/CN={name}", "user")]:
                try:
                    check_target(peer, Target.parse(target))
                    same = True
                except GridError:
                    same = False
                text = f"{target}/127.0.0.1" if kind == "host_ip" else target
                assert theirs.is_same((f"/O=Grid/CN={name}", "user"), (text, kind)) is same, (name, target)


def test_proxy_kinds_delegated_from_a_limited_proxy(library: Library, parties: Parties, host: Issued) -> None:
    """Limited stays limited, whatever was asked for."""
    limited = parse_credential(parties.user.proxy(info=LIMITED_INFO).bundle())
    ours = parties.initiator(credential=limited, delegate=DELEGATE_FULL)
    with library.run(host, "accept") as theirs:
        initiate(ours, theirs)
        received = parse_credential(theirs.export())
        peer = verify_chain(received.certificates, parties.anchors, now=clock())
        assert peer.kind is ProxyKind.LIMITED
