"""Questions of the C services in, answers out: verification, the engine, accounts, what a session must remember.

    judge = Judge(setup, peer)                 # one per connection
    answer = judge.judge(request)

Knows no socket. Everything that goes wrong is an answer that refuses: nothing here raises. The client is told what was
refused and a decision id, not why: the rule that refused stands in the log and in `gsi-authz explain`. But that
something it has shown is over, and since when, it is told.

A session's certificates, engine and right to log in are judged again when the configuration or the policy has changed,
and each minute, so that a ban, another policy or a CRL ends what is open already.

What is asked of the engine, as (action, service type):

    mapping                 (login, login), with the account that the client asks for; must give an account
    service                 (login, login) again, as a preview: nothing is leased
    session                 (login, login) as the account of the process that asks, as a preview
    file operation          (read | write | create | delete | lookup, file); `fileops` says which
    assertion               (authz_assert, file); a permit keeps it for the operations that follow (`shown`)
    job start, at the gate  (start, job)
    job query               (status | cancel | signal | register | unregister | renew, job), by whoever queries

Every refusal is recorded under the id that the client is told, also where no policy was asked (gsi.authz.refusals).
Only a mapping leases anything. Who asked stands in the environment of each request: `asking-uid` and `asking-pid` from
the kernel, and `proof`, which says who vouches that the peer is who its certificates name (`Proof`).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.accounts import account_of, check_account, is_same, job_variables
from gsi.authz.callout.answering import NAME, Answering, FinalAnswer
from gsi.authz.callout.fileops import plan_operation, split_object
from gsi.authz.callout.gram import parse_job_query
from gsi.authz.callout.messages import (
    ASSERTION,
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
from gsi.authz.callout.outline import address_of, service_of
from gsi.authz.callout.shown import beside, is_understood, what_ended
from gsi.authz.callout.standing import OpenSession, asker_of
from gsi.authz.deadline import LANE
from gsi.authz.decision import (
    ANONYMOUS,
    Account,
    Action,
    AuthorizationRequest,
    Decision,
    Effect,
    PoolLease,
    PosixIds,
    Resource,
    Subject,
    permit,
    understood,
)
from gsi.authz.obligations import earliest
from gsi.authz.refusals import UNVERIFIED, describe_refused_chain
from gsi.authz.rsl.rulefile import STDIO_UPDATE
from gsi.errors import GridError, ParseError, VerificationError
from gsi.trust.options import ValidationOptions
from gsi.trust.verify import verify_chain

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.authz.callout.messages import Request
    from gsi.authz.engine import Engine

__all__ = ["Judge"]

MAX_ASSERTIONS: Final = 8
"""Assertions of one session: a client has one, or two from different communities."""

LANE_OF_SERVICES: Final = "services"
"""Logins do not wait in authorizers behind what users ask."""

MAX_ASSERTION_CHARS: Final = 1 << 20
"""All of them together: five of the longest that were seen. They are kept as long as the session."""

QUICK_NAMES: Final = 64
"""Names of a session that a write may be judged with in the event loop: two questions to the engine for each."""

_log: Final = logging.getLogger("gsi.authz.callout")
_OWNER: Final = "the job's owner, of which no rule speaks (job_owner_manages)"
_NO_LOGIN: Final = "you are not authorized to use this service"


class Judge(Answering):
    """Judges the questions of one connection, one after the other."""

    __slots__ = ()

    def is_quick(self, request: Request) -> bool:
        """Whether judging it waits for nothing and takes no time to speak of."""
        session = self._open
        if session is None or not isinstance(request, OperationRequest) or request.action == ASSERTION:
            return False
        setup = self._setup()
        if session.engine.policy.may_block or not session.engine.is_ready() or not session.is_current(setup):
            return False
        if setup.is_crowded():
            return False
        if request.action == "write" and (
            len(self._memory.objects) + len(request.files_now) + len(request.directories_now) > QUICK_NAMES
        ):
            return False
        self._fresh = request
        return True

    def judge(self, request: Request) -> Answer:
        """Judge one question. Never raises."""
        if self._fresh is not request:
            LANE.set(LANE_OF_SERVICES if self._peer.uid in self._setup().service_uids else "")
        self._request = request
        self._subject = ANONYMOUS if self._open is None else self._open.subject
        try:
            return self._judge(request)
        except FinalAnswer as refusal:
            return refusal.answer
        except GridError as error:
            return self._fail(str(error))
        except Exception:  # noqa: BLE001  logged with its traceback; a defect must refuse this question and leave the daemon to answer others
            _log.exception("judging %s failed", type(request).__name__)
            return self._fail("internal error")
        finally:
            self._request = None

    def _judge(self, request: Request) -> Answer:
        if not isinstance(request, OperationRequest) or not self._asker:
            self._asker = asker_of(self._peer, type(request))
        match request:
            case OperationRequest():
                return self._operation(request)
            case MapRequest():
                return self._map(request)
            case ServiceRequest():
                return self._use_service(request)
            case SessionRequest():
                return self._open_session(request)
            case JobRequest():
                return self._job(request)
            case GateRequest():
                return self._gate(request)

    # --- who may log in, and as whom ----------------------------------------------------------------------------------

    def _map(self, request: MapRequest) -> Answer:
        self._require_service("a mapping")
        self._refuse_sharing(request.service)
        asked = self._login(request.service, request.chain, desired=request.desired)
        decision = self._engine_for(request.service).authorize(asked)
        judged = understood(decision, (Account, PoolLease, PosixIds))
        if judged is not decision:
            return self._fail(judged.reason, decision, asked)
        if decision.effect is not Effect.PERMIT:
            return self._refuse(decision, _NO_LOGIN, asked)
        account = decision.account
        problem = check_account(decision, request)
        if account is None or problem is not None:
            return self._fail(problem or "the policy permits but names no account", decision, asked)
        if request.desired is not None and account != request.desired:
            return self._deny("the requested account is not one of yours", decision, asked)
        return Answer(Verdict.PERMIT, account=account, decision_id=decision.decision_id)

    def _use_service(self, request: ServiceRequest) -> Answer:
        self._require_service("the use of a service")
        self._refuse_sharing(request.service)
        asked = self._login(request.service, request.chain)
        self._require_login(self._engine_for(request.service), asked)
        return Answer(Verdict.PERMIT)

    def _open_session(self, request: SessionRequest) -> Answer:
        """Begin a session. Who asks is the mapped user's process: it may speak for those who map to that user only."""
        self._refuse_sharing(request.service)
        self._account = account_of(self._peer.uid)
        self._open = self._review(request)
        self._memory.lost = request.resumed
        return Answer(Verdict.PERMIT)

    def _review(self, request: SessionRequest, assertions: tuple[object, ...] = ()) -> OpenSession:
        """Judge by everything as it is now whether a session may be, and which of its assertions still count.

        Raises:
            FinalAnswer: It may not.
        """
        setup = self._setup()
        engine = self._engine_for(request.service)
        policy = engine.policy
        asked = self._login(request.service, request.chain, desired=self._account)
        decision = self._require_login(engine, asked)
        if decision.account is not None and decision.account != self._account:
            words = f"this session runs as {self._account}, which is not your account"
            raise FinalAnswer(self._deny(words, decision, asked))
        subject = asked.subject
        ended: list[object] = []
        for assertion in assertions:
            offered = self._offer((*subject.assertions, assertion), subject, request.service)
            found = engine.preview(offered)
            if self._permits(found):
                subject = offered.subject
            elif what_ended(found, policy, offered.environment.now):
                ended.append(assertion)
        subject = replace(subject, assertions=(*subject.assertions, *ended))
        name = setup.config.policy_for(request.service) or ""
        return OpenSession(request, setup.config, name, engine, policy, subject, asked.environment.now)

    def _login(self, service: str, chain: tuple[bytes, ...], *, desired: str | None = None) -> AuthorizationRequest:
        return AuthorizationRequest(
            self._verify(chain), Action("login", "login"), Resource(), self._environment(service, desired=desired)
        )

    def _require_login(self, engine: Engine, asked: AuthorizationRequest) -> Decision:
        """Return the permit for a login as a preview, which is recorded where it refuses.

        Raises:
            FinalAnswer: There is none.
        """
        recorded = engine.consider(asked)
        if recorded.decision.effect is Effect.PERMIT:
            return recorded.decision
        raise FinalAnswer(self._refuse(engine.refuse(*recorded), _NO_LOGIN, asked))

    def _require_service(self, what: str) -> None:
        if self._peer.uid not in self._setup().service_uids:
            _log.warning("uid %d (pid %d) asked for %s", self._peer.uid, self._peer.pid, what)
            raise FinalAnswer(self._deny(f"uid {self._peer.uid} may not ask for {what}"))

    def _refuse_sharing(self, service: str) -> None:
        if service == "sharing":
            raise FinalAnswer(self._deny("shared endpoints are not served here"))

    # --- file operations ----------------------------------------------------------------------------------------------

    def _operation(self, request: OperationRequest) -> Answer:
        session = self._open
        if session is None:
            return self._deny("this session was refused")
        if self._fresh is not request:
            session.engine.refresh()
        if self._fresh is not request and not session.is_current(self._setup()):
            session = self._open = self._review(session.request, session.subject.assertions)
        if request.action == ASSERTION:
            return self._assertion(request, session)
        subject, engine = session.subject, session.engine
        prefix, path = split_object(request.object)
        environment = self._environment(session.request.service)
        self._memory.settle(session, environment.now)  # what may be renamed was said of this session, or is asked anew
        plan = plan_operation(request, self._memory, self._setup().config.files)
        if plan.refusal:
            return self._deny(plan.refusal)
        known = {"exists": (str(Fact.EXISTS in request.facts).lower(),), "named": (path,)}
        for question in plan.questions:
            resource = Resource(f"{prefix}{question.path}", known)
            asked = AuthorizationRequest(subject, Action(question.action, "file"), resource, environment)
            decision = engine.authorize(asked, leasing=False)
            if not self._permits(decision):
                return self._refuse(decision, f"no permission to {question.action} {path}", asked)
        for source in plan.sources:
            until: datetime | None = None
            for action in ("delete", "read"):
                asked = AuthorizationRequest(
                    subject, Action(action, "file"), Resource(f"{prefix}{source}"), environment
                )
                decision = engine.authorize(asked, leasing=False)
                if not self._permits(decision):
                    return self._refuse(
                        decision,
                        f"this could be a rename of {source}, which you have no permission to {action}; "
                        "if it is none, please use a new connection",
                        asked,
                    )
                until = earliest(until, decision.not_after)
            self._memory.clear(source, environment.now, until)
        self._memory.remember(request)
        return Answer(Verdict.PERMIT)

    def _assertion(self, request: OperationRequest, session: OpenSession) -> Answer:
        engine, subject, text = session.engine, session.subject, request.object
        if not is_understood(engine.policy, text):
            return self._deny("what was shown is nothing that is understood here")
        others = self._without_ended(beside(engine.policy, subject.assertions, text), session)
        size = sum(len(str(each)) for each in others) + len(text)
        if len(others) >= MAX_ASSERTIONS or size > MAX_ASSERTION_CHARS:
            return self._deny("too many assertions in one session")
        asked = self._offer((*others, text), subject, session.request.service)
        decision = engine.authorize(asked, leasing=False)
        if not self._permits(decision):
            return self._refuse(decision, "the assertion is not accepted", asked)
        self._open = replace(session, subject=asked.subject)
        return Answer(Verdict.PERMIT, decision_id=decision.decision_id)

    def _without_ended(self, shown: tuple[object, ...], session: OpenSession) -> tuple[object, ...]:
        """Return those of what was shown that have not ended."""

        def has_ended(*assertions: object) -> bool:
            asked = self._offer(assertions, session.subject, session.request.service)
            found = session.engine.preview(asked)
            return bool(what_ended(found, session.engine.policy, asked.environment.now))

        return shown if not shown or not has_ended(*shown) else tuple(one for one in shown if not has_ended(one))

    def _offer(self, assertions: tuple[object, ...], subject: Subject, service: str) -> AuthorizationRequest:
        offered = replace(subject, assertions=assertions)
        return AuthorizationRequest(offered, Action(ASSERTION, "file"), Resource(), self._environment(service))

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def _gate(self, request: GateRequest) -> Answer:
        engine = self._engine_for(request.service)
        subject = self._verify(request.chain)
        given = dict(request.environment)
        asked = AuthorizationRequest(
            subject,
            Action("start", "job"),
            Resource(
                request.service,
                {
                    "rsl": (request.rsl,),
                    "rsl_form": ("request",),
                    "owner": (subject.identity,),
                    "account": (account_of(self._peer.uid),),
                    "variables": job_variables(self._peer.uid, request.source, given),
                },
            ),
            self._environment(request.service, address=address_of(request)),
        )
        decision = engine.authorize(asked, leasing=False)
        if not self._permits(decision):
            return self._refuse(decision, "you are not authorized to start this job", asked)
        self._tell_permit(decision)
        return Answer(Verdict.PERMIT, decision_id=decision.decision_id)

    def _job(self, request: JobRequest) -> Answer:
        given = dict(request.environment)
        service = service_of(request)
        if request.query == "start":
            # Refusing here would leave the client waiting and the job on disk, to be run by the next job manager.
            # So the gate decides; without a gate in front, nothing is started at all.
            if given.get("GSI_AUTHZ_GATE"):
                return Answer(Verdict.PERMIT)
            return self._fail("gsi-authz-gram-gate does not stand in this service's line")
        try:
            query = parse_job_query(request.query)
        except ParseError as error:
            _log.info("pid %d: %s", self._peer.pid, error)
            return self._deny("the query is not known")
        engine = self._engine_for(service)
        subject = self._verify(request.chain)
        owns = is_same(subject, request.target)
        attributes = {
            "rsl": (request.rsl,),
            "rsl_form": ("canonical",),
            "owner": (request.target,),
            "is_owner": (str(owns).lower(),),
            "account": (account_of(self._peer.uid),),
            "variables": job_variables(self._peer.uid, request.target, {}),
        }
        if query.signal is not None:
            attributes["signal"] = (str(query.signal),)
            if query.signal == STDIO_UPDATE:  # the job description of which the job manager takes the files
                attributes["update"] = (query.argument,)
        last = ""
        for action in query.actions:
            asked = AuthorizationRequest(
                subject,
                Action(action, "job"),
                Resource(request.job_id, attributes),
                self._environment(service, address=address_of(request)),
            )
            own = permit(NAME, _OWNER) if owns and self._setup().config.server.job_owner_manages else None
            decision = engine.authorize(asked, leasing=False, otherwise=own)
            last = decision.decision_id
            if self._permits(decision):
                self._tell_permit(decision)
                continue
            return self._refuse(decision, f"you are not authorized to {action} this job", asked)
        return Answer(Verdict.PERMIT, decision_id=last)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _verify(self, chain: tuple[bytes, ...]) -> Subject:
        """Judge the peer's chain once more, by our own rules: revocation, namespaces, proxies.

        Raises:
            FinalAnswer: It proves nobody.
        """
        setup = self._setup()
        try:
            peer = verify_chain(
                chain, setup.anchors(), now=setup.clock(), options=ValidationOptions(), cache=setup.cache
            )
        except VerificationError as error:
            _log.info("pid %d, uid %d: chain refused: %s: %s", self._peer.pid, self._peer.uid, error.reason, error)
            self._subject = UNVERIFIED
            words = f"the certificate chain is refused: {error.reason.value}"
            raise FinalAnswer(self._deny(words, why=describe_refused_chain(chain, error))) from error
        self._subject = Subject.from_peer(peer)
        return self._subject
