"""A real `globus-gridftp-server` that asks our daemon through our callout library.

Every hole that the server leaves is shown twice: open, with its remedy switched off in the daemon's configuration, and
closed. The two servers of this module differ in nothing else.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from gsi.authz.callout.messages import (
    Answer,
    MapRequest,
    OperationRequest,
    ServiceRequest,
    SessionRequest,
    Verdict,
    encode_answer,
)
from gsi.context.ftp import FTPRefusedError
from gsi.context.gridftp import GridFTPClient
from gsi.system import clock
from gsi.system.credential_files import load_proxy
from gsi.system.trustdir import TrustDirectory
from gsi.transport.stream import parse_hosts
from tests.harness.callout import (
    AuthzServer,
    CalloutSite,
    Driver,
    FakeDaemon,
    authz_server,
    callout_site,
    configured_gridftp_server,
    permit,
    service_account,
)
from tests.harness.daemons import GridFTPServer, gridftp_server
from tests.interop.conftest import ALICE, Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gsi.authz.callout.messages import Request
    from tests.harness.ca import Issued
    from tests.harness.environment import UserEnvironment
    from tests.harness.run import Done

BOB: Final = "/O=Grid/OU=Test/CN=Bob"
CAROL: Final = "/O=Grid/OU=Test/CN=Carol"
HOLES_OPEN: Final = 'renames = "disabled"\nreal_paths = false\nrecursive_deletes = true'
TREE: Final = f"{tempfile.gettempdir()}/gsi-daemon-*/files"


def _rules() -> str:
    """Alice does what she likes in `mine`, reads `readonly`, and only sees that there is something in `secret`."""
    account = service_account()
    ancestors = "".join(
        f'permit dn "{ALICE}" to lookup on {place}\n'
        for place in (tempfile.gettempdir(), f"{tempfile.gettempdir()}/gsi-daemon-*", TREE)
    )
    return f"""
