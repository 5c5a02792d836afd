"""The prose of voms-proxy-destroy(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import PROXY_FILE, USER_PROXY
from gsi.cli.pages.voms import CONF

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`voms-proxy-destroy` overwrites the proxy file with zeros and removes it.

Only a regular file that belongs to the user and has no second name is touched. A symbolic link is never followed.
Copies of the proxy elsewhere, those delegated to services among them, stay good until they expire.
""",
    exit_status=(
        ("0", "Done."),
        ("1", "There is no such file, or it was left alone or could not be destroyed."),
    ),
    environment=(USER_PROXY,),
    files=(PROXY_FILE,),
    examples=(("Destroy the proxy:", "voms-proxy-destroy"), ("Another file:", "voms-proxy-destroy -file proxy.pem")),
    differences="""\
The C program follows symbolic links and overwrites what they lead to. `-help` prints to standard output.
"""
    + CONF,
    see_also=("grid-proxy-destroy(1)", "voms-proxy-info(1)", "voms-proxy-init(1)"),
)
