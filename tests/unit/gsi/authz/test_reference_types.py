"""The reference of jobs, directories, other services and Cedar says what the code does: keys, clauses, examples."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from gsi.authz.cedar import CedarSettings, load_policies
from gsi.authz.cedar_model import ACTIONS, schema_text
from gsi.authz.ldap_groups import DirectorySettings, GroupSettings
from gsi.authz.policyfile import parse_policy
from gsi.authz.registry import Place, known_types
from gsi.authz.remote import RemoteSettings
from gsi.authz.rsl.conditions import ATTRIBUTES, RISKY_VARIABLES, Kind
from gsi.authz.rsl.evaluate import canonical_name
from gsi.authz.rsl.rulefile import JOB_ACTIONS, JOB_KEYWORDS, SIGNALS, parse_job_rules
from gsi.authz.rsl.rules import HARMLESS, RslSettings

FOLDER = Path(__file__).resolve().parents[4] / "docs/reference"
JOBS = (FOLDER / "authorization-jobs.md").read_text("utf-8")
SERVICES = (FOLDER / "authorization-services.md").read_text("utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}.*?(?=^## |\Z)", SERVICES, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[0]


def keys(text: str) -> set[str]:
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \| [^|]* \| [^|]* \|$", text, re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([a-z_]+)`", row)}


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (JOBS.partition("## The file")[0], RslSettings),
        (section("LDAP"), GroupSettings),
        (section("Another service"), RemoteSettings),
        (section("Cedar"), CedarSettings),
    ],
)
def test_every_key_is_explained(text: str, settings: type) -> None:
    assert keys(text) == {field.name for field in fields(settings)}
    assert {field.name for field in fields(DirectorySettings)} < {field.name for field in fields(GroupSettings)}


def test_every_attribute_is_explained() -> None:
    rows = re.findall(r"^\| (\w+) \| (`[^|]*`) \| ", JOBS, re.MULTILINE)
    told = {name: kind for kind, names in rows for name in re.findall(r"`([a-z_]+)`", names)}
    assert told == {name: kind.value for name, kind in ATTRIBUTES.items()}
    assert {kind for kind, _ in rows} == {kind.value for kind in Kind}


def test_every_word_is_explained() -> None:
    for word in (*JOB_ACTIONS, *SIGNALS, *RISKY_VARIABLES):
        assert f"`{word}`" in JOBS, word
    harmless = re.search(r"need not be spoken of: (.*?)\.", JOBS, re.DOTALL)
    assert harmless
    assert {canonical_name(word) for word in re.findall(r"`(\w+)`", harmless[1])} == HARMLESS
    clauses = set(re.findall(r"^\| `([a-z]+)` \| ", JOBS, re.MULTILINE)) - {"file", "variables"}
    assert clauses == {word for word in JOB_KEYWORDS if canonical_name(word) not in map(canonical_name, ATTRIBUTES)}


def test_every_type_is_named() -> None:
    told = (FOLDER / "authorization.md").read_text("utf-8") + JOBS + SERVICES
    for kind in known_types():
        assert f'type = "{kind}"' in told, kind


def test_the_examples_are_good(tmp_path: Path) -> None:
    policies = re.findall(r"```toml\n(.*?)```", JOBS + SERVICES, re.DOTALL)
    (rules,) = re.findall(r"```\n(require.*?)```", JOBS, re.DOTALL)
    (cedar,) = re.findall(r"```cedar\n(.*?)```", SERVICES, re.DOTALL)
    assert len(list(parse_job_rules(rules.encode(), path="f"))) == 5
    load_policies(cedar, schema_text(ACTIONS))
    (tmp_path / "gram.jobs").write_text(rules)
    (tmp_path / "storage.cedar").write_text(cedar)
    (tmp_path / "site.rules").write_text("")
    assert len(policies) == 4
    for policy in policies:
        parse_policy(policy.encode(), Place(str(tmp_path / "policy.toml")))
