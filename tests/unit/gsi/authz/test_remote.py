"""Asking another service: a real one of ours over HTTP and HTTPS, and servers with every kind of bad answer."""

from __future__ import annotations

import grp
import json
import os
import pwd
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gsi.authz.decision import Account, AuthorizationRequest, Decision, Effect, PosixIds, Subject, permit
from gsi.authz.engine import Engine
from gsi.authz.policyfile import parse_policy
from gsi.authz.registry import Place
from gsi.authz.remote import RemoteAuthorizer, RemotePlace, find_ids
from gsi.authz.xacml.attributes import EncodingOptions
from gsi.authz.xacml.document import MAX_MESSAGE_BYTES, MEDIA_TYPE, Verdict, XacmlResult, encode_response
from gsi.authz.xacml.identifiers import Profile
from gsi.credential import Credential, parse_credential
from gsi.errors import ConfigError, GridError, ParseError, TimeoutExpiredError, VerificationError
from gsi.trust.anchors import TrustAnchors
from gsi.trust.options import ValidationOptions
from gsi.trust.peer import VerifiedPeer
from gsi.trust.verify import verify_chain
from tests.harness.authz import Fixed, policy_of, request_of, user
from tests.harness.ca import Issued, TestCA, write_trust_dir
from tests.harness.pdp import Pdp
from tests.harness.trust import make_anchors, utc_now
from tests.harness.web import Answer, Drip, Hang, Raw, Redirect, Script, WebServer

ALICE = "/O=Grid/CN=Alice"


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture(scope="module")
def anchors(ca: TestCA) -> TrustAnchors:
    return make_anchors(ca)


@pytest.fixture(scope="module")
def proxy(ca: TestCA) -> Credential:
    return _credential(ca.issue("/O=Grid/CN=service").proxy())


def _credential(issued: Issued) -> Credential:
    return parse_credential(issued.bundle(), source="test")


