"""VOMS attributes by the configuration: whom to believe, and whom to ask.

of_clients = make_client_attributes(anchors)
requested = make_requested_attributes(config, verify, anchors)       # None: requests for attributes are passed over
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from gsi.errors import ConfigError, GridError
from gsi.system import clock
from gsi.system.vomsdir import VOMSDirectory, read_vomses, vomsdir_path
from myproxy.attributes import ClientAttributes, RequestedAttributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.trust.anchors import TrustAnchors
    from myproxy.commands import ChainVerifier
    from myproxy.config import ServerConfig

__all__ = ["make_client_attributes", "make_requested_attributes"]


def make_client_attributes(anchors: Callable[[], TrustAnchors]) -> ClientAttributes:
    """Return what judges the attributes of clients, by the vomsdir of the machine."""
    return ClientAttributes(VOMSDirectory(vomsdir_path()), anchors, frozenset({socket.gethostname()}))


def make_requested_attributes(
    config: ServerConfig, verify: ChainVerifier, anchors: Callable[[], TrustAnchors]
) -> RequestedAttributes | None:
    """Return what finds attributes for delegated proxies; None where that is not allowed.

    Raises:
        ConfigError: `voms_userconf` cannot be read.
    """
    if not config.allow_voms_attribute_requests:
        return None
    place = config.voms_userconf
    places = None if place is None else (place,)
    if place is not None and not os.path.exists(place):
        raise ConfigError(f"voms_userconf: {place} does not exist", hint="a vomses file, or a directory of such")
    try:
        read_vomses(places)  # what is wrong with it shows now
    except GridError as error:
        raise ConfigError(f"voms_userconf: {error.message}", hint=error.hint) from error
    return RequestedAttributes(VOMSDirectory(vomsdir_path()), lambda: read_vomses(places), anchors, verify, clock.now)
