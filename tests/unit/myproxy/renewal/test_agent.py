"""The agent with a source that signs at once and a clock that stands still: schedule, failures, files, notes."""

from __future__ import annotations

import contextlib
import os
import resource
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gsi.credential import Credential, parse_credential
from gsi.errors import ConfigError, GridError, TransportError
from gsi.trust.anchors import TrustAnchors
from myproxy.renewal.agent import Agent
from myproxy.renewal.config import Entry, RenewalConfig, SourceSettings, load_config
from myproxy.renewal.place import Place
from myproxy.renewal.schedule import LAST_RETRY, State
from myproxy.renewal.slot import Slot
from myproxy.renewal.status import take_status
from tests.harness.ca import FULL_INFO, LIMITED_INFO, Extra, Issued, TestCA, write_file, write_trust_dir
from tests.harness.voms import VOMSServer, ac_extension

HOUR = timedelta(hours=1)
SOURCE = '[source.s]\nserver = "localhost"\ncertificate = "/none.pem"\n'
ENTRY = '[credential.{0}]\nsource = "s"\npath = "{1}"\nusername = "alice"\nproof = "trust"\n'


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory, ca: TestCA) -> Path:
    return write_trust_dir(tmp_path_factory.mktemp("trust") / "certificates", ca)


@dataclass
class World:
    """An agent's surroundings.

    Attributes:
        gives: What the source gives, or raises.
        asked: How often it was asked.
    """

    directory: Path
    trust: Path
    ca: TestCA
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    gives: Issued | GridError | None = None
    asked: int = 0
    meanwhile: bytes | None = None
    more: str = ""

    @property
    def path(self) -> Path:
        return self.directory / "alice.pem"

    @property
    def config_path(self) -> Path:
        return self.directory / "renewd.toml"

    def issue(self, begin: float, end: float, name: str = "Alice", ca: TestCA | None = None) -> Issued:
        return (ca or self.ca).issue(
            f"/O=Grid/CN={name}", "p256", not_before=self.now + begin * HOUR, not_after=self.now + end * HOUR
        )

    def put(self, issued: Issued, mode: int = 0o600) -> bytes:
        write_file(self.path, issued.bundle(), mode)
        return self.path.read_bytes()

    def configure(self, *names: str, more: str = "") -> None:
        text = (
            f'state = "{self.directory}/state"\ntrust = "{self.trust}"\naudit = "{self.directory}/audit.log"\n{SOURCE}'
        )
        for name in names or ("alice",):
            text += ENTRY.format(name, self.directory / f"{name}.pem") + more
        write_file(self.config_path, (text + self.more).encode(), 0o600)

    def fetch(
        self,
        entry: Entry,
        source: SourceSettings,
        held: Credential | None,
        *,
        anchors: TrustAnchors,
        trust_dir: str,
        workspace: str,
    ) -> Credential:
        self.asked += 1
        if self.meanwhile is not None:
            write_file(self.path, self.meanwhile, 0o600)
        if isinstance(self.gives, GridError):
            raise self.gives
        assert self.gives is not None
        return parse_credential(self.gives.bundle(), source="given")

    def load(self) -> RenewalConfig:
        return load_config(str(self.config_path))

    @contextlib.contextmanager
    def agent(self) -> Iterator[Agent]:
        agent = Agent(self.load, clock=lambda: self.now, fetch_new=self.fetch)
        with agent.open():
            agent._take_entries()
            yield agent

    def pass_time(self, agent: Agent, hours: float) -> Slot:
        """Let time pass, and what is due be done."""
        self.now += hours * HOUR
        agent.step()
        agent.settle()
        agent.step()
        agent.settle()
        return agent.slots["alice"]


@pytest.fixture
def world(tmp_path: Path, ca: TestCA, trust: Path) -> World:
    made = World(tmp_path, trust, ca)
    made.configure()
    return made


