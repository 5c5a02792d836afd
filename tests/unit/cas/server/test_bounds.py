"""That what a proxy carries, or is, bounds all that is issued to it, and that narrow requests give nothing wider."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cas.policy.changes import Change, Enrol, Grant
from cas.policy.model import Effect, Kind, ObjectName, Ref, ServiceAction, ServiceType, Statement
from cas.repository.base import Author
from cas.repository.sql import open_sqlite_policy
from cas.server.tokens import CLIENT_CREDENTIALS
from gsi.system import clock
from tests.harness.ca import LIMITED_INFO, Issued
from tests.harness.cas import ADMINS, object_ref
from tests.harness.cas_site import ac_of
from tests.harness.cas_web import DATA, STORAGE, Web, claims, open_web
from tests.harness.saml import assertion_extension

CE = "https://ce.example.org"
JOBS = """
[[tokens.base]]
namespace = "FTPDirectoryTree"
prefix = "gram://ce"
audiences = ["https://ce.example.org"]
"""
START = Ref(Kind.SERVICE_ACTION, "start", "gram")


def right(name: str) -> list[dict[str, object]]:
    return [{"resource": f"FTPDirectoryTree|{name}", "actions": ["file/read"]}]


ONE = right("ftp://se/data/one/*")


@contextlib.contextmanager
def opened(place: Path, content: str) -> Iterator[Web]:
    with open_web(place, tokens=f'content = "{content}"', more=JOBS) as found:
        with contextlib.closing(open_sqlite_policy(str(place / "store"))) as policy:
            changes: list[Change] = [
                Enrol(ServiceType("gram"), ADMINS),
                Enrol(ServiceAction("gram", "start"), ADMINS),
                Enrol(ObjectName("FTPDirectoryTree", "gram://ce/*"), ADMINS),
                Grant(Statement("readers", Effect.PERMIT, START, object_ref("gram://ce/*"))),
            ]
            policy.apply(changes, Author("test", clock.now()))
        yield found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with opened(tmp_path_factory.mktemp("both"), "both") as found:
        yield found


def ask(web: Web, who: str | Issued, **body: object) -> tuple[int, dict[str, Any]]:
    return web.ask(who, "POST", "/cas/v1/capability", body)


def names(answer: dict[str, Any]) -> set[str]:
    return {one["resource"].partition("|")[2] for one in answer["rights"]}


def below(web: Web, assertion: dict[str, Any]) -> Issued:
    return web.person("alice").proxy(key="p256", extensions=[assertion_extension(assertion["capability"].encode())])


# --- narrow requests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["both", "groups", "capabilities"])
def test_a_token_for_narrow_rights_says_no_groups(tmp_path: Path, content: str) -> None:
    single = right("ftp://se/data/one.txt")
    with opened(tmp_path, content) as web:
        status, answer = ask(web, "alice", form="jwt", rights=ONE, audience=[STORAGE])
        if content == "groups":
            assert status == 403, answer
        else:
            found = claims(answer["capability"])
            assert (found["scope"], found.get("wlcg.groups")) == ("storage.read:/data/one", None)
        assert ask(web, "alice", form="jwt", rights=single, audience=[STORAGE])[0] == 403
        more = {"rights": single, "fqans": ["/climate/readers"], "audience": [STORAGE]}
        assert ask(web, "alice", form="jwt", **more)[0] == 403


def test_groups_for_whoever_asks_for_them(both: Web) -> None:
    asked = {"rights": ONE, "fqans": ["/climate/readers"], "audience": [STORAGE]}
    found = claims(ask(both, "alice", form="jwt", **asked)[1]["capability"])
    assert (found["scope"], found["wlcg.groups"]) == ("storage.read:/data/one", ["/climate/readers"])
    everything = claims(ask(both, "alice", form="jwt", audience=[STORAGE])[1]["capability"])
    assert everything["wlcg.groups"] == ["/climate", "/climate/readers"]


def test_an_attribute_certificate_cannot_say_rights(both: Web) -> None:
    assert ask(both, "alice", form="attribute-certificate", rights=ONE)[0] == 400
    assert ask(both, "alice", form="attribute-certificate")[0] == 200


# --- what proxies carry -----------------------------------------------------------------------------------------------


def test_a_narrow_assertion_bounds_every_form(both: Web) -> None:
    for form in ("saml1", "saml2"):
        narrow = below(both, ask(both, "alice", form=form, rights=ONE)[1])
        for wider in ("saml1", "saml2"):
            for rights in (None, right(DATA), right("ftp://se/data/one/*")):
                status, answer = ask(both, narrow, form=wider, rights=rights, groups=True)
                assert status == 200, answer
                assert (names(answer), answer["fqans"]) == ({"ftp://se/data/one/*"}, [])
        found = claims(ask(both, narrow, form="jwt", audience=[STORAGE])[1]["capability"])
        assert (found["scope"], found.get("wlcg.groups")) == ("storage.read:/data/one", None)
        status, answer = both.token(narrow, grant_type=CLIENT_CREDENTIALS, audience=STORAGE)
        assert (status, claims(answer["access_token"])["scope"]) == (200, "storage.read:/data/one")
        assert ask(both, narrow, form="attribute-certificate")[0] == 403
        assert ask(both, narrow, form="saml1", rights=right("ftp://se/data/two/*"))[0] == 403
        # Nothing wider below it helps.
        whole = ask(both, "alice", form="saml1")[1]
        hidden = narrow.proxy(key="p256", extensions=[assertion_extension(whole["capability"].encode())])
        assert names(ask(both, hidden, form="saml1")[1]) == {"ftp://se/data/one/*"}


def test_an_assertion_with_groups_leaves_these(both: Web) -> None:
    said = ask(both, "alice", form="saml1", groups=True, fqans=["/climate"])[1]
    status, answer = ask(both, below(both, said), form="attribute-certificate")
    assert (status, answer["fqans"]) == (200, ["/climate/Role=NULL/Capability=NULL"])


def test_attributes_bound_rights(both: Web) -> None:
    """Rights of a group that was left behind are left behind."""
    for fqans, status in ((["/climate"], 403), (["/climate/readers"], 200)):
        ac = base64.b64decode(ask(both, "alice", form="attribute-certificate", fqans=fqans)[1]["capability"])
        carrier = both.person("alice").proxy(key="p256", extensions=[ac_of(ac)])
        assert ask(both, carrier, form="saml1")[0] == status
        found = ask(both, carrier, form="jwt", audience=[STORAGE])
        assert ("scope" in claims(found[1]["capability"])) is (status == 200)


def test_an_assertion_that_cannot_be_read_gets_nothing(both: Web) -> None:
    carrier = both.person("alice").proxy(key="p256", extensions=[assertion_extension(b"<x/>")])
    assert ask(both, carrier, form="saml1")[0] == 403
    assert both.records()[-1]["verdict"] == "deny"


# --- limited proxies --------------------------------------------------------------------------------------------------


def test_a_limited_proxy_gets_no_rights_on_jobs(both: Web) -> None:
    limited = both.person("alice").proxy(key="p256", info=LIMITED_INFO)
    for form in ("saml1", "saml2"):
        assert names(ask(both, "alice", form=form)[1]) == {DATA, "gram://ce/*"}
        assert names(ask(both, limited, form=form)[1]) == {DATA}
    assert claims(ask(both, "alice", form="jwt", rights=None, audience=[CE])[1]["capability"])["scope"]
    status, answer = both.token(
        limited, grant_type=CLIENT_CREDENTIALS, scope="compute.create", audience=CE, bound="false"
    )
    assert (status, answer["error"]) == (400, "access_denied"), answer
    found = claims(ask(both, limited, form="jwt", audience=[CE])[1]["capability"])
    assert "scope" not in found
    assert "x5t#S256" in found["cnf"]  # its groups may stand for jobs
    status, answer = both.token(limited, grant_type=CLIENT_CREDENTIALS, audience=STORAGE, bound="false")
    assert "x5t#S256" in claims(answer["access_token"])["cnf"]
    status, answer = both.token(
        limited, grant_type=CLIENT_CREDENTIALS, scope="storage.read:/", audience=STORAGE, bound="false"
    )
    assert claims(answer["access_token"])["scope"] == "storage.read:/data"
