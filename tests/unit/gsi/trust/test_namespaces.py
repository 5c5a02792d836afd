"""The namespaces grammar of the EUGridPMA."""

from __future__ import annotations

from typing import Final

import pytest

from gsi.errors import ParseError
from gsi.patterns import MAX_TEXT_CHARS
from gsi.trust.namespaces import MAX_NAMESPACES_BYTES, parse_namespaces

CA: Final = "/C=NL/O=Grid/CN=CA"
FILE: Final = r"""#NAMESPACES-VERSION: 1.0
# CA alias : Demo
   # indented comment

TO Issuer "/C=NL/O=Grid/CN=CA" \
  PERMIT Subject "/C=NL/O=Grid/CN=CA"
TO Issuer "/C=NL/O=Grid/CN=CA" \
  PERMIT Subject "/O=users/.*"
to issuer SELF deny subject "/O=users/OU=closed/.*"
"""


@pytest.mark.parametrize(
    ("subject", "permitted"),
    [
        ("/C=NL/O=Grid/CN=CA", True),
        ("/O=users/CN=Alice", True),
        ("/o=USERS/cn=alice", True),
        ("/O=users/", True),
        ("/O=users", False),
        ("/X=1/O=users/CN=Alice", False),
        ("/O=users/OU=closed/CN=Bob", False),
        ("/O=other/CN=Alice", False),
    ],
)
def test_statements(subject: str, permitted: bool) -> None:
    assert parse_namespaces(FILE).permits(CA, subject) is permitted


def test_other_issuer_permits_nothing() -> None:
    policy = parse_namespaces('TO Issuer "/O=Other" PERMIT Subject ".*"\n')
    assert not policy.permits(CA, "/O=users/CN=Alice")
    assert policy.permits("/O=other", "/O=users/CN=Alice")


def test_empty_permits_nothing() -> None:
    assert not parse_namespaces("").permits(CA, "/O=users/CN=Alice")


def test_self() -> None:
    assert parse_namespaces('TO Issuer SELF PERMIT Subject "/O=users/.*"').permits(CA, "/O=users/CN=Alice")


def test_deny_overrides_in_any_order() -> None:
    deny = 'TO Issuer SELF DENY Subject "/O=users/CN=Bob"\n'
    permit = 'TO Issuer SELF PERMIT Subject "/O=users/.*"\n'
    for text in (deny + permit, permit + deny):
        assert not parse_namespaces(text).permits(CA, "/O=users/CN=Bob")
        assert parse_namespaces(text).permits(CA, "/O=users/CN=Alice")


@pytest.mark.parametrize(
    ("expression", "subject", "matches"),
    [
        ("/O=a.c/.*", "/O=abc/CN=x", True),
        (r"/O=a\.c/.*", "/O=abc/CN=x", False),
        (r"/O=a\.c/.*", "/O=a.c/CN=x", True),
        ("/O=[a-c]+/.*", "/O=abc/CN=x", True),
        ("/O=[^/]*/CN=.*", "/O=abc/OU=d/CN=x", False),
        ("/O=(abc|def)/.*", "/O=def/CN=x", True),
        ("/O=(abc|def)/.*", "/O=ghi/CN=x", False),
        ("/E=.*", "/emailAddress=a@b", True),
        ("/UID=.*", "/USERID=al", True),
        ("^/O=abc/.*$", "/O=abc/CN=x", True),
        ("/O=abc/.*", "/O=abc/CN=a\nb", False),
        (r"/O=[\]\-a]+/.*", "/O=]-a/CN=x", True),
        (r"/O=[\.]/.*", r"/O=\/CN=x", False),
        ("/O=[^A-C]/.*", "/O=b/CN=x", False),
        ("/O=[x-z]/.*", "/O=Y/CN=x", True),
        (r"\/E=.*", "/emailAddress=a@b", True),
        ("/[/e=]+", "/E=", False),
        ("/[/e=]+", "/e/=", True),
        (r"/CN=a\+UID=b", "/CN=a+USERID=b", True),
    ],
)
def test_expressions(expression: str, subject: str, matches: bool) -> None:
    assert parse_namespaces(f'TO Issuer SELF PERMIT Subject "{expression}"').permits(CA, subject) is matches


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        'TO Issuer "/O=x" PERMIT Subject',
        'TO Issuer "/O=x" ALLOW Subject ".*"',
        "TO Issuer /O=x PERMIT Subject .*",
        'TO Issuer "/O=x" PERMIT Subject ".*" more',
        'TO Issuer SELF PERMIT Subject "x" \\',
        'TO Issuer SELF PERMIT Subject "(a+)+b"',
        'TO Issuer SELF PERMIT Subject "(ab)*"',
        'TO Issuer SELF PERMIT Subject "(?i)x"',
        'TO Issuer SELF PERMIT Subject "a{1,999999}"',
        r'TO Issuer SELF PERMIT Subject "(a)\1"',
        'TO Issuer SELF PERMIT Subject "a**"',
        'TO Issuer SELF PERMIT Subject "(a"',
        'TO Issuer SELF PERMIT Subject "a)"',
        'TO Issuer SELF PERMIT Subject "[a"',
        'TO Issuer SELF PERMIT Subject "[z-a]"',
        'TO Issuer SELF PERMIT Subject "[]a[b]"',
        'TO Issuer SELF PERMIT Subject "[[:alpha:]]"',
        'TO Issuer SELF PERMIT Subject "[a--]"',
        r'TO Issuer SELF DENY Subject "[\D]+"',
        r'TO Issuer SELF PERMIT Subject "[^\W_]+"',
        r'TO Issuer SELF PERMIT Subject "[\S]"',
        r'TO Issuer SELF PERMIT Subject "[\1]"',
        r'TO Issuer SELF PERMIT Subject "\w+"',
        'TO Issuer SELF PERMIT Subject "' + ".*a" * 17 + '"',
        "#" * (MAX_NAMESPACES_BYTES + 1),
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_namespaces(text)
    assert caught.value.what == "namespaces"


def test_expressions_that_take_a_backtracking_matcher_for_ever() -> None:
    """The test's time limit judges."""
    for repeats in (3, 6, 16):
        policy = parse_namespaces(f'TO Issuer SELF PERMIT Subject "/O=Grid{".*a" * (repeats - 1)}.*b"')
        assert not policy.permits(CA, "/O=Grid/CN=" + "a" * 2000)
        assert policy.permits(CA, "/O=Grid/CN=" + "a" * 20 + "b")


def test_what_is_too_long_or_too_much_is_not_permitted() -> None:
    permit = 'TO Issuer SELF PERMIT Subject ".*"\n'
    deny = 'TO Issuer SELF DENY Subject "/O=Grid/CN=b*"\n'
    assert parse_namespaces(permit).permits(CA, "/O=Grid/CN=" + "a" * 4000)
    assert not parse_namespaces(permit).permits(CA, "/O=Grid/CN=" + "a" * MAX_TEXT_CHARS)
    assert not parse_namespaces(permit + deny).permits(CA, "/O=Grid/CN=" + "b" * MAX_TEXT_CHARS)
    many = permit + f'TO Issuer SELF DENY Subject "{".*a?" * 16}x"\n' * 100
    assert parse_namespaces(many).permits(CA, "/O=Grid/CN=A")
    assert not parse_namespaces(many).permits(CA, "/O=Grid/CN=" + "a" * 4000)
