"""The commands at a terminal, in pipes, and interrupted: what a transcript cannot show."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.harness.ca import TestCA, write_file
from tests.harness.environment import UserEnvironment
from tests.harness.run import c_program, our_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OLD = b"the old proxy\n"
PROMPT = "Enter GRID pass phrase for this identity:"


@pytest.fixture
def user(tmp_path: Path) -> UserEnvironment:
    """Alice, whose key is locked with `secret`."""
    made = UserEnvironment(tmp_path)
    made.install_user(TestCA("/O=Grid/CN=CA").issue("/O=Grid/CN=Alice"), passphrase=b"secret")
    write_file(made.proxy_path, OLD, 0o600)
    return made


def at_terminal(program: str, words: list[str], variables: Mapping[str, str]) -> pexpect.spawn[str]:
    env = {"TERM": "dumb", **variables}
    return pexpect.spawn(program, words, env=env, encoding="utf-8", timeout=30)


def end_of(child: pexpect.spawn[str]) -> tuple[str, int | None]:
    child.expect(pexpect.EOF)
    child.close()
    assert child.before is not None
    return child.before, child.exitstatus


def test_the_pass_phrase_is_asked_as_in_c(user: UserEnvironment) -> None:
    seen = []
    for program in (our_program("grid-proxy-init"), c_program("grid-proxy-init")):
        child = at_terminal(program, ["-out", str(user.home / "made")], user.variables)
        child.expect_exact(PROMPT)
        before = child.before
        child.waitnoecho()
        child.sendline("secret")
        rest, status = end_of(child)
        assert "secret" not in rest
        seen.append((before, rest.strip().splitlines()[0].split(".")[0], status))
    assert seen[0] == seen[1] == ("Your identity: /O=Grid/CN=Alice\r\n", "Creating proxy ", 0)


def test_in_quiet_mode_only_the_question_is_seen(user: UserEnvironment) -> None:
    child = at_terminal(our_program("grid-proxy-init"), ["-q"], user.variables)
    child.expect_exact("Enter GRID pass phrase:")
    assert not child.before
    child.waitnoecho()
    child.sendline("secret")
    assert end_of(child) == (" \r\n", 0)


def test_a_wrong_pass_phrase_is_asked_once(user: UserEnvironment) -> None:
    child = at_terminal(our_program("grid-proxy-init"), [], user.variables)
    child.expect_exact(PROMPT)
    child.waitnoecho()
    child.sendline("Secret")
    rest, status = end_of(child)
    assert "pass phrase is wrong" in rest
    assert status == 1
    assert user.proxy_path.read_bytes() == OLD


@pytest.mark.parametrize("how", ["interrupt", "end of input"])
def test_giving_up_leaves_everything_as_it_was(how: str, user: UserEnvironment) -> None:
    child = at_terminal("/bin/bash", ["--noprofile", "--norc"], {**user.variables, "PS1": "now> "})
    child.sendline(f"{our_program('grid-proxy-init')}; echo status=$?")
    child.expect_exact(PROMPT)
    child.waitnoecho()
    if how == "interrupt":
        child.sendintr()
        child.expect_exact("grid-proxy-init: interrupted")
        expected = "status=130"
    else:
        child.sendeof()
        child.expect_exact("the terminal ended before a pass phrase was given")
        expected = "status=1"
    if how != "interrupt":  # an interrupt ends the whole line for bash, so there is no status to see
        child.expect_exact(expected)
    child.sendline("stty -a | grep -o ' echo '; echo do''ne")
    child.expect_exact("done")
    assert child.before is not None
    assert " echo " in child.before
    child.sendeof()
    child.close()
    assert user.proxy_path.read_bytes() == OLD
    assert set(os.listdir(user.home)) - {".bash_history"} == {".globus", "proxy.pem"}


def test_the_pass_phrase_is_not_asked_for_what_cannot_work(user: UserEnvironment) -> None:
    child = at_terminal(our_program("grid-proxy-init"), ["-out", "/nonexistent/proxy"], user.variables)
    rest, status = end_of(child)
    assert "pass phrase" not in rest
    assert status == 1


def test_a_reader_that_goes_away(user: UserEnvironment) -> None:
    made = user.ours("grid-proxy-init", "-pwstdin", stdin="secret\n")
    assert made.returncode == 0
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [our_program("grid-proxy-info"), "-text"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=user.variables,
        timeout=30,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("words", [["grid-proxy-info"], ["grid-proxy-init", "-help"]])
def test_output_that_cannot_be_written_is_an_error(words: list[str], user: UserEnvironment) -> None:
    assert user.ours("grid-proxy-init", "-q", "-pwstdin", stdin="secret\n").returncode == 0
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [our_program(words[0]), *words[1:]], stdout=full, stderr=subprocess.PIPE, env=user.variables, timeout=30
        )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_without_standard_output(user: UserEnvironment) -> None:
    """A daemon may start us with descriptor 1 closed."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -pwstdin >&-', our_program("grid-proxy-init")],
        input=b"secret\n",
        stderr=subprocess.PIPE,
        env=user.variables,
        timeout=30,
    )
    assert b"Traceback" not in done.stderr
    assert b"internal" not in done.stderr
    assert user.proxy_path.read_bytes() != OLD
    assert b"BEGIN CERTIFICATE" in user.proxy_path.read_bytes()


@pytest.mark.parametrize("words", [["grid-proxy-init", "-pwstdin"], ["grid-proxy-verify", "-"]])
def test_without_standard_input(words: list[str], user: UserEnvironment) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" "$@" <&-', our_program(words[0]), *words[1:]],
        capture_output=True,
        env=user.variables,
        timeout=30,
    )
    assert done.returncode == 1
    assert b"standard input" in done.stdout + done.stderr
    assert b"internal" not in done.stderr


def test_names_that_are_no_text(user: UserEnvironment) -> None:
    """File names are bytes; what cannot be shown is escaped, not a traceback."""
    user.ours("grid-proxy-init", "-pwstdin", stdin="secret\n").check()
    odd = os.path.join(os.fsencode(user.home), b"p\xffq\x1b[2J")
    os.rename(user.proxy_path, odd)
    for encoding in (
        {"LC_ALL": "C.UTF-8"},
        {"LC_ALL": "C"},
        {"PYTHONIOENCODING": "utf-8:strict"},
        {"PYTHONIOENCODING": "ascii"},
    ):
        env = user.variables | encoding
        done = subprocess.run([our_program("grid-proxy-info"), "-f", odd], capture_output=True, env=env, timeout=30)
        assert done.returncode == 0, done
        assert odd + b"\n" in done.stdout
        done = subprocess.run(
            [our_program("grid-proxy-info"), "-f", odd + b"x"], capture_output=True, env=env, timeout=30
        )
        assert done.returncode == 1, done
        assert b"\x1b" not in done.stderr
        assert b"internal" not in done.stderr


def test_all_lists_the_default_and_the_delegated_proxies(user: UserEnvironment) -> None:
    done = user.ours("grid-proxy-destroy", "-all", "-dryrun").check()
    assert done.stderr.startswith(f"Would remove {user.proxy_path}\n")
    assert all(line.startswith("Would remove /tmp/x509up_p") for line in done.stderr.splitlines()[1:])
    assert user.proxy_path.read_bytes() == OLD
