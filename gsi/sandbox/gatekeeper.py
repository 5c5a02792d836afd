"""The real gatekeeper in the sandbox, where it is installed, with the fork job manager: jobs ask the deciding daemon.

The gate stands in front of the job manager, which asks by the callout. Everything that they need lies in a directory
that the account they run as may enter. Runs nothing itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import gsi
from gsi.sandbox.authz import socket_path
from gsi.sandbox.callout import COMPILER, callout_conf, give, hand_over, make_callout
from gsi.sandbox.plan import Command, Contribution, Service, Step
from gsi.sandbox.programs import find_program, ordinary_account
from gsi.system.files import write_public

if TYPE_CHECKING:
    from gsi.sandbox.vo import VO

__all__ = ["contribution"]

ORDER: Final = 65
NAME: Final = "globus-gatekeeper"
MANAGER: Final = "globus-job-manager"
CLIENT: Final = "globus-job-run"
GATE: Final = "gsi-authz-gram-gate"
HOST: Final = "localhost"
"""How clients are to be called by their jobs: the machine's own name may lead nowhere."""
DENIED: Final = 162
"""What clients exit with: GRAM's error for a job that policy denies."""

MAX_SOCKET_BYTES: Final = 107  # sun_path of Linux

_SOCKET: Final = "{place}/state/{account}/localhost/fork.01234567.sock"
_GATEKEEPER: Final = """\
-x509_cert_dir {place}/certificates
-x509_user_cert {place}/hostcert.pem
-x509_user_key {place}/hostkey.pem
-gridmap {place}/grid-mapfile
-grid_services {place}/grid-services
-e {directory}
-logfile {place}/log/gatekeeper.log
-inetd
"""
_MANAGER: Final = """\
-globus-toolkit-version 6.2
-log-pattern {place}/log/jobs.log
-log-levels WARN|ERROR|FATAL
-state-file-dir {place}/state
-x509-cert-dir {place}/certificates
-enable-callout
"""
_SERVICE: Final = """\
stderr_log,local_cred - {gate} {name} -socket {socket} -server-uid {uid} -- {manager} globus-job-manager \
-conf {place}/manager.conf -type fork
"""
_SCRIPT: Final = """\
#!{python} -I
import sys
sys.path.insert(0, "{lib}")
from gsi.cli.authz_gram_gate import main
sys.exit(main())
"""


def contribution(vo: VO) -> Contribution:
    """Return the gatekeeper and its step; a notice alone where something is missing."""
    missing = [name for name in (NAME, MANAGER, CLIENT, COMPILER) if not find_program(name)]
    if missing:
        notice = (
            f"no gatekeeper: {', '.join(missing)} not found on PATH (on Debian: apt install globus-gatekeeper "
            "globus-gram-job-manager-fork-setup-poll globus-gram-client-tools gcc libc6-dev); going on without it"
        )
        return Contribution(ORDER, notices=(notice,))
    python = _interpreter()
    if not python:
        notice = "no gatekeeper: no Python 3.11 or newer that other accounts may run (jobs ask by it); going on without"
        return Contribution(ORDER, notices=(notice,))
    place, account = vo.common / "gatekeeper", ordinary_account().pw_name
    if len(os.fsencode(_SOCKET.format(place=place, account=account))) > MAX_SOCKET_BYTES:
        notice = f"no gatekeeper: names of its sockets in {vo.common} are too long; going on without it"
        return Contribution(ORDER, notices=(notice,))
    port = vo.port(NAME)
    service = Service(
        name=NAME,
        argv=(
            sys.executable, "-m", "gsi.sandbox.inetd", str(port), account if os.geteuid() == 0 else "",
            str(vo.state_dir(NAME) / "errors"), find_program(NAME), "-conf", str(place / "gatekeeper.conf"),
        ),
        environment={
            "PATH": os.defpath,
            "HOME": str(place / "home"),
            "LOGNAME": account,
            "USER": account,
            "GLOBUS_HOSTNAME": HOST,
            "X509_CERT_DIR": str(place / "certificates"),
            "GSI_AUTHZ_CONF": str(callout_conf(vo)),
        },
        port=port,
        url=f"localhost:{port}/jobmanager-fork",
        summary="runs jobs, and asks the deciding daemon",
        prepare=lambda _exports: _prepare(vo, place, python),
    )  # fmt: skip
    return Contribution(
        ORDER,
        (service,),
        make_steps=lambda: (_step(service.url),),
        make_exports=lambda _person: {"GRAM_CONTACT": service.url, "GLOBUS_HOSTNAME": HOST},
    )


def _interpreter() -> str:
    """Return an interpreter that whoever jobs run as may run: this one, or the system's; empty where there is none."""
    own = os.path.realpath(sys.executable)
    if os.geteuid() != 0 or _is_open(own):
        return own
    system = os.path.realpath(shutil.which("python3", path=os.defpath) or own)
    new_enough = (system, "-I", "-c", "import sys; sys.exit(sys.version_info < (3, 11))")
    return system if _is_open(system) and not subprocess.run(new_enough, check=False).returncode else ""


def _is_open(path: str) -> bool:
    return all(each.stat().st_mode & 0o001 for each in (Path(path), *Path(path).parents))


def _prepare(vo: VO, place: Path, python: str) -> None:
    """Make the gatekeeper's directory, once."""
    make_callout(vo)
    last = place / "gatekeeper.conf"
    if last.exists():
        return
    hand_over(vo, place, "home", "log", "state", "grid-services")
    manager = find_program(MANAGER)
    facts = {
        "place": place,
        "directory": os.path.dirname(manager),
        "manager": manager,
        "gate": _install_gate(vo, place, python),
        "name": GATE,
        "socket": socket_path(vo),
        "uid": os.geteuid(),
    }
    files = {
        "manager.conf": _MANAGER,
        "grid-mapfile": "",
        "grid-services/jobmanager-fork": _SERVICE,
    }
    for name, text in files.items():
        write_public(str(place / name), text.format(**facts).encode(), mode=0o644)
    give(place)
    write_public(str(last), _GATEKEEPER.format(**facts).encode(), mode=0o644)


def _install_gate(vo: VO, place: Path, python: str) -> Path:
    """Return the gate, for root put where other accounts can run it: its own place may be closed to them."""
    if os.geteuid() != 0:
        return vo.bin / GATE
    package = Path(gsi.__file__).parent
    left_out = shutil.ignore_patterns("__pycache__", "sandbox", "native", "*.c", "pages")
    shutil.copytree(package, place / "lib" / "gsi", ignore=left_out)
    script = place / GATE
    write_public(str(script), _SCRIPT.format(python=python, lib=place / "lib").encode(), mode=0o755)
    return script


def _step(contact: str) -> Step:
    def job(*words: str, status: int = 0, expect: str, beside: bool = False) -> Command:
        argv, hosts = (CLIENT, contact, *words), (("GLOBUS_HOSTNAME", HOST),)
        return Command(argv, "alice", hosts, status=status, expect=(expect,), beside=beside)

    return Step(
        "A real gatekeeper asks before it runs a job",
        "The C gatekeeper runs no job without asking the daemon, which reads the job's description. Alice may run two "
        "programs; any other is denied.",
        (
            job("/bin/echo", "done as a job", expect="done as a job"),
            job("/bin/cat", "/etc/passwd", status=DENIED, expect="not authorized to start this job", beside=True),
        ),
        beside=True,
    )
