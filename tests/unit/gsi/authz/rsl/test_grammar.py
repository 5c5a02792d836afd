"""Trees of RSL texts, texts of trees, and what is refused; `tests/interop/test_rsl_library.py` asks the C library."""

from __future__ import annotations

import pytest

from gsi.authz.rsl import grammar
from gsi.authz.rsl.grammar import MAX_NESTING, MAX_RSL_CHARS, parse_rsl, unparse_rsl
from gsi.authz.rsl.values import Boolean, Concatenation, Literal, Operator, Prefix, Relation, Sequence, Variable
from gsi.errors import ParseError


def test_a_tree() -> None:
    tree = parse_rsl("&(executable=/bin/echo)(arguments = $(HOME)/x 'a b' (c \"d\"))(count<4)")
    home = Concatenation((Variable((Literal("HOME"),)), Literal("/x")))
    assert tree == Boolean(
        Prefix.AND,
        (
            Relation("executable", Operator.EQ, (Literal("/bin/echo"),)),
            Relation("arguments", Operator.EQ, (home, Literal("a b"), Sequence((Literal("c"), Literal("d"))))),
            Relation("count", Operator.LT, (Literal("4"),)),
        ),
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a=b", '"a" = "b" '),
        ('&(a="say ""x""")', '&("a" = "say ""x""" )'),
        ("&(a=^@x@@y@)", '&("a" = "x@y" )'),
        ("&(a=x$(B)y)", '&("a" = "x" # $("B") # "y" )'),
        ('&(a="x"$(B)"y")', '&("a" = "x" $("B") "y" )'),
        ("&(a=$(B c))", '&("a" = $("B" "c") )'),
        ("&(a=$(B c d))", '&("a" = $("B" "c") )'),
        ("&(a=$(B (c)))", '&("a" = $("B") )'),
        ("+(&(a=((b c)(d))))(|(e>=1)(f!=2))", '+(&("a" = (("b" "c" ) ("d" ) ) ))(|("e" >= "1" )("f" != "2" ))'),
        ("&(* x *)(a=b)(* y **)", '&("a" = "b" )'),
        ("&(a=\r b+c&d|e)", '&("a" = "\r" "b+c&d|e" )'),
    ],
)
def test_writing(text: str, written: str) -> None:
    assert unparse_rsl(parse_rsl(text)) == written
    assert unparse_rsl(parse_rsl(written)) == written


@pytest.mark.parametrize(
    ("text", "words", "offset"),
    [
        ("", "text must stand here", 0),
        ("&", r"\( must stand here", 1),
        ("&(a=b", r"\) must stand here", 5),
        ("&(a=b)x", "the end must stand here", 6),
        ("&(a=)", "text must stand here", 4),
        ("&(a b)", "operator", 4),
        ("&(a=b)~(c=d)", "'~' has no meaning", 6),
        ("&(a=b?)", r"'\?' has no meaning", 5),
        ("&(a=b)(* c", "comment", 6),
        ("&(a=b)(* c *", "comment", 6),
        ("&(a='b", "quoted", 4),
        ('a="b"', "quoted", 2),
        ("&(a=^", r"\^", 4),
        ("&(a=^éxé)", r"\^", 4),
        ("&(a=b\0c)", "NUL", 5),
        ("&(a=#b)", "text must stand here", 4),
    ],
)
def test_refusals(text: str, words: str, offset: int) -> None:
    with pytest.raises(ParseError, match=words) as caught:
        parse_rsl(text)
    assert caught.value.offset == offset


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "(" * (MAX_NESTING - 1)
    parse_rsl(f"&(a={deep}b{deep.replace('(', ')')})")
    with pytest.raises(ParseError, match="nest"):
        parse_rsl(f"&(a=({deep}b{deep.replace('(', ')')}))")
    with pytest.raises(ParseError, match="nest"):
        parse_rsl("&(" * 10_000)
    with pytest.raises(ParseError, match="nest"):
        parse_rsl("&(a=" + "$(" * 10_000)
    with pytest.raises(ParseError, match="limit"):
        parse_rsl("&(a=" + "b" * MAX_RSL_CHARS + ")")
    monkeypatch.setattr(grammar, "MAX_TOKENS", 10)
    with pytest.raises(ParseError, match="tokens"):
        parse_rsl("&(a=" + "b " * 20 + ")")


def test_a_variable_without_a_name_cannot_be_written() -> None:
    with pytest.raises(ParseError, match="name"):
        unparse_rsl(parse_rsl("&(a=$($(B)))"))


def test_as_long_as_gram_takes() -> None:
    tree = parse_rsl("&(arguments=" + "'x'" * 20_000 + ")")
    assert isinstance(tree, Boolean)
    (relation,) = tree.operands
    assert isinstance(relation, Relation)
    assert relation.values == (Literal("x" + "'x" * 19_999),)  # quotes side by side stand for one
