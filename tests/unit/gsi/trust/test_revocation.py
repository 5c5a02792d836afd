"""CRLs: what is read, whose certificates a bad one refuses, and that it refuses nobody else's."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from gsi import der, oids
from gsi.errors import ParseError, Reason, VerificationError
from gsi.trust.anchors import TrustAnchors
from gsi.trust.crl import MAX_CRL_BYTES, parse_crl, parse_crl_file
from gsi.trust.verify import CRLPolicy, ValidationOptions, VerifiedPeer, verify_chain
from tests.harness.ca import Extra, Issued, TestCA, raw_extension, subject_hash
from tests.harness.trust import SHA1_WITH_RSA, make_anchors, utc_now

NOW: Final = utc_now()
CA: Final = TestCA("/O=Grid/CN=CA 1")
OTHER: Final = TestCA("/O=Grid/CN=CA 2")
ALICE: Final = CA.issue("/O=Grid/CN=Alice")
BOB: Final = CA.issue("/O=Grid/CN=Bob")
CAROL: Final = OTHER.issue("/O=Grid/CN=Carol")
STEM: Final = subject_hash(CA.certificate)
OLD_STEM: Final = subject_hash(CA.certificate, old=True)
REQUIRE: Final = ValidationOptions(crl=CRLPolicy.REQUIRE)
OFF: Final = ValidationOptions(crl=CRLPolicy.OFF)


def judge(issued: Issued, anchors: TrustAnchors, options: ValidationOptions | None = None) -> VerifiedPeer:
    return verify_chain(issued.chain_der, anchors, now=NOW, options=options or ValidationOptions())


def refused(
    issued: Issued, anchors: TrustAnchors, options: ValidationOptions | None = None
) -> tuple[Reason, int | None]:
    with pytest.raises(VerificationError) as caught:
        judge(issued, anchors, options)
    return caught.value.reason, caught.value.position


def anchors_with(**files: bytes) -> TrustAnchors:
    """Both CAs; the keywords (`r0=...`) are files of the first one's hash."""
    return make_anchors(CA, OTHER, more={f"{STEM}.{kind}": data for kind, data in files.items()})


def to_der(pem: bytes) -> bytes:
    return x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER)


