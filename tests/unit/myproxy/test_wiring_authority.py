"""From the configuration to the authority, extensions and OCSP: what is refused at the start, and with what words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gsi.certificate import Certificate
from gsi.delegation import DelegationRequester
from gsi.errors import ConfigError, CredentialError, GridError
from gsi.keys import KeyType, generate_key
from gsi.names import parse_oneline
from gsi.secret import Passphrase
from gsi.system.trustdir import TrustDirectory
from gsi.trust.hashes import subject_hash
from myproxy.config import parse_config
from myproxy.grants import IssuanceGrant, Settings
from myproxy.issuing import Authority, BuiltInAuthority, ProgramAuthority
from myproxy.ocsp import OCSPVerifier
from myproxy.protocol.messages import Command
from myproxy.wiring.authority import make_authority
from myproxy.wiring.extensions import make_proxy_extensions
from myproxy.wiring.revocation import make_verifier
from tests.harness.ca import Issued, TestCA, write_file
from tests.harness.myproxy import Sink, World, ask, make_world
from tests.unit.myproxy.test_issuing import PORTAL

NO_PHRASE = ask(Command.GET, passphrase=Passphrase(""))


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=Test CA", "p256")


@pytest.fixture
def world(ca: TestCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("GRIDMAP", str(tmp_path / "default-mapfile"))
    with make_world(ca, tmp_path) as made:
        ca.credential.write(tmp_path / "ca.pem", tmp_path / "cakey.pem")
        write_file(tmp_path / "ca.pem", ca.pem, 0o644)
        write_file(tmp_path / "mapfile", b'"/O=Grid/CN=Alice" alice\n', 0o644)
        write_file(tmp_path / "yes", b"#!/bin/sh\ncat > /dev/null\n", 0o755)
        (tmp_path / "out").mkdir()
        yield made


class Desk:
    """Makes authorities from text, in which {d} stands for the directory."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.told: list[str] = []
        self.trusted = world.trust.anchors

    def make(self, *lines: str, base: str | None = None) -> Authority | None:
        own = "certificate_issuer_cert {d}/ca.pem\ncertificate_issuer_key {d}/cakey.pem\n" if base is None else base
        if base is None and not any("map" in line or "ldap" in line for line in lines):
            own += "certificate_mapfile {d}/mapfile\n"
        text = (own + "\n".join(lines)).replace("{d}", str(self.directory))
        config = parse_config(text, path="myproxy-server.config")
        return make_authority(config, self.world.verify, self.trusted, self.told.append)

    def issue(self, authority: Authority | None, portal: Issued) -> tuple[Certificate, ...]:
        self.world.configure(Settings(access=PORTAL), authority=authority)
        grant = self.world.service.begin_get(self.world.caller(portal), NO_PHRASE)
        assert isinstance(grant, IssuanceGrant)
        return self.world.service.finish_get(grant, DelegationRequester(generate_key(KeyType.P256)).request_der)


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    return Desk(world, tmp_path)


