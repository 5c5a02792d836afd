"""Any text at all as a CA's configuration for requests: it is read, or refused as our error."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import ConfigError
from gsi.system.request_config import parse_request_profile, parse_settings

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("parse", [parse_request_profile, parse_settings])
@given(text=st.text() | st.text(alphabet="[]=#\\\n\"'$ {}:-XO.ab_default", max_size=200))
def test_any_text_is_read_or_refused(parse: Callable[[str], object], text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse(text)


@given(text=st.from_regex(r"\A(?:[AB]=(?:\$[AB]|\$\{[AB](?::-)?\}|x){0,4}\n){0,6}\Z"))
def test_settings_never_refer_to_themselves_without_end(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert all("$" not in value for value in parse_settings(text).values())
