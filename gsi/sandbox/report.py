"""What is shown of a sandbox: the lines that make a shell a person's, and how the services are; starts nothing.

exports_of(state, "alice", "sh")       # export X509_CERT_DIR=...
status_text(root, state)
"""

from __future__ import annotations

import json
import os
import shlex
from enum import StrEnum
from typing import TYPE_CHECKING

from gsi.errors import ConfigError
from gsi.sandbox.services import Health, look
from gsi.system.environ import get_variable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gsi.sandbox.state import State

__all__ = ["Shell", "exports", "exports_of", "is_up", "status_json", "status_text"]


class Shell(StrEnum):
    """Whose words the exports are in."""

    SH = "sh"
    CSH = "csh"
    FISH = "fish"


def exports(variables: Mapping[str, str], shell: Shell = Shell.SH) -> str:
    """Return the lines that set variables in a shell."""
    match shell:
        case Shell.SH:
            return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
        case Shell.CSH:
            # csh looks for its history within quotes, too.
            return "".join(
                f"setenv {name} {shlex.quote(value).replace('!', chr(92) + '!')};\n"
                for name, value in variables.items()
            )
        case Shell.FISH:
            return "".join(f"set -gx {name} {_fish(value)};\n" for name, value in variables.items())


def exports_of(state: State, person: str, shell: Shell = Shell.SH) -> str:
    """Return the lines that make a shell a person's, its own PATH kept behind the sandbox's commands.

    Raises:
        ConfigError: There is no such person, or nothing has been started yet.
    """
    if person not in state.exports:
        if not state.exports:
            raise ConfigError("the sandbox has never been up", hint="grid-sandbox up")
        raise ConfigError(f"there is no {person[:100]!r} in the sandbox", hint=f"one of {', '.join(state.exports)}")
    variables = dict(state.exports[person])
    own = (get_variable("PATH") or "").split(os.pathsep)
    first = variables["PATH"].split(os.pathsep)[0]
    behind = [place for place in own if place and place != first] or os.defpath.split(os.pathsep)
    variables["PATH"] = os.pathsep.join([first, *behind])
    return exports(variables, shell)


def is_up(state: State) -> bool:
    """Tell whether every service is up."""
    return bool(state.services) and all(look(one) is Health.UP for one in state.services)


def status_text(root: Path, state: State) -> str:
    """Return the lines that say how a sandbox is."""
    found = [(one, look(one)) for one in state.services]
    if all(health is Health.DOWN for _, health in found):
        return f"the sandbox in {root} is down; `grid-sandbox up` starts it\n"
    complete = all(health is Health.UP for _, health in found)
    lines = [f"the sandbox in {root} is {'up' if complete else 'incomplete; `grid-sandbox up` starts what is missing'}"]
    name, place = max(len(one.name) for one, _ in found), max(len(one.place) for one, _ in found)
    for one, health in found:
        lines.append(f"{one.name:<{name}}  {health:<6}  {one.place:<{place}}  {one.summary}")
        if health is not Health.UP:
            lines.append(f"{'':<{name}}  its log is {root}/state/{one.name}/log")
    return "".join(f"{line}\n" for line in (*lines, *state.notices))


def status_json(root: Path, state: State) -> str:
    """Return the same for programs."""
    found = [(one, look(one)) for one in state.services]
    healths = {health for _, health in found}
    told = {
        "directory": str(root),
        "state": "down" if healths <= {Health.DOWN} else "up" if healths == {Health.UP} else "incomplete",
        "services": [
            {
                "name": one.name,
                "state": health.value,
                "place": one.place,
                "pid": one.pid,
                "log": f"{root}/state/{one.name}/log",
                "summary": one.summary,
            }
            for one, health in found
        ],
        "notices": list(state.notices),
    }
    return json.dumps(told, indent=2) + "\n"


def _fish(value: str) -> str:
    """Quote for fish, where a backslash means something within quotes."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
