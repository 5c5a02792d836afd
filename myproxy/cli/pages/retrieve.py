"""The prose of myproxy-retrieve(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from myproxy.cli.pages import CLIENT_ENVIRONMENT, CLIENT_FILES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-retrieve` fetches a certificate and its private key that lie on a MyProxy server, and writes them into two
files, which must not exist yet. The key stays locked with the pass phrase of the credential.

The server's administrator and the credential's owner both decide who may have a key (`authorized_key_retrievers`,
`myproxy-store -E`).
""",
    exit_status=(
        ("0", "The files are written."),
        ("1", "The command line is wrong."),
        ("255", "Anything else; the error says what."),
    ),
    environment=CLIENT_ENVIRONMENT,
    files=CLIENT_FILES,
    examples=(("Fetch a credential into two files:", "myproxy-retrieve -l alice -c cert.pem -y key.pem"),),
    differences="""\
The key stays locked for root, too; `--unlock_key` writes it in clear for everybody who asks. `--authorization` works.
""",
    see_also=("myproxy-store(1)", "myproxy-logon(1)", "grid-change-pass-phrase(1)"),
)
