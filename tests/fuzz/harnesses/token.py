"""gsi.tokens: a token taken apart, its claims judged as if signed, and the header; nothing is verified."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from gsi.tokens.compact import CompactToken, parse_object
from gsi.tokens.keys import VerificationKey
from gsi.tokens.rules import IssuerRules, TokenRules
from gsi.tokens.scopes import format_scope, parse_scopes
from gsi.tokens.verify import TokenVerifier
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

_NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
_RULES: Final = TokenRules(
    issuers=(IssuerRules(issuer="https://vo.example.org/", groups=("/vo",)),),
    audiences=frozenset({"https://se.example.org"}),
)


class _Believing:
    """Keys that verify anything, so that what stands behind the signature is reached."""

    thumbprint = "any"
    certificates = ()

    def find_key(self, issuer: str, kid: str, *, now: datetime) -> VerificationKey:
        return self  # type: ignore[return-value]  # a stand-in with what is looked at

    def verify(self, token: CompactToken) -> None:
        return


_VERIFIER: Final = TokenVerifier(_RULES, _Believing())


def _claims(data: bytes) -> None:
    """Judge bytes as claims under a good header."""
    import base64

    head = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":"k1"}').rstrip(b"=").decode()
    body = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    found = _VERIFIER.verify(f"{head}.{body}.AAAA", now=_NOW)
    assert found.not_before < found.not_after
    for one in found.capabilities:
        assert parse_scopes(format_scope(one)).capabilities == (one,)


TARGET: Final[Target] = each(
    text_of(each(CompactToken.parse, lambda text: _VERIFIER.verify(text, now=_NOW))),
    lambda data: parse_object(data, "object"),
    _claims,
)
