"""The prose of cas-action(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import CHANGES, ENVIRONMENT, EXIT_STATUS, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-action` adds an action to a type of service, or removes one that no statement and no group uses. An action guards
against mistyping; what it means is the resource's affair. You need `cas/create_group_entry` or
`cas/delete_group_entry` on the type.
"""
    "\n" + CHANGES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(("A new action of files:", "cas-action add file stage"),),
    differences="""\
New: `-dry-run`, `-reason`, `-revision`, `-json`.
""",
    see_also=(
        "cas-enroll(1)",
        "cas-rights-admin(1)",
    ),
)
