"""The prose of cas-enroll(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import CHANGES, ENVIRONMENT, EXIT_STATUS, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-enroll` makes something known to a community: a CA, a user of a CA, a namespace of objects, an object, a type of
service. *GROUP* is the user group that gets `grantAll` on it, which is every right but to be superuser. You need the
right to enrol its kind (`cas/enroll_user` and the like) on the server.

A CA is enrolled by the method `X509` and its distinguished name. Names in a namespace compare by `ExactComparison` or
`WildCardComparison`, and those that are relative are made full with its *BASE*, which may be empty (''). Actions of a
type of service are added with `cas-action`, groups with `cas-group-admin`.
"""
    "\n" + CHANGES + "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(
        (
            "A CA, and somebody whom it certifies:",
            (
                'cas-enroll trustAnchor superUserGroup ca X509 "/O=Grid/CN=CA"\n'
                'cas-enroll user superUserGroup alice "/O=Grid/CN=Alice" ca'
            ),
        ),
        (
            "All files below a directory of a GridFTP server:",
            'cas-enroll object superUserGroup "ftp://se.example.org/data/*" FTPDirectoryTree',
        ),
    ),
    differences="""\
GT took any nickname. Here none may look like another one of its kind, nor hold what cannot be seen or told apart.
New: `-strength`, `-dry-run`, `-reason`, `-revision`, `-json`.
""",
    see_also=(
        "cas-remove(1)",
        "cas-rights-admin(1)",
        "cas-enroll-users(1)",
        "cas-server(8)",
    ),
)
