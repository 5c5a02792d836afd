"""The grammar of the file of job rules, one rule per line; what a rule does to a job is the subject of `rules.py`.

    require dn-like "/O=Grid/OU=Physics/**" to start  jobtag NFC, ADS     because "physicists tag their jobs"
    permit  dn "/O=Grid/OU=Physics/CN=Bo"   to start  executable /sandbox/test1  directory /sandbox/**  count <4
            jobtag ADS  allow arguments, stdout, stderr
    permit  fqan /physics/Role=manager      to status, cancel  jobtag NFC
    permit  authenticated                   to status, cancel  jobowner self
    deny    anyone                          to start  environment LD_PRELOAD

A line is as in the rules file (gsi.authz.rulefile), with its subjects and circumstances, but for the clause `on`; in
addition it may begin with `require`, and speaks of the job:

| clause | |
|---|---|
| an attribute (`executable`, `max_wall_time`, ...; `rsl:NAME` for one that is not known) | `gsi.authz.rsl.conditions` |
| `jobowner` | whose job it is: `self`, a name, a pattern of names |
| `signals` | which signals: `suspend`, `resume`, `priority`, ... |
| `allow` | (permits) attributes that a job may have with whatever values; `*` for those known here |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gsi.authz.lines import Clause, Line, Word, clauses, read_lines
from gsi.authz.rsl.conditions import ATTRIBUTES, KNOWN, LIBRARY_PATH, Condition, parse_condition
from gsi.authz.rsl.evaluate import canonical_name
from gsi.authz.rsl.owner import OwnerCondition
from gsi.authz.rulefile import KEYWORDS, Rule, parse_rule
from gsi.errors import ParseError
from gsi.system.config import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JOB_ACTIONS", "JOB_KEYWORDS", "SIGNALS", "STDIO_UPDATE", "JobRule", "RuleKind", "parse_job_rules"]

JOB_ACTIONS: Final = frozenset(
    {"start", "restart", "status", "cancel", "signal", "register", "unregister", "renew"},
)
"""What can be done to jobs. A start whose description has the attribute `restart` is the action "restart"."""

SIGNALS: Final = {
    "cancel": 1,
    "suspend": 2,
    "resume": 3,
    "priority": 4,
    "commit-request": 5,
    "commit-extend": 6,
    "stdio-update": 7,
    "stdio-size": 8,
    "stop-manager": 9,
    "commit-end": 10,
}
"""gct: gram/protocol/source/globus-gram-protocol-constants.sh."""

STDIO_UPDATE: Final = SIGNALS["stdio-update"]

_OWN: Final = frozenset({"jobowner", "signals", "allow"})
_ATTRIBUTE_WORDS: Final = {word for name in ATTRIBUTES for word in (name, name.replace("_", ""))}
_KEYWORDS: Final = (
    KEYWORDS | _OWN | (_ATTRIBUTE_WORDS - JOB_ACTIONS)
)  # `restart` is an action, and rsl:restart the other
_CIRCUMSTANCES: Final = KEYWORDS - {"on"}
JOB_KEYWORDS: Final = _KEYWORDS - KEYWORDS
"""The clauses about jobs."""

_OTHER: Final = re.compile(r"rsl:[A-Za-z][A-Za-z0-9_]{0,63}\Z", re.ASCII)


class RuleKind(StrEnum):
    """What a rule is for."""

    PERMIT = "permit"
    DENY = "deny"
    REQUIRE = "require"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRule:
    """One rule.

    Attributes:
        line: Where it stands.
        kind: What it is for.
        rule: For whom, for which actions, when, bound to what; a requirement is a denial there.
        conditions: What it says of attributes.
        allowed: Attributes that a permit lets be, by canonical name.
        signals: Which signals, or None where it does not say.
        owner: Whose job, or None where it does not say.
    """

    line: int
    kind: RuleKind
    rule: Rule
    conditions: tuple[Condition, ...] = ()
    allowed: frozenset[str] = frozenset()
    signals: frozenset[int] | None = None
    owner: OwnerCondition | None = None


def parse_job_rules(data: bytes, *, path: str) -> Iterator[JobRule]:
    """Yield the rules of a file; `path` is for errors.

    Raises:
        ConfigError: A line does not follow the grammar.
    """
    for line in read_lines(data, path=path):
        yield _parse_job_rule(line)


def _parse_job_rule(line: Line) -> JobRule:
    first = line.words[0]
    kinds = [kind.value for kind in RuleKind]
    if first is None or first.is_quoted or first.text not in kinds:
        shown = "" if first is None else first.text[:80]
        line.refuse(f"a job rule begins with permit, deny or require, not {shown!r}", hint=nearest(shown, kinds))
    kind = RuleKind(first.text)
    others = frozenset(
        word.text for word in line.words if word is not None and not word.is_quoted and _OTHER.match(word.text)
    )
    around: list[Clause] = []
    job: list[Clause] = []
    for clause in clauses(line, _with_allowed_as_values(line.words[1:]), _KEYWORDS | others):
        if clause.keyword == "on":
            line.refuse("on is for resources, and jobs have none", line=clause.line, hint="service jobmanager-pbs")
        (around if clause.keyword in _CIRCUMSTANCES else job).append(clause)
    rule = parse_rule(_plain_line(line, kind, around))
    _check_actions(line, around)
    return JobRule(line=line.number, kind=kind, rule=rule, **_job_clauses(line, kind, job))  # type: ignore[arg-type]  # each key gets its own type there


def _with_allowed_as_values(words: tuple[Word | None, ...]) -> tuple[Word | None, ...]:
    """Return the words with the names behind `allow` marked as quoted: they are keywords elsewhere."""
    found: list[Word | None] = []
    at = 0
    while at < len(words):
        word = words[at]
        found.append(word)
        at += 1
        if word is None or word.is_quoted or word.text != "allow":
            continue
        while at < len(words):
            name = words[at]
            found.append(None if name is None else Word(name.text, True, name.line))
            at += 1
            if at == len(words) or words[at] is not None:
                break
            found.append(None)
            at += 1
    return tuple(found)


def _plain_line(line: Line, kind: RuleKind, around: list[Clause]) -> Line:
    """Return the line without what it says of the job, as a line of the rules file."""
    effect = "permit" if kind is RuleKind.PERMIT else "deny"
    words: list[Word | None] = [Word(effect, False, line.number)]
    for clause in around:
        words.append(Word(clause.keyword, False, clause.line))
        for index, value in enumerate(clause.values):
            words += [None] if index else []
            words.append(Word(value, True, clause.line))
    return Line(line.path, line.number, tuple(words))


def _check_actions(line: Line, around: list[Clause]) -> None:
    for clause in around:
        if clause.keyword != "to":
            continue
        for value in clause.values:
            action = value.removeprefix("job:")
            if action != "*" and action not in JOB_ACTIONS:
                line.refuse(f"{value[:80]!r} is no action on jobs", line=clause.line, hint=nearest(action, JOB_ACTIONS))


def _job_clauses(line: Line, kind: RuleKind, found: list[Clause]) -> dict[str, object]:
    conditions: list[Condition] = []
    made: dict[str, object] = {}
    seen: set[str] = set()
    for clause in found:
        name = canonical_name(clause.keyword.removeprefix("rsl:"))
        if name in seen:
            line.refuse(f"{clause.keyword} is there twice", line=clause.line, hint="separate its values by commas")
        seen.add(name)
        if not clause.values:
            line.refuse(f"{clause.keyword} needs a value", line=clause.line)
        try:
            if clause.keyword == "jobowner":
                made["owner"] = OwnerCondition(clause.values)
            elif clause.keyword == "signals":
                made["signals"] = frozenset(_signal(value) for value in clause.values)
            elif clause.keyword == "allow":
                if kind is not RuleKind.PERMIT:
                    line.refuse("allow goes with permits only", line=clause.line)
                made["allowed"] = _allowed(clause.values)
            else:
                conditions.append(parse_condition(clause.keyword.removeprefix("rsl:"), clause.values))
        except ParseError as error:
            line.refuse(f"{clause.keyword}: {error.message}", line=clause.line, hint=error.hint)
    if kind is RuleKind.REQUIRE and not (conditions or made):
        line.refuse("the requirement requires nothing", hint="an attribute and its values: jobtag NFC, ADS")
    return {**made, "conditions": tuple(conditions)}


def _signal(text: str) -> int:
    if text not in SIGNALS:
        raise ParseError(f"{text[:80]!r} is no signal", what="signal", hint=nearest(text, SIGNALS))
    return SIGNALS[text]


def _allowed(texts: tuple[str, ...]) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for text in texts:
        if text == "*":
            found |= KNOWN - {LIBRARY_PATH}
            continue
        if text not in _ATTRIBUTE_WORDS and not _OTHER.match(text):
            hint = nearest(text, ATTRIBUTES) or "rsl:NAME for an attribute that is not known"
            raise ParseError(f"{text[:80]!r} is no attribute of jobs", what="attribute", hint=hint)
        found |= {canonical_name(text.removeprefix("rsl:"))}
    return found
