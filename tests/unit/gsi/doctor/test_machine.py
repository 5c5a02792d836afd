"""The looks at what belongs to no service, and how looks are run; one thing is broken, and that thing is found."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gsi.authz import serviceconf
from gsi.authz.callout.build import ConfOptions, render_conf
from gsi.doctor import parts
from gsi.doctor.machine import LOOKS
from gsi.doctor.run import examine, find_looks
from gsi.doctor.visit import Look, Visit
from gsi.errors import ConfigError
from gsi.system.environ import read_locations
from gsi.trust.diagnose import Finding, Severity
from gsi.trust.options import CRLPolicy
from gsi.trust.peername import NameMode

POLICY = """\
service = "gridftp"
order = ["rules"]

[authorizer.rules]
type = "rules"
file = "{path}"
"""
RULES = 'permit dn "/O=Grid/CN=Alice" to file:read\n'


def visit(**configs: str) -> Visit:
    return Visit(
        now=datetime.now(UTC),
        locations=read_locations({}),
        trust_dir="/nonexistent",
        anchors=None,
        crl=CRLPolicy.IF_PRESENT,
        mode=NameMode.HYBRID,
        host="localhost",
        timeout=2,
        configs=configs,
    )


def wrong(section: str, asked: Visit) -> list[Finding]:
    looks = [look for look in LOOKS if look.section == section]
    assert looks
    return [one for _, one in examine(asked, looks) if one.severity in {Severity.WARNING, Severity.ERROR}]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on it."""
    monkeypatch.setattr(serviceconf, "ETC", str(tmp_path / "etc"))
    monkeypatch.setenv("GSI_AUTHZ_CONF", str(tmp_path / "gsi-authz.conf"))
    monkeypatch.setenv("GSI_AUTHZ_POLICY_DIR", str(tmp_path / "gsi-authz.d"))
    (tmp_path / "gsi-authz.d").mkdir()
    return tmp_path


# --- Callouts and authorization --------------------------------------------------------------------------------------


def test_a_callout_that_is_left_out(machine: Path) -> None:
    good = render_conf(ConfOptions(library="/usr/lib/gsi-authz/libgsi_authz_callout.so", server_uid=990))
    conf = machine / "gsi-authz.conf"
    conf.write_text(good)
    before = wrong("callouts", visit())
    lines = [line for line in good.splitlines(keepends=True) if not line.startswith("GLOBUS_GSI_AUTHORIZE_ASYNC ")]
    assert len(lines) == len(good.splitlines()) - 1
    conf.write_text("".join(lines))
    (found,) = [one for one in wrong("callouts", visit()) if one.message not in {each.message for each in before}]
    assert (found.severity, found.check) == (Severity.ERROR, "authz-hole")
    assert "every file operation is allowed" in found.message
    assert found.hint


def test_a_machine_without_c_services(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong("callouts", visit()), "the file that a variable names has to be there"
    monkeypatch.delenv("GSI_AUTHZ_CONF")
    monkeypatch.setenv("HOME", str(machine))
    monkeypatch.setenv("GLOBUS_LOCATION", str(machine / "globus"))
    monkeypatch.setattr("gsi.authz.calloutconf.GRID_SECURITY_DIR", str(machine))
    assert wrong("callouts", visit()) == []


def policies(machine: Path) -> Path:
    rules = machine / "gsi-authz.d" / "gridftp.rules"
    rules.write_text(RULES)
    policy = machine / "gsi-authz.d" / "gridftp.toml"
    policy.write_text(POLICY.format(path=rules))
    return policy


def test_a_policy_that_is_broken(machine: Path) -> None:
    policy = policies(machine)
    assert wrong("authz", visit()) == []
    policy.write_text("order = 7\n")
    found = wrong("authz", visit())
    assert found
    assert {one.where.partition(":")[0] for one in found} == {str(policy)}


def test_a_daemon_that_does_not_listen(machine: Path) -> None:
    policies(machine)
    where = machine / "socket"
    config = machine / "server.toml"
    config.write_text(f'[server]\nsocket = "{where}"\n[[services]]\nname = "file"\npolicy = "gridftp"\n')
    config.chmod(0o600)
    (found,) = wrong("authz", visit(authz=str(config)))
    assert (found.check, found.where, found.hint) == ("port", str(where), "systemctl start gsi-authz-server")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(where))
        listener.listen()
        assert wrong("authz", visit(authz=str(config))) == []


