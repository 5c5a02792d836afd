"""The prose of kxlist(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import PROXY_FILE, USER_PROXY
from kca.cli.pages.kerberos import CREDENTIAL_CACHE, KRB5_CONFIG

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`kxlist` shows the certificate that kx509(1), or another program of KX.509, has put into the credential cache: as a
ticket for `kx509/certificate`, which is Michigan's form, or as the setting `kx509cert`, which is Heimdal's. `hash` is
OpenSSL's hash of the subject.

`-o` and `-p` write certificate, key and chain into a file that only its owner can read, of the form that lasts longest.
Grid programs take such a file for a proxy file. It is not a proxy: its key is the certificate's own. `kx509 -proxy`
makes a proxy, also from what the cache has, with `-extract`.
""",
    exit_status=(("0", "There is one, and it was written where that was asked."), ("1", "There is none, or an error.")),
    environment=(CREDENTIAL_CACHE, KRB5_CONFIG, USER_PROXY),
    files=(PROXY_FILE,),
    examples=(
        ("Show it:", "kxlist"),
        ("Use it in programs that know nothing of Kerberos:", "kxlist -quiet -o $HOME/cert.pem"),
    ),
    differences="""\
Michigan's program knows its own form alone, and RSA keys only. It takes cache files as operands; here `-cache` names
one. It writes neither chain nor the end of validity.
""",
    see_also=("kx509(1)", "kxdestroy(1)", "klist(1)"),
)
