"""The links of the default CA change together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gsi.cli.default_ca import make_links
from gsi.errors import CredentialError


def test_links_are_put_back_when_one_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "old").symlink_to("before")
    links = {str(tmp_path / name): "after" for name in ("old", "new", "missing/third")}
    with pytest.raises(CredentialError, match="missing/third: cannot be made"):
        make_links(links)
    assert {name: os.readlink(tmp_path / name) for name in os.listdir(tmp_path)} == {"old": "before"}
    (tmp_path / "missing").mkdir()
    make_links(links)
    assert {os.readlink(link) for link in links} == {"after"}
