from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import ParseError
from gsi.kerberos.transited import MAX_REALMS, expand


@pytest.mark.parametrize(
    ("encoded", "realms"),
    [
        (b"", ()),
        (b"A.EXAMPLE", ("A.EXAMPLE",)),
        # RFC 4120 s.3.3.3.2's own example.
        (
            b"EDU,MIT.,ATHENA.,WASHINGTON.EDU,CS.",
            ("EDU", "MIT.EDU", "ATHENA.MIT.EDU", "WASHINGTON.EDU", "CS.WASHINGTON.EDU"),
        ),
        (b"/COM/HP,/APOLLO", ("/COM/HP", "/COM/HP/APOLLO")),
        # X.500 names go on from one another alone, not from a domain's.
        (b"EDU,/COM", ("EDU", "/COM")),
        (b"/COM,EDU,/HP", ("/COM", "EDU", "/HP")),
        (b"/COM/HP, /APOLLO", ("/COM/HP", "/APOLLO")),
        (b"A,,B", ("A", "", "B")),
        (b"A\\,B", ("A,B",)),
        (b"A\\.", ("A.",)),
        (b"A\0", ("A",)),
    ],
)
def test_expand(encoded: bytes, realms: tuple[str, ...]) -> None:
    assert expand(encoded) == realms


@pytest.mark.parametrize("encoded", [b"\xff", b"A\\", b"," * (MAX_REALMS + 1)])
def test_refused(encoded: bytes) -> None:
    with pytest.raises(ParseError):
        expand(encoded)


@given(st.binary(max_size=200))
def test_any_bytes(encoded: bytes) -> None:
    try:
        found = expand(encoded)
    except ParseError:
        return
    assert len(found) <= MAX_REALMS
