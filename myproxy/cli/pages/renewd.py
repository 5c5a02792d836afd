"""The prose of myproxy-renewd(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-renewd` renews credentials before they end: proxies from a `myproxy-server`, and the certificates of hosts and
robots from a server in CA mode or, with a keytab, from a Kerberos authority.

Each is renewed at about half of its life. What fails is tried again, at first after half a minute, until the end. A new
credential takes the place of the old one in one step, and only when its chain is trusted, its key is that of its
certificate, it has the same identity and lasts longer; owner and mode stay. Where the key is in a file of its own, the
key is kept and only the certificate is renewed. Files that others replace or remove are left to them.

When the end of a credential comes near and renewals fail, when it has ended, when its file is missing or cannot be
used, and when all is well again, a program, mail or a web service is told, of each once.

It stays in the foreground, logs to standard error, and tells systemd when it is ready. SIGHUP reads the configuration
again; SIGTERM ends it. When to renew follows from the credentials themselves, so that nothing is lost by a restart.
With `--once` it does what is due and ends, for a timer or cron.
""",
    exit_status=(
        ("0", "Stopped as asked; with `--once`, `--check` and `--status`, all is well."),
        ("1", "It could not start; the error says why."),
        ("2", "A credential is not as it should be."),
    ),
    environment=(
        ("MYPROXY_RENEWD_CONFIG", "The configuration."),
        ("X509_CERT_DIR", "The CAs by which servers and new credentials are judged, where `trust` is not set."),
        ("KRB5_CONFIG", "The configuration of Kerberos."),
    ),
    files=(
        ("/etc/myproxy/renewd.toml", "The configuration."),
        ("/var/lib/myproxy-renewd", "Notes: failures, and what was told."),
    ),
    examples=(
        ("How is everything?", "myproxy-renewd --status"),
        ("Once, from a timer:", "myproxy-renewd --once"),
    ),
    see_also=("myproxy-server(8)", "myproxy-logon(1)", "kx509(1)"),
)
