"""The commands of community authorization, one file each."""

from __future__ import annotations

__all__: list[str] = []
