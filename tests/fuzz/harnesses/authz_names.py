"""gsi.authz.principals and gsi.authz.resources: names of subjects and of what is asked for."""

from __future__ import annotations

from typing import Final

from gsi.authz.decision import Resource
from gsi.authz.principals import normal_fqan, parse_dn, skeleton_text
from gsi.authz.resources import readings
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

TARGET: Final[Target] = text_of(each(parse_dn, skeleton_text, normal_fqan, lambda text: readings(Resource(name=text))))
