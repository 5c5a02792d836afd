"""cas.assertion: rights in text, and lists of revoked capabilities, whose signature counts as good here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

from cas.assertion.revocations import parse_revocations
from cas.assertion.text import encode_rights, parse_rights
from cas.assertion.value import Right
from tests.fuzz.rule import Target, each

if TYPE_CHECKING:
    from gsi.tokens.keys import VerificationKey

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"
_NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)


class _Believing:
    def find_key(self, issuer: str, kid: str, *, now: datetime) -> VerificationKey:
        del issuer, kid, now
        return cast("VerificationKey", self)

    def verify(self, token: object) -> None:
        """Say nothing against it."""


def _text(data: bytes) -> None:
    found = parse_rights(data)
    rights = [Right("n", name, one.comparison, one.service_type, one.actions) for one in found for name in one.objects]
    again = parse_rights(encode_rights(rights))
    assert {(one.comparison, one.service_type, one.actions) for one in again} == {
        (one.comparison, one.service_type, one.actions) for one in found
    }


def _revocations(data: bytes) -> None:
    parse_revocations(data.decode("latin-1"), _Believing(), issuer="https://cas.example.org", now=_NOW)


TARGET: Final[Target] = each(_text, _revocations)
