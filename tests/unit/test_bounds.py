"""The lower bounds of pyproject.toml are the versions that the suites are run with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_lowest_is_what_pyproject_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"]]
    declared += [one for name, listed in extras.items() if name not in ("all", "docs", "test") for one in listed]
    declared += [one for one in extras["test"] if one.startswith("cryptography-vectors")]
    bounds = dict(one.partition(";")[0].strip().split(">=") for one in declared)
    pinned = dict(
        line.split("==") for line in (ROOT / "tests/lowest.txt").read_text("ascii").splitlines() if "==" in line
    )
    assert pinned.keys() == bounds.keys()
    for name, version in pinned.items():
        assert version == bounds[name] or re.fullmatch(re.escape(bounds[name]) + r"(\.0)+", version), name


def test_all_is_everything() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(everything.removeprefix("gsi-toolkit[").removesuffix("]").split(","))
    assert named == extras.keys() - {"all", "docs", "test"}


def test_the_core_needs_no_compiler() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {re.split(r"[>=]", one)[0] for one in project["dependencies"]} == {"cryptography", "pyasn1"}
