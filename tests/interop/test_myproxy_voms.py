"""VOMS attributes and MyProxy, live: a VOMS server, our server and that of C, C clients and ours."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.ca import Issued, write_file
from tests.harness.daemons import c_myproxy_server, free_port, our_server
from tests.harness.environment import clean_environment
from tests.harness.run import Done, c_program, our_program, run
from tests.harness.voms import VO, ac_extension, libvomsapi
from tests.harness.voms_daemon import VOMSDaemon
from tests.harness.voms_site import OTHER, VOMSSite

pytestmark = pytest.mark.interop

OPEN = 'accepted_credentials "*"\nauthorized_retrievers "*"\n'
SECRET = "correct horse\n"
ROLE = f"/{VO}/prod/Role=pilot/Capability=NULL"


class Repository:
    """A MyProxy server beside the VO's servers, and Alice with C clients and ours."""

    def __init__(self, directory: Path) -> None:
        self.site = VOMSSite(directory)
        self.port = free_port()
        self.store = directory / "store"
        self.config = directory / "myproxy-server.config"
        host = self.site.servers[VO].credential
        host.write(directory / "hostcert.pem", directory / "hostkey.pem")
        self.environment = clean_environment(directory) | {
            "X509_USER_CERT": str(directory / "hostcert.pem"),
            "X509_USER_KEY": str(directory / "hostkey.pem"),
            "X509_CERT_DIR": str(self.site.trust_dir),
            "X509_VOMS_DIR": str(self.site.vomsdir),
        }
        self.received = directory / "received.pem"

    @contextlib.contextmanager
    def start(self, *lines: str, access: str = OPEN) -> Iterator[None]:
        """Run our server with these further lines of configuration."""
        write_file(self.config, (access + "".join(f"{line}\n" for line in lines)).encode(), 0o600)
        words: list[str | Path] = [
            "-c",
            self.config,
            "-s",
            self.store,
            "-l",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-foreground",
            "-v",
        ]
        with our_server("myproxy-server", words, env=self.environment, port=self.port, directory=self.site.directory):
            yield

    def client(self, program: str, *words: str | Path, identity: Issued | None = None, **variables: str) -> Done:
        """Run a client, anonymous unless an identity is given."""
        home = self.site.directory / "client"
        home.mkdir(exist_ok=True)
        environment = clean_environment(home) | {
            "X509_CERT_DIR": str(self.site.trust_dir),
            "X509_VOMS_DIR": str(self.site.vomsdir),
            "X509_USER_PROXY": str(home / "proxy.pem"),
            "MYPROXY_SERVER": "localhost",
            "MYPROXY_SERVER_PORT": str(self.port),
            **variables,
        }
        if identity is not None:
            identity.write_bundle(home / "proxy.pem")
        return run([program, *words], env=environment, stdin=SECRET)

    def put(self) -> None:
        self.client(
            our_program("myproxy-init"), "-S", "-l", "alice",
            X509_USER_CERT=str(self.site.cert), X509_USER_KEY=str(self.site.key),
        ).check()  # fmt: skip

    def logon(self, ours: bool, *words: str, identity: Issued | None = None, **variables: str) -> Done:
        self.received.unlink(missing_ok=True)
        program = our_program("myproxy-logon") if ours else c_program("myproxy-logon")
        return self.client(program, "-S", "-l", "alice", "-o", self.received, *words, identity=identity, **variables)

    def attributes(self) -> tuple[tuple[str, ...], ...]:
        """What libvomsapi believes of the received proxy."""
        (verdict,) = libvomsapi((self.received, self.site.vomsdir, self.site.trust_dir))
        return verdict.fqans

    def audit(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.store / "audit.log").read_text("ascii").splitlines()]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


@pytest.fixture
def daemon(repository: Repository) -> Iterator[VOMSDaemon]:
    with repository.site.daemon() as made:
        repository.site.write_vomses(made.vomses)
        yield made


both_clients = pytest.mark.parametrize("ours", [True, False], ids=["ours", "c"])


# --- the server asks --------------------------------------------------------------------------------------------------


@both_clients
def test_the_server_adds_attributes(repository: Repository, daemon: VOMSDaemon, ours: bool) -> None:
    daemon.fqans = (ROLE,)
    with repository.start("allow_voms_attribute_requests on", f"voms_userconf {repository.site.vomses}"):
        repository.put()
        done = repository.logon(ours, "-m", f"{VO}:/{VO}/prod/Role=pilot").check()
        assert "A credential has been received for user alice" in done.stdout
        assert repository.attributes() == ((ROLE,),)
        (asked,) = daemon.requests
        assert asked.startswith(b"GET /generate-ac?fqans=/testvo/prod/Role=pilot&lifetime=43200 HTTP/1.1\r\n")
        repository.logon(ours).check()
        assert repository.attributes() == ()
    delegated = [line for line in repository.audit() if line["action"] == "DELEGATE"]
    assert [line.get("attributes") for line in delegated] == [ROLE, None]


