"""Where the authority's books rest: the interface (`base`), the SQL store (`sql`)."""

from __future__ import annotations

__all__: list[str] = []
