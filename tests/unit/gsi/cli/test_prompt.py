from __future__ import annotations

import subprocess
import sys

import pexpect
import pytest

from gsi.cli.prompt import MAX_PASSPHRASE_BYTES

ASK = "from gsi.cli.prompt import *; from gsi.errors import GridError\n"
ONCE = ASK + "print('got', ask_passphrase('Enter it:').reveal())"
NEW = ASK + (
    "try: print('got', ask_new_passphrase('Enter it:', minimum=4).reveal())\nexcept GridError as e: print('error:', e)"
)


def on_terminal(code: str) -> pexpect.spawn[str]:
    return pexpect.spawn(sys.executable, ["-c", code], encoding="utf-8", timeout=20)


def rest_of(child: pexpect.spawn[str]) -> str:
    child.expect(pexpect.EOF)
    assert child.before is not None
    return child.before.strip()


def with_stdin(code: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", ASK + code], input=data, capture_output=True, timeout=20, start_new_session=True
    )


def test_the_terminal_is_asked_without_echo() -> None:
    child = on_terminal(ONCE)
    child.expect_exact("Enter it:")
    child.waitnoecho()
    child.sendline("sécret")
    assert rest_of(child) == f"got {'sécret'.encode()!r}"


def test_echo_is_put_back_after_an_interrupt() -> None:
    child = on_terminal(
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        + ASK
        + "try: ask_passphrase('Enter it:')\nexcept KeyboardInterrupt: print('stopped', flush=True); input()"
    )
    child.expect_exact("Enter it:")
    child.waitnoecho()
    child.sendintr()
    child.expect_exact("stopped")
    assert child.getecho()
    child.sendline("")
    child.expect(pexpect.EOF)


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        ("secret", "secret", "got b'secret'"),
        ("secret", "other", "error: the two pass phrases differ"),
        ("abc", None, "error: the pass phrase is shorter than 4 bytes"),
    ],
)
def test_a_new_pass_phrase_is_asked_twice(first: str, second: str | None, answer: str) -> None:
    child = on_terminal(NEW)
    child.expect_exact("Enter it:")
    child.waitnoecho()
    child.sendline(first)
    if second is not None:
        child.expect_exact("Verifying - Enter it:")
        child.waitnoecho()
        child.sendline(second)
    assert rest_of(child) == answer


def test_standard_input_gives_one_line_at_a_time() -> None:
    done = with_stdin(
        "a = ask_passphrase('', from_stdin=True).reveal(); b = ask_new_passphrase('', from_stdin=True).reveal()\n"
        "import sys; print(a, b, sys.stdin.read())",
        b"one\ntwo\nthree\n",
    )
    assert done.stdout == b"b'one' b'two' three\n\n", done


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"unended", b"b'unended'"),
        (b"\n", b"b''"),
        (b" a b \n", b"b' a b '"),
        (b"\xff\x00\n", b"b'\\xff\\x00'"),
        (b"x" * MAX_PASSPHRASE_BYTES + b"\n", b"b'" + b"x" * MAX_PASSPHRASE_BYTES + b"'"),
        (b"", b"needs-passphrase"),
        (b"x" * (MAX_PASSPHRASE_BYTES + 1), b"wrong-passphrase"),
    ],
    ids=["unended", "empty", "blanks", "binary", "longest", "none", "too long"],
)
def test_what_standard_input_may_hold(data: bytes, answer: bytes) -> None:
    done = with_stdin(
        "try: print(ask_passphrase('', from_stdin=True).reveal())\nexcept GridError as e: print(e.problem.value)", data
    )
    assert done.stdout.strip() == answer, done


def test_without_a_terminal_the_way_out_is_named() -> None:
    done = with_stdin("try: ask_passphrase('Enter it:')\nexcept GridError as e: print(e, '|', e.hint)", b"secret\n")
    assert done.stdout == (
        b"a pass phrase is needed, but there is no terminal to ask on | give it on standard input with -pwstdin\n"
    )