@pytest.fixture(scope="module")
def portal(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Portal", "p256")


def test_nothing_is_configured(desk: Desk) -> None:
    assert desk.make(base="") is None
    assert desk.make(base="certificate_issuer_key /nonexistent\n") is None
    assert desk.told == [
        "certificate_issuer_key does nothing without certificate_issuer_cert: no certificates are issued"
    ]


def test_the_least(desk: Desk, portal: Issued) -> None:
    authority = desk.make()
    assert isinstance(authority, BuiltInAuthority)
    (certificate,) = desk.issue(authority, portal)
    assert certificate.serial > 1 << 64
    assert desk.told == []


def test_everything(desk: Desk, portal: Issued, tmp_path: Path) -> None:
    write_file(tmp_path / "ext.cnf", b"keyUsage=digitalSignature\nnsComment=x\n", 0o644)
    authority = desk.make(
        "certificate_issuer_hashalg SHA384",
        "certificate_issuer_email_domain example.org",
        "certificate_request_checker {d}/yes",
        "certificate_issuer_checker {d}/yes",
        "certificate_extfile {d}/ext.cnf",
        "max_cert_lifetime 1",
        "min_keylen 3072",
        "certificate_serialfile {d}/serial",
        "certificate_serial_skip 5",
        "certificate_out_dir {d}/out",
    )
    first, second = desk.issue(authority, portal)[0], desk.issue(authority, portal)[0]
    assert (first.serial, second.serial) == (5, 10)
    assert (tmp_path / "serial").read_text() == "0F\n"
    assert first.not_after - first.not_before == timedelta(hours=1, minutes=5)
    assert sorted(os.listdir(tmp_path / "out")) == ["05.pem", "0A.pem"]
    assert desk.told == []


REFUSED = {
    "certificate_issuer_program {d}/yes": "exclude each other",
    "certificate_issuer_hashalg sha1": "'sha1' is not used here",
    "certificate_issuer_hashalg md5": "'md5' is not used here",
    "certificate_issuer_subca_certfile {d}/none": "certificate_issuer_subca_certfile",
    "certificate_issuer_subca_certfile {d}/cakey.pem": "holds no certificate",
    "certificate_issuer_email_domain not_a_domain": "certificate_issuer_email_domain",
    "certificate_request_checker {d}/none": "certificate_request_checker",
    "certificate_issuer_checker {d}/mapfile": "not an executable",
    "certificate_mapapp {d}/mapfile": "certificate_mapapp",
    "certificate_mapfile {d}/none": "cannot be read",
    "certificate_extfile {d}/none": "certificate_extfile",
    "certificate_extapp {d}/none": "certificate_extapp",
    "certificate_extfile {d}/mapfile": "mapfile:1",
    "certificate_serialfile {d}/none/serial": "certificate_serialfile",
    "certificate_serialfile serial": "whole path",
    "certificate_serialfile {d}/mapfile": "not a hexadecimal number",
    "certificate_out_dir {d}/none": "certificate_out_dir",
    "certificate_out_dir {d}/mapfile": "certificate_out_dir",
    "ca_ldap_server ldap://a": "requires ca_ldap_searchbase",
    "ca_ldap_server http://a\nca_ldap_searchbase dc=a\nca_ldap_uid_attribute uid": "no LDAP server",
    "ca_ldap_server ldap://a\nca_ldap_searchbase dc=a\nca_ldap_uid_attribute (uid": "no name of an LDAP attribute",
    "ca_ldap_server ldaps://a\nca_ldap_searchbase dc=a\nca_ldap_uid_attribute uid\nca_ldap_start_tls true": "StartTLS",
    "ca_ldap_server ldap://a\nca_ldap_searchbase dc=a\nca_ldap_uid_attribute uid\nca_ldap_connect_dn cn=a": "needs",
    "ca_ldap_server ldap://a\nca_ldap_searchbase dc=a\nca_ldap_uid_attribute uid\nca_ldap_ca_file {d}/none": "ca_file",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_stops_the_server(desk: Desk, line: str) -> None:
    with pytest.raises(ConfigError, match=REFUSED[line]):
        desk.make(line)


def test_an_empty_counter_may_have_been_cut_off(desk: Desk, tmp_path: Path) -> None:
    write_file(tmp_path / "serial", b"", 0o600)
    with pytest.raises(ConfigError) as caught:
        desk.make("certificate_serialfile {d}/serial")
    assert "01" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "basicConstraints=CA:TRUE",
        "noCheck=x",
        "authorityInfoAccess=critical,OCSP;URI:http://a/",
        "1.2.3=critical,DER:0500",
    ],
)
def test_extensions_that_would_make_faulty_certificates(desk: Desk, tmp_path: Path, text: str) -> None:
    write_file(tmp_path / "ext.cnf", text.encode(), 0o644)
    with pytest.raises(ConfigError, match=r"ext\.cnf"):
        desk.make("certificate_extfile {d}/ext.cnf")


def test_files_that_others_can_write(desk: Desk, tmp_path: Path) -> None:
    for name in ("ca.pem", "ext.cnf", "mapfile"):
        write_file(tmp_path / "ext.cnf", b"nsComment=x\n", 0o644)
        os.chmod(tmp_path / name, 0o666)
        with pytest.raises(ConfigError, match="others can change"):
            desk.make("certificate_extfile {d}/ext.cnf")
        os.chmod(tmp_path / name, 0o644)


