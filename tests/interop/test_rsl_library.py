"""Our reading and evaluation of RSL beside the C library's: tables, and texts that Hypothesis makes up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsi.authz.rsl.evaluate import canonicalize, evaluate
from gsi.authz.rsl.grammar import parse_rsl, unparse_rsl
from gsi.errors import ParseError
from tests.harness.rsl_library import FAILURES, RslLibrary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.authz.rsl.values import Specification

VARIABLES: Final = {"HOME": "/home/alice", "LOGNAME": "alice", "X": "é *", "": "nameless"}

SAME: Final = [
    "&(executable=/bin/echo)(Max_Time=3)",
    "a=b",
    'a="b"',
    'a="b" ',
    "a='b' ",
    "&(a=$(HOME)/x)",
    '&(a=x$(HOME)y$(HOME)"z")',
    "&(a=$(HOME)$(LOGNAME)$(HOME))",
    "&(a=$(HOME)'x' y$(HOME))",
    "&(a=$ (HOME))",
    "&(a=$( HOME ))",
    "&(a=$\n(\t'HOME'\n))",
    '&(a=$(NO "default"))',
    '&(a=$(HOME "default"))',
    "&(a=$(A B C))",
    "&(a=$($(HOME)))",
    "&(a=$((HOME)))",
    "&(a=$(H$(HOME)))",
    "&(a=$(HOME)#(b))",
    "&(a=(b)#c)",
    "&(a=b#c#$(HOME)#d)",
    "&(a=#b)",
    "&(a=b#)",
    "&(a=(x $(HOME) (y $(HOME)z)))",
    "&(a=((b c)(d)))",
    "&(a=())",
    "&(a=)",
    "&()",
    "&",
    "",
    " \n",
    "(a=b)",
    "((a=b))",
    "&((a=b))",
    "&&(a=b)",
    "&(a=b)x",
    "&(a=b) ",
    "&(a=b) (c=d)",
    "& (a = b)\n( c\t= d )",
    "&(a b)",
    "&(=b)",
    "&(a==b)",
    "&(a=b=c)",
    "&(a='it''s')",
    '&(a="say ""x""")',
    "&(a=^@x@@y@)",
    "&(a=^(x(()",
    "&(a=^ x y )",
    "&(a=^\"x'y\")",
    "&(a=\"x'y\")",
    "&(a=^)",
    '&(a="x)',
    '&(a="x"y)',
    '&("a"="b"\'c\'^dced"e")',
    "&('a b'=c)",
    "&($(HOME)=c)",
    "&(a=\r\n b)",
    "&(a=\fb\v)",
    "&(a=b+c&d|e)",
    "&(a=+b)",
    "&(a=/*b)",
    "&(a=b(* c *))",
    "&(a=b)(* c **)",
    "&(a=b)(***)",
    "&(a=b)(**)",
    "&(* ( *)(a=b)",
    "&(a=$(HOME)(* c *)x)",
    "&(a=x(* c *)$(HOME))",
    "&(a=(*x*) y)",
    "&(a!=b)(c>d)(e>=f)(g<h)(i<=j)",
    "&(a! =b)",
    "&(a> =b)",
    "&(a=>b)",
    "|(a=b)(c<3)",
    "+(&(a=b))(&(c=d)(e=f))",
    "&(|(a=b)(+(c=d)(e=f)))(g=h)",
    '&(_A__b_="")',
    "&(É=é)(\udcff=\udcfe)",
    "&(RSL_Substitution=(A 1)(A 2))(b=$(A))",
    "&(rsl_substitution=(HOME /etc))(b=$(HOME))",
    "&(b=$(HOME))(rsl_substitution=(HOME /etc))(c=$(HOME))",
    "&(b=$(A))(rsl_substitution=(A 1))",
    "&(rsl_substitution=(A $(HOME)/x)(B $(A)#y))(q=$(B) ($(A)))",
    "&(rsl_substitution=(A $(A)))",
    "&(rsl_substitution=A)(q=1)",
    "&(rsl_substitution=(A))(q=1)",
    "&(rsl_substitution=(A B C))(q=1)",
    "&(rsl_substitution=((A B)))(q=1)",
    "&(rsl_substitution=(A (B C)))(q=1)",
    "&(rsl_substitution=(A#B C))(q=$(AB))",
    '&(rsl_substitution=("" x))(a=$(""))',
    '&(rsl_substitution=(A ""))(a=$(A)y)',
    "&(rsl_substitution!=(A 1))(a=$(A))",
    "&(&(rsl_substitution=(A 1))(a=$(A)))(b=$(A))",
    "&(&(rsl_substitution=(A 1))(a=$(A)))(b=c)",
    "&(rsl_substitution=(A 1))(&(b=$(A))(rsl_substitution=(A 2))(c=$(A)))(d=$(A))",
    "|(rsl_substitution=(A 1))(b=$(A))",
    "+(&(rsl_substitution=(A 1))(b=$(A)))(&(c=d))",
    "rsl_substitution=(A 1)",
    "&(a=$(X))(b=$(\"\"))",
    "&(a=$(home))",
    "&(rsl_substitution=(A 1))(rsl_substitution=(B $(A)$(A))(C $(B)$(B)))(x=$(C)$(C))",
    "&" + "(a=b)" * 500,
    "&(a=" + "(" * 50 + "b" + ")" * 50 + ")",
]  # fmt: skip

