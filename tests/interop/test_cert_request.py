"""grid-cert-request beside the C script: the same subjects from the same configuration, taken by openssl and its CA."""

from __future__ import annotations

import stat
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gsi.ca.request import parse_request
from gsi.pem import split_pem
from tests.harness.ca import TestCA, subject_hash, write_file
from tests.harness.environment import UserEnvironment
from tests.harness.requests import FIELDS, ssl_conf, write_request_config
from tests.harness.run import our_program, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONFIGURATIONS: Final = {
    "as made by grid-ca-create": FIELDS,
    "country": (("countryName", "Country", "DE"), ("organizationName", "Organization", "Grid e.V."), *FIELDS[1:]),
    "domain components": (("0.DC", "Domain", "org"), ("1.DC", "Domain", "example"), FIELDS[0]),
    "many": (
        ("stateOrProvinceName", "State", "Hessen"),
        ("localityName", "City", "Frankfurt am Main"),
        ("streetAddress", "Street", "Am Weg 5"),
        ("postalCode", "Postal code", "60311"),
        ("UID", "UserId", "al"),
    ),
    "without": (),
}
SUBJECTS: Final = (
    ("-cn", "Alice Adams"),
    ("-cn", "alice@example.org"),
    ("-cn", "O'Hara, A."),
    ("-host", "www.example.org"),
    ("-host", "WWW.Example.ORG"),
    ("-service", "ldap", "-host", "www.example.org"),
)


@pytest.fixture
def user(tmp_path: Path) -> UserEnvironment:
    made = UserEnvironment(tmp_path)
    made.variables["GRID_SECURITY_DIR"] = str(made.home / "security")
    made.variables["TERM"] = "dumb"
    del made.variables["X509_USER_CERT"], made.variables["X509_USER_KEY"]
    made.trust_dir.mkdir(parents=True)
    return made


def request_of(path: Path) -> x509.CertificateSigningRequest:
    """The request in a file, by pyca, having been found good by openssl and by the room that issues certificates."""
    run(["openssl", "req", "-in", path, "-noout", "-verify"], env={"PATH": "/usr/bin:/bin"}).check()
    (block,) = split_pem(path.read_bytes(), what="request")
    assert parse_request(block.data).is_proven
    return x509.load_der_x509_csr(block.data)


