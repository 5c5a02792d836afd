"""The prose of cas-list-object(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import ENVIRONMENT, EXIT_STATUS, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-list-object` lists the names of a kind: `trustAnchor`, `user`, `userGroup`, `object`, `objectGroup`, `namespace`,
`serviceType`, `serviceAction` or `serviceActionGp`. Objects are printed as `NAMESPACE|NAME`, actions as
`TYPE/ACTION`; with a namespace or type those of it alone. You need `cas/query` on the server.
"""
    "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(
        ("The users:", "cas-list-object user"),
        ("The objects of a namespace:", "cas-list-object object FTPDirectoryTree"),
    ),
    differences="""\
New: the namespace of objects, the type of actions, `-json`.
""",
    see_also=(
        "cas-get-object(1)",
        "cas-group-list-entries(1)",
    ),
)
