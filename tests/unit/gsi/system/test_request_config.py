"""What CAs want requests to look like: OpenSSL's configuration files and shell assignments, read and never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gsi import oids
from gsi.errors import ConfigError
from gsi.system.environ import read_locations
from gsi.system.request_config import (
    MAX_FIELDS,
    NameField,
    RequestProfile,
    find_request_places,
    list_configured,
    load_request_profile,
    load_settings,
    parse_request_profile,
    parse_settings,
)
from tests.harness.requests import FIELDS, ssl_conf, write_request_config

if TYPE_CHECKING:
    from pathlib import Path


def test_the_parts_of_a_subject_in_order() -> None:
    assert parse_request_profile(ssl_conf(FIELDS)) == RequestProfile(
        fields=(
            NameField(oids.ORGANIZATION, "Level 0 Organization", "Grid"),
            NameField(oids.ORGANIZATIONAL_UNIT, "Level 0 Organizational Unit", "Test Unit"),
            NameField(oids.ORGANIZATIONAL_UNIT, "Level 1 Organizational Unit", "example.org"),
            NameField(oids.COMMON_NAME, "Name (E.g., John M. Smith)", None, 0, 64),
        ),
        bits=2048,
    )


@pytest.mark.parametrize(
    ("line", "default"),
    [
        ("O_default = Grid # comment", "Grid"),
        ('O_default = "Grid # no comment"', "Grid # no comment"),
        ("O_default = 'a \"b\"'", 'a "b"'),
        ("O_default = a\\#b", "a#b"),
        ("O_default = a\\\n b", "a b"),
        ("O_default =", None),
        ("O_value = fixed", "fixed"),
        ("#O_default = x", None),
        ("O_default=$HOME", "$HOME"),
    ],
)
def test_lines(line: str, default: str | None) -> None:
    (field,) = parse_request_profile(f"[req_distinguished_name]\nO = Organization\n{line}\n").fields
    assert field.default == default


def test_other_settings() -> None:
    text = "[req]\ndistinguished_name = dn\nstring_mask = nombstr\ndefault_bits = many\n[ dn ]\n0.DC = x\nx.OU = y\n"
    profile = parse_request_profile(text)
    assert (profile.bits, profile.printable) == (None, True)
    assert [field.oid for field in profile.fields] == [oids.DOMAIN_COMPONENT, oids.ORGANIZATIONAL_UNIT]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[req]\ndistinguished_name = other\n[req_distinguished_name]\nO = x\n",
        "[req_distinguished_name]\nnonsense = x\n",
        "[req_distinguished_name]\n" + "".join(f"{number}.OU = x\n" for number in range(MAX_FIELDS + 1)),
    ],
)
def test_a_file_without_usable_parts(text: str, tmp_path: Path) -> None:
    path = tmp_path / "conf"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_request_profile(str(path))
    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("X=plain", "plain"),
        ('X="two words"', "two words"),
        ("export X='$A'", "$A"),
        ("A=1\nX=$A", "1"),
        ("A=1\nX=${A}2", "12"),
        ('X="${A:-${B:-none}}"', "none"),
        ('B=b\nX="${A:-${B:-none}}"', "b"),
        ('A=a\nX="${A:-${B:-none}}"', "a"),
        ("X=`id`$(id)", "`id`$(id)"),
        ("X=$X", ""),
        ("X=$", "$"),
        ("  X=1  ", "1"),
        ("if true; then X=1; fi", None),
        ("X =1", None),
    ],
)
def test_assignments(text: str, value: str | None) -> None:
    assert parse_settings(text).get("X") == value


@pytest.mark.parametrize(
    "text", ["X=${A", "X=${A:-${B}", "A=" + "a" * 4000 + "\nX=$A$A", "X=" + "${A:-" * 20 + "}" * 20]
)
def test_assignments_that_go_wrong(text: str, tmp_path: Path) -> None:
    path = tmp_path / "conf"
    path.write_text("# comment\n" + text)
    with pytest.raises(ConfigError) as caught:
        load_settings(str(path))
    assert (caught.value.path, caught.value.line) == (str(path), 2 + text.count("\n"))


def test_no_settings_are_no_error(tmp_path: Path) -> None:
    assert load_settings(str(tmp_path / "none")) == {}


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    security, trust = tmp_path / "security", tmp_path / "trust"
    monkeypatch.setenv("GRID_SECURITY_DIR", str(security))
    monkeypatch.setenv("X509_CERT_DIR", str(trust))
    locations = read_locations()
    with pytest.raises(ConfigError, match=str(security)):
        find_request_places(locations)
    with pytest.raises(ConfigError, match="trust directory cannot be read"):
        list_configured(locations)
    write_request_config(security)
    write_request_config(trust, suffix=".0123abcd")
    (trust / "0123abcd.0").touch()
    write_request_config(trust, suffix=".without0")
    assert find_request_places(locations).user_conf == str(security / "globus-user-ssl.conf")
    found = find_request_places(locations, ca_hash="0123abcd")
    assert (found.directory, found.host_conf) == (str(security), str(trust / "globus-host-ssl.conf.0123abcd"))
    assert list_configured(locations) == (str(trust), ["0123abcd"])
    for text in ("", "0123ABCD", "../../..", "00000000"):
        with pytest.raises(ConfigError):
            find_request_places(locations, ca_hash=text)
