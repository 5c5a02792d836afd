"""Authenticators: the first one, by whoever may log on; every code once; nothing that the server would not ask for."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from gsi.credential import parse_credential
from gsi.errors import ConfigError
from gsi.secret import Passphrase
from myproxy.admin import CodesDesk
from myproxy.auth.base import Use
from myproxy.auth.totp import CodeKeys, OneTimeCodes, code_at
from myproxy.authentication import Methods
from myproxy.config import Method
from myproxy.grants import Settings
from myproxy.policy import AccessPolicy, parse_rules
from myproxy.portal.app import Ways
from myproxy.portal.codes import Authenticators, check_modes
from myproxy.portal.config import AdminSettings, Insistence, PortalConfig, StoreSettings
from myproxy.portal.guard import SESSION_COOKIE, Guard
from myproxy.repository.codes import SQLCodeStore
from tests.harness.ca import Issued, TestCA
from tests.harness.myproxy import EVERYONE, SECRET, make_world
from tests.harness.portal_pages import NAME, Pages, open_node

OWN = "/O=Grid/CN=portal"
TRUSTING = AccessPolicy(
    accepted_credentials=EVERYONE, authorized_retrievers=EVERYONE, trusted_retrievers=parse_rules([OWN])
)


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", "p256")


@pytest.fixture
def pages(tmp_path: Path, ca: TestCA, alice: Issued) -> Iterator[Pages]:
    """A server that asks those for codes who have enrolled; alice has a pass phrase, alice-o has none."""
    with make_world(ca, tmp_path) as world:
        store = SQLCodeStore(world.repository.database)
        codes = OneTimeCodes(store, CodeKeys([bytes(32)]), clock=lambda: world.now)
        world.configure(Settings(access=TRUSTING), Methods(codes=codes, codes_use=Use.ENROLLED))
        desk = CodesDesk(codes, store, world.sink, clock=lambda: world.now)
        authenticators = Authenticators(desk, digits=6, window=1, issuer="Example")
        own = parse_credential(ca.issue(OWN, "p256").bundle(), source="test")
        config = PortalConfig(
            names=(NAME,),
            server="myproxy.example.org",
            store=StoreSettings(directory=str(tmp_path / "portal")),
            admin=AdminSettings(identities=("/O=Grid/CN=Alice",)),
        )
        with open_node(world, config, ways=Ways(own), authenticators=authenticators) as opened:
            opened.store("alice", alice)
            opened.store("alice-o", alice, "")
            yield opened


def set_up(pages: Pages, **fields: str) -> tuple[TestResponse, bytes, str]:
    """Send the form of the page with the new authenticator's code; return the secret and that code, too."""
    shown = pages.get("/codes").text
    sealed = re.search(r'name="sealed" value="([0-9a-f]+)"', shown)
    token = re.search(r'name="form_token" value="([0-9a-f]+)"', shown)
    text = re.search(r'<p class="break"><code>([A-Z2-7 ]+)</code>', shown)
    assert sealed is not None
    assert token is not None
    assert text is not None
    padded = text[1].replace(" ", "")
    key = base64.b32decode(padded + "=" * (-len(padded) % 8))
    new = code(pages, key)
    answer = pages.post("/codes", token=token[1], sealed=sealed[1], new_code=new, **fields)
    return answer, key, new


def code(pages: Pages, key: bytes, ahead: int = 0) -> str:
    return code_at(int(pages.now.timestamp()) // 30 + ahead, key).decode()


def test_the_first_authenticator_and_the_logons_after_it(pages: Pages) -> None:
    assert pages.log_on().status_code == 303
    refused, _, _ = set_up(pages, passphrase="wrong words")
    assert refused.status_code == 403
    done, key, shown = set_up(pages, passphrase=SECRET)
    assert done.headers["Location"].endswith("notice=codes")
    pages.forget()
    # What the page promises: from now on its code belongs to every logon; the one that was shown is used up.
    assert pages.log_on().status_code == 403
    assert pages.log_on(code=shown).status_code == 403
    assert pages.log_on(code=code(pages, key, 1)).status_code == 303
    # Another one costs the present one's code.
    pages.pass_time(timedelta(minutes=16))
    assert set_up(pages, passphrase=SECRET)[0].status_code == 403
    assert set_up(pages, passphrase=SECRET, code=code(pages, key))[0].status_code == 303


def test_a_session_of_a_former_owner_sets_nothing_up(pages: Pages, ca: TestCA) -> None:
    """Not even with the pass phrase of who has the account now."""
    pages.log_on()
    pages.portal.desk.destroy(pages.session().proxy, "alice", None)
    pages.store("alice", ca.issue("/O=Grid/CN=Successor", "p256"))
    refused, _, _ = set_up(pages, passphrase=SECRET)
    assert (refused.status_code, "somebody else" in refused.text) == (403, True)
    pages.forget()
    assert pages.log_on().status_code == 303


def test_pages_of_administrators_need_a_logon_with_a_code(pages: Pages, alice: Issued) -> None:
    pages.store("alice", alice, SECRET + "123456")
    pages.log_on(code="123456")  # no authenticator: that was the end of the pass phrase
    refused = pages.get("/site")
    assert (refused.status_code, "and log on with its code" in refused.text) == (403, True)
    pages.store("alice", alice)
    pages.log_on()
    _, key, _ = set_up(pages, passphrase=SECRET)
    for path in ("/site", "/site/audit"):
        assert pages.get(path).status_code == 403  # the session's own logon was without
    assert "logged on without a one-time code" in pages.audit()
    pages.log_on(code=code(pages, key, 1))
    assert pages.get("/site").status_code == 200


def vouch(pages: Pages, username: str = "alice-o") -> None:
    """Log on by somebody else's word."""
    own = parse_credential(pages.world.ca.issue(OWN, "p256").bundle(), source="test")
    pages.forget()
    with pages.app.test_request_context("/", base_url=f"https://{NAME}"):
        proxy = pages.portal.desk.log_on(username, Passphrase(b""), lifetime=timedelta(hours=1), own=own)
        session = Guard(pages.portal).begin(username, proxy, "OpenID Connect")
    pages.client.set_cookie(SESSION_COOKIE, session.ticket.text, domain=NAME, secure=True)


def test_who_has_no_pass_phrase_sets_one_up_as_well(pages: Pages) -> None:
    vouch(pages)
    assert 'name="passphrase"' not in pages.get("/codes").text
    pages.pass_time(timedelta(minutes=11))
    late, _, _ = set_up(pages)
    assert (late.status_code, "too long ago" in late.text) == (403, True)
    vouch(pages)
    done, key, shown = set_up(pages)
    assert done.status_code == 303
    pages.pass_time(timedelta(seconds=60))
    for given in ("", "000000", shown):
        assert set_up(pages, code=given)[0].status_code == 403
    assert set_up(pages, code=code(pages, key))[0].status_code == 303


@pytest.mark.parametrize("otp", Method)
@pytest.mark.parametrize("insistence", Insistence)
def test_server_and_portal_have_to_agree(otp: Method, insistence: Insistence) -> None:
    agree = {
        (Method.REQUIRED, Insistence.REQUIRED),
        (Method.REQUIRED, Insistence.OPTIONAL),
        (Method.ENROLLED, Insistence.OPTIONAL),
    }
    if (otp, insistence) in agree:
        check_modes(otp, insistence)
    else:
        with pytest.raises(ConfigError):
            check_modes(otp, insistence)
