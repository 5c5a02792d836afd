"""Community authorization: who in a virtual organisation may do what, issued as signed capabilities.

`policy` says what a community's policy means, `repository` keeps it, `service` answers and changes, `assertion` writes
what was granted in every signed form.
"""

from __future__ import annotations

__all__: list[str] = []