def test_keys_that_cannot_be_used(desk: Desk, tmp_path: Path, ca: TestCA) -> None:
    with pytest.raises(ConfigError, match="certificate_issuer_key"):
        desk.make(base="certificate_issuer_cert {d}/ca.pem\n")
    for path in ("{d}/none", "{d}/mapfile"):
        with pytest.raises(GridError):
            desk.make(base=f"certificate_issuer_cert {{d}}/ca.pem\ncertificate_issuer_key {path}\n")
    write_file(tmp_path / "other.pem", TestCA("/CN=Other", "p384").credential.key_pem(), 0o600)
    with pytest.raises(CredentialError, match="does not belong"):
        desk.make(base="certificate_issuer_cert {d}/ca.pem\ncertificate_issuer_key {d}/other.pem\n")
    ca.credential.write(tmp_path / "ignored.pem", tmp_path / "locked.pem", passphrase=b"secret")
    locked = "certificate_issuer_cert {d}/ca.pem\ncertificate_issuer_key {d}/locked.pem\n"
    for phrase in ("", "certificate_issuer_key_passphrase wrong\n"):
        with pytest.raises(CredentialError):
            desk.make(base=locked + phrase)
    assert desk.make(base=locked + "certificate_issuer_key_passphrase secret\ncertificate_mapfile {d}/mapfile\n")


def test_what_is_told(desk: Desk, tmp_path: Path) -> None:
    desk.make("min_keylen 1024", "certificate_serial_skip 2")
    assert [text.split()[0] for text in desk.told] == ["certificate_serial_skip", "min_keylen"]
    desk.told.clear()
    desk.make("ca_ldap_server ldap://a", "ca_ldap_searchbase dc=a", "ca_ldap_uid_attribute uid")
    assert "without TLS" in desk.told[0]
    desk.told.clear()
    desk.make(base="certificate_issuer_cert {d}/ca.pem\ncertificate_issuer_key {d}/cakey.pem\n")
    assert f"{tmp_path}/default-mapfile does not exist" in desk.told[0]


SUBORDINATE = (
    "certificate_issuer_cert {d}/sub.pem\ncertificate_issuer_key {d}/subkey.pem\ncertificate_mapfile {d}/mapfile\n"
)


def write_subordinate(sub: TestCA, directory: Path, *chain: TestCA) -> None:
    sub.credential.write(directory / "sub.pem", directory / "subkey.pem")
    write_file(directory / "sub.pem", sub.pem, 0o644)
    write_file(directory / "chain.pem", b"".join(one.pem for one in (sub, *chain)), 0o644)


def test_a_subordinate_authority_finds_its_root(desk: Desk, portal: Issued, tmp_path: Path, ca: TestCA) -> None:
    write_subordinate(ca.intermediate("/O=Grid/CN=Sub", "p256"), tmp_path)
    authority = desk.make("certificate_issuer_subca_certfile {d}/sub.pem", base=SUBORDINATE)
    assert len(desk.issue(authority, portal)) == 2
    assert desk.told == []
    unknown = TestCA("/O=Other/CN=Root", "p256").intermediate("/O=Other/CN=Sub", "p256")
    write_subordinate(unknown, tmp_path)
    desk.make(base=SUBORDINATE)
    assert "the CA above certificate_issuer_cert" in desk.told[0]


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0)])
def test_a_root_has_changed_its_key(
    desk: Desk, portal: Issued, tmp_path: Path, ca: TestCA, numbers: tuple[int, int]
) -> None:
    other = TestCA(ca.name, "p256")
    trusted = tmp_path / "rollover"
    trusted.mkdir()
    for number, root in zip(numbers, (other, ca), strict=True):
        write_file(trusted / f"{subject_hash(parse_oneline(ca.name))}.{number}", root.pem, 0o644)
    desk.trusted = TrustDirectory(str(trusted)).anchors
    write_subordinate(ca.intermediate("/O=Grid/CN=Sub", "p256"), tmp_path)
    authority = desk.make("certificate_issuer_subca_certfile {d}/chain.pem", base=SUBORDINATE)
    assert len(desk.issue(authority, portal)) == 2
    assert desk.told == []


def test_a_ca_above_is_missing(desk: Desk, portal: Issued, tmp_path: Path, ca: TestCA) -> None:
    old, new = (ca.intermediate("/O=Grid/CN=Inter", "p256") for _ in range(2))
    sub = new.intermediate("/O=Grid/CN=Sub", "p256")
    for chain in ((), (old,), (ca,), (old, ca)):  # the root above it all is known, and the way to it is not
        write_subordinate(sub, tmp_path, *chain)
        desk.issue(desk.make("certificate_issuer_subca_certfile {d}/chain.pem", base=SUBORDINATE), portal)
        (told,) = desk.told
        assert "the CA above certificate_issuer_cert whose key signed /O=Grid/CN=Sub is in neither" in told
        assert "/O=Grid/CN=Inter" in told
        desk.told.clear()


