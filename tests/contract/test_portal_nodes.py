"""Two nodes of a portal on one PostgreSQL: a browser comes to either, and finds what it left at the other."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsi.system.audit import AuditLog
from myproxy.admin import CodesDesk
from myproxy.auth.totp import CodeKeys, OneTimeCodes, code_at
from myproxy.portal.codes import Authenticators
from myproxy.portal.config import PortalConfig, StoreSettings
from myproxy.portal.guard import SESSION_COOKIE
from myproxy.repository.codes import SQLCodeStore
from tests.harness.ca import TestCA
from tests.harness.myproxy import SECRET, World, make_world
from tests.harness.portal_pages import NAME, Pages, open_node
from tests.harness.postgres import postgres


def authenticators_of(world: World, place: Path) -> Authenticators:
    """What a node makes of the store that the MyProxy servers share."""
    store = SQLCodeStore(world.repository.database)
    codes = OneTimeCodes(store, CodeKeys([bytes(32)]), clock=lambda: world.now)
    desk = CodesDesk(codes, store, AuditLog(str(place / "server-audit.log")), clock=lambda: world.now)
    return Authenticators(desk, digits=6, window=1, issuer="Grid")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pages, Pages]]:
    directory = tmp_path_factory.mktemp("nodes")
    ca = TestCA("/O=Grid/CN=CA", "p256")
    with postgres() as server, server.database() as database, make_world(ca, directory) as world:

        def config(name: str) -> PortalConfig:
            store = StoreSettings(directory=str(directory / name), database=database)
            return PortalConfig(names=(NAME,), server="myproxy.example.org", store=store)

        one = open_node(world, config("one"), authenticators=authenticators_of(world, directory))
        two = open_node(world, config("two"), authenticators=authenticators_of(world, directory))
        with one as here, two as there:
            here.store("alice", ca.issue("/O=Grid/CN=Alice", "p256"))
            yield here, there


@pytest.fixture
def logged_on(nodes: tuple[Pages, Pages]) -> tuple[Pages, Pages]:
    """The browser has logged on at the first, and goes to the second then."""
    here, there = nodes
    assert here.log_on().status_code == 303
    go(here, there)
    return here, there


def go(here: Pages, there: Pages) -> None:
    """Let the browser come to another node: it brings its cookie along."""
    value = here.cookie(SESSION_COOKIE)
    assert value is not None
    there.forget()
    there.client.set_cookie(SESSION_COOKIE, value, domain=NAME, secure=True)


def test_a_session_and_what_happened(logged_on: tuple[Pages, Pages]) -> None:
    here, there = logged_on
    assert "/O=Grid/CN=Alice" in there.get("/").text
    fetched = there.post("/fetch", hours="4")
    assert b"PRIVATE KEY" in fetched.data
    assert "Proxy fetched" in here.get("/activity").text
    assert '"action":"FETCH"' in there.audit()
    assert '"action":"FETCH"' not in here.audit()
    assert there.post("/logoff").status_code == 303
    assert here.get("/").headers["Location"].startswith("/logon")


def test_an_authenticator_is_begun_here_and_finished_there(logged_on: tuple[Pages, Pages]) -> None:
    here, there = logged_on
    page = here.get("/codes").text
    sealed, token = (re.search(rf'name="{name}" value="([0-9a-f]+)"', page) for name in ("sealed", "form_token"))
    typed = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert sealed is not None
    assert token is not None
    assert typed is not None
    text = typed[1].replace(" ", "")
    key = base64.b32decode(text + "=" * (-len(text) % 8))
    code = code_at(int(here.now.timestamp()) // 30, key).decode()
    form = {"sealed": sealed[1], "new_code": code, "passphrase": SECRET}
    assert there.post("/codes", token=token[1], **form).status_code == 303
    assert "Code of the present authenticator" in here.get("/codes").text


def test_wrong_tries_count_together(nodes: tuple[Pages, Pages]) -> None:
    here, there = nodes
    for pages in nodes:
        pages.address = "203.0.113.9"
    free = here.portal.config.logon.free_tries
    statuses = [(here if number % 2 else there).log_on("bob", "wrong").status_code for number in range(free + 2)]
    assert statuses[:free] == [403] * free
    assert statuses[-1] == 429
