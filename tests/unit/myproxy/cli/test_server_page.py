"""The man page of myproxy-server names the directives that are in use, no more and no less."""

from __future__ import annotations

import re

from myproxy.cli.pages.server import PAGE
from myproxy.config import _FIELDS, _State


def test_directives_in_use() -> None:
    in_use = re.search(r"Directives in use: (.*?)A list without", PAGE.description, re.DOTALL)
    assert in_use is not None
    named = set(re.findall(r"`([A-Za-z0-9_]+)`", in_use[1]))
    assert named == {name for name, one in _FIELDS.items() if one.metadata["state"] is _State.ACTED_UPON}
