"""The directive `environment-variables`: tables out of the code and the manual pages that name the variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from marked import table
from sphinx.util.docutils import SphinxDirective

from gsi.cli.manual import COMMANDS, find_page
from gsi.system.environ import VARIABLES

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

__all__ = ["setup"]

_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]+")


class LibraryVariables(SphinxDirective):
    """What the library reads."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = [(f"`{name}`", f"{text[:1].upper()}{text[1:]}.") for name, text in VARIABLES.items()]
        return [table(("Variable", "Meaning"), rows)]


class CommandVariables(SphinxDirective):
    """What single commands read besides."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        found: dict[tuple[str, str], list[str]] = {}
        for name, command in COMMANDS.items():
            for variables, meaning in find_page(command).environment:
                if not all(one in VARIABLES for one in _NAME.findall(variables)):
                    found.setdefault((variables, meaning), []).append(f"`{name}`")
        rows = [(f"`{names}`", meaning, ", ".join(users)) for (names, meaning), users in sorted(found.items())]
        return [table(("Variable", "Meaning", "Read by"), rows)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directives known."""
    app.add_directive("library-variables", LibraryVariables)
    app.add_directive("command-variables", CommandVariables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