def _context(ca: TestCA, tmp_path: Path) -> ssl.SSLContext:
    """A server's TLS that asks for a certificate; chains with proxies pass."""
    ca.issue_host().write(tmp_path / "cert.pem", tmp_path / "key.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.load_verify_locations(cadata=ca.pem.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VerifyFlags.VERIFY_ALLOW_PROXY_CERTS
    return context


class Script2:
    """Permits Alice to read with an account, and remembers who asked."""

    name = "script"

    def __init__(self) -> None:
        self.asked: list[AuthorizationRequest] = []

    def decide(self, request: AuthorizationRequest) -> Decision:
        self.asked.append(request)
        if request.subject.identity == ALICE and request.action.name == "read":
            return permit("script", "Alice reads", Account("alice"))
        return Decision(Effect.DENY, "not you")


def remote(url: str, anchors: TrustAnchors, *, seconds: float = 10, **more: object) -> RemoteAuthorizer:
    options = more.pop("options", None)
    assert options is None or isinstance(options, EncodingOptions)
    place = RemotePlace(url=url, anchors=lambda: anchors, seconds=seconds, **more)  # type: ignore[arg-type]  # values by name
    return RemoteAuthorizer("remote", place, options)


# --- with a real service ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", Profile)
def test_over_plain_http(anchors: TrustAnchors, profile: Profile) -> None:
    script = Script2()
    with Pdp(Engine(policy_of(script))) as pdp:
        authorizer = remote(pdp.url, anchors, options=EncodingOptions(profile=profile))
        decision = authorizer.decide(request_of(user(ALICE), "read", "/data/é"))
        assert decision.effect is Effect.PERMIT
        assert decision.obligations == (Account("alice"),)
        assert decision.reason == "the service permits: 'Alice reads'"
        assert authorizer.decide(request_of(user(ALICE), "write", "/x")).effect is Effect.DENY
        assert authorizer.decide(request_of(user("/O=Grid/CN=Bob"), "read", "/x")).effect is Effect.DENY
    assert script.asked[0].resource.name == "/data/é"
    assert [each.subject.identity for each in script.asked] == [ALICE, ALICE, "/O=Grid/CN=Bob"]


@pytest.fixture
def secure(ca: TestCA, anchors: TrustAnchors, tmp_path: Path) -> Iterator[tuple[Pdp, Script2]]:
    def verify(chain: tuple[bytes, ...]) -> VerifiedPeer:
        return verify_chain(chain, anchors, now=utc_now(), options=ValidationOptions())

    script = Script2()
    with Pdp(Engine(policy_of(script)), context=_context(ca, tmp_path), verify=verify) as pdp:
        yield pdp, script


def test_over_tls_with_a_proxy(
    secure: tuple[Pdp, Script2], ca: TestCA, anchors: TrustAnchors, proxy: Credential
) -> None:
    pdp, script = secure
    alice = ca.issue(ALICE).proxy()
    peer = verify_chain(alice.chain_der, anchors, now=utc_now(), options=ValidationOptions())
    asked = request_of(Subject.from_peer(peer), "read", "/x", now=utc_now())
    authorizer = remote(pdp.url, anchors, credential=proxy)
    assert authorizer.decide(asked).effect is Effect.PERMIT
    assert script.asked[0].subject == asked.subject
    assert pdp.clients == [2]  # the proxy and the certificate behind it
    liar = replace(asked, subject=replace(asked.subject, chain=()))
    assert authorizer.decide(liar).effect is Effect.INDETERMINATE


def test_a_server_must_prove_its_name(secure: tuple[Pdp, Script2], ca: TestCA, anchors: TrustAnchors) -> None:
    pdp, script = secure
    asked = request_of(user(ALICE), "read", "/x")
    strangers = make_anchors(TestCA("/O=Grid/CN=Other"))
    for authorizer in (
        remote(pdp.url, strangers),
        remote(pdp.url.replace("localhost", "127.0.0.1"), anchors),
        remote(pdp.url, anchors, server_dn="/O=Grid/CN=somebody else"),
    ):
        with pytest.raises(VerificationError):
            authorizer.decide(asked)
    assert pdp.requests == []
    named = ca.issue_host().subject
    assert remote(pdp.url, anchors, server_dn=named).decide(asked).effect is Effect.INDETERMINATE  # without a chain
    assert script.asked == []


def test_two_of_ours_through_an_engine(anchors: TrustAnchors) -> None:
    with Pdp(Engine(policy_of(Script2()))) as pdp:
        engine = Engine(policy_of(remote(pdp.url, anchors), may_block=True))
        assert engine.authorize(request_of(user(ALICE), "read", "/x")).account == "alice"
        assert engine.authorize(request_of(user(ALICE), "write", "/x")).effect is Effect.DENY
        other = request_of(user(ALICE), "read", "/x", desired_account="bob")
        assert engine.authorize(other).effect is Effect.DENY
    gone = engine.authorize(request_of(user(ALICE), "read", "/x"))
    assert gone.effect is Effect.INDETERMINATE
    assert "unable to connect" in gone.reason


# --- bad answers ------------------------------------------------------------------------------------------------------

GOOD = encode_response(XacmlResult(Verdict.PERMIT))
JSON = (f"Content-Type: {MEDIA_TYPE}",)


def chunked(*parts: bytes) -> Raw:
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return Raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + body)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(GOOD, headers=JSON),
        Answer(GOOD, headers=("Content-Type: Application/JSON ; charset=utf-8",)),
        chunked(GOOD[:3], GOOD[3:], b""),
        Raw(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + GOOD),
    ],
)
def test_answers(anchors: TrustAnchors, answer: Script) -> None:
    with WebServer({"/pdp": answer}) as web:
        assert remote(web.url("/pdp"), anchors).decide(request_of(user(ALICE))).effect is Effect.PERMIT


BIG = b'{"Response":[{"Decision":"Permit","Status":{"StatusMessage":"' + b"x" * MAX_MESSAGE_BYTES + b'"}}]}'


@pytest.mark.parametrize(
    "answer",
    [
        Answer(GOOD, "403 Forbidden", JSON),
        Answer(GOOD, "500 Oops", JSON),
        Answer(GOOD, "204 No Content", JSON),
        Redirect("{url}/good"),
        Answer(GOOD),
        Answer(GOOD, headers=("Content-Type: text/html",)),
        Answer(GOOD, headers=(*JSON, "Content-Encoding: gzip")),
        Answer(b"", headers=JSON),
        Answer(GOOD[:-1], headers=JSON),
        Answer(GOOD + GOOD, headers=JSON),
        Answer(b"Permit", headers=JSON),
        Answer(json.dumps({"Response": [{"Decision": "Permit"}] * 2}).encode(), headers=JSON),
        Answer(BIG, headers=JSON),
        chunked(BIG, b""),
        chunked(GOOD),
        Raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        Raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n" + GOOD),
        Raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: -1\r\n\r\n" + GOOD[:5]),
        Raw(b"SSH-2.0-OpenSSH\r\n"),
        Raw(b"\xff" * 100),
        Raw(b""),
        Raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000),
        Raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000),
    ],
)
def test_answers_that_are_none(anchors: TrustAnchors, answer: Script) -> None:
    good = Answer(GOOD, headers=JSON)
    with WebServer({"/pdp": answer, "/good": good}) as web:
        with pytest.raises(GridError):
            remote(web.url("/pdp"), anchors).decide(request_of(user(ALICE)))
        engine = Engine(policy_of(remote(web.url("/pdp"), anchors)))
        assert engine.authorize(request_of(user(ALICE))).effect is Effect.INDETERMINATE


