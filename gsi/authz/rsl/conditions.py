"""What a job rule asks of one attribute of a job; knows neither subjects nor the file that rules are written in.

    condition = parse_condition("executable", ("/bin/echo", "$(HOME)/bin/*"))
    condition.failure(job, {"HOME": "/home/alice"})        # None, or why a permit does not hold
    condition.may_hold(job, variables)                     # whether a denial must be taken to hold

| kind of attribute | patterns |
|---|---|
| text (queue, arguments, jobtag, ...) | globs |
| path (executable, directory, stdin, ...) | as for resources; without a scheme for local files only, never for URLs |
| number (count, max_time, ...) | `4`, `<4`, `<=4`, `>4`, `>=4`, `1..4` |
| environment | `NAME`, `NAME=value`, both globs |
| staging (file_stage_in, ...) | `FROM -> TO`, both as for paths |

and for all of them `*`, whatever is there, and `NULL`, nothing is there. An attribute that is absent fits `NULL` alone.
One with several values fits if each of them fits one of the patterns. A number is a row of digits that a C int can
hold; anything else, a sign included, is none and fits no pattern. What cannot be judged (a path with `..`, a list where
a text belongs, a variable of the environment whose name is none) fits no pattern of a permit and every pattern of a
denial.

A relative path is one below `directory`, and a relative `directory` one below the home (gct: gram/jobmanager,
JobDescription.pm). A denial compares it as it stands and as the job manager resolves it; a permit as it stands only, so
that it fits no pattern that begins with a slash. `library_path` is a list with colons, and becomes LD_LIBRARY_PATH, of
which denials and requirements of the environment speak as well.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from gsi.authz.decision import Resource
from gsi.authz.principals import Glob, skeleton_text
from gsi.authz.resources import Reading, ResourcePattern, readings
from gsi.authz.rsl.evaluate import canonical_name
from gsi.authz.rsl.values import Literal, Sequence, Value
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gsi.authz.rsl.job import JobDescription

__all__ = [
    "ATTRIBUTES",
    "KNOWN",
    "LIBRARY_PATH",
    "RISKY_VARIABLES",
    "Condition",
    "Kind",
    "is_risky_variable",
    "parse_condition",
]


class Kind(Enum):
    """How the values of an attribute compare."""

    TEXT = "text"
    PATH = "path"
    NUMBER = "number"
    ENVIRONMENT = "environment"
    STAGING = "staging"


_SPELLINGS: Final[Mapping[Kind, str]] = {
    Kind.TEXT: "arguments job_type gram_my_job queue project username jobtag dry_run save_state two_phase loglevel",
    Kind.PATH: (
        "executable directory stdin stdout stderr library_path file_clean_up scratch_dir gass_cache remote_io_url "
        "logpattern restart"
    ),
    Kind.NUMBER: (
        "count host_count max_time max_wall_time max_cpu_time min_memory max_memory proxy_timeout expiration "
        "stdout_position stderr_position"
    ),
    Kind.ENVIRONMENT: "environment",
    Kind.STAGING: "file_stage_in file_stage_in_shared file_stage_out",
}

ATTRIBUTES: Final[Mapping[str, Kind]] = {name: kind for kind, names in _SPELLINGS.items() for name in names.split()}
"""The attributes of jobs that rules know by name, as they are usually written."""

_KINDS: Final[Mapping[str, Kind]] = {canonical_name(name): kind for name, kind in ATTRIBUTES.items()}

_TAGGED: Final = frozenset({"stdout", "stderr"})
"""Attributes whose values may be lists of a destination and a cache tag."""

_RISKY: Final = (
    # the loader, the C library, shells
    "LD_* DYLD_* GLIBC_* HOSTALIASES PATH *PATH *_PATH_* IFS PS4 ENV BASH* KSH* *SHELL* *_ENV PROMPT_COMMAND *RC "
    # interpreters
    "PYTHON* PERL* RUBY* NODE_* NPM_* LUA_* PHP* TCL* R_* JULIA_* GUILE_* ERL_* MONO_* DOTNET_* COR_* CORECLR_* "
    "*JAVA* JDK_* JVM_* ANT_* MAVEN_* GRADLE_* "
    # programs that run others, and what they read
    "GIT_* *_RSH OPENSSL_* KRB5_* XDG_* *MCA_* CC CXX LESSOPEN LESSCLOSE *EDITOR VISUAL *PAGER *BROWSER *ASKPASS* "
    # what such variables are usually called
    "*HOME *DOTDIR *OPT *OPTS *OPTIONS *FLAGS *ARGS *PRELOAD* *PLUGIN* *MODULE* *LIB *LIBS *LIBRARY *LIBRARIES *LIBDIR "
    "*INIT *INITFILE *STARTUP* *PROFILE* *COMMAND *COMMANDS *CMD *CONF* *WRAPPER* *LAUNCHER* *WARNINGS *INSPECT"
)
RISKY_VARIABLES: Final = tuple(_RISKY.split())
"""Variables that have other code run than the executable's, or are called as such are: a `*` does not cover them."""