permit dn "{ALICE}" to login as {account}
permit dn "{BOB}" to login as {account}
permit dn "{ALICE}" to lookup, read, write, create, delete on {TREE}/mine/**
permit dn "{ALICE}" to lookup, read on {TREE}/readonly/**
permit dn "{ALICE}" to lookup on {TREE}/secret/**
{ancestors}
"""


class Site(NamedTuple):
    """A GridFTP server with what decides for it."""

    callout: CalloutSite
    daemon: AuthzServer
    server: GridFTPServer


@pytest.fixture(scope="module")
def strict(grid: Grid) -> Iterator[Site]:
    """As it is meant to be."""
    with (
        callout_site(timeout_ms=10000) as site,
        authz_server(site.socket, grid.trust_dir, _rules(), workers=2) as daemon,
        gridftp_server(grid.host, grid.trust_dir, [], extra=site.variables) as server,
    ):
        yield Site(site, daemon, server)


@pytest.fixture(scope="module")
def lax(grid: Grid) -> Iterator[Site]:
    """With the remedies switched off."""
    with (
        callout_site(timeout_ms=10000) as site,
        authz_server(site.socket, grid.trust_dir, _rules(), files=HOLES_OPEN) as daemon,
        gridftp_server(grid.host, grid.trust_dir, [], extra=site.variables) as server,
    ):
        yield Site(site, daemon, server)


@pytest.fixture(scope="module")
def people(grid: Grid) -> dict[str, Issued]:
    """Proxies of everybody."""
    ca = grid.cas["rsa2048"]
    return {name: ca.issue(name).proxy() for name in (ALICE, BOB, CAROL)}


@pytest.fixture
def alice(user: UserEnvironment, people: dict[str, Issued]) -> UserEnvironment:
    user.install_proxy(people[ALICE])
    return user


class Place:
    """Files of one test on a server, and sessions there."""

    def __init__(self, grid: Grid, server: GridFTPServer, user: UserEnvironment) -> None:
        self.server = server
        self._grid = grid
        self._user = user
        for directory in ("mine", "readonly", "secret"):
            path = server.files / directory
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            self._own(path)
        self.mine, self.readonly, self.secret = (server.files / each for each in ("mine", "readonly", "secret"))

    def _own(self, path: Path) -> None:
        entry = pwd.getpwnam(self.server.account)
        if os.geteuid() == 0:
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)

    def write(self, path: Path, content: bytes = b"content") -> Path:
        path.write_bytes(content)
        self._own(path)
        return path

    def make_directory(self, path: Path) -> Path:
        path.mkdir()
        self._own(path)
        return path

    def link(self, path: Path, target: Path) -> Path:
        path.symlink_to(target)
        self._own(path)
        return path

    def session(self) -> GridFTPClient:
        """A control connection as the user's proxy."""
        client = GridFTPClient.connect(
            parse_hosts(f"localhost:{self.server.port}", default_port=2811),
            load_proxy(str(self._user.proxy_path)),
            TrustDirectory(str(self._grid.trust_dir)).anchors(),
            now=clock.now,
            timeout=20,
        )
        try:
            client.login()
        except BaseException:
            client.close()
            raise
        return client


@pytest.fixture
def place(grid: Grid, strict: Site, alice: UserEnvironment) -> Place:
    return Place(grid, strict.server, alice)


@pytest.fixture
def open_place(grid: Grid, lax: Site, alice: UserEnvironment) -> Place:
    return Place(grid, lax.server, alice)


def _refused(client: GridFTPClient, line: str) -> str:
    with pytest.raises(FTPRefusedError) as refusal:
        client.command(line)
    return "\n".join(refusal.value.reply.lines)


def _copy(user: UserEnvironment, server: GridFTPServer, target: Path, *, account: str = "") -> Done:
    source = user.home / "source"
    source.write_bytes(b"uploaded")
    url = server.url(target)
    if account:
        url = url.replace("gsiftp://", f"gsiftp://{account}@")
    return user.theirs("globus-url-copy", f"file://{source}", url)


# --- mapping and service ----------------------------------------------------------------------------------------------


def test_whole_transfer(place: Place, alice: UserEnvironment) -> None:
    """Both ways by the C client, with directories made on the way: it asks to create every ancestor, `/tmp` too."""
    source = alice.home / "source"
    source.write_bytes(b"there and back")
    url = place.server.url(place.mine / "one" / "two" / "file")
    alice.theirs("globus-url-copy", "-cd", f"file://{source}", url).check()
    assert (place.mine / "one" / "two" / "file").read_bytes() == b"there and back"
    alice.theirs("globus-url-copy", url, f"file://{alice.home}/back").check()
    assert (alice.home / "back").read_bytes() == b"there and back"


def test_stranger_is_not_mapped(user: UserEnvironment, strict: Site, people: dict[str, Issued], place: Place) -> None:
    user.install_proxy(people[CAROL])
    done = _copy(user, strict.server, place.mine / "x")
    assert done.returncode != 0
    assert "you are not authorized to use this service (decision " in done.stderr
    ident = done.stderr.partition("(decision ")[2].partition(")")[0]
    assert ident in strict.daemon.audit
    assert not (place.mine / "x").exists()


def test_mapped_but_without_rights(
    user: UserEnvironment, strict: Site, people: dict[str, Issued], place: Place
) -> None:
    user.install_proxy(people[BOB])
    done = _copy(user, strict.server, place.mine / "x")
    assert f"no permission to create {place.mine}/x (decision " in done.stderr
    assert not (place.mine / "x").exists()


def test_desired_account(place: Place, alice: UserEnvironment, strict: Site) -> None:
    _copy(alice, strict.server, place.mine / "x", account=service_account()).check()
    for account in ("games", "root", "nosuchaccount"):
        done = _copy(alice, strict.server, place.mine / "y", account=account)
        assert done.returncode != 0, account
        assert "530" in done.stderr
    assert not (place.mine / "y").exists()


def test_revoked_is_refused_by_our_validation(grid: Grid, user: UserEnvironment, tmp_path: Path) -> None:
    """The server's CRL is old; the daemon's trust directory knows better."""
    from tests.harness.ca import write_trust_dir

    ca = grid.cas["rsa2048"]
    alice = ca.issue(ALICE)
    trust_dir = write_trust_dir(tmp_path / "revoking", ca, crl=ca.crl([alice]))
    user.install_proxy(alice.proxy())
    with (
        callout_site() as site,
        authz_server(site.socket, trust_dir, _rules()),
        gridftp_server(grid.host, grid.trust_dir, [], extra=site.variables) as server,
    ):
        done = _copy(user, server, server.files / "x")
        assert "the certificate chain is refused: revoked" in done.stderr


# --- every operation --------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One command, and the rights it needs: the first place permits it, the second does not."""

    command: str
    lacking: str
    action: str


ROWS: Final = (
    Row("MLST {mine}/file", "MLST {other}/file", "lookup"),
    Row("SIZE {mine}/file", "SIZE {other}/file", "lookup"),
    Row("MDTM {mine}/file", "MDTM {other}/file", "lookup"),
    Row("STAT {mine}/file", "STAT {other}/file", "lookup"),
    Row("CWD {mine}", "CWD {other}", "lookup"),
    Row("CKSM MD5 0 -1 {mine}/file", "CKSM MD5 0 -1 {secret}/file", "read"),
    Row("MKD {mine}/new", "MKD {readonly}/new", "create"),
    Row("RMD {mine}/empty", "RMD {readonly}/empty", "delete"),
    Row("DELE {mine}/file", "DELE {readonly}/file", "delete"),
    Row("SITE RDEL {mine}/empty", "SITE RDEL {readonly}/empty", "delete"),
    Row("SITE CHMOD 600 {mine}/file", "SITE CHMOD 600 {readonly}/file", "write"),
    Row("SITE UTIME 20200101000000 {mine}/file", "SITE UTIME 20200101000000 {readonly}/file", "write"),
    Row("MFMT 20200101000000 {mine}/file", "MFMT 20200101000000 {readonly}/file", "write"),
    Row("SITE TRNC 1 {mine}/file", "SITE TRNC 1 {readonly}/file", "write"),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.command.partition(" {")[0])
def test_operation(place: Place, row: Row) -> None:
    other = place.server.files / "other"
    for directory in (place.mine, place.readonly, place.secret, other):
        directory.mkdir(exist_ok=True)
        place.write(directory / "file")
        if not (directory / "empty").exists():
            place.make_directory(directory / "empty")
    names = {"mine": place.mine, "readonly": place.readonly, "secret": place.secret, "other": other}
    with place.session() as client:
        client.command(row.command.format(**names))
        told = _refused(client, row.lacking.format(**names))
    assert f"no permission to {row.action} " in told
    assert "decision " in told


def test_transfers(place: Place) -> None:
    place.write(place.readonly / "file", b"to read")
    place.write(place.secret / "file", b"not to read")
    with place.session() as client:
        assert client.retrieve(str(place.readonly / "file")) == b"to read"
    with place.session() as client, pytest.raises(FTPRefusedError, match="no permission to read"):
        client.retrieve(str(place.secret / "file"))
    with place.session() as client:
        client.store(str(place.mine / "new"), b"first")
        client.store(str(place.mine / "new"), b"second")
    assert (place.mine / "new").read_bytes() == b"second"
    with place.session() as client, pytest.raises(FTPRefusedError, match="no permission to create"):
        client.store(str(place.readonly / "new"), b"x")
    with place.session() as client, pytest.raises(FTPRefusedError, match="no permission to write"):
        client.store(str(place.readonly / "file"), b"x")
    assert (place.readonly / "file").read_bytes() == b"to read"
    with place.session() as client:
        assert "new" in client.list_names(str(place.mine))
    with place.session() as client, pytest.raises(FTPRefusedError, match="no permission to lookup"):
        client.list_names("/etc")


def test_assertions_are_asked(place: Place) -> None:
    """No rule speaks of assertions here, so that none is accepted; a long one comes through whole."""
    with place.session() as client:
        assert "the assertion is not accepted" in _refused(client, "SITE AUTHZ_ASSERT " + "x" * 50_000)


# --- the holes that the server leaves ---------------------------------------------------------------------------------


def _rename_escape(place: Place, between: str) -> Callable[[], object]:
    """Look at a secret, do something else, and move it to where it can be read."""
    place.write(place.secret / "file", b"secret")
    place.write(place.mine / "there", b"mine")

    def attack() -> None:
        with place.session() as client:
            client.command(f"RNFR {place.secret}/file")
            if between:
                client.command(between.format(mine=place.mine))
            client.command(f"RNTO {place.mine}/there")

    return attack


@pytest.mark.parametrize("between", ["", "MLST {mine}", "CKSM MD5 0 -1 {mine}/there"])
def test_rename_escape(place: Place, open_place: Place, between: str) -> None:
    """RNFR is asked as a lookup and stays in force whatever comes next; RNTO is asked as a write like any other."""
    _rename_escape(open_place, between)()
    assert (open_place.mine / "there").read_bytes() == b"secret"
    attack = _rename_escape(place, between)
    with pytest.raises(FTPRefusedError, match=r"could be a rename of .*/secret/file"):
        attack()
    assert (place.mine / "there").read_bytes() == b"mine"
    assert (place.secret / "file").exists()


