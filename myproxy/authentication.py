"""What one client has to prove for one request, and whether it has; not how a method works (`auth`), not what follows.

    attempt = methods.attempt(caller, request)
    authentication = Authentication(question, methods, sealer, attempt)
    with attempt.judging() as wait: ...             # how often it may try; see `myproxy.auth.attempt`
        step = authentication.begin()               # Authenticated, or offers to send
        step = authentication.answer(reply)         # the same, until it is Authenticated; refusals raise

The order is that of the C server (gct:myproxy/source/myproxy_server.c, authenticate_client):

1. The pass phrase is required when the stored key is sealed, and when a password method or a one-time code is. The same
   pass phrase has to satisfy all of them; a required code stands behind it. A required method of rounds comes after.
2. Otherwise a trusted retriever has proved enough.
3. Otherwise a pass phrase is judged by the sufficient password methods, if there are any; one yes is enough, and the
   refusal of all is final.
4. Otherwise the client is offered all sufficient methods of rounds at once; renewal only if it may renew.

Whoever has proved itself as the credential to be renewed needs the permission to renew and must be somebody else;
everybody else needs the permission to retrieve. docs/wire/myproxy-authentication.md has this as a table.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from gsi.errors import AuthenticationError, DeniedError
from gsi.names import same_oneline
from gsi.secret import Passphrase
from myproxy.auth.attempt import Attempt
from myproxy.auth.base import Limiter, Method, PasswordMethod, Proof, RoundExchange, RoundMethod, Unlimited, Use
from myproxy.auth.bounded import Slots
from myproxy.auth.pace import Pace
from myproxy.auth.passphrase import open_key
from myproxy.protocol.messages import METHOD_NAMES, AuthorizationMethod, Command
from myproxy.repository.seal import INVALID_PASSPHRASE, Sealer, is_sealed

if TYPE_CHECKING:
    from gsi.trust.peer import VerifiedPeer
    from myproxy.auth.totp import OneTimeCodes
    from myproxy.grants import Caller
    from myproxy.policy import AccessPolicy, Permission
    from myproxy.protocol.messages import AuthorizationOffer, AuthorizationReply, Request
    from myproxy.repository.base import StoredCredential

__all__ = [
    "OUTSIDE_SLOTS",
    "Authenticated",
    "Authentication",
    "HiddenError",
    "Methods",
    "Offers",
    "Question",
    "refuse_absent",
]

NO_PROOF: Final = "no passphrase\nauthentication failed"
"""What the C server says to a client that gives no pass phrase and can prove itself in no other way."""
NOTHING_BEFORE_THE_CODE: Final = "the pass phrase in front of the one-time code belongs to nothing"
OUTSIDE_SLOTS: Final = 96
"""Judges outside of the process that one worker asks at once; the rest of its threads (`myproxy.server.THREADS`) are
for what does not wait for others."""
_NOTHING: Final = Passphrase(b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods:
    """The methods that the administrator has chosen, beside the stored key's own pass phrase.

    Attributes:
        passwords: Judges of the request's pass phrase, asked in this order.
        rounds: Methods with rounds of their own.
        renewals: Methods that prove the key of the credential to be renewed.
        codes: Judges one-time codes, or None where there are none.
        codes_use: Whether a code is required behind the pass phrase, of everybody or of those with an authenticator,
            or suffices in its place.
        limiter: Slows guessing down.
        pace: How long refusals take.
        slots: How many judges outside of the process are asked at once.
    """

    passwords: tuple[tuple[PasswordMethod, Use], ...] = ()
    rounds: tuple[tuple[RoundMethod, Use], ...] = ()
    renewals: tuple[RoundMethod, ...] = ()
    codes: OneTimeCodes | None = None
    codes_use: Use = Use.DISABLED
    limiter: Limiter = field(default_factory=Unlimited)
    pace: Pace = field(default_factory=Pace)
    slots: Slots = field(default_factory=lambda: Slots(OUTSIDE_SLOTS))

    def attempt(self, caller: Caller, request: Request) -> Attempt:
        """Return a client's try at a request; it serves for all credentials that the request may mean.

        A one-time code is part of what retrieves; an owner who changes a pass phrase gives the former one alone.

        Raises:
            StorageError: It cannot be found out whether the user has an authenticator.
        """
        return Attempt(
            self,
            request.username,
            caller.address,
            request.passphrase,
            anonymous=caller.client.is_anonymous,
            takes_code=request.command in {Command.GET, Command.RETRIEVE},
            tells_waits=bool(caller.front_end),
        )

    @property
    def asks_everyone(self) -> bool:
        """Whether somebody has to be asked about clients that bring nothing, or has to talk with them."""
        return bool(self.judges(Use.REQUIRED) or self.rounds) or self.codes_use in {Use.REQUIRED, Use.ENROLLED}

    def judges(self, use: Use) -> list[PasswordMethod]:
        """Return the judges of whole pass phrases that take part in this way."""
        first: list[PasswordMethod] = []
        if use is Use.SUFFICIENT and self.codes_use is Use.SUFFICIENT and self.codes is not None:
            first.append(self.codes)
        return first + [method for method, its_use in self.passwords if its_use is use]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked for, and what policy has said about it before any proof.

    Attributes:
        caller: Who asks.
        request: For what.
        stored: The credential, or None where one is to be issued.
        subject: The identity that the credential has, or will have, one-line form.
        independent: Whether that identity is an independent proxy's own.
        access: The access policy, for the rule on self-authorization.
        retrieval: The permission to retrieve, or why not.
        renewal: The permission to renew, or None.
        trusted: The permission to retrieve without proof, or None.
        absent: Whether nothing is there, nor can be issued: a stranger is then led through what one would have to do
            for a credential without a pass phrase, and refused in the end.
    """

    caller: Caller
    request: Request
    stored: StoredCredential | None
    subject: str
    independent: bool = False
    access: AccessPolicy
    retrieval: Permission | DeniedError
    renewal: Permission | None
    trusted: Permission | None
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The client has proved enough, and may.

    Attributes:
        proof: What it has proved; carries the stored key in clear, where there is one.
        permission: The rules that go with this kind of proof.
    """

    proof: Proof
    permission: Permission


@dataclass(frozen=True, slots=True)
class Offers:
    """What the client may prove itself with in the next round.

    Attributes:
        offers: In numeric order of their methods.
    """

    offers: tuple[AuthorizationOffer, ...]


Step: TypeAlias = Authenticated | Offers


class HiddenError(AuthenticationError):
    """A credential that this stranger cannot have, whatever it proves: to be treated as if it were not there."""


def refuse_absent(attempt: Attempt, methods: Methods, sealer: Sealer) -> AuthenticationError:
    """Return the refusal for a credential that is not there, after the work of refusing one that is.

    The judges are asked, too: whoever could see that they are not would know which accounts exist.
    """
    with contextlib.suppress(AuthenticationError):
        for method in methods.judges(Use.REQUIRED):
            with contextlib.suppress(AuthenticationError):
                attempt.ask(method)
        if attempt.needs_code:
            attempt.check_code()
        elif attempt.passphrase and not methods.judges(Use.REQUIRED):
            for method in methods.judges(Use.SUFFICIENT):
                with contextlib.suppress(AuthenticationError):
                    attempt.ask(method)
                    break
    sealer.pretend(attempt.passphrase)
    return AuthenticationError(INVALID_PASSPHRASE)


class Authentication:
    """One client's proofs for one credential. Not safe for use by two threads at once."""

    def __init__(self, question: Question, methods: Methods, sealer: Sealer, attempt: Attempt) -> None:
        """Put together who asks, who judges and what is judged.

        Args:
            question: What is asked for.
            methods: The judges.
            sealer: Opens stored keys.
            attempt: The request's try; shared by all credentials that the request may mean.
        """
        self._question = question
        self._methods = methods
        self._sealer = sealer
        self._attempt = attempt
        self._proof: Proof | None = None  # what is proved so far
        self._exchanges: dict[str, RoundExchange] = {}
        self._is_decoy = False  # nothing that is proved counts

    @property
    def attempt(self) -> Attempt:
        """The request's try."""
        return self._attempt

    def begin(self) -> Step:
        """Judge what came with the request.

        Raises:
            AuthenticationError: It is not enough, and there is no other way.
            HiddenError: The same, before anybody was asked.
            DeniedError: It is, but policy forbids.
            StorageError: The stored key is damaged.
        """
        question, methods = self._question, self._methods
        sealed = question.stored is not None and is_sealed(question.stored.sealed_key)
        required = methods.judges(Use.REQUIRED)
        rounds = [method for method, use in methods.rounds if use is Use.REQUIRED]
        if question.absent:
            return self._begin_absent(rounds)
        if sealed and self._is_empty_handed():
            raise HiddenError(INVALID_PASSPHRASE)
        if not (sealed or required or rounds) and self._renews_without_code():
            return self._offer(list(methods.renewals))
        if sealed or required or self._attempt.needs_code:
            self._proof = self._judge_all(required, sealed=sealed)
        if rounds:
            return self._offer(rounds)
        if self._proof is not None:
            return self._finish(self._proof)
        if question.trusted is not None:
            return self._finish(Proof(Method.TRUSTED, None))
        sufficient = methods.judges(Use.SUFFICIENT)
        if sufficient and self._attempt.passphrase:
            return self._finish(self._judge_any(sufficient))
        rounds = self._sufficient_rounds()
        if not rounds:
            raise self._no_proof()
        return self._offer(rounds)

    def is_guess(self, reply: AuthorizationReply) -> bool:
        """Say whether an answer may be a guess, so that tries are to be limited."""
        return self._exchanges[METHOD_NAMES[reply.method]].is_guessable

    def answer(self, reply: AuthorizationReply) -> Step:
        """Judge the client's answer to an offer.

        Raises:
            AuthenticationError: It proves nothing.
            DeniedError: It does, but policy forbids.
            StorageError: The stored key is damaged.
        """
        name = METHOD_NAMES[reply.method]
        exchange = self._exchanges[name]  # the session has seen to it that it was offered
        method = Method.SASL if reply.method is AuthorizationMethod.SASL else Method.CERTIFICATE
        proof = self._attempt.judge(method, lambda: exchange.answer(reply))
        if proof is None:
            self._exchanges = {name: exchange}
            return Offers((exchange.offer(),))
        if self._is_decoy:
            raise AuthenticationError(INVALID_PASSPHRASE) if proof.renewer is None else _stranger(proof.renewer)
        if self._proof is not None:
            proof = Proof(self._proof.method, self._proof.key, (*self._proof.also, proof.method, *proof.also))
        return self._finish(proof)

    def _sufficient_rounds(self) -> list[RoundMethod]:
        rounds = [method for method, use in self._methods.rounds if use is Use.SUFFICIENT]
        return rounds + list(self._methods.renewals) if self._question.renewal is not None else rounds

    def _is_empty_handed(self) -> bool:
        """Say whether this is a stranger without a pass phrase, and nobody has to be asked about the empty one."""
        if not self._question.caller.client.is_anonymous or self._attempt.passphrase:
            return False
        return not self._methods.judges(Use.REQUIRED) and not self._attempt.needs_code

    def _renews_without_code(self) -> bool:
        """Say whether a client that brings nothing is to renew where others need a code.

        Codes are the users' of whom `enrolled` asks them, and nobody is there when jobs have their proxies renewed. Who
        renews shows a certificate that the credential's owner or the site has named, and what is renewed.
        """
        attempt, question = self._attempt, self._question
        if not attempt.needs_code or self._methods.codes_use is not Use.ENROLLED or attempt.is_given:
            return False
        if question.caller.client.is_anonymous or question.request.command is not Command.GET:
            return False
        return question.renewal is not None and bool(self._methods.renewals)

    def _begin_absent(self, required: list[RoundMethod]) -> Offers:
        """Offer a stranger what would be offered for a key that is not sealed, so that the offer does not tell.

        Raises:
            AuthenticationError: Nothing would be.
        """
        rounds = required or self._sufficient_rounds() if self._is_empty_handed() else []
        if not rounds:
            raise refuse_absent(self._attempt, self._methods, self._sealer)
        self._is_decoy = True
        return self._offer(rounds)

    def _judge_all(self, methods: list[PasswordMethod], *, sealed: bool) -> Proof:
        """Ask everyone that has to agree, whoever disagrees first, so that the duration does not tell who it was."""
        question, attempt = self._question, self._attempt
        failure: AuthenticationError | None = None
        agreed: list[Method] = []
        key: bytes | None = None
        if sealed:
            assert question.stored is not None
            try:
                key = open_key(question.stored, attempt.passphrase, self._sealer)
            except AuthenticationError as error:
                attempt.deny()
                failure = error
            agreed.append(Method.PASSPHRASE)
        for method in methods:
            try:
                attempt.ask(method)
            except AuthenticationError as error:
                failure = failure or error
            agreed.append(method.method)
        if attempt.needs_code:
            if not agreed and attempt.passphrase:
                failure = AuthenticationError(NOTHING_BEFORE_THE_CODE)
            try:
                attempt.check_code()
                if failure is None:
                    attempt.use_code()
            except AuthenticationError as error:
                failure = failure or error
            agreed.append(Method.ONE_TIME_PASSWORD)
        if failure is not None:
            raise self._refused(failure, sealed=sealed)
        return Proof(agreed[0], key, tuple(agreed[1:]))

    def _judge_any(self, methods: list[PasswordMethod]) -> Proof:
        """Ask one after the other until one agrees."""
        failures: list[AuthenticationError] = []
        for method in methods:
            try:
                self._attempt.ask(method)
            except AuthenticationError as error:
                failures.append(error)
            else:
                return Proof(method.method, None)
        failure = failures[0]
        if len(failures) > 1:
            failure = AuthenticationError("\n".join(error.message for error in failures))
            failure.__cause__ = failures[0].__cause__
        raise self._refused(failure, sealed=False)

    def _refused(self, failure: AuthenticationError, *, sealed: bool) -> AuthenticationError:
        """Return a refusal after the work of opening a key, whether or not there was one to open."""
        if not sealed:
            self._sealer.pretend(self._attempt.passphrase)
        return failure

    def _no_proof(self) -> AuthenticationError:
        """Refuse whoever has nothing to show; a stranger learns no more than from a wrong pass phrase."""
        passphrase = self._attempt.passphrase
        if self._question.caller.client.is_anonymous or passphrase:
            self._sealer.pretend(passphrase)
            return AuthenticationError(INVALID_PASSPHRASE)
        return AuthenticationError(NO_PROOF)

    def _offer(self, methods: list[RoundMethod]) -> Offers:
        ordered = sorted(methods, key=lambda method: method.number)
        username, address = self._question.request.username, self._question.caller.address
        self._exchanges = {METHOD_NAMES[method.number]: method.begin(username, address) for method in ordered}
        return Offers(tuple(exchange.offer() for exchange in self._exchanges.values()))

    def _finish(self, proof: Proof) -> Authenticated:
        """Add what the kind of proof demands of policy, and open a key that is not sealed."""
        question = self._question
        if proof.method is not Method.TRUSTED:
            self._attempt.accept()
        if proof.method is Method.CERTIFICATE:
            permission = self._permit_renewal(proof)
        elif isinstance(question.retrieval, DeniedError):
            raise question.retrieval
        elif proof.method is Method.TRUSTED and question.trusted is not None:
            permission = question.trusted
        else:
            permission = question.retrieval
        if proof.key is None and question.stored is not None:
            key = open_key(question.stored, _NOTHING, self._sealer)
            proof = Proof(proof.method, key, proof.also, proof.renewer)
        return Authenticated(proof, permission)

    def _permit_renewal(self, proof: Proof) -> Permission:
        """Insist that the signer is who is renewed, and that the client is somebody else.

        Raises:
            AuthenticationError: The signer is somebody else.
            DeniedError: The client is the same.
        """
        question = self._question
        assert proof.renewer is not None
        assert question.renewal is not None
        # An independent proxy's name is whatever its maker liked, so it must not pass for an end entity's.
        same_kind = proof.renewer.independent == question.independent
        if not same_kind or not same_oneline(proof.renewer.identity, question.subject):
            raise _stranger(proof.renewer)
        question.access.check_not_self(question.caller.client, question.subject, "renewer")
        return question.renewal


def _stranger(renewer: VerifiedPeer) -> AuthenticationError:
    """Return the refusal of somebody who has signed the challenge, but is not who is to be renewed."""
    return AuthenticationError(
        f'authentication failed\nthe challenge was signed by "{renewer.identity}", '
        "which is not the identity of the credential"
    )
