"""A real `globus-gridftp-server` that asks our daemon through our callout library.

Every hole that the server leaves is shown twice: open, with its remedy switched off in the daemon's configuration, and
closed. The two servers of this module differ in nothing else.
"""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from gsi.context.ftp import FTPRefusedError
from tests.harness.callout import (
    AuthzServer,
    CalloutSite,
    Driver,
    FakeDaemon,
    authz_server,
    callout_site,
    configured_gridftp_server,
    service_account,
)
from tests.harness.daemons import GridFTPServer, gridftp_server
from tests.interop.authz import Place, copy, refused
from tests.interop.conftest import ALICE, Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.ca import Issued
    from tests.harness.environment import UserEnvironment

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


@pytest.fixture
def place(grid: Grid, strict: Site, alice: UserEnvironment) -> Place:
    return Place(grid, strict.server, alice)


@pytest.fixture
def open_place(grid: Grid, lax: Site, alice: UserEnvironment) -> Place:
    return Place(grid, lax.server, alice)


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
    done = copy(user, strict.server, place.mine / "x")
    assert done.returncode != 0
    assert "you are not authorized to use this service (decision " in done.stderr
    ident = done.stderr.partition("(decision ")[2].partition(")")[0]
    assert ident in strict.daemon.audit
    assert not (place.mine / "x").exists()


def test_mapped_but_without_rights(
    user: UserEnvironment, strict: Site, people: dict[str, Issued], place: Place
) -> None:
    user.install_proxy(people[BOB])
    done = copy(user, strict.server, place.mine / "x")
    assert f"no permission to create {place.mine}/x (decision " in done.stderr
    assert not (place.mine / "x").exists()


def test_desired_account(place: Place, alice: UserEnvironment, strict: Site) -> None:
    copy(alice, strict.server, place.mine / "x", account=service_account()).check()
    for account in ("games", "root", "nosuchaccount"):
        done = copy(alice, strict.server, place.mine / "y", account=account)
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
        done = copy(user, server, server.files / "x")
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
        told = refused(client, row.lacking.format(**names))
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
    """Nobody whom this policy asks understands any, so that none is accepted."""
    with place.session() as client:
        told = refused(client, "SITE AUTHZ_ASSERT " + "x" * 50_000)
    assert "what was shown is nothing that is understood here" in told


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
        assert "could be a rename" in refused(client, f"RNTO {place.mine}/taken")
    assert (place.readonly / "file").exists()


def test_rename_of_directories(place: Place) -> None:
    place.make_directory(place.mine / "tree")
    with place.session() as client:
        client.command(f"RNFR {place.mine}/tree")
        assert "rename of a directory" in refused(client, f"RNTO {place.mine}/moved")


@pytest.mark.parametrize("mode", ["300", "100", "000"])
def test_rename_over_an_unreadable_directory(place: Place, open_place: Place, mode: str) -> None:
    """Nobody can tell whether a directory that cannot be read is empty, and rename() need not know."""
    for each in (place, open_place):
        each.write(each.make_directory(each.secret / "tree") / "file", b"secret")
    with open_place.session() as client:
        for line in ("MKD {0}/t", f"SITE CHMOD {mode} {{0}}/t", "RNFR {1}/tree", "RNTO {0}/t"):
            client.command(line.format(open_place.mine, open_place.secret))
    assert (open_place.mine / "t" / "file").read_bytes() == b"secret"
    with place.session() as client:
        for line in ("MKD {0}/t", f"SITE CHMOD {mode} {{0}}/t", "RNFR {1}/tree"):
            client.command(line.format(place.mine, place.secret))
        assert "rename of a directory" in refused(client, f"RNTO {place.mine}/t")
    with place.session() as client:  # it is hers, and a directory that cannot be read can still be deleted from
        client.command(f"SITE CHMOD 755 {place.mine}/t")
    assert (place.secret / "tree" / "file").exists()


SWAPS: Final = {
    "the parent": (
        "RNFR {mine}/d/f",
        "DELE {mine}/d/f",
        "RMD {mine}/d",
        "SITE SYMLINKFROM {secret}",
        "SITE SYMLINKTO {mine}/d",
    ),
    "an ancestor": (
        "RNFR {mine}/a/d/f",
        "DELE {mine}/a/d/f",
        "RMD {mine}/a/d",
        "RMD {mine}/a",
        "SITE SYMLINKFROM {files}/secret/a",
        "SITE SYMLINKTO {mine}/a",
    ),
    "a link on the way": (
        "RNFR {mine}/link/f",
        "DELE {mine}/link",
        "SITE SYMLINKFROM {secret}",
        "SITE SYMLINKTO {mine}/link",
    ),
    "a link to a link": (
        "RNFR {mine}/link/f",
        "DELE {mine}/link",
        "SITE SYMLINKFROM {secret}",
        "SITE SYMLINKTO {mine}/second",
        "SITE SYMLINKFROM {mine}/second",
        "SITE SYMLINKTO {mine}/link",
    ),
}


