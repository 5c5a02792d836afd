"""A host that has IPv6 alone, in a network namespace of its own: every server and its clients, on their usual ports.

Inside there is no IPv4 address at all, not even 127.0.0.1. What is run is one script, whose processes end with it.
"""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.harness.ca import CLIENT_AUTH, SERVER_AUTH, TestCA, write_file, write_trust_dir
from tests.harness.cas_server import BOOTSTRAP, CONFIG
from tests.harness.environment import clean_environment
from tests.harness.kca import write_config
from tests.harness.run import Done, c_program, our_program, run

HOST = "grid.example.org"
ADDRESS = "2001:db8::7"
ADMIN = "/O=Grid/CN=Admin"

INSIDE = """\
mount --bind $D/hosts /etc/hosts
ip link set lo up
ip -4 addr flush dev lo
ip -6 addr add ADDRESS/128 dev lo nodad
test -z "$(ip -4 -o addr)"
# serve NAME COMMAND...: start a server, and go on when it says that it listens
serve() {
    name=$1; shift
    "$@" > $D/$name.log 2>&1 &
    server=$!
    for try in $(seq 300); do
        grep -q -e 'listening on' -e 'commencing operation' $D/$name.log $D/$name.extra 2>/dev/null && return
        kill -0 $server 2>/dev/null || break
        sleep 0.1
    done
    cat $D/$name.log
    exit 1
}
"""


