"""TOML into dataclasses: what binds, what is refused, and that errors name the right line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import pytest

from gsi.errors import ConfigError, ParseError
from gsi.system.config import MAX_CONFIG_BYTES, bind, nearest, option, parse_config, parse_table, read_config
from gsi.system.toml_lines import find_line

GRACE = timedelta(seconds=30)
SECOND = timedelta(seconds=1)


class Mode(StrEnum):
    STRICT = "strict"
    LAX = "lax"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    host: str
    port: int = option(7512, minimum=1, maximum=65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    name: str
    workers: int = option(2, minimum=1, maximum=64)
    ratio: float = 0.5
    verbose: bool = False
    grace: timedelta = option(GRACE, minimum=SECOND)
    mode: Mode = Mode.STRICT
    listen: Listen | None = None
    others: tuple[Listen, ...] = ()
    users: frozenset[str] = frozenset()
    limits: Mapping[str, int] = field(default_factory=dict)
    anything: object = None

    def __post_init__(self) -> None:
        if self.name == "odd":
            raise ValueError("odd is no name")
        if self.name == "even":
            raise ParseError("even is no name", what="name", hint="take odd")


def parse(text: str) -> Settings:
    return parse_config(text.encode(), Settings, path="x.toml")


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value


def test_everything_binds() -> None:
    settings = parse(
        """
