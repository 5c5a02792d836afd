"""The terminal sessions of a page of documentation, as values: what is typed, what is shown, and whether it fits.

    for typed in read_console(page.read_text()):
        ...
        assert typed.fits(printed)

In a block ```` ```console ```` a line `$ ...` is typed, `> ...` continues it, and what follows is shown. `...` within a
shown line stands for anything, alone in a line for any lines. A command that fails ends with the comment `# refused`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

__all__ = ["Typed", "make_script", "read_console", "split_output"]

_BLOCK: Final = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
_MARK: Final = re.compile(r"\n@@ (\d+) (\d+) @@\n")


class Typed(NamedTuple):
    """One command.

    Attributes:
        command: What is typed, with its line feeds.
        shown: What the page says that comes, without the last line feed.
    """

    command: str
    shown: str

    @property
    def fails(self) -> bool:
        return self.command.endswith("# refused")

    def fits(self, printed: str) -> bool:
        """Whether what was printed is what the page shows."""
        pattern = "".join(
            r"(?:.*\n)*?" if line.strip() == "..." else ".*".join(map(re.escape, line.split("..."))) + "\n"
            for line in self.shown.splitlines()
        )
        return re.fullmatch(pattern, printed if printed.endswith("\n") or not printed else f"{printed}\n") is not None


def read_console(text: str) -> Iterator[Typed]:
    """The commands of a page, in order."""
    for block in _BLOCK.findall(text):
        command: list[str] = []
        shown: list[str] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield Typed("\n".join(command), "\n".join(shown))
                command, shown = [line[2:]], []
            elif command and not shown and line.startswith("> "):
                command.append(line[2:])
            elif command and not shown and line == ">":
                command.append("")
            else:
                assert command, f"nothing was typed before: {line}"
                shown.append(line)
        if command:
            yield Typed("\n".join(command), "\n".join(shown))


def make_script(typed: Sequence[Typed]) -> str:
    """A script for bash that runs all of it in one shell, with a mark after each."""
    lines = ["exec 2>&1"]
    for number, one in enumerate(typed):
        lines += [one.command, f"printf '\\n@@ %d %d @@\\n' {number} $?"]
    return "\n".join(lines) + "\n"


def split_output(output: str) -> list[tuple[int, str]]:
    """For each command its exit status and what it printed."""
    pieces = _MARK.split(output.replace("\r\n", "\n"))  # servers of FTP end their lines so
    return [(int(pieces[at + 2]), pieces[at]) for at in range(0, len(pieces) - 2, 3)]