_RISKY_GLOBS: Final = tuple(Glob(text) for text in RISKY_VARIABLES)
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)

KNOWN: Final = frozenset(_KINDS)
"""The canonical names of `ATTRIBUTES`: those that `allow *` can mean."""

LIBRARY_PATH: Final = "librarypath"
"""Where the loader looks for code; no `allow *` covers it."""

_ENVIRONMENT: Final = "environment"
_LOADER_VARIABLE: Final = "LD_LIBRARY_PATH"
_DIRECTORY: Final = "directory"
_JOINED: Final = frozenset(
    {"executable", "stdin", "stdout", "stderr", "filestagein", "filestageinshared", "filestageout", LIBRARY_PATH}
)
"""Attributes whose relative paths are below `directory`; what others are relative to is not known here."""

MAX_PATTERN_CHARS: Final = 8192
_MAX_INT: Final = (1 << 31) - 1
_DIGITS: Final = re.compile(r"[0-9]{1,10}\Z")
_RANGE: Final = re.compile(r"(?:(<=|>=|<|>|)[ ]*([0-9]{1,10})|([0-9]{1,10})\.\.([0-9]{1,10}))\Z")
_VARIABLE: Final = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
_ODD_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/(?!/)")
"""`file:/x`: what it is depends on who reads it."""

_Bases: TypeAlias = tuple[str, ...] | None
"""The directories in which a relative path may lie; None where nobody knows."""


class _Pattern(Protocol):
    """One pattern of a condition."""

    def covers(self, value: Value) -> bool:
        """Say whether the value surely fits."""

    def may_cover(self, value: Value, bases: _Bases) -> bool:
        """Say whether the value fits, or cannot be judged; `bases` is where a relative path may begin."""


class Condition:
    """What is asked of one attribute. Immutable."""

    __slots__ = ("_absent", "_kind", "_patterns", "_texts", "attribute", "shown")

    def __init__(self, shown: str, kind: Kind, texts: tuple[str, ...]) -> None:
        self.shown = shown
        self.attribute = canonical_name(shown)
        self._kind = kind
        self._absent = "NULL" in texts
        self._texts = tuple(text for text in texts if text != "NULL")
        self._patterns = None
        if not any("$(" in text for text in self._texts):
            self._patterns = tuple(_pattern(kind, text) for text in self._texts)

    @property
    def allows_absence(self) -> bool:
        """Whether the attribute may be absent."""
        return self._absent

    def failure(self, job: JobDescription, variables: Mapping[str, str], *, with_loader: bool = False) -> str | None:
        """Return why the job does not surely meet the condition, or None if it does.

        Args:
            job: The job.
            variables: What `$(HOME)` and the like stand for.
            with_loader: Whether the environment holds what becomes of `library_path`, too.
        """
        values = self._values(job, with_loader=with_loader)
        if not values:
            return None if self._absent else f"{self.shown} is missing"
        patterns = self._ready(variables)
        for value in values:
            if not any(pattern.covers(value) for pattern in patterns):
                return f"{self.shown} {_shown(value)} is not allowed"
        return None

    def may_hold(self, job: JobDescription, variables: Mapping[str, str]) -> bool:
        """Say whether any value of the job fits, or cannot be judged."""
        values = self._values(job, with_loader=True)
        if not values:
            return self._absent
        patterns = self._ready(variables)
        if len(patterns) < len(self._texts):  # one speaks of what is not defined here
            return True
        bases = _bases(self.attribute, job, variables) if self._kind in {Kind.PATH, Kind.STAGING} else None
        return any(pattern.may_cover(value, bases) for value in values for pattern in patterns)

    def _values(self, job: JobDescription, *, with_loader: bool) -> tuple[Value, ...]:
        values = job.values(self.attribute)
        if self.attribute in _TAGGED:
            return tuple(_destination(value) for value in values)
        if self.attribute == LIBRARY_PATH:
            return tuple(piece for value in values for piece in _split_list(value))
        if self.attribute == _ENVIRONMENT and with_loader:
            return values + tuple(Sequence((Literal(_LOADER_VARIABLE), each)) for each in job.values(LIBRARY_PATH))
        return values

    def _ready(self, variables: Mapping[str, str]) -> tuple[_Pattern, ...]:
        if self._patterns is not None:
            return self._patterns
        found = (_expand(text, variables) for text in self._texts)
        return tuple(_cached_pattern(self._kind, text) for text in found if text is not None)


