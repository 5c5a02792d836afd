"""The JSON of XACML requests and responses to values and back; strict, and ignorant of what the identifiers mean.

    parse_request(data).category(ACCESS_SUBJECT)
    parse_response(data).decision

OASIS JSON Profile of XACML 3.0 version 1.1. One request with one result: multiple decisions, references and XML content
are refused, as is any member that the profile does not name, a name that stands twice, and a number that is none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias, cast

from gsi.authz.xacml.identifiers import SHORT_CATEGORIES, SHORT_TYPES, STATUS_OK
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "MAX_MESSAGE_BYTES",
    "MEDIA_TYPE",
    "Attribute",
    "Category",
    "Obliged",
    "Scalar",
    "Verdict",
    "XacmlRequest",
    "XacmlResult",
    "encode_request",
    "encode_response",
    "parse_request",
    "parse_response",
]

MEDIA_TYPE: Final = "application/xacml+json"
"""As the JSON Profile of XACML 3.0 registers it; RFC 7061 has the media type of the XML form alone."""

MAX_MESSAGE_BYTES: Final = 1 << 20
"""The longest request or response: a chain with VOMS attributes has 50 kB, a hundred groups 10."""

MAX_DEPTH: Final = 16
MAX_VALUES: Final = 4096
"""Values of one attribute, attributes of one category: the busiest person is in some hundred groups."""

_MAX_NUMBER: Final = 1 << 63
_CATEGORY_NAMES: Final = {uri: name for name, uri in SHORT_CATEGORIES.items()}

Scalar: TypeAlias = str | int | float | bool


class Verdict(StrEnum):
    """The decision of a result."""

    PERMIT = "Permit"
    DENY = "Deny"
    NOT_APPLICABLE = "NotApplicable"
    INDETERMINATE = "Indeterminate"


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute, or several assignments of one attribute in an obligation.

    Attributes:
        identifier: Its URI.
        values: At least one.
        data_type: The short name of a data type, or a URI; empty where it is what JSON shows.
        issuer: Who says so, or empty.
    """

    identifier: str
    values: tuple[Scalar, ...]
    data_type: str = ""
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Category:
    """Attributes of the subject, the resource, the action or the environment."""

    identifier: str
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class XacmlRequest:
    """A question."""

    categories: tuple[Category, ...]

    def category(self, identifier: str) -> Category:
        """Return a category; an empty one where it is absent.

        Raises:
            ParseError: It is there twice, which would be several questions at once.
        """
        found = [category for category in self.categories if category.identifier == identifier]
        if len(found) > 1:
            raise _fail(f"the category {identifier} is there twice")
        return found[0] if found else Category(identifier)


@dataclass(frozen=True, slots=True)
class Obliged:
    """An obligation or an advice: its URI, and its assignments joined by attribute."""

    identifier: str
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class XacmlResult:
    """An answer.

    Attributes:
        decision: The verdict.
        status: The URI of the status.
        message: Its words, or empty.
        obligations: What must be carried out.
        advice: What may be.
    """

    decision: Verdict
    status: str = STATUS_OK
    message: str = ""
    obligations: tuple[Obliged, ...] = field(default=())
    advice: tuple[Obliged, ...] = field(default=())


def _fail(message: str) -> ParseError:
    return ParseError(f"XACML: {message}", what="XACML")


# --- values to JSON ---------------------------------------------------------------------------------------------------


def encode_request(request: XacmlRequest) -> bytes:
    """Return a request as JSON."""
    members: dict[str, object] = {"ReturnPolicyIdList": False, "CombinedDecision": False}
    others: list[object] = []
    for category in request.categories:
        content: dict[str, object] = {"Attribute": [_attribute_json(each) for each in category.attributes]}
        name = _CATEGORY_NAMES.get(category.identifier)
        if name is None or name in members:
            others.append({"CategoryId": category.identifier, **content})
        else:
            members[name] = content
    if others:
        members["Category"] = others
    return _dump({"Request": members})


