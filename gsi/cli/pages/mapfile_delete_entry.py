"""The prose of grid-mapfile-delete-entry(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import GRIDMAP, SYSTEM_GRIDMAP

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-mapfile-delete-entry` takes mappings out of a grid-mapfile: all of a name (`-dn`), some accounts of a name (both
options), or accounts wherever they are (`-ln`). An entry that is left without accounts is deleted.

A name counts as the same in whatever letter case it is written, and with letters beyond ASCII as they are or as
`\\xHH`. Every line of the name is changed, also those behind the first, which services do not look at: otherwise the
next one would step in for the one deleted. Should that happen because the lines hold different accounts, a warning says
so.

The file is replaced in one step, by one editor at a time; who waits for another editor gives up after 30 seconds. The
file `.grid-mapfile.lock` beside it, which stays, is their lock. Comments, order, mode and owner stay, and the
version before is kept beside it with the ending `.old`.
""",
    exit_status=(
        ("0", "Mappings were removed; with `-dryrun`, they could be."),
        ("1", "There was no such mapping, or an error; nothing was changed."),
    ),
    environment=(GRIDMAP,),
    files=(SYSTEM_GRIDMAP,),
    examples=(
        ("Take everything from Alice:", "grid-mapfile-delete-entry -dn /O=Grid/CN=Alice"),
        ("Take one account from her:", "grid-mapfile-delete-entry -dn /O=Grid/CN=Alice -ln atlas"),
        ("See who would lose an account:", "grid-mapfile-delete-entry -ln atlas -dryrun"),
    ),
    differences="""\
The script asks for both `-dn` and `-ln`, although its help does not. It compares names letter by letter and leaves an
entry that differs in letter case in force.

When it deletes anything it writes the whole file anew: comments and empty lines are lost, or become entries, and the
mode is set to 644 whatever it was. A line without its closing quote makes it give up.
""",
    see_also=("grid-mapfile-add-entry(8)", "grid-mapfile-check-consistency(8)"),
)
