"""GET and RETRIEVE: who proves what to receive a proxy of a stored credential, the credential itself, or a certificate.

    step = service.begin_get(caller, request)           # a grant, a round of authorization, or a pause
    while not isinstance(step, RetrievalGrant | IssuanceGrant):
        step = service.proceed(step, reply)             # or, after the pause, step.resume()
    certificates = service.finish_get(step, request_der)

What a client may do is asked of `myproxy.policy`, what it has proved of `myproxy.authentication`; here the answers are
put in order and carried out. Agrees with gct:myproxy/source/myproxy_server.c (get_credentials, retrieve_credentials,
do_authz_handshake), but for a stranger, who is told neither that a credential is there nor that it is not.

A GET for which nothing is stored goes to the server's authority (`myproxy.issuing`), where there is one: its policies
are those of a credential without policies of its own, its identity is the name that the user name is mapped to. Nobody
is asked for that name before it counts, which is after the proof but for renewers and trusted retrievers: a stranger
cannot keep the site's directory busy, nor tell who is in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from gsi.errors import (
    AuthenticationError,
    DeniedError,
    GridError,
    StorageError,
)
from gsi.proxy.chain import ProxyChain
from gsi.proxy.kinds import ProxyKind
from myproxy.auth.base import Method
from myproxy.auth.passphrase import place_of
from myproxy.authentication import Authenticated, Authentication, HiddenError, Offers, Question, refuse_absent
from myproxy.commands import parse_chain
from myproxy.grants import Caller, IssuanceGrant, RetrievalGrant
from myproxy.handover import HandoverCommands
from myproxy.issuance import Recipient, find_recipient
from myproxy.protocol.messages import Command
from myproxy.repository.seal import INVALID_PASSPHRASE, is_sealed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.certificate import Certificate
    from myproxy.auth.attempt import Attempt
    from myproxy.auth.base import Proof
    from myproxy.authentication import Step
    from myproxy.issuing import Authority
    from myproxy.policy import Client, Permission
    from myproxy.protocol.messages import AuthorizationOffer, AuthorizationReply, Request, TrustRootFile
    from myproxy.repository.base import StoredCredential

__all__ = [
    "MAX_CANDIDATES",
    "AuthorizationRound",
    "Pause",
    "RetrievalCommands",
    "RetrievalStep",
    "proxy_lifetime",
]

SHORTEST_PROXY: Final = timedelta(seconds=300)
"""A shorter lifetime is raised to this; a proxy starts five minutes in the past, and a tiny rest helps nobody."""

MAX_CANDIDATES: Final = 16
"""How many of a user's credentials one pass phrase is tried on, where that is switched on: each try is a derivation."""


def proxy_lifetime(asked: timedelta, stored: timedelta, maximum: timedelta) -> timedelta:
    """Return the lifetime of a delegated proxy: the least of the three that are set, in whole minutes.

    Zero means not set; when none is, the result is zero: as long as its issuer. Anything below five minutes is
    raised to five.
    """
    limits = [limit for limit in (asked, stored, maximum) if limit > timedelta(0)]
    if not limits:
        return timedelta(0)
    return max(min(limits), SHORTEST_PROXY) // timedelta(minutes=1) * timedelta(minutes=1)


_log: Final = logging.getLogger("myproxy.server")


class _Policies(NamedTuple):
    """What a stored credential says about who may have it; one that does not exist says nothing."""

    retrievers: str | None = None
    renewers: str | None = None
    key_retrievers: str | None = None
    trusted_retrievers: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRound:
    """A request that waits for the client to prove itself.

    Attributes:
        caller: Who asks.
        request: What is asked for.
        offers: What to send.
        wanted: The credential in question, or whom a certificate is for.
        authentication: How far the client has come.
    """

    caller: Caller
    request: Request
    offers: tuple[AuthorizationOffer, ...]
    wanted: StoredCredential | Recipient = field(repr=False)
    authentication: Authentication = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pause:
    """A request that may not be judged yet, because too many tries are made on its account; no thread waits.

    Attributes:
        seconds: How long to wait.
        resume: What to call then.
    """

    seconds: float
    resume: Callable[[], RetrievalStep]


RetrievalStep: TypeAlias = RetrievalGrant | IssuanceGrant | AuthorizationRound | Pause


