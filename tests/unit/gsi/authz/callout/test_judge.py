"""What is asked of the engine, and what becomes of its answers."""

from __future__ import annotations

import hashlib
import os
import pwd
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from gsi.authz.callout.config import CalloutConfig, ServerSettings, ServicePolicy
from gsi.authz.callout.daemon import Peer
from gsi.authz.callout.fileops import FileRules
from gsi.authz.callout.judge import Judge
from gsi.authz.callout.messages import (
    Answer,
    Fact,
    GateRequest,
    JobRequest,
    MapRequest,
    OperationRequest,
    ServiceRequest,
    SessionRequest,
    Verdict,
)
from gsi.authz.callout.standing import Setup
from gsi.authz.combine import Combining
from gsi.authz.decision import (
    Account,
    AuthorizationRequest,
    DatabaseRole,
    Decision,
    Effect,
    Obligation,
    PoolLease,
    PosixIds,
    StorageQuota,
    deny,
    indeterminate,
    not_applicable,
    permit,
)
from gsi.authz.engine import Engine
from gsi.authz.policy import Chain, Member, Policy, Source
from gsi.authz.record import describe_decision
from gsi.authz.scopes import ScopeAuthorizer
from gsi.authz.token_source import TokenSource
from gsi.errors import CapabilityError, CapabilityProblem
from gsi.system.trustdir import TrustDirectory
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.rules import IssuerRules, TokenRules
from gsi.tokens.verify import TokenVerifier
from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.tokens import AUDIENCE, TokenIssuer, b64

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.authz.callout.messages import Request
    from gsi.trust.anchors import TrustAnchors
    from tests.harness.ca import Issued

ALICE: Final = "/O=Grid/CN=Alice"
SERVICE_UID: Final = 4711
ACCOUNT: Final = "nobody"
USER: Final = pwd.getpwnam(ACCOUNT)


class Script:
    """An authorizer that answers what a test says, and remembers what it was asked."""

    name = "script"
    reads_assertions = True

    def __init__(self, answer: Callable[[AuthorizationRequest], Decision]) -> None:
        self.answer = answer
        self.asked: list[AuthorizationRequest] = []

    def decide(self, request: AuthorizationRequest) -> Decision:
        self.asked.append(request)
        return self.answer(request)

    @property
    def questions(self) -> list[str]:
        """What was asked in short."""
        return [f"{each.action.service}:{each.action.name} {each.resource.name}".strip() for each in self.asked]


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture(scope="module")
def anchors(ca: TestCA, tmp_path_factory: pytest.TempPathFactory) -> TrustAnchors:
    directory = write_trust_dir(tmp_path_factory.mktemp("trust") / "certificates", ca)
    return TrustDirectory(str(directory)).anchors()


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue(ALICE)


class Checked(Judge):
    """A judge of whose refusals each must be recorded, as a refusal, under the id that the client is told."""

    def judge(self, request: Request) -> Answer:
        answer = super().judge(request)
        if answer.verdict is not Verdict.PERMIT:
            setup = self._setup()
            found = [engine.find(answer.decision_id) for engine in setup.engines.values()]
            effects = {each.decision.effect for each in found if each is not None}
            assert isinstance(setup.audit, Audit)
            effects |= {decision.effect for _, decision in setup.audit if decision.decision_id == answer.decision_id}
            assert effects, answer
            assert Effect.PERMIT not in effects, answer
        return answer


class Audit(list[tuple[AuthorizationRequest, Decision]]):
    """What the judge records without an engine."""

    def __call__(self, request: AuthorizationRequest, decision: Decision) -> None:
        self.append((request, decision))


class Bench:
    """A judge with a scripted engine and a clock."""

    def __init__(self, anchors: TrustAnchors) -> None:
        self.script = Script(_permit_all)
        self.engine = Engine(
            Policy(Chain("policy", Combining.FIRST_APPLICABLE, (Member(self.script, may_block=False),)))
        )
        self.now = datetime.now(UTC)
        self.config = CalloutConfig(services=(ServicePolicy(name="*", policy="all"),))
        self.anchors = anchors
        self.audit = Audit()

    def setup(self) -> Setup:
        return Setup(
            config=self.config,
            engines={"all": self.engine},
            service_uids=frozenset({SERVICE_UID}),
            anchors=lambda: self.anchors,
            clock=lambda: self.now,
            audit=self.audit,
        )

    def judge(self, uid: int = SERVICE_UID) -> Judge:
        return Checked(self.setup, Peer(1, uid, 1))

    def recorded(self, answer: Answer) -> dict[str, object]:
        """What `gsi-authz explain` has of a refusal."""
        assert answer.verdict is not Verdict.PERMIT
        found = self.engine.find(answer.decision_id)
        assert found is not None
        return describe_decision(*found)


@pytest.fixture
def bench(anchors: TrustAnchors) -> Bench:
    return Bench(anchors)


def _permit_all(request: AuthorizationRequest) -> Decision:
    return permit("script", "fine", *([Account(ACCOUNT)] if request.action.service == "login" else []))


def _map(issued: Issued, **changes: object) -> MapRequest:
    return MapRequest(service="file", buffer_bytes=64, chain=issued.chain_der)._replace(**changes)  # type: ignore[arg-type]  # as given


def _operation(action: str = "read", path: str = "/a", facts: Fact = Fact.RESOLVED | Fact.EXISTS) -> OperationRequest:
    if action == "write":
        facts |= Fact.FOLLOWED
    return OperationRequest(action=action, object=f"ftp://h{path}", facts=facts, real_path=path, link_path=path)


def _open(bench: Bench, issued: Issued, *, resumed: bool = False) -> Judge:
    judge = bench.judge(USER.pw_uid)
    answer = judge.judge(SessionRequest(service="file", chain=issued.chain_der, resumed=resumed))
    assert answer.verdict is Verdict.PERMIT, answer
    bench.script.asked.clear()
    return judge


def _answering(*obligations: Obligation) -> Callable[[AuthorizationRequest], Decision]:
    return lambda _: permit("script", "fine", *obligations)


