"""The prose of cas-who-can(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import ENVIRONMENT, EXIT_STATUS, NAMES, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-who-can` lists the users who may do something now, through whatever groups. Behind them stand the attributes that
would give it to others who prove them, and the statements that hold for some proxies or strengths only, which were
taken to hold. You need `cas/query` on the server.
"""
    "\n" + NAMES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(
        ("Who may read a file?", "cas-who-can file/read object FTPDirectoryTree ftp://se.example.org/data/a"),
        ("Who is superuser?", "cas-who-can cas/superuser server"),
    ),
    see_also=(
        "cas-why(1)",
        "cas-find-policies(1)",
    ),
)
