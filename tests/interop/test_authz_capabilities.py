"""Capabilities enforced by a real globus-gridftp-server: VOMS attributes in proxies, tokens over SITE AUTHZ_ASSERT."""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from gsi.errors import GridError
from tests.harness.ca import Issued, write_file
from tests.harness.callout import AuthzServer, authz_server, callout_site, service_account
from tests.harness.daemons import GridFTPServer, gridftp_server
from tests.harness.environment import UserEnvironment
from tests.harness.run import Done
from tests.harness.tokens import AUDIENCE, TokenIssuer, b64
from tests.harness.voms import VO, VOMSServer, ac_extension
from tests.interop.authz import Place
from tests.interop.conftest import ALICE, Grid

TREE: Final = f"{tempfile.gettempdir()}/gsi-daemon-*/files"
PROD: Final = f"/{VO}/Role=prod/Capability=NULL"


class Site(NamedTuple):
    """A server, what decides for it, and who issues capabilities."""

    daemon: AuthzServer
    server: GridFTPServer
    voms: VOMSServer
    tokens: TokenIssuer


@pytest.fixture(scope="module")
def site(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("capabilities")
    voms, tokens = VOMSServer(grid.cas["rsa2048"]), TokenIssuer()
    vomsdir = voms.write_lsc(root / "vomsdir")
    write_file(root / "keys.json", tokens.key_set(), 0o644)
    account = service_account()
    rules = (
        f"permit fqan /{VO}/Role=prod to login as {account}\n"
        f"permit fqan /{VO}/Role=prod to lookup, read, write, create, delete on {TREE}/mine/**\n"
        f'permit dn "{ALICE}" to login as {account}\n'
        f'permit dn "{ALICE}" to authz_assert on **\n'
    )
    policy = f"""
order = ["scopes", "rules"]
sources = ["voms", "tokens"]
[authorizer.scopes]
type = "token-scopes"
[authorizer.rules]
type = "rules"
file = "rules"
[source.voms]
type = "voms"
vomsdir = "{vomsdir}"
[source.tokens]
type = "tokens"
audiences = ["{AUDIENCE}"]
[source.tokens.issuers.vo]
url = "{tokens.url}"
jwks_file = "{root}/keys.json"
"""
    with (
        callout_site(timeout_ms=10000) as callout,
        authz_server(callout.socket, grid.trust_dir, rules, policy=policy) as daemon,
        gridftp_server(grid.host, grid.trust_dir, [], extra=callout.variables) as server,
    ):
        yield Site(daemon, server, voms, tokens)


@pytest.fixture
def alice(grid: Grid) -> Issued:
    return grid.users["rsa2048", "rsa2048"]


@pytest.fixture
def place(grid: Grid, site: Site, user: UserEnvironment) -> Place:
    return Place(grid, site.server, user)


def _put(user: UserEnvironment, site: Site, target: Path) -> Done:
    source = user.home / "source"
    source.write_bytes(b"content")
    return user.theirs("globus-url-copy", f"file://{source}", site.server.url(target))


def test_attributes_of_voms(grid: Grid, site: Site, user: UserEnvironment, alice: Issued, place: Place) -> None:
    """Whoever has the role writes, also after a further delegation."""
    carol = grid.cas["rsa2048"].issue("/O=Grid/OU=Test/CN=Carol")
    ac = site.voms.attribute_certificate(carol, fqans=[PROD])
    user.install_proxy(carol.proxy(extensions=[ac_extension(ac)]).proxy())
    assert _put(user, site, place.mine / "f").returncode == 0, site.daemon.log
    assert (place.mine / "f").read_bytes() == b"content"
    assert _put(user, site, place.readonly / "f").returncode != 0
    user.install_proxy(carol.proxy())
    assert "not authorized" in _put(user, site, place.mine / "g").stderr


@pytest.mark.parametrize("how", ["forged", "another's", "another VO's", "expired"])
def test_attributes_that_are_not_hers(
    how: str, grid: Grid, site: Site, user: UserEnvironment, alice: Issued, place: Place
) -> None:
    """Refused, although Alice could log on without."""
    from datetime import UTC, datetime, timedelta

    bob = grid.cas["rsa2048"].issue("/O=Grid/OU=Test/CN=Bob")
    past = datetime.now(UTC) - timedelta(hours=2)
    ac = {
        "forged": lambda: site.voms.attribute_certificate(alice, fqans=[PROD], spoil=True),
        "another's": lambda: site.voms.attribute_certificate(bob, fqans=[PROD]),
        "another VO's": lambda: site.voms.attribute_certificate(alice, fqans=["/othervo/Role=prod"]),
        "expired": lambda: site.voms.attribute_certificate(
            alice, fqans=[PROD], not_before=past - timedelta(hours=1), not_after=past
        ),
    }[how]()
    user.install_proxy(alice.proxy(extensions=[ac_extension(ac)]))
    assert _put(user, site, place.mine / "x").returncode != 0
    assert not (place.mine / "x").exists()
    assert "attribute certificate: " in site.daemon.log


def _token(site: Site, holder: Issued, scope: str, **changes: object) -> str:
    return site.tokens.token(cnf={"x5t#S256": b64(hashlib.sha256(holder.der).digest())}, scope=scope, **changes)


def test_scopes_of_a_token(site: Site, user: UserEnvironment, alice: Issued, place: Place) -> None:
    """Shown by the stock client; reads what the token covers, writes nothing."""
    user.install_proxy(alice.proxy())
    place.write(place.readonly / "f", b"data")
    place.write(place.secret / "f", b"secret")
    token, back = user.home / "token", user.home / "back"

    def get(path: Path, *options: str | Path) -> Done:
        return user.theirs("globus-url-copy", *options, site.server.url(path), f"file://{back}")

    token.write_text(_token(site, alice, f"storage.read:{site.server.files}/readonly"))
    assert get(place.readonly / "f").returncode != 0
    get(place.readonly / "f", "-aa", token).check()
    assert back.read_bytes() == b"data"
    assert get(place.secret / "f", "-aa", token).returncode != 0
    source = user.home / "source"
    source.write_bytes(b"x")
    written = user.theirs("globus-url-copy", "-aa", token, f"file://{source}", site.server.url(place.readonly / "g"))
    assert written.returncode != 0
    assert not (place.readonly / "g").exists()


def test_a_stolen_token(grid: Grid, site: Site, user: UserEnvironment, alice: Issued, place: Place) -> None:
    """Bound to Bob's certificate: not accepted from Alice, and then nothing of it is enforced."""
    bob = grid.cas["rsa2048"].issue("/O=Grid/OU=Test/CN=Bob")
    user.install_proxy(alice.proxy())
    place.write(place.readonly / "f", b"data")
    token = user.home / "token"
    token.write_text(_token(site, bob, f"storage.read:{site.server.files}/readonly"))
    back = f"file://{user.home}/back"
    done = user.theirs("globus-url-copy", "-aa", token, site.server.url(place.readonly / "f"), back)
    assert done.returncode != 0
    assert not (user.home / "back").exists() or not (user.home / "back").read_bytes()
    assert "another certificate than the presenter's" in site.daemon.log


def test_a_token_that_ends_in_a_session(site: Site, user: UserEnvironment, alice: Issued, place: Place) -> None:
    """The client reads what has ended and when, and a fresh one is enough to go on; garbage is no token."""
    user.install_proxy(alice.proxy())
    place.write(place.readonly / "f", b"data")
    scope = f"storage.read:{site.server.files}/readonly"
    ends = int(time.time()) + 4
    with place.session() as client:

        def why(line: str) -> str:
            with pytest.raises(GridError) as caught:
                client.command(line)
            return str(caught.value)

        client.command(f"SITE AUTHZ_ASSERT {_token(site, alice, scope, iat=ends - 9, exp=ends)}")
        assert client.retrieve(str(place.readonly / "f")) == b"data"
        assert "nothing that is understood" in why("SITE AUTHZ_ASSERT garbage")
        client.command(f"SIZE {place.readonly}/f")
        while time.time() <= ends:  # the daemon's clock is this one
            threading.Event().wait(0.1)
        ended = f"token: expired at {datetime.fromtimestamp(ends, UTC):%Y-%m-%dT%H:%M:%SZ}"
        assert ended in why(f"SIZE {place.readonly}/f")
        with pytest.raises(GridError, match="token: expired at"):
            client.retrieve(str(place.readonly / "f"))
        client.command(f"SITE AUTHZ_ASSERT {_token(site, alice, scope)}")
        assert client.retrieve(str(place.readonly / "f")) == b"data"


def test_long_assertions_come_through_whole(site: Site, user: UserEnvironment, alice: Issued, place: Place) -> None:
    """Longer than any token may be: who verifies tells how long it was."""
    user.install_proxy(alice.proxy())
    with place.session() as client, pytest.raises(GridError):
        client.command(f"SITE AUTHZ_ASSERT ey{'x' * 49_996}..")
    assert "token: 50000 characters, limit 16384" in site.daemon.log


@pytest.mark.parametrize("waits", [False, True], ids=["replaced", "ended"])
def test_renames_by_the_rights_of_another_token(
    site: Site, user: UserEnvironment, alice: Issued, place: Place, *, waits: bool
) -> None:
    """What a token allowed to rename, and was asked about already, is not what the next one allows."""
    user.install_proxy(alice.proxy())
    files = site.server.files
    place.write(place.readonly / "f", b"precious")
    place.readonly.chmod(0o777)
    scope = f"storage.read:{files}/readonly storage.modify:{files}/readonly storage.modify:{files}/mine"
    ends = int(time.time()) + (4 if waits else 600)
    with place.session() as client:
        client.command(f"SITE AUTHZ_ASSERT {_token(site, alice, scope, iat=ends - 660, nbf=ends - 660, exp=ends)}")
        client.command(f"SIZE {place.readonly}/f")
        for content in (b"x", b"xx"):
            client.store(str(place.mine / "x"), content)
        if waits:
            client.command(f"RNFR {place.readonly}/f")
            while time.time() <= ends:
                threading.Event().wait(0.1)
        less = f"storage.create:{files}/mine" + ("" if waits else f" storage.read:{files}/readonly")
        client.command(f"SITE AUTHZ_ASSERT {_token(site, alice, less)}")
        with pytest.raises(GridError, match="no permission to delete"):
            client.command(f"DELE {place.readonly}/f")
        if not waits:
            client.command(f"RNFR {place.readonly}/f")
        with pytest.raises(GridError, match=r"could be a rename of .*, which you have no permission to delete"):
            client.command(f"RNTO {place.mine}/stolen")
    assert (place.readonly / "f").read_bytes() == b"precious"
    assert not (place.mine / "stolen").exists()
