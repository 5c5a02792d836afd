"""The prose of grid-ca-package(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import X509_CERT_DIR

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-ca-package` packs what another machine needs to trust a CA and to request certificates from it: its certificate,
its signing policy, and the settings of `grid-cert-request`. All of it is installed into
`/etc/grid-security/certificates`.

A tar.gz is always made. It can be unpacked by hand, and `rpmbuild -tb` makes an RPM of it. `-d` makes a Debian package,
too, without any of Debian's tools, and `-r` an RPM, for which `rpmbuild` must be installed.

The same CA gives the same packages, byte for byte. When a package is removed, a default CA that leads to it goes, too.
""",
    exit_status=(
        ("0", "The packages were made; their names are printed."),
        ("1", "No package was made."),
    ),
    environment=(
        X509_CERT_DIR,
        ("GRID_SECURITY_DIR", "A further place where trust directories are looked for."),
    ),
    files=(
        ("globus_simple_ca_<hash>.tar.gz", "The archive."),
        ("globus-simple-ca-<hash>_1.0_all.deb", "The Debian package."),
        ("/etc/grid-security/certificates", "The trust directory when nothing names another."),
    ),
    examples=(
        ("Pack a CA of your own:", "grid-ca-package -cadir ~/.globus/simpleCA -d"),
        ("Pack a CA that this machine trusts:", "grid-ca-package -ca 1a2b3c4d"),
    ),
    differences="""\
The C script's archive holds the sources of a Debian package, and `-d` runs `dpkg-buildpackage` on Debian only and says
nothing elsewhere. `-r` without `rpmbuild` is an error here, before anything is written.

`-out`, `-crl-url`, `-package-version`, `-q` and `-json` are new. The question which CA to pack goes to standard error.
""",
    see_also=("grid-ca-create(1)", "grid-ca-sign(1)", "grid-default-ca(1)"),
)
