"""MyProxy's part of the sandbox: its server, and the tour steps that store a credential and log on from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.sandbox.plan import Command, Contribution, Service, Step
from gsi.system.files import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from gsi.sandbox.vo import VO

__all__ = ["contribution"]

ORDER: Final = 20
NAME: Final = "myproxy-server"
_CONFIG: Final = """\
# Everyone whose certificate the trust directory vouches for may store a credential and get it back.
accepted_credentials  "*"
authorized_retrievers "*"
"""
_LOGON_PASSPHRASE: Final = "a pass phrase for the tour"


def contribution(vo: VO) -> Contribution:
    """Return the server and the steps of the main job."""
    state = vo.state_dir(NAME)
    config, store, port_path = state / "myproxy-server.config", state / "store", state / "port"
    write_private(str(config), _CONFIG.encode())
    store.mkdir(mode=0o700, exist_ok=True)
    server = Service(
        name=NAME,
        argv=(
            "myproxy-server", "--foreground", "-c", str(config), "-s", str(store), "-l", "127.0.0.1", "-p", "0",
            "-z", str(port_path),
        ),
        environment={"X509_USER_CERT": str(vo.host_certificate_path), "X509_USER_KEY": str(vo.host_key_path)},
        port_path=port_path,
        summary="keeps credentials under a pass phrase",
    )  # fmt: skip
    return Contribution(
        ORDER,
        (server,),
        make_steps=lambda ports: _steps(vo, ports[NAME]),
        make_exports=lambda ports: {"MYPROXY_SERVER": f"localhost:{ports[NAME]}"},
    )


def _steps(vo: VO, port: int) -> tuple[Step, ...]:
    environment = (("MYPROXY_SERVER", f"localhost:{port}"),)
    alice, elsewhere = vo.person("alice"), vo.person("elsewhere")
    key_passphrase = (alice.home / "key-passphrase").read_text("ascii")
    answers, logon = alice.home / "myproxy-init-answers", elsewhere.home / "logon-passphrase"
    write_private(str(answers), f"{key_passphrase}{_LOGON_PASSPHRASE}\n".encode())
    write_private(str(logon), f"{_LOGON_PASSPHRASE}\n".encode())
    wrong = elsewhere.home / "wrong-passphrase"
    write_private(str(wrong), b"not the pass phrase\n")

    def command(*argv: str, user: str, stdin: Path | None = None, status: int = 0, expect: str) -> Command:
        needed = environment if argv[0].startswith("myproxy-") else ()
        return Command(argv, user, needed, stdin, status, (expect,))

    store = Step(
        "Alice stores a credential",
        "The server keeps a proxy of hers for a week, sealed under a pass phrase that only she knows.",
        (
            command("myproxy-init", "-S", user="alice", stdin=answers, expect="now exists on localhost"),
            command("myproxy-info", user="alice", expect="timeleft:"),
        ),
    )
    log_on = Step(
        "She logs on from elsewhere",
        "This machine has no certificate of hers: the pass phrase is enough to get a fresh proxy, a wrong one is not.",
        (
            command("myproxy-logon", "-S", user="elsewhere", stdin=logon, expect="A credential has been received"),
            command("grid-proxy-info", user="elsewhere", expect="/CN=Alice Demo"),
            command("grid-proxy-verify", user="elsewhere", expect="/CN=Alice Demo"),
            command(
                "myproxy-logon", "-S", user="elsewhere", stdin=wrong, status=1, expect="invalid credential passphrase"
            ),
        ),
    )
    destroy = Step(
        "And takes it back",
        "Nothing of hers stays on the server.",
        (command("myproxy-destroy", user="alice", expect="was successfully removed"),),
    )
    return store, log_on, destroy