def crl_with_entry(*extensions: Extra, serial: int = 99) -> bytes:
    """A CRL of one entry with these extensions."""
    entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW)
    for extension, critical in extensions:
        entry = entry.add_extension(extension, critical=critical)
    builder = x509.CertificateRevocationListBuilder(CA.certificate.subject, NOW, NOW + timedelta(days=1))
    return builder.add_revoked_certificate(entry.build()).sign(CA.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def sha1_crl(ca: TestCA, *revoked: Issued) -> bytes:
    """A CRL signed with SHA-1, which no library writes any more."""
    tbs = der.parse_one(to_der(ca.crl(revoked)), what="CRL").sequence()
    fields = []
    while not tbs.at_end():
        fields.append(tbs.take_raw())
    fields[1] = SHA1_WITH_RSA
    signed = der.encode_sequence(*fields)
    assert isinstance(ca.key, rsa.RSAPrivateKey)
    signature = ca.key.sign(signed, padding.PKCS1v15(), hashes.SHA1())
    return der.encode_sequence(signed, SHA1_WITH_RSA, der.encode_bit_string(signature))


def test_revoked() -> None:
    anchors = anchors_with(r0=CA.crl([ALICE]))
    assert refused(ALICE, anchors) == (Reason.REVOKED, 0)
    assert refused(ALICE.proxy().proxy(), anchors) == (Reason.REVOKED, 2)
    assert judge(BOB, anchors).kind is None
    assert judge(ALICE, anchors, OFF).kind is None


def test_proxies_are_not_looked_up() -> None:
    proxy = ALICE.proxy()
    anchors = anchors_with(r0=CA.crl([proxy]))
    assert judge(proxy, anchors).is_proxy


def test_der_file() -> None:
    assert refused(ALICE, anchors_with(r0=to_der(CA.crl([ALICE])))) == (Reason.REVOKED, 0)


def test_several_in_one_file() -> None:
    assert refused(ALICE, anchors_with(r0=CA.crl() + CA.crl([ALICE]))) == (Reason.REVOKED, 0)


def test_every_number_is_read() -> None:
    assert refused(ALICE, anchors_with(r1=CA.crl([ALICE]))) == (Reason.REVOKED, 0)
    assert refused(ALICE, anchors_with(r0=CA.crl(), r7=CA.crl([ALICE]))) == (Reason.REVOKED, 0)


def test_under_the_old_hash() -> None:
    anchors = make_anchors(CA, more={f"{OLD_STEM}.r0": CA.crl([ALICE])})
    assert refused(ALICE, anchors) == (Reason.REVOKED, 0)
    same = CA.crl()
    assert judge(ALICE, make_anchors(CA, more={f"{OLD_STEM}.r0": same, f"{STEM}.r0": same})).kind is None


def test_absent() -> None:
    assert judge(ALICE, anchors_with()).kind is None
    assert refused(ALICE, anchors_with(), REQUIRE) == (Reason.CRL_MISSING, 0)
    assert judge(ALICE, anchors_with(r0=CA.crl()), REQUIRE).kind is None


BAD: Final = {
    "expired": (
        CA.crl(this_update=NOW - timedelta(days=9), next_update=NOW - timedelta(seconds=1)),
        Reason.CRL_EXPIRED,
    ),
    "not yet valid": (CA.crl(this_update=NOW + timedelta(hours=1)), Reason.CRL_NOT_YET_VALID),
    "signed by another key": (CA.crl(key=OTHER.key), Reason.CRL_BAD_SIGNATURE),
    "of another CA": (OTHER.crl(), Reason.CRL_SIGNER),
    "garbage": (b"garbage", Reason.CRL_BROKEN),
    "empty file": (b"", Reason.CRL_BROKEN),
    "cut off": (CA.crl()[:-60], Reason.CRL_BROKEN),
    "cut off DER": (to_der(CA.crl())[:-1], Reason.CRL_BROKEN),
    "a certificate": (CA.pem, Reason.CRL_BROKEN),
    "good, then cut off": (CA.crl() + CA.crl()[:-60], Reason.CRL_BROKEN),
    "unknown critical extension": (
        CA.crl(extensions=[raw_extension("1.2.3.4", b"\x05\x00", critical=True)]),
        Reason.CRL_BROKEN,
    ),
    "delta": (CA.crl(extensions=[(x509.DeltaCRLIndicator(1), True)]), Reason.CRL_BROKEN),
    "indirect": (
        CA.crl(
            extensions=[
                (
                    x509.IssuingDistributionPoint(
                        full_name=None,
                        relative_name=None,
                        only_contains_user_certs=False,
                        only_contains_ca_certs=False,
                        only_some_reasons=None,
                        indirect_crl=True,
                        only_contains_attribute_certs=False,
                    ),
                    True,
                )
            ]
        ),
        Reason.CRL_BROKEN,
    ),
    "entry of another issuer": (
        crl_with_entry((x509.CertificateIssuer([x509.DNSName("x.example")]), True)),
        Reason.CRL_BROKEN,
    ),
    "unknown critical extension of an entry": (
        crl_with_entry(raw_extension("1.2.3.4", b"\x05\x00", critical=True)),
        Reason.CRL_BROKEN,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_crl_refuses_its_ca_alone(name: str) -> None:
    data, reason = BAD[name]
    anchors = anchors_with(r0=data)
    assert refused(ALICE.proxy(), anchors) == (reason, 1)
    assert judge(CAROL, anchors).kind is None
    assert judge(ALICE, anchors, OFF).kind is None


@pytest.mark.parametrize("name", BAD)
def test_bad_crl_beside_a_good_one_still_refuses(name: str) -> None:
    data, reason = BAD[name]
    assert refused(ALICE, anchors_with(r0=CA.crl(), r1=data)) == (reason, 0)


def test_bad_signature() -> None:
    broken = bytearray(to_der(CA.crl()))
    broken[-1] ^= 1
    assert refused(ALICE, anchors_with(r0=bytes(broken))) == (Reason.CRL_BAD_SIGNATURE, 0)


def test_validity_includes_both_ends() -> None:
    edge = CA.crl(this_update=NOW - timedelta(hours=1), next_update=NOW)
    assert judge(ALICE, anchors_with(r0=edge)).kind is None
    assert judge(ALICE, anchors_with(r0=CA.crl(this_update=NOW))).kind is None


def test_harmless_entry_extensions() -> None:
    data = crl_with_entry((x509.CRLReason(x509.ReasonFlags.key_compromise), False), (x509.InvalidityDate(NOW), False))
    assert judge(ALICE, anchors_with(r0=data)).kind is None


def test_hold_is_revoked() -> None:
    data = crl_with_entry(
        (x509.CRLReason(x509.ReasonFlags.certificate_hold), False), serial=ALICE.certificate.serial_number
    )
    assert refused(ALICE, anchors_with(r0=data)) == (Reason.REVOKED, 0)


def test_ca_without_crl_sign() -> None:
    ca = TestCA("/O=Grid/CN=No CRL", key_usage=("key_cert_sign",))
    alice = ca.issue("/O=Grid/CN=Alice")
    assert refused(alice, make_anchors(ca, crl=True)) == (Reason.CRL_SIGNER, 0)
    assert judge(alice, make_anchors(ca)).kind is None


def test_anchor_on_its_own_crl() -> None:
    assert refused(ALICE, anchors_with(r0=CA.crl([CA]))) == (Reason.REVOKED, 1)


class TestIntermediate:
    """A CA between: its own certificate against the root's CRL, what it issues against its own."""

    SUB: Final = CA.intermediate("/O=Grid/CN=Sub")
    DAVE: Final = SUB.issue("/O=Grid/CN=Dave")
    SUB_STEM: Final = subject_hash(SUB.certificate)

    def anchors(self, *, root: bytes | None = None, sub: bytes | None = None) -> TrustAnchors:
        more = {f"{self.SUB_STEM}.signing_policy": self.SUB.signing_policy().encode()}
        if root:
            more[f"{STEM}.r0"] = root
        if sub:
            more[f"{self.SUB_STEM}.r0"] = sub
        return make_anchors(CA, more=more)

    def test_revoked(self) -> None:
        assert refused(self.DAVE.proxy(), self.anchors(root=CA.crl([self.SUB]))) == (Reason.REVOKED, 2)

    def test_end_entity_revoked_by_it(self) -> None:
        assert refused(self.DAVE.proxy(), self.anchors(sub=self.SUB.crl([self.DAVE]))) == (Reason.REVOKED, 1)

    def test_its_crl_expired(self) -> None:
        stale = self.SUB.crl(this_update=NOW - timedelta(days=9), next_update=NOW - timedelta(days=1))
        assert refused(self.DAVE, self.anchors(sub=stale)) == (Reason.CRL_EXPIRED, 0)

    def test_every_ca_needs_one_when_required(self) -> None:
        assert refused(self.DAVE, self.anchors(root=CA.crl()), REQUIRE) == (Reason.CRL_MISSING, 0)
        assert refused(self.DAVE, self.anchors(sub=self.SUB.crl()), REQUIRE) == (Reason.CRL_MISSING, 1)
        assert judge(self.DAVE, self.anchors(root=CA.crl(), sub=self.SUB.crl()), REQUIRE).kind is None


class TestSameName:
    """After a change of keys: two CAs and two CRLs under one hash."""

    OLD: Final = TestCA("/O=Grid/CN=Rolled", key="p256")
    NEW: Final = TestCA("/O=Grid/CN=Rolled", key="p256")
    ROLLED: Final = subject_hash(OLD.certificate)

    def test_each_has_its_own(self) -> None:
        one, two = self.OLD.issue("/O=Grid/CN=A"), self.NEW.issue("/O=Grid/CN=B")
        more = {f"{self.ROLLED}.r0": self.OLD.crl([one]), f"{self.ROLLED}.r1": self.NEW.crl()}
        anchors = make_anchors(self.OLD, self.NEW, more=more)
        assert refused(one, anchors) == (Reason.REVOKED, 0)
        assert judge(two, anchors, REQUIRE).kind is None

    def test_stale_one_of_the_old_key(self) -> None:
        stale = self.OLD.crl(this_update=NOW - timedelta(days=9), next_update=NOW - timedelta(days=1))
        more = {f"{self.ROLLED}.r0": stale, f"{self.ROLLED}.r1": self.NEW.crl()}
        anchors = make_anchors(self.OLD, self.NEW, more=more)
        assert refused(self.OLD.issue("/O=Grid/CN=A"), anchors) == (Reason.CRL_EXPIRED, 0)
        assert judge(self.NEW.issue("/O=Grid/CN=B"), anchors).kind is None

    def test_signed_by_neither(self) -> None:
        third = TestCA("/O=Grid/CN=Rolled", key="p256")
        anchors = make_anchors(self.OLD, self.NEW, more={f"{self.ROLLED}.r0": third.crl()})
        assert refused(self.NEW.issue("/O=Grid/CN=B"), anchors) == (Reason.CRL_BAD_SIGNATURE, 0)

    @pytest.mark.parametrize("options", [None, REQUIRE])
    def test_a_list_of_the_other_key_does_not_stand_in(self, options: ValidationOptions | None) -> None:
        one, two = self.OLD.issue("/O=Grid/CN=A"), self.OLD.issue("/O=Grid/CN=B")
        for order in ((self.OLD, self.NEW), (self.NEW, self.OLD)):
            anchors = make_anchors(*order, more={f"{self.ROLLED}.r0": self.NEW.crl([one])})
            assert refused(one, anchors, options) == (Reason.REVOKED, 0)
            assert refused(two, anchors, options) == (Reason.CRL_SIGNER, 0)
            assert judge(self.NEW.issue("/O=Grid/CN=C"), anchors, options).kind is None
            assert judge(two, anchors, OFF).kind is None

    def test_a_list_of_the_other_key_revokes_beside_the_own_one(self) -> None:
        one = self.OLD.issue("/O=Grid/CN=A")
        more = {f"{self.ROLLED}.r0": self.OLD.crl(), f"{self.ROLLED}.r1": self.NEW.crl([one])}
        assert refused(one, make_anchors(self.OLD, self.NEW, more=more)) == (Reason.REVOKED, 0)

    def test_a_key_that_certified_the_other_as_its_own_stands_in(self) -> None:
        """The root signs a new key under its own name and goes on to sign the lists."""
        new = TestCA("/O=Grid/CN=Rolled", key="p256", parent=self.OLD)
        one, two = new.issue("/O=Grid/CN=A", "p256"), new.issue("/O=Grid/CN=B", "p256")
        anchors = make_anchors(self.OLD, more={f"{self.ROLLED}.r0": self.OLD.crl([one])})
        assert refused(one, anchors, REQUIRE) == (Reason.REVOKED, 0)
        assert judge(two, anchors, REQUIRE).chain[1].der == new.der
        both = {f"{self.ROLLED}.r0": self.OLD.crl(), f"{self.ROLLED}.r1": self.NEW.crl()}
        assert refused(two, make_anchors(self.OLD, more=both), REQUIRE) == (Reason.CRL_BAD_SIGNATURE, 1)

    def test_it_stands_in_only_with_crl_sign_and_while_current(self) -> None:
        unfit = TestCA("/O=Grid/CN=Rolled", key="p256", key_usage=("key_cert_sign",))
        two = TestCA("/O=Grid/CN=Rolled", key="p256", parent=unfit).issue("/O=Grid/CN=B", "p256")
        assert refused(two, make_anchors(unfit, crl=True))[0] is Reason.CRL_SIGNER
        two = TestCA("/O=Grid/CN=Rolled", key="p256", parent=self.OLD).issue("/O=Grid/CN=B", "p256")
        stale = self.OLD.crl(this_update=NOW - timedelta(days=9), next_update=NOW - timedelta(days=1))
        assert refused(two, make_anchors(self.OLD, crl=stale))[0] is Reason.CRL_EXPIRED

    def test_an_old_ca_with_a_weak_key_blocks_nobody(self) -> None:
        weak = TestCA("/O=Grid/CN=Rolled", key=rsa.generate_private_key(65537, 1024))
        more = {f"{self.ROLLED}.r0": self.NEW.crl(), f"{self.ROLLED}.r1": weak.crl()}
        anchors = make_anchors(self.NEW, weak, more=more)
        assert judge(self.NEW.issue("/O=Grid/CN=B"), anchors, REQUIRE).kind is None
        assert refused(weak.issue("/O=Grid/CN=C"), make_anchors(weak, more=more)) == (Reason.WEAK_KEY, 1)

    def test_an_old_ca_with_a_weak_digest_blocks_nobody(self) -> None:
        old = TestCA("/O=Grid/CN=Rolled", key="rsa2048")
        more = {f"{self.ROLLED}.r0": self.NEW.crl(), f"{self.ROLLED}.r1": sha1_crl(old)}
        anchors = make_anchors(self.NEW, old, more=more)
        assert judge(self.NEW.issue("/O=Grid/CN=B"), anchors, REQUIRE).kind is None
        assert refused(old.issue("/O=Grid/CN=C"), anchors) == (Reason.WEAK_SIGNATURE, 0)


class TestParse:
    """The value itself."""

    def test_fields(self) -> None:
        crl = parse_crl(to_der(CA.crl([5, 2**158 + 1], this_update=NOW, next_update=NOW + timedelta(days=1))))
        assert crl.issuer_der == CA.certificate.subject.public_bytes()
        assert (crl.this_update, crl.next_update) == (NOW, NOW + timedelta(days=1))
        assert crl.serials == {5, 2**158 + 1}
        assert crl.is_revoked(5)
        assert not crl.is_revoked(6)

    def test_negative_serial_numbers(self) -> None:
        whole = to_der(CA.crl([0x7F7E7D, 0x1234]))
        negative = whole.replace(bytes.fromhex("02037F7E7D"), bytes.fromhex("0203FF0001"))
        assert parse_crl(negative).serials == {-65535, 0x1234}

    def test_long_list(self) -> None:
        serials = [(number << 64) + 1 for number in range(1, 3000)]
        assert parse_crl(to_der(CA.crl(serials))).serials == set(serials)

    def test_without_next_update(self) -> None:
        body = der.parse_one(to_der(CA.crl(number=None)), what="CRL").take_raw()
        tbs = der.parse_one(body, what="CRL")
        kept = [tbs.take_raw() for _ in range(4)]  # version, algorithm, issuer, thisUpdate; nextUpdate is left out
        algorithm = kept[1]
        signed = der.encode_sequence(*kept)
        data = der.encode_sequence(signed, algorithm, der.encode_bit_string(bytes(256)))
        with pytest.raises(ParseError, match="nextUpdate"):
            parse_crl(data)

    def test_two_algorithms(self) -> None:
        outer = der.parse_one(to_der(CA.crl()), what="CRL")
        tbs, _, signature = outer.take_raw(), outer.take_raw(), outer.take_raw()
        with pytest.raises(ParseError, match="algorithms"):
            parse_crl(der.encode_sequence(tbs, SHA1_WITH_RSA, signature))

    def test_version_1_with_extensions(self) -> None:
        outer = der.parse_one(to_der(CA.crl()), what="CRL")
        tbs = outer.sequence()
        tbs.take_raw()
        parts = []
        while not tbs.at_end():
            parts.append(tbs.take_raw())
        with pytest.raises(ParseError):
            parse_crl(der.encode_sequence(der.encode_sequence(*parts), outer.take_raw(), outer.take_raw()))

    @pytest.mark.parametrize("data", [b"", b"garbage", b"\x30\x00", b"-----BEGIN X509 CRL-----\n", CA.pem])
    def test_garbage(self, data: bytes) -> None:
        with pytest.raises(ParseError):
            parse_crl_file(data)

    def test_too_long(self) -> None:
        with pytest.raises(ParseError, match="limit"):
            parse_crl(bytes(MAX_CRL_BYTES + 1))

    def test_sha1_needs_the_switch(self) -> None:
        anchors = anchors_with(r0=sha1_crl(CA, ALICE))
        assert refused(BOB, anchors) == (Reason.WEAK_SIGNATURE, 0)
        weak = ValidationOptions(accept_weak_signatures=True)
        assert judge(BOB, anchors, weak).kind is None
        assert refused(ALICE, anchors, weak) == (Reason.REVOKED, 0)
        assert refused(BOB, anchors) == (Reason.WEAK_SIGNATURE, 0)

    def test_authority_key_identifier_may_be_there(self) -> None:
        keyid = x509.AuthorityKeyIdentifier.from_issuer_public_key(CA.key.public_key())
        assert judge(ALICE, anchors_with(r0=CA.crl(extensions=[(keyid, False)]))).kind is None


def test_oids_used_here() -> None:
    assert x509.IssuingDistributionPoint.oid.dotted_string == oids.ISSUING_DISTRIBUTION_POINT
    assert x509.DeltaCRLIndicator.oid.dotted_string == oids.DELTA_CRL_INDICATOR
    assert x509.CertificateIssuer.oid.dotted_string == oids.CERTIFICATE_ISSUER
