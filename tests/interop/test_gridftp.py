"""Transfers with our proxies through the real `globus-url-copy` and a real `globus-gridftp-server`.

The client always delegates, and the C programs delegate only with RSA keys below RSA signatures; so a P-256 user needs
a second RSA proxy in between, and a proxy with an EC key cannot be used here at all (`test_proxy_c_reads_ours` has the
C validator judge those).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.harness.ca import KeyKind, write_trust_dir
from tests.harness.daemons import GridFTPServer, gridftp_server
from tests.interop.conftest import ALICE, CA_KINDS, Grid
from tests.interop.ours import FULL, INDEPENDENT, LIMITED, RESTRICTED, proxy_of, write

if TYPE_CHECKING:
    from pathlib import Path

    from gsi.credential import Credential
    from gsi.proxy.issue import ProxyOptions
    from tests.harness.environment import UserEnvironment
    from tests.harness.run import Done

each_ca = pytest.mark.parametrize("ca", CA_KINDS)
CONTENT = bytes(range(256)) * 64


def _upload(user: UserEnvironment, server: GridFTPServer, proxy: Credential) -> tuple[Done, Path]:
    write(user.proxy_path, proxy)
    source = user.home / "source"
    source.write_bytes(CONTENT)
    target = server.files / f"{user.home.parent.name}-{user.home.stat().st_ino}"
    return user.theirs("globus-url-copy", f"file://{source}", server.url(target)), target


def _assert_both_ways(user: UserEnvironment, server: GridFTPServer, proxy: Credential) -> None:
    done, target = _upload(user, server, proxy)
    done.check()
    assert target.read_bytes() == CONTENT
    back = user.home / "back"
    user.theirs("globus-url-copy", server.url(target), f"file://{back}").check()
    assert back.read_bytes() == CONTENT


@each_ca
@pytest.mark.parametrize("options", [FULL, LIMITED], ids=["full", "limited"])
def test_transfer(
    grid: Grid, user: UserEnvironment, gridftp: GridFTPServer, ca: KeyKind, options: ProxyOptions
) -> None:
    _assert_both_ways(user, gridftp, proxy_of(grid.users[ca, "rsa2048"], options))


@each_ca
@pytest.mark.parametrize("eec", ["rsa2048", "p256"])
def test_transfer_with_a_second_proxy(
    grid: Grid, user: UserEnvironment, gridftp: GridFTPServer, ca: KeyKind, eec: KeyKind
) -> None:
    first = proxy_of(grid.users[ca, eec], FULL)
    _assert_both_ways(user, gridftp, proxy_of(first, FULL))
    _assert_both_ways(user, gridftp, proxy_of(first, LIMITED))


def test_command_and_transfer(user: UserEnvironment, gridftp: GridFTPServer) -> None:
    """The whole path by commands alone: ours makes the proxy, theirs move a file with it."""
    user.ours("grid-proxy-init", "-limited", "-path-length", "3").check()
    source = user.home / "source"
    source.write_bytes(CONTENT)
    target = gridftp.files / f"command-{user.home.stat().st_ino}"
    user.theirs("globus-url-copy", f"file://{source}", gridftp.url(target)).check()
    assert target.read_bytes() == CONTENT


@each_ca
def test_independent_authenticates_but_is_not_mapped(
    grid: Grid, user: UserEnvironment, gridftp: GridFTPServer, ca: KeyKind
) -> None:
    done, target = _upload(user, gridftp, proxy_of(grid.users[ca, "rsa2048"], INDEPENDENT))
    assert done.returncode != 0
    assert f"Could not map {ALICE}/CN=" in done.stderr  # past the handshake, refused by the grid-mapfile
    assert not target.exists()


@pytest.mark.parametrize(
    ("lengths", "moved"), [((1,), True), ((2, None), True), ((1, 0), False), ((0,), False)], ids=str
)
def test_path_length(
    grid: Grid, user: UserEnvironment, gridftp: GridFTPServer, lengths: tuple[int | None, ...], moved: bool
) -> None:
    """The proxy that the client delegates is one level more, and with it the data channel is authenticated."""
    proxy = None
    for length in lengths:
        proxy = proxy_of(proxy or grid.users["rsa2048", "rsa2048"], FULL._replace(path_length=length))
    assert proxy is not None
    done, _ = _upload(user, gridftp, proxy)
    assert (done.returncode == 0) is moved, done
    if not moved:  # authenticated and mapped; it is the delegated proxy that is one too many
        assert "Could not map" not in done.stderr
        assert "gss_accept_sec_context failed" in done.stderr


def test_restricted_is_refused(grid: Grid, user: UserEnvironment, gridftp: GridFTPServer) -> None:
    done, target = _upload(user, gridftp, proxy_of(grid.users["rsa2048", "rsa2048"], RESTRICTED))
    assert done.returncode != 0
    assert "Authentication" in done.stderr
    assert not target.exists()


def test_stranger_is_refused(grid: Grid, user: UserEnvironment, gridftp: GridFTPServer) -> None:
    mallory = grid.cas["rsa2048"].issue("/O=Grid/OU=Test/CN=Mallory")
    done, target = _upload(user, gridftp, proxy_of(mallory, FULL))
    assert done.returncode != 0
    assert "Could not map /O=Grid/OU=Test/CN=Mallory" in done.stderr
    assert not target.exists()


def test_revoked_user_is_refused(grid: Grid, user: UserEnvironment, tmp_path: Path) -> None:
    """The proxy itself is in no CRL; the certificate above it is."""
    ca = grid.cas["rsa2048"]
    alice = ca.issue(ALICE)
    trust_dir = write_trust_dir(tmp_path / "revoking", ca, crl=ca.crl([alice]))
    with gridftp_server(grid.host, trust_dir, [ALICE]) as server:
        done, target = _upload(user, server, proxy_of(alice, FULL))
        assert done.returncode != 0
        assert not target.exists()
        done, target = _upload(user, server, proxy_of(grid.users["rsa2048", "rsa2048"], FULL))
        done.check()


def test_short_lifetime(grid: Grid, user: UserEnvironment, gridftp: GridFTPServer) -> None:
    _assert_both_ways(
        user, gridftp, proxy_of(grid.users["rsa2048", "rsa2048"], FULL._replace(lifetime=timedelta(minutes=2)))
    )


@pytest.mark.parametrize("ca", ["rsa2048", "p256"])
@pytest.mark.parametrize("key", ["rsa2048", "p256"])
def test_server_keys(grid: Grid, user: UserEnvironment, ca: KeyKind, key: KeyKind) -> None:
    """Host certificates of both kinds under authorities of both kinds."""
    host = grid.cas[ca].issue_host(key=key)
    with gridftp_server(host, grid.trust_dir, [ALICE]) as server:
        _assert_both_ways(user, server, proxy_of(grid.users["rsa2048", "rsa2048"], FULL))
