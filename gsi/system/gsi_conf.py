"""The host-wide settings of the C libraries, `gsi.conf`: `NAME=VALUE` lines; not what a setting means.

    settings = load_gsi_conf(locations.gsi_conf)
    find_setting("MIN_TLS_PROTOCOL", settings)       # the variable GLOBUS_GSSAPI_MIN_TLS_PROTOCOL comes first

Agrees with gct:gsi/gssapi/source/library/module.c: `#` begins a comment anywhere, blanks around name and value do not
count, and a line without `=` is an error; ours takes lines of blanks and names the line.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, GridError
from gsi.system.environ import get_variable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_FILE_BYTES", "find_setting", "load_gsi_conf", "parse_gsi_conf"]

MAX_FILE_BYTES: Final = 1 << 16
"""The file as shipped has three KiB, nearly all of them comments."""
_PREFIX: Final = "GLOBUS_GSSAPI_"


def load_gsi_conf(path: str) -> dict[str, str]:
    """Return the settings of a file; none where there is no file. Of two values of a name the first counts, as in C.

    Raises:
        ConfigError: It cannot be read, or a line is no setting.
    """
    if not os.path.exists(path):
        return {}
    from gsi.system.files import read_public

    try:
        data = read_public(path, max_bytes=MAX_FILE_BYTES)
    except GridError as error:
        raise ConfigError(error.message, path=path, hint=error.hint) from error
    return parse_gsi_conf(data, path=path)


def parse_gsi_conf(data: bytes, *, path: str) -> dict[str, str]:
    """Return the settings in a file's content; `path` names it in errors.

    Raises:
        ConfigError: A line is no setting.
    """
    settings: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        name, equals, value = line.partition("#")[0].partition("=")
        if not equals and name.strip():
            raise ConfigError("a setting is NAME=VALUE", path=path, line=number)
        if equals and value.strip():
            settings.setdefault(name.strip(), value.strip())
    return settings


def find_setting(name: str, settings: Mapping[str, str]) -> str | None:
    """Return a setting by its name in the file: its variable if that is set, else the file's value, else None."""
    return get_variable(_PREFIX + name) or settings.get(name)
