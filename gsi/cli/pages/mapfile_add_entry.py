"""The prose of grid-mapfile-add-entry(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import GRIDMAP, SYSTEM_GRIDMAP

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-mapfile-add-entry` maps a certificate's name to local accounts. A name that has an entry gets the accounts
added to it, behind those it has; the first account of an entry is the default. A new name goes to the end of the
file. The file is made if there is none.

A name counts as the same in whatever letter case it is written, and with `E`, `Email` or `emailAddress` for one
attribute and `UID` or `USERID` for another, because that is how services look it up. Letters beyond ASCII may be typed
as they are. They are found, and written, in the form in which services see UTF-8: `\\xHH` for each byte. A certificate
may have them in another encoding; `grid-cert-info -subject` prints its name.

The file is replaced in one step, by one editor at a time; who waits for another editor gives up after 30 seconds. The
file `.grid-mapfile.lock` beside it, which stays, is their lock. Comments, order, mode and owner stay, and the
version before is kept beside it with the ending `.old`. An entry whose line does not mean what it seems to is left to
an editor; `grid-mapfile-check-consistency` shows such lines.
""",
    exit_status=(
        ("0", "The entry is there, be it new or not; with `-dryrun`, it could be."),
        ("1", "Nothing was changed."),
    ),
    environment=(GRIDMAP,),
    files=(SYSTEM_GRIDMAP,),
    examples=(
        ("Map Alice to two accounts:", "grid-mapfile-add-entry -dn /O=Grid/CN=Alice -ln alice atlas"),
        (
            "Map her to any free account of a pool, in a file of a service:",
            "grid-mapfile-add-entry -f ./grid-mapfile -dn /O=Grid/CN=Alice -ln .atlas",
        ),
    ),
    differences="""\
The script compares names letter by letter, so that it adds a second line for a name that differs in letter case, which
services never look at. It writes a name with quotes or backslashes as given, so that services read another one.

It moves the changed entry to the end of the file and drops empty lines, sets the mode of the file to 644 whatever it
was, and writes the `.old` file also with `-dryrun`. It does not know pools: they need `-force` there.
""",
    see_also=("grid-mapfile-check-consistency(8)", "grid-mapfile-delete-entry(8)", "grid-cert-info(1)"),
)
