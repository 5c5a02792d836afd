"""The lines of docs/howto/renewal.md run as they stand, with our server, in one shell; only places are others."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

from gsi.system.clock import now
from myproxy.renewal.config import load_config
from tests.harness.ca import write_file
from tests.harness.daemons import free_port, our_server
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.renewal import Renewal, span
from tests.harness.run import our_program, run
from tests.interop.conftest import ALICE, Grid

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/howto/renewal.md"
UNIT = ROOT / "deploy/systemd/myproxy-renewd.service"
HOSTS = ROOT / "deploy/systemd/drop-ins/myproxy-renewd.service.d/hosts.conf"


def test_from_a_stored_credential_to_a_renewed_proxy(tmp_path: Path, grid: Grid) -> None:
    text = PAGE.read_text("utf-8")
    port = free_port()
    for place in ("etc", "etc/renewd", "var", "jobs", "server"):
        (tmp_path / place).mkdir(mode=0o700)
    renewers = re.search(r"^authorized_renewers .*$", text, re.MULTILINE)
    assert renewers is not None
    server = tmp_path / "server"
    write_file(server / "config", f'accepted_credentials "*"\n{renewers[0]}\n'.encode(), 0o600)
    grid.host.write(server / "cert.pem", server / "key.pem")
    grid.cas["rsa2048"].issue("/O=Grid/CN=Agent").write(
        tmp_path / "etc/renewd/cert.pem", tmp_path / "etc/renewd/key.pem"
    )
    alice = grid.users["rsa2048", "rsa2048"]
    user = UserEnvironment(tmp_path, trust_dir=grid.trust_dir)
    user.install_user(alice)
    job = tmp_path / "jobs/alice.pem"
    write_file(job, alice.proxy(**span(7, 2)).bundle(), 0o600)
    lines = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("myproxy.example.org", f"localhost:{port}")
    for there, here in (("/etc/myproxy", "etc"), ("/var/lib/myproxy-renewd", "var"), ("/var/jobs", "jobs")):
        assert there in lines
        lines = lines.replace(there, str(tmp_path / here))
    lines = lines.replace("runuser -u myproxy-renewd -- ", "")
    for before, me in (("-o myproxy-renewd", os.geteuid()), ("chown -R myproxy-renewd:", os.geteuid())):
        assert before in lines
        lines = lines.replace(before, before.replace("myproxy-renewd", str(me)).rstrip(":"))
    lines = lines.replace("chgrp myproxy-renewd", f"chgrp {os.getegid()}")
    assert "myproxy-renewd:" not in lines
    write_file(tmp_path / "script", f"set -eu\n{lines}".encode(), 0o600)
    env = clean_environment(server) | {
        "X509_USER_CERT": str(server / "cert.pem"),
        "X509_USER_KEY": str(server / "key.pem"),
        "X509_CERT_DIR": str(grid.trust_dir),
    }
    arguments: list[str | Path] = ["-c", server / "config", "-s", server / "store", "-l", "127.0.0.1"]
    arguments += ["-p", str(port), "-foreground"]
    with our_server("myproxy-server", arguments, env=env, port=port, directory=server):
        path = f"{os.path.dirname(our_program('myproxy-renewd'))}:/usr/bin:/bin"
        done = run(
            ["/bin/bash", tmp_path / "script"],
            env=user.with_variables(PATH=path, MYPROXY_RENEWD_CONFIG=str(tmp_path / "etc/renewd.toml")),
            cwd=tmp_path,
        ).check()
    assert "the configuration can be used; 1 credentials\n" in done.stdout
    assert "alice  ok, 11:5" in done.stdout
    made = Renewal(tmp_path / "etc", grid.trust_dir).read(job)
    assert made.not_after > now() + timedelta(hours=11)
    assert ALICE in (tmp_path / "var/audit.log").read_text()


def test_places_and_account_are_the_unit_s() -> None:
    """What the page sets up is what the unit runs, and may write."""
    unit, text = UNIT.read_text("utf-8"), PAGE.read_text("utf-8")
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    made = re.findall(r"^cat >(\S+) ", text, re.MULTILINE)
    assert settings["ExecStart"].split()[1:] == ["--config", made[0]]
    state = f"/var/lib/{settings['StateDirectory']}"
    assert re.findall(r"^(?:state|audit) = \"(.*)\"$", text, re.MULTILINE) == [state, f"{state}/audit.log"]
    assert set(re.findall(r"(?:runuser -u|install -d -o|chown -R|chgrp) (\S+?):? ", text)) == {settings["User"], "root"}
    writable = re.findall(r"ReadWritePaths=(/\S+?)[`.\n]", text + HOSTS.read_text("utf-8"))
    for path in re.findall(r"^path = \"(.*)\"$", text, re.MULTILINE):
        assert os.path.dirname(path) in writable, path
    assert dict(re.findall(r"^(\w+)=(.*)$", HOSTS.read_text("utf-8"), re.MULTILINE))["User"] == "root"


def test_the_other_configurations_can_be_read(tmp_path: Path) -> None:
    blocks = re.findall(r"```\n(\[source.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        write_file(tmp_path / "renewd.toml", block.encode(), 0o600)
        assert load_config(str(tmp_path / "renewd.toml")).credential