@pytest.mark.parametrize("sessions", [1, 2])
@pytest.mark.parametrize("cleared", [False, True], ids=["not asked before", "asked before"])
@pytest.mark.parametrize("what", SWAPS)
def test_rename_of_what_a_name_has_come_to_mean(
    place: Place, open_place: Place, what: str, sessions: int, *, cleared: bool
) -> None:
    """RNFR keeps a name, and RNTO renames what it means by then: it is followed again."""
    for each in (place, open_place):
        names = {"mine": each.mine, "secret": each.secret, "files": each.server.files}
        for directory in (
            each.mine / "d",
            each.mine / "a",
            each.mine / "a" / "d",
            each.secret / "a",
            each.secret / "a" / "d",
        ):
            each.make_directory(directory)
        for path in (each.mine / "d" / "f", each.mine / "a" / "d" / "f", each.mine / "there"):
            each.write(path, b"mine")
        each.link(each.mine / "link", each.mine / "d")
        stolen = "a/d/f" if what == "an ancestor" else "f"
        each.write(each.secret / stolen, b"secret")
        first, *others = (line.format(**names) for line in SWAPS[what])
        with each.session() as client, each.session() as other:
            client.command(first)
            if cleared:
                client.command(f"RNTO {each.mine}/kept")
                client.command(f"RNFR {each.mine}/kept")
                client.command(f"RNTO {first.removeprefix('RNFR ')}")
                client.command(first)
            for line in others:
                (client if sessions == 1 else other).command(line)
            if each is open_place:
                client.command(f"RNTO {each.mine}/there")
                assert (each.mine / "there").read_bytes() == b"secret"
            else:
                told = refused(client, f"RNTO {each.mine}/there")
                assert f"could be a rename of {each.secret}/{stolen}" in told
                assert (each.mine / "there").read_bytes() == b"mine"


def test_rename_of_a_directory_that_took_a_files_place(place: Place) -> None:
    """What was a file when it was looked up may be a directory by now, and those are not renamed."""
    place.write(place.mine / "x")
    with place.session() as client:
        for line in ("RNFR {0}/x", "DELE {0}/x", "MKD {0}/x", "MKD {0}/x/below"):
            client.command(line.format(place.mine))
        assert "rename of a directory" in refused(client, f"RNTO {place.mine}/new")


def test_names_that_lead_nowhere_any_more_do_not_hinder(place: Place) -> None:
    place.write(place.make_directory(place.mine / "d") / "f")
    place.write(place.mine / "file")
    with place.session() as client:
        for line in ("MLST {0}/d/f", "DELE {0}/d/f", "RMD {0}/d", "MKD {0}/d"):
            client.command(line.format(place.mine))
        client.store(str(place.mine / "file"), b"over")
    assert (place.mine / "file").read_bytes() == b"over"


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
        assert "no permission to delete" in refused(client, f"DELE {place.mine}/directory/file")


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
        assert "not empty" in refused(client, f"SITE RDEL {place.mine}/tree")
        client.command(f"DELE {place.mine}/tree/file")
        client.command(f"RMD {place.mine}/tree")
    assert not (place.mine / "tree").exists()


def test_site_chroot_hides_no_path(place: Place) -> None:
    """The server's own `SITE CHROOT` moves the client's view; the callout is still asked with the whole path."""
    place.write(place.secret / "file", b"secret")
    with place.session() as client:
        client.command(f"SITE CHROOT {place.secret}")
        assert "no permission to read" in refused(client, "CKSM MD5 0 -1 /file")


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
            told = refused(client, line)
            assert "Invalid command" in told or "Command not supported" in told, (command, told)
            assert refused(other, line) != told, command
        client.command("MLST /tmp")


def test_forgotten_lookups_are_no_way_around(place: Place, strict: Site) -> None:
    """RNFR before the daemon's restart and RNTO after it: the write is refused, since it could be a rename."""
    place.write(place.secret / "file", b"secret")
    with place.session() as client:
        client.command(f"RNFR {place.secret}/file")
        with FakeDaemon(strict.callout.directory / "unused"):
            pass
        _restart_workers(strict)
        assert "please use a new connection" in refused(client, f"RNTO {place.mine}/taken")
    assert (place.secret / "file").exists()


def _restart_workers(site: Site) -> None:
    """End the workers; their supervisor starts others."""
    import signal

    children = Path(f"/proc/{site.daemon.process.pid}/task/{site.daemon.process.pid}/children").read_text().split()
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)


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
            assert "no permission to create" in refused(client, f"MKD {place.readonly}/x")
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
