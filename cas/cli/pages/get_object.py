"""The prose of cas-get-object(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import ENVIRONMENT, EXIT_STATUS, NAMES, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-get-object` shows one thing that a community knows, with its version: how often it was changed, for `-if-version`
of the commands that change it. You need `cas/query` on the server.
"""
    "\n" + NAMES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(("Who is alice?", "cas-get-object user alice"),),
    differences="""\
New: the version, `-json`.
""",
    see_also=(
        "cas-list-object(1)",
        "cas-find-policies(1)",
        "cas-history(1)",
    ),
)
