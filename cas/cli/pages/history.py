"""The prose of cas-history(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import ENVIRONMENT, EXIT_STATUS, NAMES, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-history` prints who changed the policy, when, what and why, oldest first; of everything or of one thing, also one
that is gone. Each entry begins with the policy's revision with it. What was granted on something that was removed
stands below its removal. You need `cas/query` on the server.
"""
    "\n" + NAMES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(
        ("The last changes:", "cas-history -last 10"),
        ("What became of alice?", "cas-history user alice"),
    ),
    see_also=(
        "cas-find-policies(1)",
        "cas-export(1)",
    ),
)
