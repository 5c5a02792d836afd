"""The prose of myproxy-admin-change-pass(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-admin-change-pass` seals a credential in a MyProxy repository under another pass phrase. It runs on the
server's machine, as the server's user or as root, works beside running servers, and needs the pass phrase that the
credential has now: nobody can open a sealed key without. The change is recorded in the server's audit log before it is
made.
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
            "Give Alice's credential another pass phrase:",
            "myproxy-admin-change-pass -l alice",
        ),
    ),
    differences="""\
An empty new pass phrase leaves the key unsealed, and is taken only with `-n`. As root the command acts as the owner of
the storage directory.
""",
    see_also=("myproxy-server(8)", "myproxy-admin-query(8)"),
)