def test_renewed_at_half_of_its_life_and_again(world: World) -> None:
    world.put(world.issue(0, 10))
    world.gives = world.issue(0, 20)
    with world.agent() as agent:
        assert world.pass_time(agent, 4.4).state(world.now) is State.OK
        assert world.asked == 0
        slot = world.pass_time(agent, 1.2)
        assert world.asked == 1
        assert world.path.read_bytes() == world.gives.bundle()
        due = agent.next_event()
        assert due is not None
        assert 8 * HOUR < due - (world.now - 5.6 * HOUR) < 12 * HOUR
        assert slot.note.renewed == world.now.timestamp()
    assert b'"action":"RENEW"' in (world.directory / "audit.log").read_bytes()


def test_owner_and_mode_stay(world: World) -> None:
    world.put(world.issue(-8, 2), mode=0o400)
    if os.geteuid() == 0:
        os.chown(world.path, 1234, 5678)
    owner = (world.path.stat().st_uid, world.path.stat().st_gid)
    world.gives = world.issue(0, 20)
    with world.agent() as agent:
        world.pass_time(agent, 0)
    found = world.path.stat()
    assert world.path.read_bytes() == world.gives.bundle()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o400, *owner)


def test_what_may_not_take_the_place(world: World) -> None:
    stranger = TestCA("/O=Grid/CN=Stranger", "p256")
    before = world.put(world.issue(-8, 2))
    for given, why in (
        (world.issue(0, 20, "Mallory"), "is a credential of /O=Grid/CN=Mallory"),
        (world.issue(0, 20, ca=stranger), "trust|issuer|CA"),
        (world.issue(0, 1), "no later than what is there"),
        (world.issue(1, 20), "not valid before"),
        (world.issue(0, 20).proxy(key="p256", not_after=world.now + 20 * HOUR), "proxy in place of a certificate"),
    ):
        world.gives = given
        with world.agent() as agent:
            agent.slots["alice"].due = world.now
            agent._push(agent.slots["alice"])
            slot = world.pass_time(agent, 0)
            assert slot.note.failures
            with pytest.raises(GridError, match=why):
                agent._renewer.renew(slot.entry, clock=lambda: world.now)
    assert world.path.read_bytes() == before


@pytest.mark.parametrize("lacks", ["a full proxy", "attributes"])
def test_what_is_worth_less_stays_out(world: World, lacks: str) -> None:
    alice = world.issue(-20, 40)
    good: list[Extra] = []
    why, info = "what came is a limited proxy, and what is there is a full one", LIMITED_INFO
    if lacks == "attributes":
        good = [ac_extension(VOMSServer(world.ca).attribute_certificate(alice))]
        why, info = "what came has no VOMS attributes, and what is there has", FULL_INFO

    def proxy(begin: float, end: float, info: bytes = FULL_INFO, extensions: Sequence[Extra] = ()) -> Issued:
        times = (world.now + begin * HOUR, world.now + end * HOUR)
        return alice.proxy(key="p256", not_before=times[0], not_after=times[1], info=info, extensions=extensions)

    before = world.put(proxy(-8, 2, extensions=good))
    world.gives = proxy(0, 12, info)
    with world.agent() as agent:
        entry = agent.slots["alice"].entry
        with pytest.raises(GridError, match=why):
            agent._renewer.renew(entry, clock=lambda: world.now)
        assert world.path.read_bytes() == before
        world.gives = proxy(0, 12, extensions=good)
        assert agent._renewer.renew(entry, clock=lambda: world.now).was_renewed


def test_failures_back_off_and_survive_a_restart(world: World) -> None:
    before = world.put(world.issue(-6, 4))
    world.gives = TransportError("nobody there")
    with world.agent() as agent:
        slot = world.pass_time(agent, 0)
        assert (slot.note.failures, slot.state(world.now)) == (1, State.FAILING)
        first = slot.due
        assert first is not None
        assert timedelta(seconds=20) < first - world.now <= timedelta(seconds=30)
    with world.agent() as agent:
        assert agent.slots["alice"].due == first
        assert world.pass_time(agent, 0).note.failures == 1
        assert world.asked == 1
        slot = world.pass_time(agent, 0.01)
        assert (slot.note.failures, world.asked) == (2, 2)
        assert slot.due is not None
        assert slot.due - world.now > timedelta(seconds=40)
        assert world.path.read_bytes() == before
        world.gives = world.issue(0, 20)
        assert world.pass_time(agent, 0.1).note.failures == 0
    assert world.path.read_bytes() == world.gives.bundle()