# --- mapping ----------------------------------------------------------------------------------------------------------


def test_mapping(bench: Bench, alice: Issued) -> None:
    answer = bench.judge().judge(_map(alice, desired=ACCOUNT))
    assert answer.verdict is Verdict.PERMIT
    assert answer.account == ACCOUNT
    (asked,) = bench.script.asked
    assert asked.subject.identity == ALICE
    assert (asked.action.name, asked.action.service) == ("login", "login")
    assert asked.environment.desired_account == ACCOUNT
    assert asked.environment.service == "file"
    assert bench.engine.find(answer.decision_id) is not None


@pytest.mark.parametrize(
    ("decide", "verdict"),
    [
        (lambda _: deny("script", "a secret reason"), Verdict.DENY),
        (lambda _: not_applicable("script"), Verdict.DENY),
        (lambda _: indeterminate("script", "a secret reason"), Verdict.FAILURE),
        (_answering(), Verdict.FAILURE),
        (_answering(Account("nosuchaccount")), Verdict.FAILURE),
        (_answering(Account("root")), Verdict.DENY),
        (_answering(Account("n" * 64)), Verdict.FAILURE),
        (_answering(Account(ACCOUNT), StorageQuota("", 1)), Verdict.FAILURE),
        (_answering(Account(ACCOUNT), PosixIds(1, 1)), Verdict.FAILURE),
        (_answering(Account(ACCOUNT), PosixIds(USER.pw_uid, 1)), Verdict.FAILURE),
        (_answering(Account(ACCOUNT), PosixIds(1, USER.pw_gid)), Verdict.FAILURE),
        (_answering(Account(ACCOUNT), PosixIds(USER.pw_uid, USER.pw_gid, (0,))), Verdict.DENY),
        (_answering(PosixIds(USER.pw_uid, USER.pw_gid)), Verdict.FAILURE),
        (_answering(Account(ACCOUNT), PosixIds(USER.pw_uid, USER.pw_gid)), Verdict.PERMIT),
        (_answering(PoolLease(ACCOUNT, "key")), Verdict.PERMIT),
    ],
)
def test_what_becomes_of_a_decision(
    bench: Bench, alice: Issued, decide: Callable[[AuthorizationRequest], Decision], verdict: Verdict
) -> None:
    bench.script.answer = decide
    answer = bench.judge().judge(_map(alice))
    assert answer.verdict is verdict
    assert bool(answer.account) is (verdict is Verdict.PERMIT)
    assert "secret" not in answer.reason
    assert answer.decision_id


def test_root_is_no_account(bench: Bench, alice: Issued) -> None:
    """Not even where the policy may name it: the service would not give its rights away."""
    script = Member(bench.script, may_block=False)
    bench.engine.replace(Policy(Chain("policy", Combining.FIRST_APPLICABLE, (script,)), allow_root=True))
    bench.script.answer = _answering(Account("root"))
    answer = bench.judge().judge(_map(alice))
    assert (answer.verdict, answer.account) == (Verdict.FAILURE, "")
    assert bench.recorded(answer)["reason"] == "the account 'root' has uid 0"


def test_account_that_does_not_fit(bench: Bench, alice: Issued) -> None:
    for size, verdict in ((len(ACCOUNT), Verdict.FAILURE), (len(ACCOUNT) + 1, Verdict.PERMIT)):
        assert bench.judge().judge(_map(alice, buffer_bytes=size)).verdict is verdict


def test_another_account_than_desired(bench: Bench, alice: Issued) -> None:
    assert bench.judge().judge(_map(alice, desired="games")).verdict is Verdict.DENY


def test_only_services_ask_for_mappings(bench: Bench, alice: Issued) -> None:
    judge = bench.judge(USER.pw_uid)
    assert judge.judge(_map(alice)).verdict is Verdict.DENY
    assert judge.judge(ServiceRequest(service="file", chain=alice.chain_der)).verdict is Verdict.DENY
    assert not bench.script.asked


def test_service_is_asked_without_leaving_traces(bench: Bench, alice: Issued) -> None:
    assert bench.judge().judge(ServiceRequest(service="file", chain=alice.chain_der)).verdict is Verdict.PERMIT
    assert bench.script.questions == ["login:login"]
    assert not bench.engine.recent()


def test_services_without_a_policy(bench: Bench, alice: Issued) -> None:
    bench.config = CalloutConfig(services=(ServicePolicy(name="job*", policy="all"),))
    assert bench.judge().judge(_map(alice)).verdict is Verdict.FAILURE
    assert bench.judge().judge(_map(alice, service="jobmanager")).verdict is Verdict.PERMIT
    assert bench.judge().judge(_map(alice, service="sharing")).verdict is Verdict.DENY


def test_untrusted_and_expired_chains(bench: Bench, alice: Issued) -> None:
    stranger = TestCA("/O=Grid/CN=CA").issue(ALICE)
    assert bench.judge().judge(_map(stranger)).verdict is Verdict.DENY
    bench.now += timedelta(days=10_000)
    answer = bench.judge().judge(_map(alice))
    assert answer.verdict is Verdict.DENY
    assert "chain is refused" in answer.reason
    assert not bench.script.asked


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_session_belongs_to_the_account_of_who_asks(bench: Bench, alice: Issued) -> None:
    for uid, verdict in (
        (USER.pw_uid, Verdict.PERMIT),
        (pwd.getpwnam("games").pw_uid, Verdict.DENY),
        (4712, Verdict.DENY),
    ):
        answer = bench.judge(uid).judge(SessionRequest(service="file", chain=alice.chain_der))
        assert answer.verdict is verdict, uid
        assert bool(bench.engine.find(answer.decision_id)) is (verdict is Verdict.DENY)  # permits are previews


def test_operations(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice)
    assert judge.judge(_operation("read", "/a")).verdict is Verdict.PERMIT
    assert (
        judge.judge(_operation("lookup", "/d", Fact.RESOLVED | Fact.EXISTS | Fact.DIRECTORY)).verdict is Verdict.PERMIT
    )
    assert bench.script.questions == ["file:read ftp://h/a", "file:lookup ftp://h/d"]
    assert bench.script.asked[0].resource.attributes["exists"] == ("true",)


