"""The decision engine: asks sources and authorizers in order, combines, merges obligations, records.

    engine = Engine(policy)
    decision = engine.authorize(request)              # or: await engine.authorize_async(request)
    engine.find(decision.decision_id)                 # while it is among the last ones

It fails closed: whatever goes wrong anywhere (an exception, a late answer, a value of another type, obligations that
contradict one another, an audit trail that cannot be written) makes the decision INDETERMINATE or DENY, never PERMIT.
The steps of one decision:

1. The subject's proof must not be over.  2. Attribute sources add what they know.  3. Authorizers are asked, chain by
chain (gsi.authz.combine).  4. A permit's obligations are merged.  5. The account that the client asked for must be the
one it gets; root only where the policy says so.  6. Audit, log, memory.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from dataclasses import replace
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from gsi.authz.combine import ENDS, RANK
from gsi.authz.deadline import LANE, DeadlinePool
from gsi.authz.decision import (
    Account,
    AuthorizationRequest,
    DatabaseRole,
    Decision,
    DecisionStep,
    Effect,
    PoolLease,
    PosixIds,
    StorageLot,
    StorageQuota,
)
from gsi.authz.obligations import check_permit, earliest, join_permits
from gsi.authz.policy import Chain, Member, Policy, Source
from gsi.errors import CapabilityError, CapabilityProblem, GridError, TimeoutExpiredError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gsi.authz.decision import Subject

__all__ = ["REMEMBERED", "Engine", "Recorded"]

REMEMBERED: Final = 1024
"""How many decisions are kept in memory: enough to look up what a client has just quoted; some megabytes."""

_ID_BYTES: Final = 12
"""96 random bits: nobody guesses the id of another's decision."""

_SHOWN: Final = 8
"""How many of each kind a trace tells that a source has found; the record has more."""

_MAX_REASON_CHARS: Final = 500
"""What is kept of the words of a foreign exception."""

_T = TypeVar("_T")
_LOG: Final = logging.getLogger("gsi.authz")
_NOTHING_SAID: Final = "no rule speaks of this request"


class Recorded(NamedTuple):
    """A decision with what was asked, and with what attribute sources have added to it."""

    request: AuthorizationRequest
    decision: Decision


class _Ask(NamedTuple):
    """How one decision is being made."""

    preview: bool
    trace: list[DecisionStep]
    asked: list[AuthorizationRequest]
    """The request with what each source has added so far, in this one place."""


