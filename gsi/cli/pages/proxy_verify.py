"""The prose of grid-proxy-verify(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import PROXY_FILE, TRUST_DIRECTORIES, USER_PROXY, X509_CERT_DIR

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-proxy-verify` judges a chain of certificates as a grid service would: from a proxy through the user's
certificate up to a CA in the trust directory, with signatures, names, validity, key usage, signing policies,
revocation lists and the rules for proxies of RFC 3820. It says `good`, or `refused` with a reason code, the
index of the certificate at fault (0 is the first in the file) and, where there is something to do about it, a
hint.

The file holds the chain in PEM, leaf first, as proxy files do. A private key in it is passed over. A block that
cannot be parsed refuses the file.

Reason codes are stable, so that programs can rely on them; `-json` gives the verdict as one object.
""",
    exit_status=(
        ("0", "The chain is good."),
        ("1", "The chain is refused, or could not be judged."),
    ),
    environment=(USER_PROXY, X509_CERT_DIR),
    files=(
        PROXY_FILE,
        TRUST_DIRECTORIES,
        (
            "<hash>.0, <hash>.signing_policy, <hash>.r0",
            "In the trust directory: a CA, its signing policy, its revocation list.",
        ),
    ),
    examples=(
        ("Judge the current proxy:", "grid-proxy-verify"),
        (
            "Would this host certificate have been good last May?",
            "grid-proxy-verify -purpose server -at 2026-05-01T00:00:00Z hostcert.pem",
        ),
        (
            "A chain from elsewhere, every CA with a revocation list:",
            "grid-proxy-verify -crl require -json - < chain.pem",
        ),
    ),
    see_also=("grid-proxy-info(1)", "grid-proxy-init(1)"),
)
