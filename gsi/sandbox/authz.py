"""Authorization's part of the sandbox: the deciding daemon, one permit, one denial and why. Decides nothing itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gsi.sandbox.plan import Command, Contribution, Service, Step
from gsi.system.files import write_private

if TYPE_CHECKING:
    from gsi.sandbox.vo import VO

__all__ = ["contribution"]

ORDER: Final = 15
NAME: Final = "gsi-authz-server"
_POLICY: Final = """\
# Rules alone; a site would put a ban list before them, and a grid-mapfile behind.
service = "gridftp"
order = ["rules"]
record = "decisions.jsonl"

[authorizer.rules]
type = "rules"
file = "gridftp.rules"
"""
_RULES: Final = """\
permit authenticated                      to login
permit authenticated                      to lookup, read          on /data/public/**
permit dn "/O=Grid Sandbox/CN=Alice Demo" to lookup, read, create  on /data/alice/**
deny   anyone                             to write, delete on /data/public/**  because "published data stays as it is"
"""


def contribution(vo: VO) -> Contribution:
    """Return the daemon and the step that asks it."""
    state = vo.state_dir(NAME)
    config = state / "gsi-authz-server.toml"
    # In the root itself, because a Unix socket's name may have a hundred characters.
    socket = vo.root / "authz.socket"
    policy = state / "gridftp.toml"
    write_private(str(policy), _POLICY.encode())
    write_private(str(state / "gridftp.rules"), _RULES.encode())
    settings = (
        f'[server]\nservice_users = ["{os.geteuid()}"]\nworkers = 1\naudit = "{state}/audit.log"\n\n'
        '[[services]]\nname = "file"\npolicy = "gridftp"\n'
    )
    write_private(str(config), settings.encode())
    server = Service(
        name=NAME,
        argv=(NAME, "-c", str(config), "-socket", str(socket)),
        environment={"GSI_AUTHZ_POLICY_DIR": str(state)},
        socket_path=socket,
        summary="decides for services what their users may do",
    )
    return Contribution(ORDER, (server,), make_steps=lambda: (_step(str(socket), str(policy)),))


def _step(socket: str, policy: str) -> Step:
    def command(*argv: str, status: int = 0, expect: tuple[str, ...]) -> Command:
        return Command(("gsi-authz", *argv), "alice", status=status, expect=expect)

    return Step(
        "What may she do?",
        "A GridFTP server would ask the deciding daemon before each operation; here Alice's proxy asks by hand. Who is "
        "refused gets an id, and the administrator the reason.",
        (
            command(
                "ask", "-socket", socket, "-action", "read", "-resource", "/data/public/results", expect=("permit",)
            ),
            command(
                "ask", "-socket", socket, "-action", "delete", "-resource", "/data/public/results",
                status=1, expect=("denied: no permission to delete /data/public/results (decision ",),
            ),
            command(
                "explain", "last", "-policy", policy,
                expect=("/O=Grid Sandbox/CN=Alice Demo", "deny", "published data stays as it is"),
            ),
        ),
    )  # fmt: skip
