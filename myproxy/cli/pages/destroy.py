"""The prose of myproxy-destroy(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from myproxy.cli.pages import CLIENT_ENVIRONMENT, CLIENT_EXIT_STATUS, CLIENT_FILES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-destroy` removes a credential of yours from a MyProxy server: the unnamed one, or the one that `-k` names.
Only the certificate that stored it may do so; no pass phrase is asked for. Proxies received from it before stay valid
until they expire.
""",
    exit_status=CLIENT_EXIT_STATUS,
    environment=CLIENT_ENVIRONMENT,
    files=CLIENT_FILES,
    examples=(("Remove the unnamed credential:", "myproxy-destroy -s myproxy.example.org"),),
    see_also=("myproxy-init(1)", "myproxy-logon(1)"),
)
