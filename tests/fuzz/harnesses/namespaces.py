"""gsi.trust.namespaces: the EUGridPMA file, and what it says about some names."""

from __future__ import annotations

from typing import Final

from gsi.trust.namespaces import parse_namespaces
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

_CA: Final = "/O=Grid/CN=CA"


def _ask(data: bytes) -> None:
    namespaces = parse_namespaces(data)
    for subject in ("/O=Grid/CN=Alice", "/O=Grid/E=a@b/CN=aaaaaaaaaaaaaaaaaaaaaaaaab", "", "/O=Grid" * 40):
        namespaces.permits(_CA, subject)


TARGET: Final[Target] = each(_ask)