def test_each_state_is_told_once(world: World) -> None:
    told = world.directory / "told"
    hook = world.directory / "hook"
    write_file(hook, f'#!/bin/sh\necho "$RENEWD_EVENT $RENEWD_NAME $RENEWD_ERROR" >>{told}\n'.encode(), 0o700)
    world.more = f'[tell]\nhook = ["{hook}"]\n'
    world.configure()
    world.put(world.issue(-6, 4))
    world.gives = TransportError("nobody\nthere")
    for _ in range(2):  # the second one knows what was told
        with world.agent() as agent:
            for _step in range(10):
                world.pass_time(agent, 0.25)
    assert told.read_text() == "expiring alice nobody there\nexpired alice nobody there\n"
    world.gives = world.issue(0, 20)
    with world.agent() as agent:
        world.pass_time(agent, 2)
        world.pass_time(agent, 2)
    assert told.read_text().splitlines()[2:] == ["ok alice "]


def test_what_could_not_be_told_is_told_later_and_over_a_restart(world: World) -> None:
    hook, told = world.directory / "hook", world.directory / "told"
    world.more = f'[tell]\nhook = ["{hook}"]\n'
    world.configure()
    world.put(world.issue(-9, 1))
    world.gives = TransportError("nobody there")
    with world.agent() as agent:
        slot = world.pass_time(agent, 0)
        assert [each.event for each in slot.note.deliveries] == ["expiring"]
    (row,) = take_status(world.load(), now=world.now)
    assert "hook" in row.untold[0]
    write_file(hook, f'#!/bin/sh\necho "$RENEWD_EVENT" >>{told}\n'.encode(), 0o700)
    with world.agent() as agent:
        slot = world.pass_time(agent, 0.02)
        assert not slot.note.deliveries
    assert told.read_text() == "expiring\n"


