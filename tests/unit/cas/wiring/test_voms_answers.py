"""What VOMS clients get of a community: groups, roles that they name, and never more than their proxies carry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from cas.assertion.embed import attribute_extension, embed
from cas.metrics import Metrics
from cas.policy.changes import AddMember, Enrol, SetFqan
from cas.policy.model import UserGroup
from cas.protocol.voms import VOMSRefusalError
from cas.repository.base import Author
from cas.repository.sql import open_sqlite_policy
from cas.server.voms import VOMSFactory
from cas.service import CapabilityRequest
from gsi.credential import Credential, parse_credential
from gsi.errors import DeniedError
from gsi.system import clock
from gsi.transport.rates import RateCap
from gsi.trust.peer import VerifiedPeer
from gsi.voms.attribute_cert import AttributeCertificate
from gsi.voms.exchange import ALL, FetchRequest
from tests.harness.cas import ADMINS, group, user
from tests.harness.cas_web import Web, open_web

WRITER = "/climate/readers/Role=writer"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    place = tmp_path_factory.mktemp("web")
    with open_web(place) as found:
        policy = open_sqlite_policy(str(place / "store"))
        policy.apply(
            [
                Enrol(UserGroup("writers"), ADMINS),
                AddMember(group("writers"), user("alice")),
                SetFqan("writers", WRITER),
            ],
            Author("test", clock.now()),
        )
        policy.close()
        yield found


def credential(web: Web, nickname: str = "alice") -> Credential:
    return parse_credential(web.person(nickname).bundle())


def peer_of(web: Web, of: Credential) -> VerifiedPeer:
    return web.community.verify([one.der for one in of.certificates])


def answer(web: Web, peer: VerifiedPeer, *fqans: str, order: Sequence[str] = ()) -> AttributeCertificate:
    return web.community.answer_voms(peer, FetchRequest("climate", fqans, order=tuple(order)), "r1")


def short(certificate: AttributeCertificate) -> list[str]:
    return [fqan.removesuffix("/Capability=NULL").removesuffix("/Role=NULL") for fqan in certificate.info.fqans]


@pytest.mark.parametrize(
    ("asked", "order", "given"),
    [
        ((), (), ["/climate", "/climate/readers"]),
        (("/climate/readers",), (), ["/climate/readers", "/climate"]),
        ((WRITER,), (), [WRITER, "/climate", "/climate/readers"]),
        ((ALL,), (), ["/climate", "/climate/readers", WRITER]),
        ((ALL,), (WRITER,), [WRITER, "/climate", "/climate/readers"]),
    ],
)
def test_groups_and_roles(web: Web, asked: tuple[str, ...], order: tuple[str, ...], given: list[str]) -> None:
    assert short(answer(web, peer_of(web, credential(web)), *asked, order=order)) == given


def test_refusals_are_told(web: Web) -> None:
    """Each is in the audit before it is answered, with the place where it came from."""
    peer, stranger = (peer_of(web, credential(web, name)) for name in ("alice", "mallory"))
    for who, asked in ((peer, ("/climate/other",)), (peer, ("/climate/Role=admin",)), (stranger, ())):
        with pytest.raises(DeniedError):
            web.community.answer_voms(who, FetchRequest("climate", asked), "r2", address="192.0.2.7")
        record = web.records()[-1]
        assert (record["verdict"], record["peer"], record["address"]) == ("deny", who.identity, "192.0.2.7")
    web.community.answer_voms(peer, FetchRequest("climate", ()), "r3", address="192.0.2.7")
    assert (web.records()[-1]["verdict"], web.records()[-1]["address"]) == ("permit", "192.0.2.7")


def test_who_asks_too_often(web: Web) -> None:
    """The listener counts as the web server does, and tells of strangers what it refuses to them."""
    config = web.community.config
    factory = VOMSFactory(config, lambda: config, Metrics(workers=1), first_row=0)
    rates = RateCap(2)
    ask = FetchRequest("climate", ())
    with pytest.raises(VOMSRefusalError, match="no member"):
        factory._answer(web.community, rates, peer_of(web, credential(web, "mallory")), ask, "192.0.2.8")
    record = web.records()[-1]
    assert (record["verdict"], record["address"]) == ("deny", "192.0.2.8")
    peer = peer_of(web, credential(web))
    for _ in range(2):
        factory._answer(web.community, rates, peer, ask, "192.0.2.8")
    with pytest.raises(DeniedError, match="too many"):
        factory._answer(web.community, rates, peer, ask, "192.0.2.8")


def test_what_is_not_held(web: Web) -> None:
    with pytest.raises(DeniedError, match="not among"):
        answer(web, peer_of(web, credential(web)), "/climate/other")
    with pytest.raises(DeniedError, match="not enrolled"):
        answer(web, peer_of(web, credential(web, "mallory")))
    assert not web.community.is_member(peer_of(web, credential(web, "mallory")))


def test_it_is_recorded_first(web: Web) -> None:
    serial = answer(web, peer_of(web, credential(web))).info.serial
    record = web.records()[-1]
    assert (record["verdict"], record["capability"]) == ("permit", f"{serial:032x}")


def test_a_proxy_with_few_attributes_does_not_become_one_with_many(web: Web) -> None:
    whole = credential(web)
    few = web.community.forms.attribute_certificate(
        web.community.service.capability(
            web.community.caller(peer_of(web, whole)),
            CapabilityRequest(policy=None, fqans=("/climate/readers",), lifetime=timedelta(hours=1)),
        ),
        now=clock.now(),
    )
    delegated = embed(whole, [attribute_extension([few])], now=clock.now())
    peer = peer_of(web, delegated)
    assert short(answer(web, peer)) == ["/climate/readers"]
    assert short(answer(web, peer, "/climate")) == ["/climate/readers"]
    assert short(answer(web, peer, ALL)) == ["/climate/readers"]
    assert web.community.bound_fqans(peer, ()) == ("/climate/readers",)
    assert web.community.bound_fqans(peer, (WRITER,)) is None
