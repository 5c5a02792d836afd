"""Who gets in with what, as a table over all combinations; what strangers can tell from a no; how tries are limited."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gsi.errors import AuthenticationError, DeniedError, GridError, StorageError, TransportError
from gsi.secret import Passphrase
from gsi.system.audit import Verdict
from myproxy.auth.base import BusyError, DelayedRefusalError, Method, Outcome, Proof, UnjudgedError, Unlimited, Use
from myproxy.auth.bounded import Slots
from myproxy.auth.certificate import CertificateMethod
from myproxy.auth.pace import FIRST_SECONDS, LONGEST_SECONDS, Pace
from myproxy.auth.throttle import Throttle, ThrottleRules
from myproxy.auth.totp import CodeKeys, OneTimeCodes, code_at
from myproxy.authentication import Methods
from myproxy.grants import Caller, RetrievalGrant, Settings
from myproxy.policy import AccessPolicy, parse_rules
from myproxy.protocol.messages import (
    AuthorizationMethod,
    AuthorizationOffer,
    AuthorizationReply,
    Command,
    Request,
)
from myproxy.repository.guesses import SQLGuessStore
from myproxy.retrieval import AuthorizationRound, Pause, RetrievalStep
from tests.harness.ca import Issued, TestCA
from tests.harness.myproxy import EVERYONE, SECRET, World, ask, make_world
from tests.unit.myproxy.auth.test_totp import SECRET as OTP_SECRET
from tests.unit.myproxy.auth.test_totp import Memory

INVALID = "invalid credential passphrase"
PAM_WORDS = "pam words"


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=Test CA", "p256")


@pytest.fixture
def world(ca: TestCA, tmp_path: Path) -> Iterator[World]:
    with make_world(ca, tmp_path) as made:
        yield made


class Judge:
    """A judge of pass phrases that knows some, and counts how often it is asked."""

    def __init__(self, *right: str, method: Method = Method.PAM, fails: Callable[[], object] | None = None) -> None:
        self.method = method
        self.right = right
        self.fails = fails
        self.asked: list[str] = []

    def check(self, username: str, passphrase: Passphrase) -> None:
        self.asked.append(passphrase.reveal().decode())
        if self.fails is not None:
            self.fails()
        if passphrase.reveal().decode() not in self.right:
            raise AuthenticationError("invalid password")


class Rounds:
    """A method of rounds: the right word in the second of two."""

    number = AuthorizationMethod.SASL

    def __init__(self) -> None:
        self.begun = 0

    def begin(self, username: str, address: str) -> Rounds.Exchange:
        self.begun += 1
        return Rounds.Exchange()

    class Exchange:
        is_guessable = False

        def offer(self) -> AuthorizationOffer:
            return AuthorizationOffer("SASL", "again" if self.is_guessable else "words")

        def answer(self, reply: AuthorizationReply) -> Proof | None:
            if not self.is_guessable:
                self.is_guessable = True
                return None
            if reply.text.reveal() != b"right":
                raise AuthenticationError("SASL authentication failed")
            return Proof(Method.SASL, None)


def codes_of(world: World) -> OneTimeCodes:
    codes = OneTimeCodes(Memory(), CodeKeys([bytes(32)]), clock=lambda: world.now)
    codes.enrol("alice", issuer="x", secret=OTP_SECRET)
    return codes


def code(world: World) -> str:
    """The next code of alice's that was not used; time goes on for it."""
    world.now += timedelta(seconds=30)
    return code_at(int(world.now.timestamp()) // 30, OTP_SECRET).decode()


def begin(world: World, issued: Issued | None, request: Request) -> RetrievalStep:
    """Ask, without a thought for pauses: nobody is made to wait in most tests."""
    step = world.service.begin_get(world.caller(issued), request)
    assert not isinstance(step, Pause)
    return step


def sasl(world: World, step: RetrievalStep, word: str) -> RetrievalStep:
    for text in ("", word):
        assert isinstance(step, AuthorizationRound)
        step = world.service.proceed(step, AuthorizationReply(AuthorizationMethod.SASL, text=Passphrase(text)))
    return step


def sign(world: World, step: RetrievalStep, issued: Issued) -> RetrievalStep:
    from tests.unit.myproxy.test_retrieval import sign as signed

    assert isinstance(step, AuthorizationRound)
    return world.service.proceed(step, signed(step, world.credential(issued)))


# The table --------------------------------------------------------------------------------------------------------

USES = (Use.DISABLED, Use.SUFFICIENT, Use.REQUIRED)
PORTAL, AGENT, OWNER, OTHER = ("Portal", "Agent", "Alice", "Other")
POLICY = AccessPolicy(
    accepted_credentials=EVERYONE,
    authorized_retrievers=EVERYONE,
    authorized_renewers=parse_rules(["*/CN=Agent"]),
    trusted_retrievers=parse_rules(["*/CN=Portal"]),
)
SEALED_WORDS = {"sealed-both": SECRET, "sealed-alone": "seal words", "unsealed": ""}


def expected(stored: str, word: str, has_code: bool, sasl_word: str, who: str, pam: Use, rounds: Use, otp: Use) -> bool:
    """docs/wire/myproxy-authentication.md, "What is asked for": line by line."""
    sealed = stored != "unsealed"
    pam_agrees = word in (SECRET, PAM_WORDS)
    # 1: what is required
    if sealed and word != SEALED_WORDS[stored]:
        return False
    if pam is Use.REQUIRED and not pam_agrees:
        return False
    if otp is Use.REQUIRED and (not has_code or (word != "" and not sealed and pam is not Use.REQUIRED)):
        return False
    if rounds is Use.REQUIRED:
        return sasl_word == "right"
    if sealed or pam is Use.REQUIRED or otp is Use.REQUIRED:
        return True
    # 2: trust
    if who == PORTAL:
        return True
    # 3: what suffices, with a pass phrase
    if word and (pam is Use.SUFFICIENT or otp is Use.SUFFICIENT):
        return (pam is Use.SUFFICIENT and pam_agrees) or (otp is Use.SUFFICIENT and word == "code")
    # 4: what suffices, in rounds
    if who == AGENT:
        return True
    return rounds is Use.SUFFICIENT and sasl_word == "right"


@pytest.fixture(scope="module")
def people(ca: TestCA) -> dict[str, Issued]:
    return {name: ca.issue(f"/O=Grid/CN={name}", "p256") for name in (PORTAL, AGENT, OWNER, OTHER)}


@pytest.mark.parametrize("otp", USES)
@pytest.mark.parametrize("rounds", USES)
@pytest.mark.parametrize("pam", USES)
def test_who_gets_in(world: World, people: dict[str, Issued], pam: Use, rounds: Use, otp: Use) -> None:
    renewal = CertificateMethod(AuthorizationMethod.CERTIFICATE_SHA256, world.verify, lambda: world.now)
    methods = Methods(
        passwords=((Judge(SECRET, PAM_WORDS), pam),),
        rounds=((Rounds(), rounds),),
        renewals=(renewal,),
        codes=codes_of(world),
        codes_use=otp,
    )
    world.configure(Settings(access=POLICY), methods)
    for name, words in SEALED_WORDS.items():
        world.put(people[OWNER], ask(Command.PUT, credential_name=name, passphrase=Passphrase(words), renewer="*"))
    for stored, word, has_code, sasl_word, who in itertools.product(
        SEALED_WORDS,
        ("", SECRET, "seal words", PAM_WORDS, "wrong words", "code"),
        (False, True),
        ("right", "wrong"),
        (None, PORTAL, AGENT, OTHER),
    ):
        if (has_code and otp is not Use.REQUIRED) or (word == "code" and otp is not Use.SUFFICIENT):
            continue
        if sasl_word == "wrong" and rounds is Use.DISABLED:
            continue
        text = (code(world) if word == "code" else word) + (code(world) if has_code else "")
        request = ask(Command.GET, credential_name=stored, passphrase=Passphrase(text))
        try:
            step = begin(world, people[who] if who else None, request)
            if isinstance(step, AuthorizationRound):
                offered = [offer.method for offer in step.offers]
                if who == AGENT and "X509_certificate_SHA256" in offered:
                    step = sign(world, step, people[OWNER])
                else:
                    step = sasl(world, step, sasl_word)
            came = isinstance(step, RetrievalGrant)
        except (AuthenticationError, DeniedError):
            came = False
        wanted = expected(stored, word, has_code, sasl_word, who or "", pam, rounds, otp)
        assert came == wanted, (stored, word, has_code, sasl_word, who)


# What a required judge may do ----------------------------------------------------------------------------------------


def raise_(error: BaseException) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


FAILURES = [
    TransportError("unreachable"),
    StorageError("gone"),
    GridError("something"),
    ValueError("a defect"),
    RecursionError(),
    OSError("no"),
    KeyError("x"),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("use", [Use.REQUIRED, Use.SUFFICIENT])
def test_whatever_a_judge_raises_is_a_no(world: World, people: dict[str, Issued], error: Exception, use: Use) -> None:
    world.put(people[OWNER], ask(Command.PUT, passphrase=Passphrase(b"")))
    judge = Judge(SECRET, fails=raise_(error))
    world.configure(Settings(access=POLICY), Methods(passwords=((judge, use),)))
    with pytest.raises(AuthenticationError, match=rf"^{INVALID}$"):
        begin(world, None, ask(Command.GET))
    with pytest.raises(AuthenticationError, match=r"^PAM authentication failed$"):
        begin(world, people[OTHER], ask(Command.GET))
    assert len(judge.asked) == 2
    if isinstance(error, GridError):
        assert error.message in world.sink.records[-1].reason


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_whatever_a_round_raises_is_a_no(world: World, people: dict[str, Issued], error: Exception) -> None:
    class Broken(Rounds.Exchange):
        def answer(self, reply: AuthorizationReply) -> Proof | None:
            raise error

    class BrokenMethod(Rounds):
        def begin(self, username: str, address: str) -> Rounds.Exchange:
            return Broken()

    world.put(people[OWNER], ask(Command.PUT, passphrase=Passphrase(b"")))
    world.configure(Settings(access=POLICY), Methods(rounds=((BrokenMethod(), Use.SUFFICIENT),)))
    step = begin(world, people[OTHER], ask(Command.GET, passphrase=Passphrase(b"")))
    assert isinstance(step, AuthorizationRound)
    with pytest.raises(AuthenticationError, match="SASL authentication failed"):
        world.service.proceed(step, AuthorizationReply(AuthorizationMethod.SASL))


def test_all_that_are_required_have_to_agree(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT))
    for disagreeing in range(3):
        judges = [Judge(SECRET if number != disagreeing else "other") for number in range(3)]
        world.configure(Settings(access=POLICY), Methods(passwords=tuple((judge, Use.REQUIRED) for judge in judges)))
        with pytest.raises(AuthenticationError):
            begin(world, people[OTHER], ask(Command.GET))
        assert all(judge.asked == [SECRET] for judge in judges)
    judges = [Judge(SECRET, method=method) for method in (Method.LDAP, Method.PAM)]
    world.configure(Settings(access=POLICY), Methods(passwords=tuple((judge, Use.REQUIRED) for judge in judges)))
    assert isinstance(begin(world, None, ask(Command.GET)), RetrievalGrant)
    assert world.sink.records[-1].details["method"] == "pass phrase + LDAP + PAM"


def test_one_that_suffices_is_enough(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT, passphrase=Passphrase(b"")))
    first, second, third = Judge("other"), Judge(SECRET, method=Method.LDAP), Judge(SECRET)
    judges = tuple((judge, Use.SUFFICIENT) for judge in (first, second, third))
    world.configure(Settings(access=POLICY), Methods(passwords=judges))
    assert isinstance(begin(world, None, ask(Command.GET)), RetrievalGrant)
    assert world.sink.records[-1].details["method"] == "LDAP"
    assert (first.asked, second.asked, third.asked) == ([SECRET], [SECRET], [])