def test_a_full_disk_costs_nothing(world: World) -> None:
    before = world.put(world.issue(-6, 4))
    world.gives = world.issue(0, 20)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with world.agent() as agent:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            slot = world.pass_time(agent, 0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert slot.note.failures == 1
        assert world.path.read_bytes() == before
        assert sorted(one.name for one in world.directory.glob(".*")) == []
        world.pass_time(agent, 0.1)
    assert world.path.read_bytes() == world.gives.bundle()


def test_a_file_that_was_removed_stays_so(world: World) -> None:
    world.put(world.issue(0, 10))
    world.gives = world.issue(0, 20)
    with world.agent() as agent:
        world.path.unlink()
        slot = world.pass_time(agent, 6)
        assert slot.state(world.now) is State.MISSING
        assert (slot.due, world.asked, slot.note.told) == (None, 0, "missing")
        world.put(world.issue(-9, 5))
        world.pass_time(agent, 0.1)
    assert world.path.read_bytes() == world.gives.bundle()


def test_it_is_made_where_that_is_wanted_of_whom_is_wanted(world: World) -> None:
    world.configure(more='create = true\nidentity = "/O=Grid/CN=Alice"\n')
    world.gives = world.issue(0, 20, "Mallory")
    with world.agent() as agent:
        world.pass_time(agent, 0)
        assert not world.path.exists()
        world.gives = world.issue(0, 20)
        world.pass_time(agent, 0.1)
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600
    assert world.path.read_bytes() == world.gives.bundle()


def test_what_somebody_put_there_meanwhile_stays(world: World) -> None:
    world.put(world.issue(-6, 4))
    world.meanwhile = world.issue(0, 30).bundle()
    world.gives = world.issue(0, 20)
    with world.agent() as agent:
        slot = world.pass_time(agent, 0)
        assert (slot.note.failures, slot.state(world.now)) == (0, State.OK)
    assert world.path.read_bytes() == world.meanwhile


def test_two_agents_at_one_file(world: World) -> None:
    before = world.put(world.issue(-4, 6))
    world.gives = world.issue(0, 20)
    with world.agent() as agent:
        due = agent.next_event()
        assert due is not None
        world.now = due + timedelta(seconds=1)
        with Place(str(world.path)).lock():
            slot = world.pass_time(agent, 0)
            assert (world.asked, slot.note.failures) == (0, 0)
            assert world.path.read_bytes() == before
        world.pass_time(agent, 0.01)
        assert world.path.read_bytes() == world.gives.bundle()
        with pytest.raises(ConfigError, match="another agent uses"), world.agent():
            pass


def test_a_lock_that_is_never_let_go_of_is_a_failure(world: World) -> None:
    world.put(world.issue(-6, 4))
    world.gives = world.issue(0, 20)
    with world.agent() as agent, Place(str(world.path)).lock():
        slot = world.pass_time(agent, 0.5)
        assert "another agent is renewing it" in slot.note.error
        world.pass_time(agent, 1)
        assert world.pass_time(agent, 1).state(world.now) is State.EXPIRING


def test_the_clock_is_set(world: World) -> None:
    before = world.put(world.issue(-6, 24 * 100))
    world.gives = TransportError("nobody there")
    with world.agent() as agent:
        world.pass_time(agent, 24 * 60)  # forward: at once
        for _ in range(9):
            world.pass_time(agent, 1.01)
        assert world.asked == 10
        asked = world.asked
        slot = world.pass_time(agent, -24 * 4)  # back: nothing waits for days
        assert slot.due is not None
        assert slot.due <= world.now + LAST_RETRY
        world.pass_time(agent, 1.01)
        assert world.asked == asked + 1
    assert world.path.read_bytes() == before


@pytest.mark.parametrize("how", ["open", "link", "second name", "garbage"])
def test_what_is_not_safe_is_left_and_told(world: World, how: str) -> None:
    before = world.put(world.issue(-6, 4))
    if how == "open":
        world.path.chmod(0o644)
    elif how == "link":
        world.path.rename(world.directory / "elsewhere")
        world.path.symlink_to("elsewhere")
    elif how == "second name":
        (world.directory / "second").hardlink_to(world.path)
    else:
        before = b"garbage"
        write_file(world.path, before, 0o600)
    with world.agent() as agent:
        slot = world.pass_time(agent, 0)
        assert (slot.state(world.now), slot.due, slot.note.told) == (State.UNREADABLE, None, "unreadable")
    assert (world.asked, world.path.read_bytes()) == (0, before)


def test_reading_the_configuration_again_keeps_the_schedule(world: World) -> None:
    world.put(world.issue(-6, 4))
    world.gives = TransportError("nobody there")
    with world.agent() as agent:
        slot = world.pass_time(agent, 0)
        due = slot.due
        world.configure("alice", "bob")
        agent._reload()
        assert (agent.slots["alice"], agent.slots["alice"].due) == (slot, due)
        assert sorted(agent.slots) == ["alice", "bob"]
        write_file(world.config_path, b"nonsense", 0o600)
        agent._reload()
        assert sorted(agent.slots) == ["alice", "bob"]
        world.configure("alice", more='lifetime = "2h"\n')
        agent._reload()
        assert agent.slots["alice"].entry.lifetime == 2 * HOUR
        assert agent.slots["alice"].due == due
        world.gives = world.issue(0, 20)
        world.pass_time(agent, 0.1)
    assert world.path.read_bytes() == world.gives.bundle()


def test_a_note_that_is_broken_is_none(world: World) -> None:
    world.put(world.issue(-6, 4))
    world.gives = TransportError("nobody there")
    with world.agent() as agent:
        world.pass_time(agent, 0)
    (note,) = (world.directory / "state").glob("*.json")
    good = note.read_bytes()
    for text in (b"", b"[]", b"{}", good[:-20], good.replace(b'"failures": 1', b'"failures": "x"'), b"[" * 60_000):
        note.write_bytes(text)
        with world.agent() as agent:
            assert agent.slots["alice"].note.failures == 0
