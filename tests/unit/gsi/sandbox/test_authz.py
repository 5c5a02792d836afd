"""The policies of the sandbox can be used, and nothing else lies beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi.cli.authz import main
from gsi.sandbox.authz import contribution, policy_dir
from gsi.sandbox.vo import open_vo


def test_policies_are_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vo = open_vo(tmp_path)
    found = contribution(vo)
    policies = sorted(policy_dir(vo).glob("*.toml"))
    assert [path.stem for path in policies] == ["archive", "gram", "gridftp"]
    assert main(["check", *map(str, policies)]) == 0, capsys.readouterr().out
    assert found.make_exports(vo.person("alice"))["GSI_AUTHZ_POLICY_DIR"] == str(policy_dir(vo))


def test_the_socket_is_where_other_accounts_may_go(tmp_path: Path) -> None:
    assert contribution(open_vo(tmp_path)).services[0].socket_path == tmp_path / "authz.socket"
    elsewhere = tmp_path / "open"
    (service,) = contribution(open_vo(tmp_path, open_dir=elsewhere)).services
    assert service.socket_path == elsewhere / "authz.socket"
