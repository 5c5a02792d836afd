"""Where stored credentials rest: the interface (`base`), encryption at rest (`seal`), the SQL store (`sql`)."""

from __future__ import annotations

__all__: list[str] = []
