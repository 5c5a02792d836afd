"""`cas-enroll-users` with a real server: killed on its way and called again, faults with their lines, small servers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.policy.changes import AddMember, Enrol
from cas.policy.model import Kind, Ref, User, UserGroup
from tests.harness.cas_server import ADMIN, CASServer, cas_server
from tests.harness.run import Done, our_program

pytestmark = pytest.mark.interop

ALICE = "/O=Grid/CN=Alice"
GROUP = "superUserGroup"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CASServer]:
    # Bodies so small that a request holds some 200 lines, and the client has to find that out.
    with cas_server(tmp_path_factory.mktemp("cas"), http="max_request_bytes = 16384") as found:
        found.change(
            Enrol(UserGroup("readers"), GROUP),
            Enrol(User("alice", ALICE, "ca"), GROUP),
            AddMember(Ref(Kind.USER_GROUP, "readers"), Ref(Kind.USER, "alice")),
        )
        yield found


def enroll(server: CASServer, path: Path, *options: str, subject: str = ADMIN) -> Done:
    return server.ours("cas-enroll-users", *options, GROUP, path, subject=subject)


def lines(prefix: str, count: int) -> str:
    return "".join(f"{prefix}{n}\t/O=Grid/OU={prefix}/CN=Many {n}\tca\treaders\n" for n in range(count))


def members(server: CASServer) -> int:
    found, after = 0, None
    while True:
        body: dict[str, object] = {"group": ["userGroup", "readers"]} | ({} if after is None else {"after": after})
        page = server.client().call("POST", "/cas/v1/members", body)
        listed = page["members"]
        assert isinstance(listed, list)
        found += len(listed)
        if not page["more"]:
            return found
        after = listed[-1]


def test_it_goes_on_where_it_was_killed(server: CASServer, tmp_path: Path) -> None:
    before, count = members(server), 3000
    path = tmp_path / "users"
    path.write_text(lines("killed", count))
    argv = [str(our_program("cas-enroll-users")), GROUP, str(path)]
    with subprocess.Popen(argv, env=server.variables(ADMIN), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()  # a tenth is done
        process.kill()
    assert re.fullmatch(rf"cas-enroll-users: \d+ of {count} lines\n", said), said
    half = members(server) - before
    assert 300 <= half < count
    done = enroll(server, path).check()
    already = re.search(r"(\d+) lines are done already", done.stderr)
    assert already is not None
    assert int(already[1]) >= half  # what was on its way may still have arrived
    assert done.stdout == f"{count - int(already[1])} users enrolled; {count} lines are done\n"
    assert members(server) - before == count
    assert enroll(server, path, "-q").check().stdout == f"0 users enrolled; {count} lines are done\n"


def test_faults_are_shown_with_their_lines(server: CASServer, tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(
        lines("bad", 2).encode() + b"half a line\n\nx\xff\t/O=Grid/CN=X\tca\n" + lines("worse", 1).encode()
    )
    done = enroll(server, path)
    assert done.returncode == 1
    assert f"{path}:3: not NICKNAME, SUBJECT and TRUSTANCHOR" in done.stderr
    assert f"{path}:5: not UTF-8" in done.stderr
    assert "2 of 6 lines cannot be read; nobody was enrolled" in done.stderr
    path.write_text(lines("bad", 2) + f"alice\t/O=Grid/CN=Eve\tca\nother\t{ALICE}\tca\n")
    assert enroll(server, path, "-check").check().stdout == "4 users in 4 lines\n"
    done = enroll(server, path)
    assert done.returncode == 1
    assert f"{path}:3: user alice is enrolled already, with another subject" in done.stderr
    assert f"{path}:4: the subject is enrolled as alice" in done.stderr
    assert "the lines to 0 are done" in done.stderr
    path.write_text(lines("bad", 2) + f"alice\t{ALICE}\tca\treaders\n")
    assert enroll(server, path).check().stdout == "2 users enrolled; 3 lines are done\n"


def test_it_needs_the_right(server: CASServer, tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(lines("denied", 1))
    done = enroll(server, path, subject=ALICE)
    assert done.returncode == 1
    assert "alice lacks cas/enroll_user on the server" in done.stderr
