"""The community in the web portal: capabilities for its members, groups and rights for its administrators.

`desk` asks the community's server with the user's proxy, `words` reads forms, `pages` and `admin` are the pages.
`portal_pages` is the entry point of the group `myproxy.portal_pages`; the settings are in the portal's `[pages.cas]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cas.portal.host import Host
    from cas.portal.pages import Contribution

__all__ = ["portal_pages"]


def portal_pages(host: Host) -> Contribution | None:
    """Return the pages; None where the configuration names no server.

    Raises:
        ConfigError: It says what makes no sense.
    """
    if not host.settings:
        return None
    from cas.portal.pages import make_contribution

    return make_contribution(host)
