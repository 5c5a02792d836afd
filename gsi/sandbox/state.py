"""What is remembered of a sandbox between two commands: one private JSON file in its directory; starts nothing.

state = load_state(root)
state.services, state.exports["alice"]
save_state(root, state)
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, NotFoundError
from gsi.sandbox.services import Started
from gsi.system.environ import get_variable
from gsi.system.files import write_private

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FILE", "State", "choose_root", "load_state", "save_state"]

FILE: Final = "sandbox.json"
_ANOTHER: Final = "-dir or GRID_SANDBOX names another"
MAX_BYTES: Final = 1 << 20  # a dozen services and four people take some kilobytes


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is remembered.

    Attributes:
        kerberos: Whether it has a Kerberos realm.
        ports: The ports of services by name, for the next start.
        open_dir: What other accounts may enter, outside of the root; empty for none.
        services: Those that were started, whatever became of them.
        exports: For each person, the variables of a shell of theirs.
        notices: What of it cannot be shown on this machine, and why.
        foreground: The process that keeps it up until Ctrl-C; 0 for a sandbox in the background.
        foreground_began: When that process began, as for services.
        toured: Whether a tour has left its traces.
    """

    kerberos: bool = False
    ports: dict[str, int] = field(default_factory=dict)
    open_dir: str = ""
    services: Sequence[Started] = ()
    exports: dict[str, dict[str, str]] = field(default_factory=dict)
    notices: Sequence[str] = ()
    foreground: int = 0
    foreground_began: int = 0
    toured: bool = False


def choose_root(directory: str | None) -> Path:
    """Return the sandbox's directory: the one named, GRID_SANDBOX, or `.grid-sandbox` in the home directory.

    Raises:
        ConfigError: There is no home directory.
    """
    if directory is not None or (directory := get_variable("GRID_SANDBOX")):
        return Path(directory).resolve()
    home = get_variable("HOME")
    if not home:
        raise ConfigError("HOME is not set", hint="name a directory with -dir")
    return Path(home).resolve() / ".grid-sandbox"


def load_state(root: Path) -> State:
    """Return what is remembered.

    Raises:
        ConfigError: The file cannot be used, or somebody else could have written it: it says what is ended and removed.
        NotFoundError: There is no sandbox.
    """
    try:
        place = root.stat()
        if place.st_uid != os.geteuid() or place.st_mode & 0o022:
            raise ConfigError(f"{root} belongs to others, or they can write there", hint=_ANOTHER)
        with open(root / FILE, "rb") as stream:
            found = json.loads(stream.read(MAX_BYTES))
        return State(**{**found, "services": tuple(Started(**one) for one in found["services"])})
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"there is no sandbox in {root}", hint=f"`grid-sandbox up` makes one; {_ANOTHER}"
        ) from error
    except PermissionError as error:
        raise ConfigError(f"{root / FILE} cannot be read: {error.strerror}", hint=_ANOTHER) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{root / FILE} cannot be used: {error}", hint="remove the directory and begin anew"
        ) from error


def save_state(root: Path, state: State) -> None:
    """Write it down, readable by its owner alone.

    Raises:
        CredentialError: It cannot be written.
    """
    write_private(str(root / FILE), json.dumps(asdict(state), indent=1).encode())