@both_clients
def test_contact_lines_of_the_client(repository: Repository, daemon: VOMSDaemon, ours: bool) -> None:
    """They count in place of the server's, for servers that its vomsdir trusts."""
    with repository.site.daemon(OTHER) as other, repository.start("allow_voms_attribute_requests on"):
        both = repository.site.directory / "both"
        write_file(both, (daemon.vomses + other.vomses).encode(), 0o644)
        other.fqans = (f"/{OTHER}/Role=NULL/Capability=NULL",)
        repository.put()
        repository.logon(ours, "-m", VO, "-m", OTHER, VOMS_USERCONF=str(both)).check()
        assert repository.attributes() == (daemon.fqans, other.fqans)
        for path in repository.site.vomsdir.rglob("*.lsc"):
            path.unlink()
        done = repository.logon(ours, "-m", VO, VOMS_USERCONF=str(both))
        assert done.returncode == 1
        assert "Couldn't get VOMS User Information." in done.stderr
        assert f"No server of the VO {VO} is trusted here." in done.stderr
        assert (len(daemon.requests), len(other.requests)) == (1, 1)
    last = repository.audit()[-1]
    assert (last["action"], last["verdict"]) == ("DELEGATE", "deny")


@both_clients
def test_a_vo_that_says_no(repository: Repository, daemon: VOMSDaemon, ours: bool) -> None:
    daemon.status = "403 Forbidden"
    daemon.rest = b"<voms><error><code>NoSuchUser</code><message>unknown user</message></error></voms>"
    with repository.start("allow_voms_attribute_requests on", f"voms_userconf {repository.site.vomses}"):
        repository.put()
        done = repository.logon(ours, "-m", VO)
    assert done.returncode == 1
    assert "unknown user (NoSuchUser)" in done.stderr
    assert not repository.received.exists()


@pytest.mark.parametrize("words", [f"{VO}:/elsewhere", f"{VO}:/{VO}/Capability=x", "nosuch", f"{VO}:", "a b:/c"])
def test_wishes_that_make_no_sense(repository: Repository, daemon: VOMSDaemon, words: str) -> None:
    with repository.start("allow_voms_attribute_requests on", f"voms_userconf {repository.site.vomses}"):
        repository.put()
        done = repository.logon(False, "-m", words)
        assert done.returncode == 1
        assert "Couldn't get VOMS User Information." in done.stderr
        repository.logon(False, "-m", VO).check()
    assert len(daemon.requests) == 1


def test_attributes_of_somebody_else_are_not_passed_on(repository: Repository, daemon: VOMSDaemon) -> None:
    daemon.holder = repository.site.ca.issue("/O=Grid/CN=Bob")
    with repository.start("allow_voms_attribute_requests on", f"voms_userconf {repository.site.vomses}"):
        repository.put()
        done = repository.logon(False, "-m", VO)
    assert done.returncode == 1
    assert "Couldn't get VOMS User Information." in done.stderr


def test_whoever_may_not_have_the_credential_asks_nobody(repository: Repository, daemon: VOMSDaemon) -> None:
    with repository.start("allow_voms_attribute_requests on", f"voms_userconf {repository.site.vomses}"):
        repository.put()
        done = repository.client(c_program("myproxy-logon"), "-S", "-l", "bob", "-o", repository.received, "-m", VO)
        assert done.returncode == 1
    assert daemon.requests == []


def test_a_configuration_that_cannot_work(repository: Repository) -> None:
    site = repository.site
    write_file(
        repository.config, f"{OPEN}allow_voms_attribute_requests on\nvoms_userconf {site.vomses}\n".encode(), 0o600
    )
    words: list[str | Path] = [
        "-c",
        repository.config,
        "-s",
        repository.store,
        "-l",
        "127.0.0.1",
        "-p",
        "0",
        "-foreground",
    ]
    for content, message in ((None, "does not exist"), (b'"half', "not five or six fields")):
        if content is not None:
            write_file(site.vomses, content, 0o644)
        done = run([our_program("myproxy-server"), *words], env=repository.environment)
        assert done.returncode == 1
        assert "voms_userconf: " in done.stderr
        assert message in done.stderr


# --- rules about attributes -------------------------------------------------------------------------------------------