def test_operations_without_a_session(bench: Bench) -> None:
    judge = bench.judge(USER.pw_uid)
    assert not judge.is_quick(_operation())
    assert judge.judge(_operation()).verdict is Verdict.DENY
    assert not bench.script.asked


def test_one_refusal_refuses_all(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice)
    bench.script.answer = lambda request: (deny if "/real" in request.resource.name else permit)("script", "x")
    answer = judge.judge(_operation("read", "/a")._replace(real_path="/real"))
    assert answer == Answer(Verdict.DENY, reason="no permission to read /a", decision_id=answer.decision_id)
    assert judge.judge(_operation("read", "/a")).verdict is Verdict.PERMIT


@pytest.mark.parametrize(
    ("decide", "verdict"),
    [
        (_answering(), Verdict.PERMIT),
        (_answering(Account(ACCOUNT)), Verdict.PERMIT),
        (_answering(Account("games")), Verdict.FAILURE),
        (_answering(PoolLease(ACCOUNT, "key")), Verdict.PERMIT),
        (_answering(StorageQuota("", 1)), Verdict.FAILURE),
        (_answering(Account(ACCOUNT), StorageQuota("", 1)), Verdict.FAILURE),
        (_answering(Account(ACCOUNT), DatabaseRole("reader")), Verdict.FAILURE),
        (_answering(Account(ACCOUNT), PosixIds(USER.pw_uid, USER.pw_gid)), Verdict.FAILURE),
        (lambda _: not_applicable("script"), Verdict.DENY),
        (lambda _: indeterminate("script", "x"), Verdict.FAILURE),
    ],
)
def test_obligations_of_operations(
    bench: Bench, alice: Issued, decide: Callable[[AuthorizationRequest], Decision], verdict: Verdict
) -> None:
    judge = _open(bench, alice)
    bench.script.answer = decide
    assert judge.judge(_operation()).verdict is verdict


def _ban(request: AuthorizationRequest) -> Decision:
    return deny("script", "banned")


def test_open_sessions_follow_the_configuration(bench: Bench, alice: Issued) -> None:
    """Another policy for the service counts for sessions that are open, not only for those to come."""
    judge = _open(bench, alice)
    old, other = bench.engine, Bench(bench.anchors)
    bench.engine = other.engine
    assert not judge.is_quick(_operation())
    assert judge.judge(_operation()).verdict is Verdict.PERMIT
    assert other.script.questions == ["login:login", "file:read ftp://h/a"]
    assert judge.is_quick(_operation())
    other.script.answer = _ban
    assert judge.judge(_operation()).verdict is Verdict.DENY
    bench.config = CalloutConfig(services=(ServicePolicy(name="job*", policy="all"),))
    assert judge.judge(_operation()).verdict is Verdict.FAILURE  # no policy is left for the service
    bench.config, bench.engine = CalloutConfig(services=(ServicePolicy(name="*", policy="all"),)), old
    assert judge.judge(_operation()).verdict is Verdict.PERMIT


def test_open_sessions_need_the_login_still(bench: Bench, alice: Issued) -> None:
    """Whoever may not log in any more, by the files of the policy as they are now, does nothing in old sessions."""
    judge = _open(bench, alice)
    bench.script.answer = lambda request: (
        deny("script", "no more") if request.action.name == "login" else permit("script", "fine")
    )
    assert judge.judge(_operation()).verdict is Verdict.PERMIT  # the policy is the same: nobody looks
    bench.engine.replace(replace(bench.engine.policy))
    assert judge.judge(_operation()).verdict is Verdict.DENY
    assert judge.judge(_operation("lookup")).verdict is Verdict.DENY
    bench.script.answer = _answering(Account("games"))  # mapped to somebody else
    assert judge.judge(_operation()).verdict is Verdict.DENY
    bench.script.answer = _permit_all
    assert judge.judge(_operation()).verdict is Verdict.PERMIT


def test_open_sessions_are_revoked(bench: Bench, ca: TestCA, alice: Issued, tmp_path: Path) -> None:
    judge = _open(bench, alice)
    directory = write_trust_dir(tmp_path / "revoking", ca, crl=ca.crl([alice]))
    bench.anchors = TrustDirectory(str(directory)).anchors()
    bench.now += timedelta(seconds=61)
    assert not judge.is_quick(_operation())
    answer = judge.judge(_operation())
    assert answer.verdict is Verdict.DENY
    assert "revoked" in answer.reason


def test_assertions_are_looked_at_again(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice)
    for text in ("good", "bad"):
        judge.judge(OperationRequest(action="authz_assert", object=text))
    bench.engine.replace(replace(bench.engine.policy))
    bench.script.answer = lambda request: (
        deny("script", "not this one") if "bad" in request.subject.assertions[-1:] else _permit_all(request)
    )
    assert judge.judge(_operation()).verdict is Verdict.PERMIT
    assert bench.script.asked[-1].subject.assertions == ("good",)


def test_credential_that_ends_during_the_session(bench: Bench, ca: TestCA) -> None:
    judge = _open(bench, ca.issue(ALICE).proxy(not_after=bench.now + timedelta(hours=1)))
    assert judge.judge(_operation()).verdict is Verdict.PERMIT
    bench.now += timedelta(hours=2)
    assert judge.judge(_operation()).verdict is Verdict.DENY
    bench.now -= timedelta(hours=2)  # a clock that was set back
    assert judge.judge(_operation()).verdict is Verdict.PERMIT


