"""SQL for every service: engines with the right durability (`engine`), schema versions (`migrate`); no tables."""

from __future__ import annotations

__all__: list[str] = []
