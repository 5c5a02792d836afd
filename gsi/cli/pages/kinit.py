"""The prose of grid-kinit(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-kinit` gets a Kerberos ticket with a grid credential (PKINIT, RFC 4556). It does so by the `kinit` that is
installed, MIT's or Heimdal's: it finds out whose it is, chooses the credential, and says which it used and why another
was not.

Heimdal's kinit is given the proxy first, and a Heimdal KDC that has `pkinit_allow_proxy_certificate` takes it; when it
does not, the end-entity certificate is tried. MIT's kinit and KDC take no proxies at all, so with it the end-entity
certificate is used. A credential without proxy that lies in the proxy's place, as `kx509` and `myproxy-logon` leave it,
is an end-entity certificate. Limited, independent and restricted proxies are not used, because no KDC reads their
policies: the ticket would be worth more than the proxy.

A KDC has to know whose a certificate is. `-recipe` prints all that its administrator does, for both KDCs, with the
name in each one's order: MIT compares with an expression over `O=Grid,CN=alice`, Heimdal with `CN=alice,O=Grid`.
`-check` says of each credential what either KDC would need, and asks none.

kinit runs without a terminal, so that it cannot go over to asking for the account's password when the KDC does not take
the certificate. The pass phrase of a locked key is asked for here; kinit gets the opened key in memory.
""",
    exit_status=(
        ("0", "There is a ticket; or what was asked for is printed."),
        ("1", "There is none; the error says which credentials were tried, and why each was not taken."),
    ),
    environment=(
        ("X509_USER_PROXY", "The proxy."),
        ("X509_USER_CERT, X509_USER_KEY", "The end-entity certificate and its key."),
        ("KRB5CCNAME", "The credential cache."),
        ("KRB5_CONFIG", "Kerberos's configuration; `pkinit_anchors` in it names the CAs that vouch for the KDC."),
    ),
    examples=(
        ("A ticket for the account of one's own name:", "grid-kinit"),
        (
            "For another, with the CAs that vouch for the KDC:",
            "grid-kinit -anchors FILE:/etc/kdc-ca.pem bob@EXAMPLE.ORG",
        ),
        ("For the KDC's administrator:", "grid-kinit -recipe alice@EXAMPLE.ORG"),
    ),
    see_also=("grid-proxy-init(1)", "kx509(1)", "kinit(1)"),
)
