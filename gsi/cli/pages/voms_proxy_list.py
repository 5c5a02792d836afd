"""The prose of voms-proxy-list(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import TRUST_DIRECTORIES, USER_CERTIFICATE, X509_CERT_DIR, X509_USER_CERT, X509_USER_KEY
from gsi.cli.pages.voms import CONF, TRUSTED_SERVERS, VOMS_DIR, VOMSES, VOMSES_FILES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`voms-proxy-list` asks a VOMS server for everything that it would say about the user, roles too, and prints that. No
proxy is made. It is `voms-proxy-init -list` under another name.

What the server gave is judged as voms-proxy-init(1) does, and not shown when it is not believed.
""",
    exit_status=(
        ("0", "The attributes were shown."),
        ("1", "They could not be had, or are not believed."),
        ("3", "The private key could not be opened, such as with a wrong pass phrase."),
    ),
    environment=(X509_USER_CERT, X509_USER_KEY, X509_CERT_DIR, VOMS_DIR, VOMSES),
    files=(USER_CERTIFICATE, TRUST_DIRECTORIES, VOMSES_FILES, TRUSTED_SERVERS),
    examples=(
        ("What may I ask this VO for?", "voms-proxy-list -voms testvo"),
        ("With the proxy that is there, for programs:", "voms-proxy-list -noregen -voms testvo -json"),
    ),
    differences="""\
The C program does not look at what the server gave. `-json`, `-dont-verify-ac` and `-vomsdir` are new. Where the Java
programs are installed, `voms-proxy-list` may be another name of `voms-proxy-init`, which makes a proxy.
"""
    + CONF,
    see_also=("voms-proxy-info(1)", "voms-proxy-init(1)"),
)
