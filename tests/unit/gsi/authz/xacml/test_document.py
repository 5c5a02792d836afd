"""The JSON of XACML: what is read, and everything else, which is refused."""

from __future__ import annotations

import json

import pytest

from gsi.authz.xacml.document import (
    MAX_MESSAGE_BYTES,
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
from gsi.authz.xacml.identifiers import ACCESS_SUBJECT, ACTION, RESOURCE
from gsi.errors import ParseError

# As in the examples of the profile: shorthand categories, short and inferred data types, an array and a single object.
REQUEST = {
    "Request": {
        "AccessSubject": {
            "Attribute": [
                {"AttributeId": "com.acme.user.employeeId", "Value": "Alice"},
                {"AttributeId": "com.acme.user.clearances", "Value": ["a", "b"], "DataType": "string"},
            ]
        },
        "Action": [{"Attribute": {"AttributeId": "action-id", "Value": "http://x/buy", "DataType": "anyURI"}}],
        "Category": {
            "CategoryId": "urn:oasis:names:tc:xacml:3.0:attribute-category:resource",
            "Attribute": [
                {
                    "AttributeId": "book",
                    "Value": 7,
                    "DataType": "http://www.w3.org/2001/XMLSchema#integer",
                    "Issuer": "me",
                }
            ],
        },
    }
}


def read(document: object) -> XacmlRequest:
    return parse_request(json.dumps(document).encode())


def test_a_request() -> None:
    found = read(REQUEST)
    assert found.category(ACCESS_SUBJECT).attributes == (
        Attribute("com.acme.user.employeeId", ("Alice",)),
        Attribute("com.acme.user.clearances", ("a", "b"), "string"),
    )
    assert found.category(ACTION).attributes == (Attribute("action-id", ("http://x/buy",), "anyURI"),)
    assert found.category(RESOURCE).attributes == (Attribute("book", (7,), "integer", "me"),)
    assert found.category("urn:other") == Category("urn:other")
    assert parse_request(encode_request(found)) == XacmlRequest(found.categories)


def test_several_questions_at_once_are_none() -> None:
    found = read({"Request": {"Action": [{"Attribute": []}, {"Attribute": []}]}})
    with pytest.raises(ParseError, match="twice"):
        found.category(ACTION)
    with pytest.raises(ParseError, match="twice"):
        read(
            {"Request": {"Action": {"Attribute": []}, "Category": {"CategoryId": "Action", "Attribute": []}}}
        ).category(ACTION)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"Request":[]}',
        '{"Request":{},"Request":{}}',
        '{"Request":{},"Other":{}}',
        '{"Request":{"CombinedDecision":true}}',
        '{"Request":{"ReturnPolicyIdList":true}}',
        '{"Request":{"MultiRequests":{}}}',
        '{"Request":{"Category":{"Attribute":[]}}}',
        '{"Request":{"Action":{"CategoryId":"Resource","Attribute":[]}}}',
        '{"Request":{"Action":{"Content":"<x/>"}}}',
        '{"Request":{"Action":{"Attribute":[{"Value":"x"}]}}}',
        '{"Request":{"Action":{"Attribute":[{"AttributeId":"a"}]}}}',
        '{"Request":{"Action":{"Attribute":[{"AttributeId":"a","Value":[]}]}}}',
        '{"Request":{"Action":{"Attribute":[{"AttributeId":"a","Value":null}]}}}',
        '{"Request":{"Action":{"Attribute":[{"AttributeId":"a","Value":{"x":1}}]}}}',
        '{"Request":{"Action":{"Attribute":[{"AttributeId":"a","Value":[["x"]]}]}}}',
        '{"Request":{"Action":{"Attribute":[{"AttributeId":"a","Value":NaN}]}}}',
        '{"Request":{"Action":{"Attribute":[{"AttributeId":"a","Value":1e999}]}}}',
        '{"Request":{"Action":{"Attribute":[{"AttributeId":"a","Value":99999999999999999999}]}}}',
        '{"Request":{"Action":{"Attribute":[{"AttributeId":"a","Value":%s}]}}}' % ("9" * 5000),
        '{"Request":{"Action":{"Attribute":[{"AttributeId":"a","Value":"x","IncludeInResult":true}]}}}',
        '{"Request":{"Action":{"Attribute":[{"AttributeId":"a","Value":"x","Other":1}]}}}',
        '{"Request":{"Action":{"Attribute":[{"AttributeId":7,"Value":"x"}]}}}',
        '{"Request":' + "[" * 100_000,
        '{"Request":{"Action":' + "[" * 20 + "]" * 20 + "}}",
    ],
)
def test_what_is_no_request(text: str) -> None:
    with pytest.raises(ParseError, match=r"^XACML: "):
        parse_request(text.encode())


def test_limits() -> None:
    with pytest.raises(ParseError, match="limit"):
        parse_request(b" " * (MAX_MESSAGE_BYTES + 1))
    with pytest.raises(ParseError, match="not JSON"):
        parse_request(b"\xff")
    many = [{"AttributeId": str(number), "Value": "x"} for number in range(5000)]
    with pytest.raises(ParseError, match="array"):
        read({"Request": {"Action": {"Attribute": many}}})


def test_a_response() -> None:
    result = XacmlResult(
        Verdict.PERMIT,
        message="because é",
        obligations=(Obliged("o", (Attribute("a", ("x", "y")), Attribute("b", (3,), "integer"))), Obliged("p")),
        advice=(Obliged("q"),),
    )
    assert parse_response(encode_response(result)) == result
    assert parse_response(b'{"Response":{"Decision":"Deny"}}') == XacmlResult(Verdict.DENY)
    assert parse_response(b'{"Response":[{"Decision":"NotApplicable","Status":{"StatusCode":{}}}]}') == XacmlResult(
        Verdict.NOT_APPLICABLE
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"Response":[]}',
        '{"Response":[{"Decision":"Permit"},{"Decision":"Permit"}]}',
        '{"Response":[{}]}',
        '{"Response":[{"Decision":"permit"}]}',
        '{"Response":[{"Decision":"Indeterminate{P}"}]}',
        '{"Response":[{"Decision":["Permit"]}]}',
        '{"Response":[{"Decision":true}]}',
        '{"Response":[{"Decision":"Permit","Decision":"Permit"}]}',
        '{"Response":[{"Decision":"Permit","Extra":1}]}',
        '{"Response":[{"Decision":"Permit","Obligations":[{}]}]}',
        '{"Response":[{"Decision":"Permit","Obligations":[7]}]}',
        '{"Response":[{"Decision":"Permit","Obligations":[{"Id":"x","AttributeAssignment":[{"AttributeId":"a"}]}]}]}',
        '{"Response":[{"Decision":"Permit","Obligations":[{"Id":"x","Expression":1}]}]}',
        '{"Response":[{"Decision":"Permit","Status":[]}]}',
        '{"Response":[{"Decision":"Permit","Status":{"StatusMessage":3}}]}',
        '{"Response":[{"Decision":"Permit","Status":{"StatusCode":{"Value":3}}}]}',
        '{"Result":{"Decision":"Permit"}}',
        '"Permit"',
    ],
)
def test_what_is_no_response(text: str) -> None:
    with pytest.raises(ParseError, match=r"^XACML: "):
        parse_response(text.encode())