def test_slots_are_left_for_other_networks() -> None:
    slots = Slots(8)
    with contextlib.ExitStack() as held:
        for network, share in (("a", 4), ("b", 2), ("c", 1), ("d", 1), ("e", 0)):
            for _ in range(share):
                held.enter_context(slots.take(network))
            with pytest.raises(BusyError, match="too many logons"):
                held.enter_context(slots.take(network))
    assert slots._held == {}
    with slots.take("a"):
        pass


def outcomes(world: World, *refusals: AuthenticationError | None, use: Use) -> list[Outcome]:
    """What the limiter hears of a try that these judges refuse; None says no."""
    heard: list[Outcome] = []

    class Hearing(Unlimited):
        def report(self, username: str, address: str, outcome: Outcome) -> None:
            heard.append(outcome)

    judges = [Judge("other", fails=None if refusal is None else raise_(refusal)) for refusal in refusals]
    world.configure(
        Settings(access=POLICY), Methods(passwords=tuple((judge, use) for judge in judges), limiter=Hearing())
    )
    with pytest.raises(AuthenticationError, match=rf"^{INVALID}$"):
        begin(world, None, ask(Command.GET))
    return heard


AWAY, SILENT = UnjudgedError("away", asked=False), UnjudgedError("silent", asked=True)


