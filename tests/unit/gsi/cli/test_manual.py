from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pexpect
import pytest

from gsi.cli.arguments import CommandParser
from gsi.cli.manual import COMMANDS, find_parser, main, render_all, render_man_page
from gsi.cli.pages import ManualPage
from tests.harness.run import require_peer

ROOT = Path(__file__).parents[4]
DOCS = ROOT / "docs"
DOCUMENTS = render_all()
PAGES = sorted(path for path in DOCUMENTS if path.startswith("man/"))


def test_the_committed_documents_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(DOCS)]) == 0, capsys.readouterr().err


def test_no_document_is_left_over() -> None:
    found = {
        str(path.relative_to(DOCS))
        for part in ("man", "completions")
        for path in (DOCS / part).rglob("*")
        if path.is_file()
    }
    assert found == set(DOCUMENTS)


def test_writing_and_checking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(tmp_path)]) == 1
    assert not list(tmp_path.iterdir())
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    page = tmp_path / "man" / "man1" / "grid-proxy-init.1"
    page.write_text("old")
    capsys.readouterr()
    assert main(["--check", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "man/man1/grid-proxy-init.1 is out of date\n"


@pytest.mark.parametrize("page", PAGES)
def test_mandoc_finds_nothing(page: str) -> None:
    mandoc = shutil.which("mandoc")
    if mandoc is None:
        pytest.fail("mandoc is not installed")
    done = subprocess.run([mandoc, "-T", "lint", str(DOCS / page)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_roff_escapes() -> None:
    parser = CommandParser("grid-thing", "do a thing")
    parser.section("S").flag("-back-slash", text="a \\ and a ~ here")
    text = render_man_page(
        parser, ManualPage(date="2026-01-01", description=".TH is no request. `-x` *name*", exit_status=())
    )
    assert "\\fB\\-back\\-slash\\fR" in text
    assert "A \\e and a \\(ti here." in text
    assert "\n\\&.TH is no request.\n\\fB\\-x\\fR \\fIname\\fR\n" in text


class Bash:
    """Completion as a real bash does it: `complete -F` function called with the words typed so far."""

    def __init__(self, command: str, directory: Path) -> None:
        self.command = command
        self.directory = directory

    def __call__(self, *words: str) -> list[str]:
        script = DOCS / "completions" / "bash" / self.command
        code = (
            'set -u; source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))\n'
            'function=$(complete -p "$1" | sed "s/.*-F \\([^ ]*\\) .*/\\1/")\n'
            '"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" ""\n'
            'if (( ${#COMPREPLY[@]} )); then printf "%s\\n" "${COMPREPLY[@]}"; fi\n'
        )
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", code, "bash", str(script), self.command, *words],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=self.directory,
            env={"PATH": os.environ["PATH"]},
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout.splitlines()


def test_bash_completion(tmp_path: Path) -> None:
    (tmp_path / "my cert.pem").touch()
    (tmp_path / "my certs").mkdir()
    init = Bash("grid-proxy-init", tmp_path)
    assert init("-val") == ["-valid"]
    assert init("--val") == ["--valid"]
    assert init("-key-type", "p") == ["p256", "p384"]
    assert init("--bits", "") == ["2048", "3072", "4096"]
    assert init("-valid", "") == []
    assert sorted(init("-cert", "my")) == ["my cert.pem", "my certs"]
    assert init("-certdir", "my") == ["my certs"]
    assert init("") == []
    assert sorted(Bash("grid-proxy-destroy", tmp_path)("-dryrun", "my")) == ["my cert.pem", "my certs"]


def test_completion_at_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "my cert.pem").touch()
    script = DOCS / "completions" / "bash" / "grid-proxy-init"
    child = pexpect.spawn("bash", ["--noprofile", "--norc", "-i"], encoding="utf-8", timeout=20, cwd=str(tmp_path))
    child.sendline(
        "PS1='now> '; bind 'set enable-bracketed-paste off'; grid-proxy-init() { printf '<%s>' \"$@\"; echo; }"
    )
    child.sendline(f"source {shlex.quote(str(script))}; echo rea''dy")
    child.expect_exact("ready")
    child.send("grid-proxy-init -lim\t-cert my\t-key-type ed\t\n")
    child.expect_exact("<-limited><-cert><my cert.pem><-key-type><ed25519>")
    child.expect_exact("now> ")  # between two prompts the end of file would get lost
    child.sendeof()
    child.expect(pexpect.EOF)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_bash_offers_every_option(command: str, tmp_path: Path) -> None:
    single, double = Bash(command, tmp_path)("-"), Bash(command, tmp_path)("--")
    parser = find_parser(COMMANDS[command])
    spellings = [
        spelling for section in parser.all_sections for spec in section.specs for spelling in parser.spellings(spec)
    ]
    assert sorted(single) == sorted(one for one in spellings if not one.startswith("--"))
    assert sorted(double) == sorted(one for one in spellings if one.startswith("--"))
    assert "--help" in double


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_theirs(shell: str) -> None:
    require_peer(shell)
    program = shutil.which(shell)
    assert program is not None
    for path in sorted((DOCS / "completions" / shell).iterdir()):
        done = subprocess.run([program, "-n", str(path)], capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stderr) == (0, ""), path


# Every word that the project writes about a command


def _options_of(place: str) -> set[str]:
    module, _, _ = place.partition(":")
    parser = importlib.import_module(module).build_parser()
    assert isinstance(parser, CommandParser)
    return {name.lstrip("-") for section in parser.all_sections for spec in section.specs for name in spec.names}


def _texts() -> list[Path]:
    tops = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    for folder, pattern in (
        ("docs", "**/*.md"),
        ("docs/man", "**/*"),
        ("changelog.d", "*.md"),
        ("gsi", "**/*.py"),
        ("myproxy", "**/*.py"),
    ):
        tops += (ROOT / folder).glob(pattern)
    return [path for path in tops if path.is_file()]


def test_no_text_names_an_option_that_is_not_there() -> None:
    """Manual pages, README, decisions, hints in errors: wherever one of our commands is followed by options."""
    scripts: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    known = {
        name: _options_of(place)
        for name, place in scripts.items()
        if (ROOT / (place.partition(":")[0].replace(".", "/") + ".py")).exists()
    }
    line = re.compile(rf"(?<![\w./-])({'|'.join(map(re.escape, known))})((?:[ ][^\s`'\"|;&<>()]+)+)")
    seen = 0
    for path in _texts():
        for command, words in line.findall(path.read_text(encoding="utf-8").replace("\\-", "-")):
            for word in words.split():
                option = re.fullmatch(r"--?([a-zA-Z][\w-]*)(?:=.*|[.,:])?", word)
                if option is not None:
                    seen += 1
                    assert option[1] in known[command], f"{path}: {command} {word}"
    assert seen > 20
