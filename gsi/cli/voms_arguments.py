"""What the command lines of the voms-proxy-* tools share: options from files (-conf), who asks, which servers.

    parser = VOMSParser("voms-proxy-info", "show a proxy with its VOMS attributes")
    add_conf(parser.section("How it runs"))

Loaded for every help text, so it imports nothing heavy. Must agree with voms: src/common/options.cc (OPT_CONFIG).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, Section, UsageError, count
from gsi.cli.run import EXIT_ERROR, printable
from gsi.errors import CredentialError, CredentialProblem, GridError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = [
    "EXIT_LOCKED",
    "MAX_OPTIONS_BYTES",
    "VOMSParser",
    "add_conf",
    "add_server_options",
    "add_user_options",
    "exit_code",
    "one_line",
]

EXIT_LOCKED: Final = 3
"""The private key could not be opened, as in the C tool; every other error is 1."""

MAX_OPTIONS_BYTES: Final = 64 << 10
"""A file of options holds a dozen lines."""

_CONF: Final = frozenset({"-conf", "--conf"})


class VOMSParser(CommandParser):
    """A command line that may name files with further options; they count where `-conf` stands."""

    version_to_stdout = True  # as in C and in Java

    def parse_known_args(  # type: ignore[override]  # argparse's is overloaded by the kind of namespace
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """Parse, with each `-conf FILE` replaced by what is in the file."""
        if args is None:
            import sys

            args = sys.argv[1:]
        return super().parse_known_args(_expand(list(args)), namespace)


def _expand(words: list[str]) -> list[str]:
    found: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            return [*found, word, *words]
        name, equals, value = word.partition("=")
        if name not in _CONF:
            found.append(word)
            continue
        if not equals:
            if not words:
                raise UsageError("argument -conf: expected one argument", hint="-conf FILE")
            value = words.pop(0)
        found += _read_options(value)
    return found


def _read_options(path: str) -> list[str]:
    """Return the words of a file of options: `-name`, `-name=value` or `-name value` on each line, `#` for remarks.

    Raises:
        GridError: The file cannot be read, a quotation mark is left open, or it names another such file.
    """
    import shlex

    from gsi.system.files import read_public

    text = read_public(path, max_bytes=MAX_OPTIONS_BYTES).decode("utf-8", "surrogateescape")
    found: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found += shlex.split(line, comments=True)
        except ValueError as error:
            raise UsageError(f"{path}:{number}: {error}") from error
    if any(word.partition("=")[0] in _CONF for word in found):
        raise UsageError(f"{path}: a file of options cannot name another one with -conf")
    return found


def add_conf(section: Section) -> None:
    """Add `-conf`, which is taken out of the command line before it is parsed."""
    section.value(
        "-conf",
        metavar="FILE",
        completion=Completion.FILE,
        text="read options from FILE, one on each line: -name, -name=value or -name value",
    )


def add_user_options(section: Section) -> None:
    """Add the options that say who asks: certificate, key, trust directory, pass phrase."""
    section.value(
        "-cert",
        metavar="FILE",
        completion=Completion.FILE,
        text="the user certificate; *.p12 means PKCS#12 with the key",
    )
    section.value("-key", "-k", metavar="FILE", completion=Completion.FILE, text="the user's private key")
    section.value("-certdir", metavar="DIR", completion=Completion.DIRECTORY, text="the trust directory")
    section.flag("-noregen", "-n", text="ask and sign with the proxy that is there, without the user's key")
    section.flag("-pwstdin", text="read the pass phrase from standard input")


def add_server_options(section: Section) -> None:
    """Add the options that say which servers are asked, and how."""
    section.value(
        "-vomses",
        "-userconf",
        "-confile",
        metavar="FILE",
        completion=Completion.FILE,
        repeatable=True,
        text="file or directory with the places of VOMS servers, in place of the usual ones; may be repeated",
    )
    section.value(
        "-timeout",
        metavar="SECONDS",
        convert=_timeout,
        text="how long to try to reach a server (default 60; -1: 600)",
    )
    section.flag("-enable_legacy_protocol", text="no effect: both protocols are tried anyway (Java tool)")
    section.flag("-skip_hostname_checks", text="no effect: a server must have the name in the vomses file (Java tool)")
    section.value("-globus", metavar="VERSION", text="no effect (C tool)")


_LONGEST_TIMEOUT: Final = 600


def _timeout(text: str) -> float:
    return float(_LONGEST_TIMEOUT if text == "-1" else count(text, minimum=1, maximum=_LONGEST_TIMEOUT))


def one_line(text: str) -> str:
    """Return a text from outside as one line for the terminal; attributes that nobody vouches for may hold anything."""
    return printable(text.replace("\n", "\\n"))


def exit_code(error: GridError) -> int:
    """Return the exit status for an error."""
    locked = {CredentialProblem.WRONG_PASSPHRASE, CredentialProblem.NEEDS_PASSPHRASE, CredentialProblem.KEY_MISMATCH}
    return EXIT_LOCKED if isinstance(error, CredentialError) and error.problem in locked else EXIT_ERROR
