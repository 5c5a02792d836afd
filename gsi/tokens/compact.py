"""A token taken apart: JWS compact serialization (RFC 7515 section 7.1), strictly; believes nothing of what it says.

    token = CompactToken.parse(text)
    token.header["kid"], token.claims["iss"]

Stricter than the RFC where leniency has been abused: base64url without padding and without stray bits, JSON without
doubled names, without NaN, of bounded depth; what two readers could read in two ways is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from gsi.errors import CapabilityError, CapabilityProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_TOKEN_CHARS", "CompactToken", "decode_segment", "parse_object"]

MAX_TOKEN_CHARS: Final = 16 << 10  # the WLCG profile keeps tokens below 6 kB, HTTP servers take 8 kB for a header
MAX_DEPTH: Final = 8  # of JSON; the deepest claim in use (`act` in `act`) nests three
MAX_MEMBERS: Final = 256  # of one object; tokens have some twenty claims
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _refuse(message: str) -> NoReturn:
    raise CapabilityError(f"token: {message}", problem=CapabilityProblem.MALFORMED)


class CompactToken(NamedTuple):
    """The parts of a token."""

    text: str
    header: Mapping[str, object]
    claims: Mapping[str, object]
    signature: bytes

    @classmethod
    def parse(cls, text: str) -> CompactToken:
        """Return the parts of a token; surrounding blanks are not forgiven.

        Raises:
            CapabilityError: MALFORMED.
        """
        if len(text) > MAX_TOKEN_CHARS:
            _refuse(f"{len(text)} characters, limit {MAX_TOKEN_CHARS}")
        segments = text.split(".")
        if len(segments) != 3:
            _refuse("not three parts with dots between them")
        header = parse_object(decode_segment(segments[0]), "header")
        claims = parse_object(decode_segment(segments[1]), "claims")
        signature = decode_segment(segments[2])
        if not signature:
            _refuse("without a signature")
        return cls(text, header, claims, signature)

    def __repr__(self) -> str:
        return f"<CompactToken of {len(self.text)} characters>"


def decode_segment(segment: str) -> bytes:
    """Return the bytes of base64url (RFC 7515 section 2) without padding; bits that stand for nothing must be zero.

    Raises:
        CapabilityError: MALFORMED.
    """
    try:
        raw = segment.encode("ascii")
    except UnicodeEncodeError:
        _refuse("a character that base64url has not")
    if raw.translate(None, _ALPHABET):
        _refuse("a character that base64url has not")
    try:
        data = base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
    except binascii.Error:
        _refuse("not base64url")
    if base64.urlsafe_b64encode(data).rstrip(b"=") != raw:
        _refuse("base64url with stray bits")
    return data


def parse_object(data: bytes, what: str) -> Mapping[str, object]:
    """Return a JSON object.

    Raises:
        CapabilityError: MALFORMED.
    """
    try:
        found = _DECODER.decode(data.decode("utf-8"))
    except CapabilityError:
        raise
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise CapabilityError(f"token: its {what} is not JSON", problem=CapabilityProblem.MALFORMED) from error
    if not isinstance(found, dict):
        _refuse(f"its {what} is no object")
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and not _is_shallow(found, MAX_DEPTH):
        _refuse(f"its {what} nests deeper than {MAX_DEPTH}")
    return found


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse("JSON with a doubled name")
    if len(found) > MAX_MEMBERS:
        _refuse(f"JSON with more than {MAX_MEMBERS} members in an object")
    return found


def _no_constant(name: str) -> NoReturn:
    _refuse(f"JSON with {name}")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _is_shallow(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_is_shallow(item, depth - 1) for item in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_is_shallow(item, depth - 1) for item in value)
    return True
