"""The server as the process that starts the workers sees it: their factory, and the service manager; serves nobody.

    factory = ServerFactory(ServerOptions(config_path=..., storage=...))
    serve(listen(None, 7512), factory.make, workers=factory.config.worker_processes, on_reload=factory.reload)

Configuration and host credential are read here, so that a worker that died comes back with what the others run with,
whatever has become of the files.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from gsi.errors import GridError
from gsi.system import clock
from gsi.system.memory import limit_arenas
from gsi.system.notify import Manager
from gsi.transport.documents_server import listen_loopback
from gsi.transport.serve import Watcher
from myproxy.metrics import Metrics
from myproxy.monitor import SILENT_SECONDS
from myproxy.repository.sweep import ServerStart
from myproxy.server import MyProxyServer, audit_path, check_same_places, kept, load_setup
from myproxy.wiring.repository import prepare_repository

if TYPE_CHECKING:
    from myproxy.config import ServerConfig
    from myproxy.server import ServerOptions, ServerSetup

__all__ = ["ManagedWatcher", "ServerFactory"]

YOUNG_OBJECTS: Final = 5000
"""New objects between two searches for cycles; Python's 700 mean several searches in each logon, for hardly any."""

_log: Final = logging.getLogger("myproxy.server")


class ManagedWatcher(Watcher):
    """Tells the service manager, if there is one, what becomes of the server.

    It hears that all is well as long as this process turns and some worker does: one that hangs is told to monitors.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._manager = Manager.from_environment()
        self.seconds = self._manager.watchdog_seconds

    def ready(self) -> None:
        """Tell that connections are accepted."""
        self._manager.tell("READY=1", f"MAINPID={os.getpid()}", "STATUS=serving")

    def reloading(self) -> None:
        """Tell that the configuration is being read."""
        self._manager.tell_reloading()

    def reloaded(self) -> None:
        """Tell that it was."""
        self._manager.tell("READY=1", "STATUS=serving")

    def stopping(self) -> None:
        """Tell that running requests are waited for."""
        self._manager.tell("STOPPING=1", "STATUS=waiting for running requests")

    def alive(self) -> None:
        """Tell that all is well, if it is."""
        if min(self._metrics.silences()) < SILENT_SECONDS:
            self._manager.tell("WATCHDOG=1")


class ServerFactory:
    """Makes the server of each worker from the last configuration and credential that were good.

    It lives in the process that starts the workers. What is on disk counts at the start and at SIGHUP only.
    """

    def __init__(self, options: ServerOptions, *, monitored: bool = True) -> None:
        """Read the files, make or upgrade the store, and try whether a server can be made from them.

        Args:
            options: What the command line decides.
            monitored: Whether to answer monitors.

        Raises:
            GridError: It cannot.
        """
        self._options = options
        setup = load_setup(options)
        prepare_repository(setup.config, options.storage, audit_path(setup.config, options.storage))
        self._setup = self._try(setup)
        self._worker = 0
        self._started = ServerStart(clock.now(), time.monotonic())
        self.metrics = Metrics(workers=setup.config.worker_processes)
        where = setup.config.monitor_listen
        self._monitors = listen_loopback(where) if where and monitored else []

    @property
    def config(self) -> ServerConfig:
        """The configuration in use."""
        return self._setup.config

    def set_worker(self, number: int) -> None:
        """Say in a worker, before `make`, which one it is."""
        self._worker = number

    def make(self) -> MyProxyServer:
        """Make a server; called in each worker.

        Raises:
            GridError: Something other than configuration and credential cannot be used.
        """
        limit_arenas()
        gc.set_threshold(YOUNG_OBJECTS)
        self.metrics.use(self._worker)
        try:
            server = MyProxyServer(
                self._options,
                self._setup,
                metrics=self.metrics,
                monitors=self._monitors,
                worker=self._worker,
                started=self._started,
            )
        except GridError as error:
            _log.error("worker %d cannot start: %s: %s", self._worker + 1, error.slug, error)
            raise
        server.begin_upkeep()
        return server

    def reload(self) -> bool:
        """Read the files again; False, and all stays as it was, when they are not good."""
        try:
            setup = load_setup(self._options)
            check_same_places(self._setup.config, setup.config)
            self._setup = self._try(setup)
        except GridError as error:
            self.metrics.supervise()  # no worker hears of it
            self.metrics.reload(works=False)
            _log.error("%s", kept(error))
            return False
        return True

    def _try(self, setup: ServerSetup) -> ServerSetup:
        MyProxyServer(self._options, setup).close()
        return setup
