"""Names of leases from generated names."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from gsi.authz.pool import decode_lease_name, encode_lease_name
from gsi.errors import ParseError

NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60).map(lambda text: f"/{text}")


@given(dn=NAMES)
def test_a_lease_tells_the_name_but_for_letter_case(dn: str) -> None:
    name = encode_lease_name(dn)
    assert decode_lease_name(name) == dn.lower()
    assert "/" not in name
    assert name.startswith("%")
    assert not name.startswith("%~")


@given(text=st.text(max_size=100))
def test_any_text_gives_a_file_name_or_our_error(text: str) -> None:
    with contextlib.suppress(ParseError):
        assert len(encode_lease_name(text)) <= 255
    assert isinstance(decode_lease_name(text), str)
