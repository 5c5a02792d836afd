"""The memory of issuer parts: right answers with and without it, bounded, and never beyond its time."""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Thread
from typing import Final

import pytest

from gsi.errors import Reason, VerificationError
from gsi.trust import cache as cache_module
from gsi.trust.anchors import TrustAnchors
from gsi.trust.cache import MAX_ENTRY_BYTES
from gsi.trust.verify import CRLPolicy, ValidationOptions, VerificationCache, VerifiedPeer, verify_chain
from tests.harness.ca import LIMITED_INFO, Issued, TestCA, proxy_info, raw_extension
from tests.harness.trust import make_anchors, utc_now

NOW: Final = utc_now()
CA: Final = TestCA()
ALICE: Final = CA.issue("/O=Grid/CN=Alice")
ANCHORS: Final = make_anchors(CA)


def judge(
    leaf: Issued,
    cache: VerificationCache,
    *,
    anchors: TrustAnchors = ANCHORS,
    now: datetime = NOW,
    options: ValidationOptions | None = None,
) -> VerifiedPeer:
    return verify_chain(leaf.chain_der, anchors, now=now, options=options or ValidationOptions(), cache=cache)


def refused(leaf: Issued, cache: VerificationCache, **how: object) -> Reason:
    with pytest.raises(VerificationError) as caught:
        judge(leaf, cache, **how)  # type: ignore[arg-type]  # handed on as they came
    return caught.value.reason


def test_same_answer() -> None:
    cache = VerificationCache()
    leaf = ALICE.proxy(info=LIMITED_INFO).proxy(info=LIMITED_INFO)
    first, second = judge(leaf, cache), judge(leaf, cache)
    assert first == second
    assert len(cache) == 1


def test_another_leaf_under_the_same_issuers() -> None:
    cache = VerificationCache()
    above = ALICE.proxy(info=LIMITED_INFO)
    judge(above.proxy(info=LIMITED_INFO), cache)
    assert refused(above.proxy(), cache) is Reason.PROXY_LIMITED
    assert judge(above.proxy(info=LIMITED_INFO), cache).limited
    assert len(cache) == 1


def test_the_leaf_is_always_checked() -> None:
    cache = VerificationCache()
    above = ALICE.proxy()
    judge(above.proxy(), cache)
    good = above.proxy().chain_der
    broken = (good[0][:-1] + bytes((good[0][-1] ^ 1,)), *good[1:])
    with pytest.raises(VerificationError) as caught:
        verify_chain(broken, ANCHORS, now=NOW, cache=cache)
    assert (caught.value.reason, caught.value.position) == (Reason.BAD_SIGNATURE, 0)


def test_refusals_of_the_issuer_part_are_not_kept() -> None:
    cache = VerificationCache()
    stranger = TestCA("/O=Grid/CN=Stranger").issue("/O=Grid/CN=Eve")
    for _ in range(3):
        assert refused(stranger.proxy(), cache) is Reason.UNTRUSTED
    assert len(cache) == 0


def test_not_beyond_a_certificate() -> None:
    cache = VerificationCache()
    leaf = ALICE.proxy(not_after=NOW + timedelta(hours=1)).proxy(not_after=NOW + timedelta(hours=9))
    judge(leaf, cache)
    assert refused(leaf, cache, now=NOW + timedelta(hours=2)) is Reason.EXPIRED
    assert refused(leaf, cache, now=NOW - timedelta(days=2)) is Reason.NOT_YET_VALID


def test_not_beyond_a_crl() -> None:
    cache = VerificationCache()
    crl = CA.crl(next_update=NOW + timedelta(hours=1))
    anchors = make_anchors(CA, crl=crl)
    leaf = ALICE.proxy()
    judge(leaf, cache, anchors=anchors)
    assert refused(leaf, cache, anchors=anchors, now=NOW + timedelta(hours=2)) is Reason.CRL_EXPIRED


def test_not_before_a_crl() -> None:
    cache = VerificationCache()
    anchors = make_anchors(CA, crl=CA.crl(this_update=NOW - timedelta(minutes=10)))
    leaf = ALICE.proxy(not_before=NOW - timedelta(minutes=50))
    judge(leaf, cache, anchors=anchors)
    before = NOW - timedelta(minutes=30)
    assert refused(leaf, cache, anchors=anchors, now=before) is Reason.CRL_NOT_YET_VALID


def test_not_beyond_the_trust_directory() -> None:
    cache = VerificationCache()
    leaf = ALICE.proxy()
    judge(leaf, cache)
    assert refused(leaf, cache, anchors=make_anchors(CA, crl=CA.crl([ALICE]))) is Reason.REVOKED
    assert judge(leaf, cache).is_proxy


def test_not_for_other_options() -> None:
    cache = VerificationCache()
    leaf = ALICE.proxy().proxy()
    judge(leaf, cache)
    assert refused(leaf, cache, options=ValidationOptions(crl=CRLPolicy.REQUIRE)) is Reason.CRL_MISSING
    judge(leaf, cache, options=ValidationOptions(max_chain=50))
    assert len(cache) == 1


def test_not_for_other_handlers() -> None:
    cache = VerificationCache()
    leaf = ALICE.proxy(info=proxy_info("1.2.3.4", policy=b"x")).proxy()
    for grants in (frozenset({"read"}), frozenset({"write"})):
        options = ValidationOptions(handlers={"1.2.3.4": lambda _, grants=grants: grants})  # type: ignore[misc]  # a default binds the loop's value
        assert judge(leaf, cache, options=options).grants == grants
    assert refused(leaf, cache) is Reason.PROXY_RESTRICTION


