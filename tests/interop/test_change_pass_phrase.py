"""grid-change-pass-phrase beside the C script and openssl: each reads what the other wrote."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

import pexpect
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from tests.harness.ca import TestCA, write_file
from tests.harness.environment import UserEnvironment
from tests.harness.run import c_program, our_program, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.ca import Issued, KeyKind

PATH: Final = {"PATH": "/usr/bin:/bin"}
OURS: Final = ("-passin", "stdin", "-passout", "stdin")


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice")


@pytest.fixture
def user(tmp_path: Path, ca: TestCA, alice: Issued) -> UserEnvironment:
    made = UserEnvironment(tmp_path)
    made.install_user(alice, passphrase=b"first one")
    made.trust(ca)
    return made


def change_by_c(user: UserEnvironment, path: Path, old: str, new: str) -> None:
    env = {"TERM": "dumb", **user.with_variables(X509_USER_CERT=None, X509_USER_KEY=None)}
    child = pexpect.spawn(c_program("grid-change-pass-phrase"), ["-file", str(path)], env=env, timeout=30)
    prompts = (b"Enter pass phrase", b"Enter (PEM )?pass phrase", b"Verifying")
    for prompt, answer in zip(prompts, (old, new, new), strict=True):
        child.expect(prompt)
        child.waitnoecho()
        child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before


def change_by_us(user: UserEnvironment, path: Path, old: str, new: str) -> None:
    user.ours("grid-change-pass-phrase", "-file", path, *OURS, stdin=f"{old}\n{new}\n").check()


def opens(path: Path, secret: str) -> bool:
    return run(["openssl", "pkey", "-in", path, "-noout", "-passin", f"pass:{secret}"], env=PATH).returncode == 0


def test_c_and_openssl_read_ours_and_we_read_theirs(user: UserEnvironment) -> None:
    path = user.key_path
    change_by_us(user, path, "first one", "second one")
    assert opens(path, "second one")
    assert not opens(path, "first one")
    assert user.theirs("grid-proxy-init", "-q", "-pwstdin", stdin="second one\n").returncode == 0
    change_by_c(user, path, "second one", "third one")
    assert opens(path, "third one")
    change_by_us(user, path, "third one", "fourth one")
    assert opens(path, "fourth one")
    assert not (path.parent / "userkey.pem.old.old").exists()


def test_pkcs12_both_ways(user: UserEnvironment, alice: Issued) -> None:
    path = user.home / "a.p12"
    write_file(path, alice.pkcs12(b"first one", friendly_name=b"Alice of Grid"), 0o600)
    change_by_us(user, path, "first one", "second one")
    opened = pkcs12.load_pkcs12(path.read_bytes(), b"second one")
    assert opened.cert is not None
    assert (opened.cert.certificate, opened.cert.friendly_name) == (alice.certificate, b"Alice of Grid")
    shown = run(
        ["openssl", "pkcs12", "-in", path, "-passin", "pass:second one", "-nodes", "-info"],
        env=PATH,
    ).check()
    assert shown.output.count("Iteration 600000") == 3  # the integrity check, the certificates, the key
    # The C script cannot with OpenSSL 3, which does not read key and certificates from one pipe; so as it means to:
    plain = run(["openssl", "pkcs12", "-in", path, "-passin", "pass:second one", "-nodes"], env=PATH).check().stdout
    write_file(user.home / "plain.pem", plain.encode(), 0o600)
    write = ["openssl", "pkcs12", "-export", "-in", str(user.home / "plain.pem"), "-out", str(path)]
    run([*write, "-passout", "pass:third one"], env=PATH).check()
    change_by_us(user, path, "third one", "fourth one")
    assert pkcs12.load_pkcs12(path.read_bytes(), b"fourth one").key is not None


@pytest.mark.parametrize("traditional", [True, False])
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_every_byte_around_the_key_stays(
    kind: KeyKind, traditional: bool, mode: int, ca: TestCA, user: UserEnvironment
) -> None:
    if traditional and kind == "ed25519":
        return  # it has no such form
    made = ca.issue("/O=Grid/CN=Alice", kind)
    before, after = b"Text before\r\n" + made.pem + b"\n \n", b"# text behind\r\n" + ca.pem + b"no line end"
    path = user.home / "all.pem"
    write_file(path, before + made.key_pem(b"first one", traditional=traditional) + after, mode)
    change_by_us(user, path, "first one", "second one")
    data = path.read_bytes()
    assert data.startswith(before)
    assert data.endswith(after)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in data
    key = load_pem_private_key(data[data.index(b"-----BEGIN ENCRYPTED") :], b"second one")
    assert key.public_key() == made.key.public_key()
    user.ours("grid-change-pass-phrase", "-file", path, "-passin", "stdin", "-nodes", stdin="second one\n").check()
    data = path.read_bytes()
    assert data.startswith(before)
    assert data.endswith(after)
    assert load_pem_private_key(data[data.index(b"-----BEGIN PRIVATE") :], None).public_key() == made.key.public_key()


@pytest.mark.parametrize("name", ["userkey.pem", "a.p12", "two.pem", "damaged.pem"])
def test_the_file_is_untouched_when_anything_is_wrong(name: str, user: UserEnvironment, alice: Issued) -> None:
    path = user.key_path.parent / name
    write_file(user.key_path.parent / "a.p12", alice.pkcs12(b"first one"), 0o600)
    write_file(path.parent / "two.pem", 2 * alice.key_pem(b"first one"), 0o600)
    write_file(path.parent / "damaged.pem", alice.key_pem(b"first one")[:-30], 0o600)
    before = (path.read_bytes(), path.stat())
    files = sorted(path.parent.iterdir())
    typed = ["wrong\nsecond one\n", "first one\n\n", "first one\nabc\n", "first one\n", ""]
    for text in typed:
        assert user.ours("grid-change-pass-phrase", "-file", path, *OURS, stdin=text).returncode == 1
    if name == "two.pem":  # the right answers do not help: which key is meant is not known
        done = user.ours("grid-change-pass-phrase", "-file", path, *OURS, stdin="first one\nsecond one\n")
        assert done.returncode == 1
        assert "2 private keys in it" in done.stderr
    assert user.ours("grid-change-pass-phrase", "-file", path).returncode == 1  # no terminal
    assert (path.read_bytes(), path.stat()[:7], path.stat().st_mtime_ns) == (
        before[0],
        before[1][:7],
        before[1].st_mtime_ns,
    )
    assert sorted(path.parent.iterdir()) == files


def test_a_key_in_der_can_be_converted_as_the_hint_says(user: UserEnvironment, alice: Issued) -> None:
    locked = BestAvailableEncryption(b"first one")
    forms = {
        "plain": alice.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "old": alice.key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "locked": alice.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, locked),
    }
    for name, data in forms.items():
        write_file(user.home / name, data, 0o600)
        done = user.ours("grid-change-pass-phrase", "-file", user.home / name, *OURS, stdin="first one\nsecond one\n")
        assert done.returncode == 1
        assert f"{name}: a private key in DER" in done.stderr
        hint = done.stderr.partition("hint: ")[2].strip().rpartition(": ")[2]
        words = hint.replace("KEY", str(user.home / name)).replace("NEW", str(user.home / "new")).split()
        run([*words, "-passin", "pass:first one", "-passout", "pass:first one"], env=PATH).check()
        os.chmod(user.home / "new", 0o600)
        change_by_us(user, user.home / "new", "first one", "second one")


def test_a_full_disk_leaves_the_old_key(user: UserEnvironment) -> None:
    before = user.key_path.read_bytes()
    done = run(
        [our_program("grid-change-pass-phrase"), *OURS],
        env=user.variables,
        stdin="first one\nsecond one\n",
        file_size_limit=100,
    )
    assert done.returncode == 1
    assert user.key_path.read_bytes() == before
    assert len(list(user.key_path.parent.iterdir())) == 3


def test_a_link_stays_a_link_and_a_backup_is_made_on_request(user: UserEnvironment) -> None:
    before = user.key_path.read_bytes()
    link = user.home / "link.pem"
    link.symlink_to(user.key_path)
    words = ("-backup", "-file", link, *OURS)
    user.ours("grid-change-pass-phrase", *words, stdin="first one\nsecond one\n").check()
    assert link.is_symlink()
    assert opens(user.key_path, "second one")
    old = user.key_path.with_name("userkey.pem.old")
    assert old.read_bytes() == before
    assert stat.S_IMODE(old.stat().st_mode) == 0o600


@pytest.mark.parametrize("longer", [b"", b"# more\n"])
def test_a_file_that_somebody_else_changes_meanwhile_is_left(
    longer: bytes, user: UserEnvironment, alice: Issued
) -> None:
    child = pexpect.spawn(
        our_program("grid-change-pass-phrase"),
        ["-file", str(user.key_path)],
        env={"TERM": "dumb", **user.variables},
        timeout=30,
    )
    child.expect("old pass phrase for")
    child.sendline("first one")
    child.expect("new pass phrase for")
    theirs = alice.key_pem(b"third one") + longer
    write_file(user.key_path, theirs, 0o600)
    child.sendline("second one")
    child.expect("(?i)verif|again|new pass phrase")
    child.sendline("second one")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert user.key_path.read_bytes() == theirs


def test_at_the_terminal_the_new_one_is_asked_twice(user: UserEnvironment) -> None:
    for answers, status in (
        (("first one", "second one", "second 0ne"), 1),
        (("first one", "second one", "second one"), 0),
    ):
        child = pexpect.spawn(
            our_program("grid-change-pass-phrase"),
            ["-file", str(user.key_path)],
            env={"TERM": "dumb", **user.variables},
            timeout=30,
        )
        for prompt, answer in zip((b"Enter old", b"Enter new", b"Verifying - Enter new"), answers, strict=True):
            child.expect(prompt + b" pass phrase for .*:")
            child.waitnoecho()
            child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        assert "one" not in str(child.before)
        assert child.exitstatus == status
    assert opens(user.key_path, "second one")
