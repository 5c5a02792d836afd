"""From a Kerberos principal to what it may be issued: the mapping rules, pure."""

from __future__ import annotations

__all__: list[str] = []