def test_rename_needs_both_rights_on_the_source(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice)
    judge.judge(_operation("lookup", "/secret"))
    bench.script.asked.clear()
    assert judge.judge(_operation("write", "/new", Fact.RESOLVED)).verdict is Verdict.PERMIT
    assert bench.script.questions == [
        "file:create ftp://h/new",
        "file:delete ftp://h/secret",
        "file:read ftp://h/secret",
    ]
    bench.script.asked.clear()
    judge.judge(_operation("write", "/newer", Fact.RESOLVED))
    assert bench.script.questions == ["file:create ftp://h/newer"]  # what may be renamed is not asked again
    bench.engine.replace(replace(bench.engine.policy))  # unless the policy has changed
    bench.script.asked.clear()
    judge.judge(_operation("write", "/newest", Fact.RESOLVED))
    assert bench.script.questions == [
        "login:login",
        "file:create ftp://h/newest",
        "file:delete ftp://h/secret",
        "file:read ftp://h/secret",
    ]


@pytest.mark.parametrize("lacking", ["delete", "read"])
def test_rename_without_one_of_them(bench: Bench, alice: Issued, lacking: str) -> None:
    judge = _open(bench, alice)
    judge.judge(_operation("lookup", "/secret"))
    bench.script.answer = lambda request: (deny if request.action.name == lacking else permit)("script", "x")
    answer = judge.judge(_operation("write", "/new", Fact.RESOLVED))
    assert answer.verdict is Verdict.DENY
    assert f"no permission to {lacking}" in answer.reason
    assert "could be a rename of /secret" in answer.reason


def test_refused_lookups_cannot_be_renamed(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice)
    bench.script.answer = lambda request: (deny if request.action.name == "lookup" else permit)("script", "x")
    judge.judge(_operation("lookup", "/secret"))
    bench.script.asked.clear()
    judge.judge(_operation("write", "/new", Fact.RESOLVED))
    assert bench.script.questions == ["file:create ftp://h/new"]


def test_resumed_session(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice, resumed=True)
    assert judge.judge(_operation()).verdict is Verdict.PERMIT
    answer = judge.judge(_operation("write"))
    assert answer.verdict is Verdict.DENY
    assert "please use a new connection" in answer.reason


def test_switches_are_read_anew(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice)
    tree = _operation("delete", "/d", Fact.RESOLVED | Fact.EXISTS | Fact.DIRECTORY)
    assert judge.judge(tree).verdict is Verdict.DENY
    bench.config = replace(bench.config, files=FileRules(recursive_deletes=True))
    assert judge.judge(tree).verdict is Verdict.PERMIT


def test_assertions(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice)
    for number in range(8):
        answer = judge.judge(OperationRequest(action="authz_assert", object=f"assertion {number}"))
        assert answer.verdict is Verdict.PERMIT
    assert judge.judge(OperationRequest(action="authz_assert", object="one more")).verdict is Verdict.DENY
    judge.judge(_operation())
    assert bench.script.asked[-1].subject.assertions[:2] == ("assertion 0", "assertion 1")
    long = _open(bench, alice)
    verdicts = [long.judge(OperationRequest(action="authz_assert", object="x" * 400_000)).verdict for _ in range(3)]
    assert verdicts == [Verdict.PERMIT, Verdict.PERMIT, Verdict.DENY]
    bench.script.answer = lambda _: deny("script", "x")
    other = Bench(bench.anchors)
    refusing = _open(other, alice)
    other.script.answer = lambda request: (deny if request.action.name == "authz_assert" else permit)("script", "x")
    assert refusing.judge(OperationRequest(action="authz_assert", object="x")).verdict is Verdict.DENY
    refusing.judge(_operation())
    assert other.script.asked[-1].subject.assertions == ()


# --- tokens in a session ----------------------------------------------------------------------------------------------


class Tokens:
    """A bench whose policy has a source of tokens, of VOMS attributes that end, and an authorizer of scopes."""

    def __init__(self, bench: Bench, holder: Issued, *more: Source) -> None:
        self.bench = bench
        self.holder = holder
        self.issuer = TokenIssuer()
        rules = TokenRules(issuers=(IssuerRules(issuer=self.issuer.url),), audiences=frozenset({AUDIENCE}))
        keys = StaticKeys({self.issuer.url: parse_key_set(self.issuer.key_set())})
        source = Source(TokenSource("tokens", TokenVerifier(rules, keys)), may_block=False)
        bench.script.reads_assertions = False
        bench.script.answer = lambda asked: (
            not_applicable("script") if asked.action.name == "read" else _permit_all(asked)
        )
        chain = Chain(
            "policy",
            Combining.FIRST_APPLICABLE,
            (Member(ScopeAuthorizer("scopes"), may_block=False), Member(bench.script, may_block=False)),
        )
        bench.engine.replace(Policy(chain, (source, *more)))

    def token(self, path: str, *, seconds: int = 600, scope: str = "") -> str:
        now = int(self.bench.now.timestamp())
        bound = {"x5t#S256": b64(hashlib.sha256(self.holder.der).digest())}
        scope = scope or f"storage.read:{path}"
        return self.issuer.token(scope=scope, iat=now - 9, nbf=now - 9, exp=now + seconds, cnf=bound)


def _show(judge: Judge, text: str) -> Answer:
    return judge.judge(OperationRequest(action="authz_assert", object=text))


def test_a_token_that_ends_in_a_session(bench: Bench, alice: Issued) -> None:
    """The client is told which and when, and a fresh one counts at once; without one nothing does."""
    tokens, judge = Tokens(bench, alice), _open(bench, alice)
    assert judge.judge(_operation()).verdict is Verdict.DENY
    assert _show(judge, tokens.token("/a", seconds=6)).verdict is Verdict.PERMIT
    assert judge.judge(_operation()).verdict is Verdict.PERMIT
    ended = bench.now.replace(microsecond=0) + timedelta(seconds=6)
    for wait in (7, 90):  # also when the session has been judged again in the meantime
        bench.now += timedelta(seconds=wait)
        for operation in (_operation(), _operation("lookup", "/b")):
            answer = judge.judge(operation)
            words = f"no permission to {operation.action} {operation.real_path}: token: expired at "
            assert (answer.verdict, answer.reason) == (Verdict.DENY, f"{words}{ended:%Y-%m-%dT%H:%M:%SZ}")
            assert bench.recorded(answer)["authorizer"] == "tokens"
    late = _show(judge, tokens.token("/a", seconds=-1))
    assert late.reason.startswith("the assertion is not accepted: token: expired at ")
    assert _show(judge, tokens.token("/a")).verdict is Verdict.PERMIT
    assert judge.judge(_operation()).verdict is Verdict.PERMIT


