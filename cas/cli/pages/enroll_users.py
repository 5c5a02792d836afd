"""The prose of cas-enroll-users(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-enroll-users` enrols all users of a file in a community. A line of the file is a nickname, the distinguished name
in the user's certificate, and the nickname of the trust anchor that issued it, with tabs between; behind one more tab
may stand user groups that they join, with commas between. Empty lines and lines that begin with `#` say nothing:

    alice	/O=Grid/CN=Alice	defaultTrustAnchor	readers,writers

The whole file is looked at first. When a line cannot be read, all such lines are shown with their numbers, and nothing
is sent. Then the server enrols some thousand lines at a time, each time all of them or none, and keeps how far the file
is done. When the command was ended, by whatever, call it again: it goes on behind the lines that are done. When a user
was removed since, or taken out of a group, it begins anew: who is missing is enrolled, who was taken out is put back.

A user who is enrolled already, with the same name, is passed over, and only joins the groups of the line. A line that
stands against what is enrolled (a nickname or a name of somebody else, a group that is not there) ends the command and
is shown with its number; the lines before its part of the file stay enrolled. Mend the file and call again.

It needs the right to enrol users, and to add to the groups that the file names.
""",
    exit_status=(
        ("0", "All lines are done."),
        ("1", "They are not; the error says why."),
    ),
    environment=(
        ("CAS_SERVER_URL", "The server, where no option names it."),
        ("CAS_SERVER_IDENTITY", "Who it has to be, where `-z` does not say."),
        ("X509_USER_PROXY", "The proxy to ask with, where `-x` names none."),
        ("X509_CERT_DIR", "The trust directory."),
    ),
    examples=(("A file of users, who are to be managed by the first group:", "cas-enroll-users superUserGroup users"),),
    see_also=("cas-server(8)", "cas-whoami(1)"),
)
