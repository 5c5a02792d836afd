"""The configuration: what is read, what is refused with its line, and that the reference page says the same."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cas.assertion.scopes import ScopeBase
from cas.assertion.token import TokenContent
from cas.config import (
    CapabilitySettings,
    CASConfig,
    HTTPSettings,
    KeySettings,
    RoleGroup,
    RuleSettings,
    StoreSettings,
    StrengthRule,
    TokenSettings,
    TrustSettings,
    UserDirectorySettings,
    VOMSListenerSettings,
    load_config,
)
from gsi.errors import ConfigError
from gsi.tokens.rules import Profile
from tests.harness.ca import write_file

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/reference/cas-server.md").read_text("utf-8")
KEY = '[[key]]\nplace = "/k"\ncertificates = "/c"\nbegins = "2026-01-01"\nends = "2026-07-01"\n'
PEOPLE = '[directory]\nservers = ["ldaps://l"]\nuser_base = "dc=o"\nuser_attribute = "description"\n'
LEAST = f'community = "climate"\n{KEY}'
TABLES: dict[str, type[Any]] = {
    "[http]": HTTPSettings,
    "[voms]": VOMSListenerSettings,
    "[[key]]": KeySettings,
    "[tokens]": TokenSettings,
    "[[tokens.base]]": ScopeBase,
    "[[tokens.rule]]": RuleSettings,
    "[[tokens.role]]": RoleGroup,
    "[store]": StoreSettings,
    "[trust]": TrustSettings,
    "[[trust.strength]]": StrengthRule,
    "[directory]": UserDirectorySettings,
    "[capability]": CapabilitySettings,
}


def read(directory: Path, text: str) -> CASConfig:
    write_file(directory / "cas.toml", text.encode(), 0o644)
    return load_config(str(directory / "cas.toml"))


def test_the_least(tmp_path: Path) -> None:
    config = read(tmp_path, LEAST)
    assert (config.voms, config.tokens, config.metrics) == (None, None, "")
    assert config.store.audit_path == "/var/lib/cas/audit.log"
    assert config.key[0].spec().begins == datetime(2026, 1, 1, tzinfo=UTC)
    assert config.settings().max_lifetime == timedelta(hours=24)


def test_tokens(tmp_path: Path) -> None:
    text = LEAST + (
        '[tokens]\nissuer = "https://c.org"\ncontent = "both"\n'
        '[[tokens.base]]\nnamespace = "N"\nprefix = "ftp://h"\naudiences = ["https://h"]\n'
        '[[tokens.rule]]\nscope = "storage.read"\nservice_type = "file"\nactions = ["read", "lookup"]\n'
        '[[tokens.role]]\nfqan = "/climate/Role=a"\ngroup = "/climate/a"\n'
    )
    tokens = read(tmp_path, text).tokens
    assert tokens is not None
    own = tokens.options(Profile.WLCG)
    assert (own.content, own.mapping.rules[0].actions) == (TokenContent.BOTH, frozenset({"read", "lookup"}))
    other = tokens.options(Profile.SCITOKENS)
    assert (other.content, other.mapping.rules) == (TokenContent.CAPABILITIES, ())


@pytest.mark.parametrize(
    ("added", "line", "message"),
    [
        ("[http]\nworkrs = 2\n", 8, "unknown key 'workrs'"),
        ("[http]\nworkers = 0\n", 8, "workers must be from"),
        ('[http]\nlisten = "localhost"\n', 7, "no address with a port"),
        ('[http]\nkey = "relative"\n', 7, "no absolute path"),
        ('[store]\ndatabase = "mysql://x"\n', 7, "PostgreSQL"),
        ('[trust]\ncrl = "never"\n', 8, "must be one of require, if-present, off"),
        ('[tokens]\nissuer = "http://c.org"\n', 7, "no https URL"),
        ('[tokens]\nissuer = "https://c.org"\nmax_lifetime = "7h"\n', 7, "at most"),
        ('[tokens]\nissuer = "https://c.org"\nprofile = "scitokens"\ncontent = "both"\n', 7, "no groups"),
        ('[[key]]\nplace = "/k2"\nbegins = "2026-01-01"\nends = "2026-02-01"\n', None, "tokens alone"),
        ('[[key]]\nplace = "/k2"\nbegins = "soon"\nends = "2026-02-01"\n', None, "no time"),
        ('[[key]]\nplace = "/k2"\nbegins = "2026-01-01"\nends = "2028-01-01"\n', None, "signs for"),
        ('[voms]\nplace = "x"\n', 7, "no address with a port"),
        ("[nonsense]\n", 7, "unknown key 'nonsense'"),
        ('[[trust.strength]]\nissuer = "/O=G/CN=CA"\nstrength = "none"\n', None, "one of low, medium, high"),
        ('[[trust.strength]]\nissuer = "CA"\nstrength = "low"\n', None, "issuer"),
        ('[[trust.strength]]\nissuer = "/CN=CA"\nstrength = "low"\npolicy = "x"\n', None, "no OID"),
        (f'{PEOPLE}by = "account"\ngroups_from = ["memberOf"]\n', None, "no by, claims or actions"),
        (PEOPLE, None, "gives no groups"),
        (f'{PEOPLE}groups_from = ["memberOf"]\nca_file = "ca.pem"\n', None, "no absolute path"),
    ],
)
def test_what_is_refused(tmp_path: Path, added: str, line: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read(tmp_path, LEAST + added)
    assert caught.value.path == str(tmp_path / "cas.toml")
    if line is not None:
        assert caught.value.line == line


@pytest.mark.parametrize("text", ["", KEY, 'community = "climate"\n', LEAST.replace("climate", "cli mate")])
def test_what_is_missing(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        read(tmp_path, text)


def test_a_file_that_others_can_write(tmp_path: Path) -> None:
    write_file(tmp_path / "cas.toml", LEAST.encode(), 0o644)
    (tmp_path / "cas.toml").chmod(0o666)
    with pytest.raises(ConfigError):
        load_config(str(tmp_path / "cas.toml"))


@pytest.mark.parametrize("table", TABLES)
def test_the_page_has_every_key(table: str) -> None:
    _, _, rest = PAGE.partition(f"### `{table}`\n")
    section = rest.partition("\n##")[0]
    told = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    nested = {"[tokens]": {"base", "rule", "role", "key"}, "[trust]": {"strength"}}.get(table, set())
    if table == "[directory]":
        nested = {"by", "claims", "actions"}  # refused
    assert told == {one.name for one in dataclasses.fields(TABLES[table])} - nested
