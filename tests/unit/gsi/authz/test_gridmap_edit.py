"""Editing grid-mapfiles as bytes."""

from __future__ import annotations

import pytest

from gsi.authz.gridmap import ProblemKind, parse_gridmap
from gsi.authz.gridmap_edit import add_accounts, remove_accounts
from gsi.errors import ConflictError, ParseError

FILE = b'# who may\n"/O=Grid/CN=Alice" alice\n\n"/O=Grid/CN=Bob"\tbob,grid\r\n/O=Grid/CN=Carol carol'


def test_a_new_name_goes_to_the_end() -> None:
    edit = add_accounts(FILE, "/O=Grid/CN=Dave", ["dave", "grid", "dave"])
    assert edit.data == FILE + b'\n"/O=Grid/CN=Dave" dave,grid\n'
    assert edit.is_new
    assert edit.added == ("dave", "grid")
    assert add_accounts(b"", "/CN=a", ["a"]).data == b'"/CN=a" a\n'


def test_a_known_name_gets_more_accounts_where_it_stands() -> None:
    edit = add_accounts(FILE, "/o=grid/cn=bob", ["grid", "new"])
    assert edit.data == FILE.replace(b"bob,grid\r\n", b"bob,grid,new\r\n")
    assert (edit.is_new, edit.added, edit.present) == (False, ("new",), ("grid",))
    assert edit.entry == '"/O=Grid/CN=Bob"\tbob,grid,new'
    assert add_accounts(FILE, "/O=Grid/CN=Carol", ["x"]).data == FILE + b",x"
    assert add_accounts(FILE, "/O=Grid/CN=Alice", ["alice"]).data == FILE


def test_a_name_without_account_gets_one() -> None:
    assert add_accounts(b'"/O=Grid/CN=A"\n', "/O=Grid/CN=A", ["a"]).data == b'"/O=Grid/CN=A" a\n'


def test_odd_lines_are_left_to_a_person() -> None:
    for line in (b'"/O=Grid/CN=A" a # b', b"/O=Grid/CN=A B c", b'"/O=Grid/CN=A" a b:c', b'"/O=Grid/CN=A" # a'):
        with pytest.raises(ConflictError, match="line 2"):
            add_accounts(b"\n" + line + b"\n", "/O=Grid/CN=A", ["x"])


@pytest.mark.parametrize("dn", ["", "CN=Alice,O=Grid", "Alice", "/Alice", "/CN=a\n"])
def test_only_names_in_one_line_form(dn: str) -> None:
    with pytest.raises(ParseError):
        add_accounts(FILE, dn, ["x"])
    with pytest.raises(ParseError):
        remove_accounts(FILE, dn=dn)


@pytest.mark.parametrize("account", ["a b", "a,b", "#", "", "a\nb", "-x"])
def test_only_accounts(account: str) -> None:
    with pytest.raises(ParseError):
        add_accounts(FILE, "/CN=a", [account])


@pytest.mark.parametrize("dn", ['/CN=a"b', "/CN=a\\/b", "/CN=R\\xC3\\xA9", "/CN=a b", "/CN=# a", "/CN=a\\b"])
def test_names_are_quoted(dn: str) -> None:
    data = add_accounts(FILE, dn, ["x"]).data
    assert parse_gridmap(data).accounts(dn) == ("x",)
    assert add_accounts(data, dn, ["y"]).data == data.removesuffix(b"\n") + b",y\n"
    assert remove_accounts(data, dn=dn).data == FILE + b"\n"


@pytest.mark.parametrize("dn", ["/CN=Zoë", "/CN=Zo\udcc3\udcab", "/CN=Zo\\xC3\\xAB", "/cn=zo\\xc3\\xab"])
@pytest.mark.parametrize("field", ["Zoë", "Zo\\xC3\\xAB", "Zo\\xc3\\xab"])
def test_letters_beyond_ascii_in_every_form(dn: str, field: str) -> None:
    line = f'"/CN={field}" x'.encode()
    assert add_accounts(line, dn, ["y"]).data == line + b",y"
    assert remove_accounts(line + b"\n", dn=dn).data == b""
    new = add_accounts(b"", dn, ["x"]).data
    assert new.lower() == b'"/cn=zo\\xc3\\xab" x\n'
    assert b"\\xC3\\xAB" in new
    problems = parse_gridmap(line + b"\n" + new).problems
    assert [problem.kind for problem in problems] == [ProblemKind.DUPLICATE]


def test_removing_an_account_of_a_name() -> None:
    edit = remove_accounts(FILE, dn="/O=GRID/CN=bob", accounts=["grid", "none"])
    assert edit.data == FILE.replace(b"bob,grid\r", b"bob\r")
    assert (edit.removed, edit.ignored) == (1, 0)
    assert edit.changed == ('"/O=Grid/CN=Bob"\tbob',)


def test_removing_a_name_without_accounts_removes_something() -> None:
    """The caller says that nothing was found when nothing is counted."""
    edit = remove_accounts(b'"/O=Grid/CN=A"\n"/O=Grid/CN=B" b,c\n', dn="/O=Grid/CN=A")
    assert (edit.data, edit.removed) == (b'"/O=Grid/CN=B" b,c\n', 1)
    assert remove_accounts(edit.data, dn="/O=Grid/CN=B").removed == 2


def test_removing_a_name() -> None:
    edit = remove_accounts(FILE, dn="/O=Grid/CN=Alice")
    assert edit.data == FILE.replace(b'"/O=Grid/CN=Alice" alice\n', b"")
    assert edit.deleted == ('"/O=Grid/CN=Alice" alice',)
    gone = remove_accounts(FILE, dn="/O=Grid/CN=Bob", accounts=["bob", "grid"])
    assert (gone.removed, len(gone.deleted)) == (2, 1)


def test_removing_an_account_everywhere() -> None:
    data = b'"/CN=a" x,y\n"/CN=b" x\n"/CN=c" z\n'
    edit = remove_accounts(data, accounts=["x"])
    assert edit.data == b'"/CN=a" y\n"/CN=c" z\n'
    assert (edit.removed, edit.ignored) == (2, 0)


def test_nothing_there() -> None:
    edit = remove_accounts(FILE, dn="/O=Grid/CN=Alice", accounts=["bob"])
    assert (edit.data, edit.removed, edit.ignored) == (FILE, 0, 1)
    assert remove_accounts(FILE, dn="/O=Grid/CN=Nobody").data == FILE
    with pytest.raises(ParseError):
        remove_accounts(FILE)


def test_no_line_steps_in_for_a_removed_name() -> None:
    data = b'"/CN=a" x\n"/cn=A" y\n/CN=a B z\n'
    assert remove_accounts(data, dn="/CN=a").data == b""


def test_a_line_that_steps_in_is_told() -> None:
    edit = remove_accounts(b'"/CN=a" x\n"/cn=A" y\n', dn="/CN=a", accounts=["x"])
    assert edit.data == b'"/cn=A" y\n'
    assert edit.revealed == ("/CN=a y",)
    assert remove_accounts(b'"/CN=a" x,y\n"/cn=A" y\n', dn="/CN=a", accounts=["x"]).revealed == ()
    assert remove_accounts(b'"/CN=a" y\n"/cn=A" x\n', dn="/CN=a", accounts=["x"]).revealed == ()
