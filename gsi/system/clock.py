"""The one reader of the clock; everything else takes `now` as a parameter.

from gsi.system.clock import now

verify_chain(chain, anchors, now=now())
"""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["now"]


def now() -> datetime:
    """Return the present time, aware UTC."""
    return datetime.now(UTC)