def test_the_token_that_is_shown_next_replaces_the_last(bench: Bench, alice: Issued) -> None:
    """And one that is not accepted changes nothing."""
    tokens, judge = Tokens(bench, alice), _open(bench, alice)
    for _ in range(5):  # more than may be kept
        assert _show(judge, tokens.token("/a")).verdict is Verdict.PERMIT
        assert judge.judge(_operation("read", "/a")).verdict is Verdict.PERMIT
        assert judge.judge(_operation("read", "/b")).verdict is Verdict.DENY
        assert _show(judge, tokens.token("/b") + "A").verdict is Verdict.FAILURE
        assert judge.judge(_operation("read", "/a")).verdict is Verdict.PERMIT
        assert _show(judge, tokens.token("/b")).verdict is Verdict.PERMIT
        assert judge.judge(_operation("read", "/a")).verdict is Verdict.DENY
        assert judge.judge(_operation("read", "/b")).verdict is Verdict.PERMIT


@pytest.mark.parametrize("ended", [False, True])
def test_what_a_token_allowed_to_rename_ends_with_it(bench: Bench, alice: Issued, *, ended: bool) -> None:
    """Nothing that has been cleared by a token goes on to be when another is shown, or it has ended."""
    tokens, judge = Tokens(bench, alice), _open(bench, alice)
    bench.script.answer = lambda asked: (
        not_applicable("script") if asked.action.name == "delete" else _permit_all(asked)
    )
    everything = "storage.read:/ storage.modify:/mine storage.modify:/readonly"
    assert _show(judge, tokens.token("", seconds=9, scope=everything)).verdict is Verdict.PERMIT
    assert judge.judge(_operation("lookup", "/readonly/f")).verdict is Verdict.PERMIT
    for _ in range(2):
        assert judge.judge(_operation("write", "/mine/x")).verdict is Verdict.PERMIT
    if ended:
        bench.now += timedelta(seconds=10)
    less = tokens.token("", scope="storage.read:/ storage.modify:/mine")
    assert _show(judge, less).verdict is Verdict.PERMIT
    answer = judge.judge(_operation("write", "/mine/x"))
    assert answer.verdict is Verdict.DENY
    assert "could be a rename of /readonly/f, which you have no permission to delete" in answer.reason
    assert judge.judge(_operation("delete", "/readonly/f")).verdict is Verdict.DENY


def test_what_may_be_renamed_is_judged_again_each_minute(bench: Bench, alice: Issued) -> None:
    """Of a group that somebody is taken from, or the hours of a rule, nobody tells."""
    judge = _open(bench, alice)
    judge.judge(_operation("lookup", "/f"))
    assert judge.judge(_operation("write", "/new", Fact.RESOLVED)).verdict is Verdict.PERMIT
    bench.script.answer = lambda request: (
        deny("script", "x") if request.action.name == "delete" else _permit_all(request)
    )
    bench.now += timedelta(seconds=61)
    answer = judge.judge(_operation("write", "/new", Fact.RESOLVED))
    assert "could be a rename of /f, which you have no permission to delete" in answer.reason


def test_what_may_be_renamed_ends_with_the_permit(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice)
    judge.judge(_operation("lookup", "/f"))
    ends = bench.now + timedelta(seconds=9)
    bench.script.answer = lambda request: (
        replace(permit("script", "x"), not_after=ends) if request.action.name == "delete" else _permit_all(request)
    )
    write = _operation("write", "/new", Fact.RESOLVED)
    for seconds, asked in ((0, 3), (8, 1), (9, 3)):
        bench.now = ends + timedelta(seconds=seconds - 9)
        bench.script.asked.clear()
        assert judge.judge(write).verdict is Verdict.PERMIT
        assert len(bench.script.asked) == asked


@pytest.mark.parametrize("text", ["garbage", "", "eyJ.x", "a.b.c", "<not looked at/>", "x" * 100_000])
def test_what_nobody_understands_is_not_accepted(bench: Bench, alice: Issued, text: str) -> None:
    tokens, judge = Tokens(bench, alice), _open(bench, alice)
    _show(judge, tokens.token("/a"))
    answer = _show(judge, text)
    assert answer.reason == "what was shown is nothing that is understood here"
    assert text[:7] not in str(bench.recorded(answer)) or not text
    assert judge.judge(_operation()).verdict is Verdict.PERMIT
    bench.script.reads_assertions = True
    assert _show(judge, text).verdict is Verdict.PERMIT


class Several:
    """A source of assertions `<until TIME>`, of which a subject may have several; each has to be good."""

    name = "several"

    def takes(self, shown: object) -> bool:
        return isinstance(shown, str) and shown.startswith("<")

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        for one in filter(self.takes, request.subject.assertions):
            if request.environment.now >= datetime.fromisoformat(str(one).strip("<>")):
                raise CapabilityError(f"assertion: expired at {one}", problem=CapabilityProblem.EXPIRED)
        return request


def test_what_has_ended_makes_room_for_another(bench: Bench, alice: Issued) -> None:
    """Those that have not ended stay."""
    Tokens(bench, alice, Source(Several(), may_block=False))
    judge = _open(bench, alice)
    soon, later = (f"<{(bench.now + timedelta(seconds=seconds)).isoformat()}>" for seconds in (6, 600))
    for text in (later, *[f"{soon}{'>' * number}" for number in range(7)]):
        assert _show(judge, text).verdict is Verdict.PERMIT
    assert _show(judge, soon).reason == "too many assertions in one session"
    bench.now += timedelta(seconds=7)
    assert "assertion: expired at" in judge.judge(_operation("lookup", "/b")).reason
    assert _show(judge, f"{later}>").verdict is Verdict.PERMIT
    assert judge.judge(_operation("lookup", "/b")).verdict is Verdict.PERMIT
    assert bench.script.asked[-1].subject.assertions == (later, f"{later}>")
    bench.now += timedelta(seconds=600)
    assert "assertion: expired at" in judge.judge(_operation("lookup", "/b")).reason


