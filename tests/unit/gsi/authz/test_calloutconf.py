"""The lint of `gsi-authz.conf`: each way to leave a C service open, or to stop it, is found and has a fix."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gsi.authz.callout.build import CALLOUTS, ConfOptions, render_conf
from gsi.authz.calloutconf import (
    MISSING_TYPE,
    Family,
    Finding,
    Severity,
    find_callout_conf,
    library_candidates,
    lint_callouts,
    lint_text,
    try_load,
)

HOLE, BROKEN, NOTE = Severity.HOLE, Severity.BROKEN, Severity.NOTE
GOOD = render_conf(ConfOptions(library="/usr/lib/gsi-authz/libgsi_authz_callout.so", server_uid=990))


def lint(text: str | bytes, *families: Family) -> list[Finding]:
    data = text if isinstance(text, bytes) else text.encode()
    return lint_text(data, path="c", families=frozenset(families or Family))


def test_what_we_write_ourselves_is_good() -> None:
    assert lint(GOOD) == []


@pytest.mark.parametrize(
    ("text", "severity", "line", "says"),
    [
        ("", HOLE, None, "the file is empty"),
        ("# nothing\n", HOLE, None, "only comments"),
        (" \n\t\n", HOLE, None, "only comments"),
        (GOOD[:-1], BROKEN, GOOD.count("\n"), "does not end in a line feed"),
        (GOOD + "# the end", BROKEN, GOOD.count("\n") + 1, "does not end in a line feed"),
        (GOOD + "globus_mapping /x\n", BROKEN, GOOD.count("\n") + 1, "fewer than three"),
        (GOOD + "#" + "x" * 4095 + "\n", BROKEN, GOOD.count("\n") + 1, "4096 bytes"),
        ("t" * 128 + " /x f\n" + GOOD, HOLE, 1, "the type has more than 127"),
        (f"globus_mapping /{'x' * 255} f\n" + GOOD, HOLE, 1, "the library has more than 255"),
        (f"globus_mapping /x {'f' * 128}\n" + GOOD, HOLE, 1, "the symbol has more than 127"),
        ("globus_maping /x f\n" + GOOD, HOLE, 1, "no service asks for 'globus_maping'"),
        ("GLOBUS_MAPPING /x f\n" + GOOD, HOLE, 1, "no service asks"),
        ("| globus_mapping /x f\n" + GOOD, HOLE, 1, "no service asks for ''"),
        (GOOD.replace("\n", "\r\n"), BROKEN, 1, "carriage return"),
        ("globus_mapping /x\x01 f\n" + GOOD, BROKEN, 1, "control character"),
        ("globus_mapping /x f ENV:A=/run/a#b B=1\n", BROKEN, 1, "may crash"),
        ("globus_mapping /x f A=1\n", BROKEN, 1, "'A=1' behind the symbol is ignored"),
        ("globus_mapping /x f ENV:A=1 ENV:B=2\n", BROKEN, 1, "only the first"),
        ("globus_mapping /x f ENV:A=1\tB=2\n", BROKEN, 1, "a TAB does not end the value of A"),
        ("globus_mapping /x f ENV:A\n", BROKEN, 1, "'A' is no variable"),
        ("globus_mapping /x f ENV:A=1 B\n", BROKEN, 1, "'B' is no variable"),
        ('globus_mapping /x f ENV:A="1 2\n', BROKEN, 1, "not closed: the services refuse to start"),
        ("globus_mapping /x f\n|globus_mapping /y f\n", HOLE, 2, "never called"),
        ("|globus_mapping /x f\nglobus_mapping /y f\n", NOTE, 1, "the mandatory line 2 decides"),
        ("|globus_mapping /x f\n|globus_mapping /y f\n", HOLE, 1, "one that allows is enough"),
        ("|globus_mapping /x f\n", NOTE, 1, "no effect"),
        ("globus_mapping /x f\nglobus_mapping /x f\n", NOTE, 2, "twice"),
    ],
)
def test_what_is_found(text: str, severity: Severity, line: int | None, says: str) -> None:
    found = [finding for finding in lint(text) if says in finding.message]
    assert [(each.severity, each.line) for each in found[:1]] == [(severity, line)]
    assert found[0].fix
    assert found[0].place == ("c" if line is None else f"c:{line}")


@pytest.mark.parametrize(
    "text",
    [
        'globus_mapping /x f ENV:A=1 B="2 3" C= D=4\n',
        "globus_mapping\t/x\tf  # comment\n",
        "  globus_mapping /x f\n",
        "globus_mapping /x f\nglobus_mapping /y f\n",
    ],
)
def test_what_is_fine(text: str) -> None:
    assert [finding for finding in lint(text) if finding.line] == []


@pytest.mark.parametrize("kind", MISSING_TYPE)
def test_each_type_that_is_missing_is_a_hole(kind: str) -> None:
    text = "".join(line for line in GOOD.splitlines(keepends=True) if not line.startswith(f"{kind} "))
    (finding,) = lint(text)
    assert finding.severity is HOLE
    assert finding.line is None
    assert f"no {kind}" in finding.message


LIBRARY = "/usr/lib/gsi-authz/libgsi_authz_callout.so"
SETTINGS = "ENV:GSI_AUTHZ_SOCKET=/run/s GSI_AUTHZ_SERVER_UID=990"


@pytest.mark.parametrize(
    ("line", "severity", "says"),
    [
        # a function that always answers yes, in the place of one that decides
        (f"globus_authorization {LIBRARY} gsi_authz_system_init {SETTINGS}", HOLE, "not the function for globus_auth"),
        (f"GLOBUS_GSI_AUTHORIZE_ASYNC {LIBRARY} gsi_authz_handle_destroy {SETTINGS}", HOLE, "not the function"),
        (f"globus_mapping {LIBRARY} gsi_authz_service {SETTINGS}", HOLE, "not the function"),
        (f"globus_mapping {LIBRARY[:-3]} gsi_authz_service {SETTINGS}", HOLE, "not the function"),
        (f"globus_mapping /opt/other.so gsi_authz_service {SETTINGS}", HOLE, "not the function"),
        (f"globus_mapping {LIBRARY} printf {SETTINGS}", HOLE, "not the function"),
        (f"globus_mapping {LIBRARY} gsi_authz_mapping", NOTE, "no GSI_AUTHZ_SOCKET and no GSI_AUTHZ_SERVER_UID"),
        (f"globus_mapping {LIBRARY} gsi_authz_mapping ENV:GSI_AUTHZ_SOCKET=/s", NOTE, "no GSI_AUTHZ_SERVER_UID"),
        (f"globus_mapping {LIBRARY} gsi_authz_mapping {SETTINGS} GSI_AUTHZ_TIME=1", BROKEN, "knows no GSI_AUTHZ_TIME"),
    ],
)
def test_lines_of_our_own_library(line: str, severity: Severity, says: str) -> None:
    kind = line.split(maxsplit=1)[0]
    others = "".join(each for each in GOOD.splitlines(keepends=True) if not each.startswith(f"{kind} "))
    (finding,) = lint(f"{line}\n{others}")
    assert (finding.severity, finding.line) == (severity, 1)
    assert says in finding.message
    assert finding.fix


@pytest.mark.parametrize("kind", [kind for kind in CALLOUTS if kind not in MISSING_TYPE])
def test_types_that_decide_nothing(kind: str) -> None:
    """They are named as well, since our own file says that it needs every line."""
    text = "".join(line for line in GOOD.splitlines(keepends=True) if not line.startswith(f"{kind} "))
    (finding,) = lint(text)
    assert (finding.severity, finding.line) == (NOTE, None)
    assert f"no {kind}" in finding.message
    assert lint(text, Family.GATEKEEPER) == []


def test_only_the_services_that_run_count() -> None:
    text = "globus_mapping /x f\nglobus_authorization /x g\n"
    assert lint(text, Family.GATEKEEPER) == []
    assert [finding.message.split()[1] for finding in lint(text, Family.GRIDFTP)] == [
        "GLOBUS_GSI_AUTHZ_HANDLE_INIT",
        "GLOBUS_GSI_AUTHORIZE_ASYNC",
    ]
    assert len(lint(text, Family.JOBMANAGER)) == 1


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


def build(folder: Path, name: str, symbol: str = "f") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    source = folder / "source.c"
    source.write_text(f"extern int undefined_elsewhere(void);\nunsigned {symbol}(void) {{ return 0; }}\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, source], check=True)
    return path


def findings(folder: Path, text: str) -> list[Finding]:
    conf = folder / "gsi-authz.conf"
    conf.write_text(text)
    conf.chmod(0o644)
    return [finding for finding in lint_callouts(str(conf)) if not finding.message.startswith("no ")]


def test_a_missing_file_is_a_hole(folder: Path) -> None:
    (finding,) = lint_callouts(str(folder / "nothing"))
    assert finding.severity is HOLE
    assert "No such file" in finding.message
    (finding,) = lint_callouts(str(folder))
    assert "directory" in finding.message


def test_a_library_that_is_there(folder: Path) -> None:
    library = build(folder, "libshim.so")
    assert findings(folder, f"globus_mapping {library} f\n") == []
    assert findings(folder, f"globus_mapping {folder}/libshim f\n") == []


def test_a_library_that_is_not(folder: Path) -> None:
    text = f"|globus_mapping {folder}/libshim.so f\nglobus_mapping {build(folder, 'a.so')} f\n"
    (finding,) = [each for each in findings(folder, text) if each.severity is not NOTE]
    assert finding.severity is BROKEN
    assert "also if the line is optional" in finding.message
    (finding,) = findings(folder, f"globus_mapping {build(folder, 'b.so')} g\n")
    assert "has no function g" in finding.message
    (folder / "c.so").write_text("not a library")
    (finding,) = findings(folder, f"globus_mapping {folder}/c.so f\n")
    assert "cannot be loaded" in finding.message
    (finding,) = findings(folder, "globus_mapping libshim.so f\n")
    assert finding.severity is NOTE
    assert "LD_LIBRARY_PATH" in finding.message


def test_a_library_that_shadows_the_one_named(folder: Path) -> None:
    build(folder, "libshim.so")
    build(folder, "libshim_gcc64.so")
    (finding,) = findings(folder, f"globus_mapping {folder}/libshim f\n")
    assert finding.severity is HOLE
    assert f"load {folder}/libshim_gcc64.so" in finding.message
    assert findings(folder, f"globus_mapping {folder}/libshim.so f\n") == []
    build(folder, "libshim.so_gcc64.so")
    (finding,) = findings(folder, f"globus_mapping {folder}/libshim.so f\n")
    assert finding.severity is HOLE
    build(folder, "bare")
    (finding,) = findings(folder, f"globus_mapping {folder}/bare f\n")
    assert finding.severity is BROKEN
    assert "is there, but the C services look for" in finding.message


def test_flavors() -> None:
    assert library_candidates("/x/liba") == ["/x/liba_gcc64.la", "/x/liba_gcc64.so", "/x/liba.la", "/x/liba.so"]
    assert library_candidates("/x/liba_64") == ["/x/liba_64.la", "/x/liba_64.so", "/x/liba.la", "/x/liba.so"]
    assert library_candidates("/x_64/liba.so")[0] == "/x_64/liba.so"


def test_files_that_others_can_change(folder: Path) -> None:
    library = build(folder, "libshim.so")
    library.chmod(0o777)
    (finding,) = findings(folder, f"globus_mapping {library} f\n")
    assert (finding.severity, finding.line) == (HOLE, 1)
    library.chmod(0o755)
    conf = folder / "gsi-authz.conf"
    conf.chmod(0o666)
    assert any(str(conf) in finding.message for finding in lint_callouts(str(conf)))
    conf.chmod(0o644)
    folder.chmod(0o777)
    assert any("can be changed by others" in finding.message for finding in lint_callouts(str(conf)))
    folder.chmod(0o755)


@pytest.mark.parametrize("depth", range(1, 4))
def test_directories_above_that_others_can_change(folder: Path, depth: int) -> None:
    """Who can rename a directory of the path can put another in its place."""
    below = folder / "a/b/c"
    below.mkdir(parents=True)
    library = build(folder, "libshim.so").rename(below / "libshim.so")
    conf = folder / "gsi-authz.conf"
    conf.write_text(f"globus_mapping {library} f\n")
    open_one = below.parents[depth - 1] if depth < 3 else below
    open_one.chmod(0o777)
    found = [each for each in lint_callouts(str(conf), families=frozenset()) if f"{open_one} can be" in each.message]
    assert [(each.severity, each.line) for each in found] == [(HOLE, 1)]
    open_one.chmod(0o1777)  # as /tmp
    assert not lint_callouts(str(conf), families=frozenset())


def test_a_library_that_ends_the_process(folder: Path) -> None:
    source = folder / "s.c"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void die(void) { abort(); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "die.so", source], check=True)
    assert "ended with status" in try_load(str(folder / "die.so"), ["f"])


def test_which_file_is_read(folder: Path) -> None:
    here = folder / "gsi-authz.conf"
    assert find_callout_conf({"GSI_AUTHZ_CONF": str(here)}) == (str(here), False)
    here.write_text("x")
    assert find_callout_conf({"GSI_AUTHZ_CONF": str(here)}) == (str(here), True)
    if not os.path.exists("/etc/grid-security/gsi-authz.conf"):
        (folder / "etc").mkdir()
        (folder / "etc" / "gsi-authz.conf").write_text("x")
        assert find_callout_conf({"GLOBUS_LOCATION": str(folder)}) == (str(folder / "etc" / "gsi-authz.conf"), True)
        (folder / ".gsi-authz.conf").write_text("x")
        none = {"GLOBUS_LOCATION": "/nowhere"}
        assert find_callout_conf(none | {"HOME": str(folder)}) == (str(folder / ".gsi-authz.conf"), True)
        assert find_callout_conf(none) == ("/etc/grid-security/gsi-authz.conf", False)