def parse_condition(attribute: str, texts: tuple[str, ...]) -> Condition:
    """Return the condition that a rule writes as an attribute and patterns.

    Raises:
        ParseError: A pattern is none of the attribute's kind.
    """
    kind = _KINDS.get(canonical_name(attribute), Kind.TEXT)
    for text in texts:
        if len(text) > MAX_PATTERN_CHARS:
            raise ParseError("the pattern is too long", what="pattern")
        if text != "NULL":  # also what has variables is looked at once, with something in their place
            _pattern(kind, _VARIABLE.sub("/x", text) if text.startswith("$(") else _VARIABLE.sub("x", text))
    return Condition(attribute, kind, texts)


def _expand(text: str, variables: Mapping[str, str]) -> str | None:
    """Fill in `$(HOME)` and the like; None where one is not defined, or would be a pattern itself."""
    for name in _VARIABLE.findall(text):
        value = variables.get(name)
        if not value or "*" in value:
            return None
        text = text.replace(f"$({name})", value)
    return text


def _bases(attribute: str, job: JobDescription, variables: Mapping[str, str]) -> _Bases:
    """Return where a relative path of an attribute lies, by all that the job says; None where that is not known."""
    home = variables.get("HOME", "")
    homes = (home,) if home.startswith("/") else None
    if attribute == _DIRECTORY:
        return homes
    if attribute not in _JOINED:
        return None
    found: list[str] = []
    for value in job.values(_DIRECTORY):
        if not isinstance(value, Literal):
            return None
        if value.text.startswith("/"):
            found.append(value.text)
        elif homes is None:
            return None
        else:
            found.append(f"{home}/{value.text}")
    return tuple(found) or homes


def _split_list(value: Value) -> tuple[Value, ...]:
    """Return the parts of a list with colons."""
    return tuple(Literal(part) for part in value.text.split(":")) if isinstance(value, Literal) else (value,)


def _shown(value: Value) -> str:
    if isinstance(value, Literal):
        return repr(value.text[:200])
    return f"({' '.join(_shown(item) for item in value.items[:8])})" if isinstance(value, Sequence) else "?"


# --- patterns ---------------------------------------------------------------------------------------------------------


def _pattern(kind: Kind, text: str) -> _Pattern:
    """Read a pattern.

    Raises:
        ParseError: It is none of this kind.
    """
    if kind is Kind.ENVIRONMENT:
        return _EnvironmentPattern(text)
    if text == "*":
        return _ANYTHING
    return _READERS[kind](text)


@lru_cache(maxsize=4096)
def _cached_pattern(kind: Kind, text: str) -> _Pattern:
    try:
        return _pattern(kind, text)
    except ParseError:  # a variable's value makes it none
        return _NOTHING


class _AnyPattern:
    """`*`."""

    def covers(self, value: Value) -> bool:
        del value
        return True

    def may_cover(self, value: Value, bases: _Bases) -> bool:
        del value, bases
        return True


class _NoPattern:
    """What has become of a pattern with a variable that does not fit in: nothing a permit holds for."""

    def covers(self, value: Value) -> bool:
        del value
        return False

    def may_cover(self, value: Value, bases: _Bases) -> bool:
        del value, bases
        return True


_ANYTHING: Final = _AnyPattern()
_NOTHING: Final = _NoPattern()


class _TextPattern:
    """A glob."""

    def __init__(self, text: str) -> None:
        self._glob = Glob(text)
        self._wide = Glob(skeleton_text(text))

    def covers(self, value: Value) -> bool:
        return isinstance(value, Literal) and self._glob.matches(value.text)

    def may_cover(self, value: Value, bases: _Bases) -> bool:
        del bases
        return not isinstance(value, Literal) or self._wide.matches(skeleton_text(value.text))


class _PathPattern:
    """A path or URL."""

    def __init__(self, text: str) -> None:
        self._pattern = ResourcePattern(text)
        self._has_scheme = "://" in text
        self._is_absolute = self._has_scheme or text.startswith("/")

    def covers(self, value: Value) -> bool:
        if not isinstance(value, Literal) or not value.text:
            return False
        try:
            found = readings(Resource(value.text))
        except ParseError:
            return False
        return all(bool(each.scheme) is self._has_scheme and self._pattern.matches(each) for each in found)

    def may_cover(self, value: Value, bases: _Bases) -> bool:
        if not isinstance(value, Literal):
            return True
        text = value.text
        if not text or "${" in text or _ODD_SCHEME.match(text):
            return True
        try:
            found = readings(Resource(text))
            if any(not each.is_path for each in found):
                if bases is None:
                    return True
                found += tuple(each for base in bases for each in readings(Resource(f"{base}/{text}")))
        except ParseError:
            return True
        return any(self._may_match(each) for each in found)

    def _may_match(self, reading: Reading) -> bool:
        """Compare one reading; a pattern that is relative itself fits at any depth."""
        if self._pattern.matches(reading):
            return True
        if self._is_absolute or not reading.is_path:
            return False
        parts = reading.parts
        return any(self._pattern.matches(Reading("", "", parts[begin:], is_path=False)) for begin in range(len(parts)))


