"""XACML in JSON: what is written is read again as it was; whatever comes in is answered, and never by a permit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from gsi.authz.decision import Effect
from gsi.authz.engine import Engine
from gsi.authz.xacml.answer import answer_request
from gsi.authz.xacml.document import (
    Attribute,
    Category,
    Obliged,
    Verdict,
    XacmlRequest,
    XacmlResult,
    encode_request,
    encode_response,
    parse_request,
    parse_response,
)
from gsi.authz.xacml.identifiers import SHORT_CATEGORIES, SHORT_TYPES, STATUS_OK
from gsi.authz.xacml.obligations import decision_of
from gsi.errors import ParseError
from tests.harness.authz import Fixed, policy_of

NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)

words = st.text(min_size=1, max_size=20)
scalars = st.text(max_size=20) | st.integers(-(2**62), 2**62) | st.booleans() | st.floats(-1e18, 1e18)
attributes = st.builds(
    Attribute,
    words,
    st.lists(scalars, min_size=1, max_size=3).map(tuple),
    st.just("") | st.sampled_from(sorted(SHORT_TYPES.values())),
    st.just("") | words,
)
categories = st.builds(
    Category, st.sampled_from(sorted(SHORT_CATEGORIES.values())) | words, st.lists(attributes, max_size=3).map(tuple)
)
obliged = st.builds(
    Obliged,
    words,
    st.lists(
        st.builds(Attribute, words, st.lists(scalars, min_size=1, max_size=3).map(tuple)),
        max_size=3,
        unique_by=lambda each: each.identifier,
    ).map(tuple),
)


@given(st.lists(categories, max_size=4).map(lambda found: XacmlRequest(tuple(found))))
def test_requests(request: XacmlRequest) -> None:
    found = parse_request(encode_request(request)).categories
    assert sorted(map(repr, found)) == sorted(map(repr, request.categories))


@given(
    st.builds(
        XacmlResult,
        st.sampled_from(Verdict),
        st.just(STATUS_OK) | words,
        st.text(max_size=20),
        st.lists(obliged, max_size=3).map(tuple),
        st.lists(obliged, max_size=3).map(tuple),
    )
)
def test_results(result: XacmlResult) -> None:
    assert parse_response(encode_response(result)) == result
    try:
        decision = decision_of(result, "remote")
    except ParseError:
        return
    if result.obligations or result.decision is not Verdict.PERMIT or result.status != STATUS_OK:
        assert decision.effect is not Effect.PERMIT  # nobody knows these obligations


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_whatever_comes_in(data: bytes) -> None:
    engine = Engine(policy_of(Fixed(Effect.PERMIT)))
    assert parse_response(answer_request(data, engine, now=NOW)).decision is Verdict.INDETERMINATE
