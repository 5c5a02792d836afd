"""Pieces that several man pages share."""

from __future__ import annotations

from typing import Final

__all__ = ["PROXY_FILE", "TRUST_DIRECTORIES", "USER_PROXY", "X509_CERT_DIR"]

USER_PROXY: Final = (
    "X509_USER_PROXY",
    "Path of the proxy file, in place of `/tmp/x509up_u` followed by the user id.",
)

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