class Engine:
    """Decides by a policy. Safe for several threads."""

    def __init__(
        self,
        policy: Policy,
        *,
        audit: Callable[[AuthorizationRequest, Decision], None] | None = None,
        record: Callable[[AuthorizationRequest, Decision], None] | None = None,
        refresh: Callable[[], Callable[[], None] | None] | None = None,
        remembered: int = REMEMBERED,
    ) -> None:
        """Make an engine.

        Args:
            policy: Whom to ask.
            audit: Called with every decision before it is returned; when it raises, a permit becomes INDETERMINATE.
            record: Called with every decision; when it raises, the log says so and the decision stands.
            refresh: Called before every decision, to look for a new policy; must be quick and must not raise. Where a
                new one is on its way it returns how to wait for it, for a bounded time.
            remembered: How many decisions `find` can find.
        """
        self._policy = policy
        self._audit = audit
        self._record = record
        self._refresh = refresh
        self._remembered = remembered
        self._lock = threading.Lock()
        self._ring: OrderedDict[str, Recorded] = OrderedDict()
        self._pools: dict[tuple[str, str], DeadlinePool] = {}

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    def replace(self, policy: Policy) -> None:
        """Put another policy in force, at once and as a whole; decisions under way end by the old one."""
        self._policy = policy

    def authorize(
        self, request: AuthorizationRequest, *, leasing: bool = True, otherwise: Decision | None = None
    ) -> Decision:
        """Decide. Never raises, whatever authorizers do; only a permit with obligations carried out lets anybody in.

        Args:
            request: The question.
            leasing: Whether authorizers may change anything. Without it they answer as for `preview`; the decision is
                one all the same: it has an id and is recorded and audited.
            otherwise: The service's own decision where no rule of the policy speaks of the request: a permit is kept as
                one, by the authorizer that it names.
        """
        self.refresh()
        found = self._decide(self._policy, request, os.urandom(_ID_BYTES).hex(), preview=not leasing)
        if otherwise is not None and found.decision.effect is Effect.NOT_APPLICABLE:
            effect, reason, by = otherwise.effect, otherwise.reason, otherwise.authorizer
            trace = (*found.decision.trace, DecisionStep(by, effect, reason, 0, 0))
            own = replace(found.decision, effect=effect, reason=reason, authorizer=by, trace=trace)
            found = found._replace(decision=own)
        return self._keep(found)

    async def authorize_async(self, request: AuthorizationRequest) -> Decision:
        """Decide without holding up the event loop: in a thread where anything could wait, else in place."""
        if self._policy.may_block or self._audit is not None or self._record is not None:
            import asyncio

            return await asyncio.to_thread(self.authorize, request)
        wait = self._refresh() if self._refresh is not None else None
        if wait is not None:
            import asyncio

            await asyncio.to_thread(wait)
        return self.authorize(request)

    def preview(self, request: AuthorizationRequest) -> Decision:
        """Say what would be decided: nothing is leased, recorded or audited, and the decision gets no id."""
        return self.consider(request).decision

    def consider(self, request: AuthorizationRequest) -> Recorded:
        """As `preview`, with the request as authorizers saw it: attribute sources have added what they know."""
        self.refresh()
        return self._decide(self._policy, request, "", preview=True)

    def refuse(self, request: AuthorizationRequest, refusal: Decision) -> Decision:
        """Keep a refusal that nobody has kept: of a preview, or a service's own (gsi.authz.refusals).

        Args:
            request: What was asked, as far as it is known.
            refusal: What was answered. It gets an id if it has none.
        """
        effect = Effect.INDETERMINATE if refusal.effect is Effect.PERMIT else refusal.effect
        ident = refusal.decision_id or os.urandom(_ID_BYTES).hex()
        return self._keep(Recorded(request, replace(refusal, effect=effect, obligations=(), decision_id=ident)))

    def find(self, decision_id: str) -> Recorded | None:
        """Return one of the last decisions, or None."""
        with self._lock:
            return self._ring.get(decision_id)

    def recent(self) -> tuple[Recorded, ...]:
        """Return the last decisions, oldest first."""
        with self._lock:
            return tuple(self._ring.values())

    def is_ready(self) -> bool:
        """Say whether decisions need not wait for a policy that is being read."""
        return self._refresh is None or self._refresh() is None

    def refresh(self) -> None:
        """See that decisions are by the policy as its files are now; waits, for a bounded time, while it is read."""
        wait = self._refresh() if self._refresh is not None else None
        if wait is not None:
            wait()

    # --- deciding -----------------------------------------------------------------------------------------------------

    def _decide(self, policy: Policy, request: AuthorizationRequest, ident: str, *, preview: bool) -> Recorded:
        trace: list[DecisionStep] = []
        asked = [request]
        try:
            decision = self._judge(policy, request, _Ask(preview, trace, asked))
        except Exception as error:  # noqa: BLE001  a defect of this file must not let anybody in, either
            _LOG.exception("an authorization decision failed")
            decision = Decision(Effect.INDETERMINATE, f"internal error: {type(error).__name__}", (), "engine")
        decision = Decision(
            decision.effect,
            decision.reason,
            decision.obligations if decision.effect is Effect.PERMIT else (),
            decision.authorizer,
            ident,
            earliest(decision.not_after, request.subject.not_after),
            tuple(trace),
        )
        return Recorded(asked[0], decision)

    def _judge(self, policy: Policy, request: AuthorizationRequest, ask: _Ask) -> Decision:
        now, ends = request.environment.now, request.subject.not_after
        if ends is not None and now >= ends:
            return Decision(Effect.DENY, f"the credential ended at {ends:%Y-%m-%dT%H:%M:%SZ}", (), "engine")
        for source in policy.sources:
            found = self._collect(source, request, ask)
            if isinstance(found, Decision):
                return found
            request = ask.asked[0] = found
            ends = request.subject.not_after
            if ends is not None and now >= ends:
                words = f"what {source.source.name} found has ended at {ends:%Y-%m-%dT%H:%M:%SZ}"
                return Decision(Effect.DENY, words, (), "engine")
        decision = self._ask_chain(policy.root, request, ask, 0)
        if decision.effect is not Effect.PERMIT:
            return decision
        if policy.sources:  # what they have added may end earlier
            decision = replace(decision, not_after=earliest(decision.not_after, ends))
        return check_permit(decision, request, allow_root=policy.allow_root)

    def _collect(self, member: Source, request: AuthorizationRequest, ask: _Ask) -> AuthorizationRequest | Decision:
        source = member.source
        begin = perf_counter_ns()
        problem: str | None
        try:
            may_wait = getattr(source, "may_wait", None)
            if may_wait is None or may_wait(request):
                found = self._call(member, source.name, lambda: source.collect(request))
            else:  # nothing that hangs elsewhere holds up who does not need it
                found = source.collect(request)
            problem = _widens(request, found)
        except CapabilityError as error:
            if error.problem is CapabilityProblem.EXPIRED:
                ask.trace.append(DecisionStep(source.name, Effect.DENY, error.message, 1, _micros(begin)))
                # Known to be over, and when: a definite no, whose end says that it is about this.
                return Decision(Effect.DENY, error.message, (), source.name, not_after=request.environment.now)
            problem = error.message
        except Exception as error:  # noqa: BLE001  a plug-in may raise anything, and anything is a failure
            problem = _describe_error(source.name, error)
        micros = _micros(begin)
        if problem is None and micros > member.time_limit * 1e6:
            problem = f"took longer than {member.time_limit:g} seconds"
        if problem is not None:
            ask.trace.append(DecisionStep(source.name, Effect.INDETERMINATE, problem, 1, micros))
            return Decision(Effect.INDETERMINATE, f"attribute source {source.name}: {problem}", (), source.name)
        ask.trace.append(DecisionStep(source.name, Effect.NOT_APPLICABLE, _added(request, found), 1, micros))
        return found

    def _ask_chain(self, chain: Chain, request: AuthorizationRequest, ask: _Ask, depth: int) -> Decision:
        rank, ends = RANK[chain.combining], ENDS[chain.combining]
        place = len(ask.trace)
        begin = perf_counter_ns()
        best: Decision | None = None
        permits: list[Decision] = []
        for member in chain.members:
            if type(member) is Member:
                answer = self._ask_member(member, request, ask, depth + 1)
            else:
                assert isinstance(member, Chain)
                answer = self._ask_chain(member, request, ask, depth + 1)
            effect = answer.effect
            if effect is Effect.PERMIT:
                permits.append(answer)
            if rank[effect] > (rank[best.effect] if best is not None else 0):
                best = answer
            if effect in ends:
                break
        if best is None:
            best = Decision(Effect.NOT_APPLICABLE, _NOTHING_SAID, (), chain.name)
        elif best.effect is Effect.PERMIT and len(permits) > 1:
            best = join_permits(chain.name, permits)
        micros = _micros(begin)
        if depth or len(chain.members) > 1:
            ask.trace.insert(
                place, DecisionStep(chain.name, best.effect, f"{chain.combining.value}: {best.reason}", depth, micros)
            )
        return best

    def _ask_member(self, member: Member, request: AuthorizationRequest, ask: _Ask, depth: int) -> Decision:
        authorizer = member.authorizer
        name = authorizer.name
        begin = perf_counter_ns()
        try:
            body = getattr(authorizer, "preview", authorizer.decide) if ask.preview else authorizer.decide
            if member.may_block:
                answer = self._call(member, name, lambda: body(request))
            else:
                answer = body(request)
            problem = None if _is_sound(answer) else f"answered with a {type(answer).__name__} that is no decision"
        except Exception as error:  # noqa: BLE001  a plug-in may raise anything, and anything is a failure
            problem = _describe_error(name, error)
        micros = _micros(begin)
        if problem is None and micros > member.time_limit * 1e6:
            problem = f"took longer than {member.time_limit:g} seconds"
        if problem is not None:
            answer = Decision(Effect.INDETERMINATE, problem, (), name)
        ask.trace.append(DecisionStep(name, answer.effect, answer.reason, depth, micros, answer.obligations))
        return answer

    def _call(self, member: Member | Source, name: str, body: Callable[[], _T]) -> _T:
        if not member.may_block:
            return body()
        key = name, LANE.get()
        pool = self._pools.get(key)
        if pool is None:
            with self._lock:
                pool = self._pools.setdefault(key, DeadlinePool(name))
        return pool.call(body, member.time_limit)

    # --- keeping ------------------------------------------------------------------------------------------------------

    def _keep(self, recorded: Recorded) -> Decision:
        request, decision = recorded
        if self._audit is not None:
            try:
                self._audit(request, decision)
            except Exception as error:  # noqa: BLE001  whatever it was, there is no audit of a permit
                _LOG.exception("decision %s could not be audited", decision.decision_id)
                if decision.effect is Effect.PERMIT:
                    why = f"the decision could not be audited: {_describe_error('audit', error)}"
                    decision = replace(decision, effect=Effect.INDETERMINATE, reason=why, obligations=())
        if self._record is not None:
            try:
                self._record(request, decision)
            except Exception:  # noqa: BLE001  a help for people, without which the decision stands
                _LOG.exception("decision %s could not be recorded", decision.decision_id)
        ring = self._ring
        with self._lock:
            ring[decision.decision_id] = Recorded(request, decision)
            while len(ring) > self._remembered:
                ring.popitem(last=False)
        if _LOG.isEnabledFor(logging.INFO):
            _log(request, decision)
        return decision


