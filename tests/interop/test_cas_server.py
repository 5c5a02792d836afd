"""The community's server as it runs: enrol, grant, fetch in every form, and the C programs that take what comes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cas.client import CASRefusedError
from cas.policy.changes import AddMember, Enrol, Grant, SetFqan
from cas.policy.model import Effect, Kind, ObjectName, Ref, Statement, User, UserGroup
from gsi.certificate import load_certificates
from gsi.credential import parse_credential
from gsi.errors import AuthenticationError
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.proxy.kinds import ProxyKind
from gsi.saml.carriers import find_assertions
from gsi.system.clock import now
from gsi.system.trustdir import TrustDirectory
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.rules import IssuerRules, TokenRules
from gsi.tokens.verify import TokenVerifier
from gsi.trust.verify import verify_chain
from tests.harness.ca import TestCA, write_file
from tests.harness.cas_server import COMMUNITY, CASServer, cas_server
from tests.harness.crowds import crowd
from tests.harness.daemons import free_port
from tests.harness.run import c_program, run
from tests.harness.softhsm import make_token
from tests.harness.voms import libvomsapi

pytestmark = pytest.mark.interop

ALICE = "/O=Grid/CN=Alice"
BOB = "/O=Grid/CN=Bob"
DATA = "ftp://localhost/data/*"
ISSUER = "https://localhost:8443"
STORAGE = "https://se.example.org"
READ = Ref(Kind.SERVICE_ACTION, "read", "file")
REQUEST = "Resource: FTPDirectoryTree|ftp://localhost/data/runs/*\n file read\n file write\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CASServer]:
    with cas_server(tmp_path_factory.mktemp("cas"), metrics=f"127.0.0.1:{free_port()}") as found:
        fill(found)
        yield found


def fill(server: CASServer) -> None:
    server.change(
        Enrol(UserGroup("readers"), "superUserGroup"),
        Enrol(User("alice", ALICE, "ca"), "superUserGroup"),
        AddMember(Ref(Kind.USER_GROUP, "readers"), Ref(Kind.USER, "alice")),
        Enrol(ObjectName("FTPDirectoryTree", DATA), "superUserGroup"),
        Grant(Statement("readers", Effect.PERMIT, READ, Ref(Kind.OBJECT, DATA, "FTPDirectoryTree"))),
        SetFqan("readers", f"/{COMMUNITY}/readers"),
    )


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return bytes(answer.read())


def test_whoami(server: CASServer) -> None:
    assert server.ours("cas-whoami", subject=ALICE).check().stdout == "alice\n"
    done = server.ours("cas-whoami", subject=BOB)
    assert done.returncode == 1
    assert "not enrolled" in done.stderr, done


def test_the_server_has_to_be_who_is_meant(server: CASServer) -> None:
    url = ("-s", f"{server.url}/wsrf/services/CASService")
    assert server.ours("cas-whoami", *url, "-z", server.host.subject, subject=ALICE).check()
    assert server.ours("cas-whoami", "-c", server.url, "-s", server.host.subject, subject=ALICE).check()
    for identity in ("self", "/O=Grid/CN=Else"):
        done = server.ours("cas-whoami", *url, "-z", identity, subject=ALICE)
        assert done.returncode == 1
        assert "does not match" in done.stderr, done
        assert f'-z "{server.host.subject}", or CAS_SERVER_IDENTITY' in done.stderr, done


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_proxy_with_a_capability_that_c_programs_take(server: CASServer, tmp_path: Path, version: str) -> None:
    out, request = tmp_path / "casproxy", tmp_path / "request"
    write_file(request, REQUEST.encode(), 0o600)
    server.ours("cas-proxy-init", "-p", out, "-f", request, "-saml", version, subject=ALICE).check()
    info = run([c_program("grid-proxy-info"), "-file", out, "-all"], env=server.variables(ALICE)).check()
    assert f"identity : {ALICE}" in info.stdout, info
    wrapped = server.ours("cas-wrap", "-p", out, c_program("grid-proxy-info"), "-path", subject=ALICE).check()
    assert wrapped.stdout == f"{out}\n"
    chain = load_certificates(out.read_bytes())
    (carried,) = find_assertions(chain)
    assert carried.error is None
    xml = carried.data.decode()
    assert xml.count("<Action ") == 1
    assert 'Resource="FTPDirectoryTree|ftp://localhost/data/runs/*"' in xml
    anchors = TrustDirectory(str(server.trust_dir)).anchors()
    assert verify_chain(chain, anchors, now=now()).identity == ALICE


def test_default_names_and_tags(server: CASServer) -> None:
    person = server.person(ALICE)
    server.ours("cas-proxy-init", "-l", "1", subject=ALICE).check()
    assert Path(f"{person}.cas").stat().st_mode & 0o777 == 0o600
    server.ours("cas-proxy-init", "-u", "mine", subject=ALICE).check()
    done = server.ours("cas-wrap", "-t", "mine", "printenv", "X509_USER_PROXY", subject=ALICE).check()
    assert done.stdout == f"{person}.mine\n"


def test_what_is_not_granted_is_an_error(server: CASServer, tmp_path: Path) -> None:
    write_file(tmp_path / "request", b"Resource: FTPDirectoryTree|ftp://localhost/else/*\n file read\n", 0o600)
    done = server.ours("cas-proxy-init", "-w", tmp_path / "out", "-b", tmp_path / "request", subject=ALICE)
    assert done.returncode == 1
    assert "none of the rights" in done.stderr, done
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("tool", ["voms-proxy-init2", "voms-proxy-init3", "ours"])
def test_voms_clients_get_attributes(server: CASServer, tmp_path: Path, tool: str) -> None:
    vomses, vomsdir, out = tmp_path / "vomses", tmp_path / "vomsdir", tmp_path / "proxy"
    entry = f'"{COMMUNITY}" "localhost" "{server.voms_port}" "{server.host.subject}" "{COMMUNITY}"\n'
    write_file(vomses, entry.encode(), 0o644)
    place = server.voms_host
    write_file(vomsdir / COMMUNITY / f"{place}.lsc", f"{server.host.subject}\n{server.ca.name}\n".encode(), 0o644)
    cert, key = tmp_path / "usercert.pem", tmp_path / "userkey.pem"
    server.issued(ALICE).write(cert, key, key_mode=0o400)
    words: list[str | Path] = [
        "-rfc",
        "-voms",
        f"{COMMUNITY}:/{COMMUNITY}/readers",
        "-vomses",
        vomses,
        "-cert",
        cert,
        "-key",
        key,
    ]
    words += ["-out", out, "-certdir", server.trust_dir]
    env = server.variables(ALICE) | {"X509_VOMS_DIR": str(vomsdir)}
    if tool == "ours":
        server.ours("voms-proxy-init", *words, subject=ALICE, env=env).check()
    else:
        run([c_program(tool), *words], env=env).check()
    (theirs,) = libvomsapi((out, vomsdir, server.trust_dir))
    readers = f"/{COMMUNITY}/readers/Role=NULL/Capability=NULL"
    assert theirs.fqans == ((readers, f"/{COMMUNITY}/Role=NULL/Capability=NULL"),), theirs


def test_tokens_are_believed(server: CASServer) -> None:
    text = server.ours("cas-token", "-audience", STORAGE, "-bind", subject=ALICE).check().stdout.strip()
    keys = StaticKeys({ISSUER: parse_key_set(json.dumps(server.client().call("GET", "/jwks")).encode())})
    rules = TokenRules(issuers=(IssuerRules(issuer=ISSUER),), audiences=frozenset({STORAGE}))
    anchors = TrustDirectory(str(server.trust_dir)).anchors()
    peer = verify_chain(server.credential(ALICE).certificates, anchors, now=now())
    found = TokenVerifier(rules, keys).verify(text, now=now(), peer=peer)
    assert found.subject == "alice"
    assert found.is_bound
    assert [(one.name, one.path) for one in found.capabilities] == [("storage.read", ("data",))]


def test_limited_proxies_fetch_and_change_nothing(server: CASServer) -> None:
    admin = make_proxy(server.credential("/O=Grid/CN=Admin"), ProxyOptions(kind=ProxyKind.LIMITED), now=now())
    client = server.client(credential=admin)
    assert client.whoami() == "admin"
    body = {"changes": [{"do": "enrol", "entity": {"kind": "userGroup", "name": "more"}, "owner": "superUserGroup"}]}
    with pytest.raises(CASRefusedError, match="limited proxy") as caught:
        client.call("POST", "/cas/v1/changes", body)
    assert caught.value.status == 403


def test_independent_proxies_are_nobody(server: CASServer) -> None:
    own = make_proxy(server.credential(ALICE), ProxyOptions(kind=ProxyKind.INDEPENDENT), now=now())
    with pytest.raises(CASRefusedError) as caught:
        server.client(credential=own).whoami()
    assert caught.value.status == 403


def test_strangers_are_refused(server: CASServer) -> None:
    stranger = TestCA("/O=Else/CN=CA").issue(ALICE)
    path = server.directory / "stranger.pem"
    stranger.write_bundle(path)
    with pytest.raises(AuthenticationError, match="does not know the CA"):
        server.client(credential=parse_credential(path.read_bytes())).whoami()


def test_monitors_and_audit(server: CASServer) -> None:
    given = server.client(ALICE).capability(form="saml1")
    numbers = fetch(f"http://{server.metrics}/metrics").decode()
    assert 'cas_issued_total{form="saml1"}' in numbers
    assert fetch(f"http://{server.metrics}/health") == b"ok\n"
    assert all(f'cas_check{{part="{name}"}} 1.0' in numbers for name in ("certificate", "trust", "key", "store"))
    (record,) = [one for one in server.records() if given.identifier in json.dumps(one)]
    assert record["peer"] == ALICE


def test_a_crowd_that_says_nothing(server: CASServer) -> None:
    with crowd(server.daemon.port, tls=True):
        assert server.client(ALICE).whoami() == "alice"


def test_reloading_keeps_what_was_good(tmp_path: Path) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    with cas_server(tmp_path, metrics=metrics) as server:
        config = server.directory / "cas.toml"
        good = config.read_bytes()
        write_file(config, good + b"\n[nonsense]\n", 0o600)
        os.kill(server.daemon.pid, signal.SIGHUP)
        until(lambda: "the old one stays" in server.daemon.log())
        assert server.client().whoami() == "admin"
        assert b"an older configuration is in force" in fetch(f"http://{metrics}/health")
        assert b"cas_reload_refused_timestamp_seconds 0.000" not in fetch(f"http://{metrics}/metrics")
        write_file(config, good.replace(b"threads = 4", b"threads = 4\nrequests_per_minute = 2"), 0o600)
        os.kill(server.daemon.pid, signal.SIGHUP)
        until(lambda: is_held_up(server))
        database, elsewhere = server.directory / "store" / "cas.db", server.directory / "elsewhere"
        database.rename(elsewhere)
        assert health(metrics) == (503, b"store: fails; the log has more\n")
        assert b'cas_check{part="store"} 0.0' in fetch(f"http://{metrics}/metrics")
        elsewhere.rename(database)
        until(lambda: health(metrics) == (200, b"ok\n"))
        assert b"cas_reload_refused_timestamp_seconds 0.000" in fetch(f"http://{metrics}/metrics")


def health(metrics: str) -> tuple[int, bytes]:
    try:
        return 200, fetch(f"http://{metrics}/health")
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def is_held_up(server: CASServer) -> bool:
    try:
        server.client().whoami()
    except CASRefusedError as error:
        return error.status == 429
    return False


def test_a_part_that_ends_ends_all(tmp_path: Path) -> None:
    with contextlib.suppress(ProcessLookupError), cas_server(tmp_path) as server:
        pid = server.daemon.pid
        first = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        os.kill(first, signal.SIGKILL)
        until(lambda: "has ended with status -9" in server.daemon.log())
        until(lambda: not is_open(server.daemon.port))
        until(lambda: not is_open(server.voms_port))


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; fail when that takes longer than a slow machine needs."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_key_in_a_pkcs11_token(tmp_path: Path) -> None:
    """Every worker signs with it, all forms."""
    with cas_server(tmp_path, token=make_token(tmp_path / "token", label="CAS")) as own:
        fill(own)
        for form in ("saml1", "saml2", "attribute-certificate", "jwt") * 3:
            assert own.client(ALICE).capability(form=form, audience=[STORAGE] if form == "jwt" else None).text
        found = own.client().call("GET", "/jwks")["keys"]
        assert isinstance(found, list)
        assert [base64.b64decode(one) for one in found[0]["x5c"]] == [own.host.der]
