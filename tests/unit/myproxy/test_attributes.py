"""VOMS attributes of clients and for clients: who is asked, who is not, what is passed on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import myproxy.attributes as module
from gsi import oids
from gsi.credential import Credential, parse_credential
from gsi.errors import ConfigError, DeniedError
from gsi.system import clock
from gsi.system.trustdir import TrustDirectory
from gsi.system.vomsdir import VOMSDirectory
from gsi.trust.verify import verify_chain
from gsi.voms.attribute_cert import parse_sequence_of
from gsi.voms.vomses import VOMSEntry, parse_vomses
from myproxy.attributes import ClientAttributes, RequestedAttributes
from myproxy.protocol.messages import Command, Request
from tests.harness.ca import Issued
from tests.harness.voms import VO, ac_extension, extension, target_list
from tests.harness.voms_daemon import VOMSDaemon
from tests.harness.voms_site import OTHER, VOMSSite

HOUR = timedelta(hours=1)


class World:
    """One VO with its server, and what the repository's server knows."""

    def __init__(self, directory: Path) -> None:
        self.site = VOMSSite(directory)
        self.trust = TrustDirectory(str(self.site.trust_dir))
        self.servers = VOMSDirectory(str(self.site.vomsdir))
        self.entries: tuple[VOMSEntry, ...] = ()
        self.source = RequestedAttributes(
            self.servers,
            lambda: self.entries,
            self.trust.anchors,
            lambda chain, *, now: verify_chain(chain, self.trust.anchors(), now=now),
            clock.now,
        )

    def know(self, *lines: str) -> None:
        self.entries = parse_vomses("".join(lines).encode())

    def ask(self, *names: str, vomses: tuple[str, ...] = (), holder: Issued | None = None) -> tuple[str, ...]:
        request = Request(Command.GET, "alice", vo_names=names, vomses=vomses)
        credential: Credential = parse_credential((holder or self.site.alice).bundle())
        given = self.source(request, credential, HOUR)
        assert given.extension.oid == oids.VOMS_AC_SEQUENCE
        assert not given.extension.critical
        found = tuple(fqan for one in parse_sequence_of(given.extension.value) for fqan in one.info.fqans)
        assert found == given.fqans
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def daemon(world: World) -> Iterator[VOMSDaemon]:
    with world.site.daemon() as made:
        world.know(made.vomses)
        yield made


# --- for clients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fqans"),
    [
        (VO, "/testvo"),
        (f"{VO}:/{VO}/g", "/testvo/g"),
        (f"{VO}:{VO}/g", "/testvo/g"),
        (f"{VO}:/{VO}/g/Role=r", "/testvo/g/Role=r"),
        (f"{VO}:/Role=r", "/testvo/Role=r"),
    ],
)
def test_names_of_vos(world: World, daemon: VOMSDaemon, name: str, fqans: str) -> None:
    assert world.ask(name) == daemon.fqans
    assert daemon.requests[0].startswith(f"GET /generate-ac?fqans={fqans}&lifetime=3600 HTTP".encode())


def test_of_a_stored_proxy_and_of_several_vos(world: World) -> None:
    with world.site.daemon() as first, world.site.daemon(OTHER) as second:
        second.fqans = (f"/{OTHER}",)
        world.know(first.vomses, second.vomses)
        found = world.ask(VO, OTHER, f"{VO}:/{VO}/g", holder=world.site.alice.proxy())
        assert found == (*first.fqans, f"/{OTHER}")
        assert len(first.requests) == 1


@pytest.mark.parametrize("name", ["nosuch", f"{VO}:/other", f"{VO}:", ":x", f"{VO}:/{VO}/Capability=x", "\n"])
def test_names_that_make_no_sense(world: World, daemon: VOMSDaemon, name: str) -> None:
    with pytest.raises(DeniedError, match=r"^Couldn't get VOMS User Information\."):
        world.ask(name)
    assert daemon.requests == []


def test_lines_of_the_client_lead_only_to_servers_that_are_trusted(world: World, daemon: VOMSDaemon) -> None:
    world.know()
    line = daemon.vomses.rstrip("\n")
    assert world.ask(VO, vomses=(line,)) == daemon.fqans
    daemon.requests.clear()
    for odd in ("half a line", line.replace('"localhost"', '"127.0.0.1"'), line.replace(f'"{VO}"', '"elsewhere"')):
        with pytest.raises(DeniedError):
            world.ask("elsewhere" if "elsewhere" in odd else VO, vomses=(odd,))
    assert daemon.requests == []


def test_the_next_server_is_asked(world: World, daemon: VOMSDaemon) -> None:
    world.know(world.site.dead_line(), daemon.vomses)
    assert world.ask(VO) == daemon.fqans
    daemon.status, daemon.rest = "500 Oops", b"<voms><error><code>x</code><message>no database</message></error></voms>"
    world.know(daemon.vomses, world.site.dead_line())
    with pytest.raises(DeniedError, match="no database"):
        world.ask(VO)
    world.know(*(world.site.dead_line() for _ in range(module.MAX_SERVERS)), daemon.vomses)
    daemon.requests.clear()
    with pytest.raises(DeniedError) as caught:
        world.ask(VO)
    assert caught.value.message == module.WORDS  # where nobody answered, the places stay in the log
    assert daemon.requests == []


