"""gsi.voms: LSC and vomses files; what is read is written and read again."""

from __future__ import annotations

from typing import Final

from gsi import names
from gsi.voms.lsc import Chain, encode_lsc, parse_lsc
from gsi.voms.vomses import encode_vomses, parse_vomses
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _names(chains: tuple[Chain, ...]) -> list[bytes]:
    return [one for chain in chains for pair in chain for one in pair]


def _lsc(data: bytes) -> None:
    found = parse_lsc(data)
    again = parse_lsc(encode_lsc(found.chains)).chains
    assert list(map(len, again)) == list(map(len, found.chains))
    assert all(map(names.same_name, _names(again), _names(found.chains)))


def _vomses(data: bytes) -> None:
    found = parse_vomses(data)
    assert parse_vomses(encode_vomses(found)) == found


TARGET: Final[Target] = each(_lsc, _vomses)