def test_rename_escape_to_a_new_name(place: Place, open_place: Place) -> None:
    for each in (place, open_place):
        each.write(each.readonly / "file")
    with open_place.session() as client:
        client.command(f"RNFR {open_place.readonly}/file")
        client.command(f"RNTO {open_place.mine}/taken")
    assert (open_place.mine / "taken").exists()  # deleted from where nothing may be deleted
    with place.session() as client:
        client.command(f"RNFR {place.readonly}/file")
        assert "could be a rename" in _refused(client, f"RNTO {place.mine}/taken")
    assert (place.readonly / "file").exists()


def test_rename_of_directories(place: Place) -> None:
    place.make_directory(place.mine / "tree")
    with place.session() as client:
        client.command(f"RNFR {place.mine}/tree")
        assert "rename of a directory" in _refused(client, f"RNTO {place.mine}/moved")


def test_honest_renames(place: Place) -> None:
    """What one may rename, one may, again and again, and looking at directories on the way does not hinder it."""
    for name in ("a", "b"):
        place.write(place.mine / name, name.encode())
    with place.session() as client:
        client.command(f"MLST {place.mine}")
        client.command(f"RNFR {place.mine}/a")
        client.command(f"RNTO {place.mine}/c")
        client.command(f"RNFR {place.mine}/c")
        client.command(f"RNTO {place.mine}/b")
    assert [path.name for path in place.mine.iterdir()] == ["b"]
    assert (place.mine / "b").read_bytes() == b"a"


