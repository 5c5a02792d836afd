"""NIST PKITS: every test that applies has the right verdict for the right reason; all others are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from gsi import oids
from gsi.certificate import Certificate
from gsi.der import encode_oid
from gsi.errors import ParseError, Reason
from gsi.trust.profile import read_profile
from tests.vectors.pkits import CASES, SECTIONS, Case
from tests.vectors.pkits_judge import NOT_APPLICABLE, Feature, Verdict, judge, render

PAGE: Final = Path(__file__).parents[2] / "docs" / "conformance" / "pkits.md"
EXCLUDED: Final = {number: key for key, feature in NOT_APPLICABLE.items() for number in feature.cases}
APPLICABLE: Final = [case for number, case in CASES.items() if number not in EXCLUDED]

REASONS: Final = {
    **dict.fromkeys(("4.1.2",), Reason.MALFORMED),  # its signature is no whole number of bytes
    **dict.fromkeys(("4.1.3",), Reason.BAD_SIGNATURE),
    **dict.fromkeys(("4.2.1", "4.2.2"), Reason.NOT_YET_VALID),
    **dict.fromkeys(("4.2.5", "4.2.6", "4.2.7"), Reason.EXPIRED),
    **dict.fromkeys(("4.3.1", "4.3.2"), Reason.UNTRUSTED),
    **dict.fromkeys(("4.4.1", "4.4.5", "4.4.6", "4.14.27"), Reason.CRL_MISSING),
    **dict.fromkeys(("4.4.2", "4.4.3", "4.4.15", "4.4.18", "4.5.2"), Reason.REVOKED),
    **dict.fromkeys(("4.4.4", "4.4.8", "4.4.9", "4.4.10", "4.15.1"), Reason.CRL_BROKEN),
    **dict.fromkeys(("4.4.11", "4.4.12"), Reason.CRL_EXPIRED),
    **dict.fromkeys(("4.6.1", "4.6.2", "4.6.3"), Reason.NOT_A_CA),
    **dict.fromkeys(("4.7.1", "4.7.2"), Reason.KEY_USAGE),
    **dict.fromkeys(("4.7.4", "4.7.5"), Reason.CRL_SIGNER),
    "4.16.2": Reason.UNKNOWN_CRITICAL_EXTENSION,
}
BY_SECTION: Final = {
    "6": Reason.CA_PATH_LENGTH,
    **dict.fromkeys(("8", "9", "10", "11", "12"), Reason.CERTIFICATE_POLICY),
    "13": Reason.NAME_CONSTRAINTS,
}
"""For all refused tests of a section that are not named above."""


def test_the_list_is_complete() -> None:
    assert [len(section.names) for section in SECTIONS] == [6, 8, 11, 21, 8, 17, 5, 20, 8, 14, 11, 10, 38, 35, 10, 2]
    assert len(CASES) == len({case.name for case in CASES.values()}) == 224
    assert sum(len(feature.cases) for feature in NOT_APPLICABLE.values()) == len(EXCLUDED)
    assert CASES.keys() >= EXCLUDED.keys()


@pytest.mark.parametrize("case", APPLICABLE, ids=lambda case: f"{case.number}-{case.name}")
def test_applicable(case: Case) -> None:
    expected = None if case.is_valid else REASONS.get(case.number) or BY_SECTION[case.number.split(".")[1]]
    assert judge(case).reason == expected


@pytest.mark.parametrize("number", EXCLUDED)
def test_what_does_not_apply_is_refused(number: str) -> None:
    assert judge(CASES[number]) != Verdict(None)


def has_dsa(case: Case) -> bool:
    return any(encode_oid(oid) in der for der in case.chain() for oid in ("1.2.840.10040.4.1", "1.2.840.10040.4.3"))


def has_stranger(case: Case) -> bool:
    """A certificate above the end entity that is no CA's."""
    try:
        return not all(read_profile(Certificate.parse(der), None).is_ca for der in case.chain()[1:])
    except ParseError:
        return False


def has_crl_with(case: Case, oid: str) -> bool:
    return any(encode_oid(oid) in crl for crl in case.crls())


def has_partial_crl(case: Case) -> bool:
    return has_crl_with(case, oids.ISSUING_DISTRIBUTION_POINT)


def has_delta_crl(case: Case) -> bool:
    return has_crl_with(case, oids.DELTA_CRL_INDICATOR)


NEEDED: Final = {
    "dsa": has_dsa,
    "crl-key": has_stranger,
    "partial-crl": has_partial_crl,
    "delta-crl": has_delta_crl,
}


@pytest.mark.parametrize(("key", "feature"), NOT_APPLICABLE.items())
def test_what_does_not_apply_really_needs_the_feature(key: str, feature: Feature) -> None:
    assert [number for number in feature.cases if not NEEDED[key](CASES[number])] == []


def test_page() -> None:
    assert PAGE.read_text() == render(), "run python -m tests.vectors.pkits_judge docs/conformance/pkits.md"
