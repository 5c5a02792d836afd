"""The documentation as a site: it builds without a warning, and its hand-written tables say what the code says."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from pathlib import Path

import pytest

import gsi
from myproxy.config import Method, ServerConfig
from tests.harness.environment import clean_environment
from tests.harness.run import run

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages. The theme that is published takes as long as all else, and has no part in what can be wrong."""
    out = tmp_path_factory.mktemp("site")
    options = ["-q", "-n", "-W", "--keep-going", "-j", "2", "-D", "html_theme=basic"]
    places: list[str | Path] = ["-d", out / "doctrees", DOCS, out / "html"]
    command = [sys.executable, "-m", "sphinx", *options, *places]
    env = clean_environment(out) | {"PYTHONWARNINGS": "default"}  # Sphinx and its extensions have deprecations
    run(command, env=env, cwd=ROOT, timeout=280).check()
    return out / "html"


def test_each_source_is_a_page(site: Path) -> None:
    sources = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")} - {Path("README.html")}
    assert sources <= {page.relative_to(site) for page in site.rglob("*.html")}


def test_commands_options_and_interfaces_are_there(site: Path) -> None:
    proxies = (site / "reference/commands/proxies.html").read_text("utf-8")
    assert 'id="command-grid-proxy-init"' in proxies
    assert 'href="#command-grid-proxy-info"' in proxies
    assert "-policy-language," in proxies
    assert "/cas/v1/whoami" in (site / "reference/cas-http.html").read_text("utf-8")
    assert "/bx509" in (site / "reference/kca-http.html").read_text("utf-8")
    assert "/delegation/{ID}/proxy" in (site / "reference/delegation-http.html").read_text("utf-8")
    assert "X-Authz-Account" in (site / "reference/authz-http.html").read_text("utf-8")
    assert "X509_VHOST_CRED_DIR" in (site / "reference/environment.html").read_text("utf-8")
    assert "/api/v1/getcert" in (site / "reference/portal-http.html").read_text("utf-8")


def test_each_stable_name_is_explained(site: Path) -> None:
    """On the page of its module, or on that of `gsi`."""
    seen = 0
    for page in (DOCS / "reference/python").glob("*.md"):
        shown = (site / "reference/python" / f"{page.stem}.html").read_text("utf-8")
        for module in re.findall(r"^\.\. automodule:: (\S+)$", page.read_text("utf-8"), re.MULTILINE):
            listed = importlib.import_module(module)
            # Numbers that come from another module do not say what they are.
            names = {name for name in listed.__all__ if not isinstance(getattr(listed, name), int | str)}
            elsewhere = set() if module == "gsi" else set(gsi.__all__)
            assert {name for name in names if f'id="{module}.{name}"' not in shown} <= elsewhere, module
            seen += len(names)
    assert seen > 200


def test_each_directive_of_the_server_is_explained() -> None:
    text = (DOCS / "reference/myproxy-config.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", text, re.MULTILINE))
    assert rows == {
        field.name: _shown(field.default) for field in dataclasses.fields(ServerConfig) if "kind" in field.metadata
    }


def _shown(default: object) -> str:
    match default:
        case None:
            return "none"
        case bool():
            return "on" if default else "off"
        case Method():
            return default.value
        case _:
            return str(default)


@pytest.mark.parametrize("folder", ["howto", "reference", "wire", "adr", "conformance", "development"])
def test_the_list_of_a_folder_names_its_pages(folder: str) -> None:
    listed = set(re.findall(r"\]\(([\w/.-]+\.md)", (DOCS / folder / "README.md").read_text("utf-8")))
    pages = {page.name for page in (DOCS / folder).glob("*.md")} - {"README.md"}
    assert pages <= listed