def test_reading_here_and_writing_there_in_one_session(place: Place) -> None:
    """Looking at directories that one may not rename does not hinder overwriting: they cannot replace a file."""
    place.write(place.mine / "file")
    with place.session() as client:
        client.command(f"MLST {place.readonly}")
        client.store(str(place.mine / "file"), b"over")
    assert (place.mine / "file").read_bytes() == b"over"


def test_symlink_escape(place: Place, open_place: Place) -> None:
    """A link is judged by its name and by where it leads, whoever made it and however."""
    for each in (place, open_place):
        each.write(each.secret / "file", b"secret")
        with each.session() as client:
            client.command(f"SITE SYMLINKFROM {each.secret}/file")
            client.command(f"SITE SYMLINKTO {each.mine}/link")
            client.command(f"SITE SYMLINKFROM {each.secret}")
            client.command(f"SITE SYMLINKTO {each.mine}/directory")
    for path in ("link", "directory/file"):
        with open_place.session() as client:
            assert client.retrieve(str(open_place.mine / path)) == b"secret"
        with place.session() as client, pytest.raises(FTPRefusedError, match="no permission to read"):
            client.retrieve(str(place.mine / path))
    with place.session() as client:  # the link itself is hers
        client.command(f"DELE {place.mine}/link")
    assert (place.secret / "file").exists()
    with place.session() as client:
        assert "no permission to delete" in _refused(client, f"DELE {place.mine}/directory/file")


def test_dangling_link_escape(place: Place, open_place: Place) -> None:
    """Writing to a link that leads nowhere creates its target."""
    for each in (place, open_place):
        each.link(each.mine / "dangling", each.readonly / "planted")
    with open_place.session() as client:
        client.store(str(open_place.mine / "dangling"), b"planted")
    assert (open_place.readonly / "planted").read_bytes() == b"planted"
    with place.session() as client, pytest.raises(FTPRefusedError, match="no permission to create"):
        client.store(str(place.mine / "dangling"), b"planted")
    assert not (place.readonly / "planted").exists()


def test_recursive_delete(place: Place, open_place: Place) -> None:
    """SITE RDEL deletes a tree and asks once, as RMD of its top does."""
    for each in (place, open_place):
        each.write(each.make_directory(each.mine / "tree") / "file")
    with open_place.session() as client:
        client.command(f"SITE RDEL {open_place.mine}/tree")
    assert not (open_place.mine / "tree").exists()
    with place.session() as client:
        assert "not empty" in _refused(client, f"SITE RDEL {place.mine}/tree")
        client.command(f"DELE {place.mine}/tree/file")
        client.command(f"RMD {place.mine}/tree")
    assert not (place.mine / "tree").exists()


