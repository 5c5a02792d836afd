"""Running `gsi-doctor` in tests, and comparing what it finds before and after something was broken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.harness.run import Done, our_program, run

__all__ = ["Found", "look"]


class Found(NamedTuple):
    """What was found.

    Attributes:
        wrong: Warnings and errors: severity, check and where of each.
        done: The whole run.
    """

    wrong: list[tuple[str, str, str]]
    done: Done
    hints: list[str | None]


def look(env: Mapping[str, str], *arguments: str | Path, timeout: float = 60.0) -> Found:
    """Run the command with JSON output; its exit status must say what it found."""
    done = run([our_program("gsi-doctor"), "-json", *arguments], env=env, timeout=timeout)
    assert done.stdout, done
    told = json.loads(done.stdout)
    wrong = [one for one in told["findings"] if one["severity"] in {"warning", "error"}]
    severities = {one["severity"] for one in wrong}
    assert done.returncode == (2 if "error" in severities else 1 if severities else 0), done
    return Found([(one["severity"], one["check"], one["where"]) for one in wrong], done, [one["hint"] for one in wrong])
