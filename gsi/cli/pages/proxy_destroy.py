"""The prose of grid-proxy-destroy(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import PROXY_FILE, USER_PROXY

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-proxy-destroy` overwrites proxy files with zeros and removes them. Without arguments it destroys the proxy
at the default place.

Only a regular file that belongs to the user and has no second name is touched. A symbolic link is never
followed.

Copies of the proxy elsewhere, those delegated to services among them, stay good until they expire. On
journaling file systems and solid-state disks the overwritten blocks may survive for a while.
""",
    exit_status=(
        ("0", "Done, also when a file named on the command line was not there; a warning says so."),
        ("1", "The default proxy is missing, or a file was left alone or could not be destroyed; the others were."),
    ),
    environment=(USER_PROXY,),
    files=(
        PROXY_FILE,
        ("/tmp/x509up_p*", "Proxies delegated to this user's services, destroyed with `-all`."),  # noqa: S108  as above
    ),
    examples=(
        ("Destroy the proxy:", "grid-proxy-destroy"),
        (
            "See what would go, then destroy the delegated ones too:",
            "grid-proxy-destroy -all -dryrun\ngrid-proxy-destroy -all",
        ),
    ),
    differences="""\
The C program follows symbolic links and overwrites what they lead to, and says nothing when a file cannot be
opened.

Options may follow file names; the C program takes `-dryrun` after a name for another file.

With `-all`, the delegated proxies are listed by `-dryrun`, and are destroyed even when the default proxy is
missing. They are looked for in `/tmp`, wherever the default proxy is.

`-help` prints to standard output.
""",
    see_also=("grid-proxy-info(1)", "grid-proxy-init(1)"),
)
