"""The lines of docs/howto/runbook.md run as they stand, each in the trouble that it is for; only places are others."""

from __future__ import annotations

import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.harness.ca import TestCA, subject_hash, write_file, write_trust_dir
from tests.harness.doctor import look
from tests.harness.environment import clean_environment
from tests.harness.run import Done, our_program, run
from tests.interop.conftest import Grid
from tests.interop.test_myproxy_server import OPEN, Person, Site

PAGE = (Path(__file__).resolve().parents[2] / "docs/howto/runbook.md").read_text("utf-8")
PASSPHRASE = b"a long pass phrase\n"


def blocks(heading: str) -> list[str]:
    """The lines that are told below a heading, block by block."""
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def execute(lines: str, env: dict[str, str], places: dict[str, Path]) -> Done:
    for place, here in places.items():
        lines = lines.replace(place, str(here))
    variables = env | {"PATH": f"{os.path.dirname(our_program('gsi-doctor'))}:{env['PATH']}"}
    return run(["/bin/bash", "-euo", "pipefail", "-c", lines], env=variables)


def test_a_revocation_list_has_expired(tmp_path: Path) -> None:
    ca = TestCA("/O=Grid/CN=CA", "p256")
    now = datetime.now(UTC)
    old = ca.crl(this_update=now - timedelta(days=40), next_update=now - timedelta(days=1))
    trust_dir = write_trust_dir(tmp_path / "certificates", ca, crl=old)
    name = subject_hash(ca.certificate)
    published = tmp_path / "published"
    published.mkdir()
    write_file(published / "ca.crl", ca.crl(number=2), 0o644)
    write_file(trust_dir / f"{name}.crl_url", f"file://{published}/ca.crl\n".encode(), 0o644)
    env = clean_environment(tmp_path) | {"X509_CERT_DIR": str(trust_dir)}
    words = ["-only", "trust", "-time-server", "none"]
    assert look(env, *words).wrong == [("error", "crl-expired", f"{trust_dir}/{name}.r0")]
    (lines,) = blocks("A revocation list has expired")
    execute(lines, env, {}).check()
    assert look(env, *words).wrong == []


def test_the_key_of_a_ca_is_changed(tmp_path: Path) -> None:
    etc, www = tmp_path / "etc", tmp_path / "www"
    for path in (etc, www):
        path.mkdir(mode=0o700)
    env = clean_environment(tmp_path) | {"KCA_CONFIG": f"{etc}/kca.toml"}
    write_file(etc / "passphrase", PASSPHRASE, 0o600)
    subject = ["-subject", "/O=Example/CN=Example Kerberos CA", "-pass", f"file:{etc}/passphrase"]
    run([our_program("grid-ca-create"), "-dir", etc / "ca", "-noint", *subject], env=env).check()
    config = f"""\
[authority]
certificate = "/etc/kca/ca/cacert.pem"
key = "/etc/kca/ca/private/cakey.pem"
key_passphrase_file = "/etc/kca/passphrase"
crl_urls = ["http://kca.example.org/kca.crl"]
[store]
directory = "{tmp_path}/store"
[realm."EXAMPLE.ORG"]
base = "/O=Example/OU=Users"
"""
    write_file(etc / "kca.toml", config.replace("/etc/kca", str(etc)).encode(), 0o600)
    places = {"/etc/kca": etc, "/srv/www": www}
    ahead, day = blocks("The key of a CA is changed")
    execute(ahead, env, places).check()
    done = execute(day, env, places).check()
    assert "Example Kerberos CA 2027" in done.stdout
    assert (www / "kca.crl").exists()
    # A site that has both trust packages takes both lists.
    run([our_program("kca-admin"), "trust-package", "-c", etc / "last.toml", "-files", "-out", www], env=env).check()
    trust_dir = tmp_path / "certificates"
    trust_dir.mkdir(mode=0o755)
    for path in www.iterdir():
        if path.suffix in {".0", ".signing_policy", ".namespaces"}:
            shutil.copy(path, trust_dir / path.name)
    stems = {}
    for path in sorted(trust_dir.glob("*.0")):
        stems[path.stem] = path
        policy = path.with_suffix(".signing_policy").read_text()
        which = "kca-2027.crl" if "2027" in policy else "kca.crl"
        shutil.copy(www / which, path.with_suffix(".r0"))
    assert len(stems) == 2
    for path in trust_dir.iterdir():
        path.chmod(0o644)
    found = look(env | {"X509_CERT_DIR": str(trust_dir)}, "-only", "trust", "-crl", "require")
    assert found.wrong == [], found.done
    assert found.done.stdout.count('"check": "ca"') == 2


def test_a_key_of_the_server_is_lost(tmp_path: Path, grid: Grid) -> None:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    site = Site(directory, grid)
    (directory / "etc").mkdir(mode=0o700)
    key = directory / "etc" / "server.key"
    write_file(key, os.urandom(32), 0o600)
    kept = key.read_bytes()
    site.configure(OPEN + f"server_key {key}\n")
    alice = Person(site, "alice", grid.users["rsa2048", "rsa2048"])
    with site.start():
        alice.put().check()
    write_file(key, os.urandom(32), 0o600)
    refused = run([our_program("myproxy-server"), *site.arguments("-foreground")], env=site.environment)
    assert refused.returncode == 1
    assert "server keys that are not configured" in refused.stderr
    (lines,) = blocks("A key of the server is lost")
    places = {
        "/etc/myproxy-server.config": site.config_path,
        "/etc/myproxy": key.parent,
        "/var/lib/myproxy": site.store,
    }
    key.unlink()
    told = execute(lines, site.environment, places).check()
    assert "alice" in told.stdout
    with site.start():
        assert alice.logon().returncode, "what lay under the key is aside"
        alice.put().check()
        alice.logon().check()
    assert key.read_bytes() != kept
