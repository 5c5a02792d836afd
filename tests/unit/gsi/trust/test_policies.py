"""Certificate policies along a path: who requires one, who takes it away, what mappings and anyPolicy do."""

from __future__ import annotations

from typing import Final

import pytest

from gsi import der, oids
from gsi.errors import Reason, VerificationError
from gsi.trust.policies import MAX_POLICIES, Level, check_policies
from gsi.trust.profile import Profile
from tests.harness.ca import TestCA, raw_extension, subject_hash
from tests.harness.trust import make_anchors, utc_now

ANY: Final = "2.5.29.32.0"
A, B, C = "1.2.3.1", "1.2.3.2", "1.2.3.3"


def policies(*listed: str) -> dict[str, bytes]:
    body = (der.encode_sequence(der.encode_oid(one)) for one in listed)
    return {oids.CERTIFICATE_POLICIES: der.encode_sequence(*body)}


def mappings(*pairs: tuple[str, str]) -> dict[str, bytes]:
    body = (der.encode_sequence(der.encode_oid(own), der.encode_oid(foreign)) for own, foreign in pairs)
    return {oids.POLICY_MAPPINGS: der.encode_sequence(*body)}


def constraints(*, explicit: int | None = None, mapping: int | None = None) -> dict[str, bytes]:
    fields = b"".join(
        der.encode_tlv(0x80 + tag, bytes((number,)))
        for tag, number in enumerate((explicit, mapping))
        if number is not None
    )
    return {oids.POLICY_CONSTRAINTS: der.encode_sequence(fields)}


def inhibit_any(number: int) -> dict[str, bytes]:
    return {oids.INHIBIT_ANY_POLICY: der.encode_integer(number)}


def path(*levels: dict[str, bytes], self_issued: tuple[int, ...] = (), root: dict[str, bytes] | None = None) -> None:
    """Check a path below a root; the levels from the first CA down to the end entity."""
    top = Profile()
    top.policies = root or {}
    listed = [Level(top, len(levels), is_self_issued=True)]
    for index, values in enumerate(levels):
        profile = Profile()
        profile.policies = values
        listed.append(Level(profile, len(levels) - 1 - index, is_self_issued=index in self_issued))
    check_policies(listed)


def refused(*levels: dict[str, bytes], self_issued: tuple[int, ...] = ()) -> tuple[Reason, int | None]:
    with pytest.raises(VerificationError) as caught:
        path(*levels, self_issued=self_issued)
    return caught.value.reason, caught.value.position


NO: Final = (Reason.CERTIFICATE_POLICY, 0)
NOW_REQUIRED: Final = constraints(explicit=0)


def test_none_is_required_by_itself() -> None:
    path({}, {})
    path(policies(A), policies(B))
    path(policies(A) | constraints(mapping=0), policies(B))


def test_required_by_the_ca() -> None:
    path(policies(A) | NOW_REQUIRED, policies(A))
    path(policies(A) | NOW_REQUIRED, policies(B, A))
    assert refused(policies(A) | NOW_REQUIRED, policies(B)) == NO
    assert refused(policies(A) | NOW_REQUIRED, {}) == NO
    assert refused(NOW_REQUIRED, policies(A)) == NO  # the CA itself asserts none


def test_required_by_the_anchor() -> None:
    path(policies(A), policies(A), root=NOW_REQUIRED)
    with pytest.raises(VerificationError):
        path(policies(A), policies(B), root=NOW_REQUIRED)


def test_required_by_the_end_entity() -> None:
    assert refused(policies(A), policies(B) | NOW_REQUIRED) == NO
    path(policies(A), policies(B) | constraints(explicit=1))


def test_required_some_certificates_below() -> None:
    assert refused(policies(A) | constraints(explicit=2), policies(A), policies(B)) == NO
    path(policies(A) | constraints(explicit=3), policies(A), policies(B))
    assert refused(policies(A) | constraints(explicit=1), policies(B), policies(B), policies(B)) == (
        Reason.CERTIFICATE_POLICY,
        1,
    )


def test_self_issued_certificates_do_not_count() -> None:
    path(policies(A) | constraints(explicit=2), {}, {}, self_issued=(1,))
    assert refused(policies(A) | constraints(explicit=2), {}, {}) == NO


def test_the_smaller_number_counts() -> None:
    assert refused(constraints(explicit=5), NOW_REQUIRED, {}) == NO
    assert refused(NOW_REQUIRED, constraints(explicit=5), {})[1] == 1


def test_any_policy() -> None:
    path(policies(ANY) | NOW_REQUIRED, policies(B))
    path(policies(A) | NOW_REQUIRED, policies(ANY))
    path(policies(ANY) | NOW_REQUIRED, policies(ANY))


