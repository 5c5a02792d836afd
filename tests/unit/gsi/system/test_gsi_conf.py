"""The host's settings file, as the C libraries read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi.errors import ConfigError
from gsi.system.gsi_conf import MAX_FILE_BYTES, find_setting, load_gsi_conf

SHIPPED = """\
# Minimum TLS protocol version.
MIN_TLS_PROTOCOL=0
 NAME_COMPATIBILITY = HYBRID   # as ever
NAME_COMPATIBILITY=STRICT_GT2

  \t
CIPHERS=HIGH:!x=y
EMPTY=
"""


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gsi.conf"
    path.write_text(SHIPPED)
    settings = load_gsi_conf(str(path))
    assert settings == {"MIN_TLS_PROTOCOL": "0", "NAME_COMPATIBILITY": "HYBRID", "CIPHERS": "HIGH:!x=y"}
    monkeypatch.delenv("GLOBUS_GSSAPI_NAME_COMPATIBILITY", raising=False)
    assert find_setting("NAME_COMPATIBILITY", settings) == "HYBRID"
    assert find_setting("MAX_TLS_PROTOCOL", settings) is None
    monkeypatch.setenv("GLOBUS_GSSAPI_NAME_COMPATIBILITY", "STRICT_GT2")
    assert find_setting("NAME_COMPATIBILITY", settings) == "STRICT_GT2"


def test_no_file_is_no_settings(tmp_path: Path) -> None:
    assert load_gsi_conf(str(tmp_path / "gsi.conf")) == {}


def test_what_is_no_setting(tmp_path: Path) -> None:
    path = tmp_path / "gsi.conf"
    path.write_text("A=1\nnonsense\n")
    with pytest.raises(ConfigError) as caught:
        load_gsi_conf(str(path))
    assert (caught.value.path, caught.value.line) == (str(path), 2)
    path.write_text("#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError):
        load_gsi_conf(str(path))
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError):
        load_gsi_conf(str(path))
