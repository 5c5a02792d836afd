"""Pass phrases from a person or from standard input; never from the command line or the environment.

    ask_passphrase("Enter GRID pass phrase:")                    # from the terminal, not echoed
    ask_passphrase("...", from_stdin=True)                       # -pwstdin: the next line of standard input
    ask_new_passphrase("Enter new pass phrase", minimum=6)       # twice, and they must agree

The terminal is /dev/tty itself, so that standard input and output stay free for data. One question is one answer:
nothing asks again by itself, since a script behind a terminal emulator would loop.
"""

from __future__ import annotations

import os

from gsi.errors import CredentialError, CredentialProblem
from gsi.secret import Passphrase

__all__ = ["MAX_PASSPHRASE_BYTES", "ask_new_passphrase", "ask_passphrase", "read_line"]

MAX_PASSPHRASE_BYTES = 1024
"""The longest pass phrase taken: OpenSSL's PEM_BUFSIZE, so whatever the C tools can type fits."""

TERMINAL = "/dev/tty"


def ask_passphrase(prompt: str, *, from_stdin: bool = False) -> Passphrase:
    """Ask for a pass phrase once.

    Args:
        prompt: What the terminal shows, as the C tools write it ("Enter GRID pass phrase:"), without a blank behind it.
        from_stdin: Read the next line of standard input instead, without showing the prompt. Only that line is
            consumed: a second call reads the next one.

    Returns:
        The pass phrase without its line end; may be empty.

    Raises:
        CredentialError: NEEDS_PASSPHRASE when there is no terminal or the input ends first; WRONG_PASSPHRASE when
            it is longer than `MAX_PASSPHRASE_BYTES`.
    """
    if from_stdin:
        return read_line(0, "standard input")
    try:
        terminal = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise CredentialError(
            "a pass phrase is needed, but there is no terminal to ask on",
            problem=CredentialProblem.NEEDS_PASSPHRASE,
            hint="give it on standard input with -pwstdin",
        ) from error
    try:
        return _ask_terminal(terminal, prompt)
    finally:
        os.close(terminal)


def ask_new_passphrase(prompt: str, *, minimum: int = 0, from_stdin: bool = False) -> Passphrase:
    """Ask for a new pass phrase twice (once from standard input) and check that both are the same.

    Args:
        prompt: As for `ask_passphrase`.
        minimum: The least number of bytes.
        from_stdin: Read one line of standard input.

    Raises:
        CredentialError: As `ask_passphrase`; WRONG_PASSPHRASE when the two differ or it is too short.
    """
    passphrase = ask_passphrase(prompt, from_stdin=from_stdin)
    if len(passphrase) < minimum:
        raise CredentialError(
            f"the pass phrase is shorter than {minimum} bytes", problem=CredentialProblem.WRONG_PASSPHRASE
        )
    if not from_stdin and ask_passphrase(f"Verifying - {prompt}") != passphrase:
        raise CredentialError("the two pass phrases differ", problem=CredentialProblem.WRONG_PASSPHRASE)
    return passphrase


def _ask_terminal(terminal: int, prompt: str) -> Passphrase:
    """Show the prompt and read one line with echo off; the terminal is put back whatever happens."""
    import termios

    before = termios.tcgetattr(terminal)
    quiet = termios.tcgetattr(terminal)
    quiet[3] &= ~termios.ECHO
    quiet[3] |= termios.ECHONL
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, quiet)
        os.write(terminal, prompt.encode())
        return read_line(terminal, "the terminal")
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


def read_line(descriptor: int, source: str) -> Passphrase:
    """Read a pass phrase up to a line end, byte by byte: what follows on standard input belongs to the next reader.

    Args:
        descriptor: Where from; it stays open.
        source: What it is, for the error text.

    Raises:
        CredentialError: As `ask_passphrase`.
    """
    line = bytearray()
    while len(line) <= MAX_PASSPHRASE_BYTES:
        try:
            byte = os.read(descriptor, 1)
        except OSError as error:
            raise _no_passphrase(source) from error
        if byte == b"\n" or (not byte and line):
            return Passphrase(bytes(line))
        if not byte:
            raise _no_passphrase(source)
        line += byte
    raise CredentialError(
        f"the pass phrase from {source} is longer than {MAX_PASSPHRASE_BYTES} bytes",
        problem=CredentialProblem.WRONG_PASSPHRASE,
    )


def _no_passphrase(source: str) -> CredentialError:
    return CredentialError(f"{source} ended before a pass phrase was given", problem=CredentialProblem.NEEDS_PASSPHRASE)