@pytest.mark.parametrize("fields", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_same_subject_as_c(fields: Sequence[tuple[str, str, str]], user: UserEnvironment) -> None:
    write_request_config(user.home / "security", fields=fields, host_fields=fields)
    for number, words in enumerate(SUBJECTS):
        service = words[1] if words[0] == "-service" else words[0].strip("-").replace("cn", "user")
        ours, theirs = user.home / f"ours{number}", user.home / f"theirs{number}"
        theirs.mkdir()
        user.ours("grid-cert-request", *words, "-nopw", "-dir", ours).check()
        user.theirs("grid-cert-request", *words, "-nopw", "-dir", theirs).check()
        made = request_of(ours / f"{service}cert_request.pem")
        assert made.subject.public_bytes() == request_of(theirs / f"{service}cert_request.pem").subject.public_bytes()
        assert {path.name for path in ours.iterdir()} == {path.name for path in theirs.iterdir()}
        for path in ours.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((theirs / path.name).stat().st_mode), path
        key = load_pem_private_key((ours / f"{service}key.pem").read_bytes(), None)
        assert key.public_key() == made.public_key()


@pytest.mark.parametrize(
    "words",
    [
        ("-dns", "a.example.org,b.example.org"),
        ("-ip", "10.0.0.1,2001:db8::17"),
        ("-dns", "a.example.org", "-ip", "10.0.0.1"),
        ("-dns", "*.example.org"),
    ],
)
def test_the_same_alternative_names_as_c(words: tuple[str, ...], user: UserEnvironment) -> None:
    write_request_config(user.home / "security")
    found = []
    for name, program in (("ours", user.ours), ("theirs", user.theirs)):
        (user.home / name).mkdir()
        program("grid-cert-request", "-host", "www.example.org", *words, "-dir", user.home / name).check()
        made = request_of(user.home / name / "hostcert_request.pem")
        found.append(made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost", "localhost.localdomain", "www.localdomain", "a.LOCALDOMAIN.example.org"]
)
def test_names_that_every_machine_has(host: str, user: UserEnvironment) -> None:
    write_request_config(user.home / "security")
    done = user.ours("grid-cert-request", "-host", host, "-dir", user.home)
    assert done.returncode != 0
    assert "is the name of every machine for itself" in done.stderr
    assert not (user.home / "hostcert_request.pem").exists()


def test_another_ca_by_its_hash(user: UserEnvironment) -> None:
    ca = TestCA("/O=Other/CN=CA", "p256")
    user.trust(ca)
    write_request_config(user.home / "security")
    digest = subject_hash(ca.certificate)
    write_request_config(user.trust_dir, suffix=f".{digest}", fields=(("organizationName", "O", "Other"),))
    found = []
    for name, program in (("ours", user.ours), ("theirs", user.theirs)):
        (user.home / name).mkdir()
        program("grid-cert-request", "-ca", digest, "-cn", "Al", "-nopw", "-dir", user.home / name).check()
        found.append(request_of(user.home / name / "usercert_request.pem").subject.rfc4514_string())
    assert found == ["CN=Al,O=Other"] * 2


CA_CONFIG: Final = """\
[ca]
default_ca = own
[own]
dir = {directory}
database = $dir/index.txt
new_certs_dir = $dir
certificate = $dir/ca.pem
private_key = $dir/ca.key
serial = $dir/serial
default_days = 30
default_md = sha256
policy = match
copy_extensions = copy
[match]
organizationName = match
organizationalUnitName = optional
commonName = supplied
"""


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "ed25519"])
def test_from_request_to_proxy_by_way_of_openssl_ca(kind: str, user: UserEnvironment, tmp_path: Path) -> None:
    """A CA with the policy of `grid-ca-create` signs our request; C makes a proxy with what comes back."""
    directory = tmp_path / "ca"
    directory.mkdir()
    (directory / "config").write_text(CA_CONFIG.format(directory=directory))
    (directory / "index.txt").touch()
    (directory / "serial").write_text("01\n")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem"]
    subprocess.run([*make, "-subj", "/O=Grid/CN=CA"], check=True, capture_output=True, cwd=directory)
    write_request_config(user.home / "security")
    home = user.home / ".globus"
    words = ("-cn", "Alice", "-key-type", kind, "-passout", "stdin")
    user.ours("grid-cert-request", *words, stdin="some secret\n").check()
    sign = ["openssl", "ca", "-batch", "-config", "config", "-in", str(home / "usercert_request.pem"), "-notext"]
    subprocess.run([*sign, "-out", str(home / "usercert.pem")], check=True, capture_output=True, cwd=directory)
    ca = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    write_file(user.trust_dir / f"{subject_hash(ca)}.0", (directory / "ca.pem").read_bytes(), 0o644)
    policy = "access_id_CA X509 '/O=Grid/CN=CA'\npos_rights globus CA:sign\ncond_subjects globus '\"/O=Grid/*\"'\n"
    write_file(user.trust_dir / f"{subject_hash(ca)}.signing_policy", policy.encode(), 0o644)
    user.variables |= {"X509_USER_CERT": str(home / "usercert.pem"), "X509_USER_KEY": str(home / "userkey.pem")}
    made = user.ours("grid-proxy-init", "-verify", "-pwstdin", stdin="some secret\n").check()
    assert "Your identity: /O=Grid/OU=Test Unit/OU=example.org/CN=Alice\n" in made.stdout
    if kind != "ed25519":  # the C program does not know it
        user.theirs("grid-proxy-init", "-verify", "-pwstdin", stdin="some secret\n").check()


def test_nothing_is_lost(user: UserEnvironment) -> None:
    write_request_config(user.home / "security")
    directory = user.home / "new"
    words = ("-cn", "Al", "-nopw", "-key-type", "p256", "-dir", directory)
    user.ours("grid-cert-request", *words).check()
    (directory / "usercert.pem").write_text("the certificate\n")
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    refused = user.ours("grid-cert-request", *words)
    assert refused.returncode == 1
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    for number in range(3):
        user.ours("grid-cert-request", *words, "-force").check()
        suffix = f".old{number}" if number else ".old"
        assert (directory / f"userkey.pem{suffix}").exists()
    assert {name: (directory / f"{name}.old").read_bytes() for name in before} == before
    assert stat.S_IMODE((directory / "userkey.pem.old").stat().st_mode) == 0o400


