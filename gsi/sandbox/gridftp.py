"""The real GridFTP server in the sandbox, where it is installed: it asks the deciding daemon through the callout.

Everything that it needs lies in a directory that the account it runs as may enter. Runs nothing itself.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.build import render_gridftp_conf
from gsi.sandbox.authz import files_dir, policy_dir
from gsi.sandbox.callout import COMPILER, callout_conf, give, hand_over, make_callout
from gsi.sandbox.plan import Command, Contribution, Service, Step
from gsi.sandbox.programs import find_program, ordinary_account
from gsi.system.files import write_public

if TYPE_CHECKING:
    from pathlib import Path

    from gsi.sandbox.vo import VO

__all__ = ["contribution"]

ORDER: Final = 60
NAME: Final = "globus-gridftp-server"
CLIENT: Final = "globus-url-copy"


def contribution(vo: VO) -> Contribution:
    """Return the server and its step; a notice alone where something is missing."""
    missing = [name for name in (NAME, CLIENT, COMPILER) if not find_program(name)]
    if missing:
        notice = (
            f"no GridFTP server: {', '.join(missing)} not found on PATH (on Debian: apt install "
            "globus-gridftp-server-progs globus-gass-copy-progs gcc libc6-dev); going on without it"
        )
        return Contribution(ORDER, notices=(notice,))
    place, port = vo.common / "gridftp", vo.port(NAME)
    entry = ordinary_account()
    service = Service(
        name=NAME,
        argv=(
            find_program(NAME), "-c", str(place / "gridftp.conf"), "-s", "-p", str(port), "-control-interface",
            "127.0.0.1", "-data-interface", "127.0.0.1", "-hostname", "localhost", "-home-dir", "/",
            "-l", str(place / "log"), "-d", "ERROR,WARN,INFO",
        ),
        environment={
            "HOME": str(place),
            "LOGNAME": entry.pw_name,
            "X509_CERT_DIR": str(place / "certificates"),
            "X509_USER_CERT": str(place / "hostcert.pem"),
            "X509_USER_KEY": str(place / "hostkey.pem"),
            "GSI_AUTHZ_CONF": str(callout_conf(vo)),
        },
        port=port,
        url=f"gsiftp://localhost:{port}",
        summary="moves files, and asks the deciding daemon",
        prepare=lambda _exports: _prepare(vo, place),
        account=entry.pw_name if os.geteuid() == 0 else None,
    )  # fmt: skip
    return Contribution(
        ORDER,
        (service,),
        make_steps=lambda: (_step(vo, f"gsiftp://localhost:{port}"),),
        make_exports=lambda _person: {
            "GSI_AUTHZ_CONF": str(callout_conf(vo)),
            "GRIDFTP_URL": f"gsiftp://localhost:{port}",
        },
    )


def _prepare(vo: VO, place: Path) -> None:
    """Make the server's directory and the files that it gives away, once."""
    make_callout(vo)
    if (place / "gridftp.conf").exists():  # the last that is made
        return
    files = files_dir(vo)
    shutil.rmtree(files, ignore_errors=True)
    (files / "public").mkdir(mode=0o755, parents=True)
    (files / "alice").mkdir(mode=0o700)
    write_public(str(files / "public" / "results"), b"forty-two\n", mode=0o644)
    give(files)
    hand_over(vo, place)
    write_public(str(place / "gridftp.conf"), render_gridftp_conf().encode(), mode=0o644)


def _step(vo: VO, url: str) -> Step:
    home, files = vo.person("alice").home, files_dir(vo)
    back = home / "results"

    def copy(source: str, target: str, *, status: int = 0, expect: str = "") -> Command:
        return Command((CLIENT, source, target), "alice", status=status, expect=(expect,))

    return Step(
        "A real GridFTP server asks before it acts",
        "The C server maps nobody and opens no file without asking the daemon. Alice reads what is published, and "
        "writes where she may; what is published stays as it is.",
        (
            copy(f"{url}{files}/public/results", f"file://{back}"),
            copy(f"file://{back}", f"{url}{files}/alice/copy"),
            copy(f"file://{back}", f"{url}{files}/public/results", status=1, expect="no permission to write"),
            Command(
                ("gsi-authz", "explain", "last", "-policy", str(policy_dir(vo) / "gridftp.toml")),
                "alice", expect=("deny", "published data stays as it is"),
            ),
        ),
        beside=True,
    )  # fmt: skip
