"""A community's capabilities enforced by a real GridFTP server, gatekeeper and job manager, through the callout.

Alice may read what lies in `data`, and start jobs; a running `cas-server` says so, `cas-proxy-init` fetches it, and
`globus-url-copy` and `globusrun` bring it, in the proxy or over the control channel. Of each refusal the client's words
and the audit's reason are looked at.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from cas.assertion.value import Comparison
from cas.policy.changes import AddMember, Enrol, Grant, SetFqan
from cas.policy.model import (
    Effect,
    Kind,
    Namespace,
    ObjectName,
    Ref,
    ServiceAction,
    ServiceType,
    Statement,
    User,
    UserGroup,
)
from gsi.context.ftp import FTPRefusedError
from gsi.context.gridftp import GridFTPClient
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.proxy.kinds import ProxyKind
from gsi.system import clock
from gsi.system.credential_files import load_proxy, save_proxy
from gsi.system.trustdir import TrustDirectory
from gsi.transport.stream import parse_hosts
from tests.harness.ca import proxy_info, write_file
from tests.harness.callout import AuthzServer, authz_server, callout_site, service_account
from tests.harness.cas_server import COMMUNITY, CASServer, cas_server
from tests.harness.daemons import GridFTPServer, gridftp_server
from tests.harness.environment import UserEnvironment
from tests.harness.gram import Gram, gatekeeper
from tests.harness.run import Done, c_program, run
from tests.harness.saml import assertion_extension

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.conftest import Grid

pytestmark = pytest.mark.interop

ALICE: Final = "/O=Grid/CN=Alice"
BOB: Final = "/O=Grid/CN=Bob"
CAROL: Final = "/O=Grid/CN=Carol"
"""Whom the site knows by the community alone: without an assertion in her proxy there is no account for her."""
JOBS: Final = "gram://localhost/jobmanager-fork"
JOB_ACTIONS: Final = ("start", "status", "register", "cancel")
STORAGE: Final = "https://se.example.org"
EXPIRES_SOON: Final = 5  # seconds; two commands of a session have to fit in

POLICY: Final = """
order = ["communities", "map"]
[authorizer.communities]
type = "cas"
gridmap = "{place}/communities"
audiences = ["{storage}"]
vomsdir = "{place}/vomsdir"
[authorizer.communities.namespaces]
Jobs = "ExactComparison"
[authorizer.communities.communities.climate]
identity = "{cas}"
token_issuer = "https://localhost:8443"
jwks_file = "{place}/climate.jwks"
vo = "climate"
[[authorizer.communities.communities.climate.rights]]
objects = ["ftp://localhost{files}/data/*"]
actions = ["file:read", "file:lookup", "file:write", "file:create"]
[[authorizer.communities.communities.climate.rights]]
objects = ["{jobs}"]
actions = ["gram:*"]
[[authorizer.communities.communities.climate.groups]]
fqans = ["/climate/readers"]
objects = ["ftp://localhost{files}/data/*"]
actions = ["file:read", "file:lookup"]
[authorizer.map]
type = "gridmap"
file = "{place}/users"
"""


class Site(NamedTuple):
    """Everything that runs."""

    cas: CASServer
    daemon: AuthzServer
    server: GridFTPServer
    gram: Gram

    @property
    def data(self) -> Path:
        return self.server.files / "data"

    @property
    def other(self) -> Path:
        return self.server.files / "other"

    def records(self) -> list[dict[str, object]]:
        """What the audit has, oldest first: logins, jobs, all refusals; permitted file operations are in the log."""
        records: list[dict[str, object]] = [json.loads(line) for line in self.daemon.audit.splitlines()]
        return sorted(records, key=lambda one: str(one["time"]))


def action(name: str, service: str = "file") -> Ref:
    return Ref(Kind.SERVICE_ACTION, name, service)


@pytest.fixture(scope="module")
def site(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("enforcement")
    account = service_account()
    with (
        cas_server(place, grid.cas["rsa2048"]) as cas,
        callout_site(timeout_ms=10000) as callout,
        gridftp_server(grid.host, grid.trust_dir, [], extra=callout.variables) as server,
    ):
        (place / "climate.jwks").write_text(json.dumps(cas.client().call("GET", "/jwks")))
        lsc = f"{cas.host.subject}\n{cas.ca.name}\n"
        write_file(place / "vomsdir" / COMMUNITY / f"{cas.voms_host}.lsc", lsc.encode(), 0o644)
        (place / "communities").write_text(f'"{cas.host.subject}" {account}\n')
        (place / "users").write_text(f'"{ALICE}" {account}\n"{BOB}" {account}\n')
        policy = POLICY.format(place=place, cas=cas.host.subject, files=server.files, jobs=JOBS, storage=STORAGE)
        gate: list[str | Path] = ["-socket", callout.socket, "-server-uid", str(os.geteuid()), "-timeout", "8000"]
        with (
            authz_server(
                callout.socket, grid.trust_dir, "", policy=policy, gram=policy, server='host = "localhost"'
            ) as daemon,
            gatekeeper(grid.host, grid.trust_dir, authz_conf=callout.conf, gate=gate) as gram,
        ):
            data = f"ftp://localhost{server.files}/data/*"
            tree, jobs = Ref(Kind.OBJECT, data, "FTPDirectoryTree"), Ref(Kind.OBJECT, JOBS, "Jobs")
            cas.change(
                Enrol(UserGroup("readers"), "superUserGroup"),
                SetFqan("readers", f"/{COMMUNITY}/readers"),
                Enrol(ServiceType("gram"), "superUserGroup"),
                *(Enrol(ServiceAction("gram", one), "superUserGroup") for one in JOB_ACTIONS),
                Enrol(Namespace("Jobs", "", Comparison.EXACT), "superUserGroup"),
                Enrol(ObjectName("FTPDirectoryTree", data), "superUserGroup"),
                Enrol(ObjectName("Jobs", JOBS), "superUserGroup"),
                *(
                    change
                    for nickname, subject in (("alice", ALICE), ("carol", CAROL))
                    for change in (
                        Enrol(User(nickname, subject, "ca"), "superUserGroup"),
                        AddMember(Ref(Kind.USER_GROUP, "readers"), Ref(Kind.USER, nickname)),
                    )
                ),
                *(Grant(Statement("readers", Effect.PERMIT, action(one), tree)) for one in ("read", "lookup")),
                *(Grant(Statement("readers", Effect.PERMIT, action(one, "gram"), jobs)) for one in JOB_ACTIONS),
            )
            found = Site(cas, daemon, server, gram)
            for path in (found.data, found.other):
                path.mkdir()
                _own(server, path)
                (path / "f").write_bytes(b"content")
                _own(server, path / "f")
            yield found


def _own(server: GridFTPServer, path: Path) -> None:
    if os.geteuid() == 0:
        entry = pwd.getpwnam(server.account)
        os.chown(path, entry.pw_uid, entry.pw_gid)


@pytest.fixture
def user(site: Site, grid: Grid, tmp_path: Path) -> UserEnvironment:
    return UserEnvironment(tmp_path, trust_dir=grid.trust_dir)


def carol(site: Site, user: UserEnvironment, *options: str) -> Path:
    """Carol's proxy with an assertion, made by the command."""
    out = user.home / "casproxy"
    site.cas.ours("cas-proxy-init", "-p", out, *options, subject=CAROL).check()
    return out


