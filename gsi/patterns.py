r"""Regular expressions matched in bounded time: POSIX extended ones, for policy files and patterns from users.

    expression = parse_expression("/O=Grid/CN=(Alice|Bob).*")
    expression.matches("/O=Grid/CN=Alice Smith")       # True: the whole text must match

Python's `re` backtracks and can be driven to exponential time; here the expression becomes a non-deterministic
automaton that is walked for all its states at once, so that one match costs at most states x characters, and both are
bounded. Moves made before are remembered, up to a bound, so that the usual match costs a look-up per character.

The grammar is that of POSIX 1003.1 section 9.4 in the C locale. Refused beyond it: back-references (not regular), word
anchors such as `\<`, and unbalanced parentheses. What an expression stands for is the subject of those who use it:
`gsi.trust.namespaces`, the access policies of MyProxy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from gsi.errors import ParseError

__all__ = ["MAX_NESTING", "MAX_REPEAT", "MAX_STATES", "MAX_TEXT_CHARS", "Budget", "Expression", "parse_expression"]

MAX_TEXT_CHARS: Final = 4096
"""The longest text an expression is tried on: ten times the longest names of grids. Longer ones never match."""

MAX_STATES: Final = 2560
"""Automaton states of one expression: thousand characters or stars fit; repetition counts may not."""

MAX_REPEAT: Final = 255
"""The largest number inside `{n,m}` (RE_DUP_MAX of POSIX)."""

MAX_NESTING: Final = 40
"""Parentheses, or operators in a row, inside each other; nobody writes more, and the parser recurses for each."""

_MAX_MOVES: Final = 512  # moves remembered of one expression; a name of 100 characters makes 100
_MAX_MOVE_STATES: Final = 32  # and only such that lead to few states, so that the memory stays below some 100 kB

_PLAIN: Final = re.compile(r"[^|()*+?{^$.\[\\]+(?![*+?{])")  # characters that stand for themselves, once each
_INTERVAL: Final = re.compile(r"\{([0-9]{0,5})(,?)([0-9]{0,5})\}")
_BRACKET_CLASS: Final = re.compile(r"\[:([a-z]+):\]")
_BRACKET_ELEMENT: Final = re.compile(r"\[([.=])(.)\1\]", re.DOTALL)

_ASCII: Final = frozenset(map(chr, range(1, 128)))
_GRAPHIC: Final = frozenset(map(chr, range(33, 127)))
_ALNUM: Final = frozenset(c for c in _ASCII if c.isalnum())
_SPACE: Final = frozenset(" \t\n\v\f\r")
_WORD: Final = _ALNUM | {"_"}

_CLASSES: Final = {
    "alpha": frozenset(c for c in _ASCII if c.isalpha()),
    "digit": frozenset("0123456789"),
    "alnum": _ALNUM,
    "upper": frozenset(c for c in _ASCII if c.isupper()),
    "lower": frozenset(c for c in _ASCII if c.islower()),
    "space": _SPACE,
    "blank": frozenset(" \t"),
    "punct": _GRAPHIC - _ALNUM,
    "print": _GRAPHIC | {" "},
    "graph": _GRAPHIC,
    "cntrl": frozenset(c for c in _ASCII if not c.isprintable()),
    "xdigit": frozenset("0123456789abcdefABCDEF"),
}
"""POSIX character classes in the C locale: only ASCII characters belong to any."""


@dataclass(frozen=True, slots=True)
class _Chars:
    """One character out of a set: members and ranges, or everything but those."""

    members: frozenset[str] = frozenset()
    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False
    any_case: bool = False

    def holds(self, char: str) -> bool:
        inside = self._has(char) or (self.any_case and char.isascii() and self._has(char.swapcase()))
        return inside is not self.negated

    def _has(self, char: str) -> bool:
        return char in self.members or any(low <= char <= high for low, high in self.ranges)


@lru_cache(maxsize=512)
def _one(char: str, any_case: bool) -> _Chars:
    return _Chars(frozenset(char), any_case=any_case)


@dataclass(frozen=True, slots=True)
class _Anchor:
    """No character: holds at the start (`^`) or at the end (`$`) of the text."""

    at_start: bool


@dataclass(frozen=True, slots=True)
class _Sequence:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    options: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    item: _Node
    low: int
    high: int | None


_Node = _Chars | _Anchor | _Sequence | _Choice | _Repeat


class _Parser:
    """Recursive descent over the text."""

    def __init__(self, text: str, what: str, *, any_case: bool, bracket_escapes: bool) -> None:
        self._text = text
        self._what = what
        self._any_case = any_case
        self._bracket_escapes = bracket_escapes
        self._at = 0
        self._depth = 0

    def parse(self) -> _Node:
        node = self._choice()
        if self._at != len(self._text):
            raise self._refuse("closes a parenthesis that was not opened", self._at)
        return node

    def _refuse(self, why: str, offset: int | None = None) -> ParseError:
        return ParseError(f"{self._what} {why}", what=self._what, offset=offset)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _choice(self) -> _Node:
        options = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            options.append(self._sequence())
        return options[0] if len(options) == 1 else _Choice(tuple(options))

    def _sequence(self) -> _Node:
        items: list[_Node] = []
        while (char := self._peek()) and char not in "|)":
            if plain := _PLAIN.match(self._text, self._at):
                items += [_one(char, self._any_case) for char in plain[0]]
                self._at = plain.end()
                continue
            item = self._atom(char)
            if self._any_case and isinstance(item, _Chars):
                item = replace(item, any_case=True)
            items.append(item if isinstance(item, _Anchor) else self._repeated(item))
        return _Sequence(tuple(items))

    def _atom(self, char: str) -> _Node:
        start = self._at
        self._at += 1
        match char:
            case "*" | "+" | "?" | "{":
                raise self._refuse(f"repeats nothing: {char!r} has nothing before it", start)
            case "^" | "$":
                return _Anchor(at_start=char == "^")
            case ".":
                return _Chars(negated=True)
            case "(":
                return self._group(start)
            case "[":
                return self._bracket(start)
            case "\\":
                return self._escape(start)
            case _:
                return _Chars(frozenset(char))

    def _group(self, start: int) -> _Node:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise self._refuse("nests too deeply", start)
        node = self._choice()
        if self._peek() != ")":
            raise self._refuse("opens a parenthesis that is not closed", start)
        self._at += 1
        self._depth -= 1
        return node

    def _escape(self, start: int) -> _Node:
        char = self._peek()
        self._at += 1
        if not char:
            raise self._refuse("ends in a backslash", start)
        if char in "123456789":
            raise self._refuse(f"holds the back-reference \\{char}, which is not supported", start)
        if char in "bB<>`'":
            raise self._refuse(f"holds the anchor \\{char}, which is not supported", start)
        if char in "wWsS":
            return _Chars(_WORD if char in "wW" else _SPACE, negated=char.isupper())
        return _Chars(frozenset(char))

    def _repeated(self, item: _Node) -> _Node:
        for _ in range(MAX_NESTING):
            match self._peek():
                case "*":
                    item = _Repeat(item, 0, None)
                case "+":
                    item = _Repeat(item, 1, None)
                case "?":
                    item = _Repeat(item, 0, 1)
                case "{":
                    item = self._interval(item)
                    continue
                case _:
                    return item
            self._at += 1
        raise self._refuse("has too many repetitions in a row", self._at)

    def _interval(self, item: _Node) -> _Node:
        found = _INTERVAL.match(self._text, self._at)
        if found is None or not (found[1] or found[2]):
            raise self._refuse("has a malformed {n,m}", self._at)
        low = int(found[1] or 0)
        high = int(found[3]) if found[3] else None if found[2] else low
        if low > MAX_REPEAT or (high is not None and not low <= high <= MAX_REPEAT):
            raise self._refuse(f"has a {{n,m}} out of order or above {MAX_REPEAT}", self._at)
        self._at = found.end()
        return _Repeat(item, low, high)

    def _bracket(self, start: int) -> _Node:
        """Parse what follows `[`: `]` is plain in the first place, and so is a backslash everywhere but on request."""
        negated = self._peek() == "^"
        self._at += negated
        members: set[str] = set()
        ranges: list[tuple[str, str]] = []
        first = True
        while first or self._peek() != "]":
            if found := _BRACKET_CLASS.match(self._text, self._at):
                if found[1] not in _CLASSES:
                    raise self._refuse(f"names the unknown class [:{found[1]}:]", self._at)
                members |= _CLASSES[found[1]]
                self._at = found.end()
            else:
                low = self._element(start, may_be_hyphen=first)
                if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in {"]", ""}:
                    self._at += 1
                    ranges.append((low, self._element(start, may_be_hyphen=True)))
                else:
                    members.add(low)
            first = False
        self._at += 1
        if any(low > high for low, high in ranges):
            raise self._refuse("has a range whose end comes before its start", start)
        return _Chars(frozenset(members), tuple(ranges), negated)

    def _element(self, start: int, *, may_be_hyphen: bool) -> str:
        if found := _BRACKET_ELEMENT.match(self._text, self._at):
            self._at = found.end()
            return found[2]
        char = self._peek()
        if not char:
            raise self._refuse("opens a bracket that is not closed", start)
        if char == "[" and self._text[self._at + 1 : self._at + 2] in {".", "=", ":"}:
            raise self._refuse("has a malformed [. .], [= =] or [: :]", self._at)
        if char == "-" and not may_be_hyphen and self._text[self._at + 1 : self._at + 2] != "]":
            raise self._refuse("has a hyphen between two ranges", self._at)
        self._at += 1
        if char == "\\" and self._bracket_escapes:
            return self._escaped_element(start)
        return char

    def _escaped_element(self, start: int) -> str:
        char = self._peek()
        if not char or char.isalnum():
            raise self._refuse("has a backslash before a letter or digit in a bracket, or at its end", start)
        self._at += 1
        return char


@dataclass(slots=True)
class _Automaton:
    """States by number: what a state consumes or demands, and where it leads. State 0 accepts."""

    what: str
    demands: list[_Chars | _Anchor | None] = field(default_factory=lambda: [None])
    targets: list[tuple[int, ...]] = field(default_factory=lambda: [()])

    def add(self, demand: _Chars | _Anchor | None, *targets: int) -> int:
        if len(self.demands) >= MAX_STATES:
            raise ParseError(f"{self.what} is too large: it repeats too much", what=self.what)
        self.demands.append(demand)
        self.targets.append(targets)
        return len(self.demands) - 1

    def build(self, node: _Node, after: int) -> int:
        """Add the states of a node that go on to `after`; return the entry. Each call adds at least one state."""
        match node:
            case _Chars() | _Anchor():
                return self.add(node, after)
            case _Sequence(items):
                entry = self.add(None, after) if not items else after
                for item in reversed(items):
                    entry = self.build(item, entry)
                return entry
            case _Choice(options):
                return self.add(None, *[self.build(option, after) for option in options])
            case _Repeat(item, low, high):
                return self._build_repeat(item, low, high, after)

    def _build_repeat(self, item: _Node, low: int, high: int | None, after: int) -> int:
        entry = self.add(None, after)
        if high is None:
            self.targets[entry] = (self.build(item, entry), after)
        else:
            for _ in range(high - low):
                entry = self.add(None, self.build(item, entry), after)
        for _ in range(low):
            entry = self.build(item, entry)
        return entry


class Budget:
    """Steps that several matches may take together.

    Attributes:
        left: How many are left.
    """

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int, what: str) -> None:
        """Take steps off.

        Raises:
            ParseError: There are not so many left.
        """
        self.left -= steps
        if self.left < 0:
            raise ParseError(f"{what} takes too many steps to match", what=what)


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression. Equal when text and manner are equal.

    Attributes:
        text: The expression as it was written.
        ignore_case: Whether ASCII letters match in either case.
    """

    text: str
    ignore_case: bool
    _automaton: _Automaton = field(repr=False, compare=False)
    _entry: int = field(repr=False, compare=False)
    _moves: dict[tuple[frozenset[int], str, bool], frozenset[int]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def matches(self, text: str, budget: Budget | None = None) -> bool:
        """Say whether the whole text matches. One longer than `MAX_TEXT_CHARS`, or with a NUL, never does.

        Args:
            text: The text.
            budget: Steps that may be taken; None for as many as it needs.

        Raises:
            ParseError: The budget is used up.
        """
        if len(text) > MAX_TEXT_CHARS or "\0" in text:
            return False
        active = self._reach([self._entry], at_start=True, at_end=not text)
        end = len(text) - 1
        for index, char in enumerate(text):
            key = (active, char, index == end)
            found = self._moves.get(key)
            if found is None:
                found = self._move(*key)
                if len(self._moves) < _MAX_MOVES and len(found) <= _MAX_MOVE_STATES >= len(active):
                    self._moves[key] = found
                if budget is not None:
                    budget.spend(len(active) + len(found), self._automaton.what)
            elif budget is not None:
                budget.spend(1, self._automaton.what)
            if not found:
                return False
            active = found
        return 0 in active

    def _move(self, active: frozenset[int], char: str, at_end: bool) -> frozenset[int]:
        """Return the states that are reached by consuming a character."""
        demands, targets = self._automaton.demands, self._automaton.targets
        onward = [
            target
            for state in active
            if isinstance(demand := demands[state], _Chars) and demand.holds(char)
            for target in targets[state]
        ]
        return self._reach(onward, at_start=False, at_end=at_end)

    def _reach(self, states: list[int], *, at_start: bool, at_end: bool) -> frozenset[int]:
        """Return the states that are reached without consuming a character."""
        seen: set[int] = set()
        todo = states
        while todo:
            state = todo.pop()
            if state in seen:
                continue
            seen.add(state)
            demand = self._automaton.demands[state]
            if demand is None or (isinstance(demand, _Anchor) and (at_start if demand.at_start else at_end)):
                todo.extend(self._automaton.targets[state])
        return frozenset(seen)


def parse_expression(
    text: str, *, what: str = "expression", ignore_case: bool = False, bracket_escapes: bool = False
) -> Expression:
    """Parse an expression.

    Args:
        text: The expression.
        what: What it is called in errors.
        ignore_case: Let ASCII letters match in either case; no other character has two.
        bracket_escapes: Let a backslash inside `[...]` give back the punctuation behind it, as outside; by POSIX it is
            a plain character there.

    Raises:
        ParseError: It is no valid expression, uses what is not supported, or is too large.
    """
    automaton = _Automaton(what)
    parser = _Parser(text, what, any_case=ignore_case, bracket_escapes=bracket_escapes)
    entry = automaton.build(parser.parse(), 0)
    return Expression(text, ignore_case, automaton, entry)
