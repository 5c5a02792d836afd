"""Some thousand changed chains: we and OpenSSL agree, or differ by a rule that is written down."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

import pytest

from gsi.errors import Reason, VerificationError
from tests.fuzz.chains import World, mutate
from tests.fuzz.differential import run
from tests.fuzz.mutate import encode_tree, parse_tree
from tests.fuzz.openssl import OpenSSL, Verdict, find_library
from tests.fuzz.page import render
from tests.fuzz.rules import RULES, Difference, classify

PAGE: Final = Path(__file__).parents[2] / "docs" / "conformance" / "fuzzing.md"
SEED: Final = 20_261_121
COUNT: Final = 2500
"""Some eight seconds."""

needs_openssl = pytest.mark.skipif(find_library() is None, reason="no libcrypto to compare with")


@needs_openssl
def test_every_difference_has_a_rule() -> None:
    report = run(seed=SEED, count=COUNT)
    assert [str(one) for one in report.findings] == []
    assert report.failures == []
    # The changes must reach both verdicts and many rules, or the comparison says nothing.
    assert report.agreed[True] > COUNT / 10
    assert report.agreed[False] > COUNT / 4
    assert len(report.rules) > 15


@needs_openssl
def test_unchanged_chains_are_accepted_by_both() -> None:
    world = World()
    openssl = OpenSSL(world.root.der)
    assert all(openssl.verify(chain.encode(), chain.now).accepted for chain in world.chains)
    longest = world.chains[8].encode()
    assert openssl.verify(longest, world.now).used == {0, 1, 2, 3}
    assert not openssl.verify((longest[0], b"\x30\x00"), world.now).accepted


def test_taking_apart_and_signing_again_keeps_every_field() -> None:
    world = World()
    for chain, issued in zip(world.chains, world.issued, strict=True):
        signed = chain.encode()[0]
        tbs = parse_tree(signed)[0].children
        assert tbs is not None
        assert encode_tree(tbs[:1]) == issued.certificate.tbs_certificate_bytes


def test_the_same_seed_makes_the_same_changes() -> None:
    world = World()
    both = [[mutate(world.chains[5], Random(number), world).changes for number in range(50)] for _ in range(2)]
    assert both[0] == both[1]


def test_an_unknown_difference_is_a_finding() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    refuses, accepts = Verdict(False, 24, 0, "invalid CA certificate"), Verdict(True, 0, 0, "ok", frozenset({0}))
    assert classify(Difference((), b"", now, None, refuses, ())) is None
    for reason in (Reason.BAD_SIGNATURE, Reason.EXPIRED, Reason.UNTRUSTED, Reason.NAME_CONSTRAINTS):
        ours = VerificationError("no", reason=reason, position=0)
        assert classify(Difference((b"",), b"", now, ours, accepts, ())) is None


def test_rules() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(bool(rule.reasons) != bool(rule.errors) for rule in RULES)
    assert all(rule.fits is not None for rule in RULES if not rule.we_refuse)


def test_page() -> None:
    assert PAGE.read_text() == render(), "run python -m tests.fuzz.page docs/conformance/fuzzing.md"
