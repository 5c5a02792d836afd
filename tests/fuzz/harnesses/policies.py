"""gsi.trust.policies: the four extensions about certificate policies, in a path that requires one."""

from __future__ import annotations

from typing import Final

from gsi import oids
from gsi.trust.policies import Level, check_policies
from gsi.trust.profile import Profile
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

_ABOUT: Final = (
    oids.CERTIFICATE_POLICIES,
    oids.POLICY_MAPPINGS,
    oids.POLICY_CONSTRAINTS,
    oids.INHIBIT_ANY_POLICY,
)
_REQUIRED: Final = {oids.POLICY_CONSTRAINTS: bytes.fromhex("3003800100")}


def _level(values: dict[str, bytes]) -> Level:
    profile = Profile()
    profile.policies = values
    return Level(profile, 0, is_self_issued=False)


def _check(data: bytes) -> None:
    """The first byte says which extension; the rest is its value, in a CA and in the end entity."""
    values = {_ABOUT[data[0] % 4]: data[1:]} if data else {}
    check_policies([_level({}), _level(_REQUIRED | values), _level(values), _level(values)])


TARGET: Final[Target] = each(_check)
