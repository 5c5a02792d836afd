"""Attribute certificates of ours before our verifier, and what is not issued."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from cas.assertion.attribute_cert import (
    AttributeIssuer,
    audience_hosts,
    carried_fqans,
    order_fqans,
    select_fqans,
    serial_of,
)
from cas.assertion.embed import attribute_extension, embed
from gsi import oids
from gsi.certificate import Certificate
from gsi.credential import parse_credential
from gsi.errors import ConfigError, DeniedError, IssuanceError, IssuanceStep, ParseError
from gsi.names import parse_oneline
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.trust.verify import verify_chain
from gsi.voms.ac_extensions import Tag, TagList
from gsi.voms.attribute_cert import AttributeCertificate
from gsi.voms.exchange import ALL
from gsi.voms.lsc import NamePair, TrustedServer
from gsi.voms.verify import AttributeVerifier, VerifiedAttributes, VOMSOptions
from tests.harness.ca import KeyKind, TestCA, subject_hash
from tests.harness.capabilities import VO, make_capability, signing_key, token_key
from tests.harness.trust import make_anchors

CA_ = TestCA(key="p256")
ALICE = CA_.issue("/O=Grid/CN=Alice", "p256")
SERVER = CA_.issue("/O=Grid/CN=voms.example.org", "p256")
PLACE = "voms.example.org:15000"
ANCHORS = make_anchors(CA_)
GROUP, PRODUCTION = f"/{VO}/Role=NULL/Capability=NULL", f"/{VO}/prod/Role=NULL/Capability=NULL"
WRITER = f"/{VO}/prod/Role=writer/Capability=NULL"


def pair(subject: str, issuer: str) -> NamePair:
    return NamePair(parse_oneline(subject), parse_oneline(issuer))


class _Servers:
    def __init__(self, subject: str = SERVER.subject) -> None:
        self._pair = pair(subject, CA_.name)

    def find(self, vo: str, host: str) -> TrustedServer | None:
        return TrustedServer(((self._pair,),), ()) if (vo, host) == (VO, "voms.example.org") else None


def _believe(certificate: AttributeCertificate, *hosts: str, now: datetime | None = None) -> VerifiedAttributes:
    """Have it judged in a proxy of Alice's."""
    now = now or datetime.now(UTC)
    proxy = embed(parse_credential(ALICE.bundle()), [attribute_extension([certificate])], now=now)
    peer = verify_chain([one.der for one in proxy.certificates], ANCHORS, now=now)
    verifier = AttributeVerifier(_Servers(), lambda: ANCHORS, VOMSOptions(hosts=frozenset(hosts)))
    (found,) = verifier.verify_chain(peer, now=now)
    assert found.attributes is not None, found.error
    return found.attributes


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
def test_believed(kind: KeyKind) -> None:
    server = CA_.issue(SERVER.subject, kind)
    issuer = AttributeIssuer(signing_key(server), VO, PLACE)
    tags = (Tag("nickname", "alice", f"/{VO}"), Tag("mail", "ä@example.org", GROUP))
    capability = make_capability(ALICE, fqans=(WRITER, GROUP), tags=tags)
    certificate = issuer.issue(capability, now=datetime.now(UTC))
    found = _believe(certificate)
    assert found.fqans == (WRITER, GROUP)
    assert found.tags == (TagList(f"{VO}://{PLACE}", tags),)
    assert found.serial == int.from_bytes(capability.identifier, "big")
    assert (found.not_before, found.not_after) == (capability.not_before, capability.not_after)
    assert certificate.info.encode() == certificate.info_der
    assert AttributeCertificate.parse(certificate.der) == certificate


def test_targets_bind() -> None:
    issuer = AttributeIssuer(signing_key(SERVER), VO, PLACE)
    capability = make_capability(ALICE, audience=("se.example.org", "https://CE.example.org:8443/x"))
    certificate = issuer.issue(capability, now=datetime.now(UTC))
    extension = certificate.info.find_extension(oids.TARGETS)
    assert extension is not None
    assert extension.critical
    for host in ("se.example.org", "ce.example.org"):
        _believe(certificate, host)
    with pytest.raises(AssertionError, match="other hosts"):
        _believe(certificate, "wn.example.org")
    with pytest.raises(AssertionError, match="other hosts"):
        _believe(certificate)


