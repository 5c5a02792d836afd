"""The prose of cas-export(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import ENVIRONMENT, EXIT_STATUS, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-export` writes a community's policy to a file, one JSON object in a line: what is enrolled, who and what is in
groups, and every statement; all of one state of it. When somebody changes the policy meanwhile, it begins again. You
need `cas/query` on the server. `cas-server-bootstrap -export` writes the same file on the server's own machine.
"""
    "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(("Keep a copy:", "cas-export -history policy.json"),),
    see_also=(
        "cas-import(1)",
        "cas-server-bootstrap(8)",
        "cas-history(1)",
    ),
)