class Attributes:
    """A source of something in the chain that has ended: nothing that is shown mends that."""

    name = "voms"

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        if request.action.name != "login":
            raise CapabilityError("attribute certificate: expired at TIME", problem=CapabilityProblem.EXPIRED)
        return request


def test_attributes_that_end_in_a_session(bench: Bench, alice: Issued) -> None:
    tokens, judge = Tokens(bench, alice, Source(Attributes(), may_block=False)), _open(bench, alice)
    for answer in (judge.judge(_operation()), _show(judge, tokens.token("/a"))):
        assert answer.verdict is Verdict.DENY
        assert answer.reason.endswith(": attribute certificate: expired at TIME")


def test_the_words_of_a_rule_are_not_for_clients(bench: Bench, alice: Issued) -> None:
    """Although a denial of its says when it ends."""
    judge = _open(bench, alice)
    bench.script.answer = lambda _: replace(deny("script", "a secret reason"), not_after=bench.now)
    assert judge.judge(_operation()).reason == "no permission to read /a"


def test_a_proxy_that_ends_is_told(bench: Bench, ca: TestCA) -> None:
    judge = _open(bench, ca.issue(ALICE).proxy(not_after=bench.now + timedelta(seconds=30)))
    bench.now += timedelta(seconds=31)
    assert judge.judge(_operation()).reason.startswith("no permission to read /a: the credential ended at 20")


def test_odd_objects_and_defects_refuse(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice)
    assert judge.judge(OperationRequest(action="read", object="http://h/a")).verdict is Verdict.FAILURE
    assert judge.judge(_operation("read", "/a", Fact(0))).verdict is Verdict.DENY
    assert judge.judge(_operation("read", "/a\nb")).verdict in (Verdict.PERMIT, Verdict.FAILURE)

    def broken(request: AuthorizationRequest) -> Decision:
        raise RuntimeError("a secret")

    bench.script.answer = broken
    answer = judge.judge(_operation())
    assert answer.verdict is Verdict.FAILURE
    assert "secret" not in answer.reason


def test_policies_that_wait_are_not_quick(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice)
    assert judge.is_quick(_operation())
    assert not judge.is_quick(_map(alice))
    slow = Member(bench.script, may_block=True)
    bench.engine.replace(Policy(Chain("policy", Combining.FIRST_APPLICABLE, (slow,))))
    assert not judge.is_quick(_operation())
    assert judge.judge(_operation()).verdict is Verdict.PERMIT


def test_long_questions_are_not_quick(bench: Bench, alice: Issued) -> None:
    judge = _open(bench, alice)
    assert not judge.is_quick(OperationRequest(action="authz_assert", object="x"))
    assert judge.is_quick(_operation("write"))
    assert not judge.is_quick(_operation("write")._replace(files_now=("/x",) * 65))
    for number in range(65):
        judge.judge(_operation("lookup", f"/{number}"))
    assert judge.is_quick(_operation("read"))
    assert not judge.is_quick(_operation("write"))


def test_who_asks_is_told(bench: Bench, alice: Issued) -> None:
    """Certificates are public: what a stranger asks must not look like the deed of whom they name."""
    judge = _open(bench, alice)
    judge.judge(_operation())
    asked = [bench.script.asked[-1]]
    bench.judge(USER.pw_uid).judge(GateRequest(service="jobmanager", rsl="&(a=b)", chain=alice.chain_der))
    asked.append(bench.script.asked[-1])
    bench.judge().judge(_map(alice))
    asked.append(bench.script.asked[-1])
    told = [dict(each.environment.attributes) for each in asked]
    assert [each["proof"] for each in told] == [("account",), ("none",), ("service",)]
    assert [each["asking-uid"] for each in told] == [(str(USER.pw_uid),)] * 2 + [(str(SERVICE_UID),)]
    assert {each["asking-pid"] for each in told} == {("1",)}


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_gate(bench: Bench, alice: Issued) -> None:
    request = GateRequest(
        service="jobmanager-fork", rsl="&(a=b)", chain=alice.chain_der, environment=(("REMOTE_ADDR", "192.0.2.1"),)
    )
    assert bench.judge(USER.pw_uid).judge(request).verdict is Verdict.PERMIT
    (asked,) = bench.script.asked
    assert bench.script.questions == ["job:start jobmanager-fork"]
    assert asked.resource.attributes["rsl"] == ("&(a=b)",)
    assert asked.resource.attributes["account"] == (ACCOUNT,)
    assert asked.environment.peer_address == "192.0.2.1"
    bench.script.answer = lambda _: deny("script", "x")
    assert bench.judge(USER.pw_uid).judge(request).verdict is Verdict.DENY


@pytest.mark.parametrize(
    ("target", "effect", "verdict"),
    [
        (ALICE, not_applicable("script"), Verdict.PERMIT),
        (ALICE, deny("script", "banned"), Verdict.DENY),
        (ALICE, indeterminate("script", "broken"), Verdict.FAILURE),
        ("/O=Grid/CN=alice", not_applicable("script"), Verdict.PERMIT),  # case of printable values does not matter
        ("/O=Grid/CN=Bob", not_applicable("script"), Verdict.DENY),
        ("/O=Grid/CN=Bob", permit("script", "manager"), Verdict.PERMIT),
        ("", not_applicable("script"), Verdict.DENY),
        ("CN=Alice,O=Grid", not_applicable("script"), Verdict.DENY),
        ("/O=Grid/CN=Alice/CN=Alice", not_applicable("script"), Verdict.DENY),
    ],
)
def test_owners_and_others(bench: Bench, alice: Issued, target: str, effect: Decision, verdict: Verdict) -> None:
    bench.script.answer = lambda _: effect
    request = JobRequest(job_id="1.2", query="status", chain=alice.chain_der, target=target)
    assert bench.judge(USER.pw_uid).judge(request).verdict is verdict
    (asked,) = bench.script.asked
    assert asked.resource.attributes["owner"] == (target,)  # whose job it is, not who asks


