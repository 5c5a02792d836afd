"""The reference names every setting, and the list of items every test that it speaks of."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from myproxy.portal import config, registered

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/reference/portal.md").read_text("utf-8")
SECURITY = (ROOT / "docs/reference/portal-security.md").read_text("utf-8")
TABLES = {
    "http": config.HTTPSettings,
    "store": config.StoreSettings,
    "trust": config.TrustSettings,
    "session": config.SessionSettings,
    "logon": config.LogonSettings,
    "codes": config.CodesSettings,
    "own": config.OwnSettings,
    "oidc": config.OIDCSettings,
    "kerberos": config.KerberosSettings,
    "admin": config.AdminSettings,
    "applications.ID": registered.ApplicationSettings,
}


ELSEWHERE = {
    "deploy": "tests/unit",
    "bounds": "tests/unit",
    "release": "tests/docs",
    "service": "tests/unit/myproxy",
}


def test_every_table_is_there() -> None:
    names = {field.name for field in dataclasses.fields(config.PortalConfig)} - {"names", "server", "title", "pages"}
    assert names == {name.partition(".")[0] for name in TABLES}


@pytest.mark.parametrize("name", TABLES)
def test_every_key_is_described(name: str) -> None:
    section = PAGE.split(f"### `[{name}]`")[1].split("\n##")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [
        field.name for field in dataclasses.fields(TABLES[name])
    ]


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(\w+)::(test_\w+)`", SECURITY))
    assert len(named) > 40
    for file, test in named:
        own = "tests/interop" if file.startswith("portal") else "tests/unit/myproxy/portal"
        folder = ELSEWHERE.get(file, own)
        assert f"def {test}(" in (ROOT / folder / f"test_{file}.py").read_text("utf-8"), test


def test_every_item_has_a_test() -> None:
    listed = SECURITY.partition("## What does not apply")[0]
    rows = re.findall(r"^\| (?!item|---)(.*?) \|.*\| (.*) \|$", listed, re.MULTILINE)
    assert len(rows) > 60
    assert [item for item, tests in rows if "::test_" not in tests] == []
