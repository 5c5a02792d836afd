"""What `gsi-doctor` says of portals that speak for their users: whether the server of the machine believes them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gsi.doctor.visit import Visit
from gsi.system.config import parse_config
from gsi.system.environ import read_locations
from gsi.trust.diagnose import Finding, Severity
from gsi.trust.options import CRLPolicy
from gsi.trust.peername import NameMode
from myproxy.doctor import _front_end
from myproxy.portal.config import PortalConfig
from tests.harness.ca import TestCA, write_file

NAME = "/O=Grid/CN=portal.example.org"
NAMED = f'trusted_front_ends "{NAME}"'


def look(directory: Path, own: str, server: str | None, asked: str = "myproxy.example.org") -> list[Finding]:
    """Say what is found of a portal with `[own]`, beside a server with a line; None for no server."""
    TestCA("/O=Grid/CN=CA", "p256").issue(NAME, "p256").write(directory / "own.pem", directory / "own.key")
    config = directory / "myproxy-server.config"
    if server is not None:
        write_file(config, f'accepted_credentials "*"\nauthorized_retrievers "*"\n{server}\n'.encode(), 0o600)
    text = f'names = ["portal.example.org"]\nserver = "{asked}"\n{own.format(directory)}'
    visit = Visit(
        now=datetime.now(UTC),
        locations=read_locations({}),
        trust_dir=str(directory),
        anchors=None,
        crl=CRLPolicy.IF_PRESENT,
        mode=NameMode.HYBRID,
        host="node1.example.org",
        timeout=2,
        configs={"myproxy": str(config)},
    )
    return list(_front_end(parse_config(text.encode(), PortalConfig, path="portal.toml"), visit))


KNOWN = '[own]\ncertificate = "{0}/own.pem"\nkey = "{0}/own.key"\n'
SPEAKS = f"{KNOWN}front_end = true\n"


@pytest.mark.parametrize(
    ("own", "server", "asked", "severity", "hint"),
    [
        (SPEAKS, NAMED, "localhost", Severity.OK, None),
        (SPEAKS, NAMED, "myproxy.example.org", Severity.OK, None),
        (SPEAKS, "", "localhost", Severity.ERROR, NAMED),
        (SPEAKS, "", "elsewhere.example.org,node1.example.org:7777", Severity.ERROR, NAMED),
        (SPEAKS, 'trusted_front_ends "/O=Grid/CN=other"', "myproxy.example.org", Severity.WARNING, NAMED),
        (SPEAKS, None, "myproxy.example.org", Severity.NOTE, None),
        (KNOWN, NAMED, "localhost", Severity.WARNING, "front_end = true in [own]"),
    ],
)
def test_portal_and_server_have_to_agree(
    tmp_path: Path, own: str, server: str | None, asked: str, severity: Severity, hint: str | None
) -> None:
    (found,) = look(tmp_path, own, server, asked)
    assert (found.severity, found.check, found.hint) == (severity, "front-end", hint)
    assert severity is not Severity.NOTE or NAMED in found.message


@pytest.mark.parametrize(("own", "server"), [("", NAMED), ("", None), (KNOWN, ""), (KNOWN, None)])
def test_portals_that_say_nothing_need_nothing(tmp_path: Path, own: str, server: str | None) -> None:
    assert look(tmp_path, own, server) == []
