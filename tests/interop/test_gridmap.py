"""Our reading of grid-mapfiles beside the C library's: case by case, and on generated files.

The table is that of docs/wire/grid-mapfile.md. What holds for every file, however odd: where ours maps a name, the C
library maps it to the same account; the reverse holds but for the lines that ours refuses, each with a problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsi.authz.gridmap import ProblemKind, parse_gridmap
from gsi.nametext import canonical_oneline, quote_gridmap
from tests.harness.gss_assist import GssAssist

A = b"/O=Grid/CN=A"
LONG = b"x" * 100_000


class Case(NamedTuple):
    """A file, a name, and the account on each side (None: none)."""

    id: str
    data: bytes
    dn: bytes
    c: bytes | None
    ours: bytes | None
    problem: ProblemKind | None = None


def same(name: str, data: bytes, dn: bytes, account: bytes | None, problem: ProblemKind | None = None) -> Case:
    return Case(name, data, dn, account, account, problem)


AMBIGUOUS, BAD, NO = ProblemKind.AMBIGUOUS, ProblemKind.BAD_ACCOUNT, ProblemKind.NO_ACCOUNT
MALFORMED, COMMENT = ProblemKind.MALFORMED, ProblemKind.COMMENT
CASES = [
    same("quoted", b'"/O=Grid/CN=A" u\n', A, b"u"),
    same("tab", b'"/O=Grid/CN=A"\tu\n', A, b"u"),
    same("no-blank", b'"/O=Grid/CN=A"u\n', A, b"u"),
    same("leading-blanks", b' \t"/O=Grid/CN=A" u\n', A, b"u"),
    same("trailing-blanks", b'"/O=Grid/CN=A" u \t\n', A, b"u"),
    same("unquoted", b"/O=Grid/CN=A u\n", A, b"u"),
    same("unquoted-list", b"/O=Grid/CN=A u,v\n", A, b"u"),
    Case("unquoted-blank", b"/O=Grid/CN=A B ab\n", A, b"B", None, AMBIGUOUS),
    Case("unquoted-escaped-blank", b"/O=Grid/CN=A\\ B ab\n", A, b"B", None, AMBIGUOUS),
    Case("unquoted-trailing-backslash", b"/O=Grid/CN=A\\ u\n", A, b"u", None, AMBIGUOUS),
    Case("unquoted-quote", b'/O=Grid/CN=A" u\n', A + b'"', b"u", None, AMBIGUOUS),
    Case("unquoted-shadows", b'/O=Grid/CN=A B ab\n"/O=Grid/CN=A" u\n', A, b"B", None, AMBIGUOUS),
    same("list-commas", b'"/O=Grid/CN=A" u,v\n', A, b"u"),
    same("list-blanks", b'"/O=Grid/CN=A" u v\n', A, b"u"),
    same("list-doubled", b'"/O=Grid/CN=A" u,,v , w\n', A, b"u"),
    Case("list-leading-comma", b'"/O=Grid/CN=A" ,u\n', A, b"", None, BAD),
    same("trailing-comment", b'"/O=Grid/CN=A" u # who\n', A, b"u", COMMENT),
    Case("comment-for-account", b'"/O=Grid/CN=A" # u\n', A, b"#", None, NO),
    Case("comment-glued", b'"/O=Grid/CN=A" #u\n', A, b"#u", None, NO),
    same("comment-line", b'# "/O=Grid/CN=A" u\n', A, None),
    same("comment-indented", b' \t# "/O=Grid/CN=A" u\n', A, None),
    same("blank-lines", b'\n \t\n"/O=Grid/CN=A" u\n', A, b"u"),
    Case("crlf", b'"/O=Grid/CN=A" u\r\n', A, b"u\r", b"u"),
    same("crlf-blank-line", b'\r\n"/O=Grid/CN=A" u\n', A, b"u"),
    same("no-final-newline", b'"/O=Grid/CN=A" u', A, b"u"),
    same("long-line", b'"/O=Grid/CN=A" u,' + LONG[:200] + b",v" * 50_000, A, b"u"),
    same("long-line-before", b"#" + LONG + b'\n"/O=Grid/CN=A" u\n', A, b"u"),
    same("two-lines", b'"/O=Grid/CN=A" u\n"/O=Grid/CN=A" v\n', A, b"u", ProblemKind.DUPLICATE),
    same("no-account", b'"/O=Grid/CN=A"\n"/O=Grid/CN=A" v\n', A, None, NO),
    same("no-account-unquoted", b"/O=Grid/CN=A\n/O=Grid/CN=A v\n", A, None, NO),
    same("no-account-at-end", b"/O=Grid/CN=A", A, None, NO),
    same("quote-missing", b'"/O=Grid/CN=A u\n"/O=Grid/CN=A" v\n', A, b"v", MALFORMED),
    same("quote-missing-blank", b'"/O=Grid/CN=A u v\n', A, None, MALFORMED),
    Case("two-lines-joined", b'"/O=Grid/CN=A" u "/O=Grid/CN=B" v\n', A, b"u", b"u", BAD),
    Case("two-names", b'"/O=Grid/CN=A" "/O=Grid/CN=B" u\n', A, b'"/O=Grid/CN=B"', None, BAD),
    Case("colon", b'"/O=Grid/CN=A" u:x\n', A, b"u:x", None, BAD),
    Case("slash", b'"/O=Grid/CN=A" a/../u\n', A, b"a/../u", None, BAD),
    Case("dash", b'"/O=Grid/CN=A" -u\n', A, b"-u", None, BAD),
    Case("control", b'"/O=Grid/CN=A" u\x1bv\n', A, b"u\x1bv", None, BAD),
    Case("nul", b'"/O=Grid/CN=A" u\x00v\n', A, b"u", None, BAD),
    same("nul-in-name", b'"/O=Grid/CN=A\x00" u\n', A, None),
    same("letter-case", b'"/o=GRID/cn=a" u\n', A, b"u"),
    same("inner-blanks", b'"/O=Grid/CN=A  B" u\n', b"/O=Grid/CN=A B", None),
    same("untrimmed", b'" /O=Grid/CN=A" u\n', A, None, ProblemKind.FOREIGN),
    same("glob", b'"/O=Grid/CN=*" u\n', A, None),
    same("proxy-name", b'"/O=Grid/CN=A" u\n', A + b"/CN=1234", None),
    same("email", b'"/O=Grid/Email=a@b" u\n', b"/O=Grid/emailAddress=A@B", b"u"),
    same("e", b'"/O=Grid/emailaddress=a@b" u\n', b"/O=Grid/E=a@b", b"u"),
    same("uid", b'"/O=Grid/UID=a" u\n', b"/O=Grid/USERID=a", b"u"),
    same("userid", b'"/O=Grid/userid=a" u\n', b"/O=Grid/uid=a", b"u"),
    Case("plus-e", b'"/O=Grid+E=a" u\n', b"/O=Grid+emailAddress=a", None, b"u"),
    same("escaped-quote", b'"/O=Grid/CN=A\\"B" u\n', b'/O=Grid/CN=A"B', b"u"),
    same("escaped-backslash", b'"/O=Grid/CN=A\\\\b" u\n', b"/O=Grid/CN=A\\b", b"u"),
    same("hex", b'"/O=Grid/CN=\\x41" u\n', A, b"u"),
    same("hex-lower", b'"/O=Grid/CN=Ren\\xc3\\xa9" u\n', b"/O=Grid/CN=Ren\\xC3\\xA9", b"u"),
    same("raw-utf8", b'"/O=Grid/CN=Ren\xc3\xa9" u\n', b"/O=Grid/CN=Ren\\xC3\\xA9", b"u"),
    same("escaped-hex", b'"/O=Grid/CN=Ren\\\\xC3" u\n', b"/O=Grid/CN=Ren\\xC3", b"u"),
    same("escaped-comma", b'"/O=Grid/CN=A\\, B" u\n', b"/O=Grid/CN=A, B", b"u"),
    Case("escaped-letter", b'"/O=Grid/CN=A\\q" u\n', A + b"q", b"u", None, AMBIGUOUS),
    Case("escaped-x", b'"/O=Grid/CN=A\\xZ" u\n', A + b"xZ", b"u", None, AMBIGUOUS),
    same("final-backslash", b'"/O=Grid/CN=A\\\\" u\n', A + b"\\", None, AMBIGUOUS),
    same("final-backslash-hex", b'"/O=Grid/CN=A\\x5C" u\n', A + b"\\", b"u"),
    Case("final-backslash-runs-on", b'"/O=Grid/CN=A\\\\" u "x\n', A + b'\\" u ', b"x", None, AMBIGUOUS),
    Case("escaped-slash", b'"/O=Grid/CN=host\\/a" u\n', b"/O=Grid/CN=host\\/a", None, b"u"),
    same("escaped-slash-old-form", b'"/O=Grid/CN=host\\/a" u\n', b"/O=Grid/CN=host/a", b"u"),
    Case("plain-slash", b'"/O=Grid/CN=host/a" u\n', b"/O=Grid/CN=host\\/a", None, b"u"),
    same("value-with-part", b'"/O=Grid/CN=x\\\\/CN=A" u\n', b"/O=Grid/CN=x\\/CN=A", b"u"),
    Case("escaped-part", b'"/O=Grid/CN=x\\/CN=A" u\n', b"/O=Grid/CN=x/CN=A", b"u", None, AMBIGUOUS),
    Case("hex-part", b'"/O=Grid/CN=x\\x2FCN=A" u\n', b"/O=Grid/CN=x/CN=A", b"u", None, AMBIGUOUS),
    Case("byte-order-mark", b'\xef\xbb\xbf"/O=Grid/CN=A" u\n', A, None, b"u"),
    same("empty-name", b'"" u\n"/O=Grid/CN=A" v\n', A, b"v", MALFORMED),
    same("form-feed", b'\x0c"/O=Grid/CN=A" u\n', A, None),
    same("foreign-form", b'"CN=A,O=Grid" u\n', b"CN=A,O=Grid", b"u", ProblemKind.FOREIGN),
    same("empty-file", b"", A, None),
]


@pytest.fixture(scope="module")
def mapfile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gridmap") / "grid-mapfile"
    path.write_bytes(b"")
    return path


@pytest.fixture(scope="module")
def c(mapfile: Path) -> Iterator[GssAssist]:
    with GssAssist(gridmap=mapfile) as library:
        yield library


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_table(case: Case, c: GssAssist, mapfile: Path) -> None:
    mapfile.write_bytes(case.data)
    assert c.gridmap(case.dn) == case.c
    ours = parse_gridmap(case.data)
    assert ours.find_account(case.dn.decode()) == (None if case.ours is None else case.ours.decode())
    if case.problem is not None:
        assert case.problem in {problem.kind for problem in ours.problems}
    if case.c != case.ours and case.c is not None and not case.data.endswith(b"\r\n"):
        assert ours.problems


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_no_account_that_c_does_not_give(case: Case, c: GssAssist, mapfile: Path) -> None:
    mapfile.write_bytes(case.data)
    ours = parse_gridmap(case.data)
    for account in ("u", "v", "w", "x", "#", "who", "ab", "B"):
        if ours.permits(case.dn.decode(), account) and case.c is not None and b"\r" not in case.data:
            assert c.userok(case.dn, account.encode())


def test_words_of_a_comment_are_accounts_in_c(c: GssAssist, mapfile: Path) -> None:
    mapfile.write_bytes(b'"/O=Grid/CN=A" u # not root\n')
    assert c.userok(A, b"root")
    assert not parse_gridmap(mapfile.read_bytes()).permits("/O=Grid/CN=A", "root")


def test_reverse_lookup(c: GssAssist, mapfile: Path) -> None:
    """The first line that lists the account, be it as the default or not."""
    mapfile.write_bytes(b'"/O=Grid/CN=A" x,u\n"/O=Grid/CN=B" u\n# u\n"/O=Grid/CN=C" z # u\n')
    ours = parse_gridmap(mapfile.read_bytes())
    for account in (b"u", b"x", b"z"):
        found = ours.find_dn(account.decode())
        assert found is not None
        assert c.map_local_user(account) == found.encode()
    assert list(ours.find_dns("u")) == ["/O=Grid/CN=A", "/O=Grid/CN=B"]
    assert ours.find_dn("nobody") is None
    assert c.map_local_user(b"nobody") is None


def test_a_name_that_we_quote_is_read_by_c(c: GssAssist, mapfile: Path) -> None:
    for dn in ("/O=Grid/CN=host\\/www", '/O=Grid/CN="A"', "/O=Grid/CN=Ren\\xC3\\xA9", "/O=Grid/CN=a\\b", "/O=G/CN=# x"):
        mapfile.write_bytes(f"{quote_gridmap(dn)} u\n".encode())
        assert c.gridmap(dn.encode()) == b"u", dn
        assert parse_gridmap(mapfile.read_bytes()).find_account(dn) == "u", dn


PIECES = st.sampled_from(
    [
        *rb'" \ /O=Grid /CN=A /CN=B /E=x /emailAddress=X /UID=u # , u v .pool \x41 \x2f x / +'.split(),
        *(b" ", b"\t", b"\n", b"\r", b"\xc3", b'"/O=Grid/CN=A" u\n'),
    ]
)
FILES = st.lists(PIECES, max_size=24).map(b"".join)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=FILES)
def test_generated_files(data: bytes, c: GssAssist, mapfile: Path) -> None:
    mapfile.write_bytes(data)
    ours = parse_gridmap(data)
    dns = {entry.dn for entry in ours.entries()} | {"/O=Grid/CN=A", "/O=Grid/CN=B"}
    odd = {canonical_oneline(entry.dn) for entry in ours.entries()}
    for dn in dns:
        found = ours.find_account(dn)
        account = c.gridmap(dn.encode())
        if account is not None:
            account = account.rstrip(b"\r")
        if found is not None and found.startswith("."):
            assert account is None  # no pool directory here
        elif found is not None and account is None:
            assert canonical_oneline(dn) in odd  # the two forms of a slash within a value, and + before a type
            assert "\\" in dn or "+" in dn or "/" in dn[1:]
        elif found is not None:
            assert account == found.encode()
        elif account is not None:
            assert ours.problems, (data, dn)
