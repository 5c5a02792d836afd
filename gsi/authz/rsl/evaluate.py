"""What an RSL text means once its variables are worked out, as the job manager does it; judges nothing.

    tree = canonicalize(parse_rsl(text))
    evaluate(tree, {"HOME": "/home/alice", "LOGNAME": "alice"})

gct: gram/rsl/source/globus_rsl.c, globus_rsl_eval. The rules, each held to the C library:

- Relations are evaluated in order. `(rsl_substitution = (NAME value) ...)` defines names for what follows it, within
  its `&`, `|` or `+` and those inside it; it may use what is defined before. So nothing can refer to itself.
- A name that is defined twice in one place keeps its first value; one of an outer place is hidden.
- A variable that is not defined is an error. A default, `$(NAME "x")`, is an error as well, always.
- The relation itself stays, with its values worked out.

A few bytes can double and double again what comes out, so that the amount is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.authz.rsl.values import (
    Boolean,
    Concatenation,
    Literal,
    Relation,
    Sequence,
    Specification,
    Value,
    Variable,
)
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_EVALUATED_CHARS", "SUBSTITUTION", "canonical_name", "canonicalize", "evaluate", "evaluate_relation"]

MAX_EVALUATED_CHARS: Final = 1 << 20
"""The most that all variables and concatenations together may make: sixteen times what GRAM takes in one request."""

SUBSTITUTION: Final = "rslsubstitution"
"""The attribute that defines variables, by its canonical name."""

_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)} | {ord("_"): None}


def canonical_name(attribute: str) -> str:
    """Return an attribute's name as it is compared: ASCII letters small, without `_`."""
    return attribute.translate(_LOWER)


def canonicalize(specification: Specification) -> Specification:
    """Return the tree with canonical names of attributes."""
    if isinstance(specification, Boolean):
        return Boolean(specification.prefix, tuple([canonicalize(operand) for operand in specification.operands]))
    return Relation(canonical_name(specification.attribute), specification.operator, specification.values)


def evaluate(specification: Specification, variables: Mapping[str, str]) -> Specification:
    """Return the tree with literals in place of variables and concatenations.

    Args:
        specification: The tree.
        variables: What is defined outside of it.

    Raises:
        ParseError: A variable is not defined, a substitution is none, or far too much would come out.
    """
    return _Evaluation().specification(specification, [dict(variables)])


def evaluate_relation(relation: Relation, variables: Mapping[str, str]) -> Relation:
    """Return one relation evaluated by itself: what others beside it define does not count.

    Raises:
        ParseError: As for `evaluate`.
    """
    return _Evaluation().relation(relation, [dict(variables)])


class _Evaluation:
    """One evaluation, and how much it may still make."""

    def __init__(self) -> None:
        self._left = MAX_EVALUATED_CHARS

    def specification(self, specification: Specification, scopes: list[dict[str, str]]) -> Specification:
        if isinstance(specification, Relation):
            return self.relation(specification, scopes)
        inner = [*scopes, {}]
        return Boolean(
            specification.prefix, tuple([self.specification(operand, inner) for operand in specification.operands])
        )

    def relation(self, relation: Relation, scopes: list[dict[str, str]]) -> Relation:
        if canonical_name(relation.attribute) == SUBSTITUTION:
            values: tuple[Value, ...] = tuple([self._define(value, scopes) for value in relation.values])
        else:
            values = tuple([self._value(value, scopes) for value in relation.values])
        return Relation(relation.attribute, relation.operator, values)

    def _define(self, value: Value, scopes: list[dict[str, str]]) -> Sequence:
        if not isinstance(value, Sequence) or len(value.items) != 2:
            raise _fail("a substitution is not (NAME value)")
        name, text = (self._text(item, scopes) for item in value.items)
        scopes[-1].setdefault(name, text)
        return Sequence((Literal(name), Literal(text)))

    def _value(self, value: Value, scopes: list[dict[str, str]]) -> Value:
        if isinstance(value, Sequence):
            return Sequence(tuple([self._value(item, scopes) for item in value.items]))
        return Literal(self._text(value, scopes))

    def _text(self, value: Value, scopes: list[dict[str, str]]) -> str:
        match value:
            case Literal(text):
                return text
            case Variable():
                return self._spend(_look_up(value, scopes))
            case Concatenation(parts):
                return self._spend("".join([self._text(part, scopes) for part in parts]))
            case Sequence():
                raise _fail("a list stands where a text must")

    def _spend(self, text: str) -> str:
        self._left -= len(text)
        if self._left < 0:
            raise _fail(f"variables would grow to more than {MAX_EVALUATED_CHARS} characters")
        return text


def _look_up(variable: Variable, scopes: list[dict[str, str]]) -> str:
    name = variable.name
    if name is None:
        raise _fail("the name of a variable is no text")
    if len(variable.items) > 1:
        raise _fail(f"the variable {name[:80]!a} has a default, which the job manager does not take")
    for scope in reversed(scopes):
        if name in scope:
            return scope[name]
    raise _fail(f"the variable {name[:80]!a} is not defined")


def _fail(message: str) -> ParseError:
    return ParseError(f"RSL: {message}", what="RSL")
