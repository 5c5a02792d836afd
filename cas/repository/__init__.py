"""Where a community's policy rests: the interface (`base`), and one SQL for SQLite and PostgreSQL (`sql`)."""

from __future__ import annotations

__all__: list[str] = []
