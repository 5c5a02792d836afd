"""The prose of kca-admin(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`kca-admin` administers the Kerberos authority. It reads the server's configuration and works on the same books, while
servers run or not. Run it as the user that the servers run as.

`list` prints certificates, the newest first, one in each line: serial number, when it was issued, when it ends, whether
it is revoked, the principal and the subject. `show` prints all that the books know of one, and the certificate.

`revoke` takes serial numbers, all or none of them, and writes each into the audit before it is done. Sites learn of it
by the next revocation list, which `crl` makes: a number larger than any before, everything that was revoked and has not
expired, valid for `crl_lifetime`. Put it where `crl_urls` says, and make one regularly, with or without revocations,
long before the last one ends.

`trust-package` makes what sites install: the CA's certificate, a signing policy and a namespaces file that let it sign
names below the realms' bases and nothing else, and the place of the revocation list. `gridmap` prints grid-mapfile
lines for all subjects in the books, or for the principals that are named, whether or not they ever came; an account is
called like the principal's first component, and principals with an instance have none. Where several realms are listed,
`-realm` says whose accounts they are: Alice of another realm is somebody else.

`explain` prints what a principal would get by the rules, with the groups that the directory knows now; limits and
policy are looked at when a ticket comes. `prune` removes certificates from the books that ended
before a time that has passed, revoked ones once a list made after their end has named them; whose a subject is stays
known. `check` looks at everything that the configuration names.
""",
    exit_status=(
        ("0", "Done; for `check`, everything can be used."),
        ("1", "An error, or for `check` a finding, or for `gridmap` a principal that gets no line."),
    ),
    environment=(("KCA_CONFIG", "The configuration."),),
    files=(
        ("/etc/kca/kca.toml", "The configuration."),
        ("/var/lib/kca/kca.db", "The books, where they are not in PostgreSQL."),
        ("/var/lib/kca/audit.log", "The audit."),
    ),
    examples=(
        ("What does Alice have?", "kca-admin list -principal alice -valid"),
        ("A key was stolen:", "kca-admin revoke 4F1C2D -reason keyCompromise && kca-admin crl -der -out kca.crl"),
        ("For the sites:", "kca-admin trust-package -deb -out /srv/www/kca"),
        ("What would she get?", "kca-admin explain alice@EXAMPLE.ORG"),
    ),
    see_also=("kca-server(8)", "kca-http(8)", "kx509(1)", "grid-fetch-crl(8)", "grid-mapfile-add-entry(8)"),
)
