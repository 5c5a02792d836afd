"""The page of the commands names every command and every form of it."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest

from cas.policy.model import Kind

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs/reference/cas-commands.md").read_text("utf-8")
SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
OURS = {name: place for name, place in SCRIPTS.items() if place.startswith("cas.")}


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_and_form(name: str) -> None:
    assert f"`{name}`" in PAGE
    module = importlib.import_module(OURS[name].partition(":")[0])
    if name in {"cas-why", "cas-history"}:  # told in words
        return
    for form in getattr(module, "FORMS", ()):
        assert f"`{form}`".replace("|", "\\|") in PAGE, form


def test_every_kind() -> None:
    assert " ".join(Kind).replace("object objectGroup", "object\nobjectGroup") in PAGE
