"""The prose of myproxy-store(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from myproxy.cli.pages import CLIENT_ENVIRONMENT, CLIENT_EXIT_STATUS, CLIENT_FILES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-store` keeps a certificate and its private key on a MyProxy server, as they lie in their files: the key stays
locked with its own pass phrase, which the server learns only when somebody logs on with it. `myproxy-logon` receives
proxies made from the credential, `myproxy-retrieve` the credential itself where policy allows that.

Where `myproxy-init` stores a proxy of a week, this stores what is valid as long as the certificate. Use it for keys
that are meant to live on the server.
""",
    exit_status=CLIENT_EXIT_STATUS,
    environment=CLIENT_ENVIRONMENT,
    files=CLIENT_FILES,
    examples=(
        ("Store your own certificate and key:", "myproxy-store -s myproxy.example.org -l alice"),
        (
            "A host's credential, which its administrator may fetch back:",
            "myproxy-store -c hostcert.pem -y hostkey.pem -k www -E 'Site Admin'",
        ),
    ),
    differences="""\
A key that is not locked by a pass phrase is sent with a warning on standard error, unless `--no_passphrase` or a policy
for uses that need it so (`-R`, `-A`, `-Z`) says that this is meant; `--require_passphrase` refuses it. What is sent is
parsed before, and a key in clear has to belong to the certificate.
""",
    see_also=("myproxy-retrieve(1)", "myproxy-logon(1)", "grid-change-pass-phrase(1)"),
)
