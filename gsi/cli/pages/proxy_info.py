"""The prose of grid-proxy-info(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import PROXY_FILE, USER_PROXY

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-proxy-info` prints what a proxy file says: whom the proxy stands for, what kind it is, how strong its key
is and how long it lasts. With `-exists` it prints nothing and answers by its exit status.

It reads; it does not verify. A forged proxy is shown like a genuine one. Use `grid-proxy-verify` to judge.

Time left is counted to the first expiry in the whole chain.
""",
    exit_status=(
        ("0", "The proxy was shown; with `-exists`, it is good enough. An expired proxy is shown with status 0."),
        (
            "1",
            "There is no proxy, it cannot be read, others can read it, or (with `-exists`) it is not good enough.",
        ),
    ),
    environment=(
        USER_PROXY,
        ("GLOBUS_IGNORE_CRED_PERMS", "If set, accept a proxy file that others can read."),
    ),
    files=(PROXY_FILE,),
    examples=(
        ("Show the proxy:", "grid-proxy-info"),
        (
            "Make a new proxy only when less than two hours are left:",
            "grid-proxy-info -exists -valid 2:00 || grid-proxy-init",
        ),
        ("The seconds left, then the identity:", "grid-proxy-info -timeleft -identity"),
        ("For programs:", "grid-proxy-info -json"),
    ),
    differences="""\
`-strength` gives the size of an elliptic-curve key in the usual way, 256 for P-256; the C program says 576.

The options of `-exists` may stand before it. `-text` follows the layout of OpenSSL line by line, but names the policy
language of a limited proxy with its numbers. `-help` prints to standard output. `-json` is new.
""",
    see_also=("grid-proxy-destroy(1)", "grid-proxy-init(1)", "grid-proxy-verify(1)"),
)
