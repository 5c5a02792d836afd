"""The values of a decision: what they accept, and that only a permit with known obligations lets anybody through."""

from __future__ import annotations

import pytest

from gsi.authz.decision import (
    ANONYMOUS,
    Account,
    DatabaseRole,
    Decision,
    Effect,
    PoolLease,
    PosixIds,
    StorageQuota,
    Subject,
    deny,
    indeterminate,
    not_applicable,
    permit,
    require_permit,
    understood,
)
from gsi.errors import DeniedError, ParseError
from gsi.proxy.kinds import ProxyKind
from gsi.trust.verify import verify_chain
from tests.harness.ca import LIMITED_INFO, TestCA
from tests.harness.trust import make_anchors, utc_now


@pytest.mark.parametrize(
    "name", ["alice", "pool001", "a.b-c_d", "_svc", "user@vo", "svc$", "DOM\\user", "a+b", "0day", "a" * 255]
)
def test_account_names_that_are_ones(name: str) -> None:
    assert Account(name).name == name
    assert PoolLease(name, "%2fcn%3da").account == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "0",
        "1001",
        "a b",
        "a\n",
        "\nroot",
        "root\n",
        "a:b",
        "a/b",
        "..",
        ".pool",
        "-u",
        "a,b",
        "a\0b",
        "ä",
        "٣",
        "a" * 256,
    ],
)
def test_account_names_that_could_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(ParseError):
        Account(name)
    with pytest.raises(ParseError):
        PoolLease(name, "key")


@pytest.mark.parametrize("ids", [(-1, 0, ()), (0, 1 << 32, ()), (1, 1, (2, -5)), ((1 << 32) - 1, 1, ())])
def test_ids_out_of_range_are_refused(ids: tuple[int, int, tuple[int, ...]]) -> None:
    with pytest.raises(ParseError):
        PosixIds(*ids)


def test_a_quota_below_zero_is_refused() -> None:
    with pytest.raises(ParseError):
        StorageQuota("", -1)


@pytest.mark.parametrize("decision", [deny("a", "no"), not_applicable("a"), indeterminate("a", "broken")])
def test_only_a_permit_permits(decision: Decision) -> None:
    assert not decision.is_permit
    with pytest.raises(DeniedError) as caught:
        require_permit(decision)
    assert caught.value.decision == decision


def test_the_denial_names_the_decision() -> None:
    with pytest.raises(DeniedError, match=r"no \(decision 1234\)"):
        require_permit(Decision(Effect.DENY, "no", decision_id="1234"))


def test_an_obligation_that_is_not_understood_refuses() -> None:
    decision = permit("a", "yes", Account("alice"), DatabaseRole("reader"))
    assert require_permit(decision, understands=(Account, DatabaseRole)).account == "alice"
    with pytest.raises(DeniedError, match="DatabaseRole") as caught:
        require_permit(decision, understands=(Account,))
    judged = caught.value.decision
    assert isinstance(judged, Decision)
    assert judged.effect is Effect.INDETERMINATE
    assert not judged.obligations
    with pytest.raises(DeniedError):
        require_permit(decision)
    assert understood(decision, (Account, DatabaseRole)) is decision


def test_a_lease_names_the_account() -> None:
    assert permit("a", "", PoolLease("pool1", "k")).account == "pool1"
    assert permit("a", "").account is None


def test_the_subject_of_a_verified_chain() -> None:
    ca = TestCA("/O=Grid/CN=CA")
    proxy = ca.issue("/O=Grid/CN=Alice").proxy(info=LIMITED_INFO)
    peer = verify_chain(proxy.chain_der, make_anchors(ca), now=utc_now())
    subject = Subject.from_peer(peer, fqans=("/vo",))
    assert (subject.identity, subject.issuer) == ("/O=Grid/CN=Alice", "/O=Grid/CN=CA")
    assert subject.identity_der == peer.identity_der
    assert subject.kind is ProxyKind.LIMITED
    assert subject.limited
    assert subject.authenticated_by == "x509"
    assert subject.fqans == ("/vo",)
    assert subject.not_after == peer.not_after
    assert not subject.is_anonymous
    assert ANONYMOUS.is_anonymous
    assert not subject.groups
    assert hash(subject) == hash(Subject.from_peer(peer, fqans=("/vo",)))
