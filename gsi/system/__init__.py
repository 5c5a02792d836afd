"""The machine: environment, clock, files and directories. Beside transport and cli, nothing else of gsi touches it."""

from __future__ import annotations

__all__: list[str] = []
