"""Pieces that the man pages of Kerberos's commands share."""

from __future__ import annotations

from typing import Final

__all__ = ["CREDENTIAL_CACHE", "HOST_LIST", "KRB5_CONF", "KRB5_CONFIG"]

CREDENTIAL_CACHE: Final = ("KRB5CCNAME", "The credential cache, where `-cache` names none.")
KRB5_CONFIG: Final = ("KRB5_CONFIG", "The configuration of Kerberos, in place of `/etc/krb5.conf`.")
HOST_LIST: Final = ("KCA_HOST_LIST", "Services to ask, separated by blanks, where `-host` names none.")
KRB5_CONF: Final = (
    "/etc/krb5.conf",
    "Of the realm: `kca`, `kdc`, `kx509_hostname`, `kx509_req_use_raw_spki`; `dns_lookup_kdc` of `[libdefaults]`.",
)
