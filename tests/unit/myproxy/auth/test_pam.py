"""The real PAM, with service files of the tests' own: no root needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gsi.errors import AuthenticationError, ConfigError, TimeoutExpiredError
from gsi.secret import Passphrase
from myproxy.auth.base import UnjudgedError
from myproxy.auth.pam import PAMMethod
from tests.harness.ca import write_file
from tests.harness.logins import pam_directory

ACCOUNT = "account required pam_permit.so\n"


@pytest.fixture
def services(tmp_path: Path) -> str:
    """A directory of services, one of which asks a script for the password `correct horse` of alice."""
    script = tmp_path / "check"
    lines = ("#!/bin/sh", "IFS= read -r word || :", f'echo "$PAM_USER" > {tmp_path}/asked')
    test = 'test "$PAM_USER:$word" = "alice:correct horse"'
    write_file(script, "\n".join((*lines, test, "")).encode(), 0o755)
    made = pam_directory(
        tmp_path,
        {
            "permit": f"auth required pam_permit.so\n{ACCOUNT}",
            "deny": f"auth required pam_deny.so\n{ACCOUNT}",
            "closed": "auth required pam_permit.so\naccount required pam_deny.so\n",
            "script": f"auth requisite pam_exec.so expose_authtok quiet {script}\n{ACCOUNT}",
            "slow": f"auth required pam_exec.so quiet /bin/sleep 60\n{ACCOUNT}",
            "talks": f"auth required pam_echo.so file=/etc/hostname\nauth required pam_permit.so\n{ACCOUNT}",
            "unix": "auth required pam_unix.so nodelay\naccount required pam_unix.so\n",
            "missing": f"auth required pam_no_such_module.so\n{ACCOUNT}",
        },
    )
    return str(made)


def check(services: str, service: str, password: str = "correct horse", username: str = "alice") -> None:
    PAMMethod(service, directory=services, seconds=10).check(username, Passphrase(password))


def test_who_is_let_in(services: str) -> None:
    check(services, "permit")
    check(services, "permit", "")
    check(services, "script")
    check(services, "talks")


def test_the_user_is_the_account_asked_for(services: str) -> None:
    check(services, "script")
    assert (Path(services).parent / "asked").read_text() == "alice\n"
    with pytest.raises(AuthenticationError):
        check(services, "script", username="bob")


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ("deny", "^invalid password$"),
        ("closed", "^invalid password$"),  # the account check counts, too
        ("missing", "^PAM authentication failed: "),
        ("no-such-service", "^PAM authentication failed: "),
    ],
)
def test_who_is_not(services: str, service: str, words: str) -> None:
    with pytest.raises(AuthenticationError, match=words):
        check(services, service)


def test_a_wrong_password(services: str) -> None:
    for wrong in ("wrong", "", "correct horse ", "correct"):
        with pytest.raises(AuthenticationError) as caught:
            check(services, "script", wrong)
        assert not isinstance(caught.value, UnjudgedError)


@pytest.mark.parametrize("service", ["missing", "no-such-service"])
def test_a_pam_that_cannot_tell(services: str, service: str) -> None:
    with pytest.raises(UnjudgedError) as caught:
        check(services, service)
    assert caught.value.asked


def test_an_unknown_account_by_pam_unix(services: str) -> None:
    words = "^invalid username$" if os.geteuid() == 0 else "^(invalid username|invalid password|PAM authentication)"
    with pytest.raises(AuthenticationError, match=words):
        check(services, "unix", username="no-such-account-here")


def test_an_account_without_a_password_by_pam_unix(services: str) -> None:
    with pytest.raises(AuthenticationError):
        check(services, "unix", username="nobody")


def test_a_module_that_hangs_is_left(services: str) -> None:
    method = PAMMethod("slow", directory=services, seconds=0.5)
    with pytest.raises(UnjudgedError, match="no answer") as caught:
        method.check("alice", Passphrase("x"))
    assert isinstance(caught.value.__cause__, TimeoutExpiredError)


def test_what_cannot_be_said_to_pam(services: str) -> None:
    for username, password in (("al\0ice", "x"), ("alice", "x\0y")):
        with pytest.raises(AuthenticationError, match="NUL"):
            check(services, "permit", password, username)
    with pytest.raises(AuthenticationError):
        check(services, "permit", username="")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x\0"])
def test_names_of_services(name: str) -> None:
    with pytest.raises(ConfigError):
        PAMMethod(name)


def test_no_pass_phrase_is_shown(services: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AuthenticationError) as caught:
        check(services, "deny", "very secret")
    assert "very secret" not in repr(caught.value) + "".join(capfd.readouterr())
