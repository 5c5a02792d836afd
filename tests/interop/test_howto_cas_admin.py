"""The lines of docs/howto/cas-admin.md run as they stand, with a server of their own; only places and times differ."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.daemons import free_port
from tests.harness.environment import clean_environment
from tests.harness.run import our_program, run

pytestmark = pytest.mark.interop

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/cas-admin.md"


def test_from_nothing_to_a_copy(tmp_path: Path) -> None:
    ca = TestCA("/O=Grid/CN=CA")
    port, today = free_port(), datetime.now(UTC)
    places = {"etc": tmp_path / "etc/cas", "var": tmp_path / "var/cas", "home": tmp_path / "home"}
    for place in (places["etc"], places["home"]):
        place.mkdir(mode=0o700, parents=True)
    ca.issue("/O=Grid/CN=localhost", san=["DNS:localhost"]).write(
        places["etc"] / "hostcert.pem", places["etc"] / "hostkey.pem"
    )
    trust = write_trust_dir(tmp_path / "certificates", ca, crl=True)
    for name in ("Admin", "Alice"):
        ca.issue(f"/O=Grid/CN={name}").write_bundle(tmp_path / f"{name.lower()}.pem")

    text = PAGE.read_text("utf-8")
    first, _, rest = text.partition("## What members do")
    theirs, mark, rest = rest.partition("\n## ")
    assert mark
    blocks = ["".join(re.findall(r"```sh\n(.*?)```", part, re.DOTALL)) for part in (first, theirs, rest)]
    member = f"export X509_USER_PROXY={tmp_path}/alice.pem\n{blocks[1]}export X509_USER_PROXY={tmp_path}/admin.pem\n"
    lines = (blocks[0] + member + blocks[2]).replace("/etc/cas", str(places["etc"]))
    lines = lines.replace("/var/lib/cas", str(places["var"])).replace("cas.example.org:8443", f"localhost:{port}")
    lines = lines.replace("[[key]]", f'[store]\ndirectory = "{places["var"]}"\n\n[[key]]', 1)
    lines = lines.replace("[http]", f'[http]\nlisten = "127.0.0.1:{port}"', 1)
    lines = lines.replace('"2026-01-01"', f'"{(today - timedelta(days=1)).date()}"', 1)
    lines = lines.replace('"2026-12-31"', f'"{(today + timedelta(days=30)).date()}"', 1)
    # A server is asked once it listens.
    ports = tmp_path / "ports"
    lines, count = re.subn(
        r"^(cas-server -c .*)$",
        rf"\1 -portfile {ports} &\nfor try in $(seq 300); do [ -s {ports} ] && break; sleep 0.1; done",
        lines,
        flags=re.MULTILINE,
    )
    assert count == 1
    # `!` does not stop under -e, so its failure has to be made one.
    lines = re.sub(r"^! (.*)$", r"if \1; then exit 9; fi", lines, flags=re.MULTILINE)
    script = tmp_path / "script"
    script.write_text(f"set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{lines}")
    environment = clean_environment(places["home"]) | {
        "HOME": str(places["home"]),
        "X509_USER_PROXY": str(tmp_path / "admin.pem"),
        "X509_CERT_DIR": str(trust),
        "PATH": f"{os.path.dirname(our_program('cas-server'))}:/usr/bin:/bin",
    }
    done = run(["/bin/bash", script], env=environment, cwd=places["home"], timeout=120).check()
    for said in (
        "gains: alice\n",
        "2 users enrolled",
        "alice\nbob\ncarol\n",
        "alice: yes\n",
        "alice: no\n",
        "reason: left in June",
        "is in the list of withdrawn capabilities until",
        "Nothing would be changed: it is so already.",
    ):
        assert said in done.stdout, done
    assert "user bob is in userGroup readers" in done.stderr, done
