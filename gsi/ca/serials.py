"""Serial numbers: random ones, and a counter in a file as the C tools keep it; knows no certificate.

    serial = random_serial()
    serial = SerialFile("/var/lib/globus/simple_ca/serial")()

Random is the default: nobody can foretell what is signed next, nothing must be kept or locked, and several nodes never
meet. The counter is there for sites whose books rely on it. Its file is OpenSSL's: one line of hexadecimal digits, an
even count, the number that is given out next.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

from gsi.errors import CredentialError, CredentialProblem, IssuanceError, IssuanceStep, ParseError
from gsi.system.files import FileLock, read_public, write_public

__all__ = ["MAX_SERIAL", "SerialFile", "random_serial"]

SERIAL_BITS: Final = 159  # RFC 5280 section 4.1.2.2: at most 20 octets, and positive
MAX_SERIAL: Final = (1 << SERIAL_BITS) - 1
_MAX_FILE_BYTES: Final = 256  # 40 digits and a line end


def random_serial() -> int:
    """Return a random positive serial number of 20 octets at most, as x509.random_serial_number of pyca does."""
    while True:
        serial = secrets.randbits(SERIAL_BITS)
        if serial > 1 << 64:  # a small one would pass for a counter's; one try in 2^95 comes here again
            return serial


class SerialFile:
    """A counter in a file, safe between threads and processes. Call it for the next number.

    A number is on the disk as used before it is returned, so that a crash skips one and never gives one twice. The lock
    is the file beside it with `.lock` at its end.
    """

    __slots__ = ("_path", "_start", "_step")

    def __init__(self, path: str, *, start: int | None = None, step: int = 1) -> None:
        """Name the file.

        Args:
            path: The file.
            start: The first number when there is no file yet; None makes a missing file an error.
            step: What is added each time; several counters with one step and different starts never meet.
        """
        self._path = path
        self._start = start
        self._step = step

    def __call__(self) -> int:
        """Return the next number.

        Raises:
            IssuanceError: SERIAL: the file is missing, malformed, used up or cannot be written.
        """
        try:
            with FileLock(f"{self._path}.lock"):
                serial = self._read()
                if not 0 < serial <= MAX_SERIAL:
                    raise ParseError(f"{self._path}: {serial:#x} is no serial number", what="serial number")
                write_public(self._path, encode_serial(serial + self._step), mode=0o600)
        except (CredentialError, ParseError) as error:
            raise IssuanceError(
                f"no serial number: {error.message}",
                step=IssuanceStep.SERIAL,
                hint=error.hint or "the file holds one hexadecimal number, the next one: 01",
            ) from error
        return serial

    def peek(self) -> int:
        """Return the number that comes next without using it.

        Raises:
            CredentialError: MISSING or UNSAFE_FILE.
            ParseError: The file is malformed.
        """
        return self._read()

    def _read(self) -> int:
        try:
            data = read_public(self._path, max_bytes=_MAX_FILE_BYTES)
        except CredentialError as error:
            if error.problem is CredentialProblem.MISSING and self._start is not None:
                return self._start
            raise
        if not re.fullmatch(rb"\s*[0-9A-Fa-f]+\s*", data):
            raise ParseError(f"{self._path}: not a hexadecimal number", what="serial number")
        return int(data, 16)


def encode_serial(serial: int) -> bytes:
    """Return a number as OpenSSL's serial file holds it: upper-case hex, an even count of digits, a line feed."""
    text = f"{serial:X}"
    return f"{'0' * (len(text) % 2)}{text}\n".encode()
