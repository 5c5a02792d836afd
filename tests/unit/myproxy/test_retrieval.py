"""Who proves what to get a proxy or a key: renewal, trusted retrievers, several credentials, RETRIEVE and STORE."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from gsi import keys, pem
from gsi.credential import Credential, parse_credential
from gsi.delegation import DelegationRequester
from gsi.errors import AuthenticationError, DeniedError
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.proxy.kinds import ProxyKind
from gsi.secret import Passphrase
from gsi.system.audit import Verdict
from myproxy import conversation
from myproxy.auth.base import Method, PasswordMethod, Use
from myproxy.auth.certificate import CertificateMethod
from myproxy.authentication import Methods
from myproxy.callouts import MapfileAccountRule, ProgramAccountRule, ProgramPassphraseRule, SiteRules
from myproxy.conversation import Haste
from myproxy.grants import RetrievalGrant, Settings
from myproxy.policy import AccessPolicy, parse_rules
from myproxy.protocol.messages import (
    AuthorizationMethod,
    AuthorizationReply,
    Command,
    SignatureBlock,
    TrustRootFile,
)
from myproxy.repository.sealforms import LOCKED_BY_OWNER, SEALED, is_sealed, method_of
from myproxy.retrieval import AuthorizationRound
from tests.harness.ca import Issued, TestCA
from tests.harness.myproxy import EVERYONE, HOUR, OPEN, SECRET, World, ask, make_world

PUT = ask(Command.PUT)
GET = ask(Command.GET)
NO_PHRASE = Passphrase("")
UNSEALED_PUT = ask(Command.PUT, passphrase=NO_PHRASE)
UNSEALED_GET = ask(Command.GET, passphrase=NO_PHRASE)
RETRIEVE = ask(Command.RETRIEVE)
STORE = ask(Command.STORE, passphrase=NO_PHRASE)
OTHER_CREDENTIAL = "exist for username"

RENEWALS = dataclasses.replace(OPEN, authorized_retrievers=(), authorized_renewers=EVERYONE)


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=Test CA")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice")


@pytest.fixture(scope="module")
def agent(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Renewal Agent", key="p256")


@pytest.fixture
def world(ca: TestCA, tmp_path: Path) -> Iterator[World]:
    with make_world(ca, tmp_path) as made:
        yield made


def renewing(world: World, access: AccessPolicy = RENEWALS) -> None:
    """Make the service one that renews."""
    numbers = AuthorizationMethod.CERTIFICATE_SHA256, AuthorizationMethod.CERTIFICATE
    methods = tuple(CertificateMethod(number, world.verify, lambda: world.now) for number in numbers)
    world.configure(Settings(access=access), Methods(renewals=methods))


def old_proxy(world: World, issued: Issued, kind: ProxyKind = ProxyKind.FULL) -> Credential:
    """What is to be renewed: a proxy made an hour ago."""
    return make_proxy(world.credential(issued), ProxyOptions(kind=kind, lifetime=2 * HOUR), now=world.now)


def sign(waiting: AuthorizationRound, credential: Credential, *, sha1: bool = False) -> AuthorizationReply:
    number = AuthorizationMethod.CERTIFICATE if sha1 else AuthorizationMethod.CERTIFICATE_SHA256
    name = "X509_certificate" if sha1 else "X509_certificate_SHA256"
    challenge = next(offer.data for offer in waiting.offers if offer.method == name)
    return reply_with(credential, challenge.encode(), number)


def reply_with(credential: Credential, data: bytes, number: AuthorizationMethod) -> AuthorizationReply:
    key = credential.key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(data, ec.ECDSA(hashes.SHA256()))
    else:
        assert isinstance(key, rsa.RSAPrivateKey)
        signature = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    certificates = tuple(certificate.der for certificate in credential.certificates)
    return AuthorizationReply(number, signature=SignatureBlock(signature, certificates))


def begin(world: World, issued: Issued | None, request: object = UNSEALED_GET) -> AuthorizationRound:
    waiting = world.service.begin_get(world.caller(issued), request)  # type: ignore[arg-type]  # a Request
    assert isinstance(waiting, AuthorizationRound)
    return waiting


# Renewal ------------------------------------------------------------------------------------------------------------


def test_renewal_by_the_old_proxys_key(world: World, alice: Issued, agent: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    renewing(world)
    waiting = begin(world, agent)
    assert [offer.method for offer in waiting.offers] == ["X509_certificate", "X509_certificate_SHA256"]
    assert all(len(offer.data) == 32 and int(offer.data, 16) >= 0 for offer in waiting.offers)
    assert len({offer.data for offer in (*waiting.offers, *begin(world, agent).offers)}) == 4
    grant = world.service.proceed(waiting, sign(waiting, old_proxy(world, alice)))
    assert isinstance(grant, RetrievalGrant)
    requester = DelegationRequester(keys.generate_key(keys.KeyType.P256))
    chain = world.service.finish_get(grant, requester.request_der)
    assert world.verify(chain, now=world.now).identity == "/O=Grid/CN=Alice"
    record = world.sink.records[-2]
    assert (record.peer, record.details["method"], record.details["renewer"]) == (
        "/O=Grid/CN=Renewal Agent",
        "certificate",
        "/O=Grid/CN=Alice",
    )
    assert record.reason == "authorized_renewers *"


def test_nobody_renews_for_himself_unless_that_is_allowed(world: World, alice: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    renewing(world)
    waiting = begin(world, alice)
    with pytest.raises(DeniedError, match=r"^self-authz not allowed for renewer$"):
        world.service.proceed(waiting, sign(waiting, old_proxy(world, alice)))
    renewing(world, dataclasses.replace(RENEWALS, allow_self_authorization=True))
    waiting = begin(world, alice)
    assert isinstance(world.service.proceed(waiting, sign(waiting, old_proxy(world, alice))), RetrievalGrant)


def test_a_signature_that_proves_nothing(world: World, ca: TestCA, alice: Issued, agent: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    renewing(world)
    proxy = old_proxy(world, alice)
    sha256 = AuthorizationMethod.CERTIFICATE_SHA256
    impostor = TestCA("/O=Grid/CN=Test CA").issue("/O=Grid/CN=Alice")
    expired = make_proxy(
        world.credential(alice), ProxyOptions(lifetime=timedelta(minutes=10)), now=world.now - timedelta(minutes=30)
    )
    independent = old_proxy(world, alice, ProxyKind.INDEPENDENT)
    cases: dict[str, Callable[[AuthorizationRound], AuthorizationReply]] = {
        "another challenge": lambda _waiting: reply_with(proxy, b"0" * 32, sha256),
        "no signature": lambda _waiting: AuthorizationReply(sha256),
        "somebody else's": lambda waiting: sign(waiting, world.credential(agent)),
        "another authority's": lambda waiting: sign(waiting, parse_credential(impostor.bundle(), source="x")),
        "expired": lambda waiting: sign(waiting, expired),
        "independent": lambda waiting: sign(waiting, independent),
        "a signature by SHA-256 where SHA-1 was chosen": lambda waiting: dataclasses.replace(
            sign(waiting, proxy), method=AuthorizationMethod.CERTIFICATE
        ),
    }
    for name, make in cases.items():
        waiting = begin(world, agent)
        with pytest.raises(AuthenticationError, match=r"^authentication failed\n"):
            world.service.proceed(waiting, make(waiting))
        assert world.verdicts()[-1] == ("GET", Verdict.DENY), name


def test_an_independent_proxy_renews_only_itself(world: World, ca: TestCA, alice: Issued, agent: Issued) -> None:
    """Its name may be anything below its maker's: also what is the name of an end entity elsewhere."""
    independent = old_proxy(world, alice, ProxyKind.INDEPENDENT)
    upload(world, alice, independent.encode())
    renewing(world)
    waiting = begin(world, agent)
    assert isinstance(world.service.proceed(waiting, sign(waiting, independent)), RetrievalGrant)
    waiting = begin(world, agent)
    with pytest.raises(AuthenticationError, match="not the identity of the credential"):
        world.service.proceed(waiting, sign(waiting, old_proxy(world, alice)))
    namesake = ca.issue(f"/O=Grid/CN=Alice/CN={independent.certificate.serial}")
    upload(world, alice, namesake.bundle())
    waiting = begin(world, agent)
    with pytest.raises(AuthenticationError, match="not the identity of the credential"):
        world.service.proceed(waiting, sign(waiting, independent))


