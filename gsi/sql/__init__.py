"""SQL for every service: durable engines (`engine`, `postgres`) and schema versions (`migrate`); no tables."""

from __future__ import annotations

__all__: list[str] = []
