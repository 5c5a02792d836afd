"""Our `voms-proxy-init` and the VOMS server of our own: what one asks, the other gives."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.harness.capabilities import VOMSListener
from tests.harness.voms import VO
from tests.harness.voms_site import VOMSSite

pytestmark = pytest.mark.interop

GROUP = f"/{VO}/Role=NULL/Capability=NULL"
PRODUCTION = f"/{VO}/prod/Role=NULL/Capability=NULL"
WRITER = f"/{VO}/prod/Role=writer/Capability=NULL"


class World:
    """The VO's server, and Alice."""

    def __init__(self, directory: Path) -> None:
        self.site = VOMSSite(directory)

    def listener(self, *, max_lifetime: int = 43200, old: bool = False, **members: str) -> VOMSListener:
        rights: dict[str, list[str] | str] = {self.site.alice.subject: [GROUP, PRODUCTION, WRITER]}
        rights |= {f"/O=Grid/CN={name}": word for name, word in members.items()}
        host = self.site.servers[VO].credential
        return VOMSListener(self.site.directory, host, self.site.trust_dir, rights, max_lifetime=max_lifetime, old=old)

    def become(self, name: str) -> None:
        self.site.key.unlink()
        self.site.ca.issue(f"/O=Grid/CN={name}").write(self.site.cert, self.site.key, key_mode=0o400)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("old", [False, True], ids=["rest", "legacy"])
@pytest.mark.parametrize(
    ("wishes", "given"),
    [
        ([VO], (GROUP, PRODUCTION)),
        ([f"{VO}:/{VO}/prod/Role=writer"], (WRITER, GROUP, PRODUCTION)),
        ([f"{VO}:/{VO}/prod", VO], (PRODUCTION, GROUP)),
    ],
)
def test_groups_and_roles(world: World, wishes: list[str], given: tuple[str, ...], old: bool) -> None:
    with world.listener(old=old) as listener:
        world.site.write_vomses(listener.vomses)
        words = [word for wish in wishes for word in ("-voms", wish)]
        done = world.site.ours("voms-proxy-init", *words).check()
        assert done.stderr == ""
    assert world.site.judge().fqans == (given,)
    shown = world.site.ours("voms-proxy-info", "-fqan").check().stdout
    assert tuple(shown.split()) == given


def test_everything(world: World) -> None:
    with world.listener() as listener:
        world.site.write_vomses(listener.vomses)
        listed = world.site.ours("voms-proxy-list", "-voms", VO).check().stdout
        assert set(listed.partition("Available attributes:\n")[2].split()) == {GROUP, PRODUCTION, WRITER}
        world.site.ours("voms-proxy-init", "-voms", f"{VO}:all").check()
    (given,) = world.site.judge().fqans
    assert set(given) == {GROUP, PRODUCTION, WRITER}


def test_order_targets_and_lifetime(world: World) -> None:
    here = socket.gethostname()
    with world.listener() as listener:
        world.site.write_vomses(listener.vomses)
        world.site.ours(
            "voms-proxy-init", "-voms", VO, "-order", f"/{VO}/prod", "-target", f"{here},ce.example.org", "-vomslife",
            "2:00",
        ).check()  # fmt: skip
    ((_, _, lifetime, order, targets),) = listener.requests()
    assert (lifetime, order, targets) == (7200.0, [f"/{VO}/prod"], [here, "ce.example.org"])
    assert world.site.judge().fqans == ((PRODUCTION, GROUP),)
    assert world.site.ours("voms-proxy-info", "-targets").check().stdout.split()[2::3] == [here, "ce.example.org"]


def test_a_shorter_life_is_told(world: World) -> None:
    with world.listener(max_lifetime=3600) as listener:
        world.site.write_vomses(listener.vomses)
        done = world.site.ours("voms-proxy-init", "-voms", VO).check()
        assert "shortened" in done.stderr
        assert world.site.ours("voms-proxy-init", "-voms", VO, "-failonwarn").returncode == 1
        world.site.ours("voms-proxy-init", "-voms", VO, "-vomslife", "0:00").check()
    assert int(world.site.ours("voms-proxy-info", "-actimeleft").check().stdout) <= 3600


@pytest.mark.parametrize(
    ("name", "words"), [("Bob", "<unknown> to this VO"), ("Suspended", "suspended"), ("Down", "internal server error")]
)
def test_a_no_is_shown(world: World, name: str, words: str) -> None:
    world.become(name)
    with world.listener(Suspended="suspended", Down="down") as listener:
        world.site.write_vomses(listener.vomses)
        done = world.site.ours("voms-proxy-init", "-voms", VO)
    assert done.returncode == 1
    assert words in done.stderr
    assert not world.site.proxy.exists()


def test_the_proxy_that_is_there_asks(world: World) -> None:
    with world.listener() as listener:
        world.site.write_vomses(listener.vomses)
        world.site.ours("voms-proxy-init").check()
        world.site.key.unlink()
        world.site.ours("voms-proxy-init", "-noregen", "-voms", VO).check()
    assert world.site.judge().fqans == ((GROUP, PRODUCTION),)
