"""MyProxy's part of the sandbox: `server` and `portal` contribute services and steps, `visitor` plays a browser."""

from __future__ import annotations

__all__: list[str] = []
