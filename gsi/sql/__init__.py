"""SQL for every service: engines (`engine`, `postgres`), schemas (`migrate`), columns (`columns`); no tables."""

from __future__ import annotations

__all__: list[str] = []
