"""Authorization requests as XACML attributes, by profile, and XACML attributes as authorization requests; pure.

    encode_request(request_attributes(request, Profile.GLITE, options))
    request_of(parse_request(data), now=now)

With the profile `gsi` nothing is lost but claims that are no plain values and assertions that are no texts. The other
profiles say what their services know: name, issuer, VO, FQANs or groups, and the chain itself, from which they find out
the rest.

The way back takes the attributes of all profiles. An attribute of a foreign kind is passed over, as XACML has it; one
of this project's own prefix that is not known is an error, since it could restrict. Nothing here is proof: who asks is
believed, or the chain is verified by whoever calls (`answer.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003  the policy's reader looks the type of a setting up
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import names
from gsi.authz.decision import Action, AuthorizationRequest, Environment, Resource, Subject
from gsi.authz.principals import normal_fqan, parse_dn
from gsi.authz.xacml.document import Attribute, Category, Scalar, XacmlRequest
from gsi.authz.xacml.identifiers import (
    ACCESS_SUBJECT,
    ACTION,
    ACTION_ID,
    COMMON,
    CURRENT_TIME,
    ENVIRONMENT,
    GLITE,
    GSI,
    INTEROP,
    KEY_INFO,
    RESOURCE,
    RESOURCE_ID,
    SUBJECT_ID,
    Profile,
)
from gsi.certificate import Certificate, load_certificates
from gsi.errors import GridError, ParseError
from gsi.pem import encode_pem
from gsi.proxy.kinds import ProxyKind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EncodingOptions", "Told", "request_attributes", "request_of"]

_X500: Final = "x500Name"
_TIME: Final = "dateTime"
_FQAN_TYPE: Final = f"{GLITE}datatype/fqan"
_GLITE_PROFILE: Final = f"{GLITE}profile/grid-ce/1.0"
_COMMON_PROFILE: Final = f"{COMMON}profile/common-authz/1.1"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingOptions:
    """What a site says of how its requests look.

    Attributes:
        profile: Which attributes.
        actions: Action identifiers by ours: `"job:start" = "http://glite.org/xacml/action/execute"`; others go over
            by their names.
        resource: The resource identifier for all requests; empty for that of each request, or its service's name.
        profile_id: The profile identifier to send; empty for the usual one of the profile.
        send_chain: Whether the certificate chain goes over.
    """

    profile: Profile = Profile.GSI
    actions: Mapping[str, str] = field(default_factory=dict)
    resource: str = ""
    profile_id: str = ""
    send_chain: bool = True


class Told(NamedTuple):
    """A request as another party tells it.

    Attributes:
        request: The request; its subject is what was said, not what was proven, and has no chain.
        chain: The certificates that were sent, leaf first; none where there are none.
    """

    request: AuthorizationRequest
    chain: tuple[Certificate, ...]


def _fail(message: str) -> ParseError:
    return ParseError(f"XACML: {message}", what="XACML")


# --- out --------------------------------------------------------------------------------------------------------------


def request_attributes(request: AuthorizationRequest, options: EncodingOptions) -> XacmlRequest:
    """Return the XACML request for an authorization request.

    Raises:
        ParseError: It has something that cannot go over, as an attribute with an odd name, or an FQAN that is none.
    """
    profile = options.profile
    subject = tuple(_SUBJECT[profile](request.subject))
    if options.send_chain and request.subject.chain:
        pem = b"".join(encode_pem("CERTIFICATE", each.der) for each in request.subject.chain).decode("ascii")
        identifier = f"{INTEROP}subject/cert-chain" if profile is Profile.AUTHZ_INTEROP else KEY_INFO
        subject += (Attribute(identifier, (pem,)),)
    action, resource = request.action, request.resource
    known = options.actions.get(f"{action.service}:{action.name}", action.name)
    name = options.resource or resource.name or ("" if profile is Profile.GSI else request.environment.service)
    return XacmlRequest(
        (
            Category(ACCESS_SUBJECT, subject),
            Category(RESOURCE, (Attribute(RESOURCE_ID, (name,)), *_extras(profile, "resource", resource.attributes))),
            Category(ACTION, (Attribute(ACTION_ID, (known,)), *_service_type(profile, action))),
            Category(ENVIRONMENT, tuple(_environment(request.environment, options))),
        )
    )


def _many(identifier: str, values: tuple[Scalar, ...], data_type: str = "") -> Iterator[Attribute]:
    if values:
        yield Attribute(identifier, values, data_type)


def _name_attribute(subject: Subject) -> Iterator[Attribute]:
    if subject.identity_der:
        yield Attribute(SUBJECT_ID, (names.rfc4514(subject.identity_der),), _X500)
    elif subject.identity:
        yield Attribute(SUBJECT_ID, (subject.identity,), "string")


def _gsi_subject(subject: Subject) -> Iterator[Attribute]:
    yield from _name_attribute(subject)
    own = f"{GSI}subject:"
    yield Attribute(f"{own}authenticated-by", (subject.authenticated_by,))
    yield Attribute(f"{own}limited", (subject.limited,))
    yield Attribute(f"{own}independent", (subject.independent,))
    if subject.kind is not None:
        yield Attribute(f"{own}proxy", (subject.kind.value,))
    if subject.issuer:
        yield Attribute(f"{own}issuer", (subject.issuer,))
    if subject.not_after is not None:
        yield Attribute(f"{own}not-after", (_written(subject.not_after),), _TIME)
    yield from _many(f"{own}fqan", subject.fqans)
    yield from _many(f"{own}group", tuple(sorted(subject.groups)))
    yield from _many(f"{own}assertion", tuple(each for each in subject.assertions if isinstance(each, str) and each))
    for name, claim in subject.claims.items():
        values = tuple(claim) if isinstance(claim, tuple | list) else (claim,)
        if _NAME.match(name) and all(isinstance(value, str | int | float | bool) for value in values):
            yield from _many(f"{own}claim:{name}", values)


def _glite_subject(subject: Subject) -> Iterator[Attribute]:
    yield from _name_attribute(subject)
    own = f"{GLITE}attribute/"
    yield from _issuer(f"{own}subject-issuer", subject)
    fqans = tuple(normal_fqan(fqan) for fqan in subject.fqans)
    yield from _many(f"{own}virtual-organization", _vos(fqans))
    yield from _many(f"{own}fqan", fqans, _FQAN_TYPE)
    yield from _many(f"{own}fqan/primary", fqans[:1], _FQAN_TYPE)


def _common_subject(subject: Subject) -> Iterator[Attribute]:
    yield from _name_attribute(subject)
    own = f"{COMMON}attribute/"
    yield from _issuer(f"{own}subject-issuer", subject)
    fqans = tuple(normal_fqan(fqan) for fqan in subject.fqans)
    groups = tuple(dict.fromkeys(fqan.partition("/Role=")[0] for fqan in fqans))
    roles = tuple(dict.fromkeys(f.partition("/Role=")[2].partition("/")[0] for f in fqans if "/Role=" in f))
    yield from _many(f"{own}virtual-organization", _vos(fqans))
    yield from _many(f"{own}group", groups)
    yield from _many(f"{own}group/primary", groups[:1])
    yield from _many(f"{own}role", roles)
    if fqans and "/Role=" in fqans[0]:
        yield Attribute(f"{own}role/primary", roles[:1])


def _interop_subject(subject: Subject) -> Iterator[Attribute]:
    own = f"{INTEROP}subject/"
    if subject.identity:
        yield Attribute(f"{own}subject-x509-id", (subject.identity,))
    if subject.issuer:
        yield Attribute(f"{own}subject-x509-issuer", (subject.issuer,))
    yield from _many(f"{own}vo", _vos(subject.fqans))
    yield from _many(f"{own}voms-fqan", subject.fqans)
    yield from _many(f"{own}voms-primary-fqan", subject.fqans[:1])


_SUBJECT: Final = {
    Profile.GSI: _gsi_subject,
    Profile.GLITE: _glite_subject,
    Profile.COMMON_AUTHZ: _common_subject,
    Profile.AUTHZ_INTEROP: _interop_subject,
}


def _issuer(identifier: str, subject: Subject) -> Iterator[Attribute]:
    if subject.issuer.startswith("/"):
        yield Attribute(identifier, (names.rfc4514(parse_dn(subject.issuer)),), _X500)


def _vos(fqans: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fqan.split("/")[1] for fqan in fqans if fqan.startswith("/")))


def _service_type(profile: Profile, action: Action) -> Iterator[Attribute]:
    if profile is Profile.GSI:
        yield Attribute(f"{GSI}action:service", (action.service,))


def _environment(environment: Environment, options: EncodingOptions) -> Iterator[Attribute]:
    yield Attribute(CURRENT_TIME, (_written(environment.now),), _TIME)
    usual = {Profile.GLITE: _GLITE_PROFILE, Profile.COMMON_AUTHZ: _COMMON_PROFILE}.get(options.profile, "")
    prefix = COMMON if options.profile is Profile.COMMON_AUTHZ else GLITE
    profile_id = options.profile_id or usual
    if profile_id:
        yield Attribute(f"{prefix}attribute/profile-id", (profile_id,), "anyURI")
    if options.profile is not Profile.GSI:
        return
    own = f"{GSI}environment:"
    for name, value in (
        ("service", environment.service),
        ("host", environment.host),
        ("peer-address", environment.peer_address),
        ("desired-account", environment.desired_account),
    ):
        if value:
            yield Attribute(f"{own}{name}", (value,))
    yield from _extras(options.profile, "environment", environment.attributes)


def _extras(profile: Profile, what: str, attributes: Mapping[str, tuple[str, ...]]) -> Iterator[Attribute]:
    if profile is not Profile.GSI:
        return
    for name, values in attributes.items():
        if not _NAME.match(name):
            raise _fail(f"an attribute of the {what} is called {name[:80]!a}")
        # An attribute without values is there all the same, and XACML has no such thing: the empty list stands for it.
        yield Attribute(f"{GSI}{what}-attribute:{name}", values or (False,))


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


# --- in ---------------------------------------------------------------------------------------------------------------


def request_of(xacml: XacmlRequest, *, now: datetime) -> Told:
    """Return the authorization request that XACML attributes make, as told by whoever sent them.

    Args:
        xacml: The request.
        now: The time of the decision; what the sender takes for the time does not count.

    Raises:
        ParseError: An attribute of ours is unknown, one that must be single is not, or a value is of the wrong type.
    """
    subject, chain = _read_subject(_Reader(xacml.category(ACCESS_SUBJECT)))
    action = _Reader(xacml.category(ACTION))
    resource = _Reader(xacml.category(RESOURCE))
    environment = _Reader(xacml.category(ENVIRONMENT))
    request = AuthorizationRequest(
        subject,
        Action(action.text(ACTION_ID), action.text(f"{GSI}action:service")),
        Resource(resource.text(RESOURCE_ID), resource.extras(f"{GSI}resource-attribute:")),
        Environment(
            now=now,
            service=environment.text(f"{GSI}environment:service"),
            host=environment.text(f"{GSI}environment:host"),
            peer_address=environment.text(f"{GSI}environment:peer-address"),
            desired_account=environment.text(f"{GSI}environment:desired-account") or None,
            attributes=environment.extras(f"{GSI}environment-attribute:"),
        ),
    )
    for reader in (action, resource, environment):
        reader.refuse_unknown()
    if not request.action.name:
        raise _fail("there is no action")
    return Told(request, chain)


def _read_subject(reader: _Reader) -> tuple[Subject, tuple[Certificate, ...]]:
    own = f"{GSI}subject:"
    identity, identity_der = _read_name(reader)
    kind = reader.text(f"{own}proxy")
    until = reader.text(f"{own}not-after")
    method = reader.text(f"{own}authenticated-by") or ("x509" if identity_der else "anonymous")
    claims = {
        identifier.removeprefix(f"{own}claim:"): values[0] if len(values) == 1 else values
        for identifier, values in reader.prefixed(f"{own}claim:")
    }
    fqans = [
        *reader.texts(f"{own}fqan"),
        *reader.texts(f"{GLITE}attribute/fqan/primary"),
        *reader.texts(f"{GLITE}attribute/fqan"),
        *reader.texts(f"{INTEROP}subject/voms-primary-fqan"),
        *reader.texts(f"{INTEROP}subject/voms-fqan"),
    ]
    chain_pem = reader.text(KEY_INFO) or reader.text(f"{INTEROP}subject/cert-chain")
    subject = Subject(
        identity=identity,
        identity_der=identity_der,
        kind=_proxy_kind(kind) if kind else None,
        limited=reader.truth(f"{own}limited"),
        independent=reader.truth(f"{own}independent"),
        not_after=_moment(until) if until else None,
        issuer=_read_issuer(reader),
        authenticated_by=method,
        fqans=tuple(dict.fromkeys(fqans)),
        groups=frozenset((*reader.texts(f"{own}group"), *reader.texts(f"{COMMON}attribute/group"))),
        claims=claims,
        assertions=reader.texts(f"{own}assertion"),
    )
    reader.refuse_unknown()
    return subject, _read_chain(chain_pem)


def _read_name(reader: _Reader) -> tuple[str, bytes]:
    attribute = reader.single(SUBJECT_ID)
    if attribute is None:
        text = reader.text(f"{INTEROP}subject/subject-x509-id")
        if not text:
            return "", b""
        der = parse_dn(text)
        return names.oneline(der), der
    text = _as_text(attribute.values[0], SUBJECT_ID)
    if attribute.data_type == _X500:
        der = names.parse_rfc4514(text)
        return names.oneline(der), der
    if attribute.data_type not in {"", "string"}:
        raise _fail(f"a subject-id of the type {attribute.data_type[:80]!a}")
    return text, b""


def _read_issuer(reader: _Reader) -> str:
    found = reader.text(f"{GSI}subject:issuer") or reader.text(f"{INTEROP}subject/subject-x509-issuer")
    for prefix in (GLITE, COMMON):
        for name in reader.texts(f"{prefix}attribute/subject-issuer"):
            found = found or names.oneline(names.parse_rfc4514(name))
    return found


def _read_chain(pem: str) -> tuple[Certificate, ...]:
    if not pem:
        return ()
    try:
        return load_certificates(pem.encode("ascii"), what="key-info")
    except UnicodeEncodeError as error:
        raise _fail("the certificate chain is not PEM") from error
    except GridError as error:
        raise _fail(f"the certificate chain: {error.message}") from error


def _proxy_kind(text: str) -> ProxyKind:
    try:
        return ProxyKind(text)
    except ValueError as error:
        raise _fail(f"{text[:80]!a} is no kind of proxy") from error


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise _fail(f"{text[:80]!a} is no time") from error
    if found.tzinfo is None:
        raise _fail("a time without a zone")
    return found.astimezone(UTC)


def _as_text(value: Scalar, identifier: str) -> str:
    if not isinstance(value, str):
        raise _fail(f"{identifier} is no text")
    return value


class _Reader:
    """Takes attributes out of a category, and knows in the end which were not asked for."""

    def __init__(self, category: Category) -> None:
        self._found: dict[str, Attribute] = {}
        self._taken: set[str] = set()
        for each in category.attributes:
            if each.identifier in self._found:
                raise _fail(f"{each.identifier[:120]!a} is there twice")
            self._found[each.identifier] = each

    def _take(self, identifier: str) -> Attribute | None:
        self._taken.add(identifier)
        return self._found.get(identifier)

    def single(self, identifier: str) -> Attribute | None:
        attribute = self._take(identifier)
        if attribute is not None and len(attribute.values) != 1:
            raise _fail(f"{identifier} has several values")
        return attribute

    def text(self, identifier: str) -> str:
        attribute = self.single(identifier)
        return "" if attribute is None else _as_text(attribute.values[0], identifier)

    def texts(self, identifier: str) -> tuple[str, ...]:
        attribute = self._take(identifier)
        return () if attribute is None else tuple(_as_text(value, identifier) for value in attribute.values)

    def truth(self, identifier: str) -> bool:
        attribute = self.single(identifier)
        if attribute is None:
            return False
        value = attribute.values[0]
        if not isinstance(value, bool):
            raise _fail(f"{identifier} is neither true nor false")
        return value

    def prefixed(self, prefix: str) -> Iterator[tuple[str, tuple[Scalar, ...]]]:
        for identifier, attribute in self._found.items():
            if identifier.startswith(prefix):
                self._taken.add(identifier)
                yield identifier, attribute.values

    def extras(self, prefix: str) -> dict[str, tuple[str, ...]]:
        return {
            identifier.removeprefix(prefix): ()
            if values == (False,)
            else tuple(_as_text(value, identifier) for value in values)
            for identifier, values in self.prefixed(prefix)
        }

    def refuse_unknown(self) -> None:
        odd = [each for each in self._found.keys() - self._taken if each.startswith(GSI)]
        if odd:
            raise _fail(f"an attribute that is not known: {min(odd)[:120]!a}")
