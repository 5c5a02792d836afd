"""The prose of myproxy-admin-fsck(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-admin-fsck` reads every credential in a MyProxy repository and looks whether it can be used: whether the row
can be read, whether certificates and key are whole and belong together, whether the server key around them is there,
whether policies and times make sense, and whether tables and indexes are sound. It runs on the server's machine, as the
server's user or as root, and works beside running servers.

Without options it tells what it finds. `-r` sets anew what can be told from the rest of a row, such as the times of its
certificates. `-q` puts aside what nobody can use any more; such a credential lies in the table `quarantine`, `-l`
shows it, and `--restore` brings it back. Nothing is ever deleted. Every change is recorded in the server's audit log
before it is made.

A pass phrase is not known here, so whether a sealed key opens only its owner can find out. Whether a chain is trusted
or has expired is not looked at: see `myproxy-admin-query -i`.

After another server key was named first in the configuration, `-w` brings every key under it; after `none` was named
first, out of all. Keys of users who log on are brought there anyway.
""",
    exit_status=(
        ("0", "Nothing is wrong, or all that was has been mended."),
        ("1", "It could not be checked; the error says why."),
        ("2", "Something is wrong and was left."),
    ),
    files=(
        ("/etc/myproxy-server.config", "The server's configuration, which names the database and the server keys."),
        ("/var/lib/myproxy", "The storage directory."),
    ),
    examples=(
        ("Look, and mend what can be mended:", "myproxy-admin-fsck -r -q"),
        ("Change the server key:", "myproxy-admin-fsck -w"),
    ),
    see_also=("myproxy-admin-query(8)", "myproxy-server(8)"),
)
