"""The part above the end entity: path building, CAs, signing policy, namespaces, key usages, strengths."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from gsi import der, keys, names, oids
from gsi.certificate import Certificate, Extension
from gsi.errors import ConfigError, Reason, VerificationError
from gsi.trust.anchors import TrustAnchors
from gsi.trust.verify import CRLPolicy, Purpose, ValidationOptions, VerifiedPeer, verify_chain
from tests.harness.ca import CLIENT_AUTH, SERVER_AUTH, Issued, TestCA, raw_extension, subject_hash
from tests.harness.trust import forge, make_anchors, utc_now

NOW: Final = utc_now()
ROOT: Final = TestCA("/O=Grid/CN=Root")
ANCHORS: Final = make_anchors(ROOT)
EKU_EMAIL: Final = ExtendedKeyUsageOID.EMAIL_PROTECTION
EKU_ANY: Final = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE


def judge(
    chain: Issued | tuple[bytes, ...], anchors: TrustAnchors = ANCHORS, options: ValidationOptions | None = None
) -> VerifiedPeer:
    ders = chain.chain_der if isinstance(chain, Issued) else chain
    return verify_chain(ders, anchors, now=NOW, options=options or ValidationOptions())


def refused(
    chain: Issued | tuple[bytes, ...], anchors: TrustAnchors = ANCHORS, options: ValidationOptions | None = None
) -> tuple[Reason, int | None]:
    with pytest.raises(VerificationError) as caught:
        judge(chain, anchors, options)
    return caught.value.reason, caught.value.position


KEY: Final = ec.generate_private_key(ec.SECP256R1())


def pair(oid: str, value: bytes) -> bytes:
    """One attribute of a name; the value whole, with its tag."""
    return der.encode_sequence(der.encode_oid(oid), value)


def encoded_name(*attributes: tuple[str, bytes]) -> bytes:
    """A name of these attributes, each in a part of its own."""
    return der.encode_sequence(*(der.encode_set(pair(*one)) for one in attributes))


class TestAnchor:
    """Where a path may end."""

    def test_unknown_ca(self) -> None:
        other = TestCA("/O=Grid/CN=Other")
        with pytest.raises(VerificationError) as caught:
            judge(other.issue("/O=Grid/CN=Alice"))
        assert caught.value.reason is Reason.UNTRUSTED
        assert subject_hash(other.certificate) in (caught.value.hint or "")

    def test_presented_root_proves_nothing(self) -> None:
        other = TestCA("/O=Grid/CN=Other")
        alice = other.issue("/O=Grid/CN=Alice")
        assert refused((alice.der, other.der)) == (Reason.UNTRUSTED, 1)

    def test_presented_root_of_a_trusted_name(self) -> None:
        impostor = TestCA("/O=Grid/CN=Root", key="p256")
        alice = impostor.issue("/O=Grid/CN=Alice")
        assert refused(alice) == (Reason.BAD_SIGNATURE, 0)
        assert refused((alice.der, impostor.der))[0] in {Reason.BAD_SIGNATURE, Reason.UNTRUSTED}

    def test_presented_root_is_passed_over(self) -> None:
        alice = ROOT.issue("/O=Grid/CN=Alice")
        assert len(judge((*alice.proxy().chain_der, ROOT.der)).chain) == 3

    def test_expired(self) -> None:
        ca = TestCA("/O=Grid/CN=Old", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1))
        alice = ca.issue("/O=Grid/CN=Alice")
        assert refused(alice, make_anchors(ca)) == (Reason.EXPIRED, 1)

    def test_no_ca_in_the_directory_is_an_end_entity(self) -> None:
        alice = ROOT.issue("/O=Grid/CN=Alice")
        stem = subject_hash(alice.certificate)
        anchors = make_anchors(ROOT, more={f"{stem}.0": alice.pem})
        assert [one.subject for one in anchors.authorities] == ["/O=Grid/CN=Root"]
        assert [one.path for one in anchors.problems] == [f"{stem}.0"]

    def test_weak_signature_of_the_anchor_itself_does_not_count(self) -> None:
        ca = TestCA("/O=Grid/CN=Sha1 Root")
        old = forge(ca.der, ca.key, sha1=True)
        pem = Certificate.parse(old).pem()
        anchors = make_anchors(ca, more={f"{subject_hash(ca.certificate)}.0": pem})
        assert judge(ca.issue("/O=Grid/CN=Alice"), anchors).anchor.der == old

    def test_version_1_root(self) -> None:
        ca = TestCA("/O=Grid/CN=V1 Root")
        old = forge(ca.der, ca.key, version=1, extensions=[])
        anchors = make_anchors(ca, more={f"{subject_hash(ca.certificate)}.0": Certificate.parse(old).pem()})
        assert judge(ca.issue("/O=Grid/CN=Alice"), anchors).anchor.version == 1

    def test_old_hash_alone_is_enough(self) -> None:
        alice = ROOT.issue("/O=Grid/CN=Alice")
        assert judge(alice, make_anchors(ROOT, old_hash=True)).anchor.der == ROOT.der

    def test_both_hashes_are_one_ca(self) -> None:
        both = make_anchors(ROOT, crl=True, more=dict(make_anchors_files_old()))
        assert len(both.authorities) == 1
        assert judge(ROOT.issue("/O=Grid/CN=Alice"), both).anchor.der == ROOT.der

    @pytest.mark.parametrize("kind", ["p256", "p384", "ed25519", "rsa3072"])
    def test_key_types(self, kind: str) -> None:
        ca = TestCA("/O=Grid/CN=Any", key=kind)  # type: ignore[arg-type]  # a parametrised Literal
        leaf = ca.issue("/O=Grid/CN=Alice", key=kind).proxy(key="p256")  # type: ignore[arg-type]  # likewise
        assert judge(leaf, make_anchors(ca, crl=True)).anchor.der == ca.der


def make_anchors_files_old() -> dict[str, bytes]:
    from tests.harness.trust import make_files

    return make_files(ROOT, crl=True, old_hash=True)


class TestIntermediates:
    """CAs between the end entity and the anchor."""

    def test_presented(self) -> None:
        sub = ROOT.intermediate("/O=Grid/CN=Sub")
        leaf = sub.issue("/O=Grid/CN=Alice").proxy()
        peer = judge(leaf, make_anchors(ROOT, more=policy_of(sub)))
        assert [one.der for one in peer.chain[2:]] == [sub.der, ROOT.der]

    def test_in_the_directory(self) -> None:
        sub = ROOT.intermediate("/O=Grid/CN=Sub")
        alice = sub.issue("/O=Grid/CN=Alice")
        peer = judge((alice.der,), make_anchors(ROOT, sub))
        assert [one.der for one in peer.chain] == [alice.der, sub.der, ROOT.der]

    def test_in_the_directory_is_no_anchor(self) -> None:
        sub = ROOT.intermediate("/O=Grid/CN=Sub")
        alice = sub.issue("/O=Grid/CN=Alice")
        assert refused((alice.der,), make_anchors(sub)) == (Reason.UNTRUSTED, 1)

    def test_two_presented_in_any_order(self) -> None:
        first = ROOT.intermediate("/O=Grid/CN=Sub 1")
        second = first.intermediate("/O=Grid/CN=Sub 2")
        alice = second.issue("/O=Grid/CN=Alice")
        anchors = make_anchors(ROOT, more=policy_of(first, second))
        for cas in ((second, first), (first, second)):
            peer = judge((alice.der, *(one.der for one in cas)), anchors)
            assert [one.der for one in peer.chain[1:]] == [second.der, first.der, ROOT.der]

    def test_needs_a_signing_policy_of_its_own(self) -> None:
        sub = ROOT.intermediate("/O=Grid/CN=Sub")
        leaf = sub.issue("/O=Grid/CN=Alice").proxy()
        assert refused(leaf) == (Reason.SIGNING_POLICY_MISSING, 1)

    def test_must_be_permitted_by_the_policy_above(self) -> None:
        sub = ROOT.intermediate("/O=Grid/CN=Sub")
        leaf = sub.issue("/O=Grid/CN=Alice")
        anchors = make_anchors(ROOT, policy=ROOT.signing_policy("/O=Grid/CN=Alice"), more=policy_of(sub))
        assert refused(leaf, anchors) == (Reason.SIGNING_POLICY, 1)

    def test_expired(self) -> None:
        sub = TestCA(
            "/O=Grid/CN=Sub", parent=ROOT, not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1)
        )
        leaf = sub.issue("/O=Grid/CN=Alice").proxy()
        assert refused(leaf, make_anchors(ROOT, more=policy_of(sub))) == (Reason.EXPIRED, 2)

    def test_no_key_cert_sign(self) -> None:
        sub = TestCA("/O=Grid/CN=Sub", parent=ROOT, key_usage=("digital_signature", "crl_sign"))
        assert refused(sub.issue("/O=Grid/CN=A"), make_anchors(ROOT, more=policy_of(sub))) == (Reason.KEY_USAGE, 1)

    def test_key_cert_sign_among_the_unused_bits(self) -> None:
        hidden = raw_extension(oids.KEY_USAGE, bytes.fromhex("03020786"), critical=True)
        sub = TestCA("/O=Grid/CN=Sub", parent=ROOT, key_usage=None, extensions=[hidden])
        assert refused(sub.issue("/O=Grid/CN=Alice"))[0] is Reason.MALFORMED

    def test_not_a_ca(self) -> None:
        sub = ROOT.issue("/O=Grid/CN=Sub", ca=False)
        fake = TestCA("/O=Grid/CN=Sub", key=sub.key)
        alice = fake.issue("/O=Grid/CN=Alice")
        assert refused((alice.der, sub.der), make_anchors(ROOT, more=policy_of(fake))) == (Reason.NOT_A_CA, 1)

    def test_proxy_info_in_a_ca(self) -> None:
        mark = raw_extension(oids.PROXY_CERT_INFO, bytes.fromhex("300C300A06082B06010505071501"), critical=True)
        sub = TestCA("/O=Grid/CN=Sub", parent=ROOT, extensions=[mark])
        assert refused(sub.issue("/O=Grid/CN=A"), make_anchors(ROOT, more=policy_of(sub))) == (Reason.PROXY_IS_CA, 1)

    def test_bad_signature(self) -> None:
        sub = ROOT.intermediate("/O=Grid/CN=Sub")
        alice = sub.issue("/O=Grid/CN=Alice")
        broken = sub.der[:-1] + bytes((sub.der[-1] ^ 1,))
        assert refused((alice.der, broken), make_anchors(ROOT, more=policy_of(sub))) == (Reason.BAD_SIGNATURE, 1)

    def test_sha1(self) -> None:
        sub = ROOT.intermediate("/O=Grid/CN=Sub")
        alice = sub.issue("/O=Grid/CN=Alice")
        weak = forge(sub.der, ROOT.key, sha1=True)
        anchors = make_anchors(ROOT, more=policy_of(sub))
        assert refused((alice.der, weak), anchors) == (Reason.WEAK_SIGNATURE, 1)
        assert judge((alice.der, weak), anchors, ValidationOptions(accept_weak_signatures=True)).is_proxy is False

    def test_critical_extensions(self) -> None:
        policies = der.encode_sequence(der.encode_sequence(der.encode_oid("1.2.3.4")))
        known = raw_extension(oids.CERTIFICATE_POLICIES, policies, critical=True)
        sub = TestCA("/O=Grid/CN=Sub", parent=ROOT, extensions=[known])
        assert judge(sub.issue("/O=Grid/CN=A"), make_anchors(ROOT, more=policy_of(sub))).chain[1].der == sub.der
        requires = raw_extension(oids.POLICY_CONSTRAINTS, bytes.fromhex("3003800100"), critical=True)
        sub = TestCA("/O=Grid/CN=Sub", parent=ROOT, extensions=[requires])
        assert refused(sub.issue("/O=Grid/CN=A"), make_anchors(ROOT, more=policy_of(sub))) == (
            Reason.CERTIFICATE_POLICY,
            0,
        )
        sub = TestCA("/O=Grid/CN=Sub", parent=ROOT, extensions=[known, requires])
        alice = sub.issue("/O=Grid/CN=A", extensions=[known])
        assert judge(alice, make_anchors(ROOT, more=policy_of(sub))).chain[1].der == sub.der
        inhibits = raw_extension(oids.POLICY_CONSTRAINTS, bytes.fromhex("3003810100"), critical=True)
        sub = TestCA("/O=Grid/CN=Sub", parent=ROOT, extensions=[inhibits])
        assert judge(sub.issue("/O=Grid/CN=A"), make_anchors(ROOT, more=policy_of(sub))).chain[1].der == sub.der

    def test_extended_key_usage_of_a_ca_binds(self) -> None:
        sub = TestCA("/O=Grid/CN=Sub", parent=ROOT, extensions=[(x509.ExtendedKeyUsage([EKU_EMAIL]), False)])
        alice = sub.issue("/O=Grid/CN=A")
        anchors = make_anchors(ROOT, more=policy_of(sub))
        assert refused(alice, anchors) == (Reason.EXTENDED_KEY_USAGE, 1)
        assert judge(alice, anchors, ValidationOptions(purpose=Purpose.ANY)).chain[1].der == sub.der

    def test_too_deep(self) -> None:
        ca, cas = ROOT, []
        for number in range(11):
            ca = ca.intermediate(f"/O=Grid/CN=Sub {number}", key="p256")
            cas.append(ca)
        alice = ca.issue("/O=Grid/CN=Alice")
        assert refused(alice, make_anchors(ROOT, more=policy_of(*cas)))[0] is Reason.PATH_TOO_COMPLEX

    def test_loop_of_cross_certificates_ends(self) -> None:
        names = [f"/O=Grid/CN=Sub {number}" for number in range(8)]
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in names]
        cas = [TestCA(name, key=key) for name, key in zip(names, keys, strict=True)]
        crossed = [
            TestCA(name, key=key, parent=other)
            for name, key in zip(names, keys, strict=True)
            for other in cas
            if other.name != name
        ]
        alice = cas[0].issue("/O=Grid/CN=Alice", key="p256")
        chain = (alice.der, *(one.der for one in crossed))
        assert refused(chain)[0] in {Reason.PATH_TOO_COMPLEX, Reason.UNTRUSTED}

    def test_large_mesh_of_one_name(self) -> None:
        """Forty CAs that a peer has made for itself, each an issuer of each, with names as long as there is room."""
        key = ec.generate_private_key(ec.SECP256R1())
        spki = keys.spki_der(key)
        alice = ROOT.issue("/O=Grid/CN=Alice", key=key)
        proto = ROOT.intermediate("/O=Grid/CN=Proto", key="p256")
        chain = [forge(alice.der, key, issuer_der=self.spelled(0))]
        chain += [
            forge(proto.der, key, subject_der=self.spelled(number), issuer_der=self.spelled(number + 50), spki_der=spki)
            for number in range(1, 40)
        ]
        calls: list[bytes] = []
        real = names.canonical

        def counted(name_der: bytes) -> bytes:
            calls.append(name_der)
            return real(name_der)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(names, "canonical", counted)
            assert refused(tuple(chain))[0] is Reason.PATH_TOO_COMPLEX
        assert len(calls) <= 3 * len(chain)  # each name once as a subject, twice as an issuer (directory, chain)
        long = [forge(one, key, subject_der=self.spelled(number, 200)) for number, one in enumerate(chain)]
        assert refused(tuple(long)) == (Reason.CHAIN_TOO_LONG, None)

    @staticmethod
    def spelled(number: int, parts: int = 20) -> bytes:
        """One name in many spellings."""
        text = [f"{'A' if number >> part % 7 & 1 else 'a'}bc" for part in range(parts)]
        return encoded_name(*(("2.5.4.11", der.encode_tlv(der.UTF8_STRING, one.encode())) for one in text))


class TestSameName:
    """Several CAs of one name, as after a change of keys."""

    OLD: Final = TestCA("/O=Grid/CN=Rolled", key="p256")
    NEW: Final = TestCA("/O=Grid/CN=Rolled", key="p256")

    def test_each_signs_for_itself(self) -> None:
        anchors = make_anchors(self.OLD, self.NEW)
        for ca in (self.OLD, self.NEW):
            assert judge(ca.issue("/O=Grid/CN=Alice").proxy(), anchors).anchor.der == ca.der

    def test_broken_one_does_not_hide_the_other(self) -> None:
        gone = TestCA(
            "/O=Grid/CN=Rolled",
            key=self.NEW.key,
            not_before=NOW - timedelta(days=9),
            not_after=NOW - timedelta(days=1),
        )
        anchors = make_anchors(gone, self.NEW)
        assert judge(self.NEW.issue("/O=Grid/CN=Alice"), anchors).anchor.der == self.NEW.der

    def test_new_key_certified_by_the_old(self) -> None:
        link = TestCA("/O=Grid/CN=Rolled", key=self.NEW.key, parent=self.OLD)
        alice = self.NEW.issue("/O=Grid/CN=Alice")
        peer = judge((alice.der, link.der), make_anchors(self.OLD))
        assert [one.der for one in peer.chain] == [alice.der, link.der, self.OLD.der]


class TestPathLength:
    """BasicConstraints' path length; proxies and self-issued CAs do not count."""

    def chain(self, *lengths: int | None) -> tuple[Issued, TrustAnchors]:
        root = ca = TestCA("/O=Grid/CN=Limited", path_length=lengths[0], key="p256")
        subs = []
        for number, length in enumerate(lengths[1:]):
            ca = ca.intermediate(f"/O=Grid/CN=Sub {number}", path_length=length, key="p256")
            subs.append(ca)
        return ca.issue("/O=Grid/CN=Alice"), make_anchors(root, more=policy_of(*subs))

    def test_proxies_do_not_count(self) -> None:
        alice, anchors = self.chain(0)
        assert judge(alice.proxy().proxy().proxy(), anchors).depth_left is None

    def test_self_issued_cas_do_not_count(self) -> None:
        root = TestCA("/O=Grid/CN=Limited", path_length=1, key="p256")
        link = root.intermediate(root.name, key="p256")  # RFC 5280 section 6.1.4 (l)
        sub = link.intermediate("/O=Grid/CN=Sub", key="p256")
        alice = sub.issue("/O=Grid/CN=Alice", key="p256")
        assert len(judge(alice, make_anchors(root, more=policy_of(sub))).chain) == 4
        below = sub.intermediate("/O=Grid/CN=Below", key="p256")
        alice = below.issue("/O=Grid/CN=Alice", key="p256")
        assert refused(alice, make_anchors(root, more=policy_of(sub, below))) == (Reason.CA_PATH_LENGTH, 4)

    @pytest.mark.parametrize("lengths", [(None, None), (1, None), (1, 0), (2, 1, 0), (9, None, None)])
    def test_fits(self, lengths: tuple[int | None, ...]) -> None:
        alice, anchors = self.chain(*lengths)
        assert len(judge(alice, anchors).chain) == len(lengths) + 1

    @pytest.mark.parametrize(("lengths", "at"), [((0, None), 2), ((1, None, None), 3), ((None, 0, None), 2)])
    def test_exceeded(self, lengths: tuple[int | None, ...], at: int) -> None:
        alice, anchors = self.chain(*lengths)
        assert refused(alice, anchors) == (Reason.CA_PATH_LENGTH, at)