def require_namespaces() -> None:
    """Skip where the kernel lets nobody make a network of their own."""
    c_program("ip")
    argv = [c_program("unshare"), "-rnm", "--pid", "--fork", "true"]
    done = subprocess.run(argv, capture_output=True, check=False, text=True)
    if done.returncode:
        pytest.skip(f"the kernel forbids network namespaces here: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture
def env(tmp_path: Path, ca: TestCA) -> dict[str, str]:
    """The host's files and a user's."""
    require_namespaces()
    write_file(tmp_path / "hosts", f"::1 localhost\n{ADDRESS} {HOST}\n".encode(), 0o644)
    host = ca.issue(f"/O=Grid/CN={HOST}", san=[f"DNS:{HOST}"], eku=[SERVER_AUTH, CLIENT_AUTH])
    host.write(tmp_path / "hostcert.pem", tmp_path / "hostkey.pem")
    write_trust_dir(tmp_path / "certificates", ca, crl=True)
    ca.issue(ADMIN).write_bundle(tmp_path / "admin.pem")
    ca.issue("/O=Grid/CN=Alice").write_bundle(tmp_path / "alice.pem")
    return clean_environment(tmp_path) | {"D": str(tmp_path), "X509_CERT_DIR": str(tmp_path / "certificates")}


def inside(env: dict[str, str], script: str) -> Done:
    """Run a script on the host that has IPv6 alone."""
    programs = os.path.dirname(our_program("myproxy-server"))
    variables = env | {"PATH": f"{env['PATH']}:/usr/local/bin", "OURS": programs}
    argv = [c_program("unshare"), "-rnm", "--pid", "--fork", "--kill-child", "/bin/bash", "-euo", "pipefail", "-c"]
    return run([*argv, INSIDE.replace("ADDRESS", ADDRESS) + script], env=variables, timeout=120)


def test_myproxy(env: dict[str, str]) -> None:
    directory = Path(env["D"])
    config = """\
accepted_credentials "*"
authorized_retrievers "*"
default_retrievers "*"
monitor_listen [::1]:9512
"""
    write_file(directory / "server.config", config.encode(), 0o600)
    done = inside(
        env,
        """\
export MYPROXY_SERVER=grid.example.org
serve myproxy env X509_USER_CERT=$D/hostcert.pem X509_USER_KEY=$D/hostkey.pem \
    $OURS/myproxy-server -foreground -c $D/server.config -s $D/store
export X509_USER_PROXY=$D/alice.pem
echo 'correct horse' | X509_USER_CERT=$D/alice.pem X509_USER_KEY=$D/alice.pem $OURS/myproxy-init -S -l alice
echo 'correct horse' | $OURS/myproxy-logon -S -l alice -o $D/ours.pem
echo 'correct horse' | myproxy-logon -S -l alice -o $D/theirs.pem
env X509_USER_CERT=$D/hostcert.pem X509_USER_KEY=$D/hostkey.pem $OURS/gsi-doctor -time-server none \
    -only trust -only host -only myproxy -config myproxy=$D/server.config -store myproxy=$D/store \
    -host grid.example.org -at myproxy=grid.example.org:7512
""",
    ).check()
    assert (directory / "ours.pem").exists()
    assert (directory / "theirs.pem").exists()
    assert f"connected to [{ADDRESS}]:7512" in done.stdout
    assert "0 errors, 0 warnings" in done.stdout
    audit = (directory / "store" / "audit.log").read_text()
    assert audit.count(f'"address":"{ADDRESS}"') >= 3


def test_a_community(env: dict[str, str], ca: TestCA) -> None:
    directory = Path(env["D"])
    now = datetime.now(UTC)
    text = CONFIG.replace("127.0.0.1:0", "*:PORT").replace("*:PORT", "*:8443", 1).replace("*:PORT", "*:15000")
    config = text.format(
        place=directory,
        key=directory / "hostkey.pem",
        trust=directory / "certificates",
        begins=(now - timedelta(days=1)).isoformat(),
        ends=(now + timedelta(days=30)).isoformat(),
        http="",
        voms="",
        tokens="",
        metrics="[::1]:9513",
        database="",
    )
    write_file(directory / "cas.toml", config.encode(), 0o600)
    write_file(directory / "bootstrap", BOOTSTRAP.format(ca=ca.name, admin=ADMIN).encode(), 0o600)
    (directory / "store").mkdir(mode=0o700)
    done = inside(
        env,
        """\
$OURS/cas-server-bootstrap -d $D/store -b $D/bootstrap -implicit
serve cas $OURS/cas-server -c $D/cas.toml -v
export X509_USER_PROXY=$D/admin.pem CAS_SERVER_URL=https://grid.example.org:8443
$OURS/cas-whoami
$OURS/cas-whoami -url 'https://[2001:db8::7]:8443' -z /O=Grid/CN=grid.example.org
$OURS/gsi-doctor -time-server none -only cas -config cas=$D/cas.toml -host grid.example.org
""",
    ).check()
    assert done.stdout.count("admin") >= 2
    assert "0 errors, 0 warnings" in done.stdout


def test_a_kerberos_authority(env: dict[str, str]) -> None:
    directory = Path(env["D"])
    realm = f"""\
[libdefaults]
default_realm = EXAMPLE.ORG
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
[realms]
EXAMPLE.ORG = {{
  kdc = [{ADDRESS}]:88
}}
[domain_realm]
{HOST} = EXAMPLE.ORG
"""
    kdc = f"""\
[kdcdefaults]
kdc_listen = [{ADDRESS}]:88
kdc_tcp_listen = [{ADDRESS}]:88
[realms]
EXAMPLE.ORG = {{
  database_name = {directory}/principal
  key_stash_file = {directory}/stash
}}
[logging]
kdc = FILE:{directory}/kdc.extra
"""
    write_file(directory / "krb5.conf", realm.encode(), 0o644)
    write_file(directory / "kdc.conf", kdc.encode(), 0o644)
    place = directory / "kca"
    place.mkdir(mode=0o700)
    server = f'[server]\nkeytab = "{directory}/keytab"\nmetrics = "[::1]:9514"\n'
    write_config(place, server + '[realm."EXAMPLE.ORG"]\nbase = "/O=Grid"\n')
    variables = env | {
        "KRB5_CONFIG": str(directory / "krb5.conf"),
        "KRB5_KDC_PROFILE": str(directory / "kdc.conf"),
        "KRB5RCACHEDIR": str(directory),
        "KRB5CCNAME": f"FILE:{directory}/cc",
    }
    done = inside(
        variables,
        """\
kdb5_util create -s -P master -r EXAMPLE.ORG >/dev/null
kadmin.local -q 'addprinc -pw secret alice' >/dev/null
kadmin.local -q 'addprinc -randkey kca_service/grid.example.org' >/dev/null
kadmin.local -q "ktadd -k $D/keytab kca_service/grid.example.org" >/dev/null
serve kdc krb5kdc -n
serve kca $OURS/kca-server -c $D/kca/kca.toml
echo secret | kinit alice >/dev/null
$OURS/kx509 -s grid.example.org -o $D/kx509.pem
$OURS/grid-cert-info -file $D/kx509.pem -subject
$OURS/gsi-doctor -time-server none -only kca -config kca=$D/kca/kca.toml -host grid.example.org
""",
    ).check()
    assert "/O=Grid/CN=alice" in done.stdout
    assert "gives a ticket for kca_service/grid.example.org@EXAMPLE.ORG" in done.stdout
    assert "0 errors, 0 warnings" in done.stdout
    assert f'"address":"{ADDRESS}"' in (place / "store" / "audit.log").read_text()


def test_the_portal(env: dict[str, str]) -> None:
    directory = Path(env["D"])
    config = f"""\
names = ["{HOST}:8444"]
server = "{HOST}:8444"  # the doctor looks whether anybody listens there
[http]
listen = "[{ADDRESS}]:8444"
certificate = "{directory}/hostcert.pem"
key = "{directory}/hostkey.pem"
[store]
directory = "{directory}/portal"
"""
    write_file(directory / "portal.toml", config.encode(), 0o600)
    done = inside(
        env,
        """\
serve portal $OURS/myproxy-portal --config $D/portal.toml
$OURS/gsi-doctor -time-server none -only portal -config portal=$D/portal.toml -host grid.example.org
""",
    ).check()
    assert f"connected to [{ADDRESS}]:8444" in done.stdout
    assert "0 errors, 0 warnings" in done.stdout
