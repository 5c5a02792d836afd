"""The examples of docs/howto/gsi-context.md, run with the real services."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.ca import Issued
from tests.harness.daemons import GridFTPServer
from tests.harness.environment import UserEnvironment
from tests.harness.gatekeeper import c_gatekeeper
from tests.interop.conftest import ALICE, Grid
from tests.interop.ours import FULL, proxy_of, write

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/gsi-context.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
PRINTED = [
    rf"^{ALICE} delegated <Credential .*>\nb'a message'\n$",
    r"^TLS_AES_256_GCM_SHA384\n$",
    r"^\['\.', '\.\.', 'file'\]\n16384 bytes\n$",
    r"^/O=Grid/CN=localhost 1\.3\n$",
]


def test_every_example_is_run() -> None:
    assert len(BLOCKS) == len(PRINTED)


@pytest.mark.parametrize(
    ("code", "printed"), list(zip(BLOCKS, PRINTED, strict=True)), ids=["own", "stream", "gridftp", "ping"]
)
def test_an_example(
    code: str,
    printed: str,
    grid: Grid,
    user: UserEnvironment,
    gridftp: GridFTPServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(user.proxy_path, proxy_of(grid.users["rsa2048", "rsa2048"], FULL))
    host_path, key_path = user.home / "hostcert.pem", user.home / "hostkey.pem"
    host: Issued = grid.host
    host.write(host_path, key_path)
    data = gridftp.files / "howto"
    data.mkdir(exist_ok=True)
    (data / "file").write_bytes(bytes(16384))
    (data / "file").chmod(0o644)
    with c_gatekeeper(grid.host, grid.trust_dir, [ALICE]) as gatekeeper:
        for text, replacement in {
            "/etc/grid-security/certificates": str(user.trust_dir),
            "/etc/grid-security/hostcert.pem": str(host_path),
            "/etc/grid-security/hostkey.pem": str(key_path),
            "/tmp/x509up_u1000": str(user.proxy_path),
            "default_port=2811": f"default_port={gridftp.port}",
            "default_port=2119": f"default_port={gatekeeper.port}",
            "gk.example.org:2119": f"localhost:{gatekeeper.port}",
            "gk.example.org": "localhost",
            "data.example.org": "localhost",
            '"/data': f'"{data}',
        }.items():
            code = code.replace(text, replacement)
        exec(compile(code, str(PAGE), "exec"), {})
    assert re.search(printed, capsys.readouterr().out)
