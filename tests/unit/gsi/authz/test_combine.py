"""The combining algorithms, held against their definitions for every sequence of up to four verdicts."""

from __future__ import annotations

from itertools import product

import pytest

from gsi.authz.combine import ENDS, RANK, Combining, combine
from gsi.authz.decision import Effect

P, D, N, I = Effect.PERMIT, Effect.DENY, Effect.NOT_APPLICABLE, Effect.INDETERMINATE  # noqa: E741  as in the tables
SEQUENCES = [sequence for length in range(5) for sequence in product((P, D, N, I), repeat=length)]


def first_applicable(effects: tuple[Effect, ...]) -> Effect:
    return next((effect for effect in effects if effect is not N), N)


def deny_overrides(effects: tuple[Effect, ...]) -> Effect:
    return next((effect for effect in (D, I, P) if effect in effects), N)


def permit_overrides(effects: tuple[Effect, ...]) -> Effect:
    return next((effect for effect in (P, D, I) if effect in effects), N)


DEFINITIONS = {
    Combining.FIRST_APPLICABLE: first_applicable,
    Combining.DENY_OVERRIDES: deny_overrides,
    Combining.PERMIT_OVERRIDES: permit_overrides,
}


@pytest.mark.parametrize("algorithm", Combining)
def test_every_sequence(algorithm: Combining) -> None:
    assert len(SEQUENCES) == 1 + 4 + 16 + 64 + 256
    for effects in SEQUENCES:
        assert combine(algorithm, effects) is DEFINITIONS[algorithm](effects), effects


@pytest.mark.parametrize("algorithm", Combining)
def test_what_ends_a_chain_cannot_be_changed_by_what_follows(algorithm: Combining) -> None:
    for effects in SEQUENCES:
        for index, effect in enumerate(effects):
            if effect in ENDS[algorithm]:
                assert DEFINITIONS[algorithm](effects[: index + 1]) is DEFINITIONS[algorithm](effects), effects


@pytest.mark.parametrize("algorithm", Combining)
def test_a_permit_needs_a_permit(algorithm: Combining) -> None:
    for effects in SEQUENCES:
        if P not in effects:
            assert combine(algorithm, effects) is not P


def test_a_failure_before_the_permit_never_permits_where_order_or_denials_count() -> None:
    for algorithm in (Combining.FIRST_APPLICABLE, Combining.DENY_OVERRIDES):
        assert combine(algorithm, [I, P]) is I
    assert combine(Combining.DENY_OVERRIDES, [P, I]) is I


def test_the_tables_are_complete() -> None:
    assert set(ENDS) == set(RANK) == set(Combining)
    assert all(set(rank) == set(Effect) for rank in RANK.values())