STOPS: Final = {
    "&(a=b)~(c=d)": '&("a" = "b" )',
    "&(a=b)?": '&("a" = "b" )',
    "&(a=b)!x": '&("a" = "b" )',
    "&(a=b)*x": '&("a" = "b" )',
    "&(a=b)^": '&("a" = "b" )',
    "&(a=b)(* c": '&("a" = "b" )',
    "&(a=b)(* c *": '&("a" = "b" )',
    "&(a=b)\"x": '&("a" = "b" )',
}  # fmt: skip
"""Where the C scanner takes the rest of a text for nothing, and we take the text for none."""


@pytest.fixture(scope="module")
def library() -> Iterator[RslLibrary]:
    with RslLibrary() as running:
        yield running


def _parse(text: str) -> str:
    try:
        tree = parse_rsl(text)
    except ParseError:
        return "parse"
    return _unparse(tree)


def _evaluate(text: str) -> str:
    try:
        tree = canonicalize(parse_rsl(text))
    except ParseError:
        return "parse"
    try:
        return _unparse(evaluate(tree, VARIABLES))
    except ParseError:
        return "evaluate"


def _unparse(tree: Specification) -> str:
    try:
        return unparse_rsl(tree)
    except ParseError:
        return "unparse"


@pytest.mark.parametrize("text", SAME)
def test_as_the_c_library(library: RslLibrary, text: str) -> None:
    assert _parse(text) == library.parse(text)
    assert _evaluate(text) == library.evaluate(text, VARIABLES)


@pytest.mark.parametrize(("text", "theirs"), STOPS.items())
def test_where_the_c_scanner_stops(library: RslLibrary, text: str, theirs: str) -> None:
    assert _parse(text) == "parse"
    assert library.parse(text) == theirs


def test_the_table_has_both_sorts() -> None:
    verdicts = [_evaluate(text) for text in SAME]
    assert {"parse", "evaluate"} <= set(verdicts)
    assert sum(verdict not in FAILURES for verdict in verdicts) > 50


_PIECES: Final = (
    "&(a=", "(b=", "&(rsl_substitution=(", "rsl_substitution=(A ", "$(HOME)", "$(A)", "$(", "$", "(", ")", "))", " ",
    "=", "!=", "<", "<=", ">", "#", "x", "y/z", "A", "HOME", '"', "'", "^", '"q r"', "'s'", "(* c *)", "\n", "+", "|",
    "é", "a_B", "(A B)", "1",
)  # fmt: skip


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(_PIECES), max_size=24).map("".join))
def test_whatever_is_put_together(library: RslLibrary, text: str) -> None:
    ours, theirs = _parse(text), library.parse(text)
    if ours == "parse" and theirs not in {"parse", "crash"}:
        # The one difference: a text of which they read the beginning alone.
        assert any(_parse(f"{text[:end]} ") == theirs for end in range(len(text)))
    else:
        assert theirs in {ours, "crash"}
        assert library.evaluate(text, VARIABLES) in {_evaluate(text), "crash"}


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8).map(
        lambda text: '"' + text.replace('"', '""') + '"'
    )
    | st.sampled_from(["x", "$(HOME)", "a$(LOGNAME)b", "a # 'b'"]),
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(lambda items: f"({' '.join(items)})"),
    max_leaves=12,
))  # fmt: skip
def test_good_values(library: RslLibrary, value: str) -> None:
    text = f"&(a={value} )(b=c)"
    assert _parse(text) not in FAILURES
    assert _parse(text) == library.parse(text)
    assert _evaluate(text) == library.evaluate(text, VARIABLES)