# --- Parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "severity"), [("LITTLE_SPACE", Severity.WARNING), ("NO_SPACE", Severity.ERROR)])
def test_a_disk_that_is_full(limit: str, severity: Severity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    assert [one.severity for one in parts.look_at_directory(str(tmp_path), "store")] == [Severity.OK]
    for name in ("LITTLE_SPACE",) if limit == "LITTLE_SPACE" else ("LITTLE_SPACE", "NO_SPACE"):
        monkeypatch.setattr(parts, name, 1 << 62)
    found = [one for one in parts.look_at_directory(str(tmp_path), "store") if one.severity is not Severity.OK]
    assert [(one.severity, one.check) for one in found] == [(severity, "space")]


def test_a_file_where_a_directory_should_be(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    for where in (path, tmp_path / "nothing"):
        (found,) = parts.look_at_directory(str(where), "store")
        assert (found.severity, found.check) == (Severity.ERROR, "store")


# --- Running looks ---------------------------------------------------------------------------------------------------


def looking(section: str, *found: Finding, raises: Exception | None = None) -> Look:
    def look(_visit: Visit) -> Iterator[Finding]:
        yield from found
        if raises is not None:
            raise raises

    return Look(section, 1, section, look)


LIST_OVER = Finding(Severity.ERROR, "crl-expired", "/ca.r0", "is over")


@pytest.mark.parametrize(
    ("error", "check"),
    [(ConfigError("no"), "config"), (ModuleNotFoundError("x", name="x"), "not-installed"), (KeyError("x"), "defect")],
)
def test_a_look_that_fails_hides_no_other(error: Exception, check: str) -> None:
    good = Finding(Severity.OK, "well", "here", "is well")
    found = [one for _, one in examine(visit(), [looking("a", good, raises=error), looking("b", good)])]
    assert [one.check for one in found] == ["well", check, "well"]
    assert found[1].severity is Severity.ERROR
    assert found[1].hint


def test_what_follows_from_the_trust_directory_is_told_once() -> None:
    again = Finding(Severity.ERROR, "crl-expired", "/hostcert.pem", "its list is over")
    found = [one for _, one in examine(visit(), [looking("trust", LIST_OVER), looking("host", again)])]
    assert [(one.severity, one.where) for one in found] == [
        (Severity.ERROR, "/ca.r0"),
        (Severity.NOTE, "/hostcert.pem"),
    ]
    (alone,) = [one for _, one in examine(visit(), [looking("host", again)])]
    assert alone.severity is Severity.ERROR


def test_what_is_wrong_with_a_certificate_itself_is_always_told() -> None:
    over = Finding(Severity.ERROR, "expired", "/ca.0", "is over")
    mine = Finding(Severity.ERROR, "expired", "/hostcert.pem", "is over")
    found = [one for _, one in examine(visit(), [looking("trust", over), looking("host", mine)])]
    assert [one.severity for one in found] == [Severity.ERROR, Severity.ERROR]


def test_every_package_contributes() -> None:
    sections = [look.section for look in find_looks()]
    assert set(sections) >= {"clock", "trust", "host", "myproxy", "portal", "cas", "kca", "callouts", "authz"}
    assert len(set(sections)) == len(sections)
    by_name: dict[str, Callable[[Visit], Iterator[Finding]]] = {look.section: look.examine for look in find_looks()}
    assert by_name["cas"].__module__ == "cas.doctor"
