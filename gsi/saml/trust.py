"""Whose assertions count: issuers by name with the certificates that sign for them, and how a signer is proven.

    issuer = AssertionIssuer(subject="/O=Grid/CN=cas/cas.example.org")          # any certificate of this name
    issuer = AssertionIssuer(name="https://idp.example.org", certificates=(pinned,))

A certificate that an assertion brings proves nothing by itself: it is one of those pinned here, or it has the name
given here and a path to an anchor, with revocation and everything else that `gsi.trust` asks.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import names
from gsi.errors import CapabilityError, CapabilityProblem, ConfigError, ParseError, VerificationError
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.signatures import load_key
from gsi.trust.verify import verify_chain

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.trust.anchors import TrustAnchors

__all__ = ["SIGNER_MEMORY", "AssertionIssuer", "Signer", "Signers", "dn_key", "name_key", "parse_dn"]

SIGNER_MEMORY: Final = timedelta(minutes=1)
"""How long a signer that was found good counts as good; a new trust directory (a new CRL) ends it at once."""

_MAX_NAMES: Final = 1024  # names whose keys are remembered: a few kilobytes each at most
_MAX_REMEMBERED: Final = 64  # signers; a site believes a handful of communities
_OPTIONS: Final = ValidationOptions(purpose=Purpose.ANY)


def parse_dn(text: str) -> bytes:
    """Return the DER of a distinguished name in one-line (`/O=Grid/CN=Alice`) or LDAP form (`CN=Alice,O=Grid`).

    Raises:
        ParseError: It is neither, or empty.
    """
    found = names.parse_oneline(text) if text.startswith("/") else names.parse_rfc4514(text)
    names.canonical(found)
    if not names.rdns(found):
        raise ParseError("an empty distinguished name", what="name")
    return found


@lru_cache(maxsize=_MAX_NAMES)
def dn_key(text: str) -> bytes:
    """Return the key under which distinguished names in text are equal to those in certificates.

    Raises:
        ParseError: As for `parse_dn`.
    """
    return names.canonical(parse_dn(text))


@lru_cache(maxsize=_MAX_NAMES)
def name_key(name_der: bytes) -> bytes:
    """Return the key of a name in a certificate.

    Raises:
        ParseError: Not a well-formed name.
    """
    return names.canonical(name_der)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionIssuer:
    """An issuer that a site believes.

    Attributes:
        name: The exact Issuer of its assertions; empty for its subject, compared as a distinguished name.
        subject: The subject of its certificate, which must have a path to an anchor; empty when pinned.
        certificates: Certificates that sign for it, pinned: no path is asked for, only that they have not expired.

    Raises:
        ConfigError: Neither or both of subject and certificates, a name missing where one is needed, or a subject that
            is no distinguished name.
    """

    name: str = ""
    subject: str = ""
    certificates: tuple[Certificate, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.subject) == bool(self.certificates):
            raise ConfigError("an issuer of assertions needs a subject or pinned certificates, and not both")
        if not self.name and not self.subject:
            raise ConfigError("an issuer of assertions with pinned certificates needs a name")
        if self.subject:
            try:
                parse_dn(self.subject)
            except ParseError as error:
                raise ConfigError(f"issuer of assertions: {error.message}", hint=error.hint) from error

    def is_named(self, issuer: str) -> bool:
        """Say whether an assertion's Issuer is this one."""
        if self.name:
            return issuer == self.name
        try:
            return dn_key(self.subject) == dn_key(issuer)
        except ParseError:
            return False


class Signer(NamedTuple):
    """Who signed, proven."""

    certificate: Certificate
    not_after: datetime
    """When the first certificate of its path ends (aware UTC)."""
    chain: tuple[Certificate, ...] = ()
    """Its path, its own certificate first, the anchor last; of a pinned one itself alone."""


class _Known(NamedTuple):
    signer: Signer
    verified_at: datetime
    generation: str


class Signers:
    """Proves signers by the trust anchors, and remembers them for a minute. Safe for several threads."""

    __slots__ = ("_anchors", "_known", "_options")

    def __init__(self, anchors: Callable[[], TrustAnchors], options: ValidationOptions = _OPTIONS) -> None:
        self._anchors = anchors
        self._options = options
        self._known: dict[tuple[bytes, ...], _Known] = {}

    def prove(self, issuer: AssertionIssuer, presented: tuple[Certificate, ...], *, now: datetime) -> Signer:
        """Return the certificate under which an assertion of this issuer must be signed.

        Args:
            issuer: Who it says issued it.
            presented: The certificates that its signature brings, the signer's first.
            now: The present time (aware UTC).

        Raises:
            CapabilityError: SIGNER.
        """
        if issuer.certificates:
            return self._pinned(issuer, presented, now)
        if not presented:
            raise _refuse("without its signer's certificate")
        first = presented[0]
        try:
            if name_key(first.subject_der) != dn_key(issuer.subject):
                raise _refuse(f"signed by {names.oneline(first.subject_der)[:200]!r}, which is another than its issuer")
            return self._on_path(presented, now)
        except VerificationError as error:
            raise _refuse(f"its signer: {error.message}", error.hint) from error
        except ParseError as error:
            raise _refuse(f"its signer: {error.message}", error.hint) from error

    def _pinned(self, issuer: AssertionIssuer, presented: tuple[Certificate, ...], now: datetime) -> Signer:
        pinned = issuer.certificates
        found = next((one for one in presented if one in pinned), None)
        if found is None and (presented or len(pinned) > 1):
            raise _refuse("its signer's certificate is none of those that count for its issuer")
        found = found or pinned[0]
        if not found.not_before <= now <= found.not_after:
            raise _refuse("its signer's certificate is not valid now")
        try:
            load_key(found, None)
        except VerificationError as error:
            raise _refuse(f"its signer's key: {error.message}", error.hint) from error
        return Signer(found, found.not_after, (found,))

    def _on_path(self, presented: tuple[Certificate, ...], now: datetime) -> Signer:
        anchors = self._anchors()
        key = tuple(one.der for one in presented)
        known = self._known.get(key)
        if (
            known is not None
            and known.generation == anchors.generation
            and known.verified_at <= now < known.verified_at + SIGNER_MEMORY
            and now < known.signer.not_after
        ):
            return known.signer
        peer = verify_chain(presented, anchors, now=now, options=self._options)
        if peer.is_proxy:
            raise _refuse("signed by a proxy")
        signer = Signer(peer.leaf, peer.not_after, peer.chain)
        self._known[key] = _Known(signer, now, anchors.generation)
        while len(self._known) > _MAX_REMEMBERED:
            with suppress(KeyError, StopIteration, RuntimeError):  # another thread may be at it
                del self._known[next(iter(self._known))]
        return signer


def _refuse(message: str, hint: str | None = None) -> CapabilityError:
    return CapabilityError(f"assertion: {message}", problem=CapabilityProblem.SIGNER, hint=hint)
