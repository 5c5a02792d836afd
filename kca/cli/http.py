"""The command `kca-http`: options; `kca.gunicorn` serves, `kca.http` answers.

New; no other program of the field has this form but Heimdal's bx509d, whose request is understood as well. It stays in
the foreground and logs to standard error.
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
    from kca.config import KCAConfig

__all__ = ["build_parser", "main"]

PROG: Final = "kca-http"
DEFAULT_CONFIG: Final = "/etc/kca/kca.toml"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "give certificates for Kerberos tickets over HTTP")
    section = parser.section("What to serve")
    section.value(
        "-config",
        "-c",
        metavar="FILE",
        completion=Completion.FILE,
        text=f"the configuration (KCA_CONFIG or {DEFAULT_CONFIG})",
    )
    section.value(
        "-listen", metavar="WHERE", text="ADDRESS:PORT, or a Unix socket's path, whatever the configuration says"
    )
    section = parser.section("How to run")
    section.value("-pidfile", metavar="FILE", completion=Completion.FILE, text="a file to write the process id to")
    section.flag("-check", text="look at everything that the configuration names, say whether it can be used, and exit")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    from functools import partial

    from gsi.cli.server_log import log_to_stderr, tell_ready
    from gsi.errors import ConfigError

    log_to_stderr("kca.http", "gsi.authz")
    os.umask(0o077)
    config = _load(arguments)
    try:
        from kca.gunicorn import make_application, serve_http
    except ImportError as error:
        raise ConfigError(
            f"the web server cannot be used: {error}",
            hint="install gsi-toolkit with its extras 'portal' and 'kerberos'",
        ) from error
    if arguments.check:
        make_application(config)
        sys.stdout.write("the configuration and all that it names can be used\n")
        return EXIT_OK

    ready = partial(tell_ready, PROG, config.http.listen, arguments.pidfile)
    return serve_http(config, lambda: _load(arguments), on_ready=ready)


def _load(arguments: Namespace) -> KCAConfig:
    from dataclasses import replace

    from gsi.system.environ import get_variable
    from kca.config import load_config

    config = load_config(os.path.abspath(arguments.config or get_variable("KCA_CONFIG") or DEFAULT_CONFIG))
    if arguments.listen:
        config = replace(config, http=replace(config.http, listen=arguments.listen))
    return config


if __name__ == "__main__":
    sys.exit(main())