def _destination(value: Value) -> Value:
    """Return the destination of a list of a destination and a cache tag; other values as they are."""
    if isinstance(value, Sequence) and len(value.items) <= 2 and all(isinstance(i, Literal) for i in value.items):
        return value.items[0]
    return value


class _NumberPattern:
    """A number or a range."""

    def __init__(self, text: str) -> None:
        found = _RANGE.match(text)
        if found is None:
            raise ParseError(f"{text[:80]!r} is no number or range", what="number", hint="4, <4, <=4, >4, >=4 or 1..4")
        sign, number, low, high = found.groups()
        if number is None:
            self._low, self._high = int(low), int(high)
        else:
            limit = int(number)
            self._low = {"": limit, ">=": limit, ">": limit + 1}.get(sign, 0)
            self._high = {"": limit, "<=": limit, "<": limit - 1}.get(sign, _MAX_INT)
        if self._low > self._high:
            raise ParseError(f"{text[:80]!r}: no number is in this range", what="number")

    def covers(self, value: Value) -> bool:
        number = _number(value)
        return number is not None and self._low <= number <= self._high

    def may_cover(self, value: Value, bases: _Bases) -> bool:
        del bases
        number = _number(value)
        return number is None or self._low <= number <= self._high


def _number(value: Value) -> int | None:
    if isinstance(value, Literal) and _DIGITS.match(value.text):
        number = int(value.text)
        return number if number <= _MAX_INT else None
    return None


class _EnvironmentPattern:
    """`NAME`, or `NAME=value`."""

    def __init__(self, text: str) -> None:
        name, self._has_value, value = text.partition("=")
        if not name:
            raise ParseError("an environment variable without a name", what="environment")
        self._name = Glob(name)
        self._value = Glob(value if self._has_value else "*")

    def covers(self, value: Value) -> bool:
        pair = _pair(value)
        if pair is None:
            return False
        name, content = pair
        return bool(_VARIABLE_NAME.match(name)) and self._covers_name(name) and self._value.matches(content)

    def _covers_name(self, name: str) -> bool:
        if not self._name.matches(name):
            return False
        if self._name.is_literal or not is_risky_variable(name):
            return True
        return name.startswith("LD_") and self._name.text.startswith("LD_")

    def may_cover(self, value: Value, bases: _Bases) -> bool:
        del bases
        pair = _pair(value)
        if pair is None or not _VARIABLE_NAME.match(pair[0]):  # `A=B` as a name would be A with a value
            return True
        return self._name.matches(pair[0]) and self._value.matches(pair[1])


def is_risky_variable(name: str) -> bool:
    """Say whether a variable may have other code run."""
    folded = name.upper()
    return any(glob.matches(folded) for glob in _RISKY_GLOBS)


class _StagingPattern:
    """`FROM -> TO`."""

    def __init__(self, text: str) -> None:
        source, arrow, target = text.partition(" -> ")
        if not arrow:
            raise ParseError(
                f"{text[:80]!r} does not say where to", what="staging", hint='"https://host/** -> /dir/**"'
            )
        self._source = _pattern(Kind.PATH, source.strip())
        self._target = _pattern(Kind.PATH, target.strip())

    def covers(self, value: Value) -> bool:
        pair = _pair(value)
        return pair is not None and self._source.covers(Literal(pair[0])) and self._target.covers(Literal(pair[1]))

    def may_cover(self, value: Value, bases: _Bases) -> bool:
        pair = _pair(value)
        if pair is None:
            return True
        source, target = map(Literal, pair)
        return self._source.may_cover(source, bases) and self._target.may_cover(target, bases)


def _pair(value: Value) -> tuple[str, str] | None:
    if isinstance(value, Sequence) and len(value.items) == 2:
        first, second = value.items
        if isinstance(first, Literal) and isinstance(second, Literal):
            return first.text, second.text
    return None


_READERS: Final[Mapping[Kind, Callable[[str], _Pattern]]] = {
    Kind.TEXT: _TextPattern,
    Kind.PATH: _PathPattern,
    Kind.NUMBER: _NumberPattern,
    Kind.STAGING: _StagingPattern,
}
