"""RSL: what is written is read again as it was; whatever comes in, only our errors come out, and soon."""

from __future__ import annotations

import contextlib
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from gsi.authz.rsl.conditions import ATTRIBUTES, parse_condition
from gsi.authz.rsl.evaluate import MAX_EVALUATED_CHARS, canonicalize, evaluate
from gsi.authz.rsl.grammar import parse_rsl, unparse_rsl
from gsi.authz.rsl.job import JobDescription, describe_job
from gsi.authz.rsl.rulefile import JOB_KEYWORDS, parse_job_rules
from gsi.authz.rsl.values import (
    Boolean,
    Concatenation,
    Literal,
    Operator,
    Prefix,
    Relation,
    Sequence,
    Specification,
    Value,
    Variable,
)
from gsi.errors import ConfigError, ParseError

VARIABLES: Final = {"HOME": "/home/alice"}

texts = st.text(st.characters(exclude_characters="\0"), max_size=12)
literals = texts.map(Literal)
variables = st.one_of(
    literals.map(lambda name: Variable((name,))),
    st.tuples(literals, literals).map(Variable),
)
concatenations = st.lists(literals | variables, min_size=2, max_size=3).map(lambda parts: Concatenation(tuple(parts)))
values: st.SearchStrategy[Value] = st.recursive(
    literals | variables | concatenations,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda items: Sequence(tuple(items))),
    max_leaves=6,
)
relations = st.builds(
    Relation,
    texts,
    st.sampled_from(Operator),
    st.lists(values, min_size=1, max_size=3).map(tuple),
)
trees: st.SearchStrategy[Specification] = st.recursive(
    relations,
    lambda inner: st.builds(Boolean, st.sampled_from(Prefix), st.lists(inner, min_size=1, max_size=3).map(tuple)),
    max_leaves=6,
)
odd = st.lists(
    st.sampled_from(
        ["&", "(", ")", "=", "$(", "$", "A", "HOME", '"', "'", "^", "#", " ", "*", "rsl_substitution", "é"]
    ),
    max_size=40,
).map("".join)


@given(trees)
def test_what_is_written_is_read_again(tree: Specification) -> None:
    assert parse_rsl(unparse_rsl(tree)) == tree


@given(trees)
def test_canonical_names_stay(tree: Specification) -> None:
    once = canonicalize(tree)
    assert canonicalize(once) == once


@given(trees)
def test_what_is_evaluated_stays(tree: Specification) -> None:
    try:
        once = evaluate(canonicalize(tree), VARIABLES)
    except ParseError:
        return
    assert evaluate(once, {}) == once
    assert len(unparse_rsl(once)) <= 4 * MAX_EVALUATED_CHARS


@given(st.text(max_size=60) | odd)
def test_only_our_errors(text: str) -> None:
    for read in (parse_rsl, lambda each: describe_job(each, VARIABLES)):
        with contextlib.suppress(ParseError):
            read(text)


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: data.decode("latin-1")))
def test_only_our_errors_from_rules(text: str) -> None:
    words = " ".join(sorted(JOB_KEYWORDS)[:3])
    for line in (text, f"permit anyone to start executable {text}", f"require {text} {words}"):
        with contextlib.suppress(ConfigError):
            list(parse_job_rules(line.encode("utf-8", "surrogatepass"), path="f"))


@settings(max_examples=300)
@given(st.sampled_from(sorted(ATTRIBUTES)), texts, st.lists(values, max_size=3))
def test_a_denial_is_never_narrower_than_a_permit(attribute: str, pattern: str, found: list[Value]) -> None:
    try:
        condition = parse_condition(attribute, (pattern, "NULL"))
    except ParseError:
        return
    job = JobDescription({condition.attribute: tuple(found)})
    if found:
        assert condition.failure(job, VARIABLES) is not None or condition.may_hold(job, VARIABLES)
    else:
        assert condition.failure(job, VARIABLES) is None
