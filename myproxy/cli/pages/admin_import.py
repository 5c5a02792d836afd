"""The prose of myproxy-admin-import(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-admin-import` takes the credentials in a storage directory of the C `myproxy-server` over into a repository of
ours: names, owners, policies, locks, certificates and keys. Its files are only read. It runs on the server's machine,
as the server's user or as root.

A key that is locked stays under the lock that its owner gave it, because nobody else can open it. It is sealed the way
of this server at its owner's first logon.

The import may be interrupted and done again: what was taken over is known by its file and content, what has changed in
the directory since is brought, and what its owner has destroyed here does not come back. A credential that is here
already and did not come from that file stays as it is.

`myproxy-server` does the same by itself at its first start on a directory that holds such files, all at once.

What the C server could not read, or would find under another name than it tells, is not imported, and neither is a
credential whose key this server could not use: each is named.
""",
    exit_status=(
        ("0", "Everything is there."),
        ("1", "It could not be imported; the error says why. What was imported before it stays."),
        ("2", "Some credentials were not imported; each is named."),
    ),
    files=(
        ("/etc/myproxy-server.config", "The server's configuration, which names the database and the server keys."),
        ("/var/lib/myproxy", "The storage directory, of the C server and of ours."),
    ),
    examples=(
        ("See what would not come over:", "myproxy-admin-import -n -f /var/lib/myproxy"),
        ("From a directory elsewhere:", "myproxy-admin-import -f /srv/old-myproxy -v"),
    ),
    see_also=("myproxy-admin-export(8)", "myproxy-admin-query(8)", "myproxy-server(8)"),
)
