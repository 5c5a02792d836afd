"""What `cas-proxy-init -f` refuses: to call narrow what would not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.cli import proxy_init
from gsi.cli.run import EXIT_OK
from gsi.errors import ConfigError
from gsi.system.credential_files import load_proxy
from tests.harness.ca import Extra
from tests.harness.cas_site import EnforcingSite, ac_of
from tests.harness.saml import assertion_extension

REQUEST = "Resource: FTPDirectoryTree|ftp://se/data/*\n file read\n"


def test_a_request_file_with_an_attribute_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "request").write_text(REQUEST)
    assert proxy_init.main(["-f", str(tmp_path / "request"), "-ac"]) != EXIT_OK
    assert "-f with -ac" in capsys.readouterr().err


def test_a_request_file_with_a_proxy_that_carries_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = EnforcingSite(tmp_path)
    (tmp_path / "request").write_text(REQUEST)
    assertion = assertion_extension(site.climate.assertion(site.alice).encode())
    certificate = ac_of(site.climate.attributes(site.alice))
    plain = site.alice.proxy(key="p256")
    carriers: list[list[Extra]] = [[assertion], [certificate]]
    for number, extensions in enumerate(carriers):
        below = plain.proxy(key="p256", extensions=extensions).proxy(key="p256")
        path = tmp_path / f"proxy{number}"
        below.write_bundle(path)
        monkeypatch.setenv("X509_USER_PROXY", str(path))
        words = ["-f", str(tmp_path / "request"), "-p", str(tmp_path / "out"), "-c", "https://127.0.0.1:1"]
        assert proxy_init.main(words) != EXIT_OK
        assert "carries capabilities already" in capsys.readouterr().err
        with pytest.raises(ConfigError, match="already"):
            proxy_init._check_carries_nothing(load_proxy(str(path)))
    assert not (tmp_path / "out").exists()
    plain.write_bundle(tmp_path / "plain")
    proxy_init._check_carries_nothing(load_proxy(str(tmp_path / "plain")))


def test_a_request_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said is about the file, not about credentials."""
    assert proxy_init.main(["-f", str(tmp_path / "none"), "-c", "https://127.0.0.1:1"]) != EXIT_OK
    said = capsys.readouterr().err
    assert "name a file that can be read" in said
    assert "X509" not in said
