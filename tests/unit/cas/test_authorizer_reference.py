"""What the pages on enforcement say is so: keys, actions, examples, the tests that they name."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from cas.authorizer.decide import ACTIONS
from cas.authorizer.settings import CASSettings, CommunitySettings
from gsi.authz.policyfile import parse_policy
from gsi.authz.registry import Place
from tests.unit.cas import test_authorizer_attacks

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/reference/cas-enforcement.md").read_text("utf-8")
HOWTO = (ROOT / "docs/howto/cas-enforce.md").read_text("utf-8")


def test_every_key_is_explained() -> None:
    first, _, second = PAGE.partition("## Keys")[2].partition("## Attacks")[0].partition("Of a community:")
    for text, settings in ((first, CASSettings), (second, CommunitySettings)):
        told = {
            word for row in re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE) for word in re.findall(r"`(\w+)", row)
        }
        assert told == {field.name for field in fields(settings)}


def test_every_action_is_explained() -> None:
    table = PAGE.partition("| request | must be granted |")[2].partition("\n\n")[0]
    for service, name in ACTIONS:
        assert re.search(rf"^\| .*`{service}:", table, re.MULTILINE)
        assert re.search(rf"[`:]{name}`", table), name


@pytest.mark.parametrize("number", range(4))
def test_the_examples_are_good(number: int, tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE + HOWTO, re.DOTALL)
    assert len(examples) == 4
    text = examples[number]
    if number > 1:  # a part of the policy before it
        old = examples[1].replace('order = ["bans", "communities"]\n', "") if text.startswith("order") else examples[1]
        text = f"{text}{old}" if text.startswith("order") else f"{old}{text}"
    for name in ("bans", "communities-mapfile", "users-mapfile", "members-mapfile"):
        (tmp_path / name).write_text("")
    (tmp_path / "climate.jwks").write_text('{"keys": []}')
    loaded = parse_policy(text.encode(), Place(str(tmp_path / "policy.toml")))
    assert "communities" in loaded.built


def test_the_tests_are_there() -> None:
    """Every test that the table of attacks names."""
    table = PAGE.partition("## Attacks")[2]
    written = "".join(
        (ROOT / path).read_text("utf-8")
        for path in (
            "tests/unit/cas/assertion/test_attacks.py",
            "tests/unit/cas/test_authorizer.py",
            "tests/unit/cas/test_authorizer_attacks.py",
        )
    )
    rows = re.findall(r"^\| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", table, re.MULTILINE)[1:]
    assert len(rows) > 15
    named = {word for row in rows for cell in row[1:] for word in re.findall(r"`([^`]+)`", cell)}
    for name in named:
        if name.startswith("test_"):
            assert f"def {name}(" in written, name
        else:
            assert name in test_authorizer_attacks.ATTACKS, name
    assert named >= test_authorizer_attacks.ATTACKS.keys()
