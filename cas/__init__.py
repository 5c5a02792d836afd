"""Community authorization: who in a virtual organisation may do what, issued as signed capabilities.

The package reserves its place and its name; nothing is offered yet.
"""

from __future__ import annotations

__all__: list[str] = []
