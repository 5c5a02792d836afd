"""Jobs judged by their RSL: the authorizer `rsl`.

    [authorizer.jobs]
    type = "rsl"
    file = "gram.jobs"

    [authorizer.jobs.variables]                 # what the job manager defines beyond HOME, LOGNAME and GLOBUS_ID
    GLOBUS_LOCATION = "/usr"

It speaks of the service type `job` only. The idea is that of Keahey and Welch (arXiv cs/0311025): requirements, which
must hold for everybody of whom they speak, and permissions, one of which must hold; RSL itself says what of the job. In
this order:

1. The description is evaluated as the job manager does it (`job.py`). A start whose description cannot be is denied.
2. A denial of which all clauses may hold denies, and so does a requirement for this subject and action that is not
   surely met; the first of them in the file gives the reason.
3. The first permit that surely holds permits, with its obligations. A permit of a start holds only if it speaks of
   every attribute of the job, by a condition or in `allow`; a few that decide nothing need not be spoken of.
4. Else a start is denied. For other actions there is no answer, so that the owner's own rights, or another authorizer,
   decide.

The signal `stdio-update` is judged twice. Before anything else come the denials and requirements of a start that speak
of what the update changes: they hold for it as well. And where no permit names the signal, a permit of a start must
cover the change; else it is denied, so that the owner's own rights cannot be more than a start's.

Environment variables that have other code run (`LD_PRELOAD`, `PATH`, ...) are covered neither by `allow` nor by `*`.
`library_path`, which becomes one of them, is not covered by `allow *`, and neither are attributes that are not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003  the policy's reader looks the type of a setting up
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gsi.authz.decision import Action, AuthorizationRequest, Decision, Effect, Resource, deny, not_applicable
from gsi.authz.lines import MAX_POLICY_BYTES
from gsi.authz.registry import Place, Plugin
from gsi.authz.rsl.conditions import parse_condition
from gsi.authz.rsl.job import NO_JOB, JobDescription, describe_job, describe_update
from gsi.authz.rsl.owner import Owner, owner_of
from gsi.authz.rsl.rulefile import SIGNALS, STDIO_UPDATE, JobRule, RuleKind, parse_job_rules
from gsi.authz.rules import RulesAuthorizer
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["HARMLESS", "PLUGIN", "RslAuthorizer", "RslSettings"]

HARMLESS: Final = frozenset({"twophase", "savestate", "dryrun", "proxytimeout", "expiration", "grammyjob"})
"""Attributes that no permit needs to speak of: they name no file, no program, and no resource."""

_STARTS: Final = frozenset({"start", "restart"})
_ENVIRONMENT: Final = "environment"
_ANY_ENVIRONMENT: Final = parse_condition(_ENVIRONMENT, ("*",))
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z", re.ASCII)
_NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class RslSettings:
    """What a policy file says of job rules.

    Attributes:
        file: The file of rules, relative to the policy file.
        variables: What the job manager defines for RSL beyond HOME, LOGNAME and GLOBUS_ID. For one that is another for
            each job (SCRATCH_DIRECTORY), what rules see in its place.
    """

    file: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.variables:
            if not _VARIABLE_NAME.match(name):
                raise ParseError(f"{name[:80]!r} is no name of a variable", what="variables")


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a request says of its job."""

    action: str
    job: JobDescription
    variables: Mapping[str, str]
    owner: Owner
    signal: int | None
    changes: frozenset[str] = frozenset()
    """What an update of stdio changes; `job` is the job as it leaves it."""


