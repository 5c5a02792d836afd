"""Pieces that several man pages share."""

from __future__ import annotations

from typing import Final

__all__ = [
    "GRIDMAP",
    "PROXY_FILE",
    "SECRET_SOURCES",
    "SYSTEM_GRIDMAP",
    "TRUST_DIRECTORIES",
    "USER_CERTIFICATE",
    "USER_PROXY",
    "X509_CERT_DIR",
    "X509_USER_CERT",
    "X509_USER_KEY",
]

USER_PROXY: Final = (
    "X509_USER_PROXY",
    "Path of the proxy file, in place of `/tmp/x509up_u` followed by the user id.",
)

X509_USER_CERT: Final = ("X509_USER_CERT", "Path of the user's certificate, in place of `~/.globus/usercert.pem`.")

X509_USER_KEY: Final = ("X509_USER_KEY", "Path of the user's private key, in place of `~/.globus/userkey.pem`.")

USER_CERTIFICATE: Final = (
    "~/.globus/usercert.pem, ~/.globus/userkey.pem, ~/.globus/usercred.p12",
    "The default places of the user's certificate and key, and of both in PKCS#12 if the first is not there.",
)

SECRET_SOURCES: Final = """\
A pass phrase comes from the terminal, or from where a *SOURCE* says: `file:` and a path (the user's own file, mode at
most 0600; its first line counts), `fd:` and the number of an open file descriptor (the next line), or `stdin` (the
next line of standard input). `pass:` and `env:` are refused, because others can read command lines and environments.
"""

X509_CERT_DIR: Final = (
    "X509_CERT_DIR",
    "The trust directory: CA certificates, their signing policies and revocation lists.",
)

PROXY_FILE: Final = (
    "/tmp/x509up_u<uid>",  # noqa: S108  the name that all grid software agrees on
    "The default place of the proxy. It must belong to the user and be readable by nobody else.",
)

TRUST_DIRECTORIES: Final = (
    "~/.globus/certificates, /etc/grid-security/certificates",
    "Where the trust directory is looked for when nothing names it.",
)

GRIDMAP: Final = ("GRIDMAP", "Path of the grid-mapfile, where no option names one.")

SYSTEM_GRIDMAP: Final = ("/etc/grid-security/grid-mapfile", "The grid-mapfile where nothing else names it.")
