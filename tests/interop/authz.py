"""What the suites of the callout share: files of a test on a GridFTP server, sessions there, copies to it."""

from __future__ import annotations

import os
import pwd
import shutil
from typing import TYPE_CHECKING

import pytest

from gsi.context.ftp import FTPRefusedError
from gsi.context.gridftp import GridFTPClient
from gsi.system import clock
from gsi.system.credential_files import load_proxy
from gsi.system.trustdir import TrustDirectory
from gsi.transport.stream import parse_hosts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.daemons import GridFTPServer
    from tests.harness.environment import UserEnvironment
    from tests.harness.run import Done
    from tests.interop.conftest import Grid

__all__ = ["Place", "copy", "refused"]


class Place:
    """Files of one test on a server, and sessions there."""

    def __init__(self, grid: Grid, server: GridFTPServer, user: UserEnvironment) -> None:
        self.server = server
        self._grid = grid
        self._user = user
        for directory in ("mine", "readonly", "secret"):
            path = server.files / directory
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            self._own(path)
        self.mine, self.readonly, self.secret = (server.files / each for each in ("mine", "readonly", "secret"))

    def _own(self, path: Path) -> None:
        entry = pwd.getpwnam(self.server.account)
        if os.geteuid() == 0:
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)

    def write(self, path: Path, content: bytes = b"content") -> Path:
        path.write_bytes(content)
        self._own(path)
        return path

    def make_directory(self, path: Path) -> Path:
        path.mkdir()
        self._own(path)
        return path

    def link(self, path: Path, target: Path) -> Path:
        path.symlink_to(target)
        self._own(path)
        return path

    def session(self) -> GridFTPClient:
        """A control connection as the user's proxy."""
        client = GridFTPClient.connect(
            parse_hosts(f"localhost:{self.server.port}", default_port=2811),
            load_proxy(str(self._user.proxy_path)),
            TrustDirectory(str(self._grid.trust_dir)).anchors(),
            now=clock.now,
            timeout=20,
        )
        try:
            client.login()
        except BaseException:
            client.close()
            raise
        return client


def refused(client: GridFTPClient, line: str) -> str:
    """Give a command that must be refused; return the server's words."""
    with pytest.raises(FTPRefusedError) as refusal:
        client.command(line)
    return "\n".join(refusal.value.reply.lines)


def copy(user: UserEnvironment, server: GridFTPServer, target: Path, *, account: str = "") -> Done:
    """Upload a small file with the C client, perhaps asking for an account."""
    source = user.home / "source"
    source.write_bytes(b"uploaded")
    url = server.url(target)
    if account:
        url = url.replace("gsiftp://", f"gsiftp://{account}@")
    return user.theirs("globus-url-copy", f"file://{source}", url)
