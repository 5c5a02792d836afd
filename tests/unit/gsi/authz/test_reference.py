"""The reference page says what the code does: combining tables, clauses, keys."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from gsi.authz.ban import _KINDS
from gsi.authz.combine import Combining, combine
from gsi.authz.decision import Effect
from gsi.authz.mapping import MapSettings, VomsMapSettings
from gsi.authz.policyfile import PolicySettings, parse_policy
from gsi.authz.registry import Place
from gsi.authz.rulefile import KEYWORDS, parse_rules

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


def test_the_examples_are_good(tmp_path: Path) -> None:
    policy, rules = re.findall(r"```(?:toml)?\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "bans").write_text("")
    (tmp_path / "gridftp.rules").write_text(rules)
    assert len(list(parse_rules(rules.encode(), path="r"))) == 5
    parse_policy(policy.encode(), Place(str(tmp_path / "policy.toml")))
