"""gsi.trust.crl_sources: where CRLs are published, by files and by certificates."""

from __future__ import annotations

from typing import Final

from gsi.certificate import Certificate
from gsi.trust.crl_sources import distribution_points, parse_crl_url, parse_info
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

TARGET: Final[Target] = each(parse_crl_url, parse_info, lambda data: distribution_points(Certificate.parse(data)))
