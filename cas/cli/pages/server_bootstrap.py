"""The prose of cas-server-bootstrap(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-server-bootstrap` begins the policy of a community: with `-b` it enrols the first trust anchor and the first user,
and makes this user's group superuser; with `-implicit` it enrols what GridFTP needs. It works on the store itself, on
the server's machine, and asks for no right in the policy; what it does is in the policy's history all the same, under
the name of the account. All changes are made, or none. A server that runs on the store need not be stopped.

`-export` writes the whole policy as text, one change in a line, and `-import` reads it into a new store; histories are
written on demand and never read. `-accept-clock` is for the time after a machine's clock was ahead while the policy was
changed: until the true time has caught up, the server would refuse everything, since its clock seems to have gone back.

The bootstrap file has one `name=value` in a line; lines that begin with `#` or `!` say nothing:

    ta-name=defaultTrustAnchor
    ta-authMethod=X509
    ta-authData=/O=Grid/CN=CA
    user-name=superUser
    user-subject=/O=Grid/CN=Admin
    userGroupname=superUserGroup

Nobody else may be able to write it.
""",
    exit_status=(
        ("0", "Done."),
        ("1", "It was not, and nothing was changed; the error says why."),
    ),
    examples=(
        (
            "Begin a policy:",
            "cas-server-bootstrap -d /var/lib/cas -implicit -b /etc/cas/bootstrap",
        ),
        (
            "Keep a copy of it, and what became of it:",
            "cas-server-bootstrap -d /var/lib/cas -export /var/backups/cas.json -history",
        ),
    ),
    differences="""\
In GT, `-d` named a file of properties of the database. Here it is the directory of the SQLite store, which is made if
it is not there, or the connection string of a PostgreSQL database without a password (`passfile=` names a file that has
it). `-export`, `-import` and `-accept-clock` are new.
""",
)
