"""The prose of kx509(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import PROXY_FILE, USER_PROXY
from kca.cli.pages.kerberos import CREDENTIAL_CACHE, HOST_LIST, KRB5_CONF, KRB5_CONFIG

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`kx509` shows a Kerberos ticket to a service of KX.509 (RFC 6717) and gets a short-lived certificate for it. The key is
made here and never travels. Certificate and key are put into the credential cache, where `kxlist` finds them and
`kdestroy` ends them, in the forms of Michigan's and of Heimdal's programs; and into files, where these are named.

With `-proxy` neither is kept: a proxy is made with them at once, as grid-proxy-init(1) would, and written where grid
programs look for it. It lasts as long as the certificate unless `-valid` says less.

The service is the one named with `-host`; else those in `KCA_HOST_LIST`; else `kca =` *HOST*`[:`*PORT*`]` of the realm
in krb5.conf; else the SRV records `_kca._udp` and `_kca._tcp` of the realm; else the realm's KDCs, as Heimdal's answer
KX.509 on their own port. They are asked one after the other until one says yes, or no for certain. Each has a ticket of
its own, for `kca_service/`*HOST*.

Requests go by UDP, again after one, two and four seconds, and by TCP after the first. A service that takes certificate
requests (ours, Heimdal 8) gets an EC key in one; the others (Michigan's, Heimdal 7), which hang up or do not know what
to do with it, get an RSA key after that. `-form rsa`, or `kx509_req_use_raw_spki = true` of the realm in krb5.conf,
spares the attempt.

An answer is believed when it was made with the key of the ticket. One that was not may be anybody's: it is shown as
such, and another is waited for.

Some services want a ticket that was got with the password itself: `kinit -S kca_service/`*HOST*. Heimdal 7 does, unless
it is told otherwise, and says nothing to other tickets.
""",
    exit_status=(
        ("0", "A certificate was received and kept; with `-test`, one would be issued."),
        ("1", "None was; the error says why, or what silence may mean."),
    ),
    environment=(CREDENTIAL_CACHE, KRB5_CONFIG, HOST_LIST, USER_PROXY),
    files=(KRB5_CONF, PROXY_FILE),
    examples=(
        ("A ticket, a certificate, a transfer:", "kinit alice\nkx509 -proxy\nglobus-url-copy ..."),
        ("From a certain service, into a file:", "kx509 -s kca.example.org -out cert.pem"),
        (
            "From a KDC of Heimdal 7:",
            "kinit -S kca_service/kdc.example.org alice\nkx509 -s kdc.example.org:88 -form rsa",
        ),
        ("For a key that a web server has:", "kx509 -csr web.csr -t web.pem"),
    ),
    differences="""\
Michigan's program makes RSA keys of 1024 bits, sends by UDP only, once for each host, and looks at neither the weights
nor the ports of SRV records.

Heimdal's `heimtools kx509` asks the realm's KDCs only, and makes RSA keys only. Its names of stores are understood:
`PEM-FILE:`*path*, `FILE:`*path*, `PKCS10:`*path*.

`-k` and `-t` write key and certificate into a file each, as in Michigan's library; another name of the service is given
with `-service`.

A key of P-256 or P-384 is kept in Heimdal's form alone, because Michigan's holds RSA keys only.
""",
    see_also=("kxlist(1)", "kxdestroy(1)", "grid-proxy-init(1)", "kca-server(8)", "kinit(1)"),
)
