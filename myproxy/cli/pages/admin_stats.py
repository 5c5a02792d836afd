"""The prose of myproxy-admin-stats(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-admin-stats` shows how many operations a MyProxy server did, how many of them failed and why, and how often.
It asks the running server where the configuration says `monitor_listen`; else, and with `-a`, it counts what the audit
files say, those that rotation has put aside included.
""",
    exit_status=(
        ("0", "Done."),
        ("1", "It was not; the error says why."),
    ),
    environment=(
        ("LOGNAME", "The default of `-l`."),
        ("X509_CERT_DIR", "The trust directory."),
    ),
    files=(
        ("/etc/myproxy-server.config", "The server's configuration."),
        ("/var/lib/myproxy", "The storage directory."),
    ),
    examples=(
        (
            "What happened today, in JSON:",
            "myproxy-admin-stats -t 24 --json",
        ),
    ),
    differences="""\
There is no such C command.
""",
    see_also=("myproxy-server(8)", "myproxy-admin-query(8)"),
)