class TestEndEntity:
    """Step D."""

    def test_expired(self) -> None:
        alice = ROOT.issue("/O=Grid/CN=A", not_before=NOW - timedelta(days=2), not_after=NOW - timedelta(days=1))
        assert refused(alice.proxy()) == (Reason.EXPIRED, 1)

    def test_not_yet_valid(self) -> None:
        assert refused(ROOT.issue("/O=Grid/CN=A", not_before=NOW + timedelta(hours=1))) == (Reason.NOT_YET_VALID, 0)

    def test_key_usage(self) -> None:
        alice = ROOT.issue("/O=Grid/CN=A", key_usage=("key_encipherment",))
        assert refused(alice) == (Reason.KEY_USAGE, 0)
        assert refused(alice, options=ValidationOptions(purpose=Purpose.ANY)) == (Reason.KEY_USAGE, 0)
        assert judge(ROOT.issue("/O=Grid/CN=A", key_usage=None)).kind is None

    @pytest.mark.parametrize(
        ("usages", "purpose", "good"),
        [
            ((SERVER_AUTH,), Purpose.CLIENT, False),
            ((SERVER_AUTH,), Purpose.SERVER, True),
            ((SERVER_AUTH,), Purpose.ANY, True),
            ((CLIENT_AUTH,), Purpose.CLIENT, True),
            ((CLIENT_AUTH,), Purpose.SERVER, False),
            ((SERVER_AUTH, CLIENT_AUTH), Purpose.CLIENT, True),
            ((EKU_EMAIL,), Purpose.CLIENT, False),
            ((EKU_ANY,), Purpose.CLIENT, True),
            (None, Purpose.CLIENT, True),
        ],
    )
    def test_extended_key_usage(
        self, usages: tuple[x509.ObjectIdentifier, ...] | None, purpose: Purpose, good: bool
    ) -> None:
        leaf = ROOT.issue("/O=Grid/CN=A", eku=usages).proxy()
        if good:
            assert judge(leaf, options=ValidationOptions(purpose=purpose)).is_proxy
        else:
            assert refused(leaf, options=ValidationOptions(purpose=purpose)) == (Reason.EXTENDED_KEY_USAGE, 1)
            lax = ValidationOptions(purpose=purpose, ignore_extended_key_usage=True)
            assert judge(leaf, options=lax).is_proxy

    def test_sha1(self) -> None:
        alice = ROOT.issue("/O=Grid/CN=A")
        assert refused((forge(alice.der, ROOT.key, sha1=True),)) == (Reason.WEAK_SIGNATURE, 0)

    def test_unknown_critical_extension(self) -> None:
        alice = ROOT.issue("/O=Grid/CN=A", extensions=[raw_extension("1.2.3.4", b"\x05\x00", critical=True)])
        assert refused(alice.proxy()) == (Reason.UNKNOWN_CRITICAL_EXTENSION, 1)

    def test_doubled_extension(self) -> None:
        one = Extension("1.2.3.4", False, b"\x05\x00")
        alice = ROOT.issue("/O=Grid/CN=A")
        assert refused((forge(alice.der, ROOT.key, extensions=[one, one]),)) == (Reason.DUPLICATE_EXTENSION, 0)

    def test_version_1_without_extensions(self) -> None:
        alice = ROOT.issue("/O=Grid/CN=A")
        assert judge((forge(alice.der, ROOT.key, extensions=[], version=1),)).leaf.version == 1

    @pytest.mark.parametrize("version", [2, 4, 1 << 64])
    def test_versions_that_nobody_uses(self, version: int) -> None:
        alice = ROOT.issue("/O=Grid/CN=A")
        assert refused((forge(alice.der, ROOT.key, version=version),)) == (Reason.UNSUPPORTED_VERSION, 0)

    @pytest.mark.parametrize("text", [b"Zo\xeb", b"Zo\xc0\xae", b"Zo\xed\xa0\x80"])
    def test_name_that_is_no_text(self, text: bytes) -> None:
        alice = ROOT.issue("/O=Grid/CN=A")
        subject = encoded_name((oids.COMMON_NAME, der.encode_tlv(der.UTF8_STRING, text)))
        assert refused((forge(alice.der, ROOT.key, subject_der=subject),)) == (Reason.MALFORMED, 0)

    def test_bit_string_in_a_name(self) -> None:
        alice = ROOT.issue("/O=Grid/CN=A")
        unique = ("2.5.4.45", der.encode_bit_string(b"\xff"))  # x500UniqueIdentifier
        subject = encoded_name((oids.COMMON_NAME, der.encode_tlv(der.UTF8_STRING, b"A")), unique)
        anchors = make_anchors(ROOT, policy=ROOT.signing_policy())
        assert (
            judge((forge(alice.der, ROOT.key, subject_der=subject),), anchors).identity
            == "/CN=A/x500UniqueIdentifier=\\xFF"
        )

    def test_valid_past_2049(self) -> None:
        alice = ROOT.issue("/O=Grid/CN=A", not_after=NOW + timedelta(days=365 * 40))
        assert judge(alice).not_after < NOW + timedelta(days=3651)  # the CA's own end


