"""From the configuration to the parts of the authority; one file for each kind of part."""

from __future__ import annotations

__all__: list[str] = []
