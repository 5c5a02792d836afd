"""The documentation names what exists: reasons, files, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gsi.errors import Reason

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_every_reason_is_explained_once() -> None:
    page = (ROOT / "docs/wire/proxy-validation.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
    assert rows == [reason.value for reason in Reason]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    for name in re.findall(r"`((?:gsi|myproxy|tests|bench|docs|cas|kca)/[A-Za-z0-9_/.]*)`", page.read_text("utf-8")):
        assert (ROOT / name).exists(), name
