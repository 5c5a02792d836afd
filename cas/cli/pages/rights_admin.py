"""The prose of cas-rights-admin(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import CHANGES, ENVIRONMENT, EXIT_STATUS, NAMES, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-rights-admin` grants a user group the right to an action, or to a group of actions, on an object, on a group of
objects or, for CAS's own actions, on anything; `revoke` takes it back. To grant one needs `cas/grant` on the object,
and to hold the right oneself; to revoke, `cas/revoke`.

`deny` forbids, and goes before everything that is granted, to superusers, too; `lift` takes a denial back. A
statement holds between `-from` and `-until`, for some proxies, or for some strengths of authentication. What is
revoked or lifted is the statement with exactly these terms; `cas-find-policies` shows them.
"""
    "\n" + NAMES + "\n" + CHANGES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(
        (
            "Reading below a directory:",
            (
                "cas-rights-admin grant readers object FTPDirectoryTree \\\n"
                '    "ftp://se.example.org/data/*" serviceAction file read'
            ),
        ),
        ("The right to ask about others:", "cas-rights-admin grant helpers server serviceAction cas query"),
        (
            "Nobody writes this week:",
            (
                "cas-rights-admin -until 2026-12-01 deny everyone object FTPDirectoryTree \\\n"
                '    "ftp://se.example.org/data/*" serviceAction file write'
            ),
        ),
    ),
    differences="""\
GT had permissions alone, without terms. New: `deny`, `lift`, the terms, `-dry-run`, `-reason`, `-revision`,
`-if-version`, `-json`.
""",
    see_also=(
        "cas-find-policies(1)",
        "cas-who-can(1)",
        "cas-why(1)",
    ),
)
