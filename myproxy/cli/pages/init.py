"""The prose of myproxy-init(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from myproxy.cli.pages import CLIENT_ENVIRONMENT, CLIENT_EXIT_STATUS, CLIENT_FILES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-init` stores a credential of yours on a MyProxy server, so that you can get a fresh proxy from anywhere with
a pass phrase. Your own key never leaves this machine: a proxy is made from it and delegated to the server, which
makes a key of its own for it.

First it asks for the pass phrase of your key, if the key is locked, and makes a proxy that lives for a week (`-c`).
Then it asks twice for the pass phrase under which the server shall keep the credential: at least six characters.
`-t` limits the proxies that can later be received from it.

The server's name is checked before anything of yours is sent.
""",
    exit_status=CLIENT_EXIT_STATUS,
    environment=CLIENT_ENVIRONMENT,
    files=CLIENT_FILES,
    examples=(
        ("Store for a week:", "myproxy-init -s myproxy.example.org"),
        (
            "Without a terminal; the first line is the key's pass phrase, the second the new one:",
            "myproxy-init -S -s myproxy.example.org < answers",
        ),
    ),
    differences="""\
Proxies of `-key-type` p256, p384 and ed25519 can be made; C servers cannot delegate from them further.

With `-m` the attributes are asked for and judged here, as by voms-proxy-init(1), which the C command runs. They last as
long as the VO gives them, mostly a day, whatever the lifetime of what is stored: `myproxy-logon -m` gets fresh ones.
""",
    see_also=("myproxy-logon(1)", "myproxy-info(1)", "myproxy-destroy(1)", "grid-proxy-init(1)", "voms-proxy-init(1)"),
)
