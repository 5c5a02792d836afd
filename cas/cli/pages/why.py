"""The prose of cas-why(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import ENVIRONMENT, NAMES, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-why` says whether somebody may do something now, and by which statements and through which groups; then
statements that would hold at another time or for another proxy. Of oneself everybody may ask; of others whoever has
`cas/query` on the server.
"""
    "\n" + NAMES + "\n" + SERVER,
    exit_status=(
        ("0", "They may."),
        ("1", "It could not be found out; the error says why."),
        ("2", "They may not."),
    ),
    environment=ENVIRONMENT,
    examples=(
        ("May alice read this?", "cas-why -user alice file/read object FTPDirectoryTree ftp://se.example.org/data/a"),
    ),
    see_also=(
        "cas-who-can(1)",
        "cas-find-policies(1)",
    ),
)
