"""Refusals of the gate: each is found under its id, in the audit and in the record, whoever refused."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from werkzeug.test import Client as WSGIClient

from gsi.authz.combine import Combining
from gsi.authz.decision import Account, AuthorizationRequest, Decision, Subject, deny, permit
from gsi.authz.engine import Engine
from gsi.authz.policy import Chain, Member, Policy
from gsi.authz.record import DecisionFile
from gsi.authz.service import ServiceAuthorizer, audit_to
from gsi.authz.web import asgi, flask, wsgi
from gsi.authz.web.config import FrontEndSettings
from gsi.authz.web.gate import Gate, Outcome
from gsi.authz.web.gunicorn import _Pages
from gsi.authz.web.openapi import describe
from gsi.authz.web.peer import FrontEnd, Presented
from gsi.authz.web.subrequest import SubrequestApplication
from gsi.errors import ConfigError, DeniedError
from gsi.secret import Passphrase
from gsi.system.audit import AuditLog
from gsi.system.trustdir import TrustDirectory
from gsi.transport.wsgi_server import Reloads
from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.openapi import check_answer, statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gsi.trust.anchors import TrustAnchors
    from tests.harness.ca import Issued

ALICE: Final = "/O=Grid/CN=Alice"
ADDRESS: Final = "192.0.2.7"


class Rule:
    """Alice may, under /mapped as an account."""

    name = "rule"

    def decide(self, request: AuthorizationRequest) -> Decision:
        if request.subject.identity != ALICE:
            return deny(self.name, "not Alice")
        return permit(self.name, "Alice", *([Account("alice")] if request.resource.name == "/mapped" else []))


class Site:
    """A gate with an audit and a record on a disk."""

    def __init__(self, directory: Path, anchors: TrustAnchors) -> None:
        self.audit_path = directory / "audit"
        self.audit = AuditLog(str(self.audit_path))
        self.record = DecisionFile(str(directory / "record"))
        self.anchors = anchors
        chain = Chain("policy", Combining.FIRST_APPLICABLE, (Member(Rule(), may_block=False),))
        engine = Engine(Policy(chain), audit=audit_to(self.audit), record=self.record.append)
        self.gate = Gate(ServiceAuthorizer(engine, service="web", kind="http"), lambda: self.anchors)

    def found(self, outcome: Outcome | str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the last line of the audit under an id, and what `gsi-authz explain` has of it."""
        ident = outcome if isinstance(outcome, str) else outcome.decision_id
        lines = [json.loads(line) for line in self.audit_path.read_text().splitlines()]
        mine = [line for line in lines if line["id"] == ident]
        assert mine, f"{ident} is not in the audit"
        assert mine[-1]["verdict"] != "permit"
        told = self.record.find(ident)
        assert told["effect"] != "permit"
        assert told["reason"] == mine[-1]["reason"]
        return mine[-1], told


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue(ALICE)


@pytest.fixture
def site(ca: TestCA, tmp_path: Path) -> Iterator[Site]:
    directory = write_trust_dir(tmp_path / "certificates", ca)
    made = Site(tmp_path, TrustDirectory(str(directory)).anchors())
    yield made
    made.audit.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "action", "resource", "words"),
    [
        ("BREW", "/pot", 400, "BREW", "/pot", "no action is mapped to the method 'BREW'"),
        ("M" * 1000, "/pot", 400, "M" * 32, "/pot", "no action is mapped"),
        ("GET", "/data/../secret", 400, "read", "/data/../secret", "'..'"),
        ("GET", "/data/%2e%2e/secret", 400, "read", "/data/%2e%2e/secret", "'..'"),
        ("PUT", "*", 400, "write", "*", "slash"),
        ("GET", "/" + "a" * 50_000, 400, "read", "/" + "a" * 1023, "limit 8192"),
        ("GET", "/mapped", 403, "read", "/mapped", "Account, which this service cannot carry out"),
    ],
)
def test_requests_that_are_refused(
    site: Site, alice: Issued, method: str, path: str, status: int, action: str, resource: str, words: str
) -> None:
    outcome = site.gate.judge(method, path, Presented(alice.chain_der, ADDRESS))
    assert outcome.status == status
    audit, told = site.found(outcome)
    assert (audit["peer"], audit["address"]) == (ALICE, ADDRESS)
    assert (audit["action"], audit["resource"]) == (action, resource)
    assert words in audit["reason"]
    assert (told["action"], told["resource"], told["address"]) == (action, resource, ADDRESS)
    assert told["subject"]["identity"] == ALICE


