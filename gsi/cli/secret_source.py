"""Where a command takes a pass phrase from when not from the terminal: `file:PATH`, `fd:NUMBER` or `stdin`.

    section.value("-passin", metavar="SOURCE", convert=secret_source, text=...)     # gsi.cli.arguments
    passphrase = read_secret(arguments.passin, "Enter pass phrase:", option="-passin")

The spellings are those of `openssl`, without `pass:` and `env:`: what stands on a command line or in the environment
can be read by others. A file must be the user's own with a mode of at most 0600, and its first line counts; where the
same file serves for two pass phrases, the second line is the second one, as in `openssl`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gsi.errors import CredentialError, CredentialProblem

if TYPE_CHECKING:
    from gsi.secret import Passphrase

__all__ = ["SecretSource", "parse_secret_source", "read_new_secret", "read_secret"]

_MAX_FILE_BYTES = 4096
"""Two pass phrases of the longest kind (`gsi.cli.prompt.MAX_PASSPHRASE_BYTES`), each with its line end, and more."""
_MAX_DESCRIPTOR_DIGITS = 6


class SecretSource(NamedTuple):
    """A place to read a pass phrase from, as parsed from an option's value.

    Attributes:
        kind: `file`, `fd` or `stdin`.
        place: The path, the descriptor's number, or nothing.
    """

    kind: str
    place: str = ""

    def __str__(self) -> str:
        return self.kind if self.kind == "stdin" else f"{self.kind}:{self.place}"


def parse_secret_source(text: str) -> SecretSource:
    """Convert an option's value.

    Raises:
        ValueError: Not such a source; the message never repeats the text, which may be a pass phrase.
    """
    kind, colon, place = text.partition(":")
    if text == "stdin":
        return SecretSource("stdin")
    if kind == "file" and place:
        return SecretSource("file", place)
    if kind == "fd" and place.isascii() and place.isdigit() and len(place) <= _MAX_DESCRIPTOR_DIGITS:
        return SecretSource("fd", place)
    if kind in {"pass", "env"} and colon:
        where = "on the command line" if kind == "pass" else "in the environment"
        raise ValueError(f"a pass phrase {where} can be read by others; give it as file:PATH, fd:NUMBER or stdin")
    raise ValueError("needs file:PATH, fd:NUMBER or stdin")


def read_secret(source: SecretSource | None, prompt: str, *, option: str, line: int = 1) -> Passphrase:
    """Read a pass phrase.

    Args:
        source: Where from; None asks on the terminal.
        prompt: What the terminal shows.
        option: The option that names another source, for the hint where there is no terminal.
        line: Which line of a file; standard input and descriptors give their next one.

    Raises:
        CredentialError: NEEDS_PASSPHRASE when there is none; MISSING or UNSAFE_FILE for a file; WRONG_PASSPHRASE when
            it is too long.
    """
    from gsi.cli.prompt import ask_passphrase, read_line

    try:
        if source is None:
            return ask_passphrase(prompt)
        if source.kind == "stdin":
            return ask_passphrase(prompt, from_stdin=True)
        if source.kind == "fd":
            return read_line(int(source.place), f"file descriptor {source.place}")
    except CredentialError as error:
        raise _with_hint(error, source, option) from error.__cause__
    return _read_file(source.place, line)


def read_new_secret(
    source: SecretSource | None, prompt: str, *, option: str, line: int = 1, minimum: int = 0
) -> Passphrase:
    """Read a new pass phrase; on the terminal twice, and both must be the same.

    Args:
        source: As for `read_secret`.
        prompt: As for `read_secret`.
        option: As for `read_secret`.
        line: As for `read_secret`.
        minimum: The least number of bytes.

    Raises:
        CredentialError: As `read_secret`; WRONG_PASSPHRASE when the two differ or it is too short.
    """
    from gsi.cli.prompt import ask_new_passphrase

    if source is None:
        try:
            return ask_new_passphrase(prompt, minimum=minimum)
        except CredentialError as error:
            raise _with_hint(error, source, option) from error.__cause__
    passphrase = read_secret(source, prompt, option=option, line=line)
    if len(passphrase) < minimum:
        raise CredentialError(
            f"the pass phrase is shorter than {minimum} bytes", problem=CredentialProblem.WRONG_PASSPHRASE
        )
    return passphrase


def _with_hint(error: CredentialError, source: SecretSource | None, option: str) -> CredentialError:
    """Say what to do where there is no terminal, or too few lines."""
    if error.problem is CredentialProblem.NEEDS_PASSPHRASE:
        error.hint = (
            f"give it with {option} file:PATH, fd:NUMBER or stdin"
            if source is None
            else "write each pass phrase there on a line of its own, in the order in which they are asked for"
        )
    return error


def _read_file(path: str, line: int) -> Passphrase:
    from gsi.cli.prompt import MAX_PASSPHRASE_BYTES
    from gsi.errors import ParseError
    from gsi.secret import Passphrase
    from gsi.system.files import read_private

    try:
        lines = read_private(path, max_bytes=_MAX_FILE_BYTES).split(b"\n")
    except ParseError as error:
        raise CredentialError(
            f"{path}: longer than {_MAX_FILE_BYTES} bytes: no file with a pass phrase",
            problem=CredentialProblem.WRONG_PASSPHRASE,
            path=path,
        ) from error
    # What follows the last line end is no line.
    found = lines[line - 1] if line <= len(lines) and (lines[line - 1] or line < len(lines)) else None
    if found is None:
        raise CredentialError(
            f"{path}: there is no line {line} with a pass phrase in it",
            problem=CredentialProblem.NEEDS_PASSPHRASE,
            path=path,
        )
    found = found.removesuffix(b"\r")
    if len(found) > MAX_PASSPHRASE_BYTES:
        raise CredentialError(
            f"{path}: the pass phrase is longer than {MAX_PASSPHRASE_BYTES} bytes",
            problem=CredentialProblem.WRONG_PASSPHRASE,
            path=path,
        )
    return Passphrase(found)
