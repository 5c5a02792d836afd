"""What the agent tells monitors: numbers that its work has, over HTTP on this machine alone."""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from gsi.errors import ConfigError, TransportError
from myproxy.renewal.agent import Agent
from myproxy.renewal.monitor import STILL, Numbers, telling
from myproxy.renewal.schedule import State
from tests.unit.myproxy.renewal.test_agent import World, ca, trust, world

__all__ = ["ca", "trust", "world"]

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def counted(agent: Agent) -> Numbers | None:
    return agent.numbers


def test_work_is_counted(world: World) -> None:
    world.configure("alice", "bob")
    world.put(world.issue(0, 10))
    world.gives = world.issue(0, 20)
    with world.agent() as agent:
        assert counted(agent) is None
        world.pass_time(agent, 5.6)
        world.gives = TransportError("away")
        world.pass_time(agent, 7)
        world.pass_time(agent, 0.01)
        numbers = counted(agent)
        assert numbers is not None
        assert (numbers.renewed, numbers.failed) == (1, 1)
        assert numbers.states == {State.FAILING: 1, State.MISSING: 1}
        assert numbers.first_end is not None
        assert numbers.overdue == 0
        agent.slots["alice"].due = world.now - timedelta(hours=1)
        agent.slots["alice"].busy = True  # a worker that hangs
        world.pass_time(agent, 0.01)
        assert agent.numbers is not None
        assert agent.numbers.overdue == 1
        agent.slots["alice"].busy = False


def test_monitors_are_answered() -> None:
    numbers: list[Numbers | None] = [None]
    now = [NOW]

    def ask(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    with telling("127.0.0.1:0", lambda: numbers[0], clock=lambda: now[0]) as port:
        assert ask("/health")[0] == 503
        assert ask("/metrics")[0] == 404
        numbers[0] = Numbers(NOW, {State.OK: 7, State.EXPIRED: 1}, 2, 3, NOW + timedelta(hours=1), 40, 5)
        assert ask("/health") == (200, "ok\n")
        lines = ask("/metrics")[1].splitlines()
        for line in (
            'myproxy_renewd_credentials{state="ok"} 7.0',
            'myproxy_renewd_credentials{state="missing"} 0.0',
            "myproxy_renewd_overdue 2.0",
            "myproxy_renewd_untold 3.0",
            "myproxy_renewd_first_end_seconds 1.8934596e+09",
            'myproxy_renewd_renewals_total{result="renewed"} 40.0',
            'myproxy_renewd_renewals_total{result="failed"} 5.0',
        ):
            assert line in lines, line
        now[0] = NOW + STILL
        assert ask("/health")[0] == 503
        assert ask("/")[0] == 404
    with pytest.raises(ConfigError, match="loopback"), telling("0.0.0.0:0", lambda: None, clock=lambda: NOW):
        pass
