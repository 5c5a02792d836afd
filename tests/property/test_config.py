"""Configuration files: whatever is in them, only our errors come out, and every leaf is found on its line."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import ConfigError
from gsi.system.config import parse_config, parse_table
from gsi.system.toml_lines import find_line

NAMES = st.sampled_from(["a", "b", "long-name", '"quoted name"', "'it.s'", "x_1"])
NOISE = st.sampled_from(['"text = 1"', "'[not.a.table]'", '"""\nk = 1\n[t]\n"""', "'''\n# '' \n'''", '"\\"]"', "1.5e3"])


@dataclass(frozen=True)
class Anything:
    name: str
    number: int = 0
    more: tuple[int, ...] = ()


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    try:
        parse_config(data, Anything, path="x")
    except ConfigError as error:
        assert error.path == "x"  # noqa: PT017  it need not be raised


@given(st.text(max_size=200))
def test_any_text_has_lines(text: str) -> None:
    find_line(text, ("a", 0, "b"))


@given(
    st.lists(
        st.tuples(NAMES, st.lists(st.tuples(NAMES, NOISE), max_size=3, unique_by=lambda pair: pair[0])), max_size=6
    )
)
def test_leaves_are_found_on_their_lines(tables: list[tuple[str, list[tuple[str, str]]]]) -> None:
    lines: list[str] = []
    places: dict[tuple[str | int, ...], int] = {}
    counts: dict[str, int] = {}
    for name, pairs in tables:
        number = counts[name] = counts.get(name, -1) + 1
        lines.append(f"[[t.{name}]] # [x]")
        for key, noise in pairs:
            places["t", name.strip("\"'"), number, key.strip("\"'"), 1] = len("\n".join(lines).split("\n")) + 1
            lines.append(f"{key} = [1, {len(places)}, {noise}]")
    text = "\n".join(lines)
    parse_table(text.encode(), path="x")
    for path, line in places.items():
        assert find_line(text, path) == line
