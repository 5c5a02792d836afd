"""The README's Python code does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.ca import TestCA
from tests.harness.environment import UserEnvironment

README = Path(__file__).resolve().parents[2] / "README.md"


def _blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def test_there_is_code() -> None:
    assert len(_blocks()) == 1


@pytest.mark.parametrize("code", _blocks())
def test_the_code_runs(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ca = TestCA("/O=Grid/CN=README CA")
    user = UserEnvironment(tmp_path)
    user.install_user(ca.issue("/O=Grid/CN=Alice"), passphrase=b"correct horse")
    user.trust(ca)
    for name, value in user.variables.items():
        if name.startswith("X509_") or name == "HOME":
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("X509_USER_CERT", str(user.cert_path))
    monkeypatch.setenv("X509_USER_KEY", str(user.key_path))
    exec(compile(code, str(README), "exec"), {})
    assert "/O=Grid/CN=Alice limited" in capsys.readouterr().out
