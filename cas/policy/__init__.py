"""The community's policy as values and rules: names, matching, statements, conditions, requests; no store, no clock."""

from __future__ import annotations

__all__: list[str] = []
