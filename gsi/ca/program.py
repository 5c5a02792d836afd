"""Running a site's own programs (checkers, signers, issuers): bounded in time and output, without a shell.

    answer = run_program(("/usr/local/bin/check",), stdin=pem)
    issuer = Issuer(..., certificate_checkers=[ProgramChecker(("/usr/local/bin/check",))])

The program gets the bytes on standard input and answers on standard output with exit status 0. Anything else (another
status, a signal, too much output, too much time) is a no; the first words of standard error go into the message. It
runs in a process group of its own, which is killed as a whole when its time is up.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, IssuanceError, IssuanceStep, TimeoutExpiredError, TransportError
from gsi.pem import encode_pem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from gsi.ca.grant import Grant
    from gsi.ca.request import CertificateRequest
    from gsi.certificate import Certificate

__all__ = [
    "MAX_ANSWER_BYTES",
    "PROGRAM_SECONDS",
    "ProgramChecker",
    "ProgramStatusError",
    "run_program",
    "split_command",
]

PROGRAM_SECONDS: Final = 30.0  # a token on a slow bus takes one; clients wait two minutes
MAX_ANSWER_BYTES: Final = 64 << 10  # a certificate with its text form takes 10 kB
_MAX_WORDS_BYTES: Final = 4 << 10  # of standard error, the first of which are told
_TOLD_CHARACTERS: Final = 500
_CHUNK: Final = 16 << 10


class ProgramStatusError(TransportError):
    """A program ended by itself, with a status other than 0.

    Attributes:
        status: The status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


def split_command(text: str) -> tuple[str, ...]:
    """Return the words of a command line, quoted as in a shell but expanded by none.

    Raises:
        ConfigError: It is empty or a quote is not closed, or the program is not named by its whole path.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"the command line {text!r} cannot be read: {error}") from error
    if not words or not words[0].startswith("/"):
        raise ConfigError(f"the program {text!r} must be named by its whole path")
    return words


def run_program(
    argv: Sequence[str],
    *,
    stdin: bytes,
    seconds: float = PROGRAM_SECONDS,
    max_bytes: int = MAX_ANSWER_BYTES,
) -> bytes:
    """Run a program and return what it wrote to standard output.

    Args:
        argv: The program by its whole path, and its arguments.
        stdin: What it reads. A program need not read all of it.
        seconds: How long it may take.
        max_bytes: The most that it may answer.

    Raises:
        ProgramStatusError: It ended with another status than 0.
        TransportError: It could not be started, was killed, or answered too much.
        TimeoutExpiredError: It took too long.
    """
    deadline = time.monotonic() + seconds
    name = argv[0]
    try:
        process = subprocess.Popen(  # noqa: S603  an administrator's program, no shell
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
    except (OSError, ValueError) as error:
        raise TransportError(f"{name}: cannot be run: {error}") from error
    try:
        answer, words = _converse(process, stdin, deadline, max_bytes)
        left = deadline - time.monotonic()
        status = process.wait(timeout=max(left, 0.1))
    except subprocess.TimeoutExpired as error:
        raise TimeoutExpiredError(f"{name}: did not end within {seconds:g} seconds") from error
    except _TooMuchError as error:
        raise TransportError(f"{name}: answered more than {max_bytes} bytes") from error
    finally:
        _end(process)
    if status != 0:
        told = words.decode("utf-8", "replace").strip()[:_TOLD_CHARACTERS]
        how = f"ended with status {status}" if status > 0 else f"was killed by signal {-status}"
        message = f"{name}: {how}" + (f": {told}" if told else "")
        raise ProgramStatusError(message, status=status) if status > 0 else TransportError(message)
    return answer


class _TooMuchError(Exception):
    """The program wrote more than it may."""


def _converse(process: subprocess.Popen[bytes], stdin: bytes, deadline: float, max_bytes: int) -> tuple[bytes, bytes]:
    """Feed standard input and gather the two outputs until both are closed; of the second the beginning is kept."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    gathered = {process.stdout: bytearray(), process.stderr: bytearray()}
    left = memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        os.set_blocking(process.stdin.fileno(), False)
        for stream in gathered:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            seconds = deadline - time.monotonic()
            ready = selector.select(seconds) if seconds > 0 else []
            if not ready:
                raise subprocess.TimeoutExpired(process.args, 0)
            for key, _ in ready:
                if key.fileobj is process.stdin:
                    left = _feed(process.stdin, left)
                    if not left:
                        selector.unregister(process.stdin)
                        _close(process.stdin)
                    continue
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    gathered[process.stdout] += chunk
                    if len(gathered[process.stdout]) > max_bytes:
                        raise _TooMuchError
                else:
                    words = gathered[process.stderr]
                    words += chunk[: _MAX_WORDS_BYTES - len(words)]
    return bytes(gathered[process.stdout]), bytes(gathered[process.stderr])


def _feed(stream: IO[bytes], left: memoryview) -> memoryview:
    try:
        return left[os.write(stream.fileno(), left[:_CHUNK]) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:
        return left[:0]  # it wants no more; its status will tell whether that is well


def _close(stream: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing behind of a program that did not end by itself."""
    if process.returncode is None:  # not waited for yet, so that its number cannot be another's by now
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            _close(stream)


class ProgramChecker:
    """A site's program that looks at a certificate or request in PEM and accepts it with exit status 0.

    May stand among the `certificate_checkers` and the `request_checkers` of an `Issuer`. A request without PKCS#10 (a
    bare key) is refused, because there is nothing to show.
    """

    __slots__ = ("_argv", "_seconds")

    def __init__(self, argv: Sequence[str], *, seconds: float = PROGRAM_SECONDS) -> None:
        """Name the program.

        Args:
            argv: Its whole path, and arguments.
            seconds: How long it may take.
        """
        self._argv = tuple(argv)
        self._seconds = seconds

    def __call__(self, subject: Certificate | CertificateRequest, grant: Grant | None = None) -> None:
        """Ask the program.

        Raises:
            IssuanceError: CHECK: it says no.
        """
        del grant  # the program judges what it is shown
        der = subject.der
        if der is None:
            raise IssuanceError("a bare key cannot be shown to a request checker", step=IssuanceStep.REQUEST)
        label = "CERTIFICATE" if hasattr(subject, "issuer_der") else "CERTIFICATE REQUEST"
        try:
            run_program(self._argv, stdin=encode_pem(label, der), seconds=self._seconds)
        except TransportError as error:
            raise IssuanceError(f"the checker says no: {error.message}", step=IssuanceStep.CHECK) from error
