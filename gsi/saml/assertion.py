"""Assertions as values: SAML 1.0, 1.1 and 2.0 read into one form; judges nothing and checks no signature.

    assertion = read_assertion(parse_document(signed))
    assertion.decisions[0].resource, assertion.decisions[0].actions

Whatever is not known here is refused, because it could restrict what the rest allows. Call it with the element that
was signed and with no other.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import CapabilityProblem
from gsi.saml.document import Element, children, is_id, refuse, split_tag, text_of
from gsi.saml.signature import DS, parse_certificates

if TYPE_CHECKING:
    from gsi.certificate import Certificate

__all__ = [
    "Action",
    "Assertion",
    "Attribute",
    "AuthorizationDecision",
    "Confirmation",
    "Subject",
    "read_assertion",
]

SAML1: Final = "urn:oasis:names:tc:SAML:1.0:assertion"
SAML2: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
_MAX_STATEMENTS: Final = 1000
_DECISIONS: Final = frozenset({"Permit", "Deny", "Indeterminate"})
_CONTENT: Final = CapabilityProblem.CONTENT


class Confirmation(NamedTuple):
    """One way in which the presenter may be the subject."""

    method: str
    certificates: tuple[Certificate, ...] = ()
    """For holder-of-key: whose key."""
    not_before: datetime | None = None
    not_after: datetime | None = None
    recipient: str | None = None


class Subject(NamedTuple):
    """Whom an assertion or statement speaks of."""

    name: str
    name_format: str
    qualifier: str
    """For a distinguished name that of its CA, or empty."""
    confirmations: tuple[Confirmation, ...]


class Action(NamedTuple):
    """What a decision is about: for CAS the service type and the action, `file` and `read`."""

    namespace: str
    name: str


class AuthorizationDecision(NamedTuple):
    """One AuthorizationDecisionStatement (SAML 1.1) or AuthzDecisionStatement (SAML 2.0)."""

    resource: str
    """As it is written; for CAS `namespace|object`."""
    decision: str
    """`Permit`, `Deny` or `Indeterminate`."""
    actions: tuple[Action, ...]

    @property
    def namespace(self) -> str:
        """The part of the resource before the bar, or empty."""
        before, bar, _ = self.resource.partition("|")
        return before if bar else ""

    @property
    def object(self) -> str:
        """The part of the resource behind the bar, or all of it."""
        before, bar, after = self.resource.partition("|")
        return after if bar else before


class Attribute(NamedTuple):
    """One attribute with its values."""

    name: str
    namespace: str
    """AttributeNamespace (SAML 1.1) or NameFormat (SAML 2.0), or empty."""
    values: tuple[str, ...]


class Assertion(NamedTuple):
    """What an assertion says."""

    version: str
    """`1.0`, `1.1` or `2.0`."""
    identifier: str
    issuer: str
    issued_at: datetime
    not_before: datetime | None
    not_after: datetime | None
    """NotOnOrAfter."""
    audiences: tuple[frozenset[str], ...]
    """Of each restriction one must be meant."""
    is_one_time: bool
    subjects: tuple[Subject, ...]
    """One for SAML 2.0, that of each statement for SAML 1."""
    decisions: tuple[AuthorizationDecision, ...]
    attributes: tuple[Attribute, ...]


def read_assertion(root: Element) -> Assertion:
    """Return what an assertion says.

    Raises:
        CapabilityError: MALFORMED, VERSION, CONTENT or CRITICAL.
    """
    match split_tag(root):
        case (namespace, "Assertion") if namespace == SAML1:
            return _read_1(root)
        case (namespace, "Assertion") if namespace == SAML2:
            return _read_2(root)
        case _:
            raise refuse("of no version that is known here", CapabilityProblem.VERSION)


# --- both versions ----------------------------------------------------------------------------------------------------


def _attributes(element: Element, required: set[str], optional: frozenset[str] = frozenset()) -> None:
    names = set(element.attrib)
    if not required <= names <= required | optional:
        raise refuse(f"attributes of {split_tag(element)[1]} that are missing, or not known here")


def _identifier(element: Element, name: str) -> str:
    found = element.get(name)
    if not is_id(found):
        raise refuse("without an id that is one")
    return str(found)


def _time(text: str | None) -> datetime:
    """Return an xs:dateTime in UTC, as SAML wants it (SAML 2.0 core, section 1.3.3)."""
    whole, dot, fraction = (text or "").removesuffix("Z").partition(".")
    shape = "".join("9" if char.isascii() and char.isdigit() else char for char in whole)
    if (
        text is None
        or not text.endswith("Z")
        or shape != "9999-99-99T99:99:99"
        or (dot and not (fraction.isascii() and fraction.isdigit() and len(fraction) <= 9))
    ):
        raise refuse("a time that is not in UTC as YYYY-MM-DDTHH:MM:SSZ")
    try:
        return datetime.fromisoformat(whole).replace(tzinfo=UTC)
    except ValueError as error:
        raise refuse("a time that does not exist") from error


def _maybe_time(element: Element, name: str) -> datetime | None:
    text = element.get(name)
    return None if text is None else _time(text)


def _audience(element: Element, namespace: str) -> frozenset[str]:
    _attributes(element, set())
    listed = children(element, namespace)
    if not listed or any(name != "Audience" for name, _ in listed):
        raise refuse("a restriction to an audience without any")
    return frozenset(text_of(one) for _, one in listed)


class _Conditions(NamedTuple):
    not_before: datetime | None = None
    not_after: datetime | None = None
    audiences: tuple[frozenset[str], ...] = ()
    is_one_time: bool = False


def _read_conditions(element: Element, namespace: str) -> _Conditions:
    _attributes(element, set(), frozenset({"NotBefore", "NotOnOrAfter"}))
    audiences: list[frozenset[str]] = []
    is_one_time = False
    for name, child in children(element, namespace):
        match name:
            case "AudienceRestrictionCondition" if namespace == SAML1:
                audiences.append(_audience(child, namespace))
            case "AudienceRestriction" if namespace == SAML2:
                audiences.append(_audience(child, namespace))
            case "OneTimeUse" if namespace == SAML2 and not len(child):
                is_one_time = True
            case "DoNotCacheCondition" if namespace == SAML1 and not len(child):
                is_one_time = True
            case "ProxyRestriction" if namespace == SAML2:
                pass  # binds those who issue assertions upon this one
            case _:
                raise refuse(f"the condition {name[:60]} is not known here", CapabilityProblem.CRITICAL)
    return _Conditions(
        _maybe_time(element, "NotBefore"), _maybe_time(element, "NotOnOrAfter"), tuple(audiences), is_one_time
    )


def _read_action(element: Element) -> Action:
    _attributes(element, set(), frozenset({"Namespace"}))
    name = text_of(element)
    if not name:
        raise refuse("an action without a name", _CONTENT)
    return Action(element.get("Namespace") or "", name)


def _read_decision(element: Element, namespace: str) -> AuthorizationDecision:
    _attributes(element, {"Resource", "Decision"})
    resource, decision = element.get("Resource") or "", element.get("Decision") or ""
    if decision not in _DECISIONS or not resource.isprintable():
        raise refuse("a decision that is none", _CONTENT)
    actions: list[Action] = []
    for name, child in children(element, namespace):
        if name == "Action":
            actions.append(_read_action(child))
        elif name != "Subject" or namespace != SAML1:
            raise refuse(f"{name[:60]} within a decision is not known here", CapabilityProblem.CRITICAL)
    if not actions:
        raise refuse("a decision without an action", _CONTENT)
    return AuthorizationDecision(resource, decision, tuple(actions))


def _read_attribute(element: Element, namespace: str) -> Attribute:
    if namespace == SAML1:
        _attributes(element, {"AttributeName", "AttributeNamespace"})
        name, kind = element.get("AttributeName"), element.get("AttributeNamespace")
    else:
        _attributes(element, {"Name"}, frozenset({"NameFormat", "FriendlyName"}))
        name, kind = element.get("Name"), element.get("NameFormat")
    values: list[str] = []
    for child_name, child in children(element, namespace):
        if child_name != "AttributeValue":
            raise refuse("an attribute of another shape")
        values.append(text_of(child))
    return Attribute(name or "", kind or "", tuple(values))


def _confirmation_certificates(element: Element) -> tuple[Certificate, ...]:
    if split_tag(element) != (DS, "KeyInfo"):
        raise refuse("a confirmation that is not known here", CapabilityProblem.CRITICAL)
    return parse_certificates(element)


# --- SAML 1 -----------------------------------------------------------------------------------------------------------


def _read_1(root: Element) -> Assertion:
    _attributes(root, {"MajorVersion", "MinorVersion", "AssertionID", "Issuer", "IssueInstant"})
    version = f"{root.get('MajorVersion')}.{root.get('MinorVersion')}"
    if version not in {"1.0", "1.1"}:
        raise refuse(f"of the version {version[:20]!r}", CapabilityProblem.VERSION)
    conditions = _Conditions()
    subjects: list[Subject] = []
    decisions: list[AuthorizationDecision] = []
    attributes: list[Attribute] = []
    for number, (name, child) in enumerate(children(root, SAML1)):
        if name == "Conditions" and number == 0:
            conditions = _read_conditions(child, SAML1)
            continue
        if number > _MAX_STATEMENTS:
            raise refuse(f"more than {_MAX_STATEMENTS} statements")
        match name:
            case "AuthorizationDecisionStatement":
                decisions.append(_read_decision(child, SAML1))
            case "AttributeStatement":
                inner = children(child, SAML1)
                attributes += [_read_attribute(one, SAML1) for kind, one in inner if kind == "Attribute"]
                if any(kind not in {"Subject", "Attribute"} for kind, _ in inner):
                    raise refuse("an attribute statement of another shape")
            case "AuthenticationStatement":
                pass  # how somebody logged in elsewhere; allows nothing
            case _:
                raise refuse(f"{name[:60]} is not known here", CapabilityProblem.CRITICAL)
        inside = [one for kind, one in children(child, SAML1) if kind == "Subject"]
        if len(inside) != 1:
            raise refuse("a statement without its one subject")
        subjects.append(_read_subject_1(inside[0]))
    return Assertion(
        version,
        _identifier(root, "AssertionID"),
        root.get("Issuer") or "",
        _time(root.get("IssueInstant")),
        *conditions,
        tuple(subjects),
        tuple(decisions),
        tuple(attributes),
    )


def _read_subject_1(element: Element) -> Subject:
    _attributes(element, set())
    name, name_format, qualifier = "", "", ""
    confirmations: tuple[Confirmation, ...] = ()
    for number, (kind, child) in enumerate(children(element, SAML1)):
        if kind == "NameIdentifier" and number == 0:
            _attributes(child, set(), frozenset({"Format", "NameQualifier"}))
            name, name_format, qualifier = text_of(child), child.get("Format") or "", child.get("NameQualifier") or ""
        elif kind == "SubjectConfirmation" and not confirmations:
            confirmations = _read_confirmation_1(child)
        else:
            raise refuse("a subject of another shape")
    return Subject(name, name_format, qualifier, confirmations)


def _read_confirmation_1(element: Element) -> tuple[Confirmation, ...]:
    methods: list[str] = []
    certificates: tuple[Certificate, ...] = ()
    for child in element:
        if split_tag(child) == (SAML1, "ConfirmationMethod"):
            methods.append(text_of(child))
        else:
            certificates += _confirmation_certificates(child)
    if not methods:
        raise refuse("a confirmation without a method")
    return tuple(Confirmation(method, certificates) for method in methods)


# --- SAML 2 -----------------------------------------------------------------------------------------------------------


def _read_2(root: Element) -> Assertion:
    _attributes(root, {"Version", "ID", "IssueInstant"})
    if root.get("Version") != "2.0":
        raise refuse(f"of the version {str(root.get('Version'))[:20]!r}", CapabilityProblem.VERSION)
    issuer: str | None = None
    subject: Subject | None = None
    conditions: _Conditions | None = None
    decisions: list[AuthorizationDecision] = []
    attributes: list[Attribute] = []
    for number, (name, child) in enumerate(children(root, SAML2)):
        if number > _MAX_STATEMENTS:
            raise refuse(f"more than {_MAX_STATEMENTS} statements")
        match name:
            case "Issuer" if issuer is None:
                issuer = text_of(child)
            case "Subject" if subject is None:
                subject = _read_subject_2(child)
            case "Conditions" if conditions is None:
                conditions = _read_conditions(child, SAML2)
            case "AuthzDecisionStatement":
                decisions.append(_read_decision(child, SAML2))
            case "AttributeStatement":
                inner = children(child, SAML2)
                if any(kind != "Attribute" for kind, _ in inner):
                    raise refuse("an attribute statement of another shape")
                attributes += [_read_attribute(one, SAML2) for _, one in inner]
            case "AuthnStatement":
                pass  # how somebody logged in elsewhere; allows nothing
            case _:
                raise refuse(f"{name[:60]} is not known here, or there are two", CapabilityProblem.CRITICAL)
    if issuer is None or subject is None:
        raise refuse("without issuer or subject", _CONTENT)
    return Assertion(
        "2.0",
        _identifier(root, "ID"),
        issuer,
        _time(root.get("IssueInstant")),
        *(conditions or _Conditions()),
        (subject,),
        tuple(decisions),
        tuple(attributes),
    )


def _read_subject_2(element: Element) -> Subject:
    _attributes(element, set())
    name, name_format, qualifier = "", "", ""
    confirmations: list[Confirmation] = []
    for number, (kind, child) in enumerate(children(element, SAML2)):
        if kind == "NameID" and number == 0:
            _attributes(child, set(), frozenset({"Format", "NameQualifier"}))
            name, name_format, qualifier = text_of(child), child.get("Format") or "", child.get("NameQualifier") or ""
        elif kind == "SubjectConfirmation":
            confirmations.append(_read_confirmation_2(child))
        else:
            raise refuse("a subject of another shape")
    return Subject(name, name_format, qualifier, tuple(confirmations))


def _read_confirmation_2(element: Element) -> Confirmation:
    _attributes(element, {"Method"})
    method = element.get("Method") or ""
    listed = children(element, SAML2)
    if [name for name, _ in listed] not in ([], ["SubjectConfirmationData"]):
        raise refuse("a confirmation that is not known here", CapabilityProblem.CRITICAL)
    if not listed:
        return Confirmation(method)
    data = listed[0][1]
    kind = "{http://www.w3.org/2001/XMLSchema-instance}type"
    _attributes(data, set(), frozenset({"NotBefore", "NotOnOrAfter", "Recipient", kind}))
    certificates: tuple[Certificate, ...] = ()
    for child in data:
        certificates += _confirmation_certificates(child)
    return Confirmation(
        method,
        certificates,
        _maybe_time(data, "NotBefore"),
        _maybe_time(data, "NotOnOrAfter"),
        data.get("Recipient"),
    )
