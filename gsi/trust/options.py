"""What a caller may choose about judging a chain, and the limits that nobody may; no judgement itself.

options = ValidationOptions(purpose=Purpose.SERVER, crl=CRLPolicy.REQUIRE)
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from gsi.errors import ConfigError

__all__ = [
    "MAX_CA_DEPTH",
    "MAX_CHAIN",
    "MAX_CHAIN_BYTES",
    "MAX_NAMES_BYTES",
    "MAX_SIGNATURE_CHECKS",
    "CRLPolicy",
    "Purpose",
    "RestrictionHandler",
    "ValidationOptions",
]

MAX_CHAIN: Final = 100  # certificates a peer may present; OpenSSL's own default, and far above any delegation chain
MAX_CHAIN_BYTES: Final = 4 << 20  # all of them together: 100 proxies of 2 kB, or 15 full of attribute certificates
MAX_NAMES_BYTES: Final = 64 << 10  # different names of end entity and CAs in it: 100 CAs of 300 bytes take 60 kB
MAX_CA_DEPTH: Final = 10  # CAs between an end entity and its anchor; 3 are the most in the IGTF distribution
MAX_SIGNATURE_CHECKS: Final = 64  # tries of CAs with the right name; a loop of cross-certificates must not cost more

RestrictionHandler: TypeAlias = Callable[[bytes], frozenset[str]]
"""Reads the policy of a restricted proxy and returns the grants it leaves, in words the caller understands.

Empty bytes stand for a policy that is absent. Any exception, and anything but a set of `str`, refuses the chain. The
answer must depend on the bytes alone, because a verified issuer part is remembered with the grants that were found.
"""


class Purpose(StrEnum):
    """The part that the presenter of the chain plays; decides which extended key usage must be there."""

    CLIENT = "client"
    SERVER = "server"
    ANY = "any"


class CRLPolicy(StrEnum):
    """What to do about revocation lists."""

    REQUIRE = "require"
    """Every CA in the path must have a current CRL."""
    IF_PRESENT = "if-present"
    """A CA without any CRL passes; one whose CRL is stale or broken does not. The C tools' way."""
    OFF = "off"
    """No CRL is looked at."""


@dataclass(frozen=True, slots=True)
class ValidationOptions:
    """The switches of `verify_chain`; the defaults are the strict ones.

    Attributes:
        purpose: The presenter's part. Extended key usages that are present must fit it, and the leaf's key usage must
            hold digitalSignature unless the purpose is `any`.
        crl: What to do about revocation lists.
        accept_gt3: Accept proxies of the draft before RFC 3820 (`grid-proxy-init -draft`).
        accept_gt2: Accept legacy proxies (`grid-proxy-init -old`).
        accept_limited: Accept limited proxies; services that start jobs set it to False.
        require_signing_policy: Refuse a CA without `.signing_policy`. When False, one that is there still binds.
        use_namespaces: Let a `.namespaces` file that is there bind in addition.
        accept_weak_signatures: Accept SHA-1 and MD5 below the anchor.
        ignore_extended_key_usage: Accept an end entity for server use as a client and the other way round.
        max_chain: Certificates that a peer may present, 1 to 1000.
        handlers: For each policy language (dotted), what reads its policies; other languages are refused.

    Raises:
        ConfigError: `max_chain` is out of range.
    """

    purpose: Purpose = Purpose.CLIENT
    crl: CRLPolicy = CRLPolicy.IF_PRESENT
    accept_gt3: bool = False
    accept_gt2: bool = False
    accept_limited: bool = True
    require_signing_policy: bool = True
    use_namespaces: bool = True
    accept_weak_signatures: bool = False
    ignore_extended_key_usage: bool = False
    max_chain: int = MAX_CHAIN
    handlers: Mapping[str, RestrictionHandler] = field(default_factory=lambda: MappingProxyType({}))
    cache_key: Hashable = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        """Check the ranges, keep a private copy of the handlers, and make the key under which verdicts are kept."""
        if not 1 <= self.max_chain <= 1000:
            raise ConfigError("max_chain must be between 1 and 1000")
        object.__setattr__(self, "handlers", MappingProxyType(dict(self.handlers)))
        key = (
            self.purpose,
            self.crl,
            self.accept_gt3,
            self.accept_gt2,
            self.accept_limited,
            self.require_signing_policy,
            self.use_namespaces,
            self.accept_weak_signatures,
            self.ignore_extended_key_usage,
            frozenset((oid, _Identity(handler)) for oid, handler in self.handlers.items()),
        )
        object.__setattr__(self, "cache_key", key)


@dataclass(frozen=True, slots=True, eq=False)
class _Identity:
    """A handler as a key: the same object, not an equal one; holding it keeps its identity from being reused."""

    handler: RestrictionHandler

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.handler is self.handler

    def __hash__(self) -> int:
        return id(self.handler)
