"""Where assertions travel: the extensions of proxies that hold them; believes none.

    for found in find_assertions(peer.chain):
        found.position, found.data

Every certificate below the CAs is looked at: after a delegation the assertion is in an upper proxy. Which proxy carries
it proves nothing (its signature and subject do).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import der, oids
from gsi.errors import CapabilityError, CapabilityProblem, ParseError
from gsi.proxy.kinds import Role, classify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.certificate import Certificate, Extension

__all__ = ["Carried", "encode_extension_value", "find_assertions"]

_MAX_ASSERTIONS: Final = 16  # in one chain; a user has one, of two communities two


class Carried(NamedTuple):
    """An assertion as it was found: one of `data` and `error` says something."""

    position: int
    """Index of the certificate, leaf first."""
    data: bytes
    """The XML."""
    error: CapabilityError | None = None


def encode_extension_value(xml: str) -> bytes:
    """Return the value of the extension that carries an assertion (`oids.SAML_ASSERTION`, not critical)."""
    return der.encode_tlv(der.UTF8_STRING, xml.encode("utf-8"))


def find_assertions(chain: Sequence[Certificate], *, accept_gt3: bool = False) -> tuple[Carried, ...]:
    """Return the assertions in a chain, from the leaf upwards.

    Args:
        chain: The chain, leaf first.
        accept_gt3: Also look where CAS of GT 3 and 4.0 put them, under the identifier of the limited proxy policy.
    """
    found: list[Carried] = []
    for position, certificate in enumerate(chain):
        if not _is_below_the_cas(certificate):
            continue
        for extension in certificate.extensions:
            carried = _read(position, extension, accept_gt3=accept_gt3)
            if carried is not None and len(found) < _MAX_ASSERTIONS:
                found.append(carried)
    return tuple(found)


def _read(position: int, extension: Extension, *, accept_gt3: bool) -> Carried | None:
    match extension.oid:
        case oids.SAML_ASSERTION:
            try:
                reader = der.Reader(extension.value, what="SAML extension")
                data = reader.take(der.UTF8_STRING)
                reader.finish()
            except ParseError as error:
                return Carried(position, b"", CapabilityError(error.message, problem=CapabilityProblem.MALFORMED))
            return Carried(position, data)
        case oids.SAML_ASSERTION_GRIDSHIB:
            return Carried(position, extension.value)
        case oids.SAML_ASSERTION_GT3 if accept_gt3:
            return Carried(position, extension.value)
        case _:
            return None


def _is_below_the_cas(certificate: Certificate) -> bool:
    try:
        return classify(certificate).role is not Role.CA
    except ParseError:
        return True
