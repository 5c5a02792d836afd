"""The authority with real parts: groups from a real slapd, a key in a real token, one behind a program, one locked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from gsi.errors import ConfigError, CredentialError, DeniedError, GridError, TransportError
from gsi.kerberos.ticket import Principal
from kca.config import load_config
from kca.wiring.authority import make_authority
from kca.wiring.directory import make_directories
from kca.wiring.service import open_service
from tests.harness.ca import TestCA, new_key, write_file
from tests.harness.kca import REALM, authority, make_ticket, new_request, write_config
from tests.harness.slapd import BASE, PEOPLE, Directory, person, slapd
from tests.harness.softhsm import make_token, used_here

PLAIN = f'[realm."{REALM}"]\nbase = "/O=Grid/OU=Test"\n'


# --- groups -----------------------------------------------------------------------------------------------------------

GROUPS = f"""\
dn: cn=grid,{BASE}
objectClass: groupOfNames
cn: grid
member: uid=alice,{PEOPLE}
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    people = [
        person("alice", mail="alice@example.org"),
        person("bob", mail="bob@example.org"),
        person("carol", description=f"carol/grid@{REALM}", mail="carol@example.org"),
    ]
    with slapd(TestCA("/O=Grid/CN=CA"), tmp_path_factory.mktemp("ldap"), [*people, GROUPS]) as running:
        yield running


def rules(directory: Directory, *, look_up: str = "name", attribute: str = "uid") -> str:
    return (
        PLAIN
        + 'email_claim = "mail"\n'
        + f'[[realm."{REALM}".rule]]\ngroups = ["grid"]\nsubject = "/OU=Members/CN={{1}}"\n'
        + f'[[realm."{REALM}".rule]]\nprincipal = "*/grid"\n'
        + f'[realm."{REALM}".directory]\nservers = ["{directory.ldap_uri}"]\nstart_tls = true\n'
        + f'ca_file = "{directory.ca_path}"\nuser_base = "{PEOPLE}"\nuser_attribute = "{attribute}"\n'
        + f'look_up = "{look_up}"\ngroup_base = "{BASE}"\n'
        + f'[realm."{REALM}".directory.claims]\nmail = "mail"\n'
    )


def test_groups_of_a_directory(directory: Directory, tmp_path: Path) -> None:
    with authority(tmp_path, rules(directory)) as world:
        certificate = x509.load_der_x509_certificate(world.issue(world.ticket("alice")).certificate.der)
        assert certificate.subject.rfc4514_string() == "CN=alice,OU=Members,OU=Test,O=Grid"
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.RFC822Name) == ["alice@example.org"]
        for who in ("bob", "nobody", "ALICE"):  # a directory takes ALICE for alice; we do not
            with pytest.raises(DeniedError):
                world.issue(world.ticket(who))


def test_whole_principals_of_a_directory(directory: Directory, tmp_path: Path) -> None:
    text = rules(directory, look_up="principal", attribute="description")
    with authority(tmp_path, text) as world:
        certificate = x509.load_der_x509_certificate(world.issue(world.ticket("carol/grid")).certificate.der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.RFC822Name) == ["carol@example.org"]


def test_a_directory_that_does_not_answer(directory: Directory, tmp_path: Path) -> None:
    text = rules(directory).replace(directory.ldap_uri, "ldap://127.0.0.1:1")
    with authority(tmp_path, text) as world:
        with pytest.raises(TransportError):
            world.issue(world.ticket("alice"))
        assert world.records()[-1]["verdict"] == "fail"


def test_instances_are_nobody_in_a_directory_of_names(directory: Directory, tmp_path: Path) -> None:
    config = load_config(str(write_config(tmp_path, rules(directory))))
    found = make_directories(config.realm)[REALM].find(Principal(("alice", "grid"), REALM))
    assert (found.groups, found.claims) == (frozenset(), None)


@pytest.mark.parametrize("line", ['ca_file = "relative.pem"', 'bind_dn = "cn=x"\npassword_file = "/nonexistent"'])
def test_files_of_a_directory(directory: Directory, tmp_path: Path, line: str) -> None:
    text = rules(directory).replace(f'ca_file = "{directory.ca_path}"', line)
    with pytest.raises(ConfigError, match="does not exist"):
        make_directories(load_config(str(write_config(tmp_path, text))).realm)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_in_a_token(tmp_path: Path) -> None:
    ca = TestCA("/O=Grid/CN=Token KCA")
    (tmp_path / "token").mkdir()
    token = make_token(tmp_path / "token")
    token.add_key("ca-key", ca.key, key_id="01")
    path = write_config(tmp_path, PLAIN, ca=ca)
    path.write_text(path.read_text().replace(str(tmp_path / "ca.key"), token.uri("ca-key")))
    with used_here(token), open_service(load_config(str(path))) as opened:
        now = datetime.now(UTC)
        ticket = make_ticket("alice", now=now)
        issued = opened.service.issue(ticket, new_request(), peer="-", transport="udp", request_hash=b"")
    assert issued.certificate.issuer_der == ca.certificate.subject.public_bytes()


def test_a_key_behind_a_program(tmp_path: Path) -> None:
    path = write_config(tmp_path, PLAIN)
    signer = tmp_path / "sign"
    write_file(signer, f'#!/bin/sh\nexec openssl dgst -sha256 -sign "{tmp_path}/ca.key"\n'.encode(), 0o755)
    path.write_text(path.read_text().replace(f'"{tmp_path}/ca.key"', f'"program:{signer}"'))
    with open_service(load_config(str(path))) as opened:
        now = datetime.now(UTC)
        issued = opened.service.issue(
            make_ticket("alice", now=now), new_request(), peer="-", transport="udp", request_hash=os.urandom(32)
        )
    assert issued.certificate.not_after > now


def test_keys_that_will_not_do(tmp_path: Path) -> None:
    path = write_config(tmp_path, PLAIN)
    text = path.read_text()

    def fails(kind: type[GridError], old: str, new: str) -> None:
        path.write_text(text.replace(old, new))
        with pytest.raises(kind):
            make_authority(load_config(str(path)).authority)

    other = new_key("p256")
    write_file(tmp_path / "other.key", other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    locked = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    write_file(tmp_path / "locked.key", locked, 0o600)
    fails(CredentialError, "ca.key", "other.key")
    fails(CredentialError, "ca.key", "locked.key")
    fails(CredentialError, "ca.key", "missing.key")
    fails(ConfigError, "ca.pem", "missing.pem")
    fails(ConfigError, "ca.pem", "ca.key")
    fails(ConfigError, "[authority]", '[authority]\ndigest = "md5"')
    (tmp_path / "ca.key").chmod(0o644)
    fails(CredentialError, "x-x", "y-y")
