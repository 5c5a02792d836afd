"""The log of servers that stay in the foreground: one event per line on standard error.

log_to_stderr("gsi.authz.web")
"""

from __future__ import annotations

from gsi.cli.run import printable

__all__ = ["log_to_stderr"]


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
