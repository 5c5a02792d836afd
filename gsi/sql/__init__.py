"""SQL for every service: engines (`engine`, `postgres`), schema versions (`migrate`), columns (`columns`); no tables."""

from __future__ import annotations

__all__: list[str] = []
