"""The command `myproxy-delegation`: options; `myproxy.delegation` serves.

New; no C command does this. It stays in the foreground and logs to standard error.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.run import EXIT_OK, run
from myproxy.cli.options import LongOptionParser, add_service_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "myproxy-delegation"
VARIABLE: Final = "MYPROXY_DELEGATION_CONFIG"
DEFAULT_CONFIG: Final = "/etc/myproxy/delegation.toml"


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "keep delegated proxies for transfers and jobs")
    section = add_service_options(parser, VARIABLE, DEFAULT_CONFIG)
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
    from gsi.system.environ import get_variable

    log_to_stderr("myproxy.delegation")
    os.umask(0o077)
    path = os.path.abspath(arguments.config or get_variable(VARIABLE) or DEFAULT_CONFIG)
    try:
        from myproxy.delegation.config import load_config
        from myproxy.delegation.serving import check, serve
    except ImportError as error:
        raise ConfigError(
            f"the service cannot be used: {error}", hint="install gsi-toolkit with its extras 'portal' and 'server'"
        ) from error
    config = load_config(path)
    if arguments.check:
        check(config)
        sys.stdout.write("the configuration and all that it names can be used\n")
        return EXIT_OK

    ready = partial(tell_ready, PROG, config.http.listen, arguments.pidfile)
    return serve(config, lambda: load_config(path), on_ready=ready)


if __name__ == "__main__":
    sys.exit(main())