UNREADABLE: Final = {
    "VisibleString": encoded_name(("2.5.4.3", b"\x1a\x05Alice")),
    "INTEGER": encoded_name(("2.5.4.3", b"\x02\x01\x05")),
    "empty part": der.encode_sequence(der.encode_set()),
    "too long": encoded_name(*[("2.5.4.3", der.encode_tlv(der.UTF8_STRING, b"a" * 300))] * 200),
    "too many attributes": encoded_name(*[("2.5.4.3", der.encode_tlv(der.UTF8_STRING, b"a"))] * 257),
}


@pytest.mark.parametrize("name", UNREADABLE)
class TestUnreadableNames:
    """Names that nobody can show are refused where they stand, before anything is said of them."""

    EVE: Final = ROOT.issue("/O=Grid/CN=Eve", key="p256")

    def judged(self, *chain: bytes) -> tuple[Reason, int | None]:
        for now in (NOW, NOW + timedelta(days=4000)):
            with pytest.raises(VerificationError) as caught:
                verify_chain(chain, ANCHORS, now=now)
        return caught.value.reason, caught.value.position

    def test_of_an_end_entity(self, name: str) -> None:
        subject = forge(self.EVE.der, ROOT.key, subject_der=UNREADABLE[name])
        issuer = forge(self.EVE.der, ROOT.key, issuer_der=UNREADABLE[name])
        for bad in (subject, issuer):
            assert self.judged(bad) == (Reason.MALFORMED, 0)
            assert self.judged(self.EVE.proxy(key="p256").der, bad) == (Reason.MALFORMED, 1)

    def test_of_a_ca(self, name: str) -> None:
        sub = ROOT.intermediate("/O=Grid/CN=Sub", key="p256")
        for bad in (
            forge(sub.der, ROOT.key, subject_der=UNREADABLE[name]),
            forge(sub.der, ROOT.key, issuer_der=UNREADABLE[name]),
        ):
            assert self.judged(self.EVE.der, bad) == (Reason.MALFORMED, 1)

    def test_of_a_proxy(self, name: str) -> None:
        for bad in (
            forge(self.EVE.proxy(key="p256").der, self.EVE.key, subject_der=UNREADABLE[name]),
            forge(self.EVE.proxy(key="p256").der, self.EVE.key, issuer_der=UNREADABLE[name]),
        ):
            with pytest.raises(VerificationError) as caught:
                judge((bad, self.EVE.der))
            assert (caught.value.reason, caught.value.position) == (Reason.MALFORMED, 0)


