"""Command lines in the manner of getopt_long, as the C MyProxy programs read them; not what an option means.

    parser = LongOptionParser("myproxy-logon", "receive a credential from a MyProxy server")
    section = parser.section("Which credential")
    section.value("-l", "--username", dest="username", metavar="NAME", text="...")
    arguments = parser.parse_args(["-Slalice", "--proxy_life=3"])
    arguments.given                        # (("stdin_pass", None), ("username", "alice"), ("proxy_lifetime", "3"))

Unlike the grid-proxy commands: long names need two dashes and may be shortened while they stay unique, single letters
may be joined (`-Sl alice`), a value may begin with a dash, and there are no operands. A flag of our own servers may
have a word behind one dash as well (`-check`), as all servers here. `given` keeps the order, for options that change
the ones after them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from gsi._version import __version__
from gsi.cli.arguments import CommandParser, Completion, OptionSpec, Section, UsageError, count
from gsi.cli.secret_source import parse_secret_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from gsi.cli.arguments import Namespace

__all__ = [
    "LongOptionParser",
    "add_address_options",
    "add_config_option",
    "add_passphrase_options",
    "add_proof_options",
    "add_server_options",
    "add_service_options",
    "filled",
    "hours",
]

PROTOCOL = "MYPROXYv2"
MAX_HOURS = 596523
"""The protocol carries seconds in 31 bits."""


class LongOptionParser(CommandParser):
    """The command line of one MyProxy program.

    `-h`, `-u`, `-v` and `-V` mean the same in all of them: help, usage, verbose, version.
    """

    spelling_note = (
        "Long options take two dashes and may be shortened while they stay unique; their value follows after a blank "
        "or an equals sign. Letters may be joined, as in `-Sl` *name*."
    )

    def spellings(self, spec: OptionSpec) -> list[str]:
        """Return every way to write an option in full."""
        return list(spec.names)

    def __init__(self, prog: str, summary: str, *, usage: Sequence[str] = ("[options]",)) -> None:
        super().__init__(prog, summary, usage=usage)
        self._general = Section(self, "General")
        self._general.flag("-v", "--verbose", dest="debug", text="say what happens, and explain errors")
        for letter, name, text in (
            ("-h", "--help", "print this help and exit"),
            ("-u", "--usage", "the same"),
            ("-V", "--version", "print the version and exit"),
        ):
            self._general.specs.append(OptionSpec((letter, name), None, text))

    def parse_args(  # type: ignore[override]  # argparse's overloads for a foreign namespace class are not used
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> Namespace:
        """Read the command line.

        Raises:
            UsageError: It does not follow the grammar.
            SystemExit: After --help, --usage or --version.
        """
        given: list[tuple[str, str | None]] = []
        for name, value in self._read(list(sys.argv[1:] if args is None else args)):
            given.append((name, value))
            if name in ("help", "usage"):  # at once, as in C: so -help is -h, whatever the other letters are
                sys.stdout.write(self.format_help())
                sys.exit(0)
            if name == "version":
                sys.stdout.write(f"{self.prog} version {PROTOCOL} (gsi-toolkit {__version__})\n")
                sys.exit(0)
        words = [f"--{name}" if value is None else f"--{name}={value}" for name, value in given]
        arguments = super().parse_args(words, namespace)
        arguments.given = tuple(given)
        return arguments

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UsageError: Always.
        """
        try:
            super().error(message)
        except UsageError as error:
            raise UsageError(error.message, hint=f"'{self.prog} --help' lists the options") from None

    def format_help(self) -> str:
        """Return the help text."""
        text, _, _ = super().format_help().rpartition("\nOptions may be written")
        return f"{text}\nLong options may be shortened. See also: man {self.prog}\n"

    def _specs(self) -> Iterator[OptionSpec]:
        for section in self.all_sections:
            yield from section.specs

    def _read(self, words: list[str]) -> Iterator[tuple[str, str | None]]:
        """Give each option as its long name and its value, None for a flag."""
        short = {name[1]: spec for spec in self._specs() for name in spec.names if len(name) == 2}
        whole = {name: spec for spec in self._specs() for name in spec.names if _is_whole(name)}
        long = {name[2:]: spec for spec in self._specs() for name in spec.names if name.startswith("--")}
        position = 0
        while position < len(words):
            word = words[position]
            position += 1
            if word.startswith("--") and word != "--":
                name, equals, value = word[2:].partition("=")
                spec = self._find_long(name, long)
                if spec.metavar is None and equals:
                    self.error(f"option '--{name}' doesn't allow an argument")
                if spec.metavar is not None and not equals:
                    if position == len(words):
                        self.error(f"option '--{name}' requires an argument")
                    value = words[position]
                    position += 1
                yield _long_name(spec), None if spec.metavar is None else value
            elif word in whole:
                spec = whole[word]
                if spec.metavar is None:
                    yield _long_name(spec), None
                    continue
                if position == len(words):
                    self.error(f"option '{word}' requires an argument")
                yield _long_name(spec), words[position]
                position += 1
            elif word.startswith("-") and word not in ("-", "--"):
                letters = word[1:]
                while letters:
                    letter, letters = letters[0], letters[1:]
                    if letter not in short:
                        self.error(f"invalid option -- '{letter}'")
                    spec = short[letter]
                    if spec.metavar is None:
                        yield _long_name(spec), None
                        continue
                    if not letters and position == len(words):
                        self.error(f"option requires an argument -- '{letter}'")
                    if not letters:
                        letters = words[position]
                        position += 1
                    yield _long_name(spec), letters
                    letters = ""
            else:
                self.error(f"'{word}' is no option, and operands are not taken")

    def _find_long(self, name: str, long: dict[str, OptionSpec]) -> OptionSpec:
        """Find the option that a name or its beginning stands for."""
        if name in long:
            return long[name]
        found = [full for full in long if full.startswith(name)]
        if not found:
            self.error(f"unrecognized option '--{name}'")
        if len({id(long[full]) for full in found}) > 1:
            self.error(f"option '--{name}' is ambiguous: {', '.join(f'--{full}' for full in found)}")
        return long[found[0]]