def test_site_chroot_hides_no_path(place: Place) -> None:
    """The server's own `SITE CHROOT` moves the client's view; the callout is still asked with the whole path."""
    place.write(place.secret / "file", b"secret")
    with place.session() as client:
        client.command(f"SITE CHROOT {place.secret}")
        assert "no permission to read" in _refused(client, "CKSM MD5 0 -1 /file")


def test_disabled_commands(grid: Grid, alice: UserEnvironment, place: Place) -> None:
    """The lines for the server's own configuration that the installer writes do what they say."""
    from gsi.authz.callout.build import DISABLED_COMMANDS, RENAME_COMMANDS, render_gridftp_conf

    with (
        callout_site() as site,
        FakeDaemon(site.socket),
        configured_gridftp_server(grid.host, grid.trust_dir, site, conf=render_gridftp_conf(renames=False)) as server,
        Place(grid, server, alice).session() as client,
        place.session() as other,
    ):
        for command in (*DISABLED_COMMANDS, *RENAME_COMMANDS):
            line = f"{command} x y" if command.startswith("SITE") else f"{command} /nowhere"
            told = _refused(client, line)
            assert "Invalid command" in told or "Command not supported" in told, (command, told)
            assert _refused(other, line) != told, command
        client.command("MLST /tmp")


# --- a daemon that is not there, or not in its right mind -------------------------------------------------------------


@pytest.fixture(scope="module")
def fake(grid: Grid) -> Iterator[tuple[CalloutSite, FakeDaemon, GridFTPServer]]:
    """A server whose daemon answers whatever a test says."""
    with (
        callout_site() as site,
        FakeDaemon(site.socket) as daemon,
        gridftp_server(grid.host, grid.trust_dir, [], extra=site.variables) as server,
    ):
        yield site, daemon, server


