"""The configuration: what is read, what is refused with its line, and that the reference page says the same."""

from __future__ import annotations

import dataclasses
import enum
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gsi.errors import ConfigError
from kca.config import (
    AuthoritySettings,
    HTTPSettings,
    KCAConfig,
    LookUp,
    RealmDirectory,
    RealmSettings,
    ResponseMAC,
    ServerSettings,
    StoreSettings,
    load_config,
)
from kca.limits import Limits
from kca.principal import Rule
from tests.harness.ca import write_file

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/reference/kca.md").read_text("utf-8")
LEAST = '[authority]\ncertificate = "/ca.pem"\nkey = "/ca.key"\n[realm."A.ORG"]\nbase = "/O=A"\n'
TABLES: dict[str, type[Any]] = {
    "[authority]": AuthoritySettings,
    '[realm."NAME"]': RealmSettings,
    '[[realm."NAME".rule]]': Rule,
    "[limits]": Limits,
    "[store]": StoreSettings,
    "[server]": ServerSettings,
    "[http]": HTTPSettings,
}


def read(directory: Path, text: str) -> KCAConfig:
    path = directory / "kca.toml"
    write_file(path, text.encode(), 0o644)
    return load_config(str(path))


def test_the_least(tmp_path: Path) -> None:
    config = read(tmp_path, LEAST)
    assert config.limits == Limits()
    assert config.realm["A.ORG"].rule == (Rule(),)
    assert config.store.audit_path == "/var/lib/kca/audit.log"
    assert config.server.response_mac is ResponseMAC.AUTO


def test_much(tmp_path: Path) -> None:
    text = (
        'policy = "/x/kca.toml"\n'
        + LEAST
        + """\
lifetime = "6h"
[[realm."A.ORG".rule]]
principal = "*/grid"
groups = ["grid"]
beyond_ticket = 600
[realm."A.ORG".directory]
servers = ["ldaps://l.a.org"]
user_base = "o=a"
user_attribute = "krbPrincipalName"
look_up = "principal"
[limits]
refused_indicators = []
[server]
listen = ["127.0.0.1:0", "[::1]:9878"]
response_mac = "heimdal8"
"""
    )
    config = read(tmp_path, text)
    rules = config.realm["A.ORG"]
    assert rules.lifetime == timedelta(hours=6)
    assert rules.rule[0].beyond_ticket == timedelta(minutes=10)
    assert rules.directory is not None
    assert rules.directory.look_up is LookUp.PRINCIPAL
    assert config.limits.refused_indicators == frozenset()


@pytest.mark.parametrize(
    ("added", "line", "message"),
    [
        ("[limits]\nlifetme = 5\n", 7, "unknown key 'lifetme'"),
        ('[limits]\nlifetime = "1m"\n', 7, "lifetime must be from"),
        ("[limits]\nrsa_bits = 1024\n", 7, "from 2048"),
        ('[limits]\nrequired_indicators = ["pkinit"]\n', 6, "refused and required"),
        ('[[realm."A.ORG".rule]]\ngroups = ["x"]\n', 4, "no directory is named"),
        ('[[realm."A.ORG".rule]]\nsubject = "/CN=x"\n', 6, "everybody would get the same name"),
        ('[realm."B.ORG"]\nbase = "/O=A/OU=B"\n', None, "begins that of"),
        ('[store]\ndirectory = "relative"\n', 6, "no absolute path"),
        ('[store]\ndatabase = "mysql://x"\n', 6, "PostgreSQL"),
        ('[server]\nlisten = ["localhost"]\n', 6, "no address with a port"),
        ('[server]\nresponse_mac = "md5"\n', 7, "must be one of auto, rfc, heimdal8"),
        ('[http]\nkey = "/x"\n', 6, "needs certificate"),
        ('[http]\ncertificate = "/x"\nfront_end_certificate = "/y"\n', 6, "exclude each other"),
        ('[http]\nlisten = "*:80"\naddress_header = "X-Real-IP"\n', 6, "everybody could say"),
        ('[http]\nlisten = "*:80"\nmetrics = true\n', 6, "everybody could read"),
        ("[nonsense]\n", 6, "unknown key 'nonsense'"),
    ],
)
def test_what_is_refused(tmp_path: Path, added: str, line: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read(tmp_path, LEAST + added)
    if line is not None:
        assert caught.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[authority]\nkey = "/x"\n',
        LEAST.replace('[realm."A.ORG"]\nbase = "/O=A"\n', ""),
        LEAST.replace('"/O=A"', '""'),
        LEAST.replace("A.ORG", "A/ORG"),
        LEAST + 'crl_urls = ["not a url"]\n',
    ],
)
def test_what_is_missing(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        read(tmp_path, text)


def test_a_file_that_others_can_write(tmp_path: Path) -> None:
    write_file(tmp_path / "kca.toml", LEAST.encode(), 0o644)
    (tmp_path / "kca.toml").chmod(0o666)
    with pytest.raises(ConfigError):
        load_config(str(tmp_path / "kca.toml"))


def test_where_nobody_listens_in() -> None:
    assert HTTPSettings().is_private
    assert HTTPSettings(listen="/run/kca").is_private
    assert HTTPSettings(listen="*:443", certificate="/x").is_private
    assert not HTTPSettings(listen="*:80").is_private


# --- the reference ----------------------------------------------------------------------------------------------------


def default_text(value: object) -> str:
    """A default as the page writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        unit = next((one for one in ("d", "h", "m") if seconds % {"d": 86400, "h": 3600, "m": 60}[one] == 0), "s")
        return f"`{seconds // {'d': 86400, 'h': 3600, 'm': 60, 's': 1}[unit]}{unit}`" if seconds else "`0`"
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    if isinstance(value, frozenset | tuple):
        return "`[" + ", ".join(f'"{one}"' for one in sorted(value)) + "]`"
    return f"`{value}`" if value != "" else "empty"


def section(title: str) -> list[tuple[str, str]]:
    """Keys and defaults of a table on the page."""
    body = PAGE.split(f"\n## `{title}`\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([a-z_0-9]+)` \| (.*?) \| ", body, re.MULTILINE)


@pytest.mark.parametrize("title", TABLES)
def test_the_reference_has_every_key_with_its_default(title: str) -> None:
    expected = []
    for field in dataclasses.fields(TABLES[title]):
        if field.name in {"rule", "directory"} and TABLES[title] is RealmSettings:
            continue
        if field.default_factory is not dataclasses.MISSING:
            expected.append((field.name, default_text(field.default_factory())))
        elif field.default is dataclasses.MISSING:
            expected.append((field.name, "needed"))
        else:
            expected.append((field.name, default_text(field.default)))
    assert section(title) == expected


def test_the_reference_has_every_table() -> None:
    assert {field.name for field in dataclasses.fields(KCAConfig)} == {
        "authority", "realm", "limits", "store", "server", "http", "policy",
    }  # fmt: skip
    assert section('[realm."NAME".directory]') == [("look_up", "`name`")]
    assert RealmDirectory.__dataclass_fields__["look_up"].default is LookUp.NAME
