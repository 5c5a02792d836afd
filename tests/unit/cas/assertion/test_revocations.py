"""Lists of withdrawn capabilities: signed, read, and believed only when they should be."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from cas.assertion.attribute_cert import serial_of
from cas.assertion.jwks import key_set
from cas.assertion.revocations import MAX_REVOKED, RevocationList, identifier_of, parse_revocations, sign_revocations
from cas.assertion.signing import SigningKey, b64url
from cas.assertion.token import sign_claims
from gsi.errors import CapabilityError, CapabilityProblem, IssuanceError
from gsi.tokens.keys import StaticKeys, parse_key_set
from tests.harness.ca import KeyKind, pooled_key
from tests.harness.capabilities import token_key

ISSUER = "https://cas.example.org"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY, OTHER = token_key(pooled_key("p256")), token_key(pooled_key("p256"))
KEYS = StaticKeys({ISSUER: parse_key_set(key_set([KEY]))})
HOUR = timedelta(hours=1)
FIRST, SECOND = bytes(range(16)), bytes(range(1, 17))
P = CapabilityProblem


def _list(**changes: object) -> RevocationList:
    return RevocationList(ISSUER, NOW, NOW + HOUR, {FIRST: NOW + HOUR, SECOND: NOW - HOUR})._replace(**changes)  # type: ignore[arg-type]  # values by name


def _parse(text: str, now: datetime = NOW, previous: RevocationList | None = None) -> RevocationList:
    return parse_revocations(text, KEYS, issuer=ISSUER, now=now, previous=previous)


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "ed25519"])
def test_round_trip(kind: KeyKind) -> None:
    key = token_key(pooled_key(kind))
    text = sign_revocations(_list(), key)
    keys = StaticKeys({ISSUER: parse_key_set(key_set([key]))})
    found = parse_revocations(text + "\n", keys, issuer=ISSUER, now=NOW)
    assert found == _list(revoked={FIRST: NOW + HOUR})  # what has ended by itself is left out
    assert found.is_revoked(FIRST)
    assert not found.is_revoked(SECOND)
    found.check(SECOND, now=NOW)
    for identifier, moment, problem in ((FIRST, NOW, P.REVOKED), (SECOND, NOW + HOUR, P.EXPIRED)):
        with pytest.raises(CapabilityError) as caught:
            found.check(identifier, now=moment)
        assert caught.value.problem is problem


def test_one_identifier_for_all_forms() -> None:
    assert identifier_of(serial_of(FIRST)) == FIRST
    assert identifier_of(f"_{FIRST.hex()}") == FIRST
    assert identifier_of(FIRST.hex()) == FIRST
    for odd in (-1, 1 << 128, "x", FIRST.hex().upper(), f"__{FIRST.hex()}", "0 0"):
        with pytest.raises(CapabilityError):
            identifier_of(odd)


def test_the_largest_list() -> None:
    many = {number.to_bytes(16, "big"): NOW + HOUR for number in range(MAX_REVOKED)}
    found = _parse(sign_revocations(_list(revoked=many), KEY))
    assert found.revoked == many
    with pytest.raises(IssuanceError):
        sign_revocations(_list(revoked=many | {FIRST: NOW + HOUR}), KEY)


def _claims(**changes: object) -> dict[str, object]:
    moment = int(NOW.timestamp())
    return {"iss": ISSUER, "iat": moment, "exp": moment + 3600, "revoked": [[FIRST.hex(), moment + 60]]} | changes


def _signed(*, key: SigningKey = KEY, kind: str = "revocations+jwt", **changes: object) -> str:
    return sign_claims(key, _claims(**changes), kind=kind)


def _header(**changes: object) -> str:
    header = {"alg": "ES256", "kid": KEY.kid, "typ": "revocations+jwt"} | changes
    _, body, signature = _signed().split(".")
    return f"{b64url(json.dumps(header).encode())}.{body}.{signature}"


ATTACKS: dict[str, tuple[str, CapabilityProblem]] = {
    "a token in its place": (_signed(kind="JWT"), P.VERSION),
    "another issuer's": (_signed(iss="https://other.example.org"), P.ISSUER),
    "another key": (_signed(key=OTHER), P.KEY),
    "alg none": (_header(alg="none"), P.ALGORITHM),
    "HMAC": (_header(alg="HS256"), P.ALGORITHM),
    "jku": (_header(jku="https://evil.example.org"), P.VERSION),
    "no kid": (_header(kid=7), P.VERSION),
    "spoiled": (_signed()[:-8] + "AAAAAAAA", P.BAD_SIGNATURE),
    "two parts": ("a.b", P.MALFORMED),
    "no base64": ("!.!.!", P.MALFORMED),
    "too long": ("a" * 128_001, P.MALFORMED),
    "over": (_signed(exp=int(NOW.timestamp())), P.EXPIRED),
    "no end": (_signed(exp=None), P.CONTENT),
    "an odd time": (_signed(iat=True), P.CONTENT),
    "no list": (_signed(revoked={}), P.CONTENT),
    "an odd entry": (_signed(revoked=["a"]), P.CONTENT),
    "an odd identifier": (_signed(revoked=[["xyz", 1]]), P.CONTENT),
    "an empty identifier": (_signed(revoked=[["", 1]]), P.CONTENT),
    "an odd end": (_signed(revoked=[[FIRST.hex(), "x"]]), P.CONTENT),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_not_believed(name: str) -> None:
    text, problem = ATTACKS[name]
    with pytest.raises(CapabilityError) as caught:
        _parse(text)
    assert caught.value.problem is problem


def test_changed_by_one_character() -> None:
    text = _signed()
    changed = re.sub(r"\.(.)", lambda found: "." + ("A" if found[1] != "A" else "B"), text, count=1)
    with pytest.raises(CapabilityError):
        _parse(changed)


def test_no_way_back() -> None:
    new = _parse(sign_revocations(_list(issued_at=NOW + timedelta(minutes=5)), KEY))
    with pytest.raises(CapabilityError) as caught:
        _parse(sign_revocations(_list(), KEY), previous=new)
    assert caught.value.problem is P.REPLAYED
    assert _parse(sign_revocations(_list(), KEY), previous=_parse(_signed()))
