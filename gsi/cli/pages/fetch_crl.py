"""The prose of grid-fetch-crl(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import TRUST_DIRECTORIES, X509_CERT_DIR

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-fetch-crl` keeps the revocation lists (CRLs) of a trust directory current. It takes the place of fetch-crl and
knows its most used options. Run it a few times a day; see the timer below.

Where a CA publishes its lists is told by a file `.info` or `.crl_url` named after the CA's hash or alias, as IGTF
distributions bring them, and by the distribution points in the certificates that it issued, its own if it is a root.
Sources are tried in this order until one brings a list that may be installed. With `-base` only that place is asked.

A list is installed only if it is a complete one of this CA, signed with its key, in force now, and not older than the
installed ones of the same key by its number or its time; of two that have both in common, the installed one stays. It
is measured once more right before it is put in place, in case another program has installed a newer one meanwhile. A
list that is whole counts although the rest of its file is damaged. An installed file that cannot be read (permissions,
more than 64 MiB) may hold a newer list: nothing is installed for its CA then, which is a failure.

A list may come in PEM or DER and is written in PEM, each file in one step. It replaces the older list of the same key;
else it takes the first free number in `HASH.r0`, `HASH.r1`, and so on.

Where the directory knows the CA by the hash of old OpenSSL, too, the list is to be found under that as well: by a link,
or by a copy where there is a file. What is said above holds for the files under both hashes: a newer list under either
stays, and one that cannot be read lets nothing be installed. Since every file counts when certificates are judged, all
others with an older or expired list of the same key, or with one of a CA that has another hash, are replaced by the
current list, even when it has not changed itself. Nobody knows whom a damaged file has revoked, and of which key. It is
replaced when all keys of the CA that are strong enough have got their lists in this run; until then, and where another
CA has the same hash or a certificate file is broken, it stays, which is a failure. So is a list that none of the CA's
keys has signed, which always stays: it may be of a key whose certificate is to come.

A CA whose list cannot be had keeps the list it has, and holds up no other CA. As long as that list is in force, and was
fetched or confirmed within the time of `-agingtolerance`, this is no failure; where a CA publishes several lists, as
many of its keys need such a list. It is a failure when a file under the CA's hashes refuses all its certificates: a
damaged one, one that is not in force beside one of the same key that is, or one that none of its keys has signed. So is
a list that has come and cannot be written to all its places; it counts where it could be written.

With `-output` the lists in that directory are the installed ones. Those in the trust directory are not looked at, so
that a directory which begins empty takes any list that is in force; do not make it from sources that may show old ones.

Only one run at a time works in a directory; another one ends with an error. The file `.grid-fetch-crl.lock` there,
which stays, is the lock. Dry runs do not look at it.

Unlike fetch-crl, this command looks at distribution points, tries the next source also after a list that is not good,
and has no configuration file, no state directory and no other formats. The tolerance is measured by the time of the
installed list's file, which every confirmation renews.
""",
    exit_status=(
        ("0", "Every list is current, or recent enough."),
        ("1", "A list is not, a file of the directory could not be used, or an error."),
    ),
    environment=(
        X509_CERT_DIR,
        ("http_proxy, https_proxy", "The proxy for each kind of URL. HTTP_PROXY in capitals is not looked at."),
        ("no_proxy", "Hosts and domains, separated by commas, that are reached without a proxy."),
    ),
    files=(
        TRUST_DIRECTORIES,
        ("HASH.rN", "The revocation lists of the CA with this hash. The time of the file says when it was confirmed."),
        ("*.info, *.crl_url", "Where lists are published."),
    ),
    examples=(
        ("Fetch all lists and say what became of each:", "grid-fetch-crl -verbose"),
        ("See what one CA offers, changing nothing:", "grid-fetch-crl -dryrun -json 4f71e8e5"),
        (
            "Take all lists from a mirror of the site:",
            "grid-fetch-crl -base http://mirror.example.org/certificates",
        ),
        (
            "The systemd units, in /etc/systemd/system, then `systemctl enable --now grid-fetch-crl.timer`:",
            """\
# grid-fetch-crl.service
[Service]
Type=oneshot
ExecStart=/usr/bin/grid-fetch-crl -quiet

# grid-fetch-crl.timer
[Timer]
OnBootSec=2min
OnCalendar=*-*-* 00/6:00
RandomizedDelaySec=30min

[Install]
WantedBy=timers.target""",
        ),
    ),
    see_also=("grid-proxy-verify(1)",),
)
