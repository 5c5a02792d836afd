"""The commands at a terminal, in pipes, and interrupted: what a transcript cannot show."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
    assert end_of(child) == ("\r\n", 0)


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


def test_a_signal_at_the_prompt_puts_the_echo_back(user: UserEnvironment) -> None:
    code = (
        "import sys; sys.argv = ['grid-proxy-init']; from gsi.cli.proxy_init import main\n"
        "print('status', main(), flush=True); input()"
    )
    child = at_terminal(sys.executable, ["-c", code], user.variables)
    child.expect_exact(PROMPT)
    child.waitnoecho()
    child.kill(signal.SIGTERM)
    child.expect_exact("status 143")
    assert child.getecho()
    child.sendline("")
    child.expect(pexpect.EOF)
    assert user.proxy_path.read_bytes() == OLD


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_writing_leaves_no_key_behind(number: signal.Signals, user: UserEnvironment) -> None:
    code = (
        "import os, signal, sys\n"
        "def held(descriptor): print('writing', flush=True); signal.pause()\n"
        "os.fsync = held\n"
        "sys.argv = ['grid-proxy-init', '-q', '-pwstdin']; from gsi.cli.proxy_init import main\n"
        "sys.exit(main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env=user.variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"secret\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"writing\n"
        assert len(os.listdir(user.home)) == 3
        process.send_signal(number)
        assert process.wait(timeout=20) == 128 + number
    assert user.proxy_path.read_bytes() == OLD
    assert set(os.listdir(user.home)) == {".globus", "proxy.pem"}


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


def test_odd_names_everywhere(user: UserEnvironment) -> None:
    """As certificate, key and output of one command, as the file of the others, by path or by variable."""
    user.trust(TestCA("/O=Grid/CN=Other"))
    home = os.fsencode(user.home)
    cert, key, out = (os.path.join(home, name + b"\xff\x1b[2J\n") for name in (b"cert", b"key", b"out"))
    os.rename(user.cert_path, cert)
    os.rename(user.key_path, key)

    def ours(name: str, *words: bytes | str, code: int = 0, **more: bytes) -> bytes:
        done = subprocess.run(
            [our_program(name), *words],
            input=b"secret\n",
            capture_output=True,
            env={**{os.fsencode(n): os.fsencode(v) for n, v in user.variables.items()},
                 **{n.encode(): v for n, v in more.items()}},
            timeout=30,
        )  # fmt: skip
        assert done.returncode == code, done
        assert b"internal" not in done.stderr
        assert b"\x1b" not in done.stderr
        return done.stdout

    for extra in ((), ("-debug",), ("-json",)):
        ours("grid-proxy-init", "-pwstdin", "-cert", cert, "-key", key, "-out", out, *extra)
        assert os.path.exists(out)
    ours("grid-proxy-init", "-pwstdin", "-debug", "-cert", cert + b"x", "-key", key, "-out", out, code=1)
    ours("grid-proxy-init", "-pwstdin", "-debug", "-cert", cert, "-key", key + b"x", "-out", out, code=1)
    ours("grid-proxy-init", "-pwstdin", "-debug", "-cert", cert, "-key", key, "-out", b"/nowhere/" + home, code=1)
    assert b"Alice" in ours("grid-proxy-info", "-json", X509_USER_PROXY=out)
    assert b'"refused"' in ours("grid-proxy-verify", "-json", out, code=1)
    ours("grid-proxy-verify", "-debug", out + b"x", code=1)
    ours("grid-proxy-destroy", "-dryrun", "-debug", out, out + b"x")
    ours("grid-proxy-destroy", out)
    assert not os.path.exists(out)


def test_a_key_with_a_terminal_sequence_in_it(user: UserEnvironment) -> None:
    """Its words come up in errors, and with -debug in the causes of errors, too."""
    key = user.key_path.read_bytes().replace(b"ENCRYPTED PRIVATE KEY", b"RSA PRIVATE KEY")
    head = b"-----BEGIN RSA PRIVATE KEY-----\n"
    headers = b"Proc-Type: 4,ENCRYPTED\nDEK-Info: \x1b]0;owned\x07,00\n\n"
    write_file(user.key_path, key.replace(head, head + headers), 0o600)
    done = user.ours("grid-proxy-init", "-pwstdin", "-debug", stdin="secret\n")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "\x1b" not in done.output
    assert "\x07" not in done.output


def test_all_lists_the_default_and_the_delegated_proxies(user: UserEnvironment) -> None:
    done = user.ours("grid-proxy-destroy", "-all", "-dryrun").check()
    assert done.stderr.startswith(f"Would remove {user.proxy_path}\n")
    assert all(line.startswith("Would remove /tmp/x509up_p") for line in done.stderr.splitlines()[1:])
    assert user.proxy_path.read_bytes() == OLD
