"""The signing policy grammar, case by case as `grid-proxy-init -verify` of GCT 7.3 was asked; deviations are marked."""

from __future__ import annotations

import pytest

from gsi.errors import ParseError
from gsi.trust.signing_policy import MAX_POLICY_BYTES, parse_signing_policy
from tests.harness.policies import BROKEN, CA, GOOD, NOT_PERMITTED, PERMITTED, SUBJECT, entry, globs


@pytest.mark.parametrize("name", PERMITTED)
def test_permits(name: str) -> None:
    assert parse_signing_policy(PERMITTED[name]).permits(CA, SUBJECT)


@pytest.mark.parametrize("name", NOT_PERMITTED)
def test_does_not_permit(name: str) -> None:
    assert not parse_signing_policy(NOT_PERMITTED[name]).permits(CA, SUBJECT)


@pytest.mark.parametrize("name", BROKEN)
def test_refuses_the_file(name: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_signing_policy(BROKEN[name])
    assert caught.value.what == "signing policy"
    assert "line" in caught.value.message


def test_the_line_is_named() -> None:
    with pytest.raises(ParseError, match="line 4"):
        parse_signing_policy(GOOD + "garbage\n")


def test_subject_outside() -> None:
    assert not parse_signing_policy(GOOD).permits(CA, "/O=Other/CN=Bob")


def test_bytes_shown_as_hex_can_be_written() -> None:
    policy = parse_signing_policy(entry(globs(r"/O=Universit\xC3\xA9/*")))
    assert policy.permits(CA, r"/O=Universit\xC3\xA9/CN=Bob")
    assert not policy.permits(CA, "/O=Universitxc3xa9/CN=Bob")


def test_slash_in_a_value() -> None:
    shown = r"/O=Grid/CN=host\/node.example.org"
    for pattern in ("/O=Grid/CN=host/*", r"/O=Grid/CN=host\/*", shown, "/O=Grid/CN=host/node.example.org"):
        assert parse_signing_policy(entry(globs(pattern))).permits(CA, shown)
    assert not parse_signing_policy(entry(globs("/O=Grid/OU=a/*"))).permits(CA, r"/O=Grid\/OU=a/CN=Mallory")


def test_escaped_slash_in_a_glob_is_one_within_a_value() -> None:
    policy = parse_signing_policy(entry(globs(r"/O=Grid/CN=host\/*")))
    assert policy.permits(CA, r"/O=Grid/CN=host\/www.example.org")
    assert not policy.permits(CA, "/O=Grid/CN=host/OU=Admin/CN=root")
    assert not policy.permits(CA, "/O=Grid/CN=host/CN=www.example.org")
    named = parse_signing_policy(entry(globs(r"/O=Grid/*\/www.example.org")))
    assert named.permits(CA, r"/O=Grid/CN=host\/www.example.org")
    assert not named.permits(CA, "/O=Grid/CN=www.example.org")


def test_escaped_slash_in_a_glob_that_denies_is_any_slash() -> None:
    deny = entry(globs(r"/O=Grid/CN=host\/*"), rights="neg_rights")
    policy = parse_signing_policy(entry(globs("/O=Grid/*")) + deny)
    assert policy.permits(CA, "/O=Grid/CN=Alice")
    for subject in (r"/O=Grid/CN=host\/www.example.org", "/O=Grid/CN=host/www.example.org"):
        assert not policy.permits(CA, subject)


def test_bytes_and_text_are_the_same() -> None:
    assert parse_signing_policy(GOOD.encode()) == parse_signing_policy(GOOD)


def test_names() -> None:
    policy = parse_signing_policy(GOOD)
    assert policy.names(CA)
    assert not policy.names("/O=Grid/CN=Other")


def test_too_long() -> None:
    with pytest.raises(ParseError, match="limit"):
        parse_signing_policy("#" * (MAX_POLICY_BYTES + 1))


def test_long_lines_take_no_time() -> None:
    text = entry(globs("/X=" + "a" * 30_000, "/O=Grid/*"))
    assert parse_signing_policy(text).permits(CA, SUBJECT)
    with pytest.raises(ParseError):
        parse_signing_policy("'" * (MAX_POLICY_BYTES - 1))