def _only(kind: type[Request], answer: bytes | None) -> Callable[[Request], bytes | None]:
    """Answer one kind of question so, and permit the others."""
    return lambda request: answer if isinstance(request, kind) else permit(request)


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def _field(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + len(value).to_bytes(4, "big") + value


PERMIT_FIELD: Final = _field(64, b"\1")
GARBAGE: Final[dict[str, bytes | None]] = {
    "nothing at all": None,
    "an empty frame": _frame(b""),
    "an empty answer": _frame(b"\1\x80"),
    "no verdict": _frame(b"\1\x80" + _field(65, b"nobody")),
    "text": b"HTTP/1.1 200 OK\r\n\r\n",
    "another version": _frame(b"\2\x80" + PERMIT_FIELD),
    "another kind": _frame(b"\1\x01" + PERMIT_FIELD),
    "an unknown verdict": _frame(b"\1\x80" + _field(64, b"\7")),
    "a verdict of no bytes": _frame(b"\1\x80" + _field(64, b"")),
    "two verdicts": _frame(b"\1\x80" + PERMIT_FIELD + PERMIT_FIELD),
    "an unknown field": _frame(b"\1\x80" + PERMIT_FIELD + _field(99, b"x")),
    "a field that ends early": _frame(b"\1\x80" + PERMIT_FIELD + b"\x41\0\0\0\x09nobody"),
    "half a field": _frame(b"\1\x80" + PERMIT_FIELD + b"\x41\0"),
    "an oversized frame": b"\x7f\xff\xff\xff" + b"\1\x80" + PERMIT_FIELD,
    "a truncated frame": _frame(b"\1\x80" + PERMIT_FIELD)[:-1],
    "a reason with a line feed": _frame(b"\1\x80" + _field(64, b"\2") + _field(66, b"a\r\n230 welcome")),
}
ACCOUNTS: Final = {
    "none": b"",
    "root": b"root",
    "uid 0": b"0",
    "unknown": b"nosuchaccount",
    "line feed": b"nobody\nroot",
    "NUL": b"nobody\0",
    "blank": b"nobody ",
    "slash": b"../nobody",
    "longer than the buffer": b"n" * 64,
    "longer than any": b"n" * 300,
}


@pytest.mark.parametrize("what", GARBAGE)
@pytest.mark.parametrize(
    "kind", [MapRequest, ServiceRequest, SessionRequest, OperationRequest], ids=lambda k: k.__name__
)
def test_garbage_refuses(
    fake: tuple[CalloutSite, FakeDaemon, GridFTPServer], alice: UserEnvironment, kind: type[Request], what: str
) -> None:
    if what in ("nothing at all", "a truncated frame") and kind is not OperationRequest:
        pytest.skip("waits for the time limit; one kind of question is enough")
    _, daemon, server = fake
    daemon.answer = _only(kind, GARBAGE[what])
    target = server.files / "garbage"
    done = _copy(alice, server, target)
    assert done.returncode != 0, done
    assert not target.exists()
    assert "authorization service" in done.stderr or "refused by the site's policy" in done.stderr
    assert "\n230 welcome" not in done.stderr


@pytest.mark.parametrize("what", ACCOUNTS)
def test_bad_accounts_are_refused(
    fake: tuple[CalloutSite, FakeDaemon, GridFTPServer], alice: UserEnvironment, what: str
) -> None:
    _, daemon, server = fake
    daemon.requests.clear()
    account = _field(65, ACCOUNTS[what]) if ACCOUNTS[what] else b""
    daemon.answer = _only(MapRequest, _frame(b"\1\x80" + PERMIT_FIELD + account))
    done = _copy(alice, server, server.files / "bad-account")
    assert done.returncode != 0, done
    assert "530" in done.stderr
    assert not daemon.of(OperationRequest)
    assert not (server.files / "bad-account").exists()


def test_another_account_than_desired_is_refused(
    fake: tuple[CalloutSite, FakeDaemon, GridFTPServer], alice: UserEnvironment
) -> None:
    _, daemon, server = fake
    daemon.answer = permit
    done = _copy(alice, server, server.files / "x", account="games")
    assert "the requested account is not one of yours" in done.stderr


@pytest.mark.parametrize(
    "kind", [MapRequest, ServiceRequest, SessionRequest, OperationRequest], ids=lambda k: k.__name__
)
@pytest.mark.parametrize("verdict", [Verdict.DENY, Verdict.FAILURE])
def test_refusals_reach_the_client(
    fake: tuple[CalloutSite, FakeDaemon, GridFTPServer], alice: UserEnvironment, kind: type[Request], verdict: Verdict
) -> None:
    _, daemon, server = fake
    daemon.answer = _only(kind, encode_answer(Answer(verdict, reason="the moon is full", decision_id="deadbeef")))
    done = _copy(alice, server, server.files / "refused")
    assert "the moon is full (decision deadbeef)" in done.stderr
    assert not (server.files / "refused").exists()


def test_session_survives_a_restart_of_the_daemon(
    fake: tuple[CalloutSite, FakeDaemon, GridFTPServer], alice: UserEnvironment, grid: Grid
) -> None:
    """The library opens the session anew, and says that what was looked up before is forgotten."""
    _, daemon, server = fake
    daemon.answer = permit
    place = Place(grid, server, alice)
    place.write(place.mine / "file")
    with place.session() as client:
        client.command(f"MLST {place.mine}/file")
        daemon.requests.clear()
        daemon.drop()
        client.command(f"MLST {place.mine}/file")
        client.command(f"MLST {place.mine}/file")
    opened = daemon.of(SessionRequest)
    assert [request.resumed for request in opened if isinstance(request, SessionRequest)] == [True]
    assert len(daemon.of(OperationRequest)) == 2


def test_forgotten_lookups_are_no_way_around(place: Place, strict: Site) -> None:
    """RNFR before the daemon's restart and RNTO after it: the write is refused, since it could be a rename."""
    place.write(place.secret / "file", b"secret")
    with place.session() as client:
        client.command(f"RNFR {place.secret}/file")
        with FakeDaemon(strict.callout.directory / "unused"):
            pass
        _restart_workers(strict)
        assert "please use a new connection" in _refused(client, f"RNTO {place.mine}/taken")
    assert (place.secret / "file").exists()


def _restart_workers(site: Site) -> None:
    """End the workers; their supervisor starts others."""
    import signal

    children = Path(f"/proc/{site.daemon.process.pid}/task/{site.daemon.process.pid}/children").read_text().split()
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)


