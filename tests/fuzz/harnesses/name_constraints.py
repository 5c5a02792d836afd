"""gsi.trust.name_constraints: the extension, the names of a certificate, and the one against the other."""

from __future__ import annotations

import contextlib
from typing import Final

from gsi.errors import GridError
from gsi.trust.name_constraints import check_names, find_host_fault, parse_general_names, parse_name_constraints
from tests.fuzz.rule import Target, each
from tests.fuzz.stubs import SUBJECT_ALT_NAME, SUBJECT_DER

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

_SOME: Final = parse_name_constraints(bytes.fromhex("300ea00c300a8208677269642e6f7267"), critical=True)


def _constraints(data: bytes) -> None:
    for critical in (True, False):
        with contextlib.suppress(GridError):
            constraints = parse_name_constraints(data, critical=critical)
            find_host_fault(constraints, "www.example.org")
            check_names(constraints, SUBJECT_DER, SUBJECT_ALT_NAME, 0)


TARGET: Final[Target] = each(
    _constraints,
    parse_general_names,
    lambda data: check_names(_SOME, SUBJECT_DER, data, 0),
    lambda data: check_names(_SOME, data, None, 0),
)
