"""Transcripts of the commands: what a person types, and everything that comes back.

A transcript (`transcripts/*.txt`) is a list of steps run one after another as one user in one directory:

    # a remark
    $ grid-proxy-init -pwstdin <<< secret      what is typed; after <<< one line for standard input
    Your proxy is valid until: <asctime>       a line of standard output
    ! hint: see -out                           a line of standard error
    [exit 1]                                   the exit status, unless it is 0

Words in angle brackets stand for what differs from run to run (`PLACEHOLDERS`); `$HOME` is the user's directory.
"""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.harness.authz import write_authz_policies
from tests.harness.ca import TestCA, subject_hash, write_file
from tests.harness.environment import UserEnvironment
from tests.harness.requests import HOST_FIELDS, write_request_config
from tests.harness.run import our_program, run

TRANSCRIPTS = Path(__file__).parent / "transcripts"

PLACEHOLDERS = {
    "asctime": r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d \d{4}",
    "iso": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "left": r"\d+:[0-5]\d:[0-5]\d",
    "number": r"\d+",
    "hex": r"[0-9a-f:]+",
    "upper": r"[0-9A-F]+",
    "uid": r"\d+",
    "date": r"[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d \d{4} GMT",
    "hexlines": r"( +[0-9a-f]{2}(:[0-9a-f]{2})*:?\n)* +[0-9a-f]{2}(:[0-9a-f]{2})*",
    "lines": r"(?:.*\n)*.*",
    "utc": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC",
    "any": r".*",
}

OURS = ("grid-", "gsi-", "myproxy-", "voms-", "kca-", "kx", "cas-", "query-cas-")
CAS_BOOTSTRAP = b"""\
ta-name=defaultTrustAnchor
ta-authMethod=X509
ta-authData=/O=Grid/CN=CA
user-name=superUser
user-subject=/O=Grid/CN=Admin
userGroupname=superUserGroup
"""
KCA_CONFIG = """\
[authority]
certificate = "{home}/ca.pem"
key = "{home}/ca.key"
crl_urls = ["http://ca.example.org/kca.crl"]
[store]
directory = "{home}/kca"
[realm."EXAMPLE.ORG"]
base = "/O=Grid/OU=Example"
lifetime = "6h"
[server]
keytab = "{home}/kca.keytab"
[http]
listen = "0.0.0.0:0"
keytab = "{home}/http.keytab"
"""
RENEWD_CONFIG = """\
state = "{home}/renewd"
[source.grid]
server = "myproxy.example.org"
certificate = "{home}/agent.pem"
[credential.alice]
source = "grid"
path = "{home}/alice.pem"
username = "alice"
"""
BAD_MAP = b"""\
"/O=Grid/CN=B" daemon
/O=Grid/CN=A B bin
"/O=Grid/CN=C" bin # or root
"/O=Grid/CN=D bin
"/O=Grid/CN=B" bin
"""


class Step(NamedTuple):
    """One command of a transcript and what must come back."""

    line: int
    command: str
    stdout: list[str]
    stderr: list[str]
    status: int


def read_steps(path: Path) -> list[Step]:
    steps: list[Step] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("$ "):
            steps.append(Step(number, line[2:], [], [], 0))
        elif line.startswith("[exit "):
            steps[-1] = steps[-1]._replace(status=int(line[6:-1]))
        elif line == "!" or line.startswith("! "):
            steps[-1].stderr.append(line[2:])
        elif not line.startswith("#") and steps:
            steps[-1].stdout.append(line)
    # Blank lines are for the reader; one that a program prints on standard output is written as <any>.
    return [step._replace(stdout=[line for line in step.stdout if line]) for step in steps]


def pattern(lines: list[str], home: Path) -> str:
    text = "".join(line + "\n" for line in lines).replace("$HOME", str(home))
    parts = re.split(r"<([a-z]+)>", text)
    return "".join(PLACEHOLDERS[part] if place % 2 else re.escape(part) for place, part in enumerate(parts))


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture
def user(tmp_path: Path, ca: TestCA) -> UserEnvironment:
    """Alice, whose key has no pass phrase, and in her directory everything that the transcripts name."""
    now = datetime.now(UTC)
    alice = ca.issue("/O=Grid/CN=Alice", not_after=now + timedelta(days=30))
    made = UserEnvironment(tmp_path)
    made.install_user(alice)
    made.trust(ca, crl=True)
    home = made.home
    alice.write(home / "locked.pem", home / "locked.key", passphrase=b"secret")
    write_file(home / "bob.p12", ca.issue("/O=Grid/CN=Bob").pkcs12(b"secret"), 0o600)
    ca.issue("/O=Grid/CN=Old", not_before=now - timedelta(days=9), not_after=now - timedelta(days=2)).write(
        home / "old.pem", home / "old.key"
    )
    ca.issue("/O=Grid/CN=New", not_before=now + timedelta(days=2)).write(home / "new.pem", home / "new.key")
    ca.credential.write(home / "ca.pem", home / "ca.key")
    write_file(home / "policy", b"a,b\x00\n", 0o644)
    write_file(home / "empty", b"", 0o644)
    write_file(home / "badmap", BAD_MAP, 0o644)
    made.variables["GRID_SECURITY_DIR"] = str(write_request_config(home / "security"))
    write_request_config(made.trust_dir, suffix=f".{subject_hash(ca.certificate)}", fields=HOST_FIELDS)
    made.variables["GSI_AUTHZ_POLICY_DIR"] = str(write_authz_policies(home / "authz.d"))
    write_file(home / "two-lines", b"secret\nnew secret\n", 0o600)
    write_file(home / "blank-line", b"\n\n", 0o600)
    store = home / "c-store"
    store.mkdir(mode=0o700)
    write_file(store / "alice.creds", alice.bundle(), 0o600)
    write_file(store / "alice.data", b"OWNER=/O=Grid/CN=Alice\nLIFETIME=3600\nUSERNAME=alice\nEND_OPTIONS\n", 0o600)
    write_file(store / "broken.creds", b"", 0o600)
    write_file(home / "server.config", b"", 0o600)
    write_file(home / "cas.bootstrap", CAS_BOOTSTRAP, 0o600)
    write_file(home / "kca.toml", KCA_CONFIG.format(home=home).encode(), 0o644)
    write_file(home / "renewd.toml", RENEWD_CONFIG.format(home=home).encode(), 0o644)
    write_file(home / "garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o600)
    return made


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path, user: UserEnvironment) -> None:
    steps = read_steps(path)
    assert steps
    for step in steps:
        command, _, typed = step.command.partition(" <<< ")
        name, *words = shlex.split(command.replace("$HOME", str(user.home)))
        argv = [our_program(name), *words] if name.startswith(OURS) else [name, *words]
        done = run(argv, env=user.variables, stdin=typed and typed + "\n", cwd=user.home)
        where = f"{path.name}:{step.line}: {done}"
        assert done.returncode == step.status, where
        as_written = bool(
            re.fullmatch(pattern(step.stdout, user.home), done.stdout)
            and re.fullmatch(pattern(step.stderr, user.home), done.stderr)
        )
        assert as_written, where
