r"""The pattern language of MyProxy's access policies, matched in bounded time; not who may do what.

    pattern = parse_pattern("*/CN=Alice*")
    pattern.matches("/O=Grid/CN=Alice Smith")       # True

A pattern is a POSIX extended regular expression with three short forms: `*` stands for any text, `?` for one
character, `.` for itself; `\*`, `\?` and `\.` give back the operators that the short forms displaced. Everything
else of the expression language is live: `|`, `(...)`, `[...]`, `+`, `{n,m}`, `^`, `$`. The whole name must match, case
included (gct:myproxy/source/myproxy_server.c, regex_compare).

Patterns come from users (the RETRIEVER line of a request), so matching must not be made slow by their choice. Python's
`re` backtracks and can be driven to exponential time; here the expression becomes a non-deterministic automaton that is
walked for all its states at once, so that one match costs at most states x characters, and both are bounded.

Stricter than the C server, on purpose: back-references (not regular), word anchors such as `\<`, and unbalanced
parentheses (in C `a)|(b` breaks out of the anchors that surround the pattern) are refused when a pattern is parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from gsi.errors import ParseError

__all__ = ["MAX_NAME_CHARS", "MAX_PATTERN_CHARS", "MAX_STATES", "Pattern", "parse_pattern"]

MAX_PATTERN_CHARS: Final = 1023
"""The longest pattern: as long as a line of the C server's configuration file can be."""

MAX_NAME_CHARS: Final = 1023
"""The longest name a pattern is tried on: what the C server keeps of a name. Longer ones never match."""

MAX_STATES: Final = 2560
"""Automaton states of one pattern: the longest pattern of plain text or stars fits; repetition counts may not."""

MAX_REPEAT: Final = 255
"""The largest number inside `{n,m}` (RE_DUP_MAX of POSIX)."""

MAX_NESTING: Final = 40
"""Parentheses, or operators in a row, inside each other; nobody writes more, and the parser recurses for each."""

_SHORT_FORMS: Final = re.compile(r"\\.|[*?.]", re.DOTALL)
_EXPANSIONS: Final = {"*": ".*", "?": ".", ".": "\\.", "\\*": "*", "\\?": "?", "\\.": "."}
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

    def holds(self, char: str) -> bool:
        inside = char in self.members or any(low <= char <= high for low, high in self.ranges)
        return inside is not self.negated


@dataclass(frozen=True, slots=True)
class _Anchor:
    """No character: holds at the start (`^`) or at the end (`$`) of the name."""

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


def _refuse(why: str, offset: int | None = None) -> ParseError:
    return ParseError(f"access pattern {why}", what="access pattern", offset=offset)


