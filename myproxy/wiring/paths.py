"""Files and programs that the configuration names: looked at before the server depends on them; not opened, not run.

program = executable("certificate_mapapp", path)        # ConfigError names the directive
"""

from __future__ import annotations

import os

from gsi.errors import ConfigError

__all__ = ["executable", "readable"]


def executable(directive: str, path: str) -> str:
    """Return the path of a program.

    Raises:
        ConfigError: It cannot be run, or is not named by its whole path.
    """
    if not os.path.isabs(path) or not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise ConfigError(f"{directive}: {path} is not an executable file named by its whole path")
    return path


def readable(directive: str, path: str) -> str:
    """Return the path of a file.

    Raises:
        ConfigError: It cannot be read, or is not named by its whole path.
    """
    if not os.path.isabs(path) or not os.access(path, os.R_OK):
        raise ConfigError(f"{directive}: {path} cannot be read, or is not named by its whole path")
    return path