def test_certificates_that_are_refused(site: Site, alice: Issued) -> None:
    """The name that they show is told, and that nobody vouches for it."""
    stranger = TestCA("/O=Grid/CN=CA").issue(ALICE)
    outcome = site.gate.judge("GET", "/data", Presented(stranger.chain_der, ADDRESS))
    assert outcome.status == 401
    audit, told = site.found(outcome)
    assert (audit["peer"], audit["address"], audit["verdict"]) == ("<unverified>", ADDRESS, "deny")
    assert re.match(r"certificates refused \([a-z-]+: .*\); they show /O=Grid/CN=Alice$", audit["reason"])
    assert (told["subject"]["identity"], told["subject"]["authenticated_by"]) == ("", "unverified")
    assert told["resource"] == "/data"
    anonymous, _ = site.found(site.gate.judge("GET", "/data", Presented((), ADDRESS)))
    assert anonymous["peer"] == "<anonymous>"
    assert site.gate.judge("GET", "/data", Presented(alice.chain_der)).is_permit


def test_what_is_broken(site: Site, alice: Issued) -> None:
    def unreadable() -> TrustAnchors:
        raise ConfigError("the trust directory is gone")

    gate = Gate(site.gate.authorizer, unreadable)
    outcome = gate.judge("GET", "/data", Presented(alice.chain_der))
    assert outcome.status == 403
    assert "gone" not in outcome.words
    audit, _ = site.found(outcome)
    assert (audit["verdict"], audit["reason"]) == ("fail", "the trust directory is gone")


def test_a_stranger_makes_no_longer_lines_than_an_ordinary_request(site: Site) -> None:
    name = "/O=Grid" + "".join(f"/CN={'x' * 60}" for _ in range(60))
    stranger = TestCA("/O=Grid/CN=CA").issue(name)
    outcome = site.gate.judge("M" * 9000, "/" + "a" * 50_000, Presented(stranger.chain_der, ADDRESS))
    assert not outcome.is_permit
    lines = site.audit_path.read_text().splitlines()
    assert len(lines) == 1
    assert len(lines[0]) < 3000


def test_library_calls(site: Site) -> None:
    """Permits that cannot be carried out are refusals in the audit, for those who ask without a gate, too."""
    authorizer = site.gate.authorizer
    request = authorizer.question(None, "read", "/data")
    with pytest.raises(DeniedError):
        authorizer.authorize(None, "read", "/data")
    site.found(authorizer.decide(request).decision_id)
    alice = Subject(identity=ALICE)
    with pytest.raises(DeniedError) as at_once:
        authorizer.authorize(alice, "read", "/mapped")
    with pytest.raises(DeniedError) as waited_for:
        asyncio.run(authorizer.authorize_async(alice, "read", "/mapped"))
    for caught in (at_once, waited_for):
        assert isinstance(caught.value.decision, Decision)
        site.found(caught.value.decision.decision_id)


# --- what the adapters refuse themselves ------------------------------------------------------------------------------


FRONT_END: Final = FrontEnd(certificate_header="X-Cert", addresses=("127.0.0.1",))
NONSENSE: Final = "no certificate"


def _environ(**changes: str) -> dict[str, Any]:
    return {"REQUEST_METHOD": "GET", "PATH_INFO": "/data", "REMOTE_ADDR": "127.0.0.1", **changes}


def test_wsgi(site: Site) -> None:
    outcome = wsgi.judge_environ(_environ(HTTP_X_CERT=NONSENSE), site.gate, FRONT_END)
    assert outcome.status == 400
    audit, _ = site.found(outcome)
    assert (audit["action"], audit["resource"], audit["address"]) == ("read", "/data", "127.0.0.1")
    outcome = wsgi.judge_environ(_environ(PATH_INFO="/\xff"), site.gate, FRONT_END)
    audit, _ = site.found(outcome)
    assert (audit["resource"], audit["reason"]) == ("/\xff", "the path is no UTF-8")


