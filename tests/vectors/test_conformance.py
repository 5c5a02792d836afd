"""Every case of the conformance suite through ours: verdict, reason, index and facts."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from gsi.errors import Reason
from tests.vectors.conformance import CASES, REASON_OF, ROOT, judge

# Reasons that no chain before a trust directory can have.
_NOT_OF_CHAINS = {Reason.EMPTY_CHAIN, Reason.PEER_NAME, Reason.NO_CERTIFICATE}
_OURS = r"^\s*(?:from|import) (?:gsi|myproxy|cas|kca|tests)\b"


@pytest.mark.parametrize("case_id", CASES)
def test_verdict(case_id: str) -> None:
    case = CASES[case_id]
    assert judge(case) == case.expected


def test_the_committed_files_are_what_the_builder_makes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "build.py"), "--check"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_suite_shares_nothing_with_what_it_judges() -> None:
    files = [path for path in ROOT.rglob("*.py") if re.search(_OURS, path.read_text("utf-8"), re.MULTILINE)]
    assert not files


def test_every_reason_has_a_case() -> None:
    words = json.loads((ROOT / "manifest.json").read_text("utf-8"))["reasons"]
    assert list(words) == list(REASON_OF)
    assert set(Reason) - set(REASON_OF.values()) == _NOT_OF_CHAINS
    used = {case.expected.reason for case in CASES.values()}
    assert set(REASON_OF.values()) - used == set()


def test_the_suite_is_large_enough() -> None:
    assert len(CASES) >= 300
