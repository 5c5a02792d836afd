"""PKITS judged by this project: what applies, what does not and why, each verdict; the page of documentation.

    judge(CASES["4.4.3"])            # Verdict(reason=Reason.REVOKED, position=0)
    python -m tests.vectors.pkits_judge docs/conformance/pkits.md

A validator of peers refuses a CA that presents itself as an end entity. Some tests end in such a certificate; they are
put to the part that validates paths (`gsi.trust.path`), which is what they are about.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

from gsi.certificate import Certificate
from gsi.errors import ParseError, Reason, VerificationError
from gsi.trust.path import find_path
from gsi.trust.profile import read_profile
from gsi.trust.verify import CRLPolicy, Purpose, ValidationOptions, verify_chain
from tests.vectors.pkits import CASES, NOW, SECTIONS, Case

__all__ = ["NOT_APPLICABLE", "WITHOUT_POLICY_FILE", "Feature", "Verdict", "judge", "render"]


class Feature(NamedTuple):
    """Something of RFC 5280 that is not supported on purpose.

    Attributes:
        name: What it is.
        why: Why it is not supported, and what happens instead.
        cases: The tests that need it.
    """

    name: str
    why: str
    cases: tuple[str, ...]


def _numbers(section: int, text: str) -> tuple[str, ...]:
    found: list[str] = []
    for part in text.split():
        first, _, last = part.partition("-")
        found += [f"4.{section}.{number}" for number in range(int(first), int(last or first) + 1)]
    return tuple(found)


NOT_APPLICABLE: Final = {
    "dsa": Feature(
        "DSA",
        "No CA of a grid signs with DSA, and NIST withdrew it for new signatures (FIPS 186-5). Refused as an algorithm "
        "that is not supported, or as malformed where the key's parameters are left out.",
        _numbers(1, "4-6"),
    ),
    "crl-key": Feature(
        "CRLs signed with a key of their own",
        "The CA has certified, under its own name, a second key that signs lists and nothing else. Grid CAs sign their "
        "CRL with the key that signs certificates. The certificate of such a key stands among the presented ones "
        "without being a CA's, and is refused as that.",
        (*_numbers(4, "19-21"), *_numbers(5, "6-8")),
    ),
    "partial-crl": Feature(
        "partial and indirect CRLs",
        "A list with an issuing distribution point covers some certificates, some reasons, or those of other CAs. A "
        "trust directory holds one complete list per CA. Such a list refuses its CA's certificates as a broken one; "
        "and where only another CA's list tells about a certificate, there is none of its own CA.",
        (*_numbers(5, "3-5"), *_numbers(14, "1-9 11-26 28-35")),
    ),
    "delta-crl": Feature(
        "delta CRLs",
        "Whoever fetches CRLs for a trust directory fetches complete ones. A delta in it refuses its CA's certificates "
        "as a broken CRL, base or no base.",
        _numbers(15, "2-10"),
    ),
}
"""What does not apply. Each of these tests is refused, be it meant to be valid or not."""

WITHOUT_POLICY_FILE: Final = frozenset({"4.13.14"})
"""An end entity without a subject, whom no signing policy can permit: judged without the CAs' policy files."""


_INTRODUCTION: Final = """\
The Public Key Interoperability Test Suite has 224 tests of path validation by RFC 5280 (the issue of 2011, as in the
`cryptography-vectors` package). `tests/vectors/test_pkits.py` runs all of them at {now:%Y-%m-%d}, CRLs required, with a
signing policy that permits everything, and the suite's default inputs: any certificate policy is acceptable, none is
required by the caller. Subtests with other inputs (a set of acceptable policies, a policy required by the caller) have
nothing to set here: no grid service asks for a policy, so `ValidationOptions` has no such switch.

This page is made by `python -m tests.vectors.pkits_judge docs/conformance/pkits.md`; a test holds it to what the
validator says."""

