"""MyProxy's part of the sandbox where packages are missing, and what the portal is told of its neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi.sandbox.vo import make_vo, open_vo
from gsi.system.clock import now
from myproxy.portal.config import load_config
from myproxy.sandbox import authenticator, portal
from myproxy.sandbox.visitor import main
from tests.harness.ca import write_file


def test_without_its_packages_the_portal_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal, "PACKAGES", ("sys", "no_such_package"))
    found = portal.contribution(open_vo(tmp_path))
    assert found.notices == (
        "no web portal: no_such_package not installed (pip install 'gsi-toolkit[server,portal]'); going on",
    )
    assert found.services == ()
    assert found.make_steps() == ()


def test_the_portal_has_the_pages_of_who_is_there(tmp_path: Path) -> None:
    vo = open_vo(tmp_path)
    make_vo(vo, now=now())
    (service,) = portal.contribution(vo).services
    assert service.prepare is not None
    config = tmp_path / "state/myproxy-portal/portal.toml"
    service.prepare({})
    assert load_config(str(config)).pages == {}
    assert not load_config(str(config)).kerberos.keytab
    others = {"CAS_SERVER_URL": "https://localhost:1", "KCA_CONFIG": "/kca.toml"}
    service.prepare({**others, "HTTP_KEYTAB": "/keytab", "KRB5_REALM": "GRID.EXAMPLE"})
    found = load_config(str(config))
    assert found.pages == {"cas": {"server": "https://localhost:1"}, "kca": {"config": "/kca.toml"}}
    assert found.codes.server_config
    assert found.own.certificate == str(vo.portal_certificate_path)
    assert (found.kerberos.keytab, found.kerberos.realms) == ("/keytab", ("GRID.EXAMPLE",))


def test_the_authenticator_shows_a_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_file(tmp_path / "secret", b"JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP\n", 0o600)
    authenticator.main([str(tmp_path / "secret")])
    code = capsys.readouterr().out
    assert len(code) == 7
    assert code.strip().isdigit()


@pytest.mark.parametrize("argv", [[], ["https://localhost:1"], ["https://localhost:1", "alice", "dance", "/"]])
def test_a_visitor_says_what_it_takes(argv: list[str]) -> None:
    with pytest.raises(SystemExit, match="usage: visitor"):
        main(argv)
