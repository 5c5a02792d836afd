"""The lines of docs/howto/kca.md run as they stand, with a real MIT KDC, in one shell; only places are others."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.harness.daemons import free_port
from tests.harness.environment import clean_environment
from tests.harness.kdc import mit_kdc
from tests.harness.run import c_program, our_program, run

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/kca.md"


def test_from_nothing_to_a_revoked_certificate(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    port = free_port()
    lines = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    lines = lines.replace("/etc/kca", f"{tmp_path}/etc/kca").replace("/var/lib/kca", f"{tmp_path}/var/kca")
    # The clock of a list that is fetched is not waited for, and a server is asked once it listens.
    started = f"""\
kca-server -listen 127.0.0.1:{port} -pidfile {tmp_path}/var/kca/kca-server.pid -portfile {tmp_path}/var/kca/port &
for try in $(seq 200); do [ -s {tmp_path}/var/kca/port ] && break; sleep 0.1; done
"""
    lines = re.sub(r"^kca-server .*\n", started.replace("\\", r"\\"), lines, flags=re.MULTILINE)
    lines = lines.replace("kca.example.org", "localhost").replace(
        "KCA_HOST_LIST=localhost", f"KCA_HOST_LIST=localhost:{port}"
    )
    # `!` does not stop under -e, so its failure has to be made one.
    lines = re.sub(r"^! (.*)$", r"if \1; then exit 9; fi", lines, flags=re.MULTILINE)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    places = [os.path.dirname(program) for program in (our_program("kx509"), c_program("kadmin.local"))]
    with mit_kdc(tmp_path, users={"alice": "secret"}, services=[], realm="EXAMPLE.ORG") as realm:
        (tmp_path / "etc/kca").mkdir(mode=0o700, parents=True)
        (tmp_path / "etc/kca/alices-password").write_text("secret\n")
        script = tmp_path / "script"
        script.write_text(f"set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{lines}")
        environment = (
            clean_environment(home)
            | realm.variables
            | {
                "HOME": str(home),
                "X509_USER_PROXY": str(tmp_path / "proxy.pem"),
                "KRB5CCNAME": f"FILE:{tmp_path}/cc",
                "KCA_CONFIG": f"{tmp_path}/etc/kca/kca.toml",
                "PATH": ":".join([*places, "/usr/bin", "/bin"]),
            }
        )
        done = run(["/bin/bash", script], env=environment, cwd=tmp_path, timeout=120).check()
    assert "subject: /O=Example/OU=Users/CN=alice" in done.stdout
    assert "lifetime seconds: 3600" in done.stdout
    assert '"/O=Example/OU=Users/CN=bob" bob' in done.stdout
    assert " revoked: alice@EXAMPLE.ORG /O=Example/OU=Users/CN=alice" in done.stdout
    assert "was revoked by its CA" in done.stdout
