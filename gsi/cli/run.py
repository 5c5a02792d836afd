"""The one place where errors become messages and exit codes; commands raise, they never print errors or exit.

    def main(argv: Sequence[str] | None = None) -> int:
        return run(build_parser, _execute, argv, short_lived=True)

    def _execute(arguments: Namespace) -> int:
        ...                                    # returns the exit status, raises GridError

What the user sees, always on standard error:

    grid-proxy-init: error: /home/a/.globus/userkey.pem: readable by others (mode 0644)
    hint: chmod 600 /home/a/.globus/userkey.pem

Exit codes: 0 done; 1 any error, a bad command line included (as the C tools); other numbers only where a command passes
`exit_code`; 130 after an interrupt, and 128 plus the signal's number after another that ends the program; 141 when the
reader of our output went away; 70 for an error inside the program.
With -debug the chain of causes follows. Text from outside (names, files, a server's words) is shown with its control
characters escaped, so that it cannot drive the terminal.
"""

from __future__ import annotations

import codecs
import gc
import sys
from typing import TYPE_CHECKING, TextIO

from gsi.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsi.cli.arguments import CommandParser, Namespace

__all__ = [
    "EXIT_BROKEN_PIPE",
    "EXIT_ERROR",
    "EXIT_INTERNAL",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "printable",
    "report",
    "run",
    "warn",
]

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_INTERNAL = 70
"""A defect of ours (EX_SOFTWARE of sysexits.h), told apart from every answer of a command."""
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""
EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE, as a shell reports it for a program killed by it."""


_EXTRA_OF_PACKAGE = {
    "alembic": "server",
    "flask": "portal",
    "gssapi": "kerberos",
    "gunicorn": "portal",
    "ldap": "ldap",
    "lxml": "saml",
    "pam": "pam",
    "pkcs11": "hsm",
    "psycopg": "postgres",
    "signxml": "saml",
    "sqlalchemy": "server",
}
"""Which extra of the distribution brings a package that some commands need."""


def run(
    parser_factory: Callable[[], CommandParser],
    body: Callable[[Namespace], int],
    argv: Sequence[str] | None = None,
    *,
    exit_code: Callable[[GridError], int] = lambda _error: EXIT_ERROR,
    short_lived: bool = False,
) -> int:
    """Parse the command line, run the body, and turn whatever happens into an exit status.

    Args:
        parser_factory: Makes the command's parser.
        body: Does the work and returns the exit status; may raise.
        argv: The arguments without the program's name; by default those of the process.
        exit_code: The status for an error, where the command has more than 1.
        short_lived: The command ends within seconds, so that nothing is gained by collecting garbage: with
            cryptography loaded, the collections at start and exit take a quarter of the whole time. SIGTERM and
            SIGHUP then end it as an interrupt does: half-written files go, the terminal is put back. Without effect
            when `argv` is given, because the process is then somebody else's.

    Returns:
        The exit status; never raises.
    """
    uncollected = short_lived and argv is None
    if uncollected:
        gc.disable()
        _end_orderly_on_signals()
    _prepare_streams()
    parser = parser_factory()
    arguments: Namespace | None = None
    try:
        arguments = parser.parse_args(argv)
        status = body(arguments)
    except GridError as error:
        report(parser.prog, error, debug=_wants_debug(arguments))
        status = exit_code(error)
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{parser.prog}: interrupted\n")
        status = EXIT_INTERRUPTED
    except BrokenPipeError:
        status = EXIT_BROKEN_PIPE
    except SystemExit as stop:  # -help and -version, or a signal
        status = stop.code if isinstance(stop.code, int) else EXIT_OK
    except ModuleNotFoundError as error:
        status = _report_missing_module(parser.prog, error, debug=_wants_debug(arguments))
    except Exception as error:  # noqa: BLE001  the last door: a traceback is no answer to a user
        status = _report_unexpected(parser.prog, error, debug=_wants_debug(arguments))
    status = _close_output(parser.prog, status)
    if uncollected:
        gc.freeze()  # what is alive now needs no search for cycles at exit
    return status


def _end_orderly_on_signals() -> None:
    """Make SIGTERM and SIGHUP raise SystemExit, unless whoever started the process has them ignored (nohup)."""
    # The public module makes enumerations of all numbers, which takes longer than all else in this file.
    import _signal  # type: ignore[import-not-found]  # typeshed knows the public module only

    numbers = (_signal.SIGTERM, _signal.SIGHUP)

    def stop(number: int, _frame: object) -> None:
        for each in numbers:  # a session's end brings both; the second must not disturb the tidying up
            _signal.signal(each, _signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in numbers:
        if _signal.getsignal(number) == _signal.SIG_DFL:
            _signal.signal(number, stop)


def report(prog: str, error: GridError, *, debug: bool = False) -> None:
    """Print an error and its hint (its own or a general one) to standard error; with `debug` its causes first."""
    from gsi.cli.hints import find_hint

    if debug:
        _print_traceback(error)
    sys.stderr.write(f"{prog}: error: {printable(error.message)}\n")
    hint = find_hint(error)
    if hint:
        sys.stderr.write(f"hint: {printable(hint)}\n")


def warn(prog: str, message: str, *, hint: str | None = None) -> None:
    """Print a warning to standard error. Warnings are shown in quiet mode too."""
    sys.stderr.write(f"{prog}: warning: {printable(message)}\n")
    if hint:
        sys.stderr.write(f"hint: {printable(hint)}\n")


def printable(text: str) -> str:
    r"""Escape control characters as `\xHH` or `\uHHHH`, so that foreign text cannot drive the terminal.

    A line feed stays, with the next line indented, so that no foreign line can look like one of ours.
    """
    if text.isprintable():
        return text
    return "".join(_printable_character(character) for character in text.rstrip("\n"))


def _printable_character(character: str) -> str:
    if character.isprintable():
        return character
    if character == "\n":
        return "\n    "
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _wants_debug(arguments: Namespace | None) -> bool:
    return arguments is not None and bool(getattr(arguments, "debug", False))


def _report_missing_module(prog: str, error: ModuleNotFoundError, *, debug: bool) -> int:
    """Say which extra brings a package that is not installed; any other missing module is a defect of ours."""
    package = (error.name or "").partition(".")[0]
    extra = _EXTRA_OF_PACKAGE.get(package)
    if extra is None:
        return _report_unexpected(prog, error, debug=debug)
    sys.stderr.write(f"{prog}: error: the Python package {package} is not installed\n")
    sys.stderr.write(f"hint: pip install 'gsi-toolkit[{extra}]'\n")
    return EXIT_ERROR


def _report_unexpected(prog: str, error: Exception, *, debug: bool) -> int:
    """Report an exception that the library should have turned into a GridError."""
    if debug:
        _print_traceback(error)
    if isinstance(error, OSError):
        where = "" if error.filename is None else f"{error.filename}: "
        sys.stderr.write(f"{prog}: error: {printable(where + (error.strerror or str(error)))}\n")
        return EXIT_ERROR
    sys.stderr.write(f"{prog}: internal error: {type(error).__name__}: {printable(str(error))}\n")
    if not debug:
        sys.stderr.write("hint: -debug shows where; please report it with that output\n")
    return EXIT_INTERNAL


def _print_traceback(error: BaseException) -> None:
    import traceback

    text = "".join(traceback.format_exception(error))  # with names and bytes from outside in its messages
    sys.stderr.write("".join(f"{printable(line)}\n" for line in text.rstrip("\n").split("\n")))


def _prepare_streams() -> None:
    """Make the standard streams usable for whatever is read and printed.

    A closed one becomes /dev/null, lest the next file opened (a key, perhaps) take its place. File names are shown
    byte for byte on standard output, and what the terminal's encoding cannot show is escaped.
    """
    for name, descriptor in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _open_null(descriptor))
        elif name == "stdout" and hasattr(stream, "reconfigure"):
            codecs.register_error("gsi-cli", _encode_anyway)
            stream.reconfigure(errors="gsi-cli")


def _open_null(descriptor: int) -> TextIO:
    import os

    null = os.open(os.devnull, os.O_RDWR)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
    return open(descriptor, "r" if descriptor == 0 else "w", encoding="utf-8", closefd=False)


def _encode_anyway(error: UnicodeError) -> tuple[str | bytes, int]:
    """Give bytes that were never text back as they were; escape characters that the encoding does not have."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _close_output(prog: str, status: int) -> int:
    """Flush standard output; what cannot be written must not be taken for success.

    A full device or a closed pipe shows only now, and the interpreter's own flush at exit would print a traceback.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return EXIT_BROKEN_PIPE
    except (OSError, ValueError) as error:
        _discard_output()
        why = getattr(error, "strerror", None) or str(error)
        sys.stderr.write(f"{prog}: error: cannot write to standard output: {printable(why)}\n")
        return status or EXIT_ERROR
    return status


def _discard_output() -> None:
    """Point standard output at /dev/null, so that the flush at exit has somewhere to go."""
    import os

    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass
