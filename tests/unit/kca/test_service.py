"""The service: steps in their order, nothing without a record, nothing but what the grant says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from gsi.ca.crl import RevocationReason
from gsi.errors import ConfigError, CredentialError, DeniedError, StorageError, TransportError
from gsi.kerberos.ticket import Principal
from kca.repository.base import Selection
from kca.service import Known, TooManyError, authority_id
from tests.harness.ca import TestCA, write_file
from tests.harness.kca import PLAIN_REALM, REALM, KCAWorld, authority, new_request

HOUR = timedelta(hours=1)
LIMITED = "[limits]\n{}\n" + PLAIN_REALM


@pytest.fixture
def world(tmp_path: Path) -> Iterator[KCAWorld]:
    with authority(tmp_path) as made:
        yield made


def test_a_certificate(world: KCAWorld) -> None:
    ticket = world.ticket("alice")
    issued = world.issue(ticket)
    certificate = x509.load_der_x509_certificate(issued.certificate.der)
    assert certificate.subject.rfc4514_string() == "CN=alice,OU=Test,O=Grid"
    assert certificate.not_valid_after_utc == ticket.end_time
    assert certificate.not_valid_before_utc == world.now - timedelta(minutes=5)
    assert issued.chain == (issued.certificate,)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    (record,) = world.records()
    assert record["action"] == "ISSUE"
    assert record["verdict"] == "permit"
    assert record["peer"] == f"alice@{REALM}"
    assert record["address"] == "192.0.2.7"
    assert record["transport"] == "udp"
    assert record["subject"] == "/O=Grid/OU=Test/CN=alice"
    assert record["serial"] == f"{certificate.serial_number:X}".zfill(len(record["serial"]))
    assert len(record["decision"]) == 24
    (entry,) = world.opened.books.search(Selection())
    assert entry.certificate == issued.certificate.der
    assert entry.request_id == record["id"]


def test_serial_numbers_are_random(world: KCAWorld) -> None:
    serials = [world.issue(world.ticket("alice")).certificate.serial for _ in range(4)]
    assert len(set(serials)) == 4
    assert min(serials) > 1 << 64


def test_a_probe_makes_nothing(world: KCAWorld) -> None:
    world.service.probe(world.ticket("alice"), peer="192.0.2.7")
    with pytest.raises(DeniedError):
        world.service.probe(world.ticket("alice/admin"), peer="192.0.2.7")
    assert [(record["action"], record["verdict"]) for record in world.records()] == [
        ("PROBE", "permit"),
        ("PROBE", "deny"),
    ]
    assert list(world.opened.books.search(Selection())) == []


@pytest.mark.parametrize(
    ("who", "changes"),
    [
        ("alice/admin", {}),
        ("alice@ELSEWHERE.ORG", {}),
        ("alice", {"transited": ("ELSEWHERE.ORG",)}),
        ("alice", {"indicators": ("pkinit",)}),
        ("krbtgt", {}),
    ],
)
def test_refusals_are_on_record(world: KCAWorld, who: str, changes: dict[str, object]) -> None:
    with pytest.raises(DeniedError):
        world.issue(world.ticket(who, **changes))
    (record,) = world.records()
    assert record["verdict"] == "deny"
    assert record["reason"].startswith("denied: ")
    assert list(world.opened.books.search(Selection())) == []


def test_weak_keys(world: KCAWorld) -> None:
    with pytest.raises(CredentialError):
        new_request("1024")
    world.issue(world.ticket("alice"), new_request("2048"))


def test_the_key_floor(tmp_path: Path) -> None:
    with authority(tmp_path, LIMITED.format("rsa_bits = 3072")) as world:
        with pytest.raises(CredentialError, match="3072"):
            world.issue(world.ticket("alice"), new_request("2048"))
        world.issue(world.ticket("alice"), new_request("p256"))
        assert [record["verdict"] for record in world.records()] == ["fail", "permit"]


def test_the_same_request_again(world: KCAWorld) -> None:
    digest = os.urandom(32)
    first = world.issue(world.ticket("alice"), request_hash=digest)
    again = world.issue(world.ticket("alice"), request_hash=digest)
    assert again.certificate == first.certificate
    assert len(list(world.opened.books.search(Selection()))) == 1
    assert "the same request again" in world.records()[-1]["reason"]
    for who, request in (("bob", new_request()), ("alice", new_request("p256", 1))):
        with pytest.raises(DeniedError, match="was answered before"):
            world.issue(world.ticket(who), request, request_hash=digest)
    world.opened.books.revoke(
        authority_id(world.service._authority.issuer.certificate),
        first.certificate.serial,
        reason=RevocationReason.KEY_COMPROMISE,
        now=world.now,
        by="test",
    )
    with pytest.raises(DeniedError, match="was answered before"):
        world.issue(world.ticket("alice"), request_hash=digest)


def test_the_same_request_to_an_authority_with_another_key(world: KCAWorld) -> None:
    """What the key before has signed is not given out as this one's: its trust files may be gone already."""
    digest = os.urandom(32)
    world.issue(world.ticket("alice"), request_hash=digest)
    with world.opened.books.database.write() as connection:
        connection.exec_driver_sql("UPDATE issued SET authority = 'that of the key before'")
    with pytest.raises(DeniedError, match="was answered before"):
        world.issue(world.ticket("alice"), request_hash=digest)


def test_the_rate(tmp_path: Path) -> None:
    with authority(tmp_path, LIMITED.format('certificates = 3\nper = "30m"')) as world:
        digest = os.urandom(32)
        world.issue(world.ticket("alice"), request_hash=digest)
        for _ in range(2):
            world.issue(world.ticket("alice"))
        for _ in range(2):  # told by the books, then from memory
            with pytest.raises(DeniedError, match="has had 3 certificates within 0:30:00") as caught:
                world.issue(world.ticket("alice"))
            assert caught.value.hint == f"the next one at {world.now + timedelta(minutes=10):%H:%M:%S} UTC"
        world.issue(world.ticket("bob"))
        world.now += timedelta(minutes=10)
        world.issue(world.ticket("alice"))
        with pytest.raises(DeniedError):
            world.issue(world.ticket("alice"))


def test_a_clock_that_was_set_back_locks_nobody_out(tmp_path: Path) -> None:
    """Neither by the books nor by what is remembered of them, which would hold for years."""
    with authority(tmp_path, LIMITED.format('certificates = 1\nper = "30m"')) as world:
        world.now += timedelta(days=365)
        world.issue(world.ticket("alice"))
        with pytest.raises(TooManyError):
            world.issue(world.ticket("alice"))
        world.now -= timedelta(days=365)
        world.issue(world.ticket("alice"))
        with pytest.raises(TooManyError):
            world.issue(world.ticket("alice"))


def test_a_probe_tells_of_the_rate(tmp_path: Path) -> None:
    """What a request would be told, from the books as well as from memory, and without using anything up."""
    with authority(tmp_path, LIMITED.format('certificates = 2\nper = "30m"')) as world:
        for _ in range(3):
            world.service.probe(world.ticket("alice"), peer="192.0.2.7")
        world.issue(world.ticket("alice"))
        world.service.probe(world.ticket("alice"), peer="192.0.2.7")
        world.issue(world.ticket("alice"))
        for _ in range(2):
            with pytest.raises(TooManyError) as told:
                world.service.probe(world.ticket("alice"), peer="192.0.2.7")
            assert world.records()[-1]["action"] == "PROBE"
            assert world.records()[-1]["verdict"] == "deny"
        with pytest.raises(TooManyError) as refused:
            world.issue(world.ticket("alice"))
        assert told.value.hint == refused.value.hint
        world.now = told.value.until
        world.service.probe(world.ticket("alice"), peer="192.0.2.7")
        world.issue(world.ticket("alice"))


def test_a_resent_request_is_no_further_one(tmp_path: Path) -> None:
    with authority(tmp_path, LIMITED.format("certificates = 1")) as world:
        digest = os.urandom(32)
        first = world.issue(world.ticket("alice"), request_hash=digest)
        assert world.issue(world.ticket("alice"), request_hash=digest).certificate == first.certificate


def test_a_name_is_never_given_to_a_second_principal(tmp_path: Path) -> None:
    text = (
        PLAIN_REALM + f'[[realm."{REALM}".rule]]\n[[realm."{REALM}".rule]]\nprincipal = "*/*"\nsubject = "/CN={{1}}"\n'
    )
    with authority(tmp_path, text) as world:
        world.issue(world.ticket("alice"))
        for who in ("Alice", "alice/grid"):
            with pytest.raises(DeniedError, match="another principal's"):
                world.issue(world.ticket(who))
        assert f"belongs to alice@{REALM}" in world.records()[-1]["reason"]
        for who in ("Alice", "alice/grid"):
            with pytest.raises(DeniedError, match="another principal's"):
                world.service.probe(world.ticket(who), peer="192.0.2.7")
        world.service.probe(world.ticket("alice"), peer="192.0.2.7")
        world.issue(world.ticket("alice"))


def test_nothing_leaves_without_a_record(world: KCAWorld) -> None:
    world.opened.audit.close()
    with pytest.raises(StorageError, match="audit"):
        world.issue(world.ticket("alice"))


def test_nothing_leaves_without_the_books(world: KCAWorld) -> None:
    world.issue(world.ticket("alice"))
    with world.opened.books.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE issued")
    with pytest.raises(StorageError):
        world.issue(world.ticket("alice"))
    assert world.records()[-1]["verdict"] == "fail"


