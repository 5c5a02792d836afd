"""gsi.authz.callout.gram: the body of a GRAM job request, and job queries."""

from __future__ import annotations

from typing import Final

from gsi.authz.callout.gram import parse_job_query, parse_job_request
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

TARGET: Final[Target] = each(parse_job_request, text_of(each(parse_job_query)))
