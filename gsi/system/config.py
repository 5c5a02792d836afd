"""TOML files into frozen dataclasses, every error with file and line; knows no setting of any program.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Settings:
        listen: str
        workers: int = option(2, minimum=1, maximum=64)
        grace: timedelta = timedelta(seconds=30)          # grace = 30, or grace = "30s", "5m", "12h", "7d"
        mode: Mode = Mode.STRICT                          # an Enum: mode = "strict"

    settings = read_config("/etc/kca.toml", Settings)

A key is the field's name. What is not a field is refused, with the nearest name as a hint, because a mistyped key would
silently leave a default in force. Types are taken at their word: no text for a number, no number for a yes.

Fields may be str, bool, int, float, timedelta, an Enum, another dataclass, `tuple[T, ...]`, `frozenset[T]`,
`Mapping[str, T]`, `T | None`, and `object` for what is bound later by `bind`. A value that is refused by a dataclass's
`__post_init__` (ValueError or GridError) is reported at the line of its table.

`tomllib` does not say where a value stood. A second reading of the text, which is known to be TOML by then, finds the
lines; it is done only when there is something to report.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Final, NoReturn, TypeVar, Union, cast

from gsi.errors import ConfigError, CredentialError, CredentialProblem, GridError, ParseError
from gsi.system.files import read_public
from gsi.system.toml_lines import Path, find_line

__all__ = [
    "MAX_CONFIG_BYTES",
    "Table",
    "bind",
    "nearest",
    "option",
    "parse_config",
    "parse_table",
    "read_config",
    "read_table",
]

MAX_CONFIG_BYTES: Final = 1 << 20
"""The longest configuration file: a thousand times any in use, and read in a second."""

T = TypeVar("T")

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: Final = re.compile(r"(\d{1,9})([smhdw])\Z", re.ASCII)
_MAX_SECONDS: Final = 1 << 31
_TOML_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")


@dataclass(frozen=True, slots=True)
class Table:
    """A TOML table with the place it came from.

    Attributes:
        values: Its keys and values.
        path: The file, for errors.
        text: The whole text of the file, for the lines of errors.
        at: Where in the file the table stands.
    """

    values: Mapping[str, object]
    path: str
    text: str = field(repr=False)
    at: Path = ()

    def line(self, *keys: str | int) -> int | None:
        """Return the line of a key of this table, or of the nearest thing around it."""
        return find_line(self.text, (*self.at, *keys))

    def refuse(self, message: str, *keys: str | int, hint: str | None = None) -> NoReturn:
        """Raise the error about a key of this table.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(message, path=self.path, line=self.line(*keys), hint=hint)

    def table(self, key: str) -> Table:
        """Return a table within this one.

        Raises:
            ConfigError: There is none of this name.
        """
        found = self.values.get(key)
        if not isinstance(found, dict):
            self.refuse(f"[{'.'.join(map(str, (*self.at, key)))}] is missing or no table", key)
        return Table(cast("dict[str, object]", found), self.path, self.text, (*self.at, key))

    def tables(self, key: str) -> dict[str, Table]:
        """Return the tables of a table of tables, in the order of the file; none when it is absent.

        Raises:
            ConfigError: It, or a member, is no table.
        """
        if key not in self.values:
            return {}
        outer = self.table(key)
        return {name: outer.table(name) for name in outer.values}


def option(
    default: object = dataclasses.MISSING,
    *,
    minimum: float | timedelta | None = None,
    maximum: float | timedelta | None = None,
) -> typing.Any:  # noqa: ANN401  # as dataclasses.field, whose result stands for the field's own type
    """Return a dataclass field whose value has limits, both included.

    Args:
        default: The value when the key is absent; without one the key is required.
        minimum: The least number or duration.
        maximum: The greatest.
    """
    limits = {"minimum": minimum, "maximum": maximum}
    if default is dataclasses.MISSING:
        return field(metadata=limits)
    return field(default=default, metadata=limits)


def nearest(word: str, words: typing.Iterable[str], what: str = "did you mean") -> str | None:
    """Return the hint that names the word nearest to a mistyped one, or all where they are few, or None."""
    import difflib

    known = sorted(words)
    close = difflib.get_close_matches(word[:80], known, n=1, cutoff=0.6)
    if close:
        return f"{what} {close[0]!r}?"
    return f"known are: {', '.join(known)}" if 0 < len(known) <= 24 else None


# --- reading ----------------------------------------------------------------------------------------------------------


def read_table(path: str, *, check_writers: bool = False) -> Table:
    """Return the content of a TOML file.

    Args:
        path: The file.
        check_writers: Refuse a file that others than its owner can write, or that belongs to another user than root or
            the effective one.

    Raises:
        ConfigError: It cannot be read, is too long, or is not TOML.
    """
    try:
        data = read_public(path, max_bytes=MAX_CONFIG_BYTES, check_writers=check_writers)
    except (CredentialError, ParseError) as error:
        missing = isinstance(error, CredentialError) and error.problem is CredentialProblem.MISSING
        hint = (
            "write one (the manual page shows how), or name another file on the command line" if missing else error.hint
        )
        raise ConfigError(error.message.removeprefix(f"{path}: "), path=path, hint=hint) from error
    return parse_table(data, path=path)


