"""The answers of a judge and their records: who is told what, and under which id it is found again; judges nothing.

    class Judge(Answering):                                # gsi.authz.callout.judge
        ...
        return self._refuse(decision, "no permission to read /data", asked)

Every refusal is recorded under the id that the client is told, also where no policy was asked (gsi.authz.refusals).
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.accounts import account_of
from gsi.authz.callout.fileops import SessionMemory
from gsi.authz.callout.messages import Answer, MapRequest, Verdict
from gsi.authz.callout.outline import address_of, outline, service_of
from gsi.authz.callout.shown import what_ended
from gsi.authz.decision import ANONYMOUS, Account, Decision, Effect, Environment, PoolLease
from gsi.authz.refusals import keep_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gsi.authz.callout.daemon import Peer
    from gsi.authz.callout.messages import Request
    from gsi.authz.callout.standing import OpenSession, Setup
    from gsi.authz.decision import AuthorizationRequest
    from gsi.authz.engine import Engine

__all__ = ["NAME", "Answering", "FinalAnswer"]

NAME: Final = "gsi-authz-server"
"""As whom the daemon decides by itself."""

_log: Final = logging.getLogger("gsi.authz.callout")


class FinalAnswer(Exception):  # noqa: N818  not an error: the answer, on its way out
    """An answer that ends the judging at once."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class Answering:
    """What is known of one connection's questions, and the answers to them."""

    __slots__ = ("_account", "_asker", "_fresh", "_memory", "_open", "_peer", "_request", "_setup", "_subject")

    def __init__(self, setup: Callable[[], Setup], peer: Peer) -> None:
        self._setup = setup
        self._peer = peer
        self._memory = SessionMemory()
        self._open: OpenSession | None = None
        self._fresh: object = None  # the question for which the session has just been found to need no new look
        self._account = ""
        self._asker: Mapping[str, tuple[str, ...]] = {}
        self._request: Request | None = None  # what is being judged
        self._subject = ANONYMOUS  # by whom, as far as it is known

    def _engine_for(self, service: str) -> Engine:
        setup = self._setup()
        policy = setup.config.policy_for(service)
        engine = None if policy is None else setup.engines.get(policy)
        if engine is None:
            raise FinalAnswer(self._fail(f"there is no policy for the service {service[:80]!r}"))
        return engine

    def _environment(self, service: str, *, desired: str | None = None, address: str = "") -> Environment:
        setup = self._setup()
        return Environment(
            now=setup.clock(),
            service=service,
            host=setup.config.server.host or os.uname().nodename,
            peer_address=address,
            desired_account=desired,
            attributes=self._asker,
        )

    def _permits(self, decision: Decision) -> bool:
        """Whether a decision permits and binds to nothing but the account that the asking process has anyway."""
        if decision.effect is not Effect.PERMIT:
            return False
        if not decision.obligations:
            return True
        account = self._account or account_of(self._peer.uid)
        return decision.account == account and all(type(each) in (Account, PoolLease) for each in decision.obligations)

    def _refuse(self, decision: Decision, words: str, asked: AuthorizationRequest) -> Answer:
        """Refuse by a decision, or by a permit that is bound to what cannot be carried out."""
        if decision.effect is Effect.PERMIT:
            return self._fail("the permit is bound to what this service cannot carry out", decision, asked)
        if decision.effect is Effect.INDETERMINATE:
            return self._fail(decision.reason, decision)
        ended = what_ended(decision, self._engine_for(asked.environment.service).policy, asked.environment.now)
        return self._deny(f"{words}: {ended}" if ended else words, decision)

    def _tell_permit(self, decision: Decision) -> None:
        """Log a permit for certificates that nobody vouches for: it must not look like the peer's own deed."""
        _log.info(
            "%s: pid %d, uid %d: permitted, for certificates it shows",
            decision.decision_id,
            self._peer.pid,
            self._peer.uid,
        )

    def _deny(
        self,
        words: str,
        decision: Decision | None = None,
        asked: AuthorizationRequest | None = None,
        *,
        why: str = "",
    ) -> Answer:
        """Deny in words that are for the client; `why` is for the administrator, where it is more."""
        ident = self._keep(Effect.DENY, why or words, decision, asked)
        reason = f": {decision.reason}" if decision is not None else ""
        _log.info("%s: pid %d, uid %d: denied: %a%a", ident, self._peer.pid, self._peer.uid, words, reason)
        return Answer(Verdict.DENY, reason=words, decision_id=ident)

    def _fail(self, why: str, decision: Decision | None = None, asked: AuthorizationRequest | None = None) -> Answer:
        """Refuse because something is broken; what it is stands in log and audit only."""
        ident = self._keep(Effect.INDETERMINATE, why, decision, asked)
        _log.warning("%s: pid %d, uid %d: cannot decide: %a", ident, self._peer.pid, self._peer.uid, why)
        return Answer(Verdict.FAILURE, reason="the authorization service cannot decide now", decision_id=ident)

    def _keep(self, effect: Effect, why: str, decision: Decision | None, asked: AuthorizationRequest | None) -> str:
        """Return the id under which a refusal is recorded; here, unless it is a decision that has been recorded."""
        if decision is not None and decision.decision_id and decision.effect is not Effect.PERMIT:
            return decision.decision_id
        try:
            return self._record(effect, why, decision, asked)
        except Exception:  # noqa: BLE001  logged with its traceback; it is a refusal all the same
            ident = os.urandom(8).hex()
            _log.exception("refusal %s is not in the audit", ident)
            return ident

    def _record(self, effect: Effect, why: str, decision: Decision | None, asked: AuthorizationRequest | None) -> str:
        setup, request, session = self._setup(), self._request, self._open
        assert request is not None
        service = service_of(request) or (session.request.service if session is not None else "")
        if asked is None:
            desired = request.desired if isinstance(request, MapRequest) else self._account or None
            environment = self._environment(service, desired=desired, address=address_of(request))
            asked = outline(request, self._subject, environment)
        engine = setup.engines.get(setup.config.policy_for(service) or "")
        if engine is not None:
            return keep_refusal(engine, asked, effect, why, by=NAME, of=decision).decision_id
        ident = os.urandom(12).hex()
        setup.audit(asked, Decision(effect, why, (), NAME, ident))
        return ident