def test_proxy_whose_name_outgrows_what_can_be_read() -> None:
    letters = [("2.5.4.11", der.encode_tlv(der.UTF8_STRING, b"%03d" % number)) for number in range(254)]
    full = der.encode_sequence(
        *(der.parse_one(encoded_name(one), what="name").take_raw() for one in letters),
        der.encode_set(*(pair(*one) for one in (("2.5.4.3", b"\x0c\x01a"), ("2.5.4.3", b"\x0c\x01b")))),
    )
    eve = forge(ROOT.issue("/O=Grid/CN=Eve", key=KEY).der, ROOT.key, subject_der=full)
    anchors = make_anchors(ROOT, policy=ROOT.signing_policy("*"))
    assert judge((eve,), anchors).identity.count("/") == 255
    proxy = forge(
        ROOT.issue("/O=Grid/CN=Eve", key=KEY).proxy(key="p256").der,
        KEY,
        issuer_der=full,
        subject_der=names.append_common_name(full, "1"),
    )
    assert refused((proxy, eve), anchors) == (Reason.MALFORMED, 0)


class TestSigningPolicy:
    """Section 6 of the reference, as far as it is not the grammar."""

    ALICE: Final = ROOT.issue("/O=Grid/OU=Test/CN=Alice")

    def test_missing(self) -> None:
        anchors = make_anchors(ROOT, policy=False)
        assert refused(self.ALICE.proxy(), anchors) == (Reason.SIGNING_POLICY_MISSING, 1)
        lax = ValidationOptions(require_signing_policy=False)
        assert judge(self.ALICE, anchors, lax).kind is None

    def test_broken_is_not_missing(self) -> None:
        anchors = make_anchors(ROOT, policy="access_id_CA garbage")
        lax = ValidationOptions(require_signing_policy=False)
        assert refused(self.ALICE, anchors) == (Reason.SIGNING_POLICY_BROKEN, 0)
        assert refused(self.ALICE, anchors, lax) == (Reason.SIGNING_POLICY_BROKEN, 0)

    def test_does_not_permit(self) -> None:
        anchors = make_anchors(ROOT, policy=ROOT.signing_policy("/O=Other/*"))
        lax = ValidationOptions(require_signing_policy=False)
        assert refused(self.ALICE.proxy(), anchors) == (Reason.SIGNING_POLICY, 1)
        assert refused(self.ALICE.proxy(), anchors, lax) == (Reason.SIGNING_POLICY, 1)

    def test_proxies_are_not_its_business(self) -> None:
        anchors = make_anchors(ROOT, policy=ROOT.signing_policy("/O=Grid/OU=Test/CN=Alice"))
        assert judge(self.ALICE.proxy().proxy(), anchors).is_proxy

    def test_new_hash_before_old(self) -> None:
        old = subject_hash(ROOT.certificate, old=True)
        narrow = ROOT.signing_policy("/O=Other/*").encode()
        assert judge(self.ALICE, make_anchors(ROOT, more={f"{old}.signing_policy": narrow})).kind is None

    def test_namespaces_bind_in_addition(self) -> None:
        stem = subject_hash(ROOT.certificate)
        text = b'TO Issuer "/O=Grid/CN=Root" PERMIT Subject "/O=Grid/OU=Prod/.*"\n'
        anchors = make_anchors(ROOT, more={f"{stem}.namespaces": text})
        assert refused(self.ALICE, anchors) == (Reason.NAMESPACES, 0)
        assert judge(self.ALICE, anchors, ValidationOptions(use_namespaces=False)).kind is None
        assert judge(ROOT.issue("/O=Grid/OU=Prod/CN=Bob"), anchors).kind is None

    def test_namespaces_alone_are_not_enough(self) -> None:
        stem = subject_hash(ROOT.certificate)
        text = b'TO Issuer SELF PERMIT Subject ".*"\n'
        anchors = make_anchors(ROOT, policy=False, more={f"{stem}.namespaces": text})
        assert refused(self.ALICE, anchors) == (Reason.SIGNING_POLICY_MISSING, 0)

    def test_broken_namespaces(self) -> None:
        anchors = make_anchors(ROOT, more={f"{subject_hash(ROOT.certificate)}.namespaces": b"garbage\n"})
        assert refused(self.ALICE, anchors) == (Reason.NAMESPACES, 0)


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError):
        ValidationOptions(max_chain=0)
    assert CRLPolicy("if-present") is CRLPolicy.IF_PRESENT


def policy_of(*cas: TestCA) -> dict[str, bytes]:
    """The signing policies of CAs that are not in the directory themselves."""
    return {f"{subject_hash(ca.certificate)}.signing_policy": ca.signing_policy().encode() for ca in cas}
