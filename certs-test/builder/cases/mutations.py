"""Single bits of a valid proxy turned over, field by field: each must be refused.

A full proxy with path length 2, key usage and CA false. Of every field that has content one bit of it is turned over,
of the larger ones a bit of tag and length as well. Which fault is found depends on what is looked at first; the reasons
here are those of a validator that parses everything, then looks at what each certificate is, then checks signatures
from the end entity down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from builder import der
from builder.certificates import FULL, Entity, basic_constraints, proxy, with_chain
from builder.model import accept, refuse
from builder.world import ALICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_PROXY: Final = proxy(ALICE, FULL.at_most(2), more=[basic_constraints(ca=False)])

# The places of the fields: the way from the certificate down, by number at each level.
_FIELDS: Final = {
    "certificate": "",
    "tbs": "0",
    "version": "0.0.0",
    "serial": "0.1",
    "inner-algorithm": "0.2",
    "inner-algorithm-oid": "0.2.0",
    "issuer": "0.3",
    "issuer-first-part": "0.3.0",
    "issuer-first-type": "0.3.0.0.0",
    "issuer-first-value": "0.3.0.0.1",
    "issuer-last-type": "0.3.2.0.0",
    "issuer-last-value": "0.3.2.0.1",
    "validity": "0.4",
    "not-before": "0.4.0",
    "not-after": "0.4.1",
    "subject": "0.5",
    "subject-first-value": "0.5.0.0.1",
    "subject-user-value": "0.5.2.0.1",
    "subject-last-part": "0.5.3",
    "subject-last-type": "0.5.3.0.0",
    "subject-last-value": "0.5.3.0.1",
    "key": "0.6",
    "key-algorithm": "0.6.0",
    "key-algorithm-oid": "0.6.0.0",
    "key-bits": "0.6.1",
    "extensions-tag": "0.7",
    "extensions": "0.7.0",
    "key-usage": "0.7.0.0",
    "key-usage-oid": "0.7.0.0.0",
    "key-usage-critical": "0.7.0.0.1",
    "key-usage-value": "0.7.0.0.2",
    "info": "0.7.0.1",
    "info-oid": "0.7.0.1.0",
    "info-critical": "0.7.0.1.1",
    "info-value": "0.7.0.1.2",
    "basic-constraints-oid": "0.7.0.2.0",
    "basic-constraints-critical": "0.7.0.2.1",
    "basic-constraints-value": "0.7.0.2.2",
    "outer-algorithm": "1",
    "outer-algorithm-oid": "1.0",
    "signature": "2",
}


class _Flip(NamedTuple):
    """One bit: a byte counted from a field's first (header) or from its content's first byte."""

    field: str
    label: str
    at: int
    bit: int
    reason: str
    position: int = 0
    from_content: bool = True


_CONTENTS: Final = (
    _Flip("version", "number", 0, 0, "unsupported-version"),
    _Flip("serial", "first-byte", 0, 0, "bad-signature"),
    _Flip("serial", "last-byte", -1, 0, "bad-signature"),
    _Flip("inner-algorithm-oid", "last-arc", -1, 0, "malformed"),
    _Flip("issuer-first-type", "last-arc", -1, 0, "chain-broken"),
    _Flip("issuer-first-value", "letter", 0, 0, "chain-broken"),
    _Flip("issuer-last-type", "last-arc", -1, 0, "chain-broken"),
    _Flip("issuer-last-value", "letter", -1, 0, "chain-broken"),
    _Flip("issuer-last-value", "case-of-a-letter", 0, 5, "bad-signature"),
    _Flip("not-before", "year", 1, 0, "bad-signature"),
    _Flip("not-before", "zone", -1, 0, "malformed"),
    _Flip("not-after", "year", 1, 1, "bad-signature"),
    _Flip("not-after", "second", -2, 0, "bad-signature"),
    _Flip("not-after", "zone", -1, 0, "malformed"),
    _Flip("subject-first-value", "letter", 0, 0, "bad-signature"),
    _Flip("subject-user-value", "letter", 0, 1, "bad-signature"),
    _Flip("subject-user-value", "case-of-a-letter", 0, 5, "bad-signature"),
    _Flip("subject-last-type", "last-arc", -1, 0, "bad-signature"),
    _Flip("subject-last-value", "digit", -1, 0, "bad-signature"),
    _Flip("key-algorithm-oid", "last-arc", -1, 0, "bad-signature"),
    _Flip("key-bits", "unused-bits", 0, 0, "malformed"),
    _Flip("key-bits", "modulus-first-byte", 10, 0, "bad-signature"),
    _Flip("key-bits", "modulus-middle", 140, 3, "bad-signature"),
    _Flip("key-bits", "modulus-last-byte", -6, 1, "bad-signature"),
    _Flip("key-bits", "exponent", -1, 1, "bad-signature"),
    _Flip("key-usage-oid", "last-arc", -1, 0, "unknown-critical-extension"),
    _Flip("key-usage-critical", "true", 0, 0, "malformed"),
    _Flip("key-usage-value", "digital-signature", -1, 7, "bad-signature"),
    _Flip("key-usage-value", "key-encipherment", -1, 5, "bad-signature"),
    _Flip("key-usage-value", "non-repudiation", -1, 6, "bad-signature"),
    _Flip("key-usage-value", "unused-bit", -1, 0, "malformed"),
    _Flip("info-oid", "last-arc", -1, 0, "unknown-critical-extension"),
    _Flip("info-critical", "true", 0, 0, "malformed"),
    _Flip("info-value", "path-length", 4, 0, "bad-signature"),
    _Flip("info-value", "path-length-sign", 4, 7, "proxy-info-malformed"),
    _Flip("info-value", "language", -1, 0, "bad-signature"),
    _Flip("info-value", "language-to-independent", -1, 1, "bad-signature"),
    _Flip("info-value", "policy-tag", 5, 0, "proxy-info-malformed"),
    _Flip("basic-constraints-oid", "last-arc", -1, 0, "unknown-critical-extension"),
    _Flip("basic-constraints-critical", "true", 0, 0, "malformed"),
    _Flip("basic-constraints-value", "length", 1, 0, "malformed"),
    _Flip("outer-algorithm-oid", "last-arc", -1, 0, "malformed"),
    _Flip("signature", "unused-bits", 0, 0, "malformed"),
    _Flip("signature", "first-byte", 1, 0, "bad-signature"),
    _Flip("signature", "middle", 128, 4, "bad-signature"),
    _Flip("signature", "last-bit", -1, 0, "bad-signature"),
)
_FRAMES: Final = (
    "certificate", "tbs", "version", "serial", "inner-algorithm", "issuer", "issuer-first-part", "validity",
    "not-before", "not-after", "subject", "subject-last-part", "subject-last-value", "key", "key-algorithm", "key-bits",
    "extensions-tag", "extensions", "key-usage", "info", "info-value", "outer-algorithm", "signature",
)  # fmt: skip
# Of these the frame can change and the certificate still parse.
_STILL_PARSES: Final = {
    # PrintableString becomes NumericString; the digits fit it
    ("subject-last-value", "tag"): "bad-signature",
}


def cases() -> Iterator[Case]:
    """Yield the proxy as it is, then each bit."""
    spec = ("RFC 3820 s. 4.1.3 (a) (1)", "RFC 5280 s. 4.1.1.3")
    yield accept("mutation::none", "The proxy of which the following are mutations.", _PROXY, spec=spec)
    for flip in (*_CONTENTS, *_frames()):
        yield refuse(
            f"mutation::{flip.field}::{flip.label}",
            f"One bit of a valid proxy turned over: {flip.field.replace('-', ' ')}, {flip.label.replace('-', ' ')}.",
            _flipped(flip),
            flip.reason,
            flip.position,
            spec=spec,
            importance="high" if flip.from_content else "medium",
        )


def _frames() -> Iterator[_Flip]:
    for field in _FRAMES:
        for label, at in (("tag", 0), ("length", 1)):
            reason = _STILL_PARSES.get((field, label), "malformed")
            yield _Flip(field, label, at, 0, reason, from_content=False)


def _flipped(flip: _Flip) -> Entity:
    data = bytearray(_PROXY.certificate)
    header, start, end = _find(bytes(data), _FIELDS[flip.field])
    at = header + flip.at if not flip.from_content else start + flip.at if flip.at >= 0 else end + flip.at
    data[at] ^= 1 << flip.bit
    return with_chain(Entity(bytes(data), _PROXY.subject, _PROXY.key, "", _PROXY.facts), ALICE.certificate)


def _find(data: bytes, way: str) -> tuple[int, int, int]:
    """Return where a field's header and content begin, and where it ends."""
    header = 0
    start, end = der.body(data)
    for step in map(int, way.split(".") if way else ()):
        header = start
        for _ in range(step):
            header = der.body(data, header)[1]
        start, end = der.body(data, header)
    return header, start, end
