"""The prose of grid-default-ca(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import X509_CERT_DIR

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-default-ca` lists the CAs of this machine and chooses the one that `grid-cert-request` sends requests to. It has
nothing to do with trust: every CA in the trust directory is trusted.

The choice is three links in the security directory (`grid-security.conf`, `globus-host-ssl.conf`,
`globus-user-ssl.conf`) that lead to the CA's settings in the trust directory.
""",
    exit_status=(
        ("0", "The list was printed, or the default was set."),
        ("1", "There is no CA, none was chosen, or the default could not be set; then nothing was changed."),
    ),
    environment=(
        X509_CERT_DIR,
        (
            "GRID_SECURITY_DIR",
            "The directory of the links, in place of `/etc/grid-security`; its `certificates` is looked into, too.",
        ),
    ),
    files=(
        ("/etc/grid-security/certificates", "The trust directory."),
        (
            "<hash>.0, grid-security.conf.<hash>, globus-host-ssl.conf.<hash>, globus-user-ssl.conf.<hash>",
            "In the trust directory: a CA and its settings.",
        ),
    ),
    examples=(
        ("What is there:", "grid-default-ca -list"),
        ("Choose without being asked:", "grid-default-ca -ca 1a2b3c4d"),
    ),
    differences="""\
The C script makes its links in `/etc` when the CA lies in another directory than the system's and `GRID_SECURITY_DIR`
is not set; here that is an error. It also changes the first links before it finds that a later file is missing, removes
files in their place that are no links, and wants the CA's settings to be writable.

`-json` is new. The list and the question of the interactive form go to standard error.
""",
    see_also=("grid-ca-create(1)", "grid-ca-package(1)", "grid-cert-request(1)"),
)
