"""The prose of cas-group-remove-entry(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import CHANGES, ENVIRONMENT, EXIT_STATUS, NAMES, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-group-remove-entry` takes something out of a group: a user out of a user group; an object, user, user group, type
of service, namespace or CA out of a group of objects; an action out of a group of actions. You need
`cas/remove_group_entry` on the group; for a group of objects also `cas/grantAll` on the member.

Groups may be in groups of their kind. With `voms` and an FQAN, or `ldap` and the name of a directory's group, whoever
proves that attribute is a member of a user group for as long as they do.
"""
    "\n" + NAMES + "\n" + CHANGES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(
        ("A user:", "cas-group-remove-entry user readers alice"),
        ("An object:", 'cas-group-remove-entry object archive object FTPDirectoryTree "ftp://se.example.org/data/*"'),
        (
            "Whoever has an attribute of another community:",
            "cas-group-remove-entry user readers voms /atlas/production",
        ),
    ),
    differences="""\
GT had no groups in groups of users or actions, and no feeds. New: `-dry-run`, `-reason`, `-revision`, `-if-version`,
`-json`.
""",
    see_also=(
        "cas-group-add-entry(1)",
        "cas-group-list-entries(1)",
        "cas-group-admin(1)",
    ),
)
