"""Capabilities that are withdrawn before their time: a small signed list of identifiers, and how it is read.

    text = sign_revocations(RevocationList(issuer, issued_at, next_update, revoked), key)
    known = parse_revocations(text, keys, issuer=..., now=now)
    known.check(identifier_of(assertion.identifier), now=now)             # CapabilityError, or nothing

One identifier stands for all forms of a capability: the serial number of its attribute certificate, the id of its
assertion without `_`, the `jti` of its token. Only those that have not ended by themselves are listed, so a community
that issues for hours has a list of some lines. The form is a JWS of the type `revocations+jwt`, under the keys that
sign tokens, with the claims `iss`, `iat`, `exp` and `revoked`, a list of pairs: an identifier in hex, and when it ends.
A list whose `exp` is over proves nothing, so whoever relies on one must then refuse.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from cas.assertion.token import sign_claims
from gsi.errors import CapabilityError, CapabilityProblem, IssuanceError, IssuanceStep
from gsi.tokens.compact import CompactToken, decode_segment, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cas.assertion.signing import SigningKey
    from gsi.tokens.keys import KeySource

__all__ = ["MAX_LIST_CHARS", "MAX_REVOKED", "RevocationList", "identifier_of", "parse_revocations", "sign_revocations"]

MAX_REVOKED: Final = 1500  # alive at one time; a community withdraws some a week
MAX_LIST_CHARS: Final = 128_000  # as many take 96,000
_TYPE: Final = "revocations+jwt"
_MAX_IDENTIFIER_BYTES: Final = 20
_LAST: Final = 253402300799  # the end of the year 9999
_P: Final = CapabilityProblem


def _refuse(message: str, problem: CapabilityProblem) -> CapabilityError:
    return CapabilityError(f"list of revoked capabilities: {message}", problem=problem)


def identifier_of(name: str | int) -> bytes:
    """Return the identifier that a form's own name stands for.

    Args:
        name: A serial number, an assertion's id, or a `jti`.

    Raises:
        CapabilityError: CONTENT: it is none of this community's, which have 16 bytes.
    """
    try:
        if isinstance(name, int):
            return name.to_bytes(16, "big")
        found = bytes.fromhex(name.removeprefix("_"))
    except (ValueError, OverflowError) as error:
        raise _refuse("an identifier of another form", _P.CONTENT) from error
    if found.hex() != name.removeprefix("_"):
        raise _refuse("an identifier of another form", _P.CONTENT)
    return found


class RevocationList(NamedTuple):
    """What is withdrawn.

    Attributes:
        issuer: Whose capabilities: the `iss` of the tokens.
        issued_at: When this was known (aware UTC).
        next_update: When it proves nothing any more.
        revoked: Identifiers with the time at which each capability ends by itself.
    """

    issuer: str
    issued_at: datetime
    next_update: datetime
    revoked: Mapping[bytes, datetime]

    def is_revoked(self, identifier: bytes) -> bool:
        """Say whether a capability is withdrawn."""
        return identifier in self.revoked

    def check(self, identifier: bytes, *, now: datetime) -> None:
        """Check that a capability is not withdrawn.

        Raises:
            CapabilityError: REVOKED; or EXPIRED: the list proves nothing any more, so nobody knows.
        """
        if now >= self.next_update:
            raise _refuse(f"it proves nothing since {self.next_update:%Y-%m-%dT%H:%M:%SZ}", _P.EXPIRED)
        if self.is_revoked(identifier):
            raise _refuse(f"the capability {identifier.hex()} is withdrawn", _P.REVOKED)


def sign_revocations(revocations: RevocationList, key: SigningKey) -> str:
    """Return a list as it is published; what has ended by itself is left out.

    Raises:
        IssuanceError: GRANT: too many; SIGN: the key could not be used.
    """
    alive = {
        identifier.hex(): int(ends.timestamp())
        for identifier, ends in sorted(revocations.revoked.items())
        if ends > revocations.issued_at
    }
    if len(alive) > MAX_REVOKED:
        raise IssuanceError(
            f"{len(alive)} revoked capabilities, limit {MAX_REVOKED}",
            step=IssuanceStep.GRANT,
            hint="change the key that signs: that withdraws all that it has signed",
        )
    claims: dict[str, object] = {
        "iss": revocations.issuer,
        "iat": int(revocations.issued_at.timestamp()),
        "exp": int(revocations.next_update.timestamp()),
        "revoked": list(alive.items()),
    }
    return sign_claims(key, claims, kind=_TYPE)


def parse_revocations(
    text: str, keys: KeySource, *, issuer: str, now: datetime, previous: RevocationList | None = None
) -> RevocationList:
    """Return what a published list says.

    Args:
        text: The list.
        keys: The issuers' keys.
        issuer: Whose list it has to be.
        now: The present time (aware UTC).
        previous: The one known before: an older one than that is refused, since it may leave out what was withdrawn.

    Raises:
        CapabilityError: It must not be believed.
    """
    if len(text) > MAX_LIST_CHARS:
        raise _refuse(f"{len(text)} characters, limit {MAX_LIST_CHARS}", _P.MALFORMED)
    segments = text.strip().split(".")
    if len(segments) != 3:
        raise _refuse("not three parts with dots between them", _P.MALFORMED)
    header = parse_object(decode_segment(segments[0]), "header")
    claims = parse_object(decode_segment(segments[1]), "claims")
    signature = decode_segment(segments[2])
    kid = header.get("kid")
    if set(header) != {"alg", "kid", "typ"} or header["typ"] != _TYPE or not isinstance(kid, str):
        raise _refuse("its header is another document's", _P.VERSION)
    if claims.get("iss") != issuer:
        raise _refuse("it is another issuer's", _P.ISSUER)
    keys.find_key(issuer, kid, now=now).verify(CompactToken(text.strip(), header, claims, signature))
    issued, ends = _time(claims.get("iat")), _time(claims.get("exp"))
    if now >= ends:
        raise _refuse(f"it proves nothing since {ends:%Y-%m-%dT%H:%M:%SZ}", _P.EXPIRED)
    if previous is not None and issued < previous.issued_at:
        raise _refuse("it is older than the one that is known", _P.REPLAYED)
    return RevocationList(issuer, issued, ends, _entries(claims.get("revoked")))


def _entries(listed: object) -> dict[bytes, datetime]:
    if not isinstance(listed, list) or len(listed) > MAX_REVOKED:
        raise _refuse("no list of identifiers, or too long", _P.CONTENT)
    found: dict[bytes, datetime] = {}
    for entry in listed:
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
            raise _refuse("an entry of another shape", _P.CONTENT)
        identifier = identifier_of(entry[0])
        if not 0 < len(identifier) <= _MAX_IDENTIFIER_BYTES:
            raise _refuse("an identifier of another form", _P.CONTENT)
        found[identifier] = _time(entry[1])
    return found


def _time(value: object) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LAST:
        raise _refuse("a time that is none", _P.CONTENT)
    return datetime.fromtimestamp(value, UTC)
