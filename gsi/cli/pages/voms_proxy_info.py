"""The prose of voms-proxy-info(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import PROXY_FILE, TRUST_DIRECTORIES, USER_PROXY, X509_CERT_DIR
from gsi.cli.pages.voms import CONF, TRUSTED_SERVERS, VOMS_DIR

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`voms-proxy-info` prints what a proxy file says: whom the proxy stands for, what kind it is, how long it lasts, and
with `-all` or the options for attributes what VOs say about its holder. With `-exists` or `-acexists` alone it prints
nothing and answers by its exit status.

Attributes are shown only when they are believed: the proxy has a path to a trusted CA, and the attribute certificate
was made for its holder, has not expired, and is signed by a server that this machine trusts for the VO. For every other
one there is a message, and exit status 1. To look at such, use `-dont-verify-ac`.

The hosts for which attributes are meant do not matter here: the holder only carries them there.

Time left is counted to the first expiry in the whole chain.
""",
    exit_status=(
        ("0", "The proxy was shown, and its attributes, if any, are believed; what was tested is so."),
        (
            "1",
            "There is no proxy to read, attributes are not believed, or what was asked for or tested is not there.",
        ),
    ),
    environment=(
        USER_PROXY,
        X509_CERT_DIR,
        VOMS_DIR,
        ("VOMS_PROXY_INFO_DONT_VERIFY_AC", "If set, do as with `-dont-verify-ac`."),
    ),
    files=(PROXY_FILE, TRUST_DIRECTORIES, TRUSTED_SERVERS),
    examples=(
        ("Everything about proxy and attributes:", "voms-proxy-info -all"),
        ("The attributes, the primary one first:", "voms-proxy-info -fqan"),
        (
            "A new proxy only when the VO's attributes are missing or less than two hours are left:",
            "voms-proxy-info -exists -valid 2:00 -acexists testvo || voms-proxy-init -voms testvo",
        ),
        ("For programs:", "voms-proxy-info -json"),
    ),
    differences="""\
The C program verifies signatures alone, and when that fails shows the attributes without a word and exits with 0, also
when they have expired, are another holder's, or are of an unknown VO. So does the Java program.

`-identity` is the end entity's name; the C program prints the issuer of the proxy. `-type` tells of a limited proxy in
every form. `-strength` gives the size of an elliptic-curve key in the usual way. `-timeleft` heeds the whole chain.
`-acsubject` is the holder; the Java program prints the name of the holder's CA.

`-keyusage` alone prints the key usage alone, as the Java program does. `-valid`, `-hours` and `-bits` without `-exists`
are errors. `-json`, `-certdir` and `-vomsdir` are new. `-help` prints to standard output.
"""
    + CONF,
    see_also=("grid-proxy-info(1)", "grid-proxy-verify(1)", "voms-proxy-destroy(1)", "voms-proxy-init(1)"),
)
