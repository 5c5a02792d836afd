"""The prose of myproxy-admin-export(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-admin-export` writes what is in a MyProxy repository as a storage directory of the C `myproxy-server`, so that
a site can go back. It runs on the server's machine, as the server's user or as root, and works beside running servers.

The C server has to open each key with its user's pass phrase, which nobody knows here. So a key can be written when it
has no pass phrase, when it still lies under the lock that its owner gave it, or when this server has kept a copy of it
that OpenSSL can open under the same pass phrase: it does so unless `keep_c_export off` is in the configuration. The
other credentials are named; their owners have to store new ones.

The C server keeps a credential of user `a` named `b` in the same file as the unnamed one of user `a-b`. Of two such
credentials the second is not written, and named.

The export may be interrupted and done again. Every export is recorded in the server's audit log.
""",
    exit_status=(
        ("0", "Every credential was written."),
        ("1", "It could not be exported; the error says why."),
        ("2", "Some credentials were not written; each is named."),
    ),
    files=(
        ("/etc/myproxy-server.config", "The server's configuration, which names the database and the server keys."),
        ("/var/lib/myproxy", "The storage directory."),
    ),
    examples=(("For a C server on this machine:", "myproxy-admin-export -t /srv/myproxy-c"),),
    see_also=("myproxy-admin-import(8)", "myproxy-server(8)"),
)
