"""The syntax tree of an RSL text: values without behaviour; `grammar.py` makes them, `evaluate.py` works out variables.

    &(executable=/bin/echo)(arguments=$(HOME)/x y)

is

    Boolean(Prefix.AND, (
        Relation("executable", EQ, (Literal("/bin/echo"),)),
        Relation("arguments", EQ, (Concatenation((Variable((Literal("HOME"),)), Literal("/x"))), Literal("y"))),
    ))

Texts are Unicode; bytes that are no UTF-8 stand in them as surrogates, so that none is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

__all__ = [
    "Boolean",
    "Concatenation",
    "Literal",
    "Operator",
    "Prefix",
    "Relation",
    "Sequence",
    "Specification",
    "Value",
    "Variable",
]


class Prefix(StrEnum):
    """What joins specifications: all of them, any of them, or each as a job of its own."""

    AND = "&"
    OR = "|"
    MULTI = "+"


class Operator(StrEnum):
    """How a relation compares."""

    EQ = "="
    NE = "!="
    GT = ">"
    GE = ">="
    LT = "<"
    LE = "<="


@dataclass(frozen=True, slots=True)
class Literal:
    """A text."""

    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`$(NAME)`, or `$(NAME "default")`; whatever else stands between the parentheses has no meaning."""

    items: tuple[Value, ...]

    @property
    def name(self) -> str | None:
        """The name; None where something else than a text stands in its place."""
        first = self.items[0]
        return first.text if isinstance(first, Literal) else None

    @property
    def default(self) -> str | None:
        """The default, which the C library parses and never uses; None without one."""
        second = self.items[1] if len(self.items) > 1 else None
        return second.text if isinstance(second, Literal) else None


@dataclass(frozen=True, slots=True)
class Concatenation:
    """`a # b`, or a text beside a variable: two parts or more, literals and variables."""

    parts: tuple[Literal | Variable, ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Values in parentheses: at least one."""

    items: tuple[Value, ...]


Value: TypeAlias = Literal | Variable | Concatenation | Sequence


@dataclass(frozen=True, slots=True)
class Relation:
    """`attribute = value value ...`: at least one value."""

    attribute: str
    operator: Operator
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Boolean:
    """A prefix and what it joins: at least one specification."""

    prefix: Prefix
    operands: tuple[Specification, ...]


Specification: TypeAlias = Boolean | Relation
