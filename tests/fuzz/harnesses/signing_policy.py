"""gsi.trust.signing_policy: the policy file, and what it says about some names."""

from __future__ import annotations

from typing import Final

from gsi.trust.signing_policy import parse_signing_policy
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

_CA: Final = "/O=Grid/CN=CA"


def _ask(data: bytes) -> None:
    policy = parse_signing_policy(data)
    policy.names(_CA)
    for subject in ("/O=Grid/CN=Alice", "/O=Grid/E=a@b/CN=x*y", "", "/O=Grid" * 40):
        policy.permits(_CA, subject)


TARGET: Final[Target] = each(_ask)
