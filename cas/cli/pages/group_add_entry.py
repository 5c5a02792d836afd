"""The prose of cas-group-add-entry(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import CHANGES, ENVIRONMENT, EXIT_STATUS, NAMES, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-group-add-entry` puts something into a group: a user into a user group; an object, user, user group, type of
service, namespace or CA into a group of objects; an action into a group of actions. You need `cas/add_group_entry` on
the group; for a group of objects also `cas/grantAll` on the member.

Groups may be in groups of their kind. With `voms` and an FQAN, or `ldap` and the name of a directory's group, whoever
proves that attribute is a member of a user group for as long as they do.
"""
    "\n" + NAMES + "\n" + CHANGES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(
        ("A user:", "cas-group-add-entry user readers alice"),
        ("An object:", 'cas-group-add-entry object archive object FTPDirectoryTree "ftp://se.example.org/data/*"'),
        ("Whoever has an attribute of another community:", "cas-group-add-entry user readers voms /atlas/production"),
    ),
    differences="""\
GT had no groups in groups of users or actions, and no feeds. New: `-dry-run`, `-reason`, `-revision`, `-if-version`,
`-json`.
""",
    see_also=(
        "cas-group-remove-entry(1)",
        "cas-group-list-entries(1)",
        "cas-group-admin(1)",
    ),
)