def test_daemon_down(grid: Grid, alice: UserEnvironment) -> None:
    with callout_site() as site, gridftp_server(grid.host, grid.trust_dir, [], extra=site.variables) as server:
        done = _copy(alice, server, server.files / "x")
        assert "the authorization service is unreachable or too slow" in done.stderr
        with FakeDaemon(site.socket) as daemon:
            _copy(alice, server, server.files / "x").check()
            assert daemon.of(MapRequest)
        done = _copy(alice, server, server.files / "y")
        assert "unreachable" in done.stderr
        assert not (server.files / "y").exists()


def test_somebody_elses_daemon(grid: Grid, alice: UserEnvironment) -> None:
    """Whoever managed to put a socket there does not decide: the daemon must have its uid."""
    with callout_site() as site, FakeDaemon(site.socket) as daemon:
        text = site.conf.read_text().replace(
            f"GSI_AUTHZ_SERVER_UID={os.geteuid()}", f"GSI_AUTHZ_SERVER_UID={os.geteuid() + 1}"
        )
        site.conf.write_text(text)
        with gridftp_server(grid.host, grid.trust_dir, [], extra=site.variables) as server:
            done = _copy(alice, server, server.files / "x")
            assert "unreachable" in done.stderr
            assert not daemon.requests


@pytest.mark.parametrize(
    "missing", ["globus_mapping", "GLOBUS_GSI_AUTHZ_HANDLE_INIT", "GLOBUS_GSI_AUTHORIZE_ASYNC", "globus_authorization"]
)
def test_a_missing_line_opens_what_it_stands_for(grid: Grid, alice: UserEnvironment, missing: str) -> None:
    """Why `gsi-authz.conf` has to name every type: the server takes silence for consent. With all lines it refuses."""
    refuse = encode_answer(Answer(Verdict.DENY, reason="no"))
    kind: type[Request] = {
        "globus_mapping": MapRequest,
        "globus_authorization": ServiceRequest,
        "GLOBUS_GSI_AUTHZ_HANDLE_INIT": SessionRequest,
        "GLOBUS_GSI_AUTHORIZE_ASYNC": OperationRequest,
    }[missing]
    identities = [ALICE] if missing == "globus_mapping" else []
    with (
        callout_site() as site,
        FakeDaemon(site.socket, _only(kind, refuse)) as daemon,
        gridftp_server(grid.host, grid.trust_dir, identities, extra=site.variables) as server,
    ):
        done = _copy(alice, server, server.files / "x")
        assert "no" in done.stderr
        assert not (server.files / "x").exists()
        site.write_conf(without=missing)
        daemon.requests.clear()
        done = _copy(alice, server, server.files / "x")
        if missing == "GLOBUS_GSI_AUTHZ_HANDLE_INIT":  # the library refuses what comes without its session
            assert "this session was refused" in done.stderr
        else:
            assert (server.files / "x").exists(), f"{missing} need not be named any more: tell the documentation"


# --- as root, with users of their own ---------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the server changes to the mapped user")
def test_server_as_root(grid: Grid, alice: UserEnvironment) -> None:
    """Mappings are asked by root, everything else by the mapped user; nobody else may ask for a mapping."""
    with (
        callout_site(timeout_ms=10000) as site,
        authz_server(site.socket, grid.trust_dir, _rules(), service_users='["root"]') as daemon,
        configured_gridftp_server(grid.host, grid.trust_dir, site, as_root=True) as server,
    ):
        place = Place(grid, server, alice)
        with place.session() as client:
            client.store(str(place.mine / "file"), b"as nobody")
            assert "no permission to create" in _refused(client, f"MKD {place.readonly}/x")
        assert (place.mine / "file").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        with Driver(site, account="nobody") as driver:
            driver.show_chain(grid.cas["rsa2048"].issue(ALICE).proxy().chain_der)
            assert "may not ask for a mapping" in driver.call("map", "file", "-", 64)
            assert "may not ask for the use of a service" in driver.call("service", "file")
            assert driver.call("init", "file") == "ok"
        with Driver(site, account="games") as driver:  # an account that Alice does not map to
            driver.show_chain(grid.cas["rsa2048"].issue(ALICE).proxy().chain_der)
            assert "not authorized" in driver.call("init", "file")
        assert "may not ask" in daemon.log
