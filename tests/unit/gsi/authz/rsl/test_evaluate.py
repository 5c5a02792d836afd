"""Variables and canonical names; `tests/interop/test_rsl_library.py` asks the C library."""

from __future__ import annotations

import pytest

from gsi.authz.rsl.evaluate import MAX_EVALUATED_CHARS, canonical_name, canonicalize, evaluate
from gsi.authz.rsl.grammar import parse_rsl, unparse_rsl
from gsi.authz.rsl.job import describe_job
from gsi.authz.rsl.values import Literal, Sequence
from gsi.errors import ParseError

VARIABLES = {"HOME": "/home/alice"}


def made_of(text: str) -> str:
    return unparse_rsl(evaluate(canonicalize(parse_rsl(text)), VARIABLES))


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("&(Max_Wall_TIME=1)", '&("maxwalltime" = "1" )'),
        ("&(a=x$(HOME)y)", '&("a" = "x/home/alicey" )'),
        ("&(a=(b $(HOME)))", '&("a" = ("b" "/home/alice" ) )'),
        ("&(rsl_substitution=(A 1)(A 2))(b=$(A))", '&("rslsubstitution" = ("A" "1" ) ("A" "2" ) )("b" = "1" )'),
        ("&(RSLSubstitution=(HOME /x))(b=$(HOME))", '&("rslsubstitution" = ("HOME" "/x" ) )("b" = "/x" )'),
        (
            "&(rsl_substitution=(A $(HOME)/a)(B $(A)/b))(c=$(B))",
            '&("rslsubstitution" = ("A" "/home/alice/a" ) ("B" "/home/alice/a/b" ) )("c" = "/home/alice/a/b" )',
        ),
        ("&(&(rsl_substitution=(A 1))(b=$(A)))", '&(&("rslsubstitution" = ("A" "1" ) )("b" = "1" ))'),
    ],
)
def test_values(text: str, made: str) -> None:
    assert made_of(text) == made


@pytest.mark.parametrize(
    "text",
    [
        "&(a=$(NO))",
        "&(a=$(home))",
        '&(a=$(HOME "x"))',
        '&(a=$(NO "x"))',
        "&(a=$((HOME)))",
        "&(a=$($(HOME)))",
        "&(b=$(A))(rsl_substitution=(A 1))",
        "&(rsl_substitution=(A $(A)))",
        "&(rsl_substitution=(A $(B))(B $(A)))",
        "&(rsl_substitution=A)",
        "&(rsl_substitution=(A))",
        "&(rsl_substitution=(A B C))",
        "&(rsl_substitution=(A (B)))",
        "&(rsl_substitution=((A B)))",
        "&(&(rsl_substitution=(A 1)))(b=$(A))",
    ],
)
def test_what_cannot_be_evaluated(text: str) -> None:
    with pytest.raises(ParseError):
        made_of(text)


def test_what_would_grow_without_end() -> None:
    doubled = "".join(f"(V{n + 1} $(V{n})$(V{n}))" for n in range(60))
    with pytest.raises(ParseError, match=str(MAX_EVALUATED_CHARS)):
        made_of(f"&(rsl_substitution=(V0 0123456789){doubled})(a=$(V60))")
    many = "$(V) " * 5000
    with pytest.raises(ParseError, match=str(MAX_EVALUATED_CHARS)):
        made_of(f"&(rsl_substitution=(V {'x' * 1000}))(a={many})")


def test_canonical_names() -> None:
    assert canonical_name("Max_Wall__Time_") == "maxwalltime"
    assert canonical_name("É_İ") == "Éİ"  # letters of ASCII only, as in C


def test_a_job() -> None:
    job = describe_job("&(Executable=/bin/x)(arguments=a)(ARGUMENTS=(b c))(rsl_substitution=(X 1))", {})
    assert job.values("arguments") == (Literal("a"), Sequence((Literal("b"), Literal("c"))))
    assert set(job.attributes) == {"executable", "arguments"}
    assert job.values("queue") == ()


@pytest.mark.parametrize(
    "text",
    ["executable=/bin/x", "|(executable=/bin/x)", "+(&(executable=/bin/x))", "&(&(a=b))(c=d)", "&(count<4)", "&(a!=b)"],
)
def test_what_is_not_one_job(text: str) -> None:
    with pytest.raises(ParseError, match=r"a job"):
        describe_job(text, {})


@pytest.mark.parametrize("attribute", ["scratch_dir", "gass_cache", "restart", "SCRATCHDIR"])
def test_three_attributes_do_not_see_substitutions(attribute: str) -> None:
    """The job manager evaluates these before it knows what `rsl_substitution` defines."""
    job = describe_job(f"&(rsl_substitution=(HOME /sandbox))({attribute}=$(HOME))(directory=$(HOME))", VARIABLES)
    assert job.values(attribute.replace("_", "").lower()) == (Literal("/home/alice"),)
    assert job.values("directory") == (Literal("/sandbox"),)
    with pytest.raises(ParseError, match="not defined"):
        describe_job(f"&(rsl_substitution=(OWN /sandbox))({attribute}=$(OWN))", VARIABLES)
