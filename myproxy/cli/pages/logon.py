"""The prose of myproxy-logon(1) and of its other name, myproxy-get-delegation(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from myproxy.cli.pages import CLIENT_ENVIRONMENT, CLIENT_EXIT_STATUS, CLIENT_FILES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
This command receives a fresh proxy from a MyProxy server and writes it where all grid programs look for it. You need
no certificate here, only the pass phrase under which `myproxy-init` stored the credential. The key is made on this
machine and never travels.

`myproxy-logon` and `myproxy-get-delegation` are one program under two names.

With a certificate or proxy of yours at hand it is shown to the server, whose policies may ask for it; if it cannot be
used, the server is asked once more without.
""",
    exit_status=CLIENT_EXIT_STATUS,
    environment=CLIENT_ENVIRONMENT,
    files=CLIENT_FILES,
    examples=(
        ("A proxy for the day:", "myproxy-logon -s myproxy.example.org -l alice"),
        ("Renew a proxy by its own key, without a pass phrase:", "myproxy-logon -a proxy.pem -o proxy.pem -l alice"),
        ("On a new machine, believing the server that answers:", "myproxy-logon -b -s myproxy.example.org -l alice"),
        ("The credential on standard output:", "myproxy-logon -S -o - -l alice < passphrase"),
    ),
    differences="""\
Renewal signs with SHA-256 only. A pass phrase longer than 1024 bytes is refused, not cut.

`-b` shows the fingerprints of the authorities that it comes to trust. A CRL that stands in the way is not deleted.

`-m` (VOMS attributes) is refused in this version instead of being dropped.
""",
    see_also=("myproxy-init(1)", "myproxy-info(1)", "grid-proxy-info(1)"),
)
