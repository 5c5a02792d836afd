"""The shell lines of the how-tos run as they stand, each page in one shell."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import sys
from pathlib import Path

import pytest

from myproxy.server import load_config
from tests.harness.ca import write_file
from tests.harness.environment import clean_environment
from tests.harness.run import c_program, our_program, run

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


def test_an_authority_whose_key_is_in_a_token(tmp_path: Path) -> None:
    """The page leads to what the example configurations name."""
    text = (ROOT / "docs/howto/site-ca-token.md").read_text("utf-8")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    shutil.copytree(ROOT / "deploy/examples", tmp_path / "deploy/examples")
    etc = tmp_path / "etc"
    etc.mkdir(mode=0o700)
    for path in (tmp_path / "deploy/examples/site-ca").iterdir():
        written = (
            path.read_text()
            .replace("/etc/", f"{etc}/")
            .replace("[server]", f'[store]\ndirectory = "{tmp_path}/kca"\n[server]')
        )
        path.write_text(written)
    lines = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("/etc/", f"{etc}/")
    lines = lines.replace("/opt/gsi/bin/python", sys.executable).replace("4096", "2048")
    environment = clean_environment(tmp_path) | {
        "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf"),
        "KCA_CONFIG": str(etc / "kca/kca.toml"),
        "PATH": f"{os.path.dirname(our_program('kca-admin'))}:/usr/bin:/bin",
    }
    c_program("softhsm2-util")
    done = run(["/bin/bash", "-euc", lines], env=environment, cwd=tmp_path, timeout=120).check()
    assert "authority: ok" in done.stdout, done
    for certificate, crl in (("kca/ca", "kca.crl"), ("myproxy/ca", "myproxy-ca.r0")):
        told: list[str | Path] = [
            "openssl",
            "crl",
            "-in",
            tmp_path / crl,
            "-noout",
            "-CAfile",
            etc / certificate / "cacert.pem",
            "-verify",
        ]
        assert "verify OK" in run(told, env=environment).check().output
    config = load_config(str(etc / "myproxy-server.config"))
    assert Path(config.certificate_issuer_cert or "").read_bytes() == (etc / "myproxy/ca/made/cacert.pem").read_bytes()
    assert "PRIVATE KEY" not in "".join(path.read_text("latin-1") for path in etc.rglob("*") if path.is_file())


def test_a_grid_mapfile_becomes_a_policy(tmp_path: Path) -> None:
    """The page's policy over files as sites have them decides what the maps say."""
    text = (ROOT / "docs/howto/migrate-gridmap.md").read_text("utf-8")
    etc = tmp_path / "grid-security"
    account = pwd.getpwuid(os.getuid()).pw_name if os.getuid() else "daemon"
    for place in (etc, etc / "gsi-authz.d", etc / "gridmapdir"):
        place.mkdir(mode=0o755)
    (policy,) = re.findall(r"```toml\n(order.*?)```", text, re.DOTALL)
    for name, content in {
        "grid-mapfile": f'"/O=Grid/CN=Alice" {account}\n',
        "voms-grid-mapfile": f'"/atlas/Role=production" {account}\n"/atlas/*" .{account.rstrip("0123456789")}\n',
        "ban_users.db": '"/O=Grid/CN=Mallory"\n',
        "gsi-authz.d/gridftp.toml": policy.replace("/etc/grid-security", str(etc)),
    }.items():
        write_file(etc / name, content.encode(), 0o644)
    lines = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("/etc/grid-security", str(etc))
    (tmp_path / "script").write_text(f"set -eu\n{lines}")
    environment = clean_environment(tmp_path) | {
        "GSI_AUTHZ_POLICY_DIR": str(etc / "gsi-authz.d"),
        "PATH": f"{os.path.dirname(our_program('gsi-authz'))}:/usr/bin:/bin",
    }
    done = run(["/bin/bash", tmp_path / "script"], env=environment, cwd=tmp_path).check()
    assert "nothing to report" in done.stdout, done
    decided = re.findall(r"^  decided by (.*)$", done.stdout, re.MULTILINE)
    assert [one.partition(":")[0] for one in decided] == ["people", "roles", "roles", "bans"], done
    assert '"/O=Grid/CN=Alice"' in (tmp_path / "decisions.json").read_text()
