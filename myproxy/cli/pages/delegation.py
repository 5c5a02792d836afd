"""The prose of myproxy-delegation(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-delegation` keeps proxies that users delegate for transfers and jobs which outlast their sessions. It speaks
HTTPS as the REST interface of FTS3 does, so that its clients can delegate here: a user who shows a certificate or proxy
gets a certificate request, signs it, and sends the signed proxy back; the private key is made here and never leaves.

A service that the configuration names fetches a proxy below a user's for a key of its own, with its host certificate,
as often as it needs one. Whose proxies each service may have is said by patterns of names.

What is stored lies under keys that are not in the store. A delegated proxy is judged as every other: by the CAs and
revocation lists of the trust directory; and it has to be of the same identity and the same VOMS attributes as the
certificate or proxy that was shown.

It stays in the foreground and logs to standard error. SIGTERM and SIGINT end it. SIGHUP has the configuration read
again: where it can be used, new workers take over, else the log says why and the old one stays.
""",
    exit_status=(
        ("0", "Stopped as asked; with `--check`, all can be used."),
        ("1", "It could not start; the error says why."),
    ),
    environment=(
        ("MYPROXY_DELEGATION_CONFIG", "The configuration."),
        ("X509_CERT_DIR", "The CAs by which clients are known, where the configuration names none."),
    ),
    files=(
        ("/etc/myproxy/delegation.toml", "The configuration."),
        ("/var/lib/myproxy-delegation", "The store and the audit."),
    ),
    examples=(
        ("Make a key for the store:", "umask 077; openssl rand -base64 32 >/etc/myproxy/delegation.key"),
        ("Check before a start:", "myproxy-delegation --check"),
    ),
    see_also=("myproxy-server(8)", "myproxy-portal(8)", "myproxy-renewd(8)", "grid-proxy-init(1)"),
)