def test_a_full_disk_leaves_everything_as_it_was(user: UserEnvironment) -> None:
    write_request_config(user.home / "security")
    directory = user.home / "new"
    words = ["-cn", "Al", "-nopw", "-key-type", "p256", "-dir", str(directory)]
    user.ours("grid-cert-request", *words).check()
    before = {path.name: (path.read_bytes(), path.stat().st_ino) for path in directory.iterdir()}
    for limit in (100, 300):  # too little for the key, and for the request only
        command = [our_program("grid-cert-request"), *words, "-force"]
        assert run(command, env=user.variables, file_size_limit=limit).returncode == 1
        assert {path.name: (path.read_bytes(), path.stat().st_ino) for path in directory.iterdir()} == before


def test_the_directions_of_a_ca(user: UserEnvironment) -> None:
    """Its own text, with the names filled in and nothing run, in the file and for the user."""
    security = write_request_config(user.home / "security")
    text = "junk\nBEGIN {} TEXT\nTo ${{GSI_CA_NAME}}: $SUBJECT `touch x` $(touch y) $OTHER\nEND {} TEXT\n"
    titles = ("REQUEST HEADER", "USER INSTRUCTIONS")
    write_file(security / "directions", "".join(text.format(one, one) for one in titles).encode(), 0o644)
    made = user.ours("grid-cert-request", "-cn", "Al", "-nopw", "-dir", user.home / "new").check()
    told = "To Test CA: /O=Grid/OU=Test Unit/OU=example.org/CN=Al `touch x` $(touch y) $OTHER\n"
    assert made.stdout == told
    assert (user.home / "new/usercert_request.pem").read_text().startswith(told + "-----BEGIN CERTIFICATE REQUEST")
    write_file(
        security / "directions",
        b"BEGIN REQUEST HEADER TEXT\n-----BEGIN CERTIFICATE-----\nEND REQUEST HEADER TEXT\n",
        0o644,
    )
    user.ours("grid-cert-request", "-cn", "Al", "-nopw", "-dir", user.home / "two").check()
    assert (user.home / "two/usercert_request.pem").read_text().startswith("-----BEGIN CERTIFICATE REQUEST")


def test_interactive_answers_as_openssl_takes_them(user: UserEnvironment) -> None:
    write_request_config(user.home / "security")
    answers = "\nMy Unit\n.\nAlice\n"
    found = []
    for name, program in (("ours", user.ours), ("theirs", user.theirs)):
        (user.home / name).mkdir()
        words = ("-interactive", "-nopw", "-cn", "ignored", "-dir", user.home / name)
        program("grid-cert-request", *words, stdin=answers).check()
        found.append(request_of(user.home / name / "usercert_request.pem").subject.rfc4514_string())
    assert found == ["CN=Alice,OU=My Unit,O=Grid"] * 2


@pytest.mark.parametrize(
    "text",
    ["", "[ req ]\n", "[ req_distinguished_name ]\nnonsense = x\n", ssl_conf((("countryName", "C", "Germany"),))],
)
def test_a_configuration_that_will_not_do(text: str, user: UserEnvironment) -> None:
    security = write_request_config(user.home / "security")
    write_file(security / "globus-user-ssl.conf", text.encode(), 0o644)
    refused = user.ours("grid-cert-request", "-cn", "Al", "-nopw", "-dir", user.home / "new")
    assert refused.returncode == 1
    assert "internal" not in refused.stderr
    assert not (user.home / "new").exists()


def test_no_configuration(user: UserEnvironment) -> None:
    for program in (user.ours, user.theirs):
        refused = program("grid-cert-request", "-cn", "Al", "-nopw", "-dir", user.home / "new")
        assert refused.returncode == 1
        assert not (user.home / "new").exists()
