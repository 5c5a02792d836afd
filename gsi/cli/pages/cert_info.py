"""The prose of grid-cert-info(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import SECRET_SOURCES, USER_CERTIFICATE, X509_USER_CERT

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description=f"""\
`grid-cert-info` prints what a certificate says: whose it is, which CA issued it, how long it is valid, or all of it.
What is asked for is printed one line each, in the order of the command line.

It reads; it does not verify. Use `grid-cert-diagnostics` or `grid-proxy-verify` to judge.

The form of the file is found out from its content: PEM (the first certificate counts), DER, or PKCS#12, whose pass
phrase is asked for.

{SECRET_SOURCES}""",
    exit_status=(
        ("0", "The certificate was shown, be it expired."),
        ("1", "There is none, it cannot be read, or an option is not known."),
    ),
    environment=(X509_USER_CERT,),
    files=(USER_CERTIFICATE,),
    examples=(
        ("Everything in the user's certificate:", "grid-cert-info"),
        ("The name to put into a grid-mapfile:", "grid-cert-info -subject"),
        ("Until when is the host certificate valid?", "grid-cert-info -f /etc/grid-security/hostcert.pem -enddate"),
        ("For programs:", "grid-cert-info -json"),
    ),
    differences="""\
Names are written as text of one line whatever is in them: bytes outside printable ASCII appear as `\\xHH`, where the C
script writes Latin-1 bytes or `\\U` and four digits. Members of a part of a name are joined by a slash instead of
` + `. Backslashes in names are shown; the C script passes names through the shell's `echo`, which takes some for
escapes and ends the name at `\\c`.

DER is read, too, and a PKCS#12 file needs no `.p12` in its name. An option that needs a file is not refused before
`-help` is seen. `-help` prints to standard output. `-json` and `-passin` are new.
""",
    see_also=("grid-cert-diagnostics(1)", "grid-cert-request(1)", "grid-proxy-info(1)", "grid-proxy-verify(1)"),
)
