"""gsi.certificate and gsi.trust.profile: one certificate in DER, its key, its extensions, what kind it is."""

from __future__ import annotations

from typing import Final

from gsi.certificate import Certificate
from gsi.proxy.kinds import classify
from gsi.trust.profile import read_profile
from gsi.trust.signatures import load_key
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"


def _read(data: bytes) -> None:
    certificate = Certificate.parse(data)
    assert certificate.der == data
    each(classify, lambda one: read_profile(one, 0), lambda one: load_key(one, 0), lambda one: one.fingerprint)(
        certificate
    )


TARGET: Final[Target] = each(_read)