def _micros(begin: int) -> int:
    """Return the microseconds since a reading of the performance counter."""
    return (perf_counter_ns() - begin) // 1000


def _log(request: AuthorizationRequest, decision: Decision) -> None:
    level = logging.WARNING if decision.effect is Effect.INDETERMINATE else logging.INFO
    _LOG.log(
        level,
        "decision %s: %s for %a: %a on %a at %a by %a: %a%s",
        decision.decision_id,
        decision.effect.value,
        request.subject.identity or "<anonymous>",
        request.action.name,
        request.resource.name,
        request.environment.service,
        decision.authorizer,
        decision.reason,
        "".join(f" {obligation!a}" for obligation in decision.obligations),
    )


def _describe_error(name: str, error: Exception) -> str:
    if isinstance(error, TimeoutExpiredError | GridError):
        return error.message
    _LOG.error("%s failed", name, exc_info=error)
    return f"failed with {type(error).__name__}: {str(error)[:_MAX_REASON_CHARS]}"


_OBLIGATIONS: Final = (Account, PosixIds, PoolLease, DatabaseRole, StorageQuota, StorageLot)


def _is_sound(answer: object) -> bool:
    """Say whether a plug-in's answer is what its type promises, down to the obligations."""
    return (
        type(answer) is Decision
        and type(answer.effect) is Effect
        and type(answer.obligations) is tuple
        and all(type(obligation) in _OBLIGATIONS for obligation in answer.obligations)
    )


