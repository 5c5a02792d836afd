"""The reference page says what the code does: combining tables, clauses, keys."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gsi.authz.ban import _KINDS
from gsi.authz.callout import config as callout
from gsi.authz.callout.fileops import FileRules
from gsi.authz.combine import Combining, combine
from gsi.authz.decision import Effect
from gsi.authz.mapping import MapSettings, VomsMapSettings
from gsi.authz.policyfile import PolicySettings, parse_policy
from gsi.authz.registry import Place
from gsi.authz.rulefile import KEYWORDS, parse_rules
from gsi.authz.web import config as web

PAGE = (Path(__file__).resolve().parents[4] / "docs/reference/authorization.md").read_text("utf-8")
EFFECTS = {
    "permit": Effect.PERMIT,
    "deny": Effect.DENY,
    "not applicable": Effect.NOT_APPLICABLE,
    "indeterminate": Effect.INDETERMINATE,
}


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[0]


@pytest.mark.parametrize("algorithm", Combining)
def test_every_cell_of_the_combining_tables(algorithm: Combining) -> None:
    table = re.search(rf"^\| {algorithm} \|(.*)\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table
    columns = [cell.strip() for cell in table[1].strip("|").split("|")]
    assert columns == list(EFFECTS)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2].splitlines()]
    assert [row[0] for row in rows] == list(EFFECTS)
    for first, *cells in rows:
        for second, cell in zip(columns, cells, strict=True):
            assert combine(algorithm, [EFFECTS[first], EFFECTS[second]]) is EFFECTS[cell], (first, second)


def test_every_clause_is_explained() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("Rules"), re.MULTILINE)
    assert {word for row in rows for word in re.findall(r"`([a-z-]+)`", row)} == KEYWORDS


def test_every_ban_is_explained() -> None:
    assert set(re.findall(r"^\| `([a-z]+) ", section("Bans"), re.MULTILINE)) == _KINDS


def test_every_key_is_explained() -> None:
    keys = re.findall(r"^\| `([a-z_]+)` \|", section("The policy file"), re.MULTILINE)
    assert keys == ["order", "combining", "sources", "time_limit", "allow_root", "record", "service"]
    assert set(keys) == {field.name for field in fields(PolicySettings)}
    maps = re.findall(r"^\| `([a-z_]+)` \|", section("Accounts"), re.MULTILINE)
    assert set(maps) == {field.name for plugin in (MapSettings, VomsMapSettings) for field in fields(plugin)}


DAEMONS = (Path(__file__).resolve().parents[4] / "docs/reference/authorization-daemons.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("`[server]`", callout.ServerSettings),
        ("`[files]`", FileRules),
        ("`[[services]]`", callout.ServicePolicy),
        ("`[server]` of the endpoint", web.ServerSettings),
        ("`[front_end]`", web.FrontEndSettings),
        ("`[requests]`", web.RequestSettings),
    ],
)
def test_every_key_of_the_servers_is_explained_with_its_default(heading: str, table: type[Any]) -> None:
    text = DAEMONS.split(f"### {heading}\n")[1].split("\n##")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE)
    assert [name for name, _ in rows] == [field.name for field in fields(table)]
    known = {field.name: field.default for field in fields(table)}
    for name, told in rows:
        value = known[name]
        if isinstance(value, bool | int) and not name.endswith("_mode"):
            assert told == str(value).lower(), name
        elif name.endswith("_mode"):
            assert told == f"`0o{value:o}`", name
        elif isinstance(value, str) and value and type(value) is str:
            assert value in told, name


def test_the_examples_are_good(tmp_path: Path) -> None:
    policy, rules = re.findall(r"```(?:toml)?\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "bans").write_text("")
    (tmp_path / "gridftp.rules").write_text(rules)
    assert len(list(parse_rules(rules.encode(), path="r"))) == 5
    parse_policy(policy.encode(), Place(str(tmp_path / "policy.toml")))
