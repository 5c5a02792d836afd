"""The URIs of XACML and of the profiles that grid services use; the only room that spells them.

| profile | for |
|---|---|
| `gsi` | two of this project: everything that is known goes over |
| `glite` | Argus and gLite: `http://glite.org/xacml/...` |
| `common-authz` | the EMI common profile: `http://dci-sec.org/xacml/...` |
| `authz-interop` | the OSG and EGEE profile: `http://authz-interop.org/xacml/...` |
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = [
    "ACCESS_SUBJECT",
    "ACTION",
    "ENVIRONMENT",
    "GSI",
    "KEY_INFO",
    "RESOURCE",
    "SHORT_CATEGORIES",
    "SHORT_TYPES",
    "Profile",
]

ACCESS_SUBJECT: Final = "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject"
RESOURCE: Final = "urn:oasis:names:tc:xacml:3.0:attribute-category:resource"
ACTION: Final = "urn:oasis:names:tc:xacml:3.0:attribute-category:action"
ENVIRONMENT: Final = "urn:oasis:names:tc:xacml:3.0:attribute-category:environment"

SHORT_CATEGORIES: Final = {
    "AccessSubject": ACCESS_SUBJECT,
    "Resource": RESOURCE,
    "Action": ACTION,
    "Environment": ENVIRONMENT,
    "RecipientSubject": "urn:oasis:names:tc:xacml:1.0:subject-category:recipient-subject",
    "IntermediarySubject": "urn:oasis:names:tc:xacml:1.0:subject-category:intermediary-subject",
    "Codebase": "urn:oasis:names:tc:xacml:1.0:subject-category:codebase",
    "RequestingMachine": "urn:oasis:names:tc:xacml:1.0:subject-category:requesting-machine",
}
"""JSON profile section 4.2.2.1: members of a request that stand for categories."""

_XSD: Final = "http://www.w3.org/2001/XMLSchema#"
_OASIS_1: Final = "urn:oasis:names:tc:xacml:1.0:data-type:"
_OASIS_2: Final = "urn:oasis:names:tc:xacml:2.0:data-type:"
SHORT_TYPES: Final = {
    **{f"{_XSD}{name}": name for name in ("string", "boolean", "integer", "double", "time", "date", "dateTime")},
    **{f"{_XSD}{name}": name for name in ("anyURI", "hexBinary", "base64Binary", "dayTimeDuration")},
    **{f"{_OASIS_1}{name}": name for name in ("x500Name", "rfc822Name")},
    **{f"{_OASIS_2}{name}": name for name in ("ipAddress", "dnsName")},
}
"""JSON profile section 3.3.1: short names of data types."""

SUBJECT_ID: Final = "urn:oasis:names:tc:xacml:1.0:subject:subject-id"
KEY_INFO: Final = "urn:oasis:names:tc:xacml:1.0:subject:key-info"
RESOURCE_ID: Final = "urn:oasis:names:tc:xacml:1.0:resource:resource-id"
ACTION_ID: Final = "urn:oasis:names:tc:xacml:1.0:action:action-id"
CURRENT_TIME: Final = "urn:oasis:names:tc:xacml:1.0:environment:current-dateTime"

STATUS_OK: Final = "urn:oasis:names:tc:xacml:1.0:status:ok"
STATUS_SYNTAX: Final = "urn:oasis:names:tc:xacml:1.0:status:syntax-error"
STATUS_FAILED: Final = "urn:oasis:names:tc:xacml:1.0:status:processing-error"

GSI: Final = "urn:x-gsi-toolkit:xacml:1.0:"
"""The prefix of this project's own identifiers."""

GLITE: Final = "http://glite.org/xacml/"
COMMON: Final = "http://dci-sec.org/xacml/"
INTEROP: Final = "http://authz-interop.org/xacml/"

USERNAME: Final = f"{INTEROP}obligation/username"
UIDGID: Final = f"{INTEROP}obligation/uidgid"
SECONDARY_GIDS: Final = f"{INTEROP}obligation/secondary-gids"
GLITE_POSIX: Final = f"{GLITE}obligation/local-environment-map/posix"
COMMON_POSIX: Final = f"{COMMON}obligation/map-local-user/posix"


class Profile(StrEnum):
    """Which attributes a request is made of."""

    GSI = "gsi"
    GLITE = "glite"
    COMMON_AUTHZ = "common-authz"
    AUTHZ_INTEROP = "authz-interop"
