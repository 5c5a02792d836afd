"""The prose of grid-mapfile-check-consistency(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import GRIDMAP, SYSTEM_GRIDMAP

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-mapfile-check-consistency` reads a grid-mapfile as services read it and reports every line that does not mean
what it seems to: a name without quotes that holds a blank, a comment behind an entry, a missing quote or account, a
second line for a name, and the like. It also reports accounts that do not exist on this machine, and a file that others
may write to.

Entries for pools (`.atlas`) are not looked into.
""",
    exit_status=(
        ("0", "Nothing to report."),
        ("1", "The file cannot be read."),
        ("2", "The file is empty."),
        ("3", "The file cannot be loaded."),
        ("4", "Accounts do not exist on this machine."),
        ("5", "Lines do not mean what they seem to, or others may write to the file."),
    ),
    environment=(GRIDMAP,),
    files=(
        SYSTEM_GRIDMAP,
        ("~/.gridmap", "The grid-mapfile of an ordinary user, where it exists."),
    ),
    examples=(("Check a file before it is installed:", "grid-mapfile-check-consistency -f ./grid-mapfile"),),
    differences="""\
The script knows three faults, compares names letter by letter, and exits with 0 when it has found duplicate or
malformed lines. It refuses lines that services read: names without quotes, accounts separated by blanks, pools.
""",
    see_also=("grid-mapfile-add-entry(8)", "grid-mapfile-delete-entry(8)"),
)
