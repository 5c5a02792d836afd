"""The prose of cas-find-policies(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import ENVIRONMENT, EXIT_STATUS, NAMES, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-find-policies` lists the statements that name something: as whose right, as the action, or as that on which it is
held; a thousand at most. Which statements decide about somebody says `cas-why`. You need `cas/query` on the server.
"""
    "\n" + NAMES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(("What readers may do:", "cas-find-policies userGroup readers"),),
    differences="""\
New: `server`, `-json`.
""",
    see_also=(
        "cas-rights-admin(1)",
        "cas-why(1)",
        "cas-who-can(1)",
    ),
)
