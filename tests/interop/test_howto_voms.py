"""The lines of docs/howto/migrate-voms.md run as they stand, with a community's server; a VOMS client of C agrees."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.harness.ca import TestCA, pooled_key, write_file, write_trust_dir
from tests.harness.daemons import free_port, our_server
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.run import c_program, our_program, run
from tests.harness.voms import user_extensions

pytestmark = pytest.mark.interop

DOCS = Path(__file__).resolve().parents[2] / "docs/howto"
BEGIN = """\
ta-name=gridCA
ta-authMethod=X509
ta-authData=/O=Grid/CN=CA
user-name=admin
user-subject=/O=Grid/CN=Admin
userGroupname=superUserGroup
"""
PROD = "/climate/prod"
LISTS = {
    "all": ("Alice", "Bob, the second", "Carol"),
    "prod": ("Alice", "Carol"),
    "prod-writer": ("Alice",),
}


def test_a_community_answers_for_the_voms_server(tmp_path: Path) -> None:
    ca = TestCA("/O=Grid/CN=CA")
    web, voms, today = free_port(), free_port(), datetime.now(UTC)
    key = pooled_key("rsa2048")
    identifier = (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    host = ca.issue("/O=Grid/CN=localhost", key, san=["DNS:localhost"], extensions=[identifier])
    trust = write_trust_dir(tmp_path / "certificates", ca, crl=True)
    site = tmp_path / "site"
    site.mkdir(mode=0o700)
    host.write(site / "hostcert.pem", site / "hostkey.pem")
    write_file(site / "bootstrap", BEGIN.encode(), 0o600)
    (table,) = re.findall(r"```toml\n(\[voms\].*?)```", (DOCS / "migrate-voms.md").read_text("utf-8"), re.DOTALL)
    write_file(
        site / "cas.toml",
        f"""community = "climate"
[http]
listen = "127.0.0.1:{web}"
certificate = "{site}/hostcert.pem"
key = "{site}/hostkey.pem"
[store]
directory = "{site}/store"
[[key]]
place = "{site}/hostkey.pem"
certificates = "{site}/hostcert.pem"
begins = "{(today - timedelta(days=1)).date()}"
ends = "{(today + timedelta(days=30)).date()}"
{table.replace("*:15000", f"127.0.0.1:{voms}")}place = "localhost:{voms}"
""".encode(),
        0o600,
    )
    server = clean_environment(site) | {"X509_CERT_DIR": str(trust)}
    run(
        [our_program("cas-server-bootstrap"), "-d", site / "store", "-implicit", "-b", site / "bootstrap"], env=server
    ).check()

    user = UserEnvironment(tmp_path, trust_dir=trust)
    user.install_user(ca.issue("/O=Grid/CN=Alice", extensions=user_extensions()), key_mode=0o400)
    ca.issue("/O=Grid/CN=Admin").write_bundle(tmp_path / "admin.pem")
    for name, members in LISTS.items():
        lines = "".join(f"/O=Grid/CN={one},/O=Grid/CN=CA,{one.split(',')[0]}@example.org\n" for one in members)
        write_file(tmp_path / f"{name}.csv", lines.encode(), 0o600)
    text = (DOCS / "migrate-voms.md").read_text("utf-8")
    before, mark, after = text.partition("Then a member tries it:")
    assert mark
    first, member = ("".join(re.findall(r"```sh\n(.*?)```", part, re.DOTALL)) for part in (before, after))
    for there, here in (
        ("/O=Grid/CN=cas.example.org", host.subject),
        ("cas.example.org", "localhost"),
        ("15000", str(voms)),
    ):
        first = first.replace(there, here)
    administrator = f"export X509_USER_PROXY={tmp_path}/admin.pem CAS_SERVER_URL=https://localhost:{web}\n"
    script = f"set -eu\n({administrator}{first})\n{member}"
    write_file(tmp_path / "script", script.encode(), 0o600)
    env = user.with_variables(PATH=f"{os.path.dirname(our_program('cas-server'))}:/usr/bin:/bin")
    arguments: list[str | Path] = ["-c", site / "cas.toml"]
    with our_server("cas-server", arguments, env=server, port=web, directory=site):
        done = run(["/bin/bash", tmp_path / "script"], env=env, cwd=tmp_path, timeout=120).check()
        theirs: list[str | Path] = [
            "-rfc", "-voms", "climate:/climate/prod/Role=writer", "-vomses", tmp_path / "vomses",
            "-certdir", trust, "-out", tmp_path / "theirs.pem",
        ]  # fmt: skip
        run([c_program("voms-proxy-init2"), *theirs], env=env | {"X509_VOMS_DIR": str(tmp_path / "vomsdir")}).check()
    fqans = [f"{one}/Capability=NULL" for one in (f"{PROD}/Role=writer", "/climate/Role=NULL", f"{PROD}/Role=NULL")]
    assert [line for line in done.stdout.splitlines() if line.startswith("/climate")] == fqans, done
    show: list[str | Path] = ["-file", tmp_path / "theirs.pem", "-fqan", "-vomsdir", tmp_path / "vomsdir"]
    assert user.ours("voms-proxy-info", *show).check().stdout.split() == fqans
    assert "Bob-the-second" in (tmp_path / "all.users").read_text()
