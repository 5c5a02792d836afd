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

With `-v` or `--json` the server is also asked what happened to them: when and from where each was last used, and what
was done and refused, the newest first. Kinds are `logon`, `renewal`, `trusted` (a trusted retriever), `key`, `store`,
`change` (of the pass phrase) and `destroy`. Refused tries of one network are one line with their number. What
happened within the last second may be missing. Servers other than this package's do not tell; `last_used` and
`history` are then null.
""",
    exit_status=CLIENT_EXIT_STATUS,
    environment=CLIENT_ENVIRONMENT,
    files=CLIENT_FILES,
    examples=(("What do I have there?", "myproxy-info -s myproxy.example.org"),),
    see_also=("myproxy-init(1)", "myproxy-logon(1)"),
)
