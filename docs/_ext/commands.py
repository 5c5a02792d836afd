"""The directive `commands`: commands' manual pages, from the same parsers and prose as the man pages.

    ```{commands}
    grid-proxy-init grid-proxy-info
    ```

Every command of `gsi.cli.manual.COMMANDS` has to stand on one page; the build warns of those that stand on none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from marked import definitions, paragraph, paragraphs, sentence
from sphinx.addnodes import pending_xref
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from gsi.cli.manual import COMMANDS, find_page, find_parser

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

    from gsi.cli.arguments import CommandParser
    from gsi.cli.pages import ManualPage

__all__ = ["setup"]


class Commands(SphinxDirective):
    """One section for each command that is named in the body."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        return [self._section(name) for line in self.content for name in line.split()]

    def _section(self, name: str) -> nodes.section:
        command = COMMANDS[name]
        parser, page = find_parser(command), find_page(command)
        self.env.domains.standard_domain.note_hyperlink_target(_label(name), self.env.docname, _label(name), name)
        section = nodes.section("", nodes.title("", f"{name}({command.section})"), ids=[_label(name)])
        section += paragraph(sentence(parser.summary))
        section += nodes.literal_block("", "\n".join(f"{name} {line}".rstrip() for line in parser.usage_lines))
        section += paragraphs(page.description)
        section += _options(parser)
        section += _rest(page)
        if page.see_also:
            section += [_heading("See also"), self._references(page.see_also)]
        return section

    def _references(self, pages: Iterable[str]) -> nodes.paragraph:
        found = nodes.paragraph()
        for number, page in enumerate(pages):
            found += nodes.Text(", " if number else "")
            name, shown = page.partition("(")[0], nodes.literal("", page)
            found += self._reference(name, shown) if name in COMMANDS else shown
        return found

    def _reference(self, name: str, shown: nodes.literal) -> nodes.Node:
        return pending_xref(
            "",
            shown,
            refdomain="std",
            reftype="ref",
            reftarget=_label(name),
            refexplicit=True,
            refwarn=True,
            refdoc=self.env.docname,
        )


def _label(name: str) -> str:
    return f"command-{name}"


def _heading(text: str) -> nodes.Node:
    return nodes.rubric("", text)


def _options(parser: CommandParser) -> list[nodes.Node]:
    found: list[nodes.Node] = [_heading("Options"), paragraph(parser.spelling_note)]
    if parser.operands:
        found.append(definitions((spec.metavar or "", sentence(spec.text)) for spec in parser.operands))
    for group in parser.all_sections:
        found.append(nodes.paragraph("", "", nodes.strong("", group.title)))
        found.append(definitions((spec.label, sentence(spec.text)) for spec in group.specs))
    return found


def _rest(page: ManualPage) -> list[nodes.Node]:
    found: list[nodes.Node] = []
    for title, pairs in (("Exit status", page.exit_status), ("Environment", page.environment), ("Files", page.files)):
        if pairs:
            found += [_heading(title), definitions(pairs)]
    if page.examples:
        found.append(_heading("Examples"))
    for purpose, line in page.examples:
        found += [paragraph(purpose), nodes.literal_block("", line)]
    if page.differences:
        found += [_heading("Differences from the C tool"), *paragraphs(page.differences)]
    return found


def _find_missing(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of commands that no page shows."""
    del app
    labels = env.domains.standard_domain.anonlabels
    for name in COMMANDS:
        if _label(name) not in labels:
            logging.getLogger(__name__).warning("no page shows the command %s", name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("commands", Commands)
    app.connect("env-check-consistency", _find_missing)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
