"""What servers that stay in the foreground say on standard error: one event per line, and that they listen.

log_to_stderr("gsi.authz.web")
serve(config, on_ready=lambda: tell_ready("gsi-authz-http", "127.0.0.1:8444", pidfile))
"""

from __future__ import annotations

import os
import sys

from gsi.cli.run import printable

__all__ = ["log_to_stderr", "tell_ready"]


def log_to_stderr(*loud: str) -> None:
    """Log one line per event, control characters escaped: names in messages come from strangers.

    Args:
        loud: Loggers whose information is wanted; of all others only warnings are.
    """
    import logging

    class LineFormatter(logging.Formatter):
        """Puts every event on one line."""

        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record)).replace("\n", " | ")

    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in loud:
        logging.getLogger(name).setLevel(logging.INFO)


def tell_ready(prog: str, place: str, pidfile: str | None) -> None:
    """Say that connections are being accepted; for `on_ready` of servers.

    Args:
        prog: The command.
        place: Where it listens.
        pidfile: A file for its process id, or none.

    Raises:
        CredentialError: The file cannot be written.
    """
    if pidfile:
        from gsi.system.files import write_public

        write_public(pidfile, f"{os.getpid()}\n".encode())
    sys.stderr.write(f"{prog}: listening on {printable(place)}\n")
    sys.stderr.flush()
