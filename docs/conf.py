"""How Sphinx builds the documentation: `make docs` writes it to build/docs; what it says is in the pages."""

from __future__ import annotations

import logging
import os
import sys

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

from gsi._version import __version__

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "_ext"))

project = "gsi-toolkit"
author = "The gsi-toolkit authors"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "commands", "docstrings", "http_api", "tables"]
exclude_patterns = ["README.md", "man", "completions", "_ext"]  # README.md is included by index.md

# Links to sections are written for the forge, which makes an anchor of each heading.
myst_heading_anchors = 4

# Docstrings mark code with one pair of backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_use_type_comments = False  # there are none, and looking takes time
toc_object_entries = False  # every page would carry them all

html_theme = "furo"
html_title = f"gsi-toolkit {release}"
html_copy_source = False
html_show_copyright = False
smartquotes = False  # quotes are often part of what is to be typed

# The theme's styles switch the root logger on at import; the database library speaks up then.
logging.getLogger("alembic").setLevel(logging.WARNING)

lexers["cedar"] = TextLexer()  # the forge knows the language, Pygments does not
