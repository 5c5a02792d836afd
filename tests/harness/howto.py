"""Python out of the guides, run as it stands there: a block after the line `<!-- tested: NAME -->`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

__all__ = ["run_block"]

_HOWTO = Path(__file__).parents[2] / "docs/howto"


def run_block(page: str, name: str) -> dict[str, Any]:
    """The names that a block defines."""
    path = _HOWTO / page
    found = re.search(rf"<!-- tested: {name} -->\n```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    assert found is not None, f"{page} has no block {name}"
    names: dict[str, Any] = {"__name__": f"howto_{name}"}
    exec(compile(found[1], f"{page}: {name}", "exec"), names)
    return names
