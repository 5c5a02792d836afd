"""Docstrings as this project writes them, for autodoc: indented examples are code, and types find their pages.

Annotations name types as the module that holds them does, so `Credential` is looked for among everything that is
documented. A type that has no page is shown as code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

__all__ = ["setup"]

_HEADING: Final = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")
_TYPE: Final = re.compile(r"[\w.]+(\[.*)?|\W+")
_STYLE: Final = Config(napoleon_use_ivar=True)


def _translate(  # noqa: PLR0917  # as Sphinx calls it
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Turn a docstring into reStructuredText.

    Napoleon's own handler takes the words before a colon in the first line of an attribute's docstring for its type.
    Ours begin with sentences, so it is called without the name, and looks for none.
    """
    del app, what, name, obj, options
    lines[:] = GoogleDocstring(_mark_blocks(lines), _STYLE).lines()


def _mark_blocks(lines: list[str]) -> list[str]:
    """Put `::` before examples, which are indented, and before tables; not within sections such as `Args:`."""
    found: list[str] = []
    in_section = in_block = False
    for line in lines:
        if line and not line.startswith(" "):
            in_section = bool(_HEADING.match(line))
        if line.startswith(("    ", "|")) and not in_section:
            if not in_block:
                found += ["", "::", ""]
            in_block = True
            line = f"    {line.removeprefix('    ')}"  # noqa: PLW2901  # tables are not indented
        elif line:
            if in_block:
                found.append("")
            in_block = False
        found.append(line)
    return found


def _find(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element) -> nodes.Element | None:
    """Find a type by its last name; one that has no page is code."""
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"]
    name = target.rpartition(".")[2]
    objects = env.domains.python_domain.objects
    places = {(found.docname, found.node_id) for full, found in objects.items() if full.rpartition(".")[2] == name}
    if len(places) == 1 and (name[:1].isupper() or target in objects):
        docname, node_id = places.pop()
        return make_refnode(app.builder, node["refdoc"], docname, node_id, shown, name)
    return shown if _TYPE.fullmatch(target) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the handlers known."""
    app.connect("autodoc-process-docstring", _translate)
    app.connect("missing-reference", _find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
