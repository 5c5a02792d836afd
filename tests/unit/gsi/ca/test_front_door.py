"""The front door of the issuing room: every name is there, and opening it loads nothing."""

from __future__ import annotations

import subprocess
import sys

import gsi.ca


def test_every_public_name_is_there() -> None:
    for name in gsi.ca.__all__:
        assert getattr(gsi.ca, name) is not None, name
    assert dir(gsi.ca) == sorted(gsi.ca.__all__) == gsi.ca.__all__


def test_opening_it_loads_nothing() -> None:
    code = (
        "import sys, gsi.ca\n"
        "print(sorted(m for m in sys.modules if m.startswith(('gsi', 'cryptography', 'pkcs11', 'subprocess'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "['gsi', 'gsi._version', 'gsi.ca']"
