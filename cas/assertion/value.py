"""A capability as a value: who may do what, where, until when; the one source of every signed form.

    Capability(community=..., holder=..., rights=(...), fqans=("/climate/Role=NULL/Capability=NULL",), ...)

The service computes it once from the policy (`cas.policy`), after every narrowing. `saml`, `attribute_cert` and `token`
beside this file write it, each what it can carry, none more than is in it. To hold one is to be allowed to sign it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.voms.ac_extensions import Tag

__all__ = ["Capability", "Comparison", "Holder", "Right", "subject_of"]


def subject_of(nickname: str) -> str:
    """Return what tokens call a user: printable ASCII, as OpenID Connect Core section 2 and the WLCG profile have it.

    Other characters become what they are in a URI (RFC 3987 section 3.1), and so does `%`: no two nicknames share one.
    """
    if nickname.isascii() and "%" not in nickname:
        return nickname
    return "".join(
        char if char.isascii() and char != "%" else "".join(f"%{byte:02X}" for byte in char.encode("utf-8"))
        for char in nickname
    )


class Comparison(StrEnum):
    """How a namespace compares the names of its objects."""

    EXACT = "ExactComparison"
    WILDCARD = "WildCardComparison"


@dataclass(frozen=True, slots=True)
class Right:
    """Actions of one service type on one object; always a permission.

    Attributes:
        namespace: The nickname of the object's namespace (`FTPDirectoryTree`).
        object: The object's full name in it, the namespace's base prepended (`ftp://host/data/*`).
        comparison: How the namespace compares.
        service_type: `file`.
        actions: `read`, `lookup`; sorted, without duplicates, never empty.
    """

    namespace: str
    object: str
    comparison: Comparison
    service_type: str
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who alone may use a capability.

    Attributes:
        eec: The end entity certificate, which names the user and the CA, and has a serial number.
        nickname: What the community calls the user.
        key_thumbprint: SHA-256 of the leaf certificate (RFC 8705 `x5t#S256`) to bind a token to; None for no binding.
    """

    eec: Certificate
    nickname: str
    key_thumbprint: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What a community grants one user, all narrowing done.

    Attributes:
        community: The community's name, which is also the VO of its FQANs (`climate`).
        identifier: Unique for ever: an XML id, serial and `jti` are made of it (16 random bytes).
        holder: Whose it is.
        rights: Permissions; may be empty when there are FQANs.
        fqans: Groups and roles, the primary one first (`/climate/model/Role=admin/Capability=NULL`).
        audience: The resources for which alone it is meant (host names, or URLs for tokens); empty for all.
        issued_at: Now (aware UTC).
        not_before: From when (aware UTC).
        not_after: Until when, exclusive (aware UTC).
        tags: Generic attributes of the holder's, each for the VO, group or role that it names; for VOMS-aware services.
    """

    community: str
    identifier: bytes
    holder: Holder
    rights: tuple[Right, ...]
    fqans: tuple[str, ...]
    audience: tuple[str, ...] = ()
    issued_at: datetime
    not_before: datetime
    not_after: datetime
    tags: tuple[Tag, ...] = ()
