"""The Kerberos authority in the web portal: users see the certificates that it issued to them, and revoke them.

`portal_pages` is the entry point of the group `myproxy.portal_pages`; the settings are in the portal's `[pages.kca]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kca.portal.pages import Contribution, Host

__all__ = ["portal_pages"]


def portal_pages(host: Host) -> Contribution | None:
    """Return the pages; None where the configuration names no authority.

    Raises:
        GridError: What it names cannot be used.
    """
    if not host.settings:
        return None
    from kca.portal.pages import make_contribution

    return make_contribution(host)
