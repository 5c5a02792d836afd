"""The web portal's part of the sandbox: its server behind TLS, and what Alice does there; runs nothing itself.

The portal finds the other services as a person's shell does, by the exports of the sandbox: where there is a community
or a Kerberos authority, their pages are there, and with a realm (and the package gssapi) tickets are good for a logon.
Where packages of Python are missing, it says so and adds nothing.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from gsi.certificate import load_certificates
from gsi.names import oneline
from gsi.sandbox.plan import Command, Contribution, Service, Step
from gsi.system.files import write_private
from myproxy.sandbox import server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gsi.sandbox.vo import VO

__all__ = ["contribution"]

ORDER: Final = 50
NAME: Final = "myproxy-portal"
PACKAGES: Final = ("sqlalchemy", "alembic", "prometheus_client", "flask", "authlib", "joserfc", "segno")
EXTRAS: Final = "server,portal"
_CONFIG: Final = """\
# What the server keeps is at hand here, so that people can set up authenticators, and administrators look around.
names = ["localhost:{port}"]
server = "localhost:{server_port}"
title = "Grid Sandbox"

[http]
listen = "127.0.0.1:{port}"
certificate = "{certificate}"
key = "{key}"
workers = 1
threads = 4

[store]
directory = "{state}/store"

[trust]
directory = "{trust_dir}"

[logon]
first_time = true
terminal_interval = "1s"

[own]
certificate = "{own}"
front_end = true

[codes]
server_config = "{server_state}/myproxy-server.config"
storage = "{server_state}/store"
issuer = "Grid Sandbox"

[admin]
identities = ["{admin}"]
audits = {{ MyProxy = "{server_state}/store/audit.log", Portal = "{state}/store/audit.log" }}
server_config = "{server_state}/myproxy-server.config"
storage = "{server_state}/store"
"""
_CAS: Final = """
[pages.cas]
server = "{CAS_SERVER_URL}"
"""
_KCA: Final = """
[pages.kca]
config = "{KCA_CONFIG}"
"""
_TICKETS: Final = """
[kerberos]
keytab = "{HTTP_KEYTAB}"
realms = ["{KRB5_REALM}"]
"""


def contribution(vo: VO) -> Contribution:
    """Return the portal and its step; a notice alone where it cannot be."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        notice = (
            f"no web portal: {', '.join(missing)} not installed (pip install 'gsi-toolkit[server,portal]'); going on"
        )
        return Contribution(ORDER, notices=(notice,))
    notices: tuple[str, ...] = ()
    if vo.kerberos and not find_spec("gssapi"):
        notices = ("the portal takes no tickets: gssapi not installed (pip install 'gsi-toolkit[kerberos]'); going on",)
    state, port = vo.state_dir(NAME), vo.port(NAME)
    url = f"https://localhost:{port}"
    config = state / "portal.toml"
    service = Service(
        name=NAME,
        argv=(NAME, "-c", str(config)),
        environment={"KRB5RCACHEDIR": str(state)},
        variables=("KRB5_CONFIG",),
        knows_others=True,
        port=port,
        url=url,
        summary="lets people reach MyProxy with a browser",
        prepare=lambda exports: write_private(str(config), _describe(vo, state, exports).encode()),
    )
    return Contribution(
        ORDER,
        (service,),
        make_steps=lambda: (_step(vo, url),),
        make_exports=lambda _person: {"MYPROXY_PORTAL": url, "MYPROXY_PORTAL_CONFIG": str(config)},
        notices=notices,
    )


def _describe(vo: VO, state: Path, exports: Mapping[str, str]) -> str:
    """Return the configuration; `exports` are what a shell knows of the other services."""
    admin = load_certificates((vo.person("admin").home / ".globus" / "usercert.pem").read_bytes())[0]
    text = _CONFIG.format(
        port=vo.port(NAME),
        server_port=vo.port(server.NAME),
        certificate=vo.host_certificate_path,
        key=vo.host_key_path,
        state=state,
        trust_dir=vo.trust_dir,
        server_state=vo.state_dir(server.NAME),
        own=vo.portal_certificate_path,
        admin=oneline(admin.subject_der),
    )
    if "CAS_SERVER_URL" in exports:
        text += _CAS.format_map(exports)
    if "KCA_CONFIG" in exports:
        text += _KCA.format_map(exports)
    if "HTTP_KEYTAB" in exports and find_spec("gssapi"):
        text += _TICKETS.format_map(exports)
    return text


def _step(vo: VO, url: str) -> Step:
    elsewhere = vo.person("elsewhere").home
    fetched, terminal = elsewhere / "from-the-portal.pem", elsewhere / "terminal.pem"
    deeds = (
        "terminal", f"myproxy-logon --portal {url} -o {terminal}", "show", "/", "fetch", str(fetched),
        "show", "/activity",
    )  # fmt: skip
    return Step(
        "A browser is enough",
        f"The portal at {url} asks for user name and pass phrase; a small program stands in for the browser here. "
        "A terminal, where she types no pass phrase, shows a code and the mark of its key: Alice compares it and says "
        "yes. She looks at what is stored, downloads a proxy, and sees what has happened in her name.",
        (
            Command(
                (sys.executable, "-m", "myproxy.sandbox.visitor", url, "alice", *deeds),
                "elsewhere",
                stdin_path=server.passphrase_path(vo),
                expect=(
                    "Your credentials",
                    "/terminal?code=",
                    "wrote",
                    "Proxy for a terminal",
                    "A credential has been received",
                ),
            ),
            Command(("grid-proxy-verify", str(fetched)), "elsewhere", expect=("verdict  : good",)),
        ),
        beside=True,
    )