def get(site: Site, user: UserEnvironment, path: Path, *options: str | Path, proxy: Path | None = None) -> Done:
    """Fetch a file with the C client."""
    argv = [c_program("globus-url-copy"), *options, site.server.url(path), f"file://{user.home}/back"]
    return run(argv, env=_as(user, proxy))


def put(site: Site, user: UserEnvironment, path: Path, *options: str | Path, proxy: Path | None = None) -> Done:
    """Send a file with the C client."""
    source = user.home / "source"
    source.write_bytes(b"sent")
    argv = [c_program("globus-url-copy"), *options, f"file://{source}", site.server.url(path)]
    return run(argv, env=_as(user, proxy))


def _as(user: UserEnvironment, proxy: Path | None) -> dict[str, str]:
    changed = {} if proxy is None else {"X509_USER_PROXY": str(proxy)}
    return user.with_variables(X509_USER_CERT=None, X509_USER_KEY=None, **changed)


def reason_of(site: Site, words: str, *, by: str = "communities") -> str:
    """The reason that the audit has of the decision whose id a client was told last."""
    ident = re.findall(r"decision ([0-9a-f]{24})", words)[-1]
    deadline = time.monotonic() + 10
    while not (found := [one for one in site.records() if one["id"] == ident]):
        assert time.monotonic() < deadline, site.daemon.log
        time.sleep(0.02)
    (record,) = found
    assert (record["verdict"], record["authorizer"]) == ("deny", by)
    return str(record["reason"])


