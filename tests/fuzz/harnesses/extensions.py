"""gsi.extensions and gsi.trust.profile: the values of every extension that is read."""

from __future__ import annotations

import functools
from typing import Final

from gsi import oids
from gsi.certificate import Extension
from gsi.extensions import parse_basic_constraints, parse_key_usage
from gsi.trust.profile import read_profile
from tests.fuzz.rule import Target, each
from tests.fuzz.stubs import certificate_with

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

_READ: Final = (
    oids.KEY_USAGE,
    oids.BASIC_CONSTRAINTS,
    oids.EXTENDED_KEY_USAGE,
    oids.SUBJECT_ALT_NAME,
    oids.ISSUER_ALT_NAME,
    oids.SUBJECT_KEY_IDENTIFIER,
    oids.AUTHORITY_KEY_IDENTIFIER,
    oids.CRL_DISTRIBUTION_POINTS,
)


def _profile(oid: str, value: bytes) -> None:
    read_profile(certificate_with(Extension(oid, False, value)), 0)


TARGET: Final[Target] = each(
    parse_key_usage, parse_basic_constraints, *(functools.partial(_profile, oid) for oid in _READ)
)
