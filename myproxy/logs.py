"""Where the server's log goes, and its form: one line per event, with nothing in it that drives a terminal.

Operational messages only; decisions are in the audit (`gsi.system.audit`), tied to them by the request's id.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
from typing import Final

from gsi.cli.run import printable

__all__ = ["log_to_stderr", "log_to_syslog"]

SYSLOG_SOCKET: Final = "/dev/log"


class _LineFormatter(logging.Formatter):
    """Puts every event on one line, control characters escaped: names in messages come from strangers."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record)).replace("\n", " | ")


def log_to_stderr(*, verbose: bool) -> None:
    """Log to standard error; with `verbose` every request."""
    _install(logging.StreamHandler(), "%(asctime)s %(levelname)s %(message)s", verbose=verbose)


def log_to_syslog(ident: str, *, verbose: bool) -> bool:
    """Log to the local syslog; False, and no log at all, where there is none."""
    handler: logging.Handler = logging.NullHandler()
    found = os.path.exists(SYSLOG_SOCKET)
    if found:
        try:
            handler = logging.handlers.SysLogHandler(SYSLOG_SOCKET, logging.handlers.SysLogHandler.LOG_DAEMON)
        except OSError:
            found = False
    _install(handler, f"{ident}[{os.getpid()}]: %(levelname)s %(message)s", verbose=verbose)
    return found


def _install(handler: logging.Handler, layout: str, *, verbose: bool) -> None:
    handler.setFormatter(_LineFormatter(layout))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("myproxy").setLevel(logging.DEBUG if verbose else logging.INFO)
