"""The prose of myproxy-portal(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-portal` is MyProxy in a web browser: users log on with their user name and pass phrase, and with a one-time
code where the server asks for one; they see what is stored for them, fetch proxies as files or for a terminal, store
and renew credentials from files, change pass phrases and destroy credentials.

It is a client of a `myproxy-server`, anywhere, without rights of its own: the server judges every logon. What it gives
is kept for the session only, sealed with a key that is in the user's cookie alone. Pass phrases are not kept.

TLS ends here where `[http]` names a `certificate`, else at a front end on this machine; without either, only addresses
of this machine are listened on. Requests for another name than those in `names` are refused. Tries are limited by the
user's own network, since the server sees the portal's address alone; a front end has to say where requests come from
(`address_header`).

Other web applications can ask users for proxies, as OAuth clients, where the configuration has a table
`[applications.ID]`. `--register` prints one with a new secret, which is kept as a hash and shown this once.

It stays in the foreground and logs to standard error. SIGTERM and SIGINT end it, sessions survive that. SIGHUP has the
configuration read again: where it can be used, new workers take over, else the log says why and the old one stays.
Sockets of a service manager (sd_listen_fds(3)) are taken, each for the place of the configuration that it is bound to.
""",
    exit_status=(
        ("0", "Stopped as asked; with `--check`, all can be used."),
        ("1", "It could not start; the error says why."),
    ),
    environment=(
        ("MYPROXY_PORTAL_CONFIG", "The configuration."),
        ("X509_CERT_DIR", "The CAs by which the server is known, where the configuration names none."),
    ),
    files=(
        ("/etc/myproxy/portal.toml", "The configuration."),
        ("/var/lib/myproxy-portal", "Sessions, counts of wrong tries, the audit."),
    ),
    examples=(
        ("Check before a start:", "myproxy-portal --check"),
        (
            "Let a web application ask users for proxies:",
            "myproxy-portal --register gateway --url https://gateway.example.org/grid/back",
        ),
    ),
    see_also=("myproxy-server(8)", "myproxy-logon(1)"),
)