@pytest.mark.parametrize("use", [Use.REQUIRED, Use.SUFFICIENT])
def test_an_outage_is_nobodys_wrong_pass_phrase(world: World, people: dict[str, Issued], use: Use) -> None:
    world.put(people[OWNER], ask(Command.PUT, passphrase=Passphrase(b"")))
    assert outcomes(world, AWAY, use=use) == [Outcome.UNJUDGED]
    assert outcomes(world, AWAY, SILENT, use=use) == [Outcome.UNANSWERED]
    assert outcomes(world, BusyError(), use=use) == [Outcome.UNJUDGED]
    assert outcomes(world, AuthenticationError("no"), use=use) == [Outcome.WRONG]
    # The no of one is a no, whoever else is away: else the others' outage would be a time to guess.
    assert outcomes(world, AWAY, None, use=use) == [Outcome.WRONG]


def test_a_wrong_pass_phrase_of_a_key_counts_whoever_is_away(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT, passphrase=Passphrase("its own words")))
    assert outcomes(world, AWAY, use=Use.REQUIRED) == [Outcome.WRONG]
    world.put(people[OWNER], ask(Command.PUT))
    assert outcomes(world, AWAY, use=Use.REQUIRED) == [Outcome.UNJUDGED]


def test_who_finds_no_slot_is_refused_unjudged(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT, passphrase=Passphrase(b"")))
    judge = Judge(SECRET)
    world.configure(Settings(access=POLICY), Methods(passwords=((judge, Use.SUFFICIENT),), slots=Slots(0)))
    with pytest.raises(DelayedRefusalError, match=rf"^{INVALID}$"):
        begin(world, None, ask(Command.GET))
    with pytest.raises(AuthenticationError, match="too many logons are being judged"):
        begin(world, people[OTHER], ask(Command.GET))
    assert judge.asked == []