def test_the_policy_takes_away(tmp_path: Path) -> None:
    shipped = Path(__file__).resolve().parents[3] / "kca/policies"
    policies = tmp_path / "policies"
    policies.mkdir()
    for name in ("kca.toml", "kca.rules"):
        write_file(policies / name, (shipped / name).read_bytes(), 0o644)
    rules = policies / "kca.rules"
    lines = (
        f'deny dn "mallory@{REALM}" to kca:ISSUE because "left"\n'
        "deny anyone to kca:ISSUE on /O=Grid/OU=Test/CN=eve\n"
        f'deny issuer "{REALM}" to kca:ISSUE from 198.51.100.0/24\n'
    )
    rules.write_text(lines + rules.read_text())
    with authority(tmp_path, f'policy = "{policies}/kca.toml"\n' + PLAIN_REALM) as world:
        world.issue(world.ticket("alice"))
        for who in ("mallory", "eve"):
            with pytest.raises(DeniedError, match=r"not authorized by the site's policy \(decision [0-9a-f]{24}\)"):
                world.issue(world.ticket(who))
        assert "<- decision" in world.records()[-1]["reason"]
        with pytest.raises(DeniedError):
            world.service.probe(world.ticket("alice"), peer="198.51.100.9")


def test_a_policy_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"), authority(tmp_path, 'policy = "other"\n' + PLAIN_REALM):
        pass


class FixedDirectory:
    """Knows what it was told."""

    def __init__(self, known: dict[str, Known]) -> None:
        self._known = known

    def find(self, principal: Principal) -> Known:
        if principal.components[0] == "down":
            raise TransportError("the directory does not answer")
        return self._known.get(principal.components[0], Known())


def test_groups(tmp_path: Path) -> None:
    text = (
        PLAIN_REALM
        + f'[[realm."{REALM}".rule]]\ngroups = ["grid"]\n'
        + f'[realm."{REALM}".directory]\nservers = ["ldaps://localhost"]\nuser_base = "o=x"\nuser_attribute = "uid"\n'
    )
    with authority(tmp_path, text) as world:
        world.service._directories = {REALM: FixedDirectory({"alice": Known(frozenset({"grid"}))})}
        world.issue(world.ticket("alice"))
        with pytest.raises(DeniedError, match="no rule"):
            world.issue(world.ticket("bob"))
        with pytest.raises(TransportError):
            world.issue(world.ticket("down"))
        assert [record["verdict"] for record in world.records()] == ["permit", "deny", "fail"]


def test_what_the_authority_puts_in(tmp_path: Path) -> None:
    settings = 'policies = ["1.2.3.4"]\ncrl_urls = ["http://ca.example.org/kca.crl"]\n'
    text = PLAIN_REALM + 'policies = ["1.2.3.5", "1.2.3.4"]\npkinit_san = true\nemail_domain = "example.org"\n'
    with authority(tmp_path, text, settings=settings) as world:
        certificate = x509.load_der_x509_certificate(world.issue(world.ticket("alice")).certificate.der)
    found = certificate.extensions
    policies = found.get_extension_for_class(x509.CertificatePolicies).value
    assert [policy.policy_identifier.dotted_string for policy in policies] == ["1.2.3.4", "1.2.3.5"]
    (point,) = found.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name == [x509.UniformResourceIdentifier("http://ca.example.org/kca.crl")]
    names = found.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == ["alice@example.org"]
    others = [name for name in names if isinstance(name, x509.OtherName)]
    assert [other.type_id.dotted_string for other in others] == ["1.3.6.1.5.2.2"]


def test_a_subordinate_authority_is_sent_along(tmp_path: Path) -> None:
    root = TestCA("/O=Grid/CN=Root", key="p256")
    below = TestCA("/O=Grid/CN=Online", key="p256", parent=root)
    with authority(tmp_path, ca=below) as world:
        issued = world.issue(world.ticket("alice"))
    assert [one.subject_der for one in issued.chain[1:]] == [below.certificate.subject.public_bytes()]


def test_many_at_once(tmp_path: Path) -> None:
    """Threads share commits; each gets its own answer."""
    with authority(tmp_path, LIMITED.format("certificates = 5")) as world:

        def one(number: int) -> str:
            try:
                return world.issue(world.ticket(f"user{number % 4}")).certificate.fingerprint
            except DeniedError:
                return ""

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(one, range(40)))
        issued = {fingerprint for fingerprint in found if fingerprint}
        assert len(issued) == 20
        assert found.count("") == 20
        assert len(list(world.opened.books.search(Selection()))) == 20
        assert len(world.records()) == 40


def test_what_never_became_a_request(world: KCAWorld) -> None:
    world.service.refuse(DeniedError("replay"), peer="192.0.2.9", transport="tcp", request_hash=b"\1" * 32)
    (record,) = world.records()
    assert (record["action"], record["verdict"], record["peer"]) == ("REQUEST", "deny", "<anonymous>")
    assert record["request"] == "01" * 32


def test_nobody_gets_the_authoritys_own_name(tmp_path: Path) -> None:
    ca = TestCA("/O=Grid/OU=Test/CN=kca", key="p256")
    with authority(tmp_path, ca=ca) as world:
        for who in ("kca", "KCA"):
            with pytest.raises(DeniedError, match="the authority's own"):
                world.issue(world.ticket(who))
        world.issue(world.ticket("kca2"))