def test_whole_chains_of_proxies_are_kept_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = VerificationCache(keeps_leaves=True)
    above = ALICE.proxy()
    first, second = (above.proxy(not_after=NOW + timedelta(hours=hours)) for hours in (1, 2))
    found = [judge(first, cache), judge(second, cache)]  # the second finds the issuer part
    assert len(cache) == 3
    monkeypatch.delattr("gsi.trust.verify.add_proxy")
    assert [judge(first, cache), judge(second, cache)] == found
    monkeypatch.undo()
    assert refused(first, cache, now=NOW + timedelta(hours=1, minutes=1)) is Reason.EXPIRED
    assert refused(second, cache, anchors=make_anchors(CA, crl=CA.crl([ALICE]))) is Reason.REVOKED
    assert refused(first, cache, options=ValidationOptions(max_chain=1)) is Reason.CHAIN_TOO_LONG


def test_end_entity_below_the_same_ca_is_not_taken_for_a_proxy() -> None:
    cache = VerificationCache()
    judge(ALICE.proxy(), cache)
    bob = CA.issue("/O=Grid/CN=Bob")
    with pytest.raises(VerificationError) as caught:
        verify_chain((bob.der, ALICE.der), ANCHORS, now=NOW, cache=cache)
    assert caught.value.reason is Reason.NOT_A_CA


def test_bounded_and_least_recently_used_go_first() -> None:
    cache = VerificationCache(max_entries=2)
    leaves = [CA.issue(f"/O=Grid/CN=User {number}", key="p256").proxy(key="p256") for number in range(3)]
    judge(leaves[0], cache)
    judge(leaves[1], cache)
    judge(leaves[0], cache)
    judge(leaves[2], cache)
    assert len(cache) == 2
    kept = [key for key in cache._entries]  # noqa: C416  in its order
    judge(leaves[0], cache)
    assert set(cache._entries) == set(kept)
    cache.clear()
    assert len(cache) == 0


def test_huge_issuer_parts_are_not_kept() -> None:
    cache = VerificationCache()
    huge = raw_extension("1.2.3.4", bytes(MAX_ENTRY_BYTES))
    judge(ALICE.proxy(extensions=[huge]).proxy(), cache)
    assert len(cache) == 0


def test_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = VerificationCache()
    pad = raw_extension("1.2.3.4", bytes(10_000))
    leaves = [CA.issue(f"/O=Grid/CN=U {n}", key="p256", extensions=[pad]).proxy(key="p256") for n in range(8)]
    monkeypatch.setattr(cache_module, "MAX_TOTAL_BYTES", 50_000)
    for leaf in leaves:
        judge(leaf, cache)
    assert len(cache) == 4
    kept = set(cache._entries)
    judge(leaves[-4], cache)
    assert set(cache._entries) == kept
    judge(leaves[0], cache)
    judge(leaves[-4], cache)
    assert len(cache) == 4
    assert len(kept & set(cache._entries)) == 3  # the one asked for in between was not the oldest


def test_threads() -> None:
    cache = VerificationCache(max_entries=3)
    leaves = [CA.issue(f"/O=Grid/CN=User {number}", key="p256").proxy(key="p256") for number in range(8)]
    failures: list[BaseException] = []

    def work(offset: int) -> None:
        try:
            for number in range(60):
                leaf = leaves[(number + offset) % len(leaves)]
                assert judge(leaf, cache).leaf.der == leaf.der
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=work, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(cache) <= 3


class TestEndEntities:
    """A chain whose leaf is an end entity is kept whole."""

    def test_same_answer_without_another_signature(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cache = VerificationCache()
        first = judge(ALICE, cache)
        name = "gsi.trust.path.check_certificate_signature"
        monkeypatch.setattr(name, lambda *_args, **_how: pytest.fail("verified again"))
        assert judge(ALICE, cache) == first
        assert len(cache) == 1

    def test_not_beyond_its_own_end_a_crl_the_directory_or_the_options(self) -> None:
        cache = VerificationCache()
        alice = CA.issue("/O=Grid/CN=Short", not_after=NOW + timedelta(hours=1))
        crl = CA.crl(next_update=NOW + timedelta(minutes=10))
        judge(alice, cache)
        assert refused(alice, cache, now=NOW + timedelta(hours=2)) is Reason.EXPIRED
        assert refused(alice, cache, anchors=make_anchors(CA, crl=CA.crl([alice]))) is Reason.REVOKED
        assert refused(alice, cache, options=ValidationOptions(crl=CRLPolicy.REQUIRE)) is Reason.CRL_MISSING
        anchors = make_anchors(CA, crl=crl)
        judge(alice, cache, anchors=anchors)
        assert refused(alice, cache, anchors=anchors, now=NOW + timedelta(minutes=30)) is Reason.CRL_EXPIRED

    def test_refusals_are_not_kept(self) -> None:
        cache = VerificationCache()
        for _ in range(2):
            assert refused(TestCA("/O=Grid/CN=Stranger").issue("/O=Grid/CN=Eve"), cache) is Reason.UNTRUSTED
        assert len(cache) == 0

    def test_other_bytes_are_another_chain(self) -> None:
        cache = VerificationCache()
        judge(ALICE, cache)
        (der,) = ALICE.chain_der
        with pytest.raises(VerificationError) as caught:
            verify_chain([der[:-1] + bytes((der[-1] ^ 1,))], ANCHORS, now=NOW, cache=cache)
        assert caught.value.reason is Reason.BAD_SIGNATURE

    def test_places_in_errors_are_those_of_the_chain(self) -> None:
        """What was kept for the end entity as a leaf is not taken for its place above a proxy."""
        cache = VerificationCache()
        judge(ALICE, cache)
        assert judge(ALICE.proxy(), cache).is_proxy
        assert len(cache) == 2