def _added(before: AuthorizationRequest, after: AuthorizationRequest) -> str:
    """Say what a source has added; claims by their names only."""
    if after is before:
        return "nothing found"
    old, new = before.subject, after.subject
    lists = {
        "fqans": [fqan for fqan in new.fqans if fqan not in old.fqans],
        "groups": sorted(new.groups - old.groups),
        "claims": sorted(new.claims.keys() - old.claims.keys()),
        "attributes": sorted(after.environment.attributes.keys() - before.environment.attributes.keys()),
    }
    told = [
        f"{what} {', '.join(found[:_SHOWN])}{', ...' * (len(found) > _SHOWN)}" for what, found in lists.items() if found
    ]
    for name in lists["attributes"]:
        if name.endswith(".ignored"):  # as gsi.authz.sources calls it
            left_out = ", ".join(after.environment.attributes[name])
            told.append(f"left out: {left_out[:_MAX_REASON_CHARS]}")
    if new.not_after is not None and new.not_after != old.not_after:
        told.append(f"until {new.not_after:%Y-%m-%dT%H:%M:%SZ}")
    return "; ".join(told) or "nothing that has a name"


def _widens(before: AuthorizationRequest, after: object) -> str | None:
    """Return what a source changed that is not its to change, or None."""
    if type(after) is not AuthorizationRequest:
        return f"answered with a {type(after).__name__} that is no request"
    if after is before:
        return None
    if after.action != before.action or after.resource.name != before.resource.name:
        return "changed what is asked"
    if _proof(after.subject) != _proof(before.subject):
        return "changed who asks"
    if earliest(before.subject.not_after, after.subject.not_after) != after.subject.not_after:
        return "changed when the proof ends"
    old, new = before.environment, after.environment
    if (new.now, new.desired_account, new.service) != (old.now, old.desired_account, old.service):
        return "changed the circumstances"
    if not set(before.subject.fqans) <= set(after.subject.fqans) or not before.subject.groups <= after.subject.groups:
        return "took attributes away"
    pairs = (
        (before.subject.claims, after.subject.claims),
        (before.resource.attributes, after.resource.attributes),
        (old.attributes, new.attributes),
    )
    if any(_replaces(first, second) for first, second in pairs):
        return "took attributes away"
    return None


def _replaces(before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    return any(key not in after or after[key] != value for key, value in before.items())


def _proof(subject: Subject) -> tuple[object, ...]:
    return (
        subject.identity,
        subject.identity_der,
        subject.kind,
        subject.limited,
        subject.independent,
        subject.chain,
        subject.issuer,
        subject.authenticated_by,
    )