# One-time codes -----------------------------------------------------------------------------------------------------


def test_a_code_is_used_up_only_when_everything_is_right(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT))
    world.configure(Settings(access=POLICY), Methods(codes=codes_of(world), codes_use=Use.REQUIRED))
    shown = code(world)
    with pytest.raises(AuthenticationError):
        begin(world, None, ask(Command.GET, passphrase=Passphrase("wrong words" + shown)))
    assert isinstance(begin(world, None, ask(Command.GET, passphrase=Passphrase(SECRET + shown))), RetrievalGrant)
    assert world.sink.records[-1].details["method"] == "pass phrase + one-time password"
    for spelling in (shown, " ".join(shown), shown + " "):
        with pytest.raises(AuthenticationError, match=rf"^{INVALID}$"):
            begin(world, None, ask(Command.GET, passphrase=Passphrase(SECRET + spelling)))
    assert "used before" in world.sink.records[-1].reason


def test_a_code_serves_for_all_credentials_that_a_request_may_mean(world: World, people: dict[str, Issued]) -> None:
    for name, words in ((None, "other words"), ("second", SECRET)):
        world.put(people[OWNER], ask(Command.PUT, credential_name=name, passphrase=Passphrase(words)))
    settings = Settings(access=POLICY, check_multiple_credentials=True)
    judge = Judge(SECRET)
    world.configure(
        settings, Methods(codes=codes_of(world), codes_use=Use.REQUIRED, passwords=((judge, Use.REQUIRED),))
    )
    step = begin(world, None, ask(Command.GET, passphrase=Passphrase(SECRET + code(world))))
    assert isinstance(step, RetrievalGrant)
    assert step.stored.name == "second"
    assert judge.asked == [SECRET]


def test_the_code_is_no_part_of_what_a_key_is_locked_with(world: World, people: dict[str, Issued]) -> None:
    from gsi.credential import parse_credential

    world.put(people[OWNER], ask(Command.PUT))
    access = dataclasses.replace(POLICY, authorized_key_retrievers=EVERYONE)
    world.configure(Settings(access=access), Methods(codes=codes_of(world), codes_use=Use.REQUIRED))
    request = ask(Command.RETRIEVE, passphrase=Passphrase(SECRET + code(world)))
    grant = world.service.begin_retrieve(world.caller(None), request)
    assert isinstance(grant, RetrievalGrant)
    parse_credential(world.service.finish_retrieve(grant), passphrase=Passphrase(SECRET), source="x")
    world.get(None, ask(Command.GET, passphrase=Passphrase(SECRET + code(world))))
    world.configure(Settings(access=access))
    world.get(None, ask(Command.GET))


def test_a_pass_phrase_that_nobody_asked_for_is_not_passed_over(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT, passphrase=Passphrase(b"")))
    world.configure(Settings(access=POLICY), Methods(codes=codes_of(world), codes_use=Use.REQUIRED))
    with pytest.raises(AuthenticationError, match="belongs to nothing"):
        begin(world, people[OTHER], ask(Command.GET, passphrase=Passphrase("typed" + code(world))))
    assert isinstance(begin(world, None, ask(Command.GET, passphrase=Passphrase(code(world)))), RetrievalGrant)


def test_codes_of_those_who_have_enrolled(world: World, people: dict[str, Issued]) -> None:
    for username in ("alice", "bob"):
        world.put(people[OWNER], ask(Command.PUT, username=username))
    world.put(people[OWNER], ask(Command.PUT, username="alice", credential_name="open", passphrase=Passphrase(b"")))
    methods = Methods(
        codes=codes_of(world), codes_use=Use.ENROLLED, passwords=((Judge("seal 123456"), Use.SUFFICIENT),)
    )
    world.configure(Settings(access=POLICY), methods)
    # Who has none logs on as without codes; digits at the end are then part of the pass phrase.
    assert isinstance(begin(world, None, ask(Command.GET, username="bob")), RetrievalGrant)
    # Who has one needs it on every way, whoever asks, and each code is good once.
    for client in (None, people[PORTAL]):
        for name, words in ((None, SECRET), ("open", ""), (None, "")):
            with pytest.raises(AuthenticationError):
                begin(world, client, ask(Command.GET, credential_name=name, passphrase=Passphrase(words)))
    shown = code(world)
    request = ask(Command.GET, credential_name="open", passphrase=Passphrase(shown))
    assert isinstance(begin(world, people[PORTAL], request), RetrievalGrant)
    with pytest.raises(AuthenticationError):
        begin(world, None, ask(Command.GET, passphrase=Passphrase(SECRET + shown)))


