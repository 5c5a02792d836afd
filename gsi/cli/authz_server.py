"""The command `gsi-authz-server`: options and logging; `gsi.authz.callout.daemon` serves, `judge` decides.

New; the C toolkit has no such program. It stays in the foreground and logs to standard error, as service managers like
it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, count
from gsi.cli.run import EXIT_OK, printable, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.authz.callout.config import CalloutConfig
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "gsi-authz-server"
DEFAULT_CONFIG: Final = "/etc/grid-security/gsi-authz-server.toml"
DEFAULT_SOCKET: Final = "/run/gsi-authz/socket"
MAX_WORKERS: Final = 64


def _workers(text: str) -> int:
    return count(text, minimum=1, maximum=MAX_WORKERS)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "decide for GridFTP servers, gatekeepers and job managers")
    section = parser.section("What to serve")
    section.value(
        "-config", "-c", metavar="FILE", completion=Completion.FILE, text=f"the configuration ({DEFAULT_CONFIG})"
    )
    section.value(
        "-socket",
        metavar="PATH",
        completion=Completion.FILE,
        text=f"the socket to listen on, whatever the configuration says (else {DEFAULT_SOCKET})",
    )
    section = parser.section("How to run")
    section.value("-workers", metavar="N", convert=_workers, text="processes, whatever the configuration says (else 2)")
    section.value("-pidfile", metavar="FILE", completion=Completion.FILE, text="a file to write the process id to")
    section.flag("-check", text="read configuration and policies, say whether they can be used, and exit")
    section.flag("-verbose", "-v", text="log every decision")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    from dataclasses import replace

    from gsi.authz.callout.service import ServiceFactory

    _log_to_stderr(verbose=arguments.verbose)
    os.umask(0o077)
    path = _find_config(arguments.config)
    config = _load(path)
    changes: dict[str, object] = {}
    if arguments.socket:
        changes["socket"] = os.path.abspath(arguments.socket)
    if arguments.workers:
        changes["workers"] = arguments.workers
    config = replace(config, server=replace(config.server, **changes))  # type: ignore[arg-type]  # checked above
    factory = ServiceFactory(config, path)
    if arguments.check:
        sys.stdout.write("configuration, policies and trust directory can be used\n")
        return EXIT_OK
    return _serve(arguments, factory.config, factory)


def _serve(arguments: Namespace, config: CalloutConfig, factory: object) -> int:
    from gsi.authz.callout.daemon import serve_callouts
    from gsi.authz.callout.service import ServiceFactory
    from gsi.system.files import write_public
    from gsi.transport.activation import Given

    assert isinstance(factory, ServiceFactory)
    settings = config.server
    with Given.from_environment() as given:
        sockets = given.listen(settings.socket, mode=settings.socket_mode)
    if arguments.pidfile:
        write_public(arguments.pidfile, f"{os.getpid()}\n".encode())

    def announce() -> None:
        sys.stderr.write(f"{PROG}: listening on {printable(settings.socket)}\n")
        sys.stderr.flush()

    return serve_callouts(sockets, factory.make, workers=settings.workers, on_ready=announce, on_reload=factory.reload)


def _find_config(given: str | None) -> str | None:
    """Return the file to read, or None where the built-in configuration has to do."""
    if given:
        return os.path.abspath(given)
    return DEFAULT_CONFIG if os.path.exists(DEFAULT_CONFIG) else None


def _load(path: str | None) -> CalloutConfig:
    from gsi.authz.callout.config import CalloutConfig, load_config

    return CalloutConfig() if path is None else load_config(path)


def _log_to_stderr(*, verbose: bool) -> None:
    """Log one line per event, control characters escaped: names in messages come from strangers."""
    import logging

    class LineFormatter(logging.Formatter):
        """Puts every event on one line."""

        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record)).replace("\n", " | ")

    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("gsi.authz.callout").setLevel(logging.INFO)
    if verbose:
        logging.getLogger("gsi.authz").setLevel(logging.DEBUG)
