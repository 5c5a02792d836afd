"""A release from its build to its verification, by the lines of docs/development/release.md."""

from __future__ import annotations

import importlib.util
import json
import re
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.harness.environment import clean_environment
from tests.harness.run import require_peer, run

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/development/release.md").read_text("utf-8")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", ROOT / "deploy/release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RELEASE = _load()


def test_each_fragment_has_its_place() -> None:
    text = RELEASE.gather(ROOT / "changelog.d", "1.0.0", "2027-01-31")
    assert text.startswith("## 1.0.0 (2027-01-31)\n\n### ")
    assert text.count("\n- ") >= len(list((ROOT / "changelog.d").glob("*.md")))
    assert re.findall(r"^\| `(\w+)` \| (\w+) \|$", PAGE, re.MULTILINE) == list(RELEASE.KINDS.items())


def test_a_fragment_of_no_kind_is_told(tmp_path: Path) -> None:
    (tmp_path / "thing.bugfix.md").write_text("Mend it.")
    with pytest.raises(SystemExit, match=r"thing\.bugfix\.md: not one of"):
        RELEASE.gather(tmp_path, "1.0.0", "2027-01-31")


def test_the_changelog_is_written(tmp_path: Path) -> None:
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "gsi").mkdir()
    (tmp_path / "changelog.d/a.fixed.md").write_text("First line\nand second.\n")
    (tmp_path / "changelog.d/b.security.md").write_text("Worse.\n")
    (tmp_path / "gsi/_version.py").write_text((ROOT / "gsi/_version.py").read_text())
    (tmp_path / "CHANGELOG.md").write_text((ROOT / "CHANGELOG.md").read_text() + "\n## 0.9 (2026-01-01)\n")
    RELEASE.write_changelog(tmp_path, "1.0.0", "2027-01-31")
    _, _, text = (tmp_path / "CHANGELOG.md").read_text().partition("<!-- releases -->\n")
    assert text == (
        "\n## 1.0.0 (2027-01-31)\n\n### Security\n\n- Worse.\n\n### Fixed\n\n- First line\n  and second.\n"
        "\n## 0.9 (2026-01-01)\n"
    )
    assert not list((tmp_path / "changelog.d").iterdir())
    assert '__version__ = "1.0.0"' in (tmp_path / "gsi/_version.py").read_text()


@pytest.mark.interop
def test_built_signed_and_verified(tmp_path: Path) -> None:
    require_peer("git", "ssh-keygen")
    out = tmp_path / "build/release"
    *files, sums = RELEASE.build(out)
    wheel, sdist, sbom = files
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if "dist-info" not in name and ".data" not in name} == {
        "gsi", "myproxy", "cas", "kca",
    }  # fmt: skip
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("/pyproject.toml") for name in archive.getnames())
    listed = {component["name"] for component in json.loads(sbom.read_text())["components"]}
    assert {"cryptography", "pyasn1", "sqlalchemy", "flask"} <= listed
    assert "pytest" not in listed

    env = clean_environment(tmp_path)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    key = tmp_path / ".ssh/release"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], env=env).check()
    public = key.with_suffix(".pub").read_text()
    (out / "allowed_signers").write_text(f'release namespaces="gsi-toolkit-release" {public}')
    (sign,) = re.findall(r"^ +(ssh-keygen -Y sign .*)$", PAGE, re.MULTILINE)
    (verify,) = re.findall(r"```sh\n(ssh-keygen -Y verify.*?)```", PAGE, re.DOTALL)
    run(["/bin/bash", "-ec", sign], env=env, cwd=tmp_path).check()
    assert "Good" in run(["/bin/bash", "-ec", verify], env=env, cwd=out).check().stdout

    sums.write_text(sums.read_text().replace("a", "b", 1))
    assert run(["/bin/bash", "-ec", verify], env=env, cwd=out).returncode != 0
