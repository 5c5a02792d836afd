"""What one client has to prove for one request, and whether it has; not how a method works (`auth`), not what follows.

    authentication = Authentication(question, methods, sealer)
    step = authentication.begin()                   # Authenticated, or offers to send
    step = authentication.answer(reply)             # the same, until it is Authenticated; refusals raise

The order is that of the C server (gct:myproxy/source/myproxy_server.c, do_authz_handshake):

1. The pass phrase is required when the stored key is sealed, and when a password method is. The same pass phrase has to
   satisfy all of them. A required method of rounds comes after it.
2. Otherwise a trusted retriever has proved enough.
3. Otherwise a pass phrase is judged by the sufficient password methods, if there are any; its refusal is final.
4. Otherwise the client is offered all sufficient methods of rounds at once; renewal only if it may renew.

Whoever has proved itself as the credential to be renewed needs the permission to renew and must be somebody else;
everybody else needs the permission to retrieve.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from gsi.errors import AuthenticationError, DeniedError
from gsi.names import same_oneline
from gsi.secret import Passphrase
from myproxy.auth.base import Limiter, Method, PasswordMethod, Proof, RoundExchange, RoundMethod, Unlimited, Use
from myproxy.auth.passphrase import open_key
from myproxy.protocol.messages import METHOD_NAMES
from myproxy.repository.seal import INVALID_PASSPHRASE, Sealer, is_sealed

if TYPE_CHECKING:
    from myproxy.grants import Caller
    from myproxy.policy import AccessPolicy, Permission
    from myproxy.protocol.messages import AuthorizationOffer, AuthorizationReply, Request
    from myproxy.repository.base import StoredCredential

__all__ = ["Authenticated", "Authentication", "Methods", "Offers", "Question"]

NO_PROOF: Final = "no passphrase\nauthentication failed"
"""What the C server says to a client that gives no pass phrase and can prove itself in no other way."""
_NOTHING: Final = Passphrase(b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods:
    """The methods that the administrator has chosen, beside the stored key's own pass phrase.

    Attributes:
        passwords: Judges of the request's pass phrase, in this order.
        rounds: Methods with rounds of their own.
        renewals: Methods that prove the key of the credential to be renewed.
        limiter: Slows guessing down.
    """

    passwords: tuple[tuple[PasswordMethod, Use], ...] = ()
    rounds: tuple[tuple[RoundMethod, Use], ...] = ()
    renewals: tuple[RoundMethod, ...] = ()
    limiter: Limiter = field(default_factory=Unlimited)


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


class Authentication:
    """One client's proofs for one request. Not safe for use by two threads at once."""

    def __init__(self, question: Question, methods: Methods, sealer: Sealer) -> None:
        self._question = question
        self._methods = methods
        self._sealer = sealer
        self._proof: Proof | None = None  # what is proved so far
        self._exchanges: dict[str, RoundExchange] = {}

    def begin(self) -> Step:
        """Judge what came with the request.

        Raises:
            AuthenticationError: It is not enough, and there is no other way.
            DeniedError: It is, but policy forbids.
            StorageError: The stored key is damaged.
        """
        question, passphrase = self._question, self._question.request.passphrase
        sealed = question.stored is not None and is_sealed(question.stored.sealed_key)
        required = self._passwords(Use.REQUIRED)
        rounds = [method for method, use in self._methods.rounds if use is Use.REQUIRED]
        if sealed or required:
            self._proof = self._judge_passphrase(required, sealed=sealed)
        if rounds:
            return self._offer(rounds)
        if self._proof is not None:
            return self._finish(self._proof)
        if question.trusted is not None:
            return self._finish(Proof(Method.TRUSTED, None))
        sufficient = self._passwords(Use.SUFFICIENT)
        if sufficient and passphrase:
            return self._finish(self._judge_passphrase(sufficient, sealed=False))
        rounds = [method for method, use in self._methods.rounds if use is Use.SUFFICIENT]
        if question.renewal is not None:
            rounds += self._methods.renewals
        if not rounds:
            raise self._no_proof()
        return self._offer(rounds)

    def answer(self, reply: AuthorizationReply) -> Step:
        """Judge the client's answer to an offer.

        Raises:
            AuthenticationError: It proves nothing.
            DeniedError: It does, but policy forbids.
            StorageError: The stored key is damaged.
        """
        name = METHOD_NAMES[reply.method]
        exchange = self._exchanges[name]  # the session has seen to it that it was offered
        proof = exchange.answer(reply)
        if proof is None:
            self._exchanges = {name: exchange}
            return Offers((exchange.offer(),))
        if self._proof is not None:
            proof = Proof(self._proof.method, self._proof.key, (*self._proof.also, proof.method, *proof.also))
        return self._finish(proof)

    def _passwords(self, use: Use) -> list[PasswordMethod]:
        return [method for method, its_use in self._methods.passwords if its_use is use]

    def _judge_passphrase(self, methods: list[PasswordMethod], *, sealed: bool) -> Proof:
        """Ask everyone that has to agree, whoever disagrees first, so that the duration does not tell who it was."""
        question, limiter = self._question, self._methods.limiter
        username, passphrase = question.request.username, question.request.passphrase
        limiter.admit(username, question.caller.address)
        proof: Proof | None = None
        failure: AuthenticationError | None = None
        also: list[Method] = []
        if sealed:
            assert question.stored is not None
            try:
                proof = Proof(Method.PASSPHRASE, open_key(question.stored, passphrase, self._sealer))
            except AuthenticationError as error:
                failure = error
        for method in methods:
            try:
                method.check(username, passphrase)
            except AuthenticationError as error:
                failure = failure or error
            else:
                also.append(method.method)
        limiter.report(username, question.caller.address, right=failure is None)
        if failure is not None:
            raise self._told(failure)
        if proof is not None:
            return Proof(proof.method, proof.key, tuple(also))
        return Proof(also[0], None, tuple(also[1:]))

    def _told(self, failure: AuthenticationError) -> AuthenticationError:
        """Keep from a stranger which of several judges disagreed."""
        if self._question.caller.client.is_anonymous and failure.message != INVALID_PASSPHRASE:
            told = AuthenticationError(INVALID_PASSPHRASE)
            told.__cause__ = failure
            return told
        return failure

    def _no_proof(self) -> AuthenticationError:
        """Refuse whoever has nothing to show; a stranger learns no more than from a wrong pass phrase."""
        passphrase = self._question.request.passphrase
        if self._question.caller.client.is_anonymous or passphrase:
            self._sealer.pretend(passphrase)
            return AuthenticationError(INVALID_PASSPHRASE)
        return AuthenticationError(NO_PROOF)

    def _offer(self, methods: list[RoundMethod]) -> Offers:
        ordered = sorted(methods, key=lambda method: method.number)
        username = self._question.request.username
        self._exchanges = {METHOD_NAMES[method.number]: method.begin(username) for method in ordered}
        return Offers(tuple(exchange.offer() for exchange in self._exchanges.values()))

    def _finish(self, proof: Proof) -> Authenticated:
        """Add what the kind of proof demands of policy, and open a key that is not sealed."""
        question = self._question
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
            raise AuthenticationError(
                f'authentication failed\nthe challenge was signed by "{proof.renewer.identity}", '
                "which is not the identity of the credential"
            )
        question.access.check_not_self(question.caller.client, question.subject, "renewer")
        return question.renewal
