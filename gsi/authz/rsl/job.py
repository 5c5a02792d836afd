"""One job as its RSL describes it, ready to be judged; the job manager's reading of the text, and nothing of policy.

    job = describe_job(text, {"HOME": "/home/alice", "LOGNAME": "alice"})
    job.values("executable")              # (Literal("/bin/echo"),)

The job manager takes `&` and relations with `=`; anything else is refused, because what it would make of it is nobody's
guess. An attribute may be there several times: `values` gives all of them together, since it depends on the attribute
which of them the job manager, its scripts and the batch system look at.

Three attributes the job manager evaluates before it knows what `rsl_substitution` defines (`scratch_dir`, `gass_cache`,
`restart`; gct: gram/jobmanager/source/globus_gram_job_manager_request.c). They are evaluated that way here, too: else
`(rsl_substitution = (HOME /sandbox))(scratch_dir = $(HOME))` would be judged as one directory and made in another.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gsi.authz.rsl.evaluate import SUBSTITUTION, canonicalize, evaluate, evaluate_relation
from gsi.authz.rsl.grammar import parse_rsl
from gsi.authz.rsl.values import Boolean, Operator, Prefix, Relation, Value
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NO_JOB", "JobDescription", "describe_job", "describe_update"]

_EARLY: Final = frozenset({"scratchdir", "gasscache", "restart"})


@dataclass(frozen=True, slots=True)
class JobDescription:
    """What a job asks for.

    Attributes:
        attributes: Values by canonical name; those of an attribute that is there several times one after the other.
    """

    attributes: Mapping[str, tuple[Value, ...]]

    def values(self, attribute: str) -> tuple[Value, ...]:
        """Return an attribute's values by its canonical name; none where it is absent."""
        return self.attributes.get(attribute, ())


NO_JOB: Final = JobDescription(MappingProxyType({}))
"""What is known of a job of which there is no RSL."""


def describe_job(text: str, variables: Mapping[str, str]) -> JobDescription:
    """Return the job that an RSL text describes.

    Args:
        text: The RSL, as the client or the job manager wrote it.
        variables: What the job manager defines before it evaluates.

    Raises:
        ParseError: It is no RSL, or describes not exactly one job, or cannot be evaluated.
    """
    tree = canonicalize(parse_rsl(text))
    relations = _relations(tree)
    evaluated = _relations(evaluate(tree, variables))
    found: dict[str, list[Value]] = {}
    for before, after in zip(relations, evaluated, strict=True):
        if after.attribute == SUBSTITUTION:
            continue
        relation = evaluate_relation(before, variables) if before.attribute in _EARLY else after
        found.setdefault(relation.attribute, []).extend(relation.values)
    return JobDescription({attribute: tuple(values) for attribute, values in found.items()})


def describe_update(text: str, job: JobDescription) -> tuple[JobDescription, frozenset[str]]:
    """Return a job as the signal `stdio-update` leaves it, and the attributes that it changes.

    The job manager evaluates an update when it comes, and once more with the whole description after a restart, where
    its variables may mean something else. So one with variables is refused.

    Raises:
        ParseError: It is no RSL, or has variables.
    """
    if any(relation.attribute == SUBSTITUTION for relation in _relations(canonicalize(parse_rsl(text)))):
        raise ParseError("RSL: an update of stdio may not define variables", what="RSL")
    update = describe_job(text, {}).attributes
    return JobDescription({**job.attributes, **update}), frozenset(update)


def _relations(tree: object) -> tuple[Relation, ...]:
    if not isinstance(tree, Boolean) or tree.prefix is not Prefix.AND:
        raise ParseError("RSL: a job begins with &", what="RSL", hint="+ is for clients, which cut it up")
    found: list[Relation] = []
    for operand in tree.operands:
        if not isinstance(operand, Relation) or operand.operator is not Operator.EQ:
            raise ParseError("RSL: a job's description holds attribute = value, and nothing else", what="RSL")
        found.append(operand)
    return tuple(found)
