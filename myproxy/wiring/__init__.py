"""From the configuration to the service's parts, one file per kind of part; nothing here does any work of its own."""

from __future__ import annotations

__all__: list[str] = []
