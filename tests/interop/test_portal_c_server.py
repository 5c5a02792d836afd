"""What the portal asks, asked of the C `myproxy-server`: the portal needs nothing that only ours has."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gsi.errors import RefusedError, RemoteProtocolError
from gsi.proxy.chain import ProxyChain
from gsi.secret import Passphrase
from gsi.system import clock
from gsi.system.trustdir import TrustDirectory
from myproxy.client import ServerAddress
from myproxy.portal.desk import Desk, identify
from tests.harness.daemons import c_myproxy_server
from tests.interop.conftest import ALICE, Grid
from tests.interop.ours import credential_of

OLD, NEW = Passphrase("correct horse"), Passphrase("another horse")
HOUR = timedelta(hours=1)


def test_the_c_server(grid: Grid) -> None:
    with c_myproxy_server(grid.host, grid.trust_dir) as server:
        address = ServerAddress.parse(f"localhost:{server.port}")
        desk = Desk(address, TrustDirectory(str(grid.trust_dir)).anchors, clock=clock.now)
        alice = credential_of(grid.users["rsa2048", "rsa2048"])
        desk.deposit(alice, "alice", OLD, lifetime=timedelta(days=7))
        desk.keep(alice, "alice", NEW, name="other", description="with its key")
        with pytest.raises(RefusedError):
            desk.log_on("alice", NEW, lifetime=HOUR)
        front_end = credential_of(grid.host)  # it would be judged in the user's place
        ours = Desk(address, TrustDirectory(str(grid.trust_dir)).anchors, clock=clock.now, front_end=front_end)
        with pytest.raises(RemoteProtocolError, match="has not judged the user"):
            ours.log_on("alice", OLD, lifetime=HOUR, source="192.0.2.1")
        proxy = desk.log_on("alice", OLD, lifetime=12 * HOUR)
        assert identify(proxy).subject == ALICE
        assert identify(proxy).issuer == "/O=Grid/CN=Test CA rsa2048"
        assert desk.account(proxy, "alice").history is None
        assert [(one.name, one.description, one.owner) for one in desk.look(proxy, "alice")] == [
            (None, None, ALICE),
            ("other", "with its key", ALICE),
        ]
        made = desk.make_proxy(proxy, HOUR, limited=True)
        assert ProxyChain.split(made.certificates).is_limited
        assert identify(desk.log_on("alice", NEW, lifetime=HOUR, name="other")).subject == ALICE
        with pytest.raises(RefusedError):
            desk.change_passphrase(proxy, "alice", None, NEW, OLD)
        desk.change_passphrase(proxy, "alice", None, OLD, NEW)
        desk.log_on("alice", NEW, lifetime=HOUR)
        for name in (None, "other"):
            desk.destroy(proxy, "alice", name)
        assert desk.look(proxy, "alice") == ()