def test_asgi(site: Site) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        raise AssertionError

    async def application(*_: object) -> None:
        raise AssertionError

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/data",
        "client": ["127.0.0.1", 1],
        "headers": [(b"x-cert", NONSENSE.encode()), (b"x-front-end-secret", b"0123456789abcdef")],
    }
    front_end = FrontEnd(certificate_header="X-Cert", addresses=("127.0.0.1",), secret=Passphrase("0123456789abcdef"))
    middleware = asgi.AuthorizationMiddleware(application, site.gate, front_end=front_end)
    asyncio.run(middleware(scope, receive, send))
    assert sent[0]["status"] == 400
    audit, _ = site.found(dict(sent[0]["headers"])[b"x-authz-decision"].decode())
    assert (audit["action"], audit["resource"], audit["address"]) == ("read", "/data", "127.0.0.1")


def test_flask(site: Site) -> None:
    import flask as framework

    app = framework.Flask("test")

    @app.get("/data")
    @flask.authorized(site.gate, front_end=FRONT_END)
    def view() -> str:
        raise AssertionError

    answer = app.test_client().get("/data", headers={"X-Cert": NONSENSE})
    assert answer.status_code == 400
    audit, _ = site.found(answer.headers["X-Authz-Decision"])
    assert (audit["action"], audit["resource"], audit["address"]) == ("read", "/data", "127.0.0.1")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"HTTP_COOKIE": "x"}, "passes headers of its client (HTTP_COOKIE)"),
        ({"REMOTE_ADDR": "192.0.2.9"}, "not the front end's"),
        ({"HTTP_X_ORIGINAL_METHOD": ""}, "does not say"),
        ({"HTTP_X_CERT": NONSENSE}, "certificate"),
        ({"HTTP_X_ORIGINAL_URI": "http://h/data"}, "the request target is no path"),
        ({"HTTP_X_ORIGINAL_URI": "/data/../f"}, "'..'"),
    ],
)
def test_subrequests(site: Site, changes: dict[str, str], words: str) -> None:
    environ = _environ(HTTP_X_ORIGINAL_METHOD="PUT", HTTP_X_ORIGINAL_URI="/data") | changes
    if not environ["HTTP_X_ORIGINAL_METHOD"]:
        del environ["HTTP_X_ORIGINAL_METHOD"]
    answered: dict[str, str] = {}

    def start_response(
        status: str, headers: list[tuple[str, str]], error: object = None, /
    ) -> Callable[[bytes], object]:
        answered.update(headers)
        return lambda _: None

    assert list(SubrequestApplication(site.gate, FRONT_END)(environ, start_response)) == []
    audit, _ = site.found(answered["X-Authz-Decision"])
    assert words in audit["reason"]
    assert audit["resource"] == environ["HTTP_X_ORIGINAL_URI"]
    assert audit["address"] in (environ["REMOTE_ADDR"], "")


def test_the_document_of_the_endpoint_is_held_to_its_answers(site: Site, alice: Issued, ca: TestCA) -> None:
    settings = FrontEndSettings(certificate_header="X-Cert", address_header="X-Address")
    document = describe(settings)
    front_end = FrontEnd(certificate_header="X-Cert", address_header="X-Address", addresses=("127.0.0.1",))
    client = WSGIClient(_Pages(SubrequestApplication(site.gate, front_end), Reloads(), document))
    named = {one["name"] for one in document["paths"]["/"]["get"]["parameters"]}  # type: ignore[index]  # JSON
    assert {name.lower() for name in named} == {"x-original-method", "x-original-uri", "x-address"} | {
        name for name in front_end.headers if not name[-1].isdigit() and "secret" not in name
    }
    question = {"X-Original-Method": "GET", "X-Original-URI": "/data", "X-Address": ADDRESS}
    shown = [base64.b64encode(one.chain_der[0]).decode() for one in (alice, ca.issue("/O=Grid/CN=Bob"))]
    seen = set()
    for path, headers in (
        *[(path, {}) for path in ("/health", "/metrics", "/openapi.json", "/")],
        *[("/", {**question, **more}) for more in ({}, *({"X-Cert": one} for one in shown))],
        ("/health", question),
    ):
        answer = client.get(path, headers=headers, environ_base={"REMOTE_ADDR": "127.0.0.1"})
        judged = "/" if "X-Original-Method" in headers else path
        told = list(answer.headers.items())
        seen.add(check_answer(document, "GET", judged, answer.status_code, told, answer.data))
    assert seen == statuses(document)
    assert client.get("/openapi.json").get_json() == document
    locked = describe(FrontEndSettings(secret_file="/etc/secret", secret_header="X-Word"))
    assert locked["security"] == [{"front_end": []}]
    assert "X-Word" in json.dumps(locked["components"])
