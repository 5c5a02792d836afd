"""The prose of the man pages, one module per command; read by `gsi.cli.manual` alone, never by a running command."""

from __future__ import annotations

__all__: list[str] = []