def test_the_ca_above_is_found_among_others_in_any_order(
    desk: Desk, portal: Issued, tmp_path: Path, ca: TestCA
) -> None:
    old, new = (ca.intermediate("/O=Grid/CN=Inter", "p256") for _ in range(2))
    for chain in ((new,), (old, new), (old, new, ca), (ca, new, old)):
        write_subordinate(new.intermediate("/O=Grid/CN=Sub", "p256"), tmp_path, *chain)
        desk.issue(desk.make("certificate_issuer_subca_certfile {d}/chain.pem", base=SUBORDINATE), portal)
        assert desk.told == []


def test_a_program(desk: Desk, tmp_path: Path) -> None:
    authority = desk.make(base="certificate_issuer_program {d}/yes\ncertificate_extfile {d}/none\n")
    assert isinstance(authority, ProgramAuthority)
    assert "certificate_extfile does nothing" in desk.told[0]
    with pytest.raises(GridError, match="the program knows it"):
        authority.get_subject("alice")
    write_file(tmp_path / "default-mapfile", b'"/O=Grid/CN=Alice" alice\n', 0o644)
    authority = desk.make(base="certificate_issuer_program {d}/yes\n")
    assert authority is not None
    assert authority.get_subject("alice")
    with pytest.raises(ConfigError, match="not an executable"):
        desk.make(base="certificate_issuer_program {d}/mapfile\n")


# Extensions of proxies ------------------------------------------------------------------------------------------------


def proxy_config(tmp_path: Path, text: str) -> object:
    return make_proxy_extensions(parse_config(text.replace("{d}", str(tmp_path)), path="x"))


def test_extensions_of_proxies(tmp_path: Path) -> None:
    assert proxy_config(tmp_path, "") is None
    write_file(tmp_path / "proxy.cnf", b"nsComment=x\n", 0o644)
    found = make_proxy_extensions(parse_config(f"proxy_extfile {tmp_path}/proxy.cnf", path="x"))
    assert found is not None
    assert [one.oid for one in found("alice", ())] == ["2.16.840.1.113730.1.13"]


@pytest.mark.parametrize("text", ["keyUsage=digitalSignature", "1.2.3=critical,DER:0500", "nonsense"])
def test_extensions_that_no_proxy_can_have(tmp_path: Path, text: str) -> None:
    write_file(tmp_path / "proxy.cnf", text.encode(), 0o644)
    with pytest.raises(ConfigError, match=r"proxy\.cnf"):
        proxy_config(tmp_path, "proxy_extfile {d}/proxy.cnf")


def test_both_ways_exclude_each_other(tmp_path: Path) -> None:
    write_file(tmp_path / "yes", b"#!/bin/sh\n", 0o755)
    write_file(tmp_path / "a", b"", 0o644)
    with pytest.raises(ConfigError, match="exclude"):
        proxy_config(tmp_path, "proxy_extfile {d}/a\nproxy_extapp {d}/yes")
    with pytest.raises(ConfigError, match="not an executable"):
        proxy_config(tmp_path, "proxy_extapp {d}/a")
    with pytest.raises(ConfigError, match=r"cannot be read|No such file"):
        proxy_config(tmp_path, "proxy_extfile {d}/none")


# OCSP -----------------------------------------------------------------------------------------------------------------


def ocsp_verifier(text: str, world: World) -> object:
    return make_verifier(parse_config(text, path="x"), world.verify, Sink())


def test_ocsp(world: World, tmp_path: Path) -> None:
    assert ocsp_verifier("", world) == world.verify
    assert isinstance(ocsp_verifier("ocsp_policy aia", world), OCSPVerifier)
    text = f"ocsp_responder_url http://a/\nocsp_responder_cert {tmp_path}/ca.pem\nocsp_required true"
    assert isinstance(ocsp_verifier(text, world), OCSPVerifier)


@pytest.mark.parametrize(
    "text",
    [
        "ocsp_policy crl",
        "ocsp_responder_url ldap://a",
        "ocsp_required true",
        "ocsp_responder_cert /nonexistent",
        "ocsp_policy aia\nocsp_responder_cert /nonexistent",
        "ocsp_policy aia\nocsp_responder_cert /dev/null",
    ],
)
def test_ocsp_that_makes_no_sense(world: World, text: str) -> None:
    with pytest.raises(ConfigError):
        ocsp_verifier(text, world)
