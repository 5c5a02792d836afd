"""gsi.trust.anchors: a CA, a CRL and the two policies under one name; nothing raises, all becomes problems."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from gsi.trust.anchors import build_anchors
from tests.fuzz.stubs import ca_stem

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


def TARGET(data: bytes) -> None:  # noqa: N802  the name that every harness has
    """No GridError is allowed here: a bad file must not stop the others."""
    stem = ca_stem()
    kinds = ("0", "r0", "signing_policy", "namespaces")
    anchors = build_anchors({f"{stem}.{kind}": data for kind in kinds}, loaded_at=_NOW)
    assert not any("cannot be read: " in problem.message for problem in anchors.problems)