class RslAuthorizer:
    """Judges jobs. Immutable; safe for several threads."""

    def __init__(
        self, name: str, rules: Iterable[JobRule], *, path: str = "", variables: Mapping[str, str] = _NO_VARIABLES
    ) -> None:
        """Make it.

        Args:
            name: What the policy calls it.
            rules: The rules, in the order of the file.
            path: The file, for reasons.
            variables: As in `RslSettings`.
        """
        self._name = name
        self.path = path
        self._variables = dict(variables)
        self._rules = {rule.line: rule for rule in rules}
        self._index = RulesAuthorizer(name, (rule.rule for rule in self._rules.values()), path=path)
        self._silent = not_applicable(name)
        self._other = not_applicable(name, "it judges jobs, and nothing else")

    @property
    def name(self) -> str:
        """What the policy calls it."""
        return self._name

    @property
    def rules(self) -> Sequence[JobRule]:
        """The rules, in the order of the file."""
        return tuple(self._rules.values())

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Judge one request.

        Raises:
            ParseError: The description of a job that is there already cannot be read, or a name is odd.
        """
        if request.action.service != "job":
            return self._other
        try:
            facts = self._facts(request)
        except ParseError as error:
            if request.action.name != "start":
                raise
            return deny(self._name, f"the description of the job: {error.message}")
        if facts.action == "signal" and facts.signal == STDIO_UPDATE:
            return self._decide_update(request, facts)
        return self._decide_action(request, facts)

    def _holding(self, request: AuthorizationRequest, action: str) -> Iterator[tuple[JobRule, Decision]]:
        """Yield the rules for this subject and action, denials and requirements first."""
        # The resource is the service's name or the job's number, and no rule speaks of either.
        asked = replace(request, action=Action(action, "job"), resource=Resource())
        for held, answer in self._index.holding(asked):
            yield self._rules[held.line], answer

    def _decide_action(self, request: AuthorizationRequest, facts: _Facts) -> Decision:
        reason = "no rule permits it"
        for rule, answer in self._holding(request, facts.action):
            refusal = _refusal(rule, facts, answer)
            if refusal is not None:
                return refusal
            if rule.kind is RuleKind.PERMIT:
                missing = _failure(rule, facts) or _unspoken(rule, facts)
                if missing is None:
                    return answer
                reason = f"{reason}; {answer.reason}: {missing}" if len(reason) < _LONG_REASON else reason
        if facts.action in _STARTS:
            return deny(self._name, reason)
        return self._silent

    def _decide_update(self, request: AuthorizationRequest, facts: _Facts) -> Decision:
        """Judge an update of stdio."""
        texts = request.resource.attributes.get("update", ())
        if len(texts) != 1:
            return deny(self._name, "the service does not say what the update of stdio changes")
        try:
            job, changes = describe_update(texts[0], facts.job)
        except ParseError as error:
            return deny(self._name, f"the update of stdio: {error.message}")
        changed = replace(facts, action="start", job=job, changes=changes)
        reason = "no rule permits a start with this update of stdio"
        covered = False
        for rule, answer in self._holding(request, "start"):
            if rule.kind is RuleKind.PERMIT:
                missing = _update_failure(rule, changed)
                covered = covered or missing is None
                reason = f"{reason}; {answer.reason}: {missing}" if len(reason) < _LONG_REASON else reason
            elif any(condition.attribute in changes for condition in rule.conditions):
                refusal = _refusal(rule, changed, answer)
                if refusal is not None:
                    return refusal
        decision = self._decide_action(request, facts)
        if decision.effect is Effect.NOT_APPLICABLE and not covered:
            return deny(self._name, reason)
        return decision

    def _facts(self, request: AuthorizationRequest) -> _Facts:
        attributes = request.resource.attributes
        given = dict(each.split("=", 1) for each in attributes.get("variables", ()) if "=" in each)
        variables = self._variables | given
        texts = attributes.get("rsl", ())
        action = request.action.name
        if len(texts) > 1 or (action == "start" and not texts):
            raise ParseError("there must be one description", what="job")
        job = describe_job(texts[0], variables) if texts and texts[0] else NO_JOB
        if action == "start" and job.values("restart"):
            action = "restart"
        numbers = attributes.get("signal", ())
        signal = int(numbers[0]) if len(numbers) == 1 and numbers[0].isascii() and numbers[0].isdigit() else None
        return _Facts(action, job, variables, owner_of(request), signal)


_LONG_REASON: Final = 1000
"""Enough of the permits that nearly held to find the one that was meant."""


def _refusal(rule: JobRule, facts: _Facts, answer: Decision) -> Decision | None:
    """Return the denial of a rule that denies or requires, or None where it refuses nothing."""
    if rule.kind is RuleKind.DENY:
        return answer if _may_hold(rule, facts) else None
    if rule.kind is RuleKind.REQUIRE:
        missing = _failure(rule, facts)
        if missing is not None:
            return replace(answer, reason=f"{answer.reason}: required, but {missing}")
    return None


def _failure(rule: JobRule, facts: _Facts) -> str | None:
    """Return why a permit or requirement is not surely met, or None."""
    is_required = rule.kind is RuleKind.REQUIRE
    for condition in rule.conditions:
        found = condition.failure(facts.job, facts.variables, with_loader=is_required)
        if found is not None:
            return found
    if rule.owner is not None:
        found = rule.owner.failure(facts.owner)
        if found is not None:
            return found
    signals = _USUAL_SIGNALS if rule.signals is None and rule.kind is RuleKind.PERMIT else rule.signals
    if facts.action == "signal" and signals is not None and facts.signal not in signals:
        return "the signal is not allowed"
    return None


_USUAL_SIGNALS: Final = frozenset(SIGNALS.values()) - {STDIO_UPDATE}
"""The signals of a permit that names none. An update of stdio brings an RSL with it, and needs to be named."""


def _unspoken(rule: JobRule, facts: _Facts) -> str | None:
    """Return which attribute of a job that is to be started a permit does not speak of, or None."""
    if facts.action not in _STARTS:
        return None
    spoken = {condition.attribute for condition in rule.conditions}
    for attribute in facts.job.attributes:
        if attribute in spoken:
            continue
        if attribute not in rule.allowed and attribute not in HARMLESS:
            return f"the rule does not speak of {attribute}"
        if attribute == _ENVIRONMENT:
            found = _ANY_ENVIRONMENT.failure(facts.job, facts.variables)
            if found is not None:
                return found
    return None


def _update_failure(rule: JobRule, facts: _Facts) -> str | None:
    """Return why a permit of a start does not cover what an update changes, or None.

    The job is known as the job manager has completed it. So clauses that let an attribute be absent cannot be looked at
    again, nor those of the environment, unless it is they that change.
    """
    for condition in rule.conditions:
        if condition.attribute in facts.changes or not (
            condition.allows_absence or condition.attribute == _ENVIRONMENT
        ):
            found = condition.failure(facts.job, facts.variables)
            if found is not None:
                return found
    if rule.owner is not None:
        found = rule.owner.failure(facts.owner)
        if found is not None:
            return found
    changed = {attribute: facts.job.values(attribute) for attribute in facts.changes}
    return _unspoken(rule, replace(facts, job=JobDescription(changed)))


def _may_hold(rule: JobRule, facts: _Facts) -> bool:
    """Say whether everything that a denial says may hold."""
    if not all(condition.may_hold(facts.job, facts.variables) for condition in rule.conditions):
        return False
    if rule.owner is not None and not rule.owner.may_hold(facts.owner):
        return False
    return rule.signals is None or (facts.action == "signal" and (facts.signal is None or facts.signal in rule.signals))


def _build(name: str, settings: RslSettings, place: Place) -> RslAuthorizer:
    path, data = place.read(settings.file, max_bytes=MAX_POLICY_BYTES)
    rules = list(parse_job_rules(data, path=path))
    if not rules:
        place.problems.append(f"{path} holds no rule")
    for rule in rules:
        if _starts_nothing(rule):
            place.problems.append(f"{path}:{rule.line}: it permits to start no job: it does not speak of executable")
    return RslAuthorizer(name, rules, path=path, variables=settings.variables)


def _starts_nothing(rule: JobRule) -> bool:
    return (
        rule.kind is RuleKind.PERMIT
        and any(action == "start" for _, action in rule.rule.actions)
        and "executable" not in rule.allowed | {condition.attribute for condition in rule.conditions}
    )


PLUGIN: Final = Plugin(RslSettings, _build, "judges jobs by their RSL", may_block=False)
