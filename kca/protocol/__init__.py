"""The KX.509 protocol (RFC 6717), sans-IO: messages, their bytes, and what either side does with them."""

from __future__ import annotations

__all__: list[str] = []
