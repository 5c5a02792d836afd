"""The shell lines of the how-tos run as they stand, each page in one shell."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.harness.environment import clean_environment
from tests.harness.run import our_program, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", ["site-ca"])
def test_the_lines_run(page: str, tmp_path: Path) -> None:
    text = (ROOT / "docs/howto" / f"{page}.md").read_text("utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert blocks
    script = tmp_path / "script"
    # `!` does not stop under -e, so its failure has to be made one.
    lines = re.sub(r"^! (.*)$", r"if \1; then exit 9; fi", "".join(blocks), flags=re.MULTILINE)
    script.write_text(f"set -eu\n{lines}")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    environment = clean_environment(home) | {
        "HOME": str(home),
        "X509_USER_PROXY": str(tmp_path / "proxy.pem"),
        "PATH": f"{os.path.dirname(our_program('grid-proxy-init'))}:/usr/bin:/bin",
    }
    run(["/bin/bash", script], env=environment, cwd=tmp_path, timeout=120).check()
