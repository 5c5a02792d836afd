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
# The headings of RFC 3820 about proxies and their validation.
_RFC_3820 = {
    "3": "Certificate and Certificate Extensions Profile",
    "3.1": "Issuer",
    "3.2": "Issuer Alternative Name",
    "3.3": "Serial Number",
    "3.4": "Subject",
    "3.5": "Subject Alternative Name",
    "3.6": "Key Usage and Extended Key Usage",
    "3.7": "Basic Constraints",
    "3.8": "The ProxyCertInfo Extension",
    "3.8.1": "pCPathLenConstraint",
    "3.8.2": "proxyPolicy",
    "4": "Proxy Certificate Path Validation",
    "4.1": "Basic Proxy Certificate Path Validation",
    "4.1.1": "Inputs",
    "4.1.2": "Initialization",
    "4.1.3": "Basic Proxy Certificate Processing",
    "4.1.4": "Preparation for next Proxy Certificate",
    "4.1.5": "Wrap-up Procedures",
    "4.1.6": "Outputs",
    "4.2": "Using the Path Validation Algorithm",
}
# Where the places are whose words decide what each of these reasons means.
_DECISIVE = {
    "proxy-path-length": {"RFC 3820 s. 4.1.4 (a)", "draft-ietf-pkix-proxy (GT3)"},
    "proxy-restriction": {"RFC 3820 s. 4.1.3 (b) (2)", "draft-ietf-pkix-proxy (GT3)"},
    "proxy-alt-name": {"RFC 3820 s. 3.2", "RFC 3820 s. 3.5", "Globus legacy proxies (GT2)"},
}
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


def test_every_case_cites_a_place_that_there_is() -> None:
    document = json.loads((ROOT / "manifest.json").read_text("utf-8"))
    known = document["specifications"]
    cited = {case["id"]: case["spec"] for case in document["testcases"]}
    assert all(cited.values())
    assert {place for places in cited.values() for place in places} == set(known)
    for place, title in known.items():
        if (found := re.match(r"RFC 3820 s\. ([0-9.]+)", place)) is not None:
            assert title.partition(":")[0] == _RFC_3820[found[1]], place
        assert not re.match(r"(RFC|FIPS|NIST|X\.)", place) or re.search(r" (s\.|appendix) [A-Z0-9]", place), place


def test_what_decides_is_cited() -> None:
    for case in json.loads((ROOT / "manifest.json").read_text("utf-8"))["testcases"]:
        if (decisive := _DECISIVE.get(case.get("expected_reason"))) is not None:
            assert decisive & set(case["spec"]), case["id"]


def test_every_feature_is_explained() -> None:
    used = {
        name
        for case in json.loads((ROOT / "manifest.json").read_text("utf-8"))["testcases"]
        for name in case["features"]
    }
    page = (ROOT.parent / "docs" / "conformance" / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[^|]+`) \|", page.partition("Features:")[2].partition("## ")[0], re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", " ".join(rows))) == used


def test_the_suite_is_large_enough() -> None:
    assert len(CASES) >= 300