def test_a_chain_is_listed() -> None:
    sub = CA_.intermediate("/O=Grid/CN=Sub", "p256")
    server = sub.issue("/O=Grid/CN=below", "p256")
    certificate = AttributeIssuer(signing_key(server), VO, PLACE).issue(make_capability(ALICE), now=datetime.now(UTC))
    proxy = embed(parse_credential(ALICE.bundle()), [attribute_extension([certificate])], now=datetime.now(UTC))
    anchors = make_anchors(CA_, more={f"{subject_hash(sub.certificate)}.signing_policy": sub.signing_policy().encode()})
    peer = verify_chain([one.der for one in proxy.certificates], anchors, now=datetime.now(UTC))

    class Servers:
        def find(self, vo: str, host: str) -> TrustedServer | None:
            pairs = (pair(server.subject, sub.name), pair(sub.name, CA_.name))
            return TrustedServer((pairs,), ())

    (found,) = AttributeVerifier(Servers(), lambda: anchors).verify_chain(peer, now=datetime.now(UTC))
    assert found.attributes is not None, found.error


def test_it_ends_with_what_it_stands_on() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    short = CA_.issue(SERVER.subject, "p256", not_after=now + timedelta(minutes=30))
    issuer = AttributeIssuer(signing_key(short), VO, PLACE)
    certificate = issuer.issue(make_capability(ALICE, lifetime=timedelta(days=1)), now=now)
    assert certificate.info.not_after == now + timedelta(minutes=30)
    brief = CA_.issue("/O=Grid/CN=Alice", "p256", not_after=now + timedelta(minutes=10))
    certificate = issuer.issue(make_capability(brief, lifetime=timedelta(days=1)), now=now)
    assert certificate.info.not_after == now + timedelta(minutes=10)
    with pytest.raises(IssuanceError) as caught:
        issuer.issue(make_capability(ALICE), now=now + timedelta(minutes=30))
    assert caught.value.step is IssuanceStep.AUTHORITY


@pytest.mark.parametrize(
    "change",
    [
        {"fqans": ("/othervo",)},
        {"fqans": (f"/{VO}X",)},
        {"fqans": (GROUP, f"/{VO}/../other")},
        {"fqans": (f"/{VO}/a\nb",)},
        {"fqans": (f"/{VO}//x",)},
        {"community": "othervo", "fqans": ("/othervo",)},
        {"identifier": b""},
        {"identifier": bytes(16)},
        {"identifier": bytes([255]) * 20},
        {"audience": ("https://wlcg.cern.ch/jwt/v1/any", "ANY THING")},
        {"audience": ("https:///x",)},
        {"lifetime": timedelta()},
        {"lifetime": timedelta(hours=-1)},
        {"fqans": tuple(f"/{VO}/g{number}" for number in range(1025))},
    ],
)
def test_not_issued(change: dict[str, object]) -> None:
    issuer = AttributeIssuer(signing_key(SERVER), VO, PLACE)
    with pytest.raises(IssuanceError):
        issuer.issue(make_capability(ALICE, **change), now=datetime.now(UTC))  # type: ignore[arg-type]  # values by name


def test_nothing_to_say() -> None:
    issuer = AttributeIssuer(signing_key(SERVER), VO, PLACE)
    with pytest.raises(DeniedError):
        issuer.issue(make_capability(ALICE, fqans=()), now=datetime.now(UTC))


def test_where_no_issuer_can_be() -> None:
    key = signing_key(SERVER)
    for vo, place in ((VO, "voms.example.org"), (VO, ":1"), ("", PLACE), ("a/b", PLACE), (VO, "h:0"), (VO, "h:99999")):
        with pytest.raises(ParseError):
            AttributeIssuer(key, vo, place)
    with pytest.raises(ConfigError, match="certificate"):
        AttributeIssuer(token_key(SERVER.key), VO, PLACE)


def test_serials() -> None:
    assert serial_of(b"\x01" + bytes(15)) == 1 << 120
    assert serial_of(bytes([255]) * 19).bit_length() <= 8 * 20 - 1


def test_hosts_of_an_audience() -> None:
    assert audience_hosts(("SE.example.org", "https://se.example.org/x", "b")) == ("se.example.org", "b")
    for odd in ("", "a b", "ü.example.org", "https://", "a/b", "https://[::1"):
        with pytest.raises(IssuanceError):
            audience_hosts((odd,))


def test_order() -> None:
    held = (GROUP, PRODUCTION, WRITER)
    assert order_fqans(held, ()) == held
    assert order_fqans(held, (f"/{VO}/prod/Role=writer", f"/{VO}/prod")) == (WRITER, PRODUCTION, GROUP)
    assert order_fqans(held, ("/elsewhere", f"/{VO}/prod/Role=writer")) == (WRITER, GROUP, PRODUCTION)
    assert order_fqans((), held) == ()