@pytest.mark.parametrize("use", [Use.ENROLLED, Use.REQUIRED])
def test_renewing_needs_no_code_where_users_alone_need_one(world: World, people: dict[str, Issued], use: Use) -> None:
    """By the certificate of a renewer that is named and the key of what is renewed; nothing else is let through so."""
    world.put(people[OWNER], ask(Command.PUT, passphrase=Passphrase(b""), renewer="*"))
    world.put(people[OWNER], ask(Command.PUT, credential_name="sealed", renewer="*"))
    renewal = CertificateMethod(AuthorizationMethod.CERTIFICATE_SHA256, world.verify, lambda: world.now)
    plain = Methods(codes=codes_of(world), codes_use=use, renewals=(renewal,))
    empty = ask(Command.GET, passphrase=Passphrase(b""))
    world.configure(Settings(access=POLICY), plain)
    if use is Use.REQUIRED:
        with pytest.raises(AuthenticationError):
            begin(world, people[AGENT], empty)
        return
    offered = begin(world, people[AGENT], empty)
    assert isinstance(offered, AuthorizationRound)
    assert {one.method for one in offered.offers} == {"X509_certificate_SHA256"}
    assert isinstance(sign(world, offered, people[OWNER]), RetrievalGrant)
    with pytest.raises(AuthenticationError):
        sign(world, begin(world, people[AGENT], empty), people[OTHER])
    wide = dataclasses.replace(POLICY, authorized_renewers=EVERYONE, authorized_key_retrievers=EVERYONE)
    tries = (
        (POLICY, plain, people[AGENT], dataclasses.replace(empty, credential_name="sealed")),
        (POLICY, plain, people[AGENT], ask(Command.GET)),
        (POLICY, plain, people[PORTAL], empty),
        (wide, plain, None, empty),
        (wide, plain, people[AGENT], dataclasses.replace(empty, command=Command.RETRIEVE)),
        # What the site requires of everybody, it requires here, with the code.
        (POLICY, dataclasses.replace(plain, passwords=((Judge(SECRET), Use.REQUIRED),)), people[AGENT], empty),
        (POLICY, dataclasses.replace(plain, rounds=((Rounds(), Use.REQUIRED),)), people[AGENT], empty),
    )
    for access, methods, client, request in tries:
        world.configure(Settings(access=access), methods)
        with pytest.raises(AuthenticationError):
            begin(world, client, request)


@pytest.mark.parametrize("spelling", ["Alice", "ALICE ", "a\u200blice", "\uff41lice"])
def test_another_spelling_of_the_name_is_no_way_round_the_code(world: World, spelling: str) -> None:
    codes = codes_of(world)
    assert codes.is_enrolled(spelling)
    assert not codes.is_enrolled("alices")
    judge = Judge(SECRET)  # a directory that takes them all for one account
    world.configure(
        Settings(access=POLICY), Methods(codes=codes, codes_use=Use.ENROLLED, passwords=((judge, Use.REQUIRED),))
    )
    attempt = world.service._methods.attempt(world.caller(None), ask(Command.GET, username=spelling))
    assert attempt.needs_code
    with pytest.raises(AuthenticationError):
        attempt.check_code()


def test_a_store_that_cannot_be_read_asks_nobody_for_less(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT, username="bob"))
    codes = codes_of(world)

    def fail(_username: str) -> bool:
        raise StorageError("no such table")

    codes.is_enrolled = fail  # type: ignore[method-assign,assignment]  # a database that is away
    world.configure(Settings(access=POLICY), Methods(codes=codes, codes_use=Use.ENROLLED))
    with pytest.raises(StorageError):
        begin(world, None, ask(Command.GET, username="bob"))
    assert world.sink.records[-1].verdict is Verdict.FAIL


# What a stranger can tell -------------------------------------------------------------------------------------------


PRICE = 0.02
"""Seconds of a derivation, by a clock that only derivations move."""


def rejected(world: World, request: Request) -> tuple[str, float, int]:
    """What a stranger hears, how long that takes altogether, and how many derivations were done."""
    before = world.sealer.count
    with pytest.raises(DelayedRefusalError) as caught:
        begin(world, None, request)
    derivations = world.sealer.count - before
    return caught.value.message, round(caught.value.seconds + derivations * PRICE, 6), derivations