def assertion(site: Site, subject: str, directory: Path, **wishes: object) -> Path:
    """An assertion of somebody's in a file, fetched from the server."""
    path = directory / "assertion.xml"
    path.write_text(site.cas.client(subject).capability(form="saml1", **wishes).text)
    return path


# --- in the proxy -----------------------------------------------------------------------------------------------------


def test_in_the_proxy(site: Site, user: UserEnvironment) -> None:
    """The worked example: reads what she was granted, as the community's account; writes nothing, and nothing else."""
    proxy, before = carol(site, user), {one["id"] for one in site.records()}
    url, back = site.server.url(site.data / "f"), user.home / "back"
    wrapped = site.cas.ours("cas-wrap", "-p", proxy, c_program("globus-url-copy"), url, f"file://{back}", subject=CAROL)
    wrapped.check()
    assert back.read_bytes() == b"content"
    records = [one for one in site.records() if one["id"] not in before]
    (login,) = [one for one in records if one["peer"] == CAROL and one["proof"] == "service"]
    assert (login["verdict"], login["account"]) == ("permit", service_account())
    assert str(login["reason"]).startswith("climate: assertion _")
    assert f"of {site.cas.host.subject} grants file/read on ftp://localhost{site.data}/f" in site.daemon.log
    done = put(site, user, site.data / "x", proxy=proxy)
    assert "authorization failed" in done.stderr
    assert "no permission to create" in done.stderr
    assert "does not grant file/create" in reason_of(site, done.stderr)
    assert not (site.data / "x").exists()
    done = get(site, user, site.other / "f", proxy=proxy)
    assert "no permission to read" in done.stderr
    assert "the site lets climate grant nothing of the kind: file/read" in reason_of(site, done.stderr)
    assert "no permission" in get(site, user, site.server.files / "database" / "f", proxy=proxy).stderr


def test_without_it_there_is_no_account(site: Site, user: UserEnvironment) -> None:
    done = get(site, user, site.data / "f", proxy=site.cas.person(CAROL))
    assert "530" in done.stderr
    assert "no rule speaks of this request" in reason_of(site, done.stderr, by="policy")


def test_after_a_delegation(site: Site, user: UserEnvironment) -> None:
    """The assertion is in the upper proxy then; a limited one below reads files all the same."""
    proxy = delegated(carol(site, user), user.home / "limited", ProxyKind.LIMITED)
    get(site, user, site.data / "f", proxy=proxy).check()


def test_in_anothers_proxy(site: Site, grid: Grid, user: UserEnvironment) -> None:
    """Bob, who has an account of his own here, with Carol's assertion in his proxy."""
    xml = assertion(site, CAROL, user.home).read_bytes()
    user.install_proxy(site.cas.issued(BOB).proxy())
    assert "no permission" in get(site, user, site.data / "f").stderr
    user.install_proxy(site.cas.issued(BOB).proxy(extensions=[assertion_extension(xml)]))
    done = get(site, user, site.data / "f")
    assert "530" in done.stderr
    assert "it was issued to another holder" in reason_of(site, done.stderr)


def test_what_the_system_forbids(site: Site, user: UserEnvironment) -> None:
    """The community's account may not read the file, whatever the community says."""
    secret = site.data / "secret"
    secret.write_bytes(b"of the system")
    secret.chmod(0o600 if os.geteuid() == 0 else 0)
    done = get(site, user, secret, proxy=carol(site, user))
    assert "Permission denied" in done.stderr
    assert "authorization failed" not in done.stderr
    assert f"grants file/read on ftp://localhost{secret}" in site.daemon.log


def test_restricted_proxies(site: Site, user: UserEnvironment) -> None:
    """Nobody here can read the policy of such a proxy, so what it carries does not matter."""
    restricted = site.cas.issued(CAROL).proxy(
        info=proxy_info("1.2.3.4.5", policy=b"x"),
        extensions=[assertion_extension(assertion(site, CAROL, user.home).read_bytes())],
    )
    user.install_proxy(restricted)
    done = get(site, user, site.data / "f")
    assert "530" in done.stderr
    assert "Could not verify credential" in done.stderr  # the server itself, before it asks anybody


