"""The lint of the C services' own configurations: each way in which they do not ask is found and has a fix."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from gsi.authz.callout.build import render_gridftp_conf
from gsi.authz.calloutconf import Family, Finding, Severity
from gsi.authz.serviceconf import ServiceFiles, family_of, find_service_files, lint_service_files

HOLE, BROKEN, NOTE = Severity.HOLE, Severity.BROKEN, Severity.NOTE
DISABLED: Final = render_gridftp_conf()
MANAGER: Final = "/usr/sbin/globus-job-manager globus-job-manager"
GATE: Final = "/usr/bin/gsi-authz-gram-gate gsi-authz-gram-gate"


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """As the packages leave /etc, with our additions: nothing is wrong."""
    for name, text in {
        "gridftp.conf": "# comment\n\nport 2811\n" + DISABLED,
        "globus/globus-gram-job-manager.conf": "-globus-toolkit-version 6.2\n-enable-callout\n",
        "grid-services/jobmanager-fork": f"stderr_log,local_cred - {GATE} -- {MANAGER} -conf CONF -type fork\n",
        "grid-services/available/jobmanager-fork-poll": f"stderr_log,local_cred - {MANAGER} -conf CONF -type fork\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text.replace("CONF", str(tmp_path / "globus/globus-gram-job-manager.conf")))
    return tmp_path


def lint(etc: Path, *families: Family) -> list[Finding]:
    found = find_service_files(frozenset(families or Family), etc=str(etc))
    return [finding for files in found for finding in lint_service_files(files)]


def test_a_good_site(etc: Path) -> None:
    assert lint(etc) == []


@pytest.mark.parametrize(
    ("line", "line_number", "says"),
    [
        ("cas 0", 1, "cas is off"),
        ('"cas" "0"', 1, "cas is off"),
        ("  cas\t0  ", 1, "cas is off"),
        ("allow_anonymous 1", 1, "anonymous clients"),
        ("auth_level 0", 1, "auth_level 0: nobody is asked"),
        ("auth_level 8", 1, "auth_level 8"),
        ("auth_level 9", 1, "auth_level 9"),
        ("auth_level many", 1, "auth_level many"),
        ("disable_command_list MLSR", 1, "SITE HTTP, SITE SHARING: done"),
        ("port 2811", None, "SITE HTTP, SITE SHARING, MLSR: done"),
        ("# cas 1", None, "SITE HTTP, SITE SHARING, MLSR: done"),
        ("$GSI_AUTHZ_CONF /nowhere/gsi-authz.conf", None, "silently use the grid-mapfile alone"),
    ],
)
def test_gridftp(etc: Path, line: str, line_number: int | None, says: str) -> None:
    conf = etc / "gridftp.conf"
    conf.write_text(f"{line}\n" + ("" if "disable" in line or "done" in says else DISABLED.split("\n", 1)[1]))
    (finding,) = lint(etc)
    assert (finding.severity, finding.line) == (HOLE, line_number)
    assert says in finding.message
    assert finding.fix
    assert lint(etc, Family.GATEKEEPER, Family.JOBMANAGER) == []


@pytest.mark.parametrize("line", ["auth_level 2", "auth_level 1", "auth_level 7", "cas 1", "allow_anonymous 0"])
def test_gridftp_that_is_fine(etc: Path, line: str) -> None:
    (etc / "gridftp.conf").write_text(f"{line}\n{DISABLED}")
    assert lint(etc) == []


def test_gridftp_reads_its_own_file_last(etc: Path) -> None:
    (etc / "gridftp.d").mkdir()
    (etc / "gridftp.d/a.conf").write_text("cas 0\n")
    assert lint(etc) == []  # gridftp.conf says cas 1
    (etc / "gridftp.conf").write_text("port 2811\n")
    found = lint(etc)
    assert [(each.path, each.line) for each in found] == [
        (str(etc / "gridftp.d/a.conf"), 1),
        (str(etc / "gridftp.conf"), None),
    ]
    (etc / "gridftp.d/b").write_text(DISABLED)
    for left in ("c.rpmsave", "c~", ".c", "c.bak"):
        (etc / f"gridftp.d/{left}").write_text("cas 0\n")
    assert lint(etc) == []


def test_a_job_manager_without_the_callout(etc: Path) -> None:
    conf = etc / "globus/globus-gram-job-manager.conf"
    conf.write_text("-globus-toolkit-version 6.2\n#-enable-callout\n")
    (finding,) = lint(etc)  # of the file once, although a service line names it, too
    assert (finding.severity, finding.path, finding.line) == (HOLE, str(conf), None)
    assert "no -enable-callout" in finding.message
    assert lint(etc, Family.GRIDFTP) == []


@pytest.mark.parametrize(
    ("line", "severity", "says"),
    [
        (f"{MANAGER} -conf CONF -type fork", HOLE, "no gate before the job manager"),
        (f"{MANAGER} -type fork -enable-callout", HOLE, "no gate before the job manager"),
        (f"{GATE} -- {MANAGER} -type fork", HOLE, "no -enable-callout"),
        (f"{GATE} -- {MANAGER} -type fork -conf CONF", HOLE, "no -enable-callout"),  # read in the first place only
        (f"{GATE} -- /usr/sbin/globus-job-manager", BROKEN, "not told which job manager"),
        (f"{GATE} {MANAGER} -conf CONF", BROKEN, "not told which job manager"),
    ],
)
def test_service_lines(etc: Path, line: str, severity: Severity, says: str) -> None:
    path = etc / "grid-services/jobmanager-fork"
    path.write_text(
        f"# comment\nstderr_log,local_cred - {line}\n".replace("CONF", str(etc / "globus/globus-gram-job-manager.conf"))
    )
    (finding,) = lint(etc)
    assert (finding.severity, finding.path, finding.line) == (severity, str(path), 2)
    assert says in finding.message
    assert finding.fix


@pytest.mark.parametrize("line", [f"{GATE} -server-uid 9 -- {MANAGER} -enable-callout", "/usr/sbin/other other -x"])
def test_service_lines_that_are_fine(etc: Path, line: str) -> None:
    (etc / "grid-services/jobmanager-fork").write_text(f"stderr_log,local_cred - {line}\n\n")
    assert lint(etc) == []


def test_what_is_not_there(tmp_path: Path) -> None:
    found = find_service_files(frozenset(Family), etc=str(tmp_path))
    assert [files.exist for files in found] == [False, False]
    assert [finding.severity for finding in lint(tmp_path)] == [NOTE, NOTE]
    assert lint(tmp_path, Family.GATEKEEPER) == []


def test_what_cannot_be_read(etc: Path) -> None:
    (etc / "gridftp.conf").unlink()
    (etc / "gridftp.conf").mkdir()
    finding = lint(etc)[0]
    assert finding.severity is BROKEN


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/etc/gridftp.conf", Family.GRIDFTP),
        ("gridftp-authz.conf", Family.GRIDFTP),
        ("/etc/gridftp.d/site", Family.GRIDFTP),
        ("/etc/globus/globus-gram-job-manager.conf", Family.JOBMANAGER),
        ("/etc/grid-services/jobmanager", Family.JOBMANAGER),
        ("/etc/grid-services/available/jobmanager-fork-poll", Family.JOBMANAGER),
        ("/etc/grid-security/gsi-authz.conf", None),
        ("gsi-authz.conf", None),
        ("/etc/grid-security/gsi-authz.d/gridftp.rules", None),
    ],
)
def test_what_a_file_configures(path: str, family: Family | None) -> None:
    assert family_of(path) is family


def test_one_file_by_itself(etc: Path) -> None:
    service = etc / "grid-services/available/jobmanager-fork-poll"
    (finding,) = lint_service_files(ServiceFiles(Family.JOBMANAGER, (str(service),)))
    assert "no gate" in finding.message
