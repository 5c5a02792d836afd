"""The prose of cas-import(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import CHANGES, ENVIRONMENT, EXIT_STATUS, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-import` makes what an exported policy says and a community does not have yet. What is there already stays; when
something else has a name, nothing is changed at all. It takes nothing away. Superusers can import everything.

Up to a thousand changes are made together or not at all; of more, each thousand, and when another administrator comes
between, it ends with an error. The same command goes on where it was ended.
"""
    "\n" + CHANGES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(
        (
            "What another community has prepared:",
            ('cas-import -dry-run prepared.json\ncas-import -reason "as agreed" prepared.json'),
        ),
    ),
    see_also=(
        "cas-export(1)",
        "cas-server-bootstrap(8)",
        "cas-enroll-users(1)",
    ),
)
