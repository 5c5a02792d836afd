"""The whole server: the web server and the VOMS listener as two children, numbers for monitors; answers nothing itself.

    server = CASServer(load)                          # opens the sockets, tries what the configuration names
    server.run(on_ready)                              # until SIGTERM or SIGINT

Each child has workers of its own. SIGHUP reads the configuration again and is passed on where all that it names can be
used. When one child ends unasked the other is ended, too, and the exit status is 1: a service manager starts both anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cas.metrics import CONTENT_TYPE, Metrics, render
from cas.server.gunicorn import LOG, load_server_tls, make_health, serve_https
from cas.server.voms import VOMSFactory
from cas.wiring.service import open_community, prepare
from gsi.errors import ConfigError, GridError
from gsi.system.notify import Manager
from gsi.transport.activation import Given
from gsi.transport.documents_server import Document, listen_loopback, offer
from gsi.transport.serve import bound_port, serve
from gsi.transport.wsgi_server import Reloads, rows

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from cas.config import CASConfig
    from cas.wiring.service import OpenedCommunity
    from gsi.system.health import Health

__all__ = ["CASServer", "check"]

_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG
_log: Final = logging.getLogger(LOG)


class CASServer:
    """Starts and watches the children.

    Attributes:
        port: The web server's port.
        voms_port: The listener's port, or None without one.
    """

    def __init__(self, load: Callable[[], CASConfig]) -> None:
        """Read the configuration, make the store, try all that is named, and listen.

        Args:
            load: Reads the configuration.

        Raises:
            GridError: It cannot be used.
        """
        self._read = load
        config = load()
        check(config)
        self._sockets: list[socket.socket] = []
        self._voms_sockets: list[socket.socket] = []
        self._monitors: list[socket.socket] = []
        self.voms_port: int | None = None
        self._voms_workers = 0
        with Given.from_environment() as given:
            self._sockets = given.listen(config.http.listen)
            self.port = bound_port(self._sockets)
            if config.voms is not None:
                self._voms_sockets = given.listen(config.voms.listen)
                self.voms_port = bound_port(self._voms_sockets)
                self._voms_workers = config.voms.workers
        if config.metrics:
            self._monitors = listen_loopback(config.metrics)
        self._config = config
        self._rows = rows(config.http.workers)
        self._reloads = Reloads()
        self._metrics = Metrics(workers=self._rows + max(1, self._voms_workers))
        self._children: dict[int, str] = {}
        self._stopping = False
        self._looked_at: tuple[OpenedCommunity, Health] | None = None

    def _load(self) -> CASConfig:
        return self._placed(self._read())

    def _placed(self, config: CASConfig) -> CASConfig:
        """Return a configuration with the ports that were found."""
        if config.voms is not None and self.voms_port is not None and not config.voms.place:
            place = f"{os.uname().nodename}:{self.voms_port}"
            config = replace(config, voms=replace(config.voms, place=place))
        return config

    def run(self, on_ready: Callable[[], None] = lambda: None) -> int:
        """Start the children and stay until they have ended; return the exit status.

        Raises:
            GridError: What monitors ask about cannot be opened; the children end with this process.
        """
        reader, writer = os.pipe()

        def ready() -> None:
            os.write(writer, b".")

        config = self._placed(self._config)

        def serve_web() -> int:
            return serve_https(config, self._load, self._sockets, self._metrics, reloads=self._reloads, on_ready=ready)

        self._start("web server", serve_web)
        if self._voms_sockets:
            factory = VOMSFactory(config, self._load, self._metrics, first_row=self._rows)

            def listen_for_voms() -> int:
                factory.use(0)
                return serve(
                    self._voms_sockets,
                    factory.make,
                    workers=self._voms_workers,
                    on_ready=ready,
                    on_reload=factory.reload,
                    on_worker=factory.use,
                )

            self._start("VOMS listener", listen_for_voms)
        os.close(writer)
        wanted = len(self._children)
        for one in (*self._sockets, *self._voms_sockets):
            one.close()
        if self._monitors:
            self._look_at(config)
        return asyncio.run(self._watch(reader, wanted, on_ready))

    def _look_at(self, config: CASConfig) -> None:
        """Open what monitors ask about; the children have theirs.

        Raises:
            GridError: Something cannot be used.
        """
        community = open_community(config, is_trial=True)
        self._looked_at, before = (community, make_health(community)), self._looked_at
        if before is not None:
            before[0].close()

    def _start(self, name: str, work: Callable[[], int]) -> None:
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child:
            self._children[child] = name
            return
        status = 1
        try:
            with contextlib.suppress(OSError, AttributeError):  # where the system has it not, the manager ends us all
                ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)
            if os.getppid() == parent:
                status = work()
        except GridError as error:
            _log.error("the %s cannot start: %s: %s", name, error.slug, error)
        except BaseException:  # noqa: BLE001  a forked child must not go on as its parent
            _log.exception("the %s has failed", name)
        finally:
            sys.stderr.flush()
            os._exit(status)

    # --- watching -----------------------------------------------------------------------------------------------------

    async def _watch(self, reader: int, wanted: int, on_ready: Callable[[], None]) -> int:
        loop = asyncio.get_running_loop()
        manager = Manager.from_environment()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload, manager)
        ended = loop.create_future()
        failed: list[str] = []

        def reap() -> None:
            for child in list(self._children):
                found, status = os.waitpid(child, os.WNOHANG)
                if found:
                    name = self._children.pop(child)
                    code = os.waitstatus_to_exitcode(status)
                    if not self._stopping or code not in {0, -signal.SIGTERM, -signal.SIGINT}:
                        failed.append(name)
                        _log.error("the %s has ended with status %d", name, code)
                        self._stop()
            if not self._children and not ended.done():
                ended.set_result(None)

        loop.add_signal_handler(signal.SIGCHLD, reap)
        ready: list[bytes] = []

        def told() -> None:
            data = os.read(reader, 16)
            if not data:
                loop.remove_reader(reader)
                return
            ready.append(data)
            if len(b"".join(ready)) == wanted:
                on_ready()
                manager.tell("READY=1", f"MAINPID={os.getpid()}", "STATUS=serving")

        loop.add_reader(reader, told)
        if self._monitors:
            await offer(self._monitors, self._tell, on_defect=lambda error: _log.error("monitor: %r", error))
        reap()
        await ended
        os.close(reader)
        return 1 if failed else 0

    async def _tell(self, path: str) -> Document | None:
        from http import HTTPStatus

        assert self._looked_at is not None
        health = self._looked_at[1]
        if path == "/metrics":
            family = await asyncio.to_thread(health.family, "cas")
            return Document(render(self._metrics, [family]) + self._reloads.render("cas"), CONTENT_TYPE)
        if path == "/health":
            if self._metrics.audit_works() and not self._stopping:
                text, status = await asyncio.to_thread(health.page, self._reloads.words)
                return Document(text.encode(), status=HTTPStatus(status))
            return Document(b"the audit cannot be written, or stopping\n", status=HTTPStatus.SERVICE_UNAVAILABLE)
        return None

    def _stop(self) -> None:
        if not self._stopping:
            Manager.from_environment().tell("STOPPING=1", "STATUS=answering what is in hand")
        self._stopping = True
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    def _reload(self, manager: Manager) -> None:
        manager.tell_reloading()
        try:
            config = self._read()
            _check_same_places(self._config, config)
            _try(config)
            if self._monitors:
                self._look_at(config)
        except GridError as error:
            _log.error("the new configuration is not used, the old one stays: %s", error)
            self._reloads.note(refused=True)
        else:
            for child in self._children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGHUP)
        manager.tell("READY=1", "STATUS=serving")


def check(config: CASConfig) -> None:
    """Make the store if it is missing, and try all that the configuration names; no port is opened.

    Raises:
        GridError: It cannot be used.
    """
    prepare(config)
    _try(config)


def _try(config: CASConfig) -> None:
    """Open all that is named and close it again.

    Raises:
        GridError: Something cannot be used.
    """
    load_server_tls(config)
    open_community(config, is_trial=True).close()


def _check_same_places(old: CASConfig, new: CASConfig) -> None:
    """Insist on a restart for what is open in every worker.

    Raises:
        ConfigError: Such a setting has changed.
    """
    same = (
        ("http.listen", old.http.listen, new.http.listen),
        ("http.workers", old.http.workers, new.http.workers),
        ("http.certificate", old.http.certificate, new.http.certificate),
        ("voms", old.voms, new.voms),
        ("store", old.store, new.store),
        ("metrics", old.metrics, new.metrics),
        ("community", old.community, new.community),
    )
    for name, before, after in same:
        if before != after:
            raise ConfigError(f"{name} cannot be changed while the server runs", hint="restart it")