def parse_table(data: bytes, *, path: str) -> Table:
    """Return the content of TOML bytes; `path` is for errors.

    Raises:
        ConfigError: Not TOML, or not UTF-8.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8 text", path=path, line=line) from error
    try:
        values: dict[str, object] = tomllib.loads(text)
    except ValueError as error:
        message = str(error)
        place = _TOML_PLACE.search(message)
        number = int(place[1]) if place and place[1] else text.count("\n") + 1 if place else None
        said = message[: place.start()] if place else message
        raise ConfigError(f"not TOML: {said}", path=path, line=number) from error
    except RecursionError as error:
        raise ConfigError("not TOML: nested too deeply", path=path) from error
    return Table(values, path, text)


def read_config(path: str, schema: type[T], *, check_writers: bool = False) -> T:
    """Return the settings of a TOML file.

    Args:
        path: The file.
        schema: The dataclass they are bound to.
        check_writers: As for `read_table`.

    Raises:
        ConfigError: As for `read_table` and `bind`.
    """
    return bind(read_table(path, check_writers=check_writers), schema)


def parse_config(data: bytes, schema: type[T], *, path: str) -> T:
    """Return the settings of TOML bytes; `path` is for errors.

    Raises:
        ConfigError: As for `parse_table` and `bind`.
    """
    return bind(parse_table(data, path=path), schema)


# --- binding ----------------------------------------------------------------------------------------------------------


def bind(table: Table, schema: type[T], *, ignore: frozenset[str] = frozenset()) -> T:
    """Return an instance of a dataclass made of a table.

    Args:
        table: The table.
        schema: A dataclass with keyword fields.
        ignore: Keys that somebody else reads.

    Raises:
        ConfigError: A key is unknown, missing, of another type or out of limits, or the dataclass refuses.
    """
    fields = {item.name: item for item in dataclasses.fields(cast("type[typing.Any]", schema)) if item.init}
    hints = typing.get_type_hints(schema)
    for key in table.values:
        if key not in fields and key not in ignore:
            table.refuse(f"unknown key {key!r}", key, hint=nearest(key, fields))
    bound: dict[str, object] = {}
    for name, item in fields.items():
        if name in table.values:
            bound[name] = _convert(table, (name,), table.values[name], hints[name])
            _check_limits(table, name, bound[name], item.metadata)
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            where = f" in [{'.'.join(map(str, table.at))}]" if table.at else ""
            table.refuse(f"the key {name!r} is missing{where}")
    try:
        return schema(**bound)
    except GridError as error:
        table.refuse(error.message, hint=error.hint)
    except ValueError as error:
        table.refuse(str(error))


def _check_limits(table: Table, name: str, value: object, limits: Mapping[str, object]) -> None:
    low, high = limits.get("minimum"), limits.get("maximum")
    if value is None:
        return
    number = cast("float", value)  # only numbers and durations are given limits
    if (low is not None and number < cast("float", low)) or (high is not None and number > cast("float", high)):
        span = f"at least {low}" if high is None else f"at most {high}" if low is None else f"from {low} to {high}"
        table.refuse(f"{name} must be {span}", name)


def _convert(table: Table, at: Path, value: object, wanted: object) -> object:
    """Return the value as the type asks for it."""
    origin = typing.get_origin(wanted)
    arguments = typing.get_args(wanted)
    if origin in {types.UnionType, Union}:
        (inner,) = [each for each in arguments if each is not type(None)]  # only `T | None` is supported
        return _convert(table, at, value, inner)
    if origin in {tuple, frozenset}:
        if not isinstance(value, list):
            _mismatch(table, at, "a list", value)
        items = [_convert(table, (*at, index), item, arguments[0]) for index, item in enumerate(value)]
        return tuple(items) if origin is tuple else frozenset(items)
    if origin is Mapping:
        if not isinstance(value, dict):
            _mismatch(table, at, "a table", value)
        return {key: _convert(table, (*at, key), item, arguments[1]) for key, item in value.items()}
    if wanted is object:
        return value
    return _convert_plain(table, at, value, cast("type", wanted))


def _convert_plain(table: Table, at: Path, value: object, wanted: type) -> object:
    if dataclasses.is_dataclass(wanted):
        if not isinstance(value, dict):
            _mismatch(table, at, "a table", value)
        return bind(Table(value, table.path, table.text, (*table.at, *at)), wanted)
    if wanted is timedelta:
        return _convert_duration(table, at, value)
    if issubclass(wanted, Enum):
        for member in wanted:
            if member.value == value and type(member.value) in {str, type(value)}:
                return member
        words = [str(member.value) for member in wanted]
        hint = nearest(value, words) if isinstance(value, str) else None
        table.refuse(f"{_shown(at)} must be one of {', '.join(words)}", *at, hint=hint)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        names = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
        _mismatch(table, at, names.get(wanted, wanted.__name__), value)
    if isinstance(value, float) and not -1e300 < value < 1e300:  # inf and nan
        _mismatch(table, at, "a finite number", value)
    if isinstance(value, str) and "\0" in value:
        table.refuse(f"{_shown(at)} holds a zero character", *at)
    return value


def _convert_duration(table: Table, at: Path, value: object) -> timedelta:
    if type(value) in {int, float} and 0 <= cast("float", value) <= _MAX_SECONDS:
        return timedelta(seconds=cast("float", value))
    found = _DURATION.match(value) if isinstance(value, str) else None
    if found is None or int(found[1]) * _UNITS[found[2]] > _MAX_SECONDS:
        table.refuse(
            f"{_shown(at)} must be a duration", *at, hint='seconds as a number, or "30s", "5m", "12h", "7d", "2w"'
        )
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _shown(at: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).lstrip(".")


def _mismatch(table: Table, at: Path, wanted: str, value: object) -> NoReturn:
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
    found = words.get(type(value), "a table" if isinstance(value, dict) else "a date or time")
    table.refuse(f"{_shown(at)} must be {wanted}, not {found}", *at)
