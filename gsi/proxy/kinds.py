"""What one certificate is: a CA's, an end entity's, or a proxy of which form and kind; looks at no second certificate.

    found = classify(certificate)
    found.role, found.format, found.kind, found.info

The order of the questions is GCT's (gct:gsi/cert_utils/source/library, globus_gsi_cert_utils_get_cert_type), with
three cases that GCT answers and this room refuses, because each would drop a restriction: a legacy name together
with a ProxyCertInfo (GCT reads `CN=proxy` with a restricted policy as a full proxy), both forms of the extension in
one certificate, and the extension twice.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import oids
from gsi.errors import ParseError
from gsi.extensions import parse_basic_constraints
from gsi.proxy.info import WHAT, ProxyCertInfo
from gsi.proxy.legacy import GT2_FULL_NAME, GT2_LIMITED_NAME, last_names, parse_gt3

if TYPE_CHECKING:
    from gsi.certificate import Certificate

__all__ = ["Classification", "ProxyFormat", "ProxyKind", "Role", "classify", "kind_of_language"]


class Role(StrEnum):
    """The place of a certificate in a chain."""

    CA = "ca"
    EEC = "eec"
    PROXY = "proxy"


class ProxyFormat(StrEnum):
    """How a proxy is marked as one."""

    RFC3820 = "rfc3820"
    GT3 = "gt3"
    """The pre-RFC draft, `grid-proxy-init -draft`."""
    GT2 = "gt2"
    """A name only, `grid-proxy-init -old`."""


class ProxyKind(StrEnum):
    """What a proxy may do in its issuer's name."""

    FULL = "full"
    """Everything: impersonation, policy language inheritAll."""
    LIMITED = "limited"
    """Everything but start jobs."""
    INDEPENDENT = "independent"
    """Nothing of the issuer's rights; an identity of its own."""
    RESTRICTED = "restricted"
    """What its policy says, in any other language."""


class Classification(NamedTuple):
    """What `classify` found."""

    role: Role
    format: ProxyFormat | None = None
    """None unless the role is PROXY."""
    kind: ProxyKind | None = None
    """None unless the role is PROXY."""
    info: ProxyCertInfo | None = None
    """The extension's value; None for GT2 and for anything but a proxy."""
    has_noncritical_info: bool = False
    """The certificate is no proxy but carries a ProxyCertInfo that is not critical: a chain with it is refused."""


_KIND_OF_LANGUAGE: Final = {
    oids.INHERIT_ALL: ProxyKind.FULL,
    oids.INDEPENDENT: ProxyKind.INDEPENDENT,
    oids.LIMITED: ProxyKind.LIMITED,
}
_GT2_KIND: Final = {
    GT2_FULL_NAME.encode(): ProxyKind.FULL,
    GT2_LIMITED_NAME.encode(): ProxyKind.LIMITED,
}
_FORMAT_OF_EXTENSION: Final = {
    oids.PROXY_CERT_INFO: ProxyFormat.RFC3820,
    oids.PROXY_CERT_INFO_GT3: ProxyFormat.GT3,
}


def kind_of_language(language: str) -> ProxyKind:
    """Return the kind of a proxy with this policy language (dotted); any language not known is a restriction."""
    return _KIND_OF_LANGUAGE.get(language, ProxyKind.RESTRICTED)


def classify(certificate: Certificate) -> Classification:
    """Tell what a certificate is.

    1. BasicConstraints with CA true: a CA's. 2. Last common name `proxy` or `limited proxy`: GT2, also when a CA has
    issued it. 3. Critical RFC 3820 extension. 4. Critical draft extension. 5. An end entity's.

    Raises:
        ParseError: BasicConstraints or ProxyCertInfo (`what` says which) is malformed, or the marks contradict one
            another.
    """
    return certificate.find_once(_classify)


def _classify(certificate: Certificate) -> Classification:
    if _is_ca(certificate):
        return Classification(Role.CA)
    marks = [extension for extension in certificate.extensions if extension.oid in _FORMAT_OF_EXTENSION]
    if len(marks) > 1:
        raise ParseError(f"{WHAT}: more than one in a certificate", what=WHAT)
    legacy_kinds = {_GT2_KIND[text] for text in last_names(certificate.subject_der) if text in _GT2_KIND}
    if legacy_kinds:
        if marks:
            raise ParseError(f"{WHAT}: in a certificate that its name marks as a legacy proxy", what=WHAT)
        kind = ProxyKind.LIMITED if ProxyKind.LIMITED in legacy_kinds else ProxyKind.FULL
        return Classification(Role.PROXY, ProxyFormat.GT2, kind)
    if not marks:
        return Classification(Role.EEC)
    (mark,) = marks
    if not mark.critical:
        return Classification(Role.EEC, has_noncritical_info=True)
    form = _FORMAT_OF_EXTENSION[mark.oid]
    info = ProxyCertInfo.parse(mark.value) if form is ProxyFormat.RFC3820 else parse_gt3(mark.value)
    return Classification(Role.PROXY, form, kind_of_language(info.language), info)


def _is_ca(certificate: Certificate) -> bool:
    extension = certificate.find_extension(oids.BASIC_CONSTRAINTS)
    return extension is not None and parse_basic_constraints(extension.value)[0]
