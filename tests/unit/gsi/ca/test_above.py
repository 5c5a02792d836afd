"""Which CAs stand above one: name and key decide, in whatever order the certificates lie."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gsi.ca.above import find_above, find_highest
from gsi.certificate import Certificate
from tests.harness.ca import TestCA
from tests.harness.trust import forge

DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)

ROOT = TestCA("/O=Grid/CN=Root", "p256")
OLD = ROOT.intermediate("/O=Grid/CN=Inter", "p256")
NEW = ROOT.intermediate("/O=Grid/CN=Inter", "p256")
SUB = NEW.intermediate("/O=Grid/CN=Sub", "p256")
OTHER = TestCA("/O=Other/CN=Root", "p256")


def parse(*authorities: TestCA) -> tuple[Certificate, ...]:
    return tuple(Certificate.parse(one.der) for one in authorities)


@pytest.mark.parametrize(
    ("known", "above"),
    [
        ((), ()),
        ((OLD,), ()),
        ((OLD, ROOT), ()),
        ((NEW,), (NEW,)),
        ((OLD, NEW), (NEW,)),
        ((OTHER, SUB, OLD, NEW, ROOT), (NEW, ROOT)),
    ],
)
def test_only_those_whose_key_has_signed(known: tuple[TestCA, ...], above: tuple[TestCA, ...]) -> None:
    (sub,) = parse(SUB)
    for some in itertools.permutations(parse(*known)):
        found = find_above(sub, some)
        assert found == parse(*above)
        assert find_highest(sub, found) == (sub, *found)[-1]


def test_above_a_root_there_is_nothing() -> None:
    old, new = parse(ROOT, TestCA("/O=Grid/CN=Root", "p256"))
    assert find_above(new, (old, new)) == ()
    assert find_highest(new, ()) == new


def test_certificates_of_one_key_are_all_taken() -> None:
    over = TestCA("/O=Grid/CN=Root", ROOT.key, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    for some in itertools.permutations(parse(over, ROOT, NEW)):
        sub, found = parse(SUB)[0], find_above(parse(SUB)[0], some)
        assert set(found) == set(some)
        assert find_highest(sub, found) == parse(ROOT)[0]


def test_a_root_is_the_highest_before_a_ca_whose_issuer_is_not_known() -> None:
    crossed = TestCA("/O=Grid/CN=Inter", NEW.key, parent=OTHER, not_after=NOW + 9999 * DAY)
    (sub,) = parse(SUB)
    for some in itertools.permutations(parse(crossed, NEW, ROOT)):
        assert find_highest(sub, find_above(sub, some)) == parse(ROOT)[0]
    for some in itertools.permutations(parse(crossed, NEW)):  # neither root: the one that serves for longest
        assert find_highest(sub, find_above(sub, some)) == parse(crossed)[0]


def test_cas_that_have_certified_one_another_come_to_an_end() -> None:
    first, second = OTHER.intermediate("/O=Grid/CN=A", "p256"), OTHER.intermediate("/O=Grid/CN=B", "p256")
    circle = parse(TestCA("/O=Grid/CN=A", first.key, parent=second), TestCA("/O=Grid/CN=B", second.key, parent=first))
    (sub,) = parse(first.intermediate("/O=Grid/CN=C", "p256"))
    assert find_above(sub, circle) == circle
    assert find_highest(sub, circle) in circle


def test_a_weak_signature_or_key_is_for_the_path_to_refuse() -> None:
    root = TestCA("/O=Grid/CN=Root", rsa.generate_private_key(65537, 1024))
    sub = root.intermediate("/O=Grid/CN=Sub", "p256").der
    for signed in (sub, forge(sub, root.key, sha1=True)):
        assert find_above(Certificate.parse(signed), parse(root)) == parse(root)