def test_any_policy_inhibited() -> None:
    assert refused(policies(A) | NOW_REQUIRED | inhibit_any(0), policies(ANY)) == NO
    path(policies(A) | NOW_REQUIRED | inhibit_any(1), policies(ANY))
    path(policies(A) | NOW_REQUIRED | inhibit_any(0), policies(A, ANY))
    path(policies(A) | NOW_REQUIRED | inhibit_any(0), policies(ANY), policies(A), self_issued=(1,))
    assert refused(policies(A) | NOW_REQUIRED | inhibit_any(0), policies(ANY), policies(A))[1] == 1


def test_mappings() -> None:
    path(policies(A) | NOW_REQUIRED | mappings((A, B)), policies(B))
    assert refused(policies(A) | NOW_REQUIRED | mappings((A, B)), policies(A)) == NO
    path(policies(A) | NOW_REQUIRED | mappings((A, B), (A, C)), policies(C))
    path(policies(ANY) | NOW_REQUIRED | mappings((A, B)), policies(B))
    assert refused(policies(A) | NOW_REQUIRED | mappings((C, B)), policies(B)) == NO


def test_mappings_inhibited() -> None:
    top = policies(A) | constraints(explicit=0, mapping=0)
    assert refused(top, policies(A) | mappings((A, B)), policies(B)) == NO
    later = policies(A) | constraints(explicit=0, mapping=1)
    path(later, policies(A) | mappings((A, B)), policies(B))
    assert refused(later, policies(A), policies(A) | mappings((A, B)), policies(B)) == NO


@pytest.mark.parametrize("pair", [(ANY, A), (A, ANY)])
def test_mappings_of_any_policy_are_refused_though_none_is_required(pair: tuple[str, str]) -> None:
    assert refused(policies(A) | mappings(pair), policies(A)) == (Reason.CERTIFICATE_POLICY, 1)


@pytest.mark.parametrize(
    "bad",
    [
        {oids.CERTIFICATE_POLICIES: b"\x30\x00"},
        policies(A, A),
        policies(*(f"1.2.{number}" for number in range(MAX_POLICIES + 1))),
        {oids.CERTIFICATE_POLICIES: bytes.fromhex("30073005 06032a0304".replace(" ", "")) + b"\x00"},
        {oids.POLICY_MAPPINGS: b"\x30\x00"},
        mappings(*((f"1.2.{number}", "1.3.1") for number in range(MAX_POLICIES + 1))),
        {oids.POLICY_CONSTRAINTS: b"\x30\x00"},
        {oids.POLICY_CONSTRAINTS: bytes.fromhex("30038001ff")},
        {oids.POLICY_CONSTRAINTS: bytes.fromhex("30028000")},
        {oids.POLICY_CONSTRAINTS: bytes.fromhex("3006810100800100")},
        {oids.INHIBIT_ANY_POLICY: bytes.fromhex("0201ff")},
        {oids.INHIBIT_ANY_POLICY: bytes.fromhex("02010000")},
        {oids.INHIBIT_ANY_POLICY: b""},
    ],
)
def test_malformed(bad: dict[str, bytes]) -> None:
    assert refused(constraints(explicit=9) | bad, {}) == (Reason.MALFORMED, 1)


def test_huge_numbers_are_numbers() -> None:
    path({oids.POLICY_CONSTRAINTS: der.encode_sequence(der.encode_tlv(0x80, b"\x7f" * 100))}, {})


def test_many_policies_and_mappings_stay_cheap() -> None:
    """The tree of RFC 5280 doubles at each such level; a level that knows each policy once does not."""
    every = [f"1.2.{number}" for number in range(100)]
    level = policies(*every) | mappings(*((one, other) for one in every[:2] for other in every))
    path(NOW_REQUIRED | level, *([level] * 8), policies(every[-1]))


def test_a_chain() -> None:
    """All of it through the validator, with a proxy below; a proxy's own critical constraints are refused."""
    from gsi.trust.verify import verify_chain

    root = TestCA("/O=Grid/CN=Policy Root", key="p256")
    listed = raw_extension(oids.CERTIFICATE_POLICIES, policies(A)[oids.CERTIFICATE_POLICIES])
    demand = raw_extension(oids.POLICY_CONSTRAINTS, NOW_REQUIRED[oids.POLICY_CONSTRAINTS], critical=True)
    sub = TestCA("/O=Grid/CN=Sub", key="p256", parent=root, extensions=[listed, demand])
    rules = {f"{subject_hash(sub.certificate)}.signing_policy": sub.signing_policy().encode()}
    anchors = make_anchors(root, more=rules)
    alice = sub.issue("/O=Grid/CN=Alice", "p256", extensions=[listed])
    assert verify_chain(alice.proxy().chain_der, anchors, now=utc_now()).identity == "/O=Grid/CN=Alice"
    for chain, reason in (
        (sub.issue("/O=Grid/CN=Bob", "p256").proxy(), Reason.CERTIFICATE_POLICY),
        (alice.proxy(extensions=[demand]), Reason.UNKNOWN_CRITICAL_EXTENSION),
    ):
        with pytest.raises(VerificationError) as caught:
            verify_chain(chain.chain_der, anchors, now=utc_now())
        assert caught.value.reason is reason
