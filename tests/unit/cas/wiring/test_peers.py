"""How sure one may be of a peer, by the policies that its CA put into the certificate; the directory is in interop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier

from cas.policy.changes import Grant, encode_change
from cas.policy.conditions import Proxies, Strength, Terms
from cas.policy.model import Effect, Statement
from tests.harness.ca import LIMITED_INFO, Extra, Issued, raw_extension
from tests.harness.cas import CA_NAME, READ, WRITE, dn, object_ref
from tests.harness.cas_web import DATA, Web, open_web

TOKEN, SOFT = "1.2.3.1", "1.2.3.2"
RULES = f"""
[[trust.strength]]
issuer = "/O=Other/CN=CA"
strength = "high"
[[trust.strength]]
issuer = "{CA_NAME}"
policy = "{TOKEN}"
strength = "high"
[[trust.strength]]
issuer = "{CA_NAME}"
policy = "{SOFT}"
strength = "low"
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with open_web(tmp_path_factory.mktemp("web"), more=RULES) as found:
        statements = [
            Statement("readers", Effect.PERMIT, WRITE, object_ref(DATA), Terms(strength=Strength.HIGH)),
            Statement("readers", Effect.DENY, READ, object_ref(DATA), Terms(proxies=Proxies.LIMITED)),
            Statement("readers", Effect.DENY, READ, object_ref(DATA), Terms(strength=Strength.MEDIUM)),
        ]
        changes = [encode_change(Grant(one)) for one in statements]
        assert found.ask("admin", "POST", "/cas/v1/changes", {"changes": changes})[0] == 200
        yield found


def alice(web: Web, *policies: str, extensions: list[Extra] | None = None) -> Issued:
    named = [x509.PolicyInformation(ObjectIdentifier(one), None) for one in policies]
    made: list[Extra] = [(x509.CertificatePolicies(named), False)] if named else []
    return web.ca.issue(dn("alice"), "p256", extensions=made if extensions is None else extensions)


def strength(web: Web, who: Issued) -> Strength | None:
    peer = web.community.verify(who.chain_der)
    return web.community.caller(peer).strength


def test_policies_say_how_sure_one_may_be(web: Web) -> None:
    assert strength(web, alice(web)) is None
    assert strength(web, alice(web, "1.2.3.4")) is None
    assert strength(web, alice(web, "1.2.3.4", TOKEN)) is Strength.HIGH
    assert strength(web, alice(web, SOFT)) is Strength.LOW
    assert strength(web, alice(web, SOFT, TOKEN)) is Strength.HIGH  # the first rule that fits
    assert strength(web, alice(web, TOKEN).proxy()) is Strength.HIGH
    broken = alice(web, extensions=[raw_extension("2.5.29.32", b"\x30\x03\x02\x01")])
    assert strength(web, broken) is None


def actions(web: Web, who: Issued) -> object:
    status, answer = web.ask(who, "POST", "/cas/v1/capability", {})
    return answer["rights"][0]["actions"] if status == 200 else status


def test_statements_hold_by_strength_and_kind_of_proxy(web: Web) -> None:
    assert actions(web, alice(web)) == ["file/read"]
    assert actions(web, alice(web, TOKEN)) == ["file/read", "file/write"]
    assert actions(web, alice(web, SOFT)) == 403
    assert actions(web, alice(web, TOKEN).proxy(info=LIMITED_INFO)) == ["file/write"]
