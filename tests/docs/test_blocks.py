"""What is shown in the documentation is run by some test, or its options are at least those of the commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsi.cli.manual import COMMANDS, find_parser

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

RUN = {
    "README.md": "unit/test_readme.py",
    "docs/development/release.md": "docs/test_release.py",
    "docs/howto/authz-web.md": "interop/test_authz_web_gunicorn.py",
    "docs/howto/backup.md": "interop/test_howto_backup.py",
    "docs/howto/cas-admin.md": "interop/test_howto_cas_admin.py",
    "docs/howto/delegation.md": "interop/test_delegation.py",
    "docs/howto/gsi-context.md": "interop/test_howto_gsi_context.py",
    "docs/howto/install.md": "unit/test_deploy.py",
    "docs/howto/kca.md": "interop/test_howto_kca.py",
    "docs/howto/migrate-gridmap.md": "cli/test_howto.py",
    "docs/howto/migrate-myproxy.md": "interop/test_myproxy_store.py",
    "docs/howto/migrate-voms.md": "interop/test_howto_voms.py",
    "docs/howto/portal-author.md": "interop/test_portal_applications.py",
    "docs/howto/portal.md": "interop/test_portal_applications.py",
    "docs/howto/renewal.md": "interop/test_howto_renewal.py",
    "docs/howto/runbook.md": "interop/test_runbook.py",
    "docs/howto/site-ca-token.md": "cli/test_howto.py",
    "docs/howto/site-ca.md": "cli/test_howto.py",
    "docs/howto/user-certificate.md": "interop/test_howto_users.py",
    "docs/howto/user-proxy.md": "interop/test_howto_users.py",
    "docs/howto/voms-proxy.md": "cli/test_voms_proxy.py",
    "docs/tutorial": "interop/test_tutorial.py",
}
"""Pages, or folders, by the test that runs their shell lines or their Python."""

NOT_RUN = {
    "docs/howto/cas-enforce.md": "makes accounts and a service as root; interop/test_cas_enforcement.py does the same",
    "docs/howto/myproxy-repository.md": "a line here and there for a server and databases that a site has",
    "docs/howto/myproxy-server.md": "installs a system service as root",
}
"""Pages whose lines are not run, with the reason; the options in them are looked at below."""


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_what_can_be_run_is_run(page: Path) -> None:
    name = _name(page)
    shown = re.search(r"^ *```(?:sh|console|python)\n", page.read_text("utf-8"), re.MULTILINE)
    places = {name, str(Path(name).parent)}
    assert not shown or len(places & {*RUN, *NOT_RUN}) == 1


@pytest.mark.parametrize("name", RUN)
def test_the_tests_read_these_pages(name: str) -> None:
    text = (TESTS / RUN[name]).read_text("utf-8")
    assert name.rpartition("/")[2] in text or f'"{Path(name).stem}"' in text


def _lines(text: str) -> Iterator[str]:
    """The shell lines of a page: in blocks for shells, and indented."""
    text = re.sub(r"\\\n\s*", " ", text)
    for block in re.findall(r"^ *```(?:sh|console)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    for line in re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines():
        if line.startswith("    "):
            yield line


def _commands(line: str) -> Iterator[list[str]]:
    """The simple commands of a shell line that are ours, as words."""
    for part in re.split(r"&&|\|\||[|;()`]|\$\(", re.sub(r"(^|\s)#.*", "", line)):
        try:
            words = shlex.split(part.strip().removeprefix("$ ").removeprefix("! "))
        except ValueError:  # quotes that go on in another part: nothing of ours
            continue
        while words and re.match(r"[A-Z_]+=|exec$|then$|do$|sudo$", words[0]):
            del words[0]
        if words and words[0].rpartition("/")[2] in COMMANDS:
            yield [words[0].rpartition("/")[2], *words[1:]]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_have_the_options_that_are_shown(page: Path) -> None:
    for line in _lines(page.read_text("utf-8")):
        for name, *words in _commands(line):
            parser = find_parser(COMMANDS[name])
            known = {
                spelling for group in parser.all_sections for spec in group.specs for spelling in parser.spellings(spec)
            }
            wanted = words[: words.index("--")] if "--" in words else words
            if name == "cas-wrap":  # what follows its own options is another program's
                wanted = wanted[:2]
            options = {word.partition("=")[0] for word in wanted if re.match(r"--?[A-Za-z]", word)}
            assert options <= known, line


@pytest.mark.parametrize("page", ["comparison.md", "threat-model.md"])
def test_the_tests_that_are_named_exist(page: str) -> None:
    named = re.findall(r"`(?:tests/)?([\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / page).read_text("utf-8"))
    assert len(named) > 30
    for file, function in named:
        text = (TESTS / file).read_text("utf-8")
        assert not function or re.search(rf"^\s*(?:async )?def {function}\(", text, re.MULTILINE), (file, function)