def test_rules_about_the_attributes_of_clients(repository: Repository) -> None:
    """`FQAN:` is compared with what the client's proxy proves; what it does not prove counts for nothing."""
    site = repository.site
    agent = site.ca.issue("/O=Grid/CN=agent")
    server = site.servers[VO]
    good = server.attribute_certificate(agent, fqans=[f"/{VO}/Role=agent/Capability=NULL"])
    expected = {
        "good": (agent.proxy(extensions=[ac_extension(good)]), 0),
        "none": (agent.proxy(), 1),
        "another role": (agent.proxy(extensions=[ac_extension(server.attribute_certificate(agent))]), 1),
        "somebody else's": (site.ca.issue("/O=Grid/CN=thief").proxy(extensions=[ac_extension(good)]), 1),
        "forged": (
            agent.proxy(
                extensions=[
                    ac_extension(
                        server.attribute_certificate(agent, fqans=[f"/{VO}/Role=agent/Capability=NULL"], spoil=True)
                    )
                ]
            ),
            1,
        ),
    }
    access = f'accepted_credentials "*"\nauthorized_retrievers "FQAN:/{VO}/Role=agent/*"\n'
    with repository.start(access=access):
        repository.put()
        for name, (identity, status) in expected.items():
            done = repository.logon(False, identity=identity)
            assert done.returncode == status, (name, done)


# --- the client asks --------------------------------------------------------------------------------------------------


def test_without_help_of_the_server(repository: Repository, daemon: VOMSDaemon) -> None:
    """Where the server passes over what is asked, our client asks the VO itself, as that of C does."""
    with repository.start():
        repository.put()
        done = repository.logon(True, "-m", VO, X509_VOMSES=str(repository.site.vomses)).check()
        assert "A credential has been received for user alice" in done.stdout
    assert repository.attributes() == (daemon.fqans,)
    assert len(daemon.requests) == 1


def test_the_c_server_does_not_help(repository: Repository, daemon: VOMSDaemon) -> None:
    site = repository.site
    with c_myproxy_server(site.servers[VO].credential, site.trust_dir, config=OPEN) as server:
        repository.port = server.port
        repository.put()
        repository.logon(True, "-m", VO, X509_VOMSES=str(site.vomses)).check()
    assert repository.attributes() == (daemon.fqans,)


def test_nothing_is_written_without_the_attributes(repository: Repository) -> None:
    with repository.start():
        repository.put()
        repository.site.write_vomses(repository.site.dead_line())
        done = repository.logon(True, "-m", VO, X509_VOMSES=str(repository.site.vomses))
    assert done.returncode == 1
    assert "None of the contacted servers" in done.stderr
    assert not repository.received.exists()


def test_attributes_in_what_is_stored(repository: Repository, daemon: VOMSDaemon) -> None:
    """`myproxy-init -m` puts them into the stored credential, so that every proxy made from it has them above it."""
    site = repository.site
    with repository.start():
        done = repository.client(
            our_program("myproxy-init"), "-S", "-l", "alice", "-m", VO, "-L", X509_VOMSES=str(site.vomses),
            X509_USER_CERT=str(site.cert), X509_USER_KEY=str(site.key),
        ).check()  # fmt: skip
        assert "Contacting  localhost:" in done.stdout
        repository.logon(False).check()
    assert repository.attributes() == (daemon.fqans,)
    local = site.directory / "client" / "proxy.pem"
    (verdict,) = libvomsapi((local, site.vomsdir, site.trust_dir))
    assert verdict.fqans == (daemon.fqans,)
    assert len(daemon.requests) == 1


# --- the C commands run ours ------------------------------------------------------------------------------------------


def test_the_c_commands_run_our_voms_proxy_init(repository: Repository, daemon: VOMSDaemon) -> None:
    """`myproxy-init -m` always, `myproxy-logon -m` where the server adds nothing: whichever is first in PATH."""
    site = repository.site
    path = f"{Path(our_program('voms-proxy-init')).parent}:/usr/bin:/bin"
    with repository.start():
        done = repository.client(
            c_program("myproxy-init"), "-S", "-l", "alice", "-m", VO, "-c", "20", PATH=path,
            X509_VOMSES=str(site.vomses), X509_USER_CERT=str(site.cert), X509_USER_KEY=str(site.key),
        ).check()  # fmt: skip
        assert "Contacting  localhost:" in done.stdout
        assert "verify OK" in done.stdout
        assert b"&lifetime=72000 " in daemon.requests[0]
        repository.logon(False).check()
        assert repository.attributes() == (daemon.fqans,)
        repository.put()
        daemon.fqans = (ROLE,)
        done = repository.logon(False, "-m", f"{VO}:/{VO}/prod/Role=pilot", PATH=path, X509_VOMSES=str(site.vomses))
        assert "Contacting  localhost:" in done.check().stdout
    assert repository.attributes() == ((ROLE,),)
    assert len(daemon.requests) == 2
