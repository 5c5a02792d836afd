"""The prose of grid-proxy-init(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import PROXY_FILE, TRUST_DIRECTORIES, USER_PROXY, X509_CERT_DIR

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-proxy-init` makes a proxy: a short-lived certificate with a key of its own, signed by the user's
long-lived certificate (RFC 3820). Programs then act for the user with the proxy alone, without pass phrase, for
as long as it lasts.

It asks for the pass phrase of the private key on the terminal, once. A wrong one is an error and leaves an
older proxy as it was, as does every other failure: the proxy file is replaced in one step by a complete new
one.

The certificate to sign with may itself be a proxy (give its file as `-cert` and `-key`). The new proxy can then
only be as wide as the one above it, or narrower.

The user's certificate is not checked against a trusted CA unless `-verify` is given.
""",
    exit_status=(
        ("0", "The proxy was made, also when it lasts less long than asked for; a warning says so."),
        ("1", "Nothing was made. The message says why."),
        ("2", "Nothing was made, because the user's certificate has expired."),
    ),
    environment=(
        ("X509_USER_CERT, X509_USER_KEY", "Paths of the user's certificate and private key."),
        USER_PROXY,
        X509_CERT_DIR,
    ),
    files=(
        (
            "~/.globus/usercert.pem, ~/.globus/userkey.pem",
            "The user's certificate and private key (mode 0400 or 0600).",
        ),
        ("~/.globus/usercred.p12", "Certificate and key in PKCS#12, used when the two files are not there."),
        PROXY_FILE,
        TRUST_DIRECTORIES,
    ),
    examples=(
        ("A proxy for a working day, checked before it is written:", "grid-proxy-init -valid 10:00 -verify"),
        (
            "A proxy that lasts as long as the certificate allows, for moving data only:",
            "grid-proxy-init -valid 0:0 -limited",
        ),
        (
            "From a script, with the pass phrase from a file descriptor and the result as JSON:",
            "grid-proxy-init -pwstdin -json < passphrase",
        ),
        (
            "A proxy restricted by a policy, from which no further proxy can be made:",
            "grid-proxy-init -policy rules.txt -pl 1.3.6.1.4.1.99999.1 -path-length 0",
        ),
    ),
    differences="""\
All options, variables and exit codes of the C program are there; new are `-json`, `-key-type` and 3072 bits.
The differences are these:

`-path-length 0` is written into the proxy; the C program leaves it out and makes a proxy of unlimited depth.

A policy keeps every byte, commas, NULs and line ends included; the C program may drop it and make a full proxy
in its place. `-policy-language` without `-policy`, an empty policy, and a policy for a language that takes none
are errors.

`-bits 512` and `-bits 1024` are refused. The signature uses SHA-256 or better whatever the CA used.

An expired certificate, one that is not valid yet, a CA's certificate, and a key that does not belong to the
certificate are refused before anything is written.

Arguments left over are errors; the C program ignores what follows `--`. Numbers must be numbers: `-hours x` is
an error and not 0. `-help` prints to standard output.

Proxies with `-key-type` other than rsa are smaller and made faster, but C programs cannot sign a further proxy
under them, so delegating them fails there. A warning says so, unless `-q` is given.
""",
    see_also=("grid-proxy-destroy(1)", "grid-proxy-info(1)", "grid-proxy-verify(1)"),
)
