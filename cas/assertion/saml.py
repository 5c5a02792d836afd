"""A capability as a SAML assertion: rights as authorization decisions, in the form of CAS (SAML 1.1) or of SAML 2.0.

    issuer = AssertionWriter(key, SAMLOptions(version=SAMLVersion.SAML1))
    xml = issuer.issue(capability, now=now)

The issuer is the subject of the key's certificate, the subject the holder's name with its CA as the qualifier, each in
one-line form; a resource is `namespace|object`, the namespace of an action its service type; every decision is a
permit. Enveloped signature, exclusive canonicalization, SHA-256 or better, the certificates in KeyInfo. What is issued
has the shape that `gsi.saml` insists on; it ends with the holder's certificate and with the signer's. Attributes carry
the groups and roles, where that is switched on: GT4 has none.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cas.assertion.canonical import element, escape
from cas.assertion.value import Comparison
from gsi import names, oids
from gsi.errors import DeniedError, IssuanceError, IssuanceStep, ParseError
from gsi.saml.document import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from cas.assertion.signing import SigningKey
    from cas.assertion.value import Capability
    from gsi.certificate import Certificate

__all__ = ["FQAN_ATTRIBUTE", "AssertionWriter", "SAMLOptions", "SAMLVersion"]

FQAN_ATTRIBUTE: Final = f"urn:oid:{oids.VOMS_FQAN}"
"""The attribute whose values are groups and roles: the name is the identifier of the VOMS attribute."""

_SAML1: Final = "urn:oasis:names:tc:SAML:1.0:assertion"
_SAML2: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
_DS: Final = "http://www.w3.org/2000/09/xmldsig#"
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_DIGESTS: Final = {
    "sha256": "http://www.w3.org/2001/04/xmlenc#sha256",
    "sha384": f"{_MORE}sha384",
    "sha512": "http://www.w3.org/2001/04/xmlenc#sha512",
}
_X509_NAME: Final = "urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName"
_URI_NAME: Final = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"
_BY_CERTIFICATE: Final = "urn:oasis:names:tc:SAML:1.0:am:X509-PKI"
_BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_HOLDER_OF_KEY: Final = {
    _SAML1: "urn:oasis:names:tc:SAML:1.0:cm:holder-of-key",
    _SAML2: "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key",
}
_MAX_STATEMENTS: Final = 1000  # what `gsi.saml.assertion` reads


class SAMLVersion(StrEnum):
    """The versions that are written."""

    SAML1 = "1.1"
    SAML2 = "2.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class SAMLOptions:
    """How assertions are written.

    Attributes:
        version: The form.
        bind_key: Name the holder's end entity certificate as the one to confirm the subject with (holder-of-key).
            GT4 has the name confirm it (X509-PKI).
        groups: Also write groups and roles, as the attribute `FQAN_ATTRIBUTE`.
    """

    version: SAMLVersion = SAMLVersion.SAML1
    bind_key: bool = False
    groups: bool = False


class AssertionWriter:
    """Writes and signs assertions. Safe for several threads.

    Attributes:
        issuer: What it calls itself: the subject of the key's certificate, in one-line form.
    """

    __slots__ = ("_key", "_key_info", "_options", "_signed_info", "issuer")

    def __init__(self, key: SigningKey, options: SAMLOptions | None = None) -> None:
        """Prepare what is the same in all of them.

        Args:
            key: Signs.
            options: How they are written.

        Raises:
            ConfigError: The key has no certificate, or is an Ed25519 key.
        """
        self._key = key
        self._options = options or SAMLOptions()
        key.not_after()  # raises: without a certificate nobody can tell whose assertion it is
        self.issuer = _name(key.certificates[0].subject_der)
        self._key_info = _key_info(*key.certificates)
        method, digest = key.xml_algorithm
        self._signed_info = (f"{_MORE}{method}", digest)

    def issue(self, capability: Capability, *, now: datetime) -> bytes:
        """Return the signed assertion of a capability.

        Raises:
            DeniedError: The capability has nothing that this form carries.
            IssuanceError: GRANT: something in it cannot be written, or it is too long; AUTHORITY: the certificate of
                the signing key is not valid now; SIGN: the key could not be used.
        """
        self._key.signer_certificate(now=now)
        if not capability.rights and not (self._options.groups and capability.fqans):
            raise DeniedError("nothing in this capability can be written in an assertion: no rights")
        not_after = min(capability.not_after, self._key.not_after(), capability.holder.eec.not_after)
        if not_after <= max(now, capability.not_before):
            raise IssuanceError("its time is over before it begins", step=IssuanceStep.GRANT)
        identifier = f"_{capability.identifier.hex()}"
        if len(identifier) < 2:
            raise IssuanceError("a capability without an identifier", step=IssuanceStep.SERIAL)
        if self._options.version is SAMLVersion.SAML1:
            before, after, attributes = self._saml_1(capability, identifier, not_after)
            xmlns = _SAML1
        else:
            before, after, attributes = self._saml_2(capability, identifier, not_after)
            xmlns = _SAML2
        digested = element("Assertion", attributes, before, after, xmlns=xmlns)
        signature = self._sign(digested, identifier)
        xml = element("Assertion", attributes, before, signature, after, xmlns=xmlns).encode("utf-8")
        if len(xml) > MAX_DOCUMENT_BYTES:
            raise IssuanceError(
                f"an assertion of {len(xml)} bytes, limit {MAX_DOCUMENT_BYTES}",
                step=IssuanceStep.GRANT,
                hint="ask for fewer rights",
            )
        return xml

    # --- SAML 1.1 -----------------------------------------------------------------------------------------------------

    def _saml_1(self, capability: Capability, identifier: str, not_after: datetime) -> tuple[str, str, dict[str, str]]:
        """Return what stands before the signature and behind it, and the attributes of the root."""
        audience = ""
        if capability.audience:
            listed = [element("Audience", None, escape(one)) for one in capability.audience]
            audience = element("AudienceRestrictionCondition", None, *listed)
        subject = self._subject_1(capability)
        statements = [
            element("AuthorizationDecisionStatement", {"Decision": "Permit", "Resource": resource}, subject, *actions)
            for resource, actions in _decisions(capability).items()
        ]
        if self._options.groups and capability.fqans:
            values = [element("AttributeValue", None, escape(one)) for one in capability.fqans]
            attribute = element(
                "Attribute", {"AttributeName": FQAN_ATTRIBUTE, "AttributeNamespace": _URI_NAME}, *values
            )
            statements.append(element("AttributeStatement", None, subject, attribute))
        content = _conditions(capability, not_after, audience) + "".join(statements)
        attributes = {
            "AssertionID": identifier,
            "IssueInstant": _time(capability.issued_at),
            "Issuer": self.issuer,
            "MajorVersion": "1",
            "MinorVersion": "1",
        }
        return content, "", attributes

    def _subject_1(self, capability: Capability) -> str:
        eec = capability.holder.eec
        method, key_info = _BY_CERTIFICATE, ""
        if self._options.bind_key:
            method, key_info = _HOLDER_OF_KEY[_SAML1], _key_info(eec)
        return element(
            "Subject",
            None,
            element(
                "NameIdentifier",
                {"Format": _X509_NAME, "NameQualifier": _name(eec.issuer_der)},
                escape(_name(eec.subject_der)),
            ),
            element("SubjectConfirmation", None, element("ConfirmationMethod", None, escape(method)), key_info),
        )

    # --- SAML 2.0 -----------------------------------------------------------------------------------------------------

    def _saml_2(self, capability: Capability, identifier: str, not_after: datetime) -> tuple[str, str, dict[str, str]]:
        audience = ""
        if capability.audience:
            listed = [element("Audience", None, escape(one)) for one in capability.audience]
            audience = element("AudienceRestriction", None, *listed)
        statements = []
        if self._options.groups and capability.fqans:
            values = [element("AttributeValue", None, escape(one)) for one in capability.fqans]
            attribute = element("Attribute", {"Name": FQAN_ATTRIBUTE, "NameFormat": _URI_NAME}, *values)
            statements.append(element("AttributeStatement", None, attribute))
        statements += [
            element("AuthzDecisionStatement", {"Decision": "Permit", "Resource": resource}, *actions)
            for resource, actions in _decisions(capability).items()
        ]
        issuer = element("Issuer", {"Format": _X509_NAME}, escape(self.issuer))
        content = self._subject_2(capability) + _conditions(capability, not_after, audience) + "".join(statements)
        attributes = {"ID": identifier, "IssueInstant": _time(capability.issued_at), "Version": "2.0"}
        return issuer, content, attributes

    def _subject_2(self, capability: Capability) -> str:
        eec = capability.holder.eec
        method, data = _BEARER, ""
        if self._options.bind_key:
            method, data = _HOLDER_OF_KEY[_SAML2], element("SubjectConfirmationData", None, _key_info(eec))
        return element(
            "Subject",
            None,
            element(
                "NameID",
                {"Format": _X509_NAME, "NameQualifier": _name(eec.issuer_der)},
                escape(_name(eec.subject_der)),
            ),
            element("SubjectConfirmation", {"Method": method}, data),
        )

    # --- signature ----------------------------------------------------------------------------------------------------

    def _sign(self, digested: str, identifier: str) -> str:
        """Return the signature over the canonical root without it."""
        method, digest = self._signed_info
        value = base64.b64encode(hashlib.new(digest, digested.encode("utf-8")).digest()).decode("ascii")
        parts = (
            element("ds:CanonicalizationMethod", {"Algorithm": _EXCLUSIVE}),
            element("ds:SignatureMethod", {"Algorithm": method}),
            element(
                "ds:Reference",
                {"URI": f"#{identifier}"},
                element(
                    "ds:Transforms",
                    None,
                    element("ds:Transform", {"Algorithm": f"{_DS}enveloped-signature"}),
                    element("ds:Transform", {"Algorithm": _EXCLUSIVE}),
                ),
                element("ds:DigestMethod", {"Algorithm": _DIGESTS[digest]}),
                element("ds:DigestValue", None, value),
            ),
        )
        alone = element("ds:SignedInfo", None, *parts, xmlns=_DS)  # as its canonical form has it, which is signed
        made = base64.b64encode(self._key.sign_jws(alone.encode("utf-8"))).decode("ascii")
        return element(
            "ds:Signature",
            None,
            element("ds:SignedInfo", None, *parts),
            element("ds:SignatureValue", None, made),
            self._key_info.replace(f' xmlns:ds="{_DS}"', "", 1),  # declared by the signature
            xmlns=_DS,
        )


def _decisions(capability: Capability) -> dict[str, list[str]]:
    """Return the actions on each resource as elements; one statement for each resource."""
    found: dict[str, list[str]] = {}
    for right in capability.rights:
        if "|" in right.namespace or not right.namespace or not right.object or not right.actions:
            raise IssuanceError(f"the right on {right.object[:80]!r} cannot be written", step=IssuanceStep.GRANT)
        if right.comparison is Comparison.EXACT and (right.object == "*" or right.object.endswith("/*")):
            raise IssuanceError(
                f"the right on {right.object[:80]!r} is on one object, and would be read as one on all below it",
                step=IssuanceStep.GRANT,
                hint="give the object another name, or leave it out of what is asked for",
            )
        resource = found.setdefault(f"{right.namespace}|{right.object}", [])
        for action in right.actions:
            written = element("Action", {"Namespace": right.service_type}, escape(action))
            if written not in resource:
                resource.append(written)
    if len(found) >= _MAX_STATEMENTS:
        raise IssuanceError(
            f"rights on {len(found)} objects, limit {_MAX_STATEMENTS - 1}",
            step=IssuanceStep.GRANT,
            hint="ask for fewer rights",
        )
    return found


def _conditions(capability: Capability, not_after: datetime, audience: str) -> str:
    times = {"NotBefore": _time(capability.not_before), "NotOnOrAfter": _time(not_after)}
    return element("Conditions", times, audience)


def _key_info(*certificates: Certificate) -> str:
    listed = [element("ds:X509Certificate", None, base64.b64encode(one.der).decode("ascii")) for one in certificates]
    return element("ds:KeyInfo", None, element("ds:X509Data", None, *listed), xmlns=_DS)


def _time(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}Z"


def _name(name_der: bytes) -> str:
    """Return a name in one-line form, or in LDAP form where only that is read back as the same name.

    Raises:
        IssuanceError: GRANT: neither is.
    """
    for text, parse in ((names.oneline(name_der), names.parse_oneline), (names.rfc4514(name_der), names.parse_rfc4514)):
        try:
            if text.isprintable() and names.canonical(parse(text)) == names.canonical(name_der):
                return text
        except ParseError:
            continue
    raise IssuanceError("a name that no text stands for", step=IssuanceStep.GRANT)
