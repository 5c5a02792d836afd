"""The prose of cas-remove(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import CHANGES, ENVIRONMENT, EXIT_STATUS, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-remove` lets a community forget a CA, a user, a namespace, an object or a type of service. It is refused while
the thing is in use: in a group, a CA with users, a namespace with objects, a type with actions. What was granted on
it goes with it. You need `cas/remove` on it. What is not there is no error.
"""
    "\n" + CHANGES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(("Somebody has left:", "cas-group-remove-entry user readers alice\ncas-remove user alice"),),
    differences="""\
New: `-dry-run`, `-reason`, `-revision`, `-if-version`, `-json`.
""",
    see_also=(
        "cas-enroll(1)",
        "cas-group-admin(1)",
        "cas-history(1)",
    ),
)
