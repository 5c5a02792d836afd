"""Requests as attributes of each profile, and the way back; the point that answers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from gsi.authz.decision import (
    Account,
    AuthorizationRequest,
    DatabaseRole,
    Decision,
    Effect,
    PoolLease,
    PosixIds,
    StorageLot,
    StorageQuota,
    Subject,
    indeterminate,
    permit,
)
from gsi.authz.engine import Engine
from gsi.authz.xacml.answer import answer_request
from gsi.authz.xacml.attributes import EncodingOptions, request_attributes, request_of
from gsi.authz.xacml.document import (
    Attribute,
    Category,
    Obliged,
    Scalar,
    Verdict,
    XacmlRequest,
    XacmlResult,
    encode_request,
    encode_response,
    parse_request,
    parse_response,
)
from gsi.authz.xacml.identifiers import ACCESS_SUBJECT, ACTION, ENVIRONMENT, GSI, RESOURCE, Profile
from gsi.authz.xacml.obligations import decision_of, result_of
from gsi.certificate import Certificate
from gsi.errors import ParseError
from gsi.proxy.kinds import ProxyKind
from gsi.trust.options import ValidationOptions
from gsi.trust.peer import VerifiedPeer
from gsi.trust.verify import verify_chain
from tests.harness.authz import NOW, Fixed, Raising, policy_of, user
from tests.harness.authz import request_of as make_request
from tests.harness.ca import TestCA
from tests.harness.trust import make_anchors, utc_now

ALICE: Final = "/O=Grid/OU=Physics/CN=Alice"


def whole() -> AuthorizationRequest:
    """A request with something in every place."""
    subject = replace(
        user(ALICE, fqans=("/atlas/Role=production/Capability=NULL", "/atlas"), groups=frozenset({"b", "a"})),
        kind=ProxyKind.LIMITED,
        limited=True,
        not_after=NOW + timedelta(hours=1),
        claims={"iss": "https://i", "wlcg.groups": ("/x", "/y"), "exp": 5, "nested": {"a": 1}, "ok": True},
        assertions=("<saml/>", object()),
    )
    return make_request(
        subject,
        "write",
        "ftp://se.example.org/data/é f",
        attributes={"exists": ("true",), "real_path": ("/a", "/b"), "empty": ()},
        service="file",
        host="se.example.org",
        peer_address="192.0.2.1",
        desired_account="alice",
        now=NOW,
    )


def sent(request: AuthorizationRequest, **options: object) -> dict[str, tuple[Scalar, ...]]:
    found = request_attributes(request, EncodingOptions(**options))  # type: ignore[arg-type]  # handed on by name
    return {each.identifier: each.values for category in found.categories for each in category.attributes}


def test_nothing_is_lost_between_two_of_ours() -> None:
    request = whole()
    data = encode_request(request_attributes(request, EncodingOptions()))
    told = request_of(parse_request(data), now=NOW)
    kept = {name: value for name, value in request.subject.claims.items() if name != "nested"}
    assert told.request == replace(request, subject=replace(request.subject, claims=kept, assertions=("<saml/>",)))
    assert told.request.resource.attributes == request.resource.attributes
    assert told.request.subject.claims == kept
    assert told.chain == ()


def test_others_than_names() -> None:
    token = Subject(identity="https://i#/O=Grid/CN=Alice", issuer="https://i", authenticated_by="token")
    for subject in (token, Subject()):
        request = make_request(subject, "read", "")
        told = request_of(parse_request(encode_request(request_attributes(request, EncodingOptions()))), now=NOW)
        assert told.request == request
        assert told.request.subject.identity_der == b""


def test_glite() -> None:
    found = sent(whole(), profile=Profile.GLITE, actions={"file:write": "http://glite.org/xacml/action/put"})
    assert found["urn:oasis:names:tc:xacml:1.0:subject:subject-id"] == ("CN=Alice,OU=Physics,O=Grid",)
    assert found["http://glite.org/xacml/attribute/subject-issuer"] == ("CN=CA,O=Grid",)
    assert found["http://glite.org/xacml/attribute/virtual-organization"] == ("atlas",)
    assert found["http://glite.org/xacml/attribute/fqan"] == ("/atlas/Role=production", "/atlas")
    assert found["http://glite.org/xacml/attribute/fqan/primary"] == ("/atlas/Role=production",)
    assert found["http://glite.org/xacml/attribute/profile-id"] == ("http://glite.org/xacml/profile/grid-ce/1.0",)
    assert found["urn:oasis:names:tc:xacml:1.0:action:action-id"] == ("http://glite.org/xacml/action/put",)
    assert not any(identifier.startswith(GSI) for identifier in found)


def test_the_common_profile() -> None:
    found = sent(whole(), profile=Profile.COMMON_AUTHZ, resource="http://ce/", profile_id="http://own/")
    own = "http://dci-sec.org/xacml/attribute/"
    assert found[f"{own}group"] == ("/atlas",)
    assert found[f"{own}group/primary"] == ("/atlas",)
    assert found[f"{own}role"] == ("production",)
    assert found[f"{own}role/primary"] == ("production",)
    assert found[f"{own}profile-id"] == ("http://own/",)
    assert found["urn:oasis:names:tc:xacml:1.0:resource:resource-id"] == ("http://ce/",)


def test_authz_interop() -> None:
    found = sent(whole(), profile=Profile.AUTHZ_INTEROP)
    own = "http://authz-interop.org/xacml/subject/"
    assert found[f"{own}subject-x509-id"] == (ALICE,)
    assert found[f"{own}subject-x509-issuer"] == ("/O=Grid/CN=CA",)
    assert found[f"{own}vo"] == ("atlas",)
    assert found[f"{own}voms-fqan"] == ("/atlas/Role=production/Capability=NULL", "/atlas")
    assert found[f"{own}voms-primary-fqan"] == ("/atlas/Role=production/Capability=NULL",)


@pytest.mark.parametrize("profile", Profile)
def test_every_profile_is_understood(profile: Profile) -> None:
    data = encode_request(request_attributes(whole(), EncodingOptions(profile=profile)))
    subject = request_of(parse_request(data), now=NOW).request.subject
    assert subject.identity == ALICE
    assert subject.identity_der == user(ALICE).identity_der
    assert subject.issuer == "/O=Grid/CN=CA"
    if profile is Profile.COMMON_AUTHZ:
        assert subject.groups == {"/atlas"}
    else:
        assert subject.fqans[0].startswith("/atlas/Role=production")


def asked(subject: tuple[Attribute, ...] = (), **others: tuple[Attribute, ...]) -> XacmlRequest:
    action = (Attribute("urn:oasis:names:tc:xacml:1.0:action:action-id", ("read",)),)
    names = {"resource": RESOURCE, "action": ACTION, "environment": ENVIRONMENT}
    groups = {"action": action} | others
    return XacmlRequest(
        (Category(ACCESS_SUBJECT, subject), *(Category(names[name], found) for name, found in groups.items()))
    )


SUBJECT_ID: Final = "urn:oasis:names:tc:xacml:1.0:subject:subject-id"


@pytest.mark.parametrize(
    ("xacml", "words"),
    [
        (asked((Attribute(f"{GSI}subject:made-up", ("x",)),)), "not known"),
        (asked(environment=(Attribute(f"{GSI}environment:made-up", ("x",)),)), "not known"),
        (asked((Attribute(SUBJECT_ID, ("a", "b")),)), "several values"),
        (asked((Attribute(SUBJECT_ID, ("a",)), Attribute(SUBJECT_ID, ("b",)))), "twice"),
        (asked((Attribute(SUBJECT_ID, (3,)),)), "no text"),
        (asked((Attribute(SUBJECT_ID, ("x",), "rfc822Name"),)), "of the type"),
        (asked((Attribute(SUBJECT_ID, ("no name",), "x500Name"),)), "name"),
        (asked((Attribute(f"{GSI}subject:limited", ("true",)),)), "neither true nor false"),
        (asked((Attribute(f"{GSI}subject:proxy", ("odd",)),)), "no kind of proxy"),
        (asked((Attribute(f"{GSI}subject:not-after", ("tomorrow",)),)), "no time"),
        (asked((Attribute(f"{GSI}subject:not-after", ("2026-01-01T00:00:00",)),)), "without a zone"),
        (asked((Attribute("urn:oasis:names:tc:xacml:1.0:subject:key-info", ("é",)),)), "chain"),
        (asked(action=()), "no action"),
        (asked(resource=(Attribute(f"{GSI}resource-attribute:x", (3,)),)), "no text"),
    ],
)
def test_what_is_refused(xacml: XacmlRequest, words: str) -> None:
    with pytest.raises(ParseError, match=words):
        request_of(xacml, now=NOW)
    engine = Engine(policy_of(Fixed(Effect.PERMIT)))
    assert parse_response(answer_request(encode_request(xacml), engine, now=NOW)).decision is Verdict.INDETERMINATE


def test_what_is_passed_over() -> None:
    odd = Attribute("http://example.org/other", ("x",))
    told = request_of(asked((odd,), environment=(odd,)), now=NOW)
    assert told.request.subject == Subject()


def test_odd_names_do_not_go_over() -> None:
    with pytest.raises(ParseError, match="called"):
        sent(make_request(user(ALICE), attributes={"a b": ("x",)}))


# --- obligations ------------------------------------------------------------------------------------------------------

OBLIGATIONS: Final = [
    (),
    (Account("alice"),),
    (PosixIds(500, 600),),
    (PosixIds(500, 600, (7, 8)), Account("alice")),
    (PoolLease("pool001", "%2fo%3dg"),),
    (DatabaseRole("reader"),),
    (StorageQuota("", 5), StorageQuota("scratch", 0)),
    (StorageLot("lot"),),
]


@pytest.mark.parametrize("obligations", OBLIGATIONS)
def test_obligations_both_ways(obligations: tuple[Account, ...]) -> None:
    decision = permit("a", "because", *obligations, not_after=NOW)
    decision = replace(decision, decision_id="c0ffee")
    found = decision_of(parse_response(encode_response(result_of(decision))), "remote")
    assert found.effect is Effect.PERMIT
    assert set(found.obligations) == set(obligations)
    assert found.not_after == NOW
    assert found.reason == "the service permits: 'because'"


@pytest.mark.parametrize("effect", [Effect.DENY, Effect.NOT_APPLICABLE, Effect.INDETERMINATE])
def test_refusals_both_ways(effect: Effect) -> None:
    found = decision_of(parse_response(encode_response(result_of(Decision(effect, "x", (Account("a"),))))), "remote")
    assert (found.effect, found.obligations) == (effect, ())


GLITE: Final = "http://glite.org/xacml/"
COMMON: Final = "http://dci-sec.org/xacml/"
INTEROP: Final = "http://authz-interop.org/xacml/"


def _find(account: str, primary: str, groups: Sequence[str]) -> PosixIds:
    assert (account, primary, list(groups)) == ("alice", "users", ["a", "b"])
    return PosixIds(500, 600, (7, 8))


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (f"{GLITE}obligation/local-environment-map/posix", f"{GLITE}attribute/"),
        (f"{COMMON}obligation/map-local-user/posix", f"{COMMON}attribute/"),
    ],
)
def test_accounts_of_argus(kind: str, own: str) -> None:
    user_only = Obliged(kind, (Attribute(f"{own}user-id", ("alice",)),))
    groups = (Attribute(f"{own}group-id/primary", ("users",)), Attribute(f"{own}group-id", ("a", "b")))
    everything = Obliged(kind, (*user_only.attributes, *groups))
    assert decision_of(XacmlResult(Verdict.PERMIT, obligations=(user_only,)), "r").obligations == (Account("alice"),)
    found = decision_of(XacmlResult(Verdict.PERMIT, obligations=(everything,)), "r", find_ids=_find)
    assert found.obligations == (Account("alice"), PosixIds(500, 600, (7, 8)))
    assert decision_of(XacmlResult(Verdict.PERMIT, obligations=(everything,)), "r").effect is Effect.DENY


def test_numbers_as_texts() -> None:
    own = f"{INTEROP}attribute/"
    ids = Obliged(
        f"{INTEROP}obligation/uidgid", (Attribute(f"{own}posix-uid", ("500",)), Attribute(f"{own}posix-gid", ("600",)))
    )
    assert decision_of(XacmlResult(Verdict.PERMIT, obligations=(ids,)), "r").obligations == (PosixIds(500, 600),)


@pytest.mark.parametrize(
    "obligations",
    [
        (Obliged("http://example.org/unknown"),),
        (Obliged(f"{COMMON}obligation/map-local-user"),),
        (Obliged(f"{INTEROP}obligation/afs-token"),),
        (Obliged(f"{GSI}obligation:made-up"),),
        (Obliged(f"{INTEROP}obligation/username"),),
        (Obliged(f"{INTEROP}obligation/username", (Attribute(f"{INTEROP}attribute/username", ("a", "b")),)),),
        (Obliged(f"{INTEROP}obligation/username", (Attribute(f"{INTEROP}attribute/username", ("a b",)),)),),
        (Obliged(f"{INTEROP}obligation/username", (Attribute(f"{INTEROP}attribute/username", (7,)),)),),
        (
            Obliged(
                f"{INTEROP}obligation/username",
                (Attribute(f"{INTEROP}attribute/username", ("a",)), Attribute("http://more", ("x",))),
            ),
        ),
        (Obliged(f"{INTEROP}obligation/secondary-gids", (Attribute(f"{INTEROP}attribute/posix-gid", (5,)),)),),
        (
            Obliged(
                f"{INTEROP}obligation/uidgid",
                (
                    Attribute(f"{INTEROP}attribute/posix-uid", (-1,)),
                    Attribute(f"{INTEROP}attribute/posix-gid", (5,)),
                ),
            ),
        ),
        (
            Obliged(
                f"{INTEROP}obligation/uidgid",
                (
                    Attribute(f"{INTEROP}attribute/posix-uid", (True,)),
                    Attribute(f"{INTEROP}attribute/posix-gid", (5,)),
                ),
            ),
        ),
    ],
)
def test_obligations_that_nobody_can_carry_out(obligations: tuple[Obliged, ...]) -> None:
    found = decision_of(XacmlResult(Verdict.PERMIT, obligations=obligations), "remote")
    assert found.effect is Effect.DENY
    assert found.obligations == ()
    assert decision_of(XacmlResult(Verdict.DENY, obligations=obligations), "remote").effect is Effect.DENY


def test_a_permit_with_a_bad_status_is_none() -> None:
    assert decision_of(XacmlResult(Verdict.PERMIT, "urn:other"), "r").effect is Effect.INDETERMINATE


def test_an_end_that_is_no_time() -> None:
    advice = Obliged(f"{GSI}advice:decision", (Attribute(f"{GSI}advice:decision:not-after", ("never",)),))
    with pytest.raises(ParseError, match="no time"):
        decision_of(XacmlResult(Verdict.PERMIT, advice=(advice,)), "r")


# --- answering --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


def test_chains_are_judged_by_who_answers(ca: TestCA) -> None:
    anchors, now = make_anchors(ca), utc_now()

    def verify(chain: tuple[bytes, ...]) -> VerifiedPeer:
        return verify_chain(chain, anchors, now=now, options=ValidationOptions())

    alice = ca.issue(ALICE).proxy()
    subject = Subject.from_peer(verify(alice.chain_der), fqans=("/atlas",))
    seen: list[AuthorizationRequest] = []

    class Script:
        name = "script"

        def decide(self, request: AuthorizationRequest) -> Decision:
            seen.append(request)
            return permit("script", "yes")

    engine = Engine(policy_of(Script()))

    def ask(subject: Subject, options: EncodingOptions | None = None) -> XacmlResult:
        request = make_request(subject, "read", "/x", now=now)
        data = encode_request(request_attributes(request, options or EncodingOptions()))
        return parse_response(answer_request(data, engine, now=now, verify=verify))

    for profile in Profile:
        assert ask(subject, EncodingOptions(profile=profile)).decision is Verdict.PERMIT
        assert seen[-1].subject.chain == subject.chain
        assert seen[-1].subject.kind is ProxyKind.FULL
    assert ask(subject).decision is Verdict.PERMIT
    assert seen[-1].subject == subject
    lie = replace(subject, limited=False, kind=None, independent=False, not_after=None)
    assert ask(lie).decision is Verdict.PERMIT
    assert seen[-1].subject == subject
    count = len(seen)
    assert "somebody else" in ask(replace(subject, identity_der=user("/O=Grid/CN=Bob").identity_der)).message
    assert "no certificate chain" in ask(replace(subject, chain=())).message
    assert "no certificate chain" in ask(subject, EncodingOptions(send_chain=False)).message
    stranger = TestCA("/O=Grid/CN=Stranger").issue(ALICE)
    chain = tuple(Certificate.parse(each) for each in stranger.chain_der)
    assert "refused" in ask(replace(subject, chain=chain)).message
    assert len(seen) == count


def test_whatever_comes_there_is_an_answer() -> None:
    good = encode_request(request_attributes(whole(), EncodingOptions()))
    for authorizer in (Raising(RuntimeError("x")), Fixed(Effect.INDETERMINATE)):
        answer = parse_response(answer_request(good, Engine(policy_of(authorizer)), now=NOW))
        assert answer.decision is Verdict.INDETERMINATE

    class Broken(Engine):
        def authorize(
            self, request: AuthorizationRequest, *, leasing: bool = True, otherwise: Decision | None = None
        ) -> Decision:
            raise RuntimeError("secret")

    answer = parse_response(answer_request(good, Broken(policy_of(Fixed(Effect.PERMIT))), now=NOW))
    assert answer.decision is Verdict.INDETERMINATE
    assert "secret" not in answer.message
    assert result_of(indeterminate("x", "y")).status.endswith("processing-error")
