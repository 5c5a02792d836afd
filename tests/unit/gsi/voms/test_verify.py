"""What `AttributeVerifier` does beyond single verdicts, which tests/interop/test_voms_libvomsapi.py holds to C's."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gsi import oids
from gsi.certificate import Certificate
from gsi.errors import CapabilityError, CapabilityProblem, ParseError, VerificationError
from gsi.trust.anchors import TrustAnchors
from gsi.trust.peer import VerifiedPeer
from gsi.trust.verify import verify_chain
from gsi.voms.attribute_cert import AttributeCertificate
from gsi.voms.lsc import TrustedServer, parse_lsc
from gsi.voms.verify import GRACE, SIGNER_MEMORY, AttributeVerifier, VOMSOptions, check_fqan
from tests.harness.ca import Issued, TestCA, tlv
from tests.harness.trust import forge, make_anchors, utc_now
from tests.harness.voms import HOST, VO, VOMSServer, ac_extension, extension, target_list


class Servers:
    """Trusted servers in memory."""

    def __init__(self, trusted: TrustedServer | Exception) -> None:
        self.trusted = trusted
        self.asked: list[tuple[str, str]] = []

    def find(self, vo: str, host: str) -> TrustedServer | None:
        self.asked.append((vo, host))
        if isinstance(self.trusted, Exception):
            raise self.trusted
        return self.trusted if (vo, host) == (VO, HOST) else None


class World:
    def __init__(self) -> None:
        self.ca = TestCA()
        self.server = VOMSServer(self.ca)
        self.alice = self.ca.issue("/O=Grid/CN=Alice")
        self.servers = Servers(parse_lsc(self.server.lsc().encode()))
        self.anchors: TrustAnchors = make_anchors(self.ca)
        self.now: datetime = utc_now()

    def verifier(self, **options: object) -> AttributeVerifier:
        return AttributeVerifier(self.servers, lambda: self.anchors, VOMSOptions(**options))  # type: ignore[arg-type]  # values by name

    def peer(self, issued: Issued) -> VerifiedPeer:
        return verify_chain(issued.chain_der, self.anchors, now=self.now)

    def ac(self, **changes: object) -> AttributeCertificate:
        return AttributeCertificate.parse(self.server.attribute_certificate(self.alice, **changes))  # type: ignore[arg-type]  # values by name


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_lifetime_is_capped(world: World) -> None:
    """By the certificate itself, by the holder's chain, by the signer's path."""
    end = world.now + timedelta(hours=1)
    verifier = world.verifier()
    peer = world.peer(world.alice)
    found = verifier.verify(world.ac(not_after=end), peer, now=world.now)
    assert (found.not_after, found.serial > 0, found.authority.host) == (end, True, HOST)
    short = world.peer(world.alice.proxy(not_after=end))
    assert verifier.verify(world.ac(), short, now=world.now).not_after == end
    far = verifier.verify(world.ac(not_after=world.now + timedelta(days=99)), peer, now=world.now)
    assert far.not_after == min(peer.not_after, far.signer.not_after)


def test_over_long(world: World) -> None:
    verifier = world.verifier(max_lifetime=timedelta(hours=24))
    peer = world.peer(world.alice)
    verifier.verify(world.ac(), peer, now=world.now)
    with pytest.raises(CapabilityError) as caught:
        verifier.verify(world.ac(not_after=world.now + timedelta(days=2)), peer, now=world.now)
    assert caught.value.problem is CapabilityProblem.LIFETIME
    assert caught.value.issuer == f"{VO}://{HOST}:15000"


def test_whoever_carries_it_is_no_target(world: World) -> None:
    """A holder may ask about what is meant for other hosts; a service may not."""
    meant = world.ac(extensions=[extension("2.5.29.55", target_list("ce.example.org"), critical=True)])
    peer = world.peer(world.alice)
    assert world.verifier(any_host=True).verify(meant, peer, now=world.now).fqans == meant.info.fqans
    with pytest.raises(CapabilityError) as caught:
        world.verifier(hosts=frozenset({"ui.example.org"})).verify(meant, peer, now=world.now)
    assert caught.value.problem is CapabilityProblem.AUDIENCE


def test_every_proxy_or_the_nearest(world: World) -> None:
    upper = world.alice.proxy(extensions=[ac_extension(world.ac(fqans=[f"/{VO}/Role=admin"]).der)])
    lower = upper.proxy().proxy(extensions=[ac_extension(world.ac(fqans=[f"/{VO}"]).der)]).proxy()
    peer = world.peer(lower)
    found = world.verifier().verify_chain(peer, now=world.now)
    assert [(one.position, one.attributes.fqans if one.attributes else None) for one in found] == [
        (1, (f"/{VO}",)),
        (3, (f"/{VO}/Role=admin",)),
    ]
    assert [one.position for one in world.verifier(nearest_only=True).verify_chain(peer, now=world.now)] == [1]


def test_each_has_its_verdict(world: World) -> None:
    good, bad = world.ac(), world.ac(spoil=True)
    peer = world.peer(world.alice.proxy(extensions=[ac_extension(bad.der, good.der)]))
    first, second = world.verifier().verify_chain(peer, now=world.now)
    assert first.error is not None
    assert first.error.problem is CapabilityProblem.BAD_SIGNATURE
    assert second.attributes is not None


def test_malformed_is_found(world: World) -> None:
    proxy = world.alice.proxy(extensions=[ac_extension(world.ac().der[:-1])])
    (found,) = world.verifier().verify_chain(world.peer(proxy), now=world.now)
    assert found.error is not None
    assert found.error.problem is CapabilityProblem.MALFORMED


def test_a_ca_that_carries_attributes_gives_none(world: World) -> None:
    carrier = TestCA(extensions=[ac_extension(world.ac().der)])
    anchors = make_anchors(carrier)
    peer = verify_chain(carrier.issue("/O=Grid/CN=Alice").chain_der, anchors, now=world.now)
    assert world.verifier().verify_chain(peer, now=world.now) == ()


def test_signers_are_remembered_for_a_minute(world: World) -> None:
    """And not past a new trust directory: a revoked server is refused at once."""
    site = World()
    verifier, peer = site.verifier(), site.peer(site.alice)
    verifier.verify(site.ac(), peer, now=site.now)
    site.anchors = make_anchors(site.ca, crl=site.ca.crl([site.server.credential]))
    with pytest.raises(CapabilityError, match="revoked"):
        verifier.verify(site.ac(), peer, now=site.now)
    # A path that ends while it is remembered is judged again.
    brief = World()
    end = brief.now + timedelta(seconds=30)
    brief.server.__dict__["credential"] = brief.ca.issue(f"/O=Grid/CN={HOST}", not_after=end)
    verifier, peer = brief.verifier(), brief.peer(brief.alice)
    assert timedelta(seconds=30) < SIGNER_MEMORY
    verifier.verify(brief.ac(), peer, now=brief.now)
    with pytest.raises(CapabilityError) as caught:
        verifier.verify(brief.ac(), peer, now=end + timedelta(seconds=1))
    assert caught.value.problem is CapabilityProblem.SIGNER


def test_an_unreadable_file_is_no_trust(world: World) -> None:
    site = World()
    site.servers.trusted = ParseError("broken", what="LSC file")
    with pytest.raises(CapabilityError, match="broken") as caught:
        site.verifier().verify(site.ac(), site.peer(site.alice), now=site.now)
    assert caught.value.problem is CapabilityProblem.ISSUER


def test_signed_by_a_proxy(world: World) -> None:
    """A proxy of the server is not the server."""
    site = World()
    proxy = site.server.credential.proxy()
    site.servers.trusted = TrustedServer((), (Certificate.parse(proxy.der),))
    liar = VOMSServer(site.ca, proxy)
    chain = [proxy.certificate, site.server.credential.certificate]
    ac = AttributeCertificate.parse(liar.attribute_certificate(site.alice, certificates=chain))
    with pytest.raises(CapabilityError, match="proxy") as caught:
        site.verifier().verify(ac, site.peer(site.alice), now=site.now)
    assert caught.value.problem is CapabilityProblem.SIGNER


def test_pinned_servers_are_not_mixed_up(world: World) -> None:
    """Certificates that bring no others: what is remembered of one server must not stand for another."""
    site = World()
    one, other = (VOMSServer(site.ca, site.ca.issue(f"/O=Grid/CN=voms{n}.example.org", "p256")) for n in (1, 2))
    pinned = tuple(Certificate.parse(server.credential.der) for server in (one, other))
    site.servers.trusted = TrustedServer((), pinned)
    verifier, peer = site.verifier(), site.peer(site.alice)
    for server, certificate in zip((one, other, one), (*pinned, pinned[0]), strict=True):
        ac = AttributeCertificate.parse(server.attribute_certificate(site.alice, certificates=()))
        assert verifier.verify(ac, peer, now=site.now).signer.leaf == certificate


def test_an_lsc_file_longer_than_the_path(world: World) -> None:
    """Every pair of lines has to be met; what the path does not reach is not met."""
    site = World()
    ac, peer = site.ac(), site.peer(site.alice)
    server, ca = site.server.lsc(), site.ca.credential.subject
    for more in ("", f"{ca}\n{ca}\n"):
        site.servers.trusted = parse_lsc(f"{server}{more}".encode())
        assert site.verifier().verify(ac, peer, now=site.now).fqans
    for more in (f"{ca}\n/O=Grid/CN=Root\n", f"{ca}\n{ca}\n{ca}\n{ca}\n", f"{ca}\n{ca}\n/O=Grid/CN=Root\n/CN=x\n"):
        site.servers.trusted = parse_lsc(f"{server}{more}".encode())
        with pytest.raises(CapabilityError, match="lsc names") as caught:
            site.verifier().verify(ac, peer, now=site.now)
        assert caught.value.problem is CapabilityProblem.ISSUER


def test_grace_goes_no_further_than_what_it_stands_on() -> None:
    site = World()
    end = site.now + timedelta(minutes=30)
    verifier, peer = site.verifier(), site.peer(site.alice)
    found = verifier.verify(site.ac(not_after=end), peer, now=site.now)
    assert (found.not_after, found.usable_until) == (end, end + GRACE)
    chain_ends = end + timedelta(minutes=1)
    brief = site.peer(site.alice.proxy(not_after=chain_ends))
    found = verifier.verify(site.ac(not_after=end), brief, now=site.now)
    assert (found.not_after, found.usable_until) == (end, chain_ends)
    server_ends = end + timedelta(minutes=2)
    site.server.__dict__["credential"] = site.ca.issue(f"/O=Grid/CN={HOST}", not_after=server_ends)
    found = site.verifier().verify(site.ac(not_after=end), peer, now=site.now)
    assert (found.not_after, found.usable_until) == (end, server_ends)


def test_two_extensions_with_attributes(world: World) -> None:
    """Chains with such certificates are refused before; here a chain that came past that."""
    ac = world.ac().der
    proxy = world.alice.proxy(extensions=[ac_extension(ac)])
    peer = world.peer(proxy)
    once = peer.leaf
    carrier = next(one for one in once.extensions if one.oid == oids.VOMS_AC_SEQUENCE)
    twice = Certificate.parse(forge(once.der, world.alice.key, extensions=[*once.extensions, carrier]))
    (found,) = world.verifier().verify_chain(replace(peer, chain=(twice, *peer.chain[1:])), now=world.now)
    assert found.attributes is None
    assert found.error is not None
    assert found.error.problem is CapabilityProblem.MALFORMED
    with pytest.raises(VerificationError):
        verify_chain([twice.der, *proxy.chain_der[1:]], world.anchors, now=world.now)


def _key_identifier(issuer: bytes, serial: int) -> bytes:
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return extension("2.5.29.35", tlv(0x30, tlv(0xA1, tlv(0xA4, issuer)) + tlv(0x82, number)))


def test_a_key_identifier_that_names_a_certificate(world: World) -> None:
    """By issuer and serial number, and both have to be the signer's certificate's."""
    own = world.server.credential.certificate
    issuer, peer = own.issuer.public_bytes(), world.peer(world.alice)
    good = world.ac(leave_out=["aki"], extensions=[_key_identifier(issuer, own.serial_number)])
    assert world.verifier().verify(good, peer, now=world.now).fqans
    for name, serial in ((issuer, own.serial_number + 1), (own.subject.public_bytes(), own.serial_number)):
        bad = world.ac(leave_out=["aki"], extensions=[_key_identifier(name, serial)])
        with pytest.raises(CapabilityError, match="another certificate") as caught:
            world.verifier().verify(bad, peer, now=world.now)
        assert caught.value.problem is CapabilityProblem.SIGNER


@pytest.mark.parametrize("value", [b"", b"\x05", b"\x05\x00\x00", b"\x05\x01\x00", b"\x30\x00", b"\x01\x01\xff"])
def test_no_revocation_information_is_null(value: bytes, world: World) -> None:
    odd = world.ac(leave_out=["noRevAvail"], extensions=[extension("2.5.29.56", value)])
    with pytest.raises(CapabilityError, match="noRevAvail") as caught:
        world.verifier().verify(odd, world.peer(world.alice), now=world.now)
    assert caught.value.problem is CapabilityProblem.CONTENT


@pytest.mark.parametrize(("size", "exponent"), [(1024, 65537), (2048, 3)])
def test_a_server_with_a_weak_key(size: int, exponent: int, world: World) -> None:
    weak = rsa.generate_private_key(public_exponent=exponent, key_size=size)
    site = World()
    site.server.__dict__["credential"] = site.ca.issue(f"/O=Grid/CN={HOST}", weak)
    with pytest.raises(CapabilityError, match="its signer") as caught:
        site.verifier().verify(site.ac(), site.peer(site.alice), now=site.now)
    assert caught.value.problem is CapabilityProblem.SIGNER


@pytest.mark.parametrize(
    "fqan",
    ["", "/", "testvo", "/testvoX", "/testvo//x", "/testvo/", "/testvo/../x", "/testvo/.", "/testvo/a\nb", "/TESTVO"],
)
def test_odd_fqans(fqan: str) -> None:
    with pytest.raises(CapabilityError) as caught:
        check_fqan(fqan, VO)
    assert caught.value.problem is CapabilityProblem.CONTENT