def limited(world: World, **more: object) -> Throttle:
    throttle = Throttle(SQLGuessStore(world.repository.database), ThrottleRules(), clock=lambda: world.now)
    world.configure(
        Settings(access=POLICY),
        Methods(limiter=throttle, pace=Pace(lambda: world.sealer.count * PRICE), **more),  # type: ignore[arg-type]  # by name
    )
    return throttle


def test_a_front_end_s_users_are_strangers_from_where_they_are(world: World, people: dict[str, Issued]) -> None:
    """Also where the front end is a trusted retriever: its own rights are not its users'."""
    world.put(people[OWNER], ask(Command.PUT))
    world.put(people[OWNER], ask(Command.PUT, credential_name="open", passphrase=Passphrase(b"")))
    throttle = Throttle(SQLGuessStore(world.repository.database), ThrottleRules(), clock=lambda: world.now)
    access = dataclasses.replace(POLICY, trusted_front_ends=parse_rules([f"/O=Grid/CN={PORTAL}"]))
    world.configure(Settings(access=access), Methods(limiter=throttle))

    def log_on(address: str, words: str = SECRET, name: str | None = None, client: str = PORTAL) -> RetrievalStep:
        given = Passphrase(words)
        return begin(
            world, people[client], ask(Command.GET, passphrase=given, credential_name=name, on_behalf_of=address)
        )

    for words in ("anything", "", SECRET):
        with pytest.raises(AuthenticationError, match=rf"^{INVALID}$"):
            log_on("192.0.2.1", words, "open")
    for _ in range(5):
        with pytest.raises(AuthenticationError, match=rf"^{INVALID}$"):
            log_on("203.0.113.9", "wrong words")
    record = world.sink.records[-1]
    assert (record.peer, record.address) == ("<anonymous>", "203.0.113.9")
    assert record.details["front_end"] == f"/O=Grid/CN={PORTAL}"
    # Its network has to wait, and is told so; others are not touched by it.
    with pytest.raises(DelayedRefusalError, match="try again in"):
        log_on("203.0.113.77")
    assert isinstance(log_on("192.0.2.1"), RetrievalGrant)
    for client in (OTHER, None):
        with pytest.raises(DeniedError, match="trusted_front_ends"):
            world.service.begin_get(
                world.caller(None if client is None else people[client]),
                ask(Command.GET, on_behalf_of="192.0.2.1"),
            )


def test_a_front_end_that_lies_gains_no_tries(world: World, people: dict[str, Issued]) -> None:
    """One that calls each guess another network's meets the rate of the account, and each guess has its name."""
    world.put(people[OWNER], ask(Command.PUT))
    rules = ThrottleRules()
    throttle = Throttle(SQLGuessStore(world.repository.database), rules, clock=lambda: world.now)
    access = dataclasses.replace(POLICY, trusted_front_ends=parse_rules([f"/O=Grid/CN={PORTAL}"]))
    world.configure(Settings(access=access), Methods(limiter=throttle))
    judged = 0
    for number in range(3 * rules.tries_per_minute):
        request = ask(Command.GET, passphrase=Passphrase("wrong words"), on_behalf_of=f"198.18.{number}.1")
        try:
            assert isinstance(world.service.begin_get(world.caller(people[PORTAL]), request), Pause)
        except AuthenticationError:
            judged += 1
    assert rules.tries_per_minute <= judged <= rules.tries_per_minute + 1
    assert {record.details.get("front_end") for record in world.sink.records[-judged:]} == {f"/O=Grid/CN={PORTAL}"}


@pytest.mark.parametrize("judges", ["none", "required", "sufficient"])
def test_strangers_hear_one_text_after_the_same_work(world: World, people: dict[str, Issued], judges: str) -> None:
    """An account with a sealed key, with one that is not sealed, that nobody may have, and none at all."""
    for name, words, retrievers in (("a", SECRET, None), ("b", "", None), ("c", SECRET, "/CN=nobody")):
        request = ask(Command.PUT, username=name, passphrase=Passphrase(words), retriever=retrievers)
        world.put(people[OWNER], request)
    judge = Judge("known to it alone")
    passwords = () if judges == "none" else ((judge, Use(judges)),)
    limited(world, passwords=passwords)
    told, asked = set(), {}
    for username in ("a", "b", "c", "d"):
        judge.asked.clear()
        told.add(rejected(world, ask(Command.GET, username=username, passphrase=Passphrase("wrong words"))))
        asked[username] = len(judge.asked)
    assert told == {(INVALID, PRICE, 1)}
    # A sealed key has no use for what merely suffices: its owner's pass phrase is none of that judge's business.
    expected_asked = {"none": 0, "required": 1, "sufficient": 1}[judges]
    assert asked == {"a": 0 if judges == "sufficient" else expected_asked, **dict.fromkeys("bcd", expected_asked)}


