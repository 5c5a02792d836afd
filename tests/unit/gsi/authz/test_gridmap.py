"""The grammar and the index of grid-mapfiles, without the C library (see tests/interop/test_gridmap.py)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gsi.authz.gridmap import MAX_PROBLEMS, ProblemKind, parse_gridmap
from gsi.authz.gridmap_lines import MAX_LINE_BYTES, is_account, parse_line
from gsi.errors import ParseError
from gsi.nametext import MAX_NAME_BYTES

ALICE = "/O=Grid/CN=Alice"


def test_lookup() -> None:
    gridmap = parse_gridmap(b'# map\n"/O=Grid/CN=Alice" alice,grid\n"/O=Grid/CN=Bob" bob\n')
    assert gridmap.find_account(ALICE) == "alice"
    assert gridmap.accounts("/o=grid/cn=ALICE") == ("alice", "grid")
    assert gridmap.permits(ALICE, "grid")
    assert not gridmap.permits(ALICE, "bob")
    assert not gridmap.permits(ALICE, "Grid")
    assert gridmap.find_account("/O=Grid/CN=Carol") is None
    assert gridmap.find_account("") is None
    assert gridmap.find_account("/O=Grid/CN=R\u00e9n\u00e9") is None
    assert gridmap.find_account("/O=Grid/CN=" + "x" * 1_000_000) is None
    assert gridmap.find_account("\ud800") is None
    assert len(gridmap) == 2
    assert gridmap.problems == ()


def test_a_pools_accounts_are_not_known_here() -> None:
    gridmap = parse_gridmap(b'"/O=Grid/CN=A" .pool\n"/O=Grid/CN=B" b,.pool\n"/O=Grid/CN=C" .\n')
    assert gridmap.find_account("/O=Grid/CN=A") == ".pool"
    assert gridmap.find_account("/O=Grid/CN=C") == "."
    assert not gridmap.permits("/O=Grid/CN=A", ".pool")
    assert not parse_gridmap(b'"/O=Grid/CN=A" .pool,root\n').permits("/O=Grid/CN=A", "root")  # a pool's, as a whole
    assert gridmap.permits("/O=Grid/CN=B", "b")
    assert not gridmap.permits("/O=Grid/CN=B", ".pool")


def test_usual_and_unusual_lines_share_an_index() -> None:
    """Every line of a block with an odd one is found, at its own place."""
    rng = random.Random(5)
    lines = [f'"/O=Grid/CN=User {number}" u{number}'.encode() for number in range(5000)]
    odd = [b"", b"# x", b'"/O=Grid/CN=\\x41" hex', b'"broken', b"/O=Grid/CN=plain p", b'"/O=Grid/CN=B" b \r']
    mixed = list(lines)
    for number in range(60):
        mixed.insert(rng.randrange(len(mixed)), odd[number % len(odd)])
    gridmap = parse_gridmap(b"\n".join(mixed))
    for number in range(5000):
        assert gridmap.accounts(f"/O=Grid/CN=User {number}") == (f"u{number}",)
    assert gridmap.find_account("/O=Grid/CN=A") == "hex"
    assert gridmap.find_account("/O=Grid/CN=plain") == "p"
    assert gridmap.find_account("/O=Grid/CN=B") == "b"
    broken = [problem for problem in gridmap.problems if problem.kind is ProblemKind.MALFORMED]
    assert [mixed[problem.line - 1] for problem in broken] == [b'"broken'] * 10


def test_names_are_bounded() -> None:
    """A line may hold the bytes that are shown to the look-up with four characters each."""
    letters = MAX_NAME_BYTES // 4
    gridmap = parse_gridmap(f'"/O={"é" * letters}" a\n'.encode())
    shown = "/O=" + r"\xC3\xA9" * letters
    assert MAX_NAME_BYTES < len(shown) < 4 * MAX_NAME_BYTES
    assert gridmap.accounts(shown) == ("a",)
    assert gridmap.accounts(shown * 3) == ()


def test_the_first_line_counts_however_far_apart() -> None:
    filler = b"".join(b'"/O=Grid/CN=%d" u\n' % number for number in range(20_000))
    gridmap = parse_gridmap(b'"/O=Grid/CN=Alice" first\n' + filler + b'"/O=GRID/CN=Alice" second\n')
    assert gridmap.accounts(ALICE) == ("first",)
    (problem,) = gridmap.problems
    assert problem.kind is ProblemKind.DUPLICATE
    assert problem.line == 20_002
    assert "line 1" in problem.message
    assert gridmap.find_dn("second") is None
    assert gridmap.find_dn("first") == ALICE


def test_equal_hashes_do_not_mix_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should two names ever share a hash, each still has its own account."""
    monkeypatch.setattr("gsi.authz.gridmap.hash", lambda key: len(key) % 2, raising=False)
    names = [f"/O=Grid/CN={'x' * number}" for number in range(1, 9)]
    gridmap = parse_gridmap("".join(f'"{name}" u{len(name)}\n' for name in names).encode())
    for name in names:
        assert gridmap.accounts(name) == (f"u{len(name)}",)
    assert gridmap.find_account("/O=Grid/CN=y") is None


