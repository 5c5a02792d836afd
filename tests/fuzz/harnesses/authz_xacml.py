"""gsi.authz.xacml: requests and responses in JSON, and the decision point that answers; it must always answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from gsi.authz.combine import Combining
from gsi.authz.decision import AuthorizationRequest, Decision, Effect
from gsi.authz.engine import Engine
from gsi.authz.policy import Chain, Member, Policy
from gsi.authz.xacml.answer import answer_request
from gsi.authz.xacml.attributes import EncodingOptions, request_attributes, request_of
from gsi.authz.xacml.document import encode_request, parse_request, parse_response
from gsi.authz.xacml.obligations import decision_of
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

_NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)


class _Nobody:
    name = "nobody"

    def decide(self, request: AuthorizationRequest) -> Decision:
        return Decision(Effect.NOT_APPLICABLE, repr(request.subject)[:100])


_ENGINE: Final = Engine(Policy(Chain("policy", Combining.DENY_OVERRIDES, (Member(_Nobody(), may_block=False),))))


def _again(data: bytes) -> None:
    """What was understood goes over again as it was."""
    request = request_of(parse_request(data), now=_NOW).request
    sent = parse_request(encode_request(request_attributes(request, EncodingOptions(send_chain=False))))
    assert request_of(sent, now=_NOW).request == request


def _answers(data: bytes) -> None:
    assert decision_of(parse_response(answer_request(data, _ENGINE, now=_NOW)), "x").effect is not Effect.PERMIT


TARGET: Final[Target] = each(_again, _answers, lambda data: decision_of(parse_response(data), "remote"))