def test_attributes_of_the_community(site: Site, user: UserEnvironment) -> None:
    """The same grant in its third form, by the C client of VOMS: it brings a group, and the site says what that may."""
    vomses, out, cas = user.home / "vomses", user.home / "proxy", site.cas
    entry = f'"{COMMUNITY}" "localhost" "{cas.voms_port}" "{cas.host.subject}" "{COMMUNITY}"\n'
    write_file(vomses, entry.encode(), 0o644)
    cert, key = user.home / "usercert.pem", user.home / "userkey.pem"
    cas.issued(CAROL).write(cert, key, key_mode=0o400)
    words: list[str | Path] = [
        "-rfc",
        "-voms",
        f"{COMMUNITY}:/{COMMUNITY}/readers",
        "-vomses",
        vomses,
        "-dont-verify-ac",
    ]
    words += ["-cert", cert, "-key", key, "-out", out, "-certdir", cas.trust_dir]
    run([c_program("voms-proxy-init2"), *words], env=cas.variables(CAROL)).check()
    get(site, user, site.data / "f", proxy=out).check()
    assert re.search(
        f"climate: attribute certificate [0-9a-f]+ of {cas.host.subject} grants file/read", site.daemon.log
    )
    done = put(site, user, site.data / "x", proxy=out)
    assert "no permission to create" in done.stderr
    assert "does not grant file/create" in reason_of(site, done.stderr)


# --- over the control channel -----------------------------------------------------------------------------------------


def test_shown(site: Site, user: UserEnvironment) -> None:
    """By a stock client with a plain proxy; without it there is an account, and no right."""
    user.install_proxy(site.cas.issued(ALICE).proxy())
    shown = assertion(site, ALICE, user.home)
    done = get(site, user, site.data / "f")
    assert "no permission" in done.stderr
    assert "no rule speaks" in reason_of(site, done.stderr, by="policy")
    get(site, user, site.data / "f", "-aa", shown).check()
    assert (user.home / "back").read_bytes() == b"content"
    done = put(site, user, site.data / "x", "-aa", shown)
    assert "no permission to create" in done.stderr
    assert "does not grant file/create" in reason_of(site, done.stderr)
    done = get(site, user, site.other / "f", "-aa", shown)
    assert "no permission to read" in done.stderr
    assert "the site lets climate grant nothing" in reason_of(site, done.stderr)


def test_a_token_shown(site: Site, user: UserEnvironment) -> None:
    """The same grant in another form, by the command; bound to the certificate of whoever fetched it."""
    user.install_proxy(site.cas.issued(ALICE).proxy())
    token = user.home / "token"
    token.write_text(site.cas.ours("cas-token", "-audience", STORAGE, "-bind", subject=ALICE).check().stdout.strip())
    get(site, user, site.data / "f", "-aa", token).check()
    assert "climate: token " in site.daemon.log
    done = put(site, user, site.data / "x", "-aa", token)
    assert "no permission" in done.stderr
    assert "does not grant file/create" in reason_of(site, done.stderr)
    user.install_proxy(site.cas.issued(BOB).proxy())
    done = get(site, user, site.data / "f", "-aa", token)
    assert done.returncode != 0
    assert "another certificate than the presenter's" in reason_of(site, done.stderr)


def test_anothers_shown(site: Site, user: UserEnvironment) -> None:
    """Bob shows Alice's."""
    user.install_proxy(site.cas.issued(BOB).proxy())
    done = get(site, user, site.data / "f", "-aa", assertion(site, ALICE, user.home))
    assert done.returncode != 0
    assert "the assertion is not accepted" in done.stderr
    assert "it was issued to another holder" in reason_of(site, done.stderr)


