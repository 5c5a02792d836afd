"""Where the server's files are, for the commands that run on its machine: configuration and storage directory.

    config_path, storage = find_config(arguments.config), find_storage(arguments.storage)

Agrees with gct:myproxy/source/myproxy_server.c in the places and their order.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["DEFAULT_CONFIG", "STORAGE_PLACES", "find_config", "find_storage"]

DEFAULT_CONFIG: Final = "/etc/myproxy-server.config"
STORAGE_PLACES: Final = ("/var/lib/myproxy", "/var/myproxy")


def find_config(given: str | None) -> str:
    """Return the path of the configuration: the one given, else the first of the usual places that is there.

    Raises:
        ConfigError: There is none.
    """
    from gsi.errors import ConfigError
    from gsi.system.environ import get_variable

    if given:
        return os.path.abspath(given)
    places = [DEFAULT_CONFIG]
    if location := get_variable("GLOBUS_LOCATION"):
        places.append(f"{location}/etc/myproxy-server.config")
    for place in places:
        if os.path.exists(place):
            return place
    raise ConfigError(
        f"there is no configuration file ({', '.join(places)})",
        hint="name one with -c; 'accepted_credentials' and 'authorized_retrievers' are what it must hold",
    )


def find_storage(given: str | None) -> str:
    """Return the storage directory: the one given, else the first of the usual places that is there."""
    from gsi.system.environ import get_variable

    if given:
        return os.path.abspath(given)
    places = [*STORAGE_PLACES]
    if location := get_variable("GLOBUS_LOCATION"):
        places.append(f"{location}/var/myproxy")
    return next((place for place in places if os.path.isdir(place)), places[0])
