"""The prose of grid-cert-diagnostics(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import (
    PROXY_FILE,
    SECRET_SOURCES,
    TRUST_DIRECTORIES,
    USER_CERTIFICATE,
    USER_PROXY,
    X509_CERT_DIR,
    X509_USER_CERT,
    X509_USER_KEY,
)

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description=f"""\
`grid-cert-diagnostics` looks for whatever keeps grid credentials from working, and says it in one line each: how bad it
is, where, what is so, and what to do about it. Always looked at are the environment and the trust directory: for each
CA its name, signature, dates, key and signing policy, its revocation list with signature and dates, and who could
change the files, add some, or put another directory in place of this one. Options add credentials (`-p`), certificate
files (`-c`), servers (`-s`, `-g`) and the clock (`-n`).

A finding is `ok`, a `note`, a `warning` (works, but not everywhere or not for long) or an `error`. What was asked for
and could not be looked at is an error. Certificates of `-c` are taken for whatever they may be, with `-H` for a
server's.

Servers are shown no certificate, and their chain is judged before anything but a TLS hello is sent. A GridFTP server is
asked to authenticate, as far as its certificates; no session comes of it, and its log will say so. `-timeout` bounds
the whole talk with a server, from the connection to the last answer, however many pieces the answers come in. Looking
names up has the system's own limits.

How far a server's clock is off, TLS does not tell any more. Certificates that are not valid yet are a sign, and the
`Date` of an HTTP reply is compared for services at port 443 or 8443, or with `-http`. `-n` asks a time server about
this machine's clock: a difference of more than a second is a warning, one of more than five minutes an error, since
fresh proxies are then refused. The answer is not authenticated.

With `HYBRID` and `STRICT_GT2`, a server may also have the name that the name service gives for its address.

{SECRET_SOURCES}
Without a terminal and `-passin`, a locked key stays closed, and is not compared with its certificate.""",
    exit_status=(
        ("0", "Nothing is wrong; there may be warnings."),
        ("1", "At least one error was found, or with `-strict` a warning; or the command line is wrong."),
    ),
    environment=(
        X509_CERT_DIR,
        X509_USER_CERT,
        X509_USER_KEY,
        USER_PROXY,
        ("GLOBUS_GSSAPI_NAME_COMPATIBILITY", "How names of servers are compared where `-m` does not say."),
        (
            "GRIDMAP, GRIDMAPDIR, X509_VOMS_DIR, X509_VHOST_CRED_DIR, GSI_AUTHZ_CONF",
            "Looked at, whether they lead to anything.",
        ),
    ),
    files=(
        TRUST_DIRECTORIES,
        USER_CERTIFICATE,
        PROXY_FILE,
        ("/etc/grid-security/hostcert.pem, hostkey.pem", "The host's certificate and key."),
        ("/etc/grid-security/gsi.conf", "Settings of the C libraries."),
    ),
    examples=(
        ("What is wrong with my credentials?", "grid-cert-diagnostics -p"),
        ("Only what is wrong, for a program that watches the site:", "grid-cert-diagnostics -q -p -strict"),
        ("Why does this server not work?", "grid-cert-diagnostics -g data.example.org"),
        ("Is this certificate good for that name?", "grid-cert-diagnostics -c hostcert.pem -H www.example.org"),
        (
            "This machine's clock, by the site's own time server:",
            "grid-cert-diagnostics -n -time-server ntp.example.org",
        ),
    ),
    differences="""\
The C program prints what it does and ends with status 0 whatever it finds. It looks at no revocation lists, modes or
signing policies beyond their presence, takes RSA keys only, and asks for the pass phrase even where there is nobody to
type it. It speaks the TIME protocol of RFC 868 to time.nist.gov, and crashes where that name is not known.

`-c`, `-s` and `-g` may be given several times. `-H` counts for `-s` and `-g`, too.

`-certdir`, `-crl`, `-time-server`, `-timeout`, `-http`, `-passin`, `-q`, `-strict` and `-json` are new.
""",
    see_also=("grid-cert-info(1)", "grid-cert-request(1)", "grid-proxy-verify(1)"),
)