def test_it_ends_within_a_session(site: Site, grid: Grid, user: UserEnvironment) -> None:
    """Of two sessions, one with it in the proxy and one that shows it: both read until it ends."""
    xml = assertion(site, CAROL, user.home, lifetime=EXPIRES_SOON).read_bytes()
    shown = assertion(site, ALICE, user.home, lifetime=EXPIRES_SOON).read_text()
    user.install_proxy(site.cas.issued(CAROL).proxy(extensions=[assertion_extension(xml)]))
    with session(site, grid, user.proxy_path) as carried, session(site, grid, site.cas.person(ALICE)) as plain:
        plain.command(f"SITE AUTHZ_ASSERT {shown}")
        for one in (carried, plain):
            assert one.retrieve(str(site.data / "f")) == b"content"
        words = [until_refused(one, str(site.data / "f")) for one in (carried, plain)]
    assert all(re.search("no permission to .*expired at 20", one) for one in words)  # which the clients are told
    for told in words:
        assert "expired at" in reason_of(site, told)


def until_refused(client: GridFTPClient, path: str) -> str:
    """Ask for a file's facts until that is refused; return the server's words."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            client.facts(path)
        except FTPRefusedError as refusal:
            return "\n".join(refusal.reply.lines)
        time.sleep(0.1)
    raise AssertionError("still permitted")


def session(site: Site, grid: Grid, proxy: Path) -> GridFTPClient:
    """A control connection, logged in."""
    client = GridFTPClient.connect(
        parse_hosts(f"localhost:{site.server.port}", default_port=2811),
        load_proxy(str(proxy)),
        TrustDirectory(str(grid.trust_dir)).anchors(),
        now=clock.now,
        timeout=20,
    )
    client.login()
    return client


def delegated(proxy: Path, out: Path, kind: ProxyKind) -> Path:
    """A further proxy below."""
    save_proxy(str(out), make_proxy(load_proxy(str(proxy)), ProxyOptions(kind=kind), now=clock.now()))
    return out


# --- jobs -------------------------------------------------------------------------------------------------------------


def submit(site: Site, user: UserEnvironment, proxy: Path, marker: Path) -> Done:
    rsl = f"&(executable=/usr/bin/touch)(arguments={marker})"
    where = f"localhost:{site.gram.port}/jobmanager-fork"
    return run([c_program("globusrun"), "-r", where, rsl], env=_as(user, proxy), timeout=30)


def test_jobs(site: Site, user: UserEnvironment) -> None:
    """Started, watched and ended as the community's account; not with an assertion that speaks of files alone."""
    marker = site.gram.scratch / "started"
    done = submit(site, user, carol(site, user), marker).check()
    assert "JOB_STATE_DONE" in done.stdout
    assert marker.exists()
    assert "grants gram/start on jobmanager-fork" in site.daemon.audit
    request = user.home / "request"
    request.write_text(f"Resource: FTPDirectoryTree|ftp://localhost{site.server.files}/data/*\n file read\n")
    marker = site.gram.scratch / "narrow"
    done = submit(site, user, carol(site, user, "-f", str(request)), marker)
    assert "you are not authorized to start this job" in done.output
    assert "does not grant gram/start" in reason_of(site, done.output)
    assert not marker.exists()


def test_limited_proxies_have_no_business_with_jobs(site: Site, grid: Grid, user: UserEnvironment) -> None:
    """The gatekeeper lets them start none; a job manager would let them cancel any, and our callout does not."""
    full = carol(site, user)
    limited = delegated(full, user.home / "limited", ProxyKind.LIMITED)
    marker = site.gram.scratch / "limited"
    done = submit(site, user, limited, marker)
    assert "authentication with the remote server failed" in done.output
    assert not marker.exists()
    where = f"localhost:{site.gram.port}/jobmanager-fork"
    rsl = "&(executable=/bin/sleep)(arguments=60)"
    started = run([c_program("globusrun"), "-b", "-r", where, rsl], env=_as(user, full), timeout=30).check()
    contact = next(line for line in started.stdout.splitlines() if line.startswith("https://"))
    anchors = TrustDirectory(str(grid.trust_dir)).anchors()
    for query in ("status", "cancel"):
        reply = site.gram.query(contact, CAROL, load_proxy(str(limited)), anchors, query)
        assert re.search("failure-code: (164|162)", reply), reply
        record = [one for one in site.records() if one["action"] == query][-1]
        assert record["verdict"] == "deny"
        assert record["reason"] == "a limited proxy has no business with jobs"
    reply = site.gram.query(contact, CAROL, load_proxy(str(full)), anchors, "cancel")
    assert "failure-code: 0" in reply, reply
    assert "grants gram/cancel on" in site.daemon.log
