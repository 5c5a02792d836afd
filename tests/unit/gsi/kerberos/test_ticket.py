"""Principals as text and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import ParseError
from gsi.kerberos.ticket import MAX_PRINCIPAL_CHARACTERS, Principal

part = st.text(min_size=1, max_size=20)


@given(st.lists(part, min_size=1, max_size=4), part)
def test_what_is_written_is_read(components: list[str], realm: str) -> None:
    principal = Principal(tuple(components), realm)
    assert Principal.parse(principal.text) == principal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice@R", Principal(("alice",), "R")),
        ("kca_service/host.example.org@R.ORG", Principal(("kca_service", "host.example.org"), "R.ORG")),
        (r"a\/b\@c@R", Principal(("a/b@c",), "R")),
        ("alice@R/S", Principal(("alice",), "R/S")),
    ],
)
def test_reading(text: str, expected: Principal) -> None:
    assert Principal.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "alice", "@R", "alice@", "a//b@R", "/a@R", "a@R@S", "alice@R\\", "a" * MAX_PRINCIPAL_CHARACTERS + "@R"]
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        Principal.parse(text)
