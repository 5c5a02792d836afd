"""The command `gsi-authz-http`: options; `gsi.authz.web.gunicorn` serves, `gsi.authz.web.subrequest` answers.

New; the C toolkit has no such program. It stays in the foreground and logs to standard error.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion
from gsi.cli.run import EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsi.authz.web.config import EndpointConfig
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "gsi-authz-http"
DEFAULT_CONFIG: Final = "/etc/grid-security/gsi-authz-http.toml"
DEFAULT_LISTEN: Final = "/run/gsi-authz/http"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "answer web servers whether a request is authorized")
    section = parser.section("What to serve")
    section.value(
        "-config", "-c", metavar="FILE", completion=Completion.FILE, text=f"the configuration ({DEFAULT_CONFIG})"
    )
    section.value(
        "-listen",
        metavar="WHERE",
        text=f"a Unix socket, or ADDRESS:PORT, whatever the configuration says (else {DEFAULT_LISTEN})",
    )
    section.value("-policy", metavar="NAME", text="a policy's name, or its file (else web)")
    section = parser.section("How to run")
    section.value("-pidfile", metavar="FILE", completion=Completion.FILE, text="a file to write the process id to")
    section.flag(
        "-check", text="read configuration, policy and trust directory, say whether they can be used, and exit"
    )
    section.flag("-verbose", "-v", text="log every decision")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    from gsi.authz.web.config import make_application
    from gsi.cli.server_log import log_to_stderr

    log_to_stderr("gsi.authz.web", *(("gsi.authz",) if arguments.verbose else ()))
    os.umask(0o077)
    config = _load(arguments)
    if arguments.check:
        make_application(config)
        sys.stdout.write("configuration, policy and trust directory can be used\n")
        return EXIT_OK
    return _serve(config, lambda: _load(arguments), arguments.pidfile)


def _serve(config: EndpointConfig, load: Callable[[], EndpointConfig], pidfile: str | None) -> int:
    from functools import partial

    from gsi.cli.server_log import tell_ready
    from gsi.errors import ConfigError

    try:
        from gsi.authz.web.gunicorn import serve_endpoint
    except ImportError as error:
        raise ConfigError(
            f"gunicorn cannot be used: {error}", hint="install gsi-toolkit with its extra 'portal'"
        ) from error

    ready = partial(tell_ready, PROG, config.server.listen, pidfile)
    return serve_endpoint(config, load, on_ready=ready)


def _load(arguments: Namespace) -> EndpointConfig:
    from dataclasses import replace

    from gsi.authz.web.config import EndpointConfig, load_config

    path = arguments.config or (DEFAULT_CONFIG if os.path.exists(DEFAULT_CONFIG) else None)
    config = EndpointConfig() if path is None else load_config(os.path.abspath(path))
    if arguments.listen:
        config = replace(config, server=replace(config.server, listen=arguments.listen))
    if arguments.policy:
        config = replace(config, requests=replace(config.requests, policy=arguments.policy))
    return config
