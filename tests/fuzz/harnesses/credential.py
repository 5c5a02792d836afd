"""gsi.credential: a proxy file or any bundle of certificates and key in PEM."""

from __future__ import annotations

from typing import Final

from gsi.credential import parse_credential
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

TARGET: Final[Target] = each(parse_credential, lambda data: parse_credential(data, key_pem=data))