@pytest.mark.parametrize("answer", [Hang(), Drip(), Drip(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")])
def test_servers_that_take_their_time(anchors: TrustAnchors, answer: Script) -> None:
    with WebServer({"/pdp": answer}) as web, pytest.raises(TimeoutExpiredError):
        remote(web.url("/pdp"), anchors, seconds=0.3).decide(request_of(user(ALICE)))


def test_a_server_without_tls(anchors: TrustAnchors) -> None:
    with WebServer({"/pdp": Answer(GOOD, headers=JSON)}) as web, pytest.raises(GridError):
        remote(web.url("/pdp").replace("http:", "https:"), anchors).decide(request_of(user(ALICE)))


def test_questions_that_are_too_long(anchors: TrustAnchors) -> None:
    many = request_of(user(ALICE, groups=frozenset(f"{number:0400}" for number in range(3000))))
    with pytest.raises(ParseError, match="limit"):
        remote("http://localhost:1/", anchors).decide(many)


# --- settings ---------------------------------------------------------------------------------------------------------


def _policy(tmp_path: Path, text: str) -> RemoteAuthorizer:
    whole = f'order = ["r"]\n[authorizer.r]\ntype = "xacml"\n{text}'
    loaded = parse_policy(whole.encode(), Place(str(tmp_path / "policy.toml")))
    (member,) = loaded.policy.root.walk()
    assert member.may_block
    assert isinstance(member.authorizer, RemoteAuthorizer)
    return member.authorizer


def test_in_a_policy(ca: TestCA, secure: tuple[Pdp, Script2], tmp_path: Path) -> None:
    pdp, _ = secure
    write_trust_dir(tmp_path / "certificates", ca)
    ca.issue("/O=Grid/CN=service").proxy().write_bundle(tmp_path / "proxy.pem")
    text = f"""url = "{pdp.url}"
profile = "common-authz"
certificate = "proxy.pem"
trust_dir = "certificates"
resource = "http://ce.example.org/"
answer_within = "3s"
[authorizer.r.actions]
"job:start" = "http://glite.org/xacml/action/execute"
"""
    authorizer = _policy(tmp_path, text)
    authorizer.decide(request_of(user(ALICE), "start", "jobmanager-fork", kind="job"))
    assert b"http://glite.org/xacml/action/execute" in pdp.requests[0]
    assert b"http://ce.example.org/" in pdp.requests[0]
    assert pdp.clients == [2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('url = "ftp://localhost/"', "no URL to ask at"),
        ('url = "https:///x"', "no URL to ask at"),
        ('url = "https://a:b@localhost/"', "no URL to ask at"),
        ('url = "https://localhost:0/"', "no URL to ask at"),
        ('url = "https://localhost:x/"', "no URL"),
        ('url = "https://local host/"', "no URL"),
        ('url = "http://pdp.example.org/"', "plain http"),
        ('url = "http://localhost/"\ncertificate = "x"', "for https"),
        ('url = "https://localhost/"\nkey = "x"', "without a certificate"),
        ('url = "https://localhost/"\ncertificate = "missing.pem"', "missing.pem"),
        ('url = "https://localhost/"\nprofile = "glit"', "must be one of"),
        ('url = "https://localhost/"\nanswer_within = "2m"', "answer_within must be"),
        ('url = "https://localhost/"\nverify = false', "unknown key"),
        ("", "'url' is missing"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        _policy(tmp_path, text)


def test_ids_of_this_system() -> None:
    entry = pwd.getpwuid(os.getuid())
    group = grp.getgrgid(entry.pw_gid).gr_name
    assert find_ids(entry.pw_name, group, [group]) == PosixIds(entry.pw_uid, entry.pw_gid, (entry.pw_gid,))
    for account, primary in (("no-such-account", group), (entry.pw_name, "no-such-group")):
        with pytest.raises(ParseError, match="does not exist"):
            find_ids(account, primary, [])


def test_a_service_that_says_nothing_of_it(anchors: TrustAnchors) -> None:
    with Pdp(Engine(policy_of(Fixed(Effect.NOT_APPLICABLE)))) as pdp:
        assert remote(pdp.url, anchors).decide(request_of(user(ALICE))).effect is Effect.NOT_APPLICABLE