@pytest.mark.parametrize("query", ["start", "status"])
def test_obligations_of_jobs(bench: Bench, alice: Issued, query: str) -> None:
    """A job manager, like a file server, carries out none."""
    requests: dict[str, Request] = {
        "start": GateRequest(service="jobmanager", rsl="x", chain=alice.chain_der),
        "status": JobRequest(job_id="1.2", query="status", chain=alice.chain_der, target=ALICE),
    }
    for extra, verdict in (((), Verdict.PERMIT), ((DatabaseRole("reader"),), Verdict.FAILURE)):
        bench.script.answer = _answering(Account(ACCOUNT), *extra)
        assert bench.judge(USER.pw_uid).judge(requests[query]).verdict is verdict


def test_owner_by_spoofed_name(bench: Bench, ca: TestCA) -> None:
    """A value with slashes in it is not the name it looks like."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Grid/CN=Alice")])
    mallory = ca.issue(name)
    bench.script.answer = lambda _: not_applicable("script")
    request = JobRequest(job_id="1.2", query="cancel", chain=mallory.chain_der, target=ALICE)
    assert bench.judge(USER.pw_uid).judge(request).verdict is Verdict.DENY


def test_what_owners_may_do_is_audited_as_a_permit(bench: Bench, alice: Issued) -> None:
    """By whom it was given; a denial stays one."""
    audited: list[Decision] = []
    script = Member(bench.script, may_block=False)
    policy = Policy(Chain("policy", Combining.FIRST_APPLICABLE, (script,)))
    bench.engine = Engine(policy, audit=lambda _, decision: audited.append(decision))
    request = JobRequest(job_id="1.2", query="signal 1 x", chain=alice.chain_der, target=ALICE)
    bench.script.answer = lambda _: not_applicable("script")
    answer = bench.judge(USER.pw_uid).judge(request)
    assert [(each.effect, each.authorizer) for each in audited] == [(Effect.PERMIT, "gsi-authz-server")] * 2
    assert audited[-1].decision_id == answer.decision_id
    assert "job_owner_manages" in audited[0].reason
    assert [step.effect for step in audited[0].trace] == [Effect.NOT_APPLICABLE, Effect.PERMIT]
    audited.clear()
    bench.script.answer = lambda _: permit("script", "fine")
    bench.judge(USER.pw_uid).judge(request)
    assert {each.authorizer for each in audited} == {"script"}
    audited.clear()
    bench.judge(USER.pw_uid).judge(request._replace(target="/O=Grid/CN=Bob"))
    bench.script.answer = lambda _: not_applicable("script")
    bench.judge(USER.pw_uid).judge(request._replace(target="/O=Grid/CN=Bob"))
    assert [each.effect for each in audited] == [Effect.PERMIT, Effect.PERMIT, Effect.NOT_APPLICABLE]


def test_owner_rule_can_be_switched_off(bench: Bench, alice: Issued) -> None:
    bench.config = replace(bench.config, server=ServerSettings(job_owner_manages=False))
    bench.script.answer = lambda _: not_applicable("script")
    request = JobRequest(job_id="1.2", query="status", chain=alice.chain_der, target=ALICE)
    assert bench.judge(USER.pw_uid).judge(request).verdict is Verdict.DENY


def test_a_signal_that_cancels_needs_both(bench: Bench, alice: Issued) -> None:
    request = JobRequest(job_id="1.2", query="signal 1 x", chain=alice.chain_der, target="/O=Grid/CN=Bob")
    assert bench.judge(USER.pw_uid).judge(request).verdict is Verdict.PERMIT
    assert bench.script.questions == ["job:signal 1.2", "job:cancel 1.2"]
    bench.script.answer = lambda asked: (permit if asked.action.name == "signal" else not_applicable)("script", "x")
    assert bench.judge(USER.pw_uid).judge(request).verdict is Verdict.DENY
    assert bench.judge(USER.pw_uid).judge(request._replace(query="signal 2 x")).verdict is Verdict.PERMIT


def test_start_past_the_gate(bench: Bench) -> None:
    request = JobRequest(job_id="1.2", query="start", rsl="&(a=b)")
    assert bench.judge(USER.pw_uid).judge(request).verdict is Verdict.FAILURE
    marked = request._replace(environment=(("GSI_AUTHZ_GATE", "c0ffee"),))
    assert bench.judge(USER.pw_uid).judge(marked).verdict is Verdict.PERMIT
    assert not bench.script.asked


def test_uid_without_account(bench: Bench, alice: Issued) -> None:
    gate = GateRequest(service="jobmanager", rsl="x", chain=alice.chain_der)
    assert bench.judge(2**31 - 5).judge(gate).verdict is Verdict.PERMIT
    assert bench.script.asked[0].resource.attributes["account"] == (str(2**31 - 5),)


def test_configuration(tmp_path: Path) -> None:
    from gsi.authz.callout.config import load_config, uids_of
    from gsi.errors import ConfigError

    path = tmp_path / "server.toml"
    path.write_text(
        '[server]\nworkers = 3\nidle_time = "1h"\n[files]\nrenames = "disabled"\n'
        '[[services]]\nname = "file"\npolicy = "gridftp"\n'
    )
    config = load_config(str(path))
    assert config.server.workers == 3
    assert config.server.idle_time == timedelta(hours=1)
    assert config.policy_for("file") == "gridftp"
    assert config.policy_for("jobmanager") is None
    assert CalloutConfig().policy_for("jobmanager-fork") == "gram"
    for bad in ("[server]\nworker = 3\n", "[server]\nworkers = 0\n", "[files]\nrenames = true\n", "[[services]]\n"):
        path.write_text(bad)
        with pytest.raises(ConfigError):
            load_config(str(path))
    path.write_text("")
    path.chmod(0o666)
    with pytest.raises(ConfigError):
        load_config(str(path))
    assert uids_of(["root", "17"]) == {0, 17}
    with pytest.raises(ConfigError):
        uids_of(["nosuchaccount"])
    assert os.path.isabs(str(path))


# --- records of refusals ----------------------------------------------------------------------------------------------


def _who(found: dict[str, object]) -> tuple[object, object]:
    subject = found["subject"]
    assert isinstance(subject, dict)
    return subject["identity"], subject["authenticated_by"]


def test_refused_certificates_are_recorded(bench: Bench, alice: Issued) -> None:
    """With the name they show, of which nothing is believed."""
    stranger = TestCA("/O=Grid/CN=CA").issue(ALICE)
    for request, action in (
        (_map(stranger), "login"),
        (SessionRequest(service="file", chain=stranger.chain_der), "login"),
        (GateRequest(service="jobmanager", rsl="x", chain=stranger.chain_der), "start"),
        (JobRequest(job_id="1.2", query="cancel", chain=stranger.chain_der, target=ALICE), "cancel"),
    ):
        found = bench.recorded(bench.judge().judge(request))
        assert found["action"] == action
        assert _who(found) == ("", "unverified")
        assert str(found["reason"]).startswith("certificates refused (")
        assert str(found["reason"]).endswith(f"they show {ALICE}")
    for chain in ((), (b"no certificate",)):
        found = bench.recorded(bench.judge().judge(_map(alice)._replace(chain=chain)))
        assert "they show no name" in str(found["reason"])


def test_refused_sessions_are_recorded(bench: Bench, alice: Issued) -> None:
    """Although permitted ones leave no trace."""
    request = SessionRequest(service="file", chain=alice.chain_der)
    found = bench.recorded(bench.judge(pwd.getpwnam("games").pw_uid).judge(request))
    assert (found["action"], found["desired_account"], found["effect"]) == ("login", "games", "deny")
    assert _who(found) == (ALICE, "x509")
    bench.script.answer = lambda _: deny("script", "banned")
    found = bench.recorded(bench.judge(USER.pw_uid).judge(request))
    assert (found["reason"], found["authorizer"]) == ("banned", "script")
    assert found["trace"]
    found = bench.recorded(bench.judge().judge(ServiceRequest(service="file", chain=alice.chain_der)))
    assert found["reason"] == "banned"


def test_refused_operations_are_recorded(bench: Bench, alice: Issued) -> None:
    """With name and path, where the policy had no say in it."""
    tree = _operation("delete", "/d", Fact.RESOLVED | Fact.EXISTS | Fact.DIRECTORY)
    for request, words in (
        (tree, "the directory is not empty"),
        (_operation("read", "/lost", Fact(0)), "cannot be followed"),
        (_operation("grow", "/g"), "not known"),
        (_operation("read", "/g")._replace(object="http://h/g"), "not the object of a file operation"),
    ):
        found = bench.recorded(_open(bench, alice).judge(request))
        assert words in str(found["reason"])
        assert (found["action"], found["resource"]) == (request.action, request.object)
        assert (found["service"], found["service_type"]) == ("file", "file")
        assert _who(found) == (ALICE, "x509")
    judge = _open(bench, alice)
    judge.judge(_operation("lookup", "/d", Fact.RESOLVED | Fact.EXISTS | Fact.DIRECTORY))
    found = bench.recorded(judge.judge(_operation("write", "/new", Fact.RESOLVED)))
    assert "could be a rename of a directory" in str(found["reason"])
    assert found["resource"] == "ftp://h/new"


def test_no_assertion_is_recorded(bench: Bench, alice: Issued) -> None:
    """It may be a token that somebody else can use."""
    judge = _open(bench, alice)
    for _ in range(8):
        judge.judge(OperationRequest(action="authz_assert", object="x"))
    found = bench.recorded(judge.judge(OperationRequest(action="authz_assert", object="precious")))
    assert found["action"] == "authz_assert"
    assert "precious" not in str(found)
    assert judge._request is None  # nor is it kept as long as the session


def test_permits_that_come_to_nothing_are_recorded_as_refusals(bench: Bench, alice: Issued) -> None:
    """Under their own id, so that the last line under it says what became of it."""
    bench.script.answer = _answering(Account("nosuchaccount"))
    audited: list[tuple[str, Effect]] = []
    script = Member(bench.script, may_block=False)
    bench.engine = Engine(
        Policy(Chain("policy", Combining.FIRST_APPLICABLE, (script,))),
        audit=lambda _, decision: audited.append((decision.decision_id, decision.effect)),
    )
    answer = bench.judge().judge(_map(alice))
    assert audited == [(answer.decision_id, Effect.PERMIT), (answer.decision_id, Effect.INDETERMINATE)]
    assert bench.recorded(answer)["obligations"] == []


def test_refusals_without_a_policy_are_audited(bench: Bench, alice: Issued) -> None:
    bench.config = CalloutConfig(services=(ServicePolicy(name="job*", policy="all"),))
    answer = bench.judge().judge(_map(alice))
    ((request, decision),) = bench.audit
    assert decision.decision_id == answer.decision_id
    assert "no policy for the service 'file'" in decision.reason
    assert request.environment.service == "file"


def test_what_a_stranger_writes_is_cut(bench: Bench) -> None:
    """No question makes a longer record than its own path, name, or address is."""
    long = TestCA("/O=Grid/CN=CA").issue("/O=Grid/CN=" + "/CN=".join(["x" * 60] * 40))
    judge = bench.judge(USER.pw_uid)
    for request in (
        GateRequest(service="jobmanager", rsl="x" * 50_000, chain=long.chain_der),
        JobRequest(job_id="1", query="x" * 5_000, rsl="x" * 50_000, chain=long.chain_der),
    ):
        assert len(str(bench.recorded(judge.judge(request)))) < 2_000


def test_a_refusal_that_cannot_be_recorded_stays_one(bench: Bench, alice: Issued) -> None:
    def broken() -> Setup:
        raise RuntimeError("no set-up")

    answer = Judge(broken, Peer(1, USER.pw_uid, 1))
    answer._fresh = request = SessionRequest(service="file", chain=alice.chain_der)
    assert answer.judge(request).verdict is Verdict.FAILURE
