"""The policy request file, the bootstrap file and files of users."""

from __future__ import annotations

import pytest

from cas.policy.bootstrap import MAX_BOOTSTRAP_BYTES, bootstrap_changes, implicit_changes, parse_bootstrap
from cas.policy.model import ActionName, User
from cas.policy.request import (
    EVERYTHING,
    MAX_REQUEST_BYTES,
    MAX_WANTED,
    PolicyRequest,
    Wanted,
    encode_request,
    parse_request,
)
from cas.policy.userfile import MAX_LINE_CHARS, parse_users
from gsi.errors import ParseError

OLD = b"""\
Resource: FTPDirectoryTree|ftp://sample1.org/data/*
 file read
 file lookup
Resource: uri:samlResourceWildcard
 uri:samlActionNSWildcard uri:samlActionWildcard
"""


def test_the_old_manuals_file() -> None:
    wanted = PolicyRequest(
        (
            Wanted(
                "FTPDirectoryTree",
                "ftp://sample1.org/data/*",
                frozenset({ActionName("file", "read"), ActionName("file", "lookup")}),
            ),
            Wanted(None, "", None),
        )
    )
    assert parse_request(OLD) == wanted
    assert parse_request(encode_request(wanted)) == wanted
    assert parse_request(OLD.replace(b"\n", b"\r\n").replace(b" file", b"\tfile") + b"\n# done\n") == wanted
    assert parse_request(encode_request(EVERYTHING)) == EVERYTHING


def test_after_the_wildcard_nothing_says_more() -> None:
    assert parse_request(OLD + b" file write\n").wanted[1].actions is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# nothing\n",
        b" file read\n",
        b"Resource: FTPExact|x\n",
        b"Resource: FTPExact|x\nResource: FTPExact|y\n file read\n",
        b"Resource: x\n file read\n",
        b"Resource: |x\n file read\n",
        b"Resource: n|\n file read\n",
        b"Resource: n|x\n read\n",
        b"Resource: n|x\n file read now\n",
        b"Resource: n|x\n file read\n uri:samlActionNSWildcard uri:samlActionWildcard\n",
        b"Resource: n|x\n file uri:samlActionWildcard\n",
        b"Resource: n|x\x00\n file read\n",
        b"\xff",
        b"Resource: n|x\n file read\n" * (MAX_WANTED + 1),
        b"#" * (MAX_REQUEST_BYTES + 1),
    ],
)
def test_what_is_no_request(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_request(data)


# --- the bootstrap file -----------------------------------------------------------------------------------------------

BOOTSTRAP = b"""\
# who governs
ta-name=defaultTrustAnchor
ta-authMethod=X509
ta-authData=/O=Grid/CN=CA
user-name = superUser
user-subject=/O=Grid/CN=Admin/emailAddress=a=b@c
userGroupname=superUserGroup
"""


def test_the_bootstrap_file() -> None:
    found = parse_bootstrap(BOOTSTRAP)
    assert (found.anchor.nickname, found.anchor.data) == ("defaultTrustAnchor", "/O=Grid/CN=CA")
    assert found.user == User("superUser", "/O=Grid/CN=Admin/emailAddress=a=b@c", "defaultTrustAnchor")
    assert found.group.name == "superUserGroup"
    assert len(bootstrap_changes(found)) == 6
    assert [str(change.entity.ref) for change in implicit_changes("g") if hasattr(change, "entity")][:3] == [
        "serviceType file",
        "serviceAction file/read",
        "serviceAction file/lookup",
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        BOOTSTRAP.replace(b"user-name = superUser\n", b""),
        BOOTSTRAP + b"user-name=other\n",
        BOOTSTRAP + b"password=x\n",
        BOOTSTRAP + b"user-name\n",
        BOOTSTRAP.replace(b"X509", b"Kerberos"),
        BOOTSTRAP.replace(b"/O=Grid/CN=CA", b"CA"),
        BOOTSTRAP.replace(b"superUserGroup", b"super|User"),
        b"#" * (MAX_BOOTSTRAP_BYTES + 1),
    ],
)
def test_what_is_no_bootstrap_file(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_bootstrap(data)


# --- files of users ---------------------------------------------------------------------------------------------------


def test_a_file_of_users() -> None:
    lines = ["# all\n", "alice\t/O=Grid/CN=Alice\tca\treaders, writers,readers\r\n", "\n", "bob\t/O=Grid/CN=Bob\tca\n"]
    found = list(parse_users(lines))
    assert [line.number for line in found] == [1, 2, 3, 4]
    assert found[1].user == User("alice", "/O=Grid/CN=Alice", "ca")
    assert [line.groups for line in found] == [(), ("readers", "writers"), (), ()]


@pytest.mark.parametrize(
    "line",
    [
        "alice /O=Grid/CN=Alice ca",
        "alice\t/O=Grid/CN=Alice",
        "alice\tAlice\tca",
        "al|ice\t/CN=x\tca",
        "alice\t/CN=x\tca\ta,,b",
        "alice\t/CN=x\tca\ta\tb",
        "x" * (MAX_LINE_CHARS + 1),
    ],
)
def test_lines_that_name_nobody(line: str) -> None:
    with pytest.raises(ParseError, match="line 2"):
        list(parse_users(["", line]))