_HOW_RUN: Final = """\
These end in a CA's certificate, which `verify_chain` refuses as an end entity's: {in_ca}. They are put to
`gsi.trust.path.find_path`, the validation of paths alone.

The end entity of {nameless} has an empty subject. No signing policy permits such a name, so the test is run without
policy files."""


class Verdict(NamedTuple):
    """What came out: `reason` None for accepted."""

    reason: Reason | None
    position: int | None = None


def judge(case: Case) -> Verdict:
    """Put one test to the validator, as RFC 5280 asks: CRLs required, no purpose."""
    chain = case.chain()
    has_policies = case.number not in WITHOUT_POLICY_FILE
    options = ValidationOptions(purpose=Purpose.ANY, crl=CRLPolicy.REQUIRE, require_signing_policy=has_policies)
    anchors = case.anchors(signing_policies=has_policies)
    try:
        if _ends_in_ca(chain):
            leaf, *rest = (Certificate.parse(one) for one in chain)
            find_path(
                leaf,
                read_profile(leaf, 0),
                0,
                presented=[(index, one, read_profile(one, index)) for index, one in enumerate(rest, start=1)],
                anchors=anchors,
                now=NOW,
                options=options,
            )
        else:
            verify_chain(chain, anchors, now=NOW, options=options)
    except VerificationError as error:
        return Verdict(error.reason, error.position)
    return Verdict(None)


def _ends_in_ca(chain: tuple[bytes, ...]) -> bool:
    try:
        return read_profile(Certificate.parse(chain[0]), 0).is_ca
    except (ParseError, VerificationError):
        return False


def render() -> str:
    """Return the page of documentation: totals and every test."""
    excluded = {number: key for key, feature in NOT_APPLICABLE.items() for number in feature.cases}
    verdicts = {number: judge(case) for number, case in CASES.items()}
    passed = sum(
        number not in excluded and (verdict.reason is None) == CASES[number].is_valid
        for number, verdict in verdicts.items()
    )
    lines = [
        "# NIST PKITS",
        "",
        _INTRODUCTION.format(now=NOW),
        "",
        "| | tests |",
        "|---|---|",
        f"| all | {len(CASES)} |",
        f"| apply | {len(CASES) - len(excluded)} |",
        f"| of these with the right verdict | {passed} |",
        f"| do not apply | {len(excluded)} |",
        f"| of these refused | {sum(verdicts[number].reason is not None for number in excluded)} |",
        "",
        "## What does not apply",
        "",
        "Nothing of this is passed over in silence: whatever needs it is refused.",
        "",
        "| feature | tests | why |",
        "|---|---|---|",
    ]
    lines += [
        f"| {feature.name} | {len(feature.cases)}: {', '.join(feature.cases)} | {feature.why} |"
        for feature in NOT_APPLICABLE.values()
    ]
    ended = sorted((n for n in CASES if _ends_in_ca(CASES[n].chain()) and n not in excluded), key=_order)
    lines += [
        "",
        "## How some are run",
        "",
        _HOW_RUN.format(in_ca=", ".join(ended), nameless=", ".join(sorted(WITHOUT_POLICY_FILE))),
    ]
    for section in SECTIONS:
        counted = Counter(number in excluded for number in CASES if number.split(".")[1] == str(section.number))
        lines += [
            "",
            f"## 4.{section.number} {section.title} ({counted[False]} apply, {counted[True]} do not)",
            "",
            "| test | name | expected | ours |",
            "|---|---|---|---|",
        ]
        for index, name in enumerate(section.names, start=1):
            number = f"4.{section.number}.{index}"
            verdict = verdicts[number]
            ours = "accepted" if verdict.reason is None else f"refused: `{verdict.reason.value}`"
            if number in excluded:
                ours += f" (does not apply: {NOT_APPLICABLE[excluded[number]].name})"
            expected = "accept" if CASES[number].is_valid else "refuse"
            lines.append(f"| {number} | {name} | {expected} | {ours} |")
    return "\n".join([*lines, ""])


def _order(number: str) -> tuple[int, ...]:
    return tuple(map(int, number.split(".")))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render())
