"""The command `kca-server`: options, log and signals; `kca.server` does the serving.

New; Michigan's `kca` was started by inetd or as a daemon of its own, with a configuration of its own. It stays in the
foreground and logs to standard error, as service managers like it, and tells them about its state (sd_notify(3)).
SIGHUP reads the configuration again.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, count
from gsi.cli.run import EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace
    from gsi.transport.workers import Watcher
    from kca.config import KCAConfig
    from kca.server import ServerFactory

__all__ = ["build_parser", "main"]

PROG: Final = "kca-server"
DEFAULT_CONFIG: Final = "/etc/kca/kca.toml"
MAX_WORKERS: Final = 64


def _workers(text: str) -> int:
    return count(text, minimum=1, maximum=MAX_WORKERS)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "issue certificates for Kerberos tickets")
    section = parser.section("What to serve")
    section.value(
        "-config",
        "-c",
        metavar="FILE",
        completion=Completion.FILE,
        text=f"the configuration (KCA_CONFIG or {DEFAULT_CONFIG})",
    )
    section.value(
        "-listen",
        "-l",
        metavar="ADDRESS:PORT",
        repeatable=True,
        text="where to listen, whatever the configuration says (else *:9878), with UDP and TCP; *:0 takes a free port",
    )
    section.value("-portfile", metavar="FILE", completion=Completion.FILE, text="a file to write the port to")
    section.value("-pidfile", metavar="FILE", completion=Completion.FILE, text="a file to write the process id to")
    section = parser.section("How to run")
    section.value("-workers", metavar="N", convert=_workers, text="processes, whatever the configuration says (else 2)")
    section.flag("-check", text="say whether configuration, keytab, key and store can be used, and exit")
    section.flag("-verbose", "-v", text="log every refusal")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    from gsi.cli.server_log import log_to_stderr
    from gsi.system.environ import get_variable
    from kca.server import ServerFactory

    log_to_stderr(*(["kca"] if arguments.verbose else []))
    os.umask(0o077)
    path = os.path.abspath(arguments.config or get_variable("KCA_CONFIG") or DEFAULT_CONFIG)
    factory = ServerFactory(lambda: _load(path, arguments), listens=not arguments.check)
    if arguments.check:
        factory.close()
        sys.stdout.write("configuration, keytab, key and store can be used\n")
        return EXIT_OK
    return _serve(arguments, factory)


def _load(path: str, arguments: Namespace) -> KCAConfig:
    """Read the configuration, and put in what the command line says."""
    from dataclasses import replace

    from kca.config import load_config

    config = load_config(path)
    changes: dict[str, object] = {}
    if arguments.listen:
        changes["listen"] = tuple(arguments.listen)
    if arguments.workers:
        changes["workers"] = arguments.workers
    return replace(config, server=replace(config.server, **changes))  # type: ignore[arg-type]  # converted above


def _serve(arguments: Namespace, factory: ServerFactory) -> int:
    from gsi.system.files import write_public
    from gsi.transport.serve import serve

    if arguments.pidfile:
        write_public(arguments.pidfile, f"{os.getpid()}\n".encode())

    def announce() -> None:
        if arguments.portfile:
            write_public(arguments.portfile, f"{factory.port}\n".encode())
        sys.stderr.write(f"{PROG}: listening on port {factory.port}\n")
        sys.stderr.flush()

    try:
        return serve(
            factory.streams,
            factory.make,
            workers=factory.config.server.workers,
            on_ready=announce,
            on_reload=factory.reload,
            on_worker=factory.set_worker,
            watcher=_watcher(),
        )
    finally:
        factory.close()


def _watcher() -> Watcher:
    """Return what tells the service manager about our state."""
    from gsi.system.notify import Manager
    from gsi.transport.workers import Watcher

    manager = Manager.from_environment()

    class Telling(Watcher):
        seconds = manager.watchdog_seconds

        def ready(self) -> None:
            manager.tell("READY=1", f"MAINPID={os.getpid()}", "STATUS=serving")

        def reloading(self) -> None:
            manager.tell_reloading()

        def reloaded(self) -> None:
            manager.tell("READY=1", "STATUS=serving")

        def stopping(self) -> None:
            manager.tell("STOPPING=1", "STATUS=answering what is in hand")

        def alive(self) -> None:
            manager.tell("WATCHDOG=1")

    return Telling()