def encode_response(result: XacmlResult) -> bytes:
    """Return a response as JSON."""
    members: dict[str, object] = {"Decision": result.decision.value}
    status: dict[str, object] = {"StatusCode": {"Value": result.status}}
    if result.message:
        status["StatusMessage"] = result.message
    members["Status"] = status
    for name, found in (("Obligations", result.obligations), ("AssociatedAdvice", result.advice)):
        if found:
            members[name] = [_obliged_json(each) for each in found]
    return _dump({"Response": [members]})


def _attribute_json(attribute: Attribute) -> dict[str, object]:
    values = attribute.values
    found: dict[str, object] = {
        "AttributeId": attribute.identifier,
        "Value": values[0] if len(values) == 1 else list(values),
    }
    if attribute.data_type:
        found["DataType"] = attribute.data_type
    if attribute.issuer:
        found["Issuer"] = attribute.issuer
    return found


def _obliged_json(obliged: Obliged) -> dict[str, object]:
    assignments = [
        {"AttributeId": each.identifier, "Value": value, **({"DataType": each.data_type} if each.data_type else {})}
        for each in obliged.attributes
        for value in each.values
    ]
    return {"Id": obliged.identifier, **({"AttributeAssignment": assignments} if assignments else {})}


def _dump(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


# --- JSON to values ---------------------------------------------------------------------------------------------------


def parse_request(data: bytes) -> XacmlRequest:
    """Return the request in a JSON document.

    Raises:
        ParseError: It is none, or one of a kind that is not served here.
    """
    request = _object(_only(_load(data), "Request"), "Request")
    categories: list[Category] = []
    for name, value in request.items():
        if name in SHORT_CATEGORIES:
            categories += [_read_category(each, SHORT_CATEGORIES[name]) for each in _listed(value)]
        elif name == "Category":
            categories += [_read_category(each, None) for each in _listed(value)]
        elif name in {"ReturnPolicyIdList", "CombinedDecision"}:
            if value is not False:
                raise _fail(f"{name} is not served here")
        elif name != "XPathVersion":
            raise _fail(f"the request has {name[:80]!a}")
    return XacmlRequest(tuple(categories))


def parse_response(data: bytes) -> XacmlResult:
    """Return the one result in a JSON document.

    Raises:
        ParseError: It is none, or holds several results.
    """
    results = _listed(_only(_load(data), "Response"))
    if len(results) != 1:
        raise _fail(f"{len(results)} results to one question")
    result = _object(results[0], "Response")
    _check_members(
        result, {"Decision", "Status", "Obligations", "AssociatedAdvice", "Category", "PolicyIdentifierList"}
    )
    try:
        decision = Verdict(_text(result.get("Decision"), "Decision"))
    except ValueError as error:
        raise _fail("the decision is none") from error
    status, message = _read_status(result.get("Status", {}))
    return XacmlResult(
        decision,
        status,
        message,
        tuple(_read_obliged(each) for each in _listed(result.get("Obligations", []))),
        tuple(_read_obliged(each) for each in _listed(result.get("AssociatedAdvice", []))),
    )


def _load(data: bytes) -> dict[str, object]:
    if len(data) > MAX_MESSAGE_BYTES:
        raise _fail(f"{len(data)} bytes, limit {MAX_MESSAGE_BYTES}")
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except ParseError:
        raise
    except (ValueError, RecursionError) as error:
        raise _fail("not JSON") from error
    _check_depth(found, MAX_DEPTH)
    return _object(found, "document")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _fail("a name stands twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _fail(f"{name} is no number")


def _check_depth(value: object, depth: int) -> None:
    if isinstance(value, dict | list):
        if not depth:
            raise _fail(f"nested deeper than {MAX_DEPTH}")
        for each in value.values() if isinstance(value, dict) else value:
            _check_depth(each, depth - 1)


def _object(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _fail(f"the {what} is no object")
    return cast("dict[str, object]", value)


def _only(document: Mapping[str, object], name: str) -> object:
    if document.keys() != {name}:
        raise _fail(f"not a document with {name} alone")
    return document[name]


def _listed(value: object) -> list[object]:
    """Return an array's members; what stands without an array is its only one."""
    if not isinstance(value, list):
        return [value]
    if len(value) > MAX_VALUES:
        raise _fail(f"more than {MAX_VALUES} in one array")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise _fail(f"{what} is no text")
    return value


def _check_members(found: Mapping[str, object], known: Iterable[str]) -> None:
    odd = found.keys() - set(known)
    if odd:
        raise _fail(f"a member that is not known: {min(odd)[:80]!a}")


def _read_category(value: object, identifier: str | None) -> Category:
    found = _object(value, "category")
    _check_members(found, {"CategoryId", "Attribute", "Id"})
    if "CategoryId" in found:
        told = _text(found["CategoryId"], "CategoryId")
        told = SHORT_CATEGORIES.get(told, told)
        if identifier not in {None, told}:
            raise _fail("a category that says that it is another")
        identifier = told
    if identifier is None:
        raise _fail("a category without CategoryId")
    attributes = tuple(_read_attribute(each) for each in _listed(found.get("Attribute", [])))
    return Category(identifier, attributes)


def _read_attribute(value: object) -> Attribute:
    found = _object(value, "attribute")
    _check_members(found, {"AttributeId", "Value", "DataType", "Issuer", "IncludeInResult"})
    if found.get("IncludeInResult", False) is not False:
        raise _fail("IncludeInResult is not served here")
    identifier = _text(found.get("AttributeId"), "AttributeId")
    values = tuple(_scalar(each) for each in _listed(found.get("Value")))
    if not values:
        raise _fail(f"{identifier[:80]!a} has no value")
    issuer = _text(found["Issuer"], "Issuer") if "Issuer" in found else ""
    return Attribute(identifier, values, _data_type(found), issuer)


def _data_type(found: Mapping[str, object]) -> str:
    if "DataType" not in found:
        return ""
    told = _text(found["DataType"], "DataType")
    return SHORT_TYPES.get(told, told)


def _scalar(value: object) -> Scalar:
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int | float) and -_MAX_NUMBER < value < _MAX_NUMBER:
        return value
    raise _fail("a value is neither text nor number nor truth")


def _read_status(value: object) -> tuple[str, str]:
    found = _object(value, "Status")
    _check_members(found, {"StatusCode", "StatusMessage", "StatusDetail"})
    message = found.get("StatusMessage", "")
    if not isinstance(message, str):
        raise _fail("StatusMessage is no text")
    if "StatusCode" not in found:
        return STATUS_OK, message
    code = _object(found["StatusCode"], "StatusCode")
    _check_members(code, {"Value", "StatusCode"})
    return _text(code["Value"], "StatusCode") if "Value" in code else STATUS_OK, message


def _read_obliged(value: object) -> Obliged:
    found = _object(value, "obligation")
    _check_members(found, {"Id", "AttributeAssignment"})
    joined: dict[str, Attribute] = {}
    for each in _assignments(found.get("AttributeAssignment", [])):
        before = joined.get(each.identifier)
        values = (*before.values, *each.values) if before else each.values
        joined[each.identifier] = Attribute(each.identifier, values, each.data_type, each.issuer)
    return Obliged(_text(found.get("Id"), "Id"), tuple(joined.values()))


def _assignments(value: object) -> Iterator[Attribute]:
    for each in _listed(value):
        found = _object(each, "AttributeAssignment")
        _check_members(found, {"AttributeId", "Value", "DataType", "Issuer", "Category"})
        values = tuple(_scalar(one) for one in _listed(found.get("Value")))
        yield Attribute(_text(found.get("AttributeId"), "AttributeId"), values, _data_type(found))
