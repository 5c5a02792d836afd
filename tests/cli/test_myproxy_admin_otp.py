"""myproxy-admin-otp on a store of its own, beside no server."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pyotp
import pytest

from gsi.secret import Passphrase
from gsi.system.clock import now
from myproxy.auth.totp import CodeKeys, OneTimeCodes
from myproxy.repository.codes import SQLCodeStore
from myproxy.repository.sql import open_sqlite_repository
from tests.harness.ca import write_file
from tests.harness.environment import clean_environment
from tests.harness.run import Done, our_program, run


class Store:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "store"
        self.home = directory
        self.repository = open_sqlite_repository(str(self.path))
        write_file(directory / "otp.key", b"ab" * 32 + b"\n", 0o600)
        self.configure(f"otp required\notp_key_file {directory}/otp.key\n")

    def configure(self, text: str) -> None:
        write_file(self.home / "config", text.encode(), 0o600)

    def run(self, *arguments: str, stdin: str = "") -> Done:
        argv: list[str | Path] = [
            our_program("myproxy-admin-otp"),
            "-s",
            self.path,
            "-c",
            self.home / "config",
            *arguments,
        ]
        return run(argv, env=clean_environment(self.home), stdin=stdin)

    def check(self, username: str, code: str) -> None:
        keys = CodeKeys.load(str(self.home / "otp.key"))
        OneTimeCodes(SQLCodeStore(self.repository.database), keys, clock=now).check(username, Passphrase(code))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_an_authenticator_that_works(store: Store) -> None:
    done = store.run("-l", "bob", "-i", "Example Grid").check()
    first, uri = done.stdout.splitlines()
    secret = re.fullmatch(r"Secret of user bob: ([A-Z2-7]{32})", first)
    assert secret is not None
    assert uri.startswith("otpauth://totp/Example%20Grid:bob?")
    totp = pyotp.parse_uri(uri)
    assert isinstance(totp, pyotp.TOTP)
    assert totp.secret == secret[1]
    store.check("bob", totp.now())
    records = (store.path / "audit.log").read_text()
    assert secret[1] not in records
    (record,) = map(json.loads, records.splitlines())
    assert (record["action"], record["username"], record["verdict"]) == ("ENROL_OTP", "bob", "permit")


def test_a_token_that_has_its_secret_already(store: Store) -> None:
    secret = base64.b32encode(b"12345678901234567890").decode()
    spelled = f"{secret[:4].lower()} {secret[4:]}"
    done = store.run("-q", "--secret", "stdin", "-a", "SHA256", stdin=f"{spelled}\n").check()
    assert len(done.stdout.splitlines()) == 1
    totp = pyotp.parse_uri(done.stdout.strip())
    assert isinstance(totp, pyotp.TOTP)
    store.check("alice", totp.now())  # $LOGNAME


def test_who_has_one_and_who_no_longer(store: Store) -> None:
    assert store.run("--list").check().stdout == ""
    for name in ("bob", "alice"):
        store.run("-l", name).check()
    assert store.run("-L").check().stdout == "alice\nbob\n"
    assert store.run("-r", "-l", "bob").check().stdout == "User bob has no one-time codes any more.\n"
    assert store.run("-L").check().stdout == "alice\n"
    gone = store.run("-r", "-l", "bob")
    assert gone.returncode == 1
    assert "has no one-time secret" in gone.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (("-L", "-r"), "", "mutually exclusive"),
        (("-L", "-l", "bob"), "", "leave --username out"),
        (("--secret", "stdin"), "not base32!\n", "not base32"),
        (("--secret", "stdin"), "ABCDEFGH\n", "16 to 128 bytes"),
        (("-a", "MD5"), "", "SHA1"),
    ],
)
def test_mistakes(store: Store, arguments: tuple[str, ...], stdin: str, words: str) -> None:
    done = store.run(*arguments, stdin=stdin)
    assert done.returncode == 1
    assert words in done.stderr
    assert SQLCodeStore(store.repository.database).usernames() == ()


def test_without_a_key(store: Store) -> None:
    store.configure("otp required\n")
    done = store.run()
    assert done.returncode == 1
    assert "otp needs otp_key_file" in done.stderr
    assert "openssl rand" in done.stderr
