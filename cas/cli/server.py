"""The command `cas-server`: options, log and signals; `cas.server` does the serving.

New: the CAS of GT 4 ran inside a web services container. It stays in the foreground and logs to standard error, as
service managers like it, and tells them about its state (sd_notify(3)). SIGHUP reads the configuration again.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion
from gsi.cli.run import EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-server"
DEFAULT_CONFIG: Final = "/etc/cas/cas.toml"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "serve a community: capabilities over HTTPS and to VOMS clients")
    section = parser.section("What to serve")
    section.value(
        "-config",
        "-c",
        metavar="FILE",
        completion=Completion.FILE,
        text=f"the configuration (CAS_CONFIG or {DEFAULT_CONFIG})",
    )
    section.value(
        "-portfile",
        metavar="FILE",
        completion=Completion.FILE,
        text="a file to write the ports to: HTTPS, then VOMS where it is served",
    )
    section.value("-pidfile", metavar="FILE", completion=Completion.FILE, text="a file to write the process id to")
    section = parser.section("How to run")
    section.flag("-check", text="say whether the configuration and all that it names can be used, and exit")
    section.flag("-verbose", "-v", text="log every refusal")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    from gsi.cli.server_log import log_to_stderr
    from gsi.errors import ConfigError
    from gsi.system.environ import get_variable

    log_to_stderr(*(["cas"] if arguments.verbose else ["cas.server"]))
    os.umask(0o077)
    path = os.path.abspath(arguments.config or get_variable("CAS_CONFIG") or DEFAULT_CONFIG)
    try:
        from cas.config import load_config
        from cas.server.supervise import CASServer, check
    except ImportError as error:
        raise ConfigError(
            f"the server cannot be used: {error}",
            hint="install gsi-toolkit with its extras 'server', 'portal', 'saml' and 'tokens'",
        ) from error
    if arguments.check:
        check(load_config(path))
        sys.stdout.write("the configuration and all that it names can be used\n")
        return EXIT_OK
    server = CASServer(lambda: load_config(path))

    def announce() -> None:
        from gsi.system.files import write_public

        ports = [server.port] if server.voms_port is None else [server.port, server.voms_port]
        if arguments.pidfile:
            write_public(arguments.pidfile, f"{os.getpid()}\n".encode())
        if arguments.portfile:
            write_public(arguments.portfile, "".join(f"{port}\n" for port in ports).encode())
        more = "" if server.voms_port is None else f", VOMS on port {server.voms_port}"
        sys.stderr.write(f"{PROG}: listening on port {server.port}{more}\n")
        sys.stderr.flush()

    return server.run(announce)


if __name__ == "__main__":
    sys.exit(main())
