"""The prose of myproxy-admin-adduser(8) and myproxy-admin-addservice(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE", "SERVICE_PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-admin-adduser` makes a key, has a certificate for it signed by the site's own authority, and puts both into a
MyProxy repository, in one step: what `grid-cert-request`, `grid-ca-sign` and `myproxy-admin-load-credential` do one
after the other. It runs on the server's machine and needs to read the authority's directory, so most often as root.

It asks for the common name, the pass phrase of the new key, the pass phrase of the authority's key, and the account
name, as far as options do not give them.
""",
    exit_status=(
        ("0", "Done."),
        ("1", "It was not; the error says why."),
    ),
    environment=(
        ("LOGNAME", "The default of `-l`."),
        ("X509_CERT_DIR", "The trust directory."),
    ),
    files=(
        ("/etc/myproxy-server.config", "The server's configuration."),
        ("/var/lib/myproxy", "The storage directory."),
    ),
    examples=(
        (
            "A credential for Alice:",
            "myproxy-admin-adduser -c 'Alice Adams' -l alice",
        ),
    ),
    differences="""\
`-p` takes file:PATH, fd:NUMBER or stdin, but no pass phrase: what stands on a command line can be read by others. `-s`
works, which is only documented in C. A good certificate of the same subject is an error, unless `--force` says that it
is to be revoked. The key is wiped when the command ends, also when something went wrong.
""",
    see_also=("myproxy-server(8)", "myproxy-admin-query(8)"),
)

SERVICE_PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-admin-addservice` makes a key, has a certificate for it signed by the site's own authority, and puts both into
a MyProxy repository, in one step: what `grid-cert-request`, `grid-ca-sign` and `myproxy-admin-load-credential` do one
after the other. It runs on the server's machine and needs to read the authority's directory, so most often as root.

It asks for the common name, the pass phrase of the new key, the pass phrase of the authority's key, and the account
name, as far as options do not give them. The credential gets the common name as its name, and everybody with its pass
phrase may retrieve the key itself, unless `-E` says who.
""",
    exit_status=(
        ("0", "Done."),
        ("1", "It was not; the error says why."),
    ),
    environment=(
        ("LOGNAME", "The default of `-l`."),
        ("X509_CERT_DIR", "The trust directory."),
    ),
    files=(
        ("/etc/myproxy-server.config", "The server's configuration."),
        ("/var/lib/myproxy", "The storage directory."),
    ),
    examples=(
        (
            "A credential for a host:",
            "myproxy-admin-addservice -c host/www.example.org -l www -n",
        ),
    ),
    differences="""\
`-p` takes file:PATH, fd:NUMBER or stdin, but no pass phrase: what stands on a command line can be read by others. `-s`
works, which is only documented in C. A good certificate of the same subject is an error, unless `--force` says that it
is to be revoked. The key is wiped when the command ends, also when something went wrong.
""",
    see_also=("myproxy-server(8)", "myproxy-admin-query(8)"),
)