def test_a_challenge_of_another_conversation_does_not_do(world: World, alice: Issued, agent: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    renewing(world)
    first, second = begin(world, agent), begin(world, agent)
    with pytest.raises(AuthenticationError):
        world.service.proceed(second, sign(first, old_proxy(world, alice)))


def test_a_limited_proxy_is_renewed_as_a_limited_one(world: World, alice: Issued, agent: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    renewing(world)
    waiting = begin(world, agent)
    grant = world.service.proceed(waiting, sign(waiting, old_proxy(world, alice, ProxyKind.LIMITED)))
    assert isinstance(grant, RetrievalGrant)
    assert grant.limited


def test_renewal_needs_the_permission_of_both_lists(world: World, alice: Issued, agent: Issued) -> None:
    world.put(alice, dataclasses.replace(UNSEALED_PUT, renewer="*/CN=Somebody"))
    renewing(world)
    with pytest.raises(DeniedError, match="not authorized by server's authorized_retrievers policy"):
        world.service.begin_get(world.caller(agent), UNSEALED_GET)
    renewing(world, dataclasses.replace(RENEWALS, authorized_renewers=parse_rules(["*/CN=Nobody"])))
    with pytest.raises(DeniedError, match="not authorized by server's authorized_retrievers policy"):
        world.service.begin_get(world.caller(agent), UNSEALED_GET)


def test_a_sealed_credential_is_not_renewed_without_its_pass_phrase(world: World, alice: Issued, agent: Issued) -> None:
    world.put(alice, PUT)
    renewing(world, dataclasses.replace(RENEWALS, authorized_retrievers=EVERYONE))
    with pytest.raises(AuthenticationError, match="invalid credential passphrase"):
        world.service.begin_get(world.caller(agent), UNSEALED_GET)


# Trusted retrievers -------------------------------------------------------------------------------------------------


def test_a_trusted_retriever_needs_no_pass_phrase(world: World, alice: Issued, agent: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    access = dataclasses.replace(OPEN, trusted_retrievers=parse_rules(["*/CN=Renewal Agent"]))
    world.configure(Settings(access=access))
    world.get(agent, UNSEALED_GET)
    assert world.sink.records[-2].details["method"] == "trusted retriever"
    assert world.sink.records[-2].reason == "trusted_retrievers */CN=Renewal Agent"
    for issued in (alice, None):
        with pytest.raises(AuthenticationError):
            world.get(issued, UNSEALED_GET)
    world.put(alice, dataclasses.replace(UNSEALED_PUT, trusted_retriever="*/CN=Other"))
    with pytest.raises(AuthenticationError):
        world.get(agent, UNSEALED_GET)


def test_the_owner_is_told_how_a_credential_was_used(world: World, alice: Issued, agent: Issued) -> None:
    info = ask(Command.INFO, wants_history=True)

    def last() -> tuple[str, str] | None:
        world.history.flush()
        (told,) = world.service.info(world.caller(alice), info)
        return None if told.last_use is None else (told.last_use.kind, told.last_use.address)

    world.put(alice, UNSEALED_PUT)
    assert last() is None
    world.configure(Settings(access=dataclasses.replace(OPEN, trusted_retrievers=parse_rules(["*/CN=Renewal Agent"]))))
    world.get(agent, UNSEALED_GET)
    assert last() == ("trusted", "127.0.0.1")
    assert world.service.begin_quickly(world.caller(agent), UNSEALED_GET) is not None
    renewing(world)
    waiting = begin(world, agent)
    world.service.proceed(waiting, sign(waiting, old_proxy(world, alice)))
    assert last() == ("renewal", "127.0.0.1")
    world.put(alice, PUT)
    access = dataclasses.replace(OPEN, authorized_key_retrievers=EVERYONE)
    world.configure(Settings(access=access))
    world.get(None, GET)
    assert last() == ("logon", "127.0.0.1")
    world.service.begin_retrieve(world.caller(agent), ask(Command.RETRIEVE))
    assert last() == ("key", "127.0.0.1")
    told = world.service.happenings(world.caller(alice), info)
    assert told is not None
    assert sorted(one.kind for one in told) == ["key", "logon", "renewal", "store", "store", "trusted", "trusted"]
    (plain,) = world.service.info(world.caller(alice), ask(Command.INFO))
    assert plain.last_use is None
    assert world.service.happenings(world.caller(alice), ask(Command.INFO)) is None
    world.service.destroy(world.caller(alice), ask(Command.DESTROY))
    world.now += HOUR
    world.put(alice, PUT)
    assert last() is None, "that was another credential"


def test_a_trusted_retriever_of_its_own_credential_is_not_trusted(world: World, alice: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    access = dataclasses.replace(OPEN, trusted_retrievers=EVERYONE)
    world.configure(Settings(access=access))
    with pytest.raises(AuthenticationError):
        world.get(alice, UNSEALED_GET)
    world.configure(Settings(access=dataclasses.replace(access, allow_self_authorization=True)))
    world.get(alice, UNSEALED_GET)


def test_trust_alone_is_not_the_permission_to_retrieve(world: World, alice: Issued, agent: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    access = AccessPolicy(authorized_renewers=EVERYONE, trusted_retrievers=EVERYONE)
    world.configure(Settings(access=access))
    with pytest.raises(DeniedError, match="authorized_retrievers policy"):
        world.get(agent, UNSEALED_GET)


def test_a_trusted_retriever_still_gives_the_pass_phrase_of_a_sealed_key(
    world: World, alice: Issued, agent: Issued
) -> None:
    world.put(alice, PUT)
    world.configure(Settings(access=dataclasses.replace(OPEN, trusted_retrievers=EVERYONE)))
    with pytest.raises(AuthenticationError):
        world.get(agent, UNSEALED_GET)
    world.get(agent, GET)


# Without waiting ----------------------------------------------------------------------------------------------------

TRUSTING = dataclasses.replace(OPEN, trusted_retrievers=parse_rules(["*/CN=Renewal Agent"]))


def test_a_trusted_retriever_is_told_at_once(world: World, alice: Issued, agent: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    world.sink.records.clear()
    world.configure(Settings(access=TRUSTING))
    quick = world.service.begin_quickly(world.caller(agent), UNSEALED_GET)
    slow = world.begin_get(agent, UNSEALED_GET)
    assert isinstance(quick, RetrievalGrant)
    assert dataclasses.replace(quick, recorded=slow.recorded, credential=slow.credential) == slow
    assert quick.credential.encode() == slow.credential.encode()
    first, second = world.sink.records
    assert (first.verdict, first.reason, first.details) == (second.verdict, second.reason, second.details)


def test_a_renewer_is_told_at_once_what_to_sign(world: World, alice: Issued, agent: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    renewing(world)
    waiting = world.service.begin_quickly(world.caller(agent), UNSEALED_GET)
    assert isinstance(waiting, AuthorizationRound)
    assert isinstance(world.service.proceed(waiting, sign(waiting, old_proxy(world, alice))), RetrievalGrant)


def test_whatever_may_have_to_wait_is_left_alone(world: World, alice: Issued, agent: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    world.put(alice, dataclasses.replace(PUT, credential_name="sealed"))
    world.put(alice, dataclasses.replace(UNSEALED_PUT, credential_name="locked"))
    world.repository.set_lock("alice", "locked", "gone", now=world.now)
    world.sink.records.clear()

    def begin_quickly(issued: Issued | None = agent, **changes: object) -> object:
        return world.service.begin_quickly(
            world.caller(issued), ask(Command.GET, **{"passphrase": NO_PHRASE} | changes)
        )

    trusting = Settings(access=TRUSTING)
    world.configure(trusting)
    assert isinstance(begin_quickly(), RetrievalGrant)
    world.sink.records.clear()
    assert begin_quickly(None) is None
    assert begin_quickly(alice) is None
    assert begin_quickly(passphrase=Passphrase(SECRET)) is None
    assert begin_quickly(username="nobody") is None
    assert begin_quickly(credential_name="sealed") is None
    assert begin_quickly(credential_name="locked") is None
    judge = Directory("")
    world.configure(trusting, Methods(passwords=((judge, Use.REQUIRED),)))
    assert begin_quickly() is None
    assert not judge.asked
    world.configure(trusting, site_rules=SiteRules(authorization=lambda *_asked: pytest.fail("the site was asked")))
    assert begin_quickly() is None
    world.configure(trusting, is_near=False)
    assert begin_quickly() is None
    assert not world.sink.records


def test_a_store_that_is_slow_is_asked_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(conversation, "time", SimpleNamespace(monotonic=lambda: clock.now))
    haste = Haste()
    seen = []
    for waited, later in (
        (conversation.SLOW_SECONDS, 0),
        (conversation.SLOW_SECONDS * 2, 0),
        (0, conversation.REST_SECONDS),
    ):
        haste.note(waited)
        clock.now += later
        seen.append(haste.is_allowed)
    assert seen == [True, False, True]


# Pass phrases judged elsewhere --------------------------------------------------------------------------------------


class Directory:
    """A judge of pass phrases."""

    method = Method.PAM

    def __init__(self, right: str) -> None:
        self.right = right
        self.asked: list[str] = []

    def check(self, username: str, passphrase: Passphrase) -> None:
        self.asked.append(username)
        if passphrase.reveal() != self.right.encode():
            raise AuthenticationError("PAM authentication failed: invalid password")


def judged(world: World, judge: PasswordMethod, use: Use) -> None:
    world.configure(Settings(access=OPEN), Methods(passwords=((judge, use),)))


def test_a_required_judge_has_to_agree_with_the_seal(world: World, alice: Issued) -> None:
    world.put(alice, PUT)
    for right, allowed in ((SECRET, True), ("other words", False)):
        judge = Directory(right)
        judged(world, judge, Use.REQUIRED)
        if allowed:
            world.get(None, GET)
            assert world.sink.records[-2].details["method"] == "pass phrase + PAM"
        else:
            with pytest.raises(AuthenticationError, match=r"^invalid credential passphrase$"):
                world.get(None, GET)
        with pytest.raises(AuthenticationError, match=r"^invalid credential passphrase$"):
            world.get(None, dataclasses.replace(GET, passphrase=Passphrase("wrong words")))
        assert judge.asked == ["alice", "alice"]  # whether or not the seal was opened


def test_a_sufficient_judge_opens_what_is_not_sealed(world: World, alice: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    with pytest.raises(AuthenticationError):
        world.get(None, GET)
    judged(world, Directory(SECRET), Use.SUFFICIENT)
    world.get(None, GET)
    for secret in ("wrong words", ""):
        with pytest.raises(AuthenticationError):
            world.get(None, dataclasses.replace(GET, passphrase=Passphrase(secret)))


def test_a_sufficient_judge_is_not_asked_about_a_sealed_key(world: World, alice: Issued) -> None:
    world.put(alice, PUT)
    judge = Directory("other words")
    judged(world, judge, Use.SUFFICIENT)
    world.get(None, GET)
    assert judge.asked == []


def test_a_named_client_hears_which_judge_said_no(world: World, alice: Issued) -> None:
    world.put(alice, UNSEALED_PUT)
    judged(world, Directory("other words"), Use.REQUIRED)
    with pytest.raises(AuthenticationError, match="PAM authentication failed"):
        world.get(alice, GET)


# Several credentials ------------------------------------------------------------------------------------------------


def test_one_of_several_credentials(world: World, alice: Issued) -> None:
    named = dataclasses.replace(PUT, credential_name="second", passphrase=Passphrase("second secret"))
    world.put(alice, PUT)
    world.put(alice, named)
    asked = dataclasses.replace(GET, passphrase=Passphrase("second secret"))
    with pytest.raises(AuthenticationError):
        world.get(None, asked)
    world.configure(Settings(access=OPEN, check_multiple_credentials=True))
    world.get(None, asked)
    world.get(None, GET)
    with pytest.raises(AuthenticationError, match="invalid credential passphrase"):
        world.get(None, dataclasses.replace(GET, passphrase=Passphrase("third secret")))
    with pytest.raises(AuthenticationError):
        world.get(None, dataclasses.replace(asked, username="bob"))
    with pytest.raises(AuthenticationError):
        world.get(None, dataclasses.replace(asked, credential_name="third"))


def test_a_named_client_hears_that_nothing_is_there(world: World, alice: Issued) -> None:
    with pytest.raises(DeniedError, match=r'^No credentials exist for username "alice"\.$'):
        world.get(alice, UNSEALED_GET)
    with pytest.raises(DeniedError, match=r'^No credentials exist with username "alice" and credential name "x"\.$'):
        world.get(alice, dataclasses.replace(UNSEALED_GET, credential_name="x"))
    with pytest.raises(AuthenticationError, match=r"^invalid credential passphrase$"):
        world.get(None, UNSEALED_GET)


# STORE and RETRIEVE -------------------------------------------------------------------------------------------------

KEYS_TOO = dataclasses.replace(OPEN, authorized_key_retrievers=EVERYONE)


def upload(world: World, issued: Issued, text: bytes, request: object = STORE) -> None:
    grant = world.service.begin_store(world.caller(issued), request)  # type: ignore[arg-type]  # a Request
    world.service.finish_store(grant, text)


def leaf_pem(issued: Issued) -> bytes:
    return parse_credential(issued.bundle(), source="x").certificate.pem()


def locked_text(issued: Issued, secret: str = SECRET) -> bytes:
    key = keys.encode_private_key(parse_credential(issued.bundle(), source="x").key, passphrase=Passphrase(secret))
    return leaf_pem(issued) + key


def retrieve(world: World, issued: Issued | None, request: object = RETRIEVE) -> bytes:
    grant = world.service.begin_retrieve(world.caller(issued), request)  # type: ignore[arg-type]  # a Request
    assert isinstance(grant, RetrievalGrant)
    return world.service.finish_retrieve(grant)


def test_a_stored_key_comes_back_as_it_was(world: World, alice: Issued) -> None:
    world.configure(Settings(access=KEYS_TOO))
    text = locked_text(alice)
    upload(world, alice, text)
    row = world.repository.get("alice", None)
    assert method_of(row.sealed_key) == LOCKED_BY_OWNER
    assert retrieve(world, alice) == text
    assert [action for action, _ in world.verdicts()] == ["STORE", "RETRIEVE", "HANDOVER"]
    assert SECRET not in repr(world.sink.records)


def test_a_stored_key_is_sealed_at_the_first_logon(world: World, alice: Issued) -> None:
    world.configure(Settings(access=KEYS_TOO))
    upload(world, alice, locked_text(alice))
    with pytest.raises(AuthenticationError, match=r"^invalid credential passphrase$"):
        world.get(None, dataclasses.replace(GET, passphrase=Passphrase("wrong words")))
    with pytest.raises(AuthenticationError):
        world.get(None, UNSEALED_GET)
    assert method_of(world.repository.get("alice", None).sealed_key) == LOCKED_BY_OWNER
    world.get(None, GET)
    sealed = world.repository.get("alice", None).sealed_key
    assert method_of(sealed) == SEALED
    world.get(None, GET)
    text = retrieve(world, alice)
    credential = parse_credential(text, passphrase=Passphrase(SECRET), source="x")
    assert credential.certificate.der == parse_credential(alice.bundle(), source="x").certificate.der
    assert b"ENCRYPTED" in text


def test_a_stored_pass_phrase_can_be_changed(world: World, alice: Issued) -> None:
    upload(world, alice, locked_text(alice))
    change = ask(Command.CHANGE_PASSPHRASE, new_passphrase=Passphrase("battery staple"))
    world.service.change_passphrase(world.caller(alice), change)
    world.get(None, dataclasses.replace(GET, passphrase=Passphrase("battery staple")))


def test_a_key_in_clear_has_to_fit(world: World, alice: Issued, agent: Issued) -> None:
    upload(world, alice, alice.bundle())
    assert not is_sealed(world.repository.get("alice", None).sealed_key)
    mixed = leaf_pem(alice) + b"".join(
        block.text for block in pem.split_pem(agent.bundle(), what="x") if "KEY" in block.label
    )
    with pytest.raises(DeniedError, match=r"^Credentials are not valid"):
        upload(world, alice, mixed)


def test_what_cannot_be_stored(world: World, alice: Issued) -> None:
    text = locked_text(alice)
    stranger = TestCA("/O=Grid/CN=Other CA").issue("/O=Grid/CN=Alice")
    for bad in (b"", b"garbage", leaf_pem(alice), text + text, text[: len(text) // 2], locked_text(stranger)):
        with pytest.raises(DeniedError, match=r"^Credentials are not valid"):
            upload(world, alice, bad)
    costly = text.replace(pem.split_pem(text, what="x")[1].text, _costly_lock(pem.split_pem(text, what="x")[1]))
    with pytest.raises(DeniedError, match="iterations a try"):
        upload(world, alice, costly)
    with pytest.raises(AuthenticationError):
        world.get(None, GET)


def _costly_lock(block: pem.PEMBlock) -> bytes:
    """The same lock, claiming 9,000,000 iterations instead of 600,000: both take three bytes in DER."""
    before, after = (600_000).to_bytes(3, "big"), (0x7F0000).to_bytes(3, "big")
    assert block.data.count(b"\x02\x03" + before) == 1
    return pem.encode_pem(block.label, block.data.replace(b"\x02\x03" + before, b"\x02\x03" + after))


def test_a_key_leaves_only_by_its_own_permission(world: World, alice: Issued, agent: Issued) -> None:
    world.put(alice, PUT)
    with pytest.raises(DeniedError, match="server's authorized_key_retrievers policy"):
        retrieve(world, alice)
    with pytest.raises(AuthenticationError, match=r"^invalid credential passphrase$"):
        retrieve(world, None)
    world.configure(Settings(access=KEYS_TOO))
    text = retrieve(world, None)
    assert b"ENCRYPTED" in text
    with pytest.raises(AuthenticationError):
        retrieve(world, agent, dataclasses.replace(RETRIEVE, passphrase=Passphrase("wrong words")))
    world.put(alice, dataclasses.replace(PUT, key_retrievers="*/CN=Renewal Agent"))
    retrieve(world, agent)
    with pytest.raises(DeniedError, match="credential's authorized_key_retrievers policy"):
        retrieve(world, alice)


def test_a_limited_client_gets_no_full_key(world: World, alice: Issued, ca: TestCA) -> None:
    world.put(alice, PUT)
    world.configure(Settings(access=KEYS_TOO))
    limited = old_proxy(world, alice, ProxyKind.LIMITED)
    caller = dataclasses.replace(world.caller(alice), peer=world.verify(limited.certificates, now=world.now))
    with pytest.raises(DeniedError, match="Client with limited proxy may not retrieve full credentials"):
        world.service.begin_retrieve(caller, RETRIEVE)
    world.put(alice, PUT, options=ProxyOptions(kind=ProxyKind.LIMITED, lifetime=HOUR))
    assert isinstance(world.service.begin_retrieve(caller, RETRIEVE), RetrievalGrant)


# Trust roots --------------------------------------------------------------------------------------------------------


def test_trust_roots(world: World, alice: Issued) -> None:
    files = (TrustRootFile("1234abcd.0", b"x"),)
    asked = ask(Command.GET_TRUSTROOTS, username="", wants_trust_roots=True)
    world.configure(Settings(access=OPEN), trust_roots=files)
    assert world.service.trust_roots(world.caller(None), asked) == files
    assert world.service.accompanying_trust_roots(asked) == files
    assert world.service.accompanying_trust_roots(GET) == ()
    assert world.verdicts() == [("GET_TRUSTROOTS", Verdict.PERMIT)]
    world.configure(Settings(access=AccessPolicy(accepted_credentials=EVERYONE)), trust_roots=files)
    with pytest.raises(DeniedError, match="authorized_retrievers policy"):
        world.service.trust_roots(world.caller(alice), asked)


# What the site adds -------------------------------------------------------------------------------------------------


def program(directory: Path, text: str) -> str:
    path = directory / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_passphrase_that_the_site_does_not_like(world: World, alice: Issued, tmp_path: Path) -> None:
    log = tmp_path / "log"
    rule = ProgramPassphraseRule(
        program(tmp_path, f'read word; echo "$# $1 $2 $3" > {log}; test "$word" != "{SECRET}"')
    )
    world.configure(Settings(access=OPEN), site_rules=SiteRules(passphrase=rule))
    with pytest.raises(DeniedError, match=r"^Pass phrase violates local policy\.$"):
        world.put(alice, PUT)
    assert log.read_text() == "5 alice /O=Grid/CN=Alice \n"
    world.put(alice, UNSEALED_PUT)
    world.put(alice, dataclasses.replace(PUT, passphrase=Passphrase("battery staple")))
    change = ask(Command.CHANGE_PASSPHRASE, passphrase=Passphrase("battery staple"), new_passphrase=Passphrase(SECRET))
    with pytest.raises(DeniedError, match=r"^Pass phrase violates local policy\.$"):
        world.service.change_passphrase(world.caller(alice), change)


def test_accounts_by_program_and_by_map(world: World, alice: Issued, agent: Issued, tmp_path: Path) -> None:
    gridmap = tmp_path / "grid-mapfile"
    gridmap.write_text('"/O=Grid/CN=Alice" bob,alice\n')
    gridmap.chmod(0o644)
    by_program = ProgramAccountRule(program(tmp_path, 'test "$1 $2" = "/O=Grid/CN=Alice alice"'))
    for rule in (by_program, MapfileAccountRule(str(gridmap))):
        world.configure(Settings(access=OPEN), site_rules=SiteRules(account=rule))
        world.put(alice, PUT)
        upload(world, alice, alice.bundle())
        for issued, username in ((agent, "alice"), (alice, "carol")):
            wanted = dataclasses.replace(PUT, username=username)
            with pytest.raises(DeniedError, match=r"^Accepted credentials failure for DN/Username via "):
                world.put(issued, wanted)
            with pytest.raises(DeniedError, match=r"^Accepted credentials failure"):
                world.service.destroy(world.caller(issued), wanted)
            with pytest.raises(DeniedError, match=r"^Accepted credentials failure"):
                upload(world, issued, issued.bundle(), dataclasses.replace(STORE, username=username))
    gridmap.unlink()
    with pytest.raises(DeniedError, match=r"via grid-mapfile$"):
        world.put(alice, PUT)
