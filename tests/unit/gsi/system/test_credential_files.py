"""Credential files: loading with the checks of the C libraries, and saving what the C programs read."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from gsi.errors import CredentialError, CredentialProblem, ParseError
from gsi.names import append_common_name
from gsi.secret import Passphrase
from gsi.system.credential_files import load_proxy, load_user_credential, save_proxy
from tests.harness.ca import TestCA

if TYPE_CHECKING:
    from pathlib import Path

    from gsi.credential import Credential
    from tests.harness.ca import Issued, KeyKind

SECRET = Passphrase("correct horse")


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=Test CA")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice")


def put(path: Path, data: bytes, mode: int) -> str:
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def test_loads_and_saves_a_proxy(alice: Issued, tmp_path: Path) -> None:
    path = put(tmp_path / "proxy", alice.proxy().bundle(traditional=True), 0o600)
    credential = load_proxy(path)
    save_proxy(str(tmp_path / "copy"), credential)
    copy = tmp_path / "copy"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert load_proxy(str(copy)).certificates == credential.certificates
    assert b"BEGIN PRIVATE KEY" in copy.read_bytes()
    save_proxy(str(copy), credential, traditional=True)
    assert b"BEGIN RSA PRIVATE KEY" in copy.read_bytes()


def test_errors_name_the_file(alice: Issued, tmp_path: Path) -> None:
    cases = [
        (b"", 0o600, CredentialProblem.MISSING),
        (alice.bundle(), 0o644, CredentialProblem.UNSAFE_FILE),
        (alice.pem, 0o600, CredentialProblem.KEY_MISSING),
        (alice.pem + alice.key_pem(SECRET.reveal()), 0o600, CredentialProblem.NEEDS_PASSPHRASE),
    ]
    for data, mode, problem in cases:
        path = put(tmp_path / "file", data, mode)
        with pytest.raises(CredentialError) as caught:
            load_proxy(path)
        assert (caught.value.problem, caught.value.path) == (problem, path)
        assert path in str(caught.value)
    path = put(tmp_path / "file", alice.bundle()[:100], 0o600)
    with pytest.raises(ParseError, match="file"):
        load_proxy(path)


def test_loads_a_user_credential(alice: Issued, tmp_path: Path) -> None:
    certificate = put(tmp_path / "usercert.pem", alice.pem, 0o644)
    key = put(tmp_path / "userkey.pem", alice.key_pem(SECRET.reveal()), 0o400)

    def subject(found: Credential) -> str:
        return found.subject

    assert subject(load_user_credential(certificate, key, SECRET)) == alice.subject
    assert subject(load_user_credential(certificate, key, lambda: SECRET)) == alice.subject
    both = put(tmp_path / "both.pem", alice.bundle(), 0o600)
    assert subject(load_user_credential(both)) == subject(load_user_credential(both, both)) == alice.subject
    pkcs12 = put(tmp_path / "usercred.p12", alice.pkcs12(SECRET.reveal()), 0o600)
    assert subject(load_user_credential(pkcs12, pkcs12, SECRET)) == alice.subject


def test_refuses_unsafe_user_files(alice: Issued, tmp_path: Path) -> None:
    certificate = put(tmp_path / "usercert.pem", alice.pem, 0o644)
    key = put(tmp_path / "userkey.pem", alice.key_pem(), 0o640)
    with pytest.raises(CredentialError) as caught:
        load_user_credential(certificate, key)
    assert (caught.value.problem, caught.value.path) == (CredentialProblem.UNSAFE_FILE, key)
    os.chmod(key, 0o600)
    os.chmod(certificate, 0o666)
    with pytest.raises(CredentialError) as caught:
        load_user_credential(certificate, key)
    assert (caught.value.problem, caught.value.path) == (CredentialProblem.UNSAFE_FILE, certificate)
    pkcs12 = put(tmp_path / "usercred.p12", alice.pkcs12(SECRET.reveal()), 0o644)
    with pytest.raises(CredentialError) as caught:
        load_user_credential(pkcs12, pkcs12, SECRET)
    assert caught.value.problem is CredentialProblem.UNSAFE_FILE


@pytest.mark.interop
@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
def test_grid_proxy_info_reads_what_we_save(ca: TestCA, tmp_path: Path, kind: KeyKind, traditional: bool) -> None:
    alice = ca.issue("/O=Grid/CN=Alice", key=kind)
    path = put(tmp_path / "proxy", alice.proxy(key=kind).bundle(), 0o600)
    save_proxy(path, load_proxy(path), traditional=traditional)
    done = subprocess.run(["grid-proxy-info", "-file", path], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert "identity : /O=Grid/CN=Alice\n" in done.stdout


@pytest.mark.interop
def test_we_read_what_grid_proxy_init_writes(alice: Issued, tmp_path: Path) -> None:
    certificate = put(tmp_path / "usercert.pem", alice.pem, 0o644)
    key = put(tmp_path / "userkey.pem", alice.key_pem(), 0o400)
    path = str(tmp_path / "proxy")
    command = ["grid-proxy-init", "-cert", certificate, "-key", key, "-out", path, "-q"]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    found = load_proxy(path)
    assert [certificate.der for certificate in found.chain] == [alice.der]
    base, made = found.chain[0].subject_der, found.certificate
    assert made.subject_der == append_common_name(base, str(made.serial))  # string type included
    before = (tmp_path / "proxy").read_bytes()
    assert found.encode() == before  # the very bytes of the C program


@pytest.mark.interop
@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_grid_proxy_init_and_openssl_read_a_key_that_we_locked(ca: TestCA, tmp_path: Path, kind: KeyKind) -> None:
    from gsi.credential import parse_credential
    from gsi.keys import encode_private_key

    alice = ca.issue("/O=Grid/CN=Alice", key=kind)
    locked = encode_private_key(parse_credential(alice.bundle()).key, passphrase=SECRET)
    key = put(tmp_path / "userkey.pem", locked, 0o400)
    command = ["openssl", "pkey", "-in", key, "-passin", "pass:correct horse", "-noout"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    if kind == "ed25519":
        return  # grid-proxy-init knows no digest for it
    certificate = put(tmp_path / "usercert.pem", alice.pem, 0o644)
    path = str(tmp_path / "proxy")
    command = ["grid-proxy-init", "-cert", certificate, "-key", key, "-out", path, "-pwstdin"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, input=SECRET.reveal() + b"\n", capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert load_proxy(path).subject.startswith("/O=Grid/CN=Alice/CN=")
