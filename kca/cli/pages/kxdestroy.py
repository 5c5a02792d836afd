"""The prose of kxdestroy(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from kca.cli.pages.kerberos import CREDENTIAL_CACHE, KRB5_CONFIG

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`kxdestroy` takes the certificate of kx509(1) and its key out of the credential cache, in every form, and leaves the
tickets. A cache that is a file is written anew, so that the key is not left in it as an entry that is only marked as
removed; on journaling file systems and solid-state disks the old blocks may survive for a while.

Files that were written, and proxies that were made with the certificate, stay: see grid-proxy-destroy(1). Nobody is
told, and the certificate is good until it ends.
""",
    exit_status=(("0", "It was there, and is gone."), ("1", "There was none, or an error.")),
    environment=(CREDENTIAL_CACHE, KRB5_CONFIG),
    examples=(("Keep the tickets, but not the certificate:", "kxdestroy"),),
    see_also=("kx509(1)", "kxlist(1)", "kdestroy(1)", "grid-proxy-destroy(1)"),
)