class _Parser:
    """Recursive descent over the expanded expression; offsets are those of the expanded text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def parse(self) -> _Node:
        node = self._choice()
        if self._at != len(self._text):
            raise _refuse("closes a parenthesis that was not opened", self._at)
        return node

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
            item = self._atom(char)
            items.append(item if isinstance(item, _Anchor) else self._repeated(item))
        return _Sequence(tuple(items))

    def _atom(self, char: str) -> _Node:
        start = self._at
        self._at += 1
        match char:
            case "*" | "+" | "?" | "{":
                raise _refuse(f"repeats nothing: {char!r} has nothing before it", start)
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
            raise _refuse("nests too deeply", start)
        node = self._choice()
        if self._peek() != ")":
            raise _refuse("opens a parenthesis that is not closed", start)
        self._at += 1
        self._depth -= 1
        return node

    def _escape(self, start: int) -> _Node:
        char = self._peek()
        self._at += 1
        if not char:
            raise _refuse("ends in a backslash", start)
        if char in "123456789":
            raise _refuse(f"holds the back-reference \\{char}, which is not supported", start)
        if char in "bB<>`'":
            raise _refuse(f"holds the anchor \\{char}, which is not supported", start)
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
        raise _refuse("has too many repetitions in a row", self._at)

    def _interval(self, item: _Node) -> _Node:
        found = _INTERVAL.match(self._text, self._at)
        if found is None or not (found[1] or found[2]):
            raise _refuse("has a malformed {n,m}", self._at)
        low = int(found[1] or 0)
        high = int(found[3]) if found[3] else None if found[2] else low
        if low > MAX_REPEAT or (high is not None and not low <= high <= MAX_REPEAT):
            raise _refuse(f"has a {{n,m}} out of order or above {MAX_REPEAT}", self._at)
        self._at = found.end()
        return _Repeat(item, low, high)

    def _bracket(self, start: int) -> _Node:
        """Parse what follows `[`: a backslash is plain here, and `]` is plain in the first place."""
        negated = self._peek() == "^"
        self._at += negated
        members: set[str] = set()
        ranges: list[tuple[str, str]] = []
        first = True
        while first or self._peek() != "]":
            if found := _BRACKET_CLASS.match(self._text, self._at):
                if found[1] not in _CLASSES:
                    raise _refuse(f"names the unknown class [:{found[1]}:]", self._at)
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
            raise _refuse("has a range whose end comes before its start", start)
        return _Chars(frozenset(members), tuple(ranges), negated)

    def _element(self, start: int, *, may_be_hyphen: bool) -> str:
        if found := _BRACKET_ELEMENT.match(self._text, self._at):
            self._at = found.end()
            return found[2]
        char = self._peek()
        if not char:
            raise _refuse("opens a bracket that is not closed", start)
        if char == "[" and self._text[self._at + 1 : self._at + 2] in {".", "=", ":"}:
            raise _refuse("has a malformed [. .], [= =] or [: :]", self._at)
        if char == "-" and not may_be_hyphen and self._text[self._at + 1 : self._at + 2] != "]":
            raise _refuse("has a hyphen between two ranges", self._at)
        self._at += 1
        return char


@dataclass(slots=True)
class _Automaton:
    """States by number: what a state consumes or demands, and where it leads. State 0 accepts."""

    demands: list[_Chars | _Anchor | None] = field(default_factory=lambda: [None])
    targets: list[tuple[int, ...]] = field(default_factory=lambda: [()])

    def add(self, demand: _Chars | _Anchor | None, *targets: int) -> int:
        if len(self.demands) >= MAX_STATES:
            raise _refuse("is too large: it repeats too much")
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


@dataclass(frozen=True, slots=True)
class Pattern:
    """A checked access pattern. Equal when the text is equal.

    Attributes:
        text: The pattern as it was written.
    """

    text: str
    _automaton: _Automaton = field(repr=False, compare=False)
    _entry: int = field(repr=False, compare=False)

    def matches(self, name: str) -> bool:
        """Say whether the whole name matches. Names longer than `MAX_NAME_CHARS` never do."""
        if len(name) > MAX_NAME_CHARS or "\0" in name:
            return False
        demands, targets = self._automaton.demands, self._automaton.targets
        active = self._reach([self._entry], at_start=True, at_end=not name)
        for index, char in enumerate(name):
            onward = [
                target
                for state in active
                if isinstance(demand := demands[state], _Chars) and demand.holds(char)
                for target in targets[state]
            ]
            if not onward:
                return False
            active = self._reach(onward, at_start=False, at_end=index + 1 == len(name))
        return 0 in active

    def _reach(self, states: list[int], *, at_start: bool, at_end: bool) -> set[int]:
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
        return seen


def expand_short_forms(text: str) -> str:
    """Rewrite the short forms of a pattern into the extended regular expression that the C server compiles."""
    return _SHORT_FORMS.sub(lambda found: _EXPANSIONS.get(found[0], found[0]), text)


def parse_pattern(text: str) -> Pattern:
    """Parse a pattern, without its SUBJECT: or FQAN: prefix.

    Args:
        text: The pattern, at most `MAX_PATTERN_CHARS` characters.

    Raises:
        ParseError: It is no valid expression, uses what is not supported, or is too large.
    """
    if len(text) > MAX_PATTERN_CHARS:
        raise _refuse(f"is longer than {MAX_PATTERN_CHARS} characters")
    if "\0" in text or "\n" in text:
        raise _refuse("holds a NUL or a line feed")
    automaton = _Automaton()
    entry = automaton.build(_Parser(expand_short_forms(text)).parse(), 0)
    return Pattern(text, automaton, entry)
