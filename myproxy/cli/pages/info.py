"""The prose of myproxy-info(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from myproxy.cli.pages import CLIENT_ENVIRONMENT, CLIENT_EXIT_STATUS, CLIENT_FILES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-info` lists your credentials on a MyProxy server: owner, name, policies, and how long they last. It shows only
those that your certificate or proxy has stored; no pass phrase is asked for.
""",
    exit_status=CLIENT_EXIT_STATUS,
    environment=CLIENT_ENVIRONMENT,
    files=CLIENT_FILES,
    examples=(("What do I have there?", "myproxy-info -s myproxy.example.org"),),
    see_also=("myproxy-init(1)", "myproxy-logon(1)"),
)
