"""Refusals that are not the policy's own: what is kept of them, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from gsi.authz.combine import Combining
from gsi.authz.decision import (
    ANONYMOUS,
    Account,
    Action,
    AuthorizationRequest,
    Decision,
    Effect,
    Environment,
    Resource,
    Subject,
    permit,
)
from gsi.authz.engine import Engine
from gsi.authz.policy import Chain, Member, Policy
from gsi.authz.refusals import UNVERIFIED, describe_refused_chain, keep_refusal, peer_in_audit
from gsi.errors import Reason, VerificationError
from tests.harness.ca import TestCA

REQUEST: Final = AuthorizationRequest(
    ANONYMOUS, Action("read", "file"), Resource("/f"), Environment(now=datetime.now(UTC), service="test")
)


class Nobody:
    """An authorizer that is not asked here."""

    name = "nobody"

    def decide(self, request: AuthorizationRequest) -> Decision:
        raise AssertionError(request)


POLICY: Final = Policy(Chain("policy", Combining.FIRST_APPLICABLE, (Member(Nobody(), may_block=False),)))


def _engine(audited: list[Decision]) -> Engine:
    return Engine(POLICY, audit=lambda _, decision: audited.append(decision))


def test_a_refusal_is_kept_under_an_id_of_its_own() -> None:
    audited: list[Decision] = []
    engine = _engine(audited)
    kept = keep_refusal(engine, REQUEST, Effect.DENY, "why", by="test")
    assert (kept.effect, kept.reason, kept.authorizer) == (Effect.DENY, "why", "test")
    assert audited == [kept]
    found = engine.find(kept.decision_id)
    assert found is not None
    assert found.decision == kept
    assert keep_refusal(engine, REQUEST, Effect.DENY, "why", by="test").decision_id != kept.decision_id


def test_a_permit_that_came_to_nothing_keeps_its_id() -> None:
    audited: list[Decision] = []
    before = Decision(Effect.PERMIT, "fine", (Account("alice"),), "rules", "c0ffee00")
    kept = keep_refusal(_engine(audited), REQUEST, Effect.INDETERMINATE, "no such account", by="test", of=before)
    assert (kept.decision_id, kept.effect, kept.obligations) == ("c0ffee00", Effect.INDETERMINATE, ())


def test_no_permit_is_kept_as_a_refusal() -> None:
    """Whatever the caller hands over, nothing that went through here lets anybody in."""
    kept = _engine([]).refuse(REQUEST, permit("test", "fine", Account("alice")))
    assert (kept.effect, kept.obligations) == (Effect.INDETERMINATE, ())
    assert kept.decision_id


def test_a_refusal_that_cannot_be_audited_stays_one() -> None:
    def broken(*_: object) -> None:
        raise OSError("full")

    engine = Engine(POLICY, audit=broken, record=broken)
    assert keep_refusal(engine, REQUEST, Effect.DENY, "why", by="test").effect is Effect.DENY


def test_what_strangers_write_is_cut() -> None:
    name = "/O=Grid" + "".join(f"/CN={'x' * 60}" for _ in range(60))
    chain = TestCA("/O=Grid/CN=CA").issue(name).chain_der
    reason = describe_refused_chain(chain, VerificationError("m" * 5000, reason=Reason.EXPIRED))
    assert len(reason) < 600
    assert reason.startswith("certificates refused (expired: mmm")
    assert "they show /O=Grid/CN=xxx" in reason
    assert len(keep_refusal(_engine([]), REQUEST, Effect.DENY, "r" * 5000, by="test").reason) == 503


def test_chains_without_a_name() -> None:
    error = VerificationError("no certificate", reason=Reason.EXPIRED)
    for chain in ((), (b"",), (b"\x30\x03\x02\x01\x01",)):
        assert describe_refused_chain(chain, error).endswith("they show no name that can be read")


def test_who_it_was() -> None:
    assert peer_in_audit(Subject(identity="/CN=A", authenticated_by="x509")) == "/CN=A"
    assert peer_in_audit(ANONYMOUS) == "<anonymous>"
    assert peer_in_audit(UNVERIFIED) == "<unverified>"
    assert UNVERIFIED.is_anonymous