@pytest.mark.parametrize("changes", [{"spoil": True}, {"holder_serial": 1}, {"fqans": ["/elsewhere"]}])
def test_what_is_not_believed_is_not_passed_on(world: World, daemon: VOMSDaemon, changes: dict[str, object]) -> None:
    import base64

    ac = world.site.servers[VO].attribute_certificate(world.site.alice, **changes)  # type: ignore[arg-type]  # fields
    daemon.rest = b"<voms><ac>" + base64.encodebytes(ac) + b"</ac></voms>"
    with pytest.raises(DeniedError) as caught:
        world.ask(VO)
    assert caught.value.message == module.WORDS
    assert caught.value.__cause__ is not None  # for the audit


def test_attributes_of_another_vo(world: World, daemon: VOMSDaemon) -> None:
    import base64

    ac = world.site.servers[OTHER].attribute_certificate(world.site.alice, fqans=[f"/{OTHER}"])
    daemon.rest = b"<voms><ac>" + base64.encodebytes(ac) + b"</ac></voms>"
    with pytest.raises(DeniedError, match="another VO"):
        world.ask(VO)


def test_too_many_vos(world: World) -> None:
    lines = [f'"vo{n}" "localhost" "1" "/CN=x" "vo{n}"\n' for n in range(module.MAX_VOS + 1)]
    world.know(*lines)
    with pytest.raises(DeniedError, match=f"More than {module.MAX_VOS} VOs"):
        world.ask(*(f"vo{n}" for n in range(module.MAX_VOS + 1)))


def test_servers_that_hang_do_not_take_all_threads(
    world: World, daemon: VOMSDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While as many as may ask are asking, the next is refused; afterwards there is room again."""
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.01)
    turns: threading.BoundedSemaphore = world.source._turns
    for _ in range(module.AT_ONCE):
        assert turns.acquire(blocking=False)
    with pytest.raises(DeniedError, match="busy"):
        world.ask(VO)
    assert daemon.requests == []
    turns.release()
    monkeypatch.undo()
    assert world.ask(VO) == daemon.fqans
    assert turns.acquire(blocking=False)


# --- of clients -------------------------------------------------------------------------------------------------------


def test_of_clients(world: World) -> None:
    site = world.site
    server, alice = site.servers[VO], site.alice
    own = frozenset({"myproxy.example.org"})
    judge = ClientAttributes(world.servers, world.trust.anchors, own)
    now = clock.now()

    def fqans(proxy: Issued) -> tuple[str, ...]:
        return judge(verify_chain(proxy.chain_der, world.trust.anchors(), now=now), now=now)

    good = server.attribute_certificate(alice, fqans=[f"/{VO}/Role=a", f"/{VO}"])
    bad = server.attribute_certificate(alice, fqans=[f"/{VO}/Role=b"], spoil=True)
    assert judge(None, now=now) == ()
    assert fqans(alice.proxy()) == ()
    assert fqans(alice.proxy(extensions=[ac_extension(bad, good)])) == (f"/{VO}/Role=a", f"/{VO}")
    # Who delegates leaves attributes behind by other ones: those above do not count.
    upper = alice.proxy(extensions=[ac_extension(good)])
    assert fqans(upper.proxy()) == (f"/{VO}/Role=a", f"/{VO}")
    assert fqans(upper.proxy(extensions=[ac_extension(bad)])) == ()
    for host, expected in (("myproxy.example.org", (f"/{VO}",)), ("ce.example.org", ())):
        targets = extension("2.5.29.55", target_list(host), critical=True)
        meant = server.attribute_certificate(alice, fqans=[f"/{VO}"], extensions=[targets])
        assert fqans(alice.proxy(extensions=[ac_extension(meant)])) == expected


# --- configuration ----------------------------------------------------------------------------------------------------


def test_wiring(world: World, tmp_path: Path) -> None:
    from myproxy.config import parse_config
    from myproxy.wiring.attributes import make_requested_attributes

    def verify(chain: object, *, now: object) -> object:
        raise AssertionError((chain, now))

    def make(text: str) -> object:
        config = parse_config(text, path="x")
        assert config.notes == ()
        return make_requested_attributes(config, verify, world.trust.anchors)  # type: ignore[arg-type]  # never called

    assert make("") is None
    assert make(f"voms_userconf {tmp_path}/missing") is None
    with pytest.raises(ConfigError, match="does not exist"):
        make(f"allow_voms_attribute_requests true\nvoms_userconf {tmp_path}/missing")
    world.site.write_vomses(world.site.dead_line())
    assert make(f"allow_voms_attribute_requests true\nvoms_userconf {world.site.vomses}") is not None
