"""gsi.kerberos.pkinit: the principals that a certificate names, read from SubjectAltName's value."""

from __future__ import annotations

from typing import Final

from gsi.certificate import Certificate, Extension
from gsi.kerberos.pkinit import pkinit_principals, purposes
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"


class _Holder:
    """Has what is asked of a certificate: one extension's value under every name."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def find_extension(self, oid: str) -> Extension | None:
        return Extension(oid, False, self._value)


def _read(data: bytes) -> None:
    holder: Certificate = _Holder(data)  # type: ignore[assignment]  # has what is used of one
    for principal in pkinit_principals(holder):
        assert all(isinstance(part, str) for part in principal.components)


def _purposes(data: bytes) -> None:
    holder: Certificate = _Holder(data)  # type: ignore[assignment]  # as above
    assert purposes(holder)


TARGET: Final[Target] = each(_read, _purposes)
