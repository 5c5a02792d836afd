"""Authorization's part of the sandbox: the deciding daemon, one permit, one denial and why. Decides nothing itself.

The daemon answers whoever asks in the tour, and the GridFTP server and the gatekeeper where they are installed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gsi.sandbox.plan import Command, Contribution, Service, Step
from gsi.sandbox.programs import ordinary_account
from gsi.system.files import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from gsi.sandbox.vo import VO

__all__ = ["NAME", "contribution", "files_dir", "policy_dir", "socket_path"]

ORDER: Final = 15
NAME: Final = "gsi-authz-server"
_ALICE: Final = "/O=Grid Sandbox/CN=Alice Demo"
_POLICY: Final = """\
# Rules alone; a site would put a ban list before them, and a grid-mapfile behind.
order = [{order}]
record = "{name}.jsonl"

[authorizer.rules]
type = "rules"
file = "{name}.rules"
"""
_ARCHIVE: Final = """\
permit authenticated to login
permit authenticated to lookup, read on /data/public/**
permit dn "{alice}" to lookup, read, create on /data/alice/**
deny   anyone to write, delete on /data/public/**  because "published data stays as it is"
"""
_FILES: Final = """\
permit dn "{alice}" to login as {account}
permit dn "{alice}" to lookup, read, write, create, delete on {files}/alice/**
permit authenticated to lookup, read on {files}/public/**
deny   anyone        to write, delete on {files}/public/**  because "published data stays as it is"
"""
_LOGINS: Final = """\
permit dn "{alice}" to login as {account}
"""
_JOBS: Final = """\
permit dn "{alice}" to start
       executable /bin/echo, /usr/bin/id   allow arguments, stdout, stderr
       environment NULL
permit authenticated to status, cancel  jobowner self
"""
_JOB_POLICY: Final = """
[authorizer.jobs]
type = "rsl"
file = "gram.jobs"
"""
_SERVER: Final = """\
[server]
service_users = ["{own}", "{account}"]
workers = 1
audit = "{state}/audit.log"

[[services]]
name = "archive"
policy = "archive"

[[services]]
name = "file"
policy = "gridftp"

[[services]]
name = "jobmanager*"
policy = "gram"
"""


def files_dir(vo: VO) -> Path:
    """Return the directory of files that people may ask for."""
    return vo.common / "files"


def policy_dir(vo: VO) -> Path:
    """Return the directory of policies, and of nothing else."""
    return vo.state_dir(NAME) / "policies"


def socket_path(vo: VO) -> Path:
    """Return the daemon's socket: near the root, because its name may have a hundred characters."""
    return vo.common / "authz.socket"


def contribution(vo: VO) -> Contribution:
    """Return the daemon and the step that asks it."""
    state, policies, socket = vo.state_dir(NAME), policy_dir(vo), socket_path(vo)
    policies.mkdir(mode=0o700, exist_ok=True)
    config = state / "gsi-authz-server.toml"
    facts = {
        "alice": _ALICE,
        "files": files_dir(vo),
        "account": ordinary_account().pw_name,
        "own": os.geteuid(),
        "state": state,
    }
    jobs = _POLICY.format(name="gram", order='"jobs", "rules"') + _JOB_POLICY
    files = {
        **{f"{name}.toml": _POLICY.format(name=name, order='"rules"') for name in ("archive", "gridftp")},
        "archive.rules": _ARCHIVE.format(**facts),
        "gridftp.rules": _FILES.format(**facts),
        "gram.toml": jobs,
        "gram.rules": _LOGINS.format(**facts),
        "gram.jobs": _JOBS.format(**facts),
    }
    for name, text in files.items():
        write_private(str(policies / name), text.encode())
    write_private(str(config), _SERVER.format(**facts).encode())
    server = Service(
        name=NAME,
        argv=(NAME, "-c", str(config), "-socket", str(socket)),
        environment={"GSI_AUTHZ_POLICY_DIR": str(policies)},
        socket_path=socket,
        summary="decides for services what their users may do",
    )
    return Contribution(
        ORDER,
        (server,),
        make_steps=lambda: (_step(vo),),
        make_exports=lambda _person: {
            "GSI_AUTHZ_POLICY_DIR": str(policies),
            "GSI_AUTHZ_SOCKET": str(socket),
            "SANDBOX_FILES": str(files_dir(vo)),
        },
    )


def _step(vo: VO) -> Step:
    def command(*argv: str, status: int = 0, expect: tuple[str, ...]) -> Command:
        return Command(("gsi-authz", *argv), "alice", status=status, expect=expect)

    def ask(action: str, *, status: int = 0, expect: str) -> Command:
        where = ("-socket", str(socket_path(vo)), "-called", "archive")
        return command(
            "ask", *where, "-action", action, "-resource", "/data/public/results", status=status, expect=(expect,)
        )

    return Step(
        "What may she do?",
        "A service asks the deciding daemon before each operation; here Alice's proxy asks by hand, as an archive "
        "would. Who is refused gets an id, and the administrator the reason.",
        (
            ask("read", expect="permit"),
            ask("delete", status=1, expect="denied: no permission to delete /data/public/results (decision "),
            command(
                "explain", "last", "-policy", str(policy_dir(vo) / "archive.toml"),
                expect=(_ALICE, "deny", "published data stays as it is"),
            ),
        ),
    )  # fmt: skip
