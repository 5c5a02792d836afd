"""Figures, measured beside the C programs in one run; each module prints its table and judges nothing by itself."""

from __future__ import annotations

__all__: list[str] = []
