"""The commands without sockets: real chains, real store, a clock that stands still."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from gsi.certificate import Certificate
from gsi.delegation import DelegationRequester, grant_delegation, parse_delegation_request
from gsi.errors import (
    AuthenticationError,
    DeniedError,
    GridError,
    RemoteProtocolError,
    StorageError,
    VerificationError,
)
from gsi.keys import KeyType, generate_key
from gsi.names import oneline
from gsi.proxy.chain import ProxyChain
from gsi.proxy.issue import ProxyOptions
from gsi.proxy.kinds import ProxyKind
from gsi.secret import Passphrase
from gsi.system.audit import Verdict
from gsi.trust.options import ValidationOptions
from gsi.trust.verify import verify_chain
from myproxy.grants import Settings
from myproxy.policy import AccessPolicy, parse_rules
from myproxy.protocol.codec import encode_response, parse_response
from myproxy.protocol.messages import Command, Response
from myproxy.repository.seal import SealParameters, is_sealed, read_price
from myproxy.repository.sealforms import parse_form
from myproxy.retrieval import proxy_lifetime
from tests.harness.ca import (
    FULL_INFO,
    INDEPENDENT_INFO,
    LIMITED_INFO,
    Issued,
    TestCA,
    proxy_info,
)
from tests.harness.myproxy import HOUR, OPEN, SECRET, CountingSealer, World, ask, make_world
from tests.harness.trust import forge

RESTRICTED_LANGUAGE = "1.3.6.1.4.1.55555.1"
RESTRICTED_INFO = proxy_info(RESTRICTED_LANGUAGE, policy=b"anything")


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=Test CA")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice")


@pytest.fixture(scope="module")
def bob(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Bob", key="p256")


@pytest.fixture
def world(ca: TestCA, tmp_path: Path) -> Iterator[World]:
    with make_world(ca, tmp_path) as made:
        yield made


PUT = ask(Command.PUT)
GET = ask(Command.GET)


def test_store_and_log_on_from_elsewhere(world: World, alice: Issued) -> None:
    world.put(alice, PUT)
    proxy = world.get(None, GET)
    verified = world.verify(proxy.certificates, now=world.now)
    assert verified.identity == "/O=Grid/CN=Alice"
    assert len(proxy.certificates) == 3
    assert abs(proxy.certificate.not_after - world.now - 12 * HOUR) < timedelta(minutes=1)
    assert world.verdicts() == [("PUT", Verdict.PERMIT), ("GET", Verdict.PERMIT), ("DELEGATE", Verdict.PERMIT)]
    stored = world.repository.get("alice", None)
    assert is_sealed(stored.sealed_key)
    assert stored.owner == "/O=Grid/CN=Alice"


def test_the_audit_tells_who_and_why_and_no_secret(world: World, alice: Issued, bob: Issued) -> None:
    world.put(bob, PUT, signer=alice)
    world.get(None, GET)
    put, get, delegated = world.sink.records
    assert put.peer == "/O=Grid/CN=Bob"
    assert put.details["delegated_identity"] == "/O=Grid/CN=Alice"
    assert put.reason == "accepted_credentials *"
    assert (get.peer, get.details["owner"], get.details["method"]) == ("<anonymous>", "/O=Grid/CN=Bob", "pass phrase")
    assert str(delegated.details["subject"]).startswith("/O=Grid/CN=Alice/CN=")
    assert SECRET not in repr(world.sink.records)


@pytest.mark.parametrize(
    ("asked", "stored", "maximum", "expected"),
    [
        (43200, 0, 0, 43200),
        (43200, 3600, 0, 3600),
        (43200, 7200, 3600, 3600),
        (0, 7200, 0, 7200),
        (0, 0, 0, 0),
        (1, 0, 0, 300),
        (299, 0, 0, 300),
        (301, 0, 0, 300),
        (3659, 0, 0, 3600),
    ],
)
def test_proxy_lifetime(asked: int, stored: int, maximum: int, expected: int) -> None:
    given = [timedelta(seconds=number) for number in (asked, stored, maximum)]
    assert proxy_lifetime(*given) == timedelta(seconds=expected)


def test_a_proxy_never_outlives_its_issuer(world: World, alice: Issued) -> None:
    world.put(alice, dataclasses.replace(PUT, lifetime=timedelta(0)))
    proxy = world.get(None, dataclasses.replace(GET, lifetime=timedelta(0)))
    assert proxy.certificate.not_after == proxy.chain[0].not_after
    proxy = world.get(None, dataclasses.replace(GET, lifetime=1000 * HOUR))
    assert proxy.certificate.not_after == proxy.chain[0].not_after


# Refusals ---------------------------------------------------------------------------------------------------------


def test_unknown_user_wrong_passphrase_and_forbidden_look_the_same(world: World, alice: Issued) -> None:
    world.put(alice, PUT)
    world.put(alice, dataclasses.replace(PUT, username="narrow", retriever="*/CN=Carol"))
    world.put(alice, dataclasses.replace(PUT, username="open", passphrase=Passphrase("")))
    tries = [
        dataclasses.replace(GET, passphrase=Passphrase("wrong horse")),
        dataclasses.replace(GET, passphrase=Passphrase("")),
        dataclasses.replace(GET, username="nobody"),
        dataclasses.replace(GET, credential_name="nothing"),
        dataclasses.replace(GET, username="narrow"),
        dataclasses.replace(GET, username="open"),
        dataclasses.replace(GET, username="open", passphrase=Passphrase("")),
    ]
    for request in tries:
        before = world.sealer.count
        with pytest.raises(AuthenticationError, match=r"^invalid credential passphrase$"):
            world.service.begin_get(world.caller(None), request)
        assert world.sealer.count == before + 1, "one derivation, whatever the reason"
    assert [record.verdict for record in world.sink.records[3:]] == [Verdict.DENY] * len(tries)
    assert "credential's authorized_retrievers policy" in world.sink.records[3 + 4].reason


def test_a_known_client_is_told_which_policy_refused(world: World, alice: Issued, bob: Issued) -> None:
    world.put(alice, dataclasses.replace(PUT, retriever="*/CN=Carol"))
    with pytest.raises(DeniedError, match="not authorized by credential's authorized_retrievers policy"):
        world.service.begin_get(world.caller(bob), GET)
    world.configure(Settings(access=AccessPolicy(authorized_retrievers=parse_rules(["/CN=x"]))))
    with pytest.raises(DeniedError, match="not authorized by server's authorized_retrievers policy"):
        world.service.begin_get(world.caller(bob), GET)


def test_locked(world: World, alice: Issued) -> None:
    world.put(alice, PUT)
    world.repository.set_lock("alice", None, "closed for repairs", now=world.now)
    with pytest.raises(DeniedError, match=r"^credential locked\nclosed for repairs$"):
        world.service.begin_get(world.caller(None), GET)
    with pytest.raises(AuthenticationError):
        world.service.begin_get(world.caller(None), dataclasses.replace(GET, passphrase=Passphrase("wrong horse")))


def test_a_credential_revoked_since_is_not_delegated(world: World, alice: Issued, ca: TestCA) -> None:
    world.put(alice, PUT)
    for path in world.directory.glob("*.r0"):
        path.write_bytes(ca.crl([alice]))
    with pytest.raises(DeniedError, match=r"^Credentials are not valid"):
        world.service.begin_get(world.caller(None), GET)


def test_an_expired_credential_is_not_delegated(world: World, alice: Issued) -> None:
    world.put(alice, PUT)
    world.now += 25 * HOUR
    with pytest.raises(DeniedError, match=r"^Credentials are not valid"):
        world.service.begin_get(world.caller(None), GET)


def test_a_limited_client_gets_a_limited_proxy(world: World, alice: Issued) -> None:
    world.put(alice, PUT)
    limited = alice.proxy(info=LIMITED_INFO)
    assert ProxyChain.split(world.get(limited, GET).certificates).kind is ProxyKind.LIMITED
    assert ProxyChain.split(world.get(alice, GET).certificates).kind is ProxyKind.FULL
    world.configure(Settings(access=OPEN, limited_stays_limited=False))
    assert ProxyChain.split(world.get(limited, GET).certificates).kind is ProxyKind.FULL
    world.configure(Settings(access=OPEN))
    world.put(alice, PUT, options=ProxyOptions(kind=ProxyKind.LIMITED))
    assert ProxyChain.split(world.get(limited, GET).certificates).kind is ProxyKind.LIMITED
    world.put(alice, PUT, options=ProxyOptions(kind=ProxyKind.INDEPENDENT))
    with pytest.raises(DeniedError, match="limited client"):
        world.get(limited, GET)


@pytest.mark.parametrize("request_der", [b"", b"garbage", b"0\x00"])
def test_a_bad_delegation_request(world: World, alice: Issued, request_der: bytes) -> None:
    world.put(alice, PUT)
    grant = world.begin_get(None, GET)
    good = DelegationRequester(generate_key(KeyType.P256)).request_der
    for sent in (request_der, good + request_der + b"0", good[:-1] + bytes([good[-1] ^ 1])):
        with pytest.raises(DeniedError, match=r"^Unable to delegate credentials"):
            world.service.finish_get(grant, sent)
    assert world.verdicts()[-1] == ("DELEGATE", Verdict.DENY)


def test_who_may_store(world: World, alice: Issued, bob: Issued) -> None:
    world.put(alice, PUT)
    with pytest.raises(
        DeniedError, match=r"^Credentials are already stored for user alice\nand they are not owned by\n"
    ):
        world.service.begin_put(world.caller(bob), PUT)
    with pytest.raises(DeniedError, match="authentication failed"):
        world.service.begin_put(world.caller(None), PUT)
    world.configure(Settings(access=AccessPolicy()))
    with pytest.raises(DeniedError, match="not authorized to store credentials on this server"):
        world.service.begin_put(world.caller(alice), PUT)


def test_the_address_taken_while_the_client_was_delegating(world: World, alice: Issued, bob: Issued) -> None:
    grant = world.service.begin_put(world.caller(bob), PUT)
    world.put(alice, PUT)
    chain = grant_delegation(
        world.credential(bob), parse_delegation_request(grant.requester.request_der), now=world.now
    )
    with pytest.raises(DeniedError, match="already stored"):
        world.service.finish_put(grant, [certificate.der for certificate in chain])
    assert world.repository.get("alice", None).owner == "/O=Grid/CN=Alice"


@pytest.mark.parametrize("short", ["a", "12345"])
def test_short_passphrases(world: World, alice: Issued, short: str) -> None:
    match = r"^Pass phrase too short\.  Must be at least 6 characters long\.$"
    with pytest.raises(DeniedError, match=match):
        world.service.begin_put(world.caller(alice), dataclasses.replace(PUT, passphrase=Passphrase(short)))
    world.put(alice, PUT)
    change = ask(Command.CHANGE_PASSPHRASE, new_passphrase=Passphrase(short))
    with pytest.raises(DeniedError, match=match):
        world.service.change_passphrase(world.caller(alice), change)


@pytest.mark.parametrize(
    "change",
    [
        {"credential_name": ""},
        {"retriever": "(("},
        {"renewer": "a" * 2000},
        {"credential_name": "a,b"},
        {"description": "x USERNAME=y"},
    ],
)
def test_what_cannot_be_listed_or_means_nothing_is_not_stored(
    world: World, alice: Issued, change: dict[str, str]
) -> None:
    with pytest.raises(DeniedError, match=r"^error parsing request"):
        world.service.begin_put(world.caller(alice), dataclasses.replace(PUT, **change))  # type: ignore[arg-type]  # texts


def test_what_the_client_delegates_is_judged(world: World, alice: Issued) -> None:
    def offer(chain: Sequence[bytes]) -> None:
        world.service.finish_put(world.service.begin_put(world.caller(alice), PUT), chain)

    foreign = alice.proxy()
    for chain in ([], [b"junk"], list(foreign.chain_der)):
        with pytest.raises(DeniedError, match=r"^Failed to accept credentials"):
            offer(chain)
    unknown = TestCA("/O=Elsewhere/CN=CA").issue("/O=Elsewhere/CN=Mallory")
    with pytest.raises(DeniedError, match=r"^Credentials are not valid"):
        world.put(alice, PUT, signer=unknown)
    assert world.repository.list_owned("alice", "/O=Grid/CN=Alice") == ()
    assert [record.verdict for record in world.sink.records] == [Verdict.DENY] * 4


def test_credential_lifetime(world: World, alice: Issued) -> None:
    world.configure(Settings(access=OPEN, max_credential_lifetime=23 * HOUR))
    world.put(alice, PUT)
    world.configure(Settings(access=OPEN, max_credential_lifetime=22 * HOUR))
    match = r"^Credential lifetime \(23 hours\) exceeds maximum allowed by server \(22 hours\)\.$"
    with pytest.raises(DeniedError, match=match):
        world.put(alice, PUT)


def test_no_more_than_so_many_credentials_of_one_owner(world: World, ca: TestCA, alice: Issued) -> None:
    world.configure(Settings(access=OPEN, max_credentials=2))
    for username in ("alice", "other", "alice"):  # the last one over the first
        world.put(alice, dataclasses.replace(PUT, username=username))
    for begin in (world.service.begin_put, world.service.begin_store):
        with pytest.raises(DeniedError, match=r"^You have stored 2 credentials, .*\n.*myproxy-destroy"):
            begin(world.caller(alice), dataclasses.replace(PUT, username="third"))
        assert world.verdicts()[-1][1] is Verdict.DENY
    world.put(ca.issue("/O=Grid/CN=Bob"), dataclasses.replace(PUT, username="bob"))
    world.service.destroy(world.caller(alice), ask(Command.DESTROY, username="other"))
    world.put(alice, dataclasses.replace(PUT, username="third"))


def test_what_chains_are_stored(world: World, ca: TestCA, alice: Issued) -> None:
    """Chains for our key, made by a client that takes no rule for granted."""

    def offer(signer: Issued, *, info: bytes = FULL_INFO, not_after: datetime | None = None) -> None:
        grant = world.service.begin_put(world.caller(alice), PUT)
        spki = parse_delegation_request(grant.requester.request_der).spki_der
        proxy = signer.proxy(info=info, not_after=not_after)
        certificates = [forge(proxy.der, signer.key, spki_der=spki), *signer.chain_der]
        world.service.finish_put(grant, certificates)

    day = timedelta(days=1)
    refused = {
        "a root": ca.credential,
        "a CA": ca.intermediate("/O=Grid/CN=Lower CA").credential,
        "an expired end entity": ca.issue(
            "/O=Grid/CN=Alice", not_before=world.now - 3 * day, not_after=world.now - day
        ),
        "one that is not valid yet": ca.issue("/O=Grid/CN=Alice", not_before=world.now + day),
        "a weak key": ca.issue("/O=Grid/CN=Alice", key=rsa.generate_private_key(65537, 1024)),
        "below a limited proxy": alice.proxy(info=LIMITED_INFO),
        "below a restricted proxy": alice.proxy(info=RESTRICTED_INFO),
    }
    for what, signer in refused.items():
        with pytest.raises(DeniedError, match=r"^(Credentials are not valid|Failed to accept credentials)\."):
            offer(signer)
        assert world.verdicts()[-1] == ("PUT", Verdict.DENY), what
        assert world.repository.list_owned("alice", "/O=Grid/CN=Alice") == (), what
    with pytest.raises(DeniedError, match=r"^(Credentials are not valid|Failed to accept credentials)\."):
        offer(alice, not_after=world.now - timedelta(minutes=1))
    for info in (LIMITED_INFO, FULL_INFO):
        offer(alice, info=info)
        kind = ProxyChain.split(world.get(None, GET).certificates).kind
        assert kind is (ProxyKind.LIMITED if info is LIMITED_INFO else ProxyKind.FULL)


RESPONSE_TEXTS = ["x CRED_OWNER=/CN=Eve", "CRED_second_END_TIME=4102444800", "RESPONSE=1", "_RENEWER=*", "ADDL_CREDS=a"]
REQUEST_TEXTS = ["USERNAME=eve", "xPASSPHRASE=", "NEW_PHRASE=y", "RETRIEVER_TRUSTED=*"]


@pytest.mark.parametrize("text", [*RESPONSE_TEXTS, *REQUEST_TEXTS])
@pytest.mark.parametrize("name", ["description", "retriever", "renewer", "credential_name", "key_retrievers"])
def test_text_like_attributes_is_not_stored(world: World, alice: Issued, name: str, text: str) -> None:
    """A C client searches the whole answer of INFO for such names; a C server the whole request."""
    with pytest.raises(DeniedError, match=r"^error parsing request\n.*could not read back"):
        world.service.begin_put(world.caller(alice), dataclasses.replace(PUT, **{name: text}))  # type: ignore[arg-type]  # texts


@pytest.mark.parametrize("text", RESPONSE_TEXTS)
def test_text_like_attributes_in_an_older_store_forges_nothing(world: World, alice: Issued, text: str) -> None:
    """What came in by another way is shown, with the names broken; the rest of the answer stays what it is."""
    world.put(alice, PUT)
    before = world.repository.get("alice", None)
    world.repository.put(dataclasses.replace(before, description=text, retrievers=text))
    world.repository.set_lock("alice", None, text, now=world.now)
    found = world.service.info(world.caller(alice), ask(Command.INFO))
    answer = encode_response(Response.ok(credentials=found))
    (one,) = parse_response(answer).credentials
    assert (one.owner, one.end_time, one.renewer) == (found[0].owner, found[0].end_time, None)
    for line in answer[:-1].splitlines():
        value = line.partition(b"=")[2]
        assert not re.search(rb"(RESPONSE|ADDL_CREDS|_OWNER|_END_TIME|_RENEWER)=", value), line


def test_an_owner_whose_name_looks_like_an_attribute(world: World, ca: TestCA) -> None:
    eve = ca.issue(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Eve CRED_RENEWER=*")]))
    world.put(eve, PUT)
    answer = encode_response(Response.ok(credentials=world.service.info(world.caller(eve), ask(Command.INFO))))
    assert answer.count(b"CRED_RENEWER=") == 0


# The other commands -----------------------------------------------------------------------------------------------


def test_info_lists_only_the_owners(world: World, alice: Issued, bob: Issued) -> None:
    world.put(alice, PUT)
    world.put(alice, dataclasses.replace(PUT, credential_name="second", description="two", retriever="*"))
    world.put(bob, dataclasses.replace(PUT, credential_name="bobs"))
    info = ask(Command.INFO)
    listed = world.service.info(world.caller(alice), info)
    found = [(one.name, one.description, one.retriever) for one in listed]
    assert found == [
        (None, None, None),
        ("second", "two", "*"),
    ]
    (only,) = world.service.info(world.caller(alice), dataclasses.replace(info, credential_name="second"))
    assert only.owner == "/O=Grid/CN=Alice"
    assert abs(only.end_time - world.now - 24 * HOUR) < timedelta(minutes=1)
    for caller, request in (
        (world.caller(None), info),
        (world.caller(alice), dataclasses.replace(info, username="x")),
        (world.caller(alice), dataclasses.replace(info, credential_name="bobs")),
    ):
        with pytest.raises(DeniedError, match=f'^no credentials found for user {request.username}, owner "'):
            world.service.info(caller, request)


def test_owners_are_told_of_refused_tries(world: World, alice: Issued, bob: Issued) -> None:
    world.put(alice, PUT)
    world.put(bob, dataclasses.replace(PUT, credential_name="bobs"))
    wrong = Passphrase("wrong horse")
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            world.get(None, dataclasses.replace(GET, passphrase=wrong))
    with pytest.raises(AuthenticationError):
        world.get(None, dataclasses.replace(GET, username="nobody"))
    with pytest.raises(DeniedError, match="not owned by"):
        world.service.begin_put(world.caller(bob), PUT)
    with pytest.raises(DeniedError):
        world.service.destroy(world.caller(bob), ask(Command.DESTROY))
    change = ask(Command.CHANGE_PASSPHRASE, passphrase=wrong, new_passphrase=Passphrase("battery staple"))
    with pytest.raises(AuthenticationError):
        world.service.change_passphrase(world.caller(alice), change)
    world.service.change_passphrase(world.caller(alice), dataclasses.replace(change, passphrase=Passphrase(SECRET)))
    world.history.flush()

    def told(issued: Issued | None, **changes: object) -> list[tuple[str, bool, int]]:
        request = ask(Command.INFO, wants_history=True, **changes)
        found = world.service.happenings(world.caller(issued), request)
        return sorted((one.kind, one.permitted, one.count) for one in found or ())

    assert told(alice) == [
        ("change", False, 1),
        ("change", True, 1),
        ("destroy", False, 1),
        ("logon", False, 3),
        ("store", False, 1),
        ("store", True, 1),
    ]
    assert told(bob) == [("store", True, 1)]
    assert told(bob, credential_name="other") == told(alice, username="nobody") == told(None) == []


def test_destroy(world: World, alice: Issued, bob: Issued) -> None:
    world.put(alice, PUT)
    destroy = ask(Command.DESTROY)
    with pytest.raises(DeniedError, match=r'^Credentials not owned by "/O=Grid/CN=Bob"\.$'):
        world.service.destroy(world.caller(bob), destroy)
    with pytest.raises(DeniedError):
        world.service.destroy(world.caller(None), destroy)
    world.service.destroy(world.caller(alice), destroy)
    with pytest.raises(DeniedError, match=r"^Credentials do not exist\.$"):
        world.service.destroy(world.caller(alice), destroy)


def test_change_passphrase(world: World, alice: Issued, bob: Issued) -> None:
    world.put(alice, PUT)
    change = ask(Command.CHANGE_PASSPHRASE, new_passphrase=Passphrase("battery staple"))
    for caller in (world.caller(bob), world.caller(None)):
        with pytest.raises(DeniedError, match="does not own the credentials"):
            world.service.change_passphrase(caller, change)
    with pytest.raises(AuthenticationError, match=r"^invalid credential passphrase$"):
        world.service.change_passphrase(
            world.caller(alice), dataclasses.replace(change, passphrase=Passphrase("wrong horse"))
        )
    world.service.change_passphrase(world.caller(alice), change)
    with pytest.raises(AuthenticationError):
        world.get(None, GET)
    world.get(None, dataclasses.replace(GET, passphrase=Passphrase("battery staple")))
    world.service.change_passphrase(
        world.caller(alice), ask(Command.CHANGE_PASSPHRASE, passphrase=Passphrase("battery staple"))
    )
    assert not is_sealed(world.repository.get("alice", None).sealed_key)
    world.service.change_passphrase(
        world.caller(alice),
        ask(Command.CHANGE_PASSPHRASE, passphrase=Passphrase(""), new_passphrase=Passphrase(SECRET)),
    )
    world.get(None, GET)


# Clients that are turned away -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "kind"), [(INDEPENDENT_INFO, ProxyKind.INDEPENDENT), (RESTRICTED_INFO, ProxyKind.RESTRICTED)]
)
def test_independent_and_restricted_proxies_are_nobody(
    world: World, ca: TestCA, alice: Issued, info: bytes, kind: ProxyKind
) -> None:
    """Mallory calls an independent proxy Alice, which `*/CN=Alice` would match."""
    mallory = ca.issue("/O=Grid/CN=Mallory")
    options = ValidationOptions(handlers={RESTRICTED_LANGUAGE: lambda _policy: frozenset({"everything"})})
    for chain in (mallory.proxy(cn="Alice", info=info), mallory.proxy(cn="Alice", info=info).proxy()):
        peer = verify_chain(chain.chain_der, world.trust.anchors(), now=world.now, options=options)
        assert peer.identity.startswith("/O=Grid/CN=Mallory/CN=Alice")
        with pytest.raises(DeniedError, match=f"^authentication failed\n{kind} proxies carry no rights here"):
            world.service.admit(peer, address="192.0.2.1", request_id="c0ffee")
        record = world.sink.records[-1]
        assert (record.action, record.verdict, record.address) == ("CONNECT", Verdict.DENY, "192.0.2.1")
        assert record.peer == peer.identity
        assert record.request_id == "c0ffee"
        assert f"{kind} proxies" in record.reason


def test_everybody_else_is_let_in(world: World, alice: Issued) -> None:
    for shown in (alice, alice.proxy(), alice.proxy(info=LIMITED_INFO)):
        caller = world.service.admit(world.caller(shown).peer, address="192.0.2.1", request_id="c0ffee")
        assert caller.client.name == "/O=Grid/CN=Alice"
    assert world.service.admit(None, address="192.0.2.1", request_id="c0ffee").client.is_anonymous
    assert world.sink.records == []


def test_a_chain_that_is_not_believed_is_recorded(world: World, ca: TestCA) -> None:
    mallory = ca.issue("/O=Grid/CN=Mallory")
    for path in world.directory.glob("*.r0"):
        path.write_bytes(ca.crl([mallory]))
    with pytest.raises(VerificationError) as caught:
        world.caller(mallory.proxy())
    for presented in (mallory.proxy(cn="x").chain_der, [b"junk"], []):
        world.service.refuse_client(caught.value, address="192.0.2.1", request_id="c0ffee", presented=presented)
    first, second, third = world.sink.records
    assert (first.action, first.verdict, first.peer) == ("CONNECT", Verdict.DENY, "<unverified>")
    assert (first.address, first.request_id) == ("192.0.2.1", "c0ffee")
    assert first.details == {
        "unverified_subject": "/O=Grid/CN=Mallory/CN=x",
        "reason_code": "revoked",
        "position": caught.value.position,
    }
    assert first.reason.startswith("verification: ")
    for record in (second, third):
        assert (record.details["unverified_subject"], record.details["reason_code"]) == (None, "revoked")


def test_what_cannot_be_read_is_recorded(world: World, alice: Issued) -> None:
    error = RemoteProtocolError("UNKNOWN command in request.")
    world.service.refuse_message(world.caller(None), None, error)
    world.service.refuse_message(world.caller(alice), PUT, error)
    first, second = world.sink.records
    assert (first.action, first.verdict, first.peer, first.details) == ("REQUEST", Verdict.DENY, "<anonymous>", {})
    assert (second.action, second.verdict, second.peer) == ("PUT", Verdict.DENY, "/O=Grid/CN=Alice")
    assert second.details == {"username": "alice", "credential": None}
    assert first.reason == second.reason == "protocol-remote: UNKNOWN command in request."


# After a change of the price of a guess ---------------------------------------------------------------------------


def test_who_exists_does_not_show_after_a_change_of_parameters(world: World, alice: Issued) -> None:
    old, new = (SealParameters(memory_kib=8, iterations=count) for count in (7, 1))
    world.sealer = CountingSealer(old)
    world.configure(Settings(access=OPEN))
    for name in ("alice", "locked"):
        world.put(alice, dataclasses.replace(PUT, username=name))
    prices = [form.price for form in map(parse_form, world.repository.list_key_forms()) if form.price is not None]
    world.sealer = CountingSealer(new, in_use=prices)
    world.configure(Settings(access=OPEN))
    world.put(alice, dataclasses.replace(PUT, username="fresh"))
    world.put(alice, dataclasses.replace(PUT, username="open", passphrase=Passphrase("")))
    world.put(alice, dataclasses.replace(PUT, username="narrow", retriever="*/CN=Carol"))
    for name in ("alice", "fresh", "nobody", "open", "narrow"):
        world.sealer.paid.clear()
        with pytest.raises(AuthenticationError, match=r"^invalid credential passphrase$"):
            world.get(None, dataclasses.replace(GET, username=name, passphrase=Passphrase("wrong horse")))
        assert world.sealer.paid == [new, old], name


def test_a_logon_brings_an_old_seal_up_to_date(world: World, alice: Issued, tmp_path: Path) -> None:
    world.put(alice, PUT)
    before = world.repository.get("alice", None)
    world.sealer = CountingSealer(SealParameters(memory_kib=8, iterations=3), in_use=world.sealer.prices)
    world.configure(Settings(access=OPEN))
    with pytest.raises(AuthenticationError):
        world.get(None, dataclasses.replace(GET, passphrase=Passphrase("wrong horse")))
    assert world.repository.get("alice", None) == before
    world.get(None, GET)
    after = world.repository.get("alice", None)
    assert read_price(after.sealed_key) == SealParameters(memory_kib=8, iterations=3)
    assert dataclasses.replace(after, sealed_key=before.sealed_key, version=1, updated=before.updated) == before
    world.get(None, GET)
    assert world.repository.get("alice", None) == after


def test_an_old_seal_that_cannot_be_renewed_still_serves(
    world: World, alice: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(alice, PUT)

    def fail(*_arguments: object, **_named: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(world.repository, "replace_key", fail)
    world.sealer = CountingSealer(SealParameters(memory_kib=8, iterations=3), in_use=world.sealer.prices)
    world.configure(Settings(access=OPEN))
    world.get(None, GET)


# Failures of our own ----------------------------------------------------------------------------------------------


def test_without_audit_nothing_leaves_or_changes(world: World, alice: Issued) -> None:
    world.put(alice, PUT)
    grant = world.begin_get(None, GET)
    requester = DelegationRequester(generate_key(KeyType.P256))
    before = world.repository.get("alice", None)
    world.sink.broken = True
    change = ask(Command.CHANGE_PASSPHRASE, new_passphrase=Passphrase("battery staple"))
    with pytest.raises(StorageError):
        world.service.finish_get(grant, requester.request_der)
    with pytest.raises(StorageError):
        world.service.begin_get(world.caller(None), GET)
    with pytest.raises(StorageError):
        world.put(alice, PUT)
    with pytest.raises(StorageError):
        world.service.destroy(world.caller(alice), ask(Command.DESTROY))
    with pytest.raises(StorageError):
        world.service.change_passphrase(world.caller(alice), change)
    with pytest.raises(StorageError):
        world.service.info(world.caller(alice), ask(Command.INFO))
    assert world.repository.get("alice", None) == before


def test_swapped_and_damaged_rows_do_not_open(world: World, alice: Issued) -> None:
    world.put(alice, PUT)
    world.put(alice, dataclasses.replace(PUT, username="eve", passphrase=Passphrase("eve's own")))
    eve = world.repository.get("eve", None)
    world.repository.replace_key(world.repository.get("alice", None), eve.sealed_key, now=world.now)
    with pytest.raises(AuthenticationError):
        world.get(None, dataclasses.replace(GET, passphrase=Passphrase("eve's own")))
    world.repository.replace_key(eve, b"garbage", now=world.now)
    with pytest.raises(StorageError):
        world.get(None, dataclasses.replace(GET, username="eve"))
    assert world.verdicts()[-1] == ("GET", Verdict.FAIL)


def test_errors_are_ours_when_the_database_is_gone(world: World, alice: Issued, tmp_path: Path) -> None:
    world.put(alice, PUT)
    world.repository.close()
    (tmp_path / "store" / "myproxy.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(GridError):
        world.get(None, GET)
    assert oneline(Certificate.parse(alice.der).subject_der) == "/O=Grid/CN=Alice"
