"""The prose of cas-group-admin(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import CHANGES, ENVIRONMENT, EXIT_STATUS, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-group-admin` creates groups of users, of objects and of actions, and deletes those that hold nothing and that
nothing uses. *GROUP* is the user group that gets `grantAll` on the new one. You need `cas/create_user_group` and the
like on the server; to delete, `cas/delete_user_group` or `cas/remove` on the group.

`user fqan` says by which FQAN VOMS-aware services are told that somebody is in a group, or with `none` that they are
not told; superusers alone can, since sites believe it.
"""
    "\n" + CHANGES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(
        (
            "A group, and its FQAN:",
            "cas-group-admin user create superUserGroup readers\ncas-group-admin user fqan readers /climate/readers",
        ),
    ),
    differences="""\
A new user group cannot govern itself: *GROUP* has to be there already. New: `user fqan`, `-dry-run`, `-reason`,
`-revision`, `-if-version`, `-json`.
""",
    see_also=(
        "cas-group-add-entry(1)",
        "cas-group-list-entries(1)",
    ),
)
