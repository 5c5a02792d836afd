"""The command `myproxy-portal`: options; `myproxy.portal` serves.

New; no C command does this. It stays in the foreground and logs to standard error.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import UsageError
from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.options import LongOptionParser, add_service_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "myproxy-portal"
VARIABLE: Final = "MYPROXY_PORTAL_CONFIG"
DEFAULT_CONFIG: Final = "/etc/myproxy/portal.toml"


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "serve MyProxy to web browsers")
    section = add_service_options(parser, VARIABLE, DEFAULT_CONFIG)
    section.value(
        "-r",
        "--register",
        dest="register",
        metavar="ID",
        text="print a table [applications.ID] with a new secret for a web application, and exit",
    )
    section.value("--url", dest="url", metavar="URL", text="with --register: where users are sent back to")
    section.flag(
        "-n", "--check", "-check", dest="check", text="look at all that the configuration names, say so, and exit"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    from functools import partial

    from gsi.cli.server_log import log_to_stderr, tell_ready
    from gsi.errors import ConfigError
    from gsi.system.clock import now
    from gsi.system.environ import get_variable

    if bool(arguments.register) is not bool(arguments.url):
        raise UsageError("--register and --url belong together: an application, and where its users are sent back to")
    log_to_stderr("myproxy.portal")
    os.umask(0o077)
    path = os.path.abspath(arguments.config or get_variable(VARIABLE) or DEFAULT_CONFIG)
    try:
        from myproxy.portal.config import load_config
        from myproxy.portal.serving import check, find_flaws, serve_portal
    except ImportError as error:
        raise ConfigError(
            f"the portal cannot be used: {error}", hint="install gsi-toolkit with its extras 'portal' and 'server'"
        ) from error
    if arguments.register:
        from myproxy.portal.registered import register

        table, secret = register(arguments.register, arguments.url)
        sys.stdout.write(f"{table}\n# for the application alone: client_secret = {secret}\n")
        return EXIT_OK
    config = load_config(path)
    if arguments.check:
        check(config)
        for flaw in find_flaws(config, now=now()):
            sys.stderr.write(f"{PROG}: warning: {printable(flaw)}\n")
        sys.stdout.write("the configuration and all that it names can be used\n")
        return EXIT_OK

    ready = partial(tell_ready, PROG, config.http.listen, arguments.pidfile)
    return serve_portal(config, lambda: load_config(path), on_ready=ready)


if __name__ == "__main__":
    sys.exit(main())
