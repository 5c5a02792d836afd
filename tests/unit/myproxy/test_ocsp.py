"""OCSP beside the chain: whom to ask, what refuses, and what is noted when nobody answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from gsi.certificate import Certificate
from gsi.errors import Reason, StorageError, VerificationError
from gsi.system.audit import Verdict
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import VerifiedPeer, verify_chain
from myproxy.ocsp import OCSPRules, OCSPVerifier
from tests.harness.ca import Issued, TestCA, write_trust_dir
from tests.harness.myproxy import Sink
from tests.harness.web import Answer, Hang, Redirect, WebServer

NOW = datetime.now(UTC)
CA = TestCA("/O=Grid/CN=CA", "p256")


def answer(issued: Issued, status: ocsp.OCSPCertStatus) -> Answer:
    revoked = NOW - timedelta(days=1) if status is ocsp.OCSPCertStatus.REVOKED else None
    builder = ocsp.OCSPResponseBuilder().add_response(
        issued.certificate, CA.certificate, hashes.SHA1(), status, NOW, NOW + timedelta(hours=1), revoked, None
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, CA.certificate)
    return Answer(builder.sign(CA.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with WebServer({"/hang": Hang(), "/nonsense": Answer(b"hello"), "/away": Redirect("{url}/nonsense")}) as server:
        yield server


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> TrustDirectory:
    return TrustDirectory(str(write_trust_dir(tmp_path_factory.mktemp("trust") / "certificates", CA)))


class Desk:
    """A verifier with its records."""

    def __init__(self, trust: TrustDirectory, rules: OCSPRules) -> None:
        self.sink = Sink()
        self.trust = trust
        self.verify = OCSPVerifier(self._verify, rules, self.sink, lambda: NOW)

    def _verify(self, chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
        return verify_chain(chain, self.trust.anchors(), now=now)

    def judge(self, issued: Issued) -> VerifiedPeer:
        return self.verify([Certificate.parse(one) for one in issued.chain_der], now=datetime.now(UTC))


def with_url(url: str | None) -> Issued:
    if url is None:
        return CA.issue("/O=Grid/CN=Alice", "p256")
    access = x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))]
    )
    return CA.issue("/O=Grid/CN=Alice", "p256", extensions=[(access, False)])


@pytest.mark.parametrize("of_a_proxy", [False, True])
@pytest.mark.parametrize("aia", [False, True])
def test_revoked_refuses(trust: TrustDirectory, web: WebServer, aia: bool, of_a_proxy: bool) -> None:
    alice = with_url(web.url("/alice") if aia else None)
    rules = OCSPRules(use_aia=aia, responder_url=None if aia else web.url("/alice"), seconds=5)
    desk = Desk(trust, rules)
    presented = alice.proxy(key="p256") if of_a_proxy else alice
    web.routes["/alice"] = answer(alice, ocsp.OCSPCertStatus.GOOD)
    assert desk.judge(presented).identity == "/O=Grid/CN=Alice"
    web.routes["/alice"] = answer(alice, ocsp.OCSPCertStatus.REVOKED)
    with pytest.raises(VerificationError, match="revoked since") as caught:
        desk.judge(presented)
    assert (caught.value.reason, caught.value.position) == (Reason.REVOKED, 1 if of_a_proxy else 0)
    assert desk.sink.records == []
    assert web.requests[-1] == "POST /alice HTTP/1.1"


def test_the_certificates_own_responder_goes_first(trust: TrustDirectory, web: WebServer) -> None:
    alice = with_url(web.url("/own"))
    web.routes["/own"] = answer(alice, ocsp.OCSPCertStatus.REVOKED)
    web.routes["/other"] = answer(alice, ocsp.OCSPCertStatus.GOOD)
    rules = OCSPRules(use_aia=True, responder_url=web.url("/other"), seconds=5)
    with pytest.raises(VerificationError):
        Desk(trust, rules).judge(alice)
    Desk(trust, dataclasses.replace(rules, use_aia=False)).judge(alice)


@pytest.mark.parametrize("path", ["/hang", "/nonsense", "/away", "/missing", "/stranger", "nobody"])
def test_no_answer_is_noted_and_passed_over_unless_one_is_required(
    trust: TrustDirectory, web: WebServer, path: str
) -> None:
    alice = with_url(None)
    stranger = answer(with_url(None), ocsp.OCSPCertStatus.REVOKED)
    web.routes["/stranger"] = stranger
    url = "http://127.0.0.1:1/" if path == "nobody" else web.url(path)
    rules = OCSPRules(responder_url=url, seconds=0.5)
    desk = Desk(trust, rules)
    desk.judge(alice)
    (record,) = desk.sink.records
    assert (record.action, record.verdict, record.peer) == ("OCSP", Verdict.FAIL, "/O=Grid/CN=Alice")
    assert record.details["outcome"] == "passed over"
    strict = Desk(trust, dataclasses.replace(rules, is_required=True))
    with pytest.raises(VerificationError, match="cannot be found out"):
        strict.judge(alice)
    assert strict.sink.records[0].details["outcome"] == "refused"
    desk.sink.broken = True
    with pytest.raises(StorageError):
        desk.judge(alice)


def test_whoever_nobody_can_be_asked_about(trust: TrustDirectory) -> None:
    alice = with_url(None)
    desk = Desk(trust, OCSPRules(use_aia=True))
    desk.judge(alice)
    assert desk.sink.records == []
    with pytest.raises(VerificationError, match="cannot be found out"):
        Desk(trust, OCSPRules(use_aia=True, is_required=True)).judge(alice)


def test_unknown_is_no_answer_where_one_is_required(trust: TrustDirectory, web: WebServer) -> None:
    alice = with_url(None)
    web.routes["/alice"] = answer(alice, ocsp.OCSPCertStatus.UNKNOWN)
    rules = OCSPRules(responder_url=web.url("/alice"), seconds=5)
    Desk(trust, rules).judge(alice)
    with pytest.raises(VerificationError):
        Desk(trust, dataclasses.replace(rules, is_required=True)).judge(alice)


def test_a_bad_chain_is_not_asked_about(trust: TrustDirectory, web: WebServer, tmp_path: Path) -> None:
    del tmp_path
    stranger = TestCA("/O=Other/CN=CA", "p256").issue("/O=Other/CN=X", "p256")
    asked = len(web.requests)
    with pytest.raises(VerificationError) as caught:
        Desk(trust, OCSPRules(responder_url=web.url("/alice"))).judge(stranger)
    assert caught.value.reason is Reason.UNTRUSTED
    assert len(web.requests) == asked