@pytest.mark.parametrize(
    ("wanted", "order", "carried", "found"),
    [
        ((), (), (), (GROUP, PRODUCTION)),
        ((f"/{VO}",), (), (), (GROUP, PRODUCTION)),
        ((f"/{VO}/prod",), (), (), (PRODUCTION, GROUP)),
        ((f"/{VO}/prod/Role=writer",), (), (), (WRITER, GROUP, PRODUCTION)),
        ((ALL,), (), (), (GROUP, PRODUCTION, WRITER)),
        ((ALL,), (f"/{VO}/prod",), (), (PRODUCTION, GROUP, WRITER)),
        ((ALL,), (), (PRODUCTION,), (PRODUCTION,)),
        ((), (), (WRITER, GROUP), (GROUP,)),
    ],
)
def test_what_a_server_gives(
    wanted: tuple[str, ...], order: tuple[str, ...], carried: tuple[str, ...], found: tuple[str, ...]
) -> None:
    assert select_fqans((GROUP, PRODUCTION, WRITER), wanted, order, carried=carried) == found


@pytest.mark.parametrize(
    ("held", "wanted", "carried"),
    [
        ((GROUP,), (f"/{VO}/prod",), ()),
        ((GROUP,), (f"/{VO}/Role=admin",), ()),
        ((GROUP,), (ALL, f"/{VO}X"), ()),
        ((), (), ()),
        ((GROUP, WRITER), (), (WRITER,)),
    ],
)
def test_what_a_server_refuses(held: tuple[str, ...], wanted: tuple[str, ...], carried: tuple[str, ...]) -> None:
    with pytest.raises(DeniedError):
        select_fqans(held, wanted, carried=carried)


def test_an_identifier_is_not_used_for_the_time() -> None:
    """Two of one moment differ in their serial numbers alone."""
    issuer, now = AttributeIssuer(signing_key(SERVER), VO, PLACE), datetime.now(UTC)
    make: Callable[[], AttributeCertificate] = lambda: issuer.issue(make_capability(ALICE, now=now), now=now)  # noqa: E731
    first, second = make().info, make().info
    assert first.serial != second.serial
    assert first._replace(serial=0) == second._replace(serial=0)


def test_holder_is_the_end_entity() -> None:
    certificate = AttributeIssuer(signing_key(SERVER), VO, PLACE).issue(make_capability(ALICE), now=datetime.now(UTC))
    eec = Certificate.parse(ALICE.der)
    assert (certificate.info.holder_serial, certificate.info.holder_issuer_der) == (eec.serial, eec.issuer_der)


# --- what a client carries --------------------------------------------------------------------------------------------


def _carried(*layers: list[AttributeCertificate], now: datetime | None = None) -> tuple[str, ...]:
    """What counts of the attributes in a chain of proxies, the uppermost first."""
    now = now or datetime.now(UTC)
    credential = parse_credential(ALICE.bundle())
    for layer in layers:
        extensions = [attribute_extension(layer)] if layer else []
        credential = make_proxy(credential, ProxyOptions(extensions=tuple(extensions)), now=datetime.now(UTC))
    peer = verify_chain([one.der for one in credential.certificates], ANCHORS, now=now)
    verifier = AttributeVerifier(_Servers(), lambda: ANCHORS, VOMSOptions(any_host=True))
    return carried_fqans(peer, VO, verifier, now=now)


def test_carried_bounds() -> None:
    issuer, now = AttributeIssuer(signing_key(SERVER), VO, PLACE), datetime.now(UTC).replace(microsecond=0)

    def make(*fqans: str, **more: object) -> AttributeCertificate:
        return issuer.issue(make_capability(ALICE, fqans=fqans, now=now, **more), now=now)  # type: ignore[arg-type]  # values by name

    assert _carried() == ()
    assert _carried([], []) == ()
    assert _carried([make(GROUP)], []) == (GROUP,)
    assert _carried([make(GROUP)], [make(WRITER, GROUP)]) == (WRITER, GROUP)
    assert _carried([make(GROUP, audience=("se.example.org",))]) == (GROUP,)
    # What has expired was good once, and bounds.
    later = now + timedelta(hours=2)
    assert _carried([make(GROUP, lifetime=timedelta(hours=1))], now=later) == (GROUP,)


def test_what_was_never_good_does_not_bound() -> None:
    issuer, now = AttributeIssuer(signing_key(SERVER), VO, PLACE), datetime.now(UTC)
    bob = CA_.issue("/O=Grid/CN=Bob", "p256")
    liar = AttributeIssuer(signing_key(CA_.issue("/O=Grid/CN=liar", "p256")), VO, PLACE)
    other = AttributeIssuer(signing_key(SERVER), "other", PLACE)
    good = issuer.issue(make_capability(ALICE, fqans=(GROUP,)), now=now)
    for bad in (
        issuer.issue(make_capability(bob, fqans=(WRITER,)), now=now),
        liar.issue(make_capability(ALICE, fqans=(WRITER,)), now=now),
        other.issue(make_capability(ALICE, community="other", fqans=("/other",)), now=now),
        AttributeCertificate.assemble(good.info_der, good.signature_algorithm_der, b"x" * 70),
    ):
        assert _carried([good], [bad]) == (GROUP,)
        assert _carried([bad]) == ()
