"""What the portal gives to pages of other packages, as far as these here need it; the portal's own class is not known.

host.settings, host.username(), host.credential(), host.anchors(), host.now()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from gsi.credential import Credential
    from gsi.trust.anchors import TrustAnchors

__all__ = ["Host"]


class Host(Protocol):
    """The portal."""

    @property
    def settings(self) -> Mapping[str, str]:
        """The table of the configuration."""

    def username(self) -> str:
        """Return the account of whoever is logged on."""

    def credential(self) -> Credential:
        """Return the user's proxy."""

    def anchors(self) -> TrustAnchors:
        """Return the CAs that servers are known by."""

    def now(self) -> datetime:
        """Return the time."""

    def note(self, action: str, *, permitted: bool = True, reason: str = "", detail: str = "") -> None:
        """Write down what the user does, before it takes effect."""