def _long_name(spec: OptionSpec) -> str:
    """The name that argparse is given; every option has a long one or is registered by its letter too."""
    return next((name[2:] for name in spec.names if name.startswith("--")), spec.names[0][1:])


def _is_whole(name: str) -> bool:
    """Say whether an option's name is a word behind one dash, which is not read letter by letter."""
    return len(name) > 2 and not name.startswith("--")


def add_server_options(parser: LongOptionParser) -> None:
    """Add -s and -p, which all clients have."""
    section = parser.section("Which server")
    section.value(
        "-s",
        "--pshost",
        dest="pshost",
        metavar="HOST[:PORT],...",
        convert=filled,
        text="the server, or several to try in turn (default: $MYPROXY_SERVER); [::1]:7512 for an IPv6 address",
    )
    section.value(
        "-p",
        "--psport",
        dest="psport",
        metavar="PORT",
        convert=filled,
        text="its port (default: $MYPROXY_SERVER_PORT, else 7512)",
    )


def filled(text: str) -> str:
    """Refuse an empty value, for `Section.value(convert=...)`: most likely a variable of a script's that is not set.

    Raises:
        ValueError: It is empty.
    """
    if not text:
        raise ValueError("the value is empty; leave the option out for its default")
    return text


def add_address_options(section: Section, *, credname: str, dn: str = "your certificate's subject") -> None:
    """Add -l, -d and -k, by which every client says which stored credential it means.

    Args:
        section: Where they are listed.
        credname: What -k means here, as help text.
        dn: Whose subject -d takes.
    """
    section.value(
        "-l", "--username", dest="username", metavar="NAME", text="the account name there (default: $LOGNAME)"
    )
    section.flag("-d", "--dn_as_username", dest="dn_as_username", text=f"use {dn} as account name")
    section.value("-k", "--credname", dest="credname", metavar="NAME", convert=filled, text=credname)


def add_passphrase_options(section: Section, *, text: str = "read the pass phrase from standard input") -> None:
    """Add where the MyProxy pass phrase comes from."""
    section.flag("-S", "--stdin_pass", dest="stdin_pass", text=text)
    section.value(
        "--passin",
        dest="passin",
        metavar="SOURCE",
        convert=parse_secret_source,
        text="read the MyProxy pass phrase from file:PATH, fd:NUMBER or stdin",
    )


def hours(text: str) -> timedelta:
    """Convert whole hours, for `Section.value(convert=...)`."""
    from datetime import timedelta

    return timedelta(hours=count(text, maximum=MAX_HOURS))


def add_proof_options(section: Section, *, authorization: str) -> None:
    """Add how a client proves that it may have a credential.

    Args:
        section: Where to.
        authorization: What the key of another credential is good for.
    """
    add_passphrase_options(section)
    section.flag("-n", "--no_passphrase", dest="no_passphrase", text="send no pass phrase")
    section.value(
        "-a", "--authorization", dest="authorization", metavar="FILE", completion=Completion.FILE, text=authorization
    )
    section.flag("--otp", dest="otp", text="also ask for a one-time code, and send it behind the pass phrase")
    section.value(
        "--sasl_passin",
        dest="sasl_passin",
        metavar="SOURCE",
        convert=parse_secret_source,
        text="read what SASL asks for from file:PATH, fd:NUMBER or stdin (default: the terminal, with -S stdin)",
    )


def add_config_option(section: Section, variable: str, default: str) -> None:
    """Add the option that names the configuration of a service that runs without a terminal.

    Args:
        section: Where it is listed.
        variable: The environment variable with the configuration's path.
        default: The path where neither says one.
    """
    section.value(
        "-c",
        "--config",
        "-config",
        dest="config",
        metavar="FILE",
        completion=Completion.FILE,
        text=f"the configuration ({variable} or {default})",
    )


def add_service_options(parser: LongOptionParser, variable: str, default: str) -> Section:
    """Add the options of a web service that stays in the foreground; return the section, for more of its own.

    Args:
        parser: The command's.
        variable: The environment variable with the configuration's path.
        default: The path where neither says one.
    """
    add_config_option(parser.section("What to serve"), variable, default)
    section = parser.section("How to run")
    section.value(
        "-P",
        "--pidfile",
        dest="pidfile",
        metavar="FILE",
        completion=Completion.FILE,
        text="a file to write the process id to",
    )
    return section
