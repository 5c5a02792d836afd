"""gsi.authz.rsl: RSL texts, evaluated as jobs and written again; the file of job rules."""

from __future__ import annotations

from typing import Final

from gsi.authz.rsl.grammar import parse_rsl, unparse_rsl
from gsi.authz.rsl.job import describe_job
from gsi.authz.rsl.rulefile import parse_job_rules
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

TARGET: Final[Target] = each(
    text_of(
        each(
            lambda text: unparse_rsl(parse_rsl(text)),
            lambda text: describe_job(text, {"HOME": "/home/alice", "A": "x" * 1000}),
        )
    ),
    lambda data: list(parse_job_rules(data, path="jobs")),
)
