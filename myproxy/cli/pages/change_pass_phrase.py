"""The prose of myproxy-change-pass-phrase(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from myproxy.cli.pages import CLIENT_ENVIRONMENT, CLIENT_EXIT_STATUS, CLIENT_FILES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-change-pass-phrase` seals a credential of yours on a MyProxy server under another pass phrase. It asks for the
present one, then for the new one twice. Only the certificate that stored the credential may do so.
""",
    exit_status=CLIENT_EXIT_STATUS,
    environment=CLIENT_ENVIRONMENT,
    files=CLIENT_FILES,
    examples=(
        ("Change the pass phrase of the unnamed credential:", "myproxy-change-pass-phrase -s myproxy.example.org"),
        ("Both from a file, one per line:", "myproxy-change-pass-phrase --passin file:words --passout file:words"),
    ),
    differences="""\
An empty new pass phrase, which leaves the key on the server unsealed, is taken only with `--no_passphrase`.
""",
    see_also=("myproxy-init(1)", "myproxy-store(1)"),
)
