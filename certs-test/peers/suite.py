"""The manifest as values for who asks a validator; knows no validator."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["HERE", "Case", "Verdict", "load"]

HERE: Final = Path(__file__).resolve().parent.parent


class Verdict(StrEnum):
    """What a validator makes of a case."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    NO_PROXY = "no proxy"
    """The program failed before it came to validate."""
    CRASH = "crash"
    NOT_ASKED = "-"
    """The case does not apply to it."""


class Case(NamedTuple):
    """One case, with paths that can be opened."""

    id: str
    description: str
    chain: Path
    key: Path | None
    trust_directory: Path
    time: datetime
    purpose: str
    crl: str
    features: frozenset[str]
    is_good: bool
    reason: str
    not_applicable: frozenset[str]
    """The peers to which the case does not apply."""


def load(manifest: Path = HERE / "manifest.json") -> dict[str, Case]:
    """Return every case by its id."""
    base = manifest.parent
    return {
        entry["id"]: Case(
            id=entry["id"],
            description=entry["description"],
            chain=base / entry["chain"],
            key=None if entry["key"] is None else base / entry["key"],
            trust_directory=base / entry["trust_directory"],
            time=datetime.fromisoformat(entry["validation_time"]),
            purpose=entry["validation_kind"],
            crl=entry["options"].get("crl", "if-present"),
            features=frozenset(entry["features"]),
            is_good=entry["expected_result"] == "SUCCESS",
            reason=entry.get("expected_reason", ""),
            not_applicable=frozenset(entry.get("not_applicable", ())),
        )
        for entry in json.loads(manifest.read_text("utf-8"))["testcases"]
    }