class RetrievalCommands(HandoverCommands):
    """The commands by which credentials leave."""

    def begin_get(self, caller: Caller, request: Request) -> RetrievalStep:
        """Find the credential that is asked for, and judge what the client has proved so far.

        Raises:
            AuthenticationError: No such credential, not enough proof, or (to a client without certificate) a
                credential that it may not have: one text, one duration.
            DeniedError: Policy, a lock, or a stored chain that is no longer valid.
        """
        caller = self._find_user(caller, request)
        return self._begin(caller, request, self._attempt(caller, request))

    def begin_quickly(self, caller: Caller, request: Request) -> RetrievalStep | None:
        """Do the same as far as nothing is waited for but a look into a database on this machine, mostly in memory.

        That is a yes to a trusted retriever, and what renewers have to sign. None where only `begin_get` can tell what
        becomes of the request: where there is something to guess or to derive, somebody to ask, or a no to record.
        Nothing has happened then.
        """
        if not self._is_near or request.passphrase or caller.client.is_anonymous or request.on_behalf_of is not None:
            return None
        if self._methods.asks_everyone or self._site_rules.authorization is not None:
            return None
        try:
            candidates = self._candidates(caller, request)
            if len(candidates) != 1:
                return None
            (stored,) = candidates
            if is_sealed(stored.sealed_key) or not self._sealer.is_current(stored.sealed_key):
                return None
            return self._try(caller, request, stored, self._methods.attempt(caller, request))
        except GridError:
            return None

    def begin_retrieve(self, caller: Caller, request: Request) -> RetrievalStep:
        """The same, for the stored key itself.

        Raises:
            AuthenticationError: As for GET.
            DeniedError: As for GET; or the client's proxy is limited and the stored credential is not.
        """
        return self._begin(caller, request, self._attempt(caller, request))

    def proceed(self, waiting: AuthorizationRound, reply: AuthorizationReply) -> RetrievalStep:
        """Judge the client's answer to a round.

        Raises:
            AuthenticationError: It proves nothing.
            DeniedError: It does, but policy forbids.
        """
        caller, request, authentication = waiting.caller, waiting.request, waiting.authentication
        with (
            self._trail.deciding(caller, request, request.command.name),
            authentication.attempt.judging(guess=authentication.is_guess(reply)) as seconds,
        ):
            if seconds:
                return Pause(seconds, lambda: self.proceed(waiting, reply))
            step = authentication.answer(reply)
            return self._after(step, caller, request, waiting.wanted, waiting.authentication)

    def trust_roots(self, caller: Caller, request: Request) -> tuple[TrustRootFile, ...]:
        """Return the trust roots for a client that asks for nothing else.

        Raises:
            DeniedError: Policy.
            StorageError: They cannot be read.
        """
        with self._trail.deciding(caller, request, "GET_TRUSTROOTS"):
            permission = self._settings.access.permit_server_retrieval(caller.client)
            self._ask_site(caller, request, "GET_TRUSTROOTS")
            files = self._trust_roots()
            self._trail.permit(caller, request, "GET_TRUSTROOTS", permission, count=len(files))
        return files

    def accompanying_trust_roots(self, request: Request) -> tuple[TrustRootFile, ...]:
        """Return the trust roots that go with a yes, if the request asks for them."""
        return self._trust_roots() if request.wants_trust_roots else ()

    def _find_user(self, caller: Caller, request: Request) -> Caller:
        """Return the client in question: of a front end, the stranger for whom it asks, with nothing of its own rights.

        Raises:
            DeniedError: The client is no front end.
        """
        if request.on_behalf_of is None:
            return caller
        with self._trail.deciding(caller, request, request.command.name):
            self._settings.access.permit_front_end(caller.client)
        return Caller(None, request.on_behalf_of, caller.request_id, front_end=caller.client.name)

    def _attempt(self, caller: Caller, request: Request) -> Attempt:
        with self._trail.deciding(caller, request, request.command.name):
            return self._methods.attempt(caller, request)

    def _begin(self, caller: Caller, request: Request, attempt: Attempt) -> RetrievalStep:
        with self._trail.deciding(caller, request, request.command.name), attempt.judging() as seconds:
            if seconds:
                return Pause(seconds, lambda: self._begin(caller, request, attempt))
            # From here on the pass phrase is what it was when the key was sealed: without a one-time code.
            request = dataclasses.replace(request, passphrase=attempt.passphrase)
            candidates = self._candidates(caller, request)
            if not candidates and self._authority is not None and request.command is Command.GET:
                return self._try_issuing(self._authority, caller, request, attempt)
            refusal: GridError | None = None
            hidden: BaseException | None = None
            for stored in candidates:
                try:
                    return self._try(caller, request, stored, attempt)
                except HiddenError as error:
                    hidden = error.__cause__
                except (AuthenticationError, DeniedError) as error:
                    refusal = refusal or error
            if refusal is not None:
                raise refusal
            try:
                return self._absent(caller, request, attempt)
            except AuthenticationError as error:
                raise error from (hidden or error.__cause__)  # the audit is to know what the client is not

    def _candidates(self, caller: Caller, request: Request) -> tuple[StoredCredential, ...]:
        """Return the credentials that may be meant: the one that is named, or where that is switched on, any."""
        # Whoever may have nothing at all is told so whether or not something is there.
        access = self._settings.access
        if not access.authorized_renewers:
            access.permit_server_retrieval(caller.client)
        if request.credential_name is None and self._settings.check_multiple_credentials:
            return self._repository.list_named(request.username, limit=MAX_CANDIDATES)
        found = self._find(request)
        return () if found is None else (found,)

    def _absent(self, caller: Caller, request: Request, attempt: Attempt) -> RetrievalStep:
        """Refuse a credential that is not there; to a stranger it seems that something is.

        Raises:
            AuthenticationError: To a stranger, and to whoever tries a pass phrase.
            DeniedError: To everybody else.
        """
        if caller.client.is_anonymous or request.passphrase:
            try:
                question = dataclasses.replace(self._ask_policy(caller, request, _Policies()), absent=True)
                self._ask_site(caller, request, request.command.name, hides=True)
            except HiddenError as error:
                raise refuse_absent(attempt, self._methods, self._sealer) from error.__cause__
            authentication = Authentication(question, self._methods, self._sealer, attempt)
            return self._after(authentication.begin(), caller, request, Recipient(), authentication)
        name = "" if request.credential_name is None else f' and credential name "{request.credential_name}"'
        verb = "exist with" if name else "exist for"
        raise DeniedError(f'No credentials {verb} username "{request.username}"{name}.')

    def _try(self, caller: Caller, request: Request, stored: StoredCredential, attempt: Attempt) -> RetrievalStep:
        chain = _split(stored)
        own = _Policies(stored.retrievers, stored.renewers, stored.key_retrievers, stored.trusted_retrievers)
        question = self._ask_policy(caller, request, own)
        self._ask_site(caller, request, request.command.name, name=stored.name, hides=True)
        trusted = self._unless_self(question, chain.identity_text)
        question = dataclasses.replace(
            question, stored=stored, subject=chain.identity_text, independent=chain.is_independent, trusted=trusted
        )
        authentication = Authentication(question, self._methods, self._sealer, attempt)
        return self._after(authentication.begin(), caller, request, stored, authentication)

    def _try_issuing(self, authority: Authority, caller: Caller, request: Request, attempt: Attempt) -> RetrievalStep:
        """Do the same for a certificate that is yet to be issued."""
        try:
            question = self._ask_policy(caller, request, _Policies())
            username = self._ask_site(caller, request, "ISSUE", hides=True) or request.username
        except HiddenError as error:
            raise refuse_absent(attempt, self._methods, self._sealer) from error.__cause__
        recipient = Recipient(username)
        if question.trusted is not None or question.renewal is not None:
            recipient = find_recipient(authority, username)
            trusted = self._unless_self(question, recipient.name)
            if recipient.subject_der is None and authority.names_users and not question.access.allow_self_authorization:
                trusted = None  # nobody knows whether it would be the client's own
            question = dataclasses.replace(question, subject=recipient.name, trusted=trusted)
        authentication = Authentication(question, self._methods, self._sealer, attempt)
        return self._after(authentication.begin(), caller, request, recipient, authentication)

    def _unless_self(self, question: Question, subject: str) -> Permission | None:
        """Return the permission of a trusted retriever, unless it is the very identity that it asks for."""
        try:
            self._settings.access.check_not_self(question.caller.client, subject, "trusted retriever")
        except DeniedError:
            return None
        return question.trusted

    def _ask_policy(self, caller: Caller, request: Request, own: _Policies) -> Question:
        """Ask for every permission that some proof could go with; whose identity it is about is yet to be filled in.

        Raises:
            DeniedError: There is none, or the key may not leave.
            HiddenError: The same, to a stranger.
        """
        access, client = self._settings.access, caller.client
        try:
            if request.command is Command.RETRIEVE:
                access.permit_key_retrieval(client, own.key_retrievers)
            retrieval: Permission | DeniedError = _or_refusal(access.permit_retrieval, client, own.retrievers)
            renewal = _or_refusal(access.permit_renewal, client, own.renewers)
            if isinstance(retrieval, DeniedError) and isinstance(renewal, DeniedError):
                raise retrieval
        except DeniedError as error:
            if not client.is_anonymous:
                raise
            # A stranger must not learn that the credential exists, nor try pass phrases on what it cannot have.
            raise HiddenError(INVALID_PASSPHRASE) from error
        trusted = _or_refusal(access.permit_trusted_retrieval, client, own.trusted_retrievers)
        return Question(
            caller=caller,
            request=request,
            stored=None,
            subject="",
            access=access,
            retrieval=retrieval,
            renewal=None if isinstance(renewal, DeniedError) else renewal,
            trusted=None if isinstance(trusted, DeniedError) else trusted,
        )

    def _after(
        self,
        step: Step,
        caller: Caller,
        request: Request,
        wanted: StoredCredential | Recipient,
        authentication: Authentication,
    ) -> RetrievalStep:
        """Grant what is proved and permitted, or go into another round."""
        if isinstance(step, Offers):
            return AuthorizationRound(
                caller=caller, request=request, offers=step.offers, wanted=wanted, authentication=authentication
            )
        if isinstance(wanted, Recipient):
            return self.grant_issuance(step, caller, request, wanted)
        return self._grant(step, caller, request, wanted)

    def _grant(
        self, authenticated: Authenticated, caller: Caller, request: Request, stored: StoredCredential
    ) -> RetrievalGrant:
        if stored.lock_message is not None:
            raise DeniedError(f"credential locked\n{stored.lock_message}")
        proof = authenticated.proof
        assert proof.key is not None  # `Authentication` opens the key of a stored credential in every case
        credential = self._load(stored, proof.key)
        self._check_valid(credential.certificates)
        limited = self._settings.limited_stays_limited and (
            caller.is_limited or (proof.renewer is not None and proof.renewer.limited)
        )
        if request.command is Command.RETRIEVE and limited and not _is_limited(credential.certificates):
            raise DeniedError("Client with limited proxy may not retrieve full credentials.")
        recorded = self._trail.post_permit(
            caller,
            request,
            request.command.name,
            authenticated.permission,
            method=proof.words,
            owner=stored.owner,
            **({} if proof.renewer is None else {"renewer": proof.renewer.identity}),
        )
        if request.passphrase:  # its yes tells whoever guesses that the guess was right
            recorded.settle()
        if request.command is Command.GET:
            self._seal_anew(stored, proof.key, request)
        self._note(caller, _kind_of_use(request, proof), stored.username, stored.name, stored.owner)
        limits = request.lifetime, stored.lifetime, self._settings.max_proxy_lifetime
        return RetrievalGrant(
            caller=caller,
            request=request,
            permission=authenticated.permission,
            credential=credential,
            stored=stored,
            lifetime=proxy_lifetime(*limits),
            limited=limited,
            recorded=recorded,
        )

    def _seal_anew(self, stored: StoredCredential, key: bytes, request: Request) -> None:
        """Bring the stored key to the present form and price of a guess; only now is the pass phrase at hand."""
        if self._sealer.is_current(stored.sealed_key):
            return
        place = place_of(stored.username, stored.name, stored.owner, stored.certificates[0])
        # Whatever is in the way, a faster logon or a full disk: this one has its answer, and the next tries again.
        with contextlib.suppress(StorageError):
            sealed = self._sealer.renew(stored.sealed_key, key, request.passphrase, place)
            self._repository.replace_key(stored, sealed, now=self._clock())


def _or_refusal(
    ask: Callable[[Client, str | None], Permission], client: Client, stored: str | None
) -> Permission | DeniedError:
    try:
        return ask(client, stored)
    except DeniedError as error:
        return error


def _kind_of_use(request: Request, proof: Proof) -> str:
    """Return the word by which the owner is told."""
    if request.command is Command.RETRIEVE:
        return "key"
    if proof.renewer is not None:
        return "renewal"
    return "trusted" if proof.method is Method.TRUSTED else "logon"


def _split(stored: StoredCredential) -> ProxyChain:
    """Return the parts of a stored chain.

    Raises:
        StorageError: Its certificates cannot be read.
    """
    try:
        return ProxyChain.split(parse_chain(stored.certificates))
    except GridError as error:
        raise StorageError(f"the stored credential of {stored.username!r} is damaged") from error


def _is_limited(certificates: tuple[Certificate, ...]) -> bool:
    return ProxyChain.split(certificates).kind is ProxyKind.LIMITED
