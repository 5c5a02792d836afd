"""The C server's store: taken over by ours, served to C clients, and given back to the C server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.harness.ca import write_file
from tests.harness.daemons import MYPROXY_CONFIG, Daemon, c_myproxy_server, free_port
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.run import Done, c_program, our_program, run
from tests.interop.conftest import ALICE, Grid
from tests.interop.test_myproxy_operations import fetch
from tests.interop.test_myproxy_server import OPEN, Site, wait_for
from tests.interop.test_myproxy_server import Person as SitePerson

SECRET = "correct horse\n"
LONG = "a-very-long-name-" * 8
NAMES: list[tuple[str, str | None]] = [
    ("alice", None),
    ("alice", "second"),
    ("a-b", None),
    ("a", "c"),
    (".hidden", ".too"),
    ("with/slash", None),
    (LONG, LONG),
    ("with blank", "ä"),
]

LOCKS = {"des3": ["-traditional", "-des3"], "aes": ["-traditional", "-aes256"], "p8": ["-aes256"]}


class Client:
    """Somebody with the C clients, pointed at a server on one port."""

    def __init__(self, directory: Path, grid: Grid, port: int, *, has_credential: bool = True) -> None:
        self.environment = UserEnvironment(directory, trust_dir=grid.trust_dir)
        if has_credential:
            alice = grid.users["rsa2048", "rsa2048"]
            self.environment.install_user(alice)
            self.environment.install_proxy(alice)
        self.environment.variables |= {"MYPROXY_SERVER": "localhost", "MYPROXY_SERVER_PORT": str(port)}
        self.received = self.environment.home / "received.pem"

    def run(self, name: str, *arguments: str | Path, stdin: str = "") -> Done:
        return self.environment.theirs(name, *arguments, stdin=stdin)

    def put(self, username: str, name: str | None, *arguments: str, stdin: str = SECRET) -> Done:
        return self.run("myproxy-init", "-S", *address(username, name), *arguments, stdin=stdin).check()

    def logon(self, username: str, name: str | None, *arguments: str, stdin: str = SECRET) -> Done:
        with contextlib.suppress(FileNotFoundError):
            self.received.unlink()
        return self.run("myproxy-logon", "-S", *address(username, name), "-o", self.received, *arguments, stdin=stdin)

    def info(self, username: str) -> str:
        """What is told about the credentials of a user, but for the time that is left."""
        done = self.run("myproxy-info", "-l", username)
        return re.sub(r"  timeleft: .*\n", "", done.output)


def address(username: str, name: str | None) -> list[str]:
    return ["-l", username, *([] if name is None else ["-k", name])]


def snapshot(directory: Path) -> dict[str, tuple[bytes, int, int]]:
    """Content, mode and time of every file of the C server."""
    found = {}
    for path in directory.iterdir():
        if path.suffix in {".creds", ".data", ".lock"}:
            facts = path.stat()
            found[path.name] = (path.read_bytes(), facts.st_mode, facts.st_mtime_ns)
    return found


@pytest.fixture(scope="module")
def c_store(tmp_path_factory: pytest.TempPathFactory, grid: Grid) -> Path:
    """A store that the C server and clients have written, and an administrator has locked one credential of."""
    root = tmp_path_factory.mktemp("c-store")
    store = root / "store"
    store.mkdir(mode=0o700)
    with c_myproxy_server(grid.host, grid.trust_dir, store=store) as server:
        client = Client(root / "client", grid, server.port)
        for username, name in NAMES:
            client.put(username, name, "-K", f"what {username[:20]} keeps", "-t", "5")
        client.put("renewable", None, "-n", "-R", "*", stdin="")
        client.put("narrow", None, "-r", "/O=Grid/CN=nobody", "-x")
        client.run("myproxy-store", "-l", "stored", "-a", "-E", "*").check()
        for kind, options in LOCKS.items():
            key = root / f"{kind}.pem"
            argv: list[str | Path] = [
                c_program("openssl"),
                "pkey",
                "-in",
                client.environment.key_path,
                "-out",
                key,
                *options,
            ]
            run([*argv, "-passout", f"pass:{SECRET[:-1]}"], env=clean_environment(root)).check()
            key.chmod(0o600)
            files: list[str | Path] = ["-c", client.environment.cert_path, "-y", key]
            argv = [c_program("myproxy-store"), "-l", f"stored-{kind}", "-a", "-E", "*", *files]
            run(argv, env=client.environment.with_variables(X509_USER_CERT=None, X509_USER_KEY=None)).check()
        client.put("locked", None)
        admin: list[str | Path] = [
            c_program("myproxy-admin-query"),
            "-s",
            store,
            "-l",
            "locked",
            "-L",
            "ask the help desk",
        ]
        run(admin, env=clean_environment(root)).check()
        told = {username: client.info(username) for username, _ in NAMES}
        (root / "told.json").write_text(json.dumps(told))
    return store


@pytest.fixture
def copy(c_store: Path, tmp_path: Path) -> Path:
    """The same store, for one test; times are kept."""
    directory = tmp_path / "copied"
    subprocess.run(["cp", "-a", c_store, directory], check=True)
    return directory


@pytest.fixture
def site(tmp_path: Path, grid: Grid, copy: Path) -> Site:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    made = Site(directory, grid)
    made.store = copy
    made.configure(MYPROXY_CONFIG)
    return made


def imports(site: Site) -> list[dict[str, object]]:
    return [record for record in site.audit() if record["action"] == "IMPORT"]


def test_a_c_store_is_served_from_the_first_start_on(site: Site, grid: Grid, tmp_path: Path) -> None:
    before = snapshot(site.store)
    elsewhere = Client(tmp_path / "elsewhere", grid, site.port, has_credential=False)
    owner = Client(tmp_path / "owner", grid, site.port)
    with site.start() as daemon:
        assert f"{len(NAMES) + 7} imported, 0 not" in daemon.log()
        for username, name in NAMES:
            assert "invalid" in elsewhere.logon(username, name, stdin="wrong horse\n").stderr
            elsewhere.logon(username, name).check()
            elsewhere.logon(username, name).check()  # sealed anew by the one before
            assert f"owner: {ALICE}" in owner.info(username)
        assert "what alice keeps" in owner.info("alice")
        for kind in LOCKS:
            elsewhere.logon(f"stored-{kind}", None).check()
        told = elsewhere.logon("locked", None)
        assert told.returncode == 1
        assert "ask the help desk" in told.stderr
        assert "locked: ask the help desk" in owner.info("locked")
        assert elsewhere.logon("narrow", None).returncode == 1
        assert "renewal policy: */CN=*" in owner.info("renewable")
        key = tmp_path / "key.pem"
        owner.run(
            "myproxy-retrieve", "-S", "-l", "stored-des3", "-c", tmp_path / "c.pem", "-y", key, stdin=SECRET
        ).check()
        assert b"PRIVATE KEY" in key.read_bytes()
        owner.run("myproxy-destroy", "-l", "alice").check()
    (record,) = imports(site)
    assert (record["imported"], record["refused"]) == (len(NAMES) + 7, 0)
    with site.start():
        assert elsewhere.logon("alice", None).returncode == 1, "what its owner has destroyed does not come back"
        elsewhere.logon("alice", "second").check()
    assert len(imports(site)) == 1
    assert snapshot(site.store) == before


def export(site: Site, target: Path) -> Done:
    argv: list[str | Path] = [
        our_program("myproxy-admin-export"),
        "-s",
        site.store,
        "-c",
        site.config_path,
        "-t",
        target,
    ]
    return run(argv, env=site.environment)


@contextlib.contextmanager
def c_server_on(store: Path, grid: Grid) -> Iterator[Daemon]:
    with c_myproxy_server(grid.host, grid.trust_dir, store=store) as server:
        yield server


@pytest.mark.parametrize("server_key", [False, True], ids=["bare", "wrapped"])
def test_a_site_can_go_back(c_store: Path, site: Site, grid: Grid, tmp_path: Path, server_key: bool) -> None:
    """Half of the credentials have been sealed by a logon here, and one was stored here; all of them go back."""
    if server_key:
        write_file(tmp_path / "server.key", os.urandom(32), 0o600)
        site.configure(f"{MYPROXY_CONFIG}server_key {tmp_path}/server.key\n")
    here = Client(tmp_path / "here", grid, site.port)
    with site.start():
        for username, name in NAMES[::2]:
            here.logon(username, name).check()
        here.logon("stored-p8", None).check()
        here.put("new", "here")
    target = tmp_path / "back"
    done = export(site, target).check()
    assert f"{len(NAMES) + 8} credentials written, 0 were there already, 0 not." in done.stdout
    assert f"0 credentials written, {len(NAMES) + 8} were there already, 0 not." in export(site, target).check().stdout
    with c_server_on(target, grid) as server:
        there = Client(tmp_path / "there", grid, server.port)
        elsewhere = Client(tmp_path / "elsewhere", grid, server.port, has_credential=False)
        for username, name in [*NAMES, ("new", "here"), *((f"stored-{kind}", None) for kind in LOCKS)]:
            assert elsewhere.logon(username, name, stdin="wrong horse\n").returncode == 1
            elsewhere.logon(username, name).check()
        told = json.loads((c_store.parent / "told.json").read_text())
        assert {username: there.info(username) for username in told} == told
        assert "ask the help desk" in elsewhere.logon("locked", None).stderr
        here.environment.variables["MYPROXY_SERVER_PORT"] = str(server.port)
        here.run(
            "myproxy-retrieve", "-S", "-l", "stored-aes", "-c", tmp_path / "c", "-y", tmp_path / "k", stdin=SECRET
        ).check()
        there.run("myproxy-destroy", "-l", "renewable").check()


def test_the_way_over_as_the_how_to_says(site: Site, grid: Grid, tmp_path: Path) -> None:
    """Its lines run as they stand, but for the places; between them the servers are started and ended."""
    page = (Path(__file__).resolve().parents[2] / "docs/howto/migrate-myproxy.md").read_text("utf-8")
    before, behind, user, back = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    person = Client(tmp_path / "person", grid, site.port)
    (tmp_path / "pass-phrase").write_text(SECRET)
    bare = {name: text for name, text in site.environment.items() if name != "PATH"}
    variables = {"PATH": f"{os.path.dirname(our_program('myproxy-init'))}:/usr/bin:/bin"}

    def sh(lines: str, more: Mapping[str, str]) -> Done:
        for place, here in (
            ("/var/lib/myproxy", str(site.store)),
            ("/srv/myproxy-c", str(tmp_path / "back")),
            ("/tmp/migration-test.pem", str(tmp_path / "received.pem")),
        ):
            lines = lines.replace(place, here)
        return run(["/bin/bash", "-eu", "-c", lines], env={**more, **variables}, cwd=tmp_path).check()

    told = sh(before.replace("-n -f", f"-n -c {site.config_path} -f"), bare).stdout
    assert f"{len(NAMES) + 7} " in told
    with site.start():
        told = sh(behind, bare).stdout
        assert "username: alice" in told
        assert "FAULT" not in told
        told = sh(user, person.environment.variables).stdout
        assert "A credential has been received for user migration-test" in told
    # What administrators do to a stopped server goes on with its chain.
    words: list[str | Path] = ["-s", site.store, "-l", "locked"]
    run([our_program("myproxy-admin-query"), *words, "-U"], env=site.environment).check()
    told = sh("myproxy-admin-query -s /var/lib/myproxy --verify-audit; " + back, bare).stdout
    assert "FAULT" not in told
    with c_server_on(tmp_path / "back", grid) as server:
        elsewhere = Client(tmp_path / "elsewhere", grid, server.port, has_credential=False)
        elsewhere.logon("locked", None).check()
        elsewhere.logon("alice", "second").check()


def test_what_cannot_go_back_is_named(site: Site, grid: Grid, tmp_path: Path) -> None:
    site.configure(f"{MYPROXY_CONFIG}keep_c_export off\n")
    here = Client(tmp_path / "here", grid, site.port)
    with site.start():
        here.logon("alice", "second").check()
        here.put("a", "b")
    done = export(site, tmp_path / "back")
    assert done.returncode == 2
    assert f"{len(NAMES) + 6} credentials written, 0 were there already, 2 not." in done.stdout
    assert (
        "user alice (name: second), owner /O=Grid/OU=Test/CN=Alice: its key is sealed under a pass phrase"
        in done.stderr
    )
    assert "user a (name: b)" in done.stderr
    assert not (tmp_path / "back" / "alice-second.creds").exists()


def test_importing_by_command_in_parts(c_store: Path, copy: Path, tmp_path: Path) -> None:
    """Again and again, into a store of its own; what has changed in the directory since comes, too."""
    store = tmp_path / "ours"
    store.mkdir(mode=0o700)

    def command(*more: str) -> Done:
        return run(
            [our_program("myproxy-admin-import"), "-f", copy, "-s", store, *more], env=clean_environment(tmp_path)
        )

    aside = {path: path.read_bytes() for path in copy.glob("alice*")}
    for path in aside:
        path.unlink()
    total = len(NAMES) + 7
    assert f"{total - 2} credentials can be imported" in command("-n").check().stdout
    assert f"{total - 2} credentials imported, 0 were here already, 0 not." in command().check().stdout
    for path, content in aside.items():
        write_file(path, content, 0o600)
    data = copy / "a-b.data"
    data.write_text(data.read_text().replace("what a-b keeps", "something else"))
    (copy / "broken.creds").write_bytes(b"garbage")
    (copy / "broken.data").write_text("OWNER=/CN=x\nUSERNAME=broken\nEND_OPTIONS\n")
    done = command("--json")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert (told["imported"], told["known"]) == (3, total - 3)
    assert [fault["file"] for fault in told["not_imported"]] == ["broken"]
    records = [json.loads(line) for line in (store / "audit.log").read_text("ascii").splitlines()]
    assert [one["verdict"] for one in records if one["reason"] == "has ended"] == ["permit", "fail"]
    listed = run(
        [our_program("myproxy-admin-query"), "-s", store, "-l", "a-b"], env=clean_environment(tmp_path)
    ).check()
    assert "description: something else" in listed.stdout
    assert snapshot(c_store).keys() == snapshot(copy).keys() - {"broken.creds", "broken.data"}


def test_changing_the_key_of_the_server(site: Site, grid: Grid, tmp_path: Path) -> None:
    """Named behind, named before, rewrapped, left out: logons go on; a server without the right key does not start."""
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    for path in (old, new):
        write_file(path, os.urandom(32), 0o600)
    client = Client(tmp_path / "client", grid, site.port)

    def configure(*keys: Path) -> None:
        site.configure(MYPROXY_CONFIG + (f"server_key {' '.join(map(str, keys))}\n" if keys else ""))

    def rewrap() -> Done:
        argv: list[str | Path] = [our_program("myproxy-admin-fsck"), "-s", site.store, "-c", site.config_path, "-w"]
        return run(argv, env=site.environment).check()

    configure()
    with site.start():
        client.logon("alice", None).check()
    configure(old)
    assert f"{len(NAMES) + 7} keys rewrapped, 0 left." in rewrap().stdout
    configure(old, new)
    with site.start() as daemon:
        client.logon("alice", None).check()
        client.put("bob", None)
        configure(new, old)
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(daemon, "configuration read again")
        client.put("carol", None)
        client.logon("bob", None).check()
    assert f"{len(NAMES) + 7} keys rewrapped, 0 left." in rewrap().stdout, "those of carol and bob are there already"
    configure(old)
    refused = run([our_program("myproxy-server"), *site.arguments("-foreground")], env=site.environment)
    assert refused.returncode == 1
    assert "lie under server keys that are not configured" in refused.stderr
    configure(new)
    with site.start():
        for username in ("alice", "bob", "carol"):
            client.logon(username, None).check()
        for username, name in NAMES[1:3]:
            client.logon(username, name).check()


def test_a_database_that_is_removed_under_the_server_is_noticed(tmp_path: Path, grid: Grid) -> None:
    """Nothing is acknowledged any more, monitors hear of it, and no restart begins anew from the C server's files."""
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    site, monitor = Site(directory, grid), free_port()
    site.configure(OPEN + f"monitor_listen 127.0.0.1:{monitor}\n")
    alice = SitePerson(site, "alice", grid.users["rsa2048", "rsa2048"])
    with site.start() as daemon:
        alice.put("-k", "kept").check()
        assert json.loads(fetch(monitor, "/health"))["status"] == "ok"
        database = site.store / "myproxy.db"
        for path in site.store.glob("myproxy.db*"):
            path.rename(path.with_name(f"away.{path.name}"))
        assert alice.put("-k", "lost").returncode
        assert alice.logon("-k", "kept").returncode
        assert "removed or replaced while it is in use" in daemon.log()
        os.kill(daemon.pid, signal.SIGHUP)
        assert alice.put("-k", "lost").returncode
        deadline = time.monotonic() + 20
        while health(monitor).get("store") in {None, "ok"}:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert "removed or replaced" in health(monitor)["store"]
        assert not database.exists()
    failed = run([our_program("myproxy-server"), *site.arguments("-foreground")], env=site.environment)
    assert failed.returncode == 1
    assert "myproxy.db is gone, but there was one" in failed.stderr
    for path in site.store.glob("away.*"):
        path.rename(path.with_name(path.name.removeprefix("away.")))
    with site.start():
        alice.logon("-k", "kept").check()
        assert alice.logon("-k", "lost").returncode


def health(port: int) -> dict[str, str]:
    """What the health page says of each part."""
    try:
        document = json.loads(fetch(port, "/health"))
    except urllib.error.HTTPError as error:
        with error:
            document = json.loads(error.read())
    checks: dict[str, str] = document["checks"]
    return checks
