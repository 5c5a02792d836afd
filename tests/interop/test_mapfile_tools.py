"""The grid-mapfile tools beside the C ones: what each writes the other, the C library and ours read alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi.authz.gridmap import parse_gridmap
from tests.harness.environment import UserEnvironment
from tests.harness.gss_assist import GssAssist

A, B = "/O=Grid/CN=A", "/O=Grid/CN=B C"
START = f'# a remark of two words\n"{A}" daemon\n\n"{B}" bin,daemon\n'
ADD, DELETE, CHECK = "grid-mapfile-add-entry", "grid-mapfile-delete-entry", "grid-mapfile-check-consistency"


@pytest.fixture
def mapfile(tmp_path: Path) -> Path:
    path = tmp_path / "maps" / "grid-mapfile"
    path.parent.mkdir()
    path.write_text(START)
    return path


def accounts_in_c(mapfile: Path, dn: str) -> set[str]:
    with GssAssist(gridmap=mapfile) as c:
        return {name for name in ("daemon", "bin", "sys", "root") if c.userok(dn.encode(), name.encode())}


def accounts_in_ours(mapfile: Path, dn: str) -> set[str]:
    return set(parse_gridmap(mapfile.read_bytes()).accounts(dn))


@pytest.mark.parametrize(
    ("arguments", "dn", "expected"),
    [
        ((ADD, "-dn", A, "-ln", "bin"), A, {"daemon", "bin"}),
        ((ADD, "-dn", A, "-ln", "bin", "sys"), A, {"daemon", "bin", "sys"}),
        ((ADD, "-dn", A, "-ln", "daemon"), A, {"daemon"}),
        ((ADD, "-dn", "/O=Grid/CN=New", "-ln", "sys", "bin"), "/O=Grid/CN=New", {"sys", "bin"}),
        ((ADD, "-dn", "/O=Grid/CN=New", "-ln", "bin", "-d"), "/O=Grid/CN=New", set()),
        ((ADD, "-dn", "/O=Grid/CN=New", "-ln", "nosuchuser"), "/O=Grid/CN=New", set()),
        ((ADD, "-dn", "/O=Grid/CN=New"), "/O=Grid/CN=New", set()),
        ((DELETE, "-dn", B, "-ln", "bin"), B, {"daemon"}),
        ((DELETE, "-dn", B, "-ln", "bin", "daemon"), B, set()),
        ((DELETE, "-dn", B, "-ln", "bin", "-dryrun"), B, {"bin", "daemon"}),
        ((DELETE, "-dn", B, "-ln", "sys"), B, {"bin", "daemon"}),
        ((DELETE, "-dn", "/O=Grid/CN=None", "-ln", "bin"), "/O=Grid/CN=None", set()),
    ],
    ids=range(12),
)
def test_the_same_change(
    user: UserEnvironment, mapfile: Path, arguments: tuple[str, ...], dn: str, expected: set[str]
) -> None:
    name, *rest = arguments
    theirs = user.theirs(name, *rest, "-f", mapfile)
    assert accounts_in_c(mapfile, dn) == accounts_in_ours(mapfile, dn) == expected
    backup = mapfile.with_name("grid-mapfile.old")
    backup.unlink(missing_ok=True)
    mapfile.write_text(START)
    ours = user.ours(name, *rest, "-f", mapfile)
    assert ours.returncode == theirs.returncode
    assert accounts_in_c(mapfile, dn) == accounts_in_ours(mapfile, dn) == expected
    if mapfile.read_text() != START:
        assert backup.read_text() == START
    assert mapfile.read_text().startswith("# a remark of two words\n")
    for other in {A, B} - {dn}:
        assert accounts_in_c(mapfile, other) == accounts_in_ours(mapfile, other) != set()


def test_default_of_an_entry_made_by_either(user: UserEnvironment, mapfile: Path) -> None:
    dn = "/O=Grid/CN=New"
    for tool in (user.theirs, user.ours):
        mapfile.write_text(START)
        tool(ADD, "-dn", dn, "-ln", "sys", "bin", "-mapfile", mapfile).check()
        with GssAssist(gridmap=mapfile) as c:
            assert c.gridmap(dn.encode()) == b"sys"
        assert parse_gridmap(mapfile.read_bytes()).find_account(dn) == "sys"


@pytest.mark.parametrize("dn", ['/CN=a"b', "/CN=a\\b", "/CN=host\\/www", "/CN=Ren\\xC3\\xA9", "/CN=a, b", "/CN=a\tb"])
def test_names_that_need_quoting(user: UserEnvironment, mapfile: Path, dn: str) -> None:
    """As GSI shows the name, so the user gives it; the C script writes some so that services read another name."""
    done = user.ours(ADD, "-dn", dn, "-ln", "bin", "-f", mapfile)
    if "\t" in dn:
        assert done.returncode == 1
        return
    done.check()
    assert accounts_in_c(mapfile, dn) == accounts_in_ours(mapfile, dn) == {"bin"}


def test_letters_beyond_ascii(user: UserEnvironment, mapfile: Path) -> None:
    """The C script writes the bytes, ours what services compare with; both find, and take out, what either wrote."""
    dn, shown = "/O=Grid/CN=Jürgen", "/O=Grid/CN=J\\xC3\\xBCrgen"
    for tool in (user.theirs, user.ours):
        mapfile.write_text(START)
        tool(ADD, "-dn", dn, "-ln", "bin", "-mapfile", mapfile).check()
        assert accounts_in_c(mapfile, shown) == accounts_in_ours(mapfile, shown) == {"bin"}
        user.ours(ADD, "-dn", shown, "-ln", "sys", "-mapfile", mapfile).check()
        user.ours(DELETE, "-dn", dn, "-ln", "bin", "-mapfile", mapfile).check()
        assert accounts_in_c(mapfile, shown) == accounts_in_ours(mapfile, shown) == {"sys"}
        user.ours(DELETE, "-dn", dn, "-mapfile", mapfile).check()
        assert mapfile.read_text() == START


@pytest.mark.parametrize(
    "words", ["-h", "-H", "--Help", "-DN=/O=Grid/CN=A -LN daemon -D", "-Dn /O=Grid/CN=A -ln DAEMON"]
)
def test_options_in_any_case(user: UserEnvironment, mapfile: Path, words: str) -> None:
    for name in (ADD, DELETE, CHECK)[: 3 if words.lower().endswith(("-h", "-help")) else 2]:
        theirs = user.theirs(name, "-MapFile", mapfile, *words.split())
        mapfile.write_text(START)
        ours = user.ours(name, "-MapFile", mapfile, *words.split())
        assert ours.returncode == theirs.returncode, f"{ours}\n{theirs}"
        assert mapfile.read_text() == START


def test_c_script_on_a_name_with_a_backslash(user: UserEnvironment, mapfile: Path) -> None:
    user.theirs(ADD, "-dn", "/CN=a\\b", "-ln", "bin", "-f", mapfile).check()
    assert accounts_in_c(mapfile, "/CN=a\\b") == set()
    assert accounts_in_c(mapfile, "/CN=ab") == {"bin"}  # somebody else
    assert accounts_in_ours(mapfile, "/CN=ab") == set()


def test_c_script_and_letter_case(user: UserEnvironment, mapfile: Path) -> None:
    """The script leaves a line in force that services take for the same name."""
    user.theirs(DELETE, "-dn", A.lower(), "-ln", "daemon", "-f", mapfile)
    assert accounts_in_c(mapfile, A) == {"daemon"}
    user.ours(DELETE, "-dn", A.lower(), "-ln", "daemon", "-f", mapfile).check()
    assert accounts_in_c(mapfile, A) == set()


def test_c_script_loses_comments_when_deleting(user: UserEnvironment, mapfile: Path) -> None:
    mapfile.write_text(START + "#carol root\n")
    user.theirs(DELETE, "-dn", B, "-ln", "bin", "-f", mapfile).check()
    assert "# a remark" not in mapfile.read_text()
    assert '"#carol" root' in mapfile.read_text()


@pytest.mark.parametrize(
    ("content", "theirs", "ours"),
    [
        (START, 0, 0),
        ("", 2, 2),
        (None, 1, 1),
        (START + '"/CN=x" nosuchuser\n', 4, 4),
        (START + f'"{A}" sys\n', 0, 5),
        (START + f'"{A}" sys\n"/CN=x" nosuchuser\n', 4, 4),  # of two the one that C tells
        (START + '"/CN=x sys\n', 0, 5),
        (START + f'"{A.lower()}" sys\n', 0, 5),
    ],
    ids=["good", "empty", "missing", "unknown-user", "duplicate", "both", "quote", "letter-case"],
)
def test_checking(user: UserEnvironment, mapfile: Path, content: str | None, theirs: int, ours: int) -> None:
    mapfile.unlink()
    if content is not None:
        mapfile.write_text(content)
    assert user.theirs(CHECK, "-f", mapfile).returncode == theirs
    done = user.ours(CHECK, "-f", mapfile)
    assert done.returncode == ours, done


def test_gridmap_variable(user: UserEnvironment, mapfile: Path) -> None:
    user.variables["GRIDMAP"] = str(mapfile)
    for tool in (user.theirs, user.ours):
        mapfile.write_text(START)
        assert tool(CHECK).returncode == 0
        tool(ADD, "-dn", A, "-ln", "sys").check()
        assert accounts_in_c(mapfile, A) == {"daemon", "sys"}
        tool(DELETE, "-dn", A, "-ln", "sys").check()
        assert accounts_in_c(mapfile, A) == {"daemon"}