def test_a_throttled_try_costs_nothing_but_the_same_wait(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT))
    judge = Judge("other")
    limited(world, passwords=((judge, Use.REQUIRED),))
    for username in ("alice", "nobody"):
        request = ask(Command.GET, username=username, passphrase=Passphrase("wrong words"))
        judged = [rejected(world, request) for _ in range(5)]
        assert set(judged) == {(INVALID, PRICE, 1)}
        asked = len(judge.asked)
        # The right one is refused like any other, unjudged.
        for words in ("wrong words", SECRET):
            told = rejected(world, dataclasses.replace(request, passphrase=Passphrase(words)))
            assert (told, len(judge.asked)) == ((INVALID, PRICE, 0), asked)
        assert "too many wrong pass phrases" in world.sink.records[-1].reason


def test_the_wait_ends_and_a_right_try_ends_it_for_good(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT))
    limited(world)
    wrong = ask(Command.GET, passphrase=Passphrase("wrong words"))
    for _ in range(5):
        rejected(world, wrong)
    assert rejected(world, ask(Command.GET))[2] == 0
    world.now += timedelta(seconds=3)
    assert isinstance(begin(world, None, ask(Command.GET)), RetrievalGrant)
    for _ in range(4):
        rejected(world, wrong)
    assert isinstance(begin(world, None, ask(Command.GET)), RetrievalGrant)


def test_somebody_with_a_certificate_hears_how_long(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT))
    limited(world)
    for _ in range(5):
        with pytest.raises(AuthenticationError, match=rf"^{INVALID}$"):
            begin(world, people[OTHER], ask(Command.GET, passphrase=Passphrase("wrong words")))
    with pytest.raises(AuthenticationError, match=rf"^{INVALID}\ntoo many wrong pass phrases .* 2 seconds$"):
        begin(world, people[OTHER], ask(Command.GET))


def test_guesses_at_a_change_of_the_pass_phrase_count_too(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT))
    limited(world, codes=codes_of(world), codes_use=Use.REQUIRED)
    change = ask(Command.CHANGE_PASSPHRASE, new_passphrase=Passphrase("battery staple"))
    caller = world.caller(people[OWNER])
    for _ in range(5):
        with pytest.raises(AuthenticationError, match=rf"^{INVALID}$"):
            world.service.change_passphrase(caller, dataclasses.replace(change, passphrase=Passphrase("wrong words")))
    before = world.sealer.count
    with pytest.raises(AuthenticationError, match="too many wrong pass phrases"):
        world.service.change_passphrase(caller, change)
    assert world.sealer.count == before
    for number in range(60):  # strangers elsewhere do not stop the owner
        with pytest.raises(DelayedRefusalError):
            patient(
                world.service.begin_get,
                dataclasses.replace(world.caller(None), address=f"198.18.{number}.1"),
                ask(Command.GET, passphrase=Passphrase("wrong words")),
            )
    world.now += timedelta(seconds=3)
    world.service.change_passphrase(caller, change)


def test_nobody_is_limited_without_a_pass_phrase(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT, passphrase=Passphrase(b""), trusted_retriever="*/CN=Portal"))
    limited(world)
    for _ in range(8):
        rejected(world, ask(Command.GET, passphrase=Passphrase("wrong words")))
    assert isinstance(begin(world, people[PORTAL], ask(Command.GET, passphrase=Passphrase(b""))), RetrievalGrant)


def test_one_request_counts_once_however_many_credentials_it_may_mean(world: World, people: dict[str, Issued]) -> None:
    for number in range(4):
        world.put(
            people[OWNER], ask(Command.PUT, credential_name=f"n{number}", passphrase=Passphrase(f"words {number}"))
        )
    throttle = Throttle(SQLGuessStore(world.repository.database), ThrottleRules(), clock=lambda: world.now)
    settings = Settings(access=POLICY, check_multiple_credentials=True)
    world.configure(settings, Methods(limiter=throttle))
    for _ in range(10):
        assert isinstance(begin(world, None, ask(Command.GET, passphrase=Passphrase("words 3"))), RetrievalGrant)
    for _ in range(4):
        rejected(world, ask(Command.GET, passphrase=Passphrase("wrong words")))
    assert isinstance(begin(world, None, ask(Command.GET, passphrase=Passphrase("words 3"))), RetrievalGrant)


def test_wrong_words_in_rounds_count_too(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT, passphrase=Passphrase(b"")))
    limited(world, rounds=((Rounds(), Use.SUFFICIENT),))
    request = ask(Command.GET, passphrase=Passphrase(b""))
    for _ in range(5):
        with pytest.raises(DelayedRefusalError, match=rf"^{INVALID}$"):
            sasl(world, begin(world, None, request), "wrong")
    with pytest.raises(DelayedRefusalError) as caught:
        sasl(world, begin(world, None, request), "right")
    assert "too many" in str(caught.value.__cause__)
    world.now += timedelta(seconds=3)
    assert isinstance(sasl(world, begin(world, None, request), "right"), RetrievalGrant)


