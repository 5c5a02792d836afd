"""Path lengths of proxies, to five levels (RFC 3820 sections 3.8.1, 4.1.3 (b) (1) and 4.1.4 (a))."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from builder.certificates import FULL, Entity, proxy
from builder.model import accept, refuse
from builder.world import ALICE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.model import Case

__all__ = ["cases"]

_SPEC: Final = ("RFC 3820 s. 3.8.1", "RFC 3820 s. 4.1.3 (b) (1)", "RFC 3820 s. 4.1.4 (a)")
_LIMIT: Final = 2**31 - 1

Lengths = tuple[int | None, ...]


def cases() -> Iterator[Case]:
    """Yield combinations of path lengths, the end entity's proxy first, `none` where there is no constraint."""
    seen: set[Lengths] = set()
    for lengths in _combinations():
        if lengths not in seen:
            seen.add(lengths)
            yield _case(lengths)
    yield accept(
        "rfc3820::depth::largest",
        "The largest path length that fits 31 bits.",
        proxy(proxy(ALICE, FULL.at_most(_LIMIT))),
        spec=_SPEC,
    )
    for label, value in (("2-to-the-31", 1 << 31), ("2-to-the-32", 1 << 32), ("2-to-the-64", 1 << 64)):
        yield refuse(
            f"rfc3820::depth::{label}",
            "A path length that fits no 31 bits. RFC 3820 sets no maximum; a validator that takes it as it stands is "
            "right as well, one that takes it for a small or a missing one is not.",
            proxy(ALICE, FULL.at_most(value)),
            "proxy-info-malformed",
            spec=_SPEC,
            features=["implementation-limit"],
            importance="low",
        )


def _combinations() -> Iterator[Lengths]:
    yield from itertools.product((None, 0, 1, 2), repeat=2)
    yield from ((*pair, None) for pair in itertools.product((None, 0, 1, 2), repeat=2))
    yield from ((*three, None) for three in itertools.product((None, 1, 2, 3), repeat=3) if any(three))
    for level in range(5):  # one constraint in five levels: just enough, one too few, none left
        for length in {4 - level, 3 - level, 0}:
            if length >= 0:
                yield tuple(length if at == level else None for at in range(5))
    yield (4, 3, 2, 1, 0)
    yield (3, 3, 3, 3, 3)
    yield (4, 9, 9, 9, 9)
    yield (9, 9, 9, 1, None)
    yield (9, 9, 9, 0, None)
    yield (9, 9, 1, 9, 9)
    yield (1, 9, 9, 9, 9)


def _case(lengths: Lengths) -> Case:
    entity: Entity = ALICE
    for length in lengths:
        entity = proxy(entity, FULL.at_most(length))
    shown = "-".join("none" if length is None else str(length) for length in lengths)
    identifier = f"rfc3820::depth::{shown}"
    words = "Path lengths from the end entity's proxy down: " + ", ".join(shown.split("-")) + "."
    importance = "high" if len(lengths) < 3 else "medium"
    breach = _first_breach(lengths)
    if breach is None:
        return accept(identifier, words, entity, spec=_SPEC, importance=importance)
    position = len(lengths) - 1 - breach
    return refuse(identifier, words, entity, "proxy-path-length", position, spec=_SPEC, importance=importance)


def _first_breach(lengths: Sequence[int | None]) -> int | None:
    """Return the first proxy, from the end entity down, for which some proxy above has left no room."""
    for level in range(len(lengths)):
        if any(length is not None and level - above > length for above, length in enumerate(lengths[:level])):
            return level
    return None
