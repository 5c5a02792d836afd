"""What a worker serves with until SIGHUP brings other: configuration, TLS, service; not how it is made or used.

    equipment = Equipment(setup, limits=limits, tls=tls, service=service)
    with equipment.in_use() as service:             # each connection, from its first byte to its last
        ...
    equipment.retire(put_away)                      # other is there: closed once nobody uses it

All of it is called in the event loop.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gsi.transport.serve import Limits
    from gsi.transport.tls import ServerTLS
    from myproxy.server import ServerSetup
    from myproxy.service import MyProxyService

__all__ = ["Equipment"]


class Equipment:
    """What was made from one reading of the files. Connections that began with it end with it.

    Attributes:
        setup: What was read.
        limits: What strangers may take.
        tls: Makes the TLS state of connections.
        service: Decides and acts.
    """

    def __init__(self, setup: ServerSetup, *, limits: Limits, tls: ServerTLS, service: MyProxyService) -> None:
        self.setup = setup
        self.limits = limits
        self.tls = tls
        self.service = service
        self._users = 0
        self._put_away: Callable[[MyProxyService], object] | None = None

    @contextlib.contextmanager
    def in_use(self) -> Iterator[MyProxyService]:
        """Have the service at hand until the end of the block."""
        self._users += 1
        try:
            yield self.service
        finally:
            self._users -= 1
            self._end_if_idle()

    def retire(self, put_away: Callable[[MyProxyService], object]) -> None:
        """Say that no more connections will begin with it.

        Args:
            put_away: Gets the service once nobody uses it any more.
        """
        self._put_away = put_away
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._put_away is not None and not self._users:
            put_away, self._put_away = self._put_away, None
            put_away(self.service)
