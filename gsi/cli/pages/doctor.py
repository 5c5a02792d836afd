"""The prose of gsi-doctor(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import TRUST_DIRECTORIES, X509_CERT_DIR, X509_USER_CERT, X509_USER_KEY

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`gsi-doctor` looks over everything on this machine that grid services need, says in one line each what is so, and for
what is wrong in a second line what to do. It changes nothing: no table is upgraded, no file made.

Looked at are the clock, the trust directory with every CA and revocation list, the host's certificate with its key and
names, and each service that is set up here: its configuration, the modes of its directory and files, room on its disk,
its database (does it answer, is its schema that of this program), the keys that sign or seal, keytabs and with their
keys the KDC, the chain of its audit file, its ports, and what it tells monitors about itself. Of the portal it also
looks at the server that it asks, at the web certificate, which may be of any CA that browsers know, and whether server
and portal agree on who says where users are (`front_end`, `trusted_front_ends`); of the renewal
agent at each credential (is it overdue, does it end, do renewals fail), at the servers, and at the hook, mail and web
service by which it tells. Of the C services it looks at the callout configuration. `-list` names the sections. A
service whose configuration is not there is a note.

A finding is `ok`, a `note`, a `warning` (works, but not everywhere or not for long) or an `error`.

As root it looks at a service's files with the eyes of whoever its storage directory belongs to, so that a key of the
wrong owner is found. As an ordinary user it can look at that user's services alone.

The MyProxy server has its port and the place of its certificate from its command line and environment: where these are
not the usual ones, say them with `-at` and by `X509_USER_CERT` and `X509_USER_KEY`.""",
    exit_status=(
        ("0", "Nothing is wrong."),
        ("1", "There are warnings, and no errors."),
        ("2", "At least one error was found, or the command line is wrong."),
    ),
    environment=(
        X509_CERT_DIR,
        X509_USER_CERT,
        X509_USER_KEY,
        ("GRID_SECURITY_DIR, GSI_AUTHZ_CONF, GSI_AUTHZ_POLICY_DIR", "Where authorization is configured."),
        ("MYPROXY_SERVER_PORT", "The port of the MyProxy server where `-at` does not say (7512)."),
        (
            "CAS_CONFIG, KCA_CONFIG, MYPROXY_DELEGATION_CONFIG, MYPROXY_PORTAL_CONFIG, MYPROXY_RENEWD_CONFIG",
            "Configurations where `-config` does not say.",
        ),
        ("KRB5_CONFIG", "The configuration of Kerberos, by which the KDC is found."),
    ),
    files=(
        TRUST_DIRECTORIES,
        ("/etc/grid-security/hostcert.pem, hostkey.pem", "The host's certificate and key."),
        ("/etc/myproxy-server.config", "MyProxy server."),
        ("/etc/myproxy/portal.toml, renewd.toml, delegation.toml", "Portal, renewal agent, delegation service."),
        ("/etc/cas/cas.toml, /etc/kca/kca.toml", "Community's server and Kerberos authority."),
        ("/etc/grid-security/gsi-authz-server.toml, gsi-authz.d, gsi-authz.conf", "Authorization."),
    ),
    examples=(
        ("Is everything well here?", "gsi-doctor"),
        ("For a monitoring system, only what is wrong:", "gsi-doctor -q -time-server ntp.example.org"),
        (
            "A server of one's own on another port:",
            "gsi-doctor -only myproxy -config myproxy=my.config -store myproxy=$HOME/store -at myproxy=localhost:7777",
        ),
    ),
    differences="There is no such C program.\n",
    see_also=(
        "grid-cert-diagnostics(1)",
        "grid-fetch-crl(8)",
        "gsi-authz(8)",
        "kca-admin(8)",
        "cas-server(8)",
        "myproxy-server(8)",
    ),
)
