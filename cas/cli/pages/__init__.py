"""The prose of the commands' man pages, one file each."""

from __future__ import annotations

__all__: list[str] = []
