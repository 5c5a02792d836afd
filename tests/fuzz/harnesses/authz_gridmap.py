"""gsi.authz.gridmap: a grid-mapfile, its problems, and what it says of some names."""

from __future__ import annotations

from typing import Final

from gsi.authz.gridmap import parse_gridmap
from gsi.authz.gridmap_lines import POOL_MARK
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _ask(data: bytes) -> None:
    gridmap = parse_gridmap(data)
    for name in ("/O=Grid/CN=Alice", "/O=Grid/CN=host\\/www.example.org", "/O=Grid/E=a@b", ""):
        account = gridmap.find_account(name)
        assert account is None or account.startswith(POOL_MARK) or gridmap.permits(name, account)


TARGET: Final[Target] = each(_ask, lambda data: parse_gridmap(data, strict=True))
