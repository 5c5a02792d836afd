"""The prose of cas-group-list-entries(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import ENVIRONMENT, EXIT_STATUS, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-group-list-entries` lists what is in a group of users, objects or actions itself. What is no user or action is
printed with its kind; attributes that make members (feeds) come last. You need `cas/query` on the server.
"""
    "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(("The readers:", "cas-group-list-entries user readers"),),
    differences="""\
New: `-json`.
""",
    see_also=(
        "cas-group-add-entry(1)",
        "cas-list-object(1)",
    ),
)
