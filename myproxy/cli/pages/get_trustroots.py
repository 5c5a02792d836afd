"""The prose of myproxy-get-trustroots(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from myproxy.cli.pages import CLIENT_ENVIRONMENT, CLIENT_EXIT_STATUS, CLIENT_FILES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-get-trustroots` installs the CA certificates, signing policies and CRLs that a MyProxy server hands out
(`cert_dir` in its configuration). They go to `$X509_CERT_DIR`, for root to `/etc/grid-security/certificates`, for
others to `~/.globus/certificates`; `myproxy-install-log` there lists what was written when.

Where there is no such directory yet, or with `--bootstrap`, the server that answers is believed: the fingerprints of
its authorities are shown, and each may sign only what was presented. Compare the fingerprints with what the CA
publishes, since whoever is in between could have answered.
""",
    exit_status=CLIENT_EXIT_STATUS,
    environment=CLIENT_ENVIRONMENT,
    files=CLIENT_FILES,
    examples=(
        ("Update the trust roots:", "myproxy-get-trustroots -s myproxy.example.org"),
        ("On a new machine:", "myproxy-get-trustroots -b -s myproxy.example.org"),
    ),
    differences="""\
A CRL never replaces a newer one, and one that cannot be read is left out. A bad CRL is never deleted to get through.
""",
    see_also=("myproxy-logon(1)", "grid-fetch-crl(8)"),
)