def test_names_without_accounts_block_later_lines() -> None:
    gridmap = parse_gridmap(b"/O=Grid/CN=A B c\n/O=Grid/CN=A root\n")
    assert gridmap.find_account("/O=Grid/CN=A") is None
    assert not gridmap.permits("/O=Grid/CN=A", "root")
    assert [problem.kind for problem in gridmap.problems] == [ProblemKind.AMBIGUOUS, ProblemKind.DUPLICATE]


def test_strict_refuses_the_first_problem() -> None:
    data = b'"/O=Grid/CN=A" a\n"/O=Grid/CN=B" b # c\n'
    assert parse_gridmap(data).find_account("/O=Grid/CN=B") == "b"
    with pytest.raises(ParseError, match="line 2: '#' within a line"):
        parse_gridmap(data, strict=True)
    assert parse_gridmap(b'"/O=Grid/CN=A" a\n', strict=True).find_account("/O=Grid/CN=A") == "a"


def test_problems_are_bounded() -> None:
    gridmap = parse_gridmap(b'"broken\n' * (MAX_PROBLEMS + 500) + b'"/O=G/CN=A" a\n' * 700)
    assert len(gridmap.problems) == MAX_PROBLEMS
    assert gridmap.problem_count == MAX_PROBLEMS + 500 + 699


def test_lines_are_bounded() -> None:
    line = parse_line(b'"/O=G/CN=A" ' + b"a" * MAX_LINE_BYTES)
    assert line is not None
    assert line.kind is ProblemKind.MALFORMED
    long_name = parse_line(b'"/O=G/CN=' + b"a" * 40_000 + b'" u')
    assert long_name is not None
    assert long_name.dn is None


@pytest.mark.parametrize(
    "line",
    [
        b'"' + b"a" * 500_000,
        b'"' + b"\\a" * 250_000,
        b'"/' + b"\\/a" * 10_000 + b'" u',
        b'"/O=G" ' + b"a," * 100_000 + b"\x01",
        b'"/O=G" ' + b"a" * 500_000,
        b" \t" * 250_000 + b'"',
    ],
    ids=range(6),
)
def test_no_line_takes_long(line: bytes) -> None:
    """Each of these would take a backtracking match hours."""
    parse_gridmap(line + b"\n" + line)


def test_a_byte_order_mark_is_passed_over() -> None:
    gridmap = parse_gridmap(b'\xef\xbb\xbf"/O=Grid/CN=Alice" alice\n\xef\xbb\xbf"/O=Grid/CN=B" b\n')
    assert gridmap.find_account(ALICE) == "alice"
    assert gridmap.find_account("/O=Grid/CN=B") is None


def test_entries() -> None:
    gridmap = parse_gridmap(b'\n"/O=Grid/CN=A" a,b\n# c\n/O=Grid/CN=B b\n"/O=Grid/CN=A" c')
    assert [tuple(entry) for entry in gridmap.entries()] == [
        (2, "/O=Grid/CN=A", ("a", "b")),
        (4, "/O=Grid/CN=B", ("b",)),
        (5, "/O=Grid/CN=A", ("c",)),
    ]
    assert list(gridmap.find_dns("b")) == ["/O=Grid/CN=A", "/O=Grid/CN=B"]
    assert list(gridmap.find_dns("c")) == []


@pytest.mark.parametrize("account", ["alice", ".pool", ".", "a.b", "u_1", "user@realm", "DOM\\user", "host$", "é", "0"])
def test_accounts(account: str) -> None:
    assert is_account(account)
    gridmap = parse_gridmap(f'"{ALICE}" {account}\n'.encode())
    assert gridmap.accounts(ALICE) == (account,)


@pytest.mark.parametrize(
    "account", ["", "-a", "a b", "a,b", "a/b", "a:b", "#a", 'a"', "a\n", "a\x00", "\x7f", "a'", "a;b", "a$b", "\u202ea"]
)
def test_no_accounts(account: str) -> None:
    assert not is_account(account)


def test_the_words_of_a_message_are_bounded() -> None:
    line = parse_line(b'"/O=G/CN=A" ' + b"\xff" * 10_000)
    assert line is not None
    assert line.kind is ProblemKind.BAD_ACCOUNT
    assert len(line.message) < 1000


def test_every_kind_of_problem_is_documented() -> None:
    page = (Path(__file__).parents[4] / "docs/wire/grid-mapfile.md").read_text("utf-8")
    for kind in ProblemKind:
        assert f"`{kind}`" in page, kind
