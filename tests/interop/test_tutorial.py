"""The tutorial runs as it stands: every page after the other, in one shell, against one sandbox."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.console import Typed, make_script, read_console, split_output
from tests.harness.environment import clean_environment
from tests.harness.run import our_program, require_peer, run

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs/tutorial").glob("[1-9]-*.md"))


@pytest.fixture
def short_home() -> Iterator[Path]:
    """A home whose name leaves room for sockets of the gatekeeper's in the sandbox there."""
    with tempfile.TemporaryDirectory(prefix="gs-") as directory:
        yield Path(directory).resolve()


def test_every_command_shows_what_the_page_says(tmp_path: Path, short_home: Path) -> None:
    require_peer("globus-gridftp-server", "globus-url-copy", "globus-gatekeeper", "globus-job-run", "cc")
    require_peer("krb5kdc", "kdb5_util", "kadmin.local", "kinit")
    typed = [(page.name, one) for page in PAGES for one in read_console(page.read_text("utf-8"))]
    home = short_home
    path = f"{os.path.dirname(our_program('grid-sandbox'))}:/usr/bin:/bin"
    # Where the sandbox did not start, nothing may go to the default place.
    env = clean_environment(home) | {"PATH": path, "X509_USER_PROXY": str(home / "proxy.pem")}
    script = tmp_path / "script"
    script.write_text(make_script([one for _, one in typed]))
    try:
        done = run(["/bin/bash", script], env=env, cwd=home, timeout=280).check()
    finally:
        gone = run([our_program("grid-sandbox"), "down", "-delete"], env=env)
    assert "there is no sandbox" in gone.stderr, "the last page has not ended it"
    results = split_output(done.stdout)
    assert len(results) == len(typed), done
    wrong = [
        f"{page}: $ {one.command}\n[exit status {status}]\n{printed}--- the page shows\n{one.shown}\n"
        for (page, one), (status, printed) in zip(typed, results, strict=True)
        if not one.fits(printed) or one.fails != (status != 0)
    ]
    assert not wrong, "\n".join(wrong)


def test_what_is_shown_is_compared() -> None:
    """The comparison itself, which lets through what a page leaves open and nothing else."""
    page = "```console\n$ cat <<END\n> a\n>\n> END\nfirst ...\n...\nlast\n$ false  # refused\n```\n"
    page += "```console\n$ true\n```\n"
    typed = list(read_console(page))
    assert [one.command for one in typed] == ["cat <<END\na\n\nEND", "false  # refused", "true"]
    assert [one.fails for one in typed] == [False, True, False]
    assert typed[0].fits("first one\nlast\n")
    assert typed[0].fits("first one\nand\n\nmore\nlast")
    for printed in ("", "first one\n", "first one\nlast\nmore\n", "second\nlast\n", "first one\nlast, or not\n"):
        assert not typed[0].fits(printed)
    assert Typed("true", "").fits("")
    assert not Typed("true", "").fits("warning\n")
    done = run(["/bin/bash", "-c", make_script([Typed("printf x; (exit 3)", ""), Typed("echo y", "")])], env={})
    assert split_output(done.stdout) == [(3, "x"), (0, "y\n")]