def test_rounds_do_not_tell_what_is_there(world: World, people: dict[str, Issued]) -> None:
    """Without a pass phrase a stranger is led through the same rounds for every account, and refused in the end."""
    for name, words, retrievers in (("a", SECRET, None), ("b", "", None), ("c", "", "/CN=nobody")):
        request = ask(Command.PUT, username=name, passphrase=Passphrase(words), retriever=retrievers)
        world.put(people[OWNER], request)
    for use in (Use.SUFFICIENT, Use.REQUIRED):
        limited(world, rounds=((Rounds(), use),))
        for username in ("a", "b", "c", "d"):
            before = world.sealer.count
            step = begin(world, None, ask(Command.GET, username=username, passphrase=Passphrase(b"")))
            assert isinstance(step, AuthorizationRound)
            assert [offer.method for offer in step.offers] == ["SASL"]
            with pytest.raises(DelayedRefusalError, match=rf"^{INVALID}$"):
                sasl(world, step, "wrong")
            step = begin(world, None, ask(Command.GET, username=username, passphrase=Passphrase(b"")))
            if username == "b":
                assert isinstance(sasl(world, step, "right"), RetrievalGrant)
            else:
                with pytest.raises(DelayedRefusalError, match=rf"^{INVALID}$"):
                    sasl(world, step, "right")
            assert world.sealer.count == before


def test_a_sealed_credential_does_not_hide_an_unsealed_one(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT))
    world.put(people[OWNER], ask(Command.PUT, credential_name="robot", passphrase=Passphrase(b"")))
    settings = Settings(access=POLICY, check_multiple_credentials=True)
    world.configure(settings, Methods(rounds=((Rounds(), Use.SUFFICIENT),)))
    step = sasl(world, begin(world, None, ask(Command.GET, passphrase=Passphrase(b""))), "right")
    assert isinstance(step, RetrievalGrant)
    assert step.stored.name == "robot"


def test_a_limiter_that_fails_lets_nobody_in(world: World, people: dict[str, Issued]) -> None:
    class Broken:
        def admit(self, username: str, address: str, *, waited: float) -> float:
            raise StorageError("gone")

        def report(self, username: str, address: str, outcome: Outcome) -> None:
            raise StorageError("gone")

    world.put(people[OWNER], ask(Command.PUT))
    world.configure(Settings(access=POLICY), Methods(limiter=Broken()))
    with pytest.raises(StorageError):
        begin(world, None, ask(Command.GET))


def patient(method: Callable[[Caller, Request], RetrievalStep], caller: Caller, request: Request) -> RetrievalStep:
    """Go through all pauses."""
    step = method(caller, request)
    while isinstance(step, Pause):
        step = step.resume()
    return step


def test_a_user_whom_strangers_attack_waits_and_gets_in(world: World, people: dict[str, Issued]) -> None:
    world.put(people[OWNER], ask(Command.PUT))
    limited(world)
    caller = world.caller(None)
    for number in range(60):
        elsewhere = dataclasses.replace(caller, address=f"198.18.{number}.1")
        with pytest.raises(DelayedRefusalError):
            patient(world.service.begin_get, elsewhere, ask(Command.GET, passphrase=Passphrase("wrong words")))
    records = len(world.sink.records)
    step = world.service.begin_get(caller, ask(Command.GET))
    assert isinstance(step, Pause)
    assert 0 < step.seconds <= ThrottleRules().slow_seconds
    assert len(world.sink.records) == records  # nothing is decided yet
    assert isinstance(patient(lambda *_: step.resume(), caller, ask(Command.GET)), RetrievalGrant)


# How long a no takes ------------------------------------------------------------------------------------------------


class Stopwatch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_pace_is_what_nine_in_ten_have_reached() -> None:
    watch = Stopwatch()
    pace = Pace(watch)
    assert pace.rest(pace.start()) == FIRST_SECONDS
    for number in range(100):
        started = pace.start()
        watch.now += 2.0 if number % 10 == 9 else 0.1
        pace.note(started)
    started = pace.start()
    assert pace.rest(started) in (pytest.approx(0.1), pytest.approx(2.0))
    watch.now += 0.04
    assert pace.rest(started) < 2.0
    watch.now += 5
    assert pace.rest(started) == 0


def test_the_pace_follows_and_has_a_limit() -> None:
    watch = Stopwatch()
    pace = Pace(watch)
    for seconds, wait in ((0.02, 0.02), (3.0, 3.0), (60.0, LONGEST_SECONDS), (0.02, 0.02)):
        for _ in range(64):
            started = pace.start()
            watch.now += seconds
            pace.note(started)
        assert pace.rest(pace.start()) == pytest.approx(wait)