name = "a"
workers = 4
ratio = 1
verbose = true
grace = "5m"
mode = "lax"
users = ["x", "y"]
limits = {small = 1, "large one" = 2}
anything = [1, "two"]
[listen]
host = "::1"
[[others]]
host = "a"
port = 1
[[others]]
host = "b"
"""
    )
    assert settings == Settings(
        name="a",
        workers=4,
        ratio=1.0,
        verbose=True,
        grace=timedelta(minutes=5),
        mode=Mode.LAX,
        users=frozenset({"x", "y"}),
        limits={"small": 1, "large one": 2},
        anything=[1, "two"],
        listen=Listen(host="::1"),
        others=(Listen(host="a", port=1), Listen(host="b")),
    )
    assert isinstance(settings.ratio, float)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0.5", 0.5), ("90", 90), ('"90s"', 90), ('"5m"', 300), ('"12h"', 43200), ('"7d"', 604800), ('"2w"', 1209600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_config(f"grace = {text}".encode(), _Grace, path="x").grace == timedelta(seconds=seconds)


@dataclass(frozen=True)
class _Grace:
    grace: timedelta


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", None, "'name' is missing"),
        ('name = "a"\nwokers = 3', 2, "unknown key 'wokers'"),
        ('name = "a"\n\n# comment\nworkers = "3"', 4, "workers must be a whole number, not text"),
        ('name = "a"\nworkers = true', 2, "not true or false"),
        ('name = "a"\nworkers = 65', 2, "from 1 to 64"),
        ('name = "a"\nworkers = 0', 2, "from 1 to 64"),
        ('name = "a"\nratio = nan', 2, "finite"),
        ('name = "a"\nratio = inf', 2, "finite"),
        ('name = "a"\nverbose = 1', 2, "true or false, not a whole number"),
        ('name = "a"\ngrace = "5 minutes"', 2, "a duration"),
        ('name = "a"\ngrace = -1', 2, "a duration"),
        ('name = "a"\ngrace = 0', 2, "at least"),
        ('name = "a"\ngrace = "999999999w"', 2, "a duration"),
        ('name = "a"\nmode = "Strict"', 2, "one of strict, lax"),
        ('name = "a"\nmode = 1', 2, "one of strict, lax"),
        ('name = "a"\nusers = "x"', 2, "a list, not text"),
        ('name = "a"\nusers = [\n  "x",\n  3,\n]', 4, "users[1] must be text"),
        ('name = "a"\nlimits = 3', 2, "a table"),
        ('name = "a"\n[limits]\na = 1\nb = "x"', 4, "limits.b must be a whole number"),
        ('name = "a"\nlisten = 3', 2, "a table"),
        ('name = "a"\n[listen]\nport = 1', 2, "'host' is missing in [listen]"),
        ('name = "a"\n[listen]\nhost = "h"\nport = 70000', 4, "from 1 to 65535"),
        ('name = "a"\n[listen]\nhost = "h"\nprt = 7', 4, "unknown key 'prt'"),
        ('name = "a"\n[[others]]\nhost = "h"\n[[others]]\nhost = 3', 5, "must be text"),
        ('name = "a"\nothers = [{host = "h"},\n {host = "i", port = 0}]', 3, "from 1"),
        ("name = 1979-05-27", 1, "not a date or time"),
        ("name = 3", 1, "text in quotes, not a whole number"),
        ('name = "a\\u0000b"', 1, "zero character"),
        ('name = "odd"', None, "odd is no name"),
        ('name = "even"', None, "even is no name"),
        ("name = ", 1, "not TOML"),
        ('name = "a"\nname = "b"', 2, "not TOML"),
        ("\n\n[listen", 3, "not TOML"),
        ("x = " + "[" * 5000, None, "nested too deeply"),
        ("x = " + "9" * 5000, None, "not TOML"),
    ],
)
def test_what_is_refused(text: str, line: int | None, says: str) -> None:
    error = refusal(text)
    assert says in error.message
    assert error.path == "x.toml"
    assert error.line == line


def test_hints() -> None:
    assert refusal('name = "a"\nwokers = 3').hint == "did you mean 'workers'?"
    assert refusal('name = "a"\nmode = "strct"').hint == "did you mean 'strict'?"
    assert refusal('name = "even"').hint == "take odd"
    assert (nearest("zzz", ["a", "b"]) or "").endswith("a, b")
    assert nearest("zzz", []) is None


def test_not_utf_8() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_table(b'a = 1\nb = "\xff"', path="x")
    assert caught.value.line == 2


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    with pytest.raises(ConfigError, match="No such file"):
        read_config(str(path), Settings)
    path.write_text('name = "a"')
    assert read_config(str(path), Settings, check_writers=True).name == "a"
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="others can change it"):
        read_config(str(path), Settings, check_writers=True)
    path.write_text("#" * (MAX_CONFIG_BYTES + 1))
    with pytest.raises(ConfigError, match="longer than"):
        read_config(str(path), Settings)


def test_tables_of_tables() -> None:
    table = parse_table(b'[a.x]\nname = "1"\n[a.y]\nname = "2"\nwrong = 1', path="x")
    found = table.tables("a")
    assert list(found) == ["x", "y"]
    assert bind(found["x"], Settings).name == "1"
    with pytest.raises(ConfigError) as caught:
        bind(found["y"], Settings)
    assert caught.value.line == 5
    assert bind(found["y"], Settings, ignore=frozenset({"wrong"})).name == "2"
    assert table.tables("b") == {}
    with pytest.raises(ConfigError, match="missing or no table"):
        parse_table(b"a = 1", path="x").tables("a")


LINES = '''# a = 1
"quoted key".b = """
a = 2
[table]
"""
[table."sub.table"]   # [other]
list = [
  1, # 2
  [3,
   4],
  {x = 5,  y = '#'},
]
text = 'a = "b"'
lit = \'\'\'
c = 1\'\'\'\'
after = 1
[[rule]]
n = 0
[rule.inner]
m = 0
[[rule]]
n = 1
[rule.inner]
m = 1
[[rule.deep]]
z = 1979-05-27 07:32:00
[[rule.deep]]
z = 1_000
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("quoted key", "b"), 2),
        (("table", "sub.table"), 6),
        (("table", "sub.table", "list", 0), 8),
        (("table", "sub.table", "list", 1), 9),
        (("table", "sub.table", "list", 1, 1), 10),
        (("table", "sub.table", "list", 2, "y"), 11),
        (("table", "sub.table", "text"), 13),
        (("table", "sub.table", "after"), 16),
        (("rule", 0, "n"), 18),
        (("rule", 0, "inner", "m"), 20),
        (("rule", 1), 21),
        (("rule", 1, "inner", "m"), 24),
        (("rule", 1, "deep", 1, "z"), 28),
        (("rule", 1, "deep", 1, "nowhere"), 27),
        (("nowhere",), None),
        ((), None),
    ],
)
def test_lines(path: tuple[str | int, ...], line: int | None) -> None:
    assert find_line(LINES, path) == line
