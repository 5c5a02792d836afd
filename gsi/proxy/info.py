"""The ProxyCertInfo value of RFC 3820 and its exact bytes; the form of the draft before it is in `legacy`.

    ProxyCertInfo ::= SEQUENCE { pCPathLenConstraint INTEGER (0..MAX) OPTIONAL, proxyPolicy ProxyPolicy }
    ProxyPolicy   ::= SEQUENCE { policyLanguage OBJECT IDENTIFIER, policy OCTET STRING OPTIONAL }

    info = ProxyCertInfo(2, oids.INHERIT_ALL)
    info == ProxyCertInfo.parse(info.encode())

The value holds what the bytes say. Whether a policy may stand beside its language is for the validator and the
issuer to judge (RFC 3820 section 3.8.2), because a chain that breaks the rule is refused with its own reason.
Agrees with gct:gsi/proxy/proxy_ssl/library, except that negative lengths, BER and trailing bytes are refused.
"""

from __future__ import annotations

from typing import Final

from gsi import der, oids
from gsi.errors import ConfigError, ParseError

__all__ = [
    "INHERIT_ALL",
    "MAX_PATH_LENGTH",
    "WHAT",
    "ProxyCertInfo",
    "encode_policy",
    "parse_policy",
    "read_path_length",
]

WHAT: Final = "ProxyCertInfo"
MAX_PATH_LENGTH: Final = 2**31 - 1  # the C peers keep it in a 32-bit signed integer
_NO_POLICY: Final = frozenset({oids.INHERIT_ALL, oids.INDEPENDENT})


class ProxyCertInfo:
    """What a proxy certificate says about itself (RFC 3820 section 3.8). Immutable, equal by value.

    Attributes:
        path_length: How many more proxies may follow below this one; None for no limit.
        language: The policy language, a dotted object identifier.
        policy: The policy in that language, any bytes; None when absent (empty bytes are not absent).

    Raises:
        ConfigError: The path length is outside 0 to `MAX_PATH_LENGTH`, or the language is not an object identifier.
    """

    __slots__ = ("language", "path_length", "policy")

    path_length: int | None
    language: str
    policy: bytes | None

    def __init__(self, path_length: int | None, language: str, policy: bytes | None = None) -> None:
        if path_length is not None and not 0 <= path_length <= MAX_PATH_LENGTH:
            raise ConfigError(
                "a proxy's path length must be between 0 and 2147483647",
                hint="0 allows no proxy below this one; leave it out for no limit",
            )
        try:
            der.encode_oid(language)
        except ParseError as error:
            raise ConfigError(f"policy language: {error.message}", hint=error.hint) from error
        put = object.__setattr__
        put(self, "path_length", path_length)
        put(self, "language", language)
        put(self, "policy", policy)

    @property
    def has_forbidden_policy(self) -> bool:
        """Whether a policy stands beside inheritAll or independent, which RFC 3820 section 3.8.2 forbids."""
        return self.policy is not None and self.language in _NO_POLICY

    @classmethod
    def parse(cls, data: bytes) -> ProxyCertInfo:
        """Return the value of an RFC 3820 extension's content.

        Raises:
            ParseError: Not exactly one ProxyCertInfo in DER, or a path length outside the range.
        """
        reader = der.parse_one(data, what=WHAT)
        path_length = read_path_length(reader) if reader.peek() == der.INTEGER else None
        language, policy = parse_policy(reader)
        reader.finish()
        return cls(path_length, language, policy)

    def encode(self) -> bytes:
        """Return the RFC 3820 form in DER."""
        length = b"" if self.path_length is None else der.encode_integer(self.path_length)
        return der.encode_sequence(length, encode_policy(self))

    def replace_path_length(self, path_length: int | None) -> ProxyCertInfo:
        """Return the same policy with another path length."""
        return ProxyCertInfo(path_length, self.language, self.policy)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProxyCertInfo):
            return NotImplemented
        return (self.path_length, self.language, self.policy) == (other.path_length, other.language, other.policy)

    def __hash__(self) -> int:
        return hash((self.path_length, self.language, self.policy))

    def __repr__(self) -> str:
        policy = "None" if self.policy is None else f"<{len(self.policy)} bytes>"
        return f"ProxyCertInfo(path_length={self.path_length}, language={self.language!r}, policy={policy})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a ProxyCertInfo is immutable; {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a ProxyCertInfo is immutable; {name} cannot be deleted")

    def __reduce__(self) -> tuple[type[ProxyCertInfo], tuple[int | None, str, bytes | None]]:
        return ProxyCertInfo, (self.path_length, self.language, self.policy)


def read_path_length(reader: der.Reader) -> int:
    """Return the next INTEGER as a path length; for both forms of the extension.

    Raises:
        ParseError: It is negative (the C peers let that pass as "no limit") or above `MAX_PATH_LENGTH`.
    """
    value = reader.integer()
    if not 0 <= value <= MAX_PATH_LENGTH:
        fault = "negative path length" if value < 0 else "path length above 2147483647"
        raise ParseError(f"{WHAT}: {fault}", what=WHAT)
    return value


def parse_policy(reader: der.Reader) -> tuple[str, bytes | None]:
    """Return (language, policy) from the ProxyPolicy that comes next."""
    inner = reader.sequence()
    language = inner.oid()
    der.encode_oid(language)  # refuses here, as a ParseError, an arc that the value would not take
    policy = None if inner.at_end() else inner.octet_string()
    inner.finish()
    return language, policy


def encode_policy(info: ProxyCertInfo) -> bytes:
    """Return the ProxyPolicy part, which both forms of the extension share."""
    policy = b"" if info.policy is None else der.encode_octet_string(info.policy)
    return der.encode_sequence(der.encode_oid(info.language), policy)


INHERIT_ALL: Final = ProxyCertInfo(None, oids.INHERIT_ALL)  # what a delegation asks for when it asks for nothing less
