"""`gsi.ldap` without a server: escapes and places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import ConfigError, ParseError
from gsi.ldap import LDAPEntry, LDAPPlace, equals, escape_dn, escape_filter

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT)
def test_an_escaped_filter_value_reads_back_and_holds_nothing_special(value: str) -> None:
    from ldap.filter import escape_filter_chars

    escaped = escape_filter(value)
    assert escaped == escape_filter_chars(value)
    assert not set(escaped) & set("*()\0")


@given(TEXT)
def test_an_escaped_name_value_is_one_value(value: str) -> None:
    from ldap import DECODING_ERROR
    from ldap.dn import str2dn

    try:
        parsed = str2dn(f"cn={escape_dn(value)},dc=org")
    except DECODING_ERROR:
        assert value == ""
        return
    assert [part[0][:2] for part in parsed] == [("cn", value), ("dc", "org")]


@pytest.mark.parametrize("attribute", ["", "uid=x", "u)(", "ünid", "a b", "*"])
def test_the_attribute_is_a_name(attribute: str) -> None:
    with pytest.raises(ConfigError, match="attribute"):
        equals(attribute, "x")


def test_equals() -> None:
    assert equals("uid", "a*") == "(uid=a\\2a)"
    assert equals("mail;lang-en", "a") == "(mail;lang-en=a)"
    assert equals("0.9.2342.19200300.100.1.1", "a") == "(0.9.2342.19200300.100.1.1=a)"


@pytest.mark.parametrize(
    ("uris", "start_tls", "seconds"),
    [
        ((), False, 1),
        (("http://a",), False, 1),
        (("ldap.example.org",), False, 1),
        (("ldap://a b",), False, 1),
        (("ldap://a:x",), False, 1),
        (("ldaps://a",), True, 1),
        (("ldap://a", "ldapi://%2Frun%2Fldapi"), True, 1),
        (("ldap://a",), False, 0),
    ],
)
def test_places_that_make_no_sense(uris: tuple[str, ...], start_tls: bool, seconds: float) -> None:
    with pytest.raises(ConfigError):
        LDAPPlace(uris=uris, start_tls=start_tls, seconds=seconds)


def test_privacy() -> None:
    assert LDAPPlace(uris=("ldap://a",), start_tls=True).is_private
    assert LDAPPlace(uris=("ldaps://a", "LDAPI://%2Fa")).is_private
    assert not LDAPPlace(uris=("ldaps://a", "ldap://b")).is_private


def test_values() -> None:
    entry = LDAPEntry("uid=a", {"mail": ("ä".encode(), b"b")})
    assert entry.values("Mail") == ("ä", "b")
    assert entry.values("cn") == ()
    with pytest.raises(ParseError):
        LDAPEntry("uid=a", {"mail": (b"\xff",)}).values("mail")
    assert "mail" not in repr(entry)
